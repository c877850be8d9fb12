"""One Event for each change that a person wants to know of, none for what stayed, none for what is only on its way."""

import pytest

from telegrambot_operator.core.events import Event, changes
from telegrambot_operator.core.observed import Observed
from tests.unit.worlds import Json, conflict, lived, node, ownerless, pod, status_of, telegram_bot, world


def status(*conditions: tuple[str, str, str]) -> Json:
    return {"conditions": [condition(*each) for each in conditions]}


def condition(kind: str, value: str, reason: str) -> Json:
    return {"type": kind, "status": value, "reason": reason, "message": f"{kind} is {value}"}


def told(before: Json, after: Json) -> list[tuple[str, bool]]:
    """Reasons, and whether they are warnings, in the order of the alphabet."""
    return sorted((each.reason, each.warning) for each in changes(before, after))


RUNS = status(("Ready", "True", "Running"))

# Before, after, the Events: reason and whether it is a warning.
CHANGES: dict[str, tuple[Json, Json, list[tuple[str, bool]]]] = {
    "nothing changed": (RUNS, RUNS, []),
    "the first visit finds it running": ({}, RUNS, [("Running", False)]),
    "the first visit finds what is wrong": (
        {},
        status(("Ready", "False", "TokenNotFound"), ("Stalled", "True", "TokenNotFound")),
        [("StalledTokenNotFound", True), ("TokenNotFound", True)],
    ),
    "the first visit does not tell what is not wrong": (
        {},
        status(
            ("Singleton", "True", "OnePod"), ("Conflicted", "False", "NoConflict"), ("Stalled", "False", "NotStalled")
        ),
        [],
    ),
    "it stops being ready": (RUNS, status(("Ready", "False", "CrashLoop")), [("CrashLoop", True)]),
    "it is ready again": (status(("Ready", "False", "CrashLoop")), RUNS, [("Running", False)]),
    "another reason for not being ready": (
        status(("Ready", "False", "Starting")),
        status(("Ready", "False", "CrashLoop")),
        [("CrashLoop", True)],
    ),
    "starting is no warning": (RUNS, status(("Ready", "False", "Starting")), [("Starting", False)]),
    "suspended is no warning": (RUNS, status(("Ready", "False", "Suspended")), [("Suspended", False)]),
    "waiting for its turn is no warning": (
        RUNS,
        status(("Ready", "False", "WaitingForTurn")),
        [("WaitingForTurn", False)],
    ),
    "a conflict": (
        status(("Conflicted", "False", "NoConflict")),
        status(("Conflicted", "True", "ExternalPoller")),
        [("ConflictedExternalPoller", True)],
    ),
    "a conflict whose cause is known now": (
        status(("Conflicted", "True", "CauseUnknown")),
        status(("Conflicted", "True", "ExternalPoller")),
        [("ConflictedExternalPoller", True)],
    ),
    "a conflict that is over": (
        status(("Conflicted", "True", "ExternalPoller")),
        status(("Conflicted", "False", "NoConflict")),
        [("ConflictedNoConflict", False)],
    ),
    "one pod after none: nobody needs to know": (
        status(("Singleton", "True", "NoPod")),
        status(("Singleton", "True", "OnePod")),
        [],
    ),
    "two pods": (
        status(("Singleton", "True", "OnePod")),
        status(("Singleton", "False", "DuplicatePods")),
        [("DuplicatePods", True)],
    ),
    "reconciling comes and goes untold": (
        status(("Reconciling", "False", "Settled")),
        status(("Reconciling", "True", "Repairing")),
        [],
    ),
}


@pytest.mark.parametrize(("before", "after", "expected"), CHANGES.values(), ids=CHANGES)
def test_changes(before: Json, after: Json, expected: list[tuple[str, bool]]) -> None:
    assert told(before, after) == expected


def test_a_message_that_changes_alone_is_not_told_again() -> None:
    """Else a storm of 409s, whose evidence differs, would be a storm of Events."""
    first = status_of(world(pods=[pod()], findings=(conflict(-20, evidence="one"),)))
    later = status_of(world(pods=[pod()], findings=(conflict(-10, evidence="two"),)))
    assert list(changes(first, later)) == []


@pytest.mark.parametrize(
    ("seen", "told_as"),
    [
        (world(telegram_bot(spec={})), ["StalledInvalidSpec"]),
        (world(pods=[pod()], findings=(conflict(-5),), spans=(lived(),)), ["ConflictedCauseUnknown"]),
        (world(pods=[pod("a", terminating=-5), pod("b", node="")]), ["WaitingForTurn"]),
    ],
    ids=["a bad spec", "a conflict", "a pod that waits"],
)
def test_what_several_conditions_say_in_the_same_words_is_told_once(seen: Observed, told_as: list[str]) -> None:
    """`kubectl describe` would show the same sentence three times; the name that says most is told."""
    assert [each.reason for each in changes({}, status_of(seen))] == told_as


def test_the_event_says_what_the_condition_says() -> None:
    after = status(("Ready", "False", "CrashLoop"))
    assert list(changes(RUNS, after)) == [Event("CrashLoop", "Ready is False", warning=True)]


def test_reasons_are_camel_case_as_kubernetes_wants_them() -> None:
    worlds = [
        world(pods=[pod("a"), ownerless("b")], findings=(conflict(-5),), spans=(lived("a"), lived("b"))),
        world(pods=[pod(terminating=900)], nodes={"node-1": node(ready=False)}),
        world(telegram_bot(spec={})),
    ]
    reasons = [each.reason for seen in worlds for each in changes({}, status_of(seen))]
    assert len(reasons) >= len(worlds)
    assert [each for each in reasons if not (each.isalnum() and each[0].isupper())] == []
