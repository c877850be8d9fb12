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
from bench.faults.variants import GUARDED, PLAIN, STATEFUL
from tests.bed.bed import NotYetError
from tests.e2e.world import delete, restart

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from bench.faults.stage import Stages
    from bench.faults.variants import Variant
    from tests.e2e.world import World

Handovers: TypeAlias = dict[str, dict[str, list[float]]]  # by row and column, the seconds of each run

# An own one has its lock where an adopted one has it.
COLUMNS = [*(each for each in GUARDED if each.adopts), PLAIN, STATEFUL]
STOPPING = 1.0  # seconds that the bots take to stop
ROWS = {"a deleted pod": delete, "a rollout restart": restart}
# With what it is compared: what Kubernetes needs for the same without making two. A plain Deployment makes two of a
# deleted pod; a rollout it does as a StatefulSet, only that its controller makes a ReplicaSet first.
YARDSTICKS = {"a deleted pod": STATEFUL, "a rollout restart": PLAIN}


async def handovers(free: Stages, runs: int) -> Handovers:
    """Return the seconds of each run, by row and column."""
    async with AsyncExitStack() as held:
        bots = [(each, await _bot(held, free, each)) for each in COLUMNS]
        seconds: Handovers = {
            row: {variant.name: [] for variant, _ in bots if _hands_over(variant, row)} for row in ROWS
        }
        for run in range(runs):
            for row, deed in ROWS.items():
                for variant, world in bots[run % len(bots) :] + bots[: run % len(bots)]:
                    if _hands_over(variant, row):
                        seconds[row][variant.name].append(await _handover(world, variant, deed))
    return seconds


def _hands_over(variant: Variant, row: str) -> bool:
    """Whether the old process ends before the new one starts."""
    return variant is not PLAIN or YARDSTICKS[row] is PLAIN


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
    # Seen by the nodes: asking the API server for its pods over and over would hold up whoever else asks it for those.
    await world.bed.until(lambda: [each for each in world.bed.alive(world.bot) if each is not old], what="the new one")
    if not await over(world, variant, PATIENCE):
        raise NotYetError(f"{variant.name} did not come back\n{await world.bed.dump()}")
    now = time.monotonic()
    return spans.gap(processes(world, now), since, now)
