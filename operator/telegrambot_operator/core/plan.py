"""What to do about one bot, decided from one `Observed`.

The order is the order of safety:
1. A bot that is gone, or points elsewhere now, lets go of the Deployments that it held.
2. A bot that may not act (unreadable, or second to another) touches nothing.
3. Pods that belong to the bot get its label before the template gets the lock: the lock then counts them, and the pod
   that replaces them waits for the last of them.
4. The Deployment is pinned and locked.
5. Only what is still too many once the Deployment's controllers have settled is deleted by hand, since setting
   replicas to 1 and deleting at once could kill both.
6. Pods that hang in Terminating are force-deleted where no process can be left.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from .. import names
from ..api.models import Duplicates, StuckPolicy, TelegramBotSpec
from ..names import Reason
from . import desired
from .actions import Action, ApplyDeployment, DeletePod, KeepPod, LabelPod, PatchDeployment
from .classify import Death, Life, because, death, life, overdue, overdue_at
from .observed import Bot, Observed, Rival
from .records import Deployment, Pod

# A Deployment that is not there yet is looked for again after so many seconds, even if no event tells of it.
LOOK_AGAIN_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Hold:
    """Why nothing (more) is done. `person` means that a person must act; else time or another's event heals it."""

    reason: Reason
    message: str
    person: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do now, why nothing else, and when to look again at the latest."""

    actions: tuple[Action, ...] = ()
    hold: Hold | None = None
    again_after: float | None = None
    stuck: tuple[tuple[Pod, Death], ...] = ()
    tolerated: tuple[Pod, ...] = ()  # duplicates that neither we nor the pinned Deployment will remove


def plan(seen: Observed, now: datetime) -> Plan:
    """Return what to do about one bot."""
    if seen.bot is None:
        return Plan(actions=tuple(_release(seen)))
    hold = may_not_act(seen, seen.bot)
    if hold is not None or seen.bot.spec is None:
        return Plan(
            actions=_let_go(seen), hold=hold, again_after=LOOK_AGAIN_SECONDS if hold and not hold.person else None
        )
    return _guard(seen, seen.bot, seen.bot.spec, now)


def _let_go(seen: Observed) -> tuple[Action, ...]:
    """A spec that cannot be read does not say which Deployment is meant, so it lets go of none."""
    return tuple(_release(seen)) if seen.bot and seen.bot.spec else ()


def _release(seen: Observed) -> Iterator[Action]:
    """Let go of adopted Deployments; an owned one is the garbage collector's."""
    for deployment in seen.leftovers:
        if (
            any(owner.kind == names.KIND for owner in deployment.metadata.owner_references)
            or deployment.metadata.deletion_timestamp
        ):
            continue
        yield PatchDeployment(
            namespace=deployment.metadata.namespace,
            deployment=deployment.name,
            uid=deployment.metadata.uid,
            body=desired.release_patch(deployment),
            reason="Released",
            why=f"No TelegramBot refers to Deployment {deployment.name} any more: its lock is removed, its pin stays.",
        )


# --- Who may act ------------------------------------------------------------------------------------------------


def may_not_act(seen: Observed, bot: Bot) -> Hold | None:
    """Return the first reason why this bot may not touch its Deployment, or None."""
    checks = (
        bot_is_being_deleted,
        spec_cannot_be_understood,
        deployment_belongs_to_an_older_bot,
        deployment_is_missing,
        deployment_is_not_ours_to_own,
        deployment_is_controlled_by_someone_else,
        deployment_is_going_away,
    )
    return next((hold for check in checks if (hold := check(seen, bot))), None)


def bot_is_being_deleted(seen: Observed, bot: Bot) -> Hold | None:
    """Whatever is done now would only get into the way of the garbage collector."""
    del seen
    return Hold(Reason.DELETING, f"TelegramBot {bot.name} is being deleted") if bot.deleting else None


