"""Whatever happens to its writes, and to itself between two of them, the end is the same as without it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from tests.e2e.world import World, assert_healthy
from tests.faults.proxy import Proxy, Rule, answered, dropped, unanswered
from tests.faults.scene import (
    DEEDS,
    WRITES,
    behind,
    in_threes,
    kill_after,
    kill_before,
    namespaces,
    side_by_side,
    under,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from aiohttp import web

    from tests.bed.bed import Bed, Operator
    from tests.e2e.world import Operate
    from tests.faults.proxy import Call, Forward

pytestmark = pytest.mark.bed

FAULTS: dict[str, Callable[[Proxy], Rule]] = {
    "never arrives": lambda proxy: proxy.at_request(WRITES, dropped),
    "is done but not answered": lambda proxy: proxy.at_request(WRITES, unanswered),
    "is refused with 409": lambda proxy: proxy.at_request(WRITES, answered(409)),
    "is refused with 422": lambda proxy: proxy.at_request(WRITES, answered(422)),
    "is forbidden": lambda proxy: proxy.at_request(WRITES, answered(403)),
}


@pytest.mark.parametrize("faults", in_threes(FAULTS))
async def test_every_write(faults: list[str], bed: Bed, rights: Path) -> None:
    await side_by_side(faults, under(bed, FAULTS, strikes=3 * len(DEEDS)), bed, rights)


# --- Ended at a write -----------------------------------------------------------------------------------------------


async def stop_after(operator: Operator, forward: Forward) -> web.StreamResponse:
    answer = await forward()
    os.kill(operator.pid, signal.SIGTERM)
    return answer


ENDS = {
    "killed before it": (kill_before, -9),
    "killed after it": (kill_after, -9),
    "told to stop at it": (stop_after, 0),
}


@dataclass(frozen=True)
class Story:
    """How an adoption with this lock ended, and which writes it took: all but Events."""

    lock: str
    spec: str
    conditions: list[tuple[str, str, str]]
    writes: list[str]

    @classmethod
    async def of(cls, world: World, proxy: Proxy) -> Story:
        """Of a world that has settled."""
        done = [kind(call) for call, status in proxy.answered if status < 300 and told_of(world, call)]
        conditions = (await world.status())["conditions"]
        spec = json.dumps((await world.deployed())["spec"], indent=1).replace(str(world.bot.id), "(the bot)")
        said = [(each["type"], each["status"], each["reason"]) for each in conditions]
        return cls(world.spec["lock"], spec, said, done)

    @property
    def deeds(self) -> list[str]:
        """The writes that change something; how often a status is written depends on who is faster."""
        return [each for each in self.writes if each != "patch telegrambots"]


def kind(call: Call) -> str:
    """A write, without the name that Kubernetes chose."""
    return f"{call.verb} {call.what.partition('/')[0]}"


def told_of(world: World, call: Call) -> bool:
    """Whether a call is one of those that are counted: a write to something in this world, and no Event."""
    return call.namespace == world.ns and call.writes and not call.what.startswith("events")


@pytest_asyncio.fixture(scope="module")
async def reference(bed: Bed, rights: Path, request: pytest.FixtureRequest) -> Story:
    """An adoption without a fault."""
    async with Proxy.start(rights, bed.folder) as proxy, namespaces(bed, 1) as (ns,):
        world = await World.make(bed, ns, spec={"lock": request.param})
        async with behind(bed, proxy)("--namespace", ns):
            await world.guarded()
        return await Story.of(world, proxy)


CASES = [*(("Scheduler", end) for end in ENDS), ("Gate", "killed after it")]  # with a gate, a start takes half a minute


@pytest.mark.parametrize(("reference", "end"), CASES, indirect=["reference"])
async def test_at_each_write_of_an_adoption_the_operator_is(
    end: str, bed: Bed, proxy: Proxy, begin: Operate, reference: Story
) -> None:
    assert reference.deeds[:2] == ["patch pods", "patch deployments"]
    async with namespaces(bed, len(reference.writes)) as names:
        worlds = await asyncio.gather(*(World.make(bed, ns, spec={"lock": reference.lock}) for ns in names))
        runs = (adoption(world, proxy, begin, end, nth) for nth, world in enumerate(worlds, 1))
        struck = await asyncio.gather(*runs)
        assert struck[:2] == [True, True]  # a later write may not be made at all: what is told depends on who is faster
        for world in worlds:
            story = await Story.of(world, proxy)
            assert story.spec == reference.spec
            assert story.conditions == reference.conditions
            assert story.deeds == reference.deeds, story.writes
            world.assert_never_two()


async def adoption(world: World, proxy: Proxy, begin: Operate, end: str, nth: int) -> bool:
    """Adopt, end the operator at the nth write, start another one, and wait until all is well.

    Returns whether there was such a write.
    """
    fault, code = ENDS[end]
    await world.bed.apply(world.plain())
    async with begin("--namespace", world.ns) as operator:
        await operator.ready()
        rule = proxy.at_request(WRITES, partial(fault, operator), nth, partial(told_of, world))
        await world.bed.apply(world.resource())
        over = [asyncio.create_task(each) for each in (operator.exited(), world.settled())]
        await asyncio.wait(over, return_when=asyncio.FIRST_COMPLETED)
        for task in over:
            task.cancel()
        if rule.struck:
            assert await operator.exited(10) == code
    async with begin("--namespace", world.ns) as operator:
        await operator.ready()
        await world.settled()
        assert_healthy(operator)
    return rule.struck > 0
