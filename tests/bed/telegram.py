"""A Bot API server on loopback: real bots poll it as they poll Telegram, and it keeps the record of who polled when.

    async with Emulator.start() as telegram:
        bot = telegram.new_bot()
        ...                                 # start a bot with bot.token and the API base telegram.url
        bot.send("hello")                   # a user writes to it
        await bot.until(lambda: bot.sent)   # it answered
        assert not bot.conflicts            # and nobody else polled

The rules of exclusivity are in telegram_state.py, the methods in telegram_methods.py. This file is the HTTP around
them: addresses of the form /bot<token>/<method>, parameters by query, form, multipart or JSON, faults on demand,
and the delivery of updates to a webhook on loopback.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from aiohttp import ClientError, ClientSession, ClientTimeout, web
from yarl import URL

from tests.bed.telegram_methods import METHODS, Call
from tests.bed.telegram_peer import Client, identify, still_connected
from tests.bed.telegram_state import BRAKE, ApiError, Bot, Conflict, Moment, Poll, usual_words

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

__all__ = ["ApiError", "Bot", "Client", "Conflict", "Emulator", "Moment", "Poll"]

_TOKEN = re.compile(r"\d+:[A-Za-z0-9_-]{35}")
_LOOPBACK = {"127.0.0.1", "localhost", "::1"}
_WEBHOOK_RETRY = 1.0  # seconds between two attempts; Telegram's grow, a test's need not


class Emulator:
    """The server. `url` is what bots and the operator get as TELEGRAM_API_URL."""

    def __init__(self, brake: float = BRAKE) -> None:
        """A server that is not started; `brake` in seconds, for tests that do not want Telegram's 3."""
        self.url = ""
        self.bots: dict[str, Bot] = {}
        self.tokens: set[str] = set()  # of all bots that ever were
        self.turned_away: list[str] = []  # who asked during an outage, by User-Agent
        self._brake = brake
        self._port = 0
        self._broken: ApiError | None = None
        self._answering = asyncio.Event()
        self._answering.set()
        self._clients: WeakKeyDictionary[asyncio.Transport, Client] = WeakKeyDictionary()
        self._deliveries: set[asyncio.Task[None]] = set()

    @classmethod
    @asynccontextmanager
    async def start(cls, *, host: str = "127.0.0.1", port: int = 0, brake: float = BRAKE) -> AsyncIterator[Emulator]:
        """Serve in the running loop, on a free loopback port unless others are named, until the block ends."""
        emulator = cls(brake)
        application = web.Application(client_max_size=4 * 1024 * 1024)
        application.router.add_route("*", "/{path:.*}", emulator._serve)
        # handler_cancellation: a poller that hangs up or dies must not keep its turn.
        runner = web.AppRunner(application, handler_cancellation=True, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        try:
            await web.TCPSite(runner, host, port).start()
            emulator._port = runner.addresses[0][1]
            emulator.url = f"http://{host}:{emulator._port}"
            yield emulator
        finally:
            await emulator._stop_deliveries()
            await runner.cleanup()

    def new_bot(self, username: str | None = None) -> Bot:
        """Register a bot with a fresh id and token."""
        bot = Bot.new(username, self._brake)
        self.bots[bot.token] = bot
        self.tokens.add(bot.token)
        task = asyncio.get_running_loop().create_task(self._deliver(bot))
        self._deliveries.add(task)
        return bot

    def revoke(self, bot: Bot) -> None:
        """Make the bot's token invalid, as BotFather's /revoke does: 401 from now on."""
        self.bots.pop(bot.token, None)

    def know(self, bot: Bot) -> None:
        """Take a revoked token back."""
        self.bots[bot.token] = bot

    def outage(self, status: int, *, retry_after: int | None = None) -> None:
        """Answer every new request with this status until `recover`; polls that are parked stay parked."""
        self._broken = ApiError(status, usual_words(status, retry_after), retry_after)

    def hang(self) -> None:
        """Accept new requests and answer none of them until `recover`."""
        self._answering.clear()

    def recover(self) -> None:
        """End `outage` and `hang`; the requests that hung are answered now."""
        self._broken = None
        self._answering.set()

    async def _serve(self, request: web.Request) -> web.Response:
        try:
            await self._answering.wait()
            result, description = await self._answer(request)
        except ApiError as error:
            return _refusal(error)
        body = {"ok": True, "result": result}
        return web.json_response(body | {"description": description} if description else body)

    async def _answer(self, request: web.Request) -> tuple[Any, str]:
        if self._broken is not None:
            self.turned_away.append(request.headers.get("User-Agent", ""))
            raise self._broken
        bot, method = self._route(request)
        bot.asked.append((method, request.headers.get("User-Agent", "")))
        call = Call(await _parameters(request), self._client(request), lambda: _connected(request))
        if method != "getupdates":
            bot.raise_fault(method)
        handler = METHODS.get(method)
        if handler is None:
            raise ApiError(404, "Not Found: method not found")
        return await handler(bot, call)

    def _route(self, request: web.Request) -> tuple[Bot, str]:
        head, _, method = request.path.removeprefix("/").partition("/")
        token = head.removeprefix("bot")
        if not head.startswith("bot") or not method or not _TOKEN.fullmatch(token):
            raise ApiError(404, "Not Found")
        if token not in self.bots:
            raise ApiError(401, "Unauthorized")
        return self.bots[token], method.lower()

    def _client(self, request: web.Request) -> Client:
        """Found once per connection, at its first request: the process may be gone when somebody asks."""
        connection = request.transport
        if connection is None:
            return Client(0)
        if connection not in self._clients:
            address, port = connection.get_extra_info("peername")[:2]
            self._clients[connection] = identify(address, port, self._port, request.headers.get("User-Agent", ""))
        return self._clients[connection]

    async def _deliver(self, bot: Bot) -> None:
        """Post a bot's updates to its webhook, one by one, each until it is taken. Only to loopback addresses."""
        async with ClientSession(timeout=ClientTimeout(total=10)) as session:
            while True:
                await bot.until(lambda: bot.pending and URL(bot.webhook.url).host in _LOOPBACK, timeout=None)
                if not await _post(session, bot):
                    await asyncio.sleep(_WEBHOOK_RETRY)

    async def _stop_deliveries(self) -> None:
        for task in self._deliveries:
            task.cancel()
        await asyncio.gather(*self._deliveries, return_exceptions=True)


async def _post(session: ClientSession, bot: Bot) -> bool:
    """Deliver the oldest update; a refusal is kept for getWebhookInfo in the words Telegram uses."""
    hook, update = bot.webhook, bot.pending[0]
    headers = {"X-Telegram-Bot-Api-Secret-Token": hook.secret_token} if hook.secret_token else {}
    try:
        async with session.post(hook.url, json=update, headers=headers) as answer:
            if answer.ok:
                bot.confirm(update["update_id"] + 1)
                return True
            words = f"Wrong response from the webhook: {answer.status} {answer.reason}"
    except TimeoutError:
        words = "Read timeout expired"
    except ClientError:
        words = "Connection refused"
    hook.last_error_date, hook.last_error_message = int(time.time()), words
    bot.notify()
    return False


async def _parameters(request: web.Request) -> dict[str, Any]:
    """Query, form, multipart and JSON parameters as one mapping; files count as their names."""
    parameters: dict[str, Any] = dict(request.query)
    if request.content_type == "application/json":
        return parameters | await _json_object(request)
    with suppress(ValueError):
        form = await request.post()
        parameters |= {name: getattr(value, "filename", value) for name, value in form.items()}
    return parameters


async def _json_object(request: web.Request) -> dict[str, Any]:
    text = await request.text()
    try:
        value = json.loads(text or "{}")
    except ValueError:
        value = None
    if value is None and text.strip() == "null":  # telebot sends it where there is nothing to send
        return {}
    if not isinstance(value, dict):
        raise ApiError(400, "Bad Request: can't parse JSON object")
    return value


def _connected(request: web.Request) -> bool:
    connection = request.transport
    return connection is not None and still_connected(connection.get_extra_info("socket"))


def _refusal(error: ApiError) -> web.Response:
    body: dict[str, Any] = {"ok": False, "error_code": error.status, "description": error.description}
    headers = {}
    if error.retry_after is not None:
        body["parameters"] = {"retry_after": error.retry_after}
        headers["Retry-After"] = str(error.retry_after)
    return web.json_response(body, status=error.status, headers=headers)
