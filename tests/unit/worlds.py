"""Small worlds for tests of decisions: one call a Kubernetes object, one keyword a fact, everything else in order.

    seen = world(pods=[pod("old", terminating=90), pod("new", node="")], nodes={"node-1": node(ready=False)})
    assert plan(seen, NOW).stuck

Objects are written as the API server sends them and read by the parsers that the product uses. Times are seconds from
NOW, in the past where they are negative, except ages, which grow towards the past.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from telegrambot_operator.core import conditions, understand
from telegrambot_operator.core.evidence import ConflictKind, Finding
from telegrambot_operator.core.observed import Bot, Failure, Observed, PodFinding, PodSpan, Rival, TokenState, TokenView
from telegrambot_operator.core.plan import plan
from telegrambot_operator.core.records import (
    Deployment,
    Node,
    Pod,
    ReplicaSet,
    parse_deployment,
    parse_node,
    parse_pod,
    parse_replica_set,
)
from telegrambot_operator.core.strays_search import Search, Stray

Json = dict[str, Any]

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
NAMESPACE = "shop"
BOT = "shop-bot"
DEPLOYMENT = "telegram-bot"
HASH = "6c9d"
GATE = "singleton.bot/turn"
IDENTITY = "7301948265"
SECRET_REF = {"name": "shop-token", "key": "token"}
VALID = TokenView(TokenState.VALID, int(IDENTITY))


def at(seconds: float) -> datetime:
    """Return the time so many seconds from NOW."""
    return NOW + timedelta(seconds=seconds)


def stamp(seconds: float) -> str:
    """Return that time as Kubernetes writes it: RFC 3339 in whole seconds."""
    return at(seconds).strftime("%Y-%m-%dT%H:%M:%SZ")


# --- Pods -----------------------------------------------------------------------------------------------------------


def running(name: str = "bot", *, since: float = -600.0, ready: bool = True, last: Json | None = None) -> Json:
    """Return the status of a container that runs; `last` is the end of the one before it, from `ending`."""
    return {
        "name": name,
        "ready": ready,
        "restartCount": 1 if last else 0,
        "state": {"running": {"startedAt": stamp(since)}},
        "lastState": {"terminated": last} if last else {},
    }


def ended(name: str = "bot", *, restarts: int = 0, **facts: Any) -> Json:
    """Return the status of a container that has ended; the facts are those of `ending`."""
    return {"name": name, "ready": False, "restartCount": restarts, "state": {"terminated": ending(**facts)}}


def waiting(reason: str, message: str = "", *, name: str = "bot", last: Json | None = None) -> Json:
    """Return the status of a container that does not run now."""
    return {
        "name": name,
        "ready": False,
        "restartCount": 3 if last else 0,
        "state": {"waiting": {"reason": reason, "message": message}},
        "lastState": {"terminated": last} if last else {},
    }


def ending(*, since: float = -600.0, until: float = -10.0, code: int = 1, message: str = "") -> Json:
    """Return how a container ended."""
    return {
        "exitCode": code,
        "reason": "Error" if code else "Completed",
        "message": message,
        "startedAt": stamp(since),
        "finishedAt": stamp(until),
    }


def pod(  # noqa: PLR0913  each argument is one fact about the pod
    name: str = "bot-a",
    *,
    namespace: str = NAMESPACE,
    node: str = "node-1",
    phase: str = "Running",
    containers: Sequence[Json] | None = None,
    sidecars: Sequence[Json] = (),
    template_hash: str = HASH,
    controller: tuple[str, str] | None = ("ReplicaSet", f"{DEPLOYMENT}-{HASH}"),
    bot: str | None = IDENTITY,
    ready: bool = True,
    age: float = 600.0,
    terminating: float | None = None,
    grace: int = 30,
    finalizers: Sequence[str] = (),
    cost: str | None = None,
    reason: str = "",
    unscheduled: str = "",
    unreported: Sequence[str] = (),
    gates: Sequence[str] = (),
    lock: str | None = None,
) -> Pod:
    """Return a pod: of the Deployment's ReplicaSet, running and ready, unless said otherwise.

    `node=""` was never bound; `terminating` is how long ago its deletionTimestamp was, negative while it is to come;
    `controller=None` is a pod that nobody controls; `unscheduled` is what the scheduler says of it; `unreported` names
    containers that no kubelet has reported; `cost` is its pod-deletion-cost, as somebody has written it; `gates` are
    the scheduling gates that hold it; `lock` is the identity that it is kept apart by.
    """
    reported = list(containers) if containers is not None else [running(since=-age, ready=ready)] if node else []
    labels = {"pod-template-hash": template_hash, "app": "telegram-bot", **({"singleton.bot/bot": bot} if bot else {})}
    metadata: Json = {
        "name": name,
        "namespace": namespace,
        "uid": f"uid-{name}",
        "resourceVersion": "70",
        "creationTimestamp": stamp(-age),
        "labels": labels,
        "finalizers": list(finalizers),
        "annotations": {} if cost is None else {"controller.kubernetes.io/pod-deletion-cost": cost},
    }
    if controller:
        kind, owner = controller
        metadata["ownerReferences"] = [{"kind": kind, "name": owner, "uid": f"uid-{owner}", "controller": True}]
    if terminating is not None:
        metadata |= {"deletionTimestamp": stamp(-terminating), "deletionGracePeriodSeconds": grace}
    told = [{"type": "Ready", "status": "True" if ready and node and phase == "Running" else "False"}]
    told += [{"type": "PodScheduled", "status": "False", "message": unscheduled}] if unscheduled else []
    status = {
        "phase": phase if node else "Pending",
        "reason": reason,
        "conditions": told,
        "containerStatuses": reported,
        "initContainerStatuses": list(sidecars),
        **({"startTime": stamp(-age)} if node else {}),
    }
    wanted = [*[each["name"] for each in reported or [{"name": "bot"}]], *unreported]
    spec: Json = {"nodeName": node, "containers": [{"name": each} for each in wanted]}
    spec |= {"terminationGracePeriodSeconds": grace, "schedulingGates": [{"name": each} for each in gates]}
    if lock:
        terms = {"requiredDuringSchedulingIgnoredDuringExecution": [lock_term(lock)]}
        spec["affinity"] = {"podAntiAffinity": terms}
    return parse_pod(json.dumps({"metadata": metadata, "spec": spec, "status": status}).encode())


def held(name: str = "new", **facts: Any) -> Pod:
    """Return a pod that waits for its turn: born ten seconds ago, bound to no node, behind our gate."""
    return pod(name, **{"node": "", "gates": [GATE], "age": 10.0, **facts})


def ownerless(name: str, **facts: Any) -> Pod:
    """Return a pod with the bot's label that nobody controls."""
    return pod(name, controller=None, **facts)


