"""The operator behind a proxy, with the rights of deploy/rbac.yaml and no more."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from tests.faults.proxy import Proxy
from tests.faults.scene import behind

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.bed.bed import Bed
    from tests.e2e.world import Operate

RBAC = Path(__file__).parents[2] / "deploy" / "rbac.yaml"
NAME = "telegrambot-operator"


@pytest_asyncio.fixture(scope="session")
async def rights(bed: Bed) -> Path:
    """The kubeconfig of the operator's ServiceAccount."""
    await bed.apply(RBAC.read_text())
    credentials: Path = await bed.cp.service_account_kubeconfig(NAME, NAME, seconds=4 * 3600)
    return credentials


@pytest_asyncio.fixture
async def proxy(bed: Bed, rights: Path) -> AsyncIterator[Proxy]:
    """A proxy that makes no faults yet."""
    async with Proxy.start(rights, bed.folder) as proxy:
        yield proxy


@pytest.fixture
def begin(bed: Bed, proxy: Proxy) -> Operate:
    """`async with begin("--namespace", ns): ...` runs the operator behind the proxy, with arguments of `run`."""
    return behind(bed, proxy)
