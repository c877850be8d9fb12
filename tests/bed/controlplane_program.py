"""One program of the control plane: on a leash, in a session of its own, with one log over all its runs."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from contextlib import suppress
from typing import TYPE_CHECKING

from tests.bed import leash

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

START_SECONDS = 60.0  # for one program to be ready; it takes 1 to 5 on an idle machine
_LOOK = 0.03  # seconds between two looks
_TAIL = 5  # lines of a log that explain a failure


class ControlPlaneError(Exception):
    """A program of the control plane did not start; the message ends with the last lines of its log."""


class Program:
    """A program, not started yet. `ready` says whether it does its work; `folder` is its working folder."""

    def __init__(self, command: list[str], folder: Path, log: Path, ready: Callable[[], Awaitable[bool]]) -> None:
        """The log is appended to."""
        self.name = log.stem
        self.log = log
        self._command = command
        self._folder = folder
        self._ready = ready
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int | None:
        """Its process id while it runs."""
        return self._process.pid if self._process is not None and self._process.returncode is None else None

    async def start(self) -> None:
        """Start it, unless it runs."""
        if self.pid is not None:
            return
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *leash.on(self._command),
                cwd=self._folder,
                env=environment(self._folder),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for the tests, which then stop the bed in order
            )

    async def until_ready(self) -> None:
        """Wait until it does its work. Raises ControlPlaneError when it ends before that, or takes too long."""
        try:
            async with asyncio.timeout(START_SECONDS):
                while not await self._ready():
                    if self.pid is None:
                        raise ControlPlaneError(f"{self.name} ended before it was ready:\n{self._last_words()}")
                    await asyncio.sleep(_LOOK)
        except TimeoutError as error:
            late = f"{self.name} was not ready within {START_SECONDS:.0f} s:\n{self._last_words()}"
            raise ControlPlaneError(late) from error

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal; nothing happens when it does not run."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                self._process.send_signal(number)

    async def kill(self) -> None:
        """SIGKILL it, and wait until it is gone; a stopped one too."""
        self.signal(signal.SIGKILL)
        if self._process is not None:
            await self._process.wait()

    def _last_words(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-_TAIL:])


def environment(home: Path) -> dict[str, str]:
    """An environment without the caller's kubeconfig, proxies and Go settings; caches go to `home`."""
    return {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(home)}
