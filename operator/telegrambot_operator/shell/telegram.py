"""The Bot API, as far as it is called. No method takes an update away from anybody, and none drops one.

https://core.telegram.org/bots/api. `getUpdates` is called without an offset, and of what it answers nothing is kept but
the id of the oldest update; of an error nothing but its kind, and Telegram's description without the token (INV-7).
"""

from collections.abc import Callable
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TypeVar
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
import msgspec

from ..core.redact import redact
from ..core.silence import LATE_SECONDS, Answer, CutOff, Hooked, Nothing, Unheard, Waiting
from ..core.word import Info, Me, Refused
from ..names import FIELD_MANAGER
from .fence import Fence
from .health import moved

CONNECT_SECONDS = 5.0
# What Telegram answers from memory, and a setWebhook, for which it looks the host up first.
ANSWER_SECONDS = 10.0
# A token that Telegram does not know, and whatever else only a person can put right.
REFUSED_SECONDS = 60.0
LONGEST_WORDS = 100
# Of an answer; getUpdates is asked for one update, which Telegram keeps far below that.
LONGEST_ANSWER = 1024 * 1024

T = TypeVar("T")


class _Update(msgspec.Struct, frozen=True):
    update_id: int


class _Parameters(msgspec.Struct, frozen=True):
    retry_after: float = 0.0


class _Body(msgspec.Struct, frozen=True):
    ok: bool
    result: msgspec.Raw = msgspec.Raw(b"null")
    description: str = ""
    parameters: _Parameters = _Parameters()


class _Me(msgspec.Struct, frozen=True):
    id: int
    username: str = ""


class _Info(msgspec.Struct, frozen=True):
    url: str = ""
    pending_update_count: int = 0
    last_error_date: int = 0
    last_error_message: str = ""
    max_connections: int | None = None
    has_custom_certificate: bool = False


class Telegram:
    """Calls one Bot API server, through the environment's proxy. Every call is bounded in time and size.

    `told` is called with the method and the HTTP status of every call, 0 where there was no answer. None is made while
    the `fence` is closed: two replicas that poll would cut each other off.
    """

    def __init__(
        self, base: str, told: Callable[[str, int], None] = lambda *_: None, fence: Fence | None = None
    ) -> None:
        self._base = base
        self._fence = fence or Fence()
        self._told = told
        address = urlsplit(base)
        self._proxy = None if proxy_bypass(address.hostname or "") else getproxies().get(address.scheme)
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()

    async def get_updates(self, token: str, seconds: int) -> Answer:
        """Poll once, parked for so many seconds at most. What goes wrong is an answer, too."""
        got = await self._call(token, "getUpdates", seconds + LATE_SECONDS, limit=1, timeout=seconds)
        return got if isinstance(got, Unheard) else answer(*got)

    async def get_me(self, token: str) -> Me | Refused | Unheard:
        """Return who the bot is."""
        got = await self._result(token, "getMe", _Me)
        return Me(got.id, got.username[:LONGEST_WORDS]) if isinstance(got, _Me) else got

    async def get_webhook_info(self, token: str) -> Info | Refused | Unheard:
        """Return where updates are delivered to, and how many wait."""
        got = await self._result(token, "getWebhookInfo", _Info)
        return _info(got) if isinstance(got, _Info) else got

    async def delete_webhook(self, token: str) -> bool | Refused | Unheard:
        """Delete the webhook. The updates that wait stay."""
        return await self._result(token, "deleteWebhook", bool, drop_pending_updates=False)

    async def set_webhook(self, token: str, url: str, max_connections: int | None) -> bool | Refused | Unheard:
        """Set the webhook. The updates that wait stay, and so does `allowed_updates`, which is not named."""
        kept = {} if max_connections is None else {"max_connections": max_connections}
        return await self._result(token, "setWebhook", bool, url=url, drop_pending_updates=False, **kept)

    async def _result(self, token: str, method: str, kind: type[T], **parameters: object) -> T | Refused | Unheard:
        got = await self._call(token, method, ANSWER_SECONDS, **parameters)
        return got if isinstance(got, Unheard) else result(*got, kind)

    async def _call(self, token: str, method: str, seconds: float, **parameters: object) -> tuple[int, bytes] | Unheard:
        within = aiohttp.ClientTimeout(total=seconds, connect=CONNECT_SECONDS)
        if not self._fence.is_open:
            return Unheard("this replica of the operator does not lead")
        got: tuple[int, bytes] | Unheard
        try:
            got = await self._post(f"{self._base}/bot{token}/{method}", within, parameters)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            got = Unheard(f"no answer: {type(error).__name__}")
        moved()
        self._told(method, 0 if isinstance(got, Unheard) else got[0])
        return got

    async def _post(self, url: str, within: aiohttp.ClientTimeout, parameters: dict[str, object]) -> tuple[int, bytes]:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                trust_env=False,  # the proxy was looked up once; aiohttp would do so for every single request
                connector=aiohttp.TCPConnector(limit=0),  # a lost zone may leave many bots to listen for
                headers={"User-Agent": FIELD_MANAGER},
            )
        call = self._session.post(url, json=parameters, timeout=within, proxy=self._proxy, allow_redirects=False)
        async with call as response:
            data = bytearray()
            async for chunk in response.content.iter_any():
                data += chunk
                if len(data) > LONGEST_ANSWER:
                    raise ValueError("an answer that is too long")
            return response.status, bytes(data)


