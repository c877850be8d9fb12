"""The parts of Kubernetes objects that decisions need, parsed straight from JSON into small frozen records.

A field that is not named here is skipped while parsing: a pod takes about a kibibyte instead of the thirty that a
dict takes. Field names are Kubernetes' own.
"""

import sys
from datetime import datetime
from enum import StrEnum
from typing import Any

import msgspec

from .. import names


class Record(msgspec.Struct, frozen=True, rename="camel", gc=False):
    """Base of all records."""


class Owner(Record, frozen=True):
    """An owner reference."""

    kind: str = ""
    name: str = ""
    uid: str = ""
    controller: bool = False


class Labels(msgspec.Struct, frozen=True, gc=False):
    """The labels that mean something here; all others are skipped."""

    bot: str | None = msgspec.field(default=None, name=names.LABEL_BOT)
    owner: str | None = msgspec.field(default=None, name=names.LABEL_NAME)
    template_hash: str | None = msgspec.field(default=None, name="pod-template-hash")


class Annotations(msgspec.Struct, frozen=True, gc=False):
    """The annotations that mean something here."""

    deletion_cost: str | None = msgspec.field(default=None, name=names.ANNOTATION_DELETION_COST)
    template: str | None = msgspec.field(default=None, name=names.ANNOTATION_TEMPLATE)
    deadline: str | None = msgspec.field(default=None, name=names.ANNOTATION_DEADLINE)
    container: str | None = msgspec.field(default=None, name=names.ANNOTATION_CONTAINER)
    desired: str | None = msgspec.field(default=None, name=names.ANNOTATION_DESIRED)


class Meta(Record, frozen=True):
    """Object metadata."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = "0"
    generation: int = 0
    creation_timestamp: datetime | None = None
    deletion_timestamp: datetime | None = None
    deletion_grace_period_seconds: int | None = None
    labels: Labels = Labels()
    annotations: Annotations = Annotations()
    owner_references: tuple[Owner, ...] = ()
    finalizers: tuple[str, ...] = ()

    @property
    def key(self) -> tuple[str, str]:
        """Namespace and name."""
        return self.namespace, self.name

    @property
    def controller(self) -> Owner | None:
        """The owner that controls this object, if any."""
        return next((owner for owner in self.owner_references if owner.controller), None)


class Field(StrEnum):
    """What of a Deployment is pinned."""

    REPLICAS = "replicas"
    STRATEGY = "strategy"
    LOCK = "the lock"


class Leaf(Record, frozen=True):
    """A managed field. What lies below it does not matter."""


class AntiAffinityFields(msgspec.Struct, frozen=True, gc=False):
    """Managed fields of a pod's anti-affinity. The required terms are one field: a list that is replaced as a whole."""

    required: Leaf | None = msgspec.field(default=None, name="f:requiredDuringSchedulingIgnoredDuringExecution")


class AffinityFields(msgspec.Struct, frozen=True, gc=False):
    """Managed fields of a pod's affinity."""

    anti: AntiAffinityFields = msgspec.field(default=AntiAffinityFields(), name="f:podAntiAffinity")


class PodSpecFields(msgspec.Struct, frozen=True, gc=False):
    """Managed fields of a pod template's spec."""

    affinity: AffinityFields = msgspec.field(default=AffinityFields(), name="f:affinity")


class TemplateFields(msgspec.Struct, frozen=True, gc=False):
    """Managed fields of a pod template."""

    spec: PodSpecFields = msgspec.field(default=PodSpecFields(), name="f:spec")


class StrategyFields(msgspec.Struct, frozen=True, gc=False):
    """Managed fields of a strategy."""

    type: Leaf | None = msgspec.field(default=None, name="f:type")


