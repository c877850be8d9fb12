"""The control plane is a real one, several run side by side, each program can die, and none outlives its owner."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import ssl
import subprocess
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio
from aiohttp import web

from tests.bed import leash, scratch
from tests.bed.controlplane import PROGRAMS, ControlPlane, ControlPlaneError, KubectlError, version

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

pytestmark = pytest.mark.bed

OWNER = """
import asyncio, json
from tests.bed.controlplane import ControlPlane

async def own():
    async with ControlPlane.start() as cluster:
        print(json.dumps({"pids": cluster.pids, "folder": str(cluster.folder)}), flush=True)
        await asyncio.Event().wait()

asyncio.run(own())
"""


@pytest_asyncio.fixture(scope="module")
async def cluster() -> AsyncIterator[ControlPlane]:
    async with ControlPlane.start() as cluster:
        yield cluster


async def _until(holds: Callable[[], Awaitable[bool]], seconds: float = 30) -> None:
    async with asyncio.timeout(seconds):
        while not await holds():  # noqa: ASYNC110 what is waited for is in other processes
            await asyncio.sleep(0.05)


def _alive(pid: int) -> bool:
    """Whether the process runs; one that has ended and waits to be reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def _left(folder: str) -> bool:
    return Path(folder).is_dir()


async def _gone(*pids: int) -> bool:
    return not any(_alive(pid) for pid in pids)


async def _make_node(cluster: ControlPlane, name: str, port: int = 10250) -> None:
    """A Node as a kubelet registers it: Ready, with room, reached at a port on loopback."""
    await cluster.kubectl("create", "-f", "-", stdin=json.dumps(_manifest("v1", "Node", name)))
    status = {
        "conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady"}],
        "allocatable": {"cpu": "4", "memory": "4Gi", "pods": "10"},
        "capacity": {"cpu": "4", "memory": "4Gi", "pods": "10"},
        "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": port}},
    }
    await cluster.kubectl("patch", "node", name, "--subresource=status", "-p", json.dumps({"status": status}))


def _manifest(version: str, kind: str, name: str, **more: Any) -> dict[str, Any]:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name}, **more}


async def test_the_four_programs_run_at_the_version_that_go_mod_pins(cluster: ControlPlane) -> None:
    assert set(cluster.pids) == set(PROGRAMS)
    answer = json.loads(await cluster.kubectl("version", "--output=json"))
    assert answer["serverVersion"]["gitVersion"] == version()
    assert f"v{answer['serverVersion']['major']}.{answer['serverVersion']['minor']}." in version()


async def test_a_deployment_gets_pods_a_node_gets_them_bound_and_a_silent_node_is_noticed(
    cluster: ControlPlane,
) -> None:
    await cluster.kubectl("create", "deployment", "shop", "--image=shop", "--replicas=2")

    async def pods(field: str) -> list[str]:
        return (await cluster.kubectl("get", "pods", "-l", "app=shop", "-o", f"jsonpath={{.items[*]{field}}}")).split()

    async def both_exist() -> bool:
        return len(await pods(".metadata.name")) == 2

    async def both_are_bound() -> bool:
        return await pods(".spec.nodeName") == ["shelf", "shelf"]

    await _until(both_exist)
    assert await pods(".spec.nodeName") == []
    await _make_node(cluster, "shelf")
    await _until(both_are_bound)
    await cluster.kubectl("wait", "node/shelf", "--for=condition=Ready=Unknown", "--timeout=60s")


@pytest.mark.parametrize("program", PROGRAMS)
async def test_a_killed_program_is_gone_and_runs_again_with_the_same_data(cluster: ControlPlane, program: str) -> None:
    await cluster.kubectl("create", "configmap", f"before-{program}")
    killed = cluster.pids[program]
    await cluster.kill(program)
    assert program not in cluster.pids
    assert not _alive(killed)

    await cluster.run(program)

    assert cluster.pids[program] != killed
    assert await cluster.kubectl("get", "configmap", f"before-{program}", "-o", "name")
    await _all_do_their_work(cluster, f"after-{program}")


async def _all_do_their_work(cluster: ControlPlane, name: str) -> None:
    """Wait until a new Deployment has a pod, from the controller manager, that the scheduler has looked at."""
    await cluster.kubectl("create", "deployment", name, "--image=shop")
    looked_at = "jsonpath={.items[*].status.conditions[?(@.type=='PodScheduled')].status}"

    async def done() -> bool:
        return bool(await cluster.kubectl("get", "pods", "-l", f"app={name}", "-o", looked_at))

    await _until(done)


async def test_while_the_api_server_is_dead_kubectl_says_so(cluster: ControlPlane) -> None:
    await cluster.kill("kube-apiserver")
    with pytest.raises(KubectlError, match="refused") as refusal:
        await cluster.kubectl("get", "pods")
    assert refusal.value.code == 1
    await cluster.run("kube-apiserver")
    await cluster.kubectl("get", "pods")


async def test_a_paused_api_server_answers_nobody_until_it_is_resumed(cluster: ControlPlane) -> None:
    cluster.pause("kube-apiserver")
    with pytest.raises(KubectlError):
        await cluster.kubectl("get", "namespaces", "--request-timeout=1s")
    cluster.resume("kube-apiserver")
    assert "default" in await cluster.kubectl("get", "namespaces")


