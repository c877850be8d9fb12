"""What to do about one bot, decided from one `Observed`.

The order is the order of safety:
1. A bot that is gone, or points elsewhere now, lets go of the Deployments that it held.
   The lock table of the admission policies says at all times what new pods have to be born with.
2. A bot that may not act (unreadable, or second to another) touches nothing.
3. Pods that belong to the bot get its label before the template gets the lock: the lock then counts them, and the pod
   that replaces them waits for the last of them.
4. The Deployment is pinned and locked; its replicas are set only after strategy and template have been acted upon.
5. Only what is still too many once the Deployment's controllers have settled is deleted by hand, since setting
   replicas to 1 and deleting at once could kill both.
6. Pods that hang in Terminating are force-deleted where no process can be left, and only so many in a minute.
7. While conflicts go on that nothing known explains, it is looked for others with the token; one that nobody controls,
   in the bot's own namespace, is deleted.
8. Last comes what Telegram's own word asks for: a webhook is repaired, a deaf bot restarted.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from .. import names
from ..api.models import Duplicates, StuckPolicy, TelegramBotSpec
from ..names import EventReason, Reason
from . import desired
from .actions import Action, ApplyDeployment, DeletePod, DisownPin, EmptyReplicaSet, KeepPod, LabelPod, PatchDeployment
from .classify import Death, Life, because, death, life, may_poll, overdue, overdue_at
from .conflicts import Conflicts, conflicts, is_removable, question, strays_then
from .contest import Contest
from .deadline import hold_the_deadline, seconds_until_long
from .entries import enter, leave, pinned_at_admission, template_lock
from .holds import Hold, identity_winner, may_not_act
from .listening import Listen, heard_out, listen
from .observed import Bot, Later, Observed
from .ownership import belongs
from .records import Deployment, Pod
from .release import release
from .remedy import Repairing
from .response import both, response
from .strays_search import Question
from .turn import Verdict
from .turns import turns

# A Deployment that is not there yet is looked for again after so many seconds, even if no event tells of it.
LOOK_AGAIN_SECONDS = 10.0
# Added to the dearest pod-deletion-cost among the others; users' own costs are usually small.
KEEP_COST = 1000


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do now, why nothing else, and when to look again at the latest."""

    actions: tuple[Action, ...] = ()
    hold: Hold | None = None
    again_after: float | None = None
    stuck: tuple[tuple[Pod, Death], ...] = ()
    tolerated: tuple[Pod, ...] = ()  # duplicates that neither we nor the pinned Deployment will remove
    waits: Verdict | None = None  # why a held pod is not opened yet
    listen: Listen | None = None  # for whom to listen to Telegram
    held_back: tuple[tuple[Pod, Later], ...] = ()  # would be force-deleted now, were it not for the limit
    repairing: Repairing | None = None  # what is done about a webhook that is not as it should be
    search: Question | None = None  # for whom to look among all pods


def plan(seen: Observed, now: datetime) -> Plan:
    """Return what to do about one bot."""
    releasing = release(seen)
    waits = [LOOK_AGAIN_SECONDS] if seen.leftovers else []
    if seen.bot is None:
        return Plan(actions=(*leave(seen), *releasing), again_after=min(waits, default=None))
    hold = may_not_act(seen, seen.bot)
    if hold is None and seen.bot.spec is not None:
        return _guard(seen, seen.bot, seen.bot.spec, now)
    if hold is not None and not hold.person:
        waits.append(LOOK_AGAIN_SECONDS)
    return Plan(actions=(*_table_on_hold(seen, hold), *releasing), hold=hold, again_after=min(waits, default=None))


def _table_on_hold(seen: Observed, hold: Hold | None) -> Iterator[Action]:
    """The table may speak of a Deployment before it is there: it is then born pinned, and its pods locked."""
    bot = seen.bot
    if bot is None or bot.spec is None or hold is None or bot.deleting:
        return
    if hold.reason is Reason.DEPLOYMENT_NOT_FOUND and seen.deployment is None:
        loses = identity_winner(seen, bot) is not None
        yield from enter(seen, bot, bot.spec, desired.replicas(bot.spec, loses=loses))
    elif hold.person:
        yield from leave(seen)


# --- Guarding ---------------------------------------------------------------------------------------------------


