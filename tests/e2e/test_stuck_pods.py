"""Pods that hang in Terminating: forced away only where no process can be left, and said so where one may be."""

from __future__ import annotations

import json
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import pytest

from tests.bed.kube import path
from tests.e2e.world import Operate, World

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.bed.bed import Bed
    from tests.bed.node import Node

pytestmark = [pytest.mark.bed, pytest.mark.usefixtures("nodes")]

AT_ONCE = {"afterSeconds": 0}


class Stuck:
    """A guarded bot whose pod has been deleted while its node had a fault, and so hangs in Terminating."""

    def __init__(self, world: World, node: Node, pod: dict[str, Any]) -> None:
        self.world = world
        self.bed = world.bed
        self.node = node
        self.name: str = pod["metadata"]["name"]
        self.uid: str = pod["metadata"]["uid"]

    async def is_there(self) -> bool:
        """Whether the object of the stuck pod is still there."""
        return self.uid in {pod["metadata"]["uid"] for pod in await self.world.pods()}

    async def is_gone(self) -> bool:
        """Whether it is not."""
        return not await self.is_there()

    async def event(self) -> str:
        """The Event about its forced deletion; empty when there is none."""
        text = await self.world.kubectl("get", "events", "--field-selector=reason=StuckPodForceDeleted", "-o", "json")
        notes = [each["message"] for each in json.loads(text)["items"]]
        return next((note for note in notes if self.name in note), "")


async def stuck(world: World, fault: str) -> Stuck:
    """Delete the pod of a guarded bot with a grace period of one second, after the fault has struck its node."""
    pod = await world.only_pod()
    node = world.bed.node_of(pod)
    match fault:
        case "frozen":
            node.freeze()
        case "crashed":
            node.crash()
        case "removal" | "kill":
            node.hang_before(fault)
    await world.kubectl("delete", "pod", pod["metadata"]["name"], "--wait=false", "--grace-period=1")
    return Stuck(world, node, pod)


async def guarded(bed: Bed, ns: str, policy: str = "WhenProven", after: int = 0, **more: Any) -> World:
    world = await World.make(bed, ns, spec={"stuckPods": {"policy": policy, "afterSeconds": after}}, **more)
    await world.guarded()
    return world


async def test_a_pod_that_hung_before_its_deployment_was_adopted_is_forced_away(
    bed: Bed, ns: str, operate: Operate
) -> None:
    world = await World.make(bed, ns, spec={"stuckPods": AT_ONCE})
    await bed.apply(world.plain())
    await bed.until(world.bot.polling_now, what="the bot polling")
    hung = await stuck(world, "removal")
    await bed.until(lambda: [each.of.pod for each in bed.alive(world.bot)] not in ([], [hung.name]))
    async with operate():
        await bed.apply(world.resource())
        await bed.until(hung.is_gone, what="the stuck pod is gone")
        await world.settled()


async def nothing_more(hung: Stuck) -> None:
    """The node's fault is all there is."""


async def delete_the_node(hung: Stuck) -> None:
    """As a cloud's controller does when a machine is gone."""
    await hung.bed.kube.delete(path("nodes", None, hung.node.name))


async def taint_the_node(hung: Stuck) -> None:
    """As an admin does who knows that it is off."""
    await hung.bed.kubectl("taint", "node", hung.node.name, "node.kubernetes.io/out-of-service=off:NoExecute")


PROVEN = {
    "its containers have ended": ("removal", nothing_more, "its node reports every container as ended"),
    "its node is gone": ("crashed", delete_the_node, "its node no longer exists"),
    "its node is out of service": ("crashed", taint_the_node, ""),  # Kubernetes' own pod collector may be faster
}


@pytest.mark.parametrize("down", [False, True], ids=["operator running", "operator down meanwhile"])
@pytest.mark.parametrize(("fault", "then", "proof"), PROVEN.values(), ids=PROVEN.keys())
async def test_a_pod_that_is_proven_dead_is_forced_away(
    fault: str,
    then: Callable[[Stuck], Awaitable[None]],
    proof: str,
    down: bool,
    bed: Bed,
    ns: str,
    operate: Operate,
) -> None:
    async with operate() as operator:
        world = await guarded(bed, ns)
        if down:
            await operator.stop()
        hung = await stuck(world, fault)
        await then(hung)
        async with operate() if down else nullcontext():
            await bed.until(hung.is_gone, what="the stuck pod is gone")
            await world.settled()
            assert not proof or proof in await hung.event()
            world.assert_never_two()


