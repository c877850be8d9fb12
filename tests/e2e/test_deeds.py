"""What people and clusters do to a Deployment never makes two pollers once it is guarded, whoever does it and when.

The bots poll on for two seconds after SIGTERM. Judges are the nodes' process tables and Telegram's own 409s, never the
operator. The control at the end shows that the same deeds do make two where nothing guards.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.e2e.world import DEEDS, Operate, World

if TYPE_CHECKING:
    from tests.bed.bed import Bed

pytestmark = pytest.mark.bed

every_deed = pytest.mark.parametrize("deed", DEEDS)
both_carriers = pytest.mark.parametrize("adopt", [True, False], ids=["adopted", "owned"])


@both_carriers
@every_deed
async def test_never_two_while_the_operator_runs(deed: str, adopt: bool, bed: Bed, ns: str, operate: Operate) -> None:
    async with operate():
        world = await World.make(bed, ns, adopt=adopt)
        await world.guarded()
        await DEEDS[deed](world)
        await world.pinned()
        await world.settled()
        world.assert_never_two()


@both_carriers
@every_deed
async def test_never_two_while_the_operator_is_down_nor_when_it_is_back(
    deed: str, adopt: bool, bed: Bed, ns: str, operate: Operate
) -> None:
    world = await World.make(bed, ns, adopt=adopt)
    async with operate():
        await world.guarded()
    await DEEDS[deed](world)
    await world.rested()
    async with operate():
        await world.pinned()
        await world.settled()
        world.assert_never_two()


UNGUARDED = ("a rollout", "a deleted pod", "an eviction", "a scale to 2", "a rollback A-B-A", "a scale 1-0-1")


@pytest.mark.parametrize("deed", UNGUARDED)
async def test_the_same_deed_makes_two_where_nothing_guards(deed: str, bed: Bed, ns: str) -> None:
    world = await World.make(bed, ns, env={"STOP_SECONDS": "8", "POLL_SECONDS": "2"}, grace=20)
    strategy = "RollingUpdate" if deed == "a rollout" else "Recreate"
    await bed.apply(world.plain(strategy={"type": strategy}))
    await bed.until(world.bot.polling_now, what="the bot polling")
    await DEEDS[deed](world)
    await bed.until(lambda: bed.overlaps(world.bot) and world.bot.conflicts, what="two pollers and a 409")