def _guard(seen: Observed, bot: Bot, spec: TelegramBotSpec, now: datetime) -> Plan:
    hanging = [pod for pod in seen.pods if overdue(pod, spec.stuck_pods.after_seconds, now)]
    stuck = tuple((pod, death(pod, seen.nodes, now)) for pod in sorted(hanging, key=lambda pod: pod.name))
    loses = identity_winner(seen, bot) is not None
    wanted = None if loses else listen(seen, spec, stuck)
    seen, stuck = heard_out(seen, stuck, wanted)
    doomed = [(pod, verdict) for pod, verdict in stuck if _may_be_forced(pod, verdict, seen, spec)]
    held_back = tuple((pod, seen.held_back[pod.uid]) for pod, _ in doomed if pod.uid in seen.held_back)
    count = desired.replicas(spec, loses=loses)
    # Of two TelegramBots with one identity only the winner clears up: the loser would meet the winner's pods.
    extras = [] if loses else candidates(seen)[count:]
    run = conflicts(seen, timedelta(seconds=spec.conflict.clear_after_seconds), now)
    removable = [pod for pod in extras if spec.duplicates is Duplicates.DELETE and _nobody_else_removes(pod, seen)]
    actions = [
        *enter(seen, bot, spec, count),
        *release(seen),
        *_labels(seen, bot),
        *_pin(seen, bot, spec, count),
        *_go_on_with_a_rollout_that_hangs(seen),
        *_delete_extras(seen, removable),
        *(() if loses else _delete_strays(seen, spec, run)),
        *(_force(pod, verdict) for pod, verdict in doomed if pod.uid not in seen.held_back),
        *_delete_remains(seen),
        *(taken := turns(seen, bot, count)).actions,
        *hold_the_deadline(seen, now),
    ]
    answered = response(seen, bot, spec, run, now, at_rest=not actions)
    waits = [taken.waits.again_after] if taken.waits else []
    if (until_long := seconds_until_long(seen, now)) is not None and until_long > 0:
        waits.append(until_long)
    waits += [answered.again_after, _until_it_has_stopped(seen, now), *(later.seconds for _, later in held_back)]
    deadlines = [*waits, _next_deadline(seen, spec, stuck, now)]
    return Plan(
        actions=(*actions, *answered.actions),
        again_after=min((each for each in deadlines if each is not None), default=None),
        waits=taken.waits,
        stuck=stuck,
        listen=wanted,
        held_back=held_back,
        repairing=answered.repairing,
        search=both(question(seen, run), answered.search),
        tolerated=tuple(pod for pod in extras if pod not in removable and not belongs(pod, seen.deployment)),
    )


def _labels(seen: Observed, bot: Bot) -> Iterator[Action]:
    """Every pod of the Deployment gets the label, a dead one too: it is by the label that one that hangs is found."""
    for pod in seen.pods:
        if not belongs(pod, seen.deployment) or pod.metadata.labels.bot == seen.identity:
            continue
        if not _runs_the_bot_before(pod, seen):
            yield LabelPod(bot.namespace, pod.name, pod.uid, seen.identity)


def _runs_the_bot_before(pod: Pod, seen: Observed) -> bool:
    """Whether the Secret now has another bot's token, and the pod was started with the one before.

    Whoever runs that bot next has to wait for it, so it keeps its label until it is replaced. What it was born with is
    seen from its own lock, which nobody can edit.
    """
    worn = pod.metadata.labels.bot or ""
    return worn.isdecimal() and seen.identity.isdecimal() and may_poll(pod) and pod.is_locked(worn)


def _pin(seen: Observed, bot: Bot, spec: TelegramBotSpec, count: int) -> Iterator[Action]:
    deployment = seen.deployment
    if deployment is None:
        yield _apply(bot, seen.identity, count, "Created", f"Deployment {bot.target} is created.")
        return
    lock = template_lock(seen, bot, spec, deployment)
    contest = seen.contest or Contest()
    body = desired.pin_patch(
        deployment,
        bot,
        lock,
        count,
        shaped=seen.shaped_generation,
        template=contest.template,
        leave_template=contest.held is not None,
    )
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
            quiet=contest.keeping is not None,
        )
    elif deployment.manages and pinned_at_admission(seen, bot, spec, count):
        yield DisownPin(bot.namespace, deployment.name, deployment.metadata.uid)
    elif deployment.spec.replicas == count and lock == desired.lock_name(spec, seen.identity) and not bot.adopts:
        yield from _update(seen, bot, deployment, count)


def _go_on_with_a_rollout_that_hangs(seen: Observed) -> Iterator[Action]:
    """Empty the ReplicaSets of a Deployment whose rollout hangs for ever; its controller then makes the right one.

    That controller takes a change of replicas before any rollout. Under Recreate it does not carry the change out while
    two ReplicaSets have pods, nor note it on one that has the right number already, and so never comes to the rollout
    (see `desired.may_be_scaled`). We do not lead it there, but somebody else's change can.
    """
    deployment = seen.deployment
    if deployment is None or deployment.spec.strategy.type != "Recreate":
        return
    active = [each for each in seen.versions if each.spec.replicas]
    if len(active) < 2 and all(each.was_scaled_for(deployment) for each in active):
        return
    for each in active:
        name = each.metadata.name
        why = f"ReplicaSet {name} is scaled to 0: the rollout of Deployment {deployment.name} hung on it."
        yield EmptyReplicaSet(seen.namespace, name, each.metadata.uid, "RolloutUnblocked", why)


