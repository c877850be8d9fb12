"""A kind cluster of ours, with real containers: see kind.py for how it is made and recognised."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from tests.bed.controlplane import KUBECTL, KubectlError
from tests.cluster import kind
from tests.cluster.cluster import INSTALL, NAME, Cluster, Object
from tests.cluster.referee import Report

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

TELEGRAM = "telegram"  # the stand-in's namespace, Deployment and Service
_REFEREE = f"/api/v1/namespaces/{TELEGRAM}/services/{TELEGRAM}:referee/proxy/bots"
# The process that a node runs for a pod is known by the pod's uid in its control group, with - or with _.
_KILL = """
for folder in /proc/[0-9]*; do
  if grep -qsE "$1" $folder/cgroup && tr '\\0' ' ' <$folder/cmdline | grep -q telegrambot_operator; then
    kill -9 ${folder#/proc/} && echo killed
  fi
done
"""


class KindCluster(Cluster):
    """One that `make kind-up` made and `make kind-load` gave its images."""

    def __init__(self, owned: kind.Owned) -> None:
        """Use `start`."""
        self.losable = tuple(owned.workers)
        self.tokens: set[str] = set()
        self._owned = owned
        self._lost: set[str] = set()

    @classmethod
    @asynccontextmanager
    async def start(cls) -> AsyncIterator[KindCluster]:
        """Take the cluster that is there; its nodes are as they were when the block ends. Raises NotOursError."""
        cluster = cls(await asyncio.to_thread(kind.owned))
        await cluster._be_telegram()
        try:
            yield cluster
        finally:
            for node in list(cluster._lost):
                await cluster.find(node)

    async def kubectl(self, *arguments: str, stdin: str | None = None, check: bool = True) -> str:
        """See Cluster."""
        command = [str(KUBECTL), f"--kubeconfig={self._owned.kubeconfig}", *arguments]
        code, stdout, stderr = await _run(command, stdin)
        if check and code:
            raise KubectlError(arguments, code, stderr.strip())
        return stdout

    async def apply_the_operator(self) -> None:
        """See Cluster. It is told where Telegram is, and its image when that is another one than the manifest's."""
        await self.kubectl("apply", "-f", str(INSTALL))
        deployment = ("-n", NAME, "set")
        await self.kubectl(*deployment, "image", f"deployment/{NAME}", f"operator={self._owned.operator_image}")
        await self.kubectl(*deployment, "env", f"deployment/{NAME}", f"TELEGRAM_API_URL=http://{TELEGRAM}.{TELEGRAM}")

    def container(self, library: str, **env: str) -> Object:
        """See Cluster."""
        env = {"TELEGRAM_API_URL": f"http://{TELEGRAM}.{TELEGRAM}", **env}
        variables = [{"name": name, "value": value} for name, value in env.items()]
        return {"image": self._owned.bot_image, "args": [library], "env": variables}

    async def new_bot(self) -> tuple[int, str]:
        """See Cluster."""
        made = await self._referee("create", "", {})
        self.tokens.add(made["token"])
        return made["id"], made["token"]

    async def report(self, bot: int) -> Report:
        """See Cluster."""
        return Report.read(await self._referee("get", f"/{bot}"))

    async def set_webhook(self, bot: int, url: str) -> None:
        """See Cluster."""
        await self._referee("replace", f"/{bot}/webhook", {"url": url})

    async def lose(self, node: str) -> None:
        """See Cluster. The machine stands still, and with it all its processes."""
        self._lost.add(node)
        await _docker("pause", node)

    async def find(self, node: str) -> None:
        """See Cluster."""
        await _docker("unpause", node)
        self._lost.discard(node)

    async def kill(self, pod: Object) -> None:
        """See Cluster."""
        uid = pod["metadata"]["uid"].replace("-", "[-_]")
        said = await _docker("exec", pod["spec"]["nodeName"], "sh", "-c", _KILL, "sh", uid)
        assert "killed" in said, f"no process of {pod['metadata']['name']} was found"

    async def page(self, pod: Object, path: str) -> str:
        """See Cluster."""
        where = f"/api/v1/namespaces/{pod['metadata']['namespace']}/pods/{pod['metadata']['name']}:8080/proxy{path}"
        return await self.kubectl("get", "--raw", where)

    async def command(self, *arguments: str) -> tuple[int, str]:
        """See Cluster."""
        environment = {**os.environ, "KUBECONFIG": str(self._owned.kubeconfig)}
        code, stdout, stderr = await _run([sys.executable, "-m", "telegrambot_operator", *arguments], None, environment)
        return code, stdout + stderr

    async def _referee(self, verb: str, where: str, body: Object | None = None) -> Any:
        """Ask the referee through the API server's proxy."""
        if body is None:
            return json.loads(await self.kubectl(verb, "--raw", _REFEREE + where))
        return json.loads(await self.kubectl(verb, "--raw", _REFEREE + where, "-f", "-", stdin=json.dumps(body)))

    async def _be_telegram(self) -> None:
        """Run the stand-in on the node that is not lost."""
        await self.kubectl("apply", "-f", "-", stdin=json.dumps(_stand_in(self._owned.bot_image, self._owned.main)))
        await self.kubectl("-n", TELEGRAM, "rollout", "status", f"deployment/{TELEGRAM}", "--timeout=180s")


def _stand_in(image: str, node: str) -> Object:
    labels = {"app": TELEGRAM}
    ports = {"api": 8080, "referee": 8081}
    container = {
        "name": TELEGRAM,
        "image": image,
        "args": ["telegram"],
        "readinessProbe": {"tcpSocket": {"port": ports["referee"]}, "periodSeconds": 1},
    }
    spec = {"nodeSelector": {"kubernetes.io/hostname": node}, "containers": [container]}
    served = [{"name": name, "port": {"api": 80}.get(name, port), "targetPort": port} for name, port in ports.items()]
    place = {"name": TELEGRAM, "namespace": TELEGRAM}
    deployment = {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": spec}}
    items = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": TELEGRAM}},
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": place, "spec": deployment},
        {"apiVersion": "v1", "kind": "Service", "metadata": place, "spec": {"selector": labels, "ports": served}},
    ]
    return {"apiVersion": "v1", "kind": "List", "items": items}


async def _docker(*arguments: str) -> str:
    code, stdout, stderr = await _run(["docker", *arguments], None)
    assert code == 0, f"docker {arguments[0]}: {stderr}"
    return stdout


async def _run(
    command: list[str], stdin: str | None, environment: dict[str, str] | None = None
) -> tuple[int, str, str]:
    """The exit code and both streams of a program."""
    process = await asyncio.create_subprocess_exec(
        *command,
        env=environment,
        stdin=asyncio.subprocess.DEVNULL if stdin is None else asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    stdout, stderr = await process.communicate(None if stdin is None else stdin.encode())
    assert process.returncode is not None
    return process.returncode, stdout.decode(errors="replace"), stderr.decode(errors="replace")
