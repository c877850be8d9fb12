"""The doctor's checks: an ordered list of named questions about one bot, each answered pass, fail or unknown.

A check answers None where its question makes no sense for this bot. One that needs what could not be read says so and
names the right that is missing. What is said fits on a line where all is well.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from ..api.models import Delivery, Lock
from ..names import ConditionType, Reason
from . import desired
from .classify import Death, because, death, overdue
from .doctor_facts import Account, Facts, Gap, Hook, Refused
from .doctor_log import ADVICE, as_told
from .entries import by_admission, in_force
from .observed import PodFinding, TokenState
from .records import Deployment, Pod, template_of

# So long past its deletionTimestamp, which includes the grace period, a kubelet has done what it can.
STUCK_SECONDS = 10
# Telegram keeps the last delivery error for ever; an older one is over.
ERROR_LASTS = timedelta(minutes=10)


class Outcome(StrEnum):
    """What came of a check."""

    PASS = "pass"  # noqa: S105  a verdict, not a password
    FAIL = "fail"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a check, why, and what to do about it; "" where there is nothing to do."""

    outcome: Outcome
    why: str
    todo: str = ""


@dataclass(frozen=True, slots=True)
class Line:
    """A check by its name, and what came of it."""

    check: str
    answer: Answer


def examine(facts: Facts) -> list[Line]:
    """Return what came of every check that makes sense for this bot, in order."""
    return [Line(name, answer) for name, check in CHECKS.items() if (answer := check(facts)) is not None]


def _passes(why: str) -> Answer:
    return Answer(Outcome.PASS, why)


def _fails(why: str, todo: str) -> Answer:
    return Answer(Outcome.FAIL, why, todo)


def _unknown(gap: Gap) -> Answer:
    return Answer(Outcome.UNKNOWN, gap.why, gap.todo)


# --- The Deployment and its pods --------------------------------------------------------------------------------------


def the_spec_is_understood(facts: Facts) -> Answer | None:
    """A TelegramBot that nobody can act on."""
    if facts.bot is None or facts.bot.spec is not None:
        return None
    return _fails(facts.bot.problem, f"kubectl -n {facts.namespace} edit telegrambot {facts.bot.name}")


def the_deployment_is_there(facts: Facts) -> Answer | None:
    """Without it nothing runs."""
    found, name = facts.deployment, facts.deployment_name
    if isinstance(found, Gap):
        return _unknown(found)
    if found is None:
        cure = "create it, or correct spec.deploymentRef.name"
        if facts.bot and not facts.bot.adopts:
            cure = "the operator makes it: see that one runs"
        return _fails(f"there is no Deployment {name} in namespace {facts.namespace}", cure)
    owner = found.metadata.controller
    if owner is not None and not (facts.bot and owner.uid == facts.bot.uid):
        cure = f"set one replica and the Recreate strategy in {owner.kind} {owner.name}"
        return _fails(f"{owner.kind} {owner.name} controls it and would undo every pin", cure)
    if found.metadata.deletion_timestamp is not None:
        return _fails(f"Deployment {name} is being deleted", "see who deletes it")
    return _passes(f"Deployment {name} is there")


def one_instance_may_poll(facts: Facts) -> Answer | None:
    """The promise itself."""
    if isinstance(facts.pods, Gap):
        return _unknown(facts.pods)
    pollers = facts.pollers
    if len(pollers) > max(facts.wanted, 1):
        return _fails(f"{len(pollers)} pods may be polling at once: {_listed(pollers, facts)}", _fewer(facts))
    if len(pollers) > facts.wanted:
        return _fails(f"{_listed(pollers, facts)} may be polling, and spec.suspend asks for none", _OPERATOR_ACTS)
    if not facts.wanted:
        return _passes("no pod can be polling, as spec.suspend asks")
    if not pollers:
        return _fails("no pod of it runs", _none_runs(facts))
    return _passes(f"pod {_listed(pollers, facts)} is the only one that can be polling")


_OPERATOR_ACTS = "the operator does it within seconds: see that one runs, and what it says below"


