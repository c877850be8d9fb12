"""What the 409s that were read amount to: one run of conflicts, its cause, and when it is over.

Telegram answers the 409 to the poll that was cut off, so the log that holds it marks the victim and not the culprit.
The cause is judged by who was alive at the conflict's own time, not by what the world looks like when it is read.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import takewhile
from typing import Any

from ..api.models import SecretKeyRef
from ..names import Reason
from .evidence import ConflictKind
from .observed import Observed, PodFinding, PodSpan, Rival
from .strays_search import Question, Stray, Victim
from .targets import chosen_container, container_of

# Telegram answers a conflict that follows another within 3 s only 3 s later (tdlib/telegram-bot-api, Client.cpp).
ANSWERED_LATE = timedelta(seconds=4)
# A second conflict this much later than the first cannot come from a poller that has ended since.
STILL_THERE = timedelta(seconds=15)
# Of two who poll one is cut off within a poll, which lasts 50 s at most; and libraries take their time to start.
CUT_OFF_BY = timedelta(minutes=2)
# Who was alive is judged only so far back; pods that are gone are remembered for longer than that.
JUDGED = timedelta(minutes=10)
# Kubernetes keeps a container's end in whole seconds.
ROUNDING = timedelta(seconds=2)


# Causes that a search for others with the token has shown, or may still show to be something else.
_SEARCHED = {Reason.CAUSE_UNKNOWN, Reason.EXTERNAL_POLLER, Reason.STRAY_POD, Reason.INSIDE_POD}


@dataclass(frozen=True, slots=True)
class Conflicts:
    """A run of conflicts. `time` is its latest 409, `started` its first, `count` how many; `active` while it counts.

    `telling` is the 409 that the cause was judged by, None where only the previous status knows it. `open_since` is
    the first 409 that nothing explains but who else has the token, None where there is none.
    """

    time: datetime
    started: datetime
    count: int
    cause: Reason
    evidence: str
    pod: str
    active: bool
    telling: PodFinding | None = None
    open_since: datetime | None = None


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
    mine = [found for found in findings if run.started <= found.at <= run.time]
    run = replace(run, count=max(run.count, len(mine)), active=now - run.time < clear_after)
    run = _judged_again(run, mine, seen)
    return _outlived(run, mine, seen, now) if run.active else run


def _judged_again(run: Conflicts, mine: list[PodFinding], seen: Observed) -> Conflicts:
    """Judge a vague cause again by each 409, the first one first: who did it may come to light after it was read."""
    for found in mine:
        cause = cause_of(found, run.started, seen)
        if cause is run.cause:
            run = replace(run, telling=run.telling or found)
        elif not _more_telling(run.cause, cause):
            run = replace(run, cause=cause, telling=found)
    return replace(run, open_since=run.started if run.cause in _SEARCHED else None)


_BY_PODS = {Reason.DUPLICATE_PODS, Reason.TERMINATING_POD}


def _outlived(run: Conflicts, mine: list[PodFinding], seen: Observed, now: datetime) -> Conflicts:
    """Find another cause where 409s go on long after the pods that began them have ended: somebody else is there."""
    if run.cause not in _BY_PODS | {Reason.STRAY_POD}:
        return run
    recent = [found for found in mine if found.at > now - JUDGED]
    explained = _BY_PODS | {run.cause}
    later = list(takewhile(lambda found: cause_of(found, found.at, seen) not in explained, reversed(recent)))
    if not later or later[0].at - later[-1].at < STILL_THERE:
        return run
    cause = cause_of(later[0], later[-1].at, seen)
    if cause is Reason.CAUSE_UNKNOWN:
        return replace(run, open_since=later[-1].at)
    return replace(run, cause=cause, telling=later[0], open_since=later[-1].at)


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
    ours = [span for span in alive if span.uid == found.uid or not is_of_a_rival(span, seen)]
    if len(ours) > 1:
        staying = [span for span in ours if _was_staying(span, ours, found.at)]
        return Reason.DUPLICATE_PODS if len(staying) > 1 else Reason.TERMINATING_POD
    if len(alive) > 1 or _rival_then(found, seen):
        return Reason.DUPLICATE_BOT
    return _cause_beyond(found, started, seen)


def _cause_beyond(found: PodFinding, started: datetime, seen: Observed) -> Reason:
    """Return the cause of a conflict that neither the bot's own pods nor another TelegramBot explain."""
    strays = strays_then(found, seen)
    if strays:
        return Reason.STRAY_POD if any(not stray.worn for stray in strays) else Reason.DUPLICATE_BOT
    if crowd_of(found, seen):
        return Reason.INSIDE_POD
    return Reason.EXTERNAL_POLLER if _is_still_there(found, started, seen) else Reason.CAUSE_UNKNOWN


