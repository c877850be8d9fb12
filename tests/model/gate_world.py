"""A small Kubernetes for the search: what the API server shows, what runs in truth, and who knows of what.

1. A pod is what the API server shows of it (`Shows`), and beside that its process, which may live on without it.
2. A ReplicaSet replaces at once, with a pod that is held. The scheduler binds a pod without a gate where no bound pod
   of its identity is left that has not ended. The kubelet starts, reports, stops and removes.
3. A node that is cut off stays Ready for a while. Its kubelet hears of nothing, may end and start again what it knows,
   and goes on with a stop that it has begun. Back again, it is heard of before it has heard.
4. Time is counted in steps of a minute, and nothing is older than two of them. Within a step anything may happen in
   any order. A step ends only when what takes less than a minute is done: a node that is cut off is not Ready any more,
   a kubelet that is there has heard and told everything, a process that was told to stop has stopped.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import NamedTuple


class Shows(IntEnum):
    """What the API server shows of a pod, in the order of a life."""

    GONE = 0
    HELD = 1
    FREE = 2  # without its gate, bound to no node yet
    BOUND = 3
    RUNNING = 4
    ENDED = 5  # every container was reported as ended, the phase is not terminal
    TERMINAL = 6


class Process(IntEnum):
    """The truth."""

    NONE = 0
    ALIVE = 1
    OVER = 2


NEVER = -1  # of a time: it has not happened
OLDEST = 2


class Pod(NamedTuple):
    """A pod and its process. `deleting` and `told` are for how long: it is being deleted, its kubelet knows that."""

    bot: int
    shows: Shows
    deleting: int = NEVER
    node: int = NEVER
    process: Process = Process.NONE
    told: int = NEVER

    @property
    def may_run(self) -> bool:
        """Whether a process of it runs, or may be started yet."""
        return self.process is Process.ALIVE or (self.node != NEVER and self.told == NEVER)

    @property
    def active(self) -> bool:
        """Whether its ReplicaSet counts it."""
        return self.shows not in {Shows.GONE, Shows.TERMINAL} and self.deleting == NEVER


class Seen(NamedTuple):
    """What a watch shows of a pod."""

    number: int
    bot: int
    shows: Shows
    deleting: int
    node: int

    @property
    def version(self) -> int:
        """Grows as the pod changes, but for a container that starts again."""
        return 100 + 10 * (self.deleting != NEVER) + self.shows

    def is_newer(self, other: "Seen") -> bool:
        """Whether it is known from the answer to a write of one's own, which the watch has yet to show."""
        if (self.deleting == NEVER) is not (other.deleting == NEVER):
            return self.deleting != NEVER
        return other.shows < Shows.RUNNING and other.shows < self.shows


class Node(NamedTuple):
    """A node. `since` is for how long it has been Ready; one that is `off` is gone, and its processes with it."""

    linked: bool = True
    ready: bool = True
    since: int = 1
    off: bool = False


class Lease(NamedTuple):
    """The turn of an identity: the number of the pod that holds it, and the node that is noted there."""

    holder: int
    node: int


class Event(NamedTuple):
    """What a watch tells of a pod: how it is now, None where it is gone, and how it was before."""

    number: int
    now: Seen | None
    last: Seen | None


class World(NamedTuple):
    """All but the operators. `left` is how many faults may happen yet: in all, and of each kind."""

    pods: tuple[Pod, ...]
    nodes: tuple[Node, ...]
    leases: tuple[Lease | None, ...]
    left: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Minute:
    """News: a minute has passed."""


@dataclass(frozen=True, slots=True)
class Heard:
    """News: the nodes of these pods, which hold a turn, were heard of."""

    holders: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Written:
    """News: the Lease of a bot was written, so that whatever was read of it is past."""

    bot: int


News = Event | Minute | Heard | Written


class Step(NamedTuple):
    """What may happen next: its name, the world after it, and what operators get to hear or have to live with."""

    name: str
    world: World
    news: tuple[News, ...] = ()
    fault: bool = False


FAULTS = ("delete", "force", "evict", "exit", "cut", "back", "off", "scale", "crash", "lost", "refused")


@dataclass(frozen=True)
class Bounds:
    """How much of a world is tried: `pods` are made in all, `lag` is how many events a watch may be late.

    It begins with a pod that is held, or with one that is `running_on` a node, of which the Lease tells where it is
    `noted`, or only that it has the turn.
    """

    pods: int = 3
    bots: int = 1
    operators: int = 2
    nodes: int = 2
    lag: int = 1
    faults: int = 3
    each: Mapping[str, int] = field(default_factory=dict)
    policy: str = "WhenProven"
    running_on: int = NEVER
    noted: bool = True

    @property
    def left(self) -> tuple[int, ...]:
        """The faults that may happen, at the start."""
        return _capped((self.faults, *(self.each.get(kind, 0) for kind in FAULTS)))


