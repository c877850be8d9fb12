"""Kubernetes' controllers and scheduler as far as they decide how many pods of a bot run, one step at a time.

Told from the sources of Kubernetes 1.37: pkg/controller/deployment/{sync,recreate,rolling}.go (what scales which
ReplicaSet, and that a Recreate rollout waits for the pods of the *other* ReplicaSets only),
pkg/controller/controller_utils.go (which pods a shrinking ReplicaSet takes first), the scheduler's inter-pod affinity
(both ways, Terminating pods count, terminal ones do not), PodGC and the garbage collector.
"""

import hashlib
import json
from datetime import datetime

from .api import Api, Json, controller_of, deleting, key_of, merge, stamp, terminal, uid_of

DESIRED = "deployment.kubernetes.io/desired-replicas"
HASH = "pod-template-hash"
COST = "controller.kubernetes.io/pod-deletion-cost"
REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
SURGE = 1  # 25 % of one to four replicas, rounded up; unavailable may be none: 25 %, rounded down


def unhashed(template: Json) -> Json:
    """Return a ReplicaSet's template as it stood in the Deployment."""
    return merge(template, {"metadata": {"labels": {HASH: None}}})


def _hash(deployment: Json) -> str:
    """Return the hash that names the template's ReplicaSet; names of a Deployment's predecessor are passed over."""
    hashed = [deployment["spec"]["template"], deployment["status"].get("collisionCount", 0)]
    return hashlib.sha256(json.dumps(hashed, sort_keys=True).encode()).hexdigest()[:8]


# --- Deployment controller --------------------------------------------------------------------------------------


def sync_deployment(api: Api, deployment: Json, now: datetime) -> None:
    """One pass of the Deployment controller (deployment_controller.go, syncDeployment)."""
    if deleting(deployment):
        return
    new, old = _replica_sets(api, deployment)
    if new is None and _name_is_taken(api, deployment):
        collisions = deployment["status"].get("collisionCount", 0) + 1
        api.patch("Deployment", key_of(deployment), {"status": {"collisionCount": collisions}})
        return
    active = [each for each in [*old, new] if each and each["spec"]["replicas"]]
    if _is_scaled(deployment, active):
        _scale(api, deployment, new, old, active)
    elif deployment["spec"]["strategy"]["type"] == "Recreate":
        _recreate(api, deployment, new, old, now)
    else:
        _roll(api, deployment, new or _new_replica_set(api, deployment, now), old)
    _sync_status(api, deployment)


def _is_scaled(deployment: Json, active: list[Json]) -> bool:
    wanted = str(deployment["spec"]["replicas"])
    return any(each["metadata"]["annotations"][DESIRED] != wanted for each in active)


def _replica_sets(api: Api, deployment: Json) -> tuple[Json | None, list[Json]]:
    mine = [each for each in api.all("ReplicaSet") if controller_of(each).get("uid") == uid_of(deployment)]
    wanted = deployment["spec"]["template"]
    new = next((each for each in mine if unhashed(each["spec"]["template"]) == wanted), None)
    return new, [each for each in mine if each is not new]


def _name_is_taken(api: Api, deployment: Json) -> bool:
    namespace, name = key_of(deployment)
    return api.get("ReplicaSet", (namespace, f"{name}-{_hash(deployment)}")) is not None


def _resize(api: Api, deployment: Json, replica_set: Json, size: int) -> bool:
    """Scale a ReplicaSet; its annotation follows only then (sync.go, scaleReplicaSet)."""
    if replica_set["spec"]["replicas"] == size:
        return False
    desired = {DESIRED: str(deployment["spec"]["replicas"])}
    api.patch("ReplicaSet", key_of(replica_set), {"metadata": {"annotations": desired}, "spec": {"replicas": size}})
    return True


def _scale(api: Api, deployment: Json, new: Json | None, old: list[Json], active: list[Json]) -> None:
    """A changed number of replicas goes first, whatever the strategy; a rollout waits for it (sync.go, scale).

    With several active ReplicaSets and Recreate it changes nothing, and nothing else happens either.
    """
    wanted = deployment["spec"]["replicas"]
    if len(active) == 1:
        _resize(api, deployment, active[0], wanted)
    elif new is not None and _saturated(new, wanted):
        for each in old:
            _resize(api, deployment, each, 0)
    elif deployment["spec"]["strategy"]["type"] != "Recreate":
        _scale_in_proportion(api, deployment, active)


def _saturated(replica_set: Json, wanted: int) -> bool:
    annotated = replica_set["metadata"]["annotations"][DESIRED] == str(wanted)
    ready = replica_set["status"].get("readyReplicas", 0)
    return annotated and replica_set["spec"]["replicas"] == wanted == ready


