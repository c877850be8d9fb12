"""What to do, as data. Every action names its object by uid, so that it can never hit a successor of the same name."""

from dataclasses import dataclass, field
from typing import Any

from ..api.models import SecretKeyRef
from .records import Pod


@dataclass(frozen=True, slots=True)
class LabelPod:
    """Put the bot's identity on a pod that does not carry it, so that the lock counts it."""

    namespace: str
    pod: str
    uid: str
    identity: str


@dataclass(frozen=True, slots=True)
class KeepPod:
    """Mark the pod that a shrinking ReplicaSet should keep: it deletes those of lower cost first."""

    namespace: str
    pod: str
    uid: str
    cost: int


@dataclass(frozen=True, slots=True)
class PatchDeployment:
    """Merge-patch a Deployment. `why` is an Event's sentence; `quiet`: a condition tells of it already."""

    namespace: str
    deployment: str
    uid: str
    body: dict[str, Any]
    reason: str
    why: str
    quiet: bool = False


@dataclass(frozen=True, slots=True)
class DisownPin:
    """Be noted no longer as the manager of a Deployment's replicas and strategy, which the admission policies hold."""

    namespace: str
    deployment: str
    uid: str


@dataclass(frozen=True, slots=True)
class ApplyDeployment:
    """Create the Deployment that we own, or bring its template up to date, by server-side apply."""

    namespace: str
    deployment: str
    body: dict[str, Any]
    reason: str
    why: str


@dataclass(frozen=True, slots=True)
class DeletePod:
    """Delete a pod, if nothing about it has changed since it was read. With `force` its object goes at once."""

    namespace: str
    pod: str
    uid: str
    resource_version: str
    force: bool
    reason: str
    why: str
    proven: bool = False  # that no process of it is left
    proof: str = ""  # what proves that, or "none", where it is deleted by force
    by_silence: bool = False  # ... as long as Telegram is silent
    deaf: bool = False  # it serves, and fetches no updates

    @classmethod
    def of(cls, pod: Pod, reason: str, why: str, *, force: bool = False) -> "DeletePod":
        """Return the delete of a pod as it was seen."""
        meta = pod.metadata
        return cls(meta.namespace, meta.name, meta.uid, meta.resource_version, force, reason, why)


@dataclass(frozen=True, slots=True)
class EmptyReplicaSet:
    """Scale a ReplicaSet to zero."""

    namespace: str
    replica_set: str
    uid: str
    reason: str
    why: str


@dataclass(frozen=True, slots=True)
class ClaimTurn:
    """Make a pod the holder of its bot's turn, if the Lease is still at `version` ("" where there is none)."""

    namespace: str
    pod: str
    uid: str
    identity: str
    version: str
    before: str  # uid of the holder until now
    node: str
    grace: int


@dataclass(frozen=True, slots=True)
class OpenPod:
    """Remove the gate of a held pod. With `claim`, only after a live look at all pods, and as the turn's new holder."""

    namespace: str
    pod: str
    uid: str
    gates: tuple[str, ...]
    claim: ClaimTurn | None
    why: str
    by_silence: bool = False  # its turn has come, as long as Telegram is silent


@dataclass(frozen=True, slots=True)
class WriteTable:
    """Change a namespace's lock table by a merge patch of its data; None takes a key away."""

    namespace: str
    data: dict[str, str | None]


@dataclass(frozen=True, slots=True)
class FixWebhook:
    """Set the webhook to `url`, or delete it where that is None, if it is still not so. No update is dropped."""

    namespace: str
    identity: str
    secret: SecretKeyRef
    generation: int
    url: str | None = field(repr=False)
    reason: str
    why: str


Action = (
    WriteTable
    | LabelPod
    | KeepPod
    | PatchDeployment
    | DisownPin
    | ApplyDeployment
    | EmptyReplicaSet
    | DeletePod
    | ClaimTurn
    | OpenPod
    | FixWebhook
)


_REQUESTS: dict[type[Action], tuple[str, str]] = {
    WriteTable: ("patch", "configmaps"),
    LabelPod: ("patch", "pods"),
    KeepPod: ("patch", "pods"),
    OpenPod: ("patch", "pods"),
    ClaimTurn: ("patch", "leases.coordination.k8s.io"),
    PatchDeployment: ("patch", "deployments.apps"),
    DisownPin: ("patch", "deployments.apps"),
    ApplyDeployment: ("patch", "deployments.apps"),
    EmptyReplicaSet: ("patch", "replicasets.apps"),
    DeletePod: ("delete", "pods"),
    FixWebhook: ("list", "pods"),  # the only request of it to the API server: a live look comes first
}


def describe(action: Action) -> tuple[str, str]:
    """Return verb and resource of the request that an action makes, as an admin writes them into a Role."""
    return _REQUESTS[type(action)]
