"""Who leads, decided from what the election's Lease says and one steady clock of the own process.

1. No clock but the own one counts: neither times in the Lease nor anybody's wall clock. A version of the Lease is as
   old as it is since whoever counts first saw it, and that was after it was written.
2. A leader leads until `deadline` after it *asked* for the last renewal that was granted. Nobody takes the Lease before
   it has been seen unchanged for `lease`, which is longer: so the one has stopped before the other begins, however long
   answers take, however far clocks are apart, and whoever stood still in between.
3. Every write of the Lease is made under the version that was read. What changed meanwhile is read again, never
   overwritten; and a claim that is granted proves that nobody else had it since it was seen.
4. Only a Lease that was let go of (no holder, one second: as client-go's `ReleaseOnCancel` leaves it) is taken at once.
   One that is missing, empty, or holds what no holder writes may have been touched by hand while somebody leads. He
   puts it right at his next renewal; all others wait as they do for a holder who has died.
5. A name is no proof. The own name in a Lease is one's own claim only if it came with the renewal time that was sent:
   an answer may be lost, and anybody may write a name.
6. Who leads and finds another's name there stops at once, and does not fight for it.

The rules are client-go's (tools/leaderelection/leaderelection.go), but for 2, 4 and 5: there a leader's deadline begins
with each try, and a Lease that is missing or has no holder is taken at once.
"""

import math
from dataclasses import dataclass, replace
from enum import Enum


@dataclass(frozen=True, slots=True)
class Times:
    """How long things take, in seconds. `lease` and `deadline` must be the same for all that share a Lease."""

    lease: float = 12.0
    deadline: float = 8.0
    renew: float = 2.0  # after which a leader asks for the next renewal
    look: float = 0.8  # after which all others look again: so soon they see that it was let go of
    again: float = 0.2  # after a claim for which somebody else was faster
    longest: float = 60.0  # beyond this, a duration in the Lease is none that an operator has written


@dataclass(frozen=True, slots=True)
class Record:
    """The Lease as the API server has it. No version: there is none."""

    version: str = ""
    holder: str = ""
    seconds: int | None = None
    renewed: str = ""
    transitions: int = 0

    @property
    def released(self) -> bool:
        """Whether its holder let go of it."""
        return bool(self.version) and not self.holder and self.seconds == 1


class Step(Enum):
    """What a candidate does next."""

    LOOK = "read the Lease"
    MAKE = "make one without a holder"
    CLAIM = "write the own name, under the version that was read"


@dataclass(frozen=True, slots=True)
class Candidate:
    """One replica. Every time in it is by its own steady clock.

    `record` was first seen at `since`, and is `current` until a write has shown otherwise. It leads before `until`.
    `sent` is the renewal time of its last claim, `mine` of the last one that is known to have been granted; `due` is
    when the next step is.
    """

    me: str
    times: Times = Times()
    record: Record | None = None
    since: float = 0.0
    current: bool = False
    until: float = -math.inf
    sent: str = ""
    mine: str = ""
    due: float = -math.inf

    def leads(self, now: float) -> bool:
        """Return whether it leads."""
        return now < self.until

    @property
    def expires(self) -> float:
        """When it may claim a Lease that does not change any more."""
        seconds = self.record.seconds or 0 if self.record else 0
        return self.since + min(max(self.times.lease, float(seconds)), self.times.longest)

    @property
    def holds(self) -> bool:
        """Whether the Lease, as it was seen last, is its own claim."""
        record = self.record
        if record is None or record.holder != self.me:
            return False
        return record.renewed in {self.sent, self.mine} - {""}


def step(it: Candidate, now: float) -> Step:
    """Return what to do now."""
    if it.record is None or not it.current:
        return Step.LOOK
    if not it.record.version:
        return Step.MAKE
    return Step.CLAIM if _may_claim(it, it.record, now) else Step.LOOK


def _may_claim(it: Candidate, record: Record, now: float) -> bool:
    if it.leads(now):
        return record.holder in {"", it.me}
    return record.released or it.holds or now >= it.expires


def saw(it: Candidate, record: Record, now: float) -> Candidate:
    """Take in what a read has given; `now` is when the answer came."""
    if it.record is None or it.record.version != record.version:
        until = it.until if record.holder in {"", it.me} else -math.inf
        it = replace(it, record=record, since=now, until=until)
    it = replace(it, current=True, mine=record.renewed if it.holds else it.mine)
    at_once = step(it, now) is not Step.LOOK
    return replace(it, due=now if at_once else min(now + it.times.look, max(now, it.expires)))


def sends(it: Candidate, renewed: str) -> Candidate:
    """Take in that a claim with this renewal time, which no other claim has, is about to be sent."""
    return replace(it, sent=renewed)


def claimed(it: Candidate, record: Record, asked: float, now: float) -> Candidate:
    """Take in that a claim was granted, which was sent at `asked` and answered `now`."""
    it = replace(it, record=record, since=now, current=True, mine=it.sent)
    return replace(it, until=asked + it.times.deadline, due=asked + it.times.renew)


def failed(it: Candidate, now: float, *, raced: bool = False) -> Candidate:
    """Take in that a request came to nothing, or got no answer. `raced`: the Lease was not as it was seen."""
    return replace(it, current=False, due=now + (it.times.again if raced else it.times.look))


def resigned(it: Candidate) -> Candidate:
    """Take in that it leads no more, and wants to no more."""
    return replace(it, until=-math.inf)


# --- What is said of it -----------------------------------------------------------------------------------------------


def installation(identity: str) -> str:
    """Return the namespace in which a holder is installed, "" where the name is none of ours."""
    namespace, slash, _ = identity.partition("/")
    return namespace if slash else ""


def standing_by(it: Candidate) -> str:
    """Say who leads, to whoever reads the log of one that does not."""
    record = it.record
    if record is None or not record.holder or record.holder == it.me:
        return "standing by: nobody leads yet"
    theirs, mine = installation(record.holder), installation(it.me)
    if theirs == mine:
        return f"standing by: {record.holder} leads"
    whose = f"of the installation in namespace {theirs} " if theirs else ""
    return (
        f"standing by: {record.holder} {whose}leads, and this one in namespace {mine} does nothing meanwhile. "
        "A cluster needs one installation: uninstall one of the two, or let each guard namespaces of its own "
        "(--namespace) with a Lease of its own (--leader-elect-namespace)"
    )