class SpecFields(msgspec.Struct, frozen=True, gc=False):
    """Managed fields of a Deployment's spec."""

    replicas: Leaf | None = msgspec.field(default=None, name="f:replicas")
    strategy: StrategyFields = msgspec.field(default=StrategyFields(), name="f:strategy")
    template: TemplateFields = msgspec.field(default=TemplateFields(), name="f:template")


class Fields(msgspec.Struct, frozen=True, gc=False):
    """Managed fields of a Deployment, as far as they are pinned."""

    spec: SpecFields = msgspec.field(default=SpecFields(), name="f:spec")

    @property
    def pinned(self) -> frozenset[Field]:
        """Those that are pinned."""
        found = {
            Field.REPLICAS: self.spec.replicas,
            Field.STRATEGY: self.spec.strategy.type,
            Field.LOCK: self.spec.template.spec.affinity.anti.required,
        }
        return _SETS[frozenset(name for name, leaf in found.items() if leaf is not None)]


_SUBSETS = [frozenset(each for at, each in enumerate(Field) if number >> at & 1) for number in range(2 ** len(Field))]
_SETS = {each: each for each in _SUBSETS}  # so that thousands of Deployments share them


class ManagedFields(Record, frozen=True):
    """What one field manager has set (https://kubernetes.io/docs/reference/using-api/server-side-apply/)."""

    manager: str = ""
    time: str = ""
    subresource: str = ""
    fields: Fields = msgspec.field(default=Fields(), name="fieldsV1")


class Claim(msgspec.Struct, frozen=True, gc=False):
    """Which of the pinned fields a field manager has set last, and when it wrote last: RFC 3339, in whole seconds."""

    manager: str
    time: str
    fields: frozenset[Field]


class DeploymentMeta(Meta, frozen=True):
    """A Deployment's metadata."""

    managed_fields: tuple[ManagedFields, ...] = ()


class ConditionRecord(Record, frozen=True):
    """A condition in an object's status."""

    type: str = ""
    status: str = "Unknown"
    last_transition_time: datetime | None = None
    reason: str = ""
    message: str = ""


class Running(Record, frozen=True):
    """A container that runs."""

    started_at: datetime | None = None


class Waiting(Record, frozen=True):
    """A container that does not run yet, or not now."""

    reason: str = ""
    message: str = ""


class Terminated(Record, frozen=True):
    """A container that has ended."""

    exit_code: int = 0
    reason: str = ""
    message: str = ""
    started_at: datetime | None = None
    finished_at: datetime | None = None


class ContainerState(Record, frozen=True):
    """At most one of the three is set; none means waiting."""

    running: Running | None = None
    waiting: Waiting | None = None
    terminated: Terminated | None = None


class ContainerStatus(Record, frozen=True):
    """A container as the kubelet last reported it."""

    name: str = ""
    ready: bool = False
    restart_count: int = 0
    state: ContainerState = ContainerState()
    last_state: ContainerState = ContainerState()


class ContainerName(Record, frozen=True):
    """A container of a spec; only its name matters here."""

    name: str = ""


class GateRecord(Record, frozen=True):
    """A scheduling gate."""

    name: str = ""


class PodSelector(Record, frozen=True):
    """Which pods an anti-affinity term means, as far as that is ours."""

    match_labels: Labels = Labels()


class PodTerm(Record, frozen=True):
    """A required anti-affinity term of a pod."""

    label_selector: PodSelector = PodSelector()
    topology_key: str = ""


class PodAntiAffinity(Record, frozen=True):
    """A pod's anti-affinity."""

    required_during_scheduling_ignored_during_execution: tuple[PodTerm, ...] = ()


class PodAffinity(Record, frozen=True):
    """A pod's affinity; only what keeps it apart matters here."""

    pod_anti_affinity: PodAntiAffinity = PodAntiAffinity()


class PodSpec(Record, frozen=True):
    """A pod's spec."""

    node_name: str = ""
    affinity: PodAffinity = PodAffinity()
    termination_grace_period_seconds: int = 30
    scheduling_gates: tuple[GateRecord, ...] = ()
    containers: tuple[ContainerName, ...] = ()


