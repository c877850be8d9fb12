"""What the 409s that were read amount to: how many, of which cause, and when they are over.

The pod whose log holds the 409 is the victim. Who did it is judged by who was alive at that moment.
"""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telegrambot_operator.core.conflicts import Conflicts, conflicts, question, seconds_left, timestamp
from telegrambot_operator.core.evidence import ConflictKind
from telegrambot_operator.core.observed import Observed, PodFinding, PodSpan
from telegrambot_operator.core.strays_search import Crowd, Search, Victim
from telegrambot_operator.names import ANNOTATION_CONTAINER, Reason
from tests.unit.worlds import (
    Json,
    adopts,
    at,
    conflict,
    lived,
    looked,
    pod,
    rival,
    running,
    said,
    status_of,
    stray,
    telegram_bot,
    world,
)

WINDOW = timedelta(seconds=300)
ACTIVE = ConflictKind.WEBHOOK_ACTIVE
SET = ConflictKind.TERMINATED_BY_SET_WEBHOOK
OTHER_SET = ConflictKind.OTHER_SET_WEBHOOK
TWO = (lived("bot-a"), lived("bot-b"))
NOTHING = looked()
CROWD = Crowd("bot-a", "uid-bot-a", "containers bot and worker have the token; let only one of them poll")


def of_the_other(name: str) -> PodSpan:
    """When a pod of the Deployment of the TelegramBot `other` ran."""
    return replace(lived(name), deployment="other-deployment")


def run_of(*findings: PodFinding, seconds: float = 0.0, last: Json | None = None, **known: Any) -> Conflicts | None:
    """The run of conflicts, seen so many seconds from NOW; `last` is the lastConflict of the previous status."""
    bot = known.pop("bot", None) or telegram_bot(status={"lastConflict": last} if last else {})
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
    "two pods alive then, and the clock of the victim's node is an hour ahead": (
        conflict(-60),
        {"spans": (lived("bot-a", since=3000), lived("bot-b"))},
        Reason.DUPLICATE_PODS,
    ),
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
    "a TelegramBot of the same identity that was made later": (
        conflict(-60),
        {"rivals": (rival(age=50),)},
        Reason.CAUSE_UNKNOWN,
    ),
    "a pod of the other TelegramBot's Deployment, which carries the identity too": (
        conflict(-60),
        {"rivals": (rival("other", age=60),), "spans": (lived("bot-a"), of_the_other("bot-b"))},
        Reason.DUPLICATE_BOT,
    ),
    "the same, and two pods of our own": (
        conflict(-60),
        {"rivals": (rival("other", age=60),), "spans": (*TWO, of_the_other("bot-c"))},
        Reason.DUPLICATE_PODS,
    ),
    "a pod that has the token": (conflict(-60), {"search": looked(stray())}, Reason.STRAY_POD),
    "a pod that has the token and started later": (
        conflict(-60),
        {"search": looked(stray(since=-50))},
        Reason.CAUSE_UNKNOWN,
    ),
    "a pod that has the token and had ended before": (
        conflict(-60),
        {"search": looked(stray(until=-70))},
        Reason.CAUSE_UNKNOWN,
    ),
    "a pod that has the token and ended a moment before: Telegram answers that late": (
        conflict(-60),
        {"search": looked(stray(until=-63))},
        Reason.STRAY_POD,
    ),
    "a pod that has the token and turned out to be the bot's own": (
        conflict(-60),
        {"search": looked(stray("bot-a"))},
        Reason.CAUSE_UNKNOWN,
    ),
    "a pod that has the token and is another TelegramBot's": (
        conflict(-60),
        {"search": looked(stray(worn="shop.other"))},
        Reason.DUPLICATE_BOT,
    ),
    "one of each: the one that nobody guards": (
        conflict(-60),
        {"search": looked(stray(worn="shop.other"), stray("more"))},
        Reason.STRAY_POD,
    ),
    "a TelegramBot goes before pods that have the token": (
        conflict(-60),
        {"rivals": (rival(age=90),), "search": looked(stray())},
        Reason.DUPLICATE_BOT,
    ),
    "two containers of the pod have the token": (
        conflict(-60),
        {"search": looked(crowds=(CROWD,))},
        Reason.INSIDE_POD,
    ),
    "two containers of another pod have the token": (
        conflict(-60, "bot-b"),
        {"search": looked(crowds=(CROWD,)), "spans": (lived("bot-b"),)},
        Reason.CAUSE_UNKNOWN,
    ),
    "several pollers in the pod, of a bot whose token is not named": (
        conflict(-60),
        {"search": looked(crowds=(CROWD,)), "bot": telegram_bot(spec=adopts(token=None))},
        Reason.INSIDE_POD,
    ),
    "a pod that has the token goes before several containers": (
        conflict(-60),
        {"search": looked(stray(), crowds=(CROWD,))},
        Reason.STRAY_POD,
    ),
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


