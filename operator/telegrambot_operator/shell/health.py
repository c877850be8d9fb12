"""Whether the operator makes progress, and whether it is ready: what `/healthz` and `/readyz` answer.

Unhealthy is what a new start may mend, and nothing else. An API server or a Telegram that is down is no fault of ours:
as long as requests are made and each ends, in an answer, a refusal or a time-out, there is progress. What counts as
standing still is said by those who can: each is a check that gives a sentence, or "" where all is well.
"""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

Check = Callable[[], str]

# Every request of a pass ends within 30 s, a second try with new credentials included.
STILL_SECONDS = 120.0
# A watch that brings nothing ends after 150 s, and is opened anew: so much silence is two of them, one after the other.
SILENT_SECONDS = 330.0


class Health:
    """The checks of everything that runs."""

    def __init__(self) -> None:
        self._lives: list[Check] = []
        self._needs: list[Check] = []

    def lives(self, check: Check) -> None:
        """Let a check say why the operator should be started anew."""
        self._lives.append(check)

    def needs(self, check: Check) -> None:
        """Let a check say what is missing for it to be ready."""
        self._needs.append(check)

    def runs(self, what: str, task: asyncio.Task[None]) -> None:
        """Expect a task to run for ever."""
        self._lives.append(lambda: f"{what} has ended" if task.done() else "")

    def stuck(self) -> str:
        """Return in a sentence what stands still, or ""."""
        return "; ".join(filter(None, (check() for check in self._lives)))

    def missing(self) -> str:
        """Return in a sentence what is missing, or ""; nobody is ready before somebody can say so."""
        if not self._needs:
            return "there is no connection to the cluster yet"
        return "; ".join(filter(None, (check() for check in self._needs)))


class Work:
    """One pass that is under way, and when something last happened in it."""

    __slots__ = ("moved_at", "what")

    def __init__(self, what: str) -> None:
        self.what = what
        self.moved_at = time.monotonic()


_current: ContextVar[Work | None] = ContextVar("work", default=None)


def moved() -> None:
    """Say that what is done at the moment goes on: a request of it has ended, whichever way."""
    work = _current.get()
    if work is not None:
        work.moved_at = time.monotonic()


class Passes:
    """The passes that are under way. `waiting` tells for how many seconds a key has been waiting for one."""

    def __init__(self, waiting: Callable[[], float]) -> None:
        self._waiting = waiting
        self._working: dict[int, Work] = {}
        self._last: float | None = None

    def begin(self) -> None:
        """Take in that keys are worked on from now on: until then nothing is stuck."""
        self._last = time.monotonic()

    @contextmanager
    def one(self, what: str) -> Iterator[None]:
        """Do one pass in this context, in a task that does nothing else meanwhile."""
        work = Work(what)
        before = _current.set(work)
        self._working[id(work)] = work
        try:
            yield
        finally:
            self._last = time.monotonic()
            del self._working[id(work)]
            _current.reset(before)

    def stuck(self) -> str:
        """Return in a sentence which pass stands still, or that none is made though keys wait, or ""."""
        now = time.monotonic()
        oldest = min(self._working.values(), key=lambda work: work.moved_at, default=None)
        if oldest is not None and now - oldest.moved_at > STILL_SECONDS:
            return f"the pass of {oldest.what} has stood still for {now - oldest.moved_at:.0f} s"
        idle = now - max((work.moved_at for work in self._working.values()), default=self._last or now)
        if min(self._waiting(), idle) > STILL_SECONDS:
            return f"no pass has begun for {idle:.0f} s, though one has been asked for"
        return ""
