"""What the doctor reads of a cluster: bounded, paged, with the caller's rights; what they do not allow is a `Gap`."""

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from ..core import understand
from ..core.doctor_census import Census, Employer, Resident
from ..core.doctor_facts import Gap
from ..core.observed import Bot
from ..core.records import Pod, parse_autoscaler
from .kube import AUTOSCALERS, BOTS, DEPLOYMENTS, PODS, Kube, KubeError, path
from .live import each

T = TypeVar("T")
Secret = dict[str, Any]

LOG_SECONDS = 5.0  # a node that does not answer must not keep a person waiting
LIST_SECONDS = 60.0


class NoSuchKindError(Exception):
    """The API server does not know what was asked for."""


def gap(error: KubeError, verb: str, resource: str, where: str = "") -> Gap:
    """Return what a request that failed leaves unknown; `where` is the rest of the sentence, such as " in ..."."""
    if error.status == 403 and f"cannot {verb} resource" in error.message:
        return Gap(f"you may not {verb} {resource}{where}", f"ask for the right to {verb} {resource}{where}")
    return Gap(f"{resource} could not be read{where}: {error.message}")


class Cluster:
    """Reads of one API server."""

    def __init__(self, kube: Kube) -> None:
        self._kube = kube

    async def one(
        self, resource: str, name: str, parse: Callable[[bytes], T], namespace: str | None = None
    ) -> T | Gap | None:
        """Return an object, None where there is none."""
        try:
            return parse(await self._kube.get(path(resource, namespace, name)))
        except KubeError as error:
            where = f" in namespace {namespace}" if namespace else ""
            return None if error.status == 404 else gap(error, "get", _plural(resource), where)

    async def every(self, resource: str, parse: Callable[[bytes], T], namespace: str | None) -> tuple[T, ...] | Gap:
        """Return the objects of a namespace or of all, read page by page. Raises NoSuchKindError."""
        try:
            async with asyncio.timeout(LIST_SECONDS):
                # Parsed one by one: a page as it comes takes thirty times as much memory.
                return tuple([parse(item) async for item in each(self._kube, path(resource, namespace))])
        except KubeError as error:
            if error.status == 404:
                raise NoSuchKindError from None
            where = f" in namespace {namespace}" if namespace else " in all namespaces"
            return gap(error, "list", _plural(resource), where)
        except TimeoutError:
            return Gap(f"to list {_plural(resource)} took longer than {LIST_SECONDS:g} s")

    async def log(self, pod: Pod, **query: str) -> bytes | Gap:
        """Return a piece of a pod's log, with the kubelet's timestamps."""
        where = path(PODS, *pod.metadata.key, "log")
        try:
            return await self._kube.get(where, {**query, "timestamps": "true"}, accept="*/*", seconds=LOG_SECONDS)
        except KubeError as error:
            if error.status == 403:
                return gap(error, "get", "pods/log", f" in namespace {pod.metadata.namespace}")
            return Gap(f"the log of pod {pod.name} could not be read: {error.message}", "see whether its node is well")

    async def census(self, namespace: str | None) -> Census:
        """Count everybody that may be seen, at least in the namespace."""
        (bots, no_bots), (deployments, no_deployments), (pods, no_pods), (autoscalers, _) = await asyncio.gather(
            self._seen(BOTS, telegram_bot, namespace),
            self._seen(DEPLOYMENTS, Employer.of, namespace),
            self._seen(PODS, Resident.of, namespace),
            self._seen(AUTOSCALERS, parse_autoscaler, namespace),
        )
        return Census(bots, deployments, pods, autoscalers, no_pods or no_deployments or no_bots)

    async def _seen(
        self, resource: str, parse: Callable[[bytes], T], namespace: str | None
    ) -> tuple[tuple[T, ...] | Gap, Gap | None]:
        """Return the objects of all namespaces, or of the one where no more may be read, and why there is no more."""
        try:
            found = await self.every(resource, parse, None)
            if isinstance(found, Gap) and namespace is not None:
                return await self.every(resource, parse, namespace), found
        except NoSuchKindError:
            return (), None
        return found, found if isinstance(found, Gap) else None


def telegram_bot(data: bytes) -> Bot:
    """Return the TelegramBot in a JSON text."""
    return understand.bot(msgspec.json.decode(data))


def secret(data: bytes) -> Secret:
    """Return a Secret."""
    found: Secret = msgspec.json.decode(data)
    return found


def _plural(resource: str) -> str:
    return resource.rpartition("/")[2]