def spec_cannot_be_understood(seen: Observed, bot: Bot) -> Hold | None:
    """A TelegramBot stored before a rule existed, or one that only the operator can judge."""
    del seen
    return Hold(Reason.INVALID_SPEC, bot.problem, person=True) if bot.spec is None else None


def deployment_belongs_to_an_older_bot(seen: Observed, bot: Bot) -> Hold | None:
    """Two TelegramBots on one Deployment: the older keeps it."""
    older = _older(bot, tuple(rival for rival in seen.rivals if rival.same_deployment))
    if older is None:
        return None
    message = (
        f"TelegramBot {older.name} is older and already holds Deployment {bot.target}; "
        "delete one of the two, or name another Deployment here"
    )
    return Hold(Reason.DEPLOYMENT_IN_USE, message, person=True)


def deployment_is_missing(seen: Observed, bot: Bot) -> Hold | None:
    """An adopted Deployment that does not exist (yet)."""
    if seen.deployment is not None or not bot.adopts:
        return None
    unreadable = next((each for each in seen.failures if each.resource == "deployments.apps"), None)
    if unreadable is not None:
        reason = Reason.FORBIDDEN if unreadable.lacks_right else Reason.DEPLOYMENT_NOT_FOUND
        return Hold(reason, str(unreadable))
    message = (
        f"there is no Deployment {bot.target} in namespace {bot.namespace}; "
        "create it, or correct spec.deploymentRef.name"
    )
    return Hold(Reason.DEPLOYMENT_NOT_FOUND, message)


def deployment_is_not_ours_to_own(seen: Observed, bot: Bot) -> Hold | None:
    """With `template`: a Deployment of our name that somebody else made."""
    if seen.deployment is None or bot.adopts or desired.owned_by(seen.deployment, bot):
        return None
    if any(owner.kind == names.KIND for owner in seen.deployment.metadata.owner_references):
        return Hold(Reason.DEPLOYMENT_IN_USE, f"Deployment {bot.target} of an earlier TelegramBot is being removed")
    message = (
        f"Deployment {bot.target} exists and was not made by this TelegramBot; "
        "adopt it with spec.deploymentRef, or give the TelegramBot another name"
    )
    return Hold(Reason.DEPLOYMENT_IN_USE, message, person=True)


def deployment_is_controlled_by_someone_else(seen: Observed, bot: Bot) -> Hold | None:
    """A Deployment that another controller makes would be changed back at once, for ever."""
    owner = seen.deployment.metadata.controller if seen.deployment else None
    if owner is None or owner.uid == bot.uid:
        return None
    message = (
        f"Deployment {bot.target} is controlled by {owner.kind} {owner.name}, which would undo every pin; "
        f"set one replica and the Recreate strategy in {owner.kind} {owner.name} instead"
    )
    return Hold(Reason.DEPLOYMENT_CONTROLLED, message, person=True)


def deployment_is_going_away(seen: Observed, bot: Bot) -> Hold | None:
    """Nothing is written to a Deployment that is being deleted."""
    if seen.deployment is None or seen.deployment.metadata.deletion_timestamp is None:
        return None
    return Hold(Reason.DEPLOYMENT_NOT_FOUND, f"Deployment {bot.target} is being deleted")


def _older(bot: Bot, rivals: tuple[Rival, ...]) -> Rival | None:
    older = [rival for rival in rivals if rival.seniority < bot.seniority]
    return min(older, key=lambda rival: rival.seniority, default=None)


def identity_winner(seen: Observed, bot: Bot) -> Rival | None:
    """Return the older TelegramBot that holds this bot's identity, or None where this one does (INV-6)."""
    return _older(bot, tuple(rival for rival in seen.rivals if not rival.same_deployment))


# --- Guarding ---------------------------------------------------------------------------------------------------


