"""What a pinned Deployment looks like: identity, lock, pin, and the patches that lead there and back.

The pin is a merge patch, since server-side apply cannot turn RollingUpdate into Recreate: it would leave
`rollingUpdate` in place, which the API server refuses beside Recreate. The lock is a label and a required pod
anti-affinity on it; the scheduler then binds a second pod only when the first is gone or in a terminal phase
(https://kubernetes.io/docs/concepts/scheduling-eviction/assign-pod-node/#inter-pod-affinity-and-anti-affinity).
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from .. import names
from ..api.models import Lock, TelegramBotSpec
from .observed import Bot, TokenState, TokenView
from .records import Deployment, Template, template_of

Json = dict[str, Any]

_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
PIN: Json = {"strategy": {"type": "Recreate", "rollingUpdate": None}}


def identity(bot: Bot, token: TokenView, deployment: Deployment | None, entered: str | None = None) -> str:
    """Return the bot's identity: its bot id where the token can be read, else the one it already has, else its name.

    Keeping the one it has means that a Secret that is gone for a moment restarts no bot. `entered`: the one that the
    lock table has for its Deployment.
    """
    if token.state is TokenState.VALID:
        return str(token.bot_id)
    if token.state is not TokenState.NOT_GIVEN and deployment is not None and is_ours(deployment, bot):
        worn = template_of(deployment).metadata.labels.bot or entered
        if worn and worn.isdecimal():
            return worn
    return names.fallback_identity(bot.namespace, bot.name)


def is_ours(deployment: Deployment, bot: Bot) -> bool:
    """Return whether the Deployment already carries this bot's mark."""
    return deployment.metadata.labels.owner == names.label_value(bot.name)


def owned_by(deployment: Deployment, bot: Bot) -> bool:
    """Return whether this TelegramBot, by uid, owns the Deployment."""
    return any(owner.uid == bot.uid for owner in deployment.metadata.owner_references)


def lock_term(name: str) -> Json:
    """Return the anti-affinity term that keeps the identity single in the whole cluster."""
    return {
        "labelSelector": {"matchLabels": {names.LABEL_BOT: name}},
        "namespaceSelector": {},
        "topologyKey": names.TOPOLOGY_KEY,
    }


def is_lock_term(term: Mapping[str, Any]) -> bool:
    """Return whether an anti-affinity term is ours, for whichever identity."""
    labels = (term.get("labelSelector") or {}).get("matchLabels") or {}
    return names.LABEL_BOT in labels


def with_lock(terms: Sequence[Mapping[str, Any]], name: str | None) -> list[Mapping[str, Any]]:
    """Return the user's own terms, and ours behind them; without ours where `name` is None."""
    theirs = [term for term in terms if not is_lock_term(term)]
    return [*theirs, lock_term(name)] if name else theirs


def lock_name(spec: TelegramBotSpec, name: str) -> str | None:
    """Return the identity to lock the template on, or None for `lock: None`."""
    return None if spec.lock is Lock.NONE else name


def with_gate(gates: Sequence[Mapping[str, Any]], *, gated: bool) -> list[Mapping[str, Any]]:
    """Return the user's own scheduling gates, and ours behind them where it should be there."""
    theirs = [gate for gate in gates if gate.get("name") != names.GATE]
    return [*theirs, {"name": names.GATE}] if gated else theirs


def lock_in_force(template: Template, name: str | None, *, gated: bool = False) -> bool:
    """Return whether the template carries exactly the lock that it should."""
    ours = [term for term in template.anti_affinity if is_lock_term(term)]
    wanted = [lock_term(name)] if name else []
    return ours == wanted and template.metadata.labels.bot == name and template.gated is (gated and name is not None)


def replicas(spec: TelegramBotSpec, *, loses: bool) -> int:
    """Return how many pods the bot may have: none while suspended or while another TelegramBot holds its identity."""
    return 0 if spec.suspend or loses else 1


def pin_patch(
    deployment: Deployment,
    bot: Bot,
    name: str | None,
    count: int,
    *,
    shaped: int | None = None,
    template: int | None = None,
    leave_template: bool = False,
) -> Json:
    """Return the merge patch that pins and locks the Deployment, or {} when nothing is missing.

    `shaped` is the generation that our own last change of strategy or template ended at, and `template` the fingerprint
    of the template that all its pods were last seen to be of, if those are known.
    With a list in it (the anti-affinity terms) it carries the resourceVersion that the list was read at. Replicas come
    in a patch of their own, when strategy and template are right; with the strategy only where no rollout is due.
    """
    patch: Json = {}
    spec: Json = {}
    if deployment.spec.strategy.type != "Recreate":
        spec.update(PIN)
    if not is_ours(deployment, bot):
        patch["metadata"] = {"labels": {names.LABEL_NAME: names.label_value(bot.name)}}
    gated = is_gated(bot.spec) and name is not None
    if bot.adopts and not leave_template and not lock_in_force(template_of(deployment), name, gated=gated):
        spec["template"] = _lock_patch(deployment, name, gated=gated)
        patch.setdefault("metadata", {})["resourceVersion"] = deployment.metadata.resource_version
    no_rollout = "template" not in spec and template == fingerprint(deployment)
    if deployment.spec.replicas != count and (not spec or no_rollout) and may_be_scaled(deployment, shaped):
        if count > deployment.spec.replicas:  # a pod will start: only from the template that this was decided on
            patch.setdefault("metadata", {})["resourceVersion"] = deployment.metadata.resource_version
        spec["replicas"] = count
    return {**patch, **({"spec": spec} if spec else {})}


