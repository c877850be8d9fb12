"""Whose turn it is: which of the held pods of a bot with `lock: Gate` may be opened now.

1. Every pod is born held by a scheduling gate. The Lease of the bot's identity names the pod that was opened last; it
   is a lock and no heartbeat, so it is never renewed and never runs out.
2. A pod is opened only when no other pod of the identity may be polling, judged by a list that is read live after the
   Lease; then the Lease gets the pod as its holder, under the version read before that list; then the gate goes.
3. While the holder exists and is held still, nobody but it may be opened: somebody may be about to remove its gate.
4. A holder whose object has vanished counts as polling until its end is proven: it was seen to end, or its node is gone
   or off by an admin's word, or has been Ready for the grace period and more since. A forced delete leaves a process.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from .classify import Life, life, may_poll
from .records import Lease, Node, Pod

# A kubelet looks for processes without a pod every two seconds, and may hear of a deletion late.
ORPHANED = timedelta(seconds=10)


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
        noted = lease.metadata.annotations
        holder = lease.spec.holder_identity
        pod, _, uid = holder.rpartition("/")
        grace = int(noted.grace) if noted.grace and noted.grace.isdecimal() else 30
        return cls(lease.metadata.resource_version, pod, uid or holder, noted.node or "", grace)


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
    ended: Mapping[str, datetime | None],
    now: datetime,
) -> Verdict:
    """Return whether it is the pod's turn.

    `ended` tells of uids that have vanished: None where the end of the process was seen, else when it was first missed.
    """
    others = sorted(each.name for each in pods if each.uid != pod.uid and may_poll(each))
    if others:
        return Verdict(Turn.NOT_YET, f"{', '.join(others)} may be polling")
    if claim.uid in {"", pod.uid}:
        return Verdict(Turn.OPEN)
    there = next((each for each in pods if each.uid == claim.uid), None)
    if there is None:
        return _after_a_vanished_one(claim, nodes, ended, now)
    return Verdict(Turn.NOT_YET, f"it is the turn of {there.name}") if is_next(there) else Verdict(Turn.OPEN)


def is_next(holder: Pod) -> bool:
    """Return whether the holder of the turn is still held: somebody may be about to open it."""
    return life(holder) is Life.HELD and not holder.deleting


def _after_a_vanished_one(
    claim: Claim, nodes: Mapping[str, Node | None], ended: Mapping[str, datetime | None], now: datetime
) -> Verdict:
    missed = ended.get(claim.uid, now)
    if missed is None:
        return Verdict(Turn.OPEN)
    if not claim.node or claim.node not in nodes:
        why = f"pod {claim.pod} vanished and nobody knows on which node it ran"
        return Verdict(Turn.UNKNOWN, why, again_after=ORPHANED.total_seconds())
    node = nodes[claim.node]
    if node is None or node.out_of_service:
        return Verdict(Turn.OPEN)
    if node.ready_since is None:
        why = f"pod {claim.pod} vanished, and its node {claim.node} does not answer"
        return Verdict(Turn.UNKNOWN, why, again_after=ORPHANED.total_seconds())
    over = max(missed, node.ready_since) + timedelta(seconds=claim.grace) + ORPHANED
    if over <= now:
        return Verdict(Turn.OPEN)
    why = f"pod {claim.pod} vanished while it ran; its process has {claim.grace} s to end"
    return Verdict(Turn.VANISHED, why, again_after=(over - now).total_seconds())
