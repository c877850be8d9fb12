"""Which operators there are while a fault is done: none, one, two, two that stop and go, one that is killed.

Each is the real one in a process of its own, with the rights of deploy/install.yaml and no more.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from tests.e2e.world import assert_healthy
from tests.faults.proxy import Proxy
from tests.faults.scene import WRITES, behind, kill_after, kill_before

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from contextlib import AbstractAsyncContextManager

    from aiohttp import web

    from bench.faults.stage import Stage
    from tests.bed.bed import Operator
    from tests.faults.proxy import Call, Forward, Rule

STAND_STILL = 3.0  # seconds: longer than a handover's first half, so that a write meets a world that has moved on


@asynccontextmanager
async def none(stage: Stage, ns: str) -> AsyncIterator[None]:
    """Nobody guards."""
    del stage, ns
    yield


@asynccontextmanager
async def one(stage: Stage, ns: str) -> AsyncIterator[None]:
    """As installed."""
    async with stage.operate("--namespace", ns) as operator:
        await operator.ready()
        yield
    assert_healthy(operator)


@asynccontextmanager
async def two(stage: Stage, ns: str) -> AsyncIterator[None]:
    """Two at once that know nothing of each other: the state that a leader election is there to prevent."""
    async with one(stage, ns), one(stage, ns):
        yield


@asynccontextmanager
async def two_by_turns(stage: Stage, ns: str) -> AsyncIterator[None]:
    """Two at once, each stopped (SIGSTOP) in turn, so that it goes on with what it believed seconds ago."""
    async with stage.operate("--namespace", ns) as first, stage.operate("--namespace", ns) as second:
        await asyncio.gather(first.ready(), second.ready())
        turns = asyncio.create_task(_stop_and_go(first, second))
        try:
            yield
        finally:
            turns.cancel()
    assert_healthy(first)
    assert_healthy(second)


async def _stop_and_go(*operators: Operator) -> None:
    for operator in itertools.cycle(operators):
        os.kill(operator.pid, signal.SIGSTOP)
        try:
            await asyncio.sleep(STAND_STILL)
        finally:
            os.kill(operator.pid, signal.SIGCONT)


# --- Killed at a write ------------------------------------------------------------------------------------------------

KILLS: dict[str, Callable[[Operator, Forward], Awaitable[web.StreamResponse]]] = {
    "before": kill_before,
    "after": kill_after,
}


@dataclass
class Kill:
    """SIGKILL `when` ("before" or "after") the nth write; None: only count them. A new one is started at once.

    `writes` and `struck` are there after the run.
    """

    when: str = "before"
    nth: int | None = None
    writes: int = 0
    struck: bool = False

    @property
    def around(self) -> Callable[[Stage, str], AbstractAsyncContextManager[None]]:
        """The operators of such a run."""
        return self._around

    @asynccontextmanager
    async def _around(self, stage: Stage, ns: str) -> AsyncIterator[None]:
        async with Proxy.start(stage.rights, stage.bed.folder) as proxy:
            rule = self._arm(proxy)
            keeper = asyncio.create_task(self._keep(stage, proxy, ns))
            try:
                yield
            finally:
                keeper.cancel()
                with suppress(asyncio.CancelledError):
                    await keeper
            self.writes = sum(status < 300 and _counts(call) for call, status in proxy.answered)
            self.struck = rule is not None and rule.struck > 0

    def _arm(self, proxy: Proxy) -> Rule | None:
        if self.nth is None:
            return None
        return proxy.at_request(WRITES, self._fault, self.nth, _counts)

    async def _fault(self, forward: Forward) -> web.StreamResponse:
        return await KILLS[self.when](self._operator, forward)

    async def _keep(self, stage: Stage, proxy: Proxy, ns: str) -> None:
        """Run an operator, and the next one when it has ended."""
        start = partial(behind(stage.bed, proxy), "--namespace", ns)
        while True:
            async with start() as self._operator:
                await self._operator.exited(3600)


def _counts(call: Call) -> bool:
    """An Event changes nothing, and nobody waits for it."""
    return call.writes and not call.what.startswith("events")
