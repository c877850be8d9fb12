"""Gathers an `Observed` for one bot: from the caches, and live where a cache will not do.

Live reads are rare: a Deployment that does not carry our mark yet and its unmarked pods, the nodes of pods that hang,
the ReplicaSets behind duplicates, and a TelegramBot that seems to be gone while a Deployment still carries its mark.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

import msgspec

from .. import names
from ..core import desired
from ..core.classify import Life, life, may_poll, overdue
from ..core.evidence import ConflictPattern, compile_pattern
from ..core.lifetimes import death_notes, span
from ..core.observed import Bot, Failure, Observed, PodFinding, PodSpan
from ..core.ownership import belongs
from ..core.records import (
    Autoscaler,
    Deployment,
    Node,
    Pod,
    ReplicaSet,
    parse_deployment,
    parse_node,
    parse_replica_set,
    template_of,
)
from ..core.targets import Tail, chosen_container
from ..core.turn import Claim, Vanished
from ..core.turns import held_of
from ..names import ConditionType
from . import live
from .bots import Bots, Key
from .generations import Generations
from .history import History
from .informer import Informer
from .kube import BOTS, DEPLOYMENTS, NODES, PODS, REPLICASETS, Kube, KubeError, path
from .live import Forbidden, Holders, pod_list
from .logs import LogReader
from .tables import Tables
from .tokens import Tokens
from .turns import Turns

T = TypeVar("T")

# How long a Deployment may count a pod that our cache does not show, before the pod is searched for.
UNSEEN_SECONDS = 2.0


def index_pod(pod: Pod) -> list[str]:
    """Pods are found by identity."""
    return [pod.metadata.labels.bot] if pod.metadata.labels.bot else []


def index_autoscaler(autoscaler: Autoscaler) -> list[tuple[str, str]]:
    """Autoscalers are found by the Deployment that they scale."""
    target = autoscaler.spec.scale_target_ref
    return [(autoscaler.metadata.namespace, target.name)] if target.kind == "Deployment" else []


def index_deployment(deployment: Deployment) -> list[tuple[str, str]]:
    """Deployments are found by the TelegramBot whose mark they carry."""
    owner = deployment.metadata.labels.owner
    return [(deployment.metadata.namespace, owner)] if owner else []


@dataclass(frozen=True, slots=True)
class Caches:
    """What is watched for every bot."""

    deployments: Informer[Deployment]
    pods: Informer[Pod]
    autoscalers: Informer[Autoscaler]


class Observer:
    """Gathers what one pass needs."""

    def __init__(
        self,
        kube: Kube,
        bots: Bots,
        caches: Caches,
        logs: LogReader,
        turns: Turns,
        tables: Tables,
        history: History,
    ) -> None:
        self._kube = kube
        self._bots = bots
        self._deployments = caches.deployments
        self._pods = caches.pods
        self._autoscalers = caches.autoscalers
        self._logs = logs
        self._turns = turns
        self._tables = tables
        self._tokens = Tokens(kube)
        self._unseen: dict[Key, float] = {}
        self.history = history
        self._holders = Holders(kube, history)
        self.generations = Generations()

    async def observe(self, key: Key, now: datetime) -> Observed:
        """Return everything known about one bot. Raises KubeError where the pass cannot go on without an answer."""
        namespace, name = key
        marked = tuple(self._deployments.store.by((namespace, names.label_value(name))))
        bot = self._bots.get(key)
        if bot is None and (marked or self._tables.mentions(key)):
            bot = await self._perhaps_not_gone(key)
        if bot is None:
            self._forget(key)
            return await self._without_bot(key, self._leftovers(marked))
        if bot.spec is None:
            return Observed(namespace=namespace, name=name, bot=bot)
        return await self._observe(bot, marked, now)

    async def _without_bot(self, key: Key, left: tuple[Deployment, ...]) -> Observed:
        pods = await self._pods_behind(left)
        waiting = [pod for each in left for pod in held_of(each, pods) if pod.metadata.labels.bot]
        failures: list[Failure] = []
        claim = await self._read_claim(waiting[0].metadata.labels.bot or "", failures) if waiting else None
        ended = await self._holders.look(claim, pods, failures) if claim else {}
        return Observed(
            namespace=key[0],
            name=key[1],
            bot=None,
            leftovers=left,
            heirs=self._heirs(left),
            pods=tuple(pods),
            admission=self._tables.view(None, key[0]),
            claim=claim,
            ended=ended,
            nodes=await self._nodes(_nodes_of(claim, ended), failures),
        )

    async def _observe(self, bot: Bot, marked: tuple[Deployment, ...], now: datetime) -> Observed:
        failures = self._denied()
        deployment = await self._deployment(bot, failures)
        token, failure = await self._tokens.view(bot, self._fingerprint(bot, deployment))
        failures += [failure] if failure else []
        entry = self._tables.entered(bot.namespace, bot.target)
        entered = entry.identity if entry is not None and entry.bot == bot.name else None
        identity = desired.identity(bot, token, deployment, entered)
        self._bots.claim(bot, identity)
        left = self._leftovers(marked)
        pods = await self._pods_of(bot, deployment, identity, failures)
        unlocked = self._tables.births(bot, deployment, pods)
        patterns = [compile_pattern(each) for each in bot.spec.conflict.patterns] if bot.spec else []
        self._follow(bot, deployment, pods, patterns)
        claim = await self._claim(bot, identity, pods, failures)
        ended = await self._holders.look(claim, pods, failures) if claim else {}
        asked = self._of_stuck(bot, pods, now) | _nodes_of(claim, ended)
        return Observed(
            namespace=bot.namespace,
            name=bot.name,
            bot=bot,
            identity=identity,
            token=token,
            deployment=deployment,
            leftovers=left,
            heirs=self._heirs(left, identity if deployment else ""),
            pods=tuple(pods),
            nodes=await self._nodes(asked, failures),
            replica_sets=await self._replica_sets(bot, deployment, pods, failures),
            versions=await self._versions(deployment, failures),
            rivals=self._bots.rivals(bot, identity),
            findings=self._findings(bot, pods, patterns),
            spans=self._spans(identity, pods, now),
            failures=tuple(failures),
            log_problem=self._logs.problem(bot.key),
            claim=claim,
            ended=ended,
            applied_generation=self.generations.applied.get(deployment.metadata.uid) if deployment else None,
            shaped_generation=self.generations.shaped.get(deployment.metadata.uid) if deployment else None,
            admission=self._tables.view(bot, bot.namespace),
            unlocked=unlocked,
            autoscalers=self._scaled_by(bot),
        )

    def _scaled_by(self, bot: Bot) -> tuple[str, ...]:
        """The HorizontalPodAutoscalers that would give the bot's Deployment more pods than one."""
        found = self._autoscalers.store.by((bot.namespace, bot.target))
        return tuple(sorted(each.metadata.name for each in found if each.spec.max_replicas > 1))

    async def _pods_behind(self, deployments: Sequence[Deployment]) -> list[Pod]:
        """The pods that carry the identity of one of these Deployments; read live where nothing tells it any more."""
        found: dict[str, Pod] = {}
        failures: list[Failure] = []
        for deployment in deployments:
            worn = self._worn(deployment)
            pods = self._pods.store.by(worn) if worn else await self._census(deployment, failures)
            found |= {pod.uid: pod for pod in pods}
        return list(found.values())

    def _worn(self, deployment: Deployment) -> str | None:
        """The identity that a Deployment's new pods get: from its template, else at admission."""
        entry = self._tables.entered(*deployment.metadata.key)
        return template_of(deployment).metadata.labels.bot or (entry.identity if entry else None)

    def _leftovers(self, marked: Sequence[Deployment]) -> tuple[Deployment, ...]:
        """Those Deployments that no TelegramBot is to run as: what another one names, it is about to take over."""
        return tuple(each for each in marked if not self._bots.of_deployment(*each.metadata.key))

    def _heirs(self, leftovers: Sequence[Deployment], own: str = "") -> frozenset[str]:
        """The identities of leftovers that run, or can run, as another Deployment; `own` is one that does."""
        identities = {self._worn(each) or "" for each in leftovers}
        return frozenset(each for each in identities if each and (each == own or self._has_a_deployment(each)))

    def _has_a_deployment(self, identity: str) -> bool:
        """Whether a TelegramBot of the identity holds a Deployment."""
        bots = [self._bots.get(key) for key in self._bots.of_identity(identity)]
        held = [self._deployments.store.get(bot.namespace, bot.target) for bot in bots if bot is not None]
        return any(each is not None for each in held)

    def _denied(self) -> list[Failure]:
        """What the caches may not read: they then show a world that was."""
        pods, deployments = self._pods.denied, self._deployments.denied
        return [
            Failure(_verb(error), resource, error.status, error.message)
            for resource, error in (("pods", pods), ("deployments.apps", deployments))
            if error is not None
        ]

    def _forget(self, key: Key) -> None:
        self._tokens.forget(key)
        self._logs.forget(key)
        self._unseen.pop(key, None)
        self._tables.forget(key)

    async def _read(self, resource: str, where: str, parse: Callable[[bytes], T], **query: str) -> T | None:
        return await live.read(self._kube, resource, where, parse, **query)

    # --- TelegramBot and Deployment ---------------------------------------------------------------------------------

    async def _perhaps_not_gone(self, key: Key) -> Bot | None:
        """Ask the API server before anything is released: a cache may lag, and a CRD that is gone proves nothing."""
        try:
            body = msgspec.json.decode(await self._kube.get(path(BOTS, *key)))
        except KubeError as error:
            if error.status == 404 and error.details.get("kind") == names.PLURAL:
                return None
            raise
        return self._bots.put(body)

    async def _deployment(self, bot: Bot, failures: list[Failure]) -> Deployment | None:
        known = self._deployments.store.get(bot.namespace, bot.target)
        if known is not None:
            return known
        try:
            where = path(DEPLOYMENTS, bot.namespace, bot.target)
            return await self._read("deployments.apps", where, parse_deployment)
        except Forbidden as error:
            failures.append(error.failure)
            return None

    def _fingerprint(self, bot: Bot, deployment: Deployment | None) -> object:
        """Changes with every rollout and with every pod: the moments at which a Secret comes into use."""
        pods = self._pods.store.by(self._bots.last_identity(bot))
        started = frozenset(pod.uid for pod in pods if belongs(pod, deployment) and not pod.deleting)
        return deployment.metadata.generation if deployment else 0, started

    # --- Pods -------------------------------------------------------------------------------------------------------

    async def _pods_of(
        self, bot: Bot, deployment: Deployment | None, identity: str, failures: list[Failure]
    ) -> list[Pod]:
        pods = {pod.uid: pod for pod in self._pods.store.by(identity)}
        if deployment is not None and self._needs_census(bot, deployment, identity, list(pods.values())):
            pods.update({pod.uid: pod for pod in await self._census(deployment, failures) if pod.uid not in pods})
        return list(pods.values())

    def _needs_census(self, bot: Bot, deployment: Deployment, identity: str, pods: list[Pod]) -> bool:
        """Whether the Deployment may have pods without our label: its template lacks it, or it counts more pods."""
        if not desired.is_ours(deployment, bot) or self._worn(deployment) != identity:
            return True
        status = deployment.status
        mine = sum(belongs(pod, deployment) and life(pod) is not Life.DEAD for pod in pods)
        if status.replicas + status.terminating_replicas <= mine:
            self._unseen.pop(bot.key, None)
            return False
        since = self._unseen.setdefault(bot.key, time.monotonic())
        return time.monotonic() - since >= UNSEEN_SECONDS

    def unseen(self, key: Key) -> bool:
        """Return whether the Deployment counts pods that are not in the cache yet: worth another look soon."""
        return key in self._unseen

    async def _census(self, deployment: Deployment, failures: list[Failure]) -> list[Pod]:
        """List the Deployment's own pods live, by its selector, and return those that its ReplicaSets control."""
        where = path(PODS, deployment.metadata.namespace)
        try:
            found = await self._read("pods", where, pod_list, labelSelector=selector(deployment))
        except Forbidden as error:
            failures.append(error.failure)
            return []
        return [pod for pod in found or [] if belongs(pod, deployment)]

    def _of_stuck(self, bot: Bot, pods: Sequence[Pod], now: datetime) -> set[str]:
        """The names of the nodes of pods that hang."""
        after = bot.spec.stuck_pods.after_seconds if bot.spec else 0
        return {pod.spec.node_name for pod in pods if overdue(pod, after, now)}

    async def _nodes(self, asked: set[str], failures: list[Failure]) -> dict[str, Node | None]:
        found: dict[str, Node | None] = {}
        for name in sorted(asked - {""}):
            try:
                found[name] = await self._read("nodes", path(NODES, None, name), parse_node)
            except Forbidden as error:
                failures.append(error.failure)
        return found

    async def _claim(self, bot: Bot, identity: str, pods: Sequence[Pod], failures: list[Failure]) -> Claim | None:
        """Read whose turn it is, where that matters: while a pod is held, and until it is noted where the bot runs."""
        running = [pod for pod in pods if may_poll(pod)]
        to_note = len(running) == 1 and not self._turns.is_noted(identity, running[0])
        if not desired.is_gated(bot.spec) or not (to_note or any(pod.gated for pod in pods)):
            return None
        return await self._read_claim(identity, failures)

    async def _read_claim(self, identity: str, failures: list[Failure]) -> Claim | None:
        try:
            return await self._turns.claim(identity)
        except KubeError as error:
            failures.append(Failure("get", "leases.coordination.k8s.io", error.status, error.message))
            return None

    async def _replica_sets(
        self, bot: Bot, deployment: Deployment | None, pods: Sequence[Pod], failures: list[Failure]
    ) -> dict[str, ReplicaSet | None]:
        owners = {
            (pod.metadata.namespace, owner.name)
            for pod in pods
            if pod.metadata.namespace == bot.namespace
            and not belongs(pod, deployment)
            and (owner := pod.metadata.controller)
            and owner.kind == "ReplicaSet"
        }
        found: dict[str, ReplicaSet | None] = {}
        for namespace, name in sorted(owners):
            try:
                where = path(REPLICASETS, namespace, name)
                found[name] = await self._read("replicasets.apps", where, parse_replica_set)
            except Forbidden as error:
                failures.append(error.failure)
        return found

    async def _versions(self, deployment: Deployment | None, failures: list[Failure]) -> tuple[ReplicaSet, ...]:
        """Read the ReplicaSets of a Deployment that has old pods, unless our Deployment is older than what they say."""
        if deployment is None or not deployment.has_old_pods:
            return ()
        meta = deployment.metadata
        try:
            query = {"labelSelector": selector(deployment)}
            where = path(REPLICASETS, meta.namespace)
            found = await self._read("replicasets.apps", where, _replica_set_list, **query) or []
            now = await self._read("deployments.apps", path(DEPLOYMENTS, meta.namespace, meta.name), parse_deployment)
        except Forbidden as error:
            failures.append(error.failure)
            return ()
        if now is None or now.metadata.resource_version != meta.resource_version:
            return ()
        return tuple(each for each in found if each.metadata.controller and each.metadata.controller.uid == meta.uid)

    # --- Conflicts --------------------------------------------------------------------------------------------------

    def _follow(
        self, bot: Bot, deployment: Deployment | None, pods: Sequence[Pod], patterns: Sequence[ConflictPattern]
    ) -> None:
        wanted = pods if _reads_logs(bot) else []
        chosen = chosen_container(bot, deployment)
        polling = [pod for pod in wanted if may_poll(pod)]
        tails = [Tail.of(pod, chosen, patterns) for pod in polling if pod.metadata.namespace == bot.namespace]
        self._logs.follow(bot.key, tails, patterns, crowded=len(polling) > 1, troubled=_is_conflicted(bot))

    def _findings(self, bot: Bot, pods: Sequence[Pod], patterns: Sequence[ConflictPattern]) -> tuple[PodFinding, ...]:
        mine = [pod for pod in pods if pod.metadata.namespace == bot.namespace]
        notes = [note for pod in mine for note in death_notes(pod, patterns)]
        return (*(self._logs.findings(bot.key) if _reads_logs(bot) else ()), *notes)

    def _spans(self, identity: str, pods: Sequence[Pod], now: datetime) -> tuple[PodSpan, ...]:
        living = [known for pod in pods if (known := span(pod)) is not None]
        return (*self.history.of(identity, now), *living)


