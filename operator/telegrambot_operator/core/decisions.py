"""What a log line says of an action that was carried out: what was done, why, and to what."""

from dataclasses import dataclass

from .actions import (
    Action,
    ApplyDeployment,
    ClaimTurn,
    DeletePod,
    DisownPin,
    EmptyReplicaSet,
    FixWebhook,
    KeepPod,
    LabelPod,
    OpenPod,
    PatchDeployment,
    WriteTable,
)

# All that a decision is called.
DECISIONS = (
    *("WriteLockTable", "PatchDeployment", "DisownPin", "ApplyDeployment", "EmptyReplicaSet", "LabelPod", "KeepPod"),
    *("DeletePod", "ForceDeletePod", "ClaimTurn", "OpenPod", "SetWebhook", "DeleteWebhook"),
)


@dataclass(frozen=True, slots=True)
class Decision:
    """`what` and `reason` are words to search for, `message` is a sentence; the rest is "" where there is none."""

    what: str
    reason: str
    message: str
    pod: str = ""
    deployment: str = ""
    proof: str = ""  # of a forced delete


def decision(action: Action) -> Decision:
    """Return what is to be told of an action that has changed something."""
    match action:
        case WriteTable() | PatchDeployment() | DisownPin() | ApplyDeployment() | EmptyReplicaSet():
            return _of_deployment(action)
        case FixWebhook():
            return Decision("SetWebhook" if action.url else "DeleteWebhook", action.reason, action.why)
        case LabelPod() | KeepPod() | DeletePod() | ClaimTurn() | OpenPod():
            return _of_pod(action)


def _of_deployment(
    action: WriteTable | PatchDeployment | DisownPin | ApplyDeployment | EmptyReplicaSet,
) -> Decision:
    match action:
        case WriteTable():
            return Decision(
                "WriteLockTable", "LockTable", f"Lock table: {', '.join(map(_entry, action.data.items()))}."
            )
        case PatchDeployment():
            return Decision("PatchDeployment", action.reason, action.why, deployment=action.deployment)
        case DisownPin():
            why = "The admission policies hold replicas and strategy: nobody who applies them meets a conflict with us."
            return Decision("DisownPin", "HeldAtAdmission", why, deployment=action.deployment)
        case ApplyDeployment():
            return Decision("ApplyDeployment", action.reason, action.why, deployment=action.deployment)
        case EmptyReplicaSet():
            return Decision("EmptyReplicaSet", action.reason, action.why)


def _entry(item: tuple[str, str | None]) -> str:
    return f"{item[0]} is {'taken out' if item[1] is None else 'entered'}"


def _of_pod(action: LabelPod | KeepPod | DeletePod | ClaimTurn | OpenPod) -> Decision:
    match action:
        case LabelPod():
            why = f"Pod {action.pod} gets the label of bot {action.identity}, so that the lock counts it."
            return Decision("LabelPod", "NotCounted", why, pod=action.pod)
        case KeepPod():
            why = f"Pod {action.pod} is marked as the one to keep."
            return Decision("KeepPod", "BestToKeep", why, pod=action.pod)
        case DeletePod():
            what = "ForceDeletePod" if action.force else "DeletePod"
            return Decision(what, action.reason, action.why, pod=action.pod, proof=action.proof)
        case ClaimTurn():
            why = f"Pod {action.pod} is noted as the one whose turn it is for bot {action.identity}."
            return Decision("ClaimTurn", "TurnTaken", why, pod=action.pod)
        case OpenPod():
            return Decision("OpenPod", "TurnCame", action.why, pod=action.pod)
