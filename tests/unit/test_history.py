"""Who ran lately: a 409 is read after the fact, when the pod that caused it may be gone already."""

from datetime import UTC, datetime, timedelta

from telegrambot_operator.shell.history import KEPT, KEPT_PER_BOT, History
from tests.unit.worlds import IDENTITY, NOW, ended, pod


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
