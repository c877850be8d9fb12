"""Reads, live, what `release` decides on about one Deployment."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import msgspec

from .. import names
from ..core import table
from ..core.letgo import Facts
from ..core.observed import Failure
from ..core.ownership import belongs
from ..core.records import Deployment, Node, Pod, parse_node, parse_pod, template_of
from ..core.turn import Claim
from .history import History
from .kube import CONFIGMAPS, NODES, PODS, Kube, KubeError, path
from .live import Forbidden, Holders, items, read
from .observe import selector
from .turns import Turns


class Reader:
    """Reads facts. `say` is told once where pods of other namespaces may not be seen."""

    def __init__(self, kube: Kube, operator_namespace: str, say: Callable[[str], None]) -> None:
        self._kube = kube
        self._operator_namespace = operator_namespace
        self._say = say
        self._holders = Holders(kube, History())
        self._sees_all = True  # until a list of the pods of all namespaces is refused

    def turns(self, namespace: str) -> Turns:
        """Return the turns of bots, with a live look at all pods that may be seen."""
        return Turns(self._kube, self._operator_namespace, () if self._sees_all else (namespace,))

    async def facts(self, deployment: Deployment, *, hurry: bool) -> Facts:
        """Return what is so now. Raises Forbidden and KubeError."""
        namespace = deployment.metadata.namespace
        known = await read(self._kube, "configmaps", path(CONFIGMAPS, namespace, names.LOCK_TABLE), _TABLE.decode)
        found = known or _Table()
        pods = [
            pod
            for each in await items(self._kube, path(PODS, namespace), labelSelector=selector(deployment))
            if belongs(pod := parse_pod(each), deployment)
        ]
        identity = _identity(deployment, found.data, pods)
        pods += await self._others(namespace, identity, {pod.uid for pod in pods}) if identity else []
        facts = Facts(
            deployment=deployment,
            pods=tuple(pods),
            table=found.data,
            table_version=found.metadata.resource_version,
            hurry=hurry,
        )
        return await self._with_turn(facts, identity) if facts.held else facts

    async def _others(self, namespace: str, identity: str, known: Iterable[str]) -> list[Pod]:
        """The other pods of the identity, in all namespaces if we may see them."""
        query = {"labelSelector": f"{names.LABEL_BOT}={identity}"}
        everywhere = self._sees_all
        try:
            found = await items(self._kube, path(PODS, None if everywhere else namespace), **query)
        except KubeError as error:
            if error.status != 403 or not everywhere:
                raise
            if self._sees_all:
                self._say("the pods of other namespaces cannot be seen: what runs there is not known.")
            self._sees_all = False
            return await self._others(namespace, identity, known)
        return [pod for each in found if (pod := parse_pod(each)).uid not in known]

    async def _with_turn(self, facts: Facts, identity: str) -> Facts:
        """Add whose turn it is, and what is known of a pod that had it and has vanished."""
        claim = await self._claim(facts.deployment.metadata.namespace, identity)
        pods, failures = list(facts.pods), list[Failure]()
        ended = await self._holders.look(claim, pods, failures) if claim else {}
        nodes = await self._nodes(claim.node) if claim and claim.node and ended else {}
        return replace(facts, claim=claim, pods=tuple(pods), ended=ended, nodes=nodes)

    async def _claim(self, namespace: str, identity: str) -> Claim | None:
        try:
            return await self.turns(namespace).claim(identity) if identity else None
        except KubeError as error:
            if error.status != 403:
                raise
            return None

    async def _nodes(self, name: str) -> dict[str, Node | None]:
        try:
            return {name: await read(self._kube, "nodes", path(NODES, None, name), parse_node)}
        except Forbidden:
            return {}


class _TableMeta(msgspec.Struct, frozen=True, rename="camel"):
    resource_version: str = ""


class _Table(msgspec.Struct, frozen=True):
    metadata: _TableMeta = _TableMeta()
    data: dict[str, str] = {}


_TABLE = msgspec.json.Decoder(_Table)


def _identity(deployment: Deployment, entries: dict[str, str], pods: Sequence[Pod]) -> str:
    """Return the identity that a Deployment's pods have: by its template, by the lock table, by the pods themselves."""
    entry = table.parse(entries.get(deployment.name, ""))
    worn = [pod.metadata.labels.bot for pod in sorted(pods, key=lambda pod: not pod.gated)]
    known = [template_of(deployment).metadata.labels.bot, entry.identity if entry else None, *worn]
    return next((each for each in known if each), "")
