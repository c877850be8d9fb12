"""Child processes that cannot outlive us, whatever ends us: a clean stop, an exception, SIGKILL.

    child = Child.start(["sleep", "60"])
    child.send(signal.SIGTERM)          # to its whole process group
    assert await child.exited() == -signal.SIGTERM

Each child leads a session of its own. When we die, the kernel kills it (leash.py), and a small process kills what it
started itself, as far as that stayed in its process group (keeper.py).
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from tests.bed import leash
from tests.bed.telegram_state import Moment

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_KEEPER = [sys.executable, "-I", "-S", str(Path(__file__).with_name("keeper.py"))]


@dataclass(eq=False)
class Child:
    """A process in a session of its own. Start it in a running event loop, which is told of its end by the kernel."""

    pid: int
    started: Moment
    ended: Moment | None = None
    returncode: int | None = None  # negative: the signal that killed it
    _exit: asyncio.Future[int] = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    @classmethod
    def start(
        cls, argv: Sequence[str], *, env: Mapping[str, str] | None = None, cwd: Path | None = None, output: int = -1
    ) -> Child:
        """Start the program; both its streams go to the file descriptor `output`, or nowhere.

        A program that cannot be run shows as an exit code of 1 and a line of output.
        """
        target = subprocess.DEVNULL if output < 0 else output
        process = subprocess.Popen(
            leash.on([*argv]),
            env=env,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=target,
            stderr=target,
            start_new_session=True,
        )
        child = cls(process.pid, Moment.now())
        _tell_keeper("+", process.pid)
        descriptor = os.pidfd_open(process.pid)
        asyncio.get_running_loop().add_reader(descriptor, child._ended, process, descriptor)
        return child

    def send(self, number: signal.Signals) -> None:
        """Signal the process and whatever it started; nothing happens once it has ended."""
        if self.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(self.pid, number)

    async def exited(self, timeout: float | None = None) -> int:
        """Wait for its end and return the exit code. Raises TimeoutError after `timeout` seconds."""
        async with asyncio.timeout(timeout):
            return await asyncio.shield(self._exit)

    async def stop(self, grace: float) -> int:
        """SIGTERM, up to `grace` seconds for it to end, SIGKILL. Returns the exit code."""
        self.send(signal.SIGTERM)
        try:
            return await self.exited(grace)
        except TimeoutError:
            self.send(signal.SIGKILL)
            return await self.exited()

    def _ended(self, process: subprocess.Popen[bytes], descriptor: int) -> None:
        """Its id is still its own here, because nobody has waited for it yet: the rest of its group can be killed."""
        asyncio.get_running_loop().remove_reader(descriptor)
        os.close(descriptor)
        self.send(signal.SIGKILL)
        _tell_keeper("-", self.pid)
        self.returncode = process.wait()
        self.ended = Moment.now()
        self._exit.set_result(self.returncode)


@cache
def _keeper(_us: int) -> int:
    """The write end of the keeper's pipe. Nobody else holds it, so it closes when we end."""
    process = subprocess.Popen(_KEEPER, stdin=subprocess.PIPE, start_new_session=True)
    process.returncode = 0  # it outlives us by design, so that nothing here needs to wait for it
    assert process.stdin is not None
    return os.dup(process.stdin.fileno())


def _tell_keeper(sign: str, group: int) -> None:
    os.write(_keeper(os.getpid()), f"{sign}{group}\n".encode())