def _guard(seen: Observed, bot: Bot, spec: TelegramBotSpec, now: datetime) -> Plan:
    stuck = tuple(
        (pod, death(pod, seen.nodes)) for pod in seen.pods if overdue(pod, spec.stuck_pods.after_seconds, now)
    )
    loses = identity_winner(seen, bot) is not None
    count = desired.replicas(spec, loses=loses)
    # Of two TelegramBots with one identity only the winner clears up: the loser would meet the winner's pods.
    extras = [] if loses else candidates(seen)[count:]
    removable = [pod for pod in extras if spec.duplicates is Duplicates.DELETE and _nobody_else_removes(pod, seen)]
    actions = [
        *_release(seen),
        *_labels(seen, bot),
        *_pin(seen, bot, spec, count),
        *_delete_extras(seen, removable),
        *_delete_stuck(seen, spec, stuck),
        *_delete_remains(seen),
    ]
    return Plan(
        actions=tuple(actions),
        again_after=_next_deadline(seen, spec, stuck, now),
        stuck=stuck,
        tolerated=tuple(pod for pod in extras if pod not in removable and not belongs(pod, seen.deployment)),
    )


def belongs(pod: Pod, deployment: Deployment | None) -> bool:
    """Return whether a ReplicaSet of the Deployment controls the pod; such a ReplicaSet is named after both."""
    owner = pod.metadata.controller
    if deployment is None or owner is None or owner.kind != "ReplicaSet":
        return False
    return owner.name == f"{deployment.name}-{pod.metadata.labels.template_hash}"


def _labels(seen: Observed, bot: Bot) -> Iterator[Action]:
    """Every pod of the Deployment gets the label, a dead one too: it is by the label that one that hangs is found."""
    for pod in seen.pods:
        if belongs(pod, seen.deployment) and pod.metadata.labels.bot != seen.identity:
            yield LabelPod(bot.namespace, pod.name, pod.uid, seen.identity)


def _pin(seen: Observed, bot: Bot, spec: TelegramBotSpec, count: int) -> Iterator[Action]:
    deployment = seen.deployment
    if deployment is None:
        yield _apply(bot, seen.identity, count, "Created", f"Deployment {bot.target} is created.")
        return
    body = desired.pin_patch(deployment, bot, desired.lock_name(spec, seen.identity), count)
    if body:
        if deployment.spec.replicas > count == 1:
            yield from _keep(seen)
        yield PatchDeployment(
            namespace=bot.namespace,
            deployment=deployment.name,
            uid=deployment.metadata.uid,
            body=body,
            reason="Pinned",
            why=_pin_sentence(deployment, body),
        )
    if not bot.adopts and desired.template_drifted(deployment, bot, seen.identity, seen.applied_generation):
        yield _apply(bot, seen.identity, count, "Updated", f"Deployment {bot.target} gets the TelegramBot's template.")


def _apply(bot: Bot, identity: str, count: int, reason: str, why: str) -> ApplyDeployment:
    return ApplyDeployment(bot.namespace, bot.target, desired.owned_deployment(bot, identity, count), reason, why)


def _pin_sentence(deployment: Deployment, body: dict[str, object]) -> str:
    spec = body.get("spec")
    changed = spec if isinstance(spec, dict) else {}
    parts = []
    if "replicas" in changed:
        parts.append(f"replicas {deployment.spec.replicas} -> {changed['replicas']}")
    if "strategy" in changed:
        parts.append(f"strategy {deployment.spec.strategy.type} -> Recreate")
    if "template" in changed:
        parts.append("lock written into the pod template")
    return f"Deployment {deployment.name}: {', '.join(parts) or 'marked as pinned'}."


def candidates(seen: Observed) -> list[Pod]:
    """Return the bot's pods in its own namespace that run or will run, best to keep first: serving, then newest."""
    mine = [
        pod
        for pod in seen.pods
        if pod.metadata.namespace == seen.namespace and not pod.deleting and life(pod) in {Life.ALIVE, Life.HELD}
    ]
    return sorted(mine, key=lambda pod: _keep_order(pod, seen.deployment), reverse=True)


