"""deploy/admission/pin.yaml as behaviour: whatever asks for replicas and strategy, the pin is what is stored."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from telegrambot_operator.api.models import Lock
from telegrambot_operator.core.table import Entry
from tests.apiserver.admission import CONTAINER, NO_ENTRIES, deployment, write_table
from tests.bed.controlplane import KubectlError
from tests.bed.kube import STRATEGIC, path

if TYPE_CHECKING:
    from tests.bed.bed import Bed

Object = dict[str, Any]

pytestmark = [pytest.mark.bed, pytest.mark.usefixtures("policies")]

NAME = "telegram-bot"
PINNED = {"replicas": 1, "strategy": {"type": "Recreate"}}
ASKED = {key: deployment("")["spec"][key] for key in PINNED}
IMAGE = [{"name": "bot", "image": "bed/pause", "command": ["sleep", "1000"]}]


def manifest(ns: str, **env: str) -> Object:
    """The Deployment as its user wrote it; `env` makes another version of it."""
    variables = [{"name": name, "value": value} for name, value in env.items()]
    container = IMAGE[0] | ({"env": variables} if variables else {})
    spec = {"containers": [container], "terminationGracePeriodSeconds": 0}
    return deployment(ns, template={"metadata": {"labels": {"app": NAME}}, "spec": spec})


@dataclass
class Applier:
    """A tool that applies a Deployment's manifest again and again."""

    bed: Bed
    ns: str
    last: Object | None = None

    async def apply(self, wanted: Object) -> None:
        """Apply the manifest."""
        raise NotImplementedError


class ServerSide(Applier):
    """`kubectl apply --server-side`, as Argo CD and Flux do it."""

    async def apply(self, wanted: Object) -> None:
        """As field manager `gitops`, by force."""
        await self.bed.apply(wanted, "--server-side", "--field-manager=gitops", "--force-conflicts")


class ClientSide(Applier):
    """`kubectl apply`."""

    async def apply(self, wanted: Object) -> None:
        """With the last one in an annotation."""
        await self.bed.apply(wanted)


class Helm(Applier):
    """`helm upgrade` as Helm 3 does it: a strategic merge patch from the last manifest, this one, and what is there."""

    async def apply(self, wanted: Object) -> None:
        """Create it, or send what brings the live object back to the manifest."""
        if self.last is None:
            await self.bed.kube.create("deployments", self.ns, wanted)
        elif patch := await self._patch(wanted):
            await self.bed.kube.patch(path("deployments", self.ns, NAME), {"spec": patch}, STRATEGIC)
        self.last = wanted

    async def _patch(self, wanted: Object) -> Object:
        """The part of a three-way merge that this manifest can need; its `$retainKeys` are what Go's library writes."""
        live, patch = await spec_of(self.bed, self.ns), {}
        if live["replicas"] != wanted["spec"]["replicas"]:
            patch["replicas"] = wanted["spec"]["replicas"]
        if live["strategy"] != wanted["spec"]["strategy"]:
            patch["strategy"] = {"$retainKeys": ["rollingUpdate", "type"], **wanted["spec"]["strategy"]}
        if self.last is not None and self.last["spec"]["template"] != wanted["spec"]["template"]:
            patch["template"] = {"spec": {"containers": wanted["spec"]["template"]["spec"]["containers"]}}
        return patch


every_applier = pytest.mark.parametrize("tool", [ServerSide, ClientSide, Helm])


async def guard(bed: Bed, ns: str, replicas: int | None = 1) -> None:
    """Put the Deployment into the lock table."""
    await write_table(bed, ns, {NAME: str(Entry(ns, Lock.SCHEDULER, replicas, "shop"))})


async def found(bed: Bed, ns: str) -> Object:
    """The Deployment."""
    there = await bed.get("deployment", NAME, ns)
    assert there is not None
    return there


async def spec_of(bed: Bed, ns: str) -> Object:
    """Its spec."""
    spec: Object = (await found(bed, ns))["spec"]
    return spec


def version_of(there: Object) -> str:
    """Its resourceVersion."""
    version: str = there["metadata"]["resourceVersion"]
    return version


async def pin_of(bed: Bed, ns: str) -> Object:
    """Replicas and strategy as they are stored."""
    return {key: (await spec_of(bed, ns))[key] for key in PINNED}


