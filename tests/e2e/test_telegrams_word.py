"""What Telegram itself says of a bot: its webhook, its token, updates that nobody fetches; and what is then done."""

from __future__ import annotations

import json
import os
import signal
from typing import TYPE_CHECKING

import pytest

from tests.e2e.world import Operate, World, assert_healthy

if TYPE_CHECKING:
    from tests.bed.bed import Bed, Operator

pytestmark = pytest.mark.bed

HOOK = "https://old.example.com/telegram/a-secret-path"
FIX = {"conflict": {"clearAfterSeconds": 3, "remedy": "FixWebhook"}}
OPERATOR = "telegrambot-operator"
NOWHERE = "https://127.0.0.1:9/hook/a-secret-path"  # nobody listens at that port


async def events(world: World, reason: str) -> list[str]:
    """What Events of this reason say about the TelegramBot."""
    text = await world.kubectl("get", "events", f"--field-selector=reason={reason}", "-o", "json")
    return [each["message"] for each in json.loads(text)["items"] if each["involvedObject"]["kind"] == "TelegramBot"]


async def answered(world: World, *texts: str) -> None:
    """Wait until the bot has answered these messages."""
    await world.bot.until(lambda: set(texts) <= {each.get("text") for each in world.bot.sent})


async def assert_no_secret(world: World, operator: Operator, *more: str) -> None:
    """Neither the token nor the path of a webhook, which is in the spec, is in what the operator wrote."""
    told = await world.kubectl("get", "events", "-o", "json")
    said = json.dumps(await world.status()) + told + operator.log_text()
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


async def test_a_webhook_that_comes_back_is_set_by_somebody_else_and_not_fought(
    bed: Bed, ns: str, operate: Operate
) -> None:
    world = await World.make(bed, ns, spec=FIX)
    async with operate() as operator:
        await world.guarded()
        world.bot.keep_webhook(HOOK)
        await world.says("Conflicted", "True", "WebhookActive", text="something else sets it")
        await world.says("Stalled", "True", "WebhookActive")
    async with operate() as operator:
        await world.bot.until(lambda: world.bot.asked[-1] == ("getwebhookinfo", OPERATOR))
        await world.says("Conflicted", "True", "WebhookActive", text="something else sets it")
        assert world.bot.asked.count(("deletewebhook", OPERATOR)) == 1, "nor by an operator that has just been started"
        world.bot.keep_webhook("")
        await world.says("Conflicted", "False", "NoConflict")
        await world.settled()
        assert_healthy(operator)


async def test_a_bot_by_webhook_is_told_where_telegram_delivers_and_why_it_cannot(
    bed: Bed, ns: str, operate: Operate
) -> None:
    world = await World.make(bed, ns, spec={"delivery": "Webhook", "webhook": {"url": NOWHERE}})
    plain = world.plain()
    plain["spec"]["template"]["spec"]["containers"][0]["command"] = ["sleep", "1000"]
    async with operate("--verbose") as operator:
        await bed.apply(plain)
        await bed.apply(world.resource())
        await world.says("Ready", "False", "WebhookMissing", text="spec.webhook.url is on 127.0.0.1")
        await world.edit(conflict={"remedy": "FixWebhook"})
        await world.bot.until(lambda: world.bot.webhook.url == NOWHERE)
        await world.says("Ready", "True", "Running")
        assert len(await events(world, "WebhookRepaired")) == 1
        world.bot.send("anybody there?")
        said = await world.says("Ready", "False", "WebhookFailing", text="Connection refused")
        assert "without a secret_token" in said["message"]
        world.bot.set_webhook(HOOK)
        await world.says("Ready", "False", "WebhookElsewhere", text="something else sets it")
        assert (world.bot.webhook.url, len(world.bot.pending)) == (HOOK, 1)
        assert len(await world.pods()) == 1
        await assert_no_secret(world, operator, "a-secret-path")
        assert_healthy(operator)


async def test_a_token_that_telegram_refuses_is_said_and_the_pod_left_alone(
    bed: Bed, ns: str, operate: Operate
) -> None:
    world = await World.make(bed, ns)
    async with operate("--verbose") as operator:
        await world.guarded()
        await named(world)
        before = await world.only_pod()
        bed.telegram.revoke(world.bot)
        await world.says("Ready", "False", "TokenInvalid", text="Telegram does not know the token in key token")
        await world.says("Stalled", "True", "TokenInvalid")
        assert (await world.only_pod())["metadata"]["uid"] == before["metadata"]["uid"]
        bed.telegram.know(world.bot)
        await world.kubectl("delete", "pod", before["metadata"]["name"], "--wait=false")
        await world.settled()
        await assert_no_secret(world, operator)
        assert_healthy(operator)


async def named(world: World) -> None:
    """Wait until the status has the bot's username."""

    async def is_named() -> bool:
        return bool((await world.status()).get("bot", {}).get("username") == world.bot.username)

    await world.bed.until(is_named, what="the bot's username")


@pytest.mark.parametrize("status", [429, 502])
async def test_while_telegram_does_not_answer_nothing_changes(status: int, bed: Bed, ns: str, operate: Operate) -> None:
    world = await World.make(bed, ns)
    async with operate() as operator:
        await world.guarded()
        await named(world)
        before = await world.status()
        bed.telegram.turned_away.clear()
        bed.telegram.outage(status, retry_after=1 if status == 429 else None)
        await bed.until(lambda: bed.telegram.turned_away.count(OPERATOR) >= 2, what="looks that came to nothing")
        assert await world.status() == before
        bed.telegram.recover()
        await world.settled()
        assert await world.status() == before
        assert_healthy(operator)


async def test_a_hung_bot_is_told_by_its_updates_and_restarted_if_asked(bed: Bed, ns: str, operate: Operate) -> None:
    world = await World.make(bed, ns, spec={"notPolling": {"afterSeconds": 30}}, grace=1)
    async with operate() as operator:
        await world.guarded()
        before = await world.only_pod()
        (process,) = bed.alive(world.bot)
        os.killpg(process.pid, signal.SIGSTOP)
        for number in range(3):
            world.bot.send(f"is anybody there? {number}")
        said = await world.says("Ready", "False", "NotPolling")
        assert "at least 2 updates wait at Telegram" in said["message"]
        await world.says("Stalled", "True", "NotPolling", text="restart it")
        assert (await world.status())["webhook"] == {"pendingUpdates": 2}
        assert (await world.only_pod())["metadata"]["uid"] == before["metadata"]["uid"]
        await world.edit(notPolling={"policy": "Restart"})
        await answered(world, *(f"is anybody there? {number}" for number in range(3)))
        await world.settled()
        assert len(await events(world, "NotPollingRestarted")) == 1
        assert (await world.status())["notPolling"]["restarts"] == 1
        assert bed.overlaps(world.bot) == []
        assert_healthy(operator)
