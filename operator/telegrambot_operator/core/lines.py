"""Takes a log apart into the lines that its programs printed, whatever carried them.

A line comes with what others put around it: bytes of some encoding, colours, the time and the stream of a container
runtime, the name of a pod or process, a JSON object of Docker's. Without that, the lines of one program read as it
printed them: a trace is indented again, and a sentence that was broken at the edge of a terminal is whole.
"""

import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from json import JSONDecodeError, loads
from typing import NamedTuple

_COLOURS = re.compile(
    r"(?:\x1b|\\u001[bB]|\\x1[bB]|\\033|\\e(?=\[[0-9;]{1,12}m))(?:\[[0-9;?]*[A-Za-z]|\][^\x07\x1b\n]{0,300}\x07)"
)
_INVISIBLE = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x9f\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff]")

# RFC 3339 with nanoseconds, as the API server gives it for pods/log?timestamps=true.
_STAMP = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:?\d\d))(?: |$)", re.ASCII)
# The kubelet's own files: the stream, then F for a full line and P for a part of one.
_CRI = re.compile(r"std(?:out|err) ([FP])(?::\S{1,20})?(?: |$)")
_SYSLOG_TIME = r"[A-Z][a-z]{2} [ \d]?\d \d\d:\d\d:\d\d"
_WHO = re.compile(
    r"(?:"
    r"\[(pod/[^\]\s]{1,300})\]"  # kubectl logs --prefix
    r"|(?:\d{4}-\d\d-\d\dT[\d:]{8}: )?(\d{1,6}\|[^|\n]{1,80})\|"  # PM2
    r"|(?:\d\d:\d\d:\d\d )?([\w.@/-]{1,80}(?: std(?:out|err))?)[ ]{0,40}\|(?=\s|$)"  # compose, foreman, supervisord
    rf"|{_SYSLOG_TIME} (?:[AP]M {{1,2}})?(?:[\w.-]{{1,80}} )?([\w./@-]{{1,64}}\[\d{{1,10}}\]):"  # journald, syslog
    r"|[\w.-]{1,80} ([\w./@-]{1,64}\[\d{1,10}\]):"  # journald with ISO times, which are gone by now
    r"|((?:app|heroku)\[[\w.-]{1,40}\]):"  # Heroku
    r")(?: |$)",
    re.ASCII,
)
_DOCKER = re.compile(r'\{"log":("(?:[^"\\]|\\.)*+"),"stream":"std(?:out|err)"')
_DOCKER_TIME = re.compile(r'"time":"([^"]{20,40})"\}$')
_LAYERS = 4

# A space of a sentence at which a terminal, or a logger for terminals, may have begun a new line.
_BREAK = r"(?: |[ ]?\r?\n[ \t]{0,80})"
_BROKEN = re.compile(
    "|".join(
        sentence.replace(" ", _BREAK)
        for sentence in (
            r"terminated by other (?:getUpdates request|getUpdates|setWebhook|long poll or webhook)",
            r"terminated by setWebhook",
            r"can['’\\]{1,3}t use getUpdates method while webhook is active",
        )
    ),
    re.IGNORECASE,
)
_LINE_END = re.compile(r"[ ]?\r?\n[ \t]*")
# A sentence in the query of an address.
_ESCAPED = re.compile(
    r"(?:conflict%3A%20|409%20)*+(?:terminated%20by|can(?:%27|')t%20use)(?:%20|%3B|[\w';])*+", re.IGNORECASE
)


class Line(NamedTuple):
    """A line that a program printed. `source` tells several programs of one log apart; `time` is its carrier's."""

    text: str
    source: str = ""
    time: datetime | None = None


_MARKS = ((b"\xff\xfe\0\0", "utf-32"), (b"\0\0\xfe\xff", "utf-32"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))


def encoding_of(head: bytes) -> str:
    """Return the encoding that a log begins with: a UTF, since what is looked for is ASCII in all others."""
    even, odd, half = head[::2].count(0), head[1::2].count(0), len(head) // 2
    if (even + odd) * 25 > half:
        for mark, name in _MARKS:
            if head.startswith(mark):
                return name
    if min(even, odd) * 8 <= max(even, odd) and max(even, odd) * 12 >= half > 0:
        return "utf-16-le" if odd > even else "utf-16-be"
    return "utf-8"


def decoded(text: str | bytes) -> str:
    """Return the text without colours and what cannot be seen, and with broken sentences whole."""
    if isinstance(text, bytes):
        text = text.decode(encoding_of(text[:4096]), errors="replace")
    text = _INVISIBLE.sub("", _COLOURS.sub("", text))
    return _ESCAPED.sub(_unescaped, _BROKEN.sub(_whole, text)) if "%20" in text else _BROKEN.sub(_whole, text)


