"""When a status is written: at once for a new bot, else together with what changes in the same moment."""

from dataclasses import replace
from typing import Any

import pytest

from telegrambot_operator.shell import report
from telegrambot_operator.shell.report import TOGETHER_SECONDS, Reporter
from tests.unit.clock import Clock
from tests.unit.worlds import telegram_bot

BEFORE = {"pod": "bot-a"}
BOT = telegram_bot(status=BEFORE)
MOMENT = TOGETHER_SECONDS / 4


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(report, "time", clock)
    return clock


@pytest.fixture
def reporter() -> Reporter:
    nothing: Any = None
    return Reporter(nothing, nothing)


def test_the_first_status_is_written_at_once(reporter: Reporter) -> None:
    assert reporter.seconds_to_wait(replace(BOT, status={}), {"pod": "bot-b"}) is None


def test_what_changes_waits_for_what_else_changes_but_not_for_longer(reporter: Reporter, clock: Clock) -> None:
    for number in range(4):
        left = TOGETHER_SECONDS - number * MOMENT
        assert reporter.seconds_to_wait(BOT, {"pod": f"bot-{number}"}) == pytest.approx(left)
        clock.seconds += MOMENT
    clock.seconds += MOMENT / 10
    assert reporter.seconds_to_wait(BOT, {"pod": "bot-4"}) is None


def test_what_changes_back_was_never_news(reporter: Reporter, clock: Clock) -> None:
    assert reporter.seconds_to_wait(BOT, {"pod": "bot-b"}) == pytest.approx(TOGETHER_SECONDS)
    clock.seconds += TOGETHER_SECONDS
    assert reporter.seconds_to_wait(BOT, BEFORE) is None
    assert reporter.seconds_to_wait(BOT, {"pod": "bot-b"}) == pytest.approx(TOGETHER_SECONDS)


def test_a_bot_that_is_gone_is_forgotten(reporter: Reporter, clock: Clock) -> None:
    reporter.seconds_to_wait(BOT, {"pod": "bot-b"})
    reporter.forget(BOT.key)
    clock.seconds += TOGETHER_SECONDS
    assert reporter.seconds_to_wait(BOT, {"pod": "bot-b"}) == pytest.approx(TOGETHER_SECONDS)