def _keep_order(pod: Pod, deployment: Deployment | None) -> tuple[bool, bool, bool, float, str]:
    created = pod.metadata.creation_timestamp
    return (
        belongs(pod, deployment),
        life(pod) is Life.ALIVE,
        pod.ready,
        created.timestamp() if created else 0.0,
        pod.uid,
    )


def _keep(seen: Observed) -> Iterator[Action]:
    mine = [pod for pod in candidates(seen) if belongs(pod, seen.deployment)]
    if len(mine) > 1 and mine[0].metadata.annotations.deletion_cost is None:
        yield KeepPod(seen.namespace, mine[0].name, mine[0].uid)


def _delete_extras(seen: Observed, removable: list[Pod]) -> Iterator[Action]:
    if seen.deployment is not None and not seen.deployment.settled:
        return
    for pod in removable:
        yield _delete(pod, "DuplicateDeleted", f"Pod {pod.name} is deleted: it is a second pod of bot {seen.identity}.")


def _delete(pod: Pod, reason: str, why: str, *, force: bool = False) -> DeletePod:
    return DeletePod(
        namespace=pod.metadata.namespace,
        pod=pod.name,
        uid=pod.uid,
        resource_version=pod.metadata.resource_version,
        force=force,
        reason=reason,
        why=why,
    )


def _nobody_else_removes(pod: Pod, seen: Observed) -> bool:
    """Whether a duplicate is ours to delete: nobody controls it, or what did is gone.

    A ReplicaSet that still exists would replace the pod at once, and one of the pinned Deployment removes it itself.
    """
    owner = pod.metadata.controller
    if owner is None:
        return True
    return owner.kind == "ReplicaSet" and seen.replica_sets.get(owner.name, ...) is None


def _delete_stuck(seen: Observed, spec: TelegramBotSpec, stuck: tuple[tuple[Pod, Death], ...]) -> Iterator[Action]:
    for pod, verdict in stuck:
        if pod.metadata.finalizers or pod.metadata.namespace != seen.namespace:
            continue
        if not may_force(spec, verdict):
            continue
        unproven = "" if verdict.proven else " This is not proven to be safe; stuckPods.policy: Force asks for it."
        why = f"Pod {pod.name} hung in Terminating and is force-deleted: {because(verdict)}.{unproven}"
        yield _delete(pod, "StuckPodForceDeleted", why, force=True)


def may_force(spec: TelegramBotSpec, verdict: Death) -> bool:
    """Return whether the policy allows a force delete on this verdict (INV-4)."""
    match spec.stuck_pods.policy:
        case StuckPolicy.FORCE:
            return True
        case StuckPolicy.WHEN_PROVEN:
            return verdict.proven
        case StuckPolicy.NEVER:
            return False


def _delete_remains(seen: Observed) -> Iterator[Action]:
    """Remove Failed and Evicted pods of the Deployment while it waits: a Recreate rollout can hang on them."""
    deployment = seen.deployment
    if deployment is None or deployment.status.updated_replicas >= deployment.spec.replicas:
        return
    for pod in seen.pods:
        if belongs(pod, deployment) and not pod.deleting and life(pod) is Life.DEAD:
            state = pod.status.reason or pod.status.phase
            why = f"Pod {pod.name} ({state}) is deleted: the rollout could hang on it."
            yield _delete(pod, "RemainsDeleted", why)


def _next_deadline(
    seen: Observed, spec: TelegramBotSpec, stuck: tuple[tuple[Pod, Death], ...], now: datetime
) -> float | None:
    """Return the seconds until time alone can change the verdict: a pod becomes overdue, or a lost node comes back."""
    after = spec.stuck_pods.after_seconds
    due = [at for pod in seen.pods if (at := overdue_at(pod, after)) is not None and at > now]
    waits = [(at - now).total_seconds() for at in due]
    if stuck or seen.token.missing:
        waits.append(LOOK_AGAIN_SECONDS)
    return min(waits, default=None)
