"""`lock: Gate`: every pod waits for its turn, and nothing that leaves a process behind makes a second poller."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.bed.kube import path
from tests.e2e.world import DEEDS, NAME, Operate, World, force_delete, is_ready

if TYPE_CHECKING:
    from tests.bed.bed import Bed

pytestmark = [pytest.mark.bed, pytest.mark.usefixtures("nodes")]

GATE = {"lock": "Gate"}


async def make(bed: Bed, ns: str, **more: Any) -> World:
    return await World.make(bed, ns, spec=dict(GATE), **more)


def gates(pod: dict[str, Any]) -> list[str]:
    return [each["name"] for each in pod["spec"].get("schedulingGates", [])]


async def waiting(world: World) -> dict[str, Any] | None:
    """The pod that waits behind the gate, if one does."""
    return next((pod for pod in await world.pods() if gates(pod) == ["singleton.bot/turn"]), None)


@pytest.mark.parametrize("deed", DEEDS)
async def test_never_two(deed: str, bed: Bed, ns: str, operate: Operate) -> None:
    async with operate():
        world = await make(bed, ns)
        await world.guarded()
        await world.says("Pinned", "True", "Pinned", text="one turn at a time")
        await DEEDS[deed](world)
        await world.pinned()
        await world.settled()
        world.assert_never_two()


@pytest.mark.parametrize("adopt", [True, False], ids=["adopted", "owned"])
async def test_a_forced_delete_makes_no_second_poller(adopt: bool, bed: Bed, ns: str, operate: Operate) -> None:
    async with operate():
        world = await make(bed, ns, adopt=adopt, grace=3)
        await world.guarded()
        await force_delete(world)
        await world.says("Ready", "False", "WaitingForTurn", text="vanished while it ran; its node")
        await world.settled()
        world.assert_never_two()


async def test_a_forced_delete_makes_no_second_poller_though_the_bot_is_let_go_at_once(
    bed: Bed, ns: str, operate: Operate
) -> None:
    """The operator that lets go of a Deployment is the last who knows that a process may be left."""
    async with operate():
        world = await make(bed, ns, grace=3)
        await world.guarded()
        await force_delete(world)
        await world.kubectl("delete", "tgbot", "shop")
        await bed.until(world.runs_alone, patience=120, what="a pod that nothing holds any more")

        async def let_go() -> bool:
            return "singleton.bot/name" not in (await world.deployed())["metadata"]["labels"]

        await bed.until(let_go, what="a Deployment that is let go")
        await bed.until(world.runs_alone, what="the pod that came of that")
        world.assert_never_two()


async def test_a_wait_for_a_turn_is_no_rollout_that_failed(bed: Bed, ns: str, operate: Operate) -> None:
    """Until the last pod's end is proven takes longer than the Deployment may go without progress."""
    deadline = 4
    async with operate():
        world = await make(bed, ns, grace=3)
        await bed.apply(world.plain(progressDeadlineSeconds=deadline))
        await bed.apply(world.resource())
        await world.settled()
        watch = bed.kubectl(
            "-n", ns, "wait", f"deployment/{NAME}", "--for=condition=Progressing=False", "--timeout=40s"
        )
        failing = asyncio.create_task(watch)
        await force_delete(world)
        await DEEDS["a rollout"](world)
        await world.says("Ready", "False", "WaitingForTurn", text="vanished while it ran; its node")
        await world.settled()

        async def counts_again() -> bool:
            return bool((await world.deployed())["spec"]["progressDeadlineSeconds"] == deadline)

        await bed.until(counts_again, what="the deadline as the user set it")
        assert not failing.done(), "the Deployment was said to have failed"
        failing.cancel()
        world.assert_never_two()


async def test_a_new_pod_waits_for_an_operator_that_is_down(bed: Bed, ns: str, operate: Operate) -> None:
    world = await make(bed, ns, grace=3)
    async with operate():
        await world.guarded()
    await force_delete(world)
    await bed.until(lambda: waiting(world), what="a pod behind the gate")
    await bed.until(lambda: not bed.alive(world.bot), what="the orphan's end")
    assert await waiting(world)
    async with operate():
        await world.settled()
        world.assert_never_two()


async def test_a_lost_node_whose_pod_was_forced_away_holds_the_turn(bed: Bed, ns: str, operate: Operate) -> None:
    async with operate():
        world = await make(bed, ns, grace=1)
        await world.guarded()
        pod = await world.only_pod()
        node = bed.node_of(pod)
        node.freeze()
        await bed.kubectl("wait", "--for=condition=Ready=Unknown", f"node/{node.name}", "--timeout=60s")
        await world.kubectl("delete", "pod", pod["metadata"]["name"], "--force", "--grace-period=0")
        await world.says("Stalled", "True", "PodUnreachable", text=f"its node {node.name} does not answer")
        assert await waiting(world)
        assert bed.alive(world.bot), "its process polls on"
        node.crash()
        await bed.kube.delete(path("nodes", None, node.name))
        await world.settled()
        world.assert_never_two()


