"""What the policies of deploy/admission cost: how long the API server takes for a pod and for a Deployment.

    python -m bench.admission [--rounds 300] [--print]

Prints a page of Markdown and writes it to docs/admission-cost.md; progress goes to stderr. Several namespaces of one
API server take turns, in an order left to chance: one that the bindings leave out, one without a lock table, and one
for each size of the table. So all meet the same moments of the machine. Controllers and scheduler are stopped.
Exit code 0: measured. 1: not, and one sentence says why.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import random
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import yaml
from aiohttp import ClientError

from bench.shots import percentile
from bench.world import BenchError
from tests.apiserver.admission import FOLDER, TABLE, deployment, pod_of
from tests.bed.controlplane import BuildError, ControlPlane, ControlPlaneError
from tests.bed.kube import Kube, KubeError, path

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from tests.bed.kube import Object

PAGE = Path(__file__).parents[1] / "docs" / "admission-cost.md"
SIZES = (10, 1000, 5000)  # bots in the table; each has three keys in it
_FAILURES = (BenchError, BuildError, ControlPlaneError, KubeError, ClientError, OSError)
_WARM_UP = 20  # rounds that do not count
_LAGS = 30  # changes of each table, timed until the policies go by them
_PATIENCE = 30.0
_LIMIT = 1 << 20  # bytes: the API server takes no larger ConfigMap
_ARM = "bench/arm"  # the label of a namespace
_WITHOUT = "none"


@dataclass(slots=True)
class Arm:
    """A namespace, what its row is called, and what was measured in it, in milliseconds."""

    namespace: str
    title: str
    bots: int | None = None  # in its lock table; None without one
    times: dict[str, list[float]] = field(default_factory=dict)
    lags: list[float] = field(default_factory=list)


ARMS = (
    Arm("none", "no policies"),
    Arm("no-table", "policies, no lock table"),
    *(Arm(f"bots-{size}", f"a table of {size:,} bots", size) for size in SIZES),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print and write. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.admission", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=300, help="requests of each kind in each namespace (300)")
    parser.add_argument("--print", action="store_true", help=f"do not write {PAGE.name}")
    options = parser.parse_args(arguments)
    try:
        page = asyncio.run(_measure(options.rounds))
    except _FAILURES as error:
        sys.stderr.write(f"bench: not measured: {error or type(error).__name__}\n")
        return 1
    sys.stdout.write(page)
    if not options.print:
        PAGE.write_text(page)
    return 0


async def _measure(rounds: int) -> str:
    """Returns the page."""
    async with ControlPlane.start() as cluster, Kube.connect(cluster.kubeconfig) as kube:
        version = (await kube.call("GET", "/version"))["gitVersion"]
        _tell("making the namespaces")
        await _install(cluster)
        for arm in ARMS:
            await _furnish(kube, arm)
        for arm in ARMS:
            await _in_force(kube, arm)
        for program in ("kube-controller-manager", "kube-scheduler"):
            await cluster.kill(program)
        await _take_turns(kube, rounds)
        for arm in ARMS:
            arm.lags = [await _lag(kube, arm, number) for number in range(_LAGS)] if arm.bots else []
    return _page(rounds, version)


def _tell(what: str) -> None:
    sys.stderr.write(f"bench: {what}\n")


# --- The world --------------------------------------------------------------------------------------------------------


async def _install(cluster: ControlPlane) -> None:
    """The policies, bound to every namespace but the one without: the bindings are those of deploy/admission, else."""
    found = [each for file in sorted(FOLDER.glob("*.yaml")) for each in yaml.safe_load_all(file.read_text())]
    selector = {"matchExpressions": [{"key": _ARM, "operator": "NotIn", "values": [_WITHOUT]}]}
    for each in found:
        if each["kind"].endswith("Binding"):
            each["spec"]["matchResources"] = {"namespaceSelector": selector}
    items = {"apiVersion": "v1", "kind": "List", "items": found}
    await cluster.kubectl("apply", "--filename=-", stdin=json.dumps(items))


async def _furnish(kube: Kube, arm: Arm) -> None:
    """A namespace with its table and a Deployment, which makes no pods since it is paused."""
    labels = {_ARM: arm.namespace}
    await kube.create("namespaces", None, {"metadata": {"name": arm.namespace, "labels": labels}})
    if arm.bots is not None:
        await kube.create("configmaps", arm.namespace, {"metadata": {"name": TABLE}, "data": table(arm.bots)})
    limit = time.monotonic() + _PATIENCE
    while await kube.get("serviceaccounts", arm.namespace, "default") is None:
        if time.monotonic() > limit:
            raise BenchError(f"namespace {arm.namespace} has no ServiceAccount")
        await asyncio.sleep(0.05)
    await kube.create("deployments", arm.namespace, deployment(arm.namespace, _bot(0), paused=True))


def _bot(number: int) -> str:
    return f"bot-{number:05}"


def table(bots: int) -> dict[str, str]:
    """A lock table as the operator writes it. Raises BenchError where the API server would not take it."""
    data: dict[str, str] = {}
    for name, identity in ((_bot(number), str(7_000_000_000 + number)) for number in range(bots)):
        data[name] = f"{identity} Scheduler 1 {name}"
        data[f"{name}_token"] = data[f"{name}_"] = f"{identity}/{name}"
    if size_of(data) >= _LIMIT:
        raise BenchError(f"a table of {bots} bots is too large for a ConfigMap")
    return data


def size_of(data: dict[str, str]) -> int:
    """How many bytes of a ConfigMap's limit this is."""
    return sum(len(key) + len(value) for key, value in data.items())


