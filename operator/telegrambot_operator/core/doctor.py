"""What the doctor says of the bots that it looked at: a table for people, a JSON object a line for programs."""

import json
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .doctor_answer import Outcome
from .doctor_checks import Line
from .redact import redact

WIDTH = 100
ALL_PASS, SOME_FAIL, SOME_UNKNOWN = 0, 1, 3
_RESULT, _CHECK = 9, 14
_INDENT = 2 + _RESULT + _CHECK
_COLOURS = {Outcome.PASS: "32", Outcome.FAIL: "1;31", Outcome.UNKNOWN: "33"}


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What came of one bot: of a TelegramBot, or of a plain Deployment with the manifest that would adopt it."""

    kind: str
    namespace: str
    name: str
    lines: tuple[Line, ...]
    manifest: str = ""

    @property
    def outcome(self) -> Outcome:
        """The worst of its checks."""
        return worst(line.answer.outcome for line in self.lines)

    def count(self, outcome: Outcome) -> int:
        """Return how many checks came out so."""
        return sum(line.answer.outcome is outcome for line in self.lines)


def worst(outcomes: Iterable[Outcome]) -> Outcome:
    """Return the worst of the outcomes; PASS where there is none."""
    found = set(outcomes)
    return next((each for each in (Outcome.FAIL, Outcome.UNKNOWN) if each in found), Outcome.PASS)


def exit_code(outcome: Outcome) -> int:
    """Return the command's exit code."""
    return {Outcome.PASS: ALL_PASS, Outcome.FAIL: SOME_FAIL, Outcome.UNKNOWN: SOME_UNKNOWN}[outcome]


def as_json(found: Diagnosis) -> str:
    """Return the line with the JSON object of one bot; a manifest only where there is one."""
    checks = [
        {
            "check": line.check,
            "result": str(line.answer.outcome),
            "why": redact(line.answer.why),
            "todo": redact(line.answer.todo),
        }
        for line in found.lines
    ]
    body = {"kind": found.kind, "namespace": found.namespace, "name": found.name, "result": str(found.outcome)}
    more = {"manifest": found.manifest} if found.manifest else {}
    return json.dumps({**body, "checks": checks, **more}) + "\n"


def as_text(found: Diagnosis, *, brief: bool = False, colour: bool = False) -> str:
    """Return the section of one bot. A brief one leaves out what passes and only counts it."""
    shown = [line for line in found.lines if not (brief and line.answer.outcome is Outcome.PASS)]
    rows = "".join(_row(line, colour=colour) for line in shown)
    if brief:
        rows += f"  {_result(Outcome.PASS, colour=colour)}{_number(found.count(Outcome.PASS), 'check')}\n"
    adopt = f"\nThe TelegramBot that adopts it, and keeps all of this so:\n\n{found.manifest}" if found.manifest else ""
    return f"{found.kind} {found.name} in namespace {found.namespace}\n\n{rows}{adopt}"


def _row(line: Line, *, colour: bool) -> str:
    answer = line.answer
    head = f"  {_result(answer.outcome, colour=colour)}{line.check:<{_CHECK}}"
    todo = _wrapped(f"-> {answer.todo}", " " * _INDENT) if answer.todo else ""
    return _wrapped(answer.why, head) + todo


def _result(outcome: Outcome, *, colour: bool) -> str:
    """Return the word for an outcome, as wide as its column."""
    word = outcome.upper() if outcome is Outcome.FAIL else str(outcome)
    return f"\x1b[{_COLOURS[outcome]}m{word}\x1b[0m{'':<{_RESULT - len(word)}}" if colour else f"{word:<{_RESULT}}"


def _wrapped(text: str, head: str) -> str:
    """Return the text behind its head, in lines that are no longer than a narrow terminal."""
    clean = " ".join(redact(text).split())
    lines = textwrap.wrap(clean, WIDTH - _INDENT, break_long_words=False, break_on_hyphens=False) or [""]
    return f"\n{' ' * _INDENT}".join([head + lines[0], *lines[1:]]).rstrip() + "\n"


def summary(found: Sequence[Diagnosis]) -> str:
    """Return the last line: what came of the checks of one bot, or of the bots."""
    one = len(found) == 1
    outcomes = [line.answer.outcome for line in found[0].lines] if one else [each.outcome for each in found]
    good, bad, open_ = (outcomes.count(each) for each in (Outcome.PASS, Outcome.FAIL, Outcome.UNKNOWN))
    if one:
        return f"{_number(good, 'check')} passed, {bad} failed, {open_} unknown.\n"
    return f"{len(found)} bots: {good} pass, {bad} fail, {open_} unknown.\n"


def _number(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"
