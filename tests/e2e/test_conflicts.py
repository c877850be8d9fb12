"""What a person is told when Telegram answers 409: that it did, in its own words, why, and when it is over."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.bed.botenv import running
from tests.bed.telegram_state import OTHER_POLL, WEBHOOK_ACTIVE, WEBHOOK_SET
from tests.e2e.world import Operate, World

if TYPE_CHECKING:
    from pathlib import Path

    from tests.bed.bed import Bed

pytestmark = pytest.mark.bed

UNHURRIED = 12  # seconds: a 409 that is seen only after its window is no news, and a busy machine may be late
HOOK = "https://old.example.com/telegram"
EXITS = ("grammy", "telegraf", "node-telegram-bot-api")
PRINTS = ("python-telegram-bot", "aiogram", "pyTelegramBotAPI", "node-telegram-bot-api-0")
words = {each.removeprefix("Conflict: ") for each in (WEBHOOK_ACTIVE, WEBHOOK_SET)}


async def test_a_war_of_replicas_is_named_and_then_over(bed: Bed, ns: str, operate: Operate) -> None:
    world = await World.make(bed, ns)
    world.spec["conflict"] = {"clearAfterSeconds": UNHURRIED}
    await bed.apply(world.plain(replicas=3))
    await bed.until(lambda: len(world.bot.conflicts) >= 3, what="three pods fighting")
    async with operate():
        await bed.apply(world.resource())
        await world.says("Conflicted", "True", "DuplicatePods", text="409 Conflict: terminated by other getUpdates")
        last = (await world.status())["lastConflict"]
        assert last["cause"] == "DuplicatePods"
        assert last["count"] >= 1
        assert last["pod"].startswith("telegram-bot-")
        await world.says("Conflicted", "False", "NoConflict")
        await world.settled()


@pytest.mark.bots
@pytest.mark.parametrize("library", EXITS)
async def test_a_crash_loop_is_read_from_the_termination_message(
    library: str, bed: Bed, ns: str, operate: Operate
) -> None:
    world = await World.make(bed, ns, adopt=False, image=f"bots/{library}", env={})
    world.spec["conflict"] = {"clearAfterSeconds": 60}
    world.bot.keep_webhook(HOOK)
    for node in bed.nodes:
        node.fail_logs("error")
    async with operate():
        await bed.apply(world.resource())
        said = await world.says("Conflicted", "True", text=" [")  # Telegram's own word may come before the log's
        assert said["reason"] in {"WebhookActive", "WebhookSet"}
        assert any(each in said["message"] for each in words)
        await world.says("Ready", "False", "Conflict")
        await world.says("Stalled", "True", said["reason"])


@pytest.mark.bots
@pytest.mark.parametrize("library", PRINTS)
async def test_a_bot_that_lives_on_is_read_from_its_log_and_its_token_is_kept(
    library: str, bed: Bed, ns: str, operate: Operate
) -> None:
    world = await World.make(bed, ns, image=f"bots/{library}", env={})
    async with operate("--verbose") as operator:
        await world.guarded()
        world.bot.keep_webhook(HOOK)
        said = await world.says("Conflicted", "True")
        assert said["reason"] in {"WebhookActive", "WebhookSet"}
        secret = world.bot.token.partition(":")[2]
        assert secret not in await world.all_said()
        assert secret not in operator.log_text()


async def test_an_adopted_bot_that_exits_is_read_from_the_log_of_its_last_run(
    bed: Bed, ns: str, operate: Operate
) -> None:
    world = await World.make(bed, ns, env={"ON_CONFLICT": "exit"})
    world.bot.keep_webhook(HOOK)
    async with operate():
        await bed.apply(world.plain())
        await bed.apply(world.resource())
        await world.says("Conflicted", "True", "WebhookActive", text=WEBHOOK_ACTIVE)


async def test_a_laptop_that_polls_too_is_told_apart_and_needs_a_person(
    bed: Bed, ns: str, operate: Operate, tmp_path: Path
) -> None:
    world = await World.make(bed, ns)
    world.spec["conflict"] = {"clearAfterSeconds": 20}
    async with operate():
        await world.guarded()
        async with running("raw", bed.telegram, world.bot, tmp_path / "laptop"):
            await world.says("Conflicted", "True", "CauseUnknown", text=OTHER_POLL.split(";")[0])
            await world.says("Conflicted", "True", "ExternalPoller", text="is not a pod of this TelegramBot")
            await world.says("Stalled", "True", "ExternalPoller", text="revoke the token")
            await world.says("Singleton", "True", "OnePod")
        await world.says("Conflicted", "False")
        await world.settled()


async def test_a_bots_own_words_for_a_conflict_can_be_given(bed: Bed, ns: str, operate: Operate) -> None:
    world = await World.make(bed, ns)
    world.spec["conflict"] = {"patterns": ["^duel lost: .*"], "clearAfterSeconds": UNHURRIED}
    plain = world.plain()
    plain["spec"]["template"]["spec"]["containers"][0]["command"] = ["sh", "-c", "echo duel lost: 42; sleep 1000"]
    async with operate():
        await bed.apply(plain)
        await bed.apply(world.resource())
        await world.says("Conflicted", "True", text="[duel lost: 42]")
        await world.says("Conflicted", "False")


async def test_a_log_that_cannot_be_read_is_said_and_changes_nothing_else(bed: Bed, ns: str, operate: Operate) -> None:
    world = await World.make(bed, ns)
    for node in bed.nodes:
        node.fail_logs("error")
    async with operate():
        await world.guarded()
        await world.says("Conflicted", "False", text="could not be read")
        await world.says("Ready", "True")
        bed.mend()
        await world.says("Conflicted", "False", text="no 409 in the last 3 s")


async def test_logs_that_hang_delay_no_pin_and_no_other_bot(bed: Bed, ns: str, operate: Operate) -> None:
    """The one bot's node gives no log. It is guarded all the same, and what the other one's log tells is told."""
    silent, well = [
        await World.make(bed, each, pod={"nodeSelector": {"kubernetes.io/hostname": node.name}})
        for each, node in zip((ns, await bed.namespace()), bed.nodes, strict=True)
    ]
    bed.nodes[0].fail_logs("hang")
    async with operate():
        await silent.guarded()
        await well.guarded()
        await silent.scale(3)
        await silent.pinned()
        await silent.settled()
        well.bot.keep_webhook(HOOK)
        await well.says("Conflicted", "True", "WebhookActive", text=WEBHOOK_ACTIVE)
        assert bed.nodes[0].logs_asked_for


async def test_a_log_that_rotates_and_lines_of_megabytes_hide_no_409(bed: Bed, ns: str, operate: Operate) -> None:
    world = await World.make(bed, ns)
    world.spec["conflict"] = {"clearAfterSeconds": 60}
    plain = world.plain()
    long = "head -c 3000000 /dev/zero | tr '\\0' x; echo"
    text = f"for each in 1 2 3 4 5; do {long}; done; echo 'ERROR {OTHER_POLL}'; {long}; exec sleep 1000"
    plain["spec"]["template"]["spec"]["containers"][0]["command"] = ["sh", "-c", text]
    async with operate():
        await bed.apply(plain)
        await bed.apply(world.resource())
        said = await world.says("Conflicted", "True", text=OTHER_POLL)
        assert "xxxx" not in said["message"]


async def test_logs_are_left_alone_when_asked(bed: Bed, ns: str, operate: Operate) -> None:
    world = await World.make(bed, ns)
    world.spec["conflict"] = {"logs": False}
    before = [node.logs_asked_for for node in bed.nodes]
    async with operate("--namespace", ns):
        await world.guarded()
        await world.says("Conflicted", "False", text="logs are not read, as conflict.logs asks")
        assert [node.logs_asked_for for node in bed.nodes] == before


async def test_what_a_bot_died_of_is_told_by_its_status_though_no_log_is_read(
    bed: Bed, ns: str, operate: Operate
) -> None:
    world = await World.make(bed, ns, adopt=False, token=False, env={"ON_CONFLICT": "exit"})
    world.spec["conflict"] = {"logs": False}
    world.bot.keep_webhook(HOOK)
    before = [node.logs_asked_for for node in bed.nodes]
    async with operate("--namespace", ns):
        await bed.apply(world.resource())
        await world.says("Conflicted", "True", "WebhookActive", text=WEBHOOK_ACTIVE)
        assert [node.logs_asked_for for node in bed.nodes] == before


async def test_a_conflict_from_before_the_operator_ran_is_not_news(bed: Bed, ns: str, operate: Operate) -> None:
    world = await World.make(bed, ns)
    world.spec["conflict"] = {"clearAfterSeconds": 1}
    await bed.apply(world.plain(replicas=2))
    await bed.until(lambda: world.bot.conflicts, what="a 409")
    async with operate():
        await bed.apply(world.resource())  # the Deployment stays as it is, so that the log of each pod can be read
        await world.settled()
    before = json.dumps((await world.status())["lastConflict"])
    async with operate():
        await world.edit(conflict={"clearAfterSeconds": 2})
        await world.says("Conflicted", "False", text="2 s")
        assert json.dumps((await world.status())["lastConflict"]) == before