async def _in_force(kube: Kube, arm: Arm) -> None:
    """Wait until a bot's pod is stamped, where there is a table."""
    limit = time.monotonic() + _PATIENCE
    while arm.bots is not None and not await _stamped(kube, arm, _bot(0)):
        if time.monotonic() > limit:
            raise BenchError(f"the policies are not in force in namespace {arm.namespace}")


async def _stamped(kube: Kube, arm: Arm, name: str) -> str:
    """The identity that a pod of this Deployment would get, or ""."""
    found = await kube.call("POST", path("pods", arm.namespace) + "?dryRun=All", pod_of(arm.namespace, name))
    identity: str = found["metadata"]["labels"].get("singleton.bot/bot", "")
    return identity


# --- Turns ------------------------------------------------------------------------------------------------------------


def _token(name: str) -> Object:
    """A container with a token as its variable, and some others."""
    plain = [{"name": f"SETTING_{number}", "value": "x"} for number in range(10)]
    secret = {"name": "BOT_TOKEN", "valueFrom": {"secretKeyRef": {"name": name, "key": "token"}}}
    return {"name": "bot", "image": "shop/bot:1", "env": [*plain, secret]}


async def _bots_pod(kube: Kube, arm: Arm, number: int) -> float:
    """A pod of a guarded Deployment, with the token."""
    body = pod_of(arm.namespace, _bot(0), containers=[_token(_bot(0))])
    return await _create(kube, arm, body, f"ours-{number}")


async def _other_pod(kube: Kube, arm: Arm, number: int) -> float:
    """A pod of a Deployment that is not guarded, with a Secret of its own."""
    body = pod_of(arm.namespace, "web", containers=[_token("web")])
    return await _create(kube, arm, body, f"theirs-{number}")


async def _create(kube: Kube, arm: Arm, body: dict[str, Any], name: str) -> float:
    body["metadata"]["name"] = name
    spent = await _timed(lambda: kube.create("pods", arm.namespace, body))
    await kube.delete(path("pods", arm.namespace, name), grace=0)
    return spent


