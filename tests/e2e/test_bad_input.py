"""Wrong input and a world that says no: one sentence that names field and remedy, nothing lost, no traceback."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from tests.bed.kube import MERGE, path
from tests.e2e.world import NAME, Object, Operate, World, assert_healthy

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.bed.bed import Bed

pytestmark = pytest.mark.bed

CRD = Path(__file__).parents[2] / "crds" / "telegrambots.singleton.bot.yaml"


async def test_no_such_deployment(bed: Bed, ns: str, operate: Operate) -> None:
    world = await World.make(bed, ns)
    async with operate() as operator:
        await bed.apply(world.resource())
        sentence = f"there is no Deployment {NAME} in namespace {ns}; create it, or correct spec.deploymentRef.name"
        await world.says("Ready", "False", "DeploymentNotFound", text=sentence)
        await world.says("Reconciling", "True", "DeploymentNotFound")
        assert_healthy(operator)


async def test_a_deployment_of_zero_replicas_gets_its_one(bed: Bed, ns: str, operate: Operate) -> None:
    world = await World.make(bed, ns)
    await bed.apply(world.plain(replicas=0))
    async with operate():
        await bed.apply(world.resource())
        await world.settled()


SECRETS: dict[str, tuple[Callable[[str], Object | None], str, str]] = {
    "there is no Secret": (lambda _: None, "TokenNotFound", "there is no Secret shop-bot; create it"),
    "the Secret has no such key": (
        lambda token: {"other": token},
        "TokenNotFound",
        "Secret shop-bot has no key token; add it",
    ),
    "the key is empty": (lambda _: {"token": ""}, "TokenNotFound", "key token of Secret shop-bot is empty"),
    "the key holds no token": (
        lambda _: {"token": "hunter2-is-not-a-token"},
        "TokenInvalid",
        "key token of Secret shop-bot does not hold a bot token",
    ),
}


@pytest.mark.parametrize(("data", "reason", "sentence"), SECRETS.values(), ids=SECRETS.keys())
async def test_a_token_that_is_not_there(
    data: Callable[[str], Object | None], reason: str, sentence: str, bed: Bed, ns: str, operate: Operate
) -> None:
    world = await World.make(bed, ns)
    content = data(world.bot.token)
    await world.kubectl("delete", "secret", "shop-bot")
    if content is not None:
        await bed.kube.create("secrets", ns, {"metadata": {"name": "shop-bot"}, "stringData": content})
    async with operate() as operator:
        await bed.apply(world.plain())
        await bed.apply(world.resource())
        said = await world.says("Ready", "False", reason, text=sentence)
        await world.says("Stalled", "True", reason)
        assert "hunter2" not in said["message"] + operator.log_text()
        await world.kubectl("delete", "secret", "shop-bot", "--ignore-not-found")
        await bed.secret(ns, "shop-bot", token=world.bot.token)
        await world.kubectl("delete", "pods", "--all", "--wait=false")
        await world.settled()
        world.assert_never_two()


async def test_a_pattern_that_is_no_regular_expression(bed: Bed, ns: str, operate: Operate) -> None:
    world = await World.make(bed, ns)
    world.spec["conflict"] = {"patterns": ["fine", "(?=lookahead)"]}
    await bed.apply(world.plain(replicas=2))
    async with operate():
        await bed.apply(world.resource())
        await world.says("Ready", "False", "InvalidSpec", text="spec.conflict.patterns[1]: ")
        await world.says("Stalled", "True", "InvalidSpec", text="RE2 has no look-ahead")
        await world.edit(conflict={"patterns": ["fine"], "clearAfterSeconds": 3})
        await world.settled()


async def test_a_template_with_two_containers_runs_and_the_first_gets_the_token(
    bed: Bed, ns: str, operate: Operate
) -> None:
    world = await World.make(bed, ns, adopt=False)
    resource = world.resource()
    resource["spec"]["template"]["spec"]["containers"].append({"name": "helper", "image": "pause"})
    resource["spec"]["token"]["env"] = "TOKEN"
    async with operate():
        await bed.apply(resource)
        await world.settled()
        containers = (await world.deployed())["spec"]["template"]["spec"]["containers"]
        assert ["TOKEN" in {each["name"] for each in one.get("env", [])} for one in containers] == [True, False]


async def test_a_template_that_kubernetes_refuses(bed: Bed, ns: str, operate: Operate) -> None:
    world = await World.make(bed, ns, adopt=False)
    resource = world.resource()
    del resource["spec"]["template"]["spec"]["containers"][0]["image"]
    async with operate() as operator:
        await bed.apply(resource)
        await world.says(
            "Pinned", "False", "PatchDenied", text="spec.template.spec.containers[0].image: Required value"
        )
        await world.says("Stalled", "True", "PatchDenied")
        await bed.apply(world.resource())
        await world.settled()
        assert_healthy(operator)


async def test_a_deployment_that_another_controller_makes(bed: Bed, ns: str, operate: Operate) -> None:
    world = await World.make(bed, ns)
    await bed.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "app", "namespace": ns}})
    maker = await bed.get("configmap", "app", ns) or {}
    owner = {"apiVersion": "v1", "kind": "ConfigMap", "name": "app", "uid": maker["metadata"]["uid"]}
    plain = world.plain(replicas=2)
    plain["metadata"]["ownerReferences"] = [owner | {"controller": True}]
    await bed.apply(plain)
    async with operate():
        await bed.apply(world.resource())
        await world.says("Stalled", "True", "DeploymentControlled", text="is controlled by ConfigMap app")
        assert (await world.deployed())["spec"]["replicas"] == 2


async def test_an_owned_name_that_is_taken(bed: Bed, ns: str, operate: Operate) -> None:
    world = await World.make(bed, ns, adopt=False)
    plain = world.plain()
    plain["metadata"]["name"] = "shop"
    await bed.apply(plain)
    before = (await world.deployed())["metadata"]["generation"]
    async with operate():
        await bed.apply(world.resource())
        await world.says("Stalled", "True", "DeploymentInUse", text="adopt it with spec.deploymentRef")
        assert (await world.deployed())["metadata"]["generation"] == before


async def test_an_object_stored_before_a_rule_existed(bed: Bed, ns: str, operate: Operate) -> None:
    world = await World.make(bed, ns)
    await bed.apply(world.plain())
    crd = yaml.safe_load(CRD.read_text())
    spec = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    rules = spec.pop("x-kubernetes-validations")
    resource = world.resource()
    resource["spec"]["delivery"] = "Webhook"
    async with operate():
        try:
            await bed.apply(crd)
            await bed.until(lambda: accepted(bed, resource), what="the resource is stored without the rule")
        finally:
            spec["x-kubernetes-validations"] = rules
            await bed.apply(crd)
        await world.says("Ready", "False", "InvalidSpec", text="spec.webhook.url is required with delivery: Webhook")
        await world.says("Stalled", "True", "InvalidSpec")
        await world.edit(delivery="Polling")
        await world.settled()


async def test_a_crd_that_is_older_than_the_operator(bed: Bed, ns: str, operate: Operate) -> None:
    """The bot is guarded all the same, and what the CRD lacks is named, with what to do."""
    world = await World.make(bed, ns)
    crd = yaml.safe_load(CRD.read_text())
    del crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"]["properties"]["bot"]
    try:
        await bed.apply(crd)
        async with operate() as operator:
            await world.guarded()
            await world.says("Ready", "True", "Running", text="is older than the operator and lacks status.bot: apply")
            assert "bot" not in await world.status()
            assert operator.log_text().count("older than the operator") == 1
            assert_healthy(operator)
    finally:
        await bed.install_crd()
    async with operate():
        await bed.until(lambda: tells_of(world, "bot"), what="the status as a whole")
        await world.settled()
        assert "older" not in (await world.condition("Ready"))["message"]


async def tells_of(world: World, field: str) -> bool:
    return field in await world.status()


async def test_a_namespace_that_is_deleted_under_it(bed: Bed, ns: str, operate: Operate) -> None:
    """Whatever a namespace on its way out refuses, it is not asked for again and again, and nothing is left to tell."""
    world = await World.make(bed, ns, adopt=False, grace=3)
    rest = await World.make(bed, await bed.namespace())
    async with operate() as operator:
        await rest.guarded()
        await world.guarded()
        await bed.kubectl("delete", "namespace", ns, "--timeout=60s")
        lines = operator.log_text().splitlines()
        assert not [line for line in lines if "WARNING" in line or "ERROR" in line]
        await rest.edit(suspend=True)
        await rest.says("Ready", "False", "Suspended")
        await rest.edit(suspend=False)
        await rest.settled()
        assert_healthy(operator)


async def accepted(bed: Bed, resource: Object) -> bool:
    said = await bed.kubectl("apply", "-f", "-", stdin=json.dumps(resource), check=False)
    return "created" in said or "unchanged" in said


# --- A world that says no -------------------------------------------------------------------------------------------


async def test_the_api_server_restarts(bed: Bed, ns: str, operate: Operate) -> None:
    world = await World.make(bed, ns)
    async with operate() as operator:
        await world.guarded()
        await bed.cp.kill("kube-apiserver")
        await bed.cp.run("kube-apiserver")
        await bed.until(lambda: scaled(world), what="kubectl works again")
        await world.pinned()
        await world.settled()
        await world.edit(suspend=True)
        await world.says("Ready", "False", "Suspended")
        assert_healthy(operator)
        assert await operator.stop() == 0
        world.assert_never_two()


async def scaled(world: World) -> bool:
    return "scaled" in await world.kubectl("scale", f"deployment/{NAME}", "--replicas=2", check=False)


async def test_somebody_else_writes_the_same_deployment_all_the_time(bed: Bed, ns: str, operate: Operate) -> None:
    world = await World.make(bed, ns)
    async with operate() as operator:
        await world.guarded()
        for number in range(30):
            body: Object = {"metadata": {"annotations": {"number": str(number)}}}
            if number % 5 == 0:
                body["spec"] = {"replicas": 2}
            await bed.kube.patch(path("deployments", ns, NAME), body, MERGE)
        await world.pinned()
        await world.settled()
        assert_healthy(operator)
        world.assert_never_two()


async def test_a_quota_that_allows_no_pod(bed: Bed, ns: str, operate: Operate) -> None:
    world = await World.make(bed, ns)
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "none", "namespace": ns}}
    await bed.apply(quota | {"spec": {"hard": {"pods": "0"}}})
    async with operate():
        await bed.apply(world.plain())
        await bed.apply(world.resource())
        await world.says("Ready", "False", "DeploymentFailed", text="exceeded quota")


async def test_the_crd_is_missing_at_first(bed: Bed, ns: str, operate: Operate) -> None:
    world = await World.make(bed, ns)
    await bed.apply(world.plain())
    await bed.kubectl("delete", "crd", CRD.stem)
    try:
        async with operate() as operator:
            await bed.until(lambda: "install the CRD" in operator.log_text(), what="the advice in the log")
            await bed.install_crd()
            await bed.apply(world.resource())
            await world.settled()
            assert_healthy(operator)
    finally:
        await bed.install_crd()
