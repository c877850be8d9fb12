"""deploy/admission/scale.yaml as behaviour: who asks for more than the pin is told why not, and what to do instead."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from telegrambot_operator.api.models import Lock
from telegrambot_operator.core.table import Entry
from tests.apiserver.admission import NO_ENTRIES, deployment, write_table
from tests.bed.controlplane import KubectlError
from tests.bed.kube import KubeError, path

if TYPE_CHECKING:
    from tests.bed.bed import Bed

pytestmark = [pytest.mark.bed, pytest.mark.usefixtures("policies")]

NAME = "telegram-bot"
ONE = (
    "the TelegramBot shop keeps Deployment telegram-bot at 1 pod, because Telegram lets one process at a time fetch a "
    "bot's updates and answers others with 409 Conflict. Leave it at 1, and delete an autoscaler that scales it; if it "
    "may have more pods after all, delete the TelegramBot first."
)
NONE = (
    "the TelegramBot shop keeps Deployment telegram-bot at 0 pods: it is suspended, or another TelegramBot runs the "
    "same bot. kubectl describe telegrambot shop says which; to start a suspended one, set its spec.suspend to false."
)


async def guard(bed: Bed, ns: str, replicas: int | None) -> None:
    """A Deployment that is pinned to so many."""
    await bed.kube.create("deployments", ns, deployment(ns, replicas=0))
    await write_table(bed, ns, {NAME: str(Entry(ns, Lock.NONE, replicas, "shop"))})


async def scale(bed: Bed, ns: str, replicas: int, name: str = NAME) -> None:
    """`kubectl scale`."""
    await bed.kubectl("-n", ns, "scale", f"deployment/{name}", f"--replicas={replicas}")


async def replicas_of(bed: Bed, ns: str, name: str = NAME) -> int:
    """What the Deployment asks for."""
    found = await bed.get("deployment", name, ns)
    assert found is not None
    count: int = found["spec"]["replicas"]
    return count


@pytest.mark.parametrize(("pin", "asked", "sentence"), [(1, 2, ONE), (1, 30, ONE), (0, 1, NONE)])
async def test_kubectl_scale_prints_why_not(pin: int, asked: int, sentence: str, bed: Bed, ns: str) -> None:
    await guard(bed, ns, pin)
    with pytest.raises(KubectlError) as refusal:
        await scale(bed, ns, asked)
    assert refusal.value.stderr.endswith(f"denied request: {sentence}")
    assert await replicas_of(bed, ns) == 0


async def test_an_autoscaler_is_refused_as_well(bed: Bed, ns: str) -> None:
    """It reads the scale and puts it back with another number."""
    await guard(bed, ns, 1)
    where = path("deployments", ns, NAME, "scale")
    read = await bed.kube.call("GET", where)
    del read["metadata"]["resourceVersion"]  # else a change of the status in between would refuse it
    with pytest.raises(KubeError, match="the TelegramBot shop keeps Deployment telegram-bot at 1 pod"):
        await bed.kube.call("PUT", where, read | {"spec": {"replicas": 5}})


@pytest.mark.parametrize(("pin", "asked"), [(1, 1), (1, 0), (0, 0)])
async def test_what_the_pin_allows_passes(pin: int, asked: int, bed: Bed, ns: str) -> None:
    await guard(bed, ns, pin)
    await scale(bed, ns, asked)
    assert await replicas_of(bed, ns) == asked


async def test_one_that_is_not_pinned_yet_may_be_scaled(bed: Bed, ns: str) -> None:
    await guard(bed, ns, None)
    await scale(bed, ns, 2)
    assert await replicas_of(bed, ns) == 2


async def test_other_deployments_may_be_scaled(bed: Bed, ns: str) -> None:
    await guard(bed, ns, 1)
    await bed.kube.create("deployments", ns, deployment(ns, "web", replicas=0))
    await scale(bed, ns, 2, "web")
    assert await replicas_of(bed, ns, "web") == 2


@pytest.mark.parametrize("value", NO_ENTRIES.values(), ids=NO_ENTRIES.keys())
async def test_an_entry_edited_by_hand_refuses_nothing(value: str, bed: Bed, ns: str) -> None:
    await bed.kube.create("deployments", ns, deployment(ns, replicas=0))
    await write_table(bed, ns, {NAME: value})
    await scale(bed, ns, 2)
    assert await replicas_of(bed, ns) == 2


async def test_without_a_table_nothing_is_refused(bed: Bed, ns: str) -> None:
    await bed.kube.create("deployments", ns, deployment(ns, replicas=0))
    await scale(bed, ns, 2)
    assert await replicas_of(bed, ns) == 2