class PodStatus(Record, frozen=True):
    """A pod's status."""

    phase: str = "Pending"
    reason: str = ""
    message: str = ""
    start_time: datetime | None = None
    conditions: tuple[ConditionRecord, ...] = ()
    container_statuses: tuple[ContainerStatus, ...] = ()
    init_container_statuses: tuple[ContainerStatus, ...] = ()


class Pod(Record, frozen=True):
    """A pod."""

    metadata: Meta
    spec: PodSpec = PodSpec()
    status: PodStatus = PodStatus()

    @property
    def name(self) -> str:
        """The pod's name."""
        return self.metadata.name

    @property
    def uid(self) -> str:
        """The pod's uid."""
        return self.metadata.uid

    @property
    def deleting(self) -> bool:
        """Whether its deletion has begun."""
        return self.metadata.deletion_timestamp is not None

    @property
    def gated(self) -> bool:
        """Whether it waits for its turn."""
        return any(gate.name == names.GATE for gate in self.spec.scheduling_gates)

    def is_locked(self, identity: str) -> bool:
        """Return whether the scheduler keeps it apart from other pods of the identity, whoever wrote the lock."""
        terms = self.spec.affinity.pod_anti_affinity.required_during_scheduling_ignored_during_execution
        return any(
            each.label_selector.match_labels.bot == identity and each.topology_key == names.TOPOLOGY_KEY
            for each in terms
        )

    @property
    def deletion_cost(self) -> int:
        """What it costs a ReplicaSet to delete it: 0 unless an annotation says otherwise, as Kubernetes reads that."""
        try:
            return int(self.metadata.annotations.deletion_cost or 0)
        except ValueError:
            return 0

    @property
    def ready(self) -> bool:
        """Whether it is Ready."""
        return any(each.type == "Ready" and each.status == "True" for each in self.status.conditions)


class Strategy(Record, frozen=True):
    """A Deployment's strategy."""

    type: str = "RollingUpdate"


class DeploymentSpec(Record, frozen=True):
    """A Deployment's spec. The template stays as JSON until somebody needs it."""

    replicas: int = 1
    progress_deadline_seconds: int = 600
    strategy: Strategy = Strategy()
    selector: msgspec.Raw = msgspec.Raw(b"{}")
    template: msgspec.Raw = msgspec.Raw(b"{}")


class DeploymentStatus(Record, frozen=True):
    """A Deployment's status."""

    observed_generation: int = 0
    replicas: int = 0
    updated_replicas: int = 0
    ready_replicas: int = 0
    terminating_replicas: int = 0
    conditions: tuple[ConditionRecord, ...] = ()


class Deployment(Record, frozen=True):
    """A Deployment. `claims` is what is kept of its managed fields; `manages`: whether we are noted for the pin."""

    metadata: DeploymentMeta
    spec: DeploymentSpec = DeploymentSpec()
    status: DeploymentStatus = DeploymentStatus()
    claims: tuple[Claim, ...] = ()
    manages: bool = False

    @property
    def name(self) -> str:
        """The Deployment's name."""
        return self.metadata.name

    @property
    def settled(self) -> bool:
        """Whether its controller has acted on what it was last told."""
        return self.status.observed_generation >= self.metadata.generation

    @property
    def has_old_pods(self) -> bool:
        """Whether it has acted on its latest change, and still has pods of an older template."""
        return self.settled and self.status.replicas > self.status.updated_replicas

    @property
    def rolled_out(self) -> bool:
        """Whether it is settled, and its pods are of the present template."""
        return self.settled and self.status.updated_replicas >= self.spec.replicas


class TemplateMeta(Record, frozen=True):
    """Metadata of a pod template."""

    labels: Labels = Labels()
    annotations: Annotations = Annotations()


