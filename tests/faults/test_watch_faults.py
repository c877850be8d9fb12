"""Whatever happens to what it reads, the operator lives, repairs what it missed, and writes nothing twice."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.bed.bed import CRD
from tests.e2e.world import World, assert_healthy, delete
from tests.faults.proxy import Proxy, Rule, answered, failed, first, held, lost, reset, thrice, torn
from tests.faults.scene import DEEDS, at_rest, behind, four_bots, in_threes, namespaces, side_by_side, under

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.bed.bed import Bed
    from tests.e2e.world import Operate
    from tests.faults.proxy import Call

pytestmark = pytest.mark.bed

ACCOUNT = "telegrambot-operator"  # and its namespace

STREAMS: dict[str, Callable[[Proxy], Rule]] = {
    "ends cleanly in the middle of a line": lambda proxy: proxy.at_event("watch", torn),
    "is reset in the middle of a line": lambda proxy: proxy.at_event("watch", reset),
    "says 410": lambda proxy: proxy.at_event("watch", failed(410, "Expired")),
    "says 500": lambda proxy: proxy.at_event("watch", failed(500, "InternalError")),
    "brings every event three times": lambda proxy: proxy.at_event("watch", thrice),
}


@pytest.mark.parametrize("streams", in_threes(STREAMS))
async def test_at_every_event_the_stream(streams: list[str], bed: Bed, rights: Path) -> None:
    await side_by_side(streams, under(bed, STREAMS), bed, rights)


ANSWERS: dict[str, Callable[[Proxy], Rule]] = {
    "410": lambda proxy: proxy.at_request("(list|watch)", answered(410)),
    "503": lambda proxy: proxy.at_request("", answered(503)),
    "429, come again in a second": lambda proxy: proxy.at_request("", answered(429, retry_after=1)),
}


@pytest.mark.parametrize("answers", in_threes(ANSWERS))
async def test_the_streams_break_and_what_comes_then_is(answers: list[str], bed: Bed, rights: Path) -> None:
    tries = 3 * 2 * len(DEEDS)  # of each of our watches
    await side_by_side(answers, under(bed, ANSWERS, strikes=tries, then=Proxy.reset), bed, rights)


async def test_connections_are_refused_for_a_while(bed: Bed, proxy: Proxy, begin: Operate) -> None:
    async with four_bots(bed) as bots, begin(*bots.arguments) as operator:
        await bots.guarded()
        async with proxy.refusing():
            await bots.deeds()
            await bed.until(lambda: operator.log_text().count("; trying again") >= 2, what="the operator notices")
        await bots.end_well(proxy, operator)


@pytest.mark.parametrize("kinds", ["pods", "(deployments|telegrambots)"])
async def test_it_acts_on_nothing_stale_while_it_hears_no_more_of(
    kinds: str, bed: Bed, proxy: Proxy, begin: Operate
) -> None:
    async with four_bots(bed) as bots, begin(*bots.arguments) as operator:
        await bots.guarded()
        release = asyncio.Event()
        rule = proxy.at_event(f"watch {kinds}", held(release))
        await bots.deeds()
        await bed.until(lambda: rule.struck, what="the fault strikes")
        await at_rest(bed, proxy)
        release.set()
        await bots.end_well(proxy, operator)


async def test_a_pod_goes_while_its_stream_starts_again_after_a_410(
    bed: Bed, ns: str, proxy: Proxy, begin: Operate
) -> None:
    world = await World.make(bed, ns)
    async with begin("--namespace", ns) as operator:
        await world.guarded()
        name = (await world.only_pod())["metadata"]["name"]
        over = asyncio.Event()
        rule = proxy.at_event("watch pods", failed(410, "Expired"))
        proxy.at_request("(list|watch) pods", first(over.wait))
        await delete(world)

        async def gone() -> bool:
            return await bed.get("pod", name, ns) is None

        await bed.until(gone, what="the pod is gone")
        assert rule.struck
        proxy.heal()
        over.set()
        await world.settled()
        await world.says("Singleton", "True", "OnePod")
        world.assert_never_two()
        assert_healthy(operator)


async def test_every_event_of_a_deleted_pod_is_lost_once_in_a_namespace_of_its_own(
    bed: Bed, proxy: Proxy, begin: Operate
) -> None:
    """The first to the fourth event of pods and of Deployments: others follow each of them."""
    cases = [(kind, nth) for kind in ("pods", "deployments") for nth in range(1, 5)]
    async with namespaces(bed, len(cases)) as names, begin(*(f"--namespace={ns}" for ns in names)) as operator:
        worlds = await asyncio.gather(*(World.make(bed, ns) for ns in names))
        await asyncio.gather(*(world.guarded() for world in worlds))
        rules = [
            proxy.at_event(f"watch {kind}", lost, nth, in_namespace(ns))
            for (kind, nth), ns in zip(cases, names, strict=True)
        ]
        await asyncio.gather(*(delete(world) for world in worlds))
        await asyncio.gather(*(world.settled() for world in worlds))
        assert [rule.struck for rule in rules] == [1] * len(rules)
        for world in worlds:
            world.assert_never_two()
        assert_healthy(operator)


def in_namespace(ns: str) -> Callable[[Call], bool]:
    """Whether a call is about this namespace."""
    return lambda call: call.namespace == ns


async def test_all_events_of_a_deleted_pod_are_lost_and_none_follows(bed: Bed, ns: str, proxy: Proxy) -> None:
    world = await World.make(bed, ns)
    async with behind(bed, proxy, list_again_after=5)("--namespace", ns) as operator:
        await world.guarded()
        old = (await world.status())["pod"]
        rule = proxy.at_event("watch (pods|deployments)", lost)
        await delete(world)

        async def replaced() -> bool:
            names = [pod["metadata"]["name"] for pod in await world.pods()]
            return len(names) == 1 and names != [old]

        async def noticed() -> bool:
            return bool((await world.status()).get("pod") == (await world.only_pod())["metadata"]["name"])

        await bed.until(replaced, what="another pod")
        await world.rested()
        assert rule.struck
        await bed.until(noticed, what="the status names the pod there is")
        await world.settled()
        world.assert_never_two()
        assert_healthy(operator)


async def test_the_deletion_of_a_resource_is_lost(bed: Bed, ns: str, proxy: Proxy, begin: Operate) -> None:
    world = await World.make(bed, ns)
    async with begin("--namespace", ns) as operator:
        await world.guarded()
        rule = proxy.at_event("watch telegrambots", lost)
        await world.kubectl("delete", "tgbot", "shop")
        await bed.until(lambda: rule.struck, what="the deletion is lost")
        proxy.heal()

        async def released() -> bool:
            return "singleton.bot/name" not in (await world.deployed())["metadata"]["labels"]

        await bed.until(released, what="the Deployment is released")
        await world.rested()
        world.assert_never_two()
        assert_healthy(operator)


async def test_the_token_is_rotated(bed: Bed, ns: str, proxy: Proxy, begin: Operate) -> None:
    world = await World.make(bed, ns)
    async with begin("--namespace", ns) as operator:
        await world.guarded()
        old = proxy.calls[-1].authorization
        await proxy.new_token(await bed.kubectl("-n", ACCOUNT, "create", "token", ACCOUNT))
        rule = proxy.at_request("", answered(401), fits=lambda call: call.authorization == old)
        proxy.reset()
        await world.scale(2)
        await bed.until(lambda: rule.struck, what="the old token is refused")
        await world.pinned()
        await world.settled()
        await world.edit(suspend=True)
        await world.says("Ready", "False", "Suspended")
        world.assert_never_two()
        assert proxy.calls[-1].authorization != old
        assert await operator.stop() == 0
        assert_healthy(operator)


async def test_the_crd_is_deleted_and_installed_again(bed: Bed, ns: str, begin: Operate) -> None:
    world = await World.make(bed, ns)
    async with begin("--namespace", ns) as operator:
        await world.guarded()
        try:
            await bed.kubectl("delete", "crd", CRD.stem)
            await bed.until(lambda: "install the CRD" in operator.log_text(), what="the advice in the log")
            await world.rested()
        finally:
            await bed.install_crd()
        await bed.apply(world.resource())
        await world.pinned()
        await world.settled()
        await world.edit(suspend=True)
        await world.says("Ready", "False", "Suspended")
        world.assert_never_two()
        assert await operator.stop() == 0
        assert_healthy(operator)
