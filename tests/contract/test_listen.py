"""The HTTP server on a real socket: what it answers, whom it does not let down, and what it never says."""

from __future__ import annotations

import asyncio
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from aiohttp import ClientSession
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from telegrambot_operator.settings import Address
from telegrambot_operator.shell import listen
from telegrambot_operator.shell.health import Health
from telegrambot_operator.shell.listen import CannotListenError, Listener
from telegrambot_operator.shell.metrics import Metrics

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

LOOPBACK = "127.0.0.1"


class Served:
    """A server, and what its health is to say."""

    def __init__(self) -> None:
        self.metrics = Metrics()
        self.health = Health()
        self.port = _free_port()
        self.stuck = self.missing = ""
        self.health.lives(lambda: self.stuck)
        self.health.needs(lambda: self.missing)

    @asynccontextmanager
    async def start(self) -> AsyncIterator[Served]:
        async with Listener(self.metrics, self.health).listening(Address(LOOPBACK, self.port)):
            yield self

    async def get(self, path: str, method: str = "GET", **headers: str) -> tuple[int, str, str]:
        """Status, content type and text."""
        async with (
            ClientSession() as session,
            session.request(method, f"http://{LOOPBACK}:{self.port}{path}", headers=headers) as answer,
        ):
            return answer.status, answer.headers["Content-Type"], await answer.text()


def _free_port() -> int:
    with socket.socket() as free:
        free.bind((LOOPBACK, 0))
        port: int = free.getsockname()[1]
        return port


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    async with Served().start() as served:
        yield served


async def test_healthy_and_ready(served: Served) -> None:
    assert (await served.get("/healthz"))[::2] == (200, "ok\n")
    assert (await served.get("/readyz"))[::2] == (200, "ok\n")


async def test_what_is_wrong_is_said_in_a_sentence(served: Served) -> None:
    served.stuck, served.missing = "the pass of a/b stands still", "pods cannot be listed"
    assert (await served.get("/healthz"))[::2] == (503, "the pass of a/b stands still\n")
    assert (await served.get("/readyz"))[::2] == (503, "pods cannot be listed\n")


async def test_the_text_format_unless_another_is_asked_for(served: Served) -> None:
    status, kind, text = await served.get("/metrics")
    assert (status, kind.split(";")[0]) == (200, "text/plain")
    assert "telegrambot_operator_build_info{" in text
    assert "# EOF" not in text


async def test_open_metrics_for_who_asks(served: Served) -> None:
    status, kind, text = await served.get("/metrics", Accept="application/openmetrics-text; version=1.0.0")
    assert (status, kind.split(";")[0]) == (200, "application/openmetrics-text")
    names = {
        family.name for family in text_string_to_metric_families(text)
    }  # which also refuses what is not OpenMetrics
    assert "telegrambot_operator_reaction_seconds" in names


async def test_nothing_else_is_there(served: Served) -> None:
    assert await served.get("/") == (404, "text/plain; charset=utf-8", "there is /metrics, /healthz, /readyz here\n")
    assert (await served.get("/metrics", "POST"))[0] == 405
    assert (await served.get("/healthz", "HEAD"))[0] == 200


async def test_a_fault_of_ours_is_no_ones_business(served: Served) -> None:
    def broken() -> str:
        raise RuntimeError("7301948265:AAFq9Zr0bXw3KjT5uYv1LmNp8sQeHd2GcRk")

    served.health.lives(broken)
    status, _, text = await served.get("/healthz")
    assert status == 500
    assert "AAFq9" not in text
    assert "Traceback" not in text


async def test_what_is_no_http(served: Served) -> None:
    reader, writer = await asyncio.open_connection(LOOPBACK, served.port)
    writer.write(b"\x00\xff" * 100 + b"\r\n\r\n")
    async with asyncio.timeout(10):
        told = await reader.read()
    writer.close()
    assert b"Traceback" not in told
    assert (await served.get("/healthz"))[0] == 200


async def test_who_holds_connections_keeps_no_probe_out(served: Served) -> None:
    """The oldest is ended where there are too many: one that asks for nothing, or never ends to ask."""
    held = [await asyncio.open_connection(LOOPBACK, served.port) for _ in range(listen.CONNECTIONS + 5)]
    held[-1][1].write(b"GET /healthz HTTP/1.1\r\nHost:")
    assert (await served.get("/healthz"))[0] == 200
    async with asyncio.timeout(10):
        assert await held[0][0].read() == b"", "it was ended"
    for _, writer in held:
        writer.close()


async def test_a_port_in_use() -> None:
    async with Served().start() as one:
        other = Listener(Metrics(), Health())
        with pytest.raises(CannotListenError, match="in use"):
            async with other.listening(Address(LOOPBACK, one.port)):
                pass


async def test_a_name_that_nobody_knows() -> None:
    with pytest.raises(CannotListenError):
        async with Listener(Metrics(), Health()).listening(Address("nowhere.invalid", 8080)):
            pass


async def test_all_addresses() -> None:
    served = Served()
    async with Listener(served.metrics, served.health).listening(Address("", served.port)):
        assert (await served.get("/healthz"))[0] == 200