def node(
    name: str = "node-1", *, ready: bool = True, since: float | None = -3600.0, out_of_service: bool = False
) -> Node:
    """Return a node; one that is not ready is one whose kubelet is not heard of. `since` is when that last changed."""
    taints = [{"key": "node.kubernetes.io/out-of-service", "effect": "NoExecute"}] if out_of_service else []
    told = {"type": "Ready", "status": "True" if ready else "Unknown"}
    told |= {} if since is None else {"lastTransitionTime": stamp(since)}
    status = {"conditions": [told]}
    body = {"metadata": {"name": name}, "spec": {"taints": taints}, "status": status}
    return parse_node(json.dumps(body).encode())


def replica_set(name: str) -> ReplicaSet:
    """Return a ReplicaSet that still exists."""
    body = {"metadata": {"name": name, "namespace": NAMESPACE, "uid": f"uid-{name}"}, "spec": {"replicas": 1}}
    return parse_replica_set(json.dumps(body).encode())


# --- Deployments ----------------------------------------------------------------------------------------------------


def lock_term(identity: str) -> Json:
    """Return the lock as section 4 of the design spells it."""
    return {
        "labelSelector": {"matchLabels": {"singleton.bot/bot": identity}},
        "namespaceSelector": {},
        "topologyKey": "kubernetes.io/os",
    }