def disowned(managed: Sequence[Json]) -> list[Json]:
    """Return a Deployment's managed fields without ours of replicas and strategy."""
    kept = []
    for entry in json.loads(json.dumps(managed)):
        if entry.get("manager") == names.FIELD_MANAGER:
            spec = entry.get("fieldsV1", {}).get("f:spec", {})
            spec.pop("f:replicas", None)
            spec.pop("f:strategy", None)
            if not spec:
                entry.get("fieldsV1", {}).pop("f:spec", None)
        if entry.get("fieldsV1") != {}:
            kept.append(entry)
    return kept


def fingerprint(deployment: Deployment) -> int:
    """Return a digest of the pod template as it stands. It means something within this process only."""
    return hash(bytes(deployment.spec.template))


def is_gated(spec: TelegramBotSpec | None) -> bool:
    """Return whether the bot's pods wait for their turn."""
    return spec is not None and spec.lock is Lock.GATE


def may_be_scaled(deployment: Deployment, shaped: int | None = None) -> bool:
    """Return whether its replicas may be changed now. `shaped`: the generation of our last change of its template.

    Kubernetes' Deployment controller puts a change of replicas before any rollout, and with Recreate and pods of two
    templates it then does neither, for ever (pkg/controller/deployment/sync.go, `scale`). So the old pods must be on
    their way out first. Where it has pods of one template only, the counts tell so before it has acted on a scaling.
    """
    status = deployment.status
    acted = shaped is None or status.observed_generation >= shaped
    return deployment.settled or (acted and status.updated_replicas >= status.replicas)


def locked(deployment: Deployment) -> bool:
    """Return whether the pod template has a lock of ours that holds its pods back."""
    return any(is_lock_term(term) for term in template_of(deployment).anti_affinity)


def _lock_patch(deployment: Deployment, name: str | None, *, gated: bool) -> Json:
    template = template_of(deployment)
    terms = with_lock(template.anti_affinity, name)
    affinity = (json.loads(bytes(deployment.spec.template)).get("spec") or {}).get("affinity") or {}
    spec: Json = {"affinity": _affinity_patch(affinity, terms)}
    if gated is not template.gated:
        spec["schedulingGates"] = with_gate(template.spec.scheduling_gates, gated=gated) or None
    return {"metadata": {"labels": {names.LABEL_BOT: name}}, "spec": spec}


def _affinity_patch(affinity: Json, terms: Sequence[Mapping[str, Any]]) -> Json | None:
    """Set the terms; where none is left, leave no empty object behind: a release restores the template."""
    others = {key for key in affinity.get("podAntiAffinity") or {} if key != _REQUIRED}
    if terms or others:
        return {"podAntiAffinity": {_REQUIRED: list(terms) or None}}
    return {"podAntiAffinity": None} if set(affinity) - {"podAntiAffinity"} else None


def release_patch(deployment: Deployment) -> Json:
    """Return the merge patch that takes mark and lock off an adopted Deployment; its own anti-affinity terms stay."""
    patch = unmark_patch(deployment)
    patch["metadata"]["resourceVersion"] = deployment.metadata.resource_version
    if locked(deployment) or template_of(deployment).metadata.labels.bot:
        patch.setdefault("spec", {})["template"] = _lock_patch(deployment, None, gated=False)
    return patch


def unmark_patch(deployment: Deployment) -> Json:
    """Return the merge patch that takes the mark off, and brings the Deployment's own progress deadline back."""
    noted = deployment.metadata.annotations.deadline
    patch: Json = {"metadata": {}} if noted is None else deadline_patch(deadline(noted), None)
    patch["metadata"]["labels"] = {names.LABEL_NAME: None}
    return patch


def deadline(noted: str) -> int:
    """Return the progress deadline that was noted, in seconds; Kubernetes' default where somebody has edited it."""
    return int(noted) if noted.isdecimal() and 0 < int(noted) < 2**31 else 600


def deadline_patch(seconds: int, note: str | None) -> Json:
    """Return the merge patch that sets a Deployment's progress deadline, and notes the one that it had."""
    return {
        "metadata": {"annotations": {names.ANNOTATION_DEADLINE: note}},
        "spec": {"progressDeadlineSeconds": seconds},
    }