def _is_still_there(found: PodFinding, started: datetime, seen: Observed) -> bool:
    """Whether somebody came back whom a complete search since then has not shown; without a token there is none."""
    search = seen.search if secret_of(seen) else None
    looked = search is not None and search.complete and search.asked + ROUNDING >= found.at
    return looked and found.at - started >= STILL_THERE


def secret_of(seen: Observed) -> SecretKeyRef | None:
    """Return where the bot's token is, or None where that is not given."""
    token = seen.bot.spec.token if seen.bot and seen.bot.spec else None
    return token.secret_key_ref if token else None


def is_of_a_rival(span: PodSpan, seen: Observed) -> bool:
    """Whether a pod is of the Deployment of another TelegramBot of this identity: it carries that identity, too."""
    return any((rival.namespace, rival.target) == (span.namespace, span.deployment) for rival in identity_rivals(seen))


def _rival_then(found: PodFinding, seen: Observed) -> bool:
    """Whether another TelegramBot of this identity was there already."""
    return any(rival.created <= found.at + ROUNDING for rival in identity_rivals(seen))


def strays_then(found: PodFinding, seen: Observed) -> list[Stray]:
    """Return the pods that have the token, are not the bot's, and may have cut off the one that tells of it."""
    own = {span.uid for span in seen.spans} | {pod.uid for pod in seen.pods}
    search = seen.search.strays if seen.search else ()
    spans = {stray.uid: PodSpan(stray.pod, stray.uid, stray.started, ended=stray.ended) for stray in search}
    victim = [span for span in seen.spans if span.uid == found.uid]
    alive = {span.uid for span in suspects(found, (*victim, *spans.values()))}
    return [stray for stray in search if stray.uid in alive and stray.uid not in own]


def is_removable(stray: Stray, found: PodFinding, seen: Observed) -> bool:
    """Whether a stray may be deleted: of the bot's own namespace, made by hand, still there, and without a doubt.

    What a controller made would come again, and the pod of another TelegramBot is that one's. Who may only want another
    key of the Secret, or only sends messages, is left to a person.
    """
    by_hand = not stray.controller and not stray.worn
    surely = stray.sure and not was_quiet(stray, found, seen)
    return stray.namespace == seen.namespace and by_hand and surely and stray.ended is None


def was_quiet(stray: Stray, found: PodFinding, seen: Observed) -> bool:
    """Whether the stray ran beside the pod for longer than two pollers can before one is cut off."""
    began = [span.started for span in seen.spans if span.uid == found.uid]
    return found.at - max([stray.started, *began]) > CUT_OFF_BY


def crowd_of(found: PodFinding, seen: Observed) -> str:
    """Return what shows that several pollers run inside the one pod, "" where nothing does."""
    crowds = seen.search.crowds if seen.search else ()
    return next((crowd.shown for crowd in crowds if crowd.uid == found.uid), "")


def question(seen: Observed, run: Conflicts | None) -> Question | None:
    """Return for whom to look while conflicts go on that nothing known explains; None where there is nobody to find.

    One look counts for all conflicts before it. For those that come later it is made again, once as much time has
    passed since the conflicts began as until the look before.
    """
    if run is None or not run.active or run.open_since is None or seen.bot is None:
        return None
    ref, victim = secret_of(seen), _victim(run, seen)
    if ref is None and victim is None:
        return None
    since, looked = run.open_since, seen.search.asked if seen.search else None
    if looked is not None and run.time - looked >= max(STILL_THERE, looked - since):
        since = run.time
    return Question(seen.namespace, ref, seen.identity, seen.bot.target, since, victim)


def _victim(run: Conflicts, seen: Observed) -> Victim | None:
    """Return the pod of the latest 409, where its log may be read and it is there still."""
    pod = next((pod for pod in seen.pods if pod.name == run.pod and pod.metadata.namespace == seen.namespace), None)
    bot, spec = seen.bot, seen.bot.spec if seen.bot else None
    if pod is None or bot is None or spec is None or not spec.conflict.logs:
        return None
    return Victim(pod.name, pod.uid, container_of(pod, chosen_container(bot, seen.deployment)))


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
    one second, which is all that Kubernetes keeps of a time, nobody is blamed. The victim ran, whatever its node's
    clock says.
    """
    begun = [span.started + ROUNDING / 2 for span in spans if span.uid == found.uid]
    since = max([found.at - ANSWERED_LATE, *begun])
    alive = {
        span.uid: span
        for span in spans
        if span.uid == found.uid
        or (span.started <= found.at + ROUNDING and (span.ended is None or span.ended >= since))
    }
    return list(alive.values())


def timestamp(time: datetime) -> str:
    """Return the time as it stands in a status: RFC 3339 in UTC with microseconds."""
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def seconds_left(status: Mapping[str, Any], clear_after: timedelta, now: datetime) -> float | None:
    """Return the seconds until the status' latest conflict no longer counts, or None if it does not count now."""
    run = _previous(status, clear_after, now)
    return (run.time + clear_after - now).total_seconds() if run and run.active else None
