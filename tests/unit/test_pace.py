"""Forced deletes are paced: at most ten in any minute, in the order of asking, each with a moment of its own."""

from hypothesis import given
from hypothesis import strategies as st

from telegrambot_operator.core.observed import FORCED_A_MINUTE
from telegrambot_operator.shell.pace import KEPT_SECONDS, MINUTE, Pace


class Clock:
    """A steady clock that moves when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def names(stem: str, count: int) -> list[str]:
    return [f"{stem}-{number}" for number in range(count)]


def go(pace: Pace, uids: list[str]) -> int:
    """How many of them may go when all of them ask."""
    return [pace.take(uid) for uid in uids].count(True)


def paced(taken: int = 0) -> tuple[Pace, Clock]:
    """A pace of which so many pods have been forced away a moment ago."""
    clock = Clock()
    pace = Pace(clock)
    assert go(pace, names("before", taken)) == taken
    return pace, clock


def seconds(pace: Pace, *uids: str) -> list[float]:
    """For how long each of them has to wait still."""
    return [later.seconds for later in pace.waits(uids).values()]


def test_as_many_as_are_allowed_go_at_once() -> None:
    pace, _ = paced(FORCED_A_MINUTE - 1)
    assert pace.take("the-last")
    assert not pace.take("one-too-many")


def test_who_has_to_wait_goes_a_minute_after_the_first() -> None:
    pace, clock = paced(FORCED_A_MINUTE)
    assert not pace.take("late")
    assert seconds(pace, "late") == [MINUTE]
    clock.now += MINUTE - 1
    assert not pace.take("late")
    clock.now += 1
    assert (pace.take("late"), seconds(pace, "late")) == (True, [])


def test_who_waits_is_told_the_same_time_however_often_it_asks() -> None:
    pace, clock = paced(FORCED_A_MINUTE)
    pace.take("late")
    told = pace.waits(["late"])["late"].at
    for _ in range(5):
        clock.now += 7
        pace.take("late")
    assert pace.waits(["late"])["late"].at == told


def test_nobody_is_overtaken_by_who_asks_more_often() -> None:
    pace, clock = paced(FORCED_A_MINUTE)
    waiting = names("late", FORCED_A_MINUTE)
    assert go(pace, waiting) == 0
    assert not pace.take("pushy")
    clock.now += MINUTE
    assert not pace.take("pushy")
    assert go(pace, waiting) == FORCED_A_MINUTE
    assert seconds(pace, "pushy") == [MINUTE]


def test_who_comes_late_for_a_moment_makes_no_crowd_with_those_of_the_next_minute() -> None:
    pace, clock = paced(FORCED_A_MINUTE)
    late, next_minute = names("late", FORCED_A_MINUTE), names("next", FORCED_A_MINUTE)
    assert go(pace, [*late, *next_minute]) == 0
    clock.now += MINUTE + 55
    assert go(pace, late) == FORCED_A_MINUTE
    clock.now += 5
    assert go(pace, next_minute) == 0


def test_a_moment_that_nobody_comes_for_is_given_up() -> None:
    pace, clock = paced(FORCED_A_MINUTE)
    pace.take("gone-by-itself")
    clock.now += MINUTE + KEPT_SECONDS
    assert go(pace, names("other", FORCED_A_MINUTE)) == FORCED_A_MINUTE


def test_what_came_to_nothing_does_not_count() -> None:
    pace, _ = paced(FORCED_A_MINUTE)
    pace.give_back()
    assert pace.take("another")
    assert not pace.take("one-too-many")


def test_of_pods_that_do_not_wait_nothing_is_said() -> None:
    pace, _ = paced(FORCED_A_MINUTE)
    pace.take("late")
    assert list(pace.waits(["before-0", "late", "nobody"])) == ["late"]


@given(st.lists(st.tuples(st.floats(0, 40), st.integers(0, 30)), max_size=200))
def test_there_are_never_more_than_allowed_in_any_minute(asked: list[tuple[float, int]]) -> None:
    pace, clock = paced()
    went: list[float] = []
    for pause, uid in asked:
        clock.now += pause
        if pace.take(str(uid)):
            went.append(clock.now)
    for first, beyond in zip(went, went[FORCED_A_MINUTE:], strict=False):
        assert beyond - first >= MINUTE - 1e-6