async def test_a_user_is_who_its_kubeconfig_says_and_may_do_what_it_was_granted(cluster: ControlPlane) -> None:
    jane = cluster.kubeconfig_for("jane", groups=["developers", "testers"])
    who = json.loads(await cluster.kubectl("auth", "whoami", "--output=json", user=jane))["status"]["userInfo"]
    assert who["username"] == "jane"
    assert set(who["groups"]) == {"developers", "testers", "system:authenticated"}
    with pytest.raises(KubectlError, match="pods is forbidden"):
        await cluster.kubectl("get", "pods", user=jane)

    await cluster.kubectl("create", "rolebinding", "developers", "--clusterrole=view", "--group=developers")

    async def granted() -> bool:
        return "yes" in await cluster.kubectl("auth", "can-i", "list", "pods", user=jane, check=False)

    await _until(granted)
    await cluster.kubectl("get", "pods", user=jane)


async def test_a_service_account_gets_a_kubeconfig_with_a_token(cluster: ControlPlane) -> None:
    await cluster.kubectl("create", "serviceaccount", "robot")
    robot = await cluster.service_account_kubeconfig("default", "robot")
    who = json.loads(await cluster.kubectl("auth", "whoami", "--output=json", user=robot))["status"]["userInfo"]
    assert who["username"] == "system:serviceaccount:default:robot"


async def test_kubectl_logs_reaches_a_kubelet_that_has_a_certificate_of_the_bed(cluster: ControlPlane) -> None:
    async with _kubelet(cluster, "upright") as (port, callers):
        await _make_node(cluster, "upright", port)
        spec = {"nodeName": "upright", "containers": [{"name": "bot", "image": "shop"}]}
        await cluster.kubectl("create", "-f", "-", stdin=json.dumps(_manifest("v1", "Pod", "shop", spec=spec)))
        assert await cluster.kubectl("logs", "shop") == "/containerLogs/default/shop/bot\n"
        assert callers == ["kube-apiserver-kubelet-client"]


@asynccontextmanager
async def _kubelet(cluster: ControlPlane, name: str) -> AsyncIterator[tuple[int, list[str]]]:
    """A TLS port that answers with the path it was asked for; yields the port and, as they come, the callers' names."""
    callers: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        assert request.transport is not None
        subject = request.transport.get_extra_info("peercert")["subject"]
        callers.extend(value for part in subject for key, value in part if key == "commonName")
        return web.Response(text=request.path + "\n")

    pair = cluster.serving_certificate(name)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=cluster.authority)
    tls.verify_mode = ssl.CERT_REQUIRED
    tls.load_cert_chain(pair.certificate, pair.key)
    application = web.Application()
    application.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(application)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
        yield runner.addresses[0][1], callers
    finally:
        await runner.cleanup()


async def test_two_control_planes_run_side_by_side_and_take_flags_of_a_test(cluster: ControlPlane) -> None:
    audit = {"kube-apiserver": ["--audit-log-path=audit.log", "--service-cluster-ip-range=10.50.0.0/16"]}
    async with ControlPlane.start(more=audit, authorization="AlwaysAllow") as other:
        await other.kubectl("create", "namespace", "elsewhere", user=other.kubeconfig_for("anybody"))
        assert other.url != cluster.url
        assert "elsewhere" not in await cluster.kubectl("get", "namespaces")
        assert "10.50.0.1" in await other.kubectl("get", "service", "kubernetes")
        folder, pids = other.folder, other.pids.values()
    assert await _gone(*pids)
    assert not folder.exists()
    assert await cluster.kubectl("get", "namespace", "default")


@pytest.mark.parametrize(
    ("program", "flag", "words"),
    [
        ("etcd", "--data-dir=/dev/null/data", "not a directory"),
        ("kube-apiserver", "--no-such-flag", "unknown flag: --no-such-flag"),
        ("kube-scheduler", "--no-such-flag", "unknown flag: --no-such-flag"),
    ],
)
async def test_a_program_that_does_not_start_is_named_with_the_end_of_its_log(
    program: str, flag: str, words: str
) -> None:
    with pytest.raises(ControlPlaneError, match=f"^{program} ended before it was ready:\n(.*\n)*.*{words}"):
        async with ControlPlane.start(more={program: [flag]}):
            raise AssertionError("it started")


async def test_flags_for_a_program_that_does_not_exist_are_refused() -> None:
    with pytest.raises(ValueError, match="no such program: kubelet"):
        async with ControlPlane.start(more={"kubelet": []}):
            raise AssertionError("it started")


async def test_a_killed_owner_leaves_no_process_behind_and_no_folder_for_long(cluster: ControlPlane) -> None:
    owner = await asyncio.create_subprocess_exec(sys.executable, "-c", OWNER, stdout=subprocess.PIPE)
    assert owner.stdout is not None
    async with asyncio.timeout(60):
        told = json.loads(await owner.stdout.readline())
    pids = told["pids"].values()
    assert len(pids) == len(PROGRAMS)
    assert all(_alive(pid) for pid in pids)
    scratch.sweep()
    assert _left(told["folder"])  # its owner lives

    owner.send_signal(signal.SIGKILL)
    await owner.wait()

    await _until(lambda: _gone(*pids))
    scratch.sweep()
    assert not _left(told["folder"])
    assert _left(str(cluster.folder))


async def test_a_leash_whose_holder_is_gone_starts_nothing(tmp_path: Path) -> None:
    command = leash.on(["touch", str(tmp_path / "ran")])
    command[command.index(str(os.getpid()))] = "1"  # as if we had died, and init were the parent now
    process = await asyncio.create_subprocess_exec(*command, stderr=subprocess.DEVNULL)
    assert await process.wait() == 1
    assert not (tmp_path / "ran").exists()
