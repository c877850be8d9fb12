"""Paces forced deletes: each that has to wait gets a moment of its own, in the order of asking, and keeps it.

So a thousand of them cause a thousand passes and not a thousand a minute, and what a status says of it stays true.
"""

import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from ..core.observed import FORCED_A_MINUTE, Later

MINUTE = 60.0
# How long a moment is kept for a pod that nobody comes to delete: most are gone by themselves.
KEPT_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class _Moment:
    steady: float
    at: datetime


class Pace:
    """At most `FORCED_A_MINUTE` takes in any minute of a steady clock."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._taken: deque[float] = deque(maxlen=FORCED_A_MINUTE)
        self._waiting: dict[str, _Moment] = {}

    def take(self, uid: str) -> bool:
        """Return whether the pod may be force-deleted now. If not, it has its moment from now on: see `waits`."""
        now = self._clock()
        self._give_up_what_nobody_came_for(now)
        due = self._waiting[uid].steady if uid in self._waiting else self._after(self._all_moments(), now)
        due = max(due, self._after(list(self._taken), now))
        if due <= now:
            self._waiting.pop(uid, None)
            self._taken.append(now)
            return True
        if uid not in self._waiting or self._waiting[uid].steady < due:
            self._waiting[uid] = _Moment(due, datetime.now(UTC) + timedelta(seconds=due - now))
        return False

    def give_back(self) -> None:
        """Take back the last take: nothing came of it."""
        if self._taken:
            self._taken.pop()

    def waits(self, uids: Iterable[str]) -> dict[str, Later]:
        """Return those of the pods whose moment is still to come, and when that is."""
        if not self._waiting:
            return {}
        now = self._clock()
        known = {uid: self._waiting[uid] for uid in uids if uid in self._waiting}
        return {uid: Later(each.at, each.steady - now) for uid, each in known.items() if each.steady > now}

    def _all_moments(self) -> list[float]:
        return sorted([*self._taken, *(each.steady for each in self._waiting.values())])

    @staticmethod
    def _after(moments: list[float], now: float) -> float:
        """Return the first time from now on at which the last `FORCED_A_MINUTE` of these are a minute ago."""
        if len(moments) < FORCED_A_MINUTE:
            return now
        return max(now, moments[-FORCED_A_MINUTE] + MINUTE)

    def _give_up_what_nobody_came_for(self, now: float) -> None:
        kept = {uid: each for uid, each in self._waiting.items() if each.steady > now - KEPT_SECONDS}
        if len(kept) < len(self._waiting):
            self._waiting = kept
