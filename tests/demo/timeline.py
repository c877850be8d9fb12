"""What the demo prints: who did or saw what and when, and claims that are true or end the demo with exit code 1."""

from __future__ import annotations

import sys
import textwrap
import time

_WHO = 9
_WIDTH = 118


class Timeline:
    """Prints as things happen. `failed` counts the claims that were not true."""

    def __init__(self) -> None:
        self.failed = 0
        self._began = time.monotonic()
        self._colour = sys.stdout.isatty()

    def chapter(self, title: str, *lines: str) -> None:
        """Begin a story; its clock starts at zero."""
        self._began = time.monotonic()
        self._print(f"\n{self._bold(title)}")
        for line in lines:
            self._print(textwrap.fill(line, _WIDTH, initial_indent="  ", subsequent_indent="  "))
        self._print("")

    def say(self, who: str, what: str) -> None:
        """One line: the seconds since the story began, who, what."""
        head = f"{time.monotonic() - self._began:7.1f} s  {who:<{_WHO}} "
        self._print(textwrap.fill(what, _WIDTH, initial_indent=head, subsequent_indent=" " * len(head)))

    def show(self, command: str, text: str) -> None:
        """A command and what it printed, as a user sees it."""
        self._print(f"\n  {self._bold('$ ' + command)}")
        for line in text.rstrip().splitlines():
            self._print(f"  {line}")
        self._print("")

    def claim(self, sentence: str, true: object) -> None:
        """Say whether a claim is true."""
        self.failed += not true
        mark = self._paint("32", "true ") if true else self._paint("31", "FALSE")
        self._print(f"           {mark}     {sentence}")

    def _bold(self, text: str) -> str:
        return self._paint("1", text)

    def _paint(self, code: str, text: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self._colour else text

    @staticmethod
    def _print(text: str) -> None:
        print(text, flush=True)