def _info(got: _Info) -> Info:
    try:
        error_at = datetime.fromtimestamp(got.last_error_date, UTC) if got.last_error_date > 0 else None
    except (OverflowError, ValueError, OSError):  # no time that there can be
        error_at = None
    return Info(
        url=got.url,
        pending=max(0, got.pending_update_count),
        error_at=error_at,
        error=got.last_error_message,
        max_connections=got.max_connections,
        certificate=got.has_custom_certificate,
    )


def _body(status: int, data: bytes) -> _Body | Unheard:
    try:
        return msgspec.json.decode(data, type=_Body)
    except (msgspec.DecodeError, UnicodeDecodeError):  # a proxy's page
        return _no_answer(status)


def _no_answer(status: int) -> Unheard:
    return Unheard(f"HTTP {status} that is no answer of a Bot API")


def _unheard(status: int, body: _Body) -> Unheard:
    words = redact(f"HTTP {status} {body.description}".strip())[:LONGEST_WORDS]
    for_good = HTTPStatus.BAD_REQUEST <= status < HTTPStatus.INTERNAL_SERVER_ERROR
    limited = status == HTTPStatus.TOO_MANY_REQUESTS
    return Unheard(words, body.parameters.retry_after if limited or not for_good else REFUSED_SECONDS)


def result(status: int, data: bytes, kind: type[T]) -> T | Refused | Unheard:
    """Return what an answer of the Bot API holds, as a value of this type."""
    body = _body(status, data)
    if isinstance(body, Unheard):
        return body
    if status == HTTPStatus.OK and body.ok:
        try:
            return msgspec.json.decode(body.result, type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return _no_answer(status)
    unknown = status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.NOT_FOUND}
    return Refused() if unknown else _unheard(status, body)


def answer(status: int, data: bytes) -> Answer:
    """Return what an answer of the Bot API to getUpdates says."""
    body = _body(status, data)
    if isinstance(body, Unheard):
        return body
    if status == HTTPStatus.OK and body.ok:
        try:
            updates = msgspec.json.decode(body.result, type=list[_Update])
        except (msgspec.DecodeError, UnicodeDecodeError):
            return _no_answer(status)
        return Waiting(updates[0].update_id) if updates else Nothing()
    if status == HTTPStatus.CONFLICT:
        return Hooked() if "webhook is active" in body.description else CutOff()
    return _unheard(status, body)
