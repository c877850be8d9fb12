"""The course of a measurement, from the control plane's start to its end. Progress goes to stderr."""

from __future__ import annotations

import asyncio
import os
import random
import sys
import tempfile
import time
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench import world
from bench.audit import AuditLog, Request
from bench.kubelets import NEVER_LOST, Kubelets
from bench.process import Memory, Process
from bench.shots import WARM_UP, Gallery, Shot, read_arrivals
from bench.world import Followed
from tests.bed.controlplane import ControlPlane
from tests.bed.kube import Kube

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine

OPERATOR = "telegrambot-operator"  # the users that the two processes are
MINIMAL = "minimal-loop"
_REST = 3.0  # seconds without a write: the operator has come to rest
_TOLD = 10  # shots between two lines of progress


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured: bots, shots at each of the two processes, seconds of quiet."""

    bots: int
    shots: int
    quiet: int


@dataclass(frozen=True, slots=True)
class Measured:
    """What came out. `changes` are the operator's requests while it was shot at, `idle` those of the quiet time."""

    cold_start: float  # seconds
    settled: Memory
    after_shots: Memory
    shots: dict[str, list[Shot]]  # by user
    changes: list[Request]
    idle: list[Request]
    idle_cpu: float  # of one core
    load_before: float  # of the machine, over the last minute


async def measure(size: Size) -> Measured:
    """Measure. Raises BenchError, or what the bed raises, alone or in a group."""
    load = os.getloadavg()[0]
    async with AsyncExitStack() as stack:
        bench = await stack.enter_async_context(_bench(size))
        async with asyncio.TaskGroup() as group:  # whatever ends in there ends the measurement
            tasks = [group.create_task(each) for each in bench.watches()]
            await _make_the_world(bench)
            operator = bench.start(OPERATOR, ["telegrambot_operator", "run"])
            minimal = bench.start(MINIMAL, ["bench.minimal", f"{world.GROUP}={world.MINIMAL}"])
            tasks += [group.create_task(each.watch_over()) for each in (operator, minimal)]
            measured = await _run(bench, operator, load)
            for task in tasks:
                task.cancel()
    return measured


class Bench:
    """What the steps share: the cluster and what is to be seen of it."""

    def __init__(self, size: Size, cluster: ControlPlane, kube: Kube, kubelets: Kubelets, log: AuditLog) -> None:
        """Nothing is followed yet: see `watches`."""
        self.size = size
        self.kube = kube
        self.log = log
        self.names = [f"bot-{number:05}" for number in range(size.bots)]
        self.plain = [f"plain-{number:05}" for number in range(min(size.bots, size.shots))]
        self.deployments = Followed(kube, "deployments", settled=world.deployment_is_settled)
        self.bots = Followed(
            kube, "telegrambots", there=lambda _: True, reconciled=world.bot_is_reconciled, ready=world.bot_is_ready
        )
        self._cluster = cluster
        self._kubelets = kubelets

    def watches(self) -> list[Coroutine[None, None, None]]:
        """What runs all the time."""
        return [self._kubelets.run(), self.deployments.run(), self.bots.run()]

    def start(self, user: str, module: list[str]) -> Process:
        """Start a process under test as a user of its own, who may do everything."""
        kubeconfig = self._cluster.kubeconfig_for(user, groups=["system:masters"])
        return Process(user, module, kubeconfig, self._cluster.folder)

    async def all_bots(self, fact: str) -> None:
        """Wait until something is true of every bot."""
        found, count = self.bots.names[fact], len(self.names)
        await self.bots.until(lambda: len(found) == count, self._patience, f"{count} TelegramBots {fact}")

    async def all_deployments_settled(self) -> None:
        """Wait until every Deployment has its one ready pod, and nothing else."""
        found, count = self.deployments.names["settled"], len(self.names) + len(self.plain)
        await self.deployments.until(lambda: len(found) == count, self._patience, f"{count} Deployments settled")

    async def rest(self) -> None:
        """Wait until all is well and the operator writes no more; if it never stops, that will show as idle writes."""
        await self.all_deployments_settled()
        await self.all_bots("ready")
        with suppress(TimeoutError):
            async with asyncio.timeout(self._patience):
                await self._silence()

    async def _silence(self) -> None:
        left = _REST
        while left > 0:
            await asyncio.sleep(left)
            left = _REST - self.log.seconds_without_a_write(OPERATOR)

    @property
    def _patience(self) -> float:
        """Seconds for what every bot has to get through."""
        return 60 + 0.1 * len(self.names)


