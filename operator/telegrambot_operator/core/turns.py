"""What to do about turns: which held pod is opened, and what the Lease has to say of a pod that runs.

Only `lock: Gate` takes turns. A pod that is held though its bot takes none any more is opened: its template had the
scheduler's lock as well.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from .actions import Action, ClaimTurn, OpenPod
from .classify import Life, life, may_poll
from .desired import is_gated
from .observed import Bot, Observed
from .ownership import belongs
from .records import Deployment, Pod
from .turn import Claim, Turn, Verdict, after_the_holder, may_be_opened


@dataclass(frozen=True, slots=True)
class Turns:
    """What to do now, and why the held pod waits, if one does."""

    actions: tuple[Action, ...] = ()
    waits: Verdict | None = None


def held(seen: Observed) -> list[Pod]:
    """Return the bot's own pods that wait behind the gate, newest first."""
    return held_of(seen.deployment, seen.pods)


def held_of(deployment: Deployment | None, pods: Iterable[Pod]) -> list[Pod]:
    """Return the pods of a Deployment that wait behind the gate, newest first."""
    mine = [pod for pod in pods if pod.gated and not pod.deleting and life(pod) is Life.HELD]
    mine = [pod for pod in mine if belongs(pod, deployment)]
    return sorted(mine, key=lambda pod: (str(pod.metadata.creation_timestamp), pod.uid), reverse=True)


def turns(seen: Observed, bot: Bot, count: int) -> Turns:
    """Return what to do about the turns of one bot that may have `count` pods."""
    waiting = held(seen)
    if count == 0 or seen.pods_unknown is not None:
        return Turns()
    if not is_gated(bot.spec):
        return Turns(tuple(_open(pod, None, f"Pod {pod.name} is opened: its bot takes no turns.") for pod in waiting))
    if seen.claim is None:
        return Turns()
    if not waiting:
        return Turns(_note_the_one_that_runs(seen, seen.claim))
    pod = next((each for each in waiting if each.uid == seen.claim.uid), waiting[0])
    verdict = may_be_opened(pod, seen.pods, seen.claim, seen.nodes, seen.ended)
    if verdict.turn is not Turn.OPEN:
        return Turns(waits=verdict)
    claim = _claim(pod, seen.identity, seen.claim)
    opened = _open(pod, claim, f"Pod {pod.name} is opened: no other pod of bot {seen.identity} can be polling.")
    vanished = seen.ended.get(seen.claim.uid)
    return Turns((replace(opened, by_silence=vanished is not None and vanished.silent),))


def _note_the_one_that_runs(seen: Observed, claim: Claim) -> tuple[Action, ...]:
    """Where a pod runs is noted on the Lease while it is known: once the pod has vanished, nobody could tell."""
    running = [pod for pod in seen.pods if may_poll(pod)]
    if len(running) != 1 or running[0].metadata.namespace != seen.namespace:
        return ()
    pod = running[0]
    may_pass = after_the_holder(pod, seen.pods, claim, seen.nodes, seen.ended).turn is Turn.OPEN
    if not may_pass or noted(pod) == (claim.uid, claim.node, claim.grace):
        return ()
    return (_claim(pod, seen.identity, claim),)


def noted(pod: Pod) -> tuple[str, str, int]:
    """Return what the Lease should say of a pod that runs: its uid, its node, and its seconds to stop.

    A deletion may give it more of them than its spec does.
    """
    grace = max(pod.spec.termination_grace_period_seconds, pod.metadata.deletion_grace_period_seconds or 0)
    return pod.uid, pod.spec.node_name, grace


def _claim(pod: Pod, identity: str, before: Claim) -> ClaimTurn:
    _, node, grace = noted(pod)
    return ClaimTurn(
        namespace=pod.metadata.namespace,
        pod=pod.name,
        uid=pod.uid,
        identity=identity,
        version=before.version,
        before=before.uid,
        node=node,
        grace=grace,
    )


def open_pod(pod: Pod, before: Claim | None, why: str) -> OpenPod:
    """Return the opening of a held pod, as the holder of its bot's turn where there is a Lease for that."""
    identity = pod.metadata.labels.bot
    claim = _claim(pod, identity, before) if identity and before and before.version else None
    return _open(pod, claim, why)


def _open(pod: Pod, claim: ClaimTurn | None, why: str) -> OpenPod:
    gates = tuple(gate.name for gate in pod.spec.scheduling_gates)
    return OpenPod(pod.metadata.namespace, pod.name, pod.uid, gates, claim, why)