def template_body(
    *,
    lock: str | None = None,
    terms: Sequence[Json] = (),
    affinity: Json | None = None,
    gates: Sequence[str] = (),
) -> Json:
    """Return a pod template: with the lock on an identity, the user's own anti-affinity terms, scheduling gates."""
    labels = {"app": "telegram-bot", **({"singleton.bot/bot": lock} if lock else {})}
    required = [*terms, *([lock_term(lock)] if lock else [])]
    spec: Json = {"containers": [{"name": "bot", "image": "shop/bot:1"}]}
    anti = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}} if required else {}
    if gates:
        spec["schedulingGates"] = [{"name": each} for each in gates]
    if affinity or anti:
        spec["affinity"] = {**(affinity or {}), **anti}
    return {"metadata": {"labels": labels}, "spec": spec}


def deployment_body(  # noqa: PLR0913  each argument is one fact about the Deployment
    name: str = DEPLOYMENT,
    *,
    replicas: int = 1,
    strategy: str = "RollingUpdate",
    mark: str | None = None,
    template: Json | None = None,
    owner: tuple[str, str, str] | None = None,
    generation: int = 3,
    settled: bool = True,
    updated: int | None = None,
    total: int | None = None,
    terminating: int = 0,
    going: bool = False,
    failing: str = "",
    annotations: Json | None = None,
) -> Json:
    """Return a Deployment as the API server sends it. `owner` is kind, name and uid of its controller.

    `settled` says that its own controller has seen its newest generation; `updated` counts pods of its newest template,
    `total` those of every template, and `terminating` those on their way out, which no other count holds.
    """
    metadata: Json = {
        "name": name,
        "namespace": NAMESPACE,
        "uid": f"uid-{name}",
        "resourceVersion": "40",
        "generation": generation,
        "labels": {"team": "sales", **({"singleton.bot/name": mark} if mark else {})},
        "annotations": annotations or {},
    }
    if owner:
        metadata["ownerReferences"] = [dict(zip(("kind", "name", "uid"), owner, strict=True)) | {"controller": True}]
    if going:
        metadata["deletionTimestamp"] = stamp(-1)
    rolling = {"rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}} if strategy == "RollingUpdate" else {}
    told = [{"type": "ReplicaFailure", "status": "True", "message": failing}] if failing else []
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata,
        "spec": {
            "replicas": replicas,
            "strategy": {"type": strategy, **rolling},
            "selector": {"matchLabels": {"app": "telegram-bot"}},
            "template": template or template_body(),
        },
        "status": {
            "observedGeneration": generation if settled else generation - 1,
            "replicas": replicas if total is None else total,
            "updatedReplicas": replicas if updated is None else updated,
            "terminatingReplicas": terminating,
            "conditions": told,
        },
    }


def parsed(body: Json) -> Deployment:
    """Return a Deployment's body as the record that decisions read."""
    return parse_deployment(json.dumps(body).encode())


def deployment(name: str = DEPLOYMENT, **facts: Any) -> Deployment:
    """Return a Deployment as its user made it: nothing of ours on it."""
    return parsed(deployment_body(name, **facts))


def pinned(name: str = DEPLOYMENT, *, lock: str | None = IDENTITY, **facts: Any) -> Deployment:
    """Return a Deployment as the operator leaves it: marked, one replica, Recreate, locked."""
    return deployment(name, **{"strategy": "Recreate", "mark": BOT, "template": template_body(lock=lock), **facts})


