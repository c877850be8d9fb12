"""A right that is missing is named, with what to do, and the operator serves on; once granted, all heals by itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from tests.bed.installation import Installation
from tests.bed.rights import Right
from tests.e2e.world import World, assert_healthy

if TYPE_CHECKING:
    from tests.bed.bed import Bed

pytestmark = pytest.mark.bed


@dataclass(frozen=True)
class Missing:
    """A right, and which condition says what where it is missing."""

    right: Right
    kind: str
    status: str
    text: str


MISSING = (
    Missing(Right("patch", "deployments.apps"), "Pinned", "False", "the operator may not patch deployments.apps"),
    Missing(Right("list", "pods"), "Singleton", "Unknown", "the operator may not list pods"),
    Missing(Right("get", "deployments.apps"), "Ready", "False", "the operator may not get deployments.apps"),
    Missing(Right("get", "secrets"), "Pinned", "True", "token cannot be read, so its identity is"),
)


@pytest.mark.parametrize("missing", MISSING, ids=lambda missing: str(missing.right))
async def test_without_the_right_to(missing: Missing, bed: Bed, ns: str) -> None:
    installation = Installation(bed, f"{ns}-operator", without=[missing.right])
    world = await World.make(bed, ns)
    await bed.apply(world.plain(replicas=2))
    kubeconfig = await installation.install()
    async with bed.operator("--namespace", ns, kubeconfig=kubeconfig, env=installation.env) as operator:
        await bed.apply(world.resource())
        await world.says(missing.kind, missing.status, text=missing.text)
        await installation.grant()
        await world.settled()
        assert_healthy(operator)
