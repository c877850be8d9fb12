"""How the lock gets onto a bot's pods: by its pod template, or by the admission policies of `deploy/admission`.

1. An owned Deployment always has the lock in its template. The policies are for adopted ones: with them, adopting a
   running bot restarts nothing and fights nobody over the template.
2. The policies count only while they are installed, can be told what to do (the lock table), and do it: one pod that
   was born without its lock, and they are trusted no more until they change.
3. The lock leaves the template only when the table has said the same long enough for every API server to have heard of
   it, and no pod of the Deployment comes or goes (`release.calm`). It gets back into the template at once.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from .. import names
from ..api.models import Lock
from .records import Deployment, Pod
from .table import Entry


class Carrier(StrEnum):
    """What brings the lock to the pods."""

    TEMPLATE = "Template"
    ADMISSION = "Admission"


@dataclass(frozen=True, slots=True)
class Admission:
    """What is known of the admission policies, seen from one bot.

    `policies`: those of ours that are installed, and `new` whether an API server may not go by them yet, since they
    came a moment ago. `table`: what the namespace's lock table says, and `problem` why it cannot be written.
    `in_force`: whether every API server must have heard of the bot's entry, and of the policies. `failed`: which pod
    they did not lock, while they were as they are now.
    """

    policies: frozenset[str] = frozenset()
    table: Mapping[str, str] = field(default_factory=dict)
    problem: str = ""
    new: bool = False
    in_force: bool = False
    failed: str = ""

    @property
    def installed(self) -> bool:
        """Whether pods get their lock and Deployments their pin."""
        return {names.POLICY_LOCK, names.POLICY_PIN} <= self.policies

    @property
    def lacking(self) -> list[str]:
        """The policies that are not there though others of them are."""
        every = [names.POLICY_LOCK, names.POLICY_PIN, names.POLICY_SCALE, names.POLICY_TOKEN]
        return [each for each in every if self.policies and each not in self.policies]


def carrier(admission: Admission, *, adopts: bool) -> Carrier:
    """Return what is to bring the lock to the bot's pods."""
    able = adopts and admission.installed and not admission.problem and not admission.failed
    return Carrier.ADMISSION if able else Carrier.TEMPLATE


def born_unlocked(
    deployment: Deployment | None, pods: Sequence[Pod], born: Collection[str], entry: Entry | None
) -> str:
    """Return which pod the policies did not lock, or "". `born`: uids of pods that came under the Deployment's entry.

    Where the token is guarded such a pod is not even born: it lacks the label that lets it use the token.
    """
    if deployment is None or entry is None or entry.lock is Lock.NONE:
        return ""
    for each in deployment.status.conditions:
        if each.type == "ReplicaFailure" and each.status == "True" and f"'{names.POLICY_TOKEN}'" in each.message:
            return f"a pod that Deployment {deployment.name} was to have"
    unlocked = [pod.name for pod in pods if pod.uid in born and not pod.is_locked(entry.identity)]
    return f"pod {unlocked[0]}" if unlocked else ""


def note(admission: Admission) -> str:
    """Return the rest of a sentence that says what is wrong with the policies, or ""."""
    if admission.failed:
        return f"; the admission policies did not lock {admission.failed}, so the pod template does"
    if admission.problem:
        return f"; the admission policies are not used, since {admission.problem}"
    if admission.lacking:
        return f"; not installed: admission policy {', '.join(admission.lacking)}"
    return ""
