"""What is made of Telegram's answers: each case is a short story of looks, and what is known at its end."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telegrambot_operator.api.models import SecretKeyRef
from telegrambot_operator.core.silence import Unheard
from telegrambot_operator.core.webhooks import Hook
from telegrambot_operator.core.word import (
    CONFIRM_SECONDS,
    LONGEST_RETRY,
    SELDOM_SECONDS,
    Answer,
    Ask,
    Heard,
    Info,
    Me,
    Poller,
    Refused,
    Repair,
    Said,
    Word,
    asks_otherwise,
    at_least,
    hear,
    is_news,
    remembered,
)

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
HERE, ELSEWHERE = "https://shop.example/hook/s3cret", "https://old.example/hook"
BOT_A, BOT_B = Poller("bot-a", "uid-a", 0), Poller("bot-b", "uid-b", 0)
POLLS = Ask("7301948265", SecretKeyRef(name="shop-token", key="token"), poller=BOT_A)
HOOKED = replace(POLLS, url=HERE)
FOUGHT = replace(POLLS, alarm=NOON)
DOWN, REFUSED = Unheard("HTTP 502"), Refused()


def looked(pending: int = 0, url: str = "", **more: Any) -> Said:
    return Said(Info(url, pending, **more))


# A number is a pause in seconds beyond the one that was asked for.
Story = Sequence[Answer | float]


def after(story: Story, ask: Ask = POLLS, heard: Heard = Heard()) -> Heard:  # noqa: B008  it is frozen
    """What is known at the end of a story whose steady clock begins at 1,000 s, and the other one at noon."""
    now = 1000.0
    for step in story:
        if isinstance(step, float):
            now += step
            continue
        heard = hear(heard, ask, step, now, NOON + timedelta(seconds=now - 1000))
        now += heard.pause
    return heard


def word(story: Story, ask: Ask = POLLS, heard: Heard = Heard()) -> Word:  # noqa: B008  it is frozen
    return after(story, ask, heard).word


# --- The webhook and the token --------------------------------------------------------------------------------------

HOOKS: dict[str, tuple[Story, Ask, Hook]] = {
    "not asked yet": ([], POLLS, Hook.UNKNOWN),
    "no answer yet": ([DOWN, DOWN], POLLS, Hook.UNKNOWN),
    "no webhook, and the bot polls: as wanted": ([looked()], POLLS, Hook.WANTED),
    "a webhook, seen once: it may be about to go": ([looked(url=ELSEWHERE)], POLLS, Hook.UNKNOWN),
    "... and it was well before": ([looked(), looked(url=ELSEWHERE)], POLLS, Hook.WANTED),
    "a webhook, seen for some seconds": ([looked(url=ELSEWHERE)] * 4, POLLS, Hook.UNKNOWN),
    "a webhook, seen for longer": ([looked(url=ELSEWHERE)] * 5, POLLS, Hook.OTHER),
    "a webhook, and a 409, seen once": ([looked(url=ELSEWHERE)], FOUGHT, Hook.UNKNOWN),
    "a webhook, and a 409, seen twice": ([looked(url=ELSEWHERE)] * 2, FOUGHT, Hook.OTHER),
    "a webhook, and a 409 of long ago, seen twice": (
        [looked(url=ELSEWHERE)] * 2,
        replace(POLLS, alarm=NOON - timedelta(minutes=2)),
        Hook.UNKNOWN,
    ),
    "... and no answer in between": ([looked(url=ELSEWHERE), 5.0, DOWN, looked(url=ELSEWHERE)], POLLS, Hook.OTHER),
    "... and Telegram is away since": ([*[looked(url=ELSEWHERE)] * 5, DOWN, DOWN], POLLS, Hook.OTHER),
    "a webhook that is gone again": ([*[looked(url=ELSEWHERE)] * 5, looked()], POLLS, Hook.WANTED),
    "a webhook that comes and goes": (
        [*[looked(url=ELSEWHERE)] * 4, looked(), *[looked(url=ELSEWHERE)] * 4],
        POLLS,
        Hook.WANTED,
    ),
    "the webhook that is wanted": ([looked(url=HERE)], HOOKED, Hook.WANTED),
    "none, while the bot starts": ([*[looked()] * 4, looked(url=HERE)], HOOKED, Hook.WANTED),
    "none, for some seconds": ([looked()] * 5, HOOKED, Hook.MISSING),
    "another one, for some seconds": ([looked(url=ELSEWHERE)] * 5, HOOKED, Hook.OTHER),
    "none, and then another one": ([*[looked()] * 5, looked(url=ELSEWHERE)], HOOKED, Hook.OTHER),
}


@pytest.mark.parametrize(("story", "ask", "expected"), HOOKS.values(), ids=HOOKS.keys())
def test_webhooks(story: Story, ask: Ask, expected: Hook) -> None:
    assert word(story, ask).hook is expected


def test_of_a_webhook_only_the_host_is_kept() -> None:
    known = after([looked(url=HERE, error=f"Wrong response from {HERE}", error_at=NOON)] * 5)
    assert known.word.host == "shop.example"
    assert "s3cret" not in repr(known)


def test_what_telegram_was_asked_and_has_said_shows_no_address() -> None:
    assert "s3cret" not in repr(HOOKED)
    assert "s3cret" not in repr(looked(url=HERE))


TOKENS: dict[str, tuple[Story, bool]] = {
    "refused once: it may be a fault": ([REFUSED], False),
    "refused twice": ([REFUSED, REFUSED], True),
    "refused, no answer, refused": ([REFUSED, DOWN, REFUSED], True),
    "refused, and then known": ([REFUSED, looked(), REFUSED], False),
    "refused, and Telegram is away since": ([REFUSED, REFUSED, DOWN], True),
    "refused, and put right": ([REFUSED, REFUSED, looked()], False),
}


@pytest.mark.parametrize(("story", "refused"), TOKENS.values(), ids=TOKENS.keys())
def test_a_refused_token(story: Story, refused: bool) -> None:
    assert word(story).refused is refused


def test_who_the_bot_is() -> None:
    known = after([Said(Info(), Me(7301948265, "shop_bot")), looked()])
    assert (known.word.username, known.word.stranger, known.asks_who(1001.0)) == ("shop_bot", None, False)
    assert known.asks_who(1000 + 6 * 3600.0), "a username may change"


def test_of_another_bot_than_the_tokens_nothing_is_believed() -> None:
    said = Said(Info(ELSEWHERE, 500), Me(111, "other_bot"))
    known = after([said, looked(500, ELSEWHERE), looked(900, ELSEWHERE)])
    assert known.word == Word(fresh=True, stranger=111)
    assert known.asks_who(1001.0)
    assert word([said, Said(Info(), Me(7301948265, "shop_bot"))]).username == "shop_bot", "and then it is ours again"


# --- Updates that pile up -------------------------------------------------------------------------------------------

FEW, MANY = 40, 70  # looks that take less, and more, than the five minutes that a bot has by default
GROWS = [looked(3), looked(3), *(looked(count) for count in range(4, MANY))]
PILES: dict[str, tuple[Story, Ask, bool]] = {
    "none wait": ([looked()] * 40, POLLS, False),
    "some wait, and not for long": ([looked(7)] * FEW, POLLS, False),
    "some wait for longer than the spec allows": ([looked(7)] * MANY, POLLS, True),
    "ever more wait": (GROWS, POLLS, True),
    "one waits, and there are few writers": ([looked(1)] * MANY, POLLS, True),
    "... and a longer time is allowed": (GROWS, replace(POLLS, after=3600), False),
    "one was fetched meanwhile": ([looked(7)] * FEW + [looked(6)] * FEW, POLLS, False),
    "all were fetched meanwhile": ([*[looked(7)] * FEW, looked(0), *[looked(7)] * FEW], POLLS, False),
    "the last look finds fewer: it polls again": ([looked(7)] * MANY + [looked(6)], POLLS, False),
    "the last look finds none: it polls again": ([looked(7)] * MANY + [looked(0)], POLLS, False),
    "long enough, and not looked at often enough": ([looked(7), 50.0] * 5, replace(POLLS, after=50), False),
    "Telegram is away, and was not for long": ([*[looked(7)] * FEW, DOWN, *[looked(7)] * 30], POLLS, True),
    "Telegram was away for long, and what happened is not known": (
        [*[looked(7)] * FEW, 600.0, looked(7)],
        POLLS,
        False,
    ),
    "deaf, and Telegram was away since": ([*[looked(7)] * MANY, DOWN, 3600.0], POLLS, True),
    "deaf, and after a long silence still no fewer": ([*[looked(7)] * MANY, 3600.0, looked(8)], POLLS, True),
    "no pod is ready": ([looked(7)] * MANY, replace(POLLS, poller=None), False),
    "the bot does not poll": ([looked(7, HERE)] * MANY, HOOKED, False),
    "a webhook is in the way": ([looked(7, ELSEWHERE)] * MANY, POLLS, False),
}


@pytest.mark.parametrize(("story", "ask", "deaf"), PILES.values(), ids=PILES.keys())
def test_deafness(story: Story, ask: Ask, deaf: bool) -> None:
    assert word(story, ask).deaf is deaf


@pytest.mark.parametrize("every", [0.7, 1.0, 2.0, 5.0, 7.5, 10.0])
@pytest.mark.parametrize("busy", [0.3, 0.6, 0.85])
def test_a_bot_that_handles_a_steady_stream_one_by_one_is_not_deaf(every: float, busy: float) -> None:
    """An update is confirmed when the next is asked for: one waits for as long as the bot is busy with it."""
    heard, now = Heard(), 1000.0
    while now < 100_000:
        heard = hear(heard, POLLS, looked(1 if now % every < busy * every else 0), now, NOON)
        assert (heard.word.deaf, heard.word.waiting) == (False, None)
        now += heard.pause


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(1, 100)), min_size=1, max_size=5))
def test_who_fetches_is_never_called_deaf(stretches: list[tuple[int, int]]) -> None:
    """Behind each alarm there is a run of looks, over the whole time, that never falls and is never empty."""
    heard, now, times = Heard(), 1000.0, []
    counts = [count for count, looks in stretches for _ in range(looks)]
    for count in counts:
        heard = hear(heard, POLLS, looked(count), now, NOON)
        times.append(now)
        if heard.word.deaf:
            run = [index for index, at in enumerate(times) if at >= now - POLLS.after]
            looks = [counts[index] for index in run]
            assert looks == sorted(looks)
            assert min(looks) > 0
        now += heard.pause


def test_a_new_process_is_given_its_own_time() -> None:
    heard = after([looked(7)] * MANY)
    assert heard.word.deaf
    heard = asks_otherwise(heard, POLLS, replace(POLLS, poller=BOT_B))
    assert not heard.word.deaf
    assert not word([looked(7)] * FEW, replace(POLLS, poller=BOT_B), heard).deaf
    assert word([looked(7)] * MANY, replace(POLLS, poller=BOT_B), heard).deaf


def test_of_updates_that_telegram_lets_expire_nobody_is_the_fetcher() -> None:
    day = [looked(900)] * (MANY + 23 * 3600 // 15)
    assert word([*day, looked(880)]).deaf
    assert not word([*day, looked(0)]).deaf


def test_updates_that_wait_are_told_when_they_pile_up_and_in_steps() -> None:
    told = [word([looked(7)] * looks).waiting for looks in (1, 20, FEW, MANY)]
    assert told == [None, None, 5, 5]
    assert word([*[looked(7)] * FEW, looked(0)]).waiting is None


@pytest.mark.parametrize(
    ("count", "step"), [(1, 1), (2, 2), (4, 2), (5, 5), (9, 5), (10, 10), (19, 10), (99, 50), (100_000, 100_000)]
)
def test_steps(count: int, step: int) -> None:
    assert at_least(count) == step


@given(st.integers(1, 10**9))
def test_no_step_says_too_much(count: int) -> None:
    assert at_least(count) <= count < 3 * at_least(count)


def test_a_bot_that_is_well_makes_no_news() -> None:
    """INV-8: what a status tells does not flap with numbers that change at every look."""
    looks = [Said(Info(), Me(7301948265, "shop_bot")), *[looked(count) for count in (0, 3, 0, 1, 0, 0, 12, 0, 2, 1, 0)]]
    words = [word(looks[: count + 1]) for count in range(len(looks))]
    assert len(set(words)) == 1


# --- Deliveries -----------------------------------------------------------------------------------------------------

ERROR = {"error": "Connection refused", "error_at": NOON}
OLD = {"error": "Connection refused", "error_at": NOON - timedelta(minutes=30)}
ANCIENT = {"error": "Connection refused", "error_at": NOON - timedelta(hours=2)}
DELIVERIES: dict[str, tuple[Story, bool, str]] = {
    "no error": ([looked(7, HERE)] * 5, False, ""),
    "an error, and nothing waits": ([looked(0, HERE, **ERROR)] * 5, False, "Connection refused"),
    "an error, and updates pile up": ([looked(7, HERE, **ERROR)] * 5, True, "Connection refused"),
    "an old error, and updates pile up": ([looked(7, HERE, **OLD)] * 5, False, "Connection refused"),
    "an ancient error": ([looked(0, HERE, **ANCIENT)] * 5, False, ""),
    "delivered again": ([*[looked(7, HERE, **ERROR)] * 5, looked(0, HERE, **ERROR)], False, "Connection refused"),
    "Telegram tries ever more seldom": ([*[looked(7, HERE, **ERROR)] * 200], True, "Connection refused"),
}


@pytest.mark.parametrize(("story", "failing", "error"), DELIVERIES.values(), ids=DELIVERIES.keys())
def test_deliveries(story: Story, failing: bool, error: str) -> None:
    known = word(story, HOOKED)
    assert (known.failing, known.error) == (failing, error)


# --- When to look again ---------------------------------------------------------------------------------------------

PAUSES: dict[str, tuple[Story, float, float]] = {
    "soon after the start": ([looked()], 0, 10),
    "ever more seldom": ([looked()] * 12, SELDOM_SECONDS, SELDOM_SECONDS),
    "what has to be seen twice": ([looked()] * 12 + [looked(url=ELSEWHERE)], 0, CONFIRM_SECONDS),
    "a token that was refused once": ([*[looked()] * 12, REFUSED], 0, CONFIRM_SECONDS),
    "a token that is refused": ([REFUSED] * 5, 60, 60),
    "a pile": ([*[looked()] * 12, looked(3)], 2, 10),
    "a pile that was taken from": ([*[looked()] * 12, looked(3), looked(2)], SELDOM_SECONDS, SELDOM_SECONDS),
    "no answer": ([DOWN], 5, 5),
    "no answer for long": ([DOWN] * 50, LONGEST_RETRY, LONGEST_RETRY),
    "as long as Telegram asks for": ([Unheard("HTTP 429", 900)], 900, 900),
    "an answer after none": ([*[DOWN] * 50, looked()], 0, 10),
}


@pytest.mark.parametrize(("story", "least", "most"), PAUSES.values(), ids=PAUSES.keys())
def test_pauses(story: Story, least: float, most: float) -> None:
    assert least <= after(story).pause <= most


@given(st.lists(st.sampled_from([DOWN, REFUSED, looked(), looked(5), looked(url=ELSEWHERE)]), max_size=30))
def test_nobody_is_asked_without_a_pause(story: list[Answer]) -> None:
    assert not story or after(story).pause >= 2


# --- An operator that starts ----------------------------------------------------------------------------------------


def status(reason: str, *, message: str = "", **fields: Any) -> dict[str, Any]:
    """A status that an operator left behind."""
    ready = {"type": "Ready", "status": "False", "reason": reason, "message": message}
    return {"conditions": [ready], "pod": "bot-a", "restarts": 0, "bot": {"id": 7301948265, "username": "b"}, **fields}


PILED = status("NotPolling", webhook={"pendingUpdates": 20})


def test_what_the_status_says_holds_until_telegram_says_otherwise() -> None:
    told = remembered(PILED, POLLS).word
    assert (told.deaf, told.waiting, told.username, told.fresh, told.sure) == (True, 20, "b", False, False)
    assert remembered(status("TokenInvalid", message="Telegram does not know the token in ..."), POLLS).word.refused
    assert not remembered(status("TokenInvalid", message="key token of Secret x does ..."), POLLS).word.refused
    assert remembered(status("Conflict", webhook={"host": "old.example"}), POLLS).word.hook is Hook.OTHER
    assert remembered(status("WebhookMissing"), HOOKED).word.hook is Hook.MISSING
    assert remembered(status("WebhookElsewhere", webhook={"host": "x"}), HOOKED).word.hook is Hook.OTHER
    assert remembered(status("WebhookFailing", webhook={"lastError": "no"}), HOOKED).word.failing
    assert remembered(status("Running"), HOOKED).word.hook is Hook.WANTED
    assert remembered({}, POLLS) == Heard()


def test_what_telegram_called_another_bot_is_not_remembered_of_this_one() -> None:
    """The Secret may have got another bot's token, real or made up, while no operator looked."""
    told = {"bot": {"id": int(POLLS.identity) + 1, "username": "other_bot"}}
    assert remembered(told, POLLS).word == Word()


