"""What the doctor knows of one bot, gathered before the first check; what could not be read is a `Gap` that says why.

TelegramBot --- if there is one      Deployment --- the one that it names, or the one that was asked for
pods ---------- the Deployment's own, and all others that may be seen with the bot's label
nodes --------- those of pods that hang            token ---------- where it is, and its bot id; never the token
users --------- who else uses the same token       account, mail -- Telegram's own word: getMe, getWebhookInfo
logs ---------- what the running pods' logs say    autoscalers ---- those that scale the Deployment
admission ----- the policies and the lock table
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from ..api.models import SecretKeyRef, TelegramBotSpec
from ..names import Reason
from . import desired
from .carrier import Admission
from .classify import may_poll
from .observed import Bot, Observed, PodFinding, TokenView
from .records import Deployment, Node, Pod
from .webhooks import host_of
from .word import Info, Me, Refused


@dataclass(frozen=True, slots=True)
class Gap:
    """What could not be read: why, and what to do about it."""

    why: str
    todo: str = "try again"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a bot's token is: a Secret and its key, or written out in the pod template (`secret` is None).

    `env` is the variable that holds it, "" where that is not known.
    """

    secret: SecretKeyRef | None
    env: str = ""

    def __str__(self) -> str:
        """As the object of a sentence."""
        if self.secret is None:
            return f"the value of {self.env} in the pod template" if self.env else "the pod template"
        return f"key {self.secret.key} of Secret {self.secret.name}"


@dataclass(frozen=True, slots=True)
class Mail:
    """What getWebhookInfo says, and whether fewer updates waited at a second look; None where there was none."""

    info: Info
    fell: bool | None = None

    @property
    def host(self) -> str:
        """Where Telegram delivers to, as it may be shown."""
        return host_of(self.info.url) or "an address without a host"


@dataclass(frozen=True, slots=True)
class Log:
    """What the log of one pod says: its 409s, and whether it says that polling began or that a webhook was set."""

    pod: str
    findings: tuple[PodFinding, ...] = ()
    polls: bool = False
    hooks: bool = False


@dataclass(frozen=True, slots=True)
class Users:
    """Who else has the bot's token, each as a person may look for it; `unseen` says where nobody could look.

    `perhaps`: who is given a whole Secret that holds more than the token, and may want the rest of it.
    """

    found: tuple[str, ...] = ()
    perhaps: tuple[str, ...] = ()
    unseen: Gap | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Everything that the doctor knows of one bot."""

    namespace: str
    deployment_name: str
    now: datetime
    bot: Bot | None = None
    deployment: Deployment | Gap | None = None
    pods: tuple[Pod, ...] | Gap = ()
    namesakes: tuple[Pod, ...] = ()
    nodes: Mapping[str, Node | None] = field(default_factory=dict)
    autoscalers: tuple[str, ...] | Gap = ()
    admission: Admission | Gap = field(default_factory=Admission)
    identity: str = ""
    place: Place | Gap | None = None
    token: TokenView | Gap = field(default_factory=TokenView)
    users: Users = field(default_factory=Users)
    holders: tuple[str, ...] = ()  # those containers of its own pods that are given the token
    account: Me | Refused | Gap | None = None
    mail: Mail | Gap | None = None
    logs: tuple[Log, ...] | Gap = ()

    @property
    def spec(self) -> TelegramBotSpec:
        """What is asked for; of a plain Deployment what a TelegramBot asks for by default."""
        return (self.bot.spec if self.bot else None) or TelegramBotSpec()

    @property
    def loses(self) -> bool:
        """Whether the operator says that another TelegramBot runs the same bot, so that this one gets no pod."""
        conditions = self.bot.status.get("conditions") or [] if self.bot else []
        return any(each.get("type") == "Ready" and each.get("reason") == Reason.DUPLICATE_BOT for each in conditions)

    @property
    def wanted(self) -> int:
        """How many pods there should be."""
        return desired.replicas(self.spec, loses=self.loses)

    @property
    def why_none(self) -> str:
        """Why there should be none."""
        return "as spec.suspend asks" if self.spec.suspend else "since another TelegramBot runs the same bot"

    @property
    def itself(self) -> tuple[str, str, str]:
        """The Deployment: kind, namespace and name."""
        return "Deployment", self.namespace, self.deployment_name

    @property
    def own(self) -> tuple[Pod, ...]:
        """The Deployment's pods, as far as they are known."""
        return () if isinstance(self.pods, Gap) else self.pods

    @property
    def all_pods(self) -> tuple[Pod, ...]:
        """The Deployment's pods and all others of its identity."""
        return (*self.own, *self.namesakes)

    @property
    def pollers(self) -> tuple[Pod, ...]:
        """The pods that may be polling, in the order of their names; those of the TelegramBot that wins are its own."""
        asked = self.own if self.loses else self.all_pods
        return tuple(sorted((pod for pod in asked if may_poll(pod)), key=lambda pod: pod.name))

    @property
    def recent(self) -> timedelta:
        """For how long a 409 counts."""
        return timedelta(seconds=self.spec.conflict.clear_after_seconds)

    def observed(self, admission: Admission) -> Observed:
        """As much of it as the operator's own functions ask for."""
        return Observed(
            namespace=self.namespace,
            name=self.bot.name if self.bot else "",
            bot=self.bot,
            identity=self.identity,
            admission=admission,
        )
