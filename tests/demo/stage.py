"""The demo's stage: a bed, the real operator on it, and two narrators that tell what Telegram and the operator say."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.bed.bed import Bed, NotYetError
from tests.bed.deployed import deployed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from tests.bed.deployed import Deployed
    from tests.bed.node_process import Record
    from tests.bed.telegram import Bot
    from tests.demo.timeline import Timeline

Object = dict[str, Any]

HERE = Path(__file__).parent
INSTALL = HERE.parents[1] / "deploy" / "install.yaml"
_TOLD = 3  # 409s told one by one; then only now and then, since a war has hundreds
_EVERY = 25
_KINDS = {"Ready", "Singleton", "Conflicted", "Stalled"}


@dataclass
class Stage:
    """One story in its namespace with its bot."""

    bed: Bed
    ns: str
    bot: Bot
    line: Timeline
    _last_words: str = ""

    @classmethod
    @asynccontextmanager
    async def set(cls, bed: Bed, line: Timeline, ns: str) -> AsyncIterator[Stage]:
        """Make namespace, bot and Secret; both narrators speak until the block ends."""
        await bed.kube.create("namespaces", None, {"metadata": {"name": ns}})
        await bed.until(lambda: bed.get("serviceaccount", "default", ns), what="the namespace")
        stage = cls(bed, ns, bed.telegram.new_bot(f"{ns}_bot"), line)
        await bed.secret(ns, "telegram-bot", token=stage.bot.token)
        narrators = [asyncio.create_task(stage._telegram()), asyncio.create_task(stage._operator())]
        try:
            yield stage
        finally:
            for narrator in narrators:
                narrator.cancel()
            await asyncio.gather(*narrators, return_exceptions=True)

    async def apply(self, file: str, what: str) -> None:
        """`kubectl apply` a manifest of the demo."""
        self.line.say("you", f"kubectl apply -f {file}    ({what})")
        await self.bed.kubectl("-n", self.ns, "apply", "-f", str(HERE / file))

    async def kubectl(self, *arguments: str) -> str:
        """Run kubectl in the namespace."""
        return await self.bed.kubectl("-n", self.ns, *arguments)

    async def shown(self, *arguments: str) -> str:
        """Run kubectl and show what it prints."""
        text = await self.kubectl(*arguments)
        self.line.show(f"kubectl -n {self.ns} {' '.join(arguments)}", text)
        return text

    async def doctor(self, name: str, code: int) -> str:
        """Ask the doctor until he is done with this exit code, and show and return what he says."""
        said = ""

        async def done() -> bool:
            nonlocal said
            found, said = await self.bed.command("doctor", name, "-n", self.ns)
            return found == code

        await self.until(f"the doctor's exit code is {code}", done)
        self.line.show(f"telegrambot-operator doctor {name} -n {self.ns}", said)
        return said

    async def until(self, what: str, fact: Callable[[], Awaitable[object] | object], patience: float = 90.0) -> bool:
        """Wait for a fact; one that does not come true is a false claim and not the end of the demo."""
        try:
            await self.bed.until(fact, patience=patience, what=what)
        except NotYetError as error:
            self.line.claim(f"{what}, within {patience:g} s", true=False)
            self.line.show("kubectl get pods --all-namespaces", str(error))
            return False
        return True

    async def condition(self, kind: str) -> Object:
        """A condition of the TelegramBot; empty when it is not there."""
        found = await self.bed.get("telegrambot", "telegram-bot", self.ns) or {}
        conditions = found.get("status", {}).get("conditions", [])
        return next((each for each in conditions if each["type"] == kind), {})

    async def is_(self, kind: str, status: str) -> bool:
        """Whether a condition has this status."""
        return bool((await self.condition(kind)).get("status") == status)

    def alive(self) -> list[Record]:
        """The bot's processes that live now, by the nodes' process tables."""
        return self.bed.alive(self.bot)

    def pod_of(self, session: int | None) -> str:
        """Which pod a poller is, by its process."""
        pods = [each.of.pod for each in self.bed.history if each.pid == session]
        return f"pod {pods[-1]}" if pods else "a poller that is no pod"

    async def _telegram(self) -> None:
        """Tell of the first 409s, then of every twenty-fifth."""
        told = 0
        while True:
            await self.bot.until(partial(self._more_conflicts_than, told), timeout=None)
            conflict = self.bot.conflicts[told]
            told += 1
            if told <= _TOLD or told % _EVERY == 0:
                who = self.pod_of(conflict.client.session)
                self.line.say("Telegram", f"409 no. {told} to {who}: {conflict.description.split(';')[0]}")

    def _more_conflicts_than(self, told: int) -> bool:
        return len(self.bot.conflicts) > told

    async def _operator(self) -> None:
        """Tell of every condition that flips."""
        known: dict[str, tuple[str, str]] = {}
        async for event, found in self.bed.kube.follow("telegrambots", f"metadata.namespace={self.ns}"):
            for resource in found if event == "LIST" else [found]:
                for each in resource.get("status", {}).get("conditions", []):
                    said = (each["status"], each["reason"])
                    if each["type"] in _KINDS and known.get(each["type"]) != said:
                        known[each["type"]] = said
                        self._tell(each)

    def _tell(self, condition: Object) -> None:
        """Tell of a condition; what another has just said word for word is not said again."""
        words = condition["message"]
        head = f"{condition['type']}={condition['status']} ({condition['reason']})"
        self.line.say("operator", head if words == self._last_words else f"{head}: {words}")
        self._last_words = words


def conditions_table(resource: str) -> str:
    """The conditions of a TelegramBot given as JSON, as a table."""
    rows = [
        f"{each['type']:<12} {each['status']:<8} {each['reason']:<16} {each['message']}"
        for each in json.loads(resource)["status"]["conditions"]
    ]
    return "\n".join([f"{'TYPE':<12} {'STATUS':<8} {'REASON':<16} MESSAGE", *rows])


@asynccontextmanager
async def guarding(bed: Bed, line: Timeline) -> AsyncIterator[Deployed]:
    """The operator as it is installed: pods of its own, with the rights of its ServiceAccount."""
    line.say("you", "kubectl apply -f deploy/install.yaml")
    async with deployed(bed, INSTALL.read_text()) as operator:
        pods = " and ".join(pod["metadata"]["name"] for pod in await operator.pods())
        line.say("operator", f"runs as {pods}: one guards all namespaces, one stands by")
        yield operator