def _fewer(facts: Facts) -> str:
    if facts.bot is not None:
        return _OPERATOR_ACTS
    deployment = facts.deployment
    if isinstance(deployment, Deployment) and deployment.spec.replicas > 1:
        return "set one replica and Recreate as below, or apply the TelegramBot at the end, which does both"
    return "wait until the one that is being deleted has ended, or see the next check"


def _none_runs(facts: Facts) -> str:
    namespace = facts.namespace
    if isinstance(facts.deployment, Deployment) and not facts.deployment.spec.replicas and facts.bot is None:
        return f"kubectl -n {namespace} scale deployment {facts.deployment_name} --replicas=1"
    return f"kubectl -n {namespace} describe deployment {facts.deployment_name}"


def no_pod_is_stuck(facts: Facts) -> Answer | None:
    """A pod that hangs in Terminating long after its grace period."""
    if isinstance(facts.pods, Gap):
        return _unknown(facts.pods)
    stuck = [pod for pod in (*facts.pods, *facts.namesakes) if overdue(pod, STUCK_SECONDS, facts.now)]
    if not stuck:
        return _passes("no pod hangs in Terminating")
    pod = min(stuck, key=lambda each: each.name)
    verdict = death(pod, facts.nodes, facts.now)
    more = f" (and {len(stuck) - 1} more)" if len(stuck) > 1 else ""
    return _fails(f"pod {pod.name} hangs in Terminating{more}: {because(verdict)}", _unstick(pod, verdict))


def _unstick(pod: Pod, verdict: Death) -> str:
    if pod.metadata.finalizers:
        return f"see who should take off its finalizer {pod.metadata.finalizers[0]}"
    if verdict.proven:
        return f"kubectl -n {pod.metadata.namespace} delete pod {pod.name} --force: no process is left"
    node = pod.spec.node_name
    if verdict is Death.UNKNOWN:
        return f"see whether node {node} is well; do not force the pod away before its process has ended"
    if verdict is Death.NODE_LOST:
        return f"make sure that node {node} is off, then delete it or taint it out-of-service; do not force the pod"
    return f"look at the kubelet of node {node}; do not force the pod away: its process would live on"


def its_pod_is_ready(facts: Facts) -> Answer | None:
    """One pod, and it serves."""
    if isinstance(facts.pods, Gap) or not facts.wanted:
        return None
    staying = [pod for pod in facts.pollers if not pod.deleting]
    if not staying:
        return None
    unready = [pod for pod in staying if not pod.ready]
    if not unready:
        return _passes("it is Ready" if len(staying) == 1 else "they are Ready")
    pod = unready[0]
    why = f"pod {pod.name} is not Ready{_trouble(pod)}"
    return _fails(why, f"see the log below, or: kubectl -n {pod.metadata.namespace} describe pod {pod.name}")


def _trouble(pod: Pod) -> str:
    for each in pod.status.container_statuses:
        restarts = f", {each.restart_count} restarts" if each.restart_count else ""
        if each.state.waiting and each.state.waiting.reason:
            return f": {each.state.waiting.reason}{restarts}"
        if each.state.terminated:
            return f": it ended with exit code {each.state.terminated.exit_code}{restarts}"
    return ""


# --- The pin ----------------------------------------------------------------------------------------------------------


def one_replica(facts: Facts) -> Answer | None:
    """A Deployment with two is two pollers."""
    if not isinstance(facts.deployment, Deployment):
        return None
    count, wanted = facts.deployment.spec.replicas, facts.wanted
    if count == wanted:
        return _passes(f"replicas {count}" + ("" if wanted else ", as spec.suspend asks"))
    scale = f"kubectl -n {facts.namespace} scale deployment {facts.deployment_name} --replicas={wanted}"
    return _fails(f"replicas {count}, and a bot has {wanted or 'none while suspended'}", _or_operator(facts, scale))


