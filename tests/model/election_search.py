"""Every order of events of an election, tried out: two replicas, or three, and the server that keeps the Lease.

Replicas act whenever they like or not at all, which is what pauses, slow networks and death look like from outside.
Requests get lost, answers get lost, and a request that its sender has given up may still arrive. People edit the Lease.
In no state may two lead. The decisions are core/election.py's; only time is coarser here than there.

A state is as seen from now, which is time 0: a tick moves everything else into the past. Of a version of the Lease it
matters whether it is the latest, and of a claim's renewal time whether it is its sender's latest: what differs in
anything else is one state. A read is answered at once: whoever gets an old answer has only asked earlier.
"""

from __future__ import annotations

import math
import sys
from collections import deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from telegrambot_operator.core import election
from telegrambot_operator.core.election import Candidate, Record, Step, Times

if TYPE_CHECKING:
    from collections.abc import Iterator

# Ticks instead of seconds, in the order of the real ones.
TIMES = Times(lease=3, deadline=2, renew=1, look=1, again=0, longest=4)
OTHER = "somebody else"
NEW, LATEST, KNOWN, EARLIER = "new", "latest", "known", "earlier"


NOTHING = Record()


@dataclass(frozen=True, slots=True)
class Request:
    """What a replica asked for, and when. `read` and `granted` tell of an answer that is on its way."""

    step: Step
    asked: float
    under: str = ""
    wants: Record = NOTHING
    answered: bool = False
    read: Record = NOTHING
    granted: bool = True


@dataclass(frozen=True, slots=True)
class World:
    """One state. `late` are requests whose senders have given them up."""

    lease: Record
    replicas: tuple[Candidate, ...]
    requests: tuple[Request | None, ...]
    late: tuple[Request, ...] = ()
    edits: int = 0
    stopped: tuple[bool, ...] = ()

    @property
    def leaders(self) -> list[str]:
        """Who leads now."""
        return [each.me for each in self.replicas if each.leads(0)]


def worlds(replicas: int, edits: int) -> World:
    """The first state: nobody knows anything, and the last leader of all has stopped."""
    names = [f"replica-{number}" for number in range(replicas)]
    lease = Record(LATEST, "", 1)
    nothing = tuple(Candidate(name, TIMES) for name in names)
    return World(lease, nothing, (None,) * replicas, (), edits, (False,) * replicas)


def search(first: World, most: int = 10_000_000) -> tuple[World | None, int]:
    """Return the first state in which two lead, None where there is none, and how many states there are.

    Raises RuntimeError where there are more than `most`.
    """
    known = {first}
    ahead = deque([first])
    while ahead:
        world = ahead.popleft()
        for after in map(normal, following(world)):
            if after in known:
                continue
            if len(after.leaders) > 1:
                return after, len(known)
            known.add(after)
            if len(known) > most:
                raise RuntimeError(f"more than {most} states")
            ahead.append(after)
    return None, len(known)


# --- What may happen --------------------------------------------------------------------------------------------------


def following(world: World) -> Iterator[World]:
    """Every state that one event leads to."""
    yield tick(world)
    for number, request in enumerate(world.requests):
        if request is None and not world.stopped[number]:
            yield asks(world, number)
            yield stops(world, number)
        elif request is not None and request.answered:
            yield told(world, number, request)
            yield gives_up(world, number, request, arrives=False)
        elif request is not None:
            yield reaches(world, number, request)
            yield gives_up(world, number, request, arrives=False)
            if not world.late:
                yield gives_up(world, number, request, arrives=True)
    for request in world.late:
        yield replace(serve(world, request)[0], late=())
    if world.edits:
        for record in by_hand(world):
            yield replace(world, lease=record, edits=world.edits - 1)


def tick(world: World) -> World:
    """One moment later."""
    older = tuple(
        replace(each, since=max(each.since - 1, -TIMES.longest), until=_left(each.until), due=0.0)
        for each in world.replicas
    )
    late = tuple(_older(each) for each in world.late)
    return replace(world, replicas=older, requests=tuple(each and _older(each) for each in world.requests), late=late)


def _left(until: float) -> float:
    return until - 1 if until > 1 else -math.inf


def _older(request: Request) -> Request:
    return replace(request, asked=max(request.asked - 1, -TIMES.deadline))


def asks(world: World, number: int) -> World:
    """A replica sends what it has decided on."""
    it = world.replicas[number]
    todo = election.step(it, 0)
    if todo is not Step.CLAIM:
        after, answer = serve(world, Request(todo, 0))
        return told(after, number, answer)
    seen = it.record or Record()
    names = _renamed(it)
    world = replace(
        world,
        lease=_under_new_name(world.lease, names),
        late=tuple(replace(each, wants=_under_new_name(each.wants, names)) for each in world.late),
    )
    it = replace(it, record=_under_new_name(seen, names), mine=names.get(it.mine, it.mine))
    it = election.sends(it, f"{it.me} {LATEST}")
    wants = Record(NEW, it.me, int(TIMES.lease), it.sent)
    return _with(world, number, it, Request(todo, 0, seen.version, wants))


