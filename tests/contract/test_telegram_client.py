"""What the operator's own client makes of a Bot API server, and that its poll takes nothing away from anybody."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from telegrambot_operator.core.silence import Answer, CutOff, Hooked, Nothing, Unheard, Waiting
from telegrambot_operator.shell import telegram as module
from telegrambot_operator.shell.telegram import Telegram, answer
from tests.bed.telegram import Bot, Emulator

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest_asyncio.fixture
async def emulator() -> AsyncIterator[Emulator]:
    async with Emulator.start(brake=0.1) as emulator:
        yield emulator


@pytest_asyncio.fixture
async def client(emulator: Emulator) -> AsyncIterator[Telegram]:
    client = Telegram(emulator.url)
    yield client
    await client.close()


@pytest_asyncio.fixture
async def bot(emulator: Emulator) -> Bot:
    return emulator.new_bot()


async def parked(client: Telegram, bot: Bot) -> asyncio.Task[Answer]:
    """A poll of the client that waits at Telegram."""
    poll = asyncio.create_task(client.get_updates(bot.token, 50))
    await bot.until(lambda: bot.polls and bot.polls[-1].parked)
    return poll


async def test_a_parked_poll_that_nobody_cuts_off_comes_back_with_nothing(client: Telegram, bot: Bot) -> None:
    assert await client.get_updates(bot.token, 1) == Nothing()
    assert [poll.parked for poll in bot.polls] == [True]


async def test_updates_that_wait_are_seen_and_stay(client: Telegram, bot: Bot) -> None:
    first, _ = bot.send("one"), bot.send("two")
    assert first is not None
    for _ in range(3):
        assert await client.get_updates(bot.token, 50) == Waiting(first)
    assert [each["message"]["text"] for each in bot.pending] == ["one", "two"]


async def test_an_update_that_comes_in_while_the_poll_is_parked_stays_too(client: Telegram, bot: Bot) -> None:
    poll = await parked(client, bot)
    update = bot.send("one")
    assert update is not None
    assert await poll == Waiting(update)
    assert len(bot.pending) == 1


async def test_the_poll_changes_no_setting_of_the_bot(client: Telegram, bot: Bot) -> None:
    bot.allowed_updates = ("message",)
    await client.get_updates(bot.token, 1)
    assert bot.allowed_updates == ("message",)


async def test_whoever_else_polls_cuts_it_off(client: Telegram, bot: Bot) -> None:
    poll = await parked(client, bot)
    other = await parked(client, bot)
    assert await poll == CutOff()
    other.cancel()


async def test_whoever_sets_a_webhook_cuts_it_off_and_with_a_webhook_nobody_polls(client: Telegram, bot: Bot) -> None:
    poll = await parked(client, bot)
    bot.set_webhook("https://example.com/bot")
    assert await poll == CutOff()
    assert await client.get_updates(bot.token, 50) == Hooked()


async def test_what_goes_wrong_is_an_answer_too(client: Telegram, emulator: Emulator, bot: Bot) -> None:
    bot.fail_next(502)
    bot.fail_next(429, retry_after=7)
    assert await client.get_updates(bot.token, 1) == Unheard("HTTP 502 Bad Gateway")
    assert await client.get_updates(bot.token, 1) == Unheard("HTTP 429 Too Many Requests: retry after 7", 7.0)
    emulator.revoke(bot)
    assert await client.get_updates(bot.token, 1) == Unheard("HTTP 401 Unauthorized", 60.0)


async def test_a_server_that_takes_the_request_and_never_answers_is_given_up(
    client: Telegram, emulator: Emulator, bot: Bot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LATE_SECONDS", 0.2)
    emulator.hang()
    assert await client.get_updates(bot.token, 0) == Unheard("no answer: TimeoutError")


@pytest.mark.parametrize("base", ["http://127.0.0.1:{port}", "http://[::1]:{port}"])
async def test_no_token_is_in_the_words_for_a_server_that_is_not_there(base: str, bot: Bot) -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        client = Telegram(base.format(port=held.getsockname()[1]))
        said = await client.get_updates(bot.token, 1)
        await client.close()
    assert isinstance(said, Unheard)
    assert bot.token.partition(":")[2] not in said.why


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<html>502</html>",
        b"\xff\xfe",
        b"[]",
        b'{"ok": true, "result": true}',
        b'{"ok": 1}',
        b'{"ok":true,"result":[7]}',
    ],
)
def test_what_is_no_answer_of_a_bot_api_proves_nothing(data: bytes) -> None:
    assert answer(200, data) == Unheard("HTTP 200 that is no answer of a Bot API")


def test_a_refusal_that_holds_the_token_is_told_without_it() -> None:
    secret = "AAFq9Zr0bXw3KjT5uYv1LmNp8sQeHd2GcRk"
    data = f'{{"ok": false, "description": "no route for /bot7301948265:{secret}/getUpdates"}}'.encode()
    said = answer(404, data)
    assert isinstance(said, Unheard)
    assert (secret in said.why, "no route" in said.why) == (False, True)


def test_an_answer_that_is_not_ok_is_no_silence() -> None:
    assert answer(200, b'{"ok": false, "result": []}') == Unheard("HTTP 200")
