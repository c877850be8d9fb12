"""A process node: a small stand-in for a kubelet that runs each container's command as a local process.

    async with Node.start(cluster, "node-1", environment={"TELEGRAM_API_URL": telegram.url}) as node:
        ...                         # the scheduler binds pods to it, and their processes run
        node.history                # every process it ever started: the process table of the referee
        node.freeze()               # lost: no heartbeat, no status, no reaction; its processes live on
        node.thaw()                 # back: it does what came due meanwhile

Towards the API server it is a kubelet: it registers a Node, renews its Lease, watches its pods, reports their status
and serves their logs. What becomes of a pod is in node_pods.py. It knows no sidecars, no exec and no limits; a pod's
processes share the network of the machine and one folder of their own. The operator's image alone finds its volumes and
has an address for itself (operator_image.py says how). SIGTERM goes to a container's whole process group, not to its
first process alone.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import signal
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from tests.bed.kube import MERGE, STRATEGIC, Kube, KubeError, path
from tests.bed.node_pods import UNREACHABLE, Host, PodWorker
from tests.bed.node_server import LogFault, LogServer
from tests.bed.node_status import covers, stamp

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
    from pathlib import Path

    from tests.bed.controlplane import ControlPlane
    from tests.bed.node_process import Record, Run

ORPHAN_DELAY = 2.0  # seconds a process lives on after its pod's object vanished; real kubelets take 2 and more
_HEARTBEAT = 1.0  # seconds between two renewals of the Lease; the node monitor of the bed is in more of a hurry, too
_LEASE = 40  # seconds that the Lease says it is good for, as a kubelet's does
_ROOM = {"cpu": "10000", "memory": "10000Gi", "ephemeral-storage": "10000Gi", "pods": "10000"}
_GOOD = {"MemoryPressure": "False", "DiskPressure": "False", "PIDPressure": "False", "Ready": "True"}

_logger = logging.getLogger(__name__)
_numbers = itertools.count(1)


class Node:
    """A running node. `history` holds a Record of every process it started, in order."""

    def __init__(self, host: Host, run: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]]) -> None:
        """Use `Node.start`."""
        self.name = host.name
        self.history = host.history
        self._host = host
        self._run = run
        self._number = next(_numbers)
        self._addresses = itertools.count(1)
        self._workers: dict[str, PodWorker] = {}  # by uid
        self._up = asyncio.Event()
        self._following: asyncio.Task[None] | None = None
        host.awake = self._up.wait
        self._server = LogServer(self._find, self._up.wait)

    @classmethod
    @asynccontextmanager
    async def start(
        cls,
        cluster: ControlPlane,
        name: str,
        *,
        environment: Mapping[str, str],
        backoff: float = 10.0,
        orphan_delay: float = ORPHAN_DELAY,
    ) -> AsyncIterator[Node]:
        """Register the node and run its pods until the block ends, which kills every process.

        Every container gets `environment`. `backoff` is the first pause in seconds between restarts, which doubles up
        to thirty times itself; a kubelet's is 10 s.
        """
        pair = cluster.serving_certificate(name)
        kubeconfig = cluster.kubeconfig_for(f"system:node:{name}", groups=["system:nodes"])
        async with AsyncExitStack() as held:
            kube = await held.enter_async_context(Kube.connect(kubeconfig))
            folder = cluster.folder / "nodes" / name
            folder.mkdir(parents=True, exist_ok=True)
            host = Host(name, kube, folder, {**environment, **_service(cluster.url)}, backoff, orphan_delay, _never)
            held.push_async_callback(_kill, host.living)
            node = cls(host, await held.enter_async_context(_tasks()))
            await held.enter_async_context(node._server.serve(pair.certificate, pair.key))
            await node.register()
            node.thaw()
            node._run(node._keep_lease())
            node._run(node._keep_status())
            yield node

    # Faults, and what a test asks

    def freeze(self) -> None:
        """The node is lost, as when its kubelet hangs or its network is cut: it does nothing, its processes live on.

        Its log endpoint takes connections and answers none, and what it was sending stands still.
        """
        self._up.clear()
        if self._following is not None:
            self._following.cancel()

    def thaw(self) -> None:
        """It is back: it reads which pods it has, and does what came due."""
        if not self._up.is_set():
            self._up.set()
            self._following = self._run(self._follow())

    def crash(self) -> None:
        """The machine loses power: frozen, and every process killed. After `thaw` its containers are started again."""
        self.freeze()
        for run in self._host.living:
            run.send(signal.SIGKILL)

    def fail_logs(self, fault: LogFault) -> None:
        """Let the log endpoint answer 500 ("error") or never ("hang"), until "none"."""
        self._server.fault = fault

    def hang_before(self, step: Literal["kill", "removal", "nothing"]) -> None:
        """Never get past this step of ending a pod, though the node stays Ready, until "nothing".

        "kill": a process that ignores SIGTERM lives on, as one in uninterruptible sleep does. "removal": the processes
        have ended and are reported so, the object stays, as when a volume cannot be unmounted.
        """
        for name, event in (("kill", self._host.kills), ("removal", self._host.removals)):
            if name == step:
                event.clear()
            else:
                event.set()

    def evict(self, namespace: str, pod: str, message: str = "The node was low on resource: memory.") -> None:
        """Evict a pod as a kubelet that runs short does: killed at once, its object stays as Failed, Evicted.

        Raises LookupError when the pod is not here.
        """
        worker = self._find(namespace, pod)
        if worker is None:
            raise LookupError(f"no pod {namespace}/{pod} on {self.name}")
        worker.evict(message)

    def renew_tokens(self) -> None:
        """Give every container a new token in its volume now, as when the old one nears its end."""
        for worker in self._workers.values():
            worker.renew_tokens()

    def address_of(self, pod: dict[str, Any]) -> str:
        """The loopback address at which the pod's servers are reached, which is not the address in its status."""
        return self._workers[pod["metadata"]["uid"]].loopback

    def folder_of(self, pod: dict[str, Any]) -> Path:
        """The working directory of a pod's processes; it is there once one was started."""
        return self._host.folder / str(pod["metadata"]["uid"])

    @property
    def programs(self) -> list[Run]:
        """Every run of an image that is a program of this tree, in order."""
        return self._host.programs

    @property
    def logs_asked_for(self) -> int:
        """How often a log of it has been asked for."""
        return self._server.asked

    @property
    def alive(self) -> list[Record]:
        """The processes that live now."""
        return [record for record in self.history if record.ended is None]

    # The node towards the API server

    async def register(self) -> None:
        """Create the Node, as at its start, or take over one of this name. One that was deleted needs it once more."""
        labels = {"kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64", "kubernetes.io/hostname": self.name}
        body = {"metadata": {"name": self.name, "labels": labels}, "spec": {}}
        try:
            await self._host.kube.create("nodes", None, body)
        except KubeError as error:
            if error.status != 409:
                raise
        await self._send_status()

    async def _keep_status(self) -> None:
        while True:
            await asyncio.sleep(_HEARTBEAT)
            await self._up.wait()
            with suppress(*UNREACHABLE):
                await self._send_status()

    async def _send_status(self) -> None:
        """Bring the Node's status in line when it is not, such as after the node monitor has given it up."""
        node = await self._host.kube.get("nodes", None, self.name)
        if node is None:  # deleted: a kubelet registers only when it starts
            return
        known = {each["type"]: each for each in node["status"].get("conditions", [])}
        wanted = {
            "conditions": [_condition(kind, value, known.get(kind, {})) for kind, value in _GOOD.items()],
            "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}, {"type": "Hostname", "address": self.name}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": self._server.port}},
            "capacity": _ROOM,
            "allocatable": _ROOM,
        }
        if not covers(node["status"], wanted):
            body = {"status": wanted | {"nodeInfo": _INFO}}
            await self._host.kube.patch(path("nodes", None, self.name, "status"), body, STRATEGIC)

    async def _keep_lease(self) -> None:
        while True:
            await self._up.wait()
            with suppress(*UNREACHABLE):
                await self._renew()
            await asyncio.sleep(_HEARTBEAT)

    async def _renew(self) -> None:
        spec = {
            "holderIdentity": self.name,
            "leaseDurationSeconds": _LEASE,
            "renewTime": datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z"),
        }
        try:
            await self._host.kube.patch(path("leases", "kube-node-lease", self.name), {"spec": spec}, MERGE)
        except KubeError as error:
            if error.status != 404:
                raise
            await self._host.kube.create("leases", "kube-node-lease", {"metadata": {"name": self.name}, "spec": spec})

    # Its pods

    async def _follow(self) -> None:
        """Keep the workers in line with the pods that are bound here."""
        async for event, found in self._host.kube.follow("pods", f"spec.nodeName={self.name}"):
            if event == "LIST":
                self._replace(found)
            elif event == "DELETED":
                self._vanished(found["metadata"]["uid"])
            else:
                self._see(found)

    def _replace(self, pods: list[dict[str, Any]]) -> None:
        for uid in self._workers.keys() - {pod["metadata"]["uid"] for pod in pods}:
            self._vanished(uid)
        for pod in pods:
            self._see(pod)

    def _see(self, pod: dict[str, Any]) -> None:
        uid = pod["metadata"]["uid"]
        if uid in self._workers:
            self._workers[uid].see(pod)
        else:
            self._workers[uid] = PodWorker(self._host, pod, self._new_address())
            self._run(self._work(uid))

    def _vanished(self, uid: str) -> None:
        if uid in self._workers:
            self._workers[uid].vanish()

    async def _work(self, uid: str) -> None:
        try:
            await self._workers[uid].work()
        finally:
            del self._workers[uid]

    def _new_address(self) -> str:
        """An address that no other pod of this node has. Nothing answers there."""
        number = next(self._addresses)
        return f"10.{self._number % 200 + 20}.{number // 250 % 250}.{number % 250 + 1}"

    def _find(self, namespace: str, name: str) -> PodWorker | None:
        """The newest pod of this name; an orphan may have had it before."""
        for worker in reversed(self._workers.values()):
            if (worker.namespace, worker.name) == (namespace, name) and not worker.vanished:
                return worker
        return None


