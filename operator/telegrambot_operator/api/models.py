"""The TelegramBot resource: one frozen model per object of its `spec`, and the shape of its `status`.

The CRD under `crds/` is generated from these models (`crd.py`), so a field's description, default and bounds stand
here and nowhere else. Unknown fields are ignored: the API server has pruned them already.
"""

from collections.abc import Callable
from enum import StrEnum
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel
from pydantic.config import JsonDict

PRESERVE: JsonDict = {"x-kubernetes-preserve-unknown-fields": True}
# An object left out is stored as its defaults, which the API server fills in from an empty one.
EMPTY: JsonDict = {"default": {}}


class Model(BaseModel):
    """Frozen, camelCase in JSON, tolerant of fields it does not know."""

    model_config = ConfigDict(frozen=True, alias_generator=to_camel, populate_by_name=True, extra="ignore")


class Delivery(StrEnum):
    """How the bot gets its updates: Telegram's getUpdates or setWebhook."""

    POLLING = "Polling"
    WEBHOOK = "Webhook"


class Lock(StrEnum):
    """What keeps a second pod from starting while one may be polling."""

    SCHEDULER = "Scheduler"
    GATE = "Gate"
    NONE = "None"


class Duplicates(StrEnum):
    """What to do with pods of the bot beyond one."""

    DELETE = "Delete"
    REPORT = "Report"


class StuckPolicy(StrEnum):
    """When a pod that hangs in Terminating may be force-deleted."""

    WHEN_PROVEN = "WhenProven"
    FORCE = "Force"
    NEVER = "Never"


class Remedy(StrEnum):
    """Whether the operator may repair a webhook that is the cause of a conflict."""

    NONE = "None"
    FIX_WEBHOOK = "FixWebhook"


class NotPollingPolicy(StrEnum):
    """What to do with a Ready bot whose updates pile up at Telegram."""

    REPORT = "Report"
    RESTART = "Restart"


# https://kubernetes.io/docs/concepts/overview/working-with-objects/names/
ObjectName = Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")]
KeyName = Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[-._a-zA-Z0-9]+$")]
Seconds = Annotated[int, Field(ge=0, le=86400)]


class DeploymentRef(Model):
    """An existing Deployment in the TelegramBot's namespace."""

    name: ObjectName = Field(description="Name of the Deployment to adopt, in this namespace.")


class SecretKeyRef(Model):
    """A key of a Secret in the TelegramBot's namespace."""

    name: ObjectName = Field(description="Name of the Secret, in this namespace.")
    key: KeyName = Field(description="Key within the Secret that holds the bot token.")


class Token(Model):
    """Where the bot token is. Only the bot id in front of its colon ever leaves the operator's memory."""

    secret_key_ref: SecretKeyRef = Field(description="The Secret and key that hold the bot token.")
    env: Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")] | None = Field(
        default=None,
        description="With `template`: the environment variable that gets the token in the first container, "
        "unless the container sets it already.",
    )


class Webhook(Model):
    """Where Telegram delivers the bot's updates."""

    url: Annotated[str, Field(min_length=9, max_length=2048, pattern=r"^https://")] = Field(
        description="The HTTPS URL that Telegram delivers to."
    )


class StuckPods(Model):
    """What to do with pods that hang in Terminating."""

    policy: StuckPolicy = Field(
        default=StuckPolicy.WHEN_PROVEN,
        description="WhenProven: force-delete only what is proven dead. Force: also without proof. Never: only report.",
    )
    after_seconds: Seconds = Field(
        default=60,
        description="How long past its deletionTimestamp, which already includes the grace period, a pod is stuck.",
    )


class Conflict(Model):
    """How 409 conflicts are found and when they are over."""

    logs: bool = Field(default=True, description="Read the bot's log for 409 conflicts.")
    patterns: Annotated[tuple[Annotated[str, Field(min_length=1, max_length=200)], ...], Field(max_length=16)] = Field(
        default=(),
        description="More regular expressions, in RE2 syntax, that mark a log line as a conflict.",
    )
    clear_after_seconds: Annotated[int, Field(ge=1, le=86400)] = Field(
        default=300, description="How long without a 409 before the condition clears."
    )
    remedy: Remedy = Field(
        default=Remedy.NONE,
        description="FixWebhook: when a webhook is the cause, delete it (Polling) or set it (Webhook).",
    )