def _capped(left: tuple[int, ...]) -> tuple[int, ...]:
    return (left[0], *(min(each, left[0]) for each in left[1:]))


def spend(world: World, kind: str) -> World | None:
    """Return the world with one fault of a kind less to come, or None where there may be none."""
    at = FAULTS.index(kind) + 1
    if not world.left[at]:
        return None
    left = list(world.left)
    left[at] -= 1
    left[0] -= 1
    return world._replace(left=_capped(tuple(left)))


def look(number: int, pod: Pod) -> Seen | None:
    """Return what the API server shows of a pod."""
    if pod.shows is Shows.GONE:
        return None
    return Seen(number, pod.bot, pod.shows, pod.deleting, pod.node)


def shown(world: World) -> tuple[Seen, ...]:
    """Return all that the API server shows."""
    found = (look(number, pod) for number, pod in enumerate(world.pods))
    return tuple(seen for seen in found if seen is not None)


class Cluster:
    """What happens around the operators."""

    def __init__(self, bounds: Bounds) -> None:
        self.bounds = bounds

    def start(self) -> tuple[World, tuple[News, ...]]:
        """Return the world at the beginning, and what is to be seen of it."""
        bounds = self.bounds
        empty = World((), (Node(),) * bounds.nodes, (None,) * bounds.bots, bounds.left)
        if bounds.running_on == NEVER:
            return self._replaced(empty)
        at = bounds.running_on
        pods = tuple(Pod(bot, Shows.RUNNING, node=at, process=Process.ALIVE) for bot in range(bounds.bots))
        leases = tuple(Lease(bot, at if bounds.noted else NEVER) for bot in range(bounds.bots))
        world = empty._replace(pods=pods, leases=leases)
        return world, tuple(Event(seen.number, seen, None) for seen in shown(world))

    # --- Changes --------------------------------------------------------------------------------------------------

    def changed(self, world: World, number: int, pod: Pod) -> tuple[World, tuple[News, ...]]:
        """Return the world with a pod changed, and what a watch shows of that. A ReplicaSet acts at once."""
        if pod.shows is Shows.GONE and not pod.may_run:
            pod = Pod(pod.bot, Shows.GONE, told=0)
        pods = (*world.pods[:number], pod, *world.pods[number + 1 :])
        last, now = look(number, world.pods[number]), look(number, pod)
        world, made = self._replaced(world._replace(pods=pods))
        return world, made if now == last else (Event(number, now, last), *made)

    def _replaced(self, world: World) -> tuple[World, tuple[News, ...]]:
        """The ReplicaSets make what is missing, as far as the bounds allow."""
        news: list[News] = []
        for bot in range(self.bounds.bots):
            missing = not any(pod.active and pod.bot == bot for pod in world.pods)
            if missing and len(world.pods) < self.bounds.pods:
                pod, number = Pod(bot, Shows.HELD), len(world.pods)
                news.append(Event(number, look(number, pod), None))
                world = world._replace(pods=(*world.pods, pod))
        return world, tuple(news)

    # --- What happens by itself -----------------------------------------------------------------------------------

    def steps(self, world: World) -> Iterator[Step]:
        """Return what the cluster itself may do next, and what may befall it."""
        for number, pod in enumerate(world.pods):
            for name, after in self._of_pod(world, pod):
                yield Step(f"{name} pod-{number}", *self.changed(world, number, after))
            yield from self._faults_of_pod(world, number, pod)
        for number, node in enumerate(world.nodes):
            yield from self._of_node(world, number, node)
        yield from self._scaled(world)
        if self._may_pass(world):
            linked = tuple(number for number, node in enumerate(world.nodes) if node.linked)
            yield Step("a minute passes", _older(world), (Minute(), *_heard(world, *linked)))

    def _scaled(self, world: World) -> Iterator[Step]:
        """Somebody scales to two, and the pin brings that back to one: the ReplicaSet begins with what is not bound."""
        if len(world.pods) < self.bounds.pods and (less := spend(world, "scale")) is not None:
            number, pod = len(less.pods), Pod(0, Shows.HELD)
            more = less._replace(pods=(*less.pods, pod))
            yield Step("somebody scales to two", more, (Event(number, look(number, pod), None),), fault=True)
        active = [(pod.node == NEVER, number) for number, pod in enumerate(world.pods) if pod.active and pod.bot == 0]
        if len(active) > 1:
            number = max(active)[1]
            after = self.changed(world, number, deleted(world.pods[number]))
            yield Step(f"the ReplicaSet deletes pod-{number}", *after)

    def _of_pod(self, world: World, pod: Pod) -> Iterator[tuple[str, Pod]]:
        if pod.shows is Shows.FREE and pod.deleting == NEVER and self._fits(world, pod):
            for at, node in enumerate(world.nodes):
                if node.ready and not node.off:
                    yield f"the scheduler binds to node-{at}", pod._replace(shows=Shows.BOUND, node=at)
        if pod.node != NEVER:
            node = world.nodes[pod.node]
            if node.off and pod.shows is not Shows.GONE and self._has_room(world, pod):
                yield "PodGC removes", pod._replace(shows=Shows.GONE, deleting=NEVER)
            if node.off:
                return
            yield from _of_pod_with_kubelet(pod) if node.linked else _of_pod_cut_off(pod)

    def _has_room(self, world: World, pod: Pod) -> bool:
        """Whether the bounds allow what would replace the pod, if anything would."""
        return not pod.active or len(world.pods) < self.bounds.pods

    def _fits(self, world: World, pod: Pod) -> bool:
        bound = (each for each in world.pods if each.shows in {Shows.BOUND, Shows.RUNNING, Shows.ENDED})
        return not any(each.bot == pod.bot for each in bound)

    def _of_node(self, world: World, number: int, node: Node) -> Iterator[Step]:
        if not node.linked and node.ready:
            lost = node._replace(ready=False, since=NEVER)
            yield Step(f"node-{number} is not Ready any more", _with_node(world, number, lost))
        if node.linked and (heard := _heard(world, number)):
            yield Step(f"node-{number} is heard of", world, heard)
        if number == 0:
            yield from self._faults_of_node(world, number, node)

    # --- Time -------------------------------------------------------------------------------------------------------

    def _may_pass(self, world: World) -> bool:
        """Whether everything is done that takes less than a minute."""
        if any(not node.linked and node.ready for node in world.nodes):
            return False
        return all(self._up_to_date(world, pod) for pod in world.pods)

    def _up_to_date(self, world: World, pod: Pod) -> bool:
        if pod.node == NEVER or world.nodes[pod.node].off:
            return True
        if pod.process is Process.ALIVE and pod.told >= 1:
            return False
        if not world.nodes[pod.node].linked:
            return True
        hears_late = pod.told == NEVER and (pod.deleting != NEVER or pod.shows is Shows.GONE)
        return not hears_late and not _misreported(pod)

    # --- Faults -----------------------------------------------------------------------------------------------------

    def _faults_of_pod(self, world: World, number: int, pod: Pod) -> Iterator[Step]:
        room = self._has_room(world, pod)
        for kind, name, after in self._befalls(world, pod):
            less = spend(world, kind) if room or kind == "exit" else None
            if less is not None:
                yield Step(f"{name} pod-{number}", *self.changed(less, number, after), fault=True)

    def _befalls(self, world: World, pod: Pod) -> Iterator[tuple[str, str, Pod]]:
        linked = pod.node != NEVER and world.nodes[pod.node].linked and not world.nodes[pod.node].off
        if pod.shows is not Shows.GONE:
            if pod.deleting == NEVER:
                yield "delete", "somebody deletes", deleted(pod)
            yield "force", "somebody force-deletes", pod._replace(shows=Shows.GONE, deleting=NEVER)
        if pod.process is Process.ALIVE and pod.told == NEVER:
            shows = Shows.ENDED if linked and pod.shows is Shows.RUNNING else pod.shows
            yield "exit", "of itself ends the process of", pod._replace(process=Process.OVER, shows=shows)
        if pod.process is Process.ALIVE and linked and pod.deleting == NEVER and pod.shows is Shows.RUNNING:
            yield "evict", "the kubelet evicts", pod._replace(shows=Shows.TERMINAL, process=Process.OVER, told=0)

    def _faults_of_node(self, world: World, number: int, node: Node) -> Iterator[Step]:
        if node.off:
            return
        if node.linked and (less := spend(world, "cut")) is not None:
            yield Step(f"node-{number} is cut off", _with_node(less, number, node._replace(linked=False)), fault=True)
        if not node.linked and (less := spend(world, "back")) is not None:
            back = _with_node(less, number, Node(since=node.since if node.ready else 0))
            yield Step(f"node-{number} is back", back, _heard(back, number), fault=True)
        if not node.linked and not node.ready and (less := spend(world, "off")) is not None:
            pods = tuple(_without_power(pod) if pod.node == number else pod for pod in less.pods)
            off = _with_node(less._replace(pods=pods), number, Node(False, False, NEVER, off=True))
            yield Step(f"node-{number} is switched off and deleted", off, fault=True)