def test_a_deaf_bot_stays_deaf_over_a_restart_of_the_operator_and_is_certain_only_after_a_run() -> None:
    heard = remembered(PILED, POLLS)
    assert word([looked(22)], heard=heard).deaf
    assert not word([looked(22)], heard=heard).sure
    assert word([looked(22)] * MANY, heard=heard).sure
    assert not word([looked(19)], heard=heard).deaf
    assert not remembered(PILED, replace(POLLS, poller=BOT_B)).word.deaf


def test_a_bot_that_is_as_well_as_the_status_says_is_no_news() -> None:
    """INV-8: an operator that starts looks at each bot once, and wants no further pass for those that are well."""
    before = remembered(status("Running"), POLLS).word
    assert not is_news(before, replace(word([looked()]), username="b"))
    assert is_news(before, replace(word([looked()]), username="c"))
    piled = remembered(PILED, POLLS)
    assert is_news(piled.word, word([looked(22)], heard=piled)), "what it has heard itself leads to deeds"


def test_a_bot_that_was_well_is_not_looked_at_more_often_than_others() -> None:
    assert after([looked()], heard=remembered(status("Running"), POLLS)).pause == SELDOM_SECONDS


def test_repairs_and_restarts_are_remembered() -> None:
    left = status(
        "NotPolling",
        webhook={"repaired": {"time": "2026-11-24T11:00:00.000000Z", "generation": 4}},
        notPolling={"restarts": 2, "lastRestart": "2026-11-24T11:30:00.000000Z"},
    )
    told = remembered(left, POLLS).word
    assert told.repair == Repair(NOON - timedelta(hours=1), 4)
    assert (told.restarts, told.restarted) == (2, NOON - timedelta(minutes=30))


def test_a_bot_that_is_well_for_an_hour_after_a_restart_has_its_restarts_back() -> None:
    tried = Heard(Word(restarts=3, restarted=NOON - timedelta(minutes=50)))
    assert word([looked()], heard=tried).restarts == 3
    assert word([looked(), 3600.0, looked()], heard=tried) == replace(word([looked()]), restarts=0)
    assert word([looked(5)] * 200, heard=tried).restarts == 3, "not while it is deaf"


@pytest.mark.parametrize("broken", [{"webhook": {"repaired": {"time": "soon"}}}, {"notPolling": {"restarts": 1}}])
def test_a_status_that_makes_no_sense_is_no_reason_to_fail(broken: dict[str, Any]) -> None:
    assert remembered(status("Running", **broken), POLLS).word.repair is None
