"""The Bot API, as far as it is called: getUpdates without an offset, which takes no update away from anybody.

https://core.telegram.org/bots/api#getupdates. Of what Telegram answers nothing is kept but the id of the oldest update
that waits; of an error nothing but its kind, and Telegram's description without the token (INV-7).
"""

from http import HTTPStatus
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
import msgspec

from ..core.redact import redact
from ..core.silence import LATE_SECONDS, Answer, CutOff, Hooked, Nothing, Unheard, Waiting
from ..names import FIELD_MANAGER

CONNECT_SECONDS = 5.0
# A token that Telegram does not know, and whatever else only a person can put right.
REFUSED_SECONDS = 60.0
LONGEST_WORDS = 100


class _Update(msgspec.Struct, frozen=True):
    update_id: int


class _Parameters(msgspec.Struct, frozen=True):
    retry_after: float = 0.0


class _Body(msgspec.Struct, frozen=True):
    ok: bool
    result: list[_Update] = []
    description: str = ""
    parameters: _Parameters = _Parameters()


class Telegram:
    """Calls one Bot API server."""

    def __init__(self, base: str) -> None:
        self._base = base
        address = urlsplit(base)
        self._proxy = None if proxy_bypass(address.hostname or "") else getproxies().get(address.scheme)
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()

    async def get_updates(self, token: str, seconds: int) -> Answer:
        """Poll once, parked for so many seconds at most. What goes wrong is an answer, too."""
        timeout = aiohttp.ClientTimeout(total=seconds + LATE_SECONDS, connect=CONNECT_SECONDS)
        try:
            status, data = await self._post(f"{self._base}/bot{token}/getUpdates", timeout, limit=1, timeout=seconds)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            return Unheard(f"no answer: {type(error).__name__}")
        return answer(status, data)

    async def _post(self, url: str, within: aiohttp.ClientTimeout, **parameters: int) -> tuple[int, bytes]:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                trust_env=False,  # the proxy was looked up once; aiohttp would do so for every single request
                connector=aiohttp.TCPConnector(limit=0),  # a lost zone may leave many bots to listen for
                headers={"User-Agent": FIELD_MANAGER},
            )
        call = self._session.post(url, json=parameters, timeout=within, proxy=self._proxy, allow_redirects=False)
        async with call as response:
            return response.status, await response.read()


def answer(status: int, data: bytes) -> Answer:
    """Return what an answer of the Bot API says."""
    try:
        body = msgspec.json.decode(data, type=_Body)
    except (msgspec.DecodeError, UnicodeDecodeError):  # a proxy's page, or a result that is no list of updates
        return Unheard(f"HTTP {status} that is no answer of a Bot API")
    if status == HTTPStatus.OK and body.ok:
        return Waiting(body.result[0].update_id) if body.result else Nothing()
    if status == HTTPStatus.CONFLICT:
        return Hooked() if "webhook is active" in body.description else CutOff()
    words = redact(f"HTTP {status} {body.description}".strip())[:LONGEST_WORDS]
    for_good = HTTPStatus.BAD_REQUEST <= status < HTTPStatus.INTERNAL_SERVER_ERROR
    limited = status == HTTPStatus.TOO_MANY_REQUESTS
    return Unheard(words, body.parameters.retry_after if limited or not for_good else REFUSED_SECONDS)
