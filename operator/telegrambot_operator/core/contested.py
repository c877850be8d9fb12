"""Somebody applies the Deployment's manifest again and again, and has another number, strategy or template in it.

1. It counts when a Deployment that was right is not any more, while the same is wanted of it: once, however many
   writes that took. Who did it is what Kubernetes notes as the fields' manager.
2. Replicas and strategy are set back each time: that is one write, and touches no pod. After the third time `Pinned`
   names the manager, until it has left them alone for twice as long as it ever did, or its own write leaves them right.
3. The lock is put back into the template too, as long as that costs no pod. Where the bot was restarted over it and the
   same manager takes it out again, it is left out, and `Pinned` says so: a bot that restarts with every apply is down
   more than up. It is put back when nobody else sets the list of terms any more, or the TelegramBot is edited.
"""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise

from ..names import ConditionType, Reason
from . import desired
from .classify import may_poll
from .contest import Contest, Held, Keeping, Undoing, Wanted
from .entries import template_lock
from .holds import identity_winner, may_not_act
from .observed import Bot, Observed
from .ownership import belongs
from .records import Claim, Deployment, Field, template_of

KEEPS = 3
# A hand that changes the template now and then is none that keeps doing it.
LOCK_TWICE_WITHIN = timedelta(hours=2)
# For so long is repeated what an operator before this one has said.
REPEATED_FOR = timedelta(minutes=15)
REMEMBERED = 12


def follow(before: Contest | None, seen: Observed, now: datetime) -> Contest:
    """Return what is to be remembered of the bot's Deployment after this look at it."""
    bot, deployment = seen.bot, seen.deployment
    if bot is None or bot.spec is None or deployment is None or may_not_act(seen, bot) is not None:
        return before or Contest()
    known = before if before is not None and before.wanted is not None else _resumed(bot, deployment, now)
    contest = _met(known, seen, deployment)
    contest = _tried_again(_said(contest, now), bot, deployment)
    wanted = _wanted(seen, bot, deployment)
    lacking = _lacking(deployment, wanted)
    if wanted != contest.wanted:
        another_lock = contest.wanted is not None and contest.wanted[1:] != wanted[1:]
        contest = replace(contest, wanted=wanted, held=None if another_lock else contest.held)
    elif contest.right and lacking - _left_alone(contest):
        contest = _undone(contest, lacking - _left_alone(contest), seen, deployment, now)
    contest = contest if Field.LOCK in lacking else replace(contest, held=None)
    contest = replace(contest, right=not lacking - _left_alone(contest))
    contest = _forgiven(contest, deployment) if contest.right else contest
    quiet = timedelta(seconds=bot.spec.conflict.clear_after_seconds)
    return replace(contest, keeping=next(_keeping(contest.undone, quiet, now), None))


def _met(contest: Contest, seen: Observed, deployment: Deployment) -> Contest:
    status = deployment.status
    of_one_template = deployment.settled and status.updated_replicas >= status.replicas
    template = desired.fingerprint(deployment) if of_one_template else contest.template
    lost_one = any(Field.LOCK in each.fields for each in contest.undone)
    met = contest.met if lost_one else frozenset()
    return replace(contest, template=template, met=met if len(met) > 1 else met | _running(seen, deployment))


def _said(contest: Contest, now: datetime) -> Contest:
    over = contest.said_until is not None and now >= contest.said_until
    return replace(contest, said="", said_until=None) if over else contest


def _running(seen: Observed, deployment: Deployment) -> frozenset[str]:
    return frozenset(pod.uid for pod in seen.pods if may_poll(pod) and belongs(pod, deployment))


def _wanted(seen: Observed, bot: Bot, deployment: Deployment) -> Wanted:
    if bot.spec is None:
        return 0, None, False
    count = desired.replicas(bot.spec, loses=identity_winner(seen, bot) is not None)
    lock = template_lock(seen, bot, bot.spec, deployment) if bot.adopts else None
    return count, lock, desired.is_gated(bot.spec) and lock is not None


def _lacking(deployment: Deployment, wanted: Wanted) -> frozenset[Field]:
    count, lock, gated = wanted
    right = {
        Field.REPLICAS: deployment.spec.replicas == count,
        Field.STRATEGY: deployment.spec.strategy.type == "Recreate",
        Field.LOCK: lock is None or desired.lock_in_force(template_of(deployment), lock, gated=gated),
    }
    return frozenset(each for each, is_right in right.items() if not is_right)


def _left_alone(contest: Contest) -> frozenset[Field]:
    return frozenset({Field.LOCK} if contest.held else ())


# --- Who, and how often ----------------------------------------------------------------------------------------------


