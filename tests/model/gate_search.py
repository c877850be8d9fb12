"""Operators under `lock: Gate` in a small Kubernetes: every order of everything that may happen, searched through.

A step is one request of an operator (the product itself: `gate_operator.py`), one step of the cluster, or a fault
(`gate_world.py`). INV-1 to INV-4 hold in every state. Liveness holds where no more faults come.

A state is a world and the operators in it, each by a number, so that a step of one of them is worked out once for all
states in which the others are at something else.
"""

from collections.abc import Iterator
from typing import NamedTuple, cast

from tests.model.gate_memory import PAST, PRESENT, Answer, Executing, Known, Memory, Observing, Operator, Task
from tests.model.gate_operator import Product, Request, holder_in
from tests.model.gate_world import (
    NEVER,
    Bounds,
    Cluster,
    Lease,
    News,
    Node,
    Process,
    Shows,
    World,
    Written,
    deleted,
    look,
    shown,
    spend,
)
from tests.model.search import Step, Table

State = tuple[int, ...]
WRITES = {"take", "open", "delete"}


class Served(NamedTuple):
    """The world after a request, its answer, what others get to hear, and the invariant that it breaks."""

    world: World
    answer: Answer
    news: tuple[News, ...] = ()
    broken: str = ""


class Move(NamedTuple):
    """A step before it is known who else is there: worlds, operators and news by number."""

    name: str
    world: int
    own: int
    news: int
    fault: bool
    broken: str