async def _bots_deployment(kube: Kube, arm: Arm, number: int) -> float:
    """An update that asks for three replicas, which the pin corrects."""
    return await _update(kube, arm, _bot(0), {"metadata": {"annotations": {"n": str(number)}}, "spec": {"replicas": 3}})


async def _update(kube: Kube, arm: Arm, name: str, patch: Object) -> float:
    return await _timed(lambda: kube.patch(path("deployments", arm.namespace, name), patch))


async def _timed(request: Callable[[], Awaitable[object]]) -> float:
    """Milliseconds until the answer."""
    start = time.perf_counter()
    await request()
    return 1000 * (time.perf_counter() - start)


SHOTS: dict[str, Callable[[Kube, Arm, int], Awaitable[float]]] = {
    "a bot's pod": _bots_pod,
    "another pod": _other_pod,
    "a bot's Deployment": _bots_deployment,
}


async def _take_turns(kube: Kube, rounds: int) -> None:
    """Fill in the times: each round has every request once in every namespace, in an order left to chance."""
    dice = random.Random(1)  # noqa: S311 - it spreads requests
    gc.collect()
    gc.freeze()  # no pause of this process falls into a request
    for number in range(-_WARM_UP, rounds):
        turns = [(arm, shot) for arm in ARMS for shot in SHOTS]
        for arm, shot in dice.sample(turns, len(turns)):
            spent = await SHOTS[shot](kube, arm, number + _WARM_UP)
            if number >= 0:
                arm.times.setdefault(shot, []).append(spent)
        if (number + 1) % 50 == 0:
            _tell(f"{number + 1} of {rounds} rounds")


async def _lag(kube: Kube, arm: Arm, number: int) -> float:
    """Milliseconds from the answer to a change of the table until a request begins that the policies go by it in."""
    identity = f"changed-{number}"
    await kube.patch(path("configmaps", arm.namespace, TABLE), {"data": {_bot(1): f"{identity} Scheduler 1 {_bot(1)}"}})
    written = time.perf_counter()
    while True:
        start = time.perf_counter()
        if await _stamped(kube, arm, _bot(1)) == identity:
            return 1000 * (start - written)
        if start - written > _PATIENCE:
            raise BenchError("the policies do not hear of a change of the table")


# --- The page ---------------------------------------------------------------------------------------------------------


def _page(rounds: int, version: str) -> str:
    largest = size_of(table(max(SIZES)))
    return f"""# What the admission policies cost

Written by `make bench-admission`. How long the API server took to answer, in milliseconds: median and (95th percentile)
of {rounds} requests, one at a time and in turns. Kubernetes {version}, etcd without fsync, {os.cpu_count()} cores.

| in the namespace | {" | ".join(SHOTS)} |
|---|{"---|" * len(SHOTS)}
{"".join(_row(arm) for arm in ARMS)}
- *a bot's pod*: created by a guarded Deployment's ReplicaSet, with the token; it is stamped and its uses of Secrets are
  looked up. *Another pod*: of a Deployment that is not in the table; only its uses are looked up. *A bot's Deployment*:
  an update that asks for three replicas, which the pin corrects.
- Each bot has three entries in the table. The largest has {largest / 1024:.0f} KiB, of at most 1,024.
- *No policies*: a namespace that the bindings leave out. *No lock table*: the API server asks its storage each time
  whether there is none, since its cache may be behind.

How long after a change of the table was stored the policies still went by the old one, median and longest of {_LAGS}:

| the table | milliseconds |
|---|---|
{"".join(f"| {arm.title} | {median(arm.lags):.1f} ({max(arm.lags):.1f}) |" + chr(10) for arm in ARMS if arm.lags)}"""


def _row(arm: Arm) -> str:
    cells = [f"{median(times):.1f} ({percentile(times, 95):.1f})" for times in (arm.times[shot] for shot in SHOTS)]
    return f"| {arm.title} | {' | '.join(cells)} |\n"


if __name__ == "__main__":
    sys.exit(main())