EMPTY: dict[str, tuple[Search | None, Reason]] = {
    "nobody was looked for": (None, Reason.CAUSE_UNKNOWN),
    "the search failed": (looked(problem="pods could not be listed"), Reason.CAUSE_UNKNOWN),
    "the search was made before the second of them": (looked(seconds=-40), Reason.CAUSE_UNKNOWN),
    "the search was made after it, and is complete": (looked(seconds=-29), Reason.EXTERNAL_POLLER),
    "what may not be listed is no part of a complete search": (looked(left_out="others"), Reason.EXTERNAL_POLLER),
}


@pytest.mark.parametrize(("search", "expected"), EMPTY.values(), ids=EMPTY)
def test_an_external_poller_is_named_only_when_everything_else_came_back_empty(
    search: Search | None, expected: Reason
) -> None:
    assert cause(conflict(-60), conflict(-30), search=search) is expected


def test_without_a_token_nobody_is_called_an_external_poller() -> None:
    """Nothing was looked for, so nothing came back empty."""
    tokenless = telegram_bot(spec=adopts(token=None))
    assert cause(conflict(-60), conflict(-30), bot=tokenless) is Reason.CAUSE_UNKNOWN


# --- For whom to look -----------------------------------------------------------------------------------------------


def asked(*findings: PodFinding, last: Json | None = None, **known: Any) -> float | None:
    """So many seconds from NOW a search has to be made at the earliest to count; None where none is asked for."""
    bot = known.pop("bot", None) or telegram_bot(status={"lastConflict": last} if last else {})
    seen = world(bot, findings=findings, **{"spans": (lived("bot-a"),), **known})
    found = question(seen, conflicts(seen, WINDOW, at(0)))
    return (found.since - at(0)).total_seconds() if found else None


ASKED: dict[str, tuple[tuple[PodFinding, ...], dict[str, Any], float | None]] = {
    "no conflict: nobody": ((), {}, None),
    "a conflict that nothing explains: since it began": ((conflict(-60), conflict(-50)), {}, -60),
    "and so for all that a search has shown": ((conflict(-60),), {"search": looked(stray())}, -60),
    "a webhook: nobody": ((conflict(-60, kind=ACTIVE),), {}, None),
    "two pods of our own: nobody": ((conflict(-60),), {"spans": TWO}, None),
    "another TelegramBot: nobody": ((conflict(-60),), {"rivals": (rival(age=60),)}, None),
    "a conflict that is over: nobody": ((conflict(-301),), {}, None),
    "a bot whose token is not named, and whose pod is gone: nobody": (
        (conflict(-60),),
        {"bot": telegram_bot(spec=adopts(token=None))},
        None,
    ),
    "a bot whose token is not named: its own pod may still show something": (
        (conflict(-60),),
        {"bot": telegram_bot(spec=adopts(token=None)), "pods": [pod("bot-a")]},
        -60,
    ),
    "a conflict soon after the search: that counts": (
        (conflict(-60), conflict(-50)),
        {"search": looked(seconds=-59)},
        -60,
    ),
    "a conflict long after the search: once more": (
        (conflict(-60), conflict(-40)),
        {"search": looked(seconds=-59)},
        -40,
    ),
    "the second search lasts longer than the first": (
        (conflict(-100), conflict(-40)),
        {"search": looked(seconds=-65)},
        -100,
    ),
    "409s that go on after the pods that began them have ended": (
        (conflict(-90), conflict(-60), conflict(-30)),
        {"spans": (lived("bot-a"), lived("bot-b", until=-80))},
        -60,
    ),
    "a cause that only the status of an operator before knows": (
        (),
        {"last": {"time": timestamp(at(-20)), "started": timestamp(at(-50)), "cause": "ExternalPoller"}},
        -50,
    ),
}


