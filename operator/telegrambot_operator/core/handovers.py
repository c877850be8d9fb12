"""How long a bot is without a process when a pod takes over from another, as the watch of pods shows it.

A container that starts again in its pod is no handover, nor is a bot that was without a process for longer than `KEPT`:
somebody had suspended it, or it could not start.
"""

from .classify import may_poll
from .records import Pod

KEPT = 900.0


def _runs(pod: Pod | None) -> bool:
    return pod is not None and may_poll(pod) and any(each.state.running for each in pod.status.container_statuses)


class Handovers:
    """When the last process of each identity was seen to end, and in which pod. Times are of one steady clock."""

    def __init__(self) -> None:
        self._ended: dict[str, tuple[str, float]] = {}

    def take(self, before: Pod | None, after: Pod | None, now: float) -> float | None:
        """Take in a change of a pod, and return the gap in seconds where another pod has just taken over."""
        if before is not None and after is not None and before.uid != after.uid:
            self._change(before, None, now)
            before = None
        return self._change(before, after, now)

    def _change(self, before: Pod | None, after: Pod | None, now: float) -> float | None:
        if _runs(before) and not _runs(after):
            self._end(before, now)
        if after is None or _runs(before) or not _runs(after):
            return None
        uid, ended = self._ended.pop(after.metadata.labels.bot or "", (after.uid, now))
        return now - ended if uid != after.uid and now - ended <= KEPT else None

    def _end(self, pod: Pod | None, now: float) -> None:
        identity = pod.metadata.labels.bot if pod is not None else None
        if pod is not None and identity:
            self._ended.pop(identity, None)
            self._ended[identity] = pod.uid, now
        while self._ended and (first := next(iter(self._ended))) and self._ended[first][1] < now - KEPT:
            del self._ended[first]
