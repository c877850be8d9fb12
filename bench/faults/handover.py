"""The plain handover, many times: how long nobody lives between the old process's end and the new one's start.

The columns take turns while nothing else happens, so that all meet the same machine. Each run is a deed, the old
process's end, and the wait until the bot is settled again.
"""

from __future__ import annotations

import time
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, TypeAlias

from bench.faults import operators, spans
from bench.faults.play import PATIENCE, begin, over, processes, taken
from bench.faults.variants import GUARDED, STATEFUL
from tests.bed.bed import NotYetError
from tests.e2e.world import delete, restart

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from bench.faults.stage import Stages
    from bench.faults.variants import Variant
    from tests.e2e.world import World

Handovers: TypeAlias = dict[str, dict[str, list[float]]]  # by row and column, the seconds of each run

COLUMNS = [*(each for each in GUARDED if each.adopts), STATEFUL]  # an own one has its lock where an adopted one has it
STOPPING = 1.0  # seconds that the bots take to stop
ROWS = {"a deleted pod": delete, "a rollout restart": restart}


async def handovers(free: Stages, runs: int) -> Handovers:
    """Return the seconds of each run, by row and column."""
    async with AsyncExitStack() as held:
        bots = [(each, await _bot(held, free, each)) for each in COLUMNS]
        seconds: Handovers = {row: {variant.name: [] for variant, _ in bots} for row in ROWS}
        for run in range(runs):
            for row, deed in ROWS.items():
                for variant, world in bots[run % len(bots) :] + bots[: run % len(bots)]:
                    seconds[row][variant.name].append(await _handover(world, variant, deed))
    return seconds


async def _bot(held: AsyncExitStack, free: Stages, variant: Variant) -> World:
    """A bot on a stage of its own, with an operator of its own where it is guarded."""
    stage = await held.enter_async_context(taken(free, variant))
    world = await held.enter_async_context(stage.world(variant, stopping=STOPPING))
    await held.enter_async_context((operators.one if variant.guarded else operators.none)(stage, world.ns))
    await begin(world, variant)
    return world


async def _handover(world: World, variant: Variant, deed: Callable[[World], Awaitable[None]]) -> float:
    """Do it once, and return the seconds in which nobody lived. Raises NotYetError when the bot does not come back."""
    (old,) = world.bed.alive(world.bot)
    since = time.monotonic()
    await deed(world)
    await world.bed.until(lambda: old.ended, what="the end of the old process")
    if not await over(world, variant, PATIENCE):
        raise NotYetError(f"{variant.name} did not come back\n{await world.bed.dump()}")
    now = time.monotonic()
    return spans.gap(processes(world, now), since, now)