def _undone(
    contest: Contest, fields: frozenset[Field], seen: Observed, deployment: Deployment, now: datetime
) -> Contest:
    claim = _culprit(deployment, fields)
    made = Undoing(now, claim.manager, claim.time, fields)
    if Field.LOCK not in fields:
        return replace(contest, undone=(*contest.undone, made)[-REMEMBERED:])
    again = any(
        each.manager == made.manager and Field.LOCK in each.fields and now - each.at < LOCK_TWICE_WITHIN
        for each in contest.undone
    )
    held = None
    if again and len(contest.met) > 1 and seen.bot is not None:
        held = Held(made.manager, seen.bot.generation, _claimed(deployment))
    undone = (*contest.undone, made)[-REMEMBERED:]
    return replace(contest, undone=undone, held=held, met=_running(seen, deployment))


def _culprit(deployment: Deployment, fields: frozenset[Field]) -> Claim:
    """Who has set these fields last. A field that was taken away has no manager any more."""
    claims = [each for each in deployment.claims if each.fields & fields]
    return max(claims, key=lambda each: each.time, default=Claim("", "", frozenset()))


def _claimed(deployment: Deployment) -> bool:
    return any(Field.LOCK in each.fields for each in deployment.claims)


def _keeping(undone: tuple[Undoing, ...], quiet: timedelta, now: datetime) -> Iterator[Keeping]:
    for manager in dict.fromkeys(each.manager for each in reversed(undone)):
        times = [each for each in undone if each.manager == manager][-KEEPS:]
        longest = max((after.at - before.at for before, after in pairwise(times)), default=timedelta())
        until = times[-1].at + max(quiet, 2 * longest)
        if len(times) == KEEPS and now < until:
            yield Keeping(manager, frozenset().union(*(each.fields for each in times)), until)


def _forgiven(contest: Contest, deployment: Deployment) -> Contest:
    """Forget those whose latest write has left it right: their manifest says the same as we now.

    What we set they do not own any more; where they do own a field and it is right, they have set it so. Else it shows
    in that they wrote later.
    """
    forgiven = set()
    for manager, last in {each.manager: each for each in contest.undone}.items():
        claims = [each for each in deployment.claims if each.manager == manager]
        agrees = any(each.fields & last.fields - _left_alone(contest) for each in claims)
        if agrees or any(each.time > last.written for each in claims):
            forgiven.add(manager)
    return replace(contest, undone=tuple(each for each in contest.undone if each.manager not in forgiven))


def _tried_again(contest: Contest, bot: Bot, deployment: Deployment) -> Contest:
    """Try once more to put the lock into the template where something has changed."""
    held = contest.held
    if held is None or (held.generation == bot.generation and (_claimed(deployment) or not held.claimed)):
        return contest
    others = tuple(each for each in contest.undone if Field.LOCK not in each.fields)
    return replace(contest, held=None, undone=others, right=False)


def _resumed(bot: Bot, deployment: Deployment, now: datetime) -> Contest:
    """Go on from what the status says: an operator that has just started must not begin anew."""
    conditions = bot.status.get("conditions") or []
    before = next((each for each in conditions if each.get("type") == ConditionType.PINNED), None)
    if before is None or before["reason"] != Reason.FIELD_MANAGER_CONFLICT:
        return Contest()
    if before["status"] == "True":
        return Contest(said=before["message"], said_until=now + REPEATED_FOR)
    held = Held("", before.get("observedGeneration", 0), _claimed(deployment), before["message"])
    return Contest(held=held)


# --- What is said of it ----------------------------------------------------------------------------------------------

_OWN_REMEDY = {
    "kustomize-controller": ", or list them under spec.ignore of the Flux Kustomization",
    "helm-controller": ", or list them under spec.driftDetection.ignore of the HelmRelease",
    "argocd-controller": ", or list them under ignoreDifferences of the Application (RespectIgnoreDifferences=true)",
}


def keeps_setting(contest: Contest | None) -> str:
    """Return the sentence on who keeps undoing the pin, and what to do; "" where nobody does."""
    if contest is None or contest.keeping is None:
        return ""
    keeping = contest.keeping
    what = " and ".join(each for each in Field if each in keeping.fields)
    doing = "keeps changing" if Field.LOCK in keeping.fields else "keeps setting"
    remedy = _OWN_REMEDY.get(keeping.manager, "")
    return (
        f"{_named(keeping.manager)} {doing} {what}, which is put right each time: "
        f"have its manifest say the same (docs/gitops.md), or leave them out of it{remedy}"
    )


def left_out(contest: Contest | None, name: str) -> str:
    """Return the sentence on why the lock is left out of the template; "" where it is not."""
    if contest is None or contest.held is None:
        return ""
    return contest.held.said or (
        f"{_named(contest.held.manager)} keeps taking the lock out of the pod template of Deployment {name}, and the "
        "bot would restart each time that it is put back, so it is left out, and two pods can meet when one is "
        "deleted: install the admission policies (deploy/admission), or put the lock into its manifest (docs/gitops.md)"
    )


def _named(manager: str) -> str:
    return f"field manager {manager}" if manager else "somebody"