def _update(seen: Observed, bot: Bot, deployment: Deployment, count: int) -> Iterator[Action]:
    """Bring the template of a Deployment of our own up to date, once it is pinned: the pin comes with it."""
    if desired.template_drifted(deployment, bot, seen.identity, seen.applied_generation):
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
        parts.append(_template_sentence(changed["template"]))
    return f"Deployment {deployment.name}: {', '.join(parts) or 'marked as pinned'}."


def _template_sentence(template: Mapping[str, Any]) -> str:
    if template["metadata"]["labels"][names.LABEL_BOT] is None:
        return "lock taken out of the pod template"
    return "lock written into the pod template"


def candidates(seen: Observed) -> list[Pod]:
    """Return the bot's pods in its own namespace that run or will run, best to keep first: serving, then newest."""
    mine = [
        pod
        for pod in seen.pods
        if _is_the_bots(pod, seen) and not pod.deleting and life(pod) in {Life.ALIVE, Life.HELD}
    ]
    return sorted(mine, key=lambda pod: _keep_order(pod, seen.deployment), reverse=True)


def _is_the_bots(pod: Pod, seen: Observed) -> bool:
    """A pod that only a Lease names, which somebody may have edited, is waited for and is no duplicate."""
    meant = pod.metadata.labels.bot == seen.identity or belongs(pod, seen.deployment)
    return meant and pod.metadata.namespace == seen.namespace


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
    """Make the best pod the dearest to delete; a mark of an earlier time may be on another one.

    A ReplicaSet that shrinks begins with pods that are bound to no node, so those need no mark against them.
    """
    mine = [pod for pod in candidates(seen) if belongs(pod, seen.deployment) and life(pod) is Life.ALIVE]
    dearest = max((pod.deletion_cost for pod in mine[1:]), default=0)
    if len(mine) > 1 and mine[0].deletion_cost <= dearest:
        yield KeepPod(seen.namespace, mine[0].name, mine[0].uid, cost=dearest + KEEP_COST)


def _delete_extras(seen: Observed, removable: list[Pod]) -> Iterator[Action]:
    if seen.deployment is not None and not seen.deployment.settled:
        return
    for pod in removable:
        why = f"Pod {pod.name} is deleted: it is a second pod of bot {seen.identity}."
        yield DeletePod.of(pod, "DuplicateDeleted", why)


def _delete_strays(seen: Observed, spec: TelegramBotSpec, run: Conflicts | None) -> Iterator[Action]:
    """Delete whoever cut off the bot's pod, where that is ours to do: see `is_removable`."""
    if run is None or run.telling is None or run.cause is not Reason.STRAY_POD or not run.active:
        return
    if spec.duplicates is not Duplicates.DELETE:
        return
    for stray in strays_then(run.telling, seen):
        if is_removable(stray, run.telling, seen) and not stray.deleting:
            why = f"Pod {stray.pod} is deleted: it cut off pod {run.telling.pod}, since its {stray.has}."
            yield DeletePod(
                namespace=stray.namespace,
                pod=stray.pod,
                uid=stray.uid,
                resource_version=stray.resource_version,
                force=False,
                reason=EventReason.STRAY_DELETED,
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


def _may_be_forced(pod: Pod, verdict: Death, seen: Observed, spec: TelegramBotSpec) -> bool:
    """Whether a pod that hangs is ours to force away: a finalizer is its owner's word, and never stripped."""
    ours = pod.metadata.namespace == seen.namespace and not pod.metadata.finalizers
    return ours and may_force(spec, verdict)


def _force(pod: Pod, verdict: Death) -> DeletePod:
    unproven = "" if verdict.proven else " This is not proven to be safe; stuckPods.policy: Force asks for it."
    why = f"Pod {pod.name} hung in Terminating and is force-deleted: {because(verdict)}.{unproven}"
    made = DeletePod.of(pod, "StuckPodForceDeleted", why, force=True)
    proof = str(verdict) if verdict.proven else "none"
    return replace(made, proven=verdict.proven, proof=proof, by_silence=verdict is Death.SILENT)


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
            yield DeletePod.of(pod, "RemainsDeleted", why)


def _until_it_has_stopped(seen: Observed, now: datetime) -> float | None:
    """Return the seconds until a field manager that does not do it again is no longer named."""
    contest = seen.contest or Contest()
    ends = (contest.keeping.until if contest.keeping else None, contest.said_until)
    return min(((end - now).total_seconds() for end in ends if end is not None), default=None)


def _next_deadline(
    seen: Observed, spec: TelegramBotSpec, stuck: tuple[tuple[Pod, Death], ...], now: datetime
) -> float | None:
    """Return the seconds until time alone can change the verdict: a pod becomes overdue, or a lost node comes back."""
    after = spec.stuck_pods.after_seconds
    due = [at for pod in seen.pods if (at := overdue_at(pod, after)) is not None and at > now]
    waits = [(at - now).total_seconds() for at in due]
    if stuck or seen.token.missing or seen.leftovers:
        waits.append(LOOK_AGAIN_SECONDS)
    return min(waits, default=None)
