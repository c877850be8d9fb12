"""A proxy between the operator and the API server that makes faults by rule, and remembers what was asked for.

async with Proxy.start(kubeconfig, folder) as proxy:            # the kubeconfig of the operator's ServiceAccount
    async with bed.operator(kubeconfig=proxy.kubeconfig): ...   # forwarded as it asks, with its own token

    proxy.at_event("watch pods", lost, nth=2)                   # the second event of pods from now on does not arrive
    proxy.at_request("patch deployments", answered(503))        # ... and no Deployment can be patched
    rule = proxy.at_request("patch telegrambots/shop/status", unanswered, nth=1)
    await bed.until(lambda: rule.struck)
    proxy.heal()                                                # no rules any more
    assert proxy.writes[mark:] == []

A rule names the calls it is for by the beginning of `<verb> <plural>[/<name>[/<subresource>]]`, a regular expression.
The operator speaks plain HTTP to this port, on loopback, so that nothing but the fault itself is between the two.
"""

from __future__ import annotations

import asyncio
import base64
import json
import re
import socket
import ssl
import struct
import time
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeAlias, cast

import yaml
from aiohttp import ClientError, ClientResponse, ClientSession, ClientTimeout, TCPConnector, web

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

Forward: TypeAlias = Callable[[], Awaitable[web.StreamResponse]]
AtRequest: TypeAlias = Callable[[Forward], Awaitable[web.StreamResponse]]
AtEvent: TypeAlias = Callable[[bytes], Awaitable[bytes]]

_PATH = re.compile(r"/apis?/(?:v1|[^/]+/[^/]+)/(?:namespaces/(?P<namespace>[^/]+)/)?(?P<what>.+)")
_VERBS = {"POST": "create", "PATCH": "patch", "PUT": "update", "DELETE": "delete"}
_PASSED_ON = ("Accept", "Authorization", "Content-Type", "User-Agent")
_PASSED_BACK = ("Content-Type", "Retry-After")
_LONGEST_LINE = 1 << 22  # bytes


class EndError(Exception):
    """Ends a stream as a server does that is through with it, after these last bytes."""

    def __init__(self, last: bytes = b"") -> None:
        super().__init__()
        self.last = last


class ResetError(EndError):
    """Ends a connection by RST, after these last bytes."""


@dataclass(frozen=True)
class Call:
    """What the operator asked for. `namespace` is empty for all of them."""

    verb: str
    namespace: str
    what: str
    query: str
    authorization: str

    @classmethod
    def of(cls, request: web.BaseRequest) -> Call:
        """The call behind an HTTP request: `get /version` for one that is about no resource."""
        found = _PATH.fullmatch(request.path)
        what = found["what"] if found else request.path
        verb = _VERBS.get(request.method) or ("get" if "/" in what else "list")
        if request.query.get("watch") in {"1", "true"}:
            verb = "watch"
        namespace = found["namespace"] or "" if found else ""
        return cls(verb, namespace, what, request.query_string, request.headers.get("Authorization", ""))

    def __str__(self) -> str:
        """As rules name it."""
        return f"{self.verb} {self.what}"

    @property
    def writes(self) -> bool:
        """Whether it changes anything."""
        return self.verb in _VERBS.values()


@dataclass
class Rule:
    """A fault and what it strikes: every call or event that fits, or only the nth. `struck` counts its victims."""

    calls: str
    nth: int | None
    fits: Callable[[Call], bool]
    request: AtRequest | None = None
    event: AtEvent | None = None
    bookmarks: bool = False
    seen: int = 0
    struck: int = 0

    def strikes(self, call: Call) -> bool:
        """Whether this call, or this event of it, is one to strike. Counts."""
        if not re.match(self.calls, str(call)) or not self.fits(call):
            return False
        self.seen += 1
        hit = self.nth in {None, self.seen}
        self.struck += hit
        return hit


