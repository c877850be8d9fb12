"""`telegrambot-operator release`: with the operator gone, bots run on without its locks, and never two of one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.world import NAME, Object, Operate, World, force_delete, is_ready, locks

if TYPE_CHECKING:
    from pathlib import Path

    from tests.bed.bed import Bed

pytestmark = pytest.mark.bed

OURS = "singleton.bot/"


async def release(world: World, *arguments: str, name: str = "shop", **more: Any) -> tuple[int, str]:
    """Release one TelegramBot's Deployment; returns the exit code and what was printed."""
    return await world.bed.command("release", name, "--namespace", world.ns, *arguments, **more)


async def runs_alone(world: World) -> None:
    """Wait until one pod runs, ready, and nothing of ours would hold back the next."""

    async def free() -> bool:
        deployment, pods = await world.deployed(), await world.pods()
        acted = deployment["status"].get("observedGeneration", 0) >= deployment["metadata"]["generation"]
        return acted and not held_by(deployment) and len(pods) == 1 and is_ready(pods[0])

    await world.bed.until(free, patience=60.0, what=f"a free pod in {world.ns}")
    assert len(world.bed.alive(world.bot)) == 1


def held_by(deployment: Object) -> list[Object]:
    """Locks and gates of ours in the pod template."""
    return locks(deployment["spec"]) + deployment["spec"]["template"]["spec"].get("schedulingGates", [])


@pytest.mark.parametrize("lock", ["Scheduler", "Gate"])
@pytest.mark.parametrize("adopt", [True, False], ids=["adopted", "owned"])
async def test_a_released_bot_runs_on_without_the_operator(
    lock: str, adopt: bool, bed: Bed, ns: str, operate: Operate
) -> None:
    world = await World.make(bed, ns, adopt=adopt, spec={"lock": lock})
    async with operate():
        await world.guarded()
    code, said = await release(world)
    assert code == 0, said
    assert said.splitlines()[-1] == "1 released, 0 pods opened, 0 with nothing to release, 0 left."
    assert f"Deployment {ns}/{world.deployment}: released: " in said
    await runs_alone(world)
    first = await world.only_pod()
    await world.kubectl("rollout", "restart", f"deployment/{world.deployment}")
    await bed.until(lambda: is_another(world, first), what="a pod that nobody had to open")
    await runs_alone(world)
    world.assert_never_two()

    generation = (await world.deployed())["metadata"]["generation"]
    code, said = await release(world)
    assert (code, "1 with nothing to release, 0 left" in said) == (0, True), said
    assert (await world.deployed())["metadata"]["generation"] == generation
    assert adopt is (OURS + "name" not in (await world.deployed())["metadata"]["labels"])
    assert adopt is (f"kubectl -n {ns} delete telegrambot shop --cascade=orphan" not in said)


async def is_another(world: World, before: Object) -> bool:
    return all(pod["metadata"]["uid"] != before["metadata"]["uid"] for pod in await world.pods())


async def test_an_owned_deployment_is_kept_in_the_way_that_it_says(bed: Bed, ns: str, operate: Operate) -> None:
    world = await World.make(bed, ns, adopt=False)
    async with operate():
        await world.guarded()
    code, said = await release(world)
    assert code == 0, said
    await runs_alone(world)
    pod = await world.only_pod()
    (command,) = [line.split("To keep it: ")[1].rstrip(".") for line in said.splitlines() if "To keep it: " in line]
    await bed.kubectl(*command.split()[1:])

    async def let_go() -> bool:
        gone = await bed.get("telegrambot", "shop", ns) is None
        return gone and "ownerReferences" not in (await world.deployed())["metadata"]

    await bed.until(let_go, what="a Deployment that nobody owns")
    assert (await world.only_pod())["metadata"]["uid"] == pod["metadata"]["uid"]


async def test_replicas_that_wait_behind_the_lock_do_not_start(bed: Bed, ns: str, operate: Operate) -> None:
    world = await World.make(bed, ns)
    async with operate():
        await world.guarded()
    await world.scale(3)

    async def waiting() -> bool:
        return len(await world.pods()) == 3

    await bed.until(waiting, what="two pods behind the lock")
    code, said = await release(world)
    assert code == 0, said
    assert "replicas 3 -> 1" in said
    await runs_alone(world)
    world.assert_never_two()


@pytest.mark.usefixtures("nodes")
async def test_a_held_pod_starts_only_when_the_one_that_vanished_has_ended(bed: Bed, ns: str, operate: Operate) -> None:
    world = await World.make(bed, ns, spec={"lock": "Gate"}, grace=3)
    async with operate():
        await world.guarded()
    await force_delete(world)
    assert bed.alive(world.bot), "its process polls on"
    code, said = await release(world)
    assert code == 0, said
    assert "vanished while it ran" in said
    await runs_alone(world)
    world.assert_never_two()


