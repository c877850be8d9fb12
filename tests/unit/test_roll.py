"""The roll of the TelegramBots: what it says while it cannot be called."""

from typing import Any, cast

import pytest

from telegrambot_operator.shell import roll as rolls
from telegrambot_operator.shell.health import SILENT_SECONDS
from telegrambot_operator.shell.kube import SILENT, KubeError
from telegrambot_operator.shell.roll import RELIST_SECONDS, Roll
from tests.unit.clock import Clock


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(rolls, "time", clock)
    return clock


@pytest.fixture
def roll(clock: Clock) -> Roll:
    """One that was called a moment ago."""
    roll = Roll(cast("Any", None), cast("Any", None), ())
    roll._listed_at = roll._moved_at = clock.seconds
    return roll


@pytest.mark.parametrize(("reason", "stuck"), [(SILENT, True), ("NoAnswer", False), ("Forbidden", False)])
def test_only_where_nothing_comes_at_all_it_is_stuck(roll: Roll, clock: Clock, reason: str, *, stuck: bool) -> None:
    for _ in range(100):
        clock.seconds += (SILENT_SECONDS + RELIST_SECONDS) / 50
        roll._failed(KubeError(0, reason, "no answer"))
    assert bool(roll.stuck()) is stuck
    assert roll.silence == 2 * (SILENT_SECONDS + RELIST_SECONDS), "the metric tells of all of it"


def test_between_two_calls_it_is_quiet(roll: Roll, clock: Clock) -> None:
    clock.seconds += RELIST_SECONDS + SILENT_SECONDS - 1
    assert roll.stuck() == ""


def test_a_crd_that_is_missing_is_named_with_what_to_do(roll: Roll) -> None:
    roll._failed(KubeError(404, "NotFound", "the server could not find the requested resource"))
    assert "install the CRD" in roll.missing()


def test_a_right_that_is_missing_is_named(roll: Roll) -> None:
    roll._failed(KubeError(403, "Forbidden", 'cannot list resource "telegrambots"'))
    assert roll.missing() == 'TelegramBots cannot be listed: cannot list resource "telegrambots"'
