"""The admission policies of deploy/admission on the bed, and the lock table as the operator would write it.

Most of what the policies do shows in a dry run: the API server then answers with what it would have stored, or refuses.

await write_table(bed, ns, {"telegram-bot": "123 Scheduler 1 shop"})      # in force when this returns
stamped = await dry_run(bed, pod_of(ns, "telegram-bot"))
"""

from __future__ import annotations

import itertools
import json
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.bed.kube import KubeError, path

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from tests.bed.bed import Bed

Object = dict[str, Any]

FOLDER = Path(__file__).parents[2] / "deploy" / "admission"
TABLE = "singleton-bot-locks"
APPLY = "application/apply-patch+yaml"
REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
CONTAINER: Object = {"name": "bot", "image": "shop/bot:1"}

# What is no entry of a Deployment, though a hand may have written it.
NO_ENTRIES = {
    "nothing": "",
    "a word": "123",
    "too few words": "123 Scheduler 1",
    "too many words": "123 Scheduler 1 shop shop",
    "two spaces": "123  Scheduler 1 shop",
    "a space before": " 123 Scheduler 1 shop",
    "a line's end": "123 Scheduler 1 shop\n",
    "an unknown lock": "123 Padlock 1 shop",
    "two replicas": "123 Scheduler 2 shop",
    "fewer replicas than none": "123 Scheduler -1 shop",
    "an identity that is no label": "shop/bot Scheduler 1 shop",
    "an identity too long for a label": f"{'1' * 64} Scheduler 1 shop",
    "a name that no TelegramBot has": "123 Scheduler 1 Shop_1",
}
_serial = itertools.count(1)


@asynccontextmanager
async def installed(bed: Bed) -> AsyncIterator[None]:
    """The policies, in force until the block ends: no other test of the bed is to meet them."""
    await bed.kubectl("apply", f"--filename={FOLDER}")
    namespace = await bed.namespace()
    try:
        await write_table(bed, namespace, {})
        yield
    finally:
        await bed.kubectl("delete", f"--filename={FOLDER}", "--ignore-not-found")
        await bed.until(lambda: _unguarded(bed, namespace), what="the policies are gone")
        await bed.kube.delete(path("namespaces", None, namespace))


async def write_table(bed: Bed, ns: str, data: Mapping[str, str]) -> None:
    """Make the namespace's lock table say this, and wait until all policies know."""
    secret, identity = f"probe-{next(_serial)}", f"probe.{next(_serial)}"
    probes = {"probe": f"{identity} None - probe", f"{secret}_": f"{identity}/probe"}
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": TABLE}, "data": {**data, **probes}}
    await bed.kube.patch(path("configmaps", ns, TABLE) + "?fieldManager=test&force=true", body, APPLY)

    async def known() -> bool:
        guarded = pod(ns, containers=[CONTAINER | {"envFrom": [{"secretRef": {"name": secret}}]}])
        stamped = await dry_run(bed, pod_of(ns, "probe"))
        return stamped["metadata"]["labels"].get("singleton.bot/bot") == identity and bool(await refusal(bed, guarded))

    await bed.until(known, what="the policies know the table")


async def _unguarded(bed: Bed, ns: str) -> bool:
    """Whether neither kind of policy does anything any more."""
    table = await bed.get("configmaps", TABLE, ns) or {}
    secret = next(key for key in table["data"] if key.endswith("_"))[:-1]
    guarded = pod_of(ns, "probe", containers=[CONTAINER | {"envFrom": [{"secretRef": {"name": secret}}]}])
    guarded["metadata"]["labels"]["singleton.bot/bot"] = "another"
    try:
        stored = await dry_run(bed, guarded)
    except KubeError:
        return False
    label: str = stored["metadata"]["labels"]["singleton.bot/bot"]
    return label == "another"


def pod(ns: str, labels: Mapping[str, str] | None = None, **spec: Any) -> Object:
    """A pod that somebody makes by hand."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "a-pod", "namespace": ns, "labels": dict(labels or {})},
        "spec": {"containers": [CONTAINER], **spec},
    }


def pod_of(ns: str, deployment: str, **spec: Any) -> Object:
    """A pod as the ReplicaSet of a Deployment makes it."""
    made = pod(ns, {"app": "telegram-bot", "pod-template-hash": "5ccdf6cd6f"}, **spec)
    made["metadata"]["ownerReferences"] = [owner(f"{deployment}-5ccdf6cd6f")]
    return made


def owner(name: str, kind: str = "ReplicaSet", version: str = "apps/v1") -> Object:
    """The ownerReference of a controller."""
    return {"apiVersion": version, "kind": kind, "name": name, "uid": "0-0", "controller": True}


def deployment(ns: str, name: str = "telegram-bot", **spec: Any) -> Object:
    """A Deployment as its user writes it: three replicas, RollingUpdate."""
    labels = {"app": name}
    wanted = {
        "replicas": 3,
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
        "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": {"containers": [CONTAINER]}},
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": ns, "labels": labels},
        "spec": wanted | spec,
    }


async def dry_run(bed: Bed, body: Object) -> Object:
    """What would be stored if this were created. Raises KubeError where it is refused."""
    return await bed.kube.call("POST", path(body["kind"], body["metadata"]["namespace"]) + "?dryRun=All", body)


async def refusal(bed: Bed, body: Object) -> str:
    """The sentence with which the creation is refused, or "" where it is not."""
    try:
        await dry_run(bed, body)
    except KubeError as error:
        return str(error)
    return ""


def plain(found: Object) -> str:
    """An object without what the API server makes up anew for each: to compare two answers by."""
    made_up = ("uid", "creationTimestamp", "managedFields", "resourceVersion")
    text = json.dumps({key: value for key, value in found["metadata"].items() if key not in made_up}, sort_keys=True)
    volumes = [each for each in found["spec"].get("volumes", []) if not each["name"].startswith("kube-api-access-")]
    containers = [{**each, "volumeMounts": []} for each in found["spec"].get("containers", [])]
    return text + json.dumps(found["spec"] | {"volumes": volumes, "containers": containers}, sort_keys=True)
