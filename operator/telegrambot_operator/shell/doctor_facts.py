"""Gathers the facts of one bot for the doctor, out of a census of the cluster and a few reads of its own."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from .. import names
from ..core import desired, understand
from ..core.carrier import Admission
from ..core.classify import overdue
from ..core.doctor_census import Census, Employer
from ..core.doctor_facts import Facts, Gap, Log, Mail, Place, Users
from ..core.doctor_pods import STUCK_SECONDS
from ..core.doctor_uses import holders, others, place_of, rivals, secrets_named, ways, written_out
from ..core.evidence import ConflictPattern, compile_pattern, polling_started, read_conflicts, webhook_set
from ..core.lifetimes import death_notes
from ..core.observed import Bot, PodFinding, TokenState, TokenView
from ..core.records import Deployment, Node, Pod, parse_config_map, parse_node, parse_policy
from ..core.strays import PodParts, Wanted
from ..core.table import Entry, parse
from ..core.targets import Tail, chosen_container
from ..core.word import Me, Refused
from .doctor_cluster import Cluster, Secret, secret
from .doctor_telegram import ask
from .kube import CONFIGMAPS, DEPLOYMENTS, MUTATING_BINDINGS, MUTATING_POLICIES, NODES, SECRETS
from .logs import LARGE_BYTES, LARGE_LINES, TAIL_BYTES, TAIL_LINES
from .telegram import Telegram

MOST_SECRETS = 5
MOST_LOGS = 4
HEAD_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class _Token:
    """Where the token is and what is known of it; the token itself goes from here to Telegram and nowhere else."""

    place: Place | Gap | None
    view: TokenView | Gap = field(default_factory=TokenView)
    text: str | None = field(default=None, repr=False)
    sole: bool = False

    @property
    def bot_id(self) -> int | None:
        return self.view.bot_id if isinstance(self.view, TokenView) else None

    @property
    def wanted(self) -> Wanted:
        """What to look for where others may have it."""
        ref = self.place.secret if isinstance(self.place, Place) else None
        return Wanted(ref.name if ref else None, ref.key if ref else "", self.text, self.sole)


class Gatherer:
    """Gathers facts, with one census for all bots of a run."""

    def __init__(self, cluster: Cluster, census: Census, telegram: Telegram) -> None:
        self._cluster = cluster
        self._census = census
        self._telegram = telegram
        self._tables: dict[str, asyncio.Task[Mapping[str, str] | Gap]] = {}
        self._policies: asyncio.Task[frozenset[str] | Gap] | None = None

    async def of(self, namespace: str, name: str, bot: Bot | None) -> Facts:
        """Return the facts of a Deployment, as one that the TelegramBot names or as a plain one."""
        found = self._census.employer((namespace, name)) or await self._cluster.one(
            DEPLOYMENTS, name, Employer.of, namespace
        )
        there = found if isinstance(found, Employer) else None
        deployment = there.deployment if there else None
        token = await self._token(namespace, bot, there.parts if there else PodParts())
        table = await self._table(namespace)
        facts = Facts(
            namespace=namespace,
            deployment_name=name,
            now=datetime.now(UTC),
            bot=bot,
            deployment=found if isinstance(found, Gap) else deployment,
            pods=found if isinstance(found, Gap) else self._census.pods_of(deployment),
            autoscalers=self._census.scaling((namespace, name)),
            identity=_identity(bot, token, deployment, _entry(table, name)) or names.fallback_identity(namespace, name),
            place=token.place,
            token=token.view,
            holders=holders(there.parts, token.wanted) if there else (),
        )
        facts = replace(facts, namesakes=self._namesakes(facts))
        return await self._asked(replace(facts, users=self._users(facts, token)), token, table)

    async def _asked(self, facts: Facts, token: _Token, table: Mapping[str, str] | Gap) -> Facts:
        """Add what has to be asked for: all at once, since each may take its time."""
        (account, mail), logs, nodes, admission = await asyncio.gather(
            self._ask(facts, token), self._logs(facts), self._nodes(facts), self._admission(facts, table)
        )
        now = datetime.now(UTC)
        return replace(facts, account=account, mail=mail, logs=logs, nodes=nodes, admission=admission, now=now)

    # --- Pods -----------------------------------------------------------------------------------------------------

    def _namesakes(self, facts: Facts) -> tuple[Pod, ...]:
        known = set() if isinstance(facts.pods, Gap) else {pod.uid for pod in facts.pods}
        return tuple(pod for pod in self._census.with_label(facts.identity) if pod.uid not in known)

    def _users(self, facts: Facts, token: _Token) -> Users:
        """Who else has the token; the bot's own pods and those with its label are judged elsewhere."""
        if not isinstance(token.place, Place):
            return Users()
        ref = token.place.secret
        mine = {pod.uid for pod in facts.all_pods}
        there = [
            user
            for user in self._census.users(facts.namespace, ref.name if ref else None, token.text)
            if user.uid not in mine and (user.kind, user.namespace, user.name) != facts.itself
        ]
        found = others(there, facts.namespace, token.wanted, self._census.unseen)
        kin = self._census.kin(facts.namespace, ref, token.bot_id)
        return replace(found, found=(*rivals(kin, facts), *found.found))

    async def _nodes(self, facts: Facts) -> dict[str, Node | None]:
        stuck = {pod.spec.node_name for pod in facts.all_pods if overdue(pod, STUCK_SECONDS, facts.now)}
        read = {name: await self._cluster.one(NODES, name, parse_node) for name in sorted(stuck - {""})}
        return {name: found for name, found in read.items() if not isinstance(found, Gap)}

    # --- The lock table -------------------------------------------------------------------------------------------

    async def _table(self, namespace: str) -> Mapping[str, str] | Gap:
        """What the namespace's lock table says, read once in a run."""
        if namespace not in self._tables:
            self._tables[namespace] = asyncio.create_task(self._read_table(namespace))
        return await self._tables[namespace]

    async def _read_table(self, namespace: str) -> Mapping[str, str] | Gap:
        found = await self._cluster.one(CONFIGMAPS, names.LOCK_TABLE, parse_config_map, namespace)
        return found if isinstance(found, Gap) else found.data if found else {}

    async def _admission(self, facts: Facts, table: Mapping[str, str] | Gap) -> Admission | Gap:
        """What the policies do for the Deployment. They are looked for where pods do not show that they work."""
        if isinstance(table, Gap):
            return table
        if facts.bot is None or facts.deployment_name not in table:
            return Admission(table=table)
        if facts.pollers and all(pod.is_locked(facts.identity) for pod in facts.pollers):
            return Admission(frozenset({names.POLICY_LOCK, names.POLICY_PIN}), table)
        if self._policies is None:
            self._policies = asyncio.create_task(self._read_policies())
        policies = await self._policies
        return policies if isinstance(policies, Gap) else Admission(policies, table)

    async def _read_policies(self) -> frozenset[str] | Gap:
        found: set[str] = set()
        for name in (names.POLICY_LOCK, names.POLICY_PIN):
            policy = await self._cluster.one(MUTATING_POLICIES, name, parse_policy)
            binding = await self._cluster.one(MUTATING_BINDINGS, name, parse_policy)
            for each in (policy, binding):
                if isinstance(each, Gap):
                    return each
            found |= {name} if policy and binding else set()
        return frozenset(found)

    # --- The token ------------------------------------------------------------------------------------------------

    async def _token(self, namespace: str, bot: Bot | None, parts: PodParts) -> _Token:
        """Find and read the token: where the TelegramBot says that it is, else where the pod template has it."""
        asked = bot.spec.token if bot and bot.spec else None
        found = ways(parts)
        secrets = [asked.secret_key_ref.name] if asked else secrets_named(found)[:MOST_SECRETS]
        read = {name: await self._cluster.one(SECRETS, name, secret, namespace) for name in secrets}
        known = {name: each for name, each in read.items() if not isinstance(each, Gap)}
        gap = next((each for each in read.values() if isinstance(each, Gap)), None)
        place = Place(asked.secret_key_ref) if asked else place_of(found, known)
        if place is None:
            return _Token(gap)
        if place.secret is None:
            text = written_out(parts, place.env)
            return _Token(place, TokenView(TokenState.VALID, int(text.partition(":")[0]) if text else None), text)
        if place.secret.name not in known:
            return _Token(place, gap or Gap(f"Secret {place.secret.name} was not read"))
        return _read(place, known[place.secret.name])

    # --- Telegram and the logs --------------------------------------------------------------------------------------

    async def _ask(self, facts: Facts, token: _Token) -> tuple[Me | Refused | Gap | None, Mail | Gap | None]:
        if token.text is not None:
            return await ask(self._telegram, token.text, polls=facts.spec.webhook is None)
        unread = next((each for each in (token.place, token.view) if isinstance(each, Gap)), None)
        why = Gap("Telegram cannot be asked without the token", unread.todo) if unread else None
        return why, why

    async def _logs(self, facts: Facts) -> tuple[Log, ...] | Gap:
        """The logs of a few pods. One that cannot be read counts only where none can."""
        pods = [pod for pod in facts.pollers if pod.metadata.namespace == facts.namespace]
        first = sorted(pods, key=lambda pod: (pod.deleting, pod.name))[:MOST_LOGS]
        read = await asyncio.gather(*(self._log(pod, _container(facts), facts) for pod in first))
        logs = tuple(each for each in read if isinstance(each, Log))
        gaps = [each for each in read if isinstance(each, Gap)]
        return gaps[0] if gaps and not logs else logs

    async def _log(self, pod: Pod, chosen: str | None, facts: Facts) -> Log | Gap:
        """The 409s of this run and of the one before, and the good signs of this one: its beginning may tell them."""
        tail = Tail.of(pod, chosen, _patterns(facts))
        before = await self._tail(pod, tail.container, previous="true") if tail.previous_unread else b""
        now = await self._tail(pod, tail.container) if tail.running else b""
        if isinstance(now, Gap):
            return now
        head: bytes | Gap = b""
        if tail.running and not polling_started(now) and not webhook_set(now):
            head = await self._cluster.log(pod, container=tail.container, limitBytes=str(HEAD_BYTES))
        said = now + (head if isinstance(head, bytes) else b"")
        found = [each for text in (before, now) if isinstance(text, bytes) for each in _conflicts(pod, text, facts)]
        return Log(pod.name, (*found, *death_notes(pod, _patterns(facts))), polling_started(said), webhook_set(said))

    async def _tail(self, pod: Pod, container: str, **options: str) -> bytes | Gap:
        """The end of a log. A limit keeps the beginning of what was asked for, so of a full answer fewer lines are."""
        text: bytes | Gap = b""
        for lines, size in ((TAIL_LINES, TAIL_BYTES), (LARGE_LINES, LARGE_BYTES)):
            query = {"container": container, "tailLines": str(lines), "limitBytes": str(size)}
            text = await self._cluster.log(pod, **query, **options)
            if isinstance(text, Gap) or len(text) < size:
                break
        return text


