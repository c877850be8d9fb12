"""Two replicas of the operator: one guards, the other stands by, and the bots see nothing of what happens to them.

Who leads is read from the Lease, who wrote what from the proxy of each. Waits are bounded; what they took is printed.
"""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from tests.e2e.replicas import AFTER_A_KILL, AFTER_A_STOP, election
from tests.e2e.world import World, assert_healthy, restart, scale_to_two

if TYPE_CHECKING:
    from pathlib import Path

    from tests.bed.bed import Bed

pytestmark = pytest.mark.bed


async def test_the_second_stands_by_warm_and_takes_over_from_one_that_stops(bed: Bed, ns: str, rights: Path) -> None:
    world = await World.make(bed, ns)
    async with election(bed, rights, ns) as held, held.start() as one:
        await held.led_by(one)
        await world.guarded()
        async with held.start() as two:
            await two.stands_by()
            await restart(world)
            await world.settled()
            assert two.writes == []
            assert two.telegram.asked == []
            assert not [str(call) for call in two.proxy.calls if "/log" in call.what or call.what.startswith("secrets")]
            before = await world.only_pod()
            await scale_to_two(world)
            one.signal(signal.SIGTERM)
            await held.led_by(two, within=AFTER_A_STOP)
            assert await one.operator.exited(10) == 0
            await world.settled()
            assert (await world.only_pod())["metadata"]["uid"] == before["metadata"]["uid"]
            world.assert_never_two()
            assert_healthy(one.operator)
            assert_healthy(two.operator)


async def test_the_second_takes_over_from_one_that_is_killed(bed: Bed, ns: str, rights: Path) -> None:
    world = await World.make(bed, ns)
    async with election(bed, rights, ns) as held, held.start() as one, held.start() as two:
        leader = await held.led_by(one, two)
        other = two if leader is one else one
        await world.guarded()
        await other.stands_by()
        await leader.operator.kill()
        await scale_to_two(world)
        await held.led_by(other, within=AFTER_A_KILL)
        await world.settled()
        world.assert_never_two()


async def test_one_that_stood_still_for_longer_than_its_lease_writes_nothing_more(
    bed: Bed, ns: str, rights: Path
) -> None:
    world = await World.make(bed, ns)
    async with election(bed, rights, ns) as held, held.start() as one:
        await held.led_by(one)
        await world.guarded()
        async with held.start() as two:
            await two.stands_by()
            await world.change(VERSION="2")
            one.signal(signal.SIGSTOP)
            try:
                await held.led_by(two, within=AFTER_A_KILL)
                await world.settled()
                await world.change(VERSION="3")
                before = len(one.writes)
            finally:
                one.signal(signal.SIGCONT)
            await bed.until(lambda: one.says(f"standing by: {two.name} leads"), what="the first stands by")
            await world.settled()
            assert [str(call) for call in one.writes[before:]] == []
            await two.operator.stop()
            await held.led_by(one, within=AFTER_A_STOP)
            await scale_to_two(world)
            await world.settled()
            world.assert_never_two()
            assert_healthy(one.operator)
