"""Which conflicts are new in a log that is read again and again, a tail at a time.

1. Where a log was read to is told by the times that its node put before the lines, never by a clock of our own.
2. Each read begins a few seconds before that place, so that a line is never judged without those around it. What was
   told by then is left out: nothing is told twice, and what only the lines behind it explain is told with these.
3. A conflict of which only the HTTP status is known, or a line that has no end yet, waits for the next read: the
   program may be just about to print the rest. If nothing more comes, it is believed then.
4. A log that begins later than the place read to began anew: its file was rotated, or its container started again.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from .evidence import LONGEST_INCIDENT, ConflictPattern, Finding, Reading, worth_reading
from .lines import decoded

# What was read last may still be explained by what comes next: the lines of one conflict are this close together.
UNSETTLED = LONGEST_INCIDENT + timedelta(seconds=0.5)
# So much is read again, so that whatever is unsettled has all of its lines.
OVERLAP = 2 * UNSETTLED
# Clocks that differ by less are taken for the same: lines take a moment until they can be read.
SAME_CLOCK = timedelta(seconds=5)
_STAMP_LENGTH = 40
# A tail may begin within a line, and that within a token, of which nothing else tells any more.
_REST_OF_A_SECRET = re.compile(
    rb"\A(\S{20,40} )(?=[A-Za-z_-]*[0-9])(?=[A-Z0-9_-]*[a-z])(?=[a-z0-9_-]*[A-Z])[A-Za-z0-9_-]{12}[A-Za-z0-9_-]*+"
)

Timed = tuple[datetime, Finding]


@dataclass(frozen=True, slots=True)
class Bookmark:
    """Up to where a log was read: `at` is its last line, `told` are the times of the unsettled conflicts told already.

    `waited_for` is the latest that was left for the next read. `left` is the bookmark of a log that began anew since.
    """

    at: datetime | None = None
    told: tuple[datetime, ...] = ()
    waited_for: datetime | None = None
    left: "Bookmark | None" = None

    @property
    def read_from(self) -> datetime | None:
        """From where the log is to be read next; None is its beginning."""
        return self.at - OVERLAP if self.at else None

    def of_last_run(self) -> "Bookmark":
        """Return where to go on in the log of a run that has ended meanwhile."""
        return self.left or Bookmark(self.at, self.told)

    def is_unsettled(self, time: datetime) -> bool:
        """Return whether a conflict of that time may be news."""
        return self.at is None or time >= self.at - UNSETTLED

    def has_to_wait(self, time: datetime) -> bool:
        """Return whether a conflict or a line that may go on was not there at the last read."""
        waited = self.waited_for is not None and time <= self.waited_for
        return self.is_unsettled(time) and time not in self.told and not waited


@dataclass(frozen=True, slots=True)
class News:
    """What a read brought: the conflicts that are new, where to go on, and whether that should be soon."""

    found: tuple[Timed, ...]
    bookmark: Bookmark
    soon: bool = False


def news(
    answers: Sequence[bytes], mark: Bookmark, extra: Sequence[ConflictPattern] = (), *, ended: bool = False
) -> News:
    """Return what is new in stamped lines; of several answers, the earlier ones were cut at their end.

    `ended` says that nothing comes behind the last line.
    """
    found: list[Timed] = []
    left = mark.of_last_run() if begins_anew(answers[0], mark) else mark.left
    soon = False
    for number, text in enumerate(answers, start=1):
        latest = _news(text, mark, extra, ended=ended or number < len(answers))
        found += latest.found
        mark, soon = latest.bookmark, latest.soon
    return News(tuple(found), replace(mark, left=left), soon)


def _news(text: bytes, mark: Bookmark, extra: Sequence[ConflictPattern], *, ended: bool) -> News:
    torn = None if ended else _torn_line(text, mark)
    whole = text[: text.rfind(b"\n") + 1] if torn else text
    found, unexplained = _read(whole, extra)
    waits = [] if ended else [each for each in unexplained if mark.has_to_wait(each)]
    stop = min(waits, default=None)
    fresh = _untold([each for each in found if stop is None or each[0] < stop], mark)
    at = stop or last_time(whole) or mark.at
    told = [*mark.told, *(time for time, _ in fresh)]
    waited_for = max((each for each in (torn, mark.waited_for, *waits) if each), default=None)
    bookmark = Bookmark(at, tuple(each for each in told if at and each >= at - UNSETTLED), waited_for)
    return News(tuple(fresh), bookmark, soon=bool(waits or torn))


def begins_anew(text: bytes, mark: Bookmark) -> bool:
    """Return whether what was read up to the bookmark is no longer in the log."""
    first = next((time for line in text.splitlines() if (time := _stamp(line)) is not None), None)
    return mark.at is not None and first is not None and first > mark.at


def moment(stamp: datetime, after: datetime | None, before: datetime) -> datetime:
    """Return when a line was written by our clock, which its node's may not agree with.

    `after` is when the log was read and did not have the line yet, `before` when it was read and had it.
    """
    if stamp > before + SAME_CLOCK:
        return before
    return after if after is not None and stamp < after - SAME_CLOCK else stamp


def last_time(text: bytes) -> datetime | None:
    """Return the time of the last line that has one, or None."""
    end = len(text)
    while end > 0:
        start = text.rfind(b"\n", 0, end - 1) + 1
        if (time := _stamp(text[start : start + _STAMP_LENGTH])) is not None:
            return time
        end = start
    return None


def _torn_line(text: bytes, mark: Bookmark) -> datetime | None:
    """Return the time of a last line that is still being written, or None."""
    end = text.rfind(b"\n") + 1
    time = _stamp(text[end : end + _STAMP_LENGTH])
    return time if time is not None and mark.has_to_wait(time) else None


def _read(text: bytes, extra: Sequence[ConflictPattern]) -> tuple[list[Timed], list[datetime]]:
    """Return the conflicts that have a time, and the times of those that the next lines may explain."""
    plain = _REST_OF_A_SECRET.sub(rb"\g<1>redacted", text)
    if not extra and not worth_reading(plain.decode("utf-8", errors="replace")):
        return [], []
    reading = Reading(kubelet_timestamps=True, extra=extra)
    found = list(reading.read(decoded(plain)))
    unexplained = reading.unexplained()
    found += reading.end()
    return [(each.time, each) for each in found if each.time is not None], unexplained


def _untold(found: Iterable[Timed], mark: Bookmark) -> list[Timed]:
    told = Counter(mark.told)
    fresh = []
    for time, each in found:
        if told[time] > 0:
            told[time] -= 1
        elif mark.is_unsettled(time):
            fresh.append((time, each))
    return fresh


def _stamp(line: bytes) -> datetime | None:
    """Return the time that begins a line. Only the kubelet's own form counts, which names its zone."""
    try:
        time = datetime.fromisoformat(line[:_STAMP_LENGTH].split(b" ", 1)[0].decode("ascii"))
    except ValueError:
        return None
    return time if time.tzinfo is not None else None
