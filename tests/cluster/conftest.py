"""The suite's cluster: an empty bed, or with `--cluster=kind` the one that `make kind-up` made."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest_asyncio

from tests.cluster.on_bed import BedCluster
from tests.cluster.on_kind import KindCluster

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import pytest

    from tests.cluster.cluster import Cluster

_numbers = itertools.count(1)


@pytest_asyncio.fixture(scope="session")
async def empty(request: pytest.FixtureRequest) -> AsyncIterator[Cluster]:
    """A cluster, shared by the suite. In the end no token may be in what the operator has logged (INV-7)."""
    kind = request.config.getoption("--cluster") == "kind"
    async with KindCluster.start() if kind else BedCluster.start() as cluster:
        yield cluster
        logged = await cluster.logs()
        assert [token for token in cluster.tokens if token in logged] == []


@pytest_asyncio.fixture
async def cluster(empty: Cluster) -> Cluster:
    """The same, with the operator in it."""
    await empty.install()
    return empty


@pytest_asyncio.fixture
async def ns(cluster: Cluster) -> AsyncIterator[str]:
    """A namespace of the test's own, in which containers may do no more than they must."""
    name = f"story-{next(_numbers)}"
    await cluster.kubectl("create", "namespace", name)
    yield name
    await cluster.kubectl("delete", "namespace", name, "--wait=false")
