"""Reads the tails of bots' logs, under one budget for all of them; whose turn it is, rota.py says.

Reading is a help and never in the way: a log that cannot be read is said so and tried again later, and what takes long
to look through is looked through beside the passes.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial

from ..core.evidence import READ_AT_MOST, ConflictPattern
from ..core.observed import PodFinding
from ..core.redact import redact
from ..core.tails import Bookmark, News, Timed, moment, news
from ..core.targets import Tail
from .bots import Key
from .kube import PODS, Kube, KubeError, path
from .metrics import UNREAD, Metrics
from .rota import QUIET_PER_SECOND, Rank, Rota, Turn

log = logging.getLogger(__name__)

READERS = 24
LOG_SECONDS = 5.0  # a node that does not answer must not keep a reader for long
FIRST_SECONDS = 0.5  # what has just started is given the time to say something
SOON_SECONDS = 0.7  # the rest of a message comes at once
OFTEN_SECONDS = 2.0
LIVELY_SECONDS = 30.0  # how long after an event, or after a conflict, a log is read often
QUIET_SECONDS = 3.0
FAILED_SECONDS = (2.0, 4.0, 8.0, 15.0, 30.0, 60.0, 300.0, 600.0)
# A kubelet counts the parts of a long line, of 8 or 16 KiB each, as lines of their own.
TAIL_LINES = 2000
# Of a tail that is larger than this, the kubelet sends the beginning and not the end.
TAIL_BYTES = READ_AT_MOST
# So many lines, or parts of one, are smaller than that together: only a runtime that keeps long lines whole has larger.
LARGE_LINES = 250
LARGE_BYTES = 4 * READ_AT_MOST
KEPT_FINDINGS = 100
AT_ONCE = 64 * 1024  # bytes that are looked through in a few milliseconds
# A log that takes long to look through waits for its next turn for so many times as long.
PAUSE_PER_COST = 20.0


@dataclass(slots=True)
class _Target:
    key: Key
    tail: Tail
    patterns: tuple[ConflictPattern, ...]
    crowded: bool
    mark: Bookmark = field(default_factory=Bookmark)
    read_at: datetime | None = None  # by our clock
    run_read: int = -1
    previous_read: int = -1
    failed: int = 0
    problem: str = ""
    lively_until: float = 0.0
    busy: bool = False
    cost: float = 0.0  # seconds of CPU for what the latest turn brought


@dataclass(slots=True)
class _Read:
    findings: deque[PodFinding] = field(default_factory=lambda: deque(maxlen=KEPT_FINDINGS))
    uids: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What a read brought: whether there were conflicts, and whether the log is worth reading again soon."""

    found: bool = False
    soon: bool = False


