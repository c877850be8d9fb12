"""Carries out a plan: the one writer of Deployments and pods. What a request answers goes into the caches at once."""

import logging

import msgspec

from .. import names
from ..core import desired
from ..core.actions import (
    Action,
    ApplyDeployment,
    ClaimTurn,
    DeletePod,
    DisownPin,
    EmptyReplicaSet,
    FixWebhook,
    KeepPod,
    LabelPod,
    OpenPod,
    PatchDeployment,
    WriteTable,
    describe,
)
from ..core.decisions import decision
from ..core.events import Event
from ..core.observed import Bot, Failure
from ..core.silence import Sound
from .bots import Key
from .kube import APPLY, DEPLOYMENTS, PODS, REPLICASETS, Kube, KubeError, path
from .log import decided
from .metrics import UNREAD, Metrics
from .observe import Caches, Observer
from .pace import Pace
from .report import Reporter
from .silence import Silences
from .tables import Tables
from .turns import NotItsTurn, Turns
from .words import Words

log = logging.getLogger(__name__)


class Executor:
    """Carries out actions, one after the other, and goes on after one that fails."""

    def __init__(  # noqa: PLR0913  each is one thing that it writes through, or that has to know of a write
        self,
        kube: Kube,
        caches: Caches,
        reporter: Reporter,
        turns: Turns,
        tables: Tables,
        observer: Observer,
        *,
        pace: Pace,
        silences: Silences,
        words: Words,
        metrics: Metrics = UNREAD,
    ) -> None:
        self._metrics = metrics
        self._kube = kube
        self._deployments = caches.deployments
        self._pods = caches.pods
        self._reporter = reporter
        self._turns = turns
        self._pace = pace
        self._tables = tables
        self._silences = silences
        self._words = words
        self._generations = observer.generations
        self._history = observer.history

    async def run(self, key: Key, bot: Bot | None, actions: tuple[Action, ...]) -> tuple[Failure, ...]:
        """Carry out the actions and return what failed. A lost race is no failure: the next pass decides again."""
        failures = []
        hush = _Hush(self._silences, bot)
        for action in actions:
            try:
                if await self._do(bot, action, hush):
                    self._decided(key, action)
            except KubeError as error:
                if error.status not in {404, 409}:
                    verb, resource = describe(action)
                    failures.append(Failure(verb, resource, error.status, error.message))
                log.debug("%s: %s", action, error.message)
            except NotItsTurn as answer:
                log.debug("%s: %s", action, answer)
        return tuple(failures)

    def _decided(self, key: Key, action: Action) -> None:
        made = decision(action)
        decided(log, key, made)
        self._metrics.decisions.labels(made.what).inc()
        if made.proof:
            self._metrics.forced_deletes.labels(made.proof).inc()

    async def _do(self, bot: Bot | None, action: Action, hush: "_Hush") -> bool:
        """Carry out an action, and return whether that changed anything."""
        match action:
            case WriteTable():
                await self._tables.write(action)
            case LabelPod():
                await self._patch_pod(
                    action.namespace, action.pod, action.uid, {"labels": {names.LABEL_BOT: action.identity}}
                )
            case KeepPod():
                await self._patch_pod(
                    action.namespace,
                    action.pod,
                    action.uid,
                    {"annotations": {names.ANNOTATION_DELETION_COST: str(action.cost)}},
                )
            case PatchDeployment():
                await self._patch_deployment(bot, action)
            case DisownPin():
                await self._disown(action)
            case ApplyDeployment():
                return await self._apply_deployment(bot, action)
            case EmptyReplicaSet():
                body = {"metadata": {"uid": action.uid}, "spec": {"replicas": 0}}
                await self._kube.patch(path(REPLICASETS, action.namespace, action.replica_set), body)
                self._tell(bot, action.reason, action.why)
            case DeletePod():
                return await self._paced_delete(bot, action, hush)
            case ClaimTurn() | OpenPod() | FixWebhook():
                return await self._let_begin(bot, action, hush)
        return True

    async def _let_begin(self, bot: Bot | None, action: ClaimTurn | OpenPod | FixWebhook, hush: "_Hush") -> bool:
        """Carry out what lets a process begin to poll."""
        match action:
            case ClaimTurn():
                await self._turns.take(action)
            case OpenPod():
                await hush.before(action)
                self._pods.learn(await self._turns.open(action))
            case FixWebhook():
                if bot is None or not await self._words.fix(bot.key, action):
                    return False
                self._tell(bot, action.reason, action.why)
        return True

    async def _patch_pod(self, namespace: str, name: str, uid: str, metadata: dict[str, object]) -> None:
        body = {"metadata": {"uid": uid, **metadata}}
        self._pods.learn(await self._kube.patch(path(PODS, namespace, name), body))

    async def _patch_deployment(self, bot: Bot | None, action: PatchDeployment) -> None:
        body = {**action.body, "metadata": {**action.body.get("metadata", {}), "uid": action.uid}}
        data = await self._kube.patch(path(DEPLOYMENTS, action.namespace, action.deployment), body)
        deployment = self._deployments.learn(data)
        if {"strategy", "template"} & set(action.body.get("spec") or ()):
            self._generations.shaped[deployment.metadata.uid] = deployment.metadata.generation
        self._tell(None if action.quiet else bot, action.reason, action.why)

    async def _disown(self, action: DisownPin) -> None:
        where = path(DEPLOYMENTS, action.namespace, action.deployment)
        meta = msgspec.json.decode(await self._kube.get(where))["metadata"]
        known = {"uid": action.uid, "resourceVersion": meta["resourceVersion"]}
        fields = desired.disowned(meta.get("managedFields") or [])
        self._deployments.learn(await self._kube.patch(where, {"metadata": {**known, "managedFields": fields}}))

    async def _apply_deployment(self, bot: Bot | None, action: ApplyDeployment) -> bool:
        where = path(DEPLOYMENTS, action.namespace, action.deployment)
        deployment = self._deployments.learn(await self._kube.patch(where, action.body, APPLY, {"force": "true"}))
        uid, generation = deployment.metadata.uid, deployment.metadata.generation
        known = self._generations.applied.get(uid)
        self._generations.applied[uid] = self._generations.shaped[uid] = generation
        if known != generation:
            self._tell(bot, action.reason, action.why)
        return known != generation

    async def _paced_delete(self, bot: Bot | None, action: DeletePod, hush: "_Hush") -> bool:
        if not action.force:
            await self._delete_pod(bot, action)
            return True
        if not self._pace.take(action.uid):
            return False
        try:
            await hush.before(action)
            await self._delete_pod(bot, action)
        except NotItsTurn:
            self._pace.give_back()
            raise
        except KubeError as error:
            if error.status in {404, 409}:  # the pod is gone, or not as it was judged: nothing was deleted
                self._pace.give_back()
            raise
        return True

    async def _delete_pod(self, bot: Bot | None, action: DeletePod) -> None:
        body: dict[str, object] = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "preconditions": {"uid": action.uid, "resourceVersion": action.resource_version},
        }
        if action.force:
            body["gracePeriodSeconds"] = 0
        data = await self._kube.request("DELETE", path(PODS, action.namespace, action.pod), None, body)
        known = self._pods.store.get(action.namespace, action.pod)
        if action.force and known is not None and known.uid == action.uid:
            self._pods.forget(known)
        elif not action.force and known is not None:  # a stray is not among the pods that are watched
            self._pods.learn(data)
        if action.proven:
            self._history.prove(action.uid)
        if action.deaf and bot is not None:
            self._words.restarted(bot.key)
        self._tell(bot, action.reason, action.why, warning=action.force, pod=action)

    def _tell(
        self, bot: Bot | None, reason: str, why: str, *, warning: bool = False, pod: DeletePod | None = None
    ) -> None:
        if bot is not None:
            self._reporter.tell(bot, Event(reason, why, warning))
        if bot is not None and pod is not None:
            self._reporter.tell(bot, Event(reason, why, warning, pod=pod.pod, pod_uid=pod.uid))


class _Hush:
    """Ends the listening before the first action of a pass that lets another pod start, which a poll would meet."""

    def __init__(self, silences: Silences, bot: Bot | None) -> None:
        self._silences = silences
        self._bot = bot
        self._heard: Sound | None = None

    async def before(self, action: DeletePod | OpenPod) -> None:
        """Return when no poll of ours is left. Raises NotItsTurn where the action rests on a silence that is over."""
        if self._heard is None and self._bot is not None:
            self._heard = await self._silences.hush(self._bot.key)
        if action.by_silence and self._heard is not Sound.SILENT:
            raise NotItsTurn("Telegram is not silent any more")
