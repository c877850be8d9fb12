"""The Ready condition: one ready pod, pinned, no conflict; else the first reason why not."""

from collections.abc import Callable

from ..names import ConditionType, Reason
from .classify import Life, life
from .holds import identity_winner
from .records import ContainerStatus, Deployment, Pod
from .telling import gets_no_updates, note
from .view import Verdict, View, duplicate_sentence, listed, no, token_problem, where, yes

Check = Callable[[View], Verdict | None]


def ready(view: View, pinned: Verdict, conflicted: Verdict) -> Verdict:
    """Return the verdict; what the other conditions have found comes in, so that all of them say the same."""
    checks: tuple[Check, ...] = (
        nothing_can_be_done,
        another_bot_holds_the_identity,
        it_is_suspended,
        token_problem,
        lambda _: no(Reason.CONFLICT, conflicted.message) if conflicted.status == "True" else None,
        lambda _: no(pinned.reason, pinned.message) if pinned.status != "True" else None,
    )
    return next((why for check in checks if (why := check(view)) is not None), None) or _ready_pod(view)


def nothing_can_be_done(view: View) -> Verdict | None:
    """The plan is on hold."""
    return no(view.plan.hold.reason, view.plan.hold.message) if view.plan.hold is not None else None


def another_bot_holds_the_identity(view: View) -> Verdict | None:
    """An older TelegramBot runs the same bot."""
    loses = identity_winner(view.seen, view.bot) is not None
    return no(Reason.DUPLICATE_BOT, duplicate_sentence(view)) if loses else None


def it_is_suspended(view: View) -> Verdict | None:
    """Zero pods, on purpose."""
    if view.bot.spec is None or not view.bot.spec.suspend:
        return None
    left = f"; pod {view.pod.name} is still there" if view.pod else ""
    return no(Reason.SUSPENDED, f"suspended on purpose{left}")


def _ready_pod(view: View) -> Verdict:
    pod = view.pod
    if pod is None or pod.deleting:
        return _no_pod(view)
    if life(pod) is Life.HELD:
        return _unbound(pod, view)
    return _crash(pod) or (_running(pod, view) if pod.ready else _not_ready(pod))


def _running(pod: Pod, view: View) -> Verdict:
    if len(view.pollers) > 1:
        others = listed([where(each, view) for each in view.pollers if each.uid != pod.uid])
        return no(Reason.DUPLICATE_PODS, f"pod {pod.name} is ready, but {others} may be polling too")
    well = yes(Reason.RUNNING, f"pod {pod.name} runs on {pod.spec.node_name}{note(view)}")
    return _about_to_go(pod, view) or gets_no_updates(view) or well


def _about_to_go(pod: Pod, view: View) -> Verdict | None:
    """Whether the Deployment is about to replace the pod. While that is not known, nothing flickers: Ready stays."""
    deployment = view.seen.deployment
    if deployment is None or deployment.rolled_out:
        return None
    if deployment.settled:
        return no(Reason.STARTING, f"pod {pod.name} runs the previous version; it is about to be replaced")
    before = view.said_before(ConditionType.READY)
    if before is not None and before["status"] == "True":
        return None
    return no(Reason.STARTING, f"Deployment {deployment.name} has not acted on its latest change yet")


def _no_pod(view: View) -> Verdict:
    deployment = view.seen.deployment
    failing = _deployment_condition(deployment, "ReplicaFailure")
    if failing:
        return no(Reason.DEPLOYMENT_FAILED, failing)
    if view.pod is not None:
        return no(Reason.WAITING_FOR_TURN, f"pod {view.pod.name} is being deleted; the next one waits until it is gone")
    return no(Reason.STARTING, "the Deployment has not made a pod yet")


def _deployment_condition(deployment: Deployment | None, kind: str) -> str:
    found = [each for each in deployment.status.conditions if each.type == kind] if deployment else []
    return found[0].message if found and found[0].status == "True" else ""


def _unbound(pod: Pod, view: View) -> Verdict:
    if pod.gated and view.plan.waits is not None:
        return no(Reason.WAITING_FOR_TURN, f"pod {pod.name} waits for its turn: {view.plan.waits.why}")
    ahead = [each for each in view.pollers if each.uid != pod.uid]
    if ahead:
        return no(
            Reason.WAITING_FOR_TURN,
            f"pod {pod.name} waits until {listed([where(each, view) for each in ahead])} is gone",
        )
    told = next((each.message for each in pod.status.conditions if each.type == "PodScheduled" and each.message), "")
    return no(Reason.STARTING, f"pod {pod.name} is not scheduled yet{': ' + told if told else ''}")


def _crash(pod: Pod) -> Verdict | None:
    looping = [
        each
        for each in pod.status.container_statuses
        if each.state.waiting and each.state.waiting.reason == "CrashLoopBackOff"
    ]
    ended = [each for each in pod.status.container_statuses if each.state.terminated and each.restart_count]
    for each in (*looping, *ended):
        return no(Reason.CRASH_LOOP, f"container {each.name} of pod {pod.name} keeps ending{_exit(each)}")
    return None


def _exit(container: ContainerStatus) -> str:
    ended = container.state.terminated or container.last_state.terminated
    return f" (exit code {ended.exit_code}, {ended.reason})" if ended else ""


def _not_ready(pod: Pod) -> Verdict:
    waiting = [each.state.waiting for each in pod.status.container_statuses if each.state.waiting]
    telling = next((each for each in waiting if each.reason not in {"", "ContainerCreating", "PodInitializing"}), None)
    if telling:
        return no(
            Reason.POD_NOT_READY, f"pod {pod.name}: {telling.reason}{': ' + telling.message if telling.message else ''}"
        )
    if pod.status.phase == "Pending" or waiting:
        return no(Reason.STARTING, f"pod {pod.name} is starting on {pod.spec.node_name}")
    return no(Reason.POD_NOT_READY, f"pod {pod.name} runs but is not ready")
