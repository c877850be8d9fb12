"""A right that is missing is named, with what to do, and the operator serves on; once granted, all heals by itself.

Every right of the operator's roles has a case here: what needs it, and which condition says that it is missing.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest

from tests.apiserver.admission import installed
from tests.bed.installation import NAME as OPERATOR
from tests.bed.installation import Installation, manifests
from tests.bed.kube import path
from tests.bed.rights import Right, granted
from tests.e2e.world import (
    World,
    another_deployment,
    assert_healthy,
    force_delete,
    is_ready,
    middle_of_a_rolling_update,
    stray,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from tests.bed.bed import Bed, Operator

pytestmark = pytest.mark.bed

Deed: TypeAlias = "Callable[[World], Awaitable[None]]"
AT_ONCE = 5  # so many cases run side by side, each with an operator of its own


async def nothing(world: World) -> None:
    """Being guarded needs it."""


async def two_replicas(world: World) -> None:
    """A Deployment to repair."""
    await world.bed.apply(world.plain(replicas=2))


async def delete_the_resource(world: World) -> None:
    """Before its Deployment is let go, it is asked for live."""
    await world.says("Ready", "True")
    await world.kubectl("delete", "tgbot", "shop")


async def delete_the_running_pod(world: World) -> None:
    """A pod that vanishes while it runs: one that was born with the lock, when the rollout of the adoption is over."""

    async def is_there() -> bool:
        pods = await world.pods()
        return len(pods) == 1 and "affinity" in pods[0]["spec"] and is_ready(pods[0])

    await world.bed.until(is_there, what="a pod that was born with the lock")
    await world.says("Ready", "True")
    await force_delete(world)


async def pods_until_one_is_missed(world: World) -> None:
    """The end of a pod may be seen, and then it is not asked for; another is deleted until one has gone unseen."""

    async def is_missed() -> bool:
        if (await world.condition("Ready")).get("status") == "True":
            await world.kubectl("delete", "pods", "-l", "app=telegram-bot", "--wait=false")
        return (await world.condition("Stalled")).get("status") == "True"

    await world.bed.until(is_missed, what="a pod whose end nobody saw")


async def a_pod_by_hand(world: World) -> None:
    """A pod with the bot's label."""
    await world.bed.apply(stray(world))


async def settled_without_it(world: World) -> None:
    """The other Deployment is named now, and once it is gone all is well."""
    await world.says("Stalled", "True", "DuplicatePods", text="of ReplicaSet copy-")
    await world.kubectl("delete", "deployment", "copy")
    await world.settled()


async def a_rollout_that_hangs(world: World) -> None:
    """Replicas and Recreate set at once in a rolling update."""
    await middle_of_a_rolling_update(world, 2)
    await world.patch({"replicas": 1, "strategy": {"type": "Recreate", "rollingUpdate": None}})
    await world.rested()


async def settled(world: World) -> None:
    """One pod, one process, and nothing left to do."""
    await world.settled()


async def released(world: World) -> None:
    """The Deployment is let go."""

    async def let_go() -> bool:
        return "singleton.bot/name" not in (await world.deployed())["metadata"]["labels"]

    await world.bed.until(let_go, what="the Deployment is let go")


async def one_version(world: World) -> None:
    """The rollout goes on, and comes to an end once its pods can be ready."""
    await world.bed.until(lambda: len(world.bed.alive(world.bot)) == 1, what="one process")
    await world.patch({"template": {"spec": {"containers": [world.container()]}}})
    await world.settled()


@dataclass(frozen=True)
class Case:
    """Rights that are missing, and a condition and its status with which they are named; without one, the log does."""

    lacking: tuple[Right, ...]
    kind: str = "Ready"
    status: str = "True"
    before: Deed = nothing
    deed: Deed = nothing
    healed: Deed = settled
    make: dict[str, Any] = field(default_factory=dict)
    everywhere: bool = False  # for an operator of all namespaces
    arguments: tuple[str, ...] = ()

    def __str__(self) -> str:
        """As pytest calls it."""
        return ", ".join(sorted({f"{right.verb} {right.resource}" for right in self.lacking}))

    @property
    def named(self) -> set[str]:
        """What a person reads of each."""
        where = {each.namespace: f"in namespace {each.namespace}:" for each in self.lacking}
        where[OPERATOR] = where[""] = ""  # it runs in another one here
        return {f"the operator may not {each.verb} {each.resource} {where[each.namespace]}" for each in self.lacking}


def lacking(verb: str, resource: str, namespace: str = "", **more: Any) -> Case:
    """One right, on whatever objects it is granted."""
    wanted = (verb, resource, namespace)
    found = [each for each in granted(manifests(), OPERATOR) if (each.verb, each.resource, each.namespace) == wanted]
    return Case(tuple(sorted(found)), **more)