def unlock_patch(deployment: Deployment) -> Json:
    """Return the merge patch that takes lock and gate out of the pod template; the mark stays."""
    return {
        "metadata": {"resourceVersion": deployment.metadata.resource_version},
        "spec": {"template": _lock_patch(deployment, None, gated=False)},
    }


def owned_deployment(bot: Bot, identity_: str, count: int) -> Json:
    """Return the Deployment of a TelegramBot with a `template`, as it is applied."""
    spec = bot.spec
    if spec is None or bot.template is None:
        raise ValueError("only a valid TelegramBot with a template owns a Deployment")
    mark = {names.LABEL_NAME: names.label_value(bot.name)}
    template = owned_template(bot, identity_)
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": bot.name,
            "namespace": bot.namespace,
            "labels": mark,
            "annotations": {names.ANNOTATION_TEMPLATE: digest(template)},
            "ownerReferences": [_owner_reference(bot)],
        },
        "spec": {
            "replicas": count,
            "strategy": {"type": "Recreate"},
            "selector": {"matchLabels": mark},
            "template": template,
        },
    }


def _owner_reference(bot: Bot) -> Json:
    return {
        "apiVersion": names.API_VERSION,
        "kind": names.KIND,
        "name": bot.name,
        "uid": bot.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }


def owned_template(bot: Bot, identity_: str) -> Json:
    """Return the user's pod template with our labels, the token, the termination message policy and the lock in it."""
    if bot.spec is None or bot.template is None:
        raise ValueError("only a valid TelegramBot with a template owns a Deployment")
    template: Json = json.loads(json.dumps(bot.template))
    labels = template.setdefault("metadata", {}).setdefault("labels", {})
    labels[names.LABEL_NAME] = names.label_value(bot.name)
    lock = lock_name(bot.spec, identity_)
    labels[names.LABEL_BOT] = identity_
    for container in template["spec"]["containers"]:
        container.setdefault("terminationMessagePolicy", "FallbackToLogsOnError")
    _inject_token(template["spec"]["containers"][0], bot.spec)
    _inject_lock(template["spec"], lock)
    if is_gated(bot.spec):
        template["spec"]["schedulingGates"] = with_gate(template["spec"].get("schedulingGates") or [], gated=True)
    return template


def _inject_token(container: Json, spec: TelegramBotSpec) -> None:
    token = spec.token
    if token is None or token.env is None:
        return
    env = container.setdefault("env", [])
    if all(each.get("name") != token.env for each in env):
        ref = {"name": token.secret_key_ref.name, "key": token.secret_key_ref.key}
        env.append({"name": token.env, "valueFrom": {"secretKeyRef": ref}})


def _inject_lock(pod: Json, name: str | None) -> None:
    if name is None:
        return
    anti = pod.setdefault("affinity", {}).setdefault("podAntiAffinity", {})
    anti[_REQUIRED] = with_lock(anti.get(_REQUIRED) or [], name)


def template_drifted(deployment: Deployment, bot: Bot, identity_: str, applied_generation: int | None) -> bool:
    """Return whether an owned Deployment's template differs from what the TelegramBot asks for.

    `applied_generation` is the generation that our own last apply ended at: what differs in spelling only is not
    applied again and again.
    """
    wanted = owned_template(bot, identity_)
    if deployment.metadata.annotations.template != digest(wanted):
        return True
    if applied_generation == deployment.metadata.generation:
        return False
    return not contains(json.loads(bytes(deployment.spec.template)), wanted)


def digest(template: Json) -> str:
    """Return a short digest of a template, the same for the same content."""
    return hashlib.sha256(json.dumps(template, sort_keys=True).encode()).hexdigest()[:16]


def contains(actual: Any, wanted: Any) -> bool:
    """Return whether everything wanted is there; what the API server or others have added does not count against it.

    Quantities are compared by spelling, so `1000m` stored as `1` counts as missing: the caller then applies once more,
    which changes nothing.
    """
    if isinstance(wanted, Mapping):
        return isinstance(actual, Mapping) and all(contains(actual.get(key), value) for key, value in wanted.items())
    if isinstance(wanted, list):
        return _contains_all(actual, wanted)
    return bool(actual == wanted) or (actual is None and wanted in ("", 0, False))


def _contains_all(actual: Any, wanted: list[Any]) -> bool:
    if not wanted:
        return True
    if not isinstance(actual, list) or len(actual) < len(wanted):
        return False
    if all(isinstance(item, Mapping) and "name" in item for item in wanted):
        by_name = {item.get("name"): item for item in actual if isinstance(item, Mapping)}
        if len(by_name) == len(actual):  # a name may stand twice, as in a list of variables
            return all(contains(by_name.get(item["name"]), item) for item in wanted)
    return all(contains(have, want) for have, want in zip(actual, wanted, strict=False))
