"""Do one fault to one bot, and return the figures: those of the nodes' process tables, and Telegram's own 409s."""

from __future__ import annotations

import asyncio
import sys
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from bench.faults import operators, spans
from bench.faults.operators import KILLS, Kill
from bench.faults.spans import Span
from tests.bed.bed import NotYetError
from tests.bed.controlplane import KubectlError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Sequence

    from bench.faults.faults import Around, Fault
    from bench.faults.stage import Stage, Stages
    from bench.faults.variants import Variant
    from tests.e2e.world import World

STOPPING = 6.0  # seconds that a bot polls on after SIGTERM
WATCHED = 12.0  # seconds after a deed at least: twice as long as a bot takes to stop
NO_END = 20.0  # seconds after which what was not promised counts as without an end
PATIENCE = 150.0  # seconds for what was promised


@dataclass(frozen=True)
class Figures:
    """What came of a fault. `overlap` and `gap` in seconds, the longest of all runs; `conflicts` of all runs together.

    `ended`: one process runs again, and nothing is left to do. `together`: more than one lived at the end.
    `refused`: the API server did not do it.
    """

    overlap: float
    peak: int
    conflicts: int
    gap: float
    ended: bool
    together: bool
    refused: bool = False
    runs: int = 1

    @property
    def clean(self) -> bool:
        """Whether nobody ever met, and the bot is back."""
        return self.peak <= 1 and not self.conflicts and self.ended


def worst(figures: Sequence[Figures]) -> Figures:
    """Return the figures of several runs of one fault as those of one."""
    return Figures(
        overlap=max(each.overlap for each in figures),
        peak=max(each.peak for each in figures),
        conflicts=sum(each.conflicts for each in figures),
        gap=max(each.gap for each in figures),
        ended=all(each.ended for each in figures),
        together=any(each.together for each in figures),
        refused=all(each.refused for each in figures),
        runs=len(figures),
    )


async def cell(free: Stages, fault: Fault, variant: Variant) -> Figures:
    """Play a fault on the next free stage, or on several, once for each write of the operator."""
    around = fault.around if variant.guarded else operators.none
    if not fault.at_every_write:
        return await play(free, fault, variant, around)
    count = Kill()
    await play(free, fault, variant, count.around)
    kills = [Kill(when, nth) for nth in range(1, count.writes + 1) for when in KILLS]
    async with asyncio.TaskGroup() as group:  # one that fails ends the others
        runs = [group.create_task(play(free, fault, variant, kill.around)) for kill in kills]
    struck = [run.result() for kill, run in zip(kills, runs, strict=True) if kill.struck]
    return worst(struck)


async def play(free: Stages, fault: Fault, variant: Variant, around: Around) -> Figures:
    """Play a fault once."""
    async with (
        taken(free, variant) as stage,
        stage.world(variant, stopping=STOPPING) as world,
        around(stage, world.ns),
    ):
        await begin(world, variant)
        since = time.monotonic()
        refused = await is_refused(fault.do(world))
        await asyncio.sleep(max(0.0, since + WATCHED - time.monotonic()))
        ended = await over(world, variant, PATIENCE if fault.promised(variant) else NO_END)
        seen = replace(figures(world, since, ended=ended), refused=refused)
        if fault.promised(variant) and not seen.clean:
            print(await evidence(world, since, f"{fault.name}, {variant.name}: {seen}"), file=sys.stderr)
        return seen


async def is_refused(deed: Awaitable[None]) -> bool:
    """Do it, and return whether one of the admission policies refused it. Raises what else kubectl says."""
    try:
        await deed
    except KubectlError as error:
        if "ValidatingAdmissionPolicy" not in error.stderr:
            raise
        return True
    return False


@asynccontextmanager
async def taken(free: Stages, variant: Variant) -> AsyncIterator[Stage]:
    """A stage for this column that nobody else uses meanwhile."""
    queue = free[variant.policies]
    stage = await queue.get()
    try:
        yield stage
    finally:
        queue.put_nowait(stage)


async def begin(world: World, variant: Variant) -> None:
    """Bring the bot up, under guard where it is to be. Raises NotYetError when it does not come up."""
    if variant.adopts:
        await world.bed.apply(world.plain(**variant.spec))
    if variant.guarded:
        await world.bed.apply(world.resource())
    if variant.policies:
        await world.by_admission()
    if not await over(world, variant, PATIENCE):
        raise NotYetError(f"{variant.name} did not come up\n{await world.bed.dump()}")
    await world.bot.until(world.bot.polling_now)


async def over(world: World, variant: Variant, patience: float) -> bool:
    """Wait until one process runs and nothing is left to do; False when that takes longer."""
    try:
        async with asyncio.timeout(patience):
            while not await _settled(world, variant):
                pass
    except TimeoutError:
        return False
    return True


async def _settled(world: World, variant: Variant) -> bool:
    """Wait for it as long as tests do, which is too short where a pod waits for its turn and for its node."""
    try:
        await (world.settled() if variant.guarded else world.bed.until(world.one_runs))
    except NotYetError:
        return False
    return True


def figures(world: World, since: float, *, ended: bool) -> Figures:
    """What was seen of the bot's processes: overlaps all the time, gaps since the deed."""
    now = time.monotonic()
    lives = processes(world, now)
    return Figures(
        overlap=spans.overlap(lives),
        peak=spans.peak(lives),
        conflicts=len(world.bot.conflicts),
        gap=spans.gap(lives, since, now),
        ended=ended,
        together=sum(each.end == now for each in lives) > 1,
    )


async def evidence(world: World, since: float, title: str) -> str:
    """Return what helps to find out why a promise was broken, with seconds since the deed."""
    mine = [each for each in world.bed.history if each.carries(world.bot.token)]
    lives = [(each.of.pod, each.started.mono - since, each.ended.mono - since if each.ended else None) for each in mine]
    conflicts = [each.at.mono - since for each in world.bot.conflicts]
    what = "telegrambots,deployments,replicasets,pods,configmaps"
    objects = await world.kubectl("get", what, "--show-labels", "--output=wide", check=False)
    columns = "custom-columns=AT:.metadata.creationTimestamp,OF:.involvedObject.name,WHY:.reason,WHAT:.message"
    order = "--sort-by=.metadata.creationTimestamp"
    events = await world.kubectl("get", "events", order, f"--output={columns}", check=False)
    began = datetime.fromtimestamp(time.time() - time.monotonic() + since, UTC)
    parts = [title, f"the deed: {began:%H:%M:%S.%f}", f"lives: {lives}", f"409s: {conflicts}", objects, events]
    return "\n".join(parts)


def processes(world: World, now: float) -> list[Span]:
    """The lives of all processes that ever held the bot's token, from their start on, those that live until now."""
    mine = [each for each in world.bed.history if each.carries(world.bot.token)]
    return [Span(each.started.mono, each.ended.mono if each.ended else now) for each in mine]
