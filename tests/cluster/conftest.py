"""The suite's cluster: an empty bed, or with `--cluster=kind` the one that `make kind-up` made."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from tests.cluster.cluster import ADMISSION
from tests.cluster.on_bed import BedCluster
from tests.cluster.on_kind import KindCluster

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.cluster.cluster import Cluster

_numbers = itertools.count(1)


@pytest_asyncio.fixture(scope="session")
async def empty(request: pytest.FixtureRequest) -> AsyncIterator[Cluster]:
    """A cluster, shared by the suite."""
    kind = request.config.getoption("--cluster") == "kind"
    async with KindCluster.start() if kind else BedCluster.start() as cluster:
        yield cluster


@pytest_asyncio.fixture
async def cluster(empty: Cluster) -> AsyncIterator[Cluster]:
    """The same, with the operator in it. After each story no token may be in what the operator has logged (INV-7)."""
    await empty.install()
    yield empty
    await empty.assert_no_token_logged()


@pytest_asyncio.fixture
async def policies(cluster: Cluster) -> AsyncIterator[None]:
    """The admission policies, where the cluster is new enough for them, once every replica has seen them."""
    served = await cluster.kubectl("api-resources", "--api-group=admissionregistration.k8s.io", "-o", "name")
    versions = await cluster.kubectl("api-versions")
    if "mutatingadmissionpolicies." not in served or "admissionregistration.k8s.io/v1\n" not in versions:
        pytest.skip("this cluster serves no MutatingAdmissionPolicy: Kubernetes 1.36 is the first that does")
    await cluster.kubectl("apply", "-f", str(ADMISSION))

    async def seen() -> bool:
        told = [line for line in (await cluster.logs()).splitlines() if "admission policies installed" in line]
        names = [pod["metadata"]["name"] for pod in await cluster.operators()]
        return all(any(name in line for line in told) for name in names)

    await cluster.until("every replica has seen the policies", seen)
    yield
    await cluster.kubectl("delete", "-f", str(ADMISSION))


@pytest_asyncio.fixture
async def ns(cluster: Cluster) -> AsyncIterator[str]:
    """A namespace of the test's own, in which containers may do no more than they must."""
    name = f"story-{next(_numbers)}"
    await cluster.kubectl("create", "namespace", name)
    yield name
    await cluster.kubectl("delete", "namespace", name, "--wait=false")