def merged(target: Any, patch: Any) -> Any:
    """Return what a JSON merge patch makes of a document (RFC 7386)."""
    if not isinstance(patch, Mapping):
        return patch
    out = dict(target) if isinstance(target, Mapping) else {}
    for key, value in patch.items():
        if value is None:
            out.pop(key, None)
        else:
            out[key] = merged(out.get(key), value)
    return out


def patched(body: Json, patch: Json) -> Json:
    """Return a Deployment after a patch: a change of its spec is a new generation, which nobody has acted on yet."""
    generation = body["metadata"]["generation"] + ("spec" in patch)
    after: Json = merged(merged(body, patch), {"metadata": {"generation": generation}})
    return after


def acted(body: Json) -> Json:
    """Return a Deployment whose own controller has seen its newest generation and made all its pods anew."""
    count = body["spec"]["replicas"]
    status = {"observedGeneration": body["metadata"]["generation"], "replicas": count, "updatedReplicas": count}
    after: Json = merged(body, {"status": status})
    return after


# --- TelegramBots ---------------------------------------------------------------------------------------------------


def adopts(**changes: Any) -> Json:
    """Return the spec of a TelegramBot that adopts the Deployment; None takes a field away."""
    spec = {"deploymentRef": {"name": DEPLOYMENT}, "token": {"secretKeyRef": SECRET_REF}, **changes}
    return {key: value for key, value in spec.items() if value is not None}


def owns(**changes: Any) -> Json:
    """Return the spec of a TelegramBot that owns a Deployment from a template; None takes a field away."""
    template = {"spec": {"containers": [{"name": "bot", "image": "shop/bot:1"}]}}
    spec = {"template": template, "token": {"secretKeyRef": SECRET_REF, "env": "BOT_TOKEN"}, **changes}
    return {key: value for key, value in spec.items() if value is not None}


def bot_body(  # noqa: PLR0913  each argument is one fact about the TelegramBot
    name: str = BOT,
    *,
    spec: Json | None = None,
    namespace: str = NAMESPACE,
    uid: str | None = None,
    age: float = 86400.0,
    generation: int = 2,
    version: int = 50,
    status: Mapping[str, Any] | None = None,
    annotations: Mapping[str, str] | None = None,
    deleting: bool = False,
) -> Json:
    """Return a TelegramBot as the API server sends it."""
    metadata = {
        "name": name,
        "namespace": namespace,
        "uid": uid or f"uid-{namespace}-{name}",
        "generation": generation,
        "resourceVersion": str(version),
        "creationTimestamp": stamp(-age),
        "annotations": dict(annotations or {}),
        **({"deletionTimestamp": stamp(-1)} if deleting else {}),
    }
    return {"metadata": metadata, "spec": adopts() if spec is None else spec, "status": dict(status or {})}


def telegram_bot(name: str = BOT, **facts: Any) -> Bot:
    """Return a TelegramBot that adopts the Deployment, unless `spec` says otherwise."""
    return understand.bot(bot_body(name, **facts))


def takes_turns(**changes: Any) -> Bot:
    """Return a TelegramBot with `lock: Gate`."""
    return telegram_bot(spec=adopts(lock="Gate", **changes))


def gated(**facts: Any) -> Deployment:
    """Return a Deployment as the operator leaves it under `lock: Gate`."""
    return pinned(**{"template": template_body(lock=IDENTITY, gates=[GATE]), **facts})


def rival(
    name: str = "other",
    *,
    namespace: str = NAMESPACE,
    age: float,
    same_deployment: bool = False,
    confirmed: bool = False,
) -> Rival:
    """Return another TelegramBot with the same identity, or with the same Deployment. The usual bot is a day old."""
    uid, target = f"uid-{namespace}-{name}", f"{name}-deployment"
    return Rival(namespace, name, uid, at(-age), same_deployment, target=target, confirmed=confirmed)