def _scale_in_proportion(api: Api, deployment: Json, active: list[Json]) -> None:
    """All ReplicaSets share the change; the largest takes what is left over, which for a few pods is all of it."""
    wanted = deployment["spec"]["replicas"]
    change = (wanted + SURGE if wanted else 0) - sum(each["spec"]["replicas"] for each in active)
    for each in sorted(active, key=lambda one: -one["spec"]["replicas"]):
        size = max(0, each["spec"]["replicas"] + change)
        change -= size - each["spec"]["replicas"]
        annotations = {"annotations": {DESIRED: str(wanted)}}
        api.patch("ReplicaSet", key_of(each), {"metadata": annotations, "spec": {"replicas": size}})


def _recreate(api: Api, deployment: Json, new: Json | None, old: list[Json], now: datetime) -> None:
    """Old ReplicaSets to zero; then wait for their pods, but never for those of the new one (recreate.go)."""
    resized = [_resize(api, deployment, each, 0) for each in old]
    if any(resized):
        return
    uids = {uid_of(each) for each in old}
    pods = [pod for pod in api.all("Pod") if controller_of(pod).get("uid") in uids]
    if any(each["status"].get("replicas", 0) for each in old) or not all(terminal(pod) for pod in pods):
        return
    _resize(api, deployment, new or _new_replica_set(api, deployment, now), deployment["spec"]["replicas"])


def _new_replica_set(api: Api, deployment: Json, now: datetime) -> Json:
    digest = _hash(deployment)
    meta = deployment["metadata"]
    labels = {**deployment["spec"]["template"]["metadata"]["labels"], HASH: digest}
    owner = {"kind": "Deployment", "name": meta["name"], "uid": meta["uid"], "controller": True}
    body = {
        "metadata": {
            "namespace": meta["namespace"],
            "name": f"{meta['name']}-{digest}",
            "labels": labels,
            "annotations": {DESIRED: str(deployment["spec"]["replicas"])},
            "ownerReferences": [owner],
        },
        "spec": {"replicas": 0, "template": merge(deployment["spec"]["template"], {"metadata": {"labels": labels}})},
    }
    return api.create("ReplicaSet", body, now)


def _roll(api: Api, deployment: Json, new: Json, old: list[Json]) -> None:
    """RollingUpdate: up by the surge, down by what is ready or never was (rolling.go)."""
    wanted, size = deployment["spec"]["replicas"], new["spec"]["replicas"]
    total = size + sum(each["spec"]["replicas"] for each in old)
    grown = min(wanted, size + max(0, wanted + SURGE - total))
    if _resize(api, deployment, new, grown):
        return
    spare = total - wanted - (size - new["status"].get("readyReplicas", 0))
    for each in old:
        unready = each["spec"]["replicas"] - each["status"].get("readyReplicas", 0)
        cut = min(max(0, spare), each["spec"]["replicas"])
        ready_enough = new["status"].get("readyReplicas", 0) + each["status"].get("readyReplicas", 0) > wanted
        cut = cut if ready_enough else min(cut, unready)
        spare -= cut
        _resize(api, deployment, each, each["spec"]["replicas"] - cut)


def _sync_status(api: Api, deployment: Json) -> None:
    new, old = _replica_sets(api, deployment)
    everything = [each["status"] for each in [*old, new] if each]
    status = {
        "observedGeneration": deployment["metadata"]["generation"],
        "updatedReplicas": new["status"].get("replicas", 0) if new else 0,
    }
    for name in ("replicas", "readyReplicas", "terminatingReplicas"):
        status[name] = sum(each.get(name, 0) for each in everything)
    api.patch("Deployment", key_of(deployment), {"status": status})


# --- ReplicaSet controller --------------------------------------------------------------------------------------


def sync_replica_set(api: Api, replica_set: Json, now: datetime) -> None:
    """Make or delete one pod where there are too few or too many active ones; Terminating pods are not active."""
    mine = [pod for pod in api.all("Pod") if controller_of(pod).get("uid") == uid_of(replica_set)]
    active = [pod for pod in mine if not deleting(pod) and not terminal(pod)]
    wanted = replica_set["spec"]["replicas"]
    if len(active) < wanted and not deleting(replica_set):
        _make_pod(api, replica_set, now)
    elif len(active) > wanted:
        api.delete("Pod", key_of(min(active, key=_first_to_go)), now)
    _count_pods(api, replica_set)


def _count_pods(api: Api, replica_set: Json) -> None:
    mine = [pod for pod in api.all("Pod") if controller_of(pod).get("uid") == uid_of(replica_set)]
    active = [pod for pod in mine if not deleting(pod) and not terminal(pod)]
    status = {
        "replicas": len(active),
        "readyReplicas": sum(ready(pod) for pod in active),
        "terminatingReplicas": sum(deleting(pod) and not terminal(pod) for pod in mine),
    }
    api.patch("ReplicaSet", key_of(replica_set), {"status": status})


def ready(pod: Json) -> bool:
    """Return whether the pod is Ready."""
    return any(each["type"] == "Ready" and each["status"] == "True" for each in pod["status"].get("conditions", []))