class LogReader:
    """Keeps what the logs of all bots have shown. `found` is called with a bot's key when there is something new."""

    def __init__(
        self,
        kube: Kube,
        found: Callable[[Key], None],
        rota: Rota | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        metrics: Metrics = UNREAD,
    ) -> None:
        self._metrics = metrics
        self._kube = kube
        self._found = found
        self._rota = Rota() if rota is None else rota
        self._clock = clock
        self._bots: dict[Key, _Read] = {}
        self._targets: dict[str, _Target] = {}
        self._wake = asyncio.Event()
        self._reading = 0
        self._large = asyncio.Lock()  # one large answer at a time, so that they take little memory
        self._beside = ThreadPoolExecutor(max_workers=1, thread_name_prefix="logs")

    def follow(
        self,
        key: Key,
        tails: Sequence[Tail],
        patterns: Sequence[ConflictPattern],
        *,
        crowded: bool = False,
        troubled: bool = False,
    ) -> None:
        """Read exactly these logs of a bot from now on.

        `crowded` says that several pods may be polling, `troubled` that there were conflicts a while ago.
        """
        read = self._bots.setdefault(key, _Read())
        uids = {tail.uid for tail in tails}
        for uid in read.uids - uids:
            self._drop(uid)
        read.uids = uids
        for tail in tails:
            self._follow(key, tail, tuple(patterns), crowded=crowded, troubled=troubled)

    def _follow(
        self, key: Key, tail: Tail, patterns: tuple[ConflictPattern, ...], *, crowded: bool, troubled: bool
    ) -> None:
        target = self._targets.get(tail.uid)
        if target is None:
            self._targets[tail.uid] = target = _Target(key, tail, patterns, crowded)
            pressing = crowded or troubled or tail.is_young(self._clock())
            self._event(target) if pressing else self._schedule(target, Rank.QUIET, 0.0)
            return
        if target.tail.container != tail.container:
            target.mark, target.run_read, target.previous_read = Bookmark(), -1, -1
        changed = target.tail.told != tail.told or (crowded and not target.crowded)
        target.tail, target.patterns, target.crowded = tail, patterns, crowded
        if changed:
            self._event(target)

    def forget(self, key: Key) -> None:
        """Forget a bot that is gone."""
        read = self._bots.pop(key, None)
        for uid in read.uids if read else ():
            self._drop(uid)

    def _drop(self, uid: str) -> None:
        self._targets.pop(uid, None)
        self._rota.forget(uid)

    def findings(self, key: Key) -> tuple[PodFinding, ...]:
        """Return the 409s that the bot's logs have shown lately."""
        read = self._bots.get(key)
        return tuple(read.findings) if read else ()

    def problem(self, key: Key) -> str:
        """Return why a log of the bot cannot be read, or ""."""
        read = self._bots.get(key)
        targets = [self._targets[uid] for uid in sorted(read.uids) if uid in self._targets] if read else []
        return next((told for each in targets if (told := each.problem or each.tail.problem)), "")

    def waiting(self) -> int:
        """Return how many logs wait for the budget, or for their node."""
        return self._rota.overdue()

    # --- Whose turn it is -------------------------------------------------------------------------------------------

    def _event(self, target: _Target) -> None:
        target.lively_until = time.monotonic() + LIVELY_SECONDS
        self._schedule(target, Rank.EVENT, FIRST_SECONDS)

    def _schedule(self, target: _Target, rank: Rank, seconds: float) -> None:
        self._rota.add(target.tail.uid, target.tail.node, rank, seconds)
        self._wake.set()

    async def run(self) -> None:
        """Read for ever."""
        async with asyncio.TaskGroup() as group:
            while True:
                self._wake.clear()
                while self._reading < READERS and (turn := self._rota.next()):
                    self._reading += 1
                    group.create_task(self.take(turn))
                await self._until_next()

    async def _until_next(self) -> None:
        seconds = self._rota.seconds_until_next() if self._reading < READERS else None
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            return

    async def take(self, turn: Turn) -> None:
        """Read the log whose turn it is, and give it its next turn."""
        target = self._targets.get(turn.uid)
        try:
            if target is not None and target.busy:
                self._schedule(target, turn.rank, FIRST_SECONDS)
            elif target is not None:
                await self._read_target(target)
        finally:
            self._reading -= 1
            self._rota.done(turn)
            self._wake.set()

    # --- Reading ----------------------------------------------------------------------------------------------------

    async def _read_target(self, target: _Target) -> None:
        before = target.problem
        target.busy, target.cost = True, 0.0
        try:
            outcome = await self._try(target)
        finally:
            target.busy = False
        if self._targets.get(target.tail.uid) is not target:
            return
        if outcome.found:
            target.lively_until = time.monotonic() + LIVELY_SECONDS
        if outcome.found or bool(before) != bool(target.problem):
            self._found(target.key)
        if target.tail.uid not in self._rota:
            rank, seconds = self._next_turn(target, soon=outcome.soon)
            self._schedule(target, rank, max(seconds, PAUSE_PER_COST * target.cost))

    def _next_turn(self, target: _Target, *, soon: bool) -> tuple[Rank, float]:
        if target.problem:
            return Rank.QUIET, FAILED_SECONDS[min(target.failed, len(FAILED_SECONDS)) - 1]
        if soon:
            return Rank.LIVELY, SOON_SECONDS
        if target.crowded or time.monotonic() < target.lively_until:
            return Rank.LIVELY, OFTEN_SECONDS
        return Rank.QUIET, max(QUIET_SECONDS, len(self._targets) / QUIET_PER_SECOND)

    async def _try(self, target: _Target) -> _Outcome:
        problem = f"the log of pod {target.tail.pod} could not be read: "
        try:
            outcome = await self._read(target, target.tail)
        except KubeError as error:
            problem += redact(error.sentence)
        except Exception:
            log.exception("%s/%s: the log of pod %s could not be looked through", *target.key, target.tail.pod)
            problem += "an error of the operator's own, which its log tells"
        else:
            target.problem, target.failed = "", 0
            self._metrics.log_reads.labels("ok").inc()
            return outcome
        target.problem = problem
        target.failed += 1
        self._metrics.log_reads.labels("failed").inc()
        return _Outcome()

    async def _read(self, target: _Target, tail: Tail) -> _Outcome:
        found = await self._read_last_run(target, tail)
        if not tail.readable:
            return _Outcome(found)
        began, mark = self._clock(), target.mark
        since = mark.read_from
        query = {"sinceTime": since.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")} if since else {}
        latest = await self._news(target, await self._answers(tail, query), mark, ended=not tail.running)
        found = self._keep(target, tail, latest.found) or found
        if target.tail.container == tail.container:
            known_run = target.run_read == tail.restarts
            target.mark = latest.bookmark if known_run else replace(latest.bookmark, left=None)
            target.run_read = tail.restarts
        if not latest.soon:  # what is left for the next read was there already
            target.read_at = began
        return _Outcome(found, latest.soon)

    async def _read_last_run(self, target: _Target, tail: Tail) -> bool:
        """Read, once per restart, what is left of the log of the run that ended; return whether it held conflicts."""
        if not tail.previous_unread or target.previous_read == tail.restarts:
            return False
        answers = await self._answers(tail, {"previous": "true"})
        latest = await self._news(target, answers, target.mark.of_last_run(), ended=True)
        target.previous_read = tail.restarts
        read = self._bots.get(target.key, _Read())
        known = {(each.uid, each.finding.time) for each in read.findings}
        return self._keep(target, tail, [each for each in latest.found if (tail.uid, each[0]) not in known])

    async def _answers(self, tail: Tail, query: dict[str, str]) -> list[bytes]:
        """Return the tail; in two pieces where the first would not hold the newest lines.

        `limitBytes` cuts off the end (k8s.io/cri-client, pkg/logs/logs.go), so fewer lines are asked for then, and of
        them all bytes. Of a line that a runtime keeps whole, and is larger still, only the beginning can be had.
        """
        answers = [await self._get(tail, query, TAIL_LINES, TAIL_BYTES)]
        if len(answers[0]) < TAIL_BYTES:
            return answers
        lines = LARGE_LINES
        async with self._large:
            answers.append(await self._get(tail, query, lines, LARGE_BYTES))
            while len(answers[-1]) >= LARGE_BYTES and lines > 1:
                lines = max(1, lines // 8)
                answers[-1] = await self._get(tail, query, lines, LARGE_BYTES)
        return answers

    async def _get(self, tail: Tail, query: dict[str, str], lines: int, size: int) -> bytes:
        """Return a piece of the log, empty where the kubelet has none. Raises KubeError."""
        where = path(PODS, tail.namespace, tail.pod, "log")
        options = {"container": tail.container, "timestamps": "true", "tailLines": str(lines), "limitBytes": str(size)}
        try:
            return await self._kube.get(where, options | query, accept="*/*", seconds=LOG_SECONDS)
        except KubeError as error:
            if error.status not in {400, 404}:  # it waits to start again, or its last run was removed
                raise
            return b""

    async def _news(self, target: _Target, answers: Sequence[bytes], mark: Bookmark, *, ended: bool) -> News:
        """Look for conflicts: what takes long in a thread of its own, so that passes go on."""
        look = partial(_timed, partial(news, answers, mark, target.patterns, ended=ended))
        if sum(map(len, answers)) <= AT_ONCE and not target.patterns:
            latest, cost = look()
        else:
            latest, cost = await asyncio.get_running_loop().run_in_executor(self._beside, look)
        target.cost += cost
        self._metrics.log_lines.inc(sum(each.count(b"\n") for each in answers))
        return latest

    def _keep(self, target: _Target, tail: Tail, fresh: Sequence[Timed]) -> bool:
        """Keep what is new, under its time by our clock; return whether there was anything."""
        read = self._bots.get(target.key)
        if read is None or self._targets.get(tail.uid) is not target:
            return False
        now = self._clock()
        read.findings.extend(
            PodFinding(tail.pod, tail.uid, each, moment(time, target.read_at, now)) for time, each in fresh
        )
        return bool(fresh)


def _timed(look: Callable[[], News]) -> tuple[News, float]:
    """Return what it returns, and the seconds of CPU that it took."""
    began = time.thread_time()
    return look(), time.thread_time() - began