def recreate_strategy(facts: Facts) -> Answer | None:
    """RollingUpdate starts the new pod beside the old one."""
    if not isinstance(facts.deployment, Deployment):
        return None
    strategy = facts.deployment.spec.strategy.type
    if strategy == "Recreate":
        return _passes("Recreate: the old pod is deleted before the new one is made")
    cure = "set spec.strategy to {type: Recreate} in the Deployment"
    return _fails(f"{strategy}: every rollout runs two pods at once", _or_operator(facts, cure))


def _or_operator(facts: Facts, command: str) -> str:
    return command if facts.bot is None else _OPERATOR_ACTS


def lock_in_force(facts: Facts) -> Answer | None:
    """Recreate does not cover deleted pods, evictions and rollbacks; the lock does."""
    deployment, spec = facts.deployment, facts.spec
    if not isinstance(deployment, Deployment):
        return None
    if spec.lock is Lock.NONE:
        return _passes("none, as spec.lock asks")
    if desired.lock_in_force(template_of(deployment), facts.identity, gated=desired.is_gated(spec)):
        return _passes(f"the pod template is locked on {facts.identity}")
    told = _told_to_lock(facts)
    if told is not None:
        return told
    why = "nothing keeps a second pod from starting when one is deleted, evicted or rolled back"
    return _fails(why, "apply the TelegramBot at the end" if facts.bot is None else _OPERATOR_ACTS)


def _told_to_lock(facts: Facts) -> Answer | None:
    """What the admission policies do about it; None where they do nothing."""
    if facts.bot is None:
        return None
    if isinstance(facts.admission, Gap):
        return _unknown(facts.admission)
    seen = facts.observed(facts.admission)
    if by_admission(seen, facts.bot) and in_force(seen, facts.bot, facts.spec):
        return _passes(f"the admission policies lock its pods on {facts.identity}")
    return None


def no_autoscaler(facts: Facts) -> Answer | None:
    """A HorizontalPodAutoscaler, KEDA's included, makes more pods than one."""
    if not isinstance(facts.deployment, Deployment):
        return None
    if isinstance(facts.autoscalers, Gap):
        return _unknown(facts.autoscalers)
    if not facts.autoscalers:
        return _passes("no autoscaler scales it")
    found = ", ".join(facts.autoscalers)
    cure = "delete it (with KEDA: its ScaledObject), or set its maxReplicas to 1"
    return _fails(f"HorizontalPodAutoscaler {found} scales it beyond one pod", cure)


# --- The token --------------------------------------------------------------------------------------------------------


def token_is_readable(facts: Facts) -> Answer | None:
    """Where the token is, and whether what is there looks like one."""
    if isinstance(facts.place, Gap):
        return _unknown(facts.place)
    if facts.place is None:
        return _no_place(facts)
    if isinstance(facts.token, Gap):
        return _unknown(facts.token)
    match facts.token.state:
        case TokenState.VALID if facts.place.secret is None:
            cure = "put it into a Secret: whoever may read the Deployment can take the bot over"
            return _fails(f"it is {facts.place}, in plain text", cure)
        case TokenState.VALID:
            return _passes(f"{facts.place} holds the token of bot {facts.token.bot_id}")
        case TokenState.SECRET_NOT_FOUND:
            why = f"there is no Secret {facts.place.secret.name if facts.place.secret else ''}"
        case TokenState.KEY_NOT_FOUND:
            why = f"there is no {facts.place}"
        case TokenState.EMPTY:
            why = f"{facts.place} is empty"
        case _:
            why = f"{facts.place} does not hold a bot token (digits, a colon, then 35 characters)"
    return _fails(why, "put there what @BotFather gave")


def _no_place(facts: Facts) -> Answer:
    if facts.bot is not None:
        todo = "name its Secret in spec.token, so that Telegram can be asked"
        return Answer(Outcome.UNKNOWN, "the TelegramBot does not say where the token is", todo)
    todo = "name its Secret in spec.token of the TelegramBot at the end"
    return Answer(Outcome.UNKNOWN, "no variable of the pod template holds a bot token", todo)


def telegram_takes_it(facts: Facts) -> Answer | None:
    """A token of the right form may still be revoked, or another bot's."""
    match facts.account:
        case Gap() as gap:
            return _unknown(gap)
        case Refused(words):
            return _fails(f"Telegram refuses the token: {words}", "put a fresh one from @BotFather into the Secret")
        case Account(_, username):
            return _passes(f"Telegram knows the token: it is @{username}'s")
    return None


