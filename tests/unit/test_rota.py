"""Whose log is read when: events before everybody, everybody in the end, and a node that hangs in nobody's way."""

from dataclasses import dataclass, field

import pytest

from telegrambot_operator.shell.rota import (
    PROMPT_PER_SECOND,
    QUIET_PER_SECOND,
    READS_PER_NODE,
    Rank,
    Rota,
    Turn,
)

MANY = 5000
PODS_A_NODE = 50


@dataclass
class Played:
    """A rota whose time is moved by hand, and whose reads take a hundredth of a second unless their node hangs."""

    now: float = 1000.0
    hanging: set[str] = field(default_factory=set)
    under_way: list[tuple[float, Turn]] = field(default_factory=list)
    reads: list[tuple[float, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.rota = Rota(lambda: self.now)

    def quiet(self, number: int, seconds: float = 0.0) -> None:
        self.rota.add(f"quiet-{number}", f"node-{number // PODS_A_NODE}", Rank.QUIET, seconds)

    def event(self, name: str, node: str = "node-0", seconds: float = 0.5) -> None:
        self.rota.add(name, node, Rank.EVENT, seconds)

    def play(self, seconds: float) -> None:
        """Read all whose turn comes; a quiet log is read again in its turn."""
        end = self.now + seconds
        while True:
            while turn := self.rota.next():
                self.reads.append((self.now, turn.uid))
                lasts = 5.0 if turn.node in self.hanging else 0.01
                self.under_way.append((self.now + lasts, turn))
            moments = [done for done, _ in self.under_way]
            if (wait := self.rota.seconds_until_next()) is not None:
                moments.append(self.now + wait)
            self.now = min(moments, default=end + 1)
            if self.now > end:
                self.now = end
                return
            self._end_reads()

    def _end_reads(self) -> None:
        for each in [each for each in self.under_way if each[0] <= self.now]:
            self.under_way.remove(each)
            self.rota.done(each[1])
            if each[1].rank is Rank.QUIET:
                self.rota.add(each[1].uid, each[1].node, Rank.QUIET, MANY / QUIET_PER_SECOND)

    def turn(self) -> Turn:
        """The next turn, which comes now or a moment later."""
        self.now += 0.1
        turn = self.rota.next()
        assert turn is not None
        return turn

    def when(self, uid: str) -> list[float]:
        return [at for at, name in self.reads if name == uid]


@pytest.fixture
def played() -> Played:
    return Played()


def test_an_event_is_read_at_once_though_thousands_are_due(played: Played) -> None:
    for number in range(MANY):
        played.quiet(number)
    played.play(30)
    began = played.now
    played.event("new")
    played.play(2)
    assert [at - began for at in played.when("new")] == [pytest.approx(0.5, abs=0.05)]


def test_as_many_events_as_the_budget_allows_are_all_read_within_two_seconds(played: Played) -> None:
    for number in range(MANY):
        played.quiet(number)
    events = int(PROMPT_PER_SECOND * 1.4)
    for number in range(events):
        played.event(f"new-{number}", f"node-{number}")
    played.play(2)
    assert sum(name.startswith("new") for _, name in played.reads) == events


def test_of_more_events_than_that_the_newest_are_read_in_time_and_none_is_left_out(played: Played) -> None:
    for number in range(MANY):
        played.event(f"new-{number}", f"node-{number}", seconds=0.0)
    played.play(10)
    played.event("newest", "node-x")
    played.play(2)
    assert played.when("newest")
    played.play(MANY / PROMPT_PER_SECOND)
    assert {name for _, name in played.reads} == {f"new-{number}" for number in range(MANY)} | {"newest"}


def test_the_one_that_waits_longest_has_its_turn_while_events_go_on(played: Played) -> None:
    played.event("first", seconds=0.0)
    for second in range(20):
        for number in range(int(2 * PROMPT_PER_SECOND)):
            played.event(f"new-{second}-{number}", f"node-{number}", seconds=0.0)
        played.play(1)
    assert played.when("first")


def test_conflicts_that_go_on_have_their_turn_while_events_go_on(played: Played) -> None:
    played.rota.add("at war", "node-1", Rank.LIVELY, 2.0)
    for second in range(10):
        for number in range(int(2 * PROMPT_PER_SECOND)):
            played.event(f"new-{second}-{number}", f"node-{number}", seconds=0.0)
        played.play(1)
    assert played.when("at war")


def test_everybody_is_read_in_turn_however_many_events_there_are(played: Played) -> None:
    for number in range(MANY):
        played.quiet(number)
    for second in range(int(MANY / QUIET_PER_SECOND) + 1):
        for number in range(int(PROMPT_PER_SECOND)):
            played.event(f"new-{second}-{number}", f"busy-{number}", seconds=0.0)
        played.play(1)
    quiet = [name for _, name in played.reads if name.startswith("quiet")]
    assert set(quiet) == {f"quiet-{number}" for number in range(MANY)}


def test_the_budget_is_kept(played: Played) -> None:
    for number in range(MANY):
        played.quiet(number)
        played.event(f"new-{number}", f"node-{number}", seconds=0.0)
    played.play(10)
    quiet = sum(name.startswith("quiet") for _, name in played.reads)
    assert 0 <= quiet - 10 * QUIET_PER_SECOND <= 2
    assert 0 <= len(played.reads) - quiet - 10 * PROMPT_PER_SECOND <= 2


def test_a_node_that_hangs_holds_up_its_own_bots_and_nobody_else_s(played: Played) -> None:
    played.hanging = {"node-0"}
    for number in range(4 * PODS_A_NODE):
        played.quiet(number)
        played.event(f"new-{number}", f"node-{number // PODS_A_NODE}", seconds=0.0)
    played.play(3 * PODS_A_NODE / QUIET_PER_SECOND + 1)
    theirs = {name for _, name in played.reads if int(name.partition("-")[2]) >= PODS_A_NODE}
    assert len(theirs) == 2 * 3 * PODS_A_NODE
    assert len(played.reads) - len(theirs) <= 4 * READS_PER_NODE
    assert all(played.rota._reading[node] <= READS_PER_NODE for node in played.rota._reading)


def test_a_node_that_answers_again_has_all_of_its_bots_read(played: Played) -> None:
    played.hanging = {"node-0"}
    for number in range(PODS_A_NODE):
        played.event(f"new-{number}", seconds=0.0)
    played.play(6)
    played.hanging = set()
    played.play(10)
    assert {name for _, name in played.reads} == {f"new-{number}" for number in range(PODS_A_NODE)}


def test_who_waits_for_a_node_is_called_when_those_called_before_are_gone(played: Played) -> None:
    for number in range(2 * READS_PER_NODE + 1):
        played.event(f"new-{number}", seconds=0.0)
    under_way = [played.turn() for _ in range(READS_PER_NODE)]
    played.now += 1
    assert played.rota.next() is None
    for turn in under_way:
        played.rota.done(turn)
    for number in range(1, READS_PER_NODE + 1):  # the newest waited first
        played.rota.forget(f"new-{number}")
    assert len(played.rota) == 1
    assert played.turn().uid == "new-0"


def test_a_newer_turn_takes_the_place_of_the_older_one(played: Played) -> None:
    played.quiet(1, seconds=60.0)
    played.event("quiet-1", seconds=0.5)
    played.play(70)
    assert [at - 1000.0 for at in played.when("quiet-1")] == [0.5]
    assert len(played.rota) == 0


def test_nobody_s_turn_comes_when_nobody_is_there(played: Played) -> None:
    assert played.rota.next() is None
    assert played.rota.seconds_until_next() is None
    played.quiet(1, seconds=3.0)
    assert played.rota.seconds_until_next() == 3.0
    assert "quiet-1" in played.rota
    played.rota.forget("quiet-1")
    played.play(5)
    assert played.reads == []
