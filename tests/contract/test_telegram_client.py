"""What the operator's own client makes of a Bot API server, and that its poll takes nothing away from anybody."""

from __future__ import annotations

import asyncio
import socket
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio
from aiohttp import web

from telegrambot_operator.core.silence import Answer, CutOff, Hooked, Nothing, Unheard, Waiting
from telegrambot_operator.core.word import Info, Me, Refused
from telegrambot_operator.shell import telegram as module
from telegrambot_operator.shell.telegram import Telegram, answer, result
from tests.bed.telegram import Bot, Emulator

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable


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


# --- What Telegram says of a bot ------------------------------------------------------------------------------------

HOOK = "https://shop.example/hook/s3cret"


async def test_who_the_bot_is(client: Telegram, bot: Bot) -> None:
    assert await client.get_me(bot.token) == Me(bot.id, bot.username)


async def test_where_updates_go_and_how_many_wait(client: Telegram, bot: Bot) -> None:
    assert await client.get_webhook_info(bot.token) == Info()
    bot.set_webhook(HOOK)
    bot.webhook.last_error_date, bot.webhook.last_error_message = 1796126400, "Connection refused"
    bot.send("one")
    at = datetime.fromtimestamp(1796126400, UTC)
    assert await client.get_webhook_info(bot.token) == Info(HOOK, 1, at, "Connection refused", 40)


async def test_a_webhook_is_set_and_deleted_and_no_update_lost(client: Telegram, bot: Bot) -> None:
    bot.send("one")
    assert await client.set_webhook(bot.token, HOOK, 7) is True
    assert (bot.webhook.url, bot.webhook.max_connections) == (HOOK, 7)
    assert await client.delete_webhook(bot.token) is True
    assert (bot.webhook.url, len(bot.pending)) == ("", 1)


async def test_a_token_that_telegram_does_not_know_is_refused(client: Telegram, emulator: Emulator, bot: Bot) -> None:
    emulator.revoke(bot)
    assert await client.get_me(bot.token) == Refused()
    assert await client.get_webhook_info("123:not-of-the-right-form") == Refused()
    assert await client.delete_webhook(bot.token) == Refused()


async def test_every_other_fault_is_no_news_of_the_bot(client: Telegram, emulator: Emulator, bot: Bot) -> None:
    emulator.outage(502)
    assert await client.get_me(bot.token) == Unheard("HTTP 502 Bad Gateway")
    emulator.outage(429, retry_after=17)
    assert await client.get_webhook_info(bot.token) == Unheard("HTTP 429 Too Many Requests: retry after 17", 17.0)


async def test_a_server_that_hangs_is_given_up(
    client: Telegram, emulator: Emulator, bot: Bot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ANSWER_SECONDS", 0.2)
    emulator.hang()
    assert await client.get_webhook_info(bot.token) == Unheard("no answer: TimeoutError")


@pytest.mark.parametrize(
    ("status", "data"),
    [
        (404, b"<html>not found</html>"),
        (401, b"proxy authentication"),
        (200, b'{"ok": true, "result": 7}'),
        (200, b'{"ok": true}'),
        (200, b'{"ok": true, "result": {"url": 7}}'),
    ],
)
def test_a_page_of_somebody_elses_refuses_no_token(status: int, data: bytes) -> None:
    assert isinstance(result(status, data, module._Info), Unheard)


@pytest.mark.parametrize("date", [10**18, -5])
def test_a_time_that_there_cannot_be_is_none(date: int) -> None:
    assert module._info(module._Info(last_error_date=date)).error_at is None


async def test_an_answer_without_an_end_is_not_read_to_it() -> None:
    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b"x" * 65536)

    async with serving(endless) as base:
        client = Telegram(base)
        assert await client.get_me("1:a") == Unheard("no answer: ValueError")
        await client.close()


async def test_it_goes_through_the_proxy_of_the_environment(bot: Bot, monkeypatch: pytest.MonkeyPatch) -> None:
    passed: list[str] = []

    async def proxy(request: web.Request) -> web.Response:
        passed.append(str(request.url))
        return web.json_response({"ok": True, "result": {"id": 1, "username": "by_proxy"}})

    async with serving(proxy) as base:
        monkeypatch.setenv("http_proxy", base)
        monkeypatch.setenv("no_proxy", "near.example")
        far, near = Telegram("http://telegram.example"), Telegram("http://near.example")
        assert await far.get_me(bot.token) == Me(1, "by_proxy")
        assert isinstance(await near.get_me(bot.token), Unheard)
        await asyncio.gather(far.close(), near.close())
    assert passed == [f"http://telegram.example/bot{bot.token}/getMe"]


@asynccontextmanager
async def serving(handler: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> AsyncIterator[str]:
    """A server on loopback that answers everything with the handler; gives its address."""
    server = web.Server(handler)
    runner = web.ServerRunner(server, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