class NotPolling(Model):
    """What to do with a Ready bot whose updates pile up at Telegram."""

    policy: NotPollingPolicy = Field(default=NotPollingPolicy.REPORT, description="Report it, or restart the bot.")
    after_seconds: Annotated[int, Field(ge=30, le=86400)] = Field(
        default=300, description="How long updates may pile up before the bot counts as not polling."
    )


class ContainerTemplate(Model):
    """A container of the pod template; its fields are Kubernetes' own."""

    model_config = ConfigDict(json_schema_extra=PRESERVE)
    name: Annotated[str, Field(min_length=1, max_length=63)]


class PodTemplateSpec(Model):
    """The pod's spec; its fields are Kubernetes' own and are checked when the Deployment is written."""

    model_config = ConfigDict(json_schema_extra=PRESERVE)
    containers: Annotated[list[ContainerTemplate], Field(min_length=1, max_length=64)]


class PodTemplate(Model):
    """A pod template, as in a Deployment."""

    model_config = ConfigDict(json_schema_extra=PRESERVE)
    metadata: Annotated[dict[str, Any], Field(json_schema_extra=PRESERVE)] | None = Field(
        default=None, description="Labels and annotations of the pod."
    )
    spec: PodTemplateSpec = Field(description="The pod's spec, as in a Deployment.")


class TelegramBotSpec(Model):
    """What the user wants: one running instance of one Telegram bot."""

    model_config = ConfigDict(json_schema_extra=lambda schema: schema.update(_cel_rules()))

    deployment_ref: DeploymentRef | None = Field(
        default=None, description="Adopt this existing Deployment. Exclusive with template."
    )
    template: PodTemplate | None = Field(
        default=None,
        description="Own a Deployment, named as the TelegramBot, with this pod template. Exclusive with deploymentRef.",
    )
    token: Token | None = Field(
        default=None,
        description="Where the bot token is; without it the bot's identity is this resource and Telegram is not asked.",
    )
    delivery: Delivery = Field(
        default=Delivery.POLLING, description="How the bot gets its updates: Polling (getUpdates) or Webhook."
    )
    webhook: Webhook | None = Field(default=None, description="Required with delivery: Webhook, refused with Polling.")
    suspend: bool = Field(default=False, description="True: zero pods, on purpose.")
    lock: Lock = Field(
        default=Lock.SCHEDULER,
        description="Scheduler: the scheduler starts a second pod only when the first is gone. Gate: every pod also "
        "waits for the operator to open it. None: pin and repair only.",
    )
    duplicates: Duplicates = Field(
        default=Duplicates.DELETE,
        description="Delete pods of the bot beyond one, and after a 409 pods made by hand that have its token; "
        "or only report them.",
    )
    stuck_pods: StuckPods = Field(
        default_factory=StuckPods, json_schema_extra=EMPTY, description="Pods that hang in Terminating."
    )
    conflict: Conflict = Field(
        default_factory=Conflict, json_schema_extra=EMPTY, description="How 409 conflicts are found and cleared."
    )
    not_polling: NotPolling = Field(
        default_factory=NotPolling,
        json_schema_extra=EMPTY,
        description="A Ready bot whose updates pile up at Telegram.",
    )


class Rule(NamedTuple):
    """A check across fields: as CEL for the API server, as a predicate for objects stored before the rule existed."""

    cel: str
    holds: Callable[[TelegramBotSpec], bool]
    message: str


RULES = (
    Rule(
        "has(self.deploymentRef) != has(self.template)",
        lambda spec: (spec.deployment_ref is None) != (spec.template is None),
        "spec needs exactly one of deploymentRef (adopt an existing Deployment) and template (own a new one)",
    ),
    Rule(
        "self.delivery != 'Webhook' || has(self.webhook)",
        lambda spec: spec.delivery is not Delivery.WEBHOOK or spec.webhook is not None,
        "spec.webhook.url is required with delivery: Webhook; add it, or use delivery: Polling",
    ),
    Rule(
        "self.delivery != 'Polling' || !has(self.webhook)",
        lambda spec: spec.delivery is not Delivery.POLLING or spec.webhook is None,
        "spec.webhook is refused with delivery: Polling, since a bot cannot poll while a webhook is set; "
        "remove it, or use delivery: Webhook",
    ),
    Rule(
        "!has(self.token) || !has(self.token.env) || has(self.template)",
        lambda spec: spec.token is None or spec.token.env is None or spec.template is not None,
        "spec.token.env works only with template; with deploymentRef the Deployment sets its own environment",
    ),
    Rule(
        "!has(self.conflict) || self.conflict.remedy != 'FixWebhook' || has(self.token)",
        lambda spec: spec.conflict.remedy is not Remedy.FIX_WEBHOOK or spec.token is not None,
        "spec.conflict.remedy: FixWebhook needs spec.token, to speak to Telegram in the bot's name",
    ),
    Rule(
        "!has(self.notPolling) || self.notPolling.policy != 'Restart' || has(self.token)",
        lambda spec: spec.not_polling.policy is not NotPollingPolicy.RESTART or spec.token is not None,
        "spec.notPolling.policy: Restart needs spec.token, to ask Telegram for the bot's waiting updates",
    ),
)


