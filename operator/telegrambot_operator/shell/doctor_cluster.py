"""What the doctor reads of a cluster: bounded, paged, with the caller's own rights; a right that lacks is a `Gap`."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec

from ..core import understand
from ..core.doctor_facts import Gap
from ..core.doctor_uses import User
from ..core.observed import Bot
from ..core.records import Deployment, Pod, parse_deployment, parse_pod
from ..core.strays import PodParts
from .kube import BOTS, DEPLOYMENTS, PODS, Kube, KubeError, path

T = TypeVar("T")

REQUEST_SECONDS = 15.0
LIST_SECONDS = 60.0
PAGE = "500"


class NoSuchKindError(Exception):
    """The API server does not know TelegramBots."""


def gap(error: KubeError, verb: str, resource: str, namespace: str | None) -> Gap:
    """Return what a request that failed leaves unknown; `resource` is as in kube.py."""
    plural = resource.rpartition("/")[2] if not resource.startswith("pods/") else resource
    where = f"in namespace {namespace}" if namespace else "in all namespaces"
    if error.status == 403 and f"cannot {verb} " in error.message:
        return Gap(f"you may not {verb} {plural} {where}", f"get the right to {verb} {plural}, or ask who has it")
    return Gap(f"{plural} could not be read: {error.message}")


class Cluster:
    """Reads of one API server."""

    def __init__(self, kube: Kube) -> None:
        self._kube = kube

    async def one(
        self, resource: str, name: str, parse: Callable[[bytes], T], namespace: str | None = None
    ) -> T | Gap | None:
        """Return an object, None where there is none."""
        try:
            return parse(await self._kube.get(path(resource, namespace, name), seconds=REQUEST_SECONDS))
        except KubeError as error:
            return None if error.status == 404 else gap(error, "get", resource, namespace)

    async def every(self, resource: str, parse: Callable[[bytes], T], namespace: str | None) -> tuple[T, ...] | Gap:
        """Return the objects of a namespace or of all, read page by page and parsed at once."""
        try:
            async with asyncio.timeout(LIST_SECONDS):
                return tuple([each async for each in self._pages(resource, parse, namespace)])
        except KubeError as error:
            if error.status == 404:
                raise NoSuchKindError from None
            return gap(error, "list", resource, namespace)
        except TimeoutError:
            return Gap(f"to list {resource.rpartition('/')[2]} took longer than {LIST_SECONDS:g} s")

    async def _pages(self, resource: str, parse: Callable[[bytes], T], namespace: str | None) -> Any:
        query = {"limit": PAGE}
        while True:
            data = await self._kube.get(path(resource, namespace), query, seconds=REQUEST_SECONDS)
            page = msgspec.json.decode(data, type=_Page)
            for item in page.items:
                yield parse(bytes(item))
            if not page.metadata.get("continue"):
                return
            query["continue"] = str(page.metadata["continue"])

    async def log(self, pod: Pod, **query: str) -> bytes | Gap:
        """Return a piece of a pod's log, with the kubelet's timestamps."""
        namespace = pod.metadata.namespace
        try:
            where = path(PODS, namespace, pod.name, "log")
            return await self._kube.get(where, {**query, "timestamps": "true"}, accept="*/*", seconds=REQUEST_SECONDS)
        except KubeError as error:
            return gap(error, "get", "pods/log", namespace)


class _Page(msgspec.Struct):
    metadata: dict[str, object]
    items: list[msgspec.Raw] = []


class _WithParts(msgspec.Struct, frozen=True):
    spec: PodParts = PodParts()


_PARTS = msgspec.json.Decoder(_WithParts)


@dataclass(frozen=True, slots=True)
class Resident:
    """A pod and what its containers are given."""

    pod: Pod
    parts: PodParts = field(repr=False)


@dataclass(frozen=True, slots=True)
class Employer:
    """A Deployment and what the containers of its pods are given."""

    deployment: Deployment
    parts: PodParts = field(repr=False)


def parts_of(data: bytes) -> PodParts:
    """Return what the containers of a pod, or of a pod template, are given; from its JSON."""
    return _PARTS.decode(data).spec


def resident(data: bytes) -> Resident:
    """Return the pod in a JSON text."""
    return Resident(parse_pod(data), parts_of(data))


def employer(data: bytes) -> Employer:
    """Return the Deployment in a JSON text."""
    deployment = parse_deployment(data)
    return Employer(deployment, parts_of(bytes(deployment.spec.template)))


def telegram_bot(data: bytes) -> Bot:
    """Return the TelegramBot in a JSON text."""
    return understand.bot(msgspec.json.decode(data))


@dataclass(frozen=True, slots=True)
class Census:
    """Who lives in the cluster, or in the one namespace that may be seen; `unseen` says why not more."""

    bots: tuple[Bot, ...] | Gap
    deployments: tuple[Employer, ...] | Gap
    pods: tuple[Resident, ...] | Gap
    unseen: Gap | None


async def census(cluster: Cluster, namespace: str | None) -> Census:
    """Count everybody, at least in the namespace. Raises KubeError only where nobody answers at all."""
    (bots, a), (deployments, b), (pods, c) = await asyncio.gather(
        _everywhere(cluster, BOTS, telegram_bot, namespace),
        _everywhere(cluster, DEPLOYMENTS, employer, namespace),
        _everywhere(cluster, PODS, resident, namespace),
    )
    return Census(bots, deployments, pods, c or b or a)


async def _everywhere(
    cluster: Cluster, resource: str, parse: Callable[[bytes], T], namespace: str | None
) -> tuple[tuple[T, ...] | Gap, Gap | None]:
    """Return the objects of all namespaces, or of the one where that is all that may be read, and what is unseen."""
    try:
        found = await cluster.every(resource, parse, None)
        if not isinstance(found, Gap) or namespace is None:
            return found, found if isinstance(found, Gap) else None
        return await cluster.every(resource, parse, namespace), found
    except NoSuchKindError:
        return (), None


def users(deployments: Sequence[Employer], pods: Sequence[Resident]) -> list[User]:
    """Return these as users of tokens."""
    owners = [each.deployment for each in deployments]
    return [
        *(User("Deployment", *owner.metadata.key, each.parts) for owner, each in zip(owners, deployments, strict=True)),
        *(User("pod", *each.pod.metadata.key, each.parts, _owner(each.pod)) for each in pods),
    ]


def _owner(pod: Pod) -> str:
    owner = pod.metadata.controller
    if owner is None:
        return ""
    suffix = f"-{pod.metadata.labels.template_hash}"
    if owner.kind == "ReplicaSet" and owner.name.endswith(suffix):
        return f"Deployment {owner.name.removesuffix(suffix)}"
    return f"{owner.kind} {owner.name}"


def secret_content(data: bytes) -> Mapping[str, Any]:
    """Return a Secret."""
    found: dict[str, Any] = msgspec.json.decode(data)
    return found
