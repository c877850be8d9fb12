"""One run of an election in made-up time: replicas with clocks of their own, a network with whims, people who edit.

run = Run(seed, replicas=3)
run.go(60.0, trouble=True)         # raises AssertionError where two lead at once
run.go(40.0, trouble=False)
assert run.leader

Times are seconds of the world; a replica sees only its own clock, which was set at random and runs up to a seventh too
fast or too slow. Requests take their time, in the cloud and back, or get lost there or back; replicas stand still.
"""

from __future__ import annotations

import heapq
import itertools
import random
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from telegrambot_operator.core import election
from telegrambot_operator.core.election import Candidate, Record, Step

if TYPE_CHECKING:
    from collections.abc import Callable

ANSWER = 3.5  # as in shell/leader.py: a request that takes longer is given up
SKEW = 1 / 7  # 12 s and 8 s are half as much apart again: one clock may be that much faster than the other


@dataclass(eq=False)
class Replica:
    """One process. `asked` numbers its requests: an answer to an earlier one is not waited for any more."""

    it: Candidate
    rate: float = 1.0
    offset: float = 0.0
    stands_until: float = 0.0
    asked: int = 0
    waits: bool = False
    stops: bool = False
    ended: bool = False

    def clock(self, now: float) -> float:
        """Its own clock."""
        return self.offset + now * self.rate

    def when(self, at: float) -> float:
        """When its own clock shows that."""
        return (at - self.offset) / self.rate

    def leads(self, now: float) -> bool:
        """Whether its fence is open."""
        return not self.ended and not self.stops and self.it.leads(self.clock(now))


