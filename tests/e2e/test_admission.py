"""With the policies of deploy/admission adoption restarts nothing, the pin needs no reaction, and nothing makes two."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

from tests.apiserver.admission import FOLDER, TABLE, write_table
from tests.bed.controlplane import KubectlError
from tests.bed.kube import path
from tests.e2e.world import DEEDS, NAME, Operate, World, force_delete, locks

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.bed.bed import Bed

pytestmark = [pytest.mark.bed]


@pytest_asyncio.fixture(autouse=True)
async def policies(bed: Bed, ns: str) -> AsyncIterator[None]:
    """The policies, in force for one test: they serve the whole cluster.

    An API server goes by a new policy only a moment after it has stored it.
    """
    await bed.kubectl("apply", "-f", str(FOLDER))
    await write_table(bed, ns, {})
    await bed.kube.delete(path("configmaps", ns, TABLE))
    yield
    await bed.kubectl("delete", "-f", str(FOLDER), "--ignore-not-found")


async def template(world: World) -> dict[str, Any]:
    spec: dict[str, Any] = (await world.deployed())["spec"]["template"]
    return spec


async def is_locked(world: World, pod: dict[str, Any]) -> bool:
    labelled = pod["metadata"]["labels"].get("singleton.bot/bot") == str(world.bot.id)
    return labelled and bool(locks({"template": {"spec": pod["spec"]}}))


async def test_adopting_a_running_bot_restarts_nothing(bed: Bed, ns: str, operate: Operate) -> None:
    world = await World.make(bed, ns)
    await bed.apply(world.plain())
    await bed.until(world.bot.polling_now, what="the bot polling")
    before, pod = await template(world), await world.only_pod()
    async with operate():
        await bed.apply(world.resource())
        await world.by_admission()
        assert await template(world) == before
        after = await world.only_pod()
        assert after["metadata"]["uid"] == pod["metadata"]["uid"]
        assert after["metadata"]["labels"]["singleton.bot/bot"] == str(world.bot.id)
        sets = json.loads(await world.kubectl("get", "replicasets", "-o", "json"))["items"]
        assert len(sets) == 1
        code, said = await bed.command("doctor", "shop", "-n", ns)
        assert (code, f"the admission policies lock its pods on {world.bot.id}" in said) == (0, True), said
        world.assert_never_two()


async def test_policies_that_have_just_come_are_not_relied_on(bed: Bed, ns: str, operate: Operate) -> None:
    """Adopting right after installing them: nothing restarts, and Pinned is said only when the lock is sure to be."""
    world = await World.make(bed, ns, grace=3)
    await bed.kubectl("delete", "-f", str(FOLDER))
    await bed.apply(world.plain())
    await bed.until(world.runs_alone, what="the bot running")
    before, pod = await template(world), await world.only_pod()
    await bed.kubectl("apply", "-f", str(FOLDER))
    async with operate():
        await bed.apply(world.resource())
        await world.says("Pinned", "False", "LockMissing", text="came a moment ago")
        await world.says("Pinned", "True", "Pinned", text="at admission")
        await DEEDS["a rollout restart"](world)
        await world.by_admission()
        assert await is_locked(world, await world.only_pod())
        after = await template(world)
        after["metadata"].pop("annotations")  # of the restart
        assert after == before
        assert (await world.only_pod())["metadata"]["uid"] != pod["metadata"]["uid"]
        world.assert_never_two()
    async with operate():  # one that has just started goes on from there
        await world.edit(suspend=True)
        await world.says("Ready", "False", "Suspended")
        assert (await world.condition("Pinned"))["status"] == "True"


SOME = ("a rollout", "a deleted pod", "a rollback A-B-A", "a scale 1-0-1", "a strategy change in a rollout")


async def guarded(bed: Bed, ns: str, **spec: Any) -> World:
    """A running bot, guarded by the policies. Its operator has to run."""
    world = await World.make(bed, ns, spec=spec, grace=3)
    await bed.apply(world.plain())
    await bed.apply(world.resource())
    await world.by_admission()
    return world


@pytest.mark.parametrize("deed", SOME)
async def test_never_two(deed: str, bed: Bed, ns: str, operate: Operate) -> None:
    async with operate():
        world = await guarded(bed, ns)
        await DEEDS[deed](world)
        await world.by_admission()
        assert not locks((await world.deployed())["spec"])
        world.assert_never_two()


async def test_never_two_while_the_operator_is_down(bed: Bed, ns: str, operate: Operate) -> None:
    async with operate():
        world = await guarded(bed, ns)
    await world.patch({"replicas": 3, "strategy": {"type": "RollingUpdate", "rollingUpdate": None}})
    spec = (await world.deployed())["spec"]
    assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})
    await DEEDS["a rollback A-B-A"](world)
    await world.rested()
    async with operate():
        await world.by_admission()
        world.assert_never_two()


async def test_a_scale_is_refused_with_a_sentence(bed: Bed, ns: str, operate: Operate) -> None:
    async with operate():
        world = await guarded(bed, ns)
        with pytest.raises(KubectlError, match="TelegramBot shop keeps Deployment telegram-bot at 1 pod"):
            await world.scale(2)


async def test_every_pod_waits_for_its_turn_and_a_forced_delete_makes_no_second_poller(
    bed: Bed, ns: str, operate: Operate
) -> None:
    async with operate():
        world = await guarded(bed, ns, lock="Gate")
        await force_delete(world)
        await world.says("Ready", "False", "WaitingForTurn", text="vanished while it ran; its node")
        await world.by_admission()
        assert await is_locked(world, await world.only_pod())
        await DEEDS["a rollout"](world)
        await world.by_admission()
        world.assert_never_two()


async def test_a_deployment_that_comes_later_is_born_pinned(bed: Bed, ns: str, operate: Operate) -> None:
    async with operate():
        world = await World.make(bed, ns)
        await bed.apply(world.resource())
        await bed.until(world.lock_table, what="an entry in the table")
        await bed.apply(world.plain(replicas=3))
        assert (await world.deployed())["spec"]["replicas"] == 1
        await world.by_admission()
        assert await is_locked(world, await world.only_pod())
        world.assert_never_two()


async def test_suspending_and_resuming_gets_past_the_pin(bed: Bed, ns: str, operate: Operate) -> None:
    async with operate():
        world = await guarded(bed, ns)
        await world.edit(suspend=True)
        await world.says("Ready", "False", "Suspended")
        await bed.until(lambda: not bed.alive(world.bot), what="no process")
        await world.edit(suspend=False)
        await world.by_admission()
        world.assert_never_two()


@pytest.mark.parametrize("lock", ["Scheduler", "Gate"])
async def test_a_bot_that_is_let_go_leaves_the_table_and_runs_on(
    lock: str, bed: Bed, ns: str, operate: Operate
) -> None:
    async with operate():
        world = await guarded(bed, ns, lock=lock)
        pod = await world.only_pod()
        await world.kubectl("delete", "tgbot", "shop")

        async def let_go() -> bool:
            labels = (await world.deployed())["metadata"]["labels"]
            return not await world.lock_table() and "singleton.bot/name" not in labels

        await bed.until(let_go, what="a Deployment that is let go")
        assert (await world.only_pod())["metadata"]["uid"] == pod["metadata"]["uid"]
        await DEEDS["a deleted pod"](world)
        await world.rested()
        assert not await is_locked(world, (await world.pods())[-1])


@pytest.mark.parametrize("lock", ["Scheduler", "Gate"])
async def test_release_by_hand_takes_a_bot_out_of_the_table_and_restarts_nothing(
    lock: str, bed: Bed, ns: str, operate: Operate
) -> None:
    async with operate():
        world = await guarded(bed, ns, lock=lock)
    before, pod = await template(world), await world.only_pod()
    code, said = await bed.command("release", "shop", "--namespace", ns)
    assert (code, "taken out of the lock table" in said) == (0, True), said
    assert NAME not in await world.lock_table()
    assert "singleton.bot/name" not in (await world.deployed())["metadata"]["labels"]
    assert await template(world) == before
    assert (await world.only_pod())["metadata"]["uid"] == pod["metadata"]["uid"]
    await DEEDS["a rollout restart"](world)
    await bed.until(world.runs_alone, what="a pod that nobody had to open")
    assert not await is_locked(world, await world.only_pod())
    world.assert_never_two()


async def test_a_held_pod_is_not_stranded_when_its_bot_is_deleted(bed: Bed, ns: str, operate: Operate) -> None:
    async with operate():
        world = await guarded(bed, ns, lock="Gate")
    await DEEDS["a deleted pod"](world)
    await world.kubectl("delete", "tgbot", "shop")
    async with operate():
        await bed.until(world.runs_alone, what="the pod that was held")
        world.assert_never_two()


@pytest.mark.parametrize("deed", ["edited", "emptied", "deleted", "garbage"])
async def test_a_table_that_somebody_changes_is_put_right(deed: str, bed: Bed, ns: str, operate: Operate) -> None:
    async with operate():
        world = await guarded(bed, ns)
        before = await world.lock_table()
        stranger = {"nginx": f"{world.bot.id} Gate 1 shop", "web": "what is this"}
        patches: dict[str, Any] = {
            "edited": {"data": {NAME: f"{world.bot.id} None 1 shop", **stranger}},
            "garbage": {"data": {NAME: "what is this", "shop-bot_token": "???"}},
            "emptied": {"data": None},
        }
        if deed == "deleted":
            await world.kubectl("delete", "configmap", TABLE)
        else:
            await world.kubectl("patch", "configmap", TABLE, "--type=merge", "-p", json.dumps(patches[deed]))

        async def right() -> bool:
            found = await world.lock_table()
            return {key: value for key, value in found.items() if key != "web"} == before

        await bed.until(right, what=f"the table as it was: {before}")
        world.assert_never_two()


async def test_the_lock_goes_into_the_template_when_the_policies_go_and_back_when_they_come(
    bed: Bed, ns: str, operate: Operate
) -> None:
    async with operate():
        world = await guarded(bed, ns)
        plain = await template(world)
        await bed.kubectl("delete", "-f", str(FOLDER))
        await world.pinned()
        await world.settled()
        assert not await world.lock_table()
        await bed.kubectl("apply", "-f", str(FOLDER))
        await world.by_admission()
        await bed.until(lambda: _is(world, plain), what="the template as the user wrote it")
        await world.by_admission()
        assert await is_locked(world, await world.only_pod())
        world.assert_never_two()


async def _is(world: World, plain: dict[str, Any]) -> bool:
    return await template(world) == plain


async def test_a_policy_that_does_not_lock_is_noticed_and_the_template_does_it(
    bed: Bed, ns: str, operate: Operate
) -> None:
    async with operate():
        world = await guarded(bed, ns)
        nobody = {"op": "add", "path": "/spec/matchConditions/-", "value": {"name": "nobody", "expression": "false"}}
        await bed.kubectl(
            "patch", "mutatingadmissionpolicy", "lock.singleton.bot", "--type=json", "-p", json.dumps([nobody])
        )

        async def noticed() -> bool:
            """It takes a moment until the changed policy counts: until then the next pod is locked, and is deleted."""
            if locks((await world.deployed())["spec"]):
                return True
            if await world.runs_alone():
                await DEEDS["a deleted pod"](world)
            return False

        await bed.until(noticed, what="the lock in the template, since a pod without it may not use the token")
        await world.says("Pinned", "True", "Pinned", text="the admission policies did not lock a pod")
        await world.pinned()
        await world.settled()
        assert await is_locked(world, await world.only_pod())
        world.assert_never_two()


async def test_an_autoscaler_is_named(bed: Bed, ns: str, operate: Operate) -> None:
    async with operate():
        world = await guarded(bed, ns)
        await world.kubectl("autoscale", "deployment", NAME, "--min=2", "--max=5", "--cpu=50%", "--name=busy")
        said = await world.says("Pinned", "False", "AutoscalerFound", text="HorizontalPodAutoscaler busy scales")
        assert (await world.condition("Stalled"))["message"] == said["message"]
        await world.kubectl("delete", "hpa", "busy")
        await world.by_admission()
        world.assert_never_two()