def nobody_else_uses_the_token(facts: Facts) -> Answer | None:
    """Another TelegramBot, Deployment or pod that polls the same bot."""
    if facts.place is None or isinstance(facts.place, Gap):
        return None
    users = facts.users
    if users.found:
        cure = "stop it, or give it a bot of its own from @BotFather"
        return _fails(f"the same token is used by {', '.join(users.found)}", cure)
    if users.perhaps:
        why = f"{', '.join(users.perhaps)} gets the token, among other keys of the Secret"
        return Answer(Outcome.UNKNOWN, why, "make sure that it does not poll, or give the token a Secret of its own")
    return _unknown(users.unseen) if users.unseen else _passes("nobody else in this cluster is seen to use the token")


# --- Telegram and the logs --------------------------------------------------------------------------------------------


def webhook_matches_delivery(facts: Facts) -> Answer | None:
    """Nobody can poll while a webhook is set."""
    match facts.hook:
        case Gap() as gap:
            return _unknown(gap)
        case Hook() as hook:
            return _hooked(hook, facts) if facts.spec.delivery is Delivery.WEBHOOK else _polled(hook, facts)
    return None


def _polled(hook: Hook, facts: Facts) -> Answer:
    if not hook.url:
        return _passes("no webhook is set, so the bot can poll")
    if facts.bot is None and _serves_the_webhook(facts):
        return _passes(f"a webhook is set at {hook.host}, and by its log the bot set it")
    cure = "find who sets it and call deleteWebhook (waiting updates are kept), or run the bot with delivery: Webhook"
    return _fails(f"a webhook is set at {hook.host}, so nobody can poll", cure)


def _serves_the_webhook(facts: Facts) -> bool:
    logs = () if isinstance(facts.logs, Gap) else facts.logs
    return any(log.hooks and not log.polls and not log.findings for log in logs)


def _hooked(hook: Hook, facts: Facts) -> Answer:
    wanted = facts.spec.webhook.url if facts.spec.webhook else ""
    if not hook.url:
        return _fails("no webhook is set, so the bot gets nothing", "start the bot anew, or call setWebhook")
    if hook.url != wanted:
        expected = Hook(wanted).host
        told = f"at {hook.host}, not at {expected}" if hook.host != expected else f"at another address of {hook.host}"
        return _fails(f"the webhook is set {told}", "find who sets it, or correct spec.webhook.url")
    if hook.error and hook.error_at and facts.now - hook.error_at < ERROR_LASTS:
        cure = f"look at the way from the Internet to {hook.host}"
        return _fails(f"Telegram cannot deliver to {hook.host}: {hook.error}", cure)
    return _passes(f"the webhook is set at {hook.host}, as spec.webhook says")


def no_409_in_the_log(facts: Facts) -> Answer | None:
    """Whoever reads a 409 is the victim: the log says that there was one, not who did it."""
    for unread in (facts.pods, facts.logs):
        if isinstance(unread, Gap):
            return _unknown(unread)
    if isinstance(facts.logs, Gap) or not facts.logs:
        return None
    found = sorted((each for log in facts.logs for each in log.findings), key=lambda each: each.at)
    fresh = [each for each in found if facts.now - each.at < facts.recent]
    if fresh:
        told = as_told(fresh[-1].finding.kind)
        over = f"; passes {_span(facts.recent)} after the last one"
        return _fails(f"{_counted(fresh, facts)}: {fresh[-1].finding.evidence}", ADVICE[told] + over)
    if found:
        return _passes(f"no 409 in the last {_span(facts.recent)}; the last one was {_ago(found[-1].at, facts)}")
    return _passes("no 409 in the log")


def _counted(found: list[PodFinding], facts: Facts) -> str:
    times = "a 409" if len(found) == 1 else f"{len(found)} 409s"
    pods = sorted({each.pod for each in found})
    where = f"pod {pods[0]}" if len(pods) == 1 else f"{len(pods)} pods"
    return f"{times} in the log of {where}, the last {_ago(found[-1].at, facts)}"


