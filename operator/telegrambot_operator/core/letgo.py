"""Letting go by hand, with the operator gone (`telegrambot-operator release`): what is done next about one Deployment.

The order is the order of safety:
1. Recreate, and one replica at most: without a lock, every replica would poll.
2. The lock comes off when the Deployment is calm and nobody waits behind it, as in `core/release.py`. In a hurry that
   is not waited for.
3. The lock table of the admission policies loses the Deployment before the template does and before a held pod is
   opened: what replaces that pod is then born free.
4. A pod that is held still is opened, by the rules of `core/turn.py`: never beside another that may be polling, and
   never in doubt, however much of a hurry there is.
5. The mark comes off last: by it the Deployment is found again if this ends in the middle. One that a TelegramBot owns
   keeps it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from .. import names
from . import desired, table
from .actions import Action
from .classify import Life, life, may_poll
from .ownership import belongs
from .records import Deployment, Node, Pod, template_of
from .release import Stage, calm, owned, patch, stage
from .turn import Claim, Turn, Vanished, Verdict, may_be_opened
from .turns import held_of, open_pod


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is known of one Deployment, read live. `claim` is None where the Lease of its bot could not be read."""

    deployment: Deployment
    pods: tuple[Pod, ...] = ()  # all of its identity that we may see, and its own
    table: Mapping[str, str] = field(default_factory=dict)
    table_version: str = ""
    claim: Claim | None = field(default_factory=Claim)
    nodes: Mapping[str, Node | None] = field(default_factory=dict)
    ended: Mapping[str, Vanished | None] = field(default_factory=dict)
    hurry: bool = False

    @property
    def locked(self) -> bool:
        """Whether its pods are born with a lock or a gate of ours."""
        in_template = desired.locked(self.deployment) or template_of(self.deployment).gated
        return in_template or self.deployment.name in self.table

    @property
    def mine(self) -> list[Pod]:
        """Its own pods that are not on their way out."""
        return [pod for pod in self.pods if belongs(pod, self.deployment) and not pod.deleting]

    @property
    def held(self) -> Pod | None:
        """A pod of its own that waits behind our gate: the one whose turn it is, if it is one's."""
        held = held_of(self.deployment, self.pods)
        turn = self.claim.uid if self.claim else ""
        return min(held, key=lambda pod: (pod.uid != turn, pod.uid), default=None)


@dataclass(frozen=True, slots=True)
class ChangeTable:
    """Merge-patch the lock table of a namespace, as it was read."""

    namespace: str
    version: str
    data: Mapping[str, str | None]


@dataclass(frozen=True, slots=True)
class Do:
    """The next step, and what it did as a part of a sentence. `opens`: a pod. `risky`: two may run for a moment."""

    action: Action | ChangeTable
    did: str
    opens: bool = False
    risky: bool = False


@dataclass(frozen=True, slots=True)
class Wait:
    """Why nothing is done now, and what a person can do if that does not change."""

    why: str
    cure: str


@dataclass(frozen=True, slots=True)
class Done:
    """Nothing of ours holds its pods any more; `note` is what a person has to know of that."""

    note: str = ""


Step = Do | Wait | Done
Check = Callable[[Facts], Step | None]

_AGAIN = "run it again when that is over, or with --now"


def next_step(facts: Facts) -> Step:
    """Return what comes next, by the first check that has something to say."""
    checks: tuple[Check, ...] = (
        it_is_being_deleted,
        recreate_comes_first,
        one_replica_comes_first,
        it_is_not_calm,
        somebody_waits_behind_the_lock,
        the_lock_table_names_it,
        its_template_is_locked,
        its_rollout_replaces_what_is_held,
        a_pod_is_held,
        it_is_marked,
    )
    return next((step for check in checks if (step := check(facts)) is not None), Done(_note(facts)))


def it_is_being_deleted(facts: Facts) -> Step | None:
    """Nothing is written to a Deployment that goes."""
    return Done("It is being deleted") if facts.deployment.metadata.deletion_timestamp else None


def recreate_comes_first(facts: Facts) -> Step | None:
    """What takes the lock off is a rollout."""
    if _stage(facts) is not Stage.RECREATE_FIRST:
        return None
    did = f"strategy {facts.deployment.spec.strategy.type} -> Recreate"
    return Do(patch(facts.deployment, {"spec": desired.PIN}, did), did)


def one_replica_comes_first(facts: Facts) -> Step | None:
    """Replicas that somebody set while no operator looked wait behind the lock, and would all start without it."""
    deployment = facts.deployment
    if not facts.locked or deployment.spec.replicas <= 1:
        return None
    if not desired.may_be_scaled(deployment):
        return Wait("its controller has to act on its last change", "see `kubectl rollout status` of it")
    did = f"replicas {deployment.spec.replicas} -> 1"
    return Do(patch(deployment, {"spec": {"replicas": 1}}, did), did)


