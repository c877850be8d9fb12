"""What the 409s that were read amount to: how many, of which cause, and when they are over.

The pod whose log holds the 409 is the victim. Who did it is judged by who was alive at that moment.
"""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telegrambot_operator.core.conflicts import Conflicts, conflicts, seconds_left, timestamp
from telegrambot_operator.core.evidence import ConflictKind
from telegrambot_operator.core.observed import Observed, PodFinding
from telegrambot_operator.core.strays_search import Search
from telegrambot_operator.names import Reason
from tests.unit.worlds import Json, at, conflict, lived, rival, status_of, telegram_bot, world

WINDOW = timedelta(seconds=300)
ACTIVE = ConflictKind.WEBHOOK_ACTIVE
SET = ConflictKind.TERMINATED_BY_SET_WEBHOOK
OTHER_SET = ConflictKind.OTHER_SET_WEBHOOK
TWO = (lived("bot-a"), lived("bot-b"))
NOTHING = Search(asked=at(0))


def run_of(*findings: PodFinding, seconds: float = 0.0, last: Json | None = None, **known: Any) -> Conflicts | None:
    """The run of conflicts, seen so many seconds from NOW; `last` is the lastConflict of the previous status."""
    bot = telegram_bot(status={"lastConflict": last} if last else {})
    known.setdefault("spans", (lived("bot-a"),))
    known.setdefault("search", NOTHING)
    return conflicts(world(bot, findings=findings, **known), WINDOW, at(seconds))


def cause(*findings: PodFinding, **known: Any) -> Reason:
    run = run_of(*findings, **known)
    assert run is not None
    return run.cause


# --- The cause ------------------------------------------------------------------------------------------------------

CAUSES: dict[str, tuple[PodFinding, dict[str, Any], Reason]] = {
    "nobody else known: not known yet": (conflict(-60), {}, Reason.CAUSE_UNKNOWN),
    "two pods alive then": (conflict(-60), {"spans": TWO}, Reason.DUPLICATE_PODS),
    "two pods alive then, one of them gone by now": (
        conflict(-60),
        {"spans": (lived("bot-a"), lived("bot-b", until=-30, deleted=-50))},
        Reason.DUPLICATE_PODS,
    ),
    "a second pod that started after it is not the cause": (
        conflict(-60),
        {"spans": (lived("bot-a"), lived("bot-b", since=-30))},
        Reason.CAUSE_UNKNOWN,
    ),
    "a second pod that had ended long before is not the cause": (
        conflict(-60),
        {"spans": (lived("bot-a"), lived("bot-b", until=-70))},
        Reason.CAUSE_UNKNOWN,
    ),
    "a second pod that ended three seconds before: Telegram answers that late": (
        conflict(-60),
        {"spans": (lived("bot-a"), lived("bot-b", until=-63))},
        Reason.DUPLICATE_PODS,
    ),
    "a second pod that ended longer before than Telegram answers late": (
        conflict(-60),
        {"spans": (lived("bot-a"), lived("bot-b", until=-64.5))},
        Reason.CAUSE_UNKNOWN,
    ),
    "a second pod that started in the same second, as Kubernetes rounds": (
        conflict(-60),
        {"spans": (lived("bot-a"), lived("bot-b", since=-58.5))},
        Reason.DUPLICATE_PODS,
    ),
    "a second pod that started seconds later": (
        conflict(-60),
        {"spans": (lived("bot-a"), lived("bot-b", since=-57.5))},
        Reason.CAUSE_UNKNOWN,
    ),
    "a predecessor that had ended when the victim began, though a moment ago": (
        conflict(-60),
        {"spans": (lived("bot-a", since=-62), lived("bot-b", until=-63))},
        Reason.CAUSE_UNKNOWN,
    ),
    "a predecessor that ended in the second in which the victim began": (
        conflict(-60),
        {"spans": (lived("bot-a", since=-62), lived("bot-b", until=-62))},
        Reason.CAUSE_UNKNOWN,
    ),
    "a predecessor that ended after the victim began": (
        conflict(-60),
        {"spans": (lived("bot-a", since=-62), lived("bot-b", until=-60, deleted=-70))},
        Reason.TERMINATING_POD,
    ),
    "the other one was being deleted": (
        conflict(-60),
        {"spans": (lived("bot-a"), lived("bot-b", deleted=-70, until=-50))},
        Reason.TERMINATING_POD,
    ),
    "the victim itself was being deleted": (
        conflict(-60, "bot-b"),
        {"spans": (lived("bot-a"), lived("bot-b", deleted=-70))},
        Reason.TERMINATING_POD,
    ),
    "one of three was being deleted: the other two are duplicates": (
        conflict(-60),
        {"spans": (*TWO, lived("bot-c", deleted=-70))},
        Reason.DUPLICATE_PODS,
    ),
    "a pod told of twice is one pod": (
        conflict(-60),
        {"spans": (lived("bot-a", until=-50), lived("bot-a"))},
        Reason.CAUSE_UNKNOWN,
    ),
    "another TelegramBot of the same identity": (conflict(-60), {"rivals": (rival(age=60),)}, Reason.DUPLICATE_BOT),
    "another TelegramBot of the same Deployment has no pod of its own": (
        conflict(-60),
        {"rivals": (rival(age=60, same_deployment=True),)},
        Reason.CAUSE_UNKNOWN,
    ),
    "pods that were there count before TelegramBots that may have been": (
        conflict(-60),
        {"rivals": (rival(age=60),), "spans": TWO},
        Reason.DUPLICATE_PODS,
    ),
    "a webhook that is active, whoever else was there": (
        conflict(-60, kind=ACTIVE),
        {"spans": TWO},
        Reason.WEBHOOK_ACTIVE,
    ),
    "a webhook that was set": (conflict(-60, kind=SET), {"spans": TWO}, Reason.WEBHOOK_SET),
    "a webhook that another one replaced": (conflict(-60, kind=OTHER_SET), {}, Reason.WEBHOOK_SET),
}


