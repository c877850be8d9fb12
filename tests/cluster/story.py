"""One bot in one namespace of a cluster: the manifests a user writes, and the facts that a story waits for."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.cluster.cluster import PATIENCE

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cluster.cluster import Cluster, Object
    from tests.cluster.referee import Report

NAME = "telegram-bot"  # of the Deployment, the Secret and the TelegramBot
_CLEAR = 3  # seconds without a 409 until the condition clears; the default's 300 are longer than a test waits


@dataclass
class Story:
    """A bot that Telegram knows, and its Secret."""

    cluster: Cluster
    ns: str
    bot: int
    name: str = NAME  # of the TelegramBot

    @classmethod
    async def begin(cls, cluster: Cluster, ns: str) -> Story:
        """Make both."""
        bot, token = await cluster.new_bot()
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": NAME}, "stringData": {"token": token}}
        await cluster.apply(secret, namespace=ns)
        return cls(cluster, ns, bot)

    # What a user writes

    def template(self, library: str = "raw", *, env: dict[str, str] | None = None, **spec: Any) -> Object:
        """The bot's pod: it takes two seconds to stop, long enough for two to meet if anything lets them."""
        container = self.cluster.container(library, **{"STOP_SECONDS": "2", "POLL_SECONDS": "2", **(env or {})})
        token = {"name": "BOT_TOKEN", "valueFrom": {"secretKeyRef": {"name": NAME, "key": "token"}}}
        container = {"name": "bot", **container, "env": [*container["env"], token]}
        spec = {"terminationGracePeriodSeconds": 10, "containers": [container], **spec}
        return {"metadata": {"labels": {"app": NAME}}, "spec": spec}

    async def deploy(self, template: Object, *, replicas: int = 1, strategy: str = "RollingUpdate") -> None:
        """`kubectl apply` the Deployment as a user has it."""
        spec = {
            "replicas": replicas,
            "strategy": {"type": strategy},
            "selector": {"matchLabels": {"app": NAME}},
            "template": template,
        }
        body = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": NAME}, "spec": spec}
        await self.cluster.apply(body, namespace=self.ns)

    async def guard(self, **spec: Any) -> None:
        """`kubectl apply` the TelegramBot: it adopts the Deployment, unless it is given a template."""
        token: Object = {"secretKeyRef": {"name": NAME, "key": "token"}}
        spec = {"token": token, "conflict": {"clearAfterSeconds": _CLEAR}, **spec}
        if "template" not in spec:
            spec["deploymentRef"] = {"name": NAME}
        metadata = {"name": self.name}
        body = {"apiVersion": "singleton.bot/v1alpha1", "kind": "TelegramBot", "metadata": metadata, "spec": spec}
        await self.cluster.apply(body, namespace=self.ns)

    async def guard_by(self, example: Path, name: str) -> None:
        """`kubectl apply -f examples/...`, whose TelegramBot has this name; then let a 409 count for a short time."""
        await self.kubectl("apply", "-f", str(example))
        self.name = name
        patch = json.dumps({"spec": {"conflict": {"clearAfterSeconds": _CLEAR}}})
        await self.kubectl("patch", f"telegrambot/{self.name}", "--type=merge", "-p", patch)

    async def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """Run kubectl in the namespace."""
        return await self.cluster.kubectl("-n", self.ns, *arguments, stdin=stdin)

    async def wait(self, condition: str) -> None:
        """`kubectl wait --for=condition=... telegrambot/NAME`."""
        bot = f"telegrambot/{self.name}"
        await self.kubectl("wait", f"--for=condition={condition}", bot, f"--timeout={PATIENCE:.0f}s")

    # Facts

    async def report(self) -> Report:
        """What the referee saw so far."""
        return await self.cluster.report(self.bot)

    async def pods(self) -> list[Object]:
        """The bot's pods."""
        items: list[Object] = (await self.cluster.get("pods", "-n", self.ns, "-l", f"app={NAME}"))["items"]
        return items

    async def deployment(self) -> Object:
        """The Deployment."""
        return await self.cluster.get("deployment", NAME, "-n", self.ns)

    async def conditions(self) -> dict[str, Object]:
        """The TelegramBot's conditions by type."""
        found = await self.cluster.get("telegrambot", self.name, "-n", self.ns)
        return {each["type"]: each for each in found.get("status", {}).get("conditions", [])}

    async def says(self, kind: str, status: str, reason: str) -> Object:
        """Wait until a condition is so, and return it."""

        async def so() -> Object | None:
            found = (await self.conditions()).get(kind, {})
            return found if (found.get("status"), found.get("reason")) == (status, reason) else None

        result: Object = await self.cluster.until(f"{kind}={status} ({reason})", so)
        return result

    async def assert_never_two(self) -> None:
        """The referee never saw two at once, and answered no 409."""
        report = await self.report()
        assert report.overlaps_since() == []
        assert report.conflicts == ()

    async def one_polls(self) -> None:
        """Wait until exactly one polls."""

        async def alone() -> bool:
            return len((await self.report()).polling()) == 1

        await self.cluster.until("one polls", alone)

    async def settled(self) -> str:
        """Wait until one pod is left, ready, guarded and polling, with all changes acted on; returns its uid."""
        return await self.changed("")

    async def changed(self, before: str, *, guarded: bool = True) -> str:
        """The same, once it is another pod than the one with this uid."""

        async def at_rest() -> str:
            if not await self.kubectl("get", f"deployment/{NAME}", "--ignore-not-found", "-o", "name"):
                return ""
            deployment, pods = await self.deployment(), await self.pods()
            acted = deployment["status"].get("observedGeneration", 0) >= deployment["metadata"]["generation"]
            alone = len(pods) == 1 and is_ready(pods[0]) and deployment["spec"]["replicas"] == 1
            uid = str(pods[0]["metadata"]["uid"]) if acted and alone else ""
            return "" if uid == before else uid

        uid: str = await self.cluster.until("one pod, ready", at_rest)
        if guarded:
            await self.wait("Ready")
        await self.one_polls()
        return uid

    async def change(self, version: str) -> None:
        """Roll out another version."""
        await self.kubectl("set", "env", f"deployment/{NAME}", f"VERSION={version}")

    async def scale(self, replicas: int) -> None:
        """Ask for so many replicas behind everybody's back."""
        await self.kubectl(
            "patch", f"deployment/{NAME}", "--type=merge", "-p", json.dumps({"spec": {"replicas": replicas}})
        )


def is_ready(pod: Object) -> bool:
    """Whether a pod is Ready and not on its way out."""
    conditions = pod["status"].get("conditions", [])
    ready = any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)
    return ready and "deletionTimestamp" not in pod["metadata"]
