"""`telegrambot-operator release`: takes locks, gates and marks out of a cluster in which no operator runs any more.

Every step is decided on what was read live just before it (`core/letgo.py`), and no step is taken twice: what comes
back was put back by an operator that runs after all, and nobody fights with it. So that no bot is restarted only to
learn of one, it is asked first: a mark that is missing is put back by an operator at once, and costs nobody anything.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import msgspec

from .. import names
from ..core import desired, letgo, understand
from ..core.actions import OpenPod, PatchDeployment
from ..core.letgo import ChangeTable, Do, Done, Wait
from ..core.observed import Bot
from ..core.records import Deployment, parse_deployment, parse_pod
from ..core.release import owned
from .kube import BOTS, CONFIGMAPS, DEPLOYMENTS, PODS, Kube, KubeError, path
from .letgo_facts import Reader
from .live import Forbidden, items, read
from .turns import NotItsTurn

Key = tuple[str, str]

LOOK_SECONDS = 0.5
AT_ONCE = 16
# An operator answers within milliseconds; one that has much to do, or that has failed before, takes longer.
ANSWER_SECONDS = 5.0
RISK = "two of its pods may run for a moment, as --now accepts"
OPERATOR_RUNS = "an operator runs and put it back; stop that first, then run this again"


@dataclass(frozen=True, slots=True)
class Scope:
    """What is to be released: one TelegramBot's Deployment or all, in these namespaces or in all."""

    name: str | None
    namespaces: tuple[str, ...]
    operator_namespace: str
    hurry: bool = False
    dry_run: bool = False
    patience: float = 120.0


@dataclass(slots=True)
class _Target:
    """A Deployment, and what has become of it: `left` says why it could not be released."""

    key: Key
    marked_for: Bot | None = None
    steps: set[str] = field(default_factory=set)
    did: list[str] = field(default_factory=list)
    opened: int = 0
    note: str = ""
    left: str = ""

    @property
    def where(self) -> str:
        return path(DEPLOYMENTS, *self.key)

    def note_step(self, step: Do) -> None:
        self.steps.add(step.did)
        self.did.append(f"{step.did} ({RISK})" if step.risky else step.did)
        self.opened += step.opens

    def __str__(self) -> str:
        did = "; ".join(self.did)
        if self.left:
            said = f"left: {self.left}" + (f". Done before that: {did}" if did else "")
        else:
            said = f"released: {did}" if did else "nothing to release"
        return f"Deployment {self.key[0]}/{self.key[1]}: {said}." + (f" {self.note}." if self.note else "")