def _patterns(facts: Facts) -> list[ConflictPattern]:
    return [compile_pattern(each) for each in facts.spec.conflict.patterns]


def _conflicts(pod: Pod, text: bytes, facts: Facts) -> list[PodFinding]:
    found = read_conflicts(text, kubelet_timestamps=True, extra=_patterns(facts))
    return [PodFinding(pod.name, pod.uid, each, each.time) for each in found if each.time is not None]


def _read(place: Place, content: Secret | None) -> _Token:
    """What a Secret says of the token."""
    if place.secret is None:
        return _Token(place)
    sole = content is not None and len(content.get("data") or {}) == 1
    return _Token(place, understand.token(content, place.secret), understand.token_itself(content, place.secret), sole)


def _entry(table: Mapping[str, str] | Gap, name: str) -> Entry | None:
    return None if isinstance(table, Gap) else parse(table.get(name, ""))


def _identity(bot: Bot | None, token: _Token, deployment: Deployment | None, entry: Entry | None) -> str:
    """The identity that the operator gives the bot, or "" for its name; a token that we may not read, it may."""
    if bot is None:
        return "" if token.bot_id is None else str(token.bot_id)
    view = token.view if isinstance(token.view, TokenView) else TokenView(TokenState.FORBIDDEN)
    if bot.spec is not None and bot.spec.token is None:
        view = TokenView()
    entered = entry.identity if entry is not None and entry.bot == bot.name else None
    return desired.identity(bot, view, deployment, entered)


def _container(facts: Facts) -> str | None:
    """The container whose log is the bot's: the one that is named, else the first that is given the token."""
    if not isinstance(facts.deployment, Deployment):
        return None
    return chosen_container(facts.bot, facts.deployment) or next(iter(facts.holders), None)
