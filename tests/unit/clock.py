"""A clock for tests, in the place of a module's `time`."""


class Clock:
    """A steady clock that stands still until a test moves it."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def monotonic(self) -> float:
        return self.seconds