@pytest.mark.parametrize(("found", "known", "expected"), CAUSES.values(), ids=CAUSES)
def test_the_cause_is_what_was_true_at_the_conflicts_own_time(
    found: PodFinding, known: dict[str, Any], expected: Reason
) -> None:
    assert cause(found, **known) is expected


@pytest.mark.parametrize(
    ("apart", "expected"),
    [(14.9, Reason.CAUSE_UNKNOWN), (15.0, Reason.EXTERNAL_POLLER), (200.0, Reason.EXTERNAL_POLLER)],
    ids=[
        "within 15 s it may be a poller that has ended since",
        "from 15 s on it is still there",
        "minutes later it is still there",
    ],
)
def test_an_external_poller_is_named_only_when_it_came_back(apart: float, expected: Reason) -> None:
    assert cause(conflict(-250), conflict(-250 + apart)) is expected


def test_two_conflicts_a_window_apart_do_not_make_an_external_poller() -> None:
    assert cause(conflict(-600), conflict(-100)) is Reason.CAUSE_UNKNOWN


# --- A storm --------------------------------------------------------------------------------------------------------


def test_a_storm_is_counted_and_dated() -> None:
    run = run_of(conflict(-90), conflict(-60), conflict(-30, "bot-b"))
    assert run is not None
    assert (run.count, run.started, run.time, run.pod) == (3, at(-90), at(-30), "bot-b")


def test_no_conflict_no_run() -> None:
    assert run_of() is None


def test_duplicates_that_are_deleted_in_the_second_of_the_conflict_are_its_cause() -> None:
    """Kubernetes keeps that second only, so the deletion may seem to come first; and a repair deletes all of them."""
    spans = (lived("bot-a", since=-90, deleted=-60), lived("bot-b", since=-90, deleted=-60))
    assert cause(conflict(-59.9), spans=spans) is Reason.DUPLICATE_PODS


def test_pods_that_start_fight_and_are_deleted_within_one_second_are_duplicates() -> None:
    spans = tuple(lived(f"bot-{each}", since=-60, deleted=-60) for each in "abc")
    assert cause(conflict(-59.7), spans=spans) is Reason.DUPLICATE_PODS


def test_the_second_may_be_over_between_the_deletions_of_duplicates() -> None:
    spans = (lived("bot-a", since=-60, deleted=-60), lived("bot-b", since=-60, deleted=-59))
    assert cause(conflict(-59.7), spans=spans) is Reason.DUPLICATE_PODS


def test_a_successor_that_starts_in_the_second_of_the_deletion_is_no_duplicate() -> None:
    spans = (lived("bot-a", since=-90, deleted=-60), lived("bot-b", since=-60))
    assert cause(conflict(-59.9), spans=spans) is Reason.TERMINATING_POD


