"""Four guarded bots behind one proxy, a deed for each, and how a test tells that all of it ended well.

async with four_bots(bed) as bots, begin(*bots.arguments) as operator:
    await bots.guarded()
    ...                               # a fault
    await bots.deeds()
    ...                               # the fault is over
    await bots.end_well(proxy, operator)
"""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.bed.kube import path
from tests.e2e.world import World, assert_healthy, delete, locks, scale_to_two
from tests.faults.proxy import Proxy, ResetError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence

    from _pytest.mark.structures import ParameterSet
    from aiohttp import web

    from tests.bed.bed import Bed, Operator
    from tests.e2e.world import Operate
    from tests.faults.proxy import Forward, Rule

OPERATOR = Path(__file__).parents[2] / "operator"
# Python imports a module of this name when it starts: two minutes are longer than a test waits.
SITECUSTOMIZE = """
import os
from telegrambot_operator.shell import informer, roll
roll.RELIST_SECONDS = 5.0
informer.RELIST_SECONDS = float(os.environ["LIST_AGAIN_AFTER"])
informer.RELIST_SHARE = 1  # on a busy machine a list takes long, and would be asked for seldom
"""

WRITES = "(create|patch|delete)"  # as a rule of the proxy names them
REST = 1.0  # seconds without a write after which writing counts as over
NUDGES = 2  # passes that are asked for over a world in which nothing is to be done


@dataclass(frozen=True)
class Deed:
    """What somebody does to a bot, and how the world must be in the end."""

    do: Callable[[World], Awaitable[None]]
    done: Callable[[World], Awaitable[None]]
    adopt: bool = True
    lock: str = "Scheduler"


async def one_again(world: World) -> None:
    await world.pinned()
    await world.settled()


async def suspend(world: World) -> None:
    await world.edit(suspend=True)


async def none_left(world: World) -> None:
    await world.bed.until(lambda: not world.bed.alive(world.bot), patience=60, what="no process")
    await world.says("Ready", "False", "Suspended")
    await world.says("Reconciling", "False", "Settled")


async def remove(world: World) -> None:
    await world.kubectl("delete", "tgbot", "shop")


async def let_go(world: World) -> None:
    async def released() -> bool:
        deployment = await world.deployed()
        return "singleton.bot/name" not in deployment["metadata"]["labels"] and not locks(deployment["spec"])

    await world.bed.until(released, patience=60, what="the Deployment is released")
    await world.bed.until(world.runs_alone, patience=60, what="its bot runs on")


DEEDS = {
    "scaled to 2": Deed(scale_to_two, one_again),
    "its pod deleted": Deed(delete, one_again, lock="Gate"),
    "suspended": Deed(suspend, none_left, adopt=False),
    "no longer guarded": Deed(remove, let_go),
}


class Bots:
    """Bots, each in a namespace of its own, and the deed that is done to it."""

    def __init__(self, bed: Bed, worlds: Sequence[tuple[World, Deed]]) -> None:
        """Use `four_bots` or `one_bot`."""
        self._bed = bed
        self.worlds = worlds

    @property
    def arguments(self) -> list[str]:
        """What makes the operator guard these and no others."""
        return [f"--namespace={world.ns}" for world, _ in self.worlds]

    async def guarded(self) -> None:
        """Apply everything, and wait until all are Ready."""
        await asyncio.gather(*(world.guarded() for world, _ in self.worlds))

    async def deeds(self) -> None:
        """Do to each what is to be done to it, all at once."""
        await asyncio.gather(*(deed.do(world) for world, deed in self.worlds))

    async def end_well(self, proxy: Proxy, operator: Operator) -> None:
        """Wait until everything is as it must be; then nothing is written any more, and the operator is in good health.

        Nobody saw two pollers.
        """
        await asyncio.gather(*(deed.done(world) for world, deed in self.worlds))
        await at_rest(self._bed, proxy)
        before = len(proxy.writes)
        for _ in range(NUDGES):
            await asyncio.gather(*(nudge(world, proxy) for world, _ in self.worlds))
        await at_rest(self._bed, proxy)
        assert [str(call) for call in proxy.writes[before:]] == []
        assert not any("resourceVersion=0" in call.query.split("&") for call in proxy.calls), "read from a cache"
        for world, _ in self.worlds:
            world.assert_never_two()
        assert await operator.stop() == 0
        assert_healthy(operator)


