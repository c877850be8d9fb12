"""Installed, upgraded and uninstalled on the bed by the real Helm and kubectl; its pods run there as themselves."""

from __future__ import annotations

import shutil
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from tests.bed.chart import CHART, ROOT
from tests.bed.deployed import NAME, Deployed
from tests.e2e.world import World, locks

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.bed.bed import Bed
    from tests.chart.conftest import Helm

pytestmark = [pytest.mark.bed, pytest.mark.timeout(420)]

CRD = "telegrambots.singleton.bot"
GATED = {"lock": "Gate"}


@asynccontextmanager
async def ending(bed: Bed, operator: Deployed) -> AsyncIterator[None]:
    """Nothing of the installation is left when the block ends, and what it logged is on show when a test fails."""
    try:
        yield
    except BaseException as error:
        error.add_note(f"The operator logged:\n{operator.log_text()}")
        raise
    finally:
        await bed.kubectl("delete", "clusterrole,clusterrolebinding", "-l", f"app.kubernetes.io/part-of={NAME}")
        for namespace in ("kube-system", "kube-node-lease"):
            await bed.kubectl("-n", namespace, "delete", "role,rolebinding", "-l", f"app.kubernetes.io/part-of={NAME}")
        await bed.kubectl("delete", "namespace", operator.namespace, "--ignore-not-found")
        await bed.kubectl("delete", "crd", CRD, "--ignore-not-found")
        (bed.folder / f"operator-{operator.namespace}.log").write_text(operator.log_text())


async def released(world: World) -> None:
    """Nothing holds the bot any more, and it runs: one process, in a pod that is ready."""

    async def free() -> bool:
        deployment = await world.deployed()
        held = locks(deployment["spec"]) or deployment["spec"]["template"]["spec"].get("schedulingGates")
        return not held and "singleton.bot/name" not in deployment["metadata"]["labels"]

    assert await free(), await world.deployed()
    await world.bed.until(world.runs_alone, what="the bot runs on")
    world.assert_never_two()


async def test_helm_installs_upgrades_and_uninstalls_it(bed: Bed, ns: str, on_bed: Helm, tmp_path: Path) -> None:
    operator = Deployed(bed, f"{ns}-operator")
    where = ("--namespace", operator.namespace)
    async with ending(bed, operator):
        await on_bed("install", NAME, CHART, *where, "--create-namespace", "--wait", "--timeout=120s")
        world = await World.make(bed, ns, spec=GATED)
        await world.guarded()
        assert len(await operator.pods()) == 2
        pod = await world.only_pod()

        values = ("--reset-then-reuse-values", "--set", "replicas=1,logFormat=json", "--wait", "--timeout=120s")
        await on_bed("upgrade", NAME, _newer(tmp_path), *where, *values)
        assert await _crd_is_newer(bed), "the CRD is upgraded with the chart"
        await world.settled()
        await on_bed("rollback", NAME, *where, "--wait", "--timeout=120s")
        assert not await _crd_is_newer(bed), "and goes back with it"
        await world.settled()
        assert (await world.only_pod())["metadata"]["uid"] == pod["metadata"]["uid"], "no bot is restarted"

        await on_bed("uninstall", NAME, *where, "--wait", "--timeout=240s")
        assert await bed.pods(operator.namespace) == []
        await released(world)
        assert await bed.get("customresourcedefinition", CRD) is not None
        assert await bed.get("telegrambot", "shop", ns) is not None
        left = await bed.kubectl("get", "clusterrole,clusterrolebinding", "-l", f"app.kubernetes.io/part-of={NAME}")
        assert left == ""


def _newer(folder: Path) -> Path:
    """A later version of the chart, in which the CRD is another."""
    chart = shutil.copytree(CHART, folder / "chart")
    template = chart / "templates" / "crd.yaml"
    changed = template.read_text().replace(r"\n  labels:\n", r"\n  labels:\n    newer: \"yes\"\n")
    assert changed != template.read_text()
    template.write_text(changed)
    return chart


async def _crd_is_newer(bed: Bed) -> bool:
    crd = await bed.get("customresourcedefinition", CRD)
    assert crd is not None
    return "newer" in crd["metadata"]["labels"]


async def test_helm_takes_over_what_kubectl_has_installed(bed: Bed, on_bed: Helm) -> None:
    operator = Deployed(bed, NAME)
    async with ending(bed, operator):
        await bed.kubectl("apply", "--server-side", "-f", str(ROOT / "deploy" / "install.yaml"))
        await operator.rolled_out()
        pods = {pod["metadata"]["uid"] for pod in await operator.pods()}
        await on_bed("install", NAME, CHART, "-n", NAME, "--take-ownership", "--wait", "--timeout=120s")
        assert {pod["metadata"]["uid"] for pod in await operator.pods()} == pods, "what runs is kept"
        await on_bed("uninstall", NAME, "-n", NAME, "--timeout=120s")


