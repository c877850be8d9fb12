"""Whose log is read next: events first, then conflicts that go on, then everybody in turn, within one budget.

1. Three ranks. EVENT: a bot has just started, restarted, changed pods or got a second one; the newest comes first,
   since what waits for long has missed its moment already. LIVELY: it did a moment ago, or has conflicts; in order of
   time. QUIET: all others, in order of time.
2. Two shares of the budget: quiet bots have theirs, so that no crowd of events can starve them, and none of them can
   hold up an event. In the other share a quarter is for conflicts, and a quarter for the events that waited longest.
3. A node has so many reads under way at most: one that does not answer holds up its own bots and nobody else's.
"""

import heapq
import itertools
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from functools import partial

QUIET_PER_SECOND = 10.0
PROMPT_PER_SECOND = 100.0
READS_PER_NODE = 2
# Whose time came longer ago than this is held back by the budget, or by a node that does not answer.
PATIENCE_SECONDS = 1.0


class Rank(IntEnum):
    """How pressing it is to read a log."""

    EVENT = 0
    LIVELY = 1
    QUIET = 2


@dataclass(frozen=True, slots=True)
class Turn:
    """When a log is to be read. A newer turn of the same log replaces an older one."""

    uid: str
    node: str
    rank: Rank
    due: float
    number: int


class _Share:
    """A part of the budget: so many a second, evenly spaced."""

    def __init__(self, per_second: float) -> None:
        self._pause = 1 / per_second
        self.free_at = 0.0

    def take(self, now: float) -> None:
        self.free_at = max(self.free_at, now - self._pause) + self._pause


class Rota:
    """Hands out turns. `clock` runs steadily, in seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._turns: dict[str, Turn] = {}
        self._later: list[tuple[float, int, Turn]] = []
        self._ready: dict[Rank, deque[Turn]] = {rank: deque() for rank in Rank}
        self._parked: dict[str, deque[Turn]] = {}
        self._reading: Counter[str] = Counter()
        self._numbers = itertools.count()
        self._prompt, self._quiet = _Share(PROMPT_PER_SECOND), _Share(QUIET_PER_SECOND)
        self._handed_out = 0

    def __len__(self) -> int:
        return len(self._turns)

    def __contains__(self, uid: str) -> bool:
        return uid in self._turns

    def add(self, uid: str, node: str, rank: Rank, seconds: float) -> None:
        """Give a log its next turn, in so many seconds."""
        turn = Turn(uid, node, rank, self._clock() + seconds, next(self._numbers))
        self._turns[uid] = turn
        heapq.heappush(self._later, (turn.due, turn.number, turn))

    def forget(self, uid: str) -> None:
        """Take a log off the rota."""
        self._turns.pop(uid, None)

    def next(self) -> Turn | None:
        """Return whose turn it is, or None; `done` must follow. The log needs a new turn to be read again."""
        now = self._clock()
        self._call(now)
        if self._prompt.free_at <= now and (turn := self._pressing()):
            self._prompt.take(now)
            self._handed_out += 1
        elif self._quiet.free_at <= now and (turn := self._first(Rank.QUIET)):
            self._quiet.take(now)
        else:
            return None
        del self._turns[turn.uid]
        self._reading[turn.node] += 1
        return turn

    def done(self, turn: Turn) -> None:
        """End a turn; who waited for the node is called."""
        self._reading[turn.node] -= 1
        if not self._reading[turn.node]:
            del self._reading[turn.node]
        self._call_parked(turn.node)

    def overdue(self) -> int:
        """Return how many wait though their time has come."""
        now = self._clock()
        return sum(turn.due < now - PATIENCE_SECONDS for turn in list(self._turns.values()))

    def seconds_until_next(self) -> float | None:
        """Return how long nobody's turn can come, or None: not before something is added or done."""
        now = self._clock()
        moments = [self._later[0][0]] if self._later else []
        if self._ready[Rank.EVENT] or self._ready[Rank.LIVELY]:
            moments.append(self._prompt.free_at)
        if self._ready[Rank.QUIET]:
            moments.append(self._quiet.free_at)
        return max(0.0, min(moments) - now) if moments else None

    def _call(self, now: float) -> None:
        """Move those whose time has come to the ready ones."""
        while self._later and self._later[0][0] <= now:
            _, _, turn = heapq.heappop(self._later)
            if self._is_current(turn):
                self._ready[turn.rank].append(turn)

    def _call_parked(self, node: str) -> None:
        """Call the one who has waited longest for the node to have room."""
        parked = self._parked.get(node)
        while parked:
            turn = parked.popleft()
            if self._is_current(turn):
                self._ready[turn.rank].appendleft(turn)
                return
        self._parked.pop(node, None)

    def _is_current(self, turn: Turn) -> bool:
        return self._turns.get(turn.uid) is turn

    def _pressing(self) -> Turn | None:
        """Take the newest event; but every fourth turn is for conflicts, and every fourth for the oldest event."""
        ways = [partial(self._first, Rank.EVENT, newest=True), partial(self._first, Rank.LIVELY)]
        match self._handed_out % 4:
            case 2:
                ways.reverse()
            case 3:
                ways.insert(0, partial(self._first, Rank.EVENT))
        return next((turn for way in ways if (turn := way())), None)

    def _first(self, rank: Rank, *, newest: bool = False) -> Turn | None:
        """Take the first of a rank whose node has room; those whose node has none are parked until it has."""
        ready = self._ready[rank]
        while ready:
            turn = ready.pop() if newest else ready.popleft()
            if not self._is_current(turn):
                self._call_parked(turn.node)  # it may have been called in the place of another one
                continue
            if self._reading[turn.node] < READS_PER_NODE:
                return turn
            self._parked.setdefault(turn.node, deque()).append(turn)
        return None
