"""Reads Telegram's 409s out of a bot's log: what was cut off by what, when, and the line that says so.

1. One incident is one finding, however many lines a library prints for it: the request, the error, a trace, a dump.
2. A line belongs to the incident before it when it is indented; when it is a cause in a chain of traces; when it stands
   in, or ends, the incident's traceback; when it is the head of the trace of the message before it; when another logger
   told the same within a moment; or when the incident began with a printed request and none was printed since.
3. Equal lines one after the other are incidents of their own: Telegram holds some answers back for three seconds
   (tdlib/telegram-bot-api, Client.cpp), and a library that asks again at once gets the next without delay.
4. Lines that name different causes, that come from different programs, or that the kubelet stamped two seconds apart,
   are never one incident.
"""

import re
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from .lines import Line, decoded, lines, time_told
from .patterns import ConflictPattern, InvalidPattern, compile_pattern
from .redact import redact
from .signs import BEFORE, BEHIND, ConflictKind, Sign, find_sign, locate, may_be_sign, may_have_sign

__all__ = [
    "ConflictKind",
    "ConflictPattern",
    "Finding",
    "InvalidPattern",
    "Reading",
    "compile_pattern",
    "polling_started",
    "read_conflicts",
    "webhook_set",
    "worth_reading",
]

READ_AT_MOST = 1 << 20
LONGEST_EVIDENCE = 200
# The characters of what Telegram adds to its sentences: what to make sure of, which method to use.
_TELEGRAMS_ADVICE = 51
LONGEST_INCIDENT = timedelta(seconds=2)
# Two loggers of one program tell the same error one after the other, and both print the time.
_A_MOMENT = timedelta(milliseconds=50)
# Programs of one log that are remembered; more are somebody's prank.
_SOURCES = 256

_TRACEBACK = "Traceback (most recent call last)"
_CHAINED = (
    "During handling of the above exception",
    "The above exception was the direct cause",
    "Caused by: ",
    " ---> ",
)
# A library that prints an error and then its traceback puts at most this many lines between the two.
_TRACEBACK_FOLLOWS = 3
_FRAME = re.compile(r"\s+(?:at |from |\d+: )|#\d+ ")
# What does not begin a record of its own: what is indented, closes what was opened, or announces a trace.
_GOES_ON = re.compile(r"\s|[)}\]]|$|" + "|".join(map(re.escape, (_TRACEBACK, *_CHAINED))))
_TIMED = re.compile(r"\s*\[?\d{2,4}[-/:]\d\d")  # some loggers begin their records with a space
_REQUEST = re.compile(r"/getUpdates[^\s\"']{0,300}[\"']? \"?HTTP/", re.IGNORECASE)