def test_a_duplicate_that_lives_on_long_after_its_deletion_is_a_terminating_pod() -> None:
    spans = (lived("bot-a", since=-90), lived("bot-b", since=-90, deleted=-60))
    assert cause(conflict(-50), spans=spans) is Reason.TERMINATING_POD


def test_the_first_cause_of_a_storm_stays() -> None:
    """The last 409s of a storm come when the second pod is gone already."""
    spans = (lived("bot-a"), lived("bot-b", until=-80))
    assert cause(conflict(-90), conflict(-74), conflict(-70), spans=spans) is Reason.DUPLICATE_PODS


def test_a_storm_that_goes_on_long_after_its_cause_has_another() -> None:
    spans = (lived("bot-a"), lived("bot-b", until=-80))
    assert cause(conflict(-90), conflict(-60), conflict(-30), spans=spans) is Reason.EXTERNAL_POLLER


def test_of_two_conflicts_at_one_time_the_order_of_reading_chooses_nothing() -> None:
    a, b = conflict(-10, "bot-a", exact=False), conflict(-10, "bot-b", exact=False)
    assert run_of(a, b) == run_of(b, a)


def test_the_first_cause_stays_also_before_another_that_says_as_much() -> None:
    spans = (lived("bot-a"), lived("bot-b", until=-80))
    assert cause(conflict(-90), conflict(-30, kind=ACTIVE), spans=spans) is Reason.DUPLICATE_PODS


def test_a_cause_that_was_not_known_gives_way_to_one_that_is() -> None:
    spans = (lived("bot-a"), lived("bot-b", since=-40))
    assert cause(conflict(-90), conflict(-30), spans=spans) is Reason.DUPLICATE_PODS


def test_an_external_poller_gives_way_to_a_webhook_that_telegram_names() -> None:
    assert cause(conflict(-90), conflict(-60), conflict(-30, kind=ACTIVE)) is Reason.WEBHOOK_ACTIVE


def test_the_evidence_is_that_of_the_latest_conflict() -> None:
    run = run_of(conflict(-60, evidence="first"), conflict(-30, evidence="second"))
    assert run is not None
    assert run.evidence == "second"


def test_after_a_quiet_window_a_new_run_begins_with_a_cause_of_its_own() -> None:
    run = run_of(conflict(-400, kind=ACTIVE), conflict(-50))
    assert run is not None
    assert (run.count, run.started, run.cause) == (1, at(-50), Reason.CAUSE_UNKNOWN)


def test_a_window_is_over_when_it_is_full() -> None:
    run = run_of(conflict(-310), conflict(-10))
    assert run is not None
    assert (run.count, run.started) == (1, at(-10))


@pytest.mark.parametrize(
    ("seconds", "active"),
    [(0, True), (299, True), (300, False), (9000, False)],
    ids=["at once it counts", "just before the window ends it counts", "when it ends it is over", "it stays over"],
)
def test_a_conflict_clears_after_its_window(seconds: float, *, active: bool) -> None:
    run = run_of(conflict(0), seconds=seconds)
    assert run is not None
    assert run.active is active


# --- Echoes ---------------------------------------------------------------------------------------------------------

# What the log shows, what the container's last words say, whether that is one conflict or two.
ECHOES: dict[str, tuple[PodFinding, PodFinding, int]] = {
    "last words a moment after the log are its echo": (conflict(-60.0), conflict(-58, exact=False), 1),
    "last words that rounding puts before the log are its echo": (conflict(-60.0), conflict(-61, exact=False), 1),
    "last words that tell of a later conflict are not": (conflict(-60.0), conflict(-50, exact=False), 2),
    "last words from long before the log are not": (conflict(-60.0), conflict(-90, exact=False), 2),
    "last words of another pod are not": (conflict(-60.0), conflict(-59, "bot-b", exact=False), 2),
    "two lines of the log are two conflicts, however near": (conflict(-60.0), conflict(-59.9), 2),
}


@pytest.mark.parametrize(("logged", "second", "count"), ECHOES.values(), ids=ECHOES)
def test_one_conflict_told_twice_counts_once(logged: PodFinding, second: PodFinding, count: int) -> None:
    run = run_of(logged, second)
    assert run is not None
    assert run.count == count


def test_last_words_are_an_echo_of_what_the_previous_status_holds_too() -> None:
    """The log is not read again after a restart of the operator; the pod's status still tells."""
    last = {"time": timestamp(at(-60.5)), "cause": "DuplicatePods", "pod": "bot-a", "count": 4}
    run = run_of(conflict(-60, exact=False), last=last)
    assert run is not None
    assert run.count == 4


