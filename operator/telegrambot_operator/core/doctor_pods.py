"""The doctor's checks of a Deployment and its pods: is it one, is it pinned, and does anything hang?"""

from ..api.models import Lock
from . import desired
from .classify import Death, because, death, overdue
from .doctor_answer import Answer, fails, passes, unread
from .doctor_facts import Facts, Gap
from .entries import by_admission, in_force
from .records import Deployment, Pod, template_of

# So long past its deletionTimestamp, which includes the grace period, a kubelet has done what it can.
STUCK_SECONDS = 10
OPERATOR_ACTS = "the operator does it within seconds: see that one runs, and what it says below"


def the_spec_is_understood(facts: Facts) -> Answer | None:
    """A TelegramBot that nobody can act on."""
    if facts.bot is None or facts.bot.spec is not None:
        return None
    return fails(facts.bot.problem, f"kubectl -n {facts.namespace} edit telegrambot {facts.bot.name}")


def the_deployment_is_there(facts: Facts) -> Answer | None:
    """Without it nothing runs."""
    found, name = facts.deployment, facts.deployment_name
    if isinstance(found, Gap):
        return unread(found)
    if found is None:
        cure = "create it, or correct spec.deploymentRef.name"
        if facts.bot and not facts.bot.adopts:
            cure = "the operator makes it: see that one runs"
        return fails(f"there is no Deployment {name} in namespace {facts.namespace}", cure)
    owner = found.metadata.controller
    if owner is not None and not (facts.bot and owner.uid == facts.bot.uid):
        cure = f"set one replica and the Recreate strategy in {owner.kind} {owner.name}"
        return fails(f"{owner.kind} {owner.name} controls it and would undo every pin", cure)
    if found.metadata.deletion_timestamp is not None:
        return fails(f"Deployment {name} is being deleted", "see who deletes it")
    return passes(f"Deployment {name} is there")


def one_instance_may_poll(facts: Facts) -> Answer | None:
    """The promise itself."""
    if isinstance(facts.pods, Gap):
        return unread(facts.pods)
    if facts.pollers:
        return _counted(facts)
    if facts.deployment is None:
        return None
    if not facts.wanted:
        return passes(f"no pod can be polling, {facts.why_none}")
    return fails("no pod of it runs", _none_runs(facts))


def _counted(facts: Facts) -> Answer:
    found = ", ".join(_named(pod, facts) for pod in facts.pollers)
    if len(facts.pollers) > 1:
        return fails(f"{len(facts.pollers)} pods may be polling at once: {found}", _fewer(facts))
    if not facts.wanted:
        return fails(f"pod {found} may be polling, and none should, {facts.why_none}", OPERATOR_ACTS)
    return passes(f"pod {found} is the only one that can be polling")


def _fewer(facts: Facts) -> str:
    if facts.bot is not None:
        return OPERATOR_ACTS
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
        return unread(facts.pods)
    stuck = [pod for pod in facts.all_pods if overdue(pod, STUCK_SECONDS, facts.now)]
    if not stuck:
        return passes("no pod hangs in Terminating")
    pod = min(stuck, key=lambda each: each.name)
    verdict = death(pod, facts.nodes, facts.now)
    more = f" (and {len(stuck) - 1} more)" if len(stuck) > 1 else ""
    return fails(f"pod {pod.name} hangs in Terminating{more}: {because(verdict)}", _unstick(pod, verdict))


def _unstick(pod: Pod, verdict: Death) -> str:
    if pod.metadata.finalizers:
        return f"see who should take off its finalizer {pod.metadata.finalizers[0]}"
    if verdict.proven:
        return f"no process is left: kubectl -n {pod.metadata.namespace} delete pod {pod.name} --force"
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
        return passes("it is Ready" if len(staying) == 1 else "they are Ready")
    pod = unready[0]
    why = f"pod {pod.name} is not Ready{_trouble(pod)}"
    return fails(why, f"see the log below, or: kubectl -n {pod.metadata.namespace} describe pod {pod.name}")


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
        return passes(f"replicas {count}" + ("" if wanted else f", {facts.why_none}"))
    scale = f"kubectl -n {facts.namespace} scale deployment {facts.deployment_name} --replicas={wanted}"
    why = (
        f"replicas {count}, and a bot has 1"
        if wanted
        else f"replicas {count}, and there should be none, {facts.why_none}"
    )
    return fails(why, _or_operator(facts, scale))


def recreate_strategy(facts: Facts) -> Answer | None:
    """RollingUpdate starts the new pod beside the old one."""
    if not isinstance(facts.deployment, Deployment):
        return None
    strategy = facts.deployment.spec.strategy.type
    if strategy == "Recreate":
        return passes("Recreate: the old pod is deleted before the new one is made")
    cure = "set spec.strategy to {type: Recreate} in the Deployment"
    return fails(f"{strategy}: every rollout runs two pods at once", _or_operator(facts, cure))


def _or_operator(facts: Facts, command: str) -> str:
    return command if facts.bot is None else OPERATOR_ACTS


def lock_in_force(facts: Facts) -> Answer | None:
    """Recreate does not cover deleted pods, evictions and rollbacks; the lock does."""
    deployment, spec = facts.deployment, facts.spec
    if not isinstance(deployment, Deployment):
        return None
    if spec.lock is Lock.NONE:
        return passes("none, as spec.lock asks")
    if desired.lock_in_force(template_of(deployment), facts.identity, gated=desired.is_gated(spec)):
        return passes(f"the pod template is locked on {facts.identity}")
    told = _told_to_lock(facts)
    if told is not None:
        return told
    why = "nothing keeps a second pod from starting when one is deleted, evicted or rolled back"
    return fails(why, "apply the TelegramBot at the end" if facts.bot is None else OPERATOR_ACTS)


def _told_to_lock(facts: Facts) -> Answer | None:
    """What the admission policies do about it; None where they do nothing."""
    if facts.bot is None:
        return None
    if isinstance(facts.admission, Gap):
        return unread(facts.admission)
    seen = facts.observed(facts.admission)
    if by_admission(seen, facts.bot) and in_force(seen, facts.bot, facts.spec):
        return passes(f"the admission policies lock its pods on {facts.identity}")
    return None


def no_autoscaler(facts: Facts) -> Answer | None:
    """A HorizontalPodAutoscaler, KEDA's included, makes more pods than one."""
    if not isinstance(facts.deployment, Deployment):
        return None
    if isinstance(facts.autoscalers, Gap):
        return unread(facts.autoscalers)
    if not facts.autoscalers:
        return passes("no autoscaler scales it")
    found = ", ".join(facts.autoscalers)
    cure = "delete it (with KEDA: its ScaledObject), or set its maxReplicas to 1"
    return fails(f"HorizontalPodAutoscaler {found} scales it beyond one pod", cure)


def _named(pod: Pod, facts: Facts) -> str:
    name = pod.name if pod.metadata.namespace == facts.namespace else f"{pod.metadata.namespace}/{pod.name}"
    return f"{name} (Terminating)" if pod.deleting else name
