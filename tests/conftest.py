"""One bed for a whole run, a namespace for each test, and the pods on show when a test fails."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from tests.bed import rights
from tests.bed.bed import Bed
from tests.bed.controlplane import KUBECTL
from tests.bed.kube import path
from tests.bed.written import Written

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Generator


def pytest_addoption(parser: pytest.Parser) -> None:
    """Where tests/cluster plays its stories."""
    parser.addoption("--cluster", choices=("bed", "kind"), default="bed", help="where tests/cluster plays (bed)")


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> Written:
    """All that operators wrote to the bed's API server."""
    return Written(tmp_path_factory.mktemp("written"))


@pytest_asyncio.fixture(scope="session")
async def bed(written: Written) -> AsyncIterator[Bed]:
    """A control plane with two nodes and the CRD, shared by all tests: leave other namespaces alone.

    In the end no token may be in anything that an operator wrote in all that time (INV-7), and whoever ran as the
    operator's account had every right that it asked for: a test that takes one away does it to an account of its own.
    """
    async with Bed.start(nodes=2, more={"kube-apiserver": written.flags()}) as bed:
        yield bed
        assert written.found(bed.operator_logs, bed.telegram.tokens) == []
        operators = [log for log in bed.operator_logs if "Pinned" in log.read_text(errors="replace")]
        assert written.requests or not operators, "operators wrote something, and the audit log has nothing of it"
        assert "\n".join(rights.refused(written.events(), bed.cp.outages)) == ""


@pytest_asyncio.fixture
async def ns(bed: Bed) -> AsyncIterator[str]:
    """A namespace of the test's own. What is in it is deleted afterwards, and faults are ended."""
    namespace = await bed.namespace()
    yield namespace
    bed.mend()
    await bed.kube.delete(path("namespaces", None, namespace))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show what was in the namespace of a test that failed."""
    report = yield
    arguments: dict[str, object] = getattr(item, "funcargs", {})
    bed, namespace = arguments.get("bed"), arguments.get("ns")
    if report.when == "call" and report.failed and isinstance(bed, Bed) and isinstance(namespace, str):
        report.sections.append((f"namespace {namespace}", _show(bed, namespace)))
    return report


def _show(bed: Bed, namespace: str) -> str:
    """Pods, Deployments, TelegramBots and events. The event loop stands still here, so this waits for kubectl."""
    what = ["telegrambots,deployments,pods,events", f"--namespace={namespace}", "--output=wide"]
    command = [str(KUBECTL), f"--kubeconfig={bed.cp.kubeconfig}", "get", *what, "--request-timeout=5s"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)
    return done.stdout + done.stderr
