"""What the 409s that were read amount to: one run of conflicts, its cause, and when it is over.

Telegram answers the 409 to the poll that was cut off, so the log that holds it marks the victim and not the culprit.
The cause is judged by who was alive at the conflict's own time, not by what the world looks like when it is read.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import takewhile
from typing import Any

from ..names import Reason
from .evidence import ConflictKind
from .observed import Observed, PodFinding, PodSpan, Rival

# Telegram answers a conflict that follows another within 3 s only 3 s later (tdlib/telegram-bot-api, Client.cpp).
ANSWERED_LATE = timedelta(seconds=4)
# A second conflict this much later than the first cannot come from a poller that has ended since.
STILL_THERE = timedelta(seconds=15)
# Who was alive is judged only so far back; pods that are gone are remembered for longer than that.
JUDGED = timedelta(minutes=10)
# Kubernetes keeps a container's end in whole seconds.
ROUNDING = timedelta(seconds=2)


@dataclass(frozen=True, slots=True)
class Conflicts:
    """A run of conflicts. `time` is its latest 409, `started` its first, `count` how many; `active` while it counts."""

    time: datetime
    started: datetime
    count: int
    cause: Reason
    evidence: str
    pod: str
    active: bool


def conflicts(seen: Observed, clear_after: timedelta, now: datetime) -> Conflicts | None:
    """Return the current or latest run of conflicts, which may continue that of the previous status; None if none."""
    run = _previous(seen.bot.status if seen.bot else {}, clear_after, now)
    findings = sorted(_without_echoes(seen.findings), key=lambda each: (each.at, each.pod, each.uid))
    for found in findings:
        if run is None or _is_new(found, run):
            run = _continued(run, found, seen, clear_after)
    if run is None:
        return None
    for found in reversed(findings):
        if timedelta(0) < run.started - found.at < clear_after:
            run = _begun_earlier(run, found, seen)
    known = sum(run.started <= found.at <= run.time for found in findings)
    active = now - run.time < clear_after
    cause = Reason.EXTERNAL_POLLER if active and _outlived(run, findings, seen, now) else run.cause
    return replace(run, count=max(run.count, known), active=active, cause=cause)


def _outlived(run: Conflicts, findings: list[PodFinding], seen: Observed, now: datetime) -> bool:
    """Whether 409s go on long after the pods that began them have ended: then somebody else is there as well."""
    if run.cause not in {Reason.DUPLICATE_PODS, Reason.TERMINATING_POD}:
        return False
    recent = [found for found in findings if found.at > now - JUDGED]
    latest = list(takewhile(lambda found: cause_of(found, found.at, seen) is Reason.CAUSE_UNKNOWN, reversed(recent)))
    return bool(latest) and latest[0].at - latest[-1].at >= STILL_THERE


def _begun_earlier(run: Conflicts, found: PodFinding, seen: Observed) -> Conflicts:
    """Take in a 409 from before the run began: the logs of several pods are read one after the other."""
    cause = cause_of(found, found.at, seen)
    return replace(run, started=found.at, cause=cause if _more_telling(cause, run.cause) else run.cause)


def _previous(status: Mapping[str, Any], clear_after: timedelta, now: datetime) -> Conflicts | None:
    last = status.get("lastConflict") or {}
    try:
        time = datetime.fromisoformat(last["time"])
        started = datetime.fromisoformat(last.get("started") or last["time"])
        cause = Reason(last.get("cause") or Reason.CAUSE_UNKNOWN)
    except (KeyError, TypeError, ValueError):
        return None
    return Conflicts(
        time=time,
        started=started,
        count=int(last.get("count") or 1),
        cause=cause,
        evidence=str(last.get("evidence") or ""),
        pod=str(last.get("pod") or ""),
        active=now - time < clear_after,
    )


def _without_echoes(findings: tuple[PodFinding, ...]) -> list[PodFinding]:
    """Drop a termination message's 409 where the same pod's log showed it a moment before."""
    exact = [found for found in findings if found.exact]
    return [found for found in findings if found.exact or not any(_echo(found, other) for other in exact)]


def _echo(late: PodFinding, first: PodFinding) -> bool:
    return late.uid == first.uid and timedelta(0) <= late.at - first.at + ROUNDING <= ANSWERED_LATE + ROUNDING


def _is_new(found: PodFinding, run: Conflicts) -> bool:
    slack = ROUNDING if not found.exact and found.pod == run.pod else timedelta(0)
    return found.at > run.time + slack


def _continued(run: Conflicts | None, found: PodFinding, seen: Observed, clear_after: timedelta) -> Conflicts:
    same_run = run is not None and found.at - run.time < clear_after
    started = run.started if run and same_run else found.at
    cause = cause_of(found, started, seen)
    if run and same_run and _more_telling(run.cause, cause):
        cause = run.cause
    return Conflicts(
        time=found.at,
        started=started,
        count=run.count + 1 if run and same_run else 1,
        cause=cause,
        evidence=found.finding.evidence,
        pod=found.pod,
        active=True,
    )


_VAGUE = {Reason.CAUSE_UNKNOWN: 0, Reason.EXTERNAL_POLLER: 1}


def _more_telling(first: Reason, later: Reason) -> bool:
    """Whether the first cause of a storm stays: always, unless it was vaguer than what came later."""
    return _VAGUE.get(first, 2) >= _VAGUE.get(later, 2)


def cause_of(found: PodFinding, started: datetime, seen: Observed) -> Reason:
    """Return the cause of one conflict: the first that holds."""
    match found.finding.kind:
        case ConflictKind.WEBHOOK_ACTIVE:
            return Reason.WEBHOOK_ACTIVE
        case ConflictKind.TERMINATED_BY_SET_WEBHOOK | ConflictKind.OTHER_SET_WEBHOOK:
            return Reason.WEBHOOK_SET
    alive = suspects(found, seen.spans)
    if len(alive) > 1:
        staying = [span for span in alive if _was_staying(span, alive, found.at)]
        return Reason.DUPLICATE_PODS if len(staying) > 1 else Reason.TERMINATING_POD
    if identity_rivals(seen):
        return Reason.DUPLICATE_BOT
    return Reason.EXTERNAL_POLLER if found.at - started >= STILL_THERE else Reason.CAUSE_UNKNOWN


def _was_staying(span: PodSpan, alive: list[PodSpan], at: datetime) -> bool:
    """Whether the pod's deletion had not been asked for yet. Kubernetes keeps only the second in which it was.

    Within that second the pod counts as staying if another was there before, or is deleted with it: then they were
    duplicates, and the deletion is what ends that. Else the other one is its successor.
    """
    if span.deleted is None or span.deleted > at:
        return True
    return at - span.deleted < ROUNDING / 2 and any(
        other.started < span.deleted or (other.deleted is not None and other.deleted - span.deleted < ROUNDING)
        for other in alive
        if other.uid != span.uid
    )


def identity_rivals(seen: Observed) -> tuple[Rival, ...]:
    """Return the other TelegramBots of this bot's identity."""
    return tuple(rival for rival in seen.rivals if not rival.same_deployment)


def suspects(found: PodFinding, spans: tuple[PodSpan, ...]) -> list[PodSpan]:
    """Return the pod that was cut off and those that may have done it, one span a pod.

    Telegram's answer may be late. Who had ended when the victim began cannot have done it; where both happened within
    one second, which is all that Kubernetes keeps of a time, nobody is blamed.
    """
    begun = [span.started + ROUNDING / 2 for span in spans if span.uid == found.uid]
    since = max([found.at - ANSWERED_LATE, *begun])
    alive = {
        span.uid: span
        for span in spans
        if span.started <= found.at + ROUNDING and (span.uid == found.uid or span.ended is None or span.ended >= since)
    }
    return list(alive.values())


def timestamp(time: datetime) -> str:
    """Return the time as it stands in a status: RFC 3339 in UTC with microseconds."""
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def seconds_left(status: Mapping[str, Any], clear_after: timedelta, now: datetime) -> float | None:
    """Return the seconds until the status' latest conflict no longer counts, or None if it does not count now."""
    run = _previous(status, clear_after, now)
    return (run.time + clear_after - now).total_seconds() if run and run.active else None