_POLLING = re.compile(
    r"\b(?:start(?:ed|ing)?|run(?:ning)?|begins?|began|launch(?:ed|ing)?) (?:\w{1,20} )?(?:long[ -]?)?polling\b"
    r"|\bpolling (?:has |is |was )?(?:now )?(?:started|running)\b"
    r"|\bApplication started$"  # python-telegram-bot
    r"|\b(?:bot|polling) (?:is |was |has been )?(?:now )?(?:up and )?(?:started|running|launched|online|listening)\b"
    r"|@\w{4,32} (?:is |has been )?(?:up and )?(?:running|started)\b"
    r"|\bAuthorized on account \w"  # go-telegram-bot-api's example
    r"|\bgetUpdates[^\s\"']{0,300}[\"']? \"?HTTP/[0-9.]{1,3}\"? 200\b"
    r"|\b(?:запущен|запуск опроса|polling запущен)\b",
    re.IGNORECASE,
)
_WEBHOOK = re.compile(
    r"\bwebhook (?:is |was |has been )?(?:already )?set\b(?! by| to be|:)"
    r"|\bset(?:ting)?[_ ]?webhook\b[^\n]{0,200}\b(?:200|ok|true|success\w*)\b"
    r"|\bsetWebhook[^\s\"']{0,300}[\"']? \"?HTTP/[0-9.]{1,3}\"? 200\b|\bwebhook (?:registered|установлен)\b",
    re.IGNORECASE,
)
_NOT = re.compile(r"\b(?:fail\w{0,5}|unable|cannot|can't|couldn't|not|before|error|no|if|не)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Finding:
    """One conflict. `evidence` is a redacted line of at most 200 characters.

    `time` is the kubelet's, None without it; with `own_times` it is the best that the log tells, without a zone where
    the log has none.
    """

    kind: ConflictKind
    time: datetime | None
    evidence: str


def read_conflicts(
    text: str | bytes,
    *,
    kubelet_timestamps: bool = False,
    own_times: bool = False,
    extra: Sequence[ConflictPattern] = (),
) -> tuple[Finding, ...]:
    """Return the conflicts that the last 1 MiB of a log shows, one per incident, in the log's order.

    `kubelet_timestamps` says that each line begins with the kubelet's timestamp; a line without one has no time.
    `own_times` asks for the times that the log itself tells, however they are written. A line that only one of the
    `extra` patterns knows is a conflict of the kind UNSPECIFIED.
    """
    reading = Reading(kubelet_timestamps=kubelet_timestamps, own_times=own_times, extra=extra)
    return (*reading.read(decoded(text[-READ_AT_MOST:])), *reading.end())


def worth_reading(text: str) -> bool:
    """Return False for a text that surely has no conflict: cleaning one costs ten times as much as a look at it."""
    return may_have_sign(text) or "\x1b" in text or "u001b" in text or "terminated%20by" in text


def polling_started(text: str | bytes) -> bool:
    """Return whether the log says that polling began: in a library's words, or by a getUpdates answered with 200."""
    return any(_says(_POLLING, line.text) for line in lines(decoded(text[-READ_AT_MOST:])))


def webhook_set(text: str | bytes) -> bool:
    """Return whether the log says that a webhook was set: in Telegram's words or by a setWebhook answered with 200."""
    return any(_says(_WEBHOOK, line.text) for line in lines(decoded(text[-READ_AT_MOST:])))


def _says(pattern: re.Pattern[str], line: str) -> bool:
    match = pattern.search(line)
    return match is not None and not _NOT.search(line[max(0, match.start() - 60) : match.start()])


def _extra_sign(line: str, extra: Sequence[ConflictPattern]) -> Sign | None:
    if any(pattern.matches(line) for pattern in extra):
        return Sign(ConflictKind.UNSPECIFIED, 0, 0)
    return None


# --- Reading ----------------------------------------------------------------------------------------------------------


class Reading:
    """Reads a log piece by piece, so that its size costs no memory. Each piece ends where a line ends."""

    def __init__(
        self, *, kubelet_timestamps: bool = False, own_times: bool = False, extra: Sequence[ConflictPattern] = ()
    ) -> None:
        """A reading that has read nothing yet; the arguments are those of read_conflicts."""
        self._stamped = kubelet_timestamps
        self._own_times = own_times
        self._extra = extra
        self._programs: dict[str, _Program] = {}
        self._incidents: list[_Incident] = []

    def read(self, piece: str) -> Iterator[Finding]:
        """Yield the conflicts that are sure to be whole with this piece of decoded text; some may come later."""
        if not (self._extra or may_have_sign(piece)):
            yield from self.end()
            return
        all_lines = list(lines(piece, stamped=self._stamped))
        for number, line in enumerate(all_lines):
            program = self._program(line.source)
            program.look(line, stamped=self._stamped, own_times=self._own_times)
            sign = None
            if self._extra or may_be_sign(line.text):
                behind = [
                    each.text for each in all_lines[number + 1 : number + 1 + BEHIND] if each.source == line.source
                ]
                sign = self._read(program, line, behind)
            program.leave(line, sign)
        latest = {id(program.incident) for program in self._programs.values()}
        done = [each for each in self._incidents if id(each) not in latest]
        self._incidents = [each for each in self._incidents if id(each) in latest]
        yield from (incident.finding() for incident in done)

    def unexplained(self) -> list[datetime]:
        """Return the times of those conflicts that the next lines may explain: so far only the status is known."""
        left = (each for each in self._incidents if all(sign.only_status for _, sign in each.signs))
        return [each.time for each in left if each.time is not None]

    def end(self) -> Iterator[Finding]:
        """Yield what is left at the end of the log."""
        left, self._incidents, self._programs = self._incidents, [], {}
        yield from (incident.finding() for incident in left)

    def _program(self, source: str) -> "_Program":
        if source not in self._programs and len(self._programs) >= _SOURCES:
            self._programs.clear()
        return self._programs.setdefault(source, _Program())

    def _read(self, program: "_Program", line: Line, behind: Sequence[str]) -> Sign | None:
        """Return the sign of a line, which is then part of an incident."""
        sign = find_sign(line.text, program.before, behind) or _extra_sign(line.text, self._extra)
        if sign is not None and program.take(line, sign, heads_trace=bool(behind and _FRAME.match(behind[0]))):
            self._incidents.append(program.begin(line, sign))
        return sign


# --- Incidents --------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Incident:
    """The lines of one conflict: first come those that begin it."""

    kind: ConflictKind
    time: datetime | None
    told: datetime | None
    by_request: bool
    traceback: int
    signs: list[tuple[str, Sign]] = field(default_factory=list)
    traced: bool = False

    def finding(self) -> Finding:
        """Return what is to be told: the shortest of the lines that say most."""
        telling = [each for each in self.signs if each[1].kind is self.kind and not each[1].only_status] or self.signs
        line, sign = min(telling, key=lambda each: len(each[0]))
        return Finding(self.kind, self.told, _evidence(line, sign))


@dataclass(slots=True)
class _Program:
    """What one program of the log printed so far: its latest incident, and what came since."""

    incident: _Incident | None = None
    before: deque[str] = field(default_factory=lambda: deque(maxlen=BEFORE))
    passed: int = 0
    blank: bool = True
    chained: bool = False
    interrupted: bool = False
    request: bool = False
    traceback: int = 0
    tracebacks: int = 0
    traceback_at: int | None = None
    ending: bool = False
    told: datetime | None = None
    printed: datetime | None = None

    def look(self, line: Line, *, stamped: bool, own_times: bool) -> None:
        """Note the time of a line and where in a traceback it stands."""
        self.printed = time_told(line.text) if own_times else None
        if own_times:
            self.told = line.time or self.printed or self.told
        else:
            self.told = line.time if stamped else None
        text = line.text
        self.ending = False
        if text.startswith(_TRACEBACK):
            self.tracebacks += 1
            self.traceback, self.traceback_at = self.tracebacks, self.passed
        elif self.traceback and text and not text.startswith((" ", "\t", "> ")):
            self.ending = True

    def leave(self, line: Line, sign: Sign | None) -> None:
        """Note that a line is done with."""
        self.before.append(line.text)
        if self.ending:
            self.traceback = 0
        if sign is None:
            self._pass_by(line.text)
        else:
            self.passed, self.blank, self.traceback_at = 0, True, None
            self.chained = self.interrupted = self.request = False

    def _pass_by(self, text: str) -> None:
        self.passed += 1
        self.blank = self.blank and not text.strip()
        self.chained = self.chained or text.startswith(_CHAINED)
        self.interrupted = self.interrupted or not _GOES_ON.match(text)
        self.request = self.request or _REQUEST.search(text) is not None
        if self.incident and _FRAME.match(text):
            self.incident.traced = True

    def begin(self, line: Line, sign: Sign) -> _Incident:
        """Begin an incident with the line."""
        by_request = sign.only_status and _REQUEST.search(line.text) is not None
        self.incident = _Incident(sign.kind, line.time, self.told, by_request, self.traceback, [(line.text, sign)])
        return self.incident

    def take(self, line: Line, sign: Sign, *, heads_trace: bool) -> bool:
        """Take the line into the latest incident if it belongs there; return whether it begins one of its own."""
        incident = self.incident
        if incident is None or not (
            self._agrees(incident, line, sign) and self._continues(incident, line, sign, heads_trace)
        ):
            return True
        incident.kind = sign.kind if incident.kind is ConflictKind.UNSPECIFIED else incident.kind
        incident.traceback = incident.traceback or self.traceback
        incident.signs.append((line.text, sign))
        return False

    def _agrees(self, incident: _Incident, line: Line, sign: Sign) -> bool:
        if line.time is not None and incident.time is not None and line.time - incident.time >= LONGEST_INCIDENT:
            return False
        return ConflictKind.UNSPECIFIED in (sign.kind, incident.kind) or sign.kind is incident.kind

    def _continues(self, incident: _Incident, line: Line, sign: Sign, heads_trace: bool) -> bool:
        if line.text.startswith((" ", "\t", *_CHAINED)) and not _TIMED.match(line.text):
            return not self.interrupted
        if sign.only_status and not heads_trace:
            return False
        ends_its_traceback = self.traceback != 0 and (
            incident.traceback == self.traceback or (not incident.traceback and self._follows(self.traceback_at))
        )
        heads_its_trace = heads_trace and self.blank and self.passed <= 1 and not incident.traced
        return (
            self.chained
            or ends_its_traceback
            or heads_its_trace
            or (incident.by_request and not self.request)
            or self._told_again(incident, line.text)
        )

    @staticmethod
    def _follows(traceback_at: int | None) -> bool:
        return traceback_at is not None and traceback_at < _TRACEBACK_FOLLOWS

    def _told_again(self, incident: _Incident, text: str) -> bool:
        """Whether another logger of the program tells what was told a moment ago."""
        then, now = incident.told, self.printed
        if then is None or now is None or not now.microsecond or (then.tzinfo is None) != (now.tzinfo is None):
            return False
        return abs(now - then) < _A_MOMENT and _without_digits(text) != _without_digits(incident.signs[0][0])


def _without_digits(text: str) -> str:
    return re.sub(r"\d+", "", text[:500])


# --- Evidence ---------------------------------------------------------------------------------------------------------


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
