"""A queue of keys: each is waiting at most once, worked on by at most one worker, and can be asked for later."""

import asyncio
import heapq
import itertools
import time
from collections import deque
from typing import Generic, TypeVar

K = TypeVar("K")

RETRY_SECONDS = (0.05, 0.2, 1.0, 3.0, 10.0, 30.0)


class WorkQueue(Generic[K]):
    """Dedupes, delays, retries. A key that is added while it is worked on runs once more afterwards."""

    def __init__(self) -> None:
        self._ready: deque[K] = deque()
        self._waiting: set[K] = set()
        self._asked: dict[K, float] = {}  # since when each key waits
        self._working: dict[K, float] = {}  # ... and since when it had waited
        self._again: set[K] = set()
        self._later: list[tuple[float, int, K]] = []
        self._due: dict[K, float] = {}
        self._failures: dict[K, tuple[int, float]] = {}
        self._order = itertools.count()
        self._wake: deque[asyncio.Future[None]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._ready) + len(self._again)

    def oldest(self) -> float:
        """Return for how many seconds the key that has waited longest has been waiting."""
        return max(0.0, time.monotonic() - min(list(self._asked.values()), default=float("inf")))

    def add(self, key: K) -> None:
        """Ask for a pass now."""
        self._due.pop(key, None)
        self._asked.setdefault(key, time.monotonic())
        if key in self._working:
            self._again.add(key)
        elif key not in self._waiting:
            self._waiting.add(key)
            self._ready.append(key)
            self._wake_one()

    def add_after(self, key: K, seconds: float) -> None:
        """Ask for a pass in so many seconds, or sooner if one was already asked for sooner."""
        at = time.monotonic() + seconds
        if key in self._waiting or self._due.get(key, float("inf")) <= at:
            return
        self._due[key] = at
        heapq.heappush(self._later, (at, next(self._order), key))
        self._arm()

    def retry(self, key: K) -> None:
        """Ask for another pass after a failure: later each time, until `forget`.

        Passes that events ask for in the meantime are no further step: a burst of them must not end in a long wait.
        """
        steps, due = self._failures.get(key, (-1, 0.0))
        now = time.monotonic()
        steps = steps + 1 if now >= due else steps
        delay = RETRY_SECONDS[min(steps, len(RETRY_SECONDS) - 1)]
        self._failures[key] = steps, now + delay
        self.add_after(key, delay)

    def forget(self, key: K) -> None:
        """Start the retries of a key from the beginning."""
        self._failures.pop(key, None)

    def asked(self, key: K) -> float:
        """Return when the work on a key that is under way was asked for, as of `time.monotonic`."""
        return self._working[key]

    async def get(self) -> K:
        """Wait for a key and take it to work on. `done` must follow."""
        while not self._ready:
            future = asyncio.get_running_loop().create_future()
            self._wake.append(future)
            try:
                await future
            except asyncio.CancelledError:
                if future.done() and not future.cancelled():
                    self._wake_one()  # it was our turn: somebody else must take the key
                raise
        key = self._ready.popleft()
        self._waiting.discard(key)
        self._working[key] = self._asked.pop(key)
        return key

    def done(self, key: K) -> None:
        """End the work on a key."""
        self._working.pop(key, None)
        if key in self._again:
            self._again.discard(key)
            self.add(key)

    def clear(self) -> None:
        """Forget all that was asked for. Nobody works on a key any more."""
        self._ready.clear()
        for known in (self._waiting, self._again, self._asked, self._working, self._due, self._failures, self._later):
            known.clear()
        self._arm()

    def _wake_one(self) -> None:
        while self._wake:
            future = self._wake.popleft()
            if not future.done():
                future.set_result(None)
                return

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._later:
            delay = max(0.0, self._later[0][0] - time.monotonic())
            self._timer = asyncio.get_running_loop().call_later(delay, self._ring)

    def _ring(self) -> None:
        now = time.monotonic()
        while self._later and self._later[0][0] <= now:
            at, _, key = heapq.heappop(self._later)
            if self._due.get(key) == at:
                self.add(key)
        self._arm()
