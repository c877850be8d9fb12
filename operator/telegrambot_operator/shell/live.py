"""Reads objects live, past every cache, and looks for a pod that held the turn and has vanished."""

from collections.abc import AsyncIterator, Callable, Mapping
from typing import TypeVar

import msgspec

from ..core.observed import Failure
from ..core.records import Pod, parse_lease, parse_node, parse_pod
from ..core.turn import Claim, Vanished
from .history import History
from .kube import LEASES, NODES, PODS, Kube, KubeError, path

T = TypeVar("T")

# Every kubelet renews a Lease here, by default every ten seconds.
# https://kubernetes.io/docs/concepts/architecture/leases/#node-heart-beats
NODE_LEASES = "kube-node-lease"


class Forbidden(Exception):  # noqa: N818  it carries an answer, and is caught where it is expected
    """A read that we have no right to; the failure says which."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(str(failure))
        self.failure = failure


async def read(kube: Kube, resource: str, where: str, parse: Callable[[bytes], T], **query: str) -> T | None:
    """Return an object read live, None where there is none. Raises Forbidden, and KubeError for anything else."""
    try:
        return parse(await kube.get(where, query))
    except KubeError as error:
        if error.status == 404:
            return None
        if error.status == 403:
            verb = "list" if query else "get"
            raise Forbidden(Failure(verb, resource, error.status, error.message)) from None
        raise


class _ListMeta(msgspec.Struct):
    next: str = msgspec.field(default="", name="continue")


class _Page(msgspec.Struct):
    metadata: _ListMeta
    items: list[msgspec.Raw] = []


_PAGE = msgspec.json.Decoder(_Page)


async def each(
    kube: Kube, where: str, selectors: Mapping[str, str] | None = None, *, page: int = 500
) -> AsyncIterator[bytes]:
    """Yield the objects of a consistent list as JSON, a page in memory at a time. Raises KubeError."""
    query = {**(selectors or {}), "limit": str(page)}
    while True:
        found = _PAGE.decode(await kube.get(where, query))
        for item in found.items:
            yield bytes(item)
        if not found.metadata.next:
            return
        query["continue"] = found.metadata.next


async def items(kube: Kube, where: str, **selectors: str) -> list[bytes]:
    """Return the objects of a consistent list as JSON. Raises KubeError."""
    return [item async for item in each(kube, where, selectors)]


class Holders:
    """Looks for the pods that hold turns."""

    def __init__(self, kube: Kube, history: History) -> None:
        self._kube = kube
        self._history = history

    async def look(self, claim: Claim, pods: list[Pod], failures: list[Failure]) -> dict[str, Vanished | None]:
        """Look live for the holder of the turn where it is not among the pods: it is added to them, or missed.

        By a get, which the API server answers from its storage at once. It lets the second of two consistent lists in a
        tenth of a second wait for the rest of that (k8s.io/apiserver, pkg/storage/cacher/progress), and the one that
        matters is that before a pod is opened.
        """
        if claim.uid in {"", *(pod.uid for pod in pods)}:
            return {}
        namespace, _, name = claim.pod.partition("/")
        if not name:
            return {claim.uid: Vanished()}
        try:
            found = await read(self._kube, f"pods in namespace {namespace}", path(PODS, namespace, name), parse_pod)
        except Forbidden as error:
            failures.append(error.failure)
            return {claim.uid: Vanished()}
        if found is None or found.uid != claim.uid:
            return {claim.uid: await self._missed(claim, failures)}
        pods.append(found)
        self._history.is_there(found)
        return {}

    async def _missed(self, claim: Claim, failures: list[Failure]) -> Vanished | None:
        """The node is read after the heartbeat: what it says then goes for the time of that, too."""
        if self._history.ended(claim.uid):
            return None
        heartbeat = await self._heartbeat(claim, failures)
        return self._history.missed(claim.uid, heartbeat, await self._ready_since(claim, failures))

    async def _heartbeat(self, claim: Claim, failures: list[Failure]) -> str:
        """Return when the node's kubelet says that it was last there, "" where that cannot be known."""
        if not claim.node:
            return ""
        try:
            where = path(LEASES, NODE_LEASES, claim.node)
            found = await read(self._kube, "leases.coordination.k8s.io", where, parse_lease)
        except Forbidden as error:
            failures.append(error.failure)
            return ""
        return found.spec.renew_time if found else ""

    async def _ready_since(self, claim: Claim, failures: list[Failure]) -> str:
        """Return since when the node is Ready, "" where it is not."""
        if not claim.node:
            return ""
        try:
            found = await read(self._kube, "nodes", path(NODES, None, claim.node), parse_node)
        except Forbidden as error:
            failures.append(error.failure)
            return ""
        return str(found.ready_since) if found and found.ready else ""


class _Items(msgspec.Struct):
    items: list[msgspec.Raw] = []


def pod_list(data: bytes) -> list[Pod]:
    """Return the pods in the JSON of a list."""
    return [parse_pod(bytes(item)) for item in msgspec.json.decode(data, type=_Items).items]