class Gate:
    """The model that is searched."""

    def __init__(self, bounds: Bounds) -> None:
        self.bounds = bounds
        self._product = Product(bounds.policy)
        self._cluster = Cluster(bounds)
        self._memory = Memory(bounds.lag, self._product.proves)
        self._server = Server(self._cluster)
        self._worlds: Table[World] = Table()
        self._operators: Table[Operator] = Table()
        self._news: Table[tuple[News, ...]] = Table()
        self._moves: dict[tuple[int, ...], list[Move]] = {}
        self._heard: dict[tuple[int, int], int] = {}
        self._persons: dict[tuple[int, int, int], bool] = {}

    def start(self) -> State:
        """Return the first state."""
        world, news = self._cluster.start()
        operator = self._memory.hears(Operator(noted=(None,) * self.bounds.bots), news)
        return (self._worlds.number(world), *[self._operators.number(operator)] * self.bounds.operators)

    # --- What is to be reached --------------------------------------------------------------------------------------

    def is_goal(self, state: State) -> bool:
        """Return whether each bot has exactly one pod that runs, or one that will be evicted from a node that is lost.

        That eviction (after five minutes, by Kubernetes) is among the faults here, as a deletion. Where no node is
        Ready, nothing can run.
        """
        world = self._worlds.parts[state[0]]
        nowhere = not any(node.ready and not node.off for node in world.nodes)
        return nowhere or all(runs_once(world, bot) for bot in range(self.bounds.bots))

    def is_left_to_a_person(self, state: State) -> bool:
        """Return whether each operator, once it has seen all that there is, calls for a person."""
        world = self._worlds.parts[state[0]]
        waiting = [bot for bot in range(self.bounds.bots) if not runs_once(world, bot)]
        return all(any(self._stalls(state[0], operator, bot) for bot in waiting) for operator in state[1:])

    def _stalls(self, world: int, operator: int, bot: int) -> bool:
        key = world, operator, bot
        if key not in self._persons:
            self._persons[key] = self._calls(self._worlds.parts[world], self._operators.parts[operator], bot)
        return self._persons[key]

    def _calls(self, world: World, operator: Operator, bot: int) -> bool:
        begun = Observing(bot, shown(world), operator.noted[bot])
        while (request := self._product.gather(begun).request) is not None:
            answer = self._server.serve(world, operator._replace(task=begun), request).answer
            begun = begun._replace(answers=(*begun.answers, answer))
        return self._product.stalls(begun)

    # --- Steps ------------------------------------------------------------------------------------------------------

    def steps(self, state: State) -> Iterator[Step[State]]:
        """Return every step that may come next, with the invariant that it breaks."""
        world, *operators = state
        for move in self._of_world(world):
            yield self._step(move, operators)
        for number, operator in enumerate(operators):
            others = operators[:number] + operators[number + 1 :]
            for move in self._of_operator(world, operator):
                step = self._step(move, others, move.own)
                yield step._replace(name=f"operator {chr(65 + number)} {step.name}")

    def _step(self, move: Move, others: list[int], *own: int) -> Step[State]:
        operators = sorted((*own, *(self._hears(each, move.news) for each in others)))
        return Step(move.name, (move.world, *self._tidied(move.world, operators)), move.fault, move.broken)

    def _hears(self, operator: int, news: int) -> int:
        known = self._heard.get((operator, news))
        if known is None:
            after = self._memory.hears(self._operators.parts[operator], self._news.parts[news])
            known = self._heard[operator, news] = self._operators.number(after)
        return known

    def _tidied(self, world: int, operators: list[int]) -> list[int]:
        """Let nobody remember what cannot matter any more, so that equal states are one."""
        known = [self._operators.parts[each] for each in operators]
        if any(each.task is not None for each in known) or not any(each.ended or each.missed for each in known):
            return operators
        at = self._worlds.parts[world]
        holders = {lease.holder for lease in at.leases if lease is not None}
        over = frozenset(
            number for number, pod in enumerate(at.pods) if pod.shows is Shows.GONE and number not in holders
        )
        return sorted(self._operators.number(each.forgets(over)) for each in known)

    def _of_world(self, number: int) -> list[Move]:
        known = self._moves.get((number,))
        if known is None:
            world = self._worlds.parts[number]
            known = self._moves[number,] = [
                self._move(step.name, step.world, None, step.news, step.fault, self._overlap(step.world, world))
                for step in self._cluster.steps(world)
            ]
        return known

    def _overlap(self, world: World, before: World) -> str:
        return "" if world.pods == before.pods else overlap(world, self.bounds.bots)

    def _move(
        self, name: str, world: World, own: Operator | None, news: tuple[News, ...], fault: bool, broken: str
    ) -> Move:
        after = 0 if own is None else self._operators.number(own)
        return Move(name, self._worlds.number(world), after, self._news.number(news), fault, broken)

    def _of_operator(self, number: int, at: int) -> list[Move]:
        known = self._moves.get((number, at))
        if known is None:
            world, operator = self._worlds.parts[number], self._operators.parts[at]
            known = self._moves[number, at] = list(self._moves_of(world, operator))
        return known

    def _moves_of(self, world: World, operator: Operator) -> Iterator[Move]:
        if operator.backlog:
            yield self._move("sees what happened", world, self._memory.watches(operator), (), False, "")
        for begun in self._begun(operator):
            yield from self._goes_on(world, operator._replace(task=begun), begun)
        if (operator.task or operator.ended or operator.missed) and (less := spend(world, "crash")) is not None:
            anew = Operator(view=shown(less), noted=(None,) * self.bounds.bots)
            yield self._move("dies and starts again", less, anew, (), True, "")

    def _begun(self, operator: Operator) -> Iterator[Task]:
        """What it is at, else every pass that it may begin and that would ask anything."""
        if operator.task is not None:
            yield operator.task
            return
        for bot, noted in enumerate(operator.noted):
            task = Observing(bot, operator.view, noted)
            first = self._product.gather(task)
            if first.request is not None:
                yield task
            elif first.actions:
                yield Executing(bot, first.actions)

    def _goes_on(self, world: World, operator: Operator, task: Task) -> Iterator[Move]:
        request = self._product.asks(task)
        served = self._server.serve(world, operator, request)
        broken = served.broken or self._overlap(served.world, world)
        name = named(request)
        yield self._answered(name + _outcome(request, served.answer), operator, request, served, False, broken)
        if (less := spend(world, "refused")) is not None:
            failed = Served(less, Answer(status=409 if request.name in WRITES else 500, to=request.name))
            yield self._answered(f"{name}, which is refused", operator, request, failed, True, "")
        written = request.name in WRITES and served.answer.status == 200
        if written and (less := spend(served.world, "lost")) is not None:
            lost = served._replace(world=less, answer=Answer(status=0, to=request.name))
            yield self._answered(f"{name}, and the answer is lost", operator, request, lost, True, broken)

    def _answered(
        self, name: str, operator: Operator, request: Request, served: Served, fault: bool, broken: str
    ) -> Move:
        told = self._memory.hears(operator, served.news)
        after = self._product.hears(told, request, served.answer)
        return self._move(name, served.world, after, served.news, fault, broken)