async def running(bed: Bed, ns: str) -> list[str]:
    """Wait until the Deployment's controllers are at rest and its pods run; returns the uids of all of its pods."""

    async def at_rest() -> bool:
        there = await found(bed, ns)
        pods, status = await bed.pods(ns), there["status"]
        acted = status.get("observedGeneration", 0) >= there["metadata"]["generation"]
        done = any(each.get("reason") == "NewReplicaSetAvailable" for each in status.get("conditions", []))
        return acted and done and status.get("readyReplicas", 0) == there["spec"]["replicas"] == len(pods)

    await bed.until(at_rest, what="the Deployment at rest")
    return [each["metadata"]["uid"] for each in await bed.pods(ns)]


# --- Tools that apply a manifest with replicas 3 and RollingUpdate ---------------------------------------------------


@every_applier
async def test_a_new_deployment_is_stored_with_the_pin(tool: type[Applier], bed: Bed, ns: str) -> None:
    await guard(bed, ns)
    await tool(bed, ns).apply(manifest(ns))
    assert await pin_of(bed, ns) == PINNED


@every_applier
async def test_a_deployment_that_is_there_becomes_pinned_by_the_next_apply(
    tool: type[Applier], bed: Bed, ns: str
) -> None:
    applier = tool(bed, ns)
    await applier.apply(manifest(ns))
    assert await pin_of(bed, ns) == ASKED
    await guard(bed, ns)
    await applier.apply(manifest(ns, VERSION="2"))
    assert await pin_of(bed, ns) == PINNED


@every_applier
async def test_applying_again_and_again_changes_nothing_and_restarts_nothing(
    tool: type[Applier], bed: Bed, ns: str
) -> None:
    await guard(bed, ns)
    applier = tool(bed, ns)
    await applier.apply(manifest(ns))
    pods = await running(bed, ns)
    before = await found(bed, ns)

    async def is_no_write() -> bool:
        """A write of the Deployment's controller may fall in between, but only a few times."""
        last = await found(bed, ns)
        await applier.apply(manifest(ns))
        return version_of(await found(bed, ns)) == version_of(last)

    for _ in range(3):
        await bed.until(is_no_write, what="an apply that writes nothing")
    after = await found(bed, ns)
    assert (after["spec"], after["metadata"]["generation"]) == (before["spec"], before["metadata"]["generation"])
    assert await running(bed, ns) == pods


@every_applier
async def test_the_rest_of_what_is_applied_comes_through(tool: type[Applier], bed: Bed, ns: str) -> None:
    await guard(bed, ns)
    applier = tool(bed, ns)
    await applier.apply(manifest(ns))
    await applier.apply(manifest(ns, VERSION="2"))
    spec = await spec_of(bed, ns)
    assert spec["template"]["spec"]["containers"][0]["env"] == [{"name": "VERSION", "value": "2"}]
    assert await pin_of(bed, ns) == PINNED


@every_applier
async def test_it_may_be_any_of_them_after_the_operator_has_pinned_it(tool: type[Applier], bed: Bed, ns: str) -> None:
    applier = tool(bed, ns)
    await applier.apply(manifest(ns))
    patch = {"spec": {"replicas": 1, "strategy": {"type": "Recreate", "rollingUpdate": None}}}
    await bed.kube.patch(path("deployments", ns, NAME) + "?fieldManager=telegrambot-operator", patch)
    await guard(bed, ns)
    pods = await running(bed, ns)
    await applier.apply(manifest(ns))
    assert (await pin_of(bed, ns), await running(bed, ns)) == (PINNED, pods)


async def test_a_server_side_diff_is_empty(bed: Bed, ns: str) -> None:
    await guard(bed, ns)
    await ServerSide(bed, ns).apply(manifest(ns))
    await running(bed, ns)  # kubectl compares two moments, so that a change of the status in between is a difference
    options = ("--server-side", "--field-manager=gitops", "--force-conflicts", "--filename=-")
    assert await bed.kubectl("diff", *options, stdin=json.dumps(manifest(ns))) == ""
    with pytest.raises(KubectlError):  # a diff that is not empty is an error to kubectl
        await bed.kubectl("diff", *options, stdin=json.dumps(manifest(ns, VERSION="2")))