def _nodes_of(claim: Claim | None, ended: Mapping[str, Vanished | None]) -> set[str]:
    """The node that matters of a holder that has vanished, and was not seen to end."""
    return {claim.node} if claim and any(ended.values()) else set()


def _reads_logs(bot: Bot) -> bool:
    """Whether the user lets the bot's logs be read. A termination message stands in the pod's status anyway."""
    return bot.spec is not None and bot.spec.conflict.logs


def _is_conflicted(bot: Bot) -> bool:
    """Whether the status says that there are conflicts."""
    found = [each for each in bot.status.get("conditions") or [] if each.get("type") == ConditionType.CONFLICTED]
    return any(each.get("status") == "True" for each in found)


def _verb(error: KubeError) -> str:
    return "watch" if "cannot watch" in error.message else "list"


def selector(deployment: Deployment) -> str:
    """Return a Deployment's selector as a query."""
    raw: dict[str, Any] = msgspec.json.decode(deployment.spec.selector)
    parts = [f"{key}={value}" for key, value in (raw.get("matchLabels") or {}).items()]
    for each in raw.get("matchExpressions") or []:
        values = ",".join(each.get("values") or [])
        match each["operator"]:
            case "In":
                parts.append(f"{each['key']} in ({values})")
            case "NotIn":
                parts.append(f"{each['key']} notin ({values})")
            case "Exists":
                parts.append(each["key"])
            case "DoesNotExist":
                parts.append(f"!{each['key']}")
    return ",".join(parts)


class _Items(msgspec.Struct):
    items: list[msgspec.Raw] = []


def _replica_set_list(data: bytes) -> list[ReplicaSet]:
    return [parse_replica_set(bytes(item)) for item in msgspec.json.decode(data, type=_Items).items]
