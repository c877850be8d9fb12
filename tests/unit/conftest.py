"""Settings of all unit tests."""

from hypothesis import settings

# How long an example takes is the machine's affair, and no property of what is tested.
settings.register_profile("unit", deadline=None)
settings.load_profile("unit")
