"""What one pass knows: everything a decision about one bot may depend on, gathered before the first decision.

TelegramBot ----- spec, previous status         Deployment ---- the target, and others that still carry our label
Secret ---------- a bot id, or why there is none   Pods ---------- all that carry the identity, and the target's own
rivals ---------- other TelegramBots with the      nodes --------- only those of pods that hang, read live
                  same Deployment or identity      ReplicaSets --- only those behind duplicates, read live
                                                   versions ------ the target's own ReplicaSets, read live, while it
                                                                   has pods of an older template
admission ------- the policies and the lock table  autoscalers --- those that scale the target
heirs ----------- those identities of such others
                  that a TelegramBot has
claim ----------- whose turn it is (`lock: Gate`)    ended --------- a holder that has vanished
findings -------- 409s read so far                 spans --------- who was alive when, the recently dead included
search ---------- who else has the token, once it was looked for
failures -------- what could not be read or written, and why
lacking --------- rights that were lacking when last asked for, of whatever part of the operator
silence --------- what Telegram tells of processes on lost nodes, while it is listened to
word ------------ what Telegram says of the bot: its username, its webhook, updates that pile up
contest --------- who keeps undoing the pin
held_back ------- forced deletes that have to wait: there are only so many in a minute
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from ..api.models import TelegramBotSpec
from .carrier import Admission
from .contest import Contest
from .evidence import Finding
from .records import Deployment, Node, Pod, ReplicaSet
from .rights import Lack, lack
from .silence import Silence
from .strays_search import Search
from .table import Entry, parse
from .turn import Claim, Vanished
from .word import Word


@dataclass(frozen=True, slots=True)
class Bot:
    """A TelegramBot. `spec` is None when it cannot be understood, and `problem` then says why."""

    namespace: str
    name: str
    uid: str
    generation: int
    created: datetime
    spec: TelegramBotSpec | None
    problem: str = ""
    status: Mapping[str, Any] = field(default_factory=dict)
    resource_version: str = "0"
    template: Mapping[str, Any] | None = None
    container: str | None = None
    deleting: bool = False

    @property
    def key(self) -> tuple[str, str]:
        """Namespace and name."""
        return self.namespace, self.name

    @property
    def version(self) -> int:
        """The resource version, which only grows."""
        return int(self.resource_version)

    @property
    def target(self) -> str:
        """The name of the Deployment that this bot runs as."""
        ref = self.spec.deployment_ref if self.spec else None
        return ref.name if ref else self.name

    @property
    def adopts(self) -> bool:
        """Whether the Deployment is somebody else's, adopted, rather than our own."""
        return bool(self.spec and self.spec.deployment_ref)

    @property
    def seniority(self) -> tuple[datetime, str]:
        """Sorts the bot that keeps a contested Deployment first."""
        return self.created, self.uid

    def confirmed(self, identity: str) -> bool:
        """Return whether Telegram has said that the bot's token is that of this identity: anybody can make one up."""
        told = self.status.get("bot") or {}
        return bool(told.get("username")) and str(told.get("id")) == identity


class TokenState(StrEnum):
    """What is known of the bot token."""

    NOT_GIVEN = "NotGiven"
    VALID = "Valid"
    SECRET_NOT_FOUND = "SecretNotFound"  # noqa: S105  a verdict, not a secret
    KEY_NOT_FOUND = "KeyNotFound"
    EMPTY = "Empty"
    NOT_A_TOKEN = "NotAToken"  # noqa: S105  a verdict, not a secret
    FORBIDDEN = "Forbidden"
    UNREADABLE = "Unreadable"


@dataclass(frozen=True, slots=True)
class TokenView:
    """What is known of the bot token: never the token itself, only the public bot id in front of its colon."""

    state: TokenState = TokenState.NOT_GIVEN
    bot_id: int | None = None

    @property
    def missing(self) -> bool:
        """Whether there should be a token and there is none: only looking again tells when it comes."""
        return self.state not in {TokenState.NOT_GIVEN, TokenState.VALID}


