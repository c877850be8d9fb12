"""What Telegram itself says of a bot: its webhook, its token, updates that nobody fetches; and what is then done."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.e2e.world import Operate, World, assert_healthy

if TYPE_CHECKING:
    from tests.bed.bed import Bed, Operator

pytestmark = pytest.mark.bed

HOOK = "https://old.example.com/telegram/a-secret-path"
FIX = {"conflict": {"clearAfterSeconds": 3, "remedy": "FixWebhook"}}


async def events(world: World, reason: str) -> list[str]:
    """What Events of this reason say about the TelegramBot."""
    text = await world.kubectl("get", "events", f"--field-selector=reason={reason}", "-o", "json")
    return [each["message"] for each in json.loads(text)["items"] if each["involvedObject"]["kind"] == "TelegramBot"]


async def answered(world: World, *texts: str) -> None:
    """Wait until the bot has answered these messages."""
    await world.bot.until(lambda: set(texts) <= {each.get("text") for each in world.bot.sent})


async def assert_no_secret(world: World, operator: Operator, *more: str) -> None:
    """Neither the token nor the path of a webhook is in what the operator wrote."""
    said = await world.all_said() + operator.log_text()
    assert [secret for secret in (world.bot.token.partition(":")[2], *more) if secret in said] == []


async def test_a_webhook_under_a_poller_is_named_by_its_host_and_repaired_without_losing_an_update(
    bed: Bed, ns: str, operate: Operate
) -> None:
    world = await World.make(bed, ns)
    async with operate("--verbose") as operator:
        await world.guarded()
        world.bot.set_webhook(HOOK)
        world.bot.send("one")
        world.bot.send("two")
        await world.says("Conflicted", "True", "WebhookActive", text="a webhook to old.example.com is set at Telegram")
        await world.says("Stalled", "True", "WebhookActive", text="call deleteWebhook without drop_pending_updates")
        assert (await world.status())["webhook"]["host"] == "old.example.com"
        await world.edit(conflict={"remedy": "FixWebhook"})
        await answered(world, "one", "two")
        await world.says("Conflicted", "False", "NoConflict")
        await world.settled()
        assert await events(world, "WebhookDeleted") == [
            "The webhook to old.example.com is deleted, so that the bot can poll; no update is lost."
        ]
        assert bed.overlaps(world.bot) == []
        await assert_no_secret(world, operator, "a-secret-path")
        assert_healthy(operator)
