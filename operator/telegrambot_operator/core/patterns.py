"""The users' own patterns for conflicts, on RE2: an engine whose time grows with the text and never explodes."""

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import re2

LONGEST = 200
# Of a line, so many characters are looked at: RE2 may take some microseconds for each, for a costly pattern.
LOOKED_AT = 4096
# Instructions of the compiled program; {n} repeats what it follows n times, so a short pattern can make a long program.
LARGEST_PROGRAM = 4000
_MEMORY = 1 << 20


class InvalidPattern(ValueError):  # noqa: N818 - the text is a sentence for the user, the name says what it is about
    """A pattern that cannot be used; the text is one sentence that says why."""


@dataclass(frozen=True, slots=True)
class ConflictPattern:
    """A compiled pattern. Two of the same source are equal."""

    source: str
    _program: Any = field(compare=False, repr=False)

    def matches(self, line: str) -> bool:
        """Return whether the pattern is found in the first characters of the line."""
        if len(line) > LOOKED_AT:
            line = f"{line[:LOOKED_AT]}\n"  # where a line is cut is not its end
        return self._program.search(line.encode(errors="replace")) is not None


@lru_cache(maxsize=512)
def compile_pattern(source: str) -> ConflictPattern:
    """Return the pattern, in the syntax of https://github.com/google/re2/wiki/Syntax. Raises InvalidPattern."""
    if not source.strip():
        raise InvalidPattern("the pattern is empty; it would match every line")
    if len(source) > LONGEST:
        raise InvalidPattern(f"the pattern has {len(source)} characters, and may have {LONGEST}")
    program = _compile(source)
    if program.programsize > LARGEST_PROGRAM:
        raise InvalidPattern("the pattern is too large once its repetitions are written out; make them smaller")
    if program.search(b"") is not None:
        raise InvalidPattern("the pattern matches an empty line, so it would match every line")
    return ConflictPattern(source, program)


def _compile(source: str) -> Any:
    options = re2.Options()
    options.log_errors = False
    options.max_mem = _MEMORY
    try:
        return re2.compile(source.encode(), options)
    except UnicodeEncodeError as error:
        raise InvalidPattern("the pattern holds half of a character") from error
    except re2.error as error:
        raise InvalidPattern(_sentence(error)) from error


def _sentence(error: Exception) -> str:
    detail = error.args[0].decode(errors="replace") if error.args else "it cannot be compiled"
    if "too large" in detail or "repetition size" in detail:
        return f"the pattern is too large once its repetitions are written out ({detail}); make them smaller"
    hint = "; RE2 has no look-ahead and no look-behind" if "perl operator" in detail else ""
    return f"the pattern is not a regular expression that RE2 understands: {detail}{hint}"
