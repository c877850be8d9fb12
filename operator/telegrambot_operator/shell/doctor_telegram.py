"""Telegram's own word on a bot, for the doctor: getMe and getWebhookInfo, which change nothing and disturb nobody."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
import msgspec

from ..core.doctor_facts import Account, Gap, Hook, Refused
from ..core.redact import redact
from ..names import FIELD_MANAGER

SECONDS = 10.0
LOOK_AGAIN_SECONDS = 3.0
_UNREACHABLE = "see that the Bot API can be reached from here (HTTPS_PROXY, TELEGRAM_API_URL)"


class _Me(msgspec.Struct, frozen=True):
    id: int
    username: str = ""


class _WebhookInfo(msgspec.Struct, frozen=True):
    url: str = ""
    pending_update_count: int = 0
    last_error_date: int = 0
    last_error_message: str = ""


class _Body(msgspec.Struct, frozen=True):
    ok: bool = False
    result: msgspec.Raw = msgspec.Raw(b"null")
    description: str = ""


class Word:
    """Asks one Bot API server."""

    def __init__(self, base: str) -> None:
        self._base = base
        address = urlsplit(base)
        self._proxy = None if proxy_bypass(address.hostname or "") else getproxies().get(address.scheme)

    async def on(self, token: str, *, polls: bool) -> tuple[Account | Refused | Gap, Hook | Gap]:
        """Return what Telegram says of the bot and of its webhook; looked at twice where a bot that polls has mail."""
        account = await self._account(token)
        if isinstance(account, Refused):
            return account, Gap("Telegram refuses the token", "put a good one there first")
        hook = await self._hook(token)
        if isinstance(hook, Gap) or not hook.pending or hook.url or not polls:
            return account, hook
        await asyncio.sleep(LOOK_AGAIN_SECONDS)
        again = await self._hook(token)
        return account, again if isinstance(again, Gap) else replace(again, fell=again.pending < hook.pending)

    async def _account(self, token: str) -> Account | Refused | Gap:
        found = await self._call(token, "getMe")
        if isinstance(found, Gap | Refused):
            return found
        me = msgspec.json.decode(found, type=_Me)
        return Account(me.id, me.username)

    async def _hook(self, token: str) -> Hook | Gap:
        found = await self._call(token, "getWebhookInfo")
        if isinstance(found, Refused):
            return Gap(f"Telegram does not tell: {found.words}")
        if isinstance(found, Gap):
            return found
        info = msgspec.json.decode(found, type=_WebhookInfo)
        at = datetime.fromtimestamp(info.last_error_date, UTC) if info.last_error_date else None
        return Hook(info.url, info.pending_update_count, None, redact(info.last_error_message), at)

    async def _call(self, token: str, method: str) -> bytes | Refused | Gap:
        timeout = aiohttp.ClientTimeout(total=SECONDS)
        try:
            async with (
                aiohttp.ClientSession(
                    trust_env=False, timeout=timeout, headers={"User-Agent": FIELD_MANAGER}
                ) as session,
                session.post(f"{self._base}/bot{token}/{method}", proxy=self._proxy, allow_redirects=False) as answer,
            ):
                return _result(answer.status, await answer.read())
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            return Gap(f"Telegram gave no answer ({type(error).__name__})", _UNREACHABLE)


def _result(status: int, data: bytes) -> bytes | Refused | Gap:
    try:
        body = msgspec.json.decode(data, type=_Body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return Gap(f"what answered is no Bot API (HTTP {status})", _UNREACHABLE)
    if body.ok:
        return bytes(body.result)
    words = redact(f"HTTP {status} {body.description}".strip())[:100]
    if status in {401, 404}:
        return Refused(words)
    return Gap(f"Telegram answered {words}")
