"""A TLS front before the API server, with a certificate of its own that can be changed; it only passes bytes on.

async with Front.start(bed, authority) as front:       # front.url; `authority` has signed its certificate
    await front.change(another)                         # from now on by another CA, and every connection is cut
"""

from __future__ import annotations

import asyncio
import ssl
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.bed.bed import Bed
    from tests.bed.pki import Authority


class Front:
    """Made by `start`."""

    def __init__(self, bed: Bed) -> None:
        """Where it leads to."""
        self._port = urlsplit(bed.cp.url).port
        self._trusted = ssl.create_default_context(cafile=bed.cp.authority)
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self.port = 0

    @classmethod
    @asynccontextmanager
    async def start(cls, bed: Bed, authority: Authority) -> AsyncIterator[Front]:
        """Serve until the block ends."""
        front = cls(bed)
        await front.change(authority)
        try:
            yield front
        finally:
            front.cut()

    @property
    def url(self) -> str:
        """Its address."""
        return f"https://127.0.0.1:{self.port}"

    async def change(self, authority: Authority) -> None:
        """Serve on the same port with a certificate of this CA, and cut every connection."""
        self.cut()
        pair = authority.issue("front", addresses=["127.0.0.1"])
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(pair.certificate, pair.key)
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, ssl=tls, reuse_address=True)
        self.port = self._server.sockets[0].getsockname()[1]

    def cut(self) -> None:
        """Serve no more, and cut every connection."""
        if self._server is not None:
            self._server.close()
        for writer in list(self._writers):
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, ssl.SSLError):
            beyond, there = await asyncio.open_connection("127.0.0.1", self._port, ssl=self._trusted)
            both = {writer, there}
            self._writers |= both
            await asyncio.wait(
                [asyncio.create_task(_pass_on(reader, there)), asyncio.create_task(_pass_on(beyond, writer))],
                return_when=asyncio.FIRST_COMPLETED,
            )
            for each in both:
                each.transport.abort()
            self._writers -= both


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError, ssl.SSLError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
