"""Who is the bot: two TelegramBots of one, a token that changes under a running bot, a label that somebody edits."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from tests.bed.kube import path
from tests.e2e.world import NAME, Object, Operate, World, is_ready

if TYPE_CHECKING:
    from tests.bed.bed import Bed
    from tests.bed.telegram import Bot

pytestmark = pytest.mark.bed


async def twin(world: World, *, bot: Bot | None = None, **more: Any) -> World:
    """A world in a namespace of its own with the same bot; its TelegramBot owns its Deployment."""
    ns = await world.bed.namespace()
    made = World(world.bed, ns, bot or world.bot, adopt=False, **more)
    made.spec = dict(world.spec)
    await world.bed.secret(ns, "shop-bot", token=made.bot.token)
    return made


async def put_token(world: World, token: str) -> None:
    """Replace what the Secret holds, and have the operator look: it watches no Secrets."""
    await world.kubectl("patch", "secret", "shop-bot", "-p", json.dumps({"stringData": {"token": token}}))
    spec = (await world.bed.kube.get("telegrambots", world.ns, "shop") or {})["spec"]
    await world.edit(conflict={"clearAfterSeconds": spec["conflict"]["clearAfterSeconds"] + 1})


async def looked(world: World) -> None:
    """Wait until the status is of the present spec."""

    async def current() -> bool:
        found = await world.bed.kube.get("telegrambots", world.ns, "shop") or {}
        return bool(found["status"].get("observedGeneration") == found["metadata"]["generation"])

    await world.bed.until(current, what="a status of the present spec")


async def test_of_two_namespaces_the_younger_gets_no_pod_learns_no_name_and_takes_over(
    bed: Bed, ns: str, operate: Operate
) -> None:
    first = await World.make(bed, ns, adopt=False)
    second = await twin(first)
    async with operate():
        await first.guarded()
        await first.a_second_older()
        await bed.apply(second.resource())
        text = "a TelegramBot of another namespace is older and runs the same bot"
        await second.says("Ready", "False", "DuplicateBot", text=text)
        await second.says("Stalled", "True", "DuplicateBot", text=text)
        assert await second.pods() == []
        await first.settled()

        await first.kubectl("delete", "tgbot", "shop")
        await second.settled()
        assert await first.pods() == []
        await second.a_second_older()
        await bed.apply(first.resource())  # in the other order: who was first is younger now
        await first.says("Ready", "False", "DuplicateBot", text="of another namespace")
        await second.settled()
        first.assert_never_two()
        assert not re.search(rf"{first.ns}\b", await second.all_said())
        assert not re.search(rf"{second.ns}\b", await first.all_said())


async def test_the_younger_takes_over_from_a_deployment_that_was_adopted(bed: Bed, ns: str, operate: Operate) -> None:
    world = await World.make(bed, ns)
    owned = World(bed, ns, world.bot, adopt=False, spec=dict(world.spec))
    async with operate():
        await world.guarded()
        await world.a_second_older()
        await bed.apply(owned.resource("second"))
        await world.says("Ready", "False", "DuplicateBot", text="TelegramBot shop is older", name="second")
        await world.kubectl("delete", "tgbot", "shop")
        await world.says("Ready", "True", "Running", name="second")

        async def let_go() -> bool:
            deployment = await world.deployed()
            return "singleton.bot/name" not in deployment["metadata"]["labels"] and not deployment["spec"]["replicas"]

        await bed.until(let_go, what=f"Deployment {NAME} without pods and without our mark")
        (pod,) = await world.pods()
        assert pod["metadata"]["labels"]["singleton.bot/name"] == "second"
        world.assert_never_two()


async def test_a_new_token_of_the_same_bot_restarts_nothing(bed: Bed, ns: str, operate: Operate) -> None:
    world = await World.make(bed, ns)
    async with operate():
        await world.guarded()
        pod, generation = await world.only_pod(), (await world.deployed())["metadata"]["generation"]
        fresh = f"{world.bot.id}:BB{world.bot.token.partition(':')[2][2:]}"
        bed.telegram.bots[fresh] = world.bot
        await put_token(world, fresh)
        await looked(world)
        await world.settled()
        assert (await world.only_pod())["metadata"]["uid"] == pod["metadata"]["uid"]
        assert (await world.deployed())["metadata"]["generation"] == generation
        assert (await world.status())["bot"]["id"] == world.bot.id
        world.assert_never_two()


async def test_a_secret_that_turns_invalid_stops_nobody(bed: Bed, ns: str, operate: Operate) -> None:
    world = await World.make(bed, ns)
    async with operate():
        await world.guarded()
        pod, generation = await world.only_pod(), (await world.deployed())["metadata"]["generation"]
        await put_token(world, "hunter2-is-not-a-token")
        await world.says("Ready", "False", "TokenInvalid", text="does not hold a bot token")
        await world.says("Stalled", "True", "TokenInvalid")
        await world.says("Pinned", "True", text=f"locked on {world.bot.id}")
        assert (await world.only_pod())["metadata"]["uid"] == pod["metadata"]["uid"]
        assert (await world.deployed())["metadata"]["generation"] == generation
        assert "hunter2" not in await world.all_said()
        await put_token(world, world.bot.token)
        await world.settled()
        world.assert_never_two()


@pytest.mark.parametrize("lock", ["Scheduler", "Gate"])
async def test_a_secret_that_gets_another_bots_token_moves_the_identity_and_frees_the_old_one(
    lock: str, bed: Bed, ns: str, operate: Operate
) -> None:
    """The younger TelegramBot of the first bot takes it over, when the process that polled it has ended."""
    world = await World.make(bed, ns, spec={"lock": lock})
    waiting = await twin(world)
    other = bed.telegram.new_bot()
    async with operate():
        await world.guarded()
        await world.a_second_older()
        await bed.apply(waiting.resource())
        await waiting.says("Ready", "False", "DuplicateBot")
        await put_token(world, other.token)
        await waiting.settled()
        await bed.until(lambda: len(bed.alive(other)) == 1, what="the other bot runs")
        await world.says("Ready", "True", "Running")
        assert (await world.only_pod())["metadata"]["labels"]["singleton.bot/bot"] == str(other.id)
        assert (await world.status())["bot"]["id"] == other.id
        world.assert_never_two()
        assert bed.overlaps(other) == []
        assert other.conflicts == []


async def test_a_pod_that_comes_with_another_bots_token_waits_for_that_bots_turn(
    bed: Bed, ns: str, operate: Operate
) -> None:
    """Nobody tells the operator of the new Secret; under Gate it looks before it opens the pod that was born of it."""
    older = await World.make(bed, await bed.namespace(), adopt=False, spec={"lock": "Gate"})
    world = await World.make(bed, ns, spec={"lock": "Gate"})
    async with operate():
        await older.guarded()
        await older.a_second_older()
        await world.guarded()
        token = json.dumps({"stringData": {"token": older.bot.token}})
        await world.kubectl("patch", "secret", "shop-bot", "-p", token)
        pod = await world.only_pod()
        await world.kubectl("delete", "pod", pod["metadata"]["name"], "--wait=false")
        await world.says("Ready", "False", "DuplicateBot")
        await bed.until(lambda: nobody(world), what="no pod")
        await older.settled()
        older.assert_never_two()


async def nobody(world: World) -> bool:
    return await world.pods() == []


@pytest.mark.parametrize("lock", ["Scheduler", "Gate"])
@pytest.mark.parametrize("value", ["999999999", None], ids=["changed", "removed"])
async def test_a_label_that_somebody_edits_on_the_running_pod_is_restored(
    value: str | None, lock: str, bed: Bed, ns: str, operate: Operate
) -> None:
    world = await World.make(bed, ns, spec={"lock": lock})
    async with operate():
        await world.guarded()
        pod = await world.only_pod()
        body: Object = {"metadata": {"labels": {"singleton.bot/bot": value}}}
        await bed.kube.patch(path("pods", ns, pod["metadata"]["name"]), body)
        await bed.until(lambda: wears(world, str(world.bot.id)), what="the label as it was")
        await world.kubectl("rollout", "restart", f"deployment/{NAME}")
        await world.settled()
        world.assert_never_two()


async def wears(world: World, identity: str) -> bool:
    pods = await world.pods()
    return [pod["metadata"]["labels"].get("singleton.bot/bot") for pod in pods if is_ready(pod)] == [identity]