def stops(world: World, number: int) -> World:
    """A replica is told to stop: it leads no more, and lets go of the Lease if that is its own, as far as it knows."""
    it = world.replicas[number]
    stopped = tuple(flag or each == number for each, flag in enumerate(world.stopped))
    after = _with(replace(world, stopped=stopped), number, election.resigned(it), None)
    if it.record is None or not it.current or not it.holds:
        return after
    return serve(after, Request(Step.CLAIM, 0, it.record.version, Record(NEW, "", 1)))[0]


def reaches(world: World, number: int, request: Request) -> World:
    """A request is served; the answer is on its way."""
    after, answer = serve(world, request)
    return replace(after, requests=_put(after.requests, number, answer))


def told(world: World, number: int, request: Request) -> World:
    """An answer arrives."""
    it = world.replicas[number]
    if not request.granted:
        it = election.failed(it, 0, raced=True)
    elif request.step is Step.CLAIM:
        it = election.claimed(it, request.read, request.asked, 0)
    else:
        it = election.saw(it, request.read, 0)
    return _with(world, number, it, None)


def gives_up(world: World, number: int, request: Request, *, arrives: bool) -> World:
    """No answer comes in time; the request may arrive later all the same."""
    late = (request,) if arrives else world.late
    it = election.failed(world.replicas[number], 0)
    return _with(replace(world, late=late), number, it, None)


def serve(world: World, request: Request) -> tuple[World, Request]:
    """What the server does with a request."""
    if request.step is Step.LOOK:
        return world, replace(request, answered=True, read=world.lease)
    if request.step is Step.MAKE:
        made = world.lease if world.lease.version else Record(NEW)
        world = _written(world, made)
        return world, replace(request, answered=True, read=world.lease)
    if not world.lease.version or request.under != world.lease.version:
        return world, replace(request, answered=True, granted=False)
    world = _written(world, request.wants)
    return world, replace(request, answered=True, read=world.lease)


def _written(world: World, record: Record) -> World:
    return replace(world, lease=record)


def by_hand(world: World) -> Iterator[Record]:
    """What people may make of the Lease: all but what a leader leaves that has stopped."""
    lease, new = world.lease, NEW
    yield Record()
    if lease.version:
        yield replace(lease, version=new)
        if lease.seconds != 1:
            yield replace(lease, version=new, holder="")
        yield Record(new)
        yield replace(lease, version=new, holder=OTHER, seconds=1_000_000)
        yield replace(lease, version=new, seconds=-1)
        for each in world.replicas:
            yield replace(lease, version=new, holder=each.me)


# --- Names of versions ------------------------------------------------------------------------------------------------


def _renamed(it: Candidate) -> dict[str, str]:
    """What renewal times are called once it sends another claim: the latest is one that it knows of, or forgotten."""
    latest, known = f"{it.me} {LATEST}", f"{it.me} {KNOWN}"
    return {latest: known, known: EARLIER} if it.mine == latest else {latest: EARLIER}


def _under_new_name(record: Record, names: dict[str, str]) -> Record:
    return replace(record, renewed=names.get(record.renewed, record.renewed))


def normal(world: World) -> World:
    """The same state, in which the latest version of the Lease is called the latest, without what changes nothing."""
    latest = world.lease.version
    lease = replace(world.lease, version=latest and LATEST)
    replicas = tuple(map(_normal_replica, world.replicas, world.stopped, (latest,) * len(world.replicas)))
    requests = tuple(each and _normal_request(each, latest) for each in world.requests)
    late = tuple(_normal_request(each, latest) for each in world.late if each.under == latest)
    return replace(world, lease=lease, replicas=replicas, requests=requests, late=late)


def _normal_record(record: Record, latest: str) -> Record:
    if record.version == latest:
        return replace(record, version=latest and LATEST)
    return Record(EARLIER) if record.version else Record()


def _normal_replica(it: Candidate, stopped: bool, latest: str) -> Candidate:
    if stopped:
        return Candidate(it.me, TIMES)
    if it.record is None:
        return it
    if it.record.version != latest:  # whatever it does with that, the server refuses
        return replace(it, record=_normal_record(it.record, latest), current=False, since=0, due=0.0)
    since = 0 if it.holds or it.record.released else it.since
    return replace(it, record=_normal_record(it.record, latest), since=since, due=0.0)


def _normal_request(request: Request, latest: str) -> Request:
    if request.granted and not request.answered and request.under != latest:
        request = replace(request, answered=True, granted=False)
    if not request.granted:
        return Request(Step.CLAIM, 0, answered=True, granted=False)
    if request.answered:
        return replace(request, under="", wants=Record(), read=_normal_record(request.read, latest))
    return replace(request, under=LATEST)


def _with(world: World, number: int, it: Candidate, request: Request | None) -> World:
    replicas = tuple(it if each == number else old for each, old in enumerate(world.replicas))
    return replace(world, replicas=replicas, requests=_put(world.requests, number, request))


def _put(requests: tuple[Request | None, ...], number: int, request: Request | None) -> tuple[Request | None, ...]:
    return tuple(request if each == number else old for each, old in enumerate(requests))


def main() -> int:
    """Search two replicas through, with people who edit the Lease once; return 1 where two lead."""
    broken = False
    for edits in (0, 1):
        found, states = search(worlds(2, edits))
        broken = broken or found is not None
        print(
            f"an election of two, {edits} edits by hand: {found or 'never two leaders'} in {states} states", flush=True
        )
    return int(broken)


if __name__ == "__main__":
    sys.exit(main())
