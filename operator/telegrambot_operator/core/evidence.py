"""Reads Telegram's 409s out of a bot's log: what was cut off by what, when, and the line that says so.

1. One incident is one finding, however many lines a library prints for it: the request, the error, a trace, a dump.
2. A line belongs to the incident before it when it is indented; when it is a cause in a chain of traces; when it ends
   the incident's first traceback; or when the incident began with a printed request and none was printed since.
3. Equal lines one after the other are incidents of their own: Telegram holds some answers back for three seconds
   (tdlib/telegram-bot-api, Client.cpp), and a library that asks again at once gets the next without delay.
4. Lines that name different causes, or that the kubelet stamped two seconds apart, are never one incident.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple

from .patterns import ConflictPattern, InvalidPattern, compile_pattern
from .redact import redact
from .signs import ConflictKind, Sign, find_sign, locate, may_have_sign

__all__ = [
    "ConflictKind",
    "ConflictPattern",
    "Finding",
    "InvalidPattern",
    "compile_pattern",
    "polling_started",
    "read_conflicts",
]

READ_AT_MOST = 1 << 20
LONGEST_EVIDENCE = 200
# The characters of what Telegram adds to its sentences: what to make sure of, which method to use.
_TELEGRAMS_ADVICE = 51
LONGEST_INCIDENT = timedelta(seconds=2)

_COLOURS = re.compile(r"(?:\x1b|\\u001[bB]|\\x1[bB])(?:\[[0-9;?]*[A-Za-z]|\][^\x07\x1b\n]{0,300}\x07)")
_INVISIBLE = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x9f\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff]")
# RFC 3339 with nanoseconds, as the API server gives it for pods/log?timestamps=true.
_STAMP = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d))(?: |$)", re.ASCII)

_TRACEBACK = "Traceback (most recent call last)"
_CHAINED = ("During handling of the above exception", "The above exception was the direct cause", "Caused by: ")
# A library that prints an error and then its traceback puts at most this many lines between the two.
_TRACEBACK_FOLLOWS = 3
_REQUEST = re.compile(r"/getUpdates[^\s\"']{0,300}[\"']? \"?HTTP/", re.IGNORECASE)

_POLLING = re.compile(
    r"\b(?:start(?:ed|ing)?|run(?:ning)?|begins?|began|launch(?:ed|ing)?) (?:\w{1,20} )?(?:long[ -]?)?polling\b"
    r"|\bpolling (?:has |is )?(?:now )?(?:started|running)\b"
    r"|\bApplication started$"  # python-telegram-bot
    r"|\bbot (?:is )?(?:now )?(?:up and )?(?:started|running|launched|online)\b"
    r"|@\w{4,32} is (?:up and )?running\b"
    r"|\bgetUpdates[^\s\"']{0,300}[\"']? \"?HTTP/[0-9.]{1,3}\"? 200\b",
    re.IGNORECASE,
)
_NOT_POLLING = re.compile(r"\b(?:fail\w{0,5}|unable|cannot|can't|couldn't|not|before|error)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Finding:
    """One conflict. `time` is the kubelet's, None without it; `evidence` a redacted line of at most 200 characters."""

    kind: ConflictKind
    time: datetime | None
    evidence: str


def read_conflicts(
    text: str | bytes, *, kubelet_timestamps: bool = False, extra: Sequence[ConflictPattern] = ()
) -> tuple[Finding, ...]:
    """Return the conflicts that the last 1 MiB of a log shows, one per incident, in the log's order.

    `kubelet_timestamps` says that each line begins with the kubelet's timestamp; a line without one has no time. A line
    that only one of the `extra` patterns knows is a conflict of the kind UNSPECIFIED.
    """
    tail = _tail(text)
    if not (extra or may_have_sign(tail)):
        return ()
    incidents: list[_Incident] = []
    gap = _Gap()
    for line in _lines(tail, stamped=kubelet_timestamps):
        sign = find_sign(line.text) or _extra_sign(line.text, extra)
        if sign is None:
            gap.pass_by(line.text)
            continue
        if not (incidents and incidents[-1].take(line, sign, gap)):
            incidents.append(_Incident.begin(line, sign, gap))
        gap = _Gap()
    return tuple(incident.finding() for incident in incidents)


def polling_started(text: str | bytes) -> bool:
    """Return whether the log says that polling began: in a library's words, or by a getUpdates answered with 200."""
    return any(_says_polling(line.text) for line in _lines(_tail(text), stamped=False))


def _says_polling(line: str) -> bool:
    match = _POLLING.search(line)
    return match is not None and not _NOT_POLLING.search(line[max(0, match.start() - 60) : match.start()])


