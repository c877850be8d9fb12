"""What an operator of the search knows: what its watch has shown, what it remembers, and what it is at."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any, NamedTuple

from telegrambot_operator.core.actions import Action, ClaimTurn, OpenPod
from tests.model.gate_world import NEVER, Event, Heard, Minute, News, Seen, Shows, Written, later

PRESENT, PAST = "7", "6"  # resourceVersions of a Lease; "" where there is none

Noted = tuple[str, str, int] | None


class Missed(NamedTuple):
    """Since when a pod is missed. Since the operator looked its node was heard of (`fresh`)."""

    number: int
    fresh: bool = False
    heard: int = NEVER
    told: int = NEVER


class Known(NamedTuple):
    """What is remembered of the holder of a turn: whether it was seen to end, and since when it is missed."""

    number: int = NEVER
    ended: bool = False
    missed: Missed | None = None


class Answer(NamedTuple):
    """What the API server says `to` a request. `known` is what the operator remembers then; `status` is a failure's."""

    facts: tuple[Any, ...] = ()
    known: Known = Known()
    status: int = 200
    to: str = ""


class Observing(NamedTuple):
    """A pass that gathers: what it began with, and what it was answered so far."""

    bot: int
    view: tuple[Seen, ...]
    noted: Noted
    answers: tuple[Answer, ...] = ()


class Executing(NamedTuple):
    """A pass that acts: what is left to be done, and what it was answered of the first of that."""

    bot: int
    actions: tuple[Action, ...]
    answers: tuple[Answer, ...] = ()


Task = Observing | Executing


class Operator(NamedTuple):
    """One of the operators. `backlog` is what its watch has for it and has not shown yet."""

    view: tuple[Seen, ...] = ()
    backlog: tuple[Event, ...] = ()
    noted: tuple[Noted, ...] = (None,)
    ended: frozenset[int] = frozenset()
    missed: tuple[Missed, ...] = ()
    task: Task | None = None

    def knows(self, number: int) -> Known:
        """Return what it remembers of a pod."""
        missed = next((each for each in self.missed if each.number == number), None)
        return Known(number, number in self.ended, missed)

    def remembers(self, known: Known) -> "Operator":
        """Return it with that in its memory instead."""
        others = [each for each in self.missed if each.number != known.number]
        missed = sorted([*others, *([known.missed] if known.missed else [])])
        ended = self.ended | {known.number} if known.ended else self.ended - {known.number}
        return self._replace(missed=tuple(missed), ended=ended)

    def marks(self, numbers: tuple[int, ...], **facts: bool) -> "Operator":
        """Return it with facts about pods that it misses."""
        missed = [each._replace(**facts) if each.number in numbers else each for each in self.missed]
        return self._replace(missed=tuple(missed))

    def forgets(self, numbers: frozenset[int]) -> "Operator":
        """Return it without what it remembers of pods that nobody will ever ask for again."""
        numbers -= {seen.number for seen in self.view} | {event.number for event in self.backlog}
        missed = tuple(each for each in self.missed if each.number not in numbers)
        return self._replace(ended=self.ended - numbers, missed=missed)

    def learns(self, seen: Seen, *, gone: bool) -> "Operator":
        """Return it with what a write of its own has answered in its cache."""
        others = [each for each in self.view if each.number != seen.number]
        return self._replace(view=tuple(sorted([*others, *([] if gone else [seen])])))


class Memory:
    """How operators take in news. `proves` tells whether the last state of a pod proves that it has ended."""

    def __init__(self, lag: int, proves: Callable[[Seen], bool]) -> None:
        self._lag = lag
        self._proves = cache(proves)

    def hears(self, operator: Operator, news: tuple[News, ...]) -> Operator:
        """Return an operator after the news."""
        for each in news:
            match each:
                case Event():
                    operator = operator._replace(backlog=(*operator.backlog, each))
                    if len(operator.backlog) > self._lag:
                        operator = self.watches(operator)
                case Minute():
                    operator = _older(operator)
                case Heard(holders):
                    operator = operator.marks(holders, fresh=True)
                case Written(bot):
                    operator = operator._replace(task=_outdated(operator.task, bot))
        return operator

    def watches(self, operator: Operator) -> Operator:
        """Return an operator after it has taken in the oldest event that its watch has for it."""
        (number, now, last), *rest = operator.backlog
        known = next((seen for seen in operator.view if seen.number == number), None)
        others = [seen for seen in operator.view if seen.number != number]
        ended = operator.ended
        if now is None:
            ended = ended | {number} if last is not None and self._proves(last) else ended
        elif known is not None or last is None:  # else it was removed by a request of its own
            others.append(now if known is None or not _is_newer(known, now) else known)
        return operator._replace(view=tuple(sorted(others)), backlog=tuple(rest), ended=ended)


def _is_newer(known: Seen, shown: Seen) -> bool:
    """Whether a pod is known from the answer to a write of one's own, which the watch has yet to show."""
    if (known.deleting == NEVER) is not (shown.deleting == NEVER):
        return known.deleting != NEVER
    return shown.shows < Shows.RUNNING and shown.shows < known.shows


def _older(operator: Operator) -> Operator:
    view = tuple(_older_seen(seen) for seen in operator.view)
    backlog = tuple(
        Event(number, now and _older_seen(now), last and _older_seen(last)) for number, now, last in operator.backlog
    )
    missed = tuple(known._replace(heard=later(known.heard, 1), told=later(known.told, 1)) for known in operator.missed)
    return operator._replace(view=view, backlog=backlog, missed=missed)


def _older_seen(seen: Seen) -> Seen:
    return seen._replace(deleting=later(seen.deleting))


def _outdated(task: Task | None, bot: int) -> Task | None:
    """What a pass has read of a Lease is past, now that somebody has written it."""
    if task is None or task.bot != bot:
        return task
    if isinstance(task, Observing):
        return task._replace(answers=tuple(_past_answer(each) for each in task.answers))
    return task._replace(actions=tuple(_past_action(each) for each in task.actions))


def _past_answer(answer: Answer) -> Answer:
    return answer._replace(facts=(PAST, *answer.facts[1:])) if answer.facts[:1] == (PRESENT,) else answer


@cache
def _past_action(action: Action) -> Action:
    if isinstance(action, ClaimTurn) and action.version == PRESENT:
        return replace(action, version=PAST)
    if isinstance(action, OpenPod) and action.claim is not None and action.claim.version == PRESENT:
        return replace(action, claim=replace(action.claim, version=PAST))
    return action
