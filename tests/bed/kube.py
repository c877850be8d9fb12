"""A Kubernetes client for the bed: plain JSON over aiohttp, with the few calls that a kubelet and a test need.

async with Kube.connect(kubeconfig) as kube:
    pod = await kube.get("pods", "default", "web")      # None when there is none
    await kube.patch(path("pods", "default", "web", "status"), {"status": {"reason": "Evicted"}})
    async for event, pod in kube.follow("pods", "spec.nodeName=node-1"): ...
"""

from __future__ import annotations

import asyncio
import base64
import json
import random
import ssl
import tempfile
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from aiohttp import ClientError, ClientResponse, ClientSession, ClientTimeout, TCPConnector

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

Object = dict[str, Any]

STRATEGIC = "application/strategic-merge-patch+json"
MERGE = "application/merge-patch+json"
_NO_PATIENCE = ClientTimeout(total=30)
_ENDLESS = ClientTimeout(total=None, sock_connect=10, sock_read=330)  # the API server ends a watch before that
_LONGEST_PAUSE = 2.0  # seconds between two attempts to watch
_GROUPS = {
    "v1": ("configmaps", "events", "namespaces", "nodes", "pods", "secrets", "serviceaccounts"),
    "apps/v1": ("deployments", "replicasets", "statefulsets"),
    "coordination.k8s.io/v1": ("leases",),
    "apiextensions.k8s.io/v1": ("customresourcedefinitions",),
    "singleton.bot/v1alpha1": ("telegrambots",),
}
_GROUP = {plural: group for group, plurals in _GROUPS.items() for plural in plurals}


class KubeError(Exception):
    """The API server refused; `status` is the HTTP status and the message is the server's own."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def path(resource: str, namespace: str | None = None, name: str | None = None, sub: str | None = None) -> str:
    """The URL path of a resource, given as its plural or singular. Raises KeyError for one that nobody needed yet."""
    plural = resource.lower() if resource.lower() in _GROUP else resource.lower() + "s"
    group = _GROUP[plural]
    place = ["namespaces", namespace] if namespace else []
    parts = ["", "api" if group == "v1" else "apis", group, *place, plural, name, sub]
    return "/".join(part for part in parts if part is not None)


class Kube:
    """One user's connections to the API server."""

    def __init__(self, session: ClientSession) -> None:
        """Made by `connect`."""
        self._session = session

    @classmethod
    @asynccontextmanager
    async def connect(cls, kubeconfig: Path) -> AsyncIterator[Kube]:
        """Connections as the user of a kubeconfig file, which names client certificate and CA as data or as files."""
        server, tls = _credentials(kubeconfig)
        async with ClientSession(server, connector=TCPConnector(ssl=tls, limit=0), timeout=_NO_PATIENCE) as session:
            yield cls(session)

    async def call(self, method: str, where: str, body: object = None, kind: str = "application/json") -> Object:
        """One request; returns the object in the answer. Raises KubeError, or OSError and such when there is none."""
        data = None if body is None else json.dumps(body)
        async with self._session.request(method, where, data=data, headers={"Content-Type": kind}) as answer:
            await _refusal(answer)
            found: Object = await answer.json()
            return found

    async def get(self, resource: str, namespace: str | None, name: str) -> Object | None:
        """The object, or None when there is none of that name."""
        try:
            return await self.call("GET", path(resource, namespace, name))
        except KubeError as error:
            if error.status == 404:
                return None
            raise

    async def list(self, resource: str, namespace: str | None = None, selector: str = "") -> list[Object]:
        """The objects with these labels, of one namespace or of all."""
        query = f"?labelSelector={selector}" if selector else ""
        items: list[Object] = (await self.call("GET", path(resource, namespace) + query))["items"]
        return items

    async def create(self, resource: str, namespace: str | None, body: Object) -> Object:
        """Create an object and return it as stored."""
        return await self.call("POST", path(resource, namespace), body)

    async def patch(self, where: str, body: object, kind: str = MERGE) -> Object:
        """Patch what is at this path and return it as stored."""
        return await self.call("PATCH", where, body, kind)

    async def delete(self, where: str, *, uid: str | None = None, grace: int | None = None) -> None:
        """Delete what is at this path, if it still is the object with this uid. One that is gone already is fine."""
        options: Object = {"kind": "DeleteOptions", "apiVersion": "v1"}
        options |= {"preconditions": {"uid": uid}} if uid else {}
        options |= {"gracePeriodSeconds": grace} if grace is not None else {}
        try:
            await self.call("DELETE", where, options)
        except KubeError as error:
            if error.status not in {404, 409}:
                raise

    async def follow(self, resource: str, field: str) -> AsyncIterator[tuple[str, Any]]:
        """("LIST", objects) now and after every fault, and in between (event type, object). Never ends by itself."""
        pause = 0.05
        while True:
            try:
                async for event in self._list_and_watch(resource, field):
                    pause = 0.05
                    yield event
            except (ClientError, OSError, TimeoutError, KubeError, ValueError):
                await asyncio.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311 - spreads the nodes, hides nothing
                pause = min(2 * pause, _LONGEST_PAUSE)

    async def _list_and_watch(self, resource: str, field: str) -> AsyncIterator[tuple[str, Any]]:
        where = f"{path(resource)}?fieldSelector={field}"
        found = await self.call("GET", where)
        yield "LIST", found["items"]
        where += f"&watch=true&allowWatchBookmarks=true&resourceVersion={found['metadata']['resourceVersion']}"
        async with self._session.get(where, timeout=_ENDLESS) as answer:
            await _refusal(answer)
            async for line in _lines(answer):
                event = json.loads(line)
                if event["type"] == "ERROR":
                    raise KubeError(event["object"].get("code", 500), event["object"].get("message", ""))
                if event["type"] != "BOOKMARK":
                    yield event["type"], event["object"]


async def _lines(answer: ClientResponse) -> AsyncIterator[bytes]:
    """Complete lines of any length; `readline` has a limit that a pod can exceed."""
    rest = b""
    async for chunk in answer.content.iter_any():
        *complete, rest = (rest + chunk).split(b"\n")
        for line in complete:
            yield line


async def _refusal(answer: ClientResponse) -> None:
    if answer.status >= 400:
        text = await answer.text()
        with suppress(ValueError, KeyError, TypeError):
            text = json.loads(text)["message"]
        raise KubeError(answer.status, text)


def _credentials(kubeconfig: Path) -> tuple[str, ssl.SSLContext]:
    """Server and TLS settings of the current context."""
    config = yaml.safe_load(kubeconfig.read_text())
    context = _named(config["contexts"], config["current-context"])["context"]
    cluster = _named(config["clusters"], context["cluster"])["cluster"]
    user = _named(config["users"], context["user"])["user"]
    tls = ssl.create_default_context(cadata=_material(cluster, "certificate-authority").decode())
    with tempfile.NamedTemporaryFile() as both:  # the ssl module takes a client certificate from a file only
        both.write(_material(user, "client-certificate") + b"\n" + _material(user, "client-key"))
        both.flush()
        tls.load_cert_chain(both.name)
    return cluster["server"], tls


def _named(entries: list[Any], name: str) -> Any:
    return next(entry for entry in entries if entry["name"] == name)


def _material(holder: Mapping[str, str], key: str) -> bytes:
    return base64.b64decode(holder[key + "-data"]) if key + "-data" in holder else Path(holder[key]).read_bytes()
