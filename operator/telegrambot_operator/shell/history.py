"""Who ran lately: pods that are gone are remembered for a while, since a 409 is read after the fact."""

from collections import deque
from datetime import UTC, datetime, timedelta

from ..core.classify import may_poll
from ..core.lifetimes import span
from ..core.observed import PodSpan
from ..core.records import Pod

KEPT = timedelta(minutes=15)
KEPT_PER_BOT = 20


class History:
    """Spans of pods that are gone, by identity."""

    def __init__(self) -> None:
        self._gone: dict[str, deque[PodSpan]] = {}

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
