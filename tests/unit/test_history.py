"""Who ran lately: a 409 is read after the fact, when the pod that caused it may be gone already."""

from datetime import UTC, datetime, timedelta

import pytest

from telegrambot_operator.core.records import Pod
from telegrambot_operator.core.turn import Vanished
from telegrambot_operator.shell import history as module
from telegrambot_operator.shell.history import KEPT, KEPT_ENDS, KEPT_PER_BOT, History
from tests.unit.clock import Clock
from tests.unit.worlds import IDENTITY, NOW, ended, held, pod, running


def names(history: History, now: datetime) -> list[str]:
    return [past.pod for past in history.of(IDENTITY, now)]


def test_a_pod_that_vanished_while_it_may_have_polled_ended_when_it_vanished() -> None:
    history = History()
    before = datetime.now(UTC)
    history.pod_is_gone(pod("p", terminating=5))
    (past,) = history.of(IDENTITY, before)
    assert past.ended is not None
    assert before <= past.ended <= datetime.now(UTC)


def test_a_pod_that_was_dead_before_it_vanished_ended_when_it_died() -> None:
    history = History()
    history.pod_is_gone(pod("p", phase="Failed", containers=[ended(until=-20)]))
    (past,) = history.of(IDENTITY, NOW)
    assert past.ended == NOW - timedelta(seconds=20)


def test_a_pod_that_never_ran_is_not_remembered() -> None:
    history = History()
    history.pod_is_gone(pod("p", node=""))
    assert history.of(IDENTITY, NOW) == []


def test_a_pod_of_another_bot_is_not_remembered_for_this_one() -> None:
    history = History()
    history.pod_is_gone(pod("p", bot="another"))
    history.pod_is_gone(pod("q", bot=None))
    assert history.of(IDENTITY, NOW) == []


def test_after_a_while_it_is_forgotten() -> None:
    history = History()
    history.pod_is_gone(pod("p", phase="Failed", containers=[ended(until=-20)]))
    just_before = NOW - timedelta(seconds=20) + KEPT - timedelta(seconds=1)
    assert names(history, just_before) == ["p"]
    assert names(history, just_before + timedelta(seconds=1)) == []


def test_a_crowd_is_not_remembered_whole() -> None:
    """A bot whose pods come and go by the thousand must not fill the memory."""
    history = History()
    for number in range(KEPT_PER_BOT + 5):
        history.pod_is_gone(pod(f"p{number}", phase="Failed", containers=[ended(until=-20)]))
    kept = names(history, NOW)
    assert len(kept) == KEPT_PER_BOT
    assert kept[-1] == f"p{KEPT_PER_BOT + 4}"


# --- Pods that have vanished ------------------------------------------------------------------------------------------


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


LONG_AGO = "2026-07-01 09:00:00+00:00"  # as a datetime is written
A, B, C, D, E, F, G, H, K = (f"2026-07-01T10:0{at // 6}:{at % 6}0.123456Z" for at in range(9))  # as a kubelet writes


LAST_SEEN: dict[str, tuple[Pod, bool]] = {
    "bound to no node": (held("p"), True),
    "open, and bound to no node": (held("p", gates=[]), True),
    "ended": (pod("p", phase="Succeeded", containers=[ended()]), True),
    "ended, and on its way out": (pod("p", phase="Failed", containers=[ended()], terminating=5), True),
    "running": (pod("p"), False),
    "on its way out, and running: its object was deleted by force": (pod("p", terminating=5), False),
    "its containers have ended, but nobody says that they stay so": (pod("p", containers=[ended()]), False),
    "called failed while a container of it runs": (pod("p", phase="Failed", containers=[running()]), False),
    "bound, and nothing is known of its containers": (pod("p", phase="Pending", containers=[]), False),
}


@pytest.mark.parametrize(("last", "proves"), LAST_SEEN.values(), ids=LAST_SEEN)
def test_the_last_state_of_a_pod_shows_whether_a_process_can_be_left(last: Pod, proves: bool) -> None:
    history = History()
    history.saw_the_last_of(last)
    assert history.missed("uid-p", A, LONG_AGO) == (None if proves else Vanished())


def test_what_was_proven_of_one_pod_says_nothing_of_another() -> None:
    history = History()
    history.prove("uid-p")
    assert history.missed("uid-p", A, LONG_AGO) is None
    assert history.missed("uid-q", A, LONG_AGO) == Vanished()


def test_a_proof_that_comes_late_counts(clock: Clock) -> None:
    history = History()
    assert history.missed("uid-p", A, LONG_AGO) == Vanished()
    clock.seconds += 5
    history.prove("uid-p")
    assert history.missed("uid-p", A, LONG_AGO) is None


# Looks at a pod that has vanished, each so many seconds after the one before, and what its kubelet wrote last by then;
# then for how long, in the end, the kubelet has certainly known.
Looks = list[tuple[float, str]]
HEARD: dict[str, tuple[Looks, float | None]] = {
    "never before: its heartbeat may be older than the deletion": ([(0, A)], None),
    "silent since": ([(0, A), (60, A), (60, A)], None),
    "heard of once: it may have looked just before the deletion": ([(0, A), (10, B)], None),
    "heard of once, however long ago": ([(0, A), (10, B), (600, B)], None),
    "heard of twice in too short a time": ([(0, A), (5, B), (9.9, C)], None),
    "heard of twice": ([(0, A), (5, B), (10, C)], 0.0),
    "heard of a third time, the second being too early": ([(0, A), (5, B), (5, C), (5, D)], 0.0),
    "heard of twice, and a while ago": ([(0, A), (5, B), (10, C), (7, C)], 7.0),
    "heard of ever since: the time runs on": ([(0, A), (5, B), (10, C), (10, D), (10, E)], 20.0),
    "cannot be read": ([(0, ""), (10, ""), (10, "")], None),
    "is not what a kubelet writes": ([(0, "a"), (10, "b"), (10, "c")], None),
    "cannot be read at first: that it can be read now is no sign of life": ([(0, ""), (10, A), (10, A)], None),
    "... but what comes after that is": ([(0, ""), (10, A), (10, B), (10, C)], 0.0),
    "cannot be read in between: the same heartbeat again is no sign of life": (
        [(0, A), (10, ""), (10, A), (10, ""), (10, A)],
        None,
    ),
    "cannot be read in between, and was heard of before and after": (
        [(0, A), (10, B), (10, ""), (10, C), (1, "")],
        1.0,
    ),
}


