"""Whose turn it is: which of the held pods of a bot with `lock: Gate` may be opened now.

1. Every pod is born held by a scheduling gate. The Lease of the bot's identity names the pod that was opened last; it
   is a lock and no heartbeat, so it is never renewed and never runs out.
2. A pod is opened only when no other pod of the identity may be polling, judged by a list that is read live after the
   Lease; then the Lease gets the pod as its holder, under the version read before that list; then the gate goes.
3. While the holder exists and is held still, nobody but it may be opened: somebody may be about to remove its gate.
4. A holder whose object has vanished counts as polling until its end is proven: it was seen to end, or its node is gone
   or off by an admin's word, or its kubelet was heard of twice since and had the grace period after that to end the
   process; or its node is lost, and Telegram is silent (silence.py). That the node is Ready proves nothing: it stays so
   for a while after it was last heard of. A kubelet that comes back is heard of before it has heard what it missed, so
   for a minute after its node is Ready again that does not count. No clock of another machine is compared with ours,
   and only a live read starts the wait.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from .classify import Life, life, may_poll
from .ownership import named_in
from .records import Lease, Node, Pod

# A kubelet looks for processes without a pod every two seconds, and may hear of a deletion late.
ORPHANED_SECONDS = 10.0
LOOK_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class Vanished:
    """A pod whose object is gone though its process was not seen to end.

    `told_for`: for how many seconds its kubelet has certainly known, None while that is not certain yet.
    `silent`: nobody has polled Telegram for a whole window, and that is known to be so still.
    `missed_for`: for how many seconds it has been missed; that proves nothing, and only says when to listen.
    """

    told_for: float | None = None
    silent: bool = False
    missed_for: float = field(default=0.0, compare=False)


@dataclass(frozen=True, slots=True)
class Claim:
    """The Lease of an identity. `version` is "" where there is none yet, `uid` where nobody holds it."""

    version: str = ""
    pod: str = ""
    uid: str = ""
    node: str = ""
    grace: int = 30

    @classmethod
    def of(cls, lease: Lease) -> "Claim":
        """Return what a Lease says. One that cannot be understood is held by a pod that nobody knows."""
        noted, holder = lease.metadata.annotations, lease.spec.holder_identity
        parts = holder.split("/")
        if not all(parts) or len(parts) != 3:
            return cls(lease.metadata.resource_version, holder, holder)
        grace = int(noted.grace) if noted.grace and _SECONDS.fullmatch(noted.grace) else 30
        return cls(lease.metadata.resource_version, "/".join(parts[:2]), parts[2], noted.node or "", grace)

    def as_known_in(self, namespace: str) -> "Claim":
        """Return it as readers of a namespace may know it: a holder of another one only by that fact."""
        theirs = "/" in self.pod and self.pod.partition("/")[0] != namespace
        return replace(self, pod="of another namespace") if theirs else self


_SECONDS = re.compile("[0-9]{1,9}")


class Turn(StrEnum):
    """Whether a held pod may be opened."""

    OPEN = "Open"
    NOT_YET = "NotYet"  # somebody else may be polling, or is about to
    VANISHED = "Vanished"  # the last holder is gone without a trace; time will tell
    UNKNOWN = "Unknown"  # the last holder is gone without a trace; only a person can tell


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a held pod may be opened, why not, and when to look again."""

    turn: Turn
    why: str = ""
    again_after: float | None = None


def may_be_opened(
    pod: Pod,
    pods: Sequence[Pod],
    claim: Claim,
    nodes: Mapping[str, Node | None],
    ended: Mapping[str, Vanished | None],
) -> Verdict:
    """Return whether it is the pod's turn. `ended` tells of uids that are gone: None where their end was seen."""
    others = [each for each in pods if each.uid != pod.uid and may_poll(each)]
    if others:
        named = sorted({named_in(pod.metadata.namespace, each) for each in others})
        # Of a pod that lost its label no event tells: it has to be looked at again.
        unlabelled = any(each.metadata.labels.bot != pod.metadata.labels.bot for each in others)
        again_after = ORPHANED_SECONDS if unlabelled else None
        return Verdict(Turn.NOT_YET, f"{', '.join(named)} may be polling", again_after)
    return after_the_holder(pod, pods, claim, nodes, ended)


def after_the_holder(
    pod: Pod,
    pods: Sequence[Pod],
    claim: Claim,
    nodes: Mapping[str, Node | None],
    ended: Mapping[str, Vanished | None],
) -> Verdict:
    """Return whether the turn may pass from its holder to the pod."""
    if claim.uid in {"", pod.uid}:
        return Verdict(Turn.OPEN)
    there = next((each for each in pods if each.uid == claim.uid), None)
    if there is None:
        shown = claim.as_known_in(pod.metadata.namespace)
        return _after_a_vanished_one(shown, nodes, ended.get(claim.uid, Vanished()))
    if is_next(there):
        return Verdict(Turn.NOT_YET, f"it is the turn of {named_in(pod.metadata.namespace, there)}")
    return Verdict(Turn.OPEN)


def is_next(holder: Pod) -> bool:
    """Return whether the holder of the turn is still held: somebody may be about to open it."""
    return life(holder) is Life.HELD and not holder.deleting


def _after_a_vanished_one(claim: Claim, nodes: Mapping[str, Node | None], vanished: Vanished | None) -> Verdict:
    if vanished is None:
        return Verdict(Turn.OPEN)
    if not claim.node or claim.node not in nodes:
        unread = f", and its node {claim.node} could not be read"
        why = f"pod {claim.pod} vanished{unread if claim.node else ' and nobody knows on which node it ran'}"
        return Verdict(Turn.UNKNOWN, why, again_after=ORPHANED_SECONDS)
    node = nodes[claim.node]
    if node is None or node.out_of_service or (vanished.silent and not node.ready):
        return Verdict(Turn.OPEN)
    if not node.ready:
        why = f"pod {claim.pod} vanished, and its node {claim.node} does not answer"
        return Verdict(Turn.UNKNOWN, why, again_after=ORPHANED_SECONDS)
    left = None if vanished.told_for is None else claim.grace - vanished.told_for
    if left is not None and left <= 0:
        return Verdict(Turn.OPEN)
    why = f"pod {claim.pod} vanished while it ran; its node {claim.node} has to end its process first"
    return Verdict(Turn.VANISHED, why, again_after=LOOK_SECONDS if left is None else left)
