"""A cluster as clusters are: another installation in it, thousands of other objects, a network that breaks."""

from __future__ import annotations

import asyncio
import random
import signal
import time
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from aiohttp import web

from tests.bed.bed import Bed
from tests.bed.chart import render
from tests.bed.installation import NAME as OPERATOR
from tests.bed.installation import Installation
from tests.bed.kube import path
from tests.bed.tools import program
from tests.e2e.replicas import AFTER_A_STOP, LEASE, Election, election
from tests.e2e.world import World, assert_healthy, delete, restart, rollout, scale_to_two
from tests.faults.proxy import Proxy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.bed.bed import Operator
    from tests.e2e.replicas import Replica
    from tests.faults.proxy import Forward

pytestmark = pytest.mark.bed
Object = dict[str, Any]

SHARED = "kube-system"  # where installations for all namespaces have their Lease
GATED = {"lock": "Gate"}


# --- Two installations ------------------------------------------------------------------------------------------------


async def for_all_namespaces(bed: Bed, home: str) -> Election:
    """An installation that guards all namespaces."""
    return Election(bed, await Installation(bed, home).install(), SHARED, account=home, guards=())


@asynccontextmanager
async def lease_of_all(bed: Bed) -> AsyncIterator[None]:
    """The Lease that they share is theirs alone until the block ends."""
    where = path("leases", SHARED, LEASE)
    await bed.kube.delete(where)
    yield
    await bed.kube.delete(where)


async def test_of_two_installations_for_all_namespaces_one_guards_and_the_other_stands_by(bed: Bed, ns: str) -> None:
    here, there = f"{ns}-here", f"{ns}-there"
    first, second = [await for_all_namespaces(bed, each) for each in (here, there)]
    world = await World.make(bed, ns)
    async with lease_of_all(bed):
        await first.let_go()
        async with first.start(here) as one:
            await first.led_by(one)
            await world.guarded()
            async with second.start(there) as two:
                await two.stands_by()
                (line,) = (each for each in two.operator.log_text().splitlines() if "standing by: " in each)
                assert f"{one.name} of the installation in namespace {here} leads" in line
                assert f"this one in namespace {there} does nothing meanwhile" in line
                assert "uninstall one of the two, or let each guard namespaces of its own (--namespace)" in line
                await rollout(world)
                await scale_to_two(world)
                await world.pinned()
                await world.settled()
                assert [str(call) for call in two.writes] == []
                assert two.telegram.asked == []
                one.signal(signal.SIGTERM)
                await first.led_by(two, within=AFTER_A_STOP)
                assert await one.operator.exited(10) == 0
                await scale_to_two(world)
                await world.pinned()
                await world.settled()
                async with first.start(here) as three:
                    await bed.until(lambda: three.says(f"installation in namespace {there} leads"), what="who leads")
                    assert [str(call) for call in three.writes] == []
                    for each in (one, two, three):
                        assert_healthy(each.operator)
    world.assert_never_two()


async def with_roles_alone(bed: Bed, home: str, guarded: str) -> Election:
    """An installation that guards one namespace, with the rights that the chart gives it."""
    values = f"namespaces={{{guarded}}},installCRDs=false"
    text = await asyncio.to_thread(render, program("helm"), "--namespace", home, "--set", values)
    rendered = [each for each in yaml.safe_load_all(text) if each]
    assert not [each for each in rendered if each["kind"].startswith("Cluster")]
    kinds = {"ServiceAccount", "Role", "RoleBinding"}
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": home}}
    await bed.apply([namespace, *(each for each in rendered if each["kind"] in kinds)])
    (deployment,) = (each for each in rendered if each["kind"] == "Deployment")
    arguments = deployment["spec"]["template"]["spec"]["containers"][0]["args"]
    assert {"--leader-elect", f"--leader-elect-namespace={home}", f"--namespace={guarded}"} < set(arguments)
    rights = await bed.cp.service_account_kubeconfig(home, OPERATOR, seconds=3600)
    return Election(bed, rights, home, account=home, guards=[guarded])


async def test_two_installations_with_roles_alone_guard_namespaces_of_their_own(bed: Bed, ns: str) -> None:
    lab = await bed.namespace()
    homes = {each: f"{each}-operator" for each in (ns, lab)}
    first, second = [await with_roles_alone(bed, home, guarded) for guarded, home in homes.items()]
    shop, other = [await World.make(bed, each, spec=GATED) for each in homes]
    async with second.start(homes[lab]) as two:
        async with first.start(homes[ns]) as one:
            await asyncio.gather(shop.guarded(), other.guarded())
            for deed in (rollout, scale_to_two, delete):
                await asyncio.gather(*(deed(world) for world in (shop, other)))
                await asyncio.gather(*(world.pinned() for world in (shop, other)))
                await asyncio.gather(*(world.settled() for world in (shop, other)))
            assert await one.operator.stop() == 0
            assert where_it_was(one) == {ns, homes[ns]}
            assert_nothing_missed(one)
        await scale_to_two(shop)
        await scale_to_two(other)
        await other.pinned()
        await other.settled()
        assert (await shop.deployed())["spec"]["replicas"] == 2, "whose installation is stopped, nobody else touches"
        async with first.start(homes[ns]):
            await shop.pinned()
            await shop.settled()
        assert where_it_was(two) == {lab, homes[lab]}
        assert_nothing_missed(two)
    for world in (shop, other):
        world.assert_never_two()
    await bed.kubectl("delete", "namespace", lab, *homes.values(), "--wait=false")


def where_it_was(replica: Replica) -> set[str]:
    """The namespaces in which it has asked for anything."""
    return {call.namespace for call in replica.proxy.calls} - {""}


