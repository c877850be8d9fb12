"""The operator as a user installs it: a Deployment whose pods run on the bed's nodes.

async with deployed(bed, INSTALL) as operator:        # applied, and rolled out
    ...
    assert "guarding" in operator.log_text()
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.bed.bed import Bed
    from tests.bed.kube import Object
    from tests.bed.node_process import Run

NAME = "telegrambot-operator"  # of the Deployment, and of the namespace unless the chart was told otherwise
SELECTOR = f"app.kubernetes.io/name={NAME}"
_ROLLOUT = "60s"


class Deployed:
    """What runs of it. `namespace` is where."""

    def __init__(self, bed: Bed, namespace: str) -> None:
        """Use `deployed`."""
        self.namespace = namespace
        self._bed = bed

    async def rolled_out(self) -> None:
        """Wait until every replica is of the newest revision and ready. Raises KubectlError."""
        await self._bed.kubectl(
            "-n", self.namespace, "rollout", "status", f"deployment/{NAME}", f"--timeout={_ROLLOUT}"
        )

    async def pods(self) -> list[Object]:
        """Its pods."""
        return await self._bed.pods(self.namespace, SELECTOR)

    @property
    def runs(self) -> list[Run]:
        """Every run of its program so far."""
        return [run for node in self._bed.nodes for run in node.programs if run.record.of.namespace == self.namespace]

    def log_text(self) -> str:
        """All that its pods have printed, also those that are gone."""
        return "".join(line.text.decode(errors="replace") for run in self.runs for line in run.log.lines)

    async def stop(self) -> list[int]:
        """Delete the Deployment as a user does, and wait for its processes; returns their exit codes."""
        running = [run for run in self.runs if run.alive]
        await self._bed.kubectl("-n", self.namespace, "delete", "deployment", NAME, "--wait")
        for run in running:
            await run.ended()
        return [run.exit_code for run in running]


@asynccontextmanager
async def deployed(bed: Bed, manifest: str | list[Object], namespace: str = NAME) -> AsyncIterator[Deployed]:
    """Apply the manifest and wait for the operator; its Deployment is deleted when the block ends, and nothing else."""
    operator = Deployed(bed, namespace)
    try:
        await bed.apply(manifest)
        await operator.rolled_out()
        yield operator
    except Exception as error:
        error.add_note(f"The operator logged:\n{operator.log_text()}")
        raise
    finally:
        await bed.kubectl("-n", namespace, "delete", "deployment", NAME, "--ignore-not-found", "--wait=false")
        for run in operator.runs:
            await run.ended()
        (bed.folder / f"operator-{namespace}.log").write_text(operator.log_text())
