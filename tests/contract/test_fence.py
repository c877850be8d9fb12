"""Nothing is written while this replica does not lead: over real connections, to a server that keeps what it gets."""

from __future__ import annotations

import asyncio
import json
import math
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio
from aiohttp import web

from telegrambot_operator.core.silence import Unheard
from telegrambot_operator.shell.fence import Fence
from telegrambot_operator.shell.kube import PODS, Kube, KubeError, path
from telegrambot_operator.shell.telegram import Telegram

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

POD = path(PODS, "shop", "bot")


class Server:
    """An API server that says yes to everything, when it is let."""

    def __init__(self) -> None:
        self.got: list[str] = []
        self.arrived = asyncio.Event()
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        await request.read()
        self.got.append(request.method)
        self.arrived.set()
        await self.may_answer.wait()
        return web.json_response({})


@pytest_asyncio.fixture
async def server() -> AsyncIterator[tuple[Server, str]]:
    kept = Server()
    runner = web.ServerRunner(web.Server(kept.handle))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield kept, f"http://127.0.0.1:{runner.addresses[0][1]}"
    kept.may_answer.set()
    await runner.cleanup()


@pytest_asyncio.fixture
async def kube(server: tuple[Server, str], tmp_path: Path) -> AsyncIterator[Kube]:
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": server[1]}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    (tmp_path / "kubeconfig").write_text(json.dumps(config))
    client = await Kube.connect(str(tmp_path / "kubeconfig"))
    yield client
    await client.close()


class ClosesMeanwhile(Fence):
    """Open at the first look, closed at the second: while a connection was waited for."""

    looks = 0

    @property
    def is_open(self) -> bool:
        self.looks += 1
        return self.looks == 1


async def test_while_the_fence_is_closed_reads_go_out_and_nothing_else(server: tuple[Server, str], kube: Kube) -> None:
    kube.fence.open_until(-math.inf)
    await kube.get(POD)
    for method in ("POST", "PATCH", "PUT", "DELETE"):
        with pytest.raises(KubeError, match="does not lead") as caught:
            await kube.request(method, POD, None, {})
        assert caught.value.status == 409, "as a lost race, which is no failure"
    assert server[0].got == ["GET"]


@pytest.mark.parametrize("warm", [False, True], ids=["a new connection", "one that was there"])
async def test_a_write_that_waits_for_a_connection_does_not_go_out_when_the_fence_closes(
    warm: bool, server: tuple[Server, str], kube: Kube
) -> None:
    if warm:
        await kube.get(POD)
    before = list(server[0].got)
    kube.fence = ClosesMeanwhile()
    with pytest.raises(KubeError, match="does not lead"):
        await kube.patch(POD, {})
    assert server[0].got == before
    kube.fence = Fence()
    await kube.patch(POD, {})
    assert server[0].got == [*before, "PATCH"], "the connection is of use again"


async def test_the_lease_alone_is_written_all_the_same(server: tuple[Server, str], kube: Kube) -> None:
    kube.fence.open_until(-math.inf)
    await kube.patch_unfenced(POD, {}, "application/merge-patch+json", {}, 5.0)
    assert server[0].got == ["PATCH"]


async def test_a_write_under_way_goes_to_its_end_though_nobody_waits_for_it(
    server: tuple[Server, str], kube: Kube
) -> None:
    server[0].may_answer.clear()
    asker = asyncio.create_task(kube.patch(POD, {}))
    await server[0].arrived.wait()
    asker.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asker
    assert not await kube.fence.empty(0.01), "it is still under way"
    server[0].may_answer.set()
    assert await kube.fence.empty(30)


async def test_a_write_is_given_up_before_somebody_else_can_lead(
    server: tuple[Server, str], kube: Kube, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("telegrambot_operator.shell.kube.IN_FLIGHT_SECONDS", 0.05)
    kube.fence = Fence(1.05, clock=lambda: 1.0)
    server[0].may_answer.clear()
    with pytest.raises(KubeError) as caught:
        await kube.patch(POD, {})
    assert caught.value.status == 0


async def test_telegram_is_not_called_while_the_fence_is_closed(server: tuple[Server, str]) -> None:
    telegram = Telegram(server[1], fence=Fence(-math.inf))
    assert await telegram.get_updates("1:a", 5) == Unheard("this replica of the operator does not lead")
    assert isinstance(await telegram.get_me("1:a"), Unheard)
    assert isinstance(await telegram.delete_webhook("1:a"), Unheard)
    await telegram.close()
    assert server[0].got == []