_INFO = {
    "kubeletVersion": "v0.0.0-bed",
    "operatingSystem": "linux",
    "architecture": "amd64",
    "containerRuntimeVersion": "bed://0",
    "kubeProxyVersion": "",
    "kernelVersion": "",
    "osImage": "processes on this machine",
    "machineID": "",
    "systemUUID": "",
    "bootID": "",
}


def _condition(kind: str, value: str, known: dict[str, str]) -> dict[str, str]:
    """A condition of the Node; its times change only with its status, because the Lease is the heartbeat."""
    if known.get("status") == value:
        return known
    reason = "Kubelet" + ("Ready" if kind == "Ready" else "HasNo" + kind)
    now = {"lastHeartbeatTime": stamp(), "lastTransitionTime": stamp()}
    return {"type": kind, "status": value, "reason": reason, "message": "the process node says so", **now}


def _service(url: str) -> dict[str, str]:
    """Where the API server is, as every container is told; here it is no Service's address but its own."""
    host, _, port = url.removeprefix("https://").partition(":")
    return {"KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": port}


async def _kill(runs: set[Run]) -> None:
    for run in list(runs):
        run.send(signal.SIGKILL)
        await run.ended()


async def _never() -> None:
    await asyncio.Event().wait()


@asynccontextmanager
async def _tasks() -> AsyncIterator[Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]]]:
    """A place for tasks that end with the block. One that fails says so and takes no other with it."""
    running: set[asyncio.Task[None]] = set()

    def run(work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        running.add(task)
        task.add_done_callback(running.discard)
        task.add_done_callback(_complain)
        return task

    try:
        yield run
    finally:
        for task in list(running):
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


def _complain(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and task.exception():
        _logger.error("a task of a node failed", exc_info=task.exception())