def _of_pod_with_kubelet(pod: Pod) -> Iterator[tuple[str, Pod]]:
    there = pod.shows is not Shows.GONE
    if pod.told == NEVER and pod.process is not Process.ALIVE and pod.shows is not Shows.TERMINAL:
        yield "the kubelet starts", pod._replace(process=Process.ALIVE, shows=Shows.RUNNING if there else Shows.GONE)
    if pod.told == NEVER and (pod.deleting != NEVER or not there):
        yield "the kubelet hears of the deletion of", pod._replace(told=0)
    if pod.told != NEVER and pod.process is Process.ALIVE:
        yield "the kubelet stops", _stopped(pod)
    if pod.told != NEVER and pod.process is not Process.ALIVE and there:
        if pod.shows is not Shows.TERMINAL:
            yield "the kubelet reports the end of", pod._replace(shows=Shows.TERMINAL)
        elif pod.deleting != NEVER:
            yield "the kubelet removes", pod._replace(shows=Shows.GONE, deleting=NEVER)
    if (pod.told == NEVER or pod.process is Process.ALIVE) and _misreported(pod):
        yield "the kubelet reports", pod._replace(shows=_true_report(pod))


def _stopped(pod: Pod) -> Pod:
    shows = Shows.GONE if pod.shows is Shows.GONE else Shows.TERMINAL
    return pod._replace(process=Process.OVER, shows=shows, told=0)


