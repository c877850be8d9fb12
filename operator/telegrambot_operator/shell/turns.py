"""Takes turns for bots with `lock: Gate`: reads and writes Leases, and opens pods after a live look at all others."""

from collections.abc import Iterable

from .. import names
from ..core.actions import ClaimTurn, OpenPod
from ..core.classify import may_poll
from ..core.records import Pod, parse_lease, parse_pod
from ..core.turn import Claim, is_next
from ..core.turns import noted
from .kube import JSON_PATCH, LEASES, PODS, Kube, KubeError, path
from .live import items


class NotItsTurn(Exception):  # noqa: N818  it says what is the case, and is no error: the next pass looks again
    """A live look showed another pod that may be polling; the text names it."""


class Turns:
    """The Leases in one namespace, and the pods of all namespaces that are guarded."""

    def __init__(self, kube: Kube, namespace: str, namespaces: Iterable[str]) -> None:
        self._kube = kube
        self._namespace = namespace
        self._paths = [path(PODS, each) for each in namespaces] or [path(PODS)]
        self._noted: dict[str, tuple[str, str, int]] = {}

    def is_noted(self, identity: str, pod: Pod) -> bool:
        """Return whether the Lease is known to say that this pod holds the turn, and on which node."""
        return self._noted.get(identity) == noted(pod)

    async def claim(self, identity: str) -> Claim:
        """Read the Lease of an identity live. Raises KubeError."""
        try:
            claim = Claim.of(parse_lease(await self._kube.get(self._path(identity))))
        except KubeError as error:
            if error.status != 404:
                raise
            claim = Claim()
        self._noted[identity] = (claim.uid, claim.node, claim.grace)
        return claim

    async def take(self, claim: ClaimTurn) -> None:
        """Write the Lease under the version that was read. Raises KubeError, 409 where somebody else was faster."""
        annotations = {names.ANNOTATION_NODE: claim.node, names.ANNOTATION_GRACE: str(claim.grace)}
        metadata = {"name": names.lease(claim.identity), "annotations": annotations}
        spec = {"holderIdentity": f"{claim.namespace}/{claim.pod}/{claim.uid}"}
        if claim.version:
            body = {"metadata": {**metadata, "resourceVersion": claim.version}, "spec": spec}
            await self._kube.patch(self._path(claim.identity), body)
        else:
            body = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": spec}
            await self._create(body)
        self._noted[claim.identity] = (claim.uid, claim.node, claim.grace)

    async def _create(self, body: dict[str, object]) -> None:
        try:
            await self._kube.request("POST", path(LEASES, self._namespace), None, body)
        except KubeError as error:
            if error.status != 404:
                raise
            why = (
                f"there is no namespace {self._namespace} for Leases; create it, or name another in OPERATOR_NAMESPACE"
            )
            raise KubeError(422, "NoNamespace", why) from None

    async def open(self, action: OpenPod) -> bytes:
        """Remove a pod's gate and return the pod. Raises KubeError, and NotItsTurn where another pod may be polling."""
        if action.claim is not None:
            await self._look(action.claim)
            await self.take(action.claim)
        position = action.gates.index(names.GATE)
        patch = [
            {"op": "test", "path": "/metadata/uid", "value": action.uid},
            {"op": "test", "path": f"/spec/schedulingGates/{position}/name", "value": names.GATE},
            {"op": "remove", "path": f"/spec/schedulingGates/{position}"},
        ]
        return await self._kube.patch(path(PODS, action.namespace, action.pod), patch, JSON_PATCH)

    async def _look(self, claim: ClaimTurn) -> None:
        """List the identity's pods live: consistent reads, without a resourceVersion, page by page."""
        others = [pod for pod in await self.pods_of(claim.identity) if pod.uid != claim.uid]
        first = [pod.name for pod in others if may_poll(pod) or (pod.uid == claim.before and is_next(pod))]
        if first:
            raise NotItsTurn(f"it is the turn of {', '.join(sorted(first))}")

    async def pods_of(self, identity: str) -> list[Pod]:
        """List the pods that carry the identity live, wherever they are guarded. Raises KubeError."""
        selector = f"{names.LABEL_BOT}={identity}"
        return [
            parse_pod(each) for where in self._paths for each in await items(self._kube, where, labelSelector=selector)
        ]

    def _path(self, identity: str) -> str:
        return path(LEASES, self._namespace, names.lease(identity))