def assert_nothing_missed(replica: Replica) -> None:
    """Its log complains of nothing, and nothing was refused but a look for policies, which it then does without."""
    refused = [f"{call} in namespace {call.namespace}" for call in replica.proxy.refused]
    assert [each for each in refused if "admissionpolic" not in each] == []
    lines = replica.operator.log_text().splitlines()
    assert [line for line in lines if "WARNING" in line or "ERROR" in line or "may not" in line] == []
    assert_healthy(replica.operator)


# --- A full cluster ---------------------------------------------------------------------------------------------------

OTHERS = {"configmaps": 7_800, "pods": 2_000, "deployments": 200}
AT_ONCE = 24  # requests
MORE = 12 << 20  # bytes of memory: a third of what the ConfigMaps alone hold
MARK = "unrelated"


def unrelated(resource: str, number: int) -> Object:
    """An object that is no business of the operator's; its pod runs nowhere."""
    nobody = {"schedulerName": "nobody", "containers": [{"name": "main", "image": "pause"}]}
    labels = {"app": MARK}
    content: dict[str, Object] = {
        "configmaps": {"data": {"text": "x" * 4_500}},
        "pods": {"spec": nobody},
        "deployments": {
            "spec": {
                "replicas": 0,
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": nobody},
            }
        },
    }
    return {"metadata": {"name": f"{MARK}-{number}", "labels": labels}, **content[resource]}


async def fill(bed: Bed, ns: str) -> None:
    """Make all of them, some at once."""
    todo = [(resource, number) for resource, count in OTHERS.items() for number in range(count)]

    async def work() -> None:
        while todo:
            resource, number = todo.pop()
            await bed.kube.create(resource, ns, unrelated(resource, number))

    began = time.monotonic()
    await asyncio.gather(*(work() for _ in range(AT_ONCE)))
    print(f"{sum(OTHERS.values())} objects in {time.monotonic() - began:.0f} s")


def most_memory(operator: Operator) -> int:
    """The most memory that it has had so far, in bytes."""
    (line,) = (each for each in Path(f"/proc/{operator.pid}/status").read_text().splitlines() if "VmHWM" in each)
    return int(line.split()[1]) << 10


def lists(proxy: Proxy) -> list[bytes]:
    """What is listed from now on."""
    seen: list[bytes] = []

    async def note(forward: Forward) -> web.StreamResponse:
        answer = await forward()
        assert isinstance(answer, web.Response)
        assert isinstance(answer.body, bytes)
        seen.append(answer.body)
        return answer

    proxy.at_request("list ", note)
    return seen


@pytest.mark.timeout(300)
async def test_ten_thousand_objects_that_are_no_bots_are_nothing_to_it() -> None:
    async with Bed.start(nodes=1) as bed:
        rights = await Installation(bed).install()
        world = await World.make(bed, await bed.namespace())
        memory: list[int] = []
        for full in (False, True):
            async with Proxy.start(rights, bed.folder) as proxy:
                listed = lists(proxy)
                async with bed.operator(kubeconfig=proxy.kubeconfig) as operator:
                    await world.guarded()
                    if not full:
                        memory.append(most_memory(operator))
                        await fill(bed, world.ns)
                    await scale_to_two(world)
                    await world.pinned()
                    await world.settled()
                    memory.append(most_memory(operator))
                    assert await operator.stop() == 0
                    assert_healthy(operator)
                received = [*listed, *(line for _, line in proxy.events)]
                assert len(listed) > 3
                assert [each[:500] for each in received if f"{MARK}-".encode() in each] == []
        print(
            "most memory before, after, and of one that starts then:", *(f"{each / 2**20:.1f} MiB" for each in memory)
        )
        assert max(memory) - memory[0] < MORE
        world.assert_never_two()


# --- A network that drops connections ---------------------------------------------------------------------------------

SECONDS = 40.0
SEED = 20


async def cut_at_random(proxy: Proxy, chance: random.Random) -> int:
    """Cut connections for a while, each when its time has come; returns how many."""
    count, end = 0, time.monotonic() + SECONDS
    while time.monotonic() < end:
        await asyncio.sleep(chance.uniform(0.02, 0.6))
        count += proxy.cut(lambda: chance.random() < 0.4)
    return count


async def clear_after(world: World, seconds: int) -> None:
    """An edit of the TelegramBot that restarts nothing."""
    await world.edit(conflict={"clearAfterSeconds": seconds})


async def test_connections_that_are_dropped_at_random_do_no_harm(bed: Bed, ns: str, rights: Path) -> None:
    chance = random.Random(SEED)  # noqa: S311 - the same cuts each time
    world = await World.make(bed, ns, spec=GATED)
    async with election(bed, rights, ns) as held, held.start(OPERATOR) as one:
        await held.led_by(one)
        await world.guarded()
        cuts = asyncio.create_task(cut_at_random(one.proxy, chance))
        rounds = 0
        while not cuts.done():
            rounds += 1
            await world.change(VERSION=str(rounds))
            await scale_to_two(world)
            await clear_after(world, 3 + rounds % 2)
            await bed.until(lambda: told(world), what="the operator has acted on the edit", patience=90)
            await world.pinned()
        print(f"{cuts.result()} connections cut in {rounds} rounds")
        assert cuts.result() > 20
        assert rounds > 1
        await restart(world)
        await world.settled()
        assert await one.operator.stop() == 0
        assert_healthy(one.operator)
        world.assert_never_two()


async def told(world: World) -> bool:
    """Whether the status is of the TelegramBot as it is now."""
    bot: dict[str, Any] = await bot_of(world)
    return bool(bot["status"]["observedGeneration"] == bot["metadata"]["generation"])


async def bot_of(world: World) -> dict[str, Any]:
    return await world.bed.kube.get("telegrambots", world.ns, "shop") or {}