class Proxy:
    """`kubeconfig` is the operator's. `calls` are all that it made.

    `answered` are the writes that the API server answered, with its status; `refused` is what it refused for lack of a
    right, or of a valid token, reads too. `events` are the watch lines that reached
    the operator, bookmarks left out. `last_write` is when it last wrote, as of `time.monotonic`.
    """

    def __init__(self, server: str, session: ClientSession, port: int, kubeconfig: Path) -> None:
        """Use `start`."""
        self.kubeconfig = kubeconfig
        self.calls: list[Call] = []
        self.answered: list[tuple[Call, int]] = []
        self.refused: list[Call] = []
        self.events: list[tuple[Call, bytes]] = []
        self.last_write = time.monotonic()
        self._server = server
        self._session = session
        self._port = port
        self._rules: list[Rule] = []
        self._streams: dict[asyncio.BaseTransport, Call] = {}
        self._runner = web.ServerRunner(web.Server(self._handle, handler_cancellation=True))

    @classmethod
    @asynccontextmanager
    async def start(cls, credentials: Path, folder: Path) -> AsyncIterator[Proxy]:
        """Serve until the block ends. `credentials` is a kubeconfig with a token; the operator's goes into `folder`."""
        config = yaml.safe_load(await asyncio.to_thread(credentials.read_text))
        cluster = config["clusters"][0]["cluster"]
        with _bound(0) as holder:  # the port stays ours while connections are refused
            port = holder.getsockname()[1]
            async with _session(cluster.pop("certificate-authority-data")) as session:
                proxy = cls(cluster["server"], session, port, folder / f"proxy-{port}.kubeconfig")
                cluster["server"] = f"http://127.0.0.1:{port}"
                proxy.kubeconfig.write_text(yaml.safe_dump(config))
                await proxy._runner.setup()
                try:
                    await proxy._listen()
                    yield proxy
                finally:
                    proxy.reset()
                    await proxy._runner.cleanup()

    @property
    def writes(self) -> list[Call]:
        """All writes that the operator asked for, whether they came through or not."""
        return [call for call in self.calls if call.writes]

    async def new_token(self, token: str) -> None:
        """Put another token into the operator's kubeconfig, as a kubelet does with a pod's."""
        config = yaml.safe_load(await asyncio.to_thread(self.kubeconfig.read_text))
        config["users"][0]["user"]["token"] = token.strip()
        await asyncio.to_thread(self.kubeconfig.write_text, yaml.safe_dump(config))

    # Faults

    def at_request(
        self, calls: str, fault: AtRequest, nth: int | None = None, fits: Callable[[Call], bool] = lambda _: True
    ) -> Rule:
        """From now on these calls meet this fault: every one, or the nth only."""
        return self._add(Rule(calls, nth, fits, request=fault))

    def at_event(
        self,
        calls: str,
        fault: AtEvent,
        nth: int | None = None,
        fits: Callable[[Call], bool] = lambda _: True,
        *,
        bookmarks: bool = False,
    ) -> Rule:
        """From now on the events of these watches, open ones too, meet this fault; or their bookmarks do."""
        return self._add(Rule(calls, nth, fits, event=fault, bookmarks=bookmarks))

    def _add(self, rule: Rule) -> Rule:
        self._rules.append(rule)
        return rule

    def heal(self) -> None:
        """Take every rule back."""
        self._rules.clear()

    def reset(self, calls: str = "") -> None:
        """End the open watches that fit by RST."""
        for transport, call in list(self._streams.items()):
            if re.match(calls, str(call)):
                _abort(transport)

    @asynccontextmanager
    async def refusing(self) -> AsyncIterator[None]:
        """Refuse all connections, and break those that are open, until the block ends."""
        for site in list(self._runner.sites):
            await site.stop()
        self.cut()
        try:
            yield
        finally:
            await self._listen()

    def cut(self, chosen: Callable[[], bool] = lambda: True) -> int:
        """End the open connections by RST, each for which this is true, whatever goes on in it; returns how many."""
        found = [each.transport for each in cast("web.Server", self._runner.server).connections]
        struck = [each for each in found if each is not None and chosen()]
        for transport in struck:
            _abort(transport)
        return len(struck)

    # Forwarding

    async def _listen(self) -> None:
        await web.SockSite(self._runner, _bound(self._port)).start()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        call = Call.of(request)
        self.calls.append(call)
        if call.writes:
            self.last_write = time.monotonic()
        body = await request.read()
        forward: Forward = partial(self._forward, request, call, body)
        if call.writes:  # it goes its way, and into the record, even if the operator does not wait for the answer
            forward = partial(_to_the_end, forward)
        for rule in self._rules:
            if rule.request is not None and rule.strikes(call):
                forward = partial(rule.request, forward)
        try:
            return await forward()
        except (ResetError, ClientError):
            if request.transport is not None:
                _abort(request.transport)
            return web.Response()  # which nobody gets

    async def _forward(self, request: web.BaseRequest, call: Call, body: bytes) -> web.StreamResponse:
        headers = {name: request.headers[name] for name in _PASSED_ON if name in request.headers}
        async with self._session.request(
            request.method, self._server + request.raw_path, data=body or None, headers=headers
        ) as answer:
            if answer.status in {401, 403}:
                self.refused.append(call)
            if call.verb == "watch" and answer.status == 200:
                return await self._stream(request, call, answer)
            content = await answer.read()
            if call.writes:
                self.answered.append((call, answer.status))
            return web.Response(status=answer.status, body=content, headers=_passed_back(answer))

    async def _stream(self, request: web.BaseRequest, call: Call, answer: ClientResponse) -> web.StreamResponse:
        response = web.StreamResponse(headers=_passed_back(answer))
        response.enable_chunked_encoding()
        await response.prepare(request)
        transport = cast("asyncio.Transport", request.transport)
        self._streams[transport] = call
        try:
            async for line in answer.content:
                await response.write(await self._bent(call, line))
        except EndError as end:
            await response.write(end.last)
            if isinstance(end, ResetError):
                raise
        finally:
            del self._streams[transport]
        await response.write_eof()
        return response

    async def _bent(self, call: Call, line: bytes) -> bytes:
        """What is left of a line of a watch."""
        bookmark = line.startswith(b'{"type":"BOOKMARK"')
        for rule in list(self._rules):
            if rule.event is not None and rule.bookmarks == bookmark and rule.strikes(call):
                line = await rule.event(line)
        if line and not bookmark:
            self.events.append((call, line))
        return line


