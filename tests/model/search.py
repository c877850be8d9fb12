"""Breadth-first search through every state that can be reached, as far as a fixed point or a limit.

States are kept packed, as small tuples of numbers. The first state that breaks an invariant ends the search, with the
shortest way there. When the search has come to its fixed point, each state must be able to reach a goal by steps that
are no faults: in a finite world that says the same as "it does so sooner or later, if no step is put off for ever".
"""

import time
from array import array
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, NamedTuple, Protocol, TypeVar

S = TypeVar("S", bound=Hashable)
P = TypeVar("P", bound=Hashable)
NOTHING = 2**32 - 1


class Step(NamedTuple, Generic[S]):
    """What may come next: its name, the state after it, whether it is a fault, and which invariant it breaks."""

    name: str
    state: S
    fault: bool = False
    broken: str = ""


class Model(Protocol[S]):
    """What is searched. Equal states have the same future."""

    def start(self) -> S:
        """Return the first state."""

    def steps(self, state: S) -> Iterator[Step[S]]:
        """Return every step that may come next."""

    def is_goal(self, state: S) -> bool:
        """Return whether all is well."""

    def is_left_to_a_person(self, state: S) -> bool:
        """Return whether the product says that somebody must act."""


@dataclass(frozen=True)
class Found:
    """What a search came to: `broken` names the invariant first, `trace` the steps to it."""

    states: int
    transitions: int
    depth: int
    complete: bool
    seconds: float
    broken: str = ""
    trace: tuple[str, ...] = ()

    def __str__(self) -> str:
        """One line for a person, and the trace where an invariant is broken."""
        how = "to the fixed point" if self.complete else "unfinished"
        counts = f"{self.states:,} states, {self.transitions:,} transitions, depth {self.depth}, {how}"
        rest = "".join(f"\n  {number:2}. {step}" for number, step in enumerate(self.trace, 1))
        return f"{counts}, {self.seconds:.1f} s of CPU" + (f"\nBROKEN {self.broken}{rest}" if self.broken else "")


class Search(Generic[S]):
    """One search. `limit` is how many states are tried at most."""

    def __init__(self, model: Model[S], limit: int = 100_000_000) -> None:
        self._model = model
        self._limit = limit
        self._numbers: dict[S, int] = {}
        self._states: list[S] = []
        self._came_from = array("I")
        self._goals: list[int] = []
        self._edges = (array("I"), array("I"))
        self._transitions = 0
        self._depth = 0
        self._began = time.process_time()

    def run(self) -> Found:
        """Search, and return what was found."""
        layer = [self._add(self._model.start(), NOTHING)]
        while layer:
            if len(self._states) > self._limit:
                return self._found()
            self._depth += 1
            following: list[int] = []
            for number in layer:
                broken = self._expand(number, following)
                if broken:
                    return self._found(broken, self._trace(number, broken))
            layer = following
        return self._judge_liveness()

    def _expand(self, number: int, following: list[int]) -> str:
        state = self._states[number]
        if self._model.is_goal(state):
            self._goals.append(number)
        for step in self._model.steps(state):
            self._transitions += 1
            if step.broken:
                return step.broken
            known = self._numbers.get(step.state)
            if known is None:
                known = self._add(step.state, number)
                following.append(known)
            if not step.fault and known != number:
                self._edges[0].append(number)
                self._edges[1].append(known)
        return ""

    def _add(self, state: S, came_from: int) -> int:
        number = self._numbers[state] = len(self._states)
        self._states.append(state)
        self._came_from.append(came_from)
        return number

    def _found(self, broken: str = "", trace: Iterable[str] = (), *, complete: bool = False) -> Found:
        seconds = time.process_time() - self._began
        return Found(len(self._states), self._transitions, self._depth, complete, seconds, broken, tuple(trace))

    # --- The way to a state -----------------------------------------------------------------------------------------

    def _trace(self, number: int, broken: str = "") -> list[str]:
        names = [self._name(number, lambda step: step.broken == broken)] if broken else []
        while self._came_from[number] != NOTHING:
            before, state = self._came_from[number], self._states[number]
            names.append(self._name(before, lambda step, state=state: step.state == state))  # type: ignore[misc]  # bound now
            number = before
        return names[::-1]

    def _name(self, number: int, wanted: Callable[[Step[S]], bool]) -> str:
        return next(step.name for step in self._model.steps(self._states[number]) if wanted(step))

    # --- Liveness ---------------------------------------------------------------------------------------------------

    def _judge_liveness(self) -> Found:
        reached = bytearray(len(self._states))
        before = _Backwards(*self._edges, len(self._states))
        before.mark(self._goals, reached)
        left = [number for number in range(len(self._states)) if not reached[number]]
        persons = [each for each in left if self._model.is_left_to_a_person(self._states[each])]
        before.mark(persons, reached)
        stuck = reached.find(0)
        if stuck >= 0:
            return self._found(
                "LIVE: nothing but a fault gets on from here, and Stalled is not said", self._trace(stuck)
            )
        return self._found(complete=True)


class _Backwards:
    """The edges by where they lead to."""

    def __init__(self, sources: "array[int]", targets: "array[int]", states: int) -> None:
        self._first = array("Q", bytes(8 * (states + 1)))
        for target in targets:
            self._first[target + 1] += 1
        for number in range(states):
            self._first[number + 1] += self._first[number]
        self._sources = array("I", bytes(4 * len(sources)))
        free = array("Q", self._first)
        for source, target in zip(sources, targets, strict=True):
            self._sources[free[target]] = source
            free[target] += 1

    def mark(self, goals: Iterable[int], reached: bytearray) -> None:
        """Mark the goals, and every state that can reach one."""
        todo = [number for number in goals if not reached[number]]
        for number in todo:
            reached[number] = 1
        while todo:
            number = todo.pop()
            for source in self._sources[self._first[number] : self._first[number + 1]]:
                if not reached[source]:
                    reached[source] = 1
                    todo.append(source)


class Table(Generic[P]):
    """Numbers for parts of states: equal parts get the same number."""

    def __init__(self) -> None:
        self._numbers: dict[P, int] = {}
        self.parts: list[P] = []

    def number(self, part: P) -> int:
        """Return the number of a part."""
        known = self._numbers.get(part)
        if known is None:
            known = self._numbers[part] = len(self.parts)
            self.parts.append(part)
        return known
