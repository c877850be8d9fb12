"""Which log of a pod is read: that of one container, and how much of it a pod's status tells already."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from .. import names
from .evidence import ConflictPattern
from .lifetimes import told_at_death
from .observed import Bot
from .records import ContainerStatus, Deployment, Pod, template_of

# How long a bot counts as just started: libraries take some seconds until they poll, and images to unpack.
YOUNG = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class Tail:
    """A container whose log is read: one run of it, `restarts` tells which.

    `previous_unread` says that only the log of the run before can tell why that ended.
    """

    namespace: str
    pod: str
    uid: str
    node: str
    container: str
    restarts: int
    running: bool
    terminated: bool
    leaving: bool
    started: datetime | None
    previous_unread: bool
    problem: str = ""

    @classmethod
    def of(cls, pod: Pod, chosen: str | None, patterns: Sequence[ConflictPattern] = ()) -> "Tail":
        """Return the tail of the pod's chosen container, else of its first one."""
        name = container_of(pod, chosen)
        statuses = pod.status.container_statuses + pod.status.init_container_statuses
        status = next((each for each in statuses if each.name == name), ContainerStatus())
        running, last = status.state.running, status.last_state.terminated
        return cls(
            namespace=pod.metadata.namespace,
            pod=pod.name,
            uid=pod.uid,
            node=pod.spec.node_name,
            container=name,
            restarts=status.restart_count,
            running=running is not None,
            terminated=status.state.terminated is not None,
            leaving=pod.deleting,
            started=running.started_at if running else None,
            # Some libraries exit 0 on a 409, which leaves no message, and a message may be cut before the 409.
            previous_unread=last is not None and not told_at_death(last.message, tuple(patterns)),
            problem=_problem(pod, chosen, name),
        )

    @property
    def readable(self) -> bool:
        """Whether there is a log: a container that waits has none yet, or that of its last run."""
        return self.running or self.terminated

    @property
    def told(self) -> tuple[object, ...]:
        """What makes it worth reading at once when it changes."""
        return self.container, self.restarts, self.running, self.terminated, self.leaving

    def is_young(self, now: datetime) -> bool:
        """Return whether it may just have begun to poll."""
        return self.started is None or now - self.started < YOUNG


def chosen_container(bot: Bot | None, deployment: Deployment | None) -> str | None:
    """Return the container whose log is read, as the TelegramBot or else the pod template names it; None for none."""
    named = bot.container if bot else None
    return named or (template_of(deployment).metadata.annotations.container if deployment else None)


def container_of(pod: Pod, chosen: str | None) -> str:
    """Return the pod's container of that name, else its first one; "" where it lists none."""
    listed = [each.name for each in pod.spec.containers]
    return chosen if chosen and chosen in _all(pod) else (listed[0] if listed else "")


def _all(pod: Pod) -> set[str]:
    """The names of all containers. A sidecar is an init container that goes on, known from the status."""
    return {each.name for each in pod.spec.containers} | {each.name for each in pod.status.init_container_statuses}


def _problem(pod: Pod, chosen: str | None, name: str) -> str:
    if not chosen or chosen in _all(pod) or not pod.status.container_statuses:
        return ""
    return (
        f"the annotation {names.ANNOTATION_CONTAINER} names {chosen}, which pod {pod.name} does not have: correct it; "
        f"until then the log of {name} is read"
    )
