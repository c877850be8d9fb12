"""For whom the operator listens to Telegram, and what the silence proves: nothing for anyone else, and not for long."""

from dataclasses import replace
from typing import Any

import pytest

from telegrambot_operator.core.actions import DeletePod, OpenPod
from telegrambot_operator.core.classify import Death
from telegrambot_operator.core.observed import Bot, Failure, Observed, TokenState, TokenView
from telegrambot_operator.core.plan import Plan, plan
from telegrambot_operator.core.silence import Silence, Sound, Target
from telegrambot_operator.core.turn import Claim, Turn, Vanished
from tests.unit.worlds import (
    IDENTITY,
    NOW,
    SECRET_REF,
    adopts,
    at,
    ended,
    gated,
    held,
    node,
    owns,
    pod,
    rival,
    said,
    status_of,
    takes_turns,
    telegram_bot,
    world,
)

LOST = {"node-1": node(ready=False)}
WELL = {"node-1": node()}
HUNG = pod("hung", terminating=90)
NEXT = pod("next", node="", age=10)
ABOUT: frozenset[Target] = frozenset({("uid-hung", "node-1")})
HOLDER: frozenset[Target] = frozenset({("uid-old", "node-1")})
DENIED = Failure("list", "pods", 403, "cannot list resource pods")


def hanging(bot: Bot | None = None, **known: Any) -> Observed:
    """A pod hangs on a lost node, and its successor waits for it."""
    return world(bot, **{"pods": [HUNG, NEXT], "nodes": LOST, **known})


def vanished(bot: Bot | None = None, **known: Any) -> Observed:
    """The holder of the turn vanished from a lost node, and its successor waits behind the gate."""
    facts = {
        "pods": [held("next")],
        "nodes": LOST,
        "deployment": gated(),
        "claim": Claim("7", "shop/old", "uid-old", "node-1"),
        "ended": {"uid-old": Vanished(missed_for=60.0)},
    }
    return world(bot or takes_turns(), **{**facts, **known})


def heard(sound: Sound, about: frozenset[Target] = ABOUT, why: str = "") -> Silence:
    return Silence(about, sound, at(4000) if sound is Sound.LISTENING else None, why)


def policy(name: str, **more: Any) -> Bot:
    return telegram_bot(spec=adopts(stuckPods={"policy": name}, **more))


LISTENS: dict[str, tuple[Observed, frozenset[Target]]] = {
    "a pod hangs on a lost node": (hanging(), ABOUT),
    "... also one whose containers were last seen ended": (
        hanging(pods=[pod("hung", terminating=90, containers=[ended()])]),
        ABOUT,
    ),
    "several hang on lost nodes": (
        hanging(pods=[HUNG, pod("too", terminating=90, node="node-2")], nodes={**LOST, "node-2": node(ready=False)}),
        ABOUT | {("uid-too", "node-2")},
    ),
    "others are dead or were never bound": (
        hanging(pods=[HUNG, NEXT, pod("dead", phase="Failed", containers=[ended()])]),
        ABOUT,
    ),
    "the bot is suspended": (hanging(telegram_bot(spec=adopts(suspend=True))), ABOUT),
    "the holder of the turn vanished from a lost node": (vanished(), HOLDER),
    "... also where the policy forces what it sees": (vanished(takes_turns(stuckPods={"policy": "Force"})), HOLDER),
    "the holder vanished, and another one hangs": (vanished(pods=[held("next"), HUNG]), HOLDER | ABOUT),
}


@pytest.mark.parametrize(("seen", "about"), LISTENS.values(), ids=LISTENS)
def test_it_listens_when(seen: Observed, about: frozenset[Target]) -> None:
    wanted = plan(seen, NOW).listen
    assert wanted is not None
    assert (wanted.identity, wanted.secret.name, wanted.about) == (IDENTITY, SECRET_REF["name"], about)