def _first_to_go(pod: Json) -> tuple[bool, bool, bool, int, int]:
    """Sorts unbound, not running, not ready, cheap and young pods first (ActivePodsWithRanks)."""
    cost = int((pod["metadata"].get("annotations") or {}).get(COST, 0))
    age = int(uid_of(pod).removeprefix("uid-"))
    return bool(pod["spec"].get("nodeName")), pod["status"].get("phase") == "Running", ready(pod), cost, -age


def _make_pod(api: Api, replica_set: Json, now: datetime) -> None:
    template, meta = replica_set["spec"]["template"], replica_set["metadata"]
    owner = {"kind": "ReplicaSet", "name": meta["name"], "uid": meta["uid"], "controller": True}
    where = {"namespace": meta["namespace"], "name": f"{meta['name']}-{api.created}", "ownerReferences": [owner]}
    spec = {"metadata": merge(template["metadata"], where), "spec": template["spec"], "status": {"phase": "Pending"}}
    api.create("Pod", spec, now)


# --- Scheduler, PodGC, garbage collector ------------------------------------------------------------------------


def schedule(api: Api, now: datetime) -> None:
    """Bind each pod that is not bound, does not meet an anti-affinity, and finds a node that is well."""
    for pod in api.all("Pod"):
        nodes = [node["metadata"]["name"] for node in api.all("Node") if _takes_pods(node)]
        if pod["spec"].get("nodeName") or deleting(pod) or not nodes or not _fits(api, pod):
            continue
        node = nodes[api.created % len(nodes)]
        scheduled = [{"type": "PodScheduled", "status": "True"}]
        api.patch("Pod", key_of(pod), {"spec": {"nodeName": node}, "status": {"conditions": scheduled}})
    del now


def _takes_pods(node: Json) -> bool:
    return not node["spec"].get("taints") and ready(node)


def _fits(api: Api, pod: Json) -> bool:
    """Whether no bound pod stands against it: every node has the same kubernetes.io/os, so one is enough."""
    bound = [each for each in api.all("Pod") if each["spec"].get("nodeName") and not terminal(each)]
    return not any(_repels(each, pod) or _repels(pod, each) for each in bound)


def _repels(one: Json, other: Json) -> bool:
    labels = other["metadata"].get("labels") or {}
    terms = ((one["spec"].get("affinity") or {}).get("podAntiAffinity") or {}).get(REQUIRED) or []
    near = [each for each in terms if _same_namespaces(each, one, other)]
    return any(each["labelSelector"]["matchLabels"].items() <= labels.items() for each in near)


def _same_namespaces(term: Json, one: Json, other: Json) -> bool:
    everywhere = term.get("namespaceSelector") == {}
    return everywhere or one["metadata"]["namespace"] == other["metadata"]["namespace"]


def collect_pods(api: Api, now: datetime) -> None:
    """PodGC: pods of nodes that are gone, and Terminating ones of nodes that are out of service (gc_controller.go)."""
    for pod in api.all("Pod"):
        name = pod["spec"].get("nodeName")
        node = api.get("Node", ("", name)) if name else None
        if name and (node is None or (deleting(pod) and _out_of_service(node))):
            _force(api, pod, now)


def _out_of_service(node: Json) -> bool:
    taints = node["spec"].get("taints") or []
    return not ready(node) and any(each["key"] == "node.kubernetes.io/out-of-service" for each in taints)


def _force(api: Api, pod: Json, now: datetime) -> None:
    if not terminal(pod):
        pod = api.patch("Pod", key_of(pod), {"status": {"phase": "Failed"}})
    api.delete("Pod", key_of(pod), now, uid=uid_of(pod), grace=0)


def evict_from_lost_nodes(api: Api, now: datetime) -> None:
    """The taint manager: after its toleration of five minutes, a pod of a lost node is deleted, gracefully."""
    lost = {node["metadata"]["name"] for node in api.all("Node") if not ready(node)}
    for pod in api.all("Pod"):
        if pod["spec"].get("nodeName") in lost and not deleting(pod):
            api.delete("Pod", key_of(pod), now, uid=uid_of(pod))


def collect_orphans(api: Api, now: datetime) -> None:
    """The garbage collector: what a Deployment or ReplicaSet that is gone owned is deleted."""
    known = {uid_of(each) for kind in ("TelegramBot", "Deployment", "ReplicaSet") for each in api.all(kind)}
    for kind in ("Deployment", "ReplicaSet", "Pod"):
        for each in api.all(kind):
            owner = controller_of(each)
            if owner and owner["uid"] not in known and not deleting(each):
                api.delete(kind, key_of(each), now, uid=uid_of(each))


def node_ready(api: Api, name: str, status: str, now: datetime) -> None:
    """Write a node's Ready condition: the kubelet's heartbeat, or the monitor that misses it. A gone node stays so."""
    node = api.get("Node", ("", name))
    if node is None or any(each["status"] == status for each in node["status"].get("conditions", [])):
        return
    condition = {"type": "Ready", "status": status, "lastTransitionTime": stamp(now)}
    api.patch("Node", ("", name), {"status": {"conditions": [condition]}})
