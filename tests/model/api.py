"""The API server of the model: objects with uid, resourceVersion and generation, merge patches, graceful deletes.

Stored objects are never changed in place: a write puts a new dict in their place, so a snapshot is a shallow copy.

    api = Api()
    api.create("Pod", {"metadata": {"namespace": "shop", "name": "bot-1"}}, now)
    api.patch("Pod", ("shop", "bot-1"), {"metadata": {"uid": "uid-7", "labels": {"a": "b"}}})
"""

from datetime import UTC, datetime, timedelta
from typing import Any

Json = dict[str, Any]
Key = tuple[str, str]
Store = dict[Key, Json]

KINDS = ("Node", "TelegramBot", "Deployment", "ReplicaSet", "Pod")
TERMINAL = frozenset({"Succeeded", "Failed"})


class Refused(Exception):  # noqa: N818  an answer of the API server, as it would come over the wire
    """The API server's answer 404 or 409."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def stamp(at: datetime) -> str:
    """Return a time as Kubernetes writes it: whole seconds, UTC."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def merge(target: Any, patch: Any) -> Any:
    """Return what a JSON merge patch (RFC 7396) makes of the target, which stays as it is."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = merge(merged.get(name), value)
    return merged


def replacing(found: Json, wanted: Json) -> Json:
    """Return the merge patch that makes of one object exactly the other."""
    gone: Json = {name: None for name in found if name not in wanted}
    return gone | {name: _replacing(found.get(name), value) for name, value in wanted.items()}


def _replacing(found: Any, wanted: Any) -> Any:
    return replacing(found, wanted) if isinstance(found, dict) and isinstance(wanted, dict) else wanted


def key_of(thing: Json) -> Key:
    """Return namespace and name."""
    return thing["metadata"].get("namespace", ""), thing["metadata"]["name"]


def uid_of(thing: Json) -> str:
    """Return the uid."""
    return str(thing["metadata"]["uid"])


def controller_of(thing: Json) -> Json:
    """Return the owner reference of what controls the object, or {}."""
    owners = thing["metadata"].get("ownerReferences") or []
    return next((owner for owner in owners if owner.get("controller")), {})


def deleting(thing: Json) -> bool:
    """Return whether its deletion has begun."""
    return "deletionTimestamp" in thing["metadata"]


def terminal(pod: Json) -> bool:
    """Return whether the kubelet has put the pod into a terminal phase."""
    return pod["status"].get("phase") in TERMINAL


class Api:
    """The objects, by kind and by namespace and name. `version` is the resourceVersion of the latest write."""

    def __init__(self) -> None:
        self.version = 0
        self.created = 0
        self.objects: dict[str, Store] = {kind: {} for kind in KINDS}

    def clone(self) -> "Api":
        """Return a server of its own with the same objects."""
        twin = Api()
        twin.version, twin.created = self.version, self.created
        twin.objects = {kind: dict(store) for kind, store in self.objects.items()}
        return twin

    def get(self, kind: str, key: Key) -> Json | None:
        """Return an object, or None."""
        return self.objects[kind].get(key)

    def all(self, kind: str) -> list[Json]:
        """Return all objects of a kind, in the order of their creation."""
        return list(self.objects[kind].values())

    def create(self, kind: str, body: Json, now: datetime) -> Json:
        """Create an object. Raises Refused (409) when the name is taken."""
        if key_of(body) in self.objects[kind]:
            raise Refused(409, f"{kind} {key_of(body)} already exists")
        self.created += 1
        meta = {"uid": f"uid-{self.created}", "generation": 1, "creationTimestamp": stamp(now)}
        return self._store(kind, merge({"status": {}, "spec": {}}, merge(body, {"metadata": meta})))

    def _store(self, kind: str, body: Json) -> Json:
        self.version += 1
        stored = merge(body, {"metadata": {"resourceVersion": str(self.version)}})
        self.objects[kind][key_of(body)] = stored
        return stored

    def existing(self, kind: str, key: Key, uid: str | None = None, version: str | None = None) -> Json:
        """Return an object that meets the preconditions. Raises Refused: 404 when it is gone, 409 on a mismatch."""
        found = self.objects[kind].get(key)
        if found is None:
            raise Refused(404, f"{kind} {key} not found")
        if uid is not None and uid != found["metadata"]["uid"]:
            raise Refused(409, "the uid in the precondition does not match")
        if version is not None and version != found["metadata"]["resourceVersion"]:
            raise Refused(409, "the object has been modified")
        return found

    def patch(self, kind: str, key: Key, body: Json) -> Json:
        """Merge-patch an object; uid and resourceVersion in the patch are preconditions. An empty change is no write.

        https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-versions
        """
        meta = body.get("metadata") or {}
        found = self.existing(kind, key, meta.get("uid"), meta.get("resourceVersion"))
        changed = merge(found, merge(body, {"metadata": {"resourceVersion": found["metadata"]["resourceVersion"]}}))
        if changed == found:
            return found
        if changed["spec"] != found["spec"]:
            changed = merge(changed, {"metadata": {"generation": found["metadata"]["generation"] + 1}})
        if deleting(changed) and not changed["metadata"].get("finalizers") and _at_once(changed):
            return self._remove(kind, key)
        return self._store(kind, changed)

    def _remove(self, kind: str, key: Key) -> Json:
        self.version += 1
        return self.objects[kind].pop(key)

    def delete(
        self,
        kind: str,
        key: Key,
        now: datetime,
        *,
        uid: str | None = None,
        version: str | None = None,
        grace: int | None = None,
    ) -> Json:
        """Delete an object, a pod gracefully: its object stays until the kubelet confirms, or `grace` is 0.

        A pod that is bound to no node, or in a terminal phase, goes at once (pkg/registry/core/pod/strategy.go,
        CheckGracefulDelete). Finalizers keep any object.
        """
        found = self.existing(kind, key, uid, version)
        seconds = _grace(found, grace) if kind == "Pod" else 0
        before = found["metadata"].get("deletionGracePeriodSeconds")
        if deleting(found) and before is not None and before <= seconds and (before or _held(found)):
            return found
        if seconds == 0 and not _held(found):
            return self._remove(kind, key)
        asked = _asked(found) if deleting(found) else now
        at = {"deletionTimestamp": stamp(asked + timedelta(seconds=seconds)), "deletionGracePeriodSeconds": seconds}
        return self._store(kind, merge(found, {"metadata": at}))


def _held(thing: Json) -> bool:
    return bool(thing["metadata"].get("finalizers"))


def _at_once(thing: Json) -> bool:
    return thing["metadata"].get("deletionGracePeriodSeconds") == 0


def _asked(thing: Json) -> datetime:
    """When the deletion was asked for: a shorter grace period counts from there."""
    at = datetime.fromisoformat(thing["metadata"]["deletionTimestamp"])
    return at - timedelta(seconds=thing["metadata"].get("deletionGracePeriodSeconds", 0))


def _grace(pod: Json, asked: int | None) -> int:
    if not pod["spec"].get("nodeName") or terminal(pod):
        return 0
    return int(pod["spec"].get("terminationGracePeriodSeconds", 30)) if asked is None else asked
