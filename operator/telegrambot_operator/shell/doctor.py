"""`telegrambot-operator doctor`: looks at bots with the caller's own rights, writes nothing and disturbs nobody."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from ..core.doctor import Diagnosis, as_json, as_text, exit_code, summary, worst
from ..core.doctor_checks import examine
from ..core.doctor_facts import Facts, Gap
from ..core.doctor_manifest import manifest
from ..core.observed import Bot
from .doctor_cluster import Census, Cluster, census
from .doctor_facts import Gatherer
from .doctor_telegram import Word
from .kube import BOTS, Kube, KubeError, path

AT_ONCE = 8
FAILED, UNKNOWN = 1, 3


class Kind(StrEnum):
    """What may be looked at."""

    BOT = "TelegramBot"
    DEPLOYMENT = "Deployment"


@dataclass(frozen=True, slots=True)
class Target:
    """What is to be looked at: one by its name, or all TelegramBots of a namespace or of all (None)."""

    namespace: str | None
    name: str | None = None
    kind: Kind = Kind.BOT


class Doctor:
    """One run of the command. `write` gets the output, `complain` why there is none."""

    def __init__(
        self,
        kube: Kube,
        telegram_api_url: str,
        write: Callable[[str], object],
        complain: Callable[[str], object],
        *,
        as_json: bool,
    ) -> None:
        self._kube = kube
        self._cluster = Cluster(kube)
        self._word = Word(telegram_api_url)
        self._write = write
        self._complain = complain
        self._as_json = as_json

    async def run(self, target: Target) -> int:
        """Look, say what was found, and return the exit code: 0 all passes, 1 something fails, 3 some is unknown."""
        try:
            await self._kube.get("/version")
        except KubeError as error:
            if error.status in {0, 401}:
                self._complain(f"there is no cluster to look at: {error.message}; check KUBECONFIG and its context")
                return UNKNOWN
        known = await census(self._cluster, target.namespace)
        if target.kind is Kind.DEPLOYMENT and target.name is not None and target.namespace is not None:
            bot = _adopter(known, target.namespace, target.name)
            return await self._look(known, [(target.namespace, target.name, bot)])
        return await self._look_at_bots(known, target)

    async def _look_at_bots(self, known: Census, target: Target) -> int:
        if isinstance(known.bots, Gap):
            self._complain(f"nothing could be looked at: {known.bots.why}; {known.bots.todo}")
            return UNKNOWN
        chosen = [
            bot
            for bot in sorted(known.bots, key=lambda bot: bot.key)
            if target.namespace in {None, bot.namespace} and target.name in {None, bot.name}
        ]
        if not chosen:
            self._complain(await self._nobody(target))
            return FAILED if target.name is not None else 0
        return await self._look(known, [(bot.namespace, bot.target, bot) for bot in chosen])

    async def _nobody(self, target: Target) -> str:
        where = f"in namespace {target.namespace}" if target.namespace else "in this cluster"
        plain = "a plain Deployment is looked at as deployment/NAME"
        if not await self._knows_telegram_bots():
            return f"there are no TelegramBots {where}: their CRD is not installed; {plain}"
        named = f"no TelegramBot {target.name}" if target.name else "no TelegramBot"
        return f"there is {named} {where}; {plain}"

    async def _knows_telegram_bots(self) -> bool:
        try:
            await self._kube.get(path(BOTS), {"limit": "1"})
        except KubeError as error:
            return error.status != 404
        return True

    async def _look(self, known: Census, chosen: list[tuple[str, str, Bot | None]]) -> int:
        gatherer = Gatherer(self._cluster, known, self._word)
        limit = asyncio.Semaphore(AT_ONCE)

        async def look(namespace: str, name: str, bot: Bot | None) -> Facts:
            async with limit:
                return await gatherer.of(namespace, name, bot)

        looks = [asyncio.create_task(look(*each)) for each in chosen]
        found: list[Diagnosis] = []
        for each in looks:
            found.append(_diagnosis(await each))
            self._show(found[-1], brief=len(chosen) > 1)
        if not self._as_json:
            self._write(f"\n{summary(found)}")
        return exit_code(worst(each.outcome for each in found))

    def _show(self, found: Diagnosis, *, brief: bool) -> None:
        self._write(as_json(found) if self._as_json else as_text(found, brief=brief))


def _adopter(known: Census, namespace: str, name: str) -> Bot | None:
    """The TelegramBot that has the Deployment, if there is one."""
    bots = () if isinstance(known.bots, Gap) else known.bots
    return next((bot for bot in bots if bot.namespace == namespace and bot.target == name), None)


def _diagnosis(facts: Facts) -> Diagnosis:
    kind, name = (Kind.BOT, facts.bot.name) if facts.bot else (Kind.DEPLOYMENT, facts.deployment_name)
    return Diagnosis(
        kind=kind,
        namespace=facts.namespace,
        name=name,
        lines=tuple(examine(facts)),
        title=f"{kind} {facts.namespace}/{name}",
        manifest="" if facts.bot else manifest(facts),
    )