# --- Other ways to write a Deployment --------------------------------------------------------------------------------

WRITES = {
    "a merge patch": ("--type=merge", {"spec": ASKED}),
    "a strategic patch": ("--type=strategic", {"spec": ASKED}),
    "a JSON patch": ("--type=json", [{"op": "replace", "path": "/spec/replicas", "value": 3}]),
    "an old client's patch without a strategy": ("--type=merge", {"spec": {"strategy": None, "replicas": None}}),
}


@pytest.mark.parametrize(("kind", "body"), WRITES.values(), ids=WRITES.keys())
async def test_a_patch_leaves_the_pin(kind: str, body: object, bed: Bed, ns: str) -> None:
    await guard(bed, ns)
    await bed.apply(manifest(ns))
    await bed.kubectl("-n", ns, "patch", "deployment", NAME, kind, "-p", json.dumps(body))
    assert await pin_of(bed, ns) == PINNED


async def test_replacing_it_leaves_the_pin(bed: Bed, ns: str) -> None:
    await guard(bed, ns)
    await bed.apply(manifest(ns))
    await running(bed, ns)  # kubectl reads and writes, and a change of the status in between would refuse it
    await bed.kubectl("replace", "--filename=-", stdin=json.dumps(manifest(ns)))
    assert await pin_of(bed, ns) == PINNED


async def test_a_rollout_undo_and_a_restart_leave_the_pin(bed: Bed, ns: str) -> None:
    await guard(bed, ns)
    await bed.apply(manifest(ns))
    await running(bed, ns)
    await bed.kubectl("-n", ns, "rollout", "restart", f"deployment/{NAME}")
    await running(bed, ns)
    await bed.kubectl("-n", ns, "rollout", "undo", f"deployment/{NAME}")
    assert await pin_of(bed, ns) == PINNED


async def test_a_suspended_bot_is_held_at_none(bed: Bed, ns: str) -> None:
    await guard(bed, ns, replicas=0)
    await bed.apply(manifest(ns))
    assert await pin_of(bed, ns) == {**PINNED, "replicas": 0}


async def test_a_pin_that_changes_takes_hold_of_the_next_write(bed: Bed, ns: str) -> None:
    await guard(bed, ns, replicas=0)
    await bed.apply(manifest(ns))
    await guard(bed, ns, replicas=1)
    await bed.kube.patch(path("deployments", ns, NAME), {"spec": {"replicas": 1}})
    assert await pin_of(bed, ns) == PINNED


# --- What is not pinned ----------------------------------------------------------------------------------------------


async def test_one_that_is_not_pinned_yet_keeps_what_it_has(bed: Bed, ns: str) -> None:
    await guard(bed, ns, replicas=None)
    await bed.apply(manifest(ns))
    assert await pin_of(bed, ns) == ASKED


async def test_other_deployments_keep_what_they_have(bed: Bed, ns: str) -> None:
    await guard(bed, ns)
    web = deployment(ns, "web")
    web["metadata"]["labels"]["app"] = NAME
    stored = await bed.kube.create("deployments", ns, web)
    assert {key: stored["spec"][key] for key in ASKED} == ASKED


@pytest.mark.parametrize("value", NO_ENTRIES.values(), ids=NO_ENTRIES.keys())
async def test_an_entry_edited_by_hand_pins_nothing(value: str, bed: Bed, ns: str) -> None:
    await write_table(bed, ns, {NAME: value})
    stored = await bed.kube.create("deployments", ns, deployment(ns))
    assert {key: stored["spec"][key] for key in ASKED} == ASKED


async def test_without_a_table_nothing_is_pinned(bed: Bed, ns: str) -> None:
    stored = await bed.kube.create("deployments", ns, deployment(ns))
    assert {key: stored["spec"][key] for key in ASKED} == ASKED


async def test_a_name_that_the_api_server_makes_up_is_taken(bed: Bed, ns: str) -> None:
    await guard(bed, ns)
    nameless = deployment(ns, template={"metadata": {"labels": {"app": NAME}}, "spec": {"containers": [CONTAINER]}})
    nameless["metadata"] |= {"name": None, "generateName": "telegram-bot-"}
    stored = await bed.kube.create("deployments", ns, nameless)
    assert {key: stored["spec"][key] for key in ASKED} == ASKED