@pytest.mark.parametrize(("looks", "told_for"), HEARD.values(), ids=HEARD)
def test_for_how_long_the_kubelet_of_a_vanished_pod_has_known(
    clock: Clock, looks: Looks, told_for: float | None
) -> None:
    history, found = History(), None
    for seconds, heartbeat in looks:
        clock.seconds += seconds
        found = history.missed("uid-p", heartbeat, LONG_AGO)
    assert found == Vanished(told_for)


# The same, and since when the node is Ready, "" while it is not. B is ten seconds after A, and so on.
LOST: dict[str, tuple[list[tuple[float, str, str]], float | None]] = {
    "well all the time": ([(0, A, LONG_AGO), (5, B, LONG_AGO), (10, C, LONG_AGO)], 0.0),
    "not Ready, or that cannot be read": ([(0, A, ""), (10, B, ""), (10, C, "")], None),
    "lost and back between the two signs: the second comes before it has heard what it missed": (
        [(0, A, LONG_AGO), (5, B, LONG_AGO), (60, B, ""), (60, H, G)],
        None,
    ),
    "... and nobody looked while it was lost": ([(0, A, LONG_AGO), (5, B, LONG_AGO), (120, H, G)], None),
    "lost and back, and heard of twice since, but a moment ago": (
        [(0, A, LONG_AGO), (5, B, LONG_AGO), (120, C, C), (10, D, C), (10, E, C)],
        None,
    ),
    "lost and back, and heard of twice after it had the time to watch again": (
        [(0, A, LONG_AGO), (5, B, LONG_AGO), (120, C, B), (50, H, B), (10, K, B)],
        0.0,
    ),
    "back a moment before it was first looked at": ([(0, B, A), (10, C, A), (10, D, A), (10, E, A)], None),
    "a clock of its own that jumps back: its time is not to be trusted": (
        [(0, A, LONG_AGO), (5, B, LONG_AGO), (10, A, B), (10, B, C)],
        None,
    ),
    "lost once it knew: what it has begun it ends": (
        [(0, A, LONG_AGO), (5, B, LONG_AGO), (10, C, LONG_AGO), (60, C, "")],
        60.0,
    ),
}


@pytest.mark.parametrize(("looks", "told_for"), LOST.values(), ids=LOST)
def test_a_kubelet_that_was_cut_off_gets_the_time_to_watch_its_pods_again(
    clock: Clock, looks: list[tuple[float, str, str]], told_for: float | None
) -> None:
    history, found = History(), None
    for seconds, heartbeat, ready_since in looks:
        clock.seconds += seconds
        found = history.missed("uid-p", heartbeat, ready_since)
    assert found == Vanished(told_for)


def test_for_how_long_a_pod_has_been_missed(clock: Clock) -> None:
    history, found = History(), []
    for _ in range(3):
        found.append(history.missed("uid-p", "", ""))
        clock.seconds += 10
    history.is_there(pod("p"))
    found.append(history.missed("uid-p", "", ""))
    assert [each.missed_for for each in found if each] == [0.0, 10.0, 20.0, 0.0]


def test_two_pods_that_vanished_wait_each_for_itself(clock: Clock) -> None:
    history = History()
    for heartbeat in (A, B, C):
        assert history.missed("uid-q", A, LONG_AGO) == Vanished()
        first = history.missed("uid-p", heartbeat, LONG_AGO)
        clock.seconds += 10
    assert first == Vanished(0.0)


def test_a_crowd_of_ends_is_not_remembered_whole_and_what_is_forgotten_counts_as_not_seen() -> None:
    history = History()
    for number in range(KEPT_ENDS + 2):
        history.prove(f"uid-{number}")
    assert len(history._ended) == KEPT_ENDS
    assert history.missed("uid-1", A, LONG_AGO) == Vanished()
    assert history.missed("uid-2", A, LONG_AGO) is None


def test_a_crowd_that_is_missed_is_not_remembered_whole() -> None:
    history = History()
    for number in range(KEPT_ENDS + 5):
        history.missed(f"uid-{number}", A, LONG_AGO)
    assert len(history._missed) <= KEPT_ENDS + 1


def test_a_pod_that_is_there_after_all_was_not_seen_to_end() -> None:
    """A watch says that a pod is gone also when it loses the label."""
    history = History()
    history.saw_the_last_of(held("p"))
    history.is_there(held("p"))
    assert history.missed("uid-p", A, LONG_AGO) == Vanished()


def test_what_was_missed_is_not_when_it_is_there(clock: Clock) -> None:
    history = History()
    for heartbeat in (A, B, C):
        history.missed("uid-p", heartbeat, LONG_AGO)
        clock.seconds += 10
    history.is_there(pod("p"))
    assert history.missed("uid-p", D, LONG_AGO) == Vanished()
