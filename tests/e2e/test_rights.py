"""Least privilege, from the API server's audit log: what is granted is used, and what is used is granted.

The tour drives everything that needs a right. Whoever takes a request out of the code, or adds a verb to a role, is
told here which right nobody uses; whoever adds a request without a right is told at the end of every run
(tests/conftest.py).
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from tests.apiserver.admission import FOLDER
from tests.bed import rights
from tests.bed.bed import Bed
from tests.bed.installation import NAME as OPERATOR
from tests.bed.installation import Installation, manifests
from tests.bed.rights import Right
from tests.bed.written import Written
from tests.e2e.world import (
    World,
    another_deployment,
    assert_healthy,
    force_delete,
    middle_of_a_rolling_update,
    stray,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

pytestmark = [pytest.mark.bed, pytest.mark.timeout(600)]

ELECTION = ("--leader-elect", "--leader-elect-namespace=kube-system")
# Asked for within another request, by an admission plugin that many clusters have, so that no audit log shows it.
BLOCKING_OWNER = Right("update", "telegrambots.singleton.bot/finalizers")
PLUGIN = "--enable-admission-plugins=OwnerReferencesPermissionEnforcement"


@asynccontextmanager
async def ground(folder: Path) -> AsyncIterator[tuple[Bed, Written]]:
    """A bed whose audit log nobody else writes into."""
    written = Written(folder)
    async with Bed.start(nodes=2, more={"kube-apiserver": [*written.flags(), PLUGIN]}) as bed:
        yield bed, written


async def test_every_right_that_is_granted_is_used_and_none_is_missing(tmp_path: Path) -> None:
    async with ground(tmp_path) as (bed, written):
        await tour(bed, await Installation(bed).install())
        used = rights.used(written.events())
        granted = rights.granted(manifests(), OPERATOR)
        assert {str(each) for each in granted if not each.is_in(used)} == {str(BLOCKING_OWNER)}
        assert rights.refused(written.events()) == []
        await _without_the_right_to_block_an_owners_deletion(bed)


async def _without_the_right_to_block_an_owners_deletion(bed: Bed) -> None:
    installation = Installation(bed, "second", without=[BLOCKING_OWNER])
    world = await _world(bed, adopt=False)
    kubeconfig = await installation.install()
    async with bed.operator("--namespace", world.ns, kubeconfig=kubeconfig, env=installation.env):
        await bed.apply(world.resource())
        await world.says("Stalled", "True", text="blockOwnerDeletion")
        await installation.grant()
        await world.settled()


async def tour(bed: Bed, kubeconfig: Path) -> None:
    """Everything that needs a right, once."""
    hanging = await _world(bed)
    await middle_of_a_rolling_update(hanging, 3)
    await hanging.patch({"replicas": 1, "strategy": {"type": "Recreate", "rollingUpdate": None}})
    await hanging.rested()
    async with bed.operator(*ELECTION, kubeconfig=kubeconfig) as operator:
        async with asyncio.TaskGroup() as group:
            for part in (_hanging(hanging), _adopted(bed), _owned_and_gated(bed)):
                group.create_task(part)
        await _by_admission(bed)
        assert_healthy(operator)


async def _world(bed: Bed, **more: Any) -> World:
    return await World.make(bed, await bed.namespace(), **more)


async def _hanging(world: World) -> None:
    """A rollout that Kubernetes has given up: its ReplicaSets are listed and emptied."""
    await world.bed.apply(world.resource())
    await world.bed.until(lambda: len(world.bed.alive(world.bot)) == 1, what="one process")


async def _adopted(bed: Bed) -> None:
    """A Deployment is adopted, a pod made by hand removed, another's named, and the Deployment let go."""
    world = await _world(bed)
    await world.guarded()
    await bed.apply(stray(world))

    async def gone() -> bool:
        return await bed.get("pod", "stray", world.ns) is None

    await bed.until(gone, what="the pod made by hand is gone")
    await another_deployment(world)
    await world.says("Stalled", "True", "DuplicatePods", text="of ReplicaSet copy-")
    await world.kubectl("delete", "deployment", "copy")
    await world.settled()
    await world.kubectl("delete", "tgbot", "shop")

    async def released() -> bool:
        return "singleton.bot/name" not in (await world.deployed())["metadata"]["labels"]

    await bed.until(released, what="the Deployment is let go")


async def _owned_and_gated(bed: Bed) -> None:
    """A Deployment is made; its pods take turns, also when one vanishes while it runs."""
    world = await _world(bed, adopt=False, grace=3, spec={"lock": "Gate"})
    await world.guarded()
    await force_delete(world)
    await world.says("Ready", "False", "WaitingForTurn", text="vanished while it ran; its node")
    await world.settled()
    world.assert_never_two()


async def _by_admission(bed: Bed) -> None:
    """With the admission policies, the lock stands in a table."""
    await bed.kubectl("apply", "-f", str(FOLDER))
    world = await _world(bed)
    await bed.apply(world.plain())
    await bed.apply(world.resource())
    await world.by_admission()