class Server:
    """The API server: every read is of the present, every write meets its preconditions."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def serve(self, world: World, operator: Operator, request: Request) -> Served:
        """Return what a request of an operator comes to."""
        served = self._serve(world, operator, request)
        return served._replace(answer=served.answer._replace(to=request.name))

    def _serve(self, world: World, operator: Operator, request: Request) -> Served:
        match request.name:
            case "take":
                return _take(world, *request.facts)
            case "open":
                return self._open(world, cast("Executing", operator.task), request.facts[0])
            case "delete":
                return self._delete(world, *request.facts)
        return Served(world, _read(world, operator, request))

    def _open(self, world: World, task: Executing, at: int) -> Served:
        pod = world.pods[at]
        if pod.shows is not Shows.HELD:
            return Served(world, NOT_FOUND)
        others = [each for each in world.pods if each.bot == pod.bot and each is not pod and each.may_run]
        broken = "INV-2: a pod is opened while another process may run" if others else ""
        if not any(each.to == "list" and each.status == 200 for each in task.answers):
            broken = broken or "INV-2: a pod is opened without a live look at the others"
        world, news = self._cluster.changed(world, at, pod._replace(shows=Shows.FREE))
        return Served(world, Answer((look(at, world.pods[at]),)), news, broken)

    def _delete(self, world: World, at: int, rightly: bool, version: str | None, force: bool) -> Served:
        pod, bounds = world.pods[at], self._cluster.bounds
        broken = "" if rightly and version else "INV-3: a delete carries no preconditions"
        seen = look(at, pod)
        if seen is None:
            return Served(world, NOT_FOUND, broken=broken)
        if version is not None and version != str(seen.version):
            return Served(world, Answer(status=409), broken=broken)
        if force and pod.may_run and bounds.policy != "Force":
            broken = broken or "INV-4: a pod is force-deleted while its process may run"
        after = pod._replace(shows=Shows.GONE, deleting=NEVER) if force else deleted(pod)
        world, news = self._cluster.changed(world, at, after)
        return Served(world, Answer((look(at, world.pods[at]) or seen,)), news, broken)


NOT_FOUND = Answer(status=404)


def _read(world: World, operator: Operator, request: Request) -> Answer:
    (at,) = request.facts
    match request.name:
        case "lease":
            lease = world.leases[at]
            return NOT_FOUND if lease is None else Answer((PRESENT, *lease))
        case "find":
            found = tuple(each for each in shown(world) if each.number == at)
            return Answer(found, operator.knows(at))
        case "list":
            return Answer(tuple(each for each in shown(world) if each.bot == at))
        case "beat":
            known = operator.knows(holder_in(cast("Observing", operator.task).answers))
            fresh = known.missed is not None and known.missed.fresh
            return NOT_FOUND if world.nodes[at].off else Answer((fresh,), Known(known.number))
    return _read_node(world.nodes[at], operator)


def _read_node(node: Node, operator: Operator) -> Answer:
    """The first one that a pass reads after a heartbeat is about who is missed."""
    answers = cast("Observing", operator.task).answers
    known = operator.knows(holder_in(answers)) if answers and answers[-1].to == "beat" else Known()
    return NOT_FOUND._replace(known=known) if node.off else Answer((node._replace(linked=True),), known)


def _take(world: World, bot: int, version: str | None, holder: int, node: int | None) -> Served:
    lease = world.leases[bot]
    if version is not None and ((version == "") is not (lease is None) or version == PAST):
        return Served(world, Answer(status=409))
    kept = NEVER if lease is None else lease.node
    after = Lease(holder, kept if node is None else node)
    leases = (*world.leases[:bot], after, *world.leases[bot + 1 :])
    return Served(world._replace(leases=leases), Answer(), (Written(bot),))


# --- What is judged -------------------------------------------------------------------------------------------------


def runs_once(world: World, bot: int) -> bool:
    """Return whether a bot has exactly one pod that runs, or one that is bound to a node that is lost."""
    mine = [pod for pod in world.pods if pod.bot == bot]
    running = [pod for pod in mine if pod.process is Process.ALIVE and pod.shows is Shows.RUNNING]
    if len(running) == 1 and running[0].deleting == NEVER:
        return True
    bound = [pod for pod in mine if pod.active and pod.node != NEVER]
    return len(bound) == 1 and not world.nodes[bound[0].node].linked


def overlap(world: World, bots: int) -> str:
    """Return what breaks INV-1, if something does."""
    for bot in range(bots):
        if sum(pod.process is Process.ALIVE and pod.bot == bot for pod in world.pods) > 1:
            return "INV-1: two processes of one identity run"
    return ""


def named(request: Request) -> str:
    """Return a request as a trace names it."""
    facts = request.facts
    match request.name:
        case "take":
            return f"writes the Lease of bot-{facts[0]}: held by pod-{facts[2]}, node {facts[3]}"
        case "open":
            return f"takes the gate off pod-{facts[0]}"
        case "delete":
            return f"{'force-' if facts[3] else ''}deletes pod-{facts[0]}"
        case "lease" | "list":
            return f"reads the {'Lease' if request.name == 'lease' else 'pods'} of bot-{facts[0]}"
        case "find":
            return f"looks for pod-{facts[0]}"
    return f"reads {'the heartbeat of ' if request.name == 'beat' else ''}node-{facts[0]}"


def _outcome(request: Request, answer: Answer) -> str:
    if answer.status != 200:
        return f" -> {answer.status}"
    match request.name:
        case "lease":
            return f" -> held by pod-{answer.facts[1]}, node {answer.facts[2]}"
        case "find" | "list":
            return " -> " + (", ".join(f"pod-{each.number} {each.shows.name}" for each in answer.facts) or "nothing")
    return ""
