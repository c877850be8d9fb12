"""Everything together: a control plane, process nodes, and Telegram. What the demo, the tests and the benchmarks use.

async with Bed.start(nodes=2) as bed:
    bot = bed.telegram.new_bot()
    ns = await bed.namespace()
    await bed.secret(ns, "shop-bot", token=bot.token)
    await bed.apply(manifest)                       # containers with the image bots/raw need nothing but BOT_TOKEN
    await bed.until(lambda: bot.polls, what="the bot polls")
    assert not bed.overlaps(bot)                    # the referee: never two processes at once

    async with bed.operator() as operator:          # the real one, in a process of its own
        await operator.ready()
"""

from __future__ import annotations

import asyncio
import inspect
import itertools
import json
import os
import signal
import sys
import time
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiohttp import ClientError

from tests.bed.controlplane import ControlPlane
from tests.bed.kube import Kube
from tests.bed.node import ORPHAN_DELAY, Node
from tests.bed.process import Child
from tests.bed.telegram import Bot, Emulator

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence

    from tests.bed.kube import Object
    from tests.bed.node_process import Record

CRD = Path(__file__).parents[2] / "crds" / "telegrambots.singleton.bot.yaml"
_OPERATOR = Path(__file__).parents[2] / "operator"
_LOOK = 0.05  # seconds between two looks at a fact
_READY = "guarding "  # what the operator logs once it knows its TelegramBots
_KEPT = ("PATH", "HOME", "LANG")


class NotYetError(AssertionError):
    """A fact did not come true in time. The message names it, and shows the pods."""


@dataclass(frozen=True, slots=True)
class Overlap:
    """Two processes that polled one bot and were alive at once, for so many seconds (so far, when both still are)."""

    first: int
    second: int
    seconds: float


class Operator:
    """The operator in a process of its own. `log` is the file with all that it printed."""

    def __init__(self, child: Child, log: Path) -> None:
        """Use `Bed.operator`."""
        self.pid = child.pid
        self.log = log
        self._child = child

    def log_text(self) -> str:
        """What it printed so far."""
        return self.log.read_text(errors="replace")

    async def ready(self, patience: float = 60.0) -> None:
        """Wait until its log says that it guards. Raises NotYetError with its log when it ends or takes too long."""
        limit = time.monotonic() + patience
        while _READY not in self.log_text():
            if self._child.returncode is not None or time.monotonic() > limit:
                raise NotYetError(f"the operator is not ready (exit code {self._child.returncode}):\n{self.log_text()}")
            await asyncio.sleep(_LOOK)

    async def exited(self, patience: float = 60.0) -> int:
        """Wait for its end and return the exit code."""
        return await self._child.exited(patience)

    async def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        self._child.send(signal.SIGKILL)
        await self._child.exited()

    async def stop(self, patience: float = 10.0) -> int:
        """SIGTERM; returns the exit code. Raises TimeoutError when it does not end in time."""
        self._child.send(signal.SIGTERM)
        return await self._child.exited(patience)