# --- From status to status ------------------------------------------------------------------------------------------

LAST = {
    "time": timestamp(at(-100)),
    "started": timestamp(at(-200)),
    "cause": "DuplicatePods",
    "evidence": "told before",
    "pod": "bot-b",
    "count": 7,
}


def test_without_anything_new_the_previous_run_stands() -> None:
    run = run_of(last=LAST)
    assert run == Conflicts(at(-100), at(-200), 7, Reason.DUPLICATE_PODS, "told before", "bot-b", active=True)


def test_a_previous_run_of_which_only_the_time_is_told_counts_as_one_conflict_of_unknown_cause() -> None:
    run = run_of(last={"time": timestamp(at(-100))})
    assert run == Conflicts(at(-100), at(-100), 1, Reason.CAUSE_UNKNOWN, "", "", active=True, open_since=at(-100))


def test_a_new_conflict_continues_the_previous_run() -> None:
    run = run_of(conflict(-50), last=LAST)
    assert run is not None
    assert (run.count, run.started, run.time, run.cause) == (8, at(-200), at(-50), Reason.DUPLICATE_PODS)


def test_a_conflict_that_was_counted_is_not_counted_again() -> None:
    run = run_of(conflict(-150), conflict(-100), last=LAST)
    assert run is not None
    assert run.count == 7


def test_a_previous_run_that_is_over_is_told_and_no_longer_active() -> None:
    run = run_of(last=LAST, seconds=250)
    assert run is not None
    assert (run.active, run.count) == (False, 7)


def test_an_earlier_409_of_the_run_that_is_read_later_begins_it() -> None:
    """The logs of two pods are read one after the other."""
    run = run_of(
        conflict(-250, "bot-a"), last={**LAST, "started": timestamp(at(-200)), "cause": "CauseUnknown"}, spans=TWO
    )
    assert run is not None
    assert (run.started, run.time, run.cause) == (at(-250), at(-100), Reason.DUPLICATE_PODS)


def test_a_409_from_a_window_before_the_run_is_no_part_of_it() -> None:
    run = run_of(conflict(-600), last=LAST)
    assert run is not None
    assert (run.started, run.count) == (at(-200), 7)


UNREADABLE: dict[str, Json] = {
    "no time": {"count": 3},
    "a time that is none": {"time": "yesterday", "count": 3},
    "a cause that this version does not know": {**LAST, "cause": "Sunspots"},
}


@pytest.mark.parametrize("last", UNREADABLE.values(), ids=UNREADABLE)
def test_a_previous_conflict_that_cannot_be_read_is_forgotten(last: Json) -> None:
    assert run_of(last=last) is None
    run = run_of(conflict(-10), last=last)
    assert run is not None
    assert run.count == 1


def test_seconds_left_is_the_time_until_it_clears() -> None:
    assert seconds_left({"lastConflict": LAST}, WINDOW, at(0)) == 200.0
    assert seconds_left({"lastConflict": LAST}, WINDOW, at(200)) is None
    assert seconds_left({}, WINDOW, at(0)) is None


findings = st.lists(
    st.builds(
        conflict,
        st.integers(-400, 0).map(lambda halves: halves / 2),
        st.sampled_from(["bot-a", "bot-b"]),
        st.sampled_from([ConflictKind.OTHER_GET_UPDATES, ACTIVE]),
        exact=st.booleans(),
    ),
    max_size=8,
)


@given(findings)
def test_reading_the_same_log_again_changes_nothing(found: list[PodFinding]) -> None:
    """INV-8: the status that a pass has written is the whole memory of what was counted."""
    seen = world(findings=tuple(found), spans=TWO)
    before = status_of(seen)
    again = status_of(with_status(seen, before), seconds=0)
    assert again.get("lastConflict") == before.get("lastConflict")


@given(findings, st.randoms())
def test_the_order_in_which_logs_are_read_does_not_matter(found: list[PodFinding], random: Any) -> None:
    once = list({each.at: each for each in found}.values())
    shuffled = random.sample(once, len(once))
    assert run_of(*once, spans=TWO) == run_of(*shuffled, spans=TWO)


def with_status(seen: Observed, status: Json) -> Observed:
    assert seen.bot is not None
    return replace(seen, bot=replace(seen.bot, status=status))