@asynccontextmanager
async def _bench(size: Size) -> AsyncIterator[Bench]:
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="telegrambot-bench-"))
        log = AuditLog(Path(folder))
        _say("starting the control plane")
        more = {"kube-apiserver": log.flags([OPERATOR, MINIMAL]), "kube-controller-manager": NEVER_LOST}
        cluster = await stack.enter_async_context(ControlPlane.start(more=more))
        kube = await stack.enter_async_context(Kube.connect(cluster.kubeconfig))
        kubelets = await stack.enter_async_context(Kubelets.start(cluster, kube, 2 * (size.bots + size.shots)))
        yield Bench(size, cluster, kube, kubelets, log)


async def _make_the_world(bench: Bench) -> None:
    _say(f"creating {len(bench.names)} bots and {len(bench.plain)} Deployments for the minimal loop")
    await world.install_crd(bench.kube)
    await world.create_deployments(bench.kube, bench.names, world.OPERATOR)
    await world.create_deployments(bench.kube, bench.plain, world.MINIMAL)
    await bench.all_deployments_settled()
    await world.create_bots(bench.kube, bench.names)
    await bench.all_bots("there")


async def _run(bench: Bench, operator: Process, load: float) -> Measured:
    began = time.monotonic()
    _say("cold start of the operator")
    await bench.all_bots("reconciled")
    cold_start = time.monotonic() - began
    _say(f"reconciled after {cold_start:.1f} s; waiting until the rollouts of the adoption are over")
    await bench.rest()
    settled = operator.memory()
    shots, changes = await _shoot(bench)
    after_shots = operator.memory()
    idle, idle_cpu = await _keep_quiet(bench, operator)
    return Measured(cold_start, settled, after_shots, shots, changes, idle, idle_cpu, load)


async def _shoot(bench: Bench) -> tuple[dict[str, list[Shot]], list[Request]]:
    """The shots, and the operator's requests from the first of them until it is at rest again."""
    gallery = Gallery(bench.kube, bench.deployments)
    targets = random.Random(1).sample(bench.names, len(bench.plain))  # noqa: S311 - any of them, the same each time
    groups = {OPERATOR: targets, MINIMAL: bench.plain}
    await gallery.alternate(groups, WARM_UP, lambda _: None)
    await bench.rest()
    began = time.time()
    shots = await gallery.alternate(groups, bench.size.shots, lambda done: _tell(done, bench.size.shots))
    await bench.rest()
    read_arrivals([shot for each in shots.values() for shot in each], bench.log)
    return shots, bench.log.of(OPERATOR, began, time.time())


def _tell(done: int, of: int) -> None:
    if done % _TOLD == 0:
        _say(f"{done} of {of} shots at each")


async def _keep_quiet(bench: Bench, operator: Process) -> tuple[list[Request], float]:
    """The operator's requests while nothing changes, and its share of one core."""
    _say(f"leaving it alone for {bench.size.quiet} s")
    began, cpu, clock = time.time(), operator.cpu_seconds, time.monotonic()
    await asyncio.sleep(bench.size.quiet)
    share = (operator.cpu_seconds - cpu) / (time.monotonic() - clock)
    return bench.log.of(OPERATOR, began, time.time()), share


def _say(text: str) -> None:
    sys.stderr.write(f"bench: {text}\n")
    sys.stderr.flush()
