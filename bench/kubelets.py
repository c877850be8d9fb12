"""Stand-ins for kubelets where no process has to run: they write what a kubelet would write of a bot that runs well.

A pod that is bound to one of the nodes turns Running and Ready, a deleted one goes at once, and every log is a few
lines that never grow. The bots' world is thereby settled as it is in a cluster where all is well; pods left Pending
would have the operator wait for something, and cost it less, since nobody reads the log of a pod that does not run.
"""

from __future__ import annotations

import asyncio
import ssl
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from aiohttp import web

from tests.bed.kube import KubeError, path

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.bed.controlplane import ControlPlane
    from tests.bed.kube import Kube, Object

PODS_PER_NODE = 1000
NEVER_LOST = (  # nobody sends heartbeats
    "--node-monitor-grace-period=24h",
    "--node-startup-grace-period=24h",
)
_AT_ONCE = 16  # requests
_LOG = "2026-01-01T00:00:00.000000000Z Application started\n" * 20


class Kubelets:
    """As many nodes as the pods need. `run` does their work."""

    def __init__(self, kube: Kube, port: int) -> None:
        """Use `start`."""
        self._kube = kube
        self._port = port
        self._busy: set[tuple[str, bool]] = set()
        self._turns = asyncio.Semaphore(_AT_ONCE)

    @classmethod
    @asynccontextmanager
    async def start(cls, cluster: ControlPlane, kube: Kube, pods: int) -> AsyncIterator[Kubelets]:
        """Register nodes that take so many pods, and serve their logs until the block ends."""
        pair = cluster.serving_certificate("bench-node")
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(pair.certificate, pair.key)
        app = web.Application()
        app.router.add_get("/containerLogs/{namespace}/{pod}/{container}", _log)
        runner = web.AppRunner(app)
        await runner.setup()
        try:
            site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
            await site.start()
            kubelets = cls(kube, runner.addresses[0][1])
            for number in range(pods // PODS_PER_NODE + 1):
                await kube.create("nodes", None, _node(f"bench-{number + 1}", kubelets._port))
            yield kubelets
        finally:
            await runner.cleanup()

    async def run(self) -> None:
        """Look after the bound pods, for ever."""
        async with asyncio.TaskGroup() as group:
            async for event, found in self._kube.follow("pods", "spec.nodeName!="):
                for pod in found if event == "LIST" else [found] if event != "DELETED" else []:
                    deleting = "deletionTimestamp" in pod["metadata"]
                    this = pod["metadata"]["uid"], deleting
                    if this not in self._busy and (deleting or pod["status"]["phase"] == "Pending"):
                        self._busy.add(this)
                        group.create_task(self._do(this, pod))

    async def _do(self, this: tuple[str, bool], pod: Object) -> None:
        namespace, name, uid = (pod["metadata"][key] for key in ("namespace", "name", "uid"))
        async with self._turns:
            if this[1]:
                await self._kube.delete(path("pods", namespace, name), uid=uid, grace=0)
            else:
                await self._report_ready(path("pods", namespace, name, "status"), pod)
        self._busy.discard(this)

    async def _report_ready(self, where: str, pod: Object) -> None:
        body = {"metadata": {"uid": pod["metadata"]["uid"]}, "status": _running(pod)}
        try:
            await self._kube.patch(where, body)
        except KubeError as error:
            if error.status not in {404, 409}:  # it is gone, or another pod has its name
                raise


async def _log(request: web.Request) -> web.Response:
    """A log that was written once: nothing is new since any time."""
    return web.Response(text="" if "sinceTime" in request.query else _LOG)


def _running(pod: Object) -> Object:
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    kinds = ("PodScheduled", "Initialized", "ContainersReady", "Ready")
    return {
        "phase": "Running",
        "startTime": now,
        "conditions": [{"type": kind, "status": "True", "lastTransitionTime": now} for kind in kinds],
        "containerStatuses": [
            {
                "name": container["name"],
                "image": container["image"],
                "imageID": "",
                "ready": True,
                "started": True,
                "restartCount": 0,
                "state": {"running": {"startedAt": now}},
            }
            for container in pod["spec"]["containers"]
        ],
    }


def _node(name: str, port: int) -> Object:
    room = {"cpu": "1000", "memory": "1000Gi", "pods": str(PODS_PER_NODE)}
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "lastHeartbeatTime": now}
    return {
        "metadata": {"name": name, "labels": {"kubernetes.io/os": "linux", "kubernetes.io/hostname": name}},
        "status": {
            "capacity": room,
            "allocatable": room,
            "conditions": [ready],
            "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": port}},
        },
    }
