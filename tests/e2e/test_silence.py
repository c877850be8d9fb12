"""A lost node whose process is dead: the operator listens to Telegram, and whoever still polls is heard.

The window is a few seconds here; the bots poll for two, and ask again at once.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.world import Operate, World, force_delete

if TYPE_CHECKING:
    from tests.bed.bed import Bed
    from tests.bed.node import Node

pytestmark = [pytest.mark.bed, pytest.mark.usefixtures("nodes")]

SHORT = {"TELEGRAM_SILENCE_SECONDS": "4"}
NEVER_IN_A_TEST = {"TELEGRAM_SILENCE_SECONDS": "3600"}
LOCKS = pytest.mark.parametrize("lock", ["Scheduler", "Gate"])


async def guarded(bed: Bed, ns: str, **spec: Any) -> World:
    world = await World.make(bed, ns, spec={"stuckPods": {"afterSeconds": 0}, **spec}, grace=1)
    await world.guarded()
    return world


async def lose_the_node(world: World) -> Node:
    """Cut the node of the only pod off; its process polls on."""
    node = world.bed.node_of(await world.only_pod())
    node.freeze()
    await world.bed.kubectl("wait", "--for=condition=Ready=Unknown", f"node/{node.name}", "--timeout=60s")
    return node


async def delete(world: World) -> None:
    pod = (await world.only_pod())["metadata"]["name"]
    await world.kubectl("delete", "pod", pod, "--wait=false")


async def proofs(world: World) -> list[str]:
    """What Events say of forced deletes that Telegram's silence has proven safe."""
    text = await world.kubectl("get", "events", "--field-selector=reason=StuckPodForceDeleted", "-o", "json")
    said = [each["message"] for each in json.loads(text)["items"]]
    return [each for each in said if "by Telegram's silence nobody polls" in each]


async def answered(world: World, text: str) -> None:
    """Wait until the bot has answered an update that was sent while none of its pods was there."""
    await world.bot.until(lambda: text in [each.get("text") for each in world.bot.sent])


@LOCKS
async def test_who_still_polls_is_heard_and_left_until_nobody_does(
    lock: str, bed: Bed, ns: str, operate: Operate
) -> None:
    async with operate(env=SHORT):
        world = await guarded(bed, ns, lock=lock)
        node = await lose_the_node(world)
        await delete(world)
        await world.says("Stalled", "True", "PodUnreachable", text="somebody polls Telegram with the bot's token")
        await world.says("Singleton", "Unknown", "PodUnreachable")
        assert bed.alive(world.bot), "its process lives on its lost node"
        assert await proofs(world) == []
        node.crash()
        world.bot.send("is anybody there?")
        await world.settled()
        await bed.until(lambda: proofs(world), what="the Event that names the proof")
        await answered(world, "is anybody there?")
        assert bed.overlaps(world.bot) == []


async def test_a_pod_that_was_forced_away_from_a_lost_node_gives_its_turn_up_when_telegram_is_silent(
    bed: Bed, ns: str, operate: Operate
) -> None:
    async with operate(env=SHORT):
        world = await guarded(bed, ns, lock="Gate")
        node = await lose_the_node(world)
        await force_delete(world)
        await world.says("Stalled", "True", "PodUnreachable", text="somebody polls Telegram with the bot's token")
        assert bed.alive(world.bot), "its process lives on its lost node"
        node.crash()
        world.bot.send("whose turn is it?")
        await world.settled()
        await answered(world, "whose turn is it?")
        assert bed.overlaps(world.bot) == []


async def test_while_it_listens_it_says_until_when_and_stops_when_it_is_of_no_use(
    bed: Bed, ns: str, operate: Operate
) -> None:
    async with operate(env=NEVER_IN_A_TEST):
        world = await guarded(bed, ns)
        node = await lose_the_node(world)
        node.crash()
        await delete(world)
        await world.says("Reconciling", "True", "Repairing", text="listening to Telegram until")
        await world.says("Stalled", "False")
        await world.bot.until(lambda: world.operator_polls()[-1].parked)
        await bed.kubectl("taint", "node", node.name, "node.kubernetes.io/out-of-service=off:NoExecute")
        await world.settled()
        assert world.operator_polls()[-1].result == "gone", "the poll was cut short before the next pod could start"
        assert world.bot.conflicts == []
        assert bed.overlaps(world.bot) == []


async def test_a_webhook_that_is_set_proves_nothing_for_a_bot_that_polls(bed: Bed, ns: str, operate: Operate) -> None:
    async with operate(env=SHORT):
        world = await guarded(bed, ns)
        node = await lose_the_node(world)
        node.crash()
        world.bot.set_webhook("https://example.com/elsewhere")
        await delete(world)
        await world.says("Stalled", "True", "PodUnreachable", text="a webhook is set")
        assert await proofs(world) == []


async def test_without_a_token_nobody_can_listen(bed: Bed, ns: str, operate: Operate) -> None:
    async with operate(env=SHORT):
        world = await World.make(bed, ns, token=False, spec={"stuckPods": {"afterSeconds": 0}})
        await world.guarded()
        node = await lose_the_node(world)
        await delete(world)
        await world.says("Stalled", "True", "PodUnreachable", text="make sure that the node is off")
        assert world.operator_polls() == []
        node.thaw()
        await world.settled()
        world.assert_never_two()