async def test_kubectl_installs_and_uninstalls_it(bed: Bed, ns: str) -> None:
    operator, install = Deployed(bed, NAME), str(ROOT / "deploy" / "install.yaml")
    async with ending(bed, operator):
        await bed.kubectl("apply", "--server-side", "-f", install)
        await operator.rolled_out()
        world = await World.make(bed, ns, spec=GATED)
        await world.guarded()
        code, said = await bed.command("release", "--all", "--stop", f"deployment/{NAME}", "--dry-run")
        assert (code, said.splitlines()[0]) == (0, f"Deployment {NAME}/{NAME} would be stopped first.")
        code, said = await bed.command("release", "--all", "--stop", f"deployment/{NAME}")
        assert code == 0, said
        assert said.startswith(f"Deployment {NAME}/{NAME} is stopped.\n")
        assert await bed.pods(NAME) == []
        await released(world)
        await bed.kubectl("delete", "-f", install, "-l", "app.kubernetes.io/component!=crd")
        assert await bed.get("namespace", NAME) is None
        assert await bed.get("telegrambot", "shop", ns) is not None


async def test_roles_alone_are_enough_for_named_namespaces(bed: Bed, ns: str, on_bed: Helm) -> None:
    operator = Deployed(bed, f"{ns}-operator")
    where = ("--namespace", operator.namespace)
    async with ending(bed, operator):
        await bed.install_crd()
        values = ("--set", f"namespaces={{{ns}}},installCRDs=false,replicas=1")
        await on_bed("install", NAME, CHART, *where, "--create-namespace", *values, "--wait", "--timeout=120s")
        roles = await bed.kubectl("get", "clusterrole,clusterrolebinding", "-l", f"app.kubernetes.io/part-of={NAME}")
        assert roles == ""
        world = await World.make(bed, ns, spec=GATED)
        await world.guarded()
        await world.scale(2)
        await world.settled()

        async def repaired() -> bool:
            return bool((await world.deployed())["spec"]["replicas"] == 1)

        await bed.until(repaired, what="one replica again")
        await world.settled()
        world.assert_never_two()
        await on_bed("uninstall", NAME, *where, "--timeout=240s")
        await released(world)


async def test_without_access_to_secrets_a_bot_goes_by_its_name(bed: Bed, ns: str, on_bed: Helm) -> None:
    operator = Deployed(bed, f"{ns}-operator")
    where = ("--namespace", operator.namespace)
    async with ending(bed, operator):
        values = ("--set", "secretAccess=false,replicas=1,releaseOnUninstall.enabled=false")
        await on_bed("install", NAME, CHART, *where, "--create-namespace", *values, "--wait", "--timeout=120s")
        world = await World.make(bed, ns)
        await world.guarded()
        said = await world.says("Pinned", "True", text="the bot's token cannot be read")
        assert f"so its identity is {ns}.shop" in said["message"]
        await world.scale(2)
        await world.settled()
        world.assert_never_two()
        await on_bed("uninstall", NAME, *where, "--timeout=120s")


async def test_an_uninstall_that_cannot_let_go_of_a_bot_stops_and_says_so(bed: Bed, ns: str, on_bed: Helm) -> None:
    operator = Deployed(bed, f"{ns}-operator")
    where = ("--namespace", operator.namespace)
    async with ending(bed, operator):
        values = ("--set", "replicas=1,releaseOnUninstall.timeoutSeconds=30")
        await on_bed("install", NAME, CHART, *where, "--create-namespace", *values, "--wait", "--timeout=120s")
        world = await World.make(bed, ns)
        await world.guarded()
        await bed.apply(_nobody_changes_deployments(ns))
        try:
            said = await on_bed("uninstall", NAME, *where, "--timeout=120s", code=1)
            assert f"Deployment {ns}/{world.deployment}: left: " in said, "the user reads why"
            logged = await bed.kubectl("-n", operator.namespace, "logs", f"job/{NAME}-release")
            assert f"Deployment {ns}/{world.deployment}: left: " in logged
            assert await bed.get("deployment", NAME, operator.namespace) is not None
        finally:
            await bed.kubectl("delete", "validatingadmissionpolicy,validatingadmissionpolicybinding", "frozen")
        await bed.until(lambda: _uninstalled(on_bed, where), what="the uninstall goes through", patience=120)
        await released(world)


async def _uninstalled(helm: Helm, where: tuple[str, ...]) -> bool:
    """Uninstall; an API server takes a moment to forget a policy."""
    try:
        await helm("uninstall", NAME, *where, "--timeout=120s")
    except AssertionError:
        return False
    return True


def _nobody_changes_deployments(namespace: str) -> list[Any]:
    """An admission policy, as clusters have them, that refuses what `release` has to do."""
    metadata = {"name": "frozen"}
    api = "admissionregistration.k8s.io/v1"
    rule = {"apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["UPDATE"], "resources": ["deployments"]}
    policy = {
        "matchConstraints": {"resourceRules": [rule]},
        "validations": [{"expression": f"request.namespace != '{namespace}'", "message": "the shop is frozen"}],
    }
    binding = {"policyName": "frozen", "validationActions": ["Deny"]}
    return [
        {"apiVersion": api, "kind": "ValidatingAdmissionPolicy", "metadata": metadata, "spec": policy},
        {"apiVersion": api, "kind": "ValidatingAdmissionPolicyBinding", "metadata": metadata, "spec": binding},
    ]
