"""Letting go of an adopted Deployment: its mark and its lock come off, its pin stays.

Where its bot has become another's (a younger TelegramBot of the same bot, or this one on another Deployment), it is
scaled to zero first: without the lock, nothing would keep the two apart.

Taking the lock out of the template rolls out pods that no lock holds back. So that is done only under Recreate, which
waits for the pods of other ReplicaSets, and when no pod of the Deployment is on its way out: the ReplicaSet of the
original template may be the one whose pod is, and for that one Recreate does not wait.
"""

from collections.abc import Iterator, Sequence
from enum import StrEnum

from .. import names
from . import desired
from .actions import Action, PatchDeployment
from .observed import Observed
from .ownership import belongs
from .records import Deployment, Pod, template_of
from .turn import Claim, Turn, may_be_opened
from .turns import held_of, open_pod


def release(seen: Observed) -> tuple[Action, ...]:
    """Return what is to be done about Deployments that still carry the mark and are not meant any more.

    An owned one is the garbage collector's. A spec that cannot be read does not say which Deployment is meant, so
    nothing is let go of then; nor while the TelegramBot is only about to be deleted.
    """
    if seen.bot is not None and (seen.bot.spec is None or seen.bot.deleting):
        return ()
    return tuple(action for deployment in seen.leftovers for action in _release(deployment, seen))


def _release(deployment: Deployment, seen: Observed) -> Iterator[Action]:
    if owned(deployment) or deployment.metadata.deletion_timestamp:
        return
    pods, locked = seen.pods, desired.locked(deployment)
    if is_anothers(deployment, seen) and deployment.spec.replicas:
        yield from _stop(deployment)
        return
    if waits_for_an_end(deployment, seen):
        return
    held = held_of(deployment, pods)
    if not locked and seen.entry_of(deployment.name) is not None:
        return  # the lock table comes first (`entries.leave`): what is born after that waits for nobody
    if not locked and held:
        why = f"no TelegramBot refers to Deployment {deployment.name} any more"
        yield open_pod(held[0], _claim(seen), f"Pod {held[0].name} is opened: {why}.")
        return
    match stage(deployment, pods, locked=locked):
        case Stage.RECREATE_FIRST:
            why = f"Deployment {deployment.name}: strategy -> Recreate, so that it can be released safely."
            yield patch(deployment, {"spec": desired.PIN}, why)
        case Stage.MAY_GO:
            why = f"No TelegramBot refers to Deployment {deployment.name} any more: its lock is removed, its pin stays."
            yield patch(deployment, desired.release_patch(deployment), why)


def waits_for_an_end(deployment: Deployment, seen: Observed) -> bool:
    """Return whether a pod of it is held since another may be polling, or has vanished and gets the time to end.

    Where only a person could tell, the pod is let go: nobody would be told any more why it waits.
    """
    held, claim = held_of(deployment, seen.pods), _claim(seen)
    if not held or claim is None:
        return False
    verdict = may_be_opened(held[0], seen.pods, claim, seen.nodes, seen.ended)
    return verdict.turn in {Turn.NOT_YET, Turn.VANISHED}


def _claim(seen: Observed) -> Claim | None:
    """Whose turn it is among the pods of a Deployment without a TelegramBot; with one it is about that one's."""
    return seen.claim if seen.bot is None else None


def is_anothers(deployment: Deployment, seen: Observed) -> bool:
    """Return whether the Deployment's bot runs, or can run, as another one now."""
    entry = seen.entry_of(deployment.name)
    return (template_of(deployment).metadata.labels.bot or (entry.identity if entry else "")) in seen.heirs


def _stop(deployment: Deployment) -> Iterator[Action]:
    if deployment.spec.strategy.type != "Recreate":
        yield patch(deployment, {"spec": desired.PIN}, f"Deployment {deployment.name}: strategy -> Recreate.")
    elif desired.may_be_scaled(deployment):
        why = f"Deployment {deployment.name} is scaled to 0: its bot is another's now."
        yield patch(deployment, {"spec": {"replicas": 0}}, why)


def owned(deployment: Deployment) -> bool:
    """Return whether a TelegramBot owns the Deployment, so that it is deleted with it."""
    return any(owner.kind == names.KIND for owner in deployment.metadata.owner_references)


class Stage(StrEnum):
    """How far a release is."""

    RECREATE_FIRST = "RecreateFirst"
    NOT_CALM = "NotCalm"
    MAY_GO = "MayGo"


def stage(deployment: Deployment, pods: Sequence[Pod], *, locked: bool) -> Stage:
    """Return whether the lock may come off now; without a lock there is nobody who could wait behind it."""
    if not locked:
        return Stage.MAY_GO
    if deployment.spec.strategy.type != "Recreate":
        return Stage.RECREATE_FIRST
    return Stage.MAY_GO if calm(deployment, pods) else Stage.NOT_CALM


def patch(deployment: Deployment, body: desired.Json, why: str) -> PatchDeployment:
    """Return a step of a release, as an action."""
    return PatchDeployment(
        namespace=deployment.metadata.namespace,
        deployment=deployment.name,
        uid=deployment.metadata.uid,
        body=body,
        reason="Released",
        why=why,
    )


def calm(deployment: Deployment, pods: Sequence[Pod]) -> bool:
    """Return whether no pod of the Deployment comes or goes, so that nobody waits behind the lock."""
    going = any(pod.deleting for pod in pods if belongs(pod, deployment))
    return deployment.rolled_out and not going and not deployment.status.terminating_replicas