def _of_pod_cut_off(pod: Pod) -> Iterator[tuple[str, Pod]]:
    """It can start what it knows of, over and over, until it has heard that it should not."""
    if pod.told == NEVER and pod.process is not Process.ALIVE and pod.shows is not Shows.TERMINAL:
        yield "cut off, the kubelet starts", pod._replace(process=Process.ALIVE)
    if pod.told != NEVER and pod.process is Process.ALIVE:
        yield "cut off, the kubelet stops", pod._replace(process=Process.OVER, told=0)


def _misreported(pod: Pod) -> bool:
    if pod.told != NEVER and pod.process is not Process.ALIVE:
        return pod.shows not in {Shows.GONE, Shows.TERMINAL}
    return pod.shows in {Shows.BOUND, Shows.RUNNING, Shows.ENDED} and _true_report(pod) is not pod.shows


def _true_report(pod: Pod) -> Shows:
    match pod.process:
        case Process.ALIVE:
            return Shows.RUNNING
        case Process.OVER:
            return Shows.ENDED
        case Process.NONE:
            return pod.shows


def deleted(pod: Pod) -> Pod:
    """Return the pod after a graceful deletion: one that is bound to no node goes at once."""
    return pod._replace(shows=Shows.GONE) if pod.node == NEVER else pod._replace(deleting=0)


def _without_power(pod: Pod) -> Pod:
    gone = pod._replace(process=Process.OVER if pod.process is Process.ALIVE else pod.process, told=0)
    return Pod(pod.bot, Shows.GONE, told=0) if pod.shows is Shows.GONE else gone


# --- Worlds ---------------------------------------------------------------------------------------------------------


def _with_node(world: World, number: int, node: Node) -> World:
    return world._replace(nodes=(*world.nodes[:number], node, *world.nodes[number + 1 :]))


def _heard(world: World, *nodes: int) -> tuple[Heard, ...]:
    """The kubelets of these nodes have renewed their Leases: who looked before can tell."""
    holders = tuple(sorted(lease.holder for lease in world.leases if lease is not None and lease.node in nodes))
    return (Heard(holders),) if holders else ()


def _older(world: World) -> World:
    """A minute has passed."""
    nodes = tuple(node._replace(since=later(node.since, 1)) for node in world.nodes)
    return world._replace(pods=tuple(_older_pod(pod) for pod in world.pods), nodes=nodes)


def _older_pod(pod: Pod) -> Pod:
    told = later(pod.told, 1) if pod.process is Process.ALIVE else pod.told
    return pod._replace(deleting=later(pod.deleting), told=told)


def later(age: int, oldest: int = OLDEST) -> int:
    """Return how old something is after one more minute."""
    return age if age in {NEVER, oldest} else age + 1
