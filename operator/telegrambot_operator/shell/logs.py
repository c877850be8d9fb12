"""Reads the tails of bots' logs, under one budget for all of them.

A pod that just started or restarted is read at once, then ever more seldom; while conflicts go on it is read often.
Reading is a help and never in the way: a log that cannot be read is said so and tried again later.
"""

import asyncio
import heapq
import itertools
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from ..core.evidence import ConflictPattern, read_conflicts
from ..core.observed import PodFinding
from ..core.records import ContainerStatus, Pod
from .bots import Key
from .kube import PODS, Kube, KubeError, path

log = logging.getLogger(__name__)

READS_PER_SECOND = 10.0
READERS = 4
LOG_SECONDS = 5.0  # a node that does not answer must not keep a reader for long
FIRST_SECONDS = 0.5
OFTEN_SECONDS = 2.0
SELDOM_SECONDS = 60.0
FAILED_SELDOM_SECONDS = 600.0
TAIL_LINES = 400
TAIL_BYTES = 256 * 1024
KEPT_FINDINGS = 100


@dataclass(frozen=True, slots=True)
class Tail:
    """A container whose log is read: one run of it, `restarts` tells which."""

    namespace: str
    pod: str
    uid: str
    container: str
    restarts: int
    running: bool
    previous_unread: bool

    @classmethod
    def of(cls, pod: Pod, chosen: str | None) -> "Tail":
        """Return the tail of the pod's chosen container, else of its first one."""
        listed = [each.name for each in pod.spec.containers]
        name = chosen if chosen in listed else (listed[0] if listed else "")
        status = next((each for each in pod.status.container_statuses if each.name == name), ContainerStatus())
        ended = status.last_state.terminated
        return cls(
            namespace=pod.metadata.namespace,
            pod=pod.name,
            uid=pod.uid,
            container=name,
            restarts=status.restart_count,
            running=status.state.running is not None,
            previous_unread=ended is not None and not ended.message,  # some libraries exit 0 on a 409
        )


@dataclass(slots=True)
class _Target:
    key: Key
    tail: Tail
    patterns: tuple[ConflictPattern, ...]
    every: float = FIRST_SECONDS
    since: datetime | None = None
    previous_read: int = -1
    problem: str = ""
    due: float = 0.0


@dataclass(slots=True)
class _Read:
    findings: deque[PodFinding] = field(default_factory=lambda: deque(maxlen=KEPT_FINDINGS))
    uids: set[str] = field(default_factory=set)


