"""A TelegramBot's life: it adopts or owns a Deployment, holds it, follows every change, and lets go without a trace."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.e2e.world import NAME, Object, Operate, World, is_ready, locks, middle_of_a_rolling_update

if TYPE_CHECKING:
    from tests.bed.bed import Bed

pytestmark = pytest.mark.bed


def pod_spec(deployment: Object) -> Object:
    spec: Object = deployment["spec"]["template"]["spec"]
    return spec


async def test_three_fighting_replicas_become_one(bed: Bed, ns: str, operate: Operate) -> None:
    world = await World.make(bed, ns)
    await bed.apply(world.plain(replicas=3))
    await bed.until(lambda: world.bot.conflicts, what="three pods fighting")
    async with operate():
        await world.guarded()
        before = len(world.bot.conflicts)
        await world.says("Singleton", "True", "OnePod")
        await world.says("Pinned", "True", "Pinned", text=f"locked on {world.bot.id}")
        assert len(await world.pods()) == 1
        assert len(world.bot.conflicts) == before


async def test_adoption_in_the_middle_of_a_rolling_update_ends_with_one_pod_of_the_new_version(
    bed: Bed, ns: str, operate: Operate
) -> None:
    world = await World.make(bed, ns)
    await middle_of_a_rolling_update(world, 3)
    async with operate():
        await bed.apply(world.resource())
        await world.pinned()

        async def one_of_the_new() -> bool:
            probes = ["readinessProbe" in pod["spec"]["containers"][0] for pod in await world.pods()]
            return probes == [True] and len(bed.alive(world.bot)) == 1

        await bed.until(one_of_the_new, what="one pod of the new version")
        await world.says("Ready", "False", "PodNotReady")
        await world.patch({"template": {"spec": {"containers": [world.container()]}}})
        await world.settled()


async def test_a_rollout_that_somebody_else_has_made_hang_goes_on(bed: Bed, ns: str, operate: Operate) -> None:
    """Replicas and Recreate set at once in a rolling update: Kubernetes then does neither, and two versions stay."""
    world = await World.make(bed, ns)
    await middle_of_a_rolling_update(world, 3)
    await world.patch({"replicas": 1, "strategy": {"type": "Recreate", "rollingUpdate": None}})
    await world.rested()
    assert len(bed.alive(world.bot)) == 4
    async with operate():
        await bed.apply(world.resource())
        await bed.until(lambda: len(bed.alive(world.bot)) == 1, what="one process")
        await world.patch({"template": {"spec": {"containers": [world.container()]}}})
        await world.settled()


async def test_suspending_in_the_middle_of_a_rolling_update_leaves_no_pod(bed: Bed, ns: str, operate: Operate) -> None:
    world = await World.make(bed, ns, spec={"suspend": True})
    await middle_of_a_rolling_update(world, 1)
    async with operate():
        await bed.apply(world.resource())
        await bed.until(lambda: not bed.alive(world.bot), what="nothing runs")
        await world.says("Ready", "False", "Suspended")


async def test_an_apply_that_breaks_the_pin_and_brings_a_new_version_rolls_that_out(
    bed: Bed, ns: str, operate: Operate
) -> None:
    world = await World.make(bed, ns)
    async with operate():
        await world.guarded()
        rolling = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
        container = world.container(VERSION="2")
        await world.patch({"replicas": 3, "strategy": rolling, "template": {"spec": {"containers": [container]}}})
        await world.pinned()
        await bed.until(lambda: has_version(world, "2"), what="version 2 in the Deployment")
        await world.settled()
        assert {"name": "VERSION", "value": "2"} in (await world.only_pod())["spec"]["containers"][0]["env"]
        world.assert_never_two()


async def test_the_identity_is_the_bot_id_or_else_the_resource(bed: Bed, ns: str, operate: Operate) -> None:
    async with operate():
        world = await World.make(bed, ns)
        await world.guarded()
        assert (await world.only_pod())["metadata"]["labels"]["singleton.bot/bot"] == str(world.bot.id)
        assert (await world.status())["bot"]["id"] == world.bot.id
        await world.edit(token=None)
        await world.says("Pinned", "True", text=f"locked on {ns}.shop")
        await world.settled()
        assert (await world.only_pod())["metadata"]["labels"]["singleton.bot/bot"] == f"{ns}.shop"
        world.assert_never_two()


async def test_letting_go_gives_the_deployment_back_as_it_was_apart_from_the_pin(
    bed: Bed, ns: str, operate: Operate
) -> None:
    world = await World.make(bed, ns)
    mine = {"labelSelector": {"matchLabels": {"app": "cache"}}, "topologyKey": "kubernetes.io/hostname"}
    plain = world.plain()
    plain["spec"]["template"]["spec"]["affinity"] = {
        "podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [mine]}
    }
    await bed.apply(plain)
    before = await world.deployed()
    async with operate():
        await bed.apply(world.resource())
        await world.settled()
        held = await world.deployed()
        terms = pod_spec(held)["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
        assert [term for term in terms if term not in locks(held["spec"])] == [mine]
        assert len(locks(held["spec"])) == 1
        await world.kubectl("delete", "tgbot", "shop")
        await bed.until(lambda: released(world), what="the Deployment is released")
        after = await world.deployed()
    assert after["spec"]["template"] == before["spec"]["template"]
    assert after["metadata"]["labels"] == before["metadata"]["labels"]
    assert (after["spec"]["replicas"], after["spec"]["strategy"]) == (1, {"type": "Recreate"})


async def released(world: World) -> bool:
    deployment = await world.deployed()
    return "singleton.bot/name" not in deployment["metadata"]["labels"] and not locks(deployment["spec"])


async def test_a_resource_deleted_while_the_operator_is_down_is_let_go_of_at_start(
    bed: Bed, ns: str, operate: Operate
) -> None:
    world = await World.make(bed, ns)
    async with operate():
        await world.guarded()
    await world.kubectl("delete", "tgbot", "shop")
    async with operate():
        await bed.until(lambda: released(world), what="the Deployment is released")


async def test_an_owned_deployment_goes_with_its_resource(bed: Bed, ns: str, operate: Operate) -> None:
    world = await World.make(bed, ns, adopt=False)
    async with operate():
        await world.guarded()
        await world.kubectl("delete", "tgbot", "shop", "--cascade=foreground")
        await bed.until(lambda: gone(world), patience=60, what="nothing is left")
        world.assert_never_two()


async def gone(world: World) -> bool:
    deployment = await world.bed.get("deployment", world.deployment, world.ns)
    resource = await world.bed.get("telegrambot", "shop", world.ns)
    return deployment is None and resource is None and not await world.pods() and not world.bed.alive(world.bot)


async def test_a_deployment_that_comes_later_is_picked_up_and_one_made_anew_as_well(
    bed: Bed, ns: str, operate: Operate
) -> None:
    world = await World.make(bed, ns)
    async with operate():
        await bed.apply(world.resource())
        await world.says("Ready", "False", "DeploymentNotFound", text=f"there is no Deployment {NAME}")
        await bed.apply(world.plain(replicas=2))
        await world.pinned()
        await world.settled()
        await world.kubectl("delete", "deployment", NAME)
        await world.says("Ready", "False", "DeploymentNotFound")
        await bed.apply(world.plain(replicas=2))
        await world.pinned()
        await world.settled()


async def test_of_two_resources_on_one_deployment_the_older_keeps_it(bed: Bed, ns: str, operate: Operate) -> None:
    world = await World.make(bed, ns)
    async with operate():
        await world.guarded()
        await world.a_second_older()
        await bed.apply(world.resource("second"))
        said = await world.says("Ready", "False", "DeploymentInUse", name="second")
        assert "TelegramBot shop is older" in said["message"]
        await world.says("Stalled", "True", "DeploymentInUse", name="second")
        await world.says("Ready", "True")
        await world.kubectl("delete", "tgbot", "shop")
        await world.says("Ready", "True", name="second")
        await world.settled_as("second")
        world.assert_never_two()


async def test_suspending_stops_the_bot_and_resuming_starts_it(bed: Bed, ns: str, operate: Operate) -> None:
    world = await World.make(bed, ns)
    async with operate():
        await world.guarded()
        await world.edit(suspend=True)
        await bed.until(lambda: not bed.alive(world.bot), what="no process")
        await world.says("Ready", "False", "Suspended")
        await world.says("Reconciling", "False", "Settled")
        await world.scale(1)
        await bed.until(lambda: replicas(world, 0), what="zero replicas again")
        await world.edit(suspend=False)
        await world.settled()
        world.assert_never_two()


async def replicas(world: World, count: int) -> bool:
    deployment = await world.deployed()
    return bool(deployment["spec"]["replicas"] == count)


async def test_an_owned_template_follows_the_resource(bed: Bed, ns: str, operate: Operate) -> None:
    world = await World.make(bed, ns, adopt=False, spec={})
    world.spec["token"]["env"] = "TELEGRAM_TOKEN"
    async with operate():
        await world.guarded()
        container = pod_spec(await world.deployed())["containers"][0]
        assert container["terminationMessagePolicy"] == "FallbackToLogsOnError"
        assert {"TELEGRAM_TOKEN", "BOT_TOKEN"} <= {each["name"] for each in container["env"]}
        await world.change(VERSION="2")
        await bed.until(lambda: has_version(world, "2"), what="the new version in the Deployment")
        await world.settled()
        world.assert_never_two()


async def has_version(world: World, version: str) -> bool:
    env = pod_spec(await world.deployed())["containers"][0]["env"]
    return {"name": "VERSION", "value": version} in env


async def test_pointing_at_another_deployment_lets_go_of_the_first(bed: Bed, ns: str, operate: Operate) -> None:
    world = await World.make(bed, ns)
    async with operate():
        await world.guarded()
        other = world.plain(replicas=0)
        other["metadata"]["name"] = "other"
        other["spec"]["selector"]["matchLabels"] = other["spec"]["template"]["metadata"]["labels"] = {"app": "other"}
        await bed.apply(other)
        await world.edit(deploymentRef={"name": "other"})
        await bed.until(lambda: released(world), what="the first Deployment is released")
        await world.says("Pinned", "True", text="Deployment other")


async def test_an_applier_that_sets_three_replicas_for_ever_never_gets_a_second_poller(
    bed: Bed, ns: str, operate: Operate
) -> None:
    world = await World.make(bed, ns)
    manifest = json.dumps(world.plain(replicas=3, strategy={"type": "Recreate"}))
    async with operate():
        await world.guarded()
        for _ in range(10):
            await world.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=manifest)
            await bed.until(lambda: replicas(world, 1), what="one replica again")
        await world.settled()
        world.assert_never_two()


async def test_a_resource_made_while_the_operator_is_down_is_guarded_at_start(
    bed: Bed, ns: str, operate: Operate
) -> None:
    world = await World.make(bed, ns)
    await bed.apply(world.plain(replicas=2))
    await bed.apply(world.resource())
    async with operate():
        await world.settled()


async def test_the_younger_of_two_with_one_bot_gets_no_pod(bed: Bed, ns: str, operate: Operate) -> None:
    world = await World.make(bed, ns, adopt=False)
    async with operate():
        await world.guarded()
        await world.a_second_older()
        await bed.apply(world.resource("second"))
        await world.says("Ready", "False", "DuplicateBot", text="TelegramBot shop is older", name="second")
        await world.says("Stalled", "True", "DuplicateBot", name="second")
        await world.settled()
        assert (await world.status("second")).get("pod") is None
        world.assert_never_two()


async def test_a_quiet_world_is_written_to_by_nobody_not_even_by_a_new_operator(
    bed: Bed, ns: str, operate: Operate
) -> None:
    world = await World.make(bed, ns)
    async with operate():
        await world.guarded()
        await world.says("Reconciling", "False", "Settled")
    before = await versions(world)
    async with operate():
        await world.edit(conflict={"clearAfterSeconds": 301})
        await world.says("Conflicted", "False", text="301 s")  # so it has looked
        after = await versions(world)
    assert after == before


async def versions(world: World) -> Object:
    """What changes with every write."""
    return {
        "deployment": (await world.deployed())["metadata"]["resourceVersion"],
        "pod": [pod["metadata"]["resourceVersion"] for pod in await world.pods() if is_ready(pod)],
    }


async def test_each_change_is_told_in_one_event(bed: Bed, ns: str, operate: Operate) -> None:
    world = await World.make(bed, ns)
    async with operate():
        await world.guarded()
        await world.scale(2)
        await world.pinned()
        await world.settled()
        await bed.until(lambda: told(world, "Running"), what="the Event of a running bot")
        events = json.loads(await world.kubectl("get", "events", "-o", "json"))["items"]
    mine = [each for each in events if each["involvedObject"]["kind"] == "TelegramBot"]
    assert [each["message"] for each in mine if each["reason"] == "Pinned"] == [
        f"Deployment {NAME}: strategy RollingUpdate -> Recreate, lock written into the pod template.",
        f"Deployment {NAME}: replicas 2 -> 1.",
    ]
    assert all(each["reason"].isalnum() and each["reason"][0].isupper() for each in mine)
    assert sum(each["reason"] == "Running" for each in mine) <= 2


async def told(world: World, reason: str) -> bool:
    text = await world.kubectl("get", "events", f"--field-selector=reason={reason}", "-o", "name")
    return bool(text.strip())


async def test_an_autoscaler_on_the_deployment_is_named_and_never_gets_a_second_poller(
    bed: Bed, ns: str, operate: Operate
) -> None:
    """Nothing refuses its scaling here: it puts the Deployment to two again and again, and the operator back to one."""
    async with operate():
        world = await World.make(bed, ns)
        await world.guarded()
        await world.kubectl("autoscale", "deployment", NAME, "--min=2", "--max=5", "--cpu=50%", "--name=busy")
        said = await world.says("Pinned", "False", "AutoscalerFound", text="HorizontalPodAutoscaler busy scales")
        assert (await world.condition("Stalled"))["message"] == said["message"]
        await bed.until(lambda: _has_scaled(world), patience=60.0, what="the autoscaler's own scaling")
        await world.kubectl("delete", "hpa", "busy")
        await world.pinned()
        await world.settled()
        world.assert_never_two()


async def _has_scaled(world: World) -> bool:
    return bool(await world.kubectl("get", "events", "--field-selector=reason=SuccessfulRescale", "-o", "name"))