def it_is_not_calm(facts: Facts) -> Step | None:
    """A pod on its way out may be what the next one waits for."""
    if facts.hurry or _stage(facts) is not Stage.NOT_CALM:
        return None
    going = sorted(pod.name for pod in facts.pods if belongs(pod, facts.deployment) and pod.deleting)
    why = f"pod {', '.join(going)} is on its way out" if going else "its rollout is under way"
    return Wait(why, _AGAIN)


def somebody_waits_behind_the_lock(facts: Facts) -> Step | None:
    """A pod that was never started has a reason to wait: without the lock nothing would hold it."""
    why = _waits_behind_the_lock(facts)
    return None if facts.hurry or not why else Wait(why, _AGAIN)


def the_lock_table_names_it(facts: Facts) -> Step | None:
    """The policies would gate and lock every new pod of it."""
    name = facts.deployment.name
    if name not in facts.table:
        return None
    entry = table.parse(facts.table[name])
    bot = entry.bot if entry else facts.deployment.metadata.labels.owner or ""
    data = {**table.changes(facts.table, bot, {}, {}), name: None}
    change = ChangeTable(facts.deployment.metadata.namespace, facts.table_version, data)
    return Do(change, "taken out of the lock table", risky=_risky(facts))


def its_template_is_locked(facts: Facts) -> Step | None:
    """Taking the lock out of the template rolls the Deployment out once."""
    template = template_of(facts.deployment)
    if not desired.locked(facts.deployment) and not template.gated:
        return None
    what = "lock and gate" if template.gated else "lock"
    body = desired.unlock_patch(facts.deployment)
    did = f"{what} taken out of the pod template"
    return Do(patch(facts.deployment, body, did), did, risky=_risky(facts))


def its_rollout_replaces_what_is_held(facts: Facts) -> Step | None:
    """Pods of an older template go by themselves, held or not."""
    if facts.held is None or facts.deployment.rolled_out:
        return None
    why = f"its rollout has to replace pod {facts.held.name}, which is held"
    return Wait(why, "if the Deployment is paused: kubectl rollout resume it")


def a_pod_is_held(facts: Facts) -> Step | None:
    """It is opened when no other can be polling, and else left to a person."""
    pod = facts.held
    if pod is None:
        return None
    verdict = turn_of(pod, facts)
    if verdict.turn is Turn.OPEN:
        did = f"pod {pod.name} opened"
        return Do(open_pod(pod, facts.claim, did), did, opens=True)
    namespace = facts.deployment.metadata.namespace
    cure = (
        "once you are sure that no other process of this bot runs: "
        f"kubectl -n {namespace} delete pod {pod.name}; what replaces it is held by nothing"
    )
    return Wait(f"pod {pod.name} is held: {verdict.why}", cure)


def it_is_marked(facts: Facts) -> Step | None:
    """Its mark goes last; that of an owned one says whose it is, and stays."""
    deployment = facts.deployment
    if owned(deployment) or not deployment.metadata.labels.owner:
        return None
    did = "mark taken off"
    return Do(patch(deployment, desired.unmark_patch(facts.deployment), did), did)


def turn_of(pod: Pod, facts: Facts) -> Verdict:
    """Return whether a held pod may be opened. One that nothing holds but that does not run yet is about to start."""
    starting = sorted(each.name for each in facts.pods if _may_start(each) and each.uid != pod.uid)
    if starting:
        return Verdict(Turn.NOT_YET, f"{', '.join(starting)} may start at any moment")
    if facts.claim is None:
        return Verdict(Turn.UNKNOWN, "who ran last is not known: its Lease in the operator's namespace may not be read")
    return may_be_opened(pod, facts.pods, facts.claim, facts.nodes, facts.ended)


def _may_start(pod: Pod) -> bool:
    return life(pod) is Life.HELD and not pod.gated and not pod.deleting


def _waits_behind_the_lock(facts: Facts) -> str:
    """Say whom a pod of its own waits for, or "" where none has to."""
    waiting = next((pod for pod in facts.mine if life(pod) is Life.HELD), None) if facts.locked else None
    if waiting is None:
        return ""
    if facts.held is not None:
        verdict = turn_of(facts.held, facts)
        return "" if verdict.turn is Turn.OPEN else f"pod {facts.held.name} is held: {verdict.why}"
    others = sorted(pod.name for pod in facts.pods if may_poll(pod))
    return f"pod {waiting.name} waits behind the lock: {', '.join(others)} may be polling" if others else ""


def _stage(facts: Facts) -> Stage:
    return stage(facts.deployment, facts.pods, locked=facts.locked)


def _risky(facts: Facts) -> bool:
    """Whether two may run for a moment: not while the Deployment is calm and nobody waits."""
    return not calm(facts.deployment, facts.pods) or bool(_waits_behind_the_lock(facts))


def _note(facts: Facts) -> str:
    if not owned(facts.deployment):
        return ""
    namespace, name = facts.deployment.metadata.key
    bot = next(each.name for each in facts.deployment.metadata.owner_references if each.kind == names.KIND)
    return (
        f"TelegramBot {bot} owns it: Deployment {name} is deleted with it, or with the CRD. "
        f"To keep it: kubectl -n {namespace} delete telegrambot {bot} --cascade=orphan"
    )
