"""What docs/security.md says that somebody can do who may write pods and TelegramBots in one namespace, and no more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.world import Operate, World, is_ready

if TYPE_CHECKING:
    from tests.bed.bed import Bed

pytestmark = pytest.mark.bed


def labelled(ns: str, identity: int) -> dict[str, Any]:
    """A pod that somebody gave a bot's label; it polls nothing."""
    metadata = {"name": "claim", "namespace": ns, "labels": {"singleton.bot/bot": str(identity)}}
    spec = {"terminationGracePeriodSeconds": 1, "containers": [{"name": "main", "image": "pause"}]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


async def test_a_label_in_another_namespace_stops_no_bot_that_runs_and_holds_up_its_next_pod(
    bed: Bed, ns: str, operate: Operate
) -> None:
    world, elsewhere = await World.make(bed, ns), await bed.namespace()
    async with operate():
        await world.guarded()
        before = await world.only_pod()
        await bed.apply(labelled(elsewhere, world.bot.id))
        unscheduled = "--for=jsonpath={.status.conditions[?(@.type=='PodScheduled')].reason}=Unschedulable"
        await bed.kubectl("-n", elsewhere, "wait", unscheduled, "pod/claim", "--timeout=60s")
        await world.settled()
        assert (await world.only_pod())["metadata"]["uid"] == before["metadata"]["uid"]

        await world.edit(suspend=True)
        await bed.kubectl("-n", elsewhere, "wait", "--for=condition=Ready", "pod/claim", "--timeout=60s")
        await world.edit(suspend=False)
        await world.says("Ready", "False", "WaitingForTurn", text="one in another namespace")
        assert is_ready(await bed.get("pod", "claim", elsewhere) or {}), "it is not the operator's to delete"
        assert elsewhere not in await world.all_said()
        await bed.kubectl("-n", elsewhere, "delete", "pod", "claim")
        await world.settled()
        world.assert_never_two()


async def pretender(world: World) -> World:
    """A TelegramBot elsewhere that claims the same bot with a token that somebody made up."""
    made = World(world.bed, await world.bed.namespace(), world.bot, adopt=False, image="pause", spec=dict(world.spec))
    await world.bed.secret(made.ns, "shop-bot", token=f"{world.bot.id}:{'x' * 35}")
    return made


async def test_a_made_up_token_does_nothing_against_an_older_telegrambot(bed: Bed, ns: str, operate: Operate) -> None:
    world = await World.make(bed, ns)
    other = await pretender(world)
    async with operate():
        await world.guarded()
        before = await world.only_pod()
        await world.a_second_older()
        await bed.apply(other.resource())
        await other.says("Ready", "False", "DuplicateBot", text="a TelegramBot of another namespace is older")
        assert await other.pods() == []
        await world.settled()
        assert (await world.only_pod())["metadata"]["uid"] == before["metadata"]["uid"]


async def test_a_made_up_token_gives_way_to_a_younger_telegrambot_whose_token_telegram_knows(
    bed: Bed, ns: str, operate: Operate
) -> None:
    world = await World.make(bed, ns, adopt=False)
    other = await pretender(world)
    async with operate():
        await bed.apply(other.resource())
        await other.says("Stalled", "True", "TokenInvalid")
        await other.a_second_older()
        await bed.apply(world.resource())
        await world.settled()
        text = "a TelegramBot of another namespace has a token that Telegram knows"
        await other.says("Stalled", "True", "DuplicateBot", text=text)
    async with operate():  # one that has just started knows nothing that does not stand in the statuses
        await other.edit(conflict={"clearAfterSeconds": 5})
        await other.kubectl("wait", "--for=jsonpath={.status.observedGeneration}=2", "tgbot/shop", "--timeout=60s")
        await world.settled()
        await other.says("Ready", "False", "DuplicateBot", text=text)
        assert await other.pods() == []
        world.assert_never_two()
