"""What the suite needs of a cluster, be it the bed or kind: kubectl, the referee, and faults of nodes and processes."""

from __future__ import annotations

import asyncio
import json
import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.cluster.referee import Report

Object = dict[str, Any]

INSTALL = Path(__file__).parents[2] / "deploy" / "install.yaml"
ADMISSION = INSTALL.with_name("admission")
NAME = "telegrambot-operator"  # of the operator's Deployment, its namespace, and the Lease of its election
LEASE_NAMESPACE = "kube-system"
PATIENCE = 240.0  # seconds; a node of kind counts as lost after 50, and statuses can be stale for 40
_LOOK = 0.2


class NotYetError(AssertionError):
    """A fact did not come true in time."""


class Cluster(ABC):
    """A cluster; facts come through `kubectl` and `report` alone. `losable` are nodes that may be lost."""

    losable: tuple[str, ...]
    tokens: set[str]

    @abstractmethod
    async def kubectl(self, *arguments: str, stdin: str | None = None, check: bool = True) -> str:
        """What kubectl prints, as an admin. Raises KubectlError when it fails, unless `check` is off."""

    @abstractmethod
    async def apply_the_operator(self) -> None:
        """`kubectl apply -f deploy/install.yaml`, with what this cluster needs besides."""

    @abstractmethod
    def container(self, library: str, **env: str) -> Object:
        """Image and arguments of a bot that is written with this library, and its environment but for the token."""

    @abstractmethod
    async def new_bot(self) -> tuple[int, str]:
        """A bot that Telegram knows: its id and token."""

    @abstractmethod
    async def report(self, bot: int) -> Report:
        """What the referee saw of a bot."""

    @abstractmethod
    async def set_webhook(self, bot: int, url: str) -> None:
        """Set the bot's webhook, or delete it."""

    @abstractmethod
    async def lose(self, node: str) -> None:
        """Lose a node: nothing is heard of it, and what runs there may or may not go on."""

    @abstractmethod
    async def find(self, node: str) -> None:
        """End that."""

    @abstractmethod
    async def kill(self, pod: Object) -> None:
        """SIGKILL the process of the pod's first container."""

    @abstractmethod
    async def page(self, pod: Object, path: str) -> str:
        """What the pod serves there on its port 8080."""

    @abstractmethod
    async def command(self, *arguments: str) -> tuple[int, str]:
        """Run a command of the operator on this machine, as an admin; its exit code and what it printed."""

    async def install(self) -> None:
        """Install the operator, unless it is there, and wait until all its replicas are ready."""
        if not await self.kubectl("get", "deployment", NAME, "-n", NAME, "--ignore-not-found", "-o", "name"):
            await self.apply_the_operator()
        await self.kubectl("-n", NAME, "rollout", "status", f"deployment/{NAME}", f"--timeout={PATIENCE:.0f}s")

    async def apply(self, *manifests: Object, namespace: str) -> None:
        """`kubectl apply` of objects."""
        text = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(manifests)})
        await self.kubectl("-n", namespace, "apply", "-f", "-", stdin=text)

    async def get(self, *arguments: str) -> Object:
        """`kubectl get` as JSON."""
        found: Object = json.loads(await self.kubectl("get", *arguments, "-o", "json"))
        return found

    async def operators(self) -> list[Object]:
        """The operator's pods."""
        items: list[Object] = (await self.get("pods", "-n", NAME, "-l", f"app.kubernetes.io/name={NAME}"))["items"]
        return items

    async def have_one_elsewhere(self, node: str) -> None:
        """See to it that not all of the operator's pods are on this node. The scheduler spreads them if it can."""
        pods = await self.operators()
        if all(pod["spec"]["nodeName"] == node for pod in pods):
            await self.kubectl("cordon", node)
            await self.kubectl("-n", NAME, "delete", "pod", pods[0]["metadata"]["name"])
            await self.install()
            await self.kubectl("uncordon", node)

    async def leader(self) -> str:
        """Who holds the Lease of the election; a name that no other process has."""
        spec = (await self.get("lease", NAME, "-n", LEASE_NAMESPACE))["spec"]
        return str(spec.get("holderIdentity") or "")

    async def until(self, what: str, fact: Callable[[], Awaitable[Any]], patience: float = PATIENCE) -> Any:
        """Wait until the fact is true and return it. Raises NotYetError with the pods and TelegramBots."""
        limit = time.monotonic() + patience
        while not (found := await fact()):
            if time.monotonic() > limit:
                raise NotYetError(f"not within {patience:g} s: {what}\n{await self.dump()}")
            await asyncio.sleep(_LOOK)
        return found

    async def dump(self) -> str:
        """What is there, for error messages."""
        what = "nodes,telegrambots,deployments,pods"
        shown = await self.kubectl("get", what, "-A", "-o", "wide", "--request-timeout=10s", check=False)
        return shown + await self.logs()

    async def logs(self) -> str:
        """What the operator's pods have logged."""
        select = ("-l", f"app.kubernetes.io/name={NAME}", "--prefix", "--tail=-1")
        return await self.kubectl("-n", NAME, "logs", *select, "--request-timeout=10s", check=False)

    async def assert_no_token_logged(self) -> None:
        """No token of a bot is in what the operator's pods have logged so far."""
        logged = await self.logs()
        assert [token for token in self.tokens if token in logged] == []