# --- Faults of a request ----------------------------------------------------------------------------------------------


def answered(status: int, *, retry_after: int | None = None) -> AtRequest:
    """The API server is not asked; this is the answer, in Kubernetes' words where they matter."""
    reason = {403: "Forbidden", 409: "Conflict", 410: "Expired", 429: "TooManyRequests"}.get(status, "InternalError")
    body = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "code": status}

    async def fault(forward: Forward) -> web.StreamResponse:
        del forward
        headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
        return web.json_response(body | {"message": f"made by the proxy: {reason}"}, status=status, headers=headers)

    return fault


async def dropped(forward: Forward) -> web.StreamResponse:
    """The request never reaches the API server."""
    del forward
    raise ResetError


async def unanswered(forward: Forward) -> web.StreamResponse:
    """The API server does it, and the operator gets no answer."""
    await forward()
    raise ResetError


def delayed(seconds: float) -> AtRequest:
    """The request takes so much longer to arrive."""

    async def fault(forward: Forward) -> web.StreamResponse:
        await asyncio.sleep(seconds)
        return await forward()

    return fault


def first(happens: Callable[[], Awaitable[object]]) -> AtRequest:
    """The request arrives after this has happened."""

    async def fault(forward: Forward) -> web.StreamResponse:
        await happens()
        return await forward()

    return fault


# --- Faults of an event -----------------------------------------------------------------------------------------------


async def lost(line: bytes) -> bytes:
    """It does not arrive."""
    del line
    return b""


async def thrice(line: bytes) -> bytes:
    """It arrives three times."""
    return line * 3


async def torn(line: bytes) -> bytes:
    """The stream ends in its middle, as if all were well."""
    raise EndError(line[: len(line) // 2])


async def reset(line: bytes) -> bytes:
    """The connection is reset in its middle."""
    raise ResetError(line[: len(line) // 2])


def held(release: asyncio.Event) -> AtEvent:
    """It arrives when it is released, and so do those behind it."""

    async def fault(line: bytes) -> bytes:
        await release.wait()
        return line

    return fault


def failed(code: int, reason: str) -> AtEvent:
    """An error comes in its place, and the stream ends."""
    status = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason}

    async def fault(line: bytes) -> bytes:
        del line
        raise EndError(
            json.dumps({"type": "ERROR", "object": status | {"message": "made by the proxy"}}).encode() + b"\n"
        )

    return fault


# --- Connections ------------------------------------------------------------------------------------------------------


async def _to_the_end(forward: Forward) -> web.StreamResponse:
    going = asyncio.ensure_future(forward())
    going.add_done_callback(
        lambda done: done.cancelled() or done.exception()
    )  # if nobody waits, nobody need hear of it
    return await asyncio.shield(going)


def _session(authority: str) -> ClientSession:
    """Connections to the server whose CA this is, as a kubeconfig holds it. They carry what the operator sends."""
    tls = ssl.create_default_context(cadata=base64.b64decode(authority).decode())
    return ClientSession(
        connector=TCPConnector(ssl=tls, limit=0),
        timeout=ClientTimeout(total=None),
        read_bufsize=_LONGEST_LINE,
        auto_decompress=False,
        skip_auto_headers=["Accept-Encoding", "Content-Type"],
    )


def _passed_back(answer: ClientResponse) -> dict[str, str]:
    return {name: answer.headers[name] for name in _PASSED_BACK if name in answer.headers}


def _abort(transport: asyncio.BaseTransport) -> None:
    """End a connection by RST."""
    if (connection := transport.get_extra_info("socket")) is not None:
        with suppress(OSError):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    cast("asyncio.Transport", transport).abort()


def _bound(port: int) -> socket.socket:
    bound = socket.socket()
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    bound.bind(("127.0.0.1", port))
    return bound