def _cel_rules() -> dict[str, Any]:
    return {"x-kubernetes-validations": [{"rule": rule.cel, "message": rule.message} for rule in RULES]}


class Condition(Model):
    """A condition as in the Kubernetes API conventions (metav1.Condition)."""

    type: Annotated[str, Field(max_length=316)]
    status: Literal["True", "False", "Unknown"]
    observed_generation: Annotated[int, Field(ge=0, json_schema_extra={"format": "int64"})]
    last_transition_time: Annotated[str, Field(json_schema_extra={"format": "date-time"})]
    reason: Annotated[str, Field(min_length=1, max_length=1024)]
    message: Annotated[str, Field(max_length=32768)]


class BotStatus(Model):
    """The bot at Telegram."""

    id: Annotated[int, Field(json_schema_extra={"format": "int64"})] | None = None
    username: str | None = None


class WebhookRepair(Model):
    """The operator's last repair of the webhook."""

    time: Annotated[str, Field(json_schema_extra={"format": "date-time"})] | None = None
    generation: Annotated[int, Field(json_schema_extra={"format": "int64"})] | None = Field(
        default=None, description="The generation of this resource that it was made for."
    )
    problem: str | None = Field(default=None, description="What Telegram answered, if it refused.")


class WebhookStatus(Model):
    """The webhook as Telegram reports it."""

    host: str | None = Field(default=None, description="The host that Telegram delivers to; no more of the URL.")
    pending_updates: int | None = Field(
        default=None, description="At least so many updates wait, in steps of 1, 2, 5; told while they pile up."
    )
    last_error: str | None = Field(default=None, description="Why Telegram could not deliver, for an hour.")
    repaired: WebhookRepair | None = None


class NotPollingStatus(Model):
    """Restarts of a bot that was ready and fetched no updates."""

    restarts: int | None = Field(default=None, description="How many, since it was last well for an hour.")
    last_restart: Annotated[str, Field(json_schema_extra={"format": "date-time"})] | None = None


class LastConflict(Model):
    """The latest 409 conflict."""

    time: Annotated[str, Field(json_schema_extra={"format": "date-time"})] | None = Field(
        default=None, description="When the latest 409 was answered."
    )
    cause: str | None = Field(default=None, description="The cause, as the Conflicted condition's reason.")
    evidence: str | None = Field(default=None, description="The line it was read from, without any bot token.")
    pod: str | None = Field(default=None, description="The pod that was cut off.")
    count: int | None = Field(default=None, description="How many 409s in this run of conflicts.")
    started: Annotated[str, Field(json_schema_extra={"format": "date-time"})] | None = Field(
        default=None, description="When this run of conflicts began."
    )


class TelegramBotStatus(Model):
    """What the operator last saw."""

    observed_generation: Annotated[int, Field(json_schema_extra={"format": "int64"})] | None = None
    conditions: (
        Annotated[
            list[Condition],
            Field(json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]}),
        ]
        | None
    ) = None
    deployment: str | None = Field(default=None, description="The Deployment that is pinned.")
    pod: str | None = Field(default=None, description="The pod that is the bot.")
    node: str | None = Field(default=None, description="The node that it runs on.")
    running_pods: int | None = Field(default=None, description="Pods that may be polling.")
    terminating_pods: int | None = Field(default=None, description="Those of them that are being deleted.")
    restarts: int | None = Field(default=None, description="Container restarts of the pod.")
    bot: BotStatus | None = None
    webhook: WebhookStatus | None = None
    not_polling: NotPollingStatus | None = None
    last_conflict: LastConflict | None = None