class AntiAffinity(Record, frozen=True):
    """Pod anti-affinity; the terms stay dicts, since most of them are the user's own."""

    required_during_scheduling_ignored_during_execution: tuple[dict[str, Any], ...] = ()


class Affinity(Record, frozen=True):
    """Affinity; only what keeps pods apart matters here."""

    pod_anti_affinity: AntiAffinity = AntiAffinity()


class TemplateSpec(Record, frozen=True):
    """Spec of a pod template."""

    affinity: Affinity = Affinity()
    scheduling_gates: tuple[dict[str, Any], ...] = ()
    containers: tuple[ContainerName, ...] = ()


class Template(Record, frozen=True):
    """What a decision needs of a pod template."""

    metadata: TemplateMeta = TemplateMeta()
    spec: TemplateSpec = TemplateSpec()

    @property
    def gated(self) -> bool:
        """Whether its pods are born with our gate."""
        return any(gate.get("name") == names.GATE for gate in self.spec.scheduling_gates)

    @property
    def anti_affinity(self) -> tuple[dict[str, Any], ...]:
        """The required anti-affinity terms."""
        return self.spec.affinity.pod_anti_affinity.required_during_scheduling_ignored_during_execution


class Taint(Record, frozen=True):
    """A node's taint."""

    key: str = ""


class NodeSpec(Record, frozen=True):
    """A node's spec."""

    taints: tuple[Taint, ...] = ()


class NodeStatus(Record, frozen=True):
    """A node's status."""

    conditions: tuple[ConditionRecord, ...] = ()


class Node(Record, frozen=True):
    """A node."""

    metadata: Meta
    spec: NodeSpec = NodeSpec()
    status: NodeStatus = NodeStatus()

    @property
    def ready(self) -> bool:
        """Whether its kubelet is heard of and well."""
        return any(each.type == "Ready" and each.status == "True" for each in self.status.conditions)

    @property
    def ready_since(self) -> datetime | None:
        """Since when it has been Ready, or None if it is not."""
        found = [each.last_transition_time for each in self.status.conditions if each.type == "Ready"]
        return found[0] if found and self.ready else None

    @property
    def out_of_service(self) -> bool:
        """Whether an admin has said that it is shut down.

        https://kubernetes.io/docs/concepts/cluster-administration/node-shutdown/#non-graceful-node-shutdown
        """
        return any(taint.key == names.TAINT_OUT_OF_SERVICE for taint in self.spec.taints)


class ReplicaSetSpec(Record, frozen=True):
    """A ReplicaSet's spec."""

    replicas: int = 1


class ReplicaSet(Record, frozen=True):
    """A ReplicaSet."""

    metadata: Meta
    spec: ReplicaSetSpec = ReplicaSetSpec()

    def was_scaled_for(self, deployment: Deployment) -> bool:
        """Whether the Deployment's controller has taken in the replicas that the Deployment has now.

        It passes over a ReplicaSet that it has never scaled (pkg/controller/deployment/sync.go, `isScalingEvent`).
        """
        return self.metadata.annotations.desired in {None, str(deployment.spec.replicas)}


class LeaseAnnotations(msgspec.Struct, frozen=True, gc=False):
    """What we note on a Lease."""

    node: str | None = msgspec.field(default=None, name=names.ANNOTATION_NODE)
    grace: str | None = msgspec.field(default=None, name=names.ANNOTATION_GRACE)


class LeaseMeta(Record, frozen=True):
    """Metadata of a Lease."""

    resource_version: str = ""
    annotations: LeaseAnnotations = LeaseAnnotations()


class LeaseSpec(Record, frozen=True):
    """A Lease's spec."""

    holder_identity: str = ""
    renew_time: str = ""


class Lease(Record, frozen=True):
    """A Lease: a bot's turn, or a node's heartbeat."""

    metadata: LeaseMeta
    spec: LeaseSpec = LeaseSpec()