@asynccontextmanager
async def four_bots(bed: Bed) -> AsyncIterator[Bots]:
    """A bot for each deed. Their namespaces are deleted when the block ends."""
    async with namespaces(bed, len(DEEDS)) as names:
        deeds = list(DEEDS.values())
        made = [
            World.make(bed, ns, adopt=deed.adopt, spec={"lock": deed.lock})
            for ns, deed in zip(names, deeds, strict=True)
        ]
        yield Bots(bed, list(zip(await asyncio.gather(*made), deeds, strict=True)))


@asynccontextmanager
async def namespaces(bed: Bed, count: int) -> AsyncIterator[list[str]]:
    """So many namespaces, deleted when the block ends."""
    names = await asyncio.gather(*(bed.namespace() for _ in range(count)))
    try:
        yield names
    finally:
        bed.mend()
        for name in names:
            await bed.kube.delete(path("namespaces", None, name))


def in_threes(cases: Iterable[str]) -> list[ParameterSet]:
    """Cases as parameters, three at a time: a case waits more than it works."""
    names = list(cases)
    threes = [names[start : start + 3] for start in range(0, len(names), 3)]
    return [pytest.param(three, id=" | ".join(three)) for three in threes]


def under(
    bed: Bed,
    faults: Mapping[str, Callable[[Proxy], Rule]],
    *,
    strikes: int = 1,
    then: Callable[[Proxy], object] = lambda _: None,
) -> Callable[[str, Proxy, Operate], Awaitable[None]]:
    """A case: four guarded bots meet a fault while their deeds are done, so many times, and all ends well.

    `then` is done to the proxy once the fault is there.
    """

    async def run(case: str, proxy: Proxy, begin: Operate) -> None:
        async with four_bots(bed) as bots, begin(*bots.arguments) as operator:
            await bots.guarded()
            rule = faults[case](proxy)
            then(proxy)
            await bots.deeds()
            await bed.until(lambda: rule.struck >= strikes, what="the fault strikes often enough")
            proxy.heal()
            await bots.end_well(proxy, operator)

    return run


async def side_by_side(
    cases: Sequence[str], run: Callable[[str, Proxy, Operate], Awaitable[None]], bed: Bed, rights: Path
) -> None:
    """Run some cases at once, each with a proxy of its own. An error names its case."""

    async def one(case: str) -> None:
        async with Proxy.start(rights, bed.folder) as proxy:
            try:
                await run(case, proxy, behind(bed, proxy))
            except Exception as error:
                error.add_note(f"in the case: {case}")
                raise

    async with asyncio.TaskGroup() as group:
        for case in cases:
            group.create_task(one(case))


def behind(bed: Bed, proxy: Proxy, *, list_again_after: float = 60) -> Operate:
    """`Bed.operator`, behind a proxy: it lists TelegramBots every few seconds, all else after as many as are given."""
    (bed.folder / "sitecustomize.py").write_text(SITECUSTOMIZE)
    environment = {"PYTHONPATH": f"{bed.folder}:{OPERATOR}", "LIST_AGAIN_AFTER": str(list_again_after)}
    return partial(bed.operator, kubeconfig=proxy.kubeconfig, env=environment)


async def kill_before(operator: Operator, forward: Forward) -> web.StreamResponse:
    """SIGKILL, and the write is not done."""
    del forward
    await operator.kill()
    raise ResetError


async def kill_after(operator: Operator, forward: Forward) -> web.StreamResponse:
    """The write is done, then SIGKILL."""
    await forward()
    await operator.kill()
    raise ResetError


async def at_rest(bed: Bed, proxy: Proxy) -> None:
    """Wait until the operator has written nothing for a while. Raises NotYetError where it never stops."""
    now = time.monotonic()
    rested = lambda: time.monotonic() - max(now, proxy.last_write) > REST  # noqa: E731  needs no name
    await bed.until(rested, what="the end of all writes")


async def nudge(world: World, proxy: Proxy) -> None:
    """Ask for a pass over a bot by a change that means nothing, and wait until the operator has got it."""
    mark = str(time.monotonic_ns())
    await world.kubectl("annotate", "deployment", world.deployment, f"nudge={mark}", "--overwrite")
    if "singleton.bot/name" in (await world.deployed())["metadata"]["labels"]:  # else it concerns the operator no more
        told = lambda: any(mark.encode() in line for _, line in proxy.events)  # noqa: E731  needs no name
        await world.bed.until(told, what="the operator has got the change")
