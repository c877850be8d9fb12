"""Who ran lately: pods that are gone are remembered for a while, since a 409 is read after the fact."""

import time
from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from ..core.classify import Life, life, may_poll
from ..core.lifetimes import span
from ..core.observed import PodSpan
from ..core.records import Pod
from ..core.turn import ORPHANED_SECONDS, Vanished

KEPT = timedelta(minutes=15)
KEPT_PER_BOT = 20
KEPT_ENDS = 10_000
# A kubelet that was cut off may hear of its pods a minute after it is back, and is heard of before that: it doubles the
# pause before it watches again up to 30 s, and spreads it by as much (client-go, tools/cache/reflector.go).
BACK_SECONDS = 60.0


class History:
    """Spans of pods that are gone, by identity; and which pods were seen to end."""

    def __init__(self) -> None:
        self._gone: dict[str, deque[PodSpan]] = {}
        self._ended: dict[str, None] = {}
        self._missed: dict[str, _Missed] = {}

    def pod_is_gone(self, pod: Pod) -> None:
        """Remember a pod whose object has vanished. If it may have been polling until now, that is its end."""
        identity = pod.metadata.labels.bot
        past = span(pod, ended=datetime.now(UTC)) if may_poll(pod) else span(pod)
        if identity is not None and past is not None:
            self._gone.setdefault(identity, deque(maxlen=KEPT_PER_BOT)).append(past)

    def of(self, identity: str, now: datetime) -> list[PodSpan]:
        """Return the spans of an identity that ended not too long ago."""
        kept = [past for past in self._gone.get(identity, ()) if past.ended is None or past.ended > now - KEPT]
        if not kept:
            self._gone.pop(identity, None)
        return kept

    def saw_the_last_of(self, pod: Pod) -> None:
        """Take in a pod as the API server removed it: that shows whether a process can be left."""
        if life(pod) in {Life.HELD, Life.DEAD}:
            self.prove(pod.uid)

    def is_there(self, pod: Pod) -> None:
        """Take in that a pod exists after all: a watch also says that a pod is gone when it loses the label."""
        self._ended.pop(pod.uid, None)
        self._missed.pop(pod.uid, None)

    def prove(self, uid: str) -> None:
        """Remember that no process of the pod is left."""
        self._ended[uid] = None
        while len(self._ended) > KEPT_ENDS:
            del self._ended[next(iter(self._ended))]

    def ended(self, uid: str) -> bool:
        """Return whether no process of a pod is left, so that nothing of its node matters."""
        return uid in self._ended

    def missed(self, uid: str, heartbeat: str, ready_since: str) -> Vanished | None:
        """Return what is known of a pod that a live read did not find, or None where its process was seen to end.

        `heartbeat` is when its kubelet says that it was last there, `ready_since` since when its node is Ready; both ""
        where that is not so or cannot be read. It knows for certain when it has been heard of, and again some while
        later, and was not cut off shortly before. Only differences count, each of one clock: the kubelet's, or our own
        that runs steadily.
        """
        if self.ended(uid):
            return None
        while len(self._missed) > KEPT_ENDS:
            del self._missed[next(iter(self._missed))]
        return self._missed.setdefault(uid, _Missed(heartbeat, missed=time.monotonic())).hear(heartbeat, ready_since)


@dataclass(slots=True)
class _Missed:
    heartbeat: str
    heard: float | None = None
    told: float | None = None
    missed: float = 0.0

    def hear(self, heartbeat: str, ready_since: str) -> Vanished:
        now = time.monotonic()
        if heartbeat and not _hears_too(heartbeat, ready_since):
            self.heard = None
        elif heartbeat and self.heartbeat and heartbeat != self.heartbeat:
            if self.heard is None:
                self.heard = now
            elif self.told is None and now - self.heard >= ORPHANED_SECONDS:
                self.told = now
        self.heartbeat = heartbeat or self.heartbeat
        return Vanished(None if self.told is None else now - self.told, missed_for=now - self.missed)


def _hears_too(heartbeat: str, ready_since: str) -> bool:
    """Whether a kubelet that was heard of then hears as well."""
    try:
        ready_for = datetime.fromisoformat(heartbeat) - datetime.fromisoformat(ready_since)
    except (ValueError, TypeError):  # not given, no time, or one without a zone
        return False
    return ready_for.total_seconds() >= BACK_SECONDS
