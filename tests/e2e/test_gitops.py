"""Whoever applies the Deployment's own manifest again and again is not fought: no pod restarts, and it is said who.

The manifest has three replicas and RollingUpdate in it. With the admission policies nothing of it is ever stored;
without them the operator sets it back, with one write each time and no other.
"""

from __future__ import annotations

import asyncio
import json
from asyncio.subprocess import PIPE
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.apiserver.admission import installed
from tests.bed.tools import program
from tests.e2e.appliers import Applier, ArgoClientSide, ArgoServerSide, Flux, Kustomize
from tests.e2e.gitops_doc import PAGE, merged, shown, shown_of
from tests.e2e.world import DEEDS, Operate, World, locks
from tests.unit.argocd import health

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.bed.bed import Bed
    from tests.bed.written import Written

pytestmark = [pytest.mark.bed]

ROUNDS = 5
ROLLING = {"replicas": 3, "strategy": {"type": "RollingUpdate"}}
AGREES, LOCKED = shown_of("Deployment")
IGNORED = tuple(
    tuple(pointer.split("/")[1:])
    for block in shown_of("Application")
    for each in block["spec"].get("ignoreDifferences", [])
    for pointer in each["jsonPointers"]
)
OWN_TERM = {"labelSelector": {"matchLabels": {"app": "noisy"}}, "topologyKey": "kubernetes.io/hostname"}
OWN_TERMS = {"affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [OWN_TERM]}}}


@asynccontextmanager
async def adopted(bed: Bed, ns: str, operate: Operate, **more: Any) -> AsyncIterator[World]:
    """A bot that ran alone, and is guarded now."""
    world = await World.make(bed, ns, grace=3, **more)
    await bed.apply(world.plain(), "--server-side", "--field-manager=before")
    await bed.apply(world.resource())
    async with operate("--namespace", ns):
        await world.settled()
        await world.says("Pinned", "True", "Pinned")
        yield world
        world.assert_never_two()


async def set_back(world: World) -> None:
    """Wait until replicas and strategy are ours again, and the cluster has acted on it."""

    async def is_back() -> bool:
        spec = (await world.deployed())["spec"]
        return spec["replicas"] == 1 and spec["strategy"] == {"type": "Recreate"} and await world.one_runs()

    await world.bed.until(is_back, what="one replica and Recreate")


async def outcome(world: World) -> str:
    """What has come of a lock that was taken out of the template, or "" while nothing has."""
    if (await world.condition("Pinned"))["reason"] == "FieldManagerConflict":
        return "left out"
    return "put back" if locks((await world.deployed())["spec"]) else ""


async def disowned(world: World) -> bool:
    """Whether the operator is noted for nothing of the Deployment's spec."""
    entries = (await world.deployed())["metadata"]["managedFields"]
    return not any(each["manager"] == "telegrambot-operator" and "f:spec" in each["fieldsV1"] for each in entries)


async def uid(world: World) -> str:
    found: str = (await world.only_pod())["metadata"]["uid"]
    return found


WITHOUT_POLICIES = {"Flux": Flux, "Argo CD": ArgoClientSide, "Argo CD, server-side": ArgoServerSide, "kubectl": Applier}


@pytest.mark.parametrize("tool", WITHOUT_POLICIES)
async def test_each_apply_costs_one_write_and_no_pod_and_its_manager_is_named(
    tool: str, bed: Bed, ns: str, operate: Operate, written: Written
) -> None:
    async with adopted(bed, ns, operate) as world:
        applier = WITHOUT_POLICIES[tool](world, world.plain(**ROLLING))
        pod = await uid(world)
        for number in range(ROUNDS):
            before = written.writes_in(ns)
            assert await applier.reconcile()
            await set_back(world)
            wrote = written.writes_in(ns)[len(before) :]
            assert len([each for each in wrote if "deployments" in each]) == 1, wrote
            assert number < 3 or len(wrote) == 1, wrote  # nor a status, nor an Event
            if number == 2:
                found = await world.says("Pinned", "True", "FieldManagerConflict", text=f"manager {applier.manager} ")
        assert "replicas and strategy" in found["message"]
        assert await uid(world) == pod
        assert (await world.condition("Ready"))["status"] == "True"
        await world.says("Pinned", "True", "Pinned")


async def test_it_is_over_when_the_manifest_says_the_same(bed: Bed, ns: str, operate: Operate) -> None:
    spec = {"conflict": {"clearAfterSeconds": 600}}
    async with adopted(bed, ns, operate, spec=spec) as world:
        applier = Flux(world, world.plain(**ROLLING))
        for _ in range(3):
            await applier.reconcile()
            await set_back(world)
        await world.says("Pinned", "True", "FieldManagerConflict")
        applier.manifest = merged(world.plain(**ROLLING), AGREES)
        await applier.apply()
        await world.says("Pinned", "True", "Pinned")
        assert not await applier.reconcile()


async def test_a_lock_whose_return_would_restart_the_bot_with_each_apply_is_left_out(
    bed: Bed, ns: str, operate: Operate, written: Written
) -> None:
    """Its manifest has anti-affinity terms of its own, a list that can only be set as a whole, and no strategy."""
    async with adopted(bed, ns, operate, pod=OWN_TERMS) as world:
        applier = Flux(world, world.plain())
        for _ in range(9):  # now and then the operator is faster than the rollout, and no pod is lost
            assert await applier.reconcile()
            if await bed.until(lambda: outcome(world), what="the lock put back, or left out") == "left out":
                break
            await bed.until(world.one_runs, what="one pod")
        await world.says(
            "Pinned", "False", "FieldManagerConflict", text="kustomize-controller keeps taking the lock out"
        )
        await world.says("Stalled", "True", "FieldManagerConflict", text="deploy/admission")
        await bed.until(world.one_runs, what="one pod")
        pod, before = await uid(world), written.writes_in(ns)
        for _ in range(ROUNDS):
            assert not await applier.reconcile()
        assert await uid(world) == pod
        assert [each for each in written.writes_in(ns)[len(before) :] if "deployments" in each] == []
        lock = json.loads(json.dumps(LOCKED).replace("4711", str(world.bot.id)))
        applier.manifest = merged(applier.manifest, lock)
        await applier.reconcile()
        await world.says("Pinned", "True", "Pinned")
        await world.settled()
        assert not await applier.reconcile()
        assert locks((await world.deployed())["spec"])


WITH_POLICIES: dict[str, tuple[type[Applier], dict[str, Any]]] = {
    "Flux": (Flux, {}),
    "Argo CD, server-side diff": (ArgoServerSide, {}),
    "Argo CD, ignoreDifferences": (ArgoClientSide, {"ignored": IGNORED}),
    "kubectl": (Applier, {}),
    "Kustomize": (Kustomize, {}),
}


async def test_with_the_policies_nothing_is_written_and_the_tools_see_no_difference(
    bed: Bed, ns: str, operate: Operate, written: Written
) -> None:
    """Of all tools in turn: each becomes a manager of the same Deployment, as when one is changed for another."""
    async with installed(bed), adopted(bed, ns, operate, pod=OWN_TERMS) as world:
        await world.by_admission()
        await bed.until(lambda: disowned(world), what="the pin is the policies' alone")
        pod = await uid(world)
        for tool, (kind, more) in WITH_POLICIES.items():
            applier = kind(world, world.plain(**ROLLING), **more)
            await applier.reconcile()  # becomes a manager of the fields
            before, stored = written.writes_in(ns), await world.deployed()
            again = [await applier.reconcile() for _ in range(ROUNDS)]
            after = await world.deployed()
            assert after["metadata"]["resourceVersion"] == stored["metadata"]["resourceVersion"], tool
            assert not any(again) or kind in {Applier, Kustomize}, tool
            assert written.writes_in(ns)[len(before) :] == [], tool
            assert (after["spec"]["replicas"], after["spec"]["strategy"]) == (1, {"type": "Recreate"}), tool
        assert await uid(world) == pod
        assert health(await bed.get("telegrambot", "shop", ns) or {})[0] == "Healthy"
        await world.says("Pinned", "True", "Pinned", text="at admission")
        await DEEDS["a deleted pod"](world)
        await world.by_admission()


# --- Helm ------------------------------------------------------------------------------------------------------------


class Helm:
    """The real one, with a chart of one Deployment."""

    def __init__(self, world: World, folder: Path) -> None:
        self.world = world
        self.folder = folder

    async def upgrade(self, *options: str, version: str = "1", **spec: Any) -> str:
        """`helm upgrade --install`; returns what it says when it is refused, else ""."""
        templates = self.folder / "templates"
        templates.mkdir(exist_ok=True)
        (self.folder / "Chart.yaml").write_text(json.dumps({"apiVersion": "v2", "name": "bot", "version": "1.0.0"}))
        manifest = merged(self.world.plain(**spec), {"metadata": {"annotations": {"release": version}}})
        (templates / "deployment.yaml").write_text(json.dumps(manifest))
        words = [str(program("helm")), "upgrade", "--install", "bot", str(self.folder), "--namespace", self.world.ns]
        config = {"HOME": str(self.folder.parent), "KUBECONFIG": str(self.world.bed.cp.kubeconfig)}
        done = await asyncio.create_subprocess_exec(*words, *options, env=config, stdout=PIPE, stderr=PIPE)
        _, said = await done.communicate()
        return said.decode() if done.returncode else ""


FORCED = {"server-side, forced": ("--server-side=true", "--force-conflicts"), "as Helm 3": ("--server-side=false",)}


@pytest.mark.parametrize("way", FORCED)
async def test_each_upgrade_with_helm_costs_one_write_and_no_pod(
    way: str, bed: Bed, ns: str, operate: Operate, written: Written, tmp_path: Path
) -> None:
    world = await World.make(bed, ns, grace=3)
    helm = Helm(world, tmp_path)
    assert await helm.upgrade("--server-side=" + str(way != "as Helm 3").lower()) == ""
    await bed.apply(world.resource())
    async with operate("--namespace", ns):
        await world.settled()
        pod = await uid(world)
        for number in range(4):
            before = written.writes_in(ns)
            assert await helm.upgrade(*FORCED[way], version=str(number), **ROLLING) == ""
            await set_back(world)
            assert len([each for each in written.writes_in(ns)[len(before) :] if "deployments" in each]) == 1
        await world.says("Pinned", "True", "FieldManagerConflict", text="field manager helm keeps setting")
        assert await uid(world) == pod
        world.assert_never_two()


async def test_without_the_policies_helm_4_is_told_of_the_conflict_unless_the_chart_agrees(
    bed: Bed, ns: str, operate: Operate, tmp_path: Path
) -> None:
    world = await World.make(bed, ns, grace=3)
    helm = Helm(world, tmp_path)
    assert await helm.upgrade() == ""
    await bed.apply(world.resource())
    async with operate("--namespace", ns):
        await world.settled()
        assert 'conflict with "telegrambot-operator" using apps/v1' in await helm.upgrade(version="2", **ROLLING)
        assert await helm.upgrade(version="3", **AGREES["spec"]) == ""
        await world.settled()
        world.assert_never_two()


async def test_with_the_policies_helm_4_meets_no_conflict_and_changes_nothing_but_its_own(
    bed: Bed, ns: str, operate: Operate, written: Written, tmp_path: Path
) -> None:
    world = await World.make(bed, ns, grace=3)
    helm = Helm(world, tmp_path)
    assert await helm.upgrade() == ""
    await bed.apply(world.resource())
    async with installed(bed), operate("--namespace", ns):
        await world.by_admission()
        await bed.until(lambda: disowned(world), what="the pin is the policies' alone")
        pod = await uid(world)
        assert await helm.upgrade(version="2", **ROLLING) == ""
        before = written.writes_in(ns)
        for number in range(3, 6):
            assert await helm.upgrade(version=str(number), **ROLLING) == ""
            assert (await world.deployed())["metadata"]["annotations"]["release"] == str(number)
        await world.by_admission()
        assert written.writes_in(ns)[len(before) :] == []
        assert await uid(world) == pod
        world.assert_never_two()


# --- The page ---------------------------------------------------------------------------------------------------------


def test_every_block_of_the_page_is_used_or_looked_at() -> None:
    assert [kind for kind, _ in shown()] == [
        "Deployment",
        "Deployment",
        "Kustomization",
        "HelmRelease",
        "Application",
        "Application",
        "kustomization.yaml",
    ]
    assert PAGE.read_text().count("```yaml") == len(shown())


def test_flux_is_told_to_ignore_what_argo_cd_is() -> None:
    (kustomization,), (release,) = shown_of("Kustomization"), shown_of("HelmRelease")
    rules = [*kustomization["spec"]["ignore"], *release["spec"]["driftDetection"]["ignore"]]
    assert {path for each in rules for path in each["paths"]} == {"/" + "/".join(each) for each in IGNORED}
    assert {"/spec/replicas", "/spec/strategy"} == {"/" + "/".join(each) for each in IGNORED}


async def test_what_the_page_says_for_kustomize_makes_a_base_agree(bed: Bed, ns: str, tmp_path: Path) -> None:
    world = await World.make(bed, ns)
    (part,) = shown_of("kustomization.yaml")
    (tmp_path / "deployment.yaml").write_text(json.dumps(world.plain(**ROLLING)))
    (tmp_path / "kustomization.yaml").write_text(json.dumps({"resources": ["deployment.yaml"], **part}))
    built = await bed.kubectl("kustomize", str(tmp_path))
    assert merged(yaml.safe_load(built), AGREES) == yaml.safe_load(built)
    await world.kubectl("apply", "--server-side", "--dry-run=server", "-f", "-", stdin=built)
