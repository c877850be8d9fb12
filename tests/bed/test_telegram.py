"""The emulator keeps Telegram's rules: who is parked, who gets the 409, what an offset confirms, what faults look like.

The requests are plain HTTP; what real libraries make of the answers is test_bots.py.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import secrets
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio
from aiohttp import ClientSession, FormData, TCPConnector, web

from tests.bed.telegram import Bot, Emulator
from tests.bed.telegram_state import OTHER_POLL, WEBHOOK_ACTIVE, WEBHOOK_SET

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable

BRAKE = 0.4  # seconds instead of Telegram's 3, so that the tests of the brake are quick
SECRET = secrets.token_urlsafe()


class Caller:
    """A poller that is nothing but HTTP, each request on a connection of its own."""

    def __init__(self, session: ClientSession, telegram: Emulator, bot: Bot) -> None:
        self.session, self.telegram, self.bot = session, telegram, bot

    async def __call__(self, method: str, /, **parameters: Any) -> dict[str, Any]:
        """Call a method with a JSON body; returns the body of the answer."""
        async with self.session.post(self.address(method), json=parameters) as answer:
            body: dict[str, Any] = await answer.json()
            assert body["ok"] or body["error_code"] == answer.status
            return body

    def address(self, method: str) -> str:
        """Where a method is called."""
        return f"{self.telegram.url}/bot{self.bot.token}/{method}"

    async def park(self, timeout: int = 50, **parameters: Any) -> asyncio.Task[dict[str, Any]]:
        """Start a long poll and return once it is parked."""
        before = len(self.bot.polls)
        task = asyncio.create_task(self("getUpdates", timeout=timeout, **parameters))
        await self.bot.until(lambda: len(self.bot.polls) > before and self.bot.polls[before].parked, 5)
        return task


@pytest_asyncio.fixture
async def telegram() -> AsyncIterator[Emulator]:
    async with Emulator.start(brake=BRAKE) as emulator:
        yield emulator


@pytest_asyncio.fixture
async def bot(telegram: Emulator) -> Bot:
    return telegram.new_bot("shop_bot")


@pytest_asyncio.fixture
async def call(telegram: Emulator, bot: Bot) -> AsyncIterator[Caller]:
    async with ClientSession(connector=TCPConnector(force_close=True, limit=0)) as session:
        yield Caller(session, telegram, bot)


def refused(body: dict[str, Any]) -> tuple[int, str]:
    assert body["ok"] is False
    return body["error_code"], body["description"]


async def soon(task: Awaitable[dict[str, Any]]) -> dict[str, Any]:
    async with asyncio.timeout(5):
        return await task


class TestTurns:
    async def test_one_poller_is_parked_and_gets_what_arrives(self, bot: Bot, call: Caller) -> None:
        poll = await call.park()
        assert len(bot.polling_now()) == 1
        update_id = bot.send("hello")
        (update,) = (await soon(poll))["result"]
        assert update["update_id"] == update_id
        assert update["message"]["text"] == "hello"
        assert (bot.polls[0].result, bot.polls[0].updates) == ("updates", 1)
        assert not bot.conflicts
        assert not bot.polling_now()

    async def test_a_poll_that_has_to_wait_evicts_the_parked_one(self, bot: Bot, call: Caller) -> None:
        older = await call.park()
        newer = await call.park()
        assert refused(await soon(older)) == (409, OTHER_POLL)
        assert not newer.done()
        assert [poll.result for poll in bot.polls] == ["conflict", "waiting"]
        assert bot.conflicts[0].client == bot.polls[0].client
        bot.send("for the newer")
        assert (await soon(newer))["result"][0]["message"]["text"] == "for the newer"

    async def test_a_poll_that_finds_updates_evicts_nobody(self, bot: Bot, call: Caller) -> None:
        bot.send("waiting")
        assert len((await call("getUpdates", timeout=50))["result"]) == 1
        assert len((await call("getUpdates", timeout=50))["result"]) == 1
        assert not bot.conflicts

    async def test_a_poll_without_timeout_evicts_nobody(self, bot: Bot, call: Caller) -> None:
        poll = await call.park()
        assert (await call("getUpdates", timeout=0, offset=7))["result"] == []
        assert not poll.done()
        assert not bot.conflicts

    async def test_a_hasty_repeat_is_made_to_wait_and_so_evicts(self, bot: Bot, call: Caller) -> None:
        poll = await call.park()
        assert (await call("getUpdates", timeout=0))["result"] == []
        assert refused(await soon(poll)) == (409, OTHER_POLL)
        assert bot.polls[-1].ended is not None
        assert bot.polls[-1].parked

    async def test_a_second_conflict_is_answered_late(self, bot: Bot, call: Caller) -> None:
        first, second, third = [await call.park() for _ in range(3)]
        await soon(first)
        assert refused(await soon(second)) == (409, OTHER_POLL)
        quick, late = bot.polls[0], bot.polls[1]
        assert quick.ended is not None
        assert late.ended is not None
        assert late.ended.mono - bot.conflicts[1].at.mono >= BRAKE
        third.cancel()

    async def test_the_longest_poll_is_fifty_seconds(self, bot: Bot, call: Caller) -> None:
        poll = await call.park(timeout=600)
        assert bot.polls[0].timeout == 50
        poll.cancel()

    async def test_a_poll_ends_empty_after_its_timeout(self, bot: Bot, call: Caller) -> None:
        poll = await call.park(timeout=1)
        assert (await soon(poll))["result"] == []
        assert bot.polls[0].result == "empty"

    async def test_a_client_that_hangs_up_leaves_its_turn(self, bot: Bot, call: Caller) -> None:
        poll = await call.park()
        poll.cancel()
        await bot.until(lambda: not bot.polling_now(), 5)
        assert bot.polls[0].result == "gone"
        (await call.park()).cancel()
        assert not bot.conflicts

    async def test_the_turn_of_a_killed_process_is_free_at_once(
        self, telegram: Emulator, bot: Bot, call: Caller
    ) -> None:
        process = await _poll_in_a_process(telegram, bot)
        assert bot.polling_now()[0].pid == process.pid
        process.kill()
        await process.wait()
        follower = await call.park()  # nothing was awaited in between that would have read the end of file
        assert not bot.conflicts
        assert [poll.result for poll in bot.polls] == ["gone", "waiting"]
        follower.cancel()

    async def test_bots_do_not_disturb_each_other(self, telegram: Emulator, bot: Bot, call: Caller) -> None:
        mine = await call.park()
        other = Caller(call.session, telegram, telegram.new_bot())
        theirs = await other.park()
        assert not bot.conflicts
        for poll in (mine, theirs):
            assert not poll.done()
            poll.cancel()


async def _poll_in_a_process(telegram: Emulator, bot: Bot) -> asyncio.subprocess.Process:
    program = "import sys, urllib.request as r; r.urlopen(sys.argv[1]).read()"
    address = f"{telegram.url}/bot{bot.token}/getUpdates?timeout=50"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, address, start_new_session=True, stderr=subprocess.DEVNULL
    )
    await bot.until(lambda: any(poll.parked for poll in bot.polls), 10)
    return process


class TestReferee:
    async def test_a_poll_is_tied_to_its_process_and_session(self, telegram: Emulator, bot: Bot) -> None:
        process = await _poll_in_a_process(telegram, bot)
        (client,) = bot.polling_now()
        assert (client.pid, client.session) == (process.pid, process.pid)
        assert client.user_agent.startswith("Python-urllib")
        process.kill()
        await process.wait()

    async def test_our_own_poll_is_tied_to_us(self, bot: Bot, call: Caller) -> None:
        await call("getUpdates")
        assert bot.last_poll is not None
        assert bot.last_poll.client.pid == os.getpid()

    async def test_polls_and_conflicts_can_be_asked_for_since_a_moment(self, bot: Bot, call: Caller) -> None:
        older = await call.park()
        since = time.monotonic()
        newer = await call.park()
        await soon(older)
        assert [poll.parked for poll in bot.polls_since(since)] == [True]
        assert len(bot.conflicts_since(since)) == 1
        assert bot.conflicts_since(time.monotonic()) == []
        newer.cancel()

    async def test_waiting_for_what_does_not_happen_says_what_was_seen(self, bot: Bot) -> None:
        with pytest.raises(TimeoutError, match=r"@shop_bot: 0 polls"):
            await bot.until(lambda: bot.polls, timeout=0.01)


class TestUpdates:
    async def test_an_offset_confirms_what_is_before_it(self, bot: Bot, call: Caller) -> None:
        first, second = bot.send("1"), bot.send("2")
        assert first is not None
        result = (await call("getUpdates", offset=first + 1))["result"]
        assert [update["update_id"] for update in result] == [second]
        assert bot.confirmed == first + 1

    async def test_a_negative_offset_keeps_the_newest(self, bot: Bot, call: Caller) -> None:
        for text in "12345":
            bot.send(text)
        result = (await call("getUpdates", offset=-2))["result"]
        assert [update["message"]["text"] for update in result] == ["4", "5"]
        assert len(bot.pending) == 2

    async def test_a_negative_offset_beyond_the_queue_keeps_all(self, bot: Bot, call: Caller) -> None:
        bot.send("1")
        assert len((await call("getUpdates", offset=-100))["result"]) == 1

    async def test_without_an_offset_nothing_is_confirmed(self, bot: Bot, call: Caller) -> None:
        bot.send("1")
        for _ in range(2):
            assert len((await call("getUpdates"))["result"]) == 1
        assert bot.confirmed == 0

    async def test_a_limit_cuts_the_answer(self, bot: Bot, call: Caller) -> None:
        for text in "123":
            bot.send(text)
        assert len((await call("getUpdates", limit=2))["result"]) == 2

    async def test_allowed_updates_are_kept_and_filter(self, bot: Bot, call: Caller) -> None:
        await call("getUpdates", allowed_updates=["callback_query"])
        assert bot.send("left out") is None
        await call("getUpdates", offset=1)
        assert bot.send("still left out") is None
        await call("getUpdates", offset=2, allowed_updates="[]")
        assert bot.send("queued") is not None
        assert len(bot.pending) == 1

    async def test_a_command_is_marked_as_one(self, bot: Bot) -> None:
        bot.send("/start now")
        assert bot.pending[0]["message"]["entities"] == [{"type": "bot_command", "offset": 0, "length": 6}]

    async def test_an_answer_of_the_bot_is_kept(self, bot: Bot, call: Caller) -> None:
        sent = (await call("sendMessage", chat_id=4242, text="hi"))["result"]
        assert sent["chat"]["id"] == 4242
        assert [message["text"] for message in bot.sent] == ["hi"]

    async def test_an_empty_message_is_refused(self, call: Caller) -> None:
        assert refused(await call("sendMessage", chat_id=1)) == (400, "Bad Request: message text is empty")
        assert refused(await call("sendMessage", text="x")) == (400, "Bad Request: chat_id is empty")


class TestWebhook:
    async def test_setting_one_cuts_off_the_parked_poll(self, bot: Bot, call: Caller) -> None:
        poll = await call.park()
        answer = await call("setWebhook", url="https://shop.example/hook")
        assert answer["description"] == "Webhook was set"
        assert refused(await soon(poll)) == (409, WEBHOOK_SET)
        assert bot.conflicts[0].description == WEBHOOK_SET

    async def test_somebody_elses_webhook_cuts_it_off_too(self, bot: Bot, call: Caller) -> None:
        poll = await call.park()
        bot.set_webhook("https://shop.example/hook")
        assert refused(await soon(poll)) == (409, WEBHOOK_SET)

    async def test_no_poll_while_one_is_set(self, bot: Bot, call: Caller) -> None:
        bot.set_webhook("https://shop.example/hook")
        assert refused(await call("getUpdates", timeout=50)) == (409, WEBHOOK_ACTIVE)
        assert refused(await call("getUpdates")) == (409, WEBHOOK_ACTIVE)
        assert len(bot.conflicts) == 2

    async def test_deleting_it_lets_polls_in_again(self, bot: Bot, call: Caller) -> None:
        bot.set_webhook("https://shop.example/hook")
        assert (await call("deleteWebhook"))["description"] == "Webhook was deleted"
        assert (await call("deleteWebhook"))["description"] == "Webhook is already deleted"
        assert (await call("getUpdates"))["ok"]

    async def test_an_empty_url_deletes_it(self, bot: Bot, call: Caller) -> None:
        bot.set_webhook("https://shop.example/hook")
        await call("setWebhook", url="")
        assert bot.webhook.url == ""

    async def test_deleting_none_leaves_the_parked_poll(self, bot: Bot, call: Caller) -> None:
        poll = await call.park()
        await call("deleteWebhook")
        assert not poll.done()
        assert not bot.conflicts
        poll.cancel()

    async def test_pending_updates_can_be_dropped(self, bot: Bot, call: Caller) -> None:
        bot.send("old")
        await call("deleteWebhook", drop_pending_updates=True)
        assert (await call("getUpdates"))["result"] == []

    async def test_a_webhook_needs_https(self, call: Caller) -> None:
        status, words = refused(await call("setWebhook", url="http://shop.example/hook"))
        assert (status, "HTTPS" in words) == (400, True)

    async def test_setting_one_twice_within_a_second_asks_for_patience(self, bot: Bot, call: Caller) -> None:
        await call("setWebhook", url="https://shop.example/hook")
        body = await call("setWebhook", url="https://shop.example/other")
        assert refused(body) == (429, "Too Many Requests: retry after 1")
        assert bot.webhook.url == "https://shop.example/hook"

    async def test_a_webhook_that_is_kept_comes_back_when_deleted(self, bot: Bot, call: Caller) -> None:
        bot.keep_webhook("https://shop.example/hook")
        assert (await call("deleteWebhook"))["description"] == "Webhook was deleted"
        assert refused(await call("getUpdates")) == (409, WEBHOOK_ACTIVE)
        bot.keep_webhook("")
        assert (await call("getUpdates"))["ok"]

    async def test_its_state_is_told_in_polling_mode_too(self, bot: Bot, call: Caller) -> None:
        bot.send("waiting")
        info = (await call("getWebhookInfo"))["result"]
        assert info == {"url": "", "has_custom_certificate": False, "pending_update_count": 1}

    async def test_updates_are_delivered_to_loopback(self, bot: Bot, call: Caller) -> None:
        async with _Receiver() as receiver:
            await call("setWebhook", url=receiver.url, secret_token=SECRET)
            bot.send("by webhook")
            await bot.until(lambda: not bot.pending, 5)
        assert [(update["message"]["text"], secret) for update, secret in receiver.got] == [("by webhook", SECRET)]

    async def test_a_failed_delivery_is_told_and_tried_again(self, bot: Bot, call: Caller) -> None:
        async with _Receiver(failures=1) as receiver:
            await call("setWebhook", url=receiver.url)
            bot.send("twice")
            await bot.until(lambda: bot.webhook.last_error_message, 5)
            info = (await call("getWebhookInfo"))["result"]
            assert info["last_error_message"] == "Wrong response from the webhook: 500 Internal Server Error"
            assert info["last_error_date"] > 0
            await bot.until(lambda: not bot.pending, 5)
        assert len(receiver.got) == 2


class _Receiver:
    """A webhook on loopback that fails the first `failures` times."""

    def __init__(self, failures: int = 0) -> None:
        self.got: list[tuple[dict[str, Any], str]] = []
        self.failures = failures

    async def __aenter__(self) -> _Receiver:
        application = web.Application()
        application.router.add_post("/hook", self._take)
        self.runner = web.AppRunner(application)
        await self.runner.setup()
        await web.TCPSite(self.runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self.runner.addresses[0][1]}/hook"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.runner.cleanup()

    async def _take(self, request: web.Request) -> web.Response:
        self.got.append((await request.json(), request.headers.get("X-Telegram-Bot-Api-Secret-Token", "")))
        return web.Response(status=500 if len(self.got) <= self.failures else 200)


class TestRequests:
    async def test_a_bot_knows_itself(self, bot: Bot, call: Caller) -> None:
        me = (await call("getMe"))["result"]
        assert (me["id"], me["is_bot"], me["username"]) == (bot.id, True, "shop_bot")

    def test_a_token_looks_real(self, bot: Bot) -> None:
        assert re.fullmatch(rf"{bot.id}:[A-Za-z0-9_-]{{35}}", bot.token)

    @pytest.mark.parametrize("method", ["getme", "GETME", "getMe"])
    async def test_method_names_ignore_case(self, call: Caller, method: str) -> None:
        assert (await call(method))["ok"]

    async def test_parameters_come_by_query_form_multipart_and_json(self, bot: Bot, call: Caller) -> None:
        parts = FormData({"chat_id": "3", "text": "c"}, default_to_multipart=True)
        address = call.address("sendMessage")
        async with call.session.get(address, params={"chat_id": "1", "text": "a"}) as answer:
            assert answer.status == 200
        async with call.session.post(address, data={"chat_id": "2", "text": "b"}) as answer:
            assert answer.status == 200
        async with call.session.post(address, data=parts) as answer:
            assert answer.status == 200
        assert (await call("sendMessage", chat_id=4, text="d"))["ok"]
        assert [(message["chat"]["id"], message["text"]) for message in bot.sent] == list(
            zip([1, 2, 3, 4], "abcd", strict=True)
        )

    async def test_broken_json_is_refused(self, call: Caller) -> None:
        headers = {"Content-Type": "application/json"}
        async with call.session.post(call.address("getMe"), data="{", headers=headers) as answer:
            assert (answer.status, (await answer.json())["error_code"]) == (400, 400)

    async def test_commands_are_kept(self, call: Caller) -> None:
        commands = [{"command": "start", "description": "Begin"}]
        await call("setMyCommands", commands=json.dumps(commands))
        assert (await call("getMyCommands"))["result"] == commands

    @pytest.mark.parametrize("method", ["logOut", "close", "setMyName", "sendChatAction"])
    async def test_what_libraries_call_besides_is_accepted(self, call: Caller, method: str) -> None:
        assert (await call(method))["result"] is True

    async def test_an_unknown_method_is_not_found(self, call: Caller) -> None:
        assert refused(await call("getUpdate")) == (404, "Not Found: method not found")

    async def test_a_wrong_token_is_unauthorized(self, telegram: Emulator, bot: Bot, call: Caller) -> None:
        telegram.revoke(bot)
        assert refused(await call("getMe")) == (401, "Unauthorized")
        telegram.know(bot)
        assert (await call("getMe"))["ok"]
        assert [method for method, _ in bot.asked] == ["getme"]

    @pytest.mark.parametrize("token", ["changeme", "123:short", "", "123"])
    async def test_what_is_no_token_is_not_found(self, call: Caller, telegram: Emulator, token: str) -> None:
        async with call.session.get(f"{telegram.url}/bot{token}/getMe") as answer:
            assert (answer.status, (await answer.json())["description"]) == (404, "Not Found")


class TestFaults:
    async def test_the_next_polls_can_be_made_to_fail(self, bot: Bot, call: Caller) -> None:
        bot.fail_next(429, retry_after=7, n=2)
        for _ in range(2):
            body = await call("getUpdates")
            assert refused(body) == (429, "Too Many Requests: retry after 7")
            assert body["parameters"] == {"retry_after": 7}
        assert (await call("getUpdates"))["ok"]
        assert not bot.conflicts

    async def test_another_method_can_be_made_to_fail(self, bot: Bot, call: Caller) -> None:
        bot.fail_next(403, method="sendMessage")
        assert (await call("getUpdates"))["ok"]
        assert refused(await call("sendMessage", chat_id=1, text="x")) == (403, "Forbidden")

    async def test_an_outage_hits_everything_until_it_ends(self, telegram: Emulator, bot: Bot, call: Caller) -> None:
        telegram.outage(502)
        assert refused(await call("getMe")) == (502, "Bad Gateway")
        assert refused(await call("getUpdates")) == (502, "Bad Gateway")
        assert (len(telegram.turned_away), len(bot.asked)) == (2, 0)
        telegram.recover()
        assert (await call("getMe"))["ok"]

    async def test_a_server_that_hangs_answers_when_it_recovers(self, telegram: Emulator, call: Caller) -> None:
        telegram.hang()
        question = asyncio.create_task(call("getMe"))
        done, _ = await asyncio.wait({question}, timeout=0.2)
        assert not done
        telegram.recover()
        assert (await soon(question))["ok"]
