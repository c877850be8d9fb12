"""The bed as a cluster of the suite: the operator's and the bots' images are programs of this tree."""

from __future__ import annotations

import signal
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from aiohttp import ClientSession

from tests.bed.bed import Bed
from tests.cluster.cluster import INSTALL, Cluster, Object
from tests.cluster.referee import Referee, Report

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class BedCluster(Cluster):
    """An empty bed with two nodes."""

    def __init__(self, bed: Bed) -> None:
        """Use `start`."""
        self.losable = tuple(node.name for node in bed.nodes)
        self.tokens = bed.telegram.tokens
        self._bed = bed
        self._nodes = {node.name: node for node in bed.nodes}
        self._referee = Referee(bed.telegram)

    @classmethod
    @asynccontextmanager
    async def start(cls) -> AsyncIterator[BedCluster]:
        """Start one, until the block ends."""
        async with Bed.start(nodes=2, crd=False) as bed:
            yield cls(bed)

    async def kubectl(self, *arguments: str, stdin: str | None = None, check: bool = True) -> str:
        """See Cluster."""
        return await self._bed.kubectl(*arguments, stdin=stdin, check=check)

    async def apply_the_operator(self) -> None:
        """See Cluster. Nothing else is needed."""
        await self.kubectl("apply", "-f", str(INSTALL))

    def container(self, library: str, **env: str) -> Object:
        """See Cluster."""
        return {"image": f"bots/{library}", "env": [{"name": name, "value": value} for name, value in env.items()]}

    async def new_bot(self) -> tuple[int, str]:
        """See Cluster."""
        made = self._referee.new_bot()
        return made["id"], made["token"]

    async def report(self, bot: int) -> Report:
        """See Cluster."""
        return Report.read(self._referee.report(bot, time.monotonic()))

    async def set_webhook(self, bot: int, url: str) -> None:
        """See Cluster."""
        self._referee.set_webhook(bot, url)

    async def lose(self, node: str) -> None:
        """See Cluster. What runs there goes on."""
        self._nodes[node].freeze()

    async def find(self, node: str) -> None:
        """See Cluster."""
        self._nodes[node].thaw()

    async def kill(self, pod: Object) -> None:
        """See Cluster."""
        for run in self._bed.node_of(pod).programs:
            if run.alive and run.record.of.pod_uid == pod["metadata"]["uid"]:
                run.send(signal.SIGKILL)

    async def page(self, pod: Object, path: str) -> str:
        """See Cluster."""
        address = self._bed.node_of(pod).address_of(pod)
        async with ClientSession() as session, session.get(f"http://{address}:8080{path}") as answer:
            return await answer.text()

    async def command(self, *arguments: str) -> tuple[int, str]:
        """See Cluster."""
        return await self._bed.command(*arguments)