class Run:
    """A world with one Lease."""

    def __init__(self, seed: int, replicas: int, *, skew: float = SKEW, slowness: float = 1.0) -> None:
        """Nothing has happened yet: there is not even a Lease."""
        self.now = 0.0
        self.lease = Record()
        self.trouble = False
        self.out_until = 0.0
        self._random = random.Random(seed)  # noqa: S311  it guards nothing
        self._skew = skew
        self._slowness = slowness
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count(1)
        self._names = itertools.count(1)
        self.replicas: list[Replica] = []
        for _ in range(replicas):
            self.add()

    @property
    def leader(self) -> Replica | None:
        """Who leads now."""
        return next((each for each in self.replicas if each.leads(self.now)), None)

    def assert_one_leads_at_most(self) -> None:
        """Leading begins with an event and ends by itself, so this need be asked after events only."""
        found = [each.it.me for each in self.replicas if each.leads(self.now)]
        assert len(found) < 2, f"{' and '.join(found)} lead at {self.now}"

    def go(self, seconds: float, *, trouble: bool) -> None:
        """Let time pass, with faults or without."""
        self.trouble, end = trouble, self.now + seconds
        if trouble:
            self._at(self._random.uniform(0, 5), self._something_happens)
        while self._events and self._events[0][0] <= end:
            self.now, _, event = heapq.heappop(self._events)
            event()
            self.assert_one_leads_at_most()
        self.now = end

    def until(self, fact: Callable[[], bool], most: float = 100.0) -> float:
        """Let time pass until it is so, and return how much that was."""
        began = self.now
        while not fact():
            assert self.now - began < most
            self.now, _, event = heapq.heappop(self._events)
            event()
        return self.now - began

    def add(self) -> Replica:
        """Start a replica."""
        it = Candidate(f"replica-{next(self._names)}")
        replica = Replica(it, 1 + self._random.uniform(-self._skew, self._skew), self._random.uniform(0, 10_000))
        self.replicas.append(replica)
        self._at(self._random.uniform(0, 3), lambda: self._steps(replica))
        return replica

    def kill(self, replica: Replica) -> None:
        """It is gone, without a word."""
        replica.ended = True

    def stop(self, replica: Replica) -> None:
        """It is told to stop: its fence closes, and after the request that is under way it lets go of the Lease."""
        replica.stops = True
        if not replica.waits:
            self._lets_go(replica)

    def _lets_go(self, replica: Replica) -> None:
        """Write that it has no holder, if it is its own, as far as it knows."""
        it = replica.it
        replica.ended = True
        if it.record is not None and it.current and it.holds:
            self._sent(lambda: self._claim(it.record or Record(), Record("", "", 1)))

    # --- What replicas do -------------------------------------------------------------------------------------------

    def _steps(self, replica: Replica) -> None:
        if replica.ended or replica.stops:
            return
        if replica.stands_until > self.now:
            self._at(replica.stands_until - self.now, lambda: self._steps(replica))
            return
        asked = replica.clock(self.now)
        todo = election.step(replica.it, asked)
        if todo is Step.CLAIM:
            replica.it = election.sends(replica.it, f"{replica.it.me} {next(self._order)}")
        replica.asked += 1
        replica.waits = True
        number, it = replica.asked, replica.it
        self._at(ANSWER / replica.rate, lambda: self._hears(replica, number, lambda: self._gives_up(replica)))
        self._sent(lambda: self._answers(replica, number, todo, self._serve(it, todo), asked))

    def _hears(self, replica: Replica, number: int, what: Callable[[], None]) -> None:
        """Take in an answer, or that there is none, when it does not stand still."""
        if replica.ended or replica.asked != number:
            return
        if replica.stands_until > self.now:
            self._at(replica.stands_until - self.now, lambda: self._hears(replica, number, what))
            return
        replica.asked += 1
        replica.waits = False
        what()
        if replica.stops:
            self._lets_go(replica)
            return
        wait = max(0.0, replica.when(replica.it.due) - self.now)
        self._at(wait + self._random.uniform(0, 0.01), lambda: self._steps(replica))

    def _gives_up(self, replica: Replica) -> None:
        replica.it = election.failed(replica.it, replica.clock(self.now))

    def _answers(self, replica: Replica, number: int, todo: Step, record: Record | None, asked: float) -> None:
        def heard() -> None:
            now = replica.clock(self.now)
            if record is None:
                replica.it = election.failed(replica.it, now, raced=True)
            elif todo is Step.CLAIM:
                replica.it = election.claimed(replica.it, record, asked, now)
            else:
                replica.it = election.saw(replica.it, record, now)

        self._sent(lambda: self._hears(replica, number, heard))

    # --- The network and the server -----------------------------------------------------------------------------------

    def _at(self, seconds: float, event: Callable[[], None]) -> None:
        heapq.heappush(self._events, (self.now + seconds, next(self._order), event))

    def _sent(self, arrives: Callable[[], None]) -> None:
        """One way through the network: a few milliseconds, or with trouble as long as it likes, or for ever."""
        usual = self._random.uniform(0.001, 0.05) * self._slowness
        if not self.trouble and self.now >= self.out_until:
            self._at(usual, arrives)
        elif self.now >= self.out_until and self._random.random() < 0.9:
            self._at(usual if self._random.random() < 0.8 else self._random.uniform(0, 20), arrives)

    def _serve(self, it: Candidate, todo: Step) -> Record | None:
        if todo is Step.LOOK:
            return self.lease
        if todo is Step.MAKE:
            self.lease = self.lease if self.lease.version else self._new(Record())
            return self.lease
        return self._claim(it.record or Record(), Record("", it.me, int(it.times.lease), it.sent))

    def _claim(self, seen: Record, wanted: Record) -> Record | None:
        if not self.lease.version or seen.version != self.lease.version:
            return None
        self.lease = self._new(wanted)
        return self.lease

    def _new(self, record: Record) -> Record:
        return replace(record, version=str(next(self._order)))

    # --- Trouble ------------------------------------------------------------------------------------------------------

    def _something_happens(self) -> None:
        if not self.trouble:
            return
        self._at(self._random.expovariate(1 / 6), self._something_happens)
        self._random.choice([self._one_stands_still] * 3 + [self._an_outage, self._an_edit, self._one_is_replaced])()

    def _one_stands_still(self) -> None:
        self._random.choice(self.replicas).stands_until = self.now + self._random.expovariate(1 / 8)

    def _an_outage(self) -> None:
        self.out_until = self.now + self._random.expovariate(1 / 8)

    def _an_edit(self) -> None:
        """By hand, all but what a leader leaves that has stopped."""
        who = self._random.choice(["", "somebody", *(each.it.me for each in self.replicas)])
        seconds = self._random.choice([None, -1, 0, 12, 1_000_000])
        kinds = [Record(), self._new(Record()), self._new(replace(self.lease, holder=who, seconds=seconds))]
        self.lease = self._random.choice(kinds)

    def _one_is_replaced(self) -> None:
        alive = [each for each in self.replicas if not each.ended and not each.stops]
        self._random.choice([self.kill, self.stop])(self._random.choice(alive))
        self.add()


def takeover(seed: int, end: Callable[[Run, Replica], None]) -> float:
    """Return how long nobody leads after the leader has ended in that way, with two replicas and a slow machine."""
    run = Run(seed, 2, skew=0.0, slowness=4.0)
    run.go(30 + (seed % 50) / 10, trouble=False)
    leader = run.leader
    assert leader is not None
    end(run, leader)
    return run.until(lambda: run.leader is not None)
