"""When the admission policies are relied on: an API server goes by them only a moment after it has stored them."""

from typing import Any

import pytest

from telegrambot_operator.shell import tables
from telegrambot_operator.shell.tables import HEARD_SECONDS, Tables

ALL = ("lock.singleton.bot", "pin.singleton.bot", "scale.singleton.bot", "token.singleton.bot")
MOMENT = 0.1


class Watching:
    """The lock tables, with a clock that only the test moves."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        self.passes = 0
        monkeypatch.setattr(tables.time, "monotonic", lambda: self.now)
        kube: Any = None
        self.tables = Tables(kube, [], lambda _: None, self._all_changed)

    def _all_changed(self) -> None:
        self.passes += 1

    def sees(self, *policies: str, after: float = 0.0, version: int = 1) -> tuple[bool, bool]:
        """Look after so many seconds, and return whether the policies are installed and whether they are new."""
        self.now += after
        self.tables._take(dict.fromkeys(policies, (version,)))
        known = self.tables.view(None, "bots")
        return known.installed, known.new


@pytest.fixture
def watching(monkeypatch: pytest.MonkeyPatch) -> Watching:
    return Watching(monkeypatch)


def test_they_are_new_for_a_while(watching: Watching) -> None:
    assert watching.sees(*ALL) == (True, True)
    assert watching.sees(*ALL, after=HEARD_SECONDS - MOMENT) == (True, True)
    assert watching.sees(*ALL, after=MOMENT) == (True, False)


def test_every_bot_is_looked_at_when_they_come_and_when_they_are_relied_on(watching: Watching) -> None:
    for expected, after in ((1, 0.0), (1, 1.0), (2, HEARD_SECONDS), (2, HEARD_SECONDS)):
        watching.sees(*ALL, after=after)
        assert watching.passes == expected


def test_one_that_is_changed_is_relied_on_at_once(watching: Watching) -> None:
    watching.sees(*ALL)
    watching.sees(*ALL, after=HEARD_SECONDS)
    assert watching.sees(*ALL, version=2) == (True, False)


def test_the_ones_that_nothing_rests_on_may_come_and_go(watching: Watching) -> None:
    watching.sees(*ALL)
    watching.sees(*ALL, after=HEARD_SECONDS)
    assert watching.sees(*ALL[:2]) == (True, False)
    assert watching.sees(*ALL) == (True, False)


@pytest.mark.parametrize("missing", ALL[:2])
def test_when_one_was_away_all_begins_anew(missing: str, watching: Watching) -> None:
    watching.sees(*ALL)
    watching.sees(*ALL, after=HEARD_SECONDS)
    assert watching.sees(*(each for each in ALL if each != missing)) == (False, False)
    assert watching.sees(*ALL) == (True, True)
    assert watching.sees(*ALL, after=HEARD_SECONDS) == (True, False)
