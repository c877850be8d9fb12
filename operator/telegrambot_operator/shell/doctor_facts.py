"""Gathers the facts of one bot for the doctor, out of a census of the cluster and a few reads of its own."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from .. import names
from ..api.models import Delivery
from ..core import desired, understand
from ..core.carrier import Admission
from ..core.classify import Life, life, overdue
from ..core.doctor_checks import STUCK_SECONDS
from ..core.doctor_facts import Account, Facts, Gap, Hook, Log, Place, Refused, Users
from ..core.doctor_uses import others, place_of, ways, written_out
from ..core.evidence import compile_pattern, polling_started, read_conflicts, webhook_set
from ..core.lifetimes import death_notes
from ..core.observed import Bot, PodFinding, TokenState, TokenView
from ..core.ownership import belongs
from ..core.records import (
    Deployment,
    Node,
    Pod,
    parse_autoscaler,
    parse_config_map,
    parse_node,
    parse_policy,
    template_of,
)
from ..core.strays import PodParts, Wanted, uses
from ..core.table import Entry, parse
from .doctor_cluster import Census, Cluster, employer, parts_of, secret_content, users
from .doctor_telegram import Word
from .kube import (
    AUTOSCALERS,
    CONFIGMAPS,
    DEPLOYMENTS,
    MUTATING_BINDINGS,
    MUTATING_POLICIES,
    NODES,
    SECRETS,
)
from .logs import TAIL_BYTES, TAIL_LINES, Tail

MOST_SECRETS = 5
MOST_LOGS = 4
HEAD_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class _Token:
    """Where the token is and what is known of it; the token itself never leaves this module (INV-7)."""

    place: Place | Gap | None
    view: TokenView | Gap = field(default_factory=TokenView)
    text: str | None = field(default=None, repr=False)
    sole: bool = False


class Gatherer:
    """Gathers facts, with one census for all bots of a run."""

    def __init__(self, cluster: Cluster, census: Census, word: Word) -> None:
        self._cluster = cluster
        self._census = census
        self._word = word

    async def of(self, namespace: str, name: str, bot: Bot | None) -> Facts:
        """Return the facts of a Deployment, as one that the TelegramBot names or as a plain one."""
        now = datetime.now(UTC)
        found = await self._deployment(namespace, name)
        deployment = found if isinstance(found, Deployment) else None
        parts = parts_of(bytes(deployment.spec.template)) if deployment is not None else PodParts()
        token = await self._token(namespace, bot, parts)
        entry, table = await self._entry(namespace, name)
        identity = _identity(bot, token, deployment, entry, namespace, name)
        own = self._own(deployment)
        namesakes = self._namesakes(identity, own)
        facts = Facts(
            namespace=namespace,
            deployment_name=name,
            now=now,
            bot=bot,
            deployment=found,
            pods=own,
            namesakes=namesakes,
            identity=identity,
            place=token.place,
            token=token.view,
            users=self._users(namespace, name, bot, token, (*(() if isinstance(own, Gap) else own), *namesakes)),
        )
        return await self._asked(facts, token, table)

    async def _asked(self, facts: Facts, token: _Token, table: Mapping[str, str] | Gap) -> Facts:
        """Add what has to be asked for: all at once, since each may take its time."""
        (account, hook), logs, nodes, autoscalers, admission = await asyncio.gather(
            self._telegram(facts, token),
            self._logs(facts, token),
            self._nodes(facts),
            self._autoscalers(facts),
            self._admission(facts, table),
        )
        return replace(
            facts,
            account=account,
            hook=hook,
            logs=logs,
            nodes=nodes,
            autoscalers=autoscalers,
            admission=admission,
            now=datetime.now(UTC),
        )

    # --- Deployment and pods --------------------------------------------------------------------------------------

    async def _deployment(self, namespace: str, name: str) -> Deployment | Gap | None:
        if not isinstance(self._census.deployments, Gap):
            keys = {each.deployment.metadata.key: each.deployment for each in self._census.deployments}
            if (namespace, name) in keys:
                return keys[namespace, name]
        found = await self._cluster.one(DEPLOYMENTS, name, employer, namespace)
        return found if isinstance(found, Gap) or found is None else found.deployment

    def _own(self, deployment: Deployment | None) -> tuple[Pod, ...] | Gap:
        if isinstance(self._census.pods, Gap):
            return self._census.pods
        return tuple(each.pod for each in self._census.pods if belongs(each.pod, deployment))

    def _namesakes(self, identity: str, own: tuple[Pod, ...] | Gap) -> tuple[Pod, ...]:
        if isinstance(self._census.pods, Gap) or isinstance(own, Gap):
            return ()
        known = {pod.uid for pod in own}
        labelled = (each.pod for each in self._census.pods if each.pod.metadata.labels.bot == identity)
        return tuple(pod for pod in labelled if pod.uid not in known)

    async def _nodes(self, facts: Facts) -> dict[str, Node | None]:
        own = () if isinstance(facts.pods, Gap) else facts.pods
        stuck = {pod.spec.node_name for pod in (*own, *facts.namesakes) if overdue(pod, STUCK_SECONDS, facts.now)}
        read = {name: await self._cluster.one(NODES, name, parse_node) for name in sorted(stuck - {""})}
        return {name: found for name, found in read.items() if not isinstance(found, Gap)}

    async def _autoscalers(self, facts: Facts) -> tuple[str, ...] | Gap:
        found = await self._cluster.every(AUTOSCALERS, parse_autoscaler, facts.namespace)
        if isinstance(found, Gap):
            return found
        return tuple(
            each.metadata.name
            for each in found
            if each.spec.scale_target_ref.kind == "Deployment"
            and each.spec.scale_target_ref.name == facts.deployment_name
            and each.spec.max_replicas > 1
        )

    # --- The lock table -------------------------------------------------------------------------------------------

    async def _entry(self, namespace: str, name: str) -> tuple[Entry | None, Mapping[str, str] | Gap]:
        found = await self._cluster.one(CONFIGMAPS, names.LOCK_TABLE, parse_config_map, namespace)
        if isinstance(found, Gap):
            return None, found
        table = found.data if found is not None else {}
        return parse(table.get(name, "")), table

    async def _admission(self, facts: Facts, table: Mapping[str, str] | Gap) -> Admission | Gap:
        """Look for the policies only where the table speaks of the Deployment."""
        if facts.bot is None or isinstance(table, Gap):
            return table if isinstance(table, Gap) else Admission()
        if facts.deployment_name not in table:
            return Admission(table=table)
        own = () if isinstance(facts.pods, Gap) else facts.pods
        if own and all(pod.is_locked(facts.identity) for pod in own):
            return Admission(frozenset({names.POLICY_LOCK, names.POLICY_PIN}), table)  # they are seen to work
        policies: set[str] = set()
        for name in (names.POLICY_LOCK, names.POLICY_PIN):
            for resource in (MUTATING_POLICIES, MUTATING_BINDINGS):
                found = await self._cluster.one(resource, name, parse_policy)
                if isinstance(found, Gap):
                    return found
                policies |= {name} if found is not None and resource == MUTATING_BINDINGS else set()
        return Admission(frozenset(policies), table)

    # --- The token ------------------------------------------------------------------------------------------------

    async def _token(self, namespace: str, bot: Bot | None, parts: PodParts) -> _Token:
        asked = bot.spec.token if bot and bot.spec else None
        found = ways(parts)
        wanted = [asked.secret_key_ref.name] if asked else _secrets_of(found)
        read = {name: await self._cluster.one(SECRETS, name, secret_content, namespace) for name in wanted}
        known = {name: secret for name, secret in read.items() if not isinstance(secret, Gap)}
        place = Place(asked.secret_key_ref) if asked else place_of(found, known)
        gaps = [secret for secret in read.values() if isinstance(secret, Gap)]
        if place is None:
            return _Token(gaps[0] if gaps else None)
        if place.secret is None:
            text = written_out(parts, place.env)
            bot_id = int(text.partition(":")[0]) if text else None
            return _Token(place, TokenView(TokenState.VALID, bot_id), text)
        if place.secret.name not in known:
            return _Token(place, gaps[0])
        secret = known[place.secret.name]
        text = understand.token_itself(secret, place.secret)
        sole = secret is not None and len(secret.get("data") or {}) == 1
        return _Token(place, understand.token(secret, place.secret), text, sole)

    def _users(self, namespace: str, name: str, bot: Bot | None, token: _Token, own: Sequence[Pod]) -> Users:
        if not isinstance(token.place, Place):
            return Users()
        ref = token.place.secret
        wanted = Wanted(ref.name if ref else "-", ref.key if ref else "-", token.text, token.sole)
        mine = {pod.uid for pod in own}
        deployments = () if isinstance(self._census.deployments, Gap) else self._census.deployments
        pods = () if isinstance(self._census.pods, Gap) else self._census.pods
        there = users(
            [
                each
                for each in deployments
                if each.deployment.metadata.key != (namespace, name) and each.deployment.spec.replicas
            ],
            [each for each in pods if each.pod.uid not in mine and life(each.pod) is not Life.DEAD],
        )
        found = others(there, namespace, wanted, self._census.unseen)
        return replace(found, found=(*self._rivals(namespace, name, bot, token), *found.found))

    def _rivals(self, namespace: str, name: str, bot: Bot | None, token: _Token) -> list[str]:
        """The other TelegramBots of the same token."""
        ref = token.place.secret if isinstance(token.place, Place) else None
        bot_id = token.view.bot_id if isinstance(token.view, TokenView) else None
        known = () if isinstance(self._census.bots, Gap) else self._census.bots
        told = []
        for each in known:
            if (bot and each.uid == bot.uid) or (not bot and each.key[0] == namespace and each.target == name):
                continue
            theirs = each.spec.token.secret_key_ref if each.spec and each.spec.token else None
            same_key = each.namespace == namespace and ref is not None and theirs == ref
            if same_key or (bot_id is not None and (each.status.get("bot") or {}).get("id") == bot_id):
                where = "" if each.namespace == namespace else f" in namespace {each.namespace}"
                told.append(f"TelegramBot {each.name}{where}")
        return sorted(told)

    # --- Telegram and the logs --------------------------------------------------------------------------------------

    async def _telegram(self, facts: Facts, token: _Token) -> tuple[Account | Refused | Gap | None, Hook | Gap | None]:
        if token.text is not None:
            return await self._word.on(token.text, polls=facts.spec.delivery is Delivery.POLLING)
        if isinstance(token.view, Gap):
            why = Gap("Telegram cannot be asked without the token", token.view.todo)
            return why, why
        return None, None

    async def _logs(self, facts: Facts, token: _Token) -> tuple[Log, ...] | Gap:
        pods = [pod for pod in facts.pollers if pod.metadata.namespace == facts.namespace]
        first = sorted(pods, key=lambda pod: (pod.deleting, pod.name))[:MOST_LOGS]
        chosen = self._container(facts, token)
        read = await asyncio.gather(*(self._log(pod, chosen, facts) for pod in first))
        logs = tuple(each for each in read if isinstance(each, Log))
        gaps = [each for each in read if isinstance(each, Gap)]
        return gaps[0] if gaps and not logs else logs

    def _container(self, facts: Facts, token: _Token) -> str | None:
        """The container whose log is the bot's: the one that is named, else the first that is given the token."""
        if not isinstance(facts.deployment, Deployment):
            return None
        named = (facts.bot.container if facts.bot else None) or template_of(
            facts.deployment
        ).metadata.annotations.container
        ref = token.place.secret if isinstance(token.place, Place) else None
        if named or ref is None:
            return named
        found = uses(parts_of(bytes(facts.deployment.spec.template)), Wanted(ref.name, ref.key))
        return found[0].container if found else None

    async def _log(self, pod: Pod, chosen: str | None, facts: Facts) -> Log | Gap:
        tail = Tail.of(pod, chosen)
        patterns = [compile_pattern(each) for each in facts.spec.conflict.patterns]
        query = {"container": tail.container, "tailLines": str(TAIL_LINES), "limitBytes": str(TAIL_BYTES)}
        findings = death_notes(pod, patterns)
        texts: list[bytes] = []
        for wanted, more in ((tail.previous_unread, {"previous": "true"}), (tail.running, {})):
            text = await self._cluster.log(pod, **query, **more) if wanted else b""
            if isinstance(text, Gap):
                return text
            findings += [
                PodFinding(pod.name, pod.uid, each, each.time)
                for each in read_conflicts(text, kubelet_timestamps=True, extra=patterns)
                if each.time is not None
            ]
            texts.append(text)
        if tail.running and not polling_started(texts[-1]) and not webhook_set(texts[-1]):
            head = await self._cluster.log(pod, container=tail.container, limitBytes=str(HEAD_BYTES))
            texts.append(head if isinstance(head, bytes) else b"")
        last = b"\n".join(texts[1:])
        return Log(pod.name, tuple(findings), polling_started(last), webhook_set(last))


def _secrets_of(found: Sequence[Any]) -> list[str]:
    return list(dict.fromkeys(way.secret for way in found if way.secret))[:MOST_SECRETS]


def _identity(
    bot: Bot | None, token: _Token, deployment: Deployment | None, entry: Entry | None, namespace: str, name: str
) -> str:
    view = token.view if isinstance(token.view, TokenView) else TokenView(TokenState.FORBIDDEN)
    if bot is None:
        return str(view.bot_id) if view.bot_id is not None else names.fallback_identity(namespace, name)
    if bot.spec is not None and bot.spec.token is None:
        view = TokenView()
    entered = entry.identity if entry is not None and entry.bot == bot.name else None
    return desired.identity(bot, view, deployment, entered)
