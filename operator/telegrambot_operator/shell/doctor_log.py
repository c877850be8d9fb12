"""`doctor --log`: reads logs that people have at hand, of any size and in whatever bytes; no cluster is needed."""

import codecs
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import BinaryIO

from ..core.doctor_log import Conflict, Table, json_pieces, named
from ..core.evidence import Finding, Reading, worth_reading
from ..core.lines import decoded, encoding_of
from ..core.redact import redact

PIECE = 1 << 20
STANDARD_INPUT = "-"
CLEAN, CONFLICTS, UNREADABLE = 0, 1, 3
# A piece ends before a line that is not indented, so that no trace is torn; so many lines back that one is looked for.
_LINES_BACK = 50


class DoctorLog:
    """Reads the files one after the other and says what is in them. `write` gets the output, `complain` what failed."""

    def __init__(self, write: Callable[[str], object], complain: Callable[[str], object], *, as_json: bool) -> None:
        """`as_json` asks for one JSON object a line and file, else for a table."""
        self._write = write
        self._complain = complain
        self._as_json = as_json
        self._found = False
        self._unreadable = False
        self._table = Table()

    def run(self, files: Sequence[str]) -> int:
        """Return the exit code: 0 no conflict, 1 conflicts, 3 some file could not be read."""
        for file in files:
            try:
                with _opened(file) as stream:
                    self._tell(file, self._noted(file, stream))
            except OSError as error:
                self._could_not(file, error)
        self._write(self._table.text())
        return UNREADABLE if self._unreadable else CONFLICTS if self._found else CLEAN

    def _tell(self, file: str, conflicts: Iterator[Conflict]) -> None:
        if not self._as_json:
            self._table.add(file, conflicts)
            return
        for piece in json_pieces(file, conflicts):
            self._write(piece)

    def _noted(self, file: str, stream: BinaryIO) -> Iterator[Conflict]:
        """Yield a file's conflicts, up to where it cannot be read: what is found by then is told all the same."""
        try:
            for each in named(findings(stream)):
                self._found = True
                yield each
        except OSError as error:
            self._could_not(file, error)

    def _could_not(self, file: str, error: OSError) -> None:
        if isinstance(error, BrokenPipeError):
            raise error  # it is the output that broke, not the file
        self._unreadable = True
        self._complain(f"{redact(file)} could not be read: {error.strerror or type(error).__name__}")


def _opened(file: str) -> "nullcontext[BinaryIO] | BinaryIO":
    return nullcontext(sys.stdin.buffer) if file == STANDARD_INPUT else Path(file).open("rb")


def findings(stream: BinaryIO) -> Iterator[Finding]:
    """Yield the conflicts in a log, read piece by piece. Raises OSError."""
    reading = Reading(own_times=True)
    for piece in pieces(stream):
        yield from reading.read(decoded(piece) if worth_reading(piece) else piece)
    yield from reading.end()


def pieces(stream: BinaryIO) -> Iterator[str]:
    """Yield a stream's text in pieces that end where a line ends, if that is not more than a few MiB away."""
    head = stream.read(PIECE)
    decoder = codecs.getincrementaldecoder(encoding_of(head[:4096]))(errors="replace")
    held = ""
    block, following = head, stream.read(PIECE)
    while following:
        held += decoder.decode(block).replace("\0", "")
        end = _end_of_line(held) or (len(held) if len(held) > PIECE else 0)
        if end:
            yield held[:end]
        held = held[end:]
        block, following = following, stream.read(PIECE)
    yield held + decoder.decode(block, final=True)


def _end_of_line(text: str) -> int:
    """Return where the last line begins that is not indented, else the last line at all; 0 if there is only one."""
    last = end = text.rfind("\n") + 1
    for _ in range(_LINES_BACK):
        if end == 0 or (end < len(text) and text[end] not in " \t})"):
            break
        end = text.rfind("\n", 0, end - 1) + 1
    return end or last
