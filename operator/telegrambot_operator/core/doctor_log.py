"""What the doctor says of a log: its conflicts under three names, as JSON or as a table, and what to do about them."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

from .evidence import ConflictKind, Finding
from .redact import redact

GET_UPDATES, WEBHOOK_ACTIVE, SET_WEBHOOK = "GetUpdates", "WebhookActive", "SetWebhook"
_NAMES = {
    ConflictKind.OTHER_GET_UPDATES: GET_UPDATES,
    ConflictKind.WEBHOOK_ACTIVE: WEBHOOK_ACTIVE,
    ConflictKind.TERMINATED_BY_SET_WEBHOOK: SET_WEBHOOK,
    ConflictKind.OTHER_SET_WEBHOOK: SET_WEBHOOK,
}
ADVICE = {
    GET_UPDATES: "another process polls with the same token: stop it (a second pod, Deployment, worker, cluster or "
    "laptop), or revoke the token with @BotFather",
    WEBHOOK_ACTIVE: "a webhook is set, so nobody can poll: call deleteWebhook (waiting updates are kept), or serve the "
    "webhook instead of polling",
    SET_WEBHOOK: "somebody set a webhook while the bot was polling: find who calls setWebhook, then call deleteWebhook",
}
# A log may tell only the HTTP status of this many conflicts, before the first that says what it was, to be named by it.
_WAITING = 1000


@dataclass(frozen=True, slots=True)
class Conflict:
    """A conflict under one of the three names. The time has no zone where the log tells none."""

    kind: str
    time: datetime | None
    evidence: str


def named(findings: Iterable[Finding]) -> Iterator[Conflict]:
    """Yield the conflicts under their names.

    One of which only the status is known gets the name of the one before it, else of the first after it, else
    GetUpdates, by far the commonest.
    """
    known: str | None = None
    waiting: list[Finding] = []
    for finding in findings:
        name = _NAMES.get(finding.kind) or known
        if name is None and len(waiting) < _WAITING:
            waiting.append(finding)
            continue
        known = name or GET_UPDATES
        yield from (_as(known, each) for each in (*waiting, finding))
        waiting.clear()
    yield from (_as(GET_UPDATES, each) for each in waiting)


def as_told(kind: ConflictKind) -> str:
    """Return the name of a conflict of this kind, the commonest one where only its status is known."""
    return _NAMES.get(kind, GET_UPDATES)


def _as(name: str, finding: Finding) -> Conflict:
    return Conflict(name, finding.time, finding.evidence)


def json_pieces(file: str, conflicts: Iterable[Conflict]) -> Iterator[str]:
    """Yield, piece by piece, the line with the JSON object of one file: a log may have millions of conflicts."""
    yield f'{{"file": {json.dumps(redact(file))}, "conflicts": ['
    separator = ""
    for each in conflicts:
        found = {"kind": each.kind, "time": _told(each.time), "evidence": each.evidence}
        yield separator + json.dumps(found)
        separator = ", "
    yield "]}\n"


def _told(time: datetime | None) -> str | None:
    if time is None:
        return None
    return time.isoformat() if time.tzinfo is None else time.astimezone(UTC).isoformat().replace("+00:00", "Z")


# --- The table --------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Row:
    count: int = 0
    first: datetime | None = None
    last: datetime | None = None
    evidence: str = ""

    def add(self, conflict: Conflict) -> None:
        self.count += 1
        self.first = self.first or conflict.time
        self.last = conflict.time or self.last
        self.evidence = self.evidence or conflict.evidence


@dataclass(slots=True)
class Table:
    """What a person reads: a row for each kind of conflict in each file, then what to do about each kind."""

    rows: list[tuple[str, ...]] = field(default_factory=list)
    kinds: set[str] = field(default_factory=set)

    def add(self, file: str, conflicts: Iterable[Conflict]) -> None:
        """Count the conflicts of a file."""
        found = {kind: _Row() for kind in ADVICE}
        for each in conflicts:
            found[each.kind].add(each)
        told = {kind: row for kind, row in found.items() if row.count}
        self.kinds |= set(told)
        for kind, row in told.items():
            self.rows.append((redact(file), kind, str(row.count), _clock(row.first), _clock(row.last), row.evidence))
        if not told:
            self.rows.append((redact(file), "none", "0", "-", "-", ""))

    def text(self) -> str:
        """Return the table and the advice, or "" for no files."""
        rows = [("FILE", "CONFLICT", "COUNT", "FIRST", "LAST", "EVIDENCE"), *self.rows]
        if len(rows) == 1:
            return ""
        widths = [max(len(row[column]) for row in rows) for column in range(5)]
        table = ["   ".join([*map(str.ljust, row, widths), row[5]]).rstrip() for row in rows]
        advice = [f"{kind}: {sentence}." for kind, sentence in ADVICE.items() if kind in self.kinds]
        return "".join(f"{line}\n" for line in [*table, *([""] if advice else []), *advice])


def _clock(time: datetime | None) -> str:
    if time is None:
        return "-"
    return f"{time:%Y-%m-%d %H:%M:%S}" if time.tzinfo is None else f"{time.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