DOES_NOT: dict[str, Observed] = {
    "all is well": world(pods=[pod()], nodes=LOST),
    "the pod is not overdue yet": hanging(pods=[pod("hung", terminating=5), NEXT]),
    "the node is Ready": hanging(nodes=WELL),
    "the node could not be read": hanging(nodes={}),
    "the node is gone, which proves more": hanging(nodes={"node-1": None}),
    "another pod runs": hanging(pods=[HUNG, pod("other")]),
    "another pod is bound": hanging(pods=[HUNG, pod("other", phase="Pending", containers=[])]),
    "another pod is on its way out": hanging(pods=[HUNG, pod("other", terminating=-5)]),
    "another pod of another namespace runs": hanging(pods=[HUNG, pod("other", namespace="else")]),
    "another one hangs on a Ready node": hanging(
        pods=[HUNG, pod("other", terminating=90, node="node-2")], nodes={**LOST, "node-2": node()}
    ),
    "the pods cannot be listed": hanging(failures=(DENIED,)),
    "there is no token": hanging(telegram_bot(spec=adopts(token=None)), token=TokenView()),
    "the token cannot be read": hanging(token=TokenView(TokenState.FORBIDDEN)),
    "an older TelegramBot has the identity": hanging(rivals=(rival(age=90000),)),
    "stuckPods.policy: Force": hanging(policy("Force")),
    "stuckPods.policy: Never": hanging(policy("Never")),
    "the holder vanished from a node that is Ready": vanished(nodes=WELL),
    "the holder vanished, and its node could not be read": vanished(nodes={}),
    "the holder vanished a moment ago": vanished(ended={"uid-old": Vanished(missed_for=59.0)}),
    "the holder vanished, and was seen to end": vanished(ended={"uid-old": None}),
    "the holder vanished, and nobody waits for its turn": vanished(pods=[]),
    "the holder vanished, and stuckPods.policy: Never": vanished(takes_turns(stuckPods={"policy": "Never"})),
    "the holder vanished from a Ready node, and another one hangs on a lost one": vanished(
        pods=[held("next"), HUNG],
        claim=Claim("7", "shop/old", "uid-old", "node-2"),
        nodes={**LOST, "node-2": node()},
    ),
}


@pytest.mark.parametrize("seen", DOES_NOT.values(), ids=DOES_NOT)
def test_it_does_not_listen_when(seen: Observed) -> None:
    assert plan(seen, NOW).listen is None


def test_a_webhook_proves_something_only_for_a_bot_that_is_not_to_poll() -> None:
    hooked = telegram_bot(spec=owns(delivery="Webhook", webhook={"url": "https://example.com/bot"}))
    for seen, polls in ((hanging(), True), (hanging(hooked, deployment=None), False)):
        wanted = plan(seen, NOW).listen
        assert wanted is not None
        assert wanted.polls is polls


# --- What the silence proves ----------------------------------------------------------------------------------------


def forced(made: Plan) -> list[str]:
    return [each.pod for each in made.actions if isinstance(each, DeletePod) and each.force]


def opened(made: Plan) -> list[str]:
    return [each.pod for each in made.actions if isinstance(each, OpenPod)]


def test_silence_proves_a_pod_on_a_lost_node_dead() -> None:
    made = plan(hanging(silence=heard(Sound.SILENT)), NOW)
    (delete,) = [each for each in made.actions if isinstance(each, DeletePod)]
    assert (delete.pod, delete.force, delete.proven, delete.by_silence) == ("hung", True, True, True)
    assert "by Telegram's silence" in delete.why
    assert [verdict for _, verdict in made.stuck] == [Death.SILENT]


def test_silence_proves_several_at_once() -> None:
    pods = [HUNG, pod("too", terminating=90, node="node-2")]
    about = ABOUT | {("uid-too", "node-2")}
    known = hanging(pods=pods, nodes={**LOST, "node-2": node(ready=False)}, silence=heard(Sound.SILENT, about))
    assert forced(plan(known, NOW)) == ["hung", "too"]


def test_silence_gives_the_turn_of_a_vanished_holder_to_the_next() -> None:
    made = plan(vanished(silence=heard(Sound.SILENT, HOLDER)), NOW)
    (opening,) = [each for each in made.actions if isinstance(each, OpenPod)]
    assert (opening.pod, opening.by_silence) == ("next", True)


def test_what_is_proven_otherwise_does_not_rest_on_silence() -> None:
    (delete,) = plan(hanging(nodes={"node-1": None}, silence=heard(Sound.SILENT)), NOW).actions
    assert isinstance(delete, DeletePod)
    assert (delete.proven, delete.by_silence) == (True, False)
    (opening,) = [each for each in plan(vanished(ended={"uid-old": None}), NOW).actions if isinstance(each, OpenPod)]
    assert not opening.by_silence


