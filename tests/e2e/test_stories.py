"""What people call at night for, with every bot library of the bed: a 409 in the log, and its cause in the resource.

One library plays all stories at once, each in a namespace of its own with a bot of its own, under one operator: two
replicas, a second TelegramBot, a webhook that somebody sets, a stray pod, a laptop. Each has to be named, and over when
its window is.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from tests.bed.botenv import running
from tests.bed.kube import path
from tests.e2e.world import Object, Operate, World, assert_healthy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.bed.bed import Bed

pytestmark = [pytest.mark.bed, pytest.mark.bots]

LIBRARIES = ("python-telegram-bot", "aiogram", "pyTelegramBotAPI", "grammy", "telegraf", "node-telegram-bot-api")
# Seconds until a conflict is over: longer than the pauses of a bot that exits at each 409, and than a busy machine.
WINDOW = 12
HOOK = "https://old.example.com/telegram"


@asynccontextmanager
async def world_of(bed: Bed, library: str) -> AsyncIterator[World]:
    """A bot of the library in a namespace of its own, not guarded yet."""
    ns = await bed.namespace()
    world = await World.make(bed, ns, image=f"bots/{library}")
    world.spec["conflict"] = {"clearAfterSeconds": WINDOW}
    try:
        yield world
    finally:
        await bed.kube.delete(path("namespaces", None, ns))


def copied(world: World) -> Object:
    """A second Deployment of the same bot."""
    copy = world.plain()
    copy["metadata"]["name"] = "copy"
    copy["spec"]["selector"]["matchLabels"] = copy["spec"]["template"]["metadata"]["labels"] = {"app": "copy"}
    return copy


def by_hand(world: World) -> Object:
    """A pod that somebody made by hand from the bot's own template, with a quick image."""
    spec = world.template()["spec"]
    spec["containers"][0]["image"] = "bots/raw"
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "debug", "namespace": world.ns}, "spec": spec}


async def a_war(world: World) -> None:
    """Wait until two pollers have cut each other off several times: the pod that stays has it in its log then."""
    since = time.monotonic()
    await world.bed.until(lambda: len(world.bot.conflicts_since(since)) >= 4, what="a war")


async def over(world: World) -> None:
    """Wait until nothing is left of it."""
    await world.says("Conflicted", "False", "NoConflict")
    await world.settled()


# --- The stories: what there is before the operator starts, and what happens then -----------------------------------


async def two_replicas(world: World, started: asyncio.Event, folder: Path) -> None:
    """Made by a rollout without Recreate, or by an autoscaler. A lock would replace both, and their logs with them."""
    del folder
    world.spec["lock"] = "None"
    await world.bed.apply(world.plain(replicas=2))
    await a_war(world)
    await world.bed.apply(world.resource())
    started.set()
    await world.says("Conflicted", "True", "DuplicatePods", text="pods telegram-bot-")
    await over(world)


async def a_second_telegrambot(world: World, started: asyncio.Event, folder: Path) -> None:
    """Both were made while the operator was away."""
    del folder
    world.spec["lock"] = "None"
    second = world.resource("second") | {"spec": {**world.spec, "deploymentRef": {"name": "copy"}}}
    await world.bed.apply([world.plain(), copied(world), world.resource()])
    await world.a_second_older()
    await world.bed.apply(second)
    await a_war(world)
    started.set()
    await world.says("Conflicted", "True", "DuplicateBot", text="TelegramBot second with Deployment copy")
    await world.says("Stalled", "True", "DuplicateBot", name="second")
    await over(world)


async def a_webhook(world: World, started: asyncio.Event, folder: Path) -> None:
    """Somebody tries the bot with a webhook, and goes on trying."""
    del folder
    started.set()
    await world.guarded()
    world.bot.keep_webhook(HOOK)
    said = await world.says("Conflicted", "True")
    assert said["reason"] in {"WebhookActive", "WebhookSet"}
    world.bot.keep_webhook("")
    await over(world)


async def a_stray_pod(world: World, started: asyncio.Event, folder: Path) -> None:
    """Somebody runs the bot by hand to look for a bug."""
    del folder
    started.set()
    await world.guarded()
    await world.bed.apply(by_hand(world))
    await world.says("Conflicted", "True", "StrayPod", text=f"{world.ns}/debug")
    await over(world)
    assert await world.bed.get("pod", "debug", world.ns) is None


async def a_laptop(world: World, started: asyncio.Event, folder: Path) -> None:
    """Somebody runs the bot outside the cluster."""
    started.set()
    await world.guarded()
    async with running("raw", world.bed.telegram, world.bot, folder / world.ns):
        await world.says("Stalled", "True", "ExternalPoller", text="revoke the token")
        await world.says("Conflicted", "True", "ExternalPoller", text="no other pod was found")
    await over(world)


STORIES = (two_replicas, a_second_telegrambot, a_webhook, a_stray_pod, a_laptop)


@pytest.mark.parametrize("library", LIBRARIES)
async def test_every_story_is_told_with_its_cause_and_then_over(
    library: str, bed: Bed, operate: Operate, tmp_path: Path
) -> None:
    async with AsyncExitStack() as held, asyncio.TaskGroup() as group:
        ready = []
        for story in STORIES:
            world, started = await held.enter_async_context(world_of(bed, library)), asyncio.Event()
            group.create_task(story(world, started, tmp_path), name=story.__name__)
            ready.append(started)
        for each in ready:
            await each.wait()
        operator = await held.enter_async_context(operate())
    assert_healthy(operator)
