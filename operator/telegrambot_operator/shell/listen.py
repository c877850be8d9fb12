"""Serves `/metrics`, `/healthz` and `/readyz`, and nothing else.

Whoever asks costs little: of too many connections the oldest is ended, one scrape is made at a time, no body is read,
and no answer holds a word of what went wrong inside. A scrape is rendered in a thread of its own, so that passes go on.
"""

import asyncio
import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web
from prometheus_client.exposition import choose_encoder

from ..settings import Address
from .health import Health
from .metrics import Metrics

log = logging.getLogger(__name__)

CONNECTIONS = 64
IDLE_SECONDS = 75.0  # scrapes are 15 or 30 s apart as a rule, probes 10 s
METHODS = {"GET", "HEAD"}
PATHS = "/metrics, /healthz, /readyz"


class CannotListenError(Exception):
    """The address cannot be listened on; the text says why."""


class Listener:
    """Answers with the state of one process."""

    def __init__(self, metrics: Metrics, health: Health) -> None:
        self._metrics = metrics
        self._health = health
        self._scrape = asyncio.Lock()
        self._server = web.Server(self._answer, access_log=None, keepalive_timeout=IDLE_SECONDS, lingering_time=0.0)

    @asynccontextmanager
    async def listening(self, address: Address) -> AsyncIterator[None]:
        """Listen until the block ends. Raises CannotListenError."""
        loop = asyncio.get_running_loop()
        try:
            server = await loop.create_server(self._connection, address.host or None, address.port)
        except OSError as error:
            raise CannotListenError(_why(error)) from None
        log.info("listening on %s", ", ".join(str(Address(*each.getsockname()[:2])) for each in server.sockets))
        try:
            yield
        finally:
            server.close()
            await self._server.shutdown(timeout=1.0)

    def _connection(self) -> asyncio.Protocol:
        """Take a connection. Who holds many, and asks for nothing, must not keep a probe out."""
        for oldest in self._server.connections[: 1 - CONNECTIONS]:
            if oldest.transport is not None:
                oldest.transport.close()
        return self._server()

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.method not in METHODS:
            return web.Response(status=405, text="only GET is answered here\n", headers={"Allow": "GET, HEAD"})
        match request.path:
            case "/metrics":
                return await self._all_metrics(request.headers.get("Accept", ""))
            case "/healthz":
                return _verdict(self._health.stuck())
            case "/readyz":
                return _verdict(self._health.missing())
        return web.Response(status=404, text=f"there is {PATHS} here\n")

    async def _all_metrics(self, accepted: str) -> web.Response:
        render, content_type = choose_encoder(accepted)
        async with self._scrape:
            body = await asyncio.to_thread(render, self._metrics.registry)
        response = web.Response(body=body, headers={"Content-Type": content_type})
        response.enable_compression()
        return response


def _verdict(wrong: str) -> web.Response:
    return web.Response(status=503, text=f"{wrong}\n") if wrong else web.Response(text="ok\n")


def _why(error: OSError) -> str:
    """The system's words for an error, without asyncio's; those of a name that nobody knows are below 0."""
    if error.errno is not None and error.errno > 0:
        return os.strerror(error.errno)
    return error.strerror or type(error).__name__
