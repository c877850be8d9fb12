"""What each condition says, and why."""

from ..api.models import Lock, TelegramBotSpec
from ..names import ConditionType, Reason
from . import desired
from .carrier import note
from .causes import cause_sentence
from .classify import Death
from .conflicts import Conflicts
from .contested import keeps_setting, left_out
from .entries import by_admission, in_force
from .holds import identity_winner
from .observed import FORCED_A_MINUTE, Failure, TokenState
from .readiness import ready
from .records import Deployment, template_of
from .stalled import stalled
from .telling import under_repair, webhook_in_the_way
from .view import Verdict, View, listed, no, unknown, where, yes


def judge(view: View) -> dict[ConditionType, Verdict]:
    """Return a verdict for every condition type."""
    pinned, conflicted = _pinned(view), _conflicted(view)
    is_ready, is_stalled = ready(view, pinned, conflicted), stalled(view, pinned, conflicted)
    return {
        ConditionType.READY: is_ready,
        ConditionType.SINGLETON: _singleton(view),
        ConditionType.PINNED: pinned,
        ConditionType.CONFLICTED: conflicted,
        ConditionType.RECONCILING: _reconciling(view, is_ready, is_stalled),
        ConditionType.STALLED: is_stalled,
    }


def _singleton(view: View) -> Verdict:
    if view.seen.pods_unknown is not None:
        return unknown(Reason.FORBIDDEN, str(view.seen.pods_unknown))
    lost = [where(pod, view) for pod, verdict in view.plan.stuck if verdict in {Death.NODE_LOST, Death.UNKNOWN}]
    if lost:
        why = f"the node of pod {listed(lost)} does not answer; its process may be polling"
        return unknown(Reason.POD_UNREACHABLE, why)
    return _counted(view)


def _counted(view: View) -> Verdict:
    found = listed([where(pod, view) for pod in view.pollers])
    if not found:
        return yes(Reason.NO_POD, "no pod can be polling")
    if len(view.pollers) == 1:
        return yes(Reason.ONE_POD, f"pod {found} is the only one that can be polling")
    if sum(not pod.deleting for pod in view.pollers) <= 1:
        return no(Reason.TERMINATING_POD_STILL_RUNNING, f"pods {found} may be polling; a terminating one still runs")
    return no(Reason.DUPLICATE_PODS, f"pods {found} may be polling at once")


def _pinned(view: View) -> Verdict:
    spec, hold = view.bot.spec, view.plan.hold
    if hold is not None or spec is None:
        return no(hold.reason if hold else Reason.INVALID_SPEC, hold.message if hold else view.bot.problem)
    lacking = _lacking(view, spec)
    if lacking is None:
        return _in_force(view, spec)
    denied = next((each for each in view.seen.failures if each.resource == "deployments.apps"), None)
    return no(Reason.PATCH_DENIED, f"{lacking.message}: {denied}") if denied else lacking


def _lacking(view: View, spec: TelegramBotSpec) -> Verdict | None:
    """Return what the Deployment lacks, or None where it is as it should be."""
    deployment = view.seen.deployment
    if deployment is None:
        return no(Reason.NOT_PINNED, f"Deployment {view.bot.target} is not there yet")
    if view.seen.autoscalers:
        return no(Reason.AUTOSCALER_FOUND, _autoscaler_sentence(view.seen.autoscalers, deployment))
    count = desired.replicas(spec, loses=identity_winner(view.seen, view.bot) is not None)
    if deployment.spec.replicas != count or deployment.spec.strategy.type != "Recreate":
        found = f"replicas {deployment.spec.replicas}, strategy {deployment.spec.strategy.type}"
        return no(Reason.NOT_PINNED, f"Deployment {deployment.name} has {found}")
    return _lock_missing(view, spec, deployment)


def _lock_missing(view: View, spec: TelegramBotSpec, deployment: Deployment) -> Verdict | None:
    lock, seen = desired.lock_name(spec, view.seen.identity), view.seen
    if lock is None:
        return None
    if (told := left_out(seen.contest, deployment.name)) and not by_admission(seen, view.bot):
        return no(Reason.FIELD_MANAGER_CONFLICT, told)
    if seen.unlocked:
        return no(Reason.LOCK_MISSING, f"{seen.unlocked} was born without its lock{note(seen.admission)}")
    if desired.lock_in_force(template_of(deployment), lock, gated=desired.is_gated(spec)):
        return None
    if by_admission(seen, view.bot) and in_force(seen, view.bot, spec):
        return _policies_are_new(view, spec)
    return no(Reason.LOCK_MISSING, f"Deployment {deployment.name} lacks the lock in its pod template")


def _policies_are_new(view: View, spec: TelegramBotSpec) -> Verdict | None:
    """Whether an API server may still make pods without the lock.

    An operator that has just started does not know how old the policies are; what it said before that stays.
    """
    before = view.said_before(ConditionType.PINNED)
    said = before is not None and before["status"] == "True" and _lock_sentence(view, spec) in before["message"]
    if said or not view.seen.admission.new:
        return None
    why = "the admission policies came a moment ago, and the API server may not go by them yet"
    return no(Reason.LOCK_MISSING, f"Deployment {view.bot.target}: {why}; nothing locks its pods until then")


