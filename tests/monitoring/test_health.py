"""A real operator that is brought to a stand says so at /healthz; one whose API server is down does not.

What no fault from outside can bring about, since every request is bounded, is done to the process itself: Python
imports `sitecustomize` before the operator. It also shortens the operator's patience to what a test has of it.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.faults.proxy import Proxy, answered

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from typing import Any

    from aiohttp import web

    from tests.bed.bed import Bed
    from tests.faults.proxy import Forward
    from tests.monitoring.scrape import Scraped
    from tests.monitoring.test_signals import Serve

pytestmark = pytest.mark.bed

OPERATOR = Path(__file__).parents[2] / "operator"
PATIENCE = 8  # seconds of silence; a watch that is well is heard of every two
IMPATIENT = f"""
from telegrambot_operator.shell import health, informer, kube, roll
health.STILL_SECONDS = 4.0
informer.RELIST_SECONDS = 2.0
informer.RELIST_SHARE = 1
informer.SILENT_SECONDS = roll.SILENT_SECONDS = {PATIENCE}.0
kube.SILENCE_SECONDS = 2.0
roll.RELIST_SECONDS = 2.0
"""
A_BOT = {
    "apiVersion": "singleton.bot/v1alpha1",
    "kind": "TelegramBot",
    "metadata": {"name": "shop"},
    "spec": {"deploymentRef": {"name": "nowhere"}},
}

SABOTAGE = {
    "the pass of {ns}/shop has stood still": """
import asyncio
from telegrambot_operator.shell.observe import Observer
async def hang(*_):
    await asyncio.Event().wait()
Observer.observe = hang
""",
    "no pass has begun": """
import asyncio
from telegrambot_operator.shell.workqueue import WorkQueue
async def sleep_on(*_):
    await asyncio.Event().wait()
WorkQueue.get = sleep_on
""",
    "searching pods has ended": """
from telegrambot_operator.shell.strays import Strays
async def end(*_):
    return
Strays.run = end
""",
}


def impatient(folder: Path, sabotage: str = "") -> dict[str, str]:
    """The environment of an operator with little patience, and with this done to it."""
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(IMPATIENT + sabotage)
    return {"PYTHONPATH": f"{folder}:{OPERATOR}"}


def says(bed: Bed, scraped: Scraped, status: int, text: str) -> Coroutine[Any, Any, object]:
    """Wait until /healthz says this."""

    async def said() -> bool:
        found = await scraped.get("/healthz")
        return found[0] == status and text in found[1]

    return bed.until(said, what=f"/healthz says {status} {text}")


@pytest.mark.parametrize("complaint", SABOTAGE)
async def test_work_that_stands_still(complaint: str, bed: Bed, ns: str, serve: Serve, tmp_path: Path) -> None:
    await bed.apply(A_BOT | {"metadata": {"name": "shop", "namespace": ns}})
    env = impatient(tmp_path / "custom", SABOTAGE[complaint])
    async with serve("--namespace", ns, env=env) as scraped:
        await says(bed, scraped, 503, complaint.format(ns=ns))
        assert scraped.operator.log_text().count("Traceback") == 0


async def test_an_event_loop_that_is_held_up_answers_no_probe(bed: Bed, ns: str, serve: Serve, tmp_path: Path) -> None:
    hold_up = """
import time
from telegrambot_operator.shell.observe import Observer
Observer.observe = lambda *_: time.sleep(3600)
"""
    async with serve("--namespace", ns, env=impatient(tmp_path / "custom", hold_up)) as scraped:
        await says(bed, scraped, 200, "ok")
        await bed.apply(A_BOT | {"metadata": {"name": "shop", "namespace": ns}})

        async def unanswered() -> bool:
            try:
                await scraped.get("/healthz")
            except TimeoutError:
                return True
            return False

        await bed.until(unanswered, what="a probe that times out")


async def swallowed(forward: Forward) -> web.StreamResponse:
    """The connection is there, and nothing ever comes of the request."""
    del forward
    await asyncio.Event().wait()
    raise AssertionError


async def test_a_watch_that_is_silent(bed: Bed, ns: str, rights: Path, serve: Serve, tmp_path: Path) -> None:
    await bed.apply(A_BOT | {"metadata": {"name": "shop", "namespace": ns}})
    async with Proxy.start(rights, bed.folder) as proxy:
        env = impatient(tmp_path / "custom")
        async with serve("--namespace", ns, kubeconfig=proxy.kubeconfig, env=env) as scraped:
            await bed.until(lambda: "guarding" in scraped.operator.log_text(), what="it guards")
            await says(bed, scraped, 200, "ok")
            await _stays_well(scraped, proxy)
            rule = proxy.at_request("(list|watch) pods", swallowed)
            await says(bed, scraped, 503, f"nothing has come from /api/v1/namespaces/{ns}/pods for")
            assert rule.struck >= 1
            silence = await scraped.value("telegrambot_operator_watch_silence_seconds", resource="pods")
            assert silence > PATIENCE
            proxy.heal()
            await says(bed, scraped, 200, "ok")


async def _stays_well(scraped: Scraped, proxy: Proxy) -> None:
    """Idle watches, an API server that fails, and one that cannot be reached: for longer than its patience each."""
    for fault in (None, answered(503), answered(429, retry_after=2 * PATIENCE)):
        proxy.heal()
        if fault is not None:
            proxy.at_request("(list|watch)", fault)
        await _well_for(scraped, PATIENCE + 4)
    proxy.heal()
    async with proxy.refusing():
        await _well_for(scraped, PATIENCE + 4)


async def _well_for(scraped: Scraped, seconds: float) -> None:
    """Ask every second, as a kubelet might."""
    end = asyncio.get_running_loop().time() + seconds
    while asyncio.get_running_loop().time() < end:
        assert await scraped.get("/healthz") == (200, "ok\n")
        await asyncio.sleep(1)
