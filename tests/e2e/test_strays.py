"""Pods that have a bot's token and are not the bot's: found after the first 409, named, removed where that is ours."""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING

import pytest

from tests.bed.botenv import argv
from tests.e2e.world import Object, Operate, World

if TYPE_CHECKING:
    from tests.bed.bed import Bed

pytestmark = pytest.mark.bed

WINDOW = 12  # seconds: a 409 that is seen only after its window is no news, and a busy machine may be late


def by_hand(world: World, ns: str | None = None, *, literal: bool = False) -> Object:
    """A pod that somebody made by hand with the bot's token, from its Secret or written out, and without any label."""
    spec = world.template()["spec"]
    if literal:
        spec["containers"][0]["env"][0] = {"name": "BOT_TOKEN", "value": world.bot.token}
    metadata = {"name": "debug", "namespace": ns or world.ns}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def copied(world: World) -> Object:
    """A second Deployment from the same manifest, under another name."""
    copy = world.plain()
    copy["metadata"]["name"] = "copy"
    copy["spec"]["selector"]["matchLabels"] = copy["spec"]["template"]["metadata"]["labels"] = {"app": "copy"}
    return copy


async def guarded(bed: Bed, ns: str, **spec: object) -> World:
    world = await World.make(bed, ns, spec=spec)
    world.spec["conflict"] = {"clearAfterSeconds": WINDOW}
    await world.guarded()
    return world


async def test_a_pod_made_by_hand_is_found_by_its_first_409_and_deleted(bed: Bed, ns: str, operate: Operate) -> None:
    async with operate():
        world = await guarded(bed, ns)
        own = (await world.only_pod())["metadata"]["uid"]
        await bed.apply(by_hand(world))
        said = await world.says("Conflicted", "True", "StrayPod", text=f"{ns}/debug")
        assert "from Secret shop-bot in its variable BOT_TOKEN" in said["message"]

        async def gone() -> bool:
            return await bed.get("pod", "debug", ns) is None

        await bed.until(gone, what="the stray pod is gone")
        await world.says("Conflicted", "False")
        await world.settled()
        assert (await world.only_pod())["metadata"]["uid"] == own
        about = await world.kubectl("get", "events", "--field-selector=reason=StrayDeleted", "-o", "json")
        assert {each["involvedObject"]["kind"] for each in json.loads(about)["items"]} == {"TelegramBot", "Pod"}


async def test_a_second_deployment_on_the_same_secret_is_named_and_left(bed: Bed, ns: str, operate: Operate) -> None:
    async with operate():
        world = await guarded(bed, ns)
        await bed.apply(copied(world))
        await world.says("Conflicted", "True", "StrayPod", text="of Deployment copy")
        said = await world.says("Stalled", "True", "StrayPod", text="scale Deployment copy to 0")
        assert f"{ns}/copy-" in said["message"]
        assert (await bed.get("deployment", "copy", ns) or {})["spec"]["replicas"] == 1
        await world.kubectl("delete", "deployment", "copy")
        await world.says("Conflicted", "False")
        await world.settled()


async def test_a_token_that_is_written_out_in_another_namespace_is_found_and_told_to_nobody(
    bed: Bed, ns: str, operate: Operate
) -> None:
    other = await bed.namespace()
    async with operate("--verbose") as operator:
        world = await guarded(bed, ns)
        await bed.apply(by_hand(world, other, literal=True))
        await world.says("Stalled", "True", "StrayPod", text=f"{other}/debug")
        assert await bed.get("pod", "debug", other) is not None
        secret = world.bot.token.partition(":")[2]
        assert secret not in await world.all_said()
        assert secret not in operator.log_text()
        await bed.kubectl("-n", other, "delete", "pod", "debug", "--force", "--grace-period=0")


async def test_with_duplicates_report_a_stray_pod_is_only_named(bed: Bed, ns: str, operate: Operate) -> None:
    async with operate():
        world = await guarded(bed, ns, duplicates="Report")
        await bed.apply(by_hand(world))
        await world.says("Stalled", "True", "StrayPod", text=f"kubectl -n {ns} delete pod debug")
        assert await bed.get("pod", "debug", ns) is not None


async def test_a_second_container_with_the_token_is_named(bed: Bed, ns: str, operate: Operate) -> None:
    async with operate():
        world = await World.make(bed, ns)
        plain = world.plain()
        plain["spec"]["template"]["spec"]["containers"].append(world.container() | {"name": "worker"})
        await bed.apply(plain)
        await bed.apply(world.resource())
        await world.says("Conflicted", "True", "InsidePod", text="containers bot and worker have the token")
        await world.says("Stalled", "True", "InsidePod", text="let only one of them poll")


async def test_two_workers_of_a_process_manager_are_told_by_what_they_print(
    bed: Bed, ns: str, operate: Operate
) -> None:
    world = await World.make(bed, ns)
    one = shlex.join(argv("raw"))
    both = " & ".join(f"{one} | sed -u 's/^/{number}|bot  | /'" for number in range(2))
    plain = world.plain()
    plain["spec"]["template"]["spec"]["containers"][0]["command"] = ["sh", "-c", f"{both} & wait"]
    async with operate():
        await bed.apply(plain)
        await bed.apply(world.resource())
        await world.says("Conflicted", "True", "InsidePod", text="workers 0|bot and 1|bot are cut off in turn")