@dataclass(frozen=True, slots=True)
class Rival:
    """Another TelegramBot that claims the same Deployment or the same identity.

    `target` is its Deployment's name, `confirmed` whether Telegram has said that it has that identity's token.
    """

    namespace: str
    name: str
    uid: str
    created: datetime
    same_deployment: bool
    target: str = ""
    confirmed: bool = False

    @property
    def seniority(self) -> tuple[datetime, str]:
        """Sorts as `Bot.seniority`."""
        return self.created, self.uid

    @property
    def standing(self) -> tuple[bool, datetime, str]:
        """Sorts the bot that keeps a contested identity first: one that Telegram knows, then the older one."""
        return not self.confirmed, self.created, self.uid


@dataclass(frozen=True, slots=True)
class PodFinding:
    """A 409 and the pod that it was read from. `exact` is false when only the end of the container is known."""

    pod: str
    uid: str
    finding: Finding
    at: datetime
    exact: bool = True


@dataclass(frozen=True, slots=True)
class PodSpan:
    """When a pod's process may have been polling. `ended` and `deleted` are None while they have not happened.

    `deployment` is the name of the Deployment that it is a pod of, "" where it is of none.
    """

    pod: str
    uid: str
    started: datetime
    deleted: datetime | None = None
    ended: datetime | None = None
    namespace: str = ""
    deployment: str = ""


@dataclass(frozen=True, slots=True)
class Failure:
    """A request that failed: verb, resource, HTTP status (0: no answer) and the server's words."""

    verb: str
    resource: str
    status: int
    message: str

    @property
    def refused(self) -> bool:
        """Whether the server understood and will not do it: trying again is of no use before something changes."""
        return self.status in {400, 403, 422}

    @property
    def lack(self) -> Lack | None:
        """The right that the operator lacks, if that is why; a 403 is also what quotas and admission answer."""
        return lack(self.message) if self.status == 403 else None

    @property
    def lacks_right(self) -> bool:
        """Whether the operator lacks the right."""
        return self.lack is not None

    def __str__(self) -> str:
        """One sentence for a person."""
        if self.lack is not None:
            return str(self.lack)
        return f"{self.verb} {self.resource} {'was refused' if self.refused else 'failed'}: {self.message}"


# So many pods does one operator force-delete in a minute: a zone that is lost must not become a storm.
FORCED_A_MINUTE = 10


@dataclass(frozen=True, slots=True)
class Later:
    """When a forced delete that has to wait may be made: for people, and in seconds from now by a steady clock."""

    at: datetime
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """Everything that one pass knows about one bot."""

    namespace: str
    name: str
    bot: Bot | None
    identity: str = ""
    token: TokenView = TokenView()
    deployment: Deployment | None = None
    leftovers: tuple[Deployment, ...] = ()
    heirs: frozenset[str] = frozenset()
    pods: tuple[Pod, ...] = ()
    nodes: Mapping[str, Node | None] = field(default_factory=dict)
    replica_sets: Mapping[str, ReplicaSet | None] = field(default_factory=dict)
    versions: tuple[ReplicaSet, ...] = ()
    rivals: tuple[Rival, ...] = ()
    findings: tuple[PodFinding, ...] = ()
    spans: tuple[PodSpan, ...] = ()
    search: Search | None = None
    failures: tuple[Failure, ...] = ()
    lacking: tuple[Lack, ...] = ()
    older: str = ""  # what the CRD in the cluster lacks of this operator's status, in a sentence
    log_problem: str = ""
    claim: Claim | None = None
    ended: Mapping[str, Vanished | None] = field(default_factory=dict)
    applied_generation: int | None = None
    shaped_generation: int | None = None
    silence: Silence | None = None
    word: Word | None = None
    held_back: Mapping[str, Later] = field(default_factory=dict)  # by uid of the pod
    admission: Admission = field(default_factory=Admission)
    contest: Contest | None = None
    unlocked: str = ""  # a pod of the bot that the policies should have locked and did not
    autoscalers: tuple[str, ...] = ()

    def entry_of(self, deployment: str) -> Entry | None:
        """Return what the lock table says of a Deployment, where it says it for this bot."""
        entry = parse(self.admission.table.get(deployment, ""))
        return entry if entry is not None and entry.bot == self.name else None

    @property
    def entry(self) -> Entry | None:
        """What the lock table says of the bot's own Deployment."""
        return self.entry_of(self.bot.target) if self.bot else None

    @property
    def pods_unknown(self) -> Failure | None:
        """Why the bot's pods could not be listed, or None where they are known."""
        return next(
            (each for each in self.failures if each.resource == "pods" and each.verb in {"list", "watch"}), None
        )
