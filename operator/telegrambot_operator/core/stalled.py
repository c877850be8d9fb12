"""The Stalled condition: whether a person must act, and how. An ordered list of named checks; the first decides."""

from collections.abc import Callable

from .. import names
from ..api.models import Duplicates, StuckPolicy, TelegramBotSpec
from ..names import ConditionType, Reason
from .causes import strays_left
from .classify import Death, because
from .holds import identity_winner
from .plan import may_force
from .records import Pod
from .silence import Sound
from .telling import is_over, waits_for_a_person
from .turn import Turn
from .view import Verdict, View, duplicate_sentence, listed, no, token_problem, where, yes

Reported = tuple[Reason, str]
Check = Callable[[View], Reported | None]
FOR_A_PERSON = {Reason.PATCH_DENIED, Reason.AUTOSCALER_FOUND, Reason.FIELD_MANAGER_CONFLICT}
PERSON_MUST_ACT = {Reason.WEBHOOK_ACTIVE, Reason.WEBHOOK_SET, Reason.INSIDE_POD, Reason.EXTERNAL_POLLER}


def stalled(view: View, pinned: Verdict, conflicted: Verdict) -> Verdict:
    """Return the verdict; what the other conditions have found comes in, so that all of them say the same."""
    checks: tuple[Check, ...] = (
        a_person_must_correct_the_resource,
        another_bot_holds_the_identity,
        a_stuck_pod_is_held,
        nobody_can_tell_whose_turn_it_is,
        lambda _: (
            (pinned.reason, pinned.message) if pinned.status == "False" and pinned.reason in FOR_A_PERSON else None
        ),
        the_token_is_missing,
        a_request_was_refused,
        duplicates_are_left_alone,
        lambda _: _conflict_for_a_person(view, conflicted),
        waits_for_a_person,
    )
    found = next((why for check in checks if (why := check(view)) is not None), None)
    return yes(*found) if found else no(Reason.NOT_STALLED, "nothing waits for a person")


def a_person_must_correct_the_resource(view: View) -> Reported | None:
    """Nothing can be done for this TelegramBot as it stands."""
    hold = view.plan.hold
    return (hold.reason, hold.message) if hold is not None and hold.person else None


def another_bot_holds_the_identity(view: View) -> Reported | None:
    """An older TelegramBot runs the same bot."""
    loses = view.plan.hold is None and identity_winner(view.seen, view.bot) is not None
    return (Reason.DUPLICATE_BOT, duplicate_sentence(view)) if loses else None


def a_stuck_pod_is_held(view: View) -> Reported | None:
    """A pod hangs in Terminating, and nothing that the policy allows would be safe."""
    spec = view.bot.spec
    found = [_held(pod, verdict, spec, view) for pod, verdict in view.plan.stuck] if spec else []
    return next((why for why in found if why is not None), None)


def _held(pod: Pod, verdict: Death, spec: TelegramBotSpec, view: View) -> Reported | None:
    if pod.metadata.finalizers:
        why = f"finalizer {pod.metadata.finalizers[0]} holds pod {where(pod, view)}; whoever set it must remove it"
        return Reason.TERMINATING_POD_STILL_RUNNING, why
    if may_force(spec, verdict) or (verdict is Death.ENDING and spec.stuck_pods.policy is StuckPolicy.WHEN_PROVEN):
        return None
    if verdict is Death.NODE_LOST and view.listens:
        return None
    reason = Reason.TERMINATING_POD_STILL_RUNNING if verdict is Death.ALIVE else Reason.POD_UNREACHABLE
    told = _told(view) if verdict is Death.NODE_LOST else _unread(view) if verdict is Death.UNKNOWN else ""
    return reason, f"pod {where(pod, view)} hangs in Terminating: {because(verdict)}{told}; {_advice(verdict, spec)}"


def _told(view: View) -> str:
    """Say what Telegram has told of the process on the lost node."""
    match view.silence.sound if view.silence else None:
        case Sound.HEARD:
            return ", and somebody polls Telegram with the bot's token"
        case Sound.CANNOT:
            return f", and Telegram does not tell ({view.silence.why if view.silence else ''})"
        case _:
            return ""


