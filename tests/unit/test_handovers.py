"""How long a bot was without a process when another pod took over, and what is no handover."""

import pytest

from telegrambot_operator.core.handovers import KEPT, Handovers
from telegrambot_operator.core.records import Pod
from tests.unit.worlds import ended, pod, running, waiting

OLD, NEW = "bot-old", "bot-new"


def runs(name: str, bot: str = "7301948265") -> Pod:
    return pod(name, bot=bot, containers=[running()])


def starts(name: str) -> Pod:
    return pod(name, phase="Pending", containers=[waiting("ContainerCreating")])


@pytest.fixture
def handovers() -> Handovers:
    """The old pod runs, and has been seen to."""
    handovers = Handovers()
    assert handovers.take(None, runs(OLD), 0) is None
    return handovers


def test_from_the_old_ones_end_to_the_new_ones_start(handovers: Handovers) -> None:
    assert handovers.take(runs(OLD), pod(OLD, terminating=1), 5) is None, "it runs on"
    assert handovers.take(pod(OLD, terminating=1), pod(OLD, terminating=1, containers=[ended()]), 10) is None
    assert handovers.take(pod(OLD, terminating=1, containers=[ended()]), None, 10.5) is None
    assert handovers.take(None, starts(NEW), 11) is None
    assert handovers.take(starts(NEW), runs(NEW), 12) == 2


def test_an_old_pod_whose_object_goes_first_ends_with_it(handovers: Handovers) -> None:
    handovers.take(pod(OLD, terminating=1), None, 10)
    assert handovers.take(starts(NEW), runs(NEW), 12) == 2


def test_a_pod_of_the_same_name(handovers: Handovers) -> None:
    """As a StatefulSet makes it, where the deletion was lost."""
    old, new = pod(OLD), pod(NEW)
    assert handovers.take(old, new, 10) == 0


def test_a_container_that_starts_again_is_none(handovers: Handovers) -> None:
    crashed = pod(OLD, containers=[waiting("CrashLoopBackOff")])
    handovers.take(runs(OLD), crashed, 10)
    assert handovers.take(crashed, runs(OLD), 20) is None
    assert handovers.take(None, runs(NEW), 30) is None, "the old one runs"


def test_a_second_pod_beside_the_first_is_none(handovers: Handovers) -> None:
    assert handovers.take(None, runs(NEW), 5) is None


def test_a_bot_that_was_suspended_for_long_is_none(handovers: Handovers) -> None:
    handovers.take(runs(OLD), None, 10)
    assert handovers.take(None, runs(NEW), 11 + KEPT) is None


def test_another_bot_is_another_matter(handovers: Handovers) -> None:
    handovers.take(runs(OLD), None, 10)
    assert handovers.take(None, runs("other", bot="1234567"), 11) is None
    assert handovers.take(None, runs(NEW), 12) == 2


def test_what_is_remembered_is_bounded_in_time() -> None:
    handovers = Handovers()
    for number in range(100):
        handovers.take(runs("x", bot=str(number)), None, number * KEPT / 10)
    assert len(handovers._ended) <= 11
