"""What a pod can do now, and whether one that hangs is proven dead. Whatever is unknown counts as "may be polling".

A process can only run while its pod is bound to a node; it has certainly ended when the kubelet has put the pod into a
terminal phase (https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/). Containers that are reported as
ended in any other phase prove less: a kubelet that is cut off has not heard of the deletion and may start them again,
so that counts only while its node is Ready. The API object says nothing about a process once it has been
force-deleted, which is why nothing is force-deleted here without a verdict of `Death` that proves it.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import StrEnum

from .records import ContainerStatus, Node, Pod

_TERMINAL = frozenset({"Succeeded", "Failed"})
# A node counts as Ready for up to 50 s after its kubelet was last heard of (--node-monitor-grace-period), and its first
# heartbeat after that comes before what it has to say of its pods.
HEARD_OF = timedelta(seconds=60)


class Life(StrEnum):
    """What the pod's process can do."""

    HELD = "Held"  # bound to no node: nothing runs
    ALIVE = "Alive"  # may be polling
    LEAVING = "Leaving"  # being deleted, may be polling still
    DEAD = "Dead"  # every container has ended and will not start again


def life(pod: Pod) -> Life:
    """Return what the pod's process can do."""
    if not pod.spec.node_name:
        return Life.HELD
    if pod.status.phase in _TERMINAL and not _any_running(pod):
        return Life.DEAD
    return Life.LEAVING if pod.deleting else Life.ALIVE


def may_poll(pod: Pod) -> bool:
    """Return whether a process of this pod may be fetching updates."""
    return life(pod) in {Life.ALIVE, Life.LEAVING}


def _statuses(pod: Pod) -> tuple[ContainerStatus, ...]:
    return pod.status.init_container_statuses + pod.status.container_statuses


def _any_running(pod: Pod) -> bool:
    return any(status.state.running for status in _statuses(pod))


def _all_terminated(pod: Pod) -> bool:
    """Whether the kubelet has reported every container of the spec, and each as ended."""
    reported = {status.name for status in pod.status.container_statuses if status.state.terminated}
    return not _any_running(pod) and bool(reported) and all(each.name in reported for each in pod.spec.containers)


class Death(StrEnum):
    """Whether a pod that is being deleted still has a process, and how that is known."""

    NEVER_BOUND = "NeverBound"
    CONTAINERS_TERMINATED = "ContainersTerminated"
    ENDING = "Ending"  # the containers were last seen ended, and the node has not had the time to say otherwise
    NODE_GONE = "NodeGone"
    OUT_OF_SERVICE = "OutOfService"
    NODE_LOST = "NodeLost"  # last seen running, the node is silent: unproven
    ALIVE = "Alive"  # the node is well and says that it runs
    SILENT = "Silent"  # as before, and nobody has polled Telegram for a whole window: see silence.py
    UNKNOWN = "Unknown"  # the node could not be read

    @property
    def proven(self) -> bool:
        """Whether no process of the pod can be left."""
        return self in _PROVEN


_PROVEN = {
    Death.NEVER_BOUND,
    Death.CONTAINERS_TERMINATED,
    Death.NODE_GONE,
    Death.OUT_OF_SERVICE,
    Death.SILENT,
}
_PROOFS = {
    Death.NEVER_BOUND: "it was never bound to a node",
    Death.CONTAINERS_TERMINATED: "its node reports every container as ended",
    Death.ENDING: "its containers were last reported as ended; its node has to be Ready for a minute to prove that",
    Death.NODE_GONE: "its node no longer exists",
    Death.OUT_OF_SERVICE: "its node is tainted out-of-service",
    Death.NODE_LOST: "its node does not answer, so its process may still run",
    Death.SILENT: "its node does not answer, and by Telegram's silence nobody polls with the bot's token",
    Death.ALIVE: "its node is Ready and reports running containers",
    Death.UNKNOWN: "its node could not be read",
}


def because(death: Death) -> str:
    """Return the verdict as the rest of a sentence."""
    return _PROOFS[death]


def death(pod: Pod, nodes: Mapping[str, Node | None], now: datetime) -> Death:
    """Return the verdict on a pod that is being deleted; `nodes` maps a name to a live read, None where it is gone."""
    match life(pod):
        case Life.HELD:
            return Death.NEVER_BOUND
        case Life.DEAD:
            return Death.CONTAINERS_TERMINATED
    return _death_on_node(pod, nodes, now)


def _death_on_node(pod: Pod, nodes: Mapping[str, Node | None], now: datetime) -> Death:
    if pod.spec.node_name not in nodes:
        return Death.UNKNOWN
    node = nodes[pod.spec.node_name]
    if node is None:
        return Death.NODE_GONE
    if node.out_of_service:
        return Death.OUT_OF_SERVICE
    if not node.ready:
        return Death.NODE_LOST
    if not _all_terminated(pod):
        return Death.ALIVE
    heard_of = node.ready_since is not None and node.ready_since <= now - HEARD_OF
    return Death.CONTAINERS_TERMINATED if heard_of and overdue(pod, HEARD_OF.seconds, now) else Death.ENDING


def overdue_at(pod: Pod, after_seconds: int) -> datetime | None:
    """Return when a pod in Terminating counts as stuck; its deletionTimestamp already includes the grace period."""
    if pod.metadata.deletion_timestamp is None:
        return None
    return pod.metadata.deletion_timestamp + timedelta(seconds=after_seconds)


def overdue(pod: Pod, after_seconds: int, now: datetime) -> bool:
    """Return whether the pod is stuck in Terminating."""
    due = overdue_at(pod, after_seconds)
    return due is not None and due <= now
