"""The operator as it runs in a cluster: as its ServiceAccount, with the rights that are installed, and no more."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

from tests.bed.installation import Installation

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from tests.bed.bed import Bed, Operator


@pytest_asyncio.fixture(scope="session")
async def rights(bed: Bed) -> Path:
    """The kubeconfig of the operator's ServiceAccount."""
    return await Installation(bed).install()


@pytest.fixture
def operate(bed: Bed, rights: Path) -> Callable[..., AbstractAsyncContextManager[Operator]]:
    """`async with operate("--namespace", ns): ...` runs the operator; its arguments are those of `run`."""
    start: Callable[..., Any] = partial(bed.operator, kubeconfig=rights)
    return start


@pytest_asyncio.fixture
async def nodes(bed: Bed) -> AsyncIterator[None]:
    """Nodes as they were, whatever a test does to them."""
    yield
    bed.mend()
    for node in bed.nodes:
        await node.register()
        await bed.kubectl("taint", "node", node.name, "node.kubernetes.io/out-of-service-", check=False)
        await bed.kubectl("wait", "--for=condition=Ready", f"node/{node.name}", "--timeout=60s")