class ConfigMap(Record, frozen=True):
    """A ConfigMap: a namespace's lock table."""

    metadata: Meta
    data: dict[str, str] = {}


class ScaleTarget(Record, frozen=True):
    """What an autoscaler scales."""

    kind: str = ""
    name: str = ""


class AutoscalerSpec(Record, frozen=True):
    """Spec of a HorizontalPodAutoscaler."""

    scale_target_ref: ScaleTarget = ScaleTarget()
    max_replicas: int = 1


class Autoscaler(Record, frozen=True):
    """A HorizontalPodAutoscaler, KEDA's included: that makes one for each of its ScaledObjects."""

    metadata: Meta
    spec: AutoscalerSpec = AutoscalerSpec()


class Policy(Record, frozen=True):
    """An admission policy or its binding: which one, and which version of its spec."""

    metadata: Meta


def template_of(deployment: Deployment) -> Template:
    """Return what matters of the Deployment's pod template."""
    return _TEMPLATE.decode(deployment.spec.template)


_TEMPLATE = msgspec.json.Decoder(Template)
_POD = msgspec.json.Decoder(Pod)
_DEPLOYMENT = msgspec.json.Decoder(Deployment)
_NODE = msgspec.json.Decoder(Node)
_REPLICA_SET = msgspec.json.Decoder(ReplicaSet)
_LEASE = msgspec.json.Decoder(Lease)
_CONFIG_MAP = msgspec.json.Decoder(ConfigMap)
_AUTOSCALER = msgspec.json.Decoder(Autoscaler)
_POLICY = msgspec.json.Decoder(Policy)


def parse_pod(data: bytes) -> Pod:
    """Return the pod in a JSON text. Raises msgspec.DecodeError or msgspec.ValidationError."""
    return _POD.decode(data)


def parse_deployment(data: bytes) -> Deployment:
    """Return the Deployment in a JSON text; its raw parts are copied, so that the text itself can be freed."""
    deployment = _DEPLOYMENT.decode(data)
    spec = deployment.spec
    slim = msgspec.structs.replace(spec, selector=spec.selector.copy(), template=spec.template.copy())
    meta = msgspec.structs.replace(deployment.metadata, managed_fields=())
    managed = deployment.metadata.managed_fields
    return msgspec.structs.replace(
        deployment, metadata=meta, spec=slim, claims=_claims(managed), manages=_manages(managed)
    )


def _manages(managed: tuple[ManagedFields, ...]) -> bool:
    ours = (each.fields.pinned for each in managed if each.manager == names.FIELD_MANAGER)
    return any(fields & {Field.REPLICAS, Field.STRATEGY} for fields in ours)


def _claims(managed: tuple[ManagedFields, ...]) -> tuple[Claim, ...]:
    """What others than this operator have set; what Kubernetes notes in a status is nobody's wish."""
    others = (each for each in managed if each.manager != names.FIELD_MANAGER and each.subresource != "status")
    return tuple(Claim(sys.intern(each.manager), each.time, each.fields.pinned) for each in others)


def parse_node(data: bytes) -> Node:
    """Return the node in a JSON text."""
    return _NODE.decode(data)


def parse_replica_set(data: bytes) -> ReplicaSet:
    """Return the ReplicaSet in a JSON text."""
    return _REPLICA_SET.decode(data)


def parse_lease(data: bytes) -> Lease:
    """Return the Lease in a JSON text."""
    return _LEASE.decode(data)


def parse_config_map(data: bytes) -> ConfigMap:
    """Return the ConfigMap in a JSON text."""
    return _CONFIG_MAP.decode(data)


def parse_autoscaler(data: bytes) -> Autoscaler:
    """Return the HorizontalPodAutoscaler in a JSON text."""
    return _AUTOSCALER.decode(data)


def parse_policy(data: bytes) -> Policy:
    """Return the admission policy or binding in a JSON text."""
    return _POLICY.decode(data)
