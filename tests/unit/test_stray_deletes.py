"""Which pods that have a bot's token are deleted after a 409: none of anybody else's, and none in doubt."""

from typing import Any

import pytest

from telegrambot_operator.core.actions import DeletePod
from telegrambot_operator.core.evidence import ConflictKind
from telegrambot_operator.core.plan import Plan, plan
from telegrambot_operator.core.strays_search import Search, Stray
from tests.unit.worlds import (
    NAMESPACE,
    NOW,
    adopts,
    at,
    conflict,
    lived,
    looked,
    pod,
    rival,
    stray,
    telegram_bot,
    world,
)


def todo(search: Search | None, **known: Any) -> Plan:
    """What is done after a 409 ten seconds ago."""
    facts = {"pods": [pod("bot-a")], "spans": (lived("bot-a"),), "findings": (conflict(-10),), **known}
    return plan(world(facts.pop("bot", None), search=search, **facts), NOW)


def deletes(made: Plan) -> list[DeletePod]:
    return [each for each in made.actions if isinstance(each, DeletePod)]


def test_a_stray_is_deleted_as_it_was_found_and_gently() -> None:
    (made,) = deletes(todo(looked(stray())))
    assert (made.namespace, made.pod, made.uid, made.resource_version) == (NAMESPACE, "debug", "uid-debug", "90")
    assert (made.force, made.reason) == (False, "StrayDeleted")
    assert made.why == (
        "Pod debug is deleted: it cut off pod bot-a, since its container bot has the token from Secret shop-token."
    )


def test_every_stray_that_was_there_is_deleted() -> None:
    assert [each.pod for each in deletes(todo(looked(stray("a"), stray("b"), stray("c", since=-5))))] == ["a", "b"]


LEFT: dict[str, Stray] = {
    "of another namespace": stray(namespace="else"),
    "of a Deployment": stray(controller="Deployment copy"),
    "of a Job": stray(controller="Job nightly"),
    "a static pod": stray(controller="Node node-1"),
    "of another TelegramBot": stray(worn="shop.other"),
    "it may want another key of the Secret": stray(sure=False),
    "it is being deleted": stray(deleting=True),
    "it has ended": stray(until=-9),
    "it started after the conflict": stray(since=-5),
    "it had ended before the conflict": stray(until=-20),
    "it ran beside the bot for long without a conflict": stray(since=-131),
    "it turned out to be the bot's own": stray("bot-a"),
}


@pytest.mark.parametrize("found", LEFT.values(), ids=LEFT)
def test_a_pod_is_left_alone(found: Stray) -> None:
    assert deletes(todo(looked(found))) == []


KEPT: dict[str, dict[str, Any]] = {
    "duplicates: Report": {"bot": telegram_bot(spec=adopts(duplicates="Report"))},
    "there was no conflict": {"findings": ()},
    "the conflict is over": {"findings": (conflict(-301),)},
    "a webhook was the cause": {"findings": (conflict(-10, kind=ConflictKind.WEBHOOK_ACTIVE),)},
    "a second pod of the bot was the cause": {"spans": (lived("bot-a"), lived("bot-b", until=-5))},
    "another TelegramBot has the identity": {"rivals": (rival(age=10**6),)},
    "another TelegramBot is younger, and was there": {"rivals": (rival(age=60),)},
}


@pytest.mark.parametrize("known", KEPT.values(), ids=KEPT)
def test_no_stray_is_deleted_while(known: dict[str, Any]) -> None:
    assert deletes(todo(looked(stray()), **known)) == []


def test_a_stray_that_was_there_before_the_bots_pod_started_is_deleted() -> None:
    """A conflict could not come sooner."""
    assert deletes(todo(looked(stray(since=-9000)), spans=(lived("bot-a", since=-20),)))


def test_nothing_is_deleted_before_the_search() -> None:
    made = todo(None)
    assert deletes(made) == []
    assert made.search is not None
    assert made.search.since == at(-10)


def test_a_bot_without_a_conflict_asks_for_no_search() -> None:
    assert todo(None, findings=()).search is None