PROVES_NOTHING: dict[str, Observed] = {
    "while the window is not over": hanging(silence=heard(Sound.LISTENING)),
    "once somebody was heard": hanging(silence=heard(Sound.HEARD)),
    "where Telegram does not tell": hanging(silence=heard(Sound.CANNOT)),
    "for a pod of another uid": hanging(silence=heard(Sound.SILENT, frozenset({("uid-other", "node-1")}))),
    "for a pod on another node": hanging(silence=heard(Sound.SILENT, frozenset({("uid-hung", "node-2")}))),
    "where one that was listened for is there no more": hanging(silence=heard(Sound.SILENT, ABOUT | HOLDER)),
    "where one more is lost by now": hanging(
        pods=[HUNG, pod("too", terminating=90)], silence=heard(Sound.SILENT, ABOUT)
    ),
    "where another pod may be polling by now": hanging(pods=[HUNG, pod("other")], silence=heard(Sound.SILENT)),
    "where its node is back": hanging(nodes=WELL, silence=heard(Sound.SILENT)),
    "where the policy is Never": hanging(policy("Never"), silence=heard(Sound.SILENT)),
    "where a finalizer holds the pod": hanging(
        pods=[pod("hung", terminating=90, finalizers=["example.com/backup"])], silence=heard(Sound.SILENT)
    ),
    "for a holder, while the window is not over": vanished(silence=heard(Sound.LISTENING, HOLDER)),
    "for a holder of another uid": vanished(silence=heard(Sound.SILENT)),
    "for a holder, once its node is back": vanished(nodes=WELL, silence=heard(Sound.SILENT, HOLDER)),
}


@pytest.mark.parametrize("seen", PROVES_NOTHING.values(), ids=PROVES_NOTHING)
def test_silence_proves_nothing(seen: Observed) -> None:
    made = plan(seen, NOW)
    assert (forced(made), opened(made)) == ([], [])


# --- What a person reads --------------------------------------------------------------------------------------------

SAYS: dict[str, tuple[Observed, str, list[str]]] = {
    "while it listens nobody has to act": (
        hanging(silence=heard(Sound.LISTENING)),
        "False NotStalled",
        [],
    ),
    "somebody was heard": (
        hanging(silence=heard(Sound.HEARD)),
        "True PodUnreachable",
        ["hung", "somebody polls Telegram with the bot's token", "make sure that the node is off"],
    ),
    "Telegram does not tell": (
        hanging(silence=heard(Sound.CANNOT, why="HTTP 401 Unauthorized")),
        "True PodUnreachable",
        ["hung", "Telegram does not tell (HTTP 401 Unauthorized)", "make sure that the node is off"],
    ),
    "while it listens for a holder nobody has to act": (
        vanished(silence=heard(Sound.LISTENING, HOLDER)),
        "False NotStalled",
        [],
    ),
    "somebody was heard while a turn is waited for": (
        vanished(silence=heard(Sound.HEARD, HOLDER)),
        "True PodUnreachable",
        ["shop/old vanished", "somebody polls Telegram", "delete the node, or the Lease"],
    ),
    "nobody listens": (
        hanging(telegram_bot(spec=adopts(token=None)), token=TokenView()),
        "True PodUnreachable",
        ["make sure that the node is off"],
    ),
    "what was heard is no longer asked for": (
        hanging(nodes=WELL, silence=heard(Sound.HEARD)),
        "True TerminatingPodStillRunning",
        ["reports running containers"],
    ),
}


@pytest.mark.parametrize(("seen", "expected", "words"), SAYS.values(), ids=SAYS)
def test_stalled(seen: Observed, expected: str, words: list[str]) -> None:
    status, reason, message = said(status_of(seen), "Stalled")
    assert f"{status} {reason}" == expected, message
    assert [each for each in words if each not in message] == [], message


@pytest.mark.parametrize("seen", [hanging(), vanished()], ids=["hanging", "vanished"])
def test_until_when_it_listens_is_said_and_does_not_tick(seen: Observed) -> None:
    about = ABOUT if seen.claim is None else HOLDER
    listening = replace(seen, silence=heard(Sound.LISTENING, about))
    first = status_of(listening)
    status, reason, message = said(first, "Reconciling")
    assert (status, reason) == ("True", "Repairing")
    assert "listening to Telegram until 13:06:40 UTC" in message
    assert seen.bot is not None
    assert status_of(replace(listening, bot=replace(seen.bot, status=first)), seconds=10) == first


def test_a_pod_proven_dead_by_silence_is_not_unreachable() -> None:
    seen = hanging(silence=heard(Sound.SILENT), held_back={})
    assert said(status_of(seen), "Singleton")[1] != "PodUnreachable"


def test_while_nothing_is_proven_the_turn_is_unknown() -> None:
    waits = plan(vanished(silence=heard(Sound.HEARD, HOLDER)), NOW).waits
    assert waits is not None
    assert waits.turn is Turn.UNKNOWN
