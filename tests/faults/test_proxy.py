"""The faults that the proxy makes are the ones it is asked for."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio
import yaml
from aiohttp import ClientError, ClientPayloadError, ClientSession

from tests.bed.kube import path
from tests.faults.proxy import Proxy, answered, dropped, failed, held, lost, reset, thrice, torn, unanswered

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aiohttp import StreamReader

    from tests.bed.bed import Bed

pytestmark = pytest.mark.bed


@pytest_asyncio.fixture
async def client(bed: Bed, proxy: Proxy) -> AsyncIterator[ClientSession]:
    """Calls the API server through the proxy, as the operator does, once it serves watches of TelegramBots."""
    config = yaml.safe_load(proxy.kubeconfig.read_text())
    headers = {"Authorization": f"Bearer {config['users'][0]['user']['token']}"}
    async with ClientSession(config["clusters"][0]["cluster"]["server"], headers=headers) as client:

        async def serves() -> bool:  # where the CRD is new, it says 429 for a while
            async with client.get(path("telegrambots"), params={"watch": "1", "timeoutSeconds": "1"}) as answer:
                return answer.status == 200

        await bed.until(serves, what="a watch of TelegramBots")
        yield client


@asynccontextmanager
async def watching(client: ClientSession, ns: str) -> AsyncIterator[StreamReader]:
    """The lines of a watch on the TelegramBots of a namespace."""
    async with client.get(path("telegrambots", ns), params={"watch": "1"}) as answer:
        yield answer.content


async def make(bed: Bed, ns: str, *names: str) -> None:
    for name in names:
        spec = {"deploymentRef": {"name": name}}
        meta = {"name": name, "namespace": ns}
        await bed.apply({"apiVersion": "singleton.bot/v1alpha1", "kind": "TelegramBot", "metadata": meta, "spec": spec})


async def told(lines: StreamReader) -> str:
    """The next event's kind and the name of its object, or the error's code."""
    line: dict[str, Any] = json.loads(await lines.readline())
    return f"{line['type']} {line['object'].get('code') or line['object']['metadata']['name']}"


async def test_events_are_lost_repeated_and_held(bed: Bed, ns: str, proxy: Proxy, client: ClientSession) -> None:
    release = asyncio.Event()
    async with watching(client, ns) as lines:
        proxy.at_event("watch telegrambots", lost, nth=2)
        proxy.at_event("watch telegrambots", thrice, nth=3)
        proxy.at_event("watch telegrambots", held(release), nth=4)
        await make(bed, ns, "a", "b", "c", "d")
        assert [await told(lines) for _ in range(4)] == ["ADDED a", "ADDED c", "ADDED c", "ADDED c"]
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await lines.readline()
        release.set()
        assert await told(lines) == "ADDED d"


async def test_streams_end_in_every_way(bed: Bed, ns: str, proxy: Proxy, client: ClientSession) -> None:
    await make(bed, ns, "a")
    proxy.at_event("watch", torn, nth=1)
    async with watching(client, ns) as lines:
        last = await lines.read()
        assert last
        assert not last.endswith(b"\n")
    proxy.at_event("watch", reset, nth=1)
    async with watching(client, ns) as lines:
        with pytest.raises((ClientPayloadError, ConnectionError)):
            await lines.read()
    proxy.at_event("watch", failed(410, "Expired"), nth=1)
    async with watching(client, ns) as lines:
        assert await told(lines) == "ERROR 410"
        assert await lines.read() == b""


async def test_requests_meet_what_the_rule_says(bed: Bed, ns: str, proxy: Proxy, client: ClientSession) -> None:
    await make(bed, ns, "a")
    where = path("telegrambots", ns, "a", "status")

    async def patch(label: str) -> int:
        body = json.dumps({"status": {"node": label}})
        kind = {"Content-Type": "application/merge-patch+json"}
        async with client.patch(where, data=body, headers=kind) as answer:
            return answer.status

    async def node() -> str | None:
        return ((await bed.get("telegrambot", "a", ns) or {}).get("status") or {}).get("node")

    proxy.at_request("patch telegrambots/a/status", answered(429, retry_after=7), nth=1)
    proxy.at_request("patch telegrambots/a/status", dropped, nth=2)
    proxy.at_request("patch telegrambots/a/status", unanswered, nth=3)
    assert await patch("one") == 429
    with pytest.raises(ClientError):
        await patch("two")
    assert await node() is None
    with pytest.raises(ClientError):
        await patch("three")
    assert await node() == "three"
    assert await patch("four") == 200
    assert [str(call) for call in proxy.writes] == ["patch telegrambots/a/status"] * 4
    assert [status for _, status in proxy.answered] == [200, 200]


async def test_connections_are_refused_and_accepted_again(ns: str, proxy: Proxy, client: ClientSession) -> None:
    async with watching(client, ns) as lines, proxy.refusing():
        with pytest.raises((ClientPayloadError, ConnectionError)):
            await lines.read()
        with pytest.raises(ClientError):
            await client.get(path("telegrambots", ns))
    async with client.get(path("telegrambots", ns)) as answer:
        assert answer.status == 200