def _extra_sign(line: str, extra: Sequence[ConflictPattern]) -> Sign | None:
    if any(pattern.matches(line) for pattern in extra):
        return Sign(ConflictKind.UNSPECIFIED, 0, 0, only_status=False)
    return None


# --- Lines ----------------------------------------------------------------------------------------------------


class _Line(NamedTuple):
    time: datetime | None
    text: str


def _tail(text: str | bytes) -> str:
    tail = text[-READ_AT_MOST:]
    if isinstance(tail, bytes):
        # Telegram's sentences are ASCII: without its zeros UTF-16 can be read, and what others write does not matter.
        tail = tail.replace(b"\0", b"").decode(errors="replace")
    return _INVISIBLE.sub("", _COLOURS.sub("", tail))


def _lines(text: str, *, stamped: bool) -> Iterator[_Line]:
    for raw in text.split("\n"):
        line = raw.rstrip("\r")
        match = _STAMP.match(line) if stamped else None
        yield _Line(_time(match[1]), line[match.end() :]) if match else _Line(None, line)


def _time(stamp: str) -> datetime | None:
    try:
        return datetime.fromisoformat(stamp)
    except ValueError:
        return None


# --- Incidents ------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Gap:
    """What lies between two lines with a sign."""

    lines: int = 0
    chained: bool = False
    traceback_at: int | None = None
    in_traceback: bool = False
    request: bool = False

    def pass_by(self, line: str) -> None:
        """Note a line without a sign."""
        if line.startswith(_TRACEBACK):
            self.in_traceback = True
            self.traceback_at = self.lines if self.traceback_at is None else self.traceback_at
        elif not line.startswith((" ", "\t")):
            self.in_traceback = False
        self.lines += 1
        self.chained = self.chained or line.startswith(_CHAINED)
        self.request = self.request or _REQUEST.search(line) is not None

    @property
    def traceback_follows(self) -> bool:
        return self.in_traceback and self.traceback_at is not None and self.traceback_at < _TRACEBACK_FOLLOWS


@dataclass(slots=True)
class _Incident:
    """The lines of one conflict: first come those that begin it."""

    kind: ConflictKind
    time: datetime | None
    by_request: bool
    traceback: bool
    signs: list[tuple[str, Sign]] = field(default_factory=list)

    @classmethod
    def begin(cls, line: _Line, sign: Sign, gap: _Gap) -> "_Incident":
        by_request = sign.only_status and _REQUEST.search(line.text) is not None
        return cls(sign.kind, line.time, by_request, gap.in_traceback, [(line.text, sign)])

    def take(self, line: _Line, sign: Sign, gap: _Gap) -> bool:
        """Take the line in if it belongs to this incident; return whether it does."""
        if not (self._agrees(line, sign) and self._continues(line.text, sign, gap)):
            return False
        self.kind = sign.kind if self.kind is ConflictKind.UNSPECIFIED else self.kind
        self.traceback = self.traceback or gap.in_traceback
        self.signs.append((line.text, sign))
        return True

    def _agrees(self, line: _Line, sign: Sign) -> bool:
        if line.time is not None and self.time is not None and line.time - self.time >= LONGEST_INCIDENT:
            return False
        return ConflictKind.UNSPECIFIED in (sign.kind, self.kind) or sign.kind is self.kind

    def _continues(self, line: str, sign: Sign, gap: _Gap) -> bool:
        if line.startswith((" ", "\t", *_CHAINED)):
            return True
        if sign.only_status:
            return False
        ends_first_traceback = gap.traceback_follows and not self.traceback
        return gap.chained or ends_first_traceback or (self.by_request and not gap.request)

    def finding(self) -> Finding:
        """Return what is to be told: the shortest of the lines that say most."""
        telling = [each for each in self.signs if each[1].kind is self.kind and not each[1].only_status] or self.signs
        line, sign = min(telling, key=lambda each: len(each[0]))
        return Finding(self.kind, self.time, _evidence(line, sign))


def _evidence(line: str, sign: Sign) -> str:
    """Return the line as one that may be shown to anybody. Redacted first: a token that was cut is not recognised."""
    clean = redact(line)
    if len(clean) > LONGEST_EVIDENCE:
        clean = _around(clean, locate(clean, sign))
    shown = "".join(each if each.isprintable() else " " for each in clean)
    return " ".join(shown.split()).rstrip(",")


def _around(line: str, sign: Sign) -> str:
    """Cut the line to the sign, what Telegram says behind it, and as much of what stands before as fits."""
    end = min(sign.end + _TELEGRAMS_ADVICE, sign.start + LONGEST_EVIDENCE)
    start = max(0, min(sign.start, end - LONGEST_EVIDENCE))
    word = re.compile(r"[\s,{]").search(line, start, sign.start) if start else None
    return line[word.end() if word else start : start + LONGEST_EVIDENCE]
