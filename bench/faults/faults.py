"""What is done to a bot, and in which columns the design promises that nobody meets."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

from bench.faults import operators
from tests.e2e.world import DEEDS, World, delete, force_delete, roll_back, scale_to_two

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from contextlib import AbstractAsyncContextManager

    from bench.faults.stage import Stage
    from bench.faults.variants import Variant
    from tests.e2e.world import Object

    Deed: TypeAlias = Callable[[World], Awaitable[None]]
    Around: TypeAlias = Callable[[Stage, str], AbstractAsyncContextManager[None]]

LOST = 15.0  # seconds that a lost node stays away
REPAIRS = 5  # rounds of the repair script


@dataclass(frozen=True)
class Fault:
    """One row. `around`: which operators there are. `fits`: which columns it can happen to.

    `at_every_write`: the deed is done once for every write that the operator makes, which is killed there.
    """

    name: str
    do: Deed
    promised: Callable[[Variant], bool]
    around: Around = operators.one
    fits: Callable[[Variant], bool] = lambda _: True
    at_every_write: bool = False


# --- Deeds that the end-to-end tests do not have ----------------------------------------------------------------------


async def preempt(world: World) -> None:
    """Something more important needs the bot's node."""
    bot = await world.only_pod()
    node = bot["spec"]["nodeName"]
    urgent = {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": "urgent"}}
    spec = {
        "priorityClassName": "urgent",
        "nodeSelector": {"kubernetes.io/hostname": node},
        "containers": [{"name": "main", "image": "pause", "resources": {"requests": {"cpu": "9999500m"}}}],
    }
    metadata = {"name": "urgent", "namespace": world.ns}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
    await world.bed.apply([urgent | {"value": 1000}, pod])
    await world.bed.until(lambda: _on_its_way_out(world, bot["metadata"]["name"]), what="the preemption")


async def lose_the_node(world: World) -> None:
    """The bot's node is cut off while its processes live on; the cluster evicts its pods; then it is back."""
    await _cut_off(world, force=False)


async def lose_the_node_and_force(world: World) -> None:
    """The same, and somebody deletes the pod by force because it stays in Terminating."""
    await _cut_off(world, force=True)


async def _cut_off(world: World, *, force: bool) -> None:
    pod = await world.only_pod()
    name, node = pod["metadata"]["name"], world.bed.node_of(pod)
    node.freeze()
    try:
        await world.bed.until(lambda: _on_its_way_out(world, name), patience=60, what="the eviction from a lost node")
        if force:
            await world.kubectl("delete", "pod", name, "--force", "--grace-period=0")
        await asyncio.sleep(LOST)  # how long it is away; nothing is waited for
    finally:
        node.thaw()
    await world.bed.kubectl("wait", "--for=condition=Ready", f"node/{node.name}", "--timeout=60s")


async def _on_its_way_out(world: World, pod: str) -> bool:
    found = await world.bed.get("pod", pod, world.ns)
    return found is None or "deletionTimestamp" in found["metadata"]


async def add_a_second_telegrambot(world: World) -> None:
    """Another TelegramBot with the same token, as the first is: for a Deployment that was at 0 and is scaled to 1."""
    await world.a_second_older()  # of two made in one second the uid decides, and the bot may move once
    if not world.adopt:
        await world.bed.apply(world.resource("second"))
        return
    second = replace_name(world.plain(replicas=0), "second")
    resource = world.resource("second")
    resource["spec"]["deploymentRef"] = {"name": "second"}
    await world.bed.apply([second, resource])
    await world.says("Ready", "False", "DuplicateBot", name="second")
    await world.kubectl("scale", "deployment/second", "--replicas=1")


def replace_name(manifest: Object, name: str) -> Object:
    """A Deployment of another name and label."""
    spec = manifest["spec"]
    spec["selector"]["matchLabels"] = spec["template"]["metadata"]["labels"] = {"app": name}
    metadata = {**manifest["metadata"], "name": name, "labels": {"app": name}}
    return {**manifest, "kind": "Deployment", "metadata": metadata}


async def add_a_stray_pod(world: World) -> None:
    """Somebody debugs: a pod made by hand with the bot's Secret."""
    metadata = {"name": "debug", "namespace": world.ns, "labels": {"app": "debug"}}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": unlocked(world).template()["spec"]}
    await world.kubectl("apply", "-f", "-", stdin=json.dumps(pod))


async def add_a_second_deployment(world: World) -> None:
    """The same bot deployed again under another name, with the same Secret."""
    await world.bed.apply(replace_name(unlocked(world).plain(), "copy"))


def unlocked(world: World) -> World:
    """The same bot, by somebody who knows of no lock and takes a Deployment."""
    return replace(world, kind="Deployment", pod={key: each for key, each in world.pod.items() if key != "affinity"})


async def repair_script(world: World) -> None:
    """Three replicas, then what people run: keep the newest pod, force-delete all others, set replicas to 1, again."""
    await world.scale(3)
    for _ in range(REPAIRS):
        pods = sorted(await world.pods(), key=lambda pod: str(pod["metadata"]["creationTimestamp"]))
        for pod in pods[:-1]:
            name = pod["metadata"]["name"]
            await world.kubectl("delete", "pod", name, "--force", "--grace-period=0", "--ignore-not-found", check=False)
        await world.scale(1)
        await asyncio.sleep(1)  # the script's own pause


async def delete_and_scale(world: World) -> None:
    """A deleted pod and a second replica at once: a turn to give, and a duplicate to keep away."""
    await delete(world)
    await scale_to_two(world)


# --- The rows ---------------------------------------------------------------------------------------------------------


def guarded(variant: Variant) -> bool:
    """Promised with every TelegramBot."""
    return variant.guarded


def gate(variant: Variant) -> bool:
    """Promised with the lock Gate."""
    return variant.lock == "Gate"


def policies(variant: Variant) -> bool:
    """Promised where the admission policies are installed."""
    return variant.policies


def _is_deployment(variant: Variant) -> bool:
    return variant.kind == "Deployment"


STRATEGY = "a strategy change in a rollout"

FAULTS = [
    *(
        Fault(name, do, guarded, fits=_is_deployment) if name == STRATEGY else Fault(name, do, guarded)
        for name, do in DEEDS.items()
    ),
    Fault("a second TelegramBot", add_a_second_telegrambot, guarded, fits=guarded),
    Fault("a preemption", preempt, guarded),
    Fault("a stray pod with the Secret", add_a_stray_pod, policies),
    Fault("a second Deployment with the Secret", add_a_second_deployment, policies),
    Fault("a forced delete", force_delete, gate),
    Fault("replicas 3 and the repair script", repair_script, gate),
    Fault("a lost node", lose_the_node, gate),
    Fault("a lost node, its pod forced away", lose_the_node_and_force, gate),
    Fault(
        "operator killed at each write: delete, scale to 2", delete_and_scale, gate, fits=guarded, at_every_write=True
    ),
    Fault("two operators: a rollback A-B-A", roll_back, gate, operators.two, guarded),
    Fault("two operators: a forced delete", force_delete, gate, operators.two, guarded),
    Fault("two operators, stopped in turn: a rollback A-B-A", roll_back, gate, operators.two_by_turns, guarded),
    Fault(
        "two operators, stopped in turn: delete, scale to 2", delete_and_scale, gate, operators.two_by_turns, guarded
    ),
]