async def test_nothing_is_done_while_an_operator_runs(bed: Bed, ns: str, operate: Operate) -> None:
    world = await World.make(bed, ns)
    async with operate() as operator:
        await world.guarded()
        before = await world.deployed()
        pod = await world.only_pod()
        code, said = await release(world)
        assert (code, "an operator runs and put it back" in said) == (1, True), said
        assert said.splitlines()[-1] == "0 released, 0 pods opened, 0 with nothing to release, 1 left."
        await world.pinned()
        await world.settled()
        after = await world.deployed()
        assert after["metadata"]["generation"] == before["metadata"]["generation"]
        assert after["metadata"]["labels"] == before["metadata"]["labels"]
        assert (await world.only_pod())["metadata"]["uid"] == pod["metadata"]["uid"]
        assert "Traceback" not in operator.log_text()


async def test_all_of_several_namespaces_and_of_no_other(bed: Bed, operate: Operate) -> None:
    first, second, third = [await World.make(bed, await bed.namespace()) for _ in range(3)]
    async with operate():
        for world in (first, second, third):
            await world.guarded()
    code, said = await bed.command("release", "--all", "--dry-run")
    assert code == 0, said
    for world in (first, second, third):
        assert f"Deployment {world.ns}/{NAME}: would be released, and first: lock taken out of the pod template" in said
    code, said = await bed.command("release", "--all", "--namespace", first.ns, "--namespace", second.ns)
    assert code == 0, said
    assert said.splitlines()[-1] == "2 released, 0 pods opened, 0 with nothing to release, 0 left."
    for world in (first, second):
        await runs_alone(world)
        world.assert_never_two()
    assert held_by(await third.deployed())


async def test_a_wrong_name_is_said(bed: Bed, ns: str, operate: Operate) -> None:
    world = await World.make(bed, ns)
    async with operate():
        await world.guarded()
    code, said = await release(world, name="shopp")
    assert (code, f"there is no TelegramBot shopp with a Deployment in namespace {ns}" in said) == (1, True), said
    code, said = await release(world, name=NAME)
    assert (code, f"Deployment {NAME} is held by TelegramBot shop: name that" in said) == (1, True), said
    assert held_by(await world.deployed())


RIGHTS = [
    {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["get", "list", "patch"]},
    {"apiGroups": [""], "resources": ["pods"], "verbs": ["list", "patch"]},
    {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "patch"]},
]


async def somebody(bed: Bed, ns: str, rights: list[Object], *, everywhere: bool = False) -> Path:
    """The kubeconfig of a user with these rights in one namespace, or in the whole cluster, and none elsewhere."""
    api, scope, user = "rbac.authorization.k8s.io", "Cluster" if everywhere else "", f"{ns}-{everywhere}"
    metadata = {"name": user.lower()} if everywhere else {"name": user.lower(), "namespace": ns}
    role = {"apiVersion": f"{api}/v1", "kind": f"{scope}Role", "metadata": metadata, "rules": rights}
    bound = {
        "apiVersion": f"{api}/v1",
        "kind": f"{scope}RoleBinding",
        "metadata": metadata,
        "roleRef": {"apiGroup": api, "kind": f"{scope}Role", "name": metadata["name"]},
        "subjects": [{"apiGroup": api, "kind": "User", "name": user}],
    }
    await bed.apply([role, bound])
    return bed.cp.kubeconfig_for(user)


async def test_rights_in_one_namespace_are_enough_for_its_bots(bed: Bed, ns: str, operate: Operate) -> None:
    world = await World.make(bed, ns)
    async with operate():
        await world.guarded()
    few = await somebody(bed, ns, RIGHTS)
    code, said = await bed.command("release", "--all", kubeconfig=few)
    assert code == 1, said
    assert 'cannot list resource "deployments"' in said
    assert len(said.splitlines()) == 1
    code, said = await release(world, kubeconfig=few)
    assert code == 0, said
    assert "the pods of other namespaces cannot be seen" in said
    await runs_alone(world)
    world.assert_never_two()


async def test_a_right_that_is_missing_is_named(bed: Bed, ns: str, operate: Operate) -> None:
    world = await World.make(bed, ns)
    async with operate():
        await world.guarded()
    reader = [{**rule, "verbs": ["get", "list"]} for rule in RIGHTS]
    code, said = await release(world, kubeconfig=await somebody(bed, ns, reader))
    assert code == 1, said
    assert f"Deployment {ns}/{NAME}: left: " in said
    assert 'cannot patch resource "deployments"' in said
    assert "Traceback" not in said
    assert held_by(await world.deployed())