def _autoscaler_sentence(found: tuple[str, ...], deployment: Deployment) -> str:
    return (
        f"HorizontalPodAutoscaler {listed(list(found))} scales Deployment {deployment.name}, and a bot has one pod; "
        "delete it (with KEDA: its ScaledObject), or set its maxReplicas to 1"
    )


def _in_force(view: View, spec: TelegramBotSpec) -> Verdict:
    held = "replicas 0" if view.seen.deployment and view.seen.deployment.spec.replicas == 0 else "one replica"
    notes = f"{note(view.seen.admission)}{_token_note(view)}"
    said = f"Deployment {view.bot.target}: {held}, Recreate, {_lock_sentence(view, spec)}{notes}"
    if told := keeps_setting(view.seen.contest):
        return yes(Reason.FIELD_MANAGER_CONFLICT, f"{said}; {told}")
    return _repeated(view) or yes(Reason.PINNED, said)


def _repeated(view: View) -> Verdict | None:
    """What an operator before this one has said of a field manager: for a while only time can tell that it stopped."""
    said = view.seen.contest.said if view.seen.contest else None
    return yes(Reason.FIELD_MANAGER_CONFLICT, said) if said else None


def _lock_sentence(view: View, spec: TelegramBotSpec) -> str:
    if spec.lock is Lock.NONE:
        return "without a lock"
    turns = ", one turn at a time" if desired.is_gated(spec) else ""
    return f"locked on {view.seen.identity}{turns}{' at admission' if by_admission(view.seen, view.bot) else ''}"


def _token_note(view: View) -> str:
    if view.seen.token.state not in {TokenState.FORBIDDEN, TokenState.UNREADABLE}:
        return ""
    why = next((f" ({each})" for each in view.seen.failures if each.resource == "secrets"), "")
    return f"; the bot's token cannot be read, so its identity is {view.seen.identity}{why}"


def _conflicted(view: View) -> Verdict:
    """Say why Telegram answers 409; what only the previous status knows stays as it was said."""
    run = view.conflicts
    hooked = webhook_in_the_way(view)
    if hooked:
        return yes(Reason.WEBHOOK_ACTIVE, f"{hooked}{f' [{run.evidence}]' if run and run.active else ''}")
    if run is None or not run.active:
        return no(Reason.NO_CONFLICT, f"no 409 in the last {_clear_after(view)} s{_log_note(view)}")
    return _as_before(run, view) or yes(run.cause, f"{cause_sentence(run, view)} [{run.evidence}]")


def _as_before(run: Conflicts, view: View) -> Verdict | None:
    """Return what was said of a cause that only the previous status knows: an operator that starts finds it anew."""
    before = view.said_before(ConditionType.CONFLICTED)
    if run.telling is not None or run.cause in {Reason.WEBHOOK_ACTIVE, Reason.WEBHOOK_SET} or before is None:
        return None
    same = (before["status"], before["reason"]) == ("True", run.cause)
    return yes(run.cause, before["message"]) if same else None


def _log_note(view: View) -> str:
    if view.bot.spec and not view.bot.spec.conflict.logs:
        return "; logs are not read, as conflict.logs asks"
    return f"; {view.seen.log_problem}" if view.seen.log_problem else ""


def _clear_after(view: View) -> int:
    return view.bot.spec.conflict.clear_after_seconds if view.bot.spec else 300


def _reconciling(view: View, is_ready: Verdict, is_stalled: Verdict) -> Verdict:
    if view.plan.actions:
        return yes(Reason.REPAIRING, "changes are being made")
    if is_stalled.status == "True":
        return no(is_stalled.reason, "waits for a person")
    under_way = _transient(view.seen.failures) or _held_back(view) or _listening(view) or under_repair(view)
    if under_way:
        return yes(Reason.REPAIRING, under_way)
    if view.plan.hold is None and _being_rolled_out(view):
        return yes(Reason.ROLLING_OUT, f"Deployment {view.bot.target} is being rolled out")
    if is_ready.status == "True" or is_ready.reason is Reason.SUSPENDED:
        return no(Reason.SETTLED, "nothing to do")
    return yes(is_ready.reason if view.plan.hold else Reason.ROLLING_OUT, is_ready.message)


def _being_rolled_out(view: View) -> bool:
    """Whether the Deployment has something to do. Until it has acted on its latest change, the word before holds."""
    deployment = view.seen.deployment
    if deployment is None or deployment.settled:
        return deployment is not None and not deployment.rolled_out
    before = view.said_before(ConditionType.RECONCILING)
    return before is None or before["reason"] != Reason.SETTLED


def _held_back(view: View) -> str:
    if not view.plan.held_back:
        return ""
    found = listed([pod.name for pod, _ in view.plan.held_back])
    at = min(later.at for _, later in view.plan.held_back)
    return f"pod {found} is not force-deleted before {at:%H:%M:%S} UTC: at most {FORCED_A_MINUTE} are in a minute"


def _listening(view: View) -> str:
    if view.silence is None or view.silence.until is None or not view.listens:
        return ""
    until = f"{view.silence.until:%H:%M:%S} UTC"
    return f"listening to Telegram until {until}: if nobody polls until then, the process on the lost node is dead"


def _transient(failures: tuple[Failure, ...]) -> str:
    return next((str(each) for each in failures if not each.refused), "")