class LogReader:
    """Keeps what the logs of all bots have shown. `found` is called with a bot's key when there is something new."""

    def __init__(self, kube: Kube, found: Callable[[Key], None]) -> None:
        self._kube = kube
        self._found = found
        self._bots: dict[Key, _Read] = {}
        self._targets: dict[str, _Target] = {}
        self._due: list[tuple[float, int, str]] = []
        self._order = itertools.count()
        self._wake = asyncio.Event()
        self._next_slot = 0.0

    def follow(self, key: Key, tails: Sequence[Tail], patterns: Sequence[ConflictPattern]) -> None:
        """Read exactly these logs of a bot from now on."""
        read = self._bots.setdefault(key, _Read())
        uids = {tail.uid for tail in tails}
        for uid in read.uids - uids:
            self._targets.pop(uid, None)
        read.uids = uids
        for tail in tails:
            self._follow(key, tail, tuple(patterns))

    def _follow(self, key: Key, tail: Tail, patterns: tuple[ConflictPattern, ...]) -> None:
        target = self._targets.get(tail.uid)
        if target is None:
            target = self._targets[tail.uid] = _Target(key, tail, patterns)
            self._schedule(target, FIRST_SECONDS)
            return
        changed = (target.tail.restarts, target.tail.running, target.tail.container) != (
            tail.restarts,
            tail.running,
            tail.container,
        )
        target.tail, target.patterns = tail, patterns
        if changed:
            self._schedule(target, FIRST_SECONDS)

    def forget(self, key: Key) -> None:
        """Forget a bot that is gone."""
        read = self._bots.pop(key, None)
        for uid in read.uids if read else ():
            self._targets.pop(uid, None)

    def findings(self, key: Key) -> tuple[PodFinding, ...]:
        """Return the 409s that the bot's logs have shown lately."""
        read = self._bots.get(key)
        return tuple(read.findings) if read else ()

    def problem(self, key: Key) -> str:
        """Return why a log of the bot cannot be read, or ""."""
        read = self._bots.get(key)
        targets = [self._targets[uid] for uid in sorted(read.uids) if uid in self._targets] if read else []
        return next((target.problem for target in targets if target.problem), "")

    async def run(self) -> None:
        """Read for ever."""
        async with asyncio.TaskGroup() as group:
            for _ in range(READERS):
                group.create_task(self._reader())

    def _schedule(self, target: _Target, seconds: float) -> None:
        target.every = max(seconds, FIRST_SECONDS)
        target.due = time.monotonic() + seconds
        heapq.heappush(self._due, (target.due, next(self._order), target.tail.uid))
        self._wake.set()

    async def _reader(self) -> None:
        while True:
            target = await self._next()
            await self._budget()
            if self._targets.get(target.tail.uid) is target:
                await self._read_target(target)

    async def _next(self) -> _Target:
        """Wait for the next target that is due; entries that were overtaken by a newer one are dropped."""
        while True:
            now = time.monotonic()
            while self._due and self._due[0][0] <= now:
                due, _, uid = heapq.heappop(self._due)
                target = self._targets.get(uid)
                if target is not None and target.due == due:
                    return target
            self._wake.clear()
            wait = self._due[0][0] - now if self._due else None
            try:
                await asyncio.wait_for(self._wake.wait(), wait)
            except TimeoutError:
                continue

    async def _budget(self) -> None:
        now = time.monotonic()
        self._next_slot = max(self._next_slot, now) + 1 / READS_PER_SECOND
        await asyncio.sleep(self._next_slot - 1 / READS_PER_SECOND - now)

    async def _read_target(self, target: _Target) -> None:
        before = target.problem
        try:
            fresh = await self._fresh(target)
            target.problem = ""
        except KubeError as error:
            fresh = []
            target.problem = f"the log of pod {target.tail.pod} could not be read: {error.message}"
        if fresh:
            self._bots.setdefault(target.key, _Read()).findings.extend(fresh)
        if fresh or bool(before) != bool(target.problem):
            self._found(target.key)
        self._schedule(target, self._pace(target, found=bool(fresh)))

    def _pace(self, target: _Target, *, found: bool) -> float:
        if found:
            return OFTEN_SECONDS
        slowest = FAILED_SELDOM_SECONDS if target.problem else SELDOM_SECONDS
        return min(target.every * 2, slowest)

    async def _fresh(self, target: _Target) -> list[PodFinding]:
        fresh: list[PodFinding] = []
        tail = target.tail
        if tail.previous_unread and target.previous_read != tail.restarts:
            target.previous_read = tail.restarts
            fresh += await self._read(target, previous=True)
        if tail.running:
            fresh += await self._read(target, previous=False)
        return fresh

    async def _read(self, target: _Target, *, previous: bool) -> list[PodFinding]:
        tail = target.tail
        query = {
            "container": tail.container,
            "timestamps": "true",
            "tailLines": str(TAIL_LINES),
            "limitBytes": str(TAIL_BYTES),
        }
        if previous:
            query["previous"] = "true"
        elif target.since is not None:
            query["sinceTime"] = target.since.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        where = path(PODS, tail.namespace, tail.pod, "log")
        text = await self._kube.get(where, query, accept="*/*", seconds=LOG_SECONDS)
        after, target.since = target.since, last_time(text) or target.since
        return [
            PodFinding(tail.pod, tail.uid, finding, finding.time)
            for finding in read_conflicts(text, kubelet_timestamps=True, extra=target.patterns)
            if finding.time is not None and (after is None or finding.time > after)
        ]


def last_time(text: bytes) -> datetime | None:
    """Return the kubelet's time of the last whole line, which starts it."""
    for line in reversed(text[-65536:].splitlines()):
        stamp = line.split(b" ", 1)[0].decode("ascii", "replace")
        try:
            return datetime.fromisoformat(stamp)
        except ValueError:
            continue
    return None
