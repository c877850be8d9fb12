"""What a pod's status says about its past: when it may have been polling, and which 409s its containers died of."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import lru_cache

from .classify import may_poll
from .evidence import ConflictPattern, Finding, read_conflicts
from .observed import PodFinding, PodSpan
from .ownership import deployment_of
from .records import ContainerStatus, Pod, Terminated


def span(pod: Pod, ended: datetime | None = None) -> PodSpan | None:
    """Return when the pod's process may have been polling, or None if it never ran; `ended` if the pod is gone."""
    starts = [at for status in pod.status.container_statuses for at in _starts(status)]
    first = min(starts, default=pod.status.start_time if may_poll(pod) else None)
    if first is None:
        return None
    over = None if may_poll(pod) else max(_ends(pod), default=None)
    return PodSpan(
        pod=pod.name,
        uid=pod.uid,
        started=first,
        deleted=deletion_asked(pod),
        ended=over or ended,
        namespace=pod.metadata.namespace,
        deployment=deployment_of(pod),
    )


def deletion_asked(pod: Pod) -> datetime | None:
    """Return when the deletion was asked for: the deletionTimestamp less the grace period that it includes."""
    at = pod.metadata.deletion_timestamp
    return at - timedelta(seconds=pod.metadata.deletion_grace_period_seconds or 0) if at else None


def _starts(status: ContainerStatus) -> list[datetime]:
    known = [status.state.running, status.state.terminated, status.last_state.terminated]
    return [each.started_at for each in known if each is not None and each.started_at is not None]


def _ends(pod: Pod) -> list[datetime]:
    ended = [status.state.terminated for status in pod.status.container_statuses]
    return [each.finished_at for each in ended if each is not None and each.finished_at is not None]


def terminations(pod: Pod) -> list[tuple[ContainerStatus, Terminated]]:
    """Return the ends of containers that the kubelet still tells of, those that left a message."""
    found = [
        (status, ended)
        for status in pod.status.container_statuses
        for ended in (status.last_state.terminated, status.state.terminated)
        if ended is not None
    ]
    return [(status, ended) for status, ended in found if ended.message]


def death_notes(pod: Pod, patterns: Sequence[ConflictPattern] = ()) -> list[PodFinding]:
    """Return the 409s in the pod's termination messages. Their time is the container's end, to the second."""
    return [
        PodFinding(pod.name, pod.uid, finding, ended.finished_at, exact=False)
        for _, ended in terminations(pod)
        if ended.finished_at is not None
        for finding in told_at_death(ended.message, tuple(patterns))[-1:]
    ]


@lru_cache(maxsize=2048)
def told_at_death(message: str, patterns: tuple[ConflictPattern, ...]) -> tuple[Finding, ...]:
    """Return the 409s in a termination message. Remembered: a pod shows its last one in every pass."""
    return read_conflicts(message, extra=patterns)
