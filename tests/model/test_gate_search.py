"""No order of events breaks an invariant of the Gate: small worlds, searched through to the last state.

`make model` searches larger ones.
"""

import pytest

from tests.model.gate_world import Bounds
from tests.model.scenes import FAST, search


@pytest.mark.parametrize("bounds", FAST.values(), ids=FAST)
def test_no_invariant_breaks_and_the_bot_always_comes_back(bounds: Bounds) -> None:
    found = search(bounds)
    print(found)
    assert not found.broken, str(found)
    assert found.complete, str(found)
