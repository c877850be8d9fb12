"""The search for whoever else has a bot's token: what is asked, and what one look at all pods has shown.

1. It is asked for while conflicts go on that nothing known explains, and made once for all of them that came before it.
2. It is made again for conflicts that came later, ever more seldom: for those of a quarter of an hour about six times.
3. A pod counts that may be polling, or was when the conflicts began; the bot's own pods do not, whoever made them.
4. Of a pod of another namespace all is told, too: whoever runs it has this very token.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import msgspec

from ..api.models import SecretKeyRef
from .classify import Life, life
from .ownership import deployment_of, owner_of
from .records import ContainerStatus, Pod, Record, parse_pod
from .strays import Use, Wanted, may_use, parse_parts, uses

# A pod that ended so long before the first conflict has nothing to do with it.
LONG_BEFORE = timedelta(seconds=30)
TOLD_AT_MOST = 3


@dataclass(frozen=True, slots=True)
class Victim:
    """The pod that was cut off, and the container whose log tells of it."""

    pod: str
    uid: str
    container: str


@dataclass(frozen=True, slots=True)
class Question:
    """Who else has the token? An answer counts if it was looked for at `since` or later.

    Without a `secret` there is nothing to look for in other pods. `victim` is the pod whose log may show that it fights
    with itself; None where no log is read.
    """

    namespace: str
    secret: SecretKeyRef | None
    identity: str
    deployment: str
    since: datetime
    victim: Victim | None = None


@dataclass(frozen=True, slots=True)
class Stray:
    """A pod that has the token and is not the bot's. `has` says which container, and how it came by it."""

    namespace: str
    pod: str
    uid: str
    resource_version: str
    has: str
    started: datetime
    ended: datetime | None = None
    deleting: bool = False
    worn: str = ""  # the identity on its label: it is the pod of a TelegramBot
    controller: str = ""
    sure: bool = True  # that a container has this key, and not only a Secret of several

    @property
    def named(self) -> str:
        """Namespace and name, and who controls it."""
        return f"{self.namespace}/{self.pod}{f' of {self.controller}' if self.controller else ''}"


@dataclass(frozen=True, slots=True)
class Crowd:
    """A pod of the bot's own that may hold several pollers. `shown` says by what, and what to do about it."""

    pod: str
    uid: str
    shown: str


@dataclass(frozen=True, slots=True)
class Search:
    """What a look at all pods at `asked` has shown. `left_out` is what could not be looked at for lack of a right.

    `problem` is why there is no answer, or only half of one; it is looked again then.
    """

    asked: datetime
    strays: tuple[Stray, ...] = ()
    crowds: tuple[Crowd, ...] = ()
    left_out: str = ""
    problem: str = ""

    @property
    def complete(self) -> bool:
        """Whether everything was looked at that may be."""
        return not self.problem


def merged(before: Search | None, after: Search) -> Search:
    """Return the newer of two answers, in which those pods that are not found any more count as ended since."""
    present = {stray.uid for stray in after.strays}
    missing = [stray for stray in before.strays if stray.uid not in present] if before else []
    gone = [replace(stray, ended=stray.ended or after.asked) for stray in missing if after.complete]
    return replace(after, strays=(*after.strays, *(gone if after.complete else missing)))


class _Statuses(Record, frozen=True):
    ephemeral_container_statuses: tuple[ContainerStatus, ...] = ()


class _Pod(Record, frozen=True):
    spec: msgspec.Raw = msgspec.Raw(b"{}")
    status: _Statuses = _Statuses()


_POD = msgspec.json.Decoder(_Pod)


def look_at(data: bytes, question: Question, wanted: Wanted) -> Stray | Crowd | None:
    """Return what the JSON of one pod has to do with the question: for most pods, nothing.

    A pod of the bot's own namespace is judged only by all that is wanted, and passed over when only the token is.
    """
    if not may_use(data, wanted):
        return None
    pod, whole = parse_pod(data), _POD.decode(data)
    passed = wanted.secret is None and pod.metadata.namespace == question.namespace
    found = uses(parse_parts(bytes(whole.spec)), wanted)
    if passed or not found or life(pod) is Life.HELD:
        return None
    reported = (
        *pod.status.container_statuses,
        *pod.status.init_container_statuses,
        *whole.status.ephemeral_container_statuses,
    )
    told = {each.name: each for each in reported}
    return _crowd(pod, found, told) if _is_own(pod, question) else _stray(pod, found, told, question)


def _is_own(pod: Pod, question: Question) -> bool:
    """Whether it is a pod of the bot: by its label, or, before it has that, by the Deployment that made it."""
    if pod.metadata.labels.bot == question.identity:
        return True
    return pod.metadata.namespace == question.namespace and deployment_of(pod) == question.deployment


def _crowd(pod: Pod, found: Iterable[Use], told: Mapping[str, ContainerStatus]) -> Crowd | None:
    running = tuple(use.container for use in found if told.get(use.container, ContainerStatus()).state.running)
    shown = f"containers {' and '.join(running)} have the token; let only one of them poll"
    return Crowd(pod.name, pod.uid, shown) if len(running) > 1 else None


def _stray(pod: Pod, found: Iterable[Use], told: Mapping[str, ContainerStatus], question: Question) -> Stray | None:
    """Return the pod as a stray, if a container that has the token runs, will run again, or ran lately."""
    lived = [(use, *_lived(pod, told.get(use.container, ContainerStatus()))) for use in found]
    alive = [each for each in lived if each[2] is None or each[2] > question.since - LONG_BEFORE]
    if not alive:
        return None
    use = next((each[0] for each in alive if each[0].sure), alive[0][0])
    ends = [end for _, _, end in alive]
    meta = pod.metadata
    return Stray(
        namespace=meta.namespace,
        pod=pod.name,
        uid=pod.uid,
        resource_version=meta.resource_version,
        has=f"container {use.container} has the token {use.how}",
        started=min(start for _, start, _ in alive),
        ended=None if None in ends else max(end for end in ends if end is not None),
        deleting=pod.deleting,
        worn=meta.labels.bot or "",
        controller=owner_of(pod),
        sure=use.sure,
    )


def _lived(pod: Pod, status: ContainerStatus) -> tuple[datetime, datetime | None]:
    """Return when a container began, as far as that is told, and when it ended, None while it runs or waits to.

    One that was restarted counts as running since its pod began: only its latest end is told.
    """
    born = pod.status.start_time or pod.metadata.creation_timestamp or datetime.min.replace(tzinfo=UTC)
    over, runs = status.state.terminated, status.state.running
    first = None if status.restart_count else (runs or over)
    since = (first.started_at if first else None) or born
    if over is not None:
        return since, over.finished_at or since
    return since, since if life(pod) is Life.DEAD else None