async def test_a_pod_on_a_lost_node_is_held_until_the_node_is_back(bed: Bed, ns: str, operate: Operate) -> None:
    async with operate():
        world = await guarded(bed, ns)
        hung = await stuck(world, "frozen")
        await world.says("Stalled", "True", "PodUnreachable", text="make sure that the node is off")
        await world.says("Singleton", "Unknown", "PodUnreachable", text=hung.name)
        await world.says("Ready", "False", "WaitingForTurn")
        assert await hung.is_there()
        assert [each.pid for each in bed.alive(world.bot)], "its process polls on"
        hung.node.thaw()
        await world.settled()
        await world.says("Stalled", "False")
        assert bed.overlaps(world.bot) == []


async def test_a_pod_that_really_still_runs_is_held(bed: Bed, ns: str, operate: Operate) -> None:
    async with operate():
        world = await guarded(bed, ns, env={"IGNORE_SIGTERM": "1", "POLL_SECONDS": "2"})
        hung = await stuck(world, "kill")
        await world.says("Stalled", "True", "TerminatingPodStillRunning", text="reports running containers")
        assert await hung.is_there()
        assert await hung.event() == ""
        hung.node.hang_before("nothing")
        await world.settled()
        world.assert_never_two()


async def test_force_takes_the_risk_and_says_so(bed: Bed, ns: str, operate: Operate) -> None:
    async with operate():
        world = await guarded(bed, ns, policy="Force")
        hung = await stuck(world, "frozen")
        await bed.until(hung.is_gone, what="the stuck pod is gone")
        await bed.until(hung.event, what="the Event")
        assert "not proven to be safe" in await hung.event()


async def test_never_leaves_even_a_dead_one_and_says_so(bed: Bed, ns: str, operate: Operate) -> None:
    async with operate():
        world = await guarded(bed, ns, policy="Never")
        hung = await stuck(world, "removal")
        await world.says("Stalled", "True", text="stuckPods.policy: Never leaves it to you")
        assert await hung.is_there()


async def test_the_wait_after_the_grace_period_is_kept(bed: Bed, ns: str, operate: Operate) -> None:
    async with operate():
        world = await guarded(bed, ns, after=3600)
        hung = await stuck(world, "removal")
        await world.says("Ready", "False", "WaitingForTurn")
        await world.edit(stuckPods=AT_ONCE)
        await bed.until(hung.is_gone, what="the stuck pod is gone")
        await world.settled()


async def test_somebody_elses_finalizer_is_named_and_left(bed: Bed, ns: str, operate: Operate) -> None:
    async with operate():
        world = await guarded(bed, ns)
        pod = (await world.only_pod())["metadata"]["name"]
        held = json.dumps({"metadata": {"finalizers": ["backup.example.com/hold"]}})
        await world.kubectl("patch", "pod", pod, "--type=merge", "-p", held)
        hung = await stuck(world, "none")
        await world.says("Stalled", "True", text="finalizer backup.example.com/hold holds pod")
        assert await hung.is_there()
        await world.kubectl("patch", "pod", pod, "--type=merge", "-p", json.dumps({"metadata": {"finalizers": None}}))
        await world.settled()
        world.assert_never_two()


def where_no_node_is(world: World, name: str) -> dict[str, Any]:
    """A pod of the bot that was made by hand, and bound to a node that does not exist."""
    labels = {"app": "telegram-bot", "singleton.bot/bot": str(world.bot.id)}
    spec = {"nodeName": "nowhere", "terminationGracePeriodSeconds": 1, "containers": [world.container()]}
    return {"metadata": {"name": name, "labels": labels}, "spec": spec}


async def test_beyond_ten_a_minute_forced_deletes_are_held_back(bed: Bed, ns: str, operate: Operate) -> None:
    async with operate():
        world = await guarded(bed, ns)
        serving = (await world.only_pod())["metadata"]["name"]
        for number in range(12):
            await bed.kube.create("pods", ns, where_no_node_is(world, f"stray-{number}"))

        async def ten_are_gone() -> bool:
            left = {pod["metadata"]["name"] for pod in await world.pods()}
            return serving in left and len(left) == 3

        await bed.until(ten_are_gone, what="ten of twelve are gone")
        said = await world.says("Reconciling", "True", "Repairing", text="at most 10 are in a minute")
        assert said["message"].count("stray-") == 2
        world.assert_never_two()