def _unread(view: View) -> str:
    """Say why a node could not be read, where the API server will not tell of it."""
    refused = next((each for each in view.seen.failures if each.refused and each.resource == "nodes"), None)
    return f"; {refused}" if refused else ""


def _advice(verdict: Death, spec: TelegramBotSpec) -> str:
    if spec.stuck_pods.policy is StuckPolicy.NEVER:
        return "stuckPods.policy: Never leaves it to you"
    if verdict is Death.ALIVE:
        return "find out why its process does not stop; only stuckPods.policy: Force would delete it while it runs"
    return (
        "make sure that the node is off, then delete the node or taint it node.kubernetes.io/out-of-service; "
        "or accept the risk with stuckPods.policy: Force"
    )


def nobody_can_tell_whose_turn_it_is(view: View) -> Reported | None:
    """The last pod vanished without a trace, and nothing that can be seen proves that its process has ended."""
    waits = view.plan.waits
    if waits is None or waits.turn is not Turn.UNKNOWN or view.listens:
        return None
    advice = f"make sure that it is off, then delete the node, or the Lease {names.lease(view.seen.identity)}"
    return Reason.POD_UNREACHABLE, f"{waits.why}{_told(view)}{_unread(view)}; {advice}"


def the_token_is_missing(view: View) -> Reported | None:
    """The Secret, its key or the token in it is not there or not good."""
    problem = token_problem(view)
    return (problem.reason, problem.message) if problem else None


def a_request_was_refused(view: View) -> Reported | None:
    """The API server will not do what is needed: a right, a quota or an admission rule is in the way.

    Without the right to read Secrets all else still works, so that is no reason to stall.
    """
    refused = next((each for each in view.seen.failures if each.refused and each.resource != "secrets"), None)
    if refused is None:
        return None
    return Reason.FORBIDDEN if refused.lacks_right else Reason.REFUSED, str(refused)


def duplicates_are_left_alone(view: View) -> Reported | None:
    """There are more pods than one, and they are not ours to delete."""
    if not view.plan.tolerated or view.bot.spec is None:
        return None
    return Reason.DUPLICATE_PODS, _tolerated_sentence(view.plan.tolerated, view.bot.spec)


def _tolerated_sentence(pods: tuple[Pod, ...], spec: TelegramBotSpec) -> str:
    named = listed([f"{pod.name}{_controller(pod)}" for pod in pods])
    if spec.duplicates is Duplicates.REPORT:
        return f"{named}: more pods of the bot than one; duplicates: Report leaves them to you"
    return f"{named}: more pods of the bot than one; what controls them would replace them, so remove that"


def _webhook_needs_nobody(view: View) -> bool:
    """Whether the webhook is about to be repaired, or gone already."""
    if view.plan.repairing is not None:
        return not view.plan.repairing.person
    return view.conflicts is not None and is_over(view.conflicts, view.seen.word)


def _controller(pod: Pod) -> str:
    owner = pod.metadata.controller
    return f" of {owner.kind} {owner.name}" if owner else ""


def _conflict_for_a_person(view: View, conflicted: Verdict) -> Reported | None:
    if conflicted.reason in {Reason.WEBHOOK_ACTIVE, Reason.WEBHOOK_SET} and _webhook_needs_nobody(view):
        return None
    for_a_person = conflicted.reason in PERSON_MUST_ACT or _others_are_left(view, conflicted)
    return (conflicted.reason, conflicted.message) if conflicted.status == "True" and for_a_person else None


def _others_are_left(view: View, conflicted: Verdict) -> bool:
    """Whether pods with the token are left to a person; until the search is made anew, what was said before holds."""
    if view.conflicts is None or conflicted.reason not in {Reason.STRAY_POD, Reason.DUPLICATE_BOT}:
        return False
    before = view.said_before(ConditionType.STALLED)
    if view.conflicts.telling is None and before is not None:
        return bool(before["reason"] == conflicted.reason)
    return strays_left(view)
