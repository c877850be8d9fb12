"""The operator behind a proxy, with the rights that are installed for it, and no more."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from tests.bed.installation import Installation
from tests.faults.proxy import Proxy
from tests.faults.scene import behind

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.bed.bed import Bed
    from tests.e2e.world import Operate


@pytest_asyncio.fixture(scope="session")
async def rights(bed: Bed) -> Path:
    """The kubeconfig of the operator's ServiceAccount."""
    return await Installation(bed).install()


@pytest_asyncio.fixture
async def proxy(bed: Bed, rights: Path) -> AsyncIterator[Proxy]:
    """A proxy that makes no faults yet."""
    async with Proxy.start(rights, bed.folder) as proxy:
        yield proxy


@pytest.fixture
def begin(bed: Bed, proxy: Proxy) -> Operate:
    """`async with begin("--namespace", ns): ...` runs the operator behind the proxy, with arguments of `run`."""
    return behind(bed, proxy)
