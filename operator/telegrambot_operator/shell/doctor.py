"""`telegrambot-operator doctor`: looks at bots with the caller's own rights, writes nothing and disturbs nobody."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

import msgspec

from ..core.doctor import Diagnosis, as_json, as_text, exit_code, summary, worst
from ..core.doctor_census import Census
from ..core.doctor_checks import examine
from ..core.doctor_facts import Facts, Gap
from ..core.doctor_manifest import manifest
from ..core.observed import Bot
from .doctor_cluster import Cluster
from .doctor_facts import Gatherer
from .kube import BOTS, Kube, KubeError, path
from .telegram import Telegram

AT_ONCE = 8
DONE, FAILED, UNKNOWN = 0, 1, 3


class Kind(StrEnum):
    """What may be looked at."""

    BOT = "TelegramBot"
    DEPLOYMENT = "Deployment"


@dataclass(frozen=True, slots=True)
class Target:
    """What is to be looked at: one by its name, or all TelegramBots of a namespace, or of all where that is None."""

    namespace: str | None
    name: str | None = None
    kind: Kind = Kind.BOT


@dataclass(frozen=True, slots=True)
class _Patient:
    """A Deployment, and the TelegramBot that names it, if there is one."""

    namespace: str
    name: str
    bot: Bot | None = None


class NobodyError(Exception):
    """There is nothing to look at: why, and the exit code."""

    def __init__(self, why: str, code: int) -> None:
        super().__init__(why)
        self.code = code


class _Version(msgspec.Struct, rename="camel"):
    git_version: str


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
        colour: bool = False,
    ) -> None:
        self._kube = kube
        self._cluster = Cluster(kube)
        self._telegram = Telegram(telegram_api_url)
        self._write = write
        self._complain = complain
        self._as_json = as_json
        self._colour = colour

    async def run(self, target: Target) -> int:
        """Look, say what was found, and return the exit code: 0 all passes, 1 something fails, 3 some is unknown."""
        try:
            await self._knock()
            known = await self._cluster.census(target.namespace)
            return await self._look(known, await self._patients(known, target))
        except NobodyError as error:
            self._complain(str(error))
            return error.code
        finally:
            await self._telegram.close()

    async def _knock(self) -> None:
        """Make sure that there is a cluster. Raises NobodyError."""
        why = "what answers is no Kubernetes API server"
        try:
            msgspec.json.decode(await self._kube.get("/version"), type=_Version)
        except KubeError as error:
            if error.status == 403:
                return
            why = error.message if error.status in {0, 401} else why
        except msgspec.DecodeError:
            pass
        else:
            return
        raise NobodyError(f"there is no cluster to look at: {why}; check KUBECONFIG and its current context", UNKNOWN)

    # --- Who is looked at -------------------------------------------------------------------------------------------

    async def _patients(self, known: Census, target: Target) -> list[_Patient]:
        """Return who is to be looked at, at least one. Raises NobodyError."""
        if target.kind is Kind.DEPLOYMENT and target.namespace and target.name:
            return [await self._deployment(known, target.namespace, target.name)]
        if isinstance(known.bots, Gap):
            raise NobodyError(f"no TelegramBot could be looked at: {known.bots.why}; {known.bots.todo}", UNKNOWN)
        chosen = [
            _Patient(bot.namespace, bot.target, bot)
            for bot in sorted(known.bots, key=lambda bot: bot.key)
            if target.namespace in {None, bot.namespace} and target.name in {None, bot.name}
        ]
        if not chosen:
            raise NobodyError(await self._nobody(target), DONE if target.name is None else FAILED)
        return chosen

    async def _deployment(self, known: Census, namespace: str, name: str) -> _Patient:
        if not isinstance(known.deployments, Gap) and known.employer((namespace, name)) is None:
            raise NobodyError(
                f"there is no Deployment {name} in namespace {namespace}; name another, or use -n", FAILED
            )
        bots = () if isinstance(known.bots, Gap) else known.bots
        adopter = next((bot for bot in bots if bot.namespace == namespace and bot.target == name), None)
        return _Patient(namespace, name, adopter)

    async def _nobody(self, target: Target) -> str:
        where = f"in namespace {target.namespace}" if target.namespace else "in this cluster"
        named = f"TelegramBot {target.name}" if target.name else "TelegramBot"
        why = "" if await self._knows_telegram_bots() else ", nor the CRD that it takes"
        return f"there is no {named} {where}{why}; a plain Deployment is looked at as deployment/NAME"

    async def _knows_telegram_bots(self) -> bool:
        try:
            await self._kube.get(path(BOTS), {"limit": "1"})
        except KubeError as error:
            return error.status != 404
        return True

    # --- What is said -----------------------------------------------------------------------------------------------

    async def _look(self, known: Census, patients: list[_Patient]) -> int:
        """Look at several at once, and tell of each in its turn."""
        gatherer = Gatherer(self._cluster, known, self._telegram)
        limit = asyncio.Semaphore(AT_ONCE)

        async def look(patient: _Patient) -> Facts:
            async with limit:
                return await gatherer.of(patient.namespace, patient.name, patient.bot)

        looks = [asyncio.create_task(look(each)) for each in patients]
        found: list[Diagnosis] = []
        for each in looks:
            found.append(_diagnosis(await each))
            self._tell(found[-1], brief=len(patients) > 1)
        if not self._as_json:
            self._write(summary(found))
        return exit_code(worst(each.outcome for each in found))

    def _tell(self, found: Diagnosis, *, brief: bool) -> None:
        text = as_json(found) if self._as_json else f"{as_text(found, brief=brief, colour=self._colour)}\n"
        self._write(text)


def _diagnosis(facts: Facts) -> Diagnosis:
    kind, name = (Kind.BOT, facts.bot.name) if facts.bot else (Kind.DEPLOYMENT, facts.deployment_name)
    return Diagnosis(
        kind=kind,
        namespace=facts.namespace,
        name=name,
        lines=tuple(examine(facts)),
        manifest="" if facts.bot else manifest(facts),
    )
