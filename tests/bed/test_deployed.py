"""The operator as a pod of the bed: its image's command, its ServiceAccount's token, probes, an address of its own."""

from __future__ import annotations

import base64
import json
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from tests.bed.deployed import NAME, deployed
from tests.bed.installation import manifests
from tests.bed.node_process import is_program

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.bed.bed import Bed
    from tests.bed.kube import Object

pytestmark = pytest.mark.bed

ACCOUNT = "var/run/secrets/kubernetes.io/serviceaccount"


def deployment(**container: Any) -> Object:
    """The operator's Deployment, as short as its namespace lets it be: Pod Security `restricted` is enforced there."""
    labels = {"app.kubernetes.io/name": NAME}
    image = f"registry.example.com/x/{NAME}:1.2.3"
    limits = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    pod = {
        "serviceAccountName": NAME,
        "securityContext": {"runAsNonRoot": True, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [{"name": "operator", "image": image, "args": ["run"], "securityContext": limits, **container}],
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": NAME, "namespace": NAME},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    }


def manifest(**container: Any) -> list[Object]:
    """The rights, and the Deployment."""
    return [*manifests(), deployment(**container)]


def claims(token: str) -> Object:
    """What a token says of itself."""
    payload = token.split(".")[1]
    found: Object = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return found


class TestTheOperatorAsAPod:
    async def test_it_guards_with_the_rights_of_its_account(self, bed: Bed, ns: str) -> None:
        async with deployed(bed, manifest()) as operator:
            spec = {"deploymentRef": {"name": "nobody"}}
            shop = {"apiVersion": "singleton.bot/v1alpha1", "kind": "TelegramBot", "metadata": {"name": "shop"}}
            await bed.apply(shop | {"spec": spec}, f"--namespace={ns}")
            await bed.kubectl("-n", ns, "wait", "tgbot/shop", "--for=condition=Ready=False", "--timeout=60s")
            (pod,) = await operator.pods()
            assert pod["spec"]["serviceAccountName"] == NAME
            logged = await bed.kubectl("-n", NAME, "logs", pod["metadata"]["name"])
            assert "guarding 1 TelegramBots" in logged or "guarding 0 TelegramBots" in logged
            assert await operator.stop() == [0], "SIGTERM ends it cleanly"

    async def test_its_token_is_bound_to_the_pod_and_renewed_in_its_file(self, bed: Bed) -> None:
        async with deployed(bed, manifest()) as operator:
            (pod,) = await operator.pods()
            node = bed.node_of(pod)
            folder = node.folder_of(pod) / "root-operator" / ACCOUNT
            first = (folder / "token").read_text()
            bound = claims(first)["kubernetes.io"]
            assert (bound["pod"]["name"], bound["serviceaccount"]["name"]) == (pod["metadata"]["name"], NAME)
            assert (folder / "namespace").read_text() == NAME
            assert (folder / "ca.crt").read_text() == bed.cp.authority.read_text()
            node.renew_tokens()
            await bed.until(lambda: (folder / "token").read_text() != first, what="another token")
            assert (folder / "ca.crt").read_text() == bed.cp.authority.read_text()

    async def test_every_pod_listens_on_the_same_port_at_an_address_of_its_own(self, bed: Bed) -> None:
        async with deployed(bed, manifest()) as operator:
            await bed.kubectl("-n", NAME, "scale", "deployment", NAME, "--replicas=2")
            await operator.rolled_out()
            pods = await operator.pods()
            assert len({bed.node_of(pod).address_of(pod) for pod in pods}) == 2

    def test_only_its_image_is_a_program(self) -> None:
        assert is_program({"image": f"ghcr.io/x/{NAME}@sha256:0"})
        assert is_program({"image": f"localhost:5000/{NAME}:1"})
        assert not is_program({"image": f"ghcr.io/{NAME}/bot:1"})
        assert not is_program({"image": NAME, "command": ["sh"]})


@dataclass
class Page:
    """A page that answers as a test wants it."""

    port: int
    status: int = 200
    asked: int = 0


@asynccontextmanager
async def page() -> AsyncIterator[Page]:
    async def answer(request: web.Request) -> web.Response:
        assert request.headers["User-Agent"].startswith("kube-probe/")
        served.asked += 1
        return web.Response(status=served.status)

    application = web.Application()
    application.router.add_get("/healthz", answer)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    served = Page(runner.addresses[0][1])
    try:
        yield served
    finally:
        await runner.cleanup()


def probed(page: Page, *kinds: str, **more: Any) -> Object:
    """A pod whose container has these probes, of that page."""
    get = {"host": "127.0.0.1", "port": "health", "path": "/healthz"}
    probe = {"httpGet": get, "periodSeconds": 1, "failureThreshold": 1, **more}
    ports = [{"name": "health", "containerPort": page.port}]
    container = {"name": "bot", "image": "pause", "ports": ports, **{f"{kind}Probe": probe for kind in kinds}}
    return {"metadata": {"name": "web"}, "spec": {"containers": [container], "terminationGracePeriodSeconds": 1}}


async def status_of(bed: Bed, ns: str) -> Object:
    """The status of the container."""
    found = await bed.get("pod", "web", ns) or {}
    return next(iter(found.get("status", {}).get("containerStatuses", [])), {})


class TestHttpProbes:
    async def test_readiness_follows_the_page(self, bed: Bed, ns: str) -> None:
        async with page() as served:
            served.status = 503
            await bed.kube.create("pods", ns, probed(served, "readiness"))
            await bed.until(lambda: served.asked >= 2, what="it is asked")
            assert not (await status_of(bed, ns))["ready"]
            served.status = 204
            await bed.kubectl("-n", ns, "wait", "pod/web", "--for=condition=Ready", "--timeout=60s")
            served.status = 500
            await bed.kubectl("-n", ns, "wait", "pod/web", "--for=condition=Ready=False", "--timeout=60s")
            assert (await status_of(bed, ns))["restartCount"] == 0

    async def test_a_container_that_fails_its_liveness_probe_is_started_again(self, bed: Bed, ns: str) -> None:
        async with page() as served:
            await bed.kube.create("pods", ns, probed(served, "liveness"))
            await bed.until(lambda: served.asked >= 2, what="it is asked")
            assert (await status_of(bed, ns))["restartCount"] == 0
            served.status = 500

            async def restarted() -> bool:
                return bool((await status_of(bed, ns)).get("restartCount", 0) >= 1)

            await bed.until(restarted, what="a restart")
            assert (await status_of(bed, ns))["lastState"]["terminated"]["exitCode"] == 143, "by SIGTERM"

    async def test_no_other_probe_is_asked_before_the_container_has_started_up(self, bed: Bed, ns: str) -> None:
        async with page() as served:
            served.status = 500
            await bed.kube.create("pods", ns, probed(served, "startup", "liveness", failureThreshold=100))
            await bed.until(lambda: served.asked >= 2, what="it is asked")
            status = await status_of(bed, ns)
            assert (status["started"], status["ready"], status["restartCount"]) == (False, False, 0)
            served.status = 200
            await bed.kubectl("-n", ns, "wait", "pod/web", "--for=condition=Ready", "--timeout=60s")
            assert (await status_of(bed, ns))["started"]

    async def test_a_lost_node_asks_nothing_and_restarts_nothing(self, bed: Bed, ns: str) -> None:
        async with page() as served:
            await bed.kube.create("pods", ns, probed(served, "liveness"))
            await bed.until(lambda: served.asked >= 2, what="it is asked")
            node = bed.node_of(await bed.get("pod", "web", ns) or {})
            node.freeze()
            served.status = 500
            asked = served.asked
            await bed.kubectl("wait", f"node/{node.name}", "--for=condition=Ready=Unknown", "--timeout=60s")
            assert served.asked <= asked + 1, "one may have been on its way"
            assert (await status_of(bed, ns))["restartCount"] == 0
            node.thaw()
            await bed.until(lambda: served.asked > asked + 1, what="it is asked again")
