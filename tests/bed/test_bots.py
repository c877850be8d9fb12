"""Real libraries against the emulator: alone they poll in peace, two copies fight, and the dead hold nothing up."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from tests.bed.botenv import RAW, REAL_BOTS, Copy, argv, running
from tests.bed.telegram import Bot, Emulator
from tests.bed.telegram_state import OTHER_POLL, WEBHOOK_ACTIVE, WEBHOOK_SET

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

pytestmark = pytest.mark.bots

EXIT_ON_CONFLICT = {"grammy", "telegraf", "node-telegram-bot-api"}
CALL_DELETE_WEBHOOK = {"python-telegram-bot", "grammy", "telegraf", "node-telegram-bot-api-0"}
PATIENCE = 60.0  # seconds for a fact to come true
HOOK = "https://shop.example.com/telegram"

every_bot = pytest.mark.parametrize("name", [*REAL_BOTS, RAW])


@pytest_asyncio.fixture
async def telegram() -> AsyncIterator[Emulator]:
    async with Emulator.start() as emulator:
        yield emulator


@pytest_asyncio.fixture
async def bot(telegram: Emulator) -> Bot:
    return telegram.new_bot()


async def answers(bot: Bot, text: str) -> None:
    """Write to the bot, and wait until it answered and polls again with that update confirmed."""
    update_id = bot.send(text)
    assert update_id is not None
    await bot.until(lambda: any(message["text"] == text for message in bot.sent), PATIENCE)
    await bot.until(lambda: bot.polling_now() and bot.confirmed > update_id, PATIENCE)


async def exited(copy: Copy) -> int:
    """The exit code of a copy that is about to end."""
    async with asyncio.timeout(PATIENCE):
        return await copy.process.wait()


@every_bot
async def test_one_copy_polls_answers_and_meets_no_conflict(
    name: str, telegram: Emulator, bot: Bot, tmp_path: Path
) -> None:
    async with running(name, telegram, bot, tmp_path / "log", POLL_SECONDS="1") as copy:
        for text in ("one", "two", "three"):
            await answers(bot, text)
        assert len(bot.polls) >= 4
        assert not bot.conflicts
        assert {poll.client.session for poll in bot.polls} == {copy.pid}
        assert copy.process.returncode is None


@every_bot
async def test_two_copies_fight_until_one_is_dead(name: str, telegram: Emulator, bot: Bot, tmp_path: Path) -> None:
    async with running(name, telegram, bot, tmp_path / "a") as first:
        await bot.until(bot.polling_now, PATIENCE)
        async with running(name, telegram, bot, tmp_path / "b") as second:
            await bot.until(lambda: bot.conflicts, PATIENCE)
            assert {poll.client.session for poll in bot.polls} == {first.pid, second.pid}
            assert {conflict.description for conflict in bot.conflicts} == {OTHER_POLL}
            assert bot.conflicts[0].client.session == first.pid, "the older poll is the one that is cut off"
            await _ends(name, first)
            before = len(bot.conflicts)
            await answers(bot, "still there?")
            assert len(bot.conflicts) == before
            assert bot.polling_now()[-1].session == second.pid


async def _ends(name: str, copy: Copy) -> None:
    if name in EXIT_ON_CONFLICT:
        assert await exited(copy) == 1
    else:
        copy.send_signal(signal.SIGKILL)
        assert await exited(copy) == -signal.SIGKILL


@every_bot
async def test_a_killed_copy_leaves_its_turn_to_the_next(
    name: str, telegram: Emulator, bot: Bot, tmp_path: Path
) -> None:
    async with running(name, telegram, bot, tmp_path / "a") as first:
        await bot.until(bot.polling_now, PATIENCE)
        first.send_signal(signal.SIGKILL)
        await exited(first)
    async with running(name, telegram, bot, tmp_path / "b"):
        await answers(bot, "hello")
    assert not bot.conflicts


@every_bot
async def test_setting_a_webhook_cuts_off_a_running_poll(
    name: str, telegram: Emulator, bot: Bot, tmp_path: Path
) -> None:
    async with running(name, telegram, bot, tmp_path / "log") as copy:
        await bot.until(lambda: bot.last_poll and bot.last_poll.parked, PATIENCE)
        bot.set_webhook(HOOK)
        await bot.until(lambda: bot.conflicts, PATIENCE)
        assert bot.conflicts[0].description == WEBHOOK_SET
        assert bot.conflicts[0].client.session == copy.pid
        if name in EXIT_ON_CONFLICT:
            assert await exited(copy) == 1
            assert WEBHOOK_SET in copy.printed()


@every_bot
async def test_a_webhook_that_is_set_is_deleted_at_start_or_stops_the_polls(
    name: str, telegram: Emulator, bot: Bot, tmp_path: Path
) -> None:
    bot.set_webhook(HOOK)
    async with running(name, telegram, bot, tmp_path / "log"):
        if name in CALL_DELETE_WEBHOOK:
            await answers(bot, "the webhook is gone")
            assert not bot.webhook.url
        else:
            await bot.until(lambda: bot.conflicts, PATIENCE)
            assert bot.conflicts[0].description == WEBHOOK_ACTIVE
            assert bot.webhook.url == HOOK


@every_bot
async def test_a_slow_stop_polls_on_after_sigterm(name: str, telegram: Emulator, bot: Bot, tmp_path: Path) -> None:
    async with running(name, telegram, bot, tmp_path / "log", STOP_SECONDS="3") as copy:
        await answers(bot, "hello")
        copy.send_signal(signal.SIGTERM)
        await answers(bot, "are you still there?")
        assert copy.process.returncode is None
        await exited(copy)


@every_bot
async def test_sigterm_ends_a_bot(name: str, telegram: Emulator, bot: Bot, tmp_path: Path) -> None:
    async with running(name, telegram, bot, tmp_path / "log", POLL_SECONDS="1") as copy:
        await answers(bot, "hello")
        copy.send_signal(signal.SIGTERM)
        assert await exited(copy) in {0, -signal.SIGTERM}
        assert not bot.polling_now()


async def test_python_telegram_bot_prints_its_token(telegram: Emulator, bot: Bot, tmp_path: Path) -> None:
    async with running("python-telegram-bot", telegram, bot, tmp_path / "log") as copy:
        await answers(bot, "hello")
        assert bot.token in copy.printed()


class TestRaw:
    async def test_it_exits_on_a_conflict_when_told_so(self, telegram: Emulator, bot: Bot, tmp_path: Path) -> None:
        bot.set_webhook(HOOK)
        async with running(RAW, telegram, bot, tmp_path / "log", ON_CONFLICT="exit") as copy:
            assert await exited(copy) == 1
            assert copy.printed().splitlines()[-1] == f"error: getUpdates failed: 409 {WEBHOOK_ACTIVE}"

    async def test_it_ignores_sigterm_when_told_so(self, telegram: Emulator, bot: Bot, tmp_path: Path) -> None:
        async with running(RAW, telegram, bot, tmp_path / "log", IGNORE_SIGTERM="1") as copy:
            await answers(bot, "one")
            copy.send_signal(signal.SIGTERM)
            await answers(bot, "two")
            assert copy.process.returncode is None

    async def test_it_survives_a_failing_server(self, telegram: Emulator, bot: Bot, tmp_path: Path) -> None:
        bot.fail_next(502)
        async with running(RAW, telegram, bot, tmp_path / "log") as copy:
            await answers(bot, "back again")
            assert [poll.result for poll in bot.polls[:2]] == ["failed", "updates"]
            assert "502 Bad Gateway" in copy.printed()
            assert bot.token not in copy.printed()


def test_a_name_that_is_no_bot_is_refused() -> None:
    with pytest.raises(KeyError, match="nobody"):
        argv("nobody")
