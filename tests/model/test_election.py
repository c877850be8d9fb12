"""No order of events makes two replicas lead at once; and the search sees it where a rule of the election is broken."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telegrambot_operator.core import election
from telegrambot_operator.core.election import Candidate, Record, Times
from tests.model.election_run import SKEW, Run, takeover
from tests.model.election_search import search, worlds

if TYPE_CHECKING:
    from collections.abc import Callable

# So many states must have been seen, so that nobody makes the search small by mistake.
STATES = 9_000


def test_of_two_replicas_never_both_lead_whatever_is_delayed_lost_or_killed() -> None:
    found, states = search(worlds(2, edits=0))
    assert found is None
    assert states > STATES


def _from_the_answer_on(it: Candidate, record: Record, asked: float, now: float) -> Candidate:
    del asked
    return replace(it, record=record, since=now, current=True, until=now + it.times.deadline)


def _at_once_where_there_is_no_holder(it: Candidate, record: Record, now: float) -> bool:
    return not record.holder or it.leads(now) or it.holds or now >= it.expires


def _by_name(it: Candidate, record: Record, now: float) -> bool:
    return record.holder == it.me or _as_it_is(it, record, now)


def _too_soon(it: Candidate, record: Record, now: float) -> bool:
    return now >= it.since + it.times.deadline - 1 or _as_it_is(it, record, now)


_as_it_is = election._may_claim

BROKEN: dict[str, tuple[str, Callable[..., object], int]] = {
    "a deadline counts from the answer on": ("claimed", _from_the_answer_on, 0),
    "a Lease is taken before its leader has stopped": ("_may_claim", _too_soon, 0),
    "a Lease without a holder is taken at once": ("_may_claim", _at_once_where_there_is_no_holder, 1),
    "the own name in it is enough": ("_may_claim", _by_name, 1),
}


@pytest.mark.parametrize("rule", BROKEN)
def test_the_search_finds_two_leaders_where(rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    name, broken, edits = BROKEN[rule]
    monkeypatch.setattr(election, name, broken)
    found, _ = search(worlds(2, edits))
    assert found is not None
    assert len(found.leaders) == 2


@given(st.integers(min_value=0), st.integers(min_value=2, max_value=3))
def test_in_any_trouble_at_most_one_leads_and_after_it_one_does(seed: int, replicas: int) -> None:
    assert Times().lease / Times().deadline > (1 + SKEW) / (1 - SKEW), "clocks may be no further apart than that"
    run = Run(seed, replicas)
    run.go(90, trouble=True)
    run.go(60 + Times().longest, trouble=False)
    assert run.leader is not None


@given(st.integers(min_value=0, max_value=10_000))
def test_the_next_one_leads_within_fifteen_seconds_of_a_kill_and_two_of_a_clean_stop(seed: int) -> None:
    assert takeover(seed, Run.kill) <= 15
    assert takeover(seed, Run.stop) <= 2