@pytest.mark.parametrize(("findings", "known", "expected"), ASKED.values(), ids=ASKED)
def test_it_is_looked_for_others_while_nothing_known_explains_the_conflict(
    findings: tuple[PodFinding, ...], known: dict[str, Any], expected: float | None
) -> None:
    assert asked(*findings, **known) == expected


VICTIMS: dict[str, tuple[dict[str, Any], Victim | None]] = {
    "the first container": ({}, Victim("bot-a", "uid-bot-a", "web")),
    "the one that the TelegramBot names": (
        {"bot": telegram_bot(annotations={ANNOTATION_CONTAINER: "bot"})},
        Victim("bot-a", "uid-bot-a", "bot"),
    ),
    "none of that name": (
        {"bot": telegram_bot(annotations={ANNOTATION_CONTAINER: "boot"})},
        Victim("bot-a", "uid-bot-a", "web"),
    ),
    "logs are not read": ({"bot": telegram_bot(spec=adopts(conflict={"logs": False}))}, None),
    "the pod is gone": ({"pods": []}, None),
}


@pytest.mark.parametrize(("known", "expected"), VICTIMS.values(), ids=VICTIMS)
def test_the_log_of_the_pod_that_was_cut_off_is_asked_for(known: dict[str, Any], expected: Victim | None) -> None:
    two = pod("bot-a", containers=[running("web"), running("bot")])
    facts = {"pods": [two], "spans": (lived("bot-a"),), "findings": (conflict(-60),), **known}
    seen = world(facts.pop("bot", None), **facts)
    wanted = question(seen, conflicts(seen, WINDOW, at(0)))
    assert wanted is not None
    assert wanted.victim == expected


def test_a_war_of_an_hour_is_searched_ever_more_seldom() -> None:
    began, searches = -3600.0, [-3599.9]
    for second in range(-3600, 0, 3):
        last = {"time": timestamp(at(second)), "started": timestamp(at(began)), "cause": "ExternalPoller"}
        seen = world(telegram_bot(status={"lastConflict": last}), search=looked(seconds=searches[-1]))
        wanted = question(seen, conflicts(seen, WINDOW, at(second)))
        assert wanted is not None
        if wanted.since > at(searches[-1]):
            searches.append(second + 0.1)
    assert len(searches) == 9


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


def test_a_stray_pod_that_goes_on_after_the_duplicates_is_the_cause() -> None:
    spans = (lived("bot-a"), lived("bot-b", until=-80))
    found = cause(conflict(-90), conflict(-60), conflict(-30), spans=spans, search=looked(stray()))
    assert found is Reason.STRAY_POD


def test_somebody_outside_who_goes_on_after_a_stray_pod_is_the_cause() -> None:
    search = looked(stray(until=-80))
    assert cause(conflict(-90), conflict(-60), conflict(-30), search=search) is Reason.EXTERNAL_POLLER


def test_a_stray_pod_that_is_gone_by_now_stays_the_cause_of_its_storm() -> None:
    assert cause(conflict(-90), conflict(-80), search=looked(stray(until=-70))) is Reason.STRAY_POD


def test_a_409_that_was_counted_before_the_search_gets_its_cause_by_it() -> None:
    last = {"time": timestamp(at(-10)), "cause": "CauseUnknown", "pod": "bot-a", "count": 1}
    run = run_of(conflict(-10), last=last, search=looked(stray()))
    assert run is not None
    assert (run.cause, run.count) == (Reason.STRAY_POD, 1)


def test_an_external_poller_gives_way_to_a_pod_that_is_found_later() -> None:
    assert cause(conflict(-90), conflict(-60), conflict(-30), search=looked(stray(since=-40))) is Reason.STRAY_POD


@pytest.mark.parametrize("told", ["StrayPod", "ExternalPoller", "DuplicatePods"])
def test_what_an_operator_before_has_told_is_told_until_it_is_known_again(told: str) -> None:
    last = {"time": timestamp(at(-10)), "cause": told, "pod": "bot-a", "count": 1}
    condition = {"type": "Conflicted", "status": "True", "reason": told, "message": "pod shop/debug did it"}
    bot = telegram_bot(status={"lastConflict": last, "conditions": [condition | {"lastTransitionTime": "then"}]})
    assert said(status_of(world(bot)), "Conflicted") == ("True", told, "pod shop/debug did it")


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
