"""The stories of `make demo` are true, and the README shows what the doctor says of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.demo.readme import README, shown, steady
from tests.demo.stories import crash_loop, redeploy_war
from tests.demo.timeline import Timeline

if TYPE_CHECKING:
    from tests.bed.bed import Bed
    from tests.e2e.world import Operate

pytestmark = [pytest.mark.bed, pytest.mark.bots]

WAR_BEFORE, WAR_AFTER, LOOP_BEFORE, LOOP_AFTER = map(steady, shown(README.read_text()))


async def test_the_redeploy_war(bed: Bed, operate: Operate) -> None:
    line = Timeline()
    async with operate():
        before, after = await redeploy_war(bed, line)
    bed.mend()
    assert not line.failed
    assert steady(before) == WAR_BEFORE
    assert steady(after) == WAR_AFTER


async def test_the_crash_loop(bed: Bed, operate: Operate) -> None:
    line = Timeline()
    async with operate():
        before, after = await crash_loop(bed, line)
    assert not line.failed
    assert steady(before) == LOOP_BEFORE
    assert steady(after) == LOOP_AFTER
