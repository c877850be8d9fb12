"""What a pod's status tells of its past: from when to when it may have been polling, and which 409 it died of."""

import pytest

from telegrambot_operator.core.evidence import compile_pattern
from telegrambot_operator.core.lifetimes import death_notes, deletion_asked, span, terminations
from telegrambot_operator.core.observed import PodSpan
from telegrambot_operator.core.records import Pod
from tests.unit.worlds import OTHER, at, ended, ending, lived, pod, running, waiting

# --- From when to when ----------------------------------------------------------------------------------------------

CRASH = ending(since=-300, until=-200)

SPANS: dict[str, tuple[Pod, PodSpan | None]] = {
    "a pod on no node never ran": (pod("p", node=""), None),
    "a running pod runs since its container started": (pod("p", containers=[running(since=-60)]), lived("p", -60)),
    "a restarted pod runs since its container before started": (
        pod("p", containers=[running(since=-60, last=CRASH)]),
        lived("p", -300),
    ),
    "a pod that waits for its next restart may be polling again at any moment": (
        pod("p", containers=[waiting("CrashLoopBackOff", last=CRASH)]),
        lived("p", -300),
    ),
    "the first container to start counts": (
        pod("p", containers=[running(since=-60), running("helper", since=-90)]),
        lived("p", -90),
    ),
    "a pod that a kubelet has accepted and said nothing of may run since then": (
        pod("p", containers=[], age=50),
        lived("p", -50),
    ),
    "a dead pod ran until its last container ended": (
        pod("p", phase="Failed", containers=[ended(since=-300, until=-200), ended("helper", since=-300, until=-100)]),
        lived("p", -300, until=-100),
    ),
    "a pod whose containers have ended may start them again: no end yet": (
        pod("p", containers=[ended(since=-300, until=-200)]),
        lived("p", -300),
    ),
    "a pod that is being deleted may be polling until it is gone": (
        pod("p", containers=[running(since=-60)], terminating=-20, grace=30),
        lived("p", -60, deleted=-10),
    ),
    "an evicted pod that never started a container never ran": (
        pod("p", phase="Failed", containers=[], reason="Evicted"),
        None,
    ),
}


@pytest.mark.parametrize(("given", "expected"), SPANS.values(), ids=SPANS)
def test_span(given: Pod, expected: PodSpan | None) -> None:
    assert span(given) == expected


def test_a_span_tells_whose_pod_it_is() -> None:
    known = span(pod(controller=None))
    assert known is not None
    assert (known.namespace, known.deployment) == ("shop", "")


def test_a_pod_that_vanished_while_it_ran_ends_when_it_vanished() -> None:
    known = span(pod(containers=[running(since=-60)]), ended=at(0))
    assert known is not None
    assert known.ended == at(0)


def test_a_pod_that_had_ended_before_it_vanished_keeps_its_own_end() -> None:
    known = span(pod(phase="Succeeded", containers=[ended(code=0, until=-100)]), ended=at(0))
    assert known is not None
    assert known.ended == at(-100)


def test_deletion_is_asked_for_a_grace_period_before_its_timestamp() -> None:
    assert deletion_asked(pod(terminating=-20, grace=30)) == at(-10)
    assert deletion_asked(pod(terminating=5, grace=0)) == at(-5)
    assert deletion_asked(pod()) is None


# --- What it died of ------------------------------------------------------------------------------------------------

LAST_WORDS = f"GrammyError: Call to 'getUpdates' failed! (409: {OTHER})"


def test_the_last_words_of_a_crashed_container_are_read() -> None:
    crashed = pod("p", containers=[waiting("CrashLoopBackOff", last=ending(until=-30, message=LAST_WORDS))])
    (note,) = death_notes(crashed)
    assert (note.pod, note.at, note.exact) == ("p", at(-30), False)
    assert OTHER in note.finding.evidence


def test_a_container_that_has_ended_and_the_one_before_it_are_both_read() -> None:
    both = ended(until=-10, message=LAST_WORDS) | {"lastState": {"terminated": ending(until=-90, message=LAST_WORDS)}}
    assert [note.at for note in death_notes(pod(containers=[both]))] == [at(-90), at(-10)]


def test_a_message_of_many_conflicts_is_one_death() -> None:
    crashed = pod(containers=[running(last=ending(message="\n".join([LAST_WORDS] * 5)))])
    assert len(death_notes(crashed)) == 1


def test_a_crash_of_another_kind_is_no_conflict() -> None:
    assert death_notes(pod(containers=[running(last=ending(message="ZeroDivisionError: division by zero"))])) == []


def test_a_container_that_left_no_message_has_nothing_to_tell() -> None:
    silent = pod(containers=[running(last=ending())])
    assert (terminations(silent), death_notes(silent)) == ([], [])


def test_the_users_own_patterns_are_looked_for_too() -> None:
    crashed = pod(containers=[running(last=ending(message="second instance, giving up"))])
    assert len(death_notes(crashed, [compile_pattern("second instance")])) == 1
