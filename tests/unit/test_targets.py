"""Which container of a pod is the bot's, and when only the log of its last run can tell why that ended."""

from typing import Any

import pytest

from telegrambot_operator.core.evidence import compile_pattern
from telegrambot_operator.core.targets import YOUNG, Tail
from tests.unit.worlds import NOW, ended, ending, pod, running, waiting

CONFLICT = "telegram.error.Conflict: Conflict: terminated by other getUpdates request; make sure that only one bot"


def test_the_first_container_is_the_bot() -> None:
    tail = Tail.of(pod(containers=[running("bot"), running("proxy")], sidecars=[running("mesh")]), None)
    assert (tail.container, tail.problem) == ("bot", "")


@pytest.mark.parametrize("chosen", ["proxy", "mesh"])
def test_the_annotation_names_another_one_or_a_sidecar(chosen: str) -> None:
    tail = Tail.of(pod(containers=[running("bot"), running("proxy")], sidecars=[running("mesh")]), chosen)
    assert (tail.container, tail.running, tail.problem) == (chosen, True, "")


def test_an_annotation_that_names_no_container_is_said() -> None:
    tail = Tail.of(pod("bot-a"), "bto")
    assert tail.container == "bot"
    assert tail.problem == (
        "the annotation singleton.bot/container names bto, which pod bot-a does not have: correct it; "
        "until then the log of bot is read"
    )


def test_nothing_is_said_of_it_before_the_node_has_told_of_the_sidecars() -> None:
    assert Tail.of(pod(containers=[], unreported=["bot"]), "mesh").problem == ""


@pytest.mark.parametrize(
    ("container", "readable"),
    [(running(), True), (ended(), True), (waiting("CrashLoopBackOff", last=ending()), False)],
    ids=["it runs", "it has ended", "it waits"],
)
def test_there_is_a_log_while_it_runs_and_once_it_has_ended(container: dict[str, Any], *, readable: bool) -> None:
    assert Tail.of(pod(containers=[container]), None).readable is readable


@pytest.mark.parametrize(
    ("message", "unread"),
    [("", True), ("Traceback (most recent call last):", True), (CONFLICT, False)],
    ids=["no message", "a message that tells nothing", "a message that tells"],
)
def test_the_log_of_the_last_run_is_read_where_its_message_does_not_tell(message: str, *, unread: bool) -> None:
    tail = Tail.of(pod(containers=[running(last=ending(message=message))]), None)
    assert tail.previous_unread is unread


def test_the_user_s_patterns_count_in_the_message_too() -> None:
    last = pod(containers=[running(last=ending(message="duel lost"))])
    assert Tail.of(last, None).previous_unread
    assert not Tail.of(last, None, [compile_pattern("^duel lost")]).previous_unread


def test_a_container_that_never_ended_has_no_last_run() -> None:
    assert not Tail.of(pod(), None).previous_unread


def test_a_bot_is_young_for_a_minute() -> None:
    assert Tail.of(pod(containers=[running(since=-59)]), None).is_young(NOW)
    assert not Tail.of(pod(containers=[running(since=-60)]), None).is_young(NOW)
    assert Tail.of(pod(containers=[waiting("ContainerCreating")]), None).is_young(NOW)
    assert YOUNG.total_seconds() == 60
