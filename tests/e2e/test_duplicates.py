"""Pods beyond one: removed when they are ours to remove, the one that serves kept, and named when they are not."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from tests.e2e.world import NAME, Operate, World, another_deployment, is_ready, stray

if TYPE_CHECKING:
    from tests.bed.bed import Bed

pytestmark = pytest.mark.bed


async def present(world: World, name: str) -> bool:
    return await world.bed.get("pod", name, world.ns) is not None


async def test_a_pod_made_by_hand_is_deleted_and_the_deployments_own_stays(bed: Bed, ns: str, operate: Operate) -> None:
    async with operate():
        world = await World.make(bed, ns)
        await world.guarded()
        own = (await world.only_pod())["metadata"]["uid"]
        await bed.apply(stray(world))

        async def gone() -> bool:
            return not await present(world, "stray")

        await bed.until(gone, what="the stray pod is gone")
        await world.settled()
        assert (await world.only_pod())["metadata"]["uid"] == own
        world.assert_never_two()  # the scheduler keeps a pod with the label from starting beside one that has the lock
        about = await world.kubectl("get", "events", "--field-selector=reason=DuplicateDeleted", "-o", "json")
        told = {each["involvedObject"]["kind"] for each in json.loads(about)["items"]}
        assert told == {"TelegramBot", "Pod"}


async def test_a_pod_that_was_put_onto_a_node_while_the_operator_was_down_is_deleted_at_start(
    bed: Bed, ns: str, operate: Operate
) -> None:
    world = await World.make(bed, ns)
    async with operate():
        await world.guarded()
    await bed.apply(stray(world, node="node-2"))
    await bed.until(lambda: len(bed.alive(world.bot)) == 2, what="two processes")
    async with operate():
        await world.settled()
        assert not await present(world, "stray")


async def test_duplicates_are_only_reported_when_asked(bed: Bed, ns: str, operate: Operate) -> None:
    async with operate():
        world = await World.make(bed, ns, spec={"duplicates": "Report"})
        await world.guarded()
        await bed.apply(stray(world, node="node-2"))
        await world.says("Singleton", "False", "DuplicatePods", text="stray")
        await world.says("Stalled", "True", "DuplicatePods", text="duplicates: Report leaves them to you")
        assert await present(world, "stray")


async def test_a_pod_of_another_controller_is_named_with_it(bed: Bed, ns: str, operate: Operate) -> None:
    async with operate():
        world = await World.make(bed, ns)
        await world.guarded()
        await another_deployment(world)
        await world.says("Stalled", "True", "DuplicatePods", text="of ReplicaSet copy-")
        await world.kubectl("delete", "deployment", "copy")
        await world.settled()


async def test_without_a_lock_a_surplus_goes_and_the_pod_that_serves_stays(bed: Bed, ns: str, operate: Operate) -> None:
    world = await World.make(bed, ns, spec={"lock": "None"})
    async with operate():
        await world.guarded()
    await world.scale(3)

    async def three() -> bool:
        return sum(is_ready(pod) for pod in await world.pods()) == 3

    await bed.until(three, what="three pods")
    served = {pod["metadata"]["uid"] for pod in await world.pods()}
    async with operate():
        await world.settled()
        assert (await world.only_pod())["metadata"]["uid"] in served


async def test_an_evicted_leftover_does_not_hang_a_rollout(bed: Bed, ns: str, operate: Operate) -> None:
    world = await World.make(bed, ns)
    async with operate():
        await world.guarded()
        pod = await world.only_pod()
        bed.node_of(pod).evict(ns, pod["metadata"]["name"])

        async def evicted() -> bool:
            found = await bed.get("pod", pod["metadata"]["name"], ns)
            return found is None or found["status"].get("reason") == "Evicted"

        await bed.until(evicted, what="the eviction")
        await world.change(VERSION="2")

        async def version_two_runs() -> bool:
            ready = [each for each in await world.pods() if is_ready(each)]
            env = [each["spec"]["containers"][0]["env"] for each in ready]
            return len(ready) == 1 and {"name": "VERSION", "value": "2"} in env[0]

        await bed.until(version_two_runs, what="version 2 running")
        await world.says("Ready", "True")
        world.assert_never_two()


async def test_leftovers_of_a_replica_set_that_is_gone_are_deleted(bed: Bed, ns: str, operate: Operate) -> None:
    async with operate():
        world = await World.make(bed, ns)
        await world.guarded()
        gone_owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": f"{NAME}-old", "uid": str(uuid4())}
        await bed.kube.create("pods", ns, stray(world, ownerReferences=[gone_owner | {"controller": True}]))

        async def gone() -> bool:
            return not await present(world, "stray")

        await bed.until(gone, what="the leftover is gone")
        await world.settled()


async def test_suspended_means_no_pod_at_all(bed: Bed, ns: str, operate: Operate) -> None:
    async with operate():
        world = await World.make(bed, ns, spec={"suspend": True})
        await bed.apply(world.plain())
        await bed.apply(world.resource())
        await world.says("Ready", "False", "Suspended")
        await bed.apply(stray(world))

        async def nothing_left() -> bool:
            return not await bed.kube.list("pods", ns, "") and not bed.alive(world.bot)

        await bed.until(nothing_left, what="nothing runs")
