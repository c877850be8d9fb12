"""Every string that leaves the process: the API group, labels, annotations, condition types and reasons.

Other rooms import these names and spell none of them again. They are public: a reader of a status, an Event or a
label meets them, so they change only by addition.
"""

import hashlib
import re
from enum import StrEnum

GROUP = "singleton.bot"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
KIND = "TelegramBot"
PLURAL = "telegrambots"
SHORT = "tgbot"
CATEGORY = "bots"

FIELD_MANAGER = "telegrambot-operator"
STATUS_MANAGER = "telegrambot-operator-status"
REPORTER = "singleton.bot/telegrambot-operator"

# The Lease of which the holder leads, where the operator runs in several replicas.
ELECTION_LEASE = "telegrambot-operator"

# On a Deployment's own metadata: the TelegramBot that pins it.
LABEL_NAME = f"{GROUP}/name"
# On pods (and in the pod template): the bot's identity, which the scheduler keeps single.
LABEL_BOT = f"{GROUP}/bot"
# The scheduling gate that every pod of a bot with `lock: Gate` is born with.
GATE = f"{GROUP}/turn"
# The ConfigMap of each namespace that the admission policies read: see core/table.py.
LOCK_TABLE = f"{GROUP.replace('.', '-')}-locks"
# The admission policies, each with a binding of the same name; the first two carry the lock and the pin.
POLICY_LOCK, POLICY_PIN = f"lock.{GROUP}", f"pin.{GROUP}"
POLICY_SCALE, POLICY_TOKEN = f"scale.{GROUP}", f"token.{GROUP}"
# On the Lease that is such a bot's turn: where its holder runs, and how long it may take to stop.
ANNOTATION_NODE = f"{GROUP}/node"
ANNOTATION_GRACE = f"{GROUP}/grace-seconds"
# On a Deployment that we own: a digest of the template as last applied.
ANNOTATION_TEMPLATE = f"{GROUP}/template"
# On a Deployment whose pod waits for its turn: the progressDeadlineSeconds that it had.
ANNOTATION_DEADLINE = f"{GROUP}/progress-deadline-seconds"
# On a TelegramBot or a pod template: the container whose log is the bot's, when it is not the first.
ANNOTATION_CONTAINER = f"{GROUP}/container"
# Kubernetes' own, read by a ReplicaSet that shrinks.
ANNOTATION_DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"
# Kubernetes' own, on the ReplicaSets of a Deployment: the Deployment's replicas when its controller last scaled them.
ANNOTATION_DESIRED = "deployment.kubernetes.io/desired-replicas"
TAINT_OUT_OF_SERVICE = "node.kubernetes.io/out-of-service"
# Every kubelet sets it, all with the same value in a cluster of one operating system: one turn in the whole cluster.
TOPOLOGY_KEY = "kubernetes.io/os"


class ConditionType(StrEnum):
    """The condition types of a TelegramBot, in the order in which they are written."""

    READY = "Ready"
    SINGLETON = "Singleton"
    PINNED = "Pinned"
    CONFLICTED = "Conflicted"
    RECONCILING = "Reconciling"
    STALLED = "Stalled"


class Reason(StrEnum):
    """Why a condition is what it is. docs/operations.md has a line for each: what it means and what to do."""

    # Ready
    RUNNING = "Running"
    NOT_POLLING = "NotPolling"
    WEBHOOK_MISSING = "WebhookMissing"
    WEBHOOK_ELSEWHERE = "WebhookElsewhere"
    WEBHOOK_FAILING = "WebhookFailing"
    SUSPENDED = "Suspended"
    STARTING = "Starting"
    WAITING_FOR_TURN = "WaitingForTurn"
    POD_NOT_READY = "PodNotReady"
    CRASH_LOOP = "CrashLoop"
    CONFLICT = "Conflict"
    DEPLOYMENT_NOT_FOUND = "DeploymentNotFound"
    DEPLOYMENT_IN_USE = "DeploymentInUse"
    DEPLOYMENT_CONTROLLED = "DeploymentControlled"
    DEPLOYMENT_FAILED = "DeploymentFailed"
    TOKEN_NOT_FOUND = "TokenNotFound"  # noqa: S105  a condition reason, not a secret
    TOKEN_INVALID = "TokenInvalid"  # noqa: S105  a condition reason, not a secret
    INVALID_SPEC = "InvalidSpec"
    DELETING = "Deleting"
    FORBIDDEN = "Forbidden"
    REFUSED = "Refused"
    # Singleton
    ONE_POD = "OnePod"
    NO_POD = "NoPod"
    DUPLICATE_PODS = "DuplicatePods"
    TERMINATING_POD_STILL_RUNNING = "TerminatingPodStillRunning"
    POD_UNREACHABLE = "PodUnreachable"
    # Pinned
    PINNED = "Pinned"
    LOCK_MISSING = "LockMissing"
    NOT_PINNED = "NotPinned"
    AUTOSCALER_FOUND = "AutoscalerFound"
    PATCH_DENIED = "PatchDenied"
    FIELD_MANAGER_CONFLICT = "FieldManagerConflict"
    # Conflicted
    NO_CONFLICT = "NoConflict"
    TERMINATING_POD = "TerminatingPod"
    DUPLICATE_BOT = "DuplicateBot"
    STRAY_POD = "StrayPod"
    INSIDE_POD = "InsidePod"
    WEBHOOK_ACTIVE = "WebhookActive"
    WEBHOOK_SET = "WebhookSet"
    EXTERNAL_POLLER = "ExternalPoller"
    CAUSE_UNKNOWN = "CauseUnknown"
    # Reconciling, Stalled
    SETTLED = "Settled"
    ROLLING_OUT = "RollingOut"
    REPAIRING = "Repairing"
    NOT_STALLED = "NotStalled"


# What a conflict may be caused by.
CAUSES = (
    *(Reason.DUPLICATE_PODS, Reason.TERMINATING_POD, Reason.DUPLICATE_BOT, Reason.STRAY_POD, Reason.INSIDE_POD),
    *(Reason.WEBHOOK_ACTIVE, Reason.WEBHOOK_SET, Reason.EXTERNAL_POLLER, Reason.CAUSE_UNKNOWN),
)


class EventReason(StrEnum):
    """What an Event tells that is not the reason of a condition."""

    WEBHOOK_DELETED = "WebhookDeleted"
    WEBHOOK_SET = "WebhookRepaired"
    NOT_POLLING_RESTARTED = "NotPollingRestarted"
    STRAY_DELETED = "StrayDeleted"


_LABEL_MAX = 63
_LABEL_SAFE = re.compile(r"[^A-Za-z0-9_.-]")


def label_value(text: str) -> str:
    """Return `text` as a valid label value, unchanged where it already is one.

    Longer names are cut and end in a digest, so that two names never meet in one value.
    Limit of 63 characters: https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/
    """
    safe = _LABEL_SAFE.sub("_", text)
    if safe == text and len(text) <= _LABEL_MAX:
        return text
    digest = hashlib.sha256(text.encode()).hexdigest()[:10]
    return f"{safe[: _LABEL_MAX - len(digest) - 1].rstrip('-_.')}-{digest}"


def lease(identity: str) -> str:
    """Return the name of the Lease that is the turn of an identity."""
    return f"telegrambot-{identity.lower()}"


def fallback_identity(namespace: str, name: str) -> str:
    """Return the identity of a bot without a readable token. A namespace holds no dot, so it is unique."""
    return label_value(f"{namespace}.{name}")
