"""What the doctor says of the bots that it looked at: a table for people, a JSON object a line for programs."""

import json
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .doctor_checks import Line, Outcome
from .redact import redact

WIDTH = 100
ALL_PASS, SOME_FAIL, SOME_UNKNOWN = 0, 1, 3
_RESULT, _CHECK = 9, 14
_INDENT = 2 + _RESULT + _CHECK


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What came of one bot: of a TelegramBot, or of a plain Deployment with the manifest that would adopt it."""

    kind: str
    namespace: str
    name: str
    lines: tuple[Line, ...]
    title: str = ""
    manifest: str = ""

    @property
    def outcome(self) -> Outcome:
        """The worst of its checks."""
        return worst(line.answer.outcome for line in self.lines)

    def count(self, outcome: Outcome) -> int:
        """Return how many checks came out so."""
        return sum(line.answer.outcome is outcome for line in self.lines)


def worst(outcomes: "Any") -> Outcome:
    """Return the worst of the outcomes; PASS where there is none."""
    found = set(outcomes)
    return next((each for each in (Outcome.FAIL, Outcome.UNKNOWN) if each in found), Outcome.PASS)


def exit_code(outcome: Outcome) -> int:
    """Return the command's exit code."""
    return {Outcome.PASS: ALL_PASS, Outcome.FAIL: SOME_FAIL, Outcome.UNKNOWN: SOME_UNKNOWN}[outcome]


def as_json(found: Diagnosis) -> str:
    """Return the line with the JSON object of one bot; a manifest only where there is one."""
    checks = [
        {"check": line.check, "result": str(line.answer.outcome), "why": line.answer.why, "todo": line.answer.todo}
        for line in found.lines
    ]
    body = {"kind": found.kind, "namespace": found.namespace, "name": found.name, "result": str(found.outcome)}
    more = {"manifest": found.manifest} if found.manifest else {}
    return redact(json.dumps({**body, "checks": checks, **more})) + "\n"


def as_text(found: Diagnosis, *, brief: bool = False) -> str:
    """Return the section of one bot. A brief one leaves out what passes and only counts it."""
    shown = [line for line in found.lines if not (brief and line.answer.outcome is Outcome.PASS)]
    rows = "".join(_row(line) for line in shown)
    passed = f"  {Outcome.PASS:<{_RESULT}}{found.count(Outcome.PASS)} checks\n" if brief else ""
    adopt = ""
    if found.manifest:
        adopt = f"\nTo have all of this kept so, apply the TelegramBot that adopts it:\n\n{found.manifest}"
    return redact(f"{_wrapped(found.title, 0)}\n{rows}{passed}{adopt}")


def _row(line: Line) -> str:
    answer = line.answer
    result = answer.outcome.upper() if answer.outcome is Outcome.FAIL else str(answer.outcome)
    head = f"  {result:<{_RESULT}}{line.check:<{_CHECK}}"
    todo = _wrapped(f"-> {answer.todo}", _INDENT, " " * _INDENT) if answer.todo else ""
    return _wrapped(answer.why, _INDENT, head) + todo


def _wrapped(text: str, indent: int, head: str = "") -> str:
    """Return the text behind its head, in lines that are no longer than a narrow terminal, ended."""
    lines = textwrap.wrap(" ".join(text.split()), WIDTH - indent, break_long_words=False, break_on_hyphens=False) or [
        ""
    ]
    return f"\n{' ' * indent}".join([head + lines[0], *lines[1:]]).rstrip() + "\n"


def summary(found: Sequence[Diagnosis]) -> str:
    """Return the last line: what came of the checks of one bot, or of the bots."""
    if len(found) == 1:
        counts = {each: found[0].count(each) for each in Outcome}
        passed = f"{counts[Outcome.PASS]} check{'' if counts[Outcome.PASS] == 1 else 's'} passed"
        return f"{passed}, {counts[Outcome.FAIL]} failed, {counts[Outcome.UNKNOWN]} unknown.\n"
    counts = {each: sum(one.outcome is each for one in found) for each in Outcome}
    return (
        f"{len(found)} bots: {counts[Outcome.PASS]} pass, {counts[Outcome.FAIL]} fail, "
        f"{counts[Outcome.UNKNOWN]} unknown.\n"
    )
