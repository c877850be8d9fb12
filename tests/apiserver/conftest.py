"""The admission policies, for the modules that are about them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest_asyncio

from tests.apiserver.admission import installed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.bed.bed import Bed


@pytest_asyncio.fixture(scope="module")
async def policies(bed: Bed) -> AsyncIterator[None]:
    """All policies of deploy/admission, for one module: a table is written with `write_table`."""
    async with installed(bed):
        yield
