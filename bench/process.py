"""A process under test: it cannot outlive the benchmark, and what it takes of the machine is read from /proc."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench.world import BenchError
from tests.bed.process import Child

if TYPE_CHECKING:
    from collections.abc import Sequence

_ROOT = Path(__file__).parents[1]
_STOP = 5.0  # seconds for it to end
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Memory:
    """Resident memory in MiB: `rss` with all pages shared with others, `pss` with the process's part of them."""

    rss: float
    pss: float


class Process:
    """A Python module that runs against the cluster of a kubeconfig. Its log is read only when it fails."""

    def __init__(self, name: str, module: Sequence[str], kubeconfig: Path, folder: Path) -> None:
        """Start the module; `folder` takes its log."""
        self._name = name
        self._log = folder / f"{name}.log"
        environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(folder),
            "KUBECONFIG": str(kubeconfig),  # both processes find it here
            "TELEGRAM_API_URL": "http://127.0.0.1:9",  # nobody: no bot here has a token
        }
        with self._log.open("wb") as log:
            command = [sys.executable, "-m", *module]
            self._child = Child.start(command, env=environment, cwd=_ROOT, output=log.fileno())

    async def watch_over(self) -> None:
        """Raise BenchError when it ends by itself; stop it when this is cancelled."""
        try:
            code = await self._child.exited()
        finally:
            await self._child.stop(_STOP)
        last = (self._log.read_text(errors="replace").strip().splitlines() or ["it said nothing"])[-1]
        raise BenchError(f"the {self._name} ended with exit code {code}: {last}")

    def memory(self) -> Memory:
        """What it holds now."""
        return Memory(rss=self._kib("status", "VmRSS:") / 1024, pss=self._kib("smaps_rollup", "Pss:") / 1024)

    @property
    def cpu_seconds(self) -> float:
        """Processor time used so far by all its threads, in user and system mode."""
        fields = self._proc("stat").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    def _kib(self, file: str, key: str) -> int:
        return next(int(line.split()[1]) for line in self._proc(file).splitlines() if line.startswith(key))

    def _proc(self, file: str) -> str:
        return Path(f"/proc/{self._child.pid}/{file}").read_text()