class Bed:
    """A running bed. `kube` calls its API server as an admin; `folder` is for whatever a test wants to go with it."""

    def __init__(self, cp: ControlPlane, kube: Kube, telegram: Emulator, nodes: list[Node]) -> None:
        """Use `Bed.start`."""
        self.cp = cp
        self.kube = kube
        self.telegram = telegram
        self.nodes = nodes
        self.folder = cp.folder / "bed"
        self.folder.mkdir()
        self._names = itertools.count(1)

    @classmethod
    @asynccontextmanager
    async def start(
        cls,
        *,
        nodes: int = 1,
        crd: bool = True,
        backoff: float = 1.0,
        orphan_delay: float = ORPHAN_DELAY,
        more: Mapping[str, Sequence[str]] | None = None,
    ) -> AsyncIterator[Bed]:
        """Start everything, until the block ends. Nothing is left then.

        `backoff` is the first pause in seconds before a container is restarted once more; a kubelet's is 10. With
        `crd` the TelegramBot is installed and served. `more` are flags as `ControlPlane.start` takes them.
        """
        async with AsyncExitStack() as held:
            telegram = await held.enter_async_context(Emulator.start())
            cp = await held.enter_async_context(ControlPlane.start(more=more))
            kube = await held.enter_async_context(Kube.connect(cp.kubeconfig))
            environment = _kept() | {"TELEGRAM_API_URL": telegram.url, "PYTHONUNBUFFERED": "1"}
            bed = cls(cp, kube, telegram, [])
            for number in range(1, nodes + 1):
                node = Node.start(
                    cp, f"node-{number}", environment=environment, backoff=backoff, orphan_delay=orphan_delay
                )
                bed.nodes.append(await held.enter_async_context(node))
            if crd:
                await bed.install_crd()
            await bed.until(bed._schedulable, what="the nodes take pods")
            yield bed

    @property
    def operator_logs(self) -> list[Path]:
        """What operators have logged so far, and other commands printed: a file for each."""
        return sorted(self.folder.glob("operator-*.log"))

    @property
    def node(self) -> Node:
        """The first node."""
        return self.nodes[0]

    def node_of(self, pod: Object) -> Node:
        """The node that a pod is bound to. Raises KeyError when it is bound to none."""
        return {node.name: node for node in self.nodes}[pod["spec"].get("nodeName")]

    # The cluster

    async def kubectl(self, *arguments: str, stdin: str | None = None, check: bool = True) -> str:
        """What kubectl prints, as the admin. Raises KubectlError when it fails, unless `check` is off."""
        return await self.cp.kubectl(*arguments, stdin=stdin, check=check)

    async def apply(self, manifest: str | Object | list[Object], *options: str) -> str:
        """`kubectl apply` of YAML, an object or several; returns what kubectl prints."""
        if isinstance(manifest, list):
            manifest = {"apiVersion": "v1", "kind": "List", "items": manifest}
        text = manifest if isinstance(manifest, str) else json.dumps(manifest)
        return await self.kubectl("apply", *options, "--filename=-", stdin=text)

    async def get(self, resource: str, name: str, namespace: str | None = None) -> Object | None:
        """The object, or None when there is none of that name."""
        return await self.kube.get(resource, namespace, name)

    async def pods(self, namespace: str, selector: str = "") -> list[Object]:
        """The pods of a namespace, all or those with these labels."""
        return await self.kube.list("pods", namespace, selector)

    async def namespace(self) -> str:
        """A fresh namespace, with the ServiceAccount that pods need."""
        name = f"test-{next(self._names)}"
        await self.kube.create("namespaces", None, {"metadata": {"name": name}})
        await self.until(lambda: self.get("serviceaccount", "default", name), what=f"{name} has a ServiceAccount")
        return name

    async def secret(self, namespace: str, name: str, *, token: str, key: str = "token") -> None:
        """Create a Secret with a bot's token."""
        await self.kube.create("secrets", namespace, {"metadata": {"name": name}, "stringData": {key: token}})

    async def install_crd(self) -> None:
        """Install the TelegramBot, and wait until the API server serves it."""
        await self.kubectl("apply", "--filename", str(CRD))
        await self.served(CRD.stem)

    async def served(self, crd: str) -> None:
        """Wait until the API server serves the resources of a CRD."""

        async def established() -> bool:
            # `kubectl wait` fails where there are no conditions yet at all.
            found = json.loads(await self.kubectl("get", "crd", crd, "--output=json"))
            conditions = (found.get("status") or {}).get("conditions") or []
            return any(each["type"] == "Established" and each["status"] == "True" for each in conditions)

        await self.until(established, what=f"{crd} is served")

    async def _schedulable(self) -> bool:
        """Whether the node monitor has taken the taint off that every new Node is born with."""
        return not any(node["spec"].get("taints") for node in await self.kube.list("nodes"))

    async def until(
        self, fact: Callable[[], Awaitable[object] | object], *, patience: float = 60.0, what: str = "it is true"
    ) -> Any:
        """Wait until `fact()`, awaited if need be, is true, and return what it gave.

        Raises NotYetError after `patience` seconds. A fact may fail while the API server is away, and is asked again.
        """
        limit = time.monotonic() + patience
        while True:
            with suppress(ClientError, OSError):
                found = fact()
                if inspect.isawaitable(found):
                    found = await found
                if found:
                    return found
            if time.monotonic() > limit:
                raise NotYetError(f"not within {patience:g} s: {what}\n{await self.dump()}")
            await asyncio.sleep(_LOOK)

    def mend(self) -> None:
        """End every fault of the nodes and of Telegram, so that one test's do not reach the next."""
        self.telegram.recover()
        for node in self.nodes:
            node.fail_logs("none")
            node.hang_before("nothing")
            node.thaw()

    async def dump(self) -> str:
        """The pods as kubectl shows them, for error messages."""
        with suppress(Exception):  # this must not hide the error it is made for
            return await self.kubectl("get", "pods", "--all-namespaces", "--output=wide", "--request-timeout=5s")
        return "(and kubectl does not answer)"

    # The referee

    @property
    def history(self) -> list[Record]:
        """Every process that the nodes ever started."""
        return [record for node in self.nodes for record in node.history]

    def alive(self, bot: Bot) -> list[Record]:
        """The processes that live now and hold the bot's token, or have polled it."""
        polled = self._first_polls(bot)
        return [each for each in self.history if each.ended is None and (each in polled or each.carries(bot.token))]

    def overlaps(self, bot: Bot) -> list[Overlap]:
        """Where two processes that polled the bot were alive at once: each counts from its first poll to its end."""
        now = time.monotonic()
        ends = {each: each.ended.mono if each.ended else now for each in self.history}
        spans = [(each, start, ends[each]) for each, start in self._first_polls(bot).items()]
        return [
            Overlap(a.pid, b.pid, min(a_end, b_end) - max(a_start, b_start))
            for (a, a_start, a_end), (b, b_start, b_end) in combinations(spans, 2)
            if max(a_start, b_start) < min(a_end, b_end)
        ]

    def _first_polls(self, bot: Bot) -> dict[Record, float]:
        """When each process of the table first polled the bot. Whatever a container started counts as the container."""
        first: dict[Record, float] = {}
        for poll in bot.polls:
            at = poll.started.mono
            for record in self.history:
                if record.pid == poll.client.session and record.alive_at(at):
                    first.setdefault(record, at)
        return first

    # The operator

    @asynccontextmanager
    async def operator(
        self,
        *arguments: str,
        env: Mapping[str, str] | None = None,
        kubeconfig: Path | None = None,
        log: Path | None = None,
    ) -> AsyncIterator[Operator]:
        """The operator, killed when the block ends: `run` with these arguments, as the admin unless told otherwise.

        Its log goes to a new file of the bed unless one is named.
        """
        child, log = self._start(["run", *arguments], env, kubeconfig, log)
        try:
            yield Operator(child, log)
        finally:
            child.send(signal.SIGKILL)
            await child.exited()

    async def command(
        self, *arguments: str, kubeconfig: Path | None = None, patience: float = 150.0
    ) -> tuple[int, str]:
        """Run another command of the operator to its end; returns its exit code and all that it printed."""
        child, log = self._start(arguments, None, kubeconfig, None)
        try:
            return await child.exited(patience), log.read_text()
        finally:
            child.send(signal.SIGKILL)
            await child.exited()

    def _start(
        self, arguments: Sequence[str], env: Mapping[str, str] | None, kubeconfig: Path | None, log: Path | None
    ) -> tuple[Child, Path]:
        log = log or self.folder / f"operator-{next(self._names)}.log"
        environment = _kept() | {
            "PYTHONPATH": str(_OPERATOR),
            "PYTHONUNBUFFERED": "1",
            "KUBECONFIG": str(kubeconfig or self.cp.kubeconfig),
            "TELEGRAM_API_URL": self.telegram.url,
        }
        with log.open("ab") as output:
            argv = [sys.executable, "-m", "telegrambot_operator", *arguments]
            child = Child.start(argv, env=environment | dict(env or {}), cwd=self.folder, output=output.fileno())
        return child, log


def _kept() -> dict[str, str]:
    return {name: os.environ[name] for name in _KEPT if name in os.environ}