class Release:
    """One run of the command. `say` prints a line."""

    def __init__(self, kube: Kube, scope: Scope, say: Callable[[str], None]) -> None:
        self._kube = kube
        self._scope = scope
        self._say = say
        self._reader = Reader(kube, scope.operator_namespace, say)
        self._lost: list[str] = []
        self._at_once = asyncio.Semaphore(AT_ONCE)

    async def run(self) -> int:
        """Release, and return the exit code: 0 all is released, 1 something was left."""
        try:
            targets = await self._targets()
        except (Forbidden, KubeError) as error:
            self._say(f"nothing was done: {_sentence(error)}.")
            return 1
        if self._scope.name is not None and not targets:
            self._say(f"nothing was done: {await self._no_such_bot(self._scope.name)}.")
            return 1
        if self._scope.dry_run:
            return await self._foretell(targets)
        await self._ask_for_operators(targets)
        limit = time.monotonic() + self._scope.patience
        await asyncio.gather(*(self._let_go(each, limit) for each in targets if not each.left))
        await self._look_back(targets)
        return self._conclude(targets)

    def _conclude(self, targets: Sequence[_Target]) -> int:
        for target in targets:
            self._say(str(target))
        for line in self._lost:
            self._say(line)
        left = sum(bool(each.left) for each in targets) + len(self._lost)
        released = sum(bool(each.did) and not each.left for each in targets)
        opened = sum(each.opened for each in targets)
        free = sum(not each.did and not each.left for each in targets)
        self._say(f"{released} released, {opened} pods opened, {free} with nothing to release, {left} left.")
        return 1 if left else 0

    # --- What there is ----------------------------------------------------------------------------------------------

    async def _targets(self) -> list[_Target]:
        """Deployments that carry a mark, that a TelegramBot names, or that have a held pod."""
        bots = [bot for bot in await self._bots() if self._scope.name in {None, bot.name}]
        marked = await self._marked()
        by_mark = {(bot.namespace, names.label_value(bot.name)): bot for bot in bots if bot.spec and not bot.deleting}
        found = {
            each.metadata.key: _Target(
                each.metadata.key, by_mark.get((each.metadata.namespace, each.metadata.labels.owner or ""))
            )
            for each in marked
        }
        others = {(bot.namespace, bot.target) for bot in bots if bot.spec} | await self._behind_held_pods()
        for key in sorted(others - set(found)):
            if await read(self._kube, "deployments.apps", path(DEPLOYMENTS, *key), parse_deployment) is not None:
                found[key] = _Target(key)
        return [found[key] for key in sorted(found)]

    def _paths(self, resource: str) -> list[str]:
        return [path(resource, each) for each in self._scope.namespaces] or [path(resource)]

    async def _bots(self) -> list[Bot]:
        """The TelegramBots, as far as there are any and they may be read: without them, marks must do."""
        found: list[Bot] = []
        for where in self._paths(BOTS):
            try:
                found += [understand.bot(msgspec.json.decode(each)) for each in await items(self._kube, where)]
            except KubeError as error:
                if error.status not in {403, 404}:
                    raise
        return found

    async def _marked(self) -> list[Deployment]:
        name = self._scope.name
        query = names.LABEL_NAME if name is None else f"{names.LABEL_NAME}={names.label_value(name)}"
        return [
            parse_deployment(each)
            for where in self._paths(DEPLOYMENTS)
            for each in await items(self._kube, where, labelSelector=query)
        ]

    async def _behind_held_pods(self) -> set[Key]:
        """The Deployments of held pods; a held pod without one is for a person."""
        if self._scope.name is not None:
            return set()
        found: set[Key] = set()
        for where in self._paths(PODS):
            for each in await items(self._kube, where, labelSelector=names.LABEL_BOT):
                pod = parse_pod(each)
                owner, suffix = pod.metadata.controller, f"-{pod.metadata.labels.template_hash}"
                if not pod.gated or pod.deleting:
                    continue
                if owner is not None and owner.kind == "ReplicaSet" and owner.name.endswith(suffix):
                    found.add((pod.metadata.namespace, owner.name.removesuffix(suffix)))
                else:
                    self._lost.append(
                        f"Pod {pod.metadata.namespace}/{pod.name}: left: it is held, and no Deployment is behind it; "
                        f"delete it, or take {names.GATE} out of its spec.schedulingGates."
                    )
        return found

    async def _no_such_bot(self, name: str) -> str:
        """Say that there is no such TelegramBot, and who is meant where the name is a Deployment's."""
        where = f"namespace {', '.join(self._scope.namespaces)}"
        nobody = f"there is no TelegramBot {name} with a Deployment in {where}, and no Deployment that carries its mark"
        for namespace in self._scope.namespaces:
            there = await self._deployment((namespace, name))
            if there is not None and there.metadata.labels.owner:
                return f"{nobody}. Deployment {name} is held by TelegramBot {there.metadata.labels.owner}: name that"
        return nobody

    async def _deployment(self, key: Key) -> Deployment | None:
        """Return it, or None where it is gone or does not let itself be read now."""
        try:
            return await read(self._kube, "deployments.apps", path(DEPLOYMENTS, *key), parse_deployment)
        except (Forbidden, KubeError):
            return None

    # --- Whether an operator runs -----------------------------------------------------------------------------------

    async def _ask_for_operators(self, targets: Sequence[_Target]) -> None:
        """Ask once in each namespace; where one answers, nothing is done."""
        asked = {each.key[0]: each for each in reversed(targets) if each.marked_for is not None}
        answers = await asyncio.gather(*(self._is_put_back(each) for each in asked.values()))
        running = {namespace for namespace, answer in zip(asked, answers, strict=True) if answer}
        for target in targets:
            if target.key[0] in running:
                target.left = f"{OPERATOR_RUNS} (it put a mark back in namespace {target.key[0]})"

    async def _is_put_back(self, target: _Target) -> bool:
        """Take the mark off for a moment, and see whether somebody puts it back."""
        try:
            before = parse_deployment(await self._kube.get(target.where))
            await self._kube.patch(target.where, _mark(before, None))
        except KubeError:
            return False  # it cannot be written: that is said when it is released
        back = False
        try:
            back = await self._comes_back(target)
        finally:
            if not back:
                with suppress(KubeError):  # then it is found by its TelegramBot
                    await self._kube.patch(target.where, _mark(before, before.metadata.labels.owner))
        return back

    async def _comes_back(self, target: _Target) -> bool:
        limit = time.monotonic() + ANSWER_SECONDS
        while time.monotonic() < limit:
            there = await self._deployment(target.key)
            if there is not None and there.metadata.labels.owner:
                return True
            await asyncio.sleep(LOOK_SECONDS)
        return False

    async def _look_back(self, targets: Sequence[_Target]) -> None:
        """Look once more at what was released: somebody may have started an operator in the meantime."""
        for target in targets:
            there = await self._deployment(target.key) if target.did and not target.left else None
            marked = there is not None and bool(there.metadata.labels.owner) and not owned(there)
            if there is not None and (marked or desired.locked(there)):
                target.left = OPERATOR_RUNS

    # --- Releasing --------------------------------------------------------------------------------------------------

    async def _foretell(self, targets: Sequence[_Target]) -> int:
        """Say what would be done first about each, and do nothing."""
        for target in targets:
            self._say(f"Deployment {target.key[0]}/{target.key[1]}: {await self._would(target)}.")
        self._say("nothing was done: --dry-run.")
        return 0

    async def _would(self, target: _Target) -> str:
        try:
            step = await self._next(target)
        except (Forbidden, KubeError) as error:
            return f"would be left: {_sentence(error)}"
        match step:
            case Do():
                return f"would be released, and first: {step.did}"
            case Wait():
                return f"would be waited for: {step.why}"
            case Done():
                return f"nothing to release. {step.note}".rstrip(". ")

    async def _let_go(self, target: _Target, limit: float) -> None:
        """Take one step after the other until nothing is left to do, or time is up."""
        told = before = ""
        while True:
            async with self._at_once:
                wait = await self._as_far_as_possible(target)
            if wait is None:
                return
            if time.monotonic() >= limit:
                target.left = f"{wait.why}; {wait.cure}"
                return
            if wait.why == before != told:  # what is over in a moment is not worth a line
                told = wait.why
                self._say(f"waiting for Deployment {target.key[0]}/{target.key[1]}: {wait.why}.")
            before = wait.why
            await asyncio.sleep(LOOK_SECONDS)

    async def _as_far_as_possible(self, target: _Target) -> Wait | None:
        """Return what has to be waited for, or None at the end."""
        while True:
            try:
                step = await self._next(target)
                if isinstance(step, Wait):
                    return step
                if isinstance(step, Done):
                    target.note = step.note
                    return None
                if step.did in target.steps:
                    target.left = OPERATOR_RUNS
                    return None
                await self._do(step)
            except (Forbidden, NotItsTurn, KubeError) as error:
                return _after(error, target)
            target.note_step(step)

    async def _next(self, target: _Target) -> letgo.Step:
        """Decide on what is so now. Raises Forbidden and KubeError."""
        deployment = await read(self._kube, "deployments.apps", target.where, parse_deployment)
        if deployment is None:
            return Done("It does not exist any more")
        return letgo.next_step(await self._reader.facts(deployment, hurry=self._scope.hurry))

    async def _do(self, step: Do) -> None:
        match step.action:
            case PatchDeployment() as action:
                where = path(DEPLOYMENTS, action.namespace, action.deployment)
                await self._kube.patch(where, _with(action.body, uid=action.uid))
            case ChangeTable() as action:
                where = path(CONFIGMAPS, action.namespace, names.LOCK_TABLE)
                await self._kube.patch(where, {"metadata": {"resourceVersion": action.version}, "data": action.data})
            case OpenPod() as action:
                await self._reader.turns(action.namespace).open(action)


def _mark(deployment: Deployment, owner: str | None) -> dict[str, object]:
    """Return the patch that sets a Deployment's mark, or takes it off, and touches nothing else."""
    return {"metadata": {"uid": deployment.metadata.uid, "labels": {names.LABEL_NAME: owner}}}


def _with(body: dict[str, object], *, uid: str) -> dict[str, object]:
    metadata = body.get("metadata")
    return {**body, "metadata": {**(metadata if isinstance(metadata, dict) else {}), "uid": uid}}


def _after(error: Exception, target: _Target) -> Wait | None:
    """Return what to wait for after a request that failed; None where waiting is of no use."""
    if isinstance(error, NotItsTurn):
        return Wait(str(error), "run it again when that is over")
    if isinstance(error, KubeError) and error.status not in {400, 403, 422}:
        return Wait(f"a request failed: {_sentence(error)}", "run it again")
    target.left = _sentence(error)
    return None


def _sentence(error: Exception) -> str:
    """Return the API server's own words, in one line."""
    said = error.failure.message if isinstance(error, Forbidden) else str(error)
    return " ".join(said.split()).rstrip(".")