def known_to_telegram(bot_id: str = IDENTITY) -> Json:
    """Return the status of a TelegramBot whose token Telegram has confirmed to be that bot's."""
    return {"bot": {"id": int(bot_id), "username": "shop_bot"}}


# --- Conflicts ------------------------------------------------------------------------------------------------------

OTHER = "Conflict: terminated by other getUpdates request"


def conflict(
    seconds: float,
    pod_name: str = "bot-a",
    kind: ConflictKind = ConflictKind.OTHER_GET_UPDATES,
    *,
    evidence: str = OTHER,
    exact: bool = True,
) -> PodFinding:
    """Return a 409 that a pod's log shows; `exact=False` is one from its termination message."""
    when = at(seconds)
    return PodFinding(pod_name, f"uid-{pod_name}", Finding(kind, when if exact else None, evidence), when, exact)


def lived(
    pod_name: str = "bot-a", since: float = -3600.0, until: float | None = None, deleted: float | None = None
) -> PodSpan:
    """Return when a pod may have been polling, and when its deletion was asked for."""
    return PodSpan(
        pod=pod_name,
        uid=f"uid-{pod_name}",
        started=at(since),
        ended=None if until is None else at(until),
        deleted=None if deleted is None else at(deleted),
        namespace=NAMESPACE,
        deployment=DEPLOYMENT,
    )


def stray(name: str = "debug", *, since: float = -100.0, until: float | None = None, **facts: Any) -> Stray:
    """Return a pod that has the bot's token and is not the bot's: made by hand, in the bot's namespace, running."""
    known = {"namespace": NAMESPACE, "has": "container bot has the token from Secret shop-token", **facts}
    ended = None if until is None else at(until)
    return Stray(pod=name, uid=f"uid-{name}", resource_version="90", started=at(since), ended=ended, **known)


def looked(*strays: Stray, seconds: float = 0.0, **facts: Any) -> Search:
    """Return what a search has shown that was made so many seconds from NOW."""
    return Search(at(seconds), strays, **facts)


# --- Everything -----------------------------------------------------------------------------------------------------


def world(bot: Bot | None = None, *, pods: Iterable[Pod] = (), **known: Any) -> Observed:
    """Return what one pass knows: an adopted Deployment that is pinned, a valid token, and no pods unless given."""
    facts: Json = {"identity": IDENTITY, "token": VALID, "deployment": pinned(), **known}
    bot = bot or telegram_bot()
    return Observed(namespace=bot.namespace, name=bot.name, bot=bot, pods=tuple(pods), **facts)


def orphaned(*leftovers: Deployment, pods: Iterable[Pod] = (), heirs: Iterable[str] = ()) -> Observed:
    """Return what a pass knows of a TelegramBot that is gone. `heirs`: identities that another TelegramBot has."""
    return Observed(
        namespace=NAMESPACE, name=BOT, bot=None, leftovers=leftovers, heirs=frozenset(heirs), pods=tuple(pods)
    )


def status_of(seen: Observed, seconds: float = 0.0) -> Json:
    """Return the status that the bot gets in this world, so many seconds from NOW."""
    assert seen.bot is not None
    return conditions.status(seen, seen.bot, plan(seen, at(seconds)), at(seconds))


def said(status: Json, kind: str) -> tuple[str, str, str]:
    """Return status, reason and message of a condition."""
    (found,) = [each for each in status["conditions"] if each["type"] == kind]
    return found["status"], found["reason"], found["message"]


def denied(verb: str, resource: str, namespace: str = NAMESPACE) -> Failure:
    """A request that the operator has no right to, in the API server's words."""
    plural, _, group = resource.partition(".")
    where = f'in the namespace "{namespace}"' if namespace else "at the cluster scope"
    told = f'{resource} is forbidden: User "op" cannot {verb} resource "{plural}" in API group "{group}" {where}'
    return Failure(verb, resource, 403, told)