def _whole(match: re.Match[str]) -> str:
    return _LINE_END.sub(" ", match[0])


def _unescaped(match: re.Match[str]) -> str:
    return match[0].replace("%20", " ").replace("%3A", ":").replace("%3B", ";").replace("%27", "'")


def lines(text: str, *, stamped: bool = False) -> Iterator[Line]:
    """Yield the lines of a decoded text. `stamped` says that the kubelet's time is before each, and no other counts."""
    return _whole_lines(_unwrapped(raw.rstrip("\r"), stamped=stamped) for raw in text.split("\n"))


def _whole_lines(parts: Iterable[tuple[Line, bool]]) -> Iterator[Line]:
    """Join the parts that a container runtime made of a long line."""
    held: list[Line] = []
    for line, is_part in parts:
        held.append(line)
        if not is_part:
            yield _joined(held)
            held = []
    if held:
        yield _joined(held)


def _joined(parts: list[Line]) -> Line:
    return parts[0] if len(parts) == 1 else parts[0]._replace(text="".join(part.text for part in parts))


def _unwrapped(raw: str, *, stamped: bool) -> tuple[Line, bool]:
    """Return the line without what carried it, and whether it is only a part of one."""
    if raw.startswith('{"log":"'):
        return _from_docker(raw)
    text, time, source, is_part = raw, None, "", False
    for layer in range(_LAYERS):
        match = _STAMP.match(text)
        if match and (not stamped or layer == 0):
            time = time or _moment(match[1])
        elif match := _CRI.match(text):
            is_part = match[1] == "P"
        elif match := _WHO.match(text):
            source += next(name for name in match.groups() if name)
        else:
            break
        text = text[match.end() :]
    return Line(text, source, time), is_part


def _from_docker(raw: str) -> tuple[Line, bool]:
    match, time = _DOCKER.match(raw), _DOCKER_TIME.search(raw, max(0, len(raw) - 80))
    try:
        text = loads(match[1]) if match else raw
    except JSONDecodeError:
        text = raw
    is_part = match is not None and not text.endswith("\n")
    return Line(decoded(text.rstrip("\r\n")), time=_moment(time[1]) if time else None), is_part


def _moment(stamp: str) -> datetime | None:
    try:
        return datetime.fromisoformat(stamp)
    except ValueError:
        return None


# --- The time that a program itself printed ---------------------------------------------------------------------------

_ISO = re.compile(
    r"(\d{4})[-/](\d\d)[-/](\d\d)[T ](\d\d:\d\d:\d\d)(?:[.,](\d{1,9}))?(?:\s?(Z|UTC|[+-]\d\d:?\d\d)(?![\d:]))?",
    re.ASCII,
)
_ACCESS = re.compile(r"\[(\d\d)/([A-Z][a-z]{2})/(\d{4}):(\d\d:\d\d:\d\d) ([+-]\d{4})\]", re.ASCII)
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_EPOCH = re.compile(r'"(?:time|ts|timestamp|__REALTIME_TIMESTAMP)"\s?:\s?"?(\d{10}(?:\.\d{1,9}|\d{3}|\d{6})?)(?!\d)')
_TIME_FIELD = re.compile(r'"(?:@?timestamp|time|@t|asctime|date|ts)"\s?:\s?"')
_LOOK_FOR_TIME = 120


def time_told(text: str) -> datetime | None:
    """Return the time that a line tells of itself, or None. It has no time zone where the line names none."""
    field = _TIME_FIELD.search(text)
    for start in (0, field.end() if field else -1):
        if start >= 0 and (iso := _ISO.search(text, start, start + _LOOK_FOR_TIME)):
            return _from_iso(iso)
    if access := _ACCESS.search(text, 0, 2 * _LOOK_FOR_TIME):
        day, month, year, clock, zone = access.groups()
        return _moment(f"{year}-{_MONTHS.index(month) + 1:02}-{day}T{clock}{zone}") if month in _MONTHS else None
    epoch = _EPOCH.search(text)
    return _from_epoch(epoch[1]) if epoch else None


def _from_iso(match: re.Match[str]) -> datetime | None:
    year, month, day, clock, fraction, zone = match.groups()
    return _moment(f"{year}-{month}-{day}T{clock}.{(fraction or '0')[:6]:0<6}{(zone or '').replace('UTC', 'Z')}")


def _from_epoch(digits: str) -> datetime:
    whole = digits.partition(".")[0]
    return datetime.fromtimestamp(float(digits) / 10 ** (len(whole) - 10), UTC)
