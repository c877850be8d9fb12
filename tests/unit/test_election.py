"""Who leads, decided from the Lease and the own clock: the rules of core/election.py, one by one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from telegrambot_operator.core import election
from telegrambot_operator.core.election import Candidate, Record, Step, Times

TIMES = Times(lease=12, deadline=8, renew=2, look=1, again=0.2, longest=60)
ME, OTHER = "here/pod-a_1", "here/pod-b_2"
HELD = Record("7", OTHER, 12, "then")
RELEASED = Record("7", "", 1)
NOW = 1000.0


def one(**known: object) -> Candidate:
    """A candidate that knows this."""
    return replace(Candidate(ME, TIMES), **known)  # type: ignore[arg-type]


def leader(asked: float = NOW) -> Candidate:
    """One whose claim was granted at once."""
    it = election.sends(election.saw(one(), RELEASED, asked), "now")
    return election.claimed(it, Record("8", ME, 12, "now"), asked, asked)


def test_who_has_just_started_looks() -> None:
    assert election.step(one(), NOW) is Step.LOOK


def test_a_lease_that_was_let_go_of_is_claimed_at_once() -> None:
    it = election.saw(one(), RELEASED, NOW)
    assert election.step(it, NOW) is Step.CLAIM
    assert it.due == NOW


def test_a_lease_that_is_missing_is_made_at_once_and_claimed_after_a_whole_lease() -> None:
    missing = election.saw(one(), Record(), NOW)
    assert (election.step(missing, NOW), missing.due) == (Step.MAKE, NOW)
    made = election.saw(missing, Record("1"), NOW)
    assert election.step(made, NOW + 11.9) is Step.LOOK
    assert election.step(made, NOW + 12) is Step.CLAIM


TOUCHED = {
    "held by somebody": HELD,
    "without a holder, but not let go of": replace(HELD, holder=""),
    "without anything": Record("7"),
    "with a duration that is none": replace(HELD, seconds=-5),
    "that says that it was let go of, with a holder": replace(HELD, seconds=1),
    "with the own name, which was never sent": replace(HELD, holder=ME),
    "with times that nobody has written": replace(HELD, renewed="9999-12-31T23:59:59.000000Z"),
}


@pytest.mark.parametrize("record", TOUCHED.values(), ids=TOUCHED)
def test_a_whole_lease_is_waited_for_one(record: Record) -> None:
    it = election.saw(one(), record, NOW)
    assert election.step(it, NOW + 11.9) is Step.LOOK
    assert election.step(it, NOW + 12) is Step.CLAIM


def test_a_longer_lease_is_waited_for_too_but_not_for_ever() -> None:
    assert election.saw(one(), replace(HELD, seconds=30), NOW).expires == NOW + 30
    assert election.saw(one(), replace(HELD, seconds=2_000_000_000), NOW).expires == NOW + 60


def test_whatever_changes_in_it_begins_the_wait_anew_and_nothing_else_does() -> None:
    it = election.saw(one(), HELD, NOW)
    assert election.saw(it, HELD, NOW + 11).expires == NOW + 12
    assert election.saw(it, replace(HELD, version="8"), NOW + 11).expires == NOW + 23
    assert election.saw(election.failed(it, NOW + 5), HELD, NOW + 11).expires == NOW + 12


def test_who_stands_by_looks_every_second_and_exactly_when_the_lease_is_over() -> None:
    it = election.saw(one(), HELD, NOW)
    assert it.due == NOW + 1
    assert election.saw(it, HELD, NOW + 11.5).due == NOW + 12


def test_a_leader_leads_for_eight_seconds_from_when_it_asked_and_not_from_the_answer() -> None:
    it = election.claimed(one(), Record("8", ME, 12, "now"), NOW, NOW + 3)
    assert it.leads(NOW + 7.9)
    assert not it.leads(NOW + 8)
    assert it.due == NOW + 2


def test_an_answer_that_comes_too_late_makes_nobody_lead() -> None:
    it = election.claimed(one(), Record("8", ME, 12, "now"), NOW, NOW + 9)
    assert not it.leads(NOW + 9)


def test_a_leader_renews_what_it_has_written() -> None:
    assert election.step(leader(), NOW + 2) is Step.CLAIM


def test_a_leader_that_lost_a_race_looks_before_it_does_anything_else_and_leads_on_meanwhile() -> None:
    it = election.failed(leader(), NOW + 2, raced=True)
    assert election.step(it, NOW + 2) is Step.LOOK
    assert it.due == NOW + 2.2
    assert it.leads(NOW + 7.9)


@pytest.mark.parametrize("found", [Record(), Record("9"), Record("9", ME, 5, "x")], ids=["missing", "empty", "edited"])
def test_a_leader_puts_right_what_was_touched_by_hand(found: Record) -> None:
    it = election.saw(election.failed(leader(), NOW + 2, raced=True), found, NOW + 2)
    assert it.leads(NOW + 2)
    assert election.step(it, NOW + 2) is (Step.CLAIM if found.version else Step.MAKE)


def test_a_leader_that_finds_anothers_name_stops_at_once_and_waits_as_all_do() -> None:
    it = election.saw(leader(), HELD, NOW + 2)
    assert not it.leads(NOW + 2)
    assert election.step(it, NOW + 2) is Step.LOOK


def test_after_an_outage_its_own_claim_is_still_its_own() -> None:
    lost = election.sends(leader(), "a renewal that nobody got")
    it = election.saw(election.failed(lost, NOW + 8), Record("8", ME, 12, "now"), NOW + 30)
    assert not it.leads(NOW + 30)
    assert election.step(it, NOW + 30) is Step.CLAIM


def test_a_claim_of_which_the_answer_was_lost_is_known_by_what_was_sent() -> None:
    sent = election.failed(election.sends(election.saw(one(), RELEASED, NOW), "now"), NOW + 3)
    assert election.step(election.saw(sent, Record("8", ME, 12, "now"), NOW + 4), NOW + 4) is Step.CLAIM
    assert election.step(election.saw(sent, Record("8", ME, 12, "other"), NOW + 4), NOW + 4) is Step.LOOK


def test_who_resigns_leads_no_more_and_knows_whether_the_lease_is_its_own() -> None:
    it = election.resigned(leader())
    assert not it.leads(NOW)
    assert it.holds


WORDS = [
    (Record(), "standing by: nobody leads yet"),
    (Record("7"), "standing by: nobody leads yet"),
    (replace(HELD, holder=ME), "standing by: nobody leads yet"),
    (HELD, f"standing by: {OTHER} leads"),
    (
        replace(HELD, holder="bots/pod-c_3"),
        "standing by: bots/pod-c_3 of the installation in namespace bots leads, and this one in namespace here does "
        "nothing meanwhile. A cluster needs one installation: uninstall one of the two, or let each guard namespaces "
        "of its own (--namespace) with a Lease of its own (--leader-elect-namespace)",
    ),
    (
        replace(HELD, holder="me"),
        "standing by: me leads, and this one in namespace here does nothing meanwhile. A cluster needs one "
        "installation: uninstall one of the two, or let each guard namespaces of its own (--namespace) with a Lease of "
        "its own (--leader-elect-namespace)",
    ),
]


@pytest.mark.parametrize(("record", "said"), WORDS)
def test_who_stands_by_says_who_leads(record: Record, said: str) -> None:
    assert election.standing_by(election.saw(one(), record, NOW)) == said