async def test_two_operators_take_the_same_turns(bed: Bed, ns: str, operate: Operate) -> None:
    async with operate(), operate():
        world = await make(bed, ns, grace=3)
        await world.guarded()
        await DEEDS["a rollback A-B-A"](world)
        await world.settled()
        await force_delete(world)
        await world.settled()
        world.assert_never_two()


async def test_changing_the_lock_back_and_forth_strands_no_pod(bed: Bed, ns: str, operate: Operate) -> None:
    async with operate():
        world = await make(bed, ns)
        await world.guarded()
        for lock in ("Scheduler", "Gate", "None", "Gate"):
            await world.edit(lock=lock)
            await bed.until(lambda lock=lock: has_gate(world, lock == "Gate"), what=f"the template for {lock}")
            await world.settled()
        world.assert_never_two()


async def has_gate(world: World, there: bool) -> bool:
    spec = (await world.deployed())["spec"]["template"]["spec"]
    return bool(spec.get("schedulingGates")) is there


async def test_letting_go_strands_no_pod(bed: Bed, ns: str, operate: Operate) -> None:
    world = await make(bed, ns)
    async with operate():
        await world.guarded()
        await world.kubectl("delete", "tgbot", "shop")

        async def free() -> bool:
            pods = await world.pods()
            return not await has_gate(world, there=True) and len(pods) == 1 and is_ready(pods[0]) and not gates(pods[0])

        await bed.until(free, what="a free Deployment with its pod running")
        world.assert_never_two()


async def test_the_users_own_gates_are_kept(bed: Bed, ns: str, operate: Operate) -> None:
    world = await make(bed, ns)
    plain = world.plain()
    plain["spec"]["template"]["spec"]["schedulingGates"] = [{"name": "example.com/license"}]
    await bed.apply(plain)
    async with operate():
        await bed.apply(world.resource())

        async def only_theirs() -> bool:
            pods = [pod for pod in await world.pods() if "affinity" in pod["spec"]]  # born after the adoption
            return [gates(pod) for pod in pods] == [["example.com/license"]]

        await bed.until(only_theirs, what="our gate gone, theirs still there")
        name = (await world.only_pod())["metadata"]["name"]
        remove = json.dumps([{"op": "remove", "path": "/spec/schedulingGates"}])
        await world.kubectl("patch", "pod", name, "--type=json", "-p", remove)
        await world.settled()
        template = (await world.deployed())["spec"]["template"]
        names = [each["name"] for each in template["spec"]["schedulingGates"]]
        assert names == ["example.com/license", "singleton.bot/turn"]


async def test_a_killed_operator_is_followed_by_one_that_goes_on(bed: Bed, ns: str, operate: Operate) -> None:
    world = await make(bed, ns)
    async with operate() as operator:
        await world.guarded()
        await world.kubectl("rollout", "restart", f"deployment/{NAME}")
        await operator.kill()
    async with operate():
        await world.settled()
        world.assert_never_two()


def lease(world: World) -> str:
    """Where the Lease of the bot's turn is."""
    return path("leases", "telegrambot-operator", f"telegrambot-{world.bot.id}")


async def edited(world: World, body: dict[str, Any]) -> None:
    """Edit the Lease as a person would, and have the bot start anew."""
    await world.bed.kube.patch(lease(world), body)
    await world.kubectl("rollout", "restart", f"deployment/{NAME}")


@pytest.mark.parametrize("holder", ["nonsense", "shop/never-existed/0000"])
async def test_a_lease_that_somebody_has_edited_holds_the_turn_until_it_is_deleted(
    holder: str, bed: Bed, ns: str, operate: Operate
) -> None:
    async with operate():
        world = await make(bed, ns)
        await world.guarded()
        notes = {"singleton.bot/node": None, "singleton.bot/grace-seconds": None}
        await edited(world, {"metadata": {"annotations": notes}, "spec": {"holderIdentity": holder}})
        await world.says("Stalled", "True", "PodUnreachable", text=f"or the Lease telegrambot-{world.bot.id}")
        assert await waiting(world)
        await bed.kube.delete(lease(world))
        await world.settled()
        world.assert_never_two()


async def another(world: World, uid: str) -> bool:
    """Whether the only pod is another one by now."""
    return [pod["metadata"]["uid"] for pod in await world.pods()] not in ([], [uid])


async def test_a_lease_that_cannot_be_deleted_does_its_work_all_the_same(bed: Bed, ns: str, operate: Operate) -> None:
    async with operate():
        world = await make(bed, ns)
        await world.guarded()
        where, first = lease(world), (await world.only_pod())["metadata"]["uid"]
        await bed.kube.patch(where, {"metadata": {"finalizers": ["example.com/held"]}})
        try:
            await bed.kube.delete(where)
            await world.kubectl("rollout", "restart", f"deployment/{NAME}")
            await bed.until(lambda: another(world, first), what="a pod that had to wait for its turn")
            await world.settled()
        finally:
            await bed.kube.patch(where, {"metadata": {"finalizers": None}})
        await world.kubectl("rollout", "restart", f"deployment/{NAME}")
        await world.settled()
        world.assert_never_two()
