"""What a person is told of Telegram's own word, and what is done about it: repairs and restarts."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from telegrambot_operator.api.models import SecretKeyRef
from telegrambot_operator.core.actions import DeletePod, FixWebhook
from telegrambot_operator.core.asking import ask
from telegrambot_operator.core.evidence import ConflictKind
from telegrambot_operator.core.observed import Failure, Observed, TokenState, TokenView
from telegrambot_operator.core.plan import plan
from telegrambot_operator.core.strays_search import Crowd, Question, Search, Stray
from telegrambot_operator.core.turn import Vanished
from telegrambot_operator.core.webhooks import Hook
from telegrambot_operator.core.word import Poller, Repair, Word
from telegrambot_operator.names import ConditionType
from tests.unit.worlds import (
    IDENTITY,
    NOW,
    SECRET_REF,
    Json,
    adopts,
    at,
    conflict,
    known_to_telegram,
    lived,
    pinned,
    pod,
    rival,
    said,
    status_of,
    telegram_bot,
    waiting,
    world,
)

SERVING = [pod("bot-a")]
WELL = Word(fresh=True, username="shop_bot", hook=Hook.WANTED)
HOOKED = replace(WELL, hook=Hook.OTHER, host="old.example", since=at(-30))
MISSING = replace(WELL, hook=Hook.MISSING, since=at(-30))
DEAF = replace(WELL, deaf=True, sure=True, waiting=20)
URL = "https://shop.example/hook/s3cret"
FIXES = {"remedy": "FixWebhook"}
BY_HOOK: Json = {"delivery": "Webhook", "webhook": {"url": URL}}


def bot_that(generation: int = 2, **spec: Any) -> Any:
    return telegram_bot(spec=adopts(**spec), generation=generation)


def seen_with(word: Word | None, *, pods: Any = SERVING, spec: Json | None = None, **known: Any) -> Observed:
    return world(bot_that(**(spec or {})), pods=pods, word=word, **{"search": SEARCHED, **known})


def fixes(seen: Observed) -> list[FixWebhook]:
    return [each for each in plan(seen, NOW).actions if isinstance(each, FixWebhook)]


def deletes(seen: Observed) -> list[DeletePod]:
    return [each for each in plan(seen, NOW).actions if isinstance(each, DeletePod)]


# Who else has the token: nobody, when it was last looked for.
SEARCHED = Search(at(-20))
STRAY = Stray("lab", "copy", "uid-copy", "1", "container bot", at(-900))
FIXING = {"conflict": FIXES}
FIXING_BY_HOOK = {**BY_HOOK, "conflict": FIXES}
RESTARTING = {"notPolling": {"policy": "Restart"}}
CONFLICT: Json = {"findings": (conflict(-10, kind=ConflictKind.WEBHOOK_ACTIVE),), "spans": (lived("bot-a"),)}
FIGHT: Json = {"findings": (conflict(-60), conflict(-10)), "spans": (lived("bot-a"),)}
REPAIRED = Repair(at(-3600), 2)
LOOPING = [pod("bot-a", containers=[waiting("CrashLoopBackOff")], ready=False)]

# The world; condition, status and reason; what the message has to name.
TOLD: dict[str, tuple[Observed, str, list[str]]] = {
    "nothing is known": (seen_with(None), "Ready True Running", []),
    "all is well": (seen_with(WELL), "Ready True Running", []),
    "a webhook is in the way": (
        seen_with(HOOKED),
        "Conflicted True WebhookActive",
        ["old.example", "bot-a", "deleteWebhook without drop_pending_updates", "FixWebhook"],
    ),
    "... and the bot is not ready": (seen_with(HOOKED), "Ready False Conflict", ["old.example"]),
    "... and a person must act": (seen_with(HOOKED), "Stalled True WebhookActive", ["old.example"]),
    "... and the log has a 409": (
        seen_with(HOOKED, **CONFLICT),
        "Conflicted True WebhookActive",
        ["old.example", "[Conflict: terminated by other getUpdates request]"],
    ),
    "... and nobody polls": (seen_with(HOOKED, pods=[]), "Conflicted False NoConflict", []),
    "... and it is about to be deleted": (seen_with(HOOKED, spec=FIXING), "Stalled False NotStalled", []),
    "... and whose turn it is has to be seen first": (
        seen_with(HOOKED, spec=FIXING, pods=[*SERVING, pod("bot-b", terminating=-5)]),
        "Conflicted True WebhookActive",
        ["once exactly one pod can be the bot"],
    ),
    "... and the operator is at it": (
        seen_with(replace(HOOKED, fresh=False), spec=FIXING),
        "Reconciling True Repairing",
        ["old.example", "once Telegram has confirmed it"],
    ),
    "... and it has come back": (
        seen_with(replace(HOOKED, repair=REPAIRED), spec=FIXING),
        "Stalled True WebhookActive",
        ["2026-11-24 11:00 UTC", "something else sets it"],
    ),
    "... and a stray pod would poll as well": (
        seen_with(HOOKED, spec=FIXING, search=replace(SEARCHED, strays=(STRAY,))),
        "Stalled True WebhookActive",
        ["since lab/copy may poll as well: stop that first"],
    ),
    "... and Telegram refuses": (
        seen_with(replace(HOOKED, repair=Repair(at(-60), 2, "HTTP 400 no")), spec=FIXING),
        "Stalled True WebhookActive",
        ["did not carry out the repair (HTTP 400 no)", "every five minutes"],
    ),
    "a 409 of a webhook that is gone again": (
        seen_with(replace(WELL, alarm=at(-10)), **CONFLICT),
        "Conflicted True WebhookActive",
        ["gone again"],
    ),
    "... and nobody needs to act": (
        seen_with(replace(WELL, alarm=at(-10)), **CONFLICT),
        "Stalled False NotStalled",
        [],
    ),
    "a 409 of a webhook of which Telegram has not been asked": (
        seen_with(WELL, **CONFLICT),
        "Stalled True WebhookActive",
        ["while a webhook is set"],
    ),
    "... not since the last one": (
        seen_with(replace(WELL, alarm=at(-11)), **CONFLICT),
        "Stalled True WebhookActive",
        ["while a webhook is set"],
    ),
    "a bot that polls, and is to get its updates by webhook": (
        seen_with(WELL, spec=BY_HOOK, **CONFLICT),
        "Conflicted True WebhookActive",
        ["delivery is Webhook"],
    ),
    "no webhook, and there should be one": (
        seen_with(MISSING, spec=BY_HOOK),
        "Ready False WebhookMissing",
        ["shop.example", "FixWebhook"],
    ),
    "... and a person must set it": (seen_with(MISSING, spec=BY_HOOK), "Stalled True WebhookMissing", ["setWebhook"]),
    "... and it is about to be set": (seen_with(MISSING, spec=FIXING_BY_HOOK), "Stalled False NotStalled", []),
    "another webhook": (
        seen_with(HOOKED, spec=BY_HOOK),
        "Ready False WebhookElsewhere",
        ["to old.example", "on shop.example"],
    ),
    "another path on the same host": (
        seen_with(replace(HOOKED, host="shop.example"), spec=BY_HOOK),
        "Ready False WebhookElsewhere",
        ["another address there"],
    ),
    "another webhook with its own certificate": (
        seen_with(replace(HOOKED, certificate=True), spec=FIXING_BY_HOOK),
        "Stalled True WebhookElsewhere",
        ["certificate"],
    ),
    "deliveries fail": (
        seen_with(replace(WELL, failing=True, waiting=5, error="Connection refused"), spec=BY_HOOK),
        "Ready False WebhookFailing",
        ["shop.example", "at least 5 updates", "Connection refused"],
    ),
    "... and the operator has set the webhook": (
        seen_with(replace(WELL, failing=True, error="403 Forbidden", repair=REPAIRED), spec=BY_HOOK),
        "Stalled True WebhookFailing",
        ["without a secret_token"],
    ),
    "a delivery has failed": (
        seen_with(replace(WELL, error="Connection refused"), spec=BY_HOOK),
        "Ready True Running",
        ["bot-a", "Connection refused"],
    ),
    "a deaf bot": (
        seen_with(DEAF),
        "Ready False NotPolling",
        ["bot-a", "at least 20 updates", "300 s", "cannot keep up"],
    ),
    "a deaf bot with one writer": (
        seen_with(replace(DEAF, waiting=1)),
        "Ready False NotPolling",
        ["1 update waits at"],
    ),
    "... is for a person": (seen_with(DEAF), "Stalled True NotPolling", ["restart it"]),
    "... that is to be restarted": (seen_with(DEAF, spec=RESTARTING), "Stalled False NotStalled", []),
    "... that was restarted in vain": (
        seen_with(replace(DEAF, restarts=3, restarted=at(-9000)), spec=RESTARTING),
        "Stalled True NotPolling",
        ["restarted 3 times"],
    ),
    "... and there is a conflict": (seen_with(DEAF, **FIGHT), "Ready False Conflict", []),
    "a refused token": (
        seen_with(replace(WELL, refused=True)),
        "Ready False TokenInvalid",
        ["shop-token", "revoked", "left alone"],
    ),
    "... is for a person to replace": (
        seen_with(replace(WELL, refused=True)),
        "Stalled True TokenInvalid",
        ["shop-token"],
    ),
    "another bot answers": (
        seen_with(Word(fresh=True, stranger=111)),
        "Ready True Running",
        ["bot 111", "TELEGRAM_API_URL"],
    ),
}


@pytest.mark.parametrize(("seen", "expected", "named"), TOLD.values(), ids=TOLD.keys())
def test_what_is_told(seen: Observed, expected: str, named: list[str]) -> None:
    status, reason, message = said(status_of(seen), expected.split(maxsplit=1)[0])
    assert f"{expected.split(maxsplit=1)[0]} {status} {reason}" == expected, message
    assert [words for words in named if words not in message] == [], message


@pytest.mark.parametrize("seen", [each[0] for each in TOLD.values()], ids=TOLD.keys())
def test_a_second_look_at_the_same_world_says_the_same_and_no_secret(seen: Observed) -> None:
    first = status_of(seen)
    assert seen.bot is not None
    again = replace(seen, bot=replace(seen.bot, status=first))
    assert status_of(again, seconds=1) == first
    assert "s3cret" not in repr(first)
    assert {each["type"] for each in first["conditions"]} == set(ConditionType)


def test_the_status_tells_what_telegram_says() -> None:
    word = replace(WELL, host="shop.example", waiting=5, error="Connection refused", repair=REPAIRED)
    status = status_of(seen_with(replace(word, restarts=1, restarted=at(-60)), spec=BY_HOOK))
    assert status["bot"] == {"id": int(IDENTITY), "username": "shop_bot"}
    assert status["webhook"] == {
        "host": "shop.example",
        "pendingUpdates": 5,
        "lastError": "Connection refused",
        "repaired": {"time": "2026-11-24T11:00:00.000000Z", "generation": 2},
    }
    assert status["notPolling"] == {"restarts": 1, "lastRestart": "2026-11-24T11:59:00.000000Z"}


def test_while_telegram_is_not_asked_repairs_and_restarts_are_not_forgotten() -> None:
    before = status_of(seen_with(replace(WELL, repair=REPAIRED, restarts=1, restarted=at(-60), waiting=5)))
    seen = replace(seen_with(None), bot=replace(bot_that(), status=before))
    after = status_of(seen)
    assert after["webhook"] == {"repaired": before["webhook"]["repaired"]}
    assert (after["notPolling"], after["bot"]) == (before["notPolling"], before["bot"])


# --- Repairs --------------------------------------------------------------------------------------------------------

REPAIRS: dict[str, tuple[Observed, bool]] = {
    "nobody asked for it": (seen_with(HOOKED), False),
    "one pod, and a webhook in its way": (seen_with(HOOKED, spec=FIXING), True),
    "one pod that keeps ending on it": (seen_with(HOOKED, spec=FIXING, pods=LOOPING), True),
    "there is no webhook": (seen_with(WELL, spec=FIXING), False),
    "nothing is known": (seen_with(None, spec=FIXING), False),
    "only the status says so": (seen_with(replace(HOOKED, fresh=False), spec=FIXING), False),
    "two pods": (seen_with(HOOKED, spec=FIXING, pods=[*SERVING, pod("bot-b")]), False),
    "a second pod on its way out": (
        seen_with(HOOKED, spec=FIXING, pods=[*SERVING, pod("bot-b", terminating=-5)]),
        False,
    ),
    "one pod on its way out": (seen_with(HOOKED, spec=FIXING, pods=[pod(terminating=-5)]), False),
    "one pod of another namespace": (seen_with(HOOKED, spec=FIXING, pods=[pod(namespace="else")]), False),
    "a pod and one that waits": (seen_with(HOOKED, spec=FIXING, pods=[*SERVING, pod("bot-b", node="")]), True),
    "a pod that vanished may poll": (seen_with(HOOKED, spec=FIXING, ended={"uid-x": Vanished()}), False),
    "no pod": (seen_with(HOOKED, spec=FIXING, pods=[]), False),
    "pods cannot be listed": (
        seen_with(HOOKED, spec=FIXING, failures=(Failure("list", "pods", 403, "no"),)),
        False,
    ),
    "somebody else polls": (seen_with(HOOKED, spec=FIXING, **FIGHT), False),
    "the log has its 409": (seen_with(HOOKED, spec=FIXING, **CONFLICT), True),
    "nobody has looked for others": (seen_with(HOOKED, spec=FIXING, search=None), False),
    "nobody has looked for others since": (seen_with(HOOKED, spec=FIXING, search=Search(at(-31))), False),
    "not everything could be looked at": (
        seen_with(HOOKED, spec=FIXING, search=replace(SEARCHED, problem="no answer")),
        False,
    ),
    "what may be looked at was": (seen_with(HOOKED, spec=FIXING, search=replace(SEARCHED, left_out="pods")), True),
    "a stray pod has the token": (seen_with(HOOKED, spec=FIXING, search=replace(SEARCHED, strays=(STRAY,))), False),
    "a stray pod had the token": (
        seen_with(HOOKED, spec=FIXING, search=replace(SEARCHED, strays=(replace(STRAY, ended=at(-1)),))),
        True,
    ),
    "two containers of the pod have the token": (
        seen_with(HOOKED, spec=FIXING, search=replace(SEARCHED, crowds=(Crowd("bot-a", "uid-bot-a", ("a", "b")),))),
        False,
    ),
    "suspended": (seen_with(HOOKED, spec={**FIXING, "suspend": True}), False),
    "an older TelegramBot runs the bot": (seen_with(HOOKED, spec=FIXING, rivals=(rival(age=90000),)), False),
    "repaired an hour ago": (seen_with(replace(HOOKED, repair=REPAIRED), spec=FIXING), False),
    "repaired an hour ago for another spec": (
        seen_with(replace(HOOKED, repair=Repair(at(-3600), 1)), spec=FIXING),
        True,
    ),
    "repaired two days ago": (seen_with(replace(HOOKED, repair=Repair(at(-2 * 86400), 2)), spec=FIXING), True),
    "refused a minute ago": (seen_with(replace(HOOKED, repair=Repair(at(-60), 2, "no")), spec=FIXING), False),
    "refused ten minutes ago": (seen_with(replace(HOOKED, repair=Repair(at(-600), 2, "no")), spec=FIXING), True),
    "no webhook where one should be": (seen_with(MISSING, spec=FIXING_BY_HOOK), True),
    "another webhook": (seen_with(HOOKED, spec=FIXING_BY_HOOK), True),
    "another webhook with its own certificate": (
        seen_with(replace(HOOKED, certificate=True), spec=FIXING_BY_HOOK),
        False,
    ),
}


@pytest.mark.parametrize(("seen", "repaired"), REPAIRS.values(), ids=REPAIRS.keys())
def test_repairs(seen: Observed, repaired: bool) -> None:
    assert bool(fixes(seen)) is repaired


def test_what_was_refused_or_restarted_is_looked_at_again_when_its_time_comes() -> None:
    refused = seen_with(replace(HOOKED, repair=Repair(at(-60), 2, "no")), spec=FIXING)
    restarted = seen_with(replace(DEAF, restarts=1, restarted=at(-200)), spec=TWO_MINUTES)
    assert (plan(refused, NOW).again_after, plan(restarted, NOW).again_after) == (240, 40)
    assert plan(seen_with(WELL, spec=FIXING), NOW).again_after is None


def test_before_a_webhook_is_deleted_all_pods_are_searched_for_others_with_the_token() -> None:
    asked = plan(seen_with(HOOKED, spec=FIXING, search=None), NOW).search
    assert asked == Question("shop", adopts_secret(), IDENTITY, "telegram-bot", at(-30))
    for seen in (
        seen_with(WELL, spec=FIXING),
        seen_with(HOOKED),
        seen_with(replace(HOOKED, repair=REPAIRED), spec=FIXING),
        seen_with(HOOKED, spec=FIXING_BY_HOOK),
    ):
        assert plan(seen, NOW).search is None


def adopts_secret() -> SecretKeyRef:
    return SecretKeyRef.model_validate(SECRET_REF)


def test_a_repair_names_what_it_does_and_no_address() -> None:
    (delete,), (put,) = fixes(seen_with(HOOKED, spec=FIXING)), fixes(seen_with(HOOKED, spec=FIXING_BY_HOOK))
    assert (delete.url, delete.reason) == (None, "WebhookDeleted")
    assert (put.url, put.reason) == (URL, "WebhookRepaired")
    assert "old.example" in delete.why
    assert "without a secret_token" in put.why
    assert "s3cret" not in repr(put)


# --- Restarts -------------------------------------------------------------------------------------------------------

TWO_MINUTES = {"notPolling": {"policy": "Restart", "afterSeconds": 120}}
RESTARTS: dict[str, tuple[Observed, bool]] = {
    "only reported": (seen_with(DEAF), False),
    "deaf": (seen_with(DEAF, spec=RESTARTING), True),
    "well": (seen_with(WELL, spec=RESTARTING), False),
    "only the status says so": (seen_with(replace(DEAF, fresh=False), spec=RESTARTING), False),
    "not seen from beginning to end": (seen_with(replace(DEAF, sure=False), spec=RESTARTING), False),
    "the pod is not ready": (seen_with(DEAF, spec=RESTARTING, pods=[pod(ready=False)]), False),
    "the pod is on its way out": (seen_with(DEAF, spec=RESTARTING, pods=[pod(terminating=-5)]), False),
    "nobody would replace the pod": (seen_with(DEAF, spec=RESTARTING, pods=[pod(controller=None)]), False),
    "there is another pod": (seen_with(DEAF, spec=RESTARTING, pods=[*SERVING, pod("b", terminating=-5)]), False),
    "a rollout goes on": (seen_with(DEAF, spec=RESTARTING, deployment=pinned(settled=False)), False),
    "something else is to be done": (seen_with(DEAF, spec=RESTARTING, deployment=pinned(replicas=2)), False),
    "there are 409s": (seen_with(DEAF, spec=RESTARTING, **FIGHT), False),
    "suspended": (seen_with(DEAF, spec={**RESTARTING, "suspend": True}), False),
    "restarted a while ago": (
        seen_with(replace(DEAF, restarts=1, restarted=at(-239)), spec=TWO_MINUTES),
        False,
    ),
    "restarted twice as long ago as is allowed": (
        seen_with(replace(DEAF, restarts=1, restarted=at(-240)), spec=TWO_MINUTES),
        True,
    ),
    "restarted in vain": (seen_with(replace(DEAF, restarts=3, restarted=at(-9000)), spec=TWO_MINUTES), False),
}


@pytest.mark.parametrize(("seen", "restarted"), RESTARTS.values(), ids=RESTARTS.keys())
def test_restarts(seen: Observed, restarted: bool) -> None:
    assert bool(deletes(seen)) is restarted


def test_a_restart_is_a_plain_delete_of_just_this_pod() -> None:
    (delete,) = deletes(seen_with(DEAF, spec=RESTARTING))
    assert (delete.pod, delete.uid, delete.resource_version, delete.force) == ("bot-a", "uid-bot-a", "70", False)
    assert (delete.reason, delete.deaf) == ("NotPollingRestarted", True)
    assert "at least 20 updates" in delete.why


# --- What is asked --------------------------------------------------------------------------------------------------


def test_the_one_pod_that_serves_is_to_fetch_the_updates() -> None:
    asked = ask(seen_with(None))
    assert asked is not None
    assert (asked.identity, asked.url, asked.after, asked.alarm) == (IDENTITY, None, 300, None)
    assert asked.poller == Poller("bot-a", "uid-bot-a", 0)


NOBODY_TO_FETCH: dict[str, Observed] = {
    "no pod": seen_with(None, pods=[]),
    "a pod that is not ready": seen_with(None, pods=[pod(ready=False)]),
    "two pods": seen_with(None, pods=[*SERVING, pod("bot-b")]),
    "a pod of another Deployment": seen_with(None, pods=[pod(controller=None)]),
    "suspended": seen_with(None, spec={"suspend": True}),
}


@pytest.mark.parametrize("seen", NOBODY_TO_FETCH.values(), ids=NOBODY_TO_FETCH.keys())
def test_nobody_is_to_fetch_the_updates(seen: Observed) -> None:
    asked = ask(seen)
    assert asked is not None
    assert asked.poller is None


NOT_ASKED: dict[str, Observed] = {
    "no token": world(bot_that(token=None), pods=SERVING),
    "a Secret that is not there": seen_with(None, token=TokenView(TokenState.SECRET_NOT_FOUND)),
    "an older TelegramBot asks, and Telegram knows this one": replace(
        seen_with(None, rivals=(rival(age=90000, confirmed=True),)), bot=telegram_bot(status=known_to_telegram())
    ),
    "being deleted": replace(seen_with(None), bot=telegram_bot(deleting=True)),
    "gone": replace(seen_with(None), bot=None),
}


def test_telegram_is_asked_about_one_that_it_has_not_confirmed_though_an_older_one_has_the_bot() -> None:
    assert ask(seen_with(None, rivals=(rival(age=90000),))) is not None


@pytest.mark.parametrize("seen", NOT_ASKED.values(), ids=NOT_ASKED.keys())
def test_telegram_is_not_asked(seen: Observed) -> None:
    assert ask(seen) is None


def test_a_conflict_is_a_reason_to_ask_at_once() -> None:
    asked = ask(seen_with(None, **FIGHT))
    assert asked is not None
    assert asked.alarm == NOW - timedelta(seconds=10)
