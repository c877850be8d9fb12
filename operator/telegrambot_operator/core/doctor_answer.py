"""What a check of the doctor answers: pass, fail or unknown, why, and what to do."""

from dataclasses import dataclass
from enum import StrEnum

from .doctor_facts import Gap


class Outcome(StrEnum):
    """What came of a check."""

    PASS = "pass"  # noqa: S105  a verdict, not a password
    FAIL = "fail"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a check, why, and what to do about it; "" where there is nothing to do."""

    outcome: Outcome
    why: str
    todo: str = ""


def passes(why: str) -> Answer:
    """All is well."""
    return Answer(Outcome.PASS, why)


def fails(why: str, todo: str) -> Answer:
    """Something is wrong."""
    return Answer(Outcome.FAIL, why, todo)


def unsure(why: str, todo: str) -> Answer:
    """Nobody can tell from here."""
    return Answer(Outcome.UNKNOWN, why, todo)


def unread(gap: Gap) -> Answer:
    """What it takes could not be read."""
    return unsure(gap.why, gap.todo)