GATE = {"make": {"spec": {"lock": "Gate"}, "grace": 3}}
OWNED = {"make": {"adopt": False}}
BOTS = "telegrambots.singleton.bot"
LEASES = "leases.coordination.k8s.io"
CASES = (
    lacking("get", "deployments.apps", status="False"),
    lacking("list", "deployments.apps", kind="Stalled"),
    lacking("watch", "deployments.apps", kind="Stalled"),
    lacking("patch", "deployments.apps", kind="Pinned", status="False", before=two_replicas),
    lacking("create", "deployments.apps", kind="Pinned", status="False", **OWNED),
    lacking("list", "pods", kind="Singleton", status="Unknown"),
    lacking("watch", "pods", kind="Singleton", status="Unknown"),
    lacking("patch", "pods", kind="Stalled"),
    lacking("delete", "pods", kind="Stalled", deed=a_pod_by_hand),
    lacking("get", "pods", kind="Stalled", deed=pods_until_one_is_missed, **GATE),
    lacking("get", "pods/log", kind="Conflicted", status="False"),
    lacking("get", "replicasets.apps", kind="Stalled", deed=another_deployment, healed=settled_without_it),
    lacking("list", "replicasets.apps", kind="Stalled", before=a_rollout_that_hangs, healed=one_version),
    lacking("patch", "replicasets.apps", kind="Stalled", before=a_rollout_that_hangs, healed=one_version),
    lacking("get", "secrets", kind="Pinned"),
    lacking("get", LEASES, OPERATOR, kind="Stalled", **GATE),
    lacking("create", LEASES, OPERATOR, kind="Stalled", **GATE),
    lacking("patch", LEASES, OPERATOR, kind="Stalled", **GATE),
    lacking("get", LEASES, "kube-node-lease", kind="Stalled", deed=delete_the_running_pod, **GATE),
    lacking("create", "events.events.k8s.io"),
    lacking("list", "horizontalpodautoscalers.autoscaling"),
    lacking("watch", "horizontalpodautoscalers.autoscaling"),
    lacking("list", "configmaps"),
    lacking("watch", "configmaps"),
    lacking("get", BOTS, kind="", deed=delete_the_resource, healed=released),
    lacking("list", BOTS, kind=""),
    lacking("watch", BOTS),
    lacking("patch", f"{BOTS}/status", kind=""),
)
BY_ADMISSION = (lacking("create", "configmaps", kind="Pinned"), lacking("patch", "configmaps", kind="Pinned"))
# What belongs to no namespace is told by an operator of all namespaces: one of a few may have no right to it at all.
EVERYWHERE = (
    Case(
        tuple(sorted(each for each in granted(manifests(), OPERATOR) if ".admissionregistration" in each.resource)),
        everywhere=True,
    ),
    lacking("get", "nodes", kind="Stalled", deed=delete_the_running_pod, everywhere=True, **GATE),
)
ELECTED = {"kind": "", "arguments": ("--leader-elect", "--leader-elect-namespace", "kube-system")}
ELECTION = tuple(lacking(verb, LEASES, "kube-system", **ELECTED) for verb in ("get", "create", "patch"))
# Nobody asks for it but an admission plugin: test_rights.py has it.
ELSEWHERE = {Right("update", f"{BOTS}/finalizers")}
BATCHES = [CASES[first : first + AT_ONCE] for first in range(0, len(CASES), AT_ONCE)]


@pytest.mark.parametrize("cases", BATCHES, ids=lambda cases: str(cases[0]))
async def test_without_the_right_to(cases: Sequence[Case], bed: Bed) -> None:
    async with asyncio.TaskGroup() as group:
        for case in cases:
            group.create_task(_play(case, bed))


@pytest.mark.parametrize("case", BY_ADMISSION, ids=str)
async def test_where_the_policies_are_installed_without_the_right_to(case: Case, bed: Bed) -> None:
    async with installed(bed):
        await _play(case, bed)


@pytest.mark.parametrize("case", ELECTION, ids=str)
async def test_no_replica_leads_without_the_right_to(case: Case, bed: Bed) -> None:
    await bed.kube.delete(path("leases", "kube-system", OPERATOR))
    await _play(case, bed)


@pytest.mark.parametrize("case", EVERYWHERE, ids=lambda case: case.lacking[0].resource)
async def test_an_operator_of_all_namespaces_without_the_right_to(case: Case, bed: Bed) -> None:
    await _play(case, bed)


async def _play(case: Case, bed: Bed) -> None:
    ns = await bed.namespace()
    installation = Installation(bed, f"{ns}-operator", without=case.lacking)
    world = await World.make(bed, ns, **case.make)
    if world.adopt:
        await bed.apply(world.plain())
    await case.before(world)
    kubeconfig = await installation.install()
    only = () if case.everywhere else ("--namespace", ns)
    async with bed.operator(*only, *case.arguments, kubeconfig=kubeconfig, env=installation.env) as operator:
        await bed.apply(world.resource())
        try:
            await case.deed(world)
            await _named(case, world, operator)
            await installation.grant()
            await case.healed(world)
        except Exception as error:
            error.add_note(f"without the right to {case}, the operator's log says:\n{operator.log_text()}")
            raise
        assert_healthy(operator)
    await bed.kubectl("delete", "namespace", ns, f"{ns}-operator", "--wait=false")


async def _named(case: Case, world: World, operator: Operator) -> None:
    """Wait until the log and the condition name every right that is missing."""
    for text in case.named:
        await world.bed.until(lambda text=text: text in operator.log_text(), what=f"the log says: {text}")
        if case.kind:
            await world.says(case.kind, case.status, text=text)


def test_every_right_has_a_case() -> None:
    covered = {right for case in (*CASES, *BY_ADMISSION, *ELECTION, *EVERYWHERE) for right in case.lacking}
    assert {str(each) for each in granted(manifests(), OPERATOR) - covered - ELSEWHERE} == set()