def it_fetches_updates(facts: Facts) -> Answer | None:
    """The good sign: its log says that it polls, or nothing waits for it at Telegram."""
    hooked = isinstance(facts.hook, Hook) and facts.hook.url
    if facts.spec.delivery is Delivery.WEBHOOK or hooked:
        return None  # that has been said
    if isinstance(facts.pods, Gap):
        return _unknown(facts.pods)
    return (_seems_deaf(facts) or _good_sign(facts)) if facts.pollers else None


def _seems_deaf(facts: Facts) -> Answer | None:
    hook = facts.hook
    if not isinstance(hook, Hook) or not hook.pending or hook.fell:
        return None
    todo = "send it a message; if it does not answer, restart it: such a bot is deaf"
    return Answer(Outcome.UNKNOWN, f"{hook.pending} updates wait at Telegram and did not get fewer meanwhile", todo)


def _good_sign(facts: Facts) -> Answer:
    told = isinstance(facts.hook, Hook)
    if not isinstance(facts.logs, Gap) and any(log.polls for log in facts.logs):
        return _passes("its log says that it polls" + (", and no update is left waiting at Telegram" if told else ""))
    if told:
        return _passes("its log does not say that it polls, but no update is left waiting at Telegram")
    if isinstance(facts.logs, Gap):
        return _unknown(facts.logs)
    todo = "send it a message and see whether it answers"
    return Answer(Outcome.UNKNOWN, "its log does not say that it polls; not every library does", todo)


# --- The operator -----------------------------------------------------------------------------------------------------


def the_operator_is_content(facts: Facts) -> Answer | None:
    """What the TelegramBot's own status says."""
    if facts.bot is None or facts.bot.spec is None:
        return None
    said = {each["type"]: each for each in facts.bot.status.get("conditions") or []}
    if not said:
        return _fails("no operator has looked at this TelegramBot", "start one: telegrambot-operator run")
    if facts.bot.status.get("observedGeneration", 0) < facts.bot.generation:
        return _fails("no operator has acted on its latest change", "see that one runs: telegrambot-operator run")
    stalled, ready = said.get(ConditionType.STALLED, {}), said.get(ConditionType.READY, {})
    if stalled.get("status") == "True":
        return _fails(f"Stalled, {stalled['reason']}: {stalled['message']}", "do what it says")
    if ready.get("status") == "True" or ready.get("reason") == Reason.SUSPENDED:
        return _passes(f"{ready['reason']}: {ready['message']}")
    return _fails(f"not Ready, {ready.get('reason')}: {ready.get('message')}", "wait, or do what it says")


def _listed(pods: tuple[Pod, ...], facts: Facts) -> str:
    return ", ".join(_named(pod, facts) for pod in pods)


def _named(pod: Pod, facts: Facts) -> str:
    name = pod.name if pod.metadata.namespace == facts.namespace else f"{pod.metadata.namespace}/{pod.name}"
    return f"{name} (Terminating)" if pod.deleting else name


def _ago(at: datetime, facts: Facts) -> str:
    return f"{_span(max(facts.now - at, timedelta(0)))} ago"


def _span(length: timedelta) -> str:
    seconds = int(length.total_seconds())
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size or seconds == size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


CHECKS: dict[str, Callable[[Facts], Answer | None]] = {
    "spec": the_spec_is_understood,
    "deployment": the_deployment_is_there,
    "one-instance": one_instance_may_poll,
    "pod-ready": its_pod_is_ready,
    "stuck-pods": no_pod_is_stuck,
    "replicas": one_replica,
    "strategy": recreate_strategy,
    "lock": lock_in_force,
    "autoscaler": no_autoscaler,
    "token": token_is_readable,
    "telegram": telegram_takes_it,
    "sole-user": nobody_else_uses_the_token,
    "webhook": webhook_matches_delivery,
    "no-409": no_409_in_the_log,
    "polling": it_fetches_updates,
    "operator": the_operator_is_content,
}
