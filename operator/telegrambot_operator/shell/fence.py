"""The fence before everything that changes something: it is open while this replica leads, by its own clock.

It is no lock: a process that is stopped between the look at the fence and the request sends it when it goes on. So it
is looked at right before the bytes go out, and whatever is sent is safe by its own preconditions all the same.
"""

import asyncio
import math
import time
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


def steady() -> float:
    """Return seconds on a clock that nobody sets, and that goes on while the machine sleeps, where there is one."""
    clock = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    return time.clock_gettime(clock)


class Fence:
    """Open until a moment of the steady clock; for ever, unless it is told otherwise."""

    def __init__(self, until: float = math.inf, clock: Callable[[], float] = steady) -> None:
        self._until = until
        self._clock = clock
        self._closed = False
        self._under_way: set[asyncio.Task[Any]] = set()
        self.changed = asyncio.Event()

    @property
    def left(self) -> float:
        """For how many seconds it stays open; 0.0 where it is closed."""
        return 0.0 if self._closed else max(0.0, self._until - self._clock())

    @property
    def is_open(self) -> bool:
        """Whether something may be changed now."""
        return self.left > 0

    def open_until(self, until: float) -> None:
        """Let it be open until then."""
        self._until = until
        self.changed.set()

    def close(self) -> None:
        """Close it for good."""
        self._closed = True
        self.changed.set()

    async def closed(self) -> None:
        """Wait until it is closed."""
        while self.is_open:
            await self._wait(min(self.left, 1.0))  # the loop's own clock may stand still while the steady one goes on

    async def opened(self) -> None:
        """Wait until it is open."""
        while not self.is_open:
            await self._wait(None)

    async def _wait(self, seconds: float | None) -> None:
        self.changed.clear()
        try:
            async with asyncio.timeout(seconds):
                await self.changed.wait()
        except TimeoutError:
            return

    async def through(self, write: Coroutine[Any, Any, T]) -> T:
        """Await a write. It goes on to its end though whoever asked for it is cancelled: half a write is no write."""
        task = asyncio.get_running_loop().create_task(write)
        self._under_way.add(task)
        task.add_done_callback(self._ended)
        return await asyncio.shield(task)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._under_way.discard(task)
        if not task.cancelled():
            task.exception()  # somebody has looked: nobody may be there any more who asked for it

    async def empty(self, seconds: float) -> bool:
        """Wait so long at most until no write is under way, and return whether that is so."""
        if self._under_way:
            await asyncio.wait(set(self._under_way), timeout=seconds)
        return not self._under_way
