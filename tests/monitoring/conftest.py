"""The operator as it runs in a cluster, with its HTTP server."""

from __future__ import annotations

from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

from tests.bed.installation import Installation
from tests.monitoring.scrape import Scraped, port_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from tests.bed.bed import Bed


@pytest_asyncio.fixture(scope="session")
async def rights(bed: Bed) -> Path:
    """The kubeconfig of the operator's ServiceAccount."""
    return await Installation(bed).install()


@pytest.fixture
def serve(bed: Bed, rights: Path) -> Callable[..., AbstractAsyncContextManager[Scraped]]:
    """`async with serve("--namespace", ns) as scraped: ...` runs the operator; its arguments are those of `run`."""
    return partial(_serve, bed, rights)


@asynccontextmanager
async def _serve(bed: Bed, rights: Path, *arguments: str, **how: Any) -> AsyncIterator[Scraped]:
    how = {"kubeconfig": rights, **how}
    async with bed.operator("--listen=127.0.0.1:0", *arguments, **how) as operator:
        port = await bed.until(lambda: port_of(operator.log_text()), what="the operator listens")
        yield Scraped(operator, port)
