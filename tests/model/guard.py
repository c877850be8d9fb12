"""The operator of the model: the real core behind a shell without I/O.

A pass goes as in `shell/reconcile.py`: observe, plan, execute, observe, plan, status. What is observed is what
`shell/observe.py` gathers, from caches that may lag (`freeze`), and live where the shell reads live. Writes meet the
API server's preconditions; a lost race is no failure.
"""

import base64
from collections.abc import Mapping

import msgspec

from telegrambot_operator import names
from telegrambot_operator.core import conditions, desired, understand
from telegrambot_operator.core.actions import (
    Action,
    ApplyDeployment,
    DeletePod,
    EmptyReplicaSet,
    KeepPod,
    LabelPod,
    PatchDeployment,
)
from telegrambot_operator.core.classify import Life, life, overdue
from telegrambot_operator.core.lifetimes import death_notes, span
from telegrambot_operator.core.observed import Bot, Observed, Rival, TokenView
from telegrambot_operator.core.ownership import belongs
from telegrambot_operator.core.plan import Plan, plan
from telegrambot_operator.core.records import (
    Deployment,
    Node,
    Pod,
    ReplicaSet,
    parse_deployment,
    parse_node,
    parse_pod,
    parse_replica_set,
    template_of,
)
from telegrambot_operator.shell.contests import Contests

from .api import Json, Key, Refused, Store, merge, replacing
from .cluster import TOKEN, Cluster

SECRET = {"data": {"token": base64.b64encode(TOKEN.encode()).decode()}}


class InvariantError(AssertionError):
    """An invariant of the design is broken; the text begins with its id."""


class Guard:
    """The operator. `writes` counts its requests that were accepted, `freeze` lets its caches lag behind."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.writes = 0
        self._frozen: dict[str, Store] = {}
        self._applied: dict[str, int] = {}
        self._contests = Contests()
        self._parsed: dict[tuple[str, str], object] = {}

    # --- Caches ---------------------------------------------------------------------------------------------------

    def freeze(self, kind: str) -> None:
        """The watch of a kind stalls: passes see it as it is now, and their own writes."""
        self._frozen[kind] = dict(self.cluster.api.objects[kind])

    def thaw(self) -> None:
        """All watches catch up."""
        self._frozen.clear()

    def restart(self) -> None:
        """The process is new: it remembers nothing."""
        self.thaw()
        self._applied.clear()
        self._contests = Contests()

    def _view(self, kind: str) -> Store:
        return self._frozen.get(kind, self.cluster.api.objects[kind])

    def _learn(self, kind: str, answer: Json) -> None:
        if kind in self._frozen:
            self._frozen[kind][answer["metadata"].get("namespace", ""), answer["metadata"]["name"]] = answer

    # --- Observing ------------------------------------------------------------------------------------------------

    def bot_keys(self) -> list[Key]:
        """Return what passes are made for: TelegramBots, and the marks on Deployments."""
        marks = [(key[0], _mark(each)) for key, each in self._view("Deployment").items()]
        bots = list(self._view("TelegramBot"))
        return sorted({*bots, *((namespace, mark) for namespace, mark in marks if mark)})

    def observe(self, key: Key) -> Observed:
        """Return what one pass knows about one bot, and remembers of it."""
        return self._contests.follow(key, self._look(key), self.cluster.now)

    def _look(self, key: Key) -> Observed:
        marked = tuple(
            self._deployment(each)
            for at, each in self._view("Deployment").items()
            if (at[0], _mark(each)) == (key[0], names.label_value(key[1]))
        )
        body = self._view("TelegramBot").get(key)
        if body is None and marked:  # the shell asks the API server before it releases anything
            body = self.cluster.api.get("TelegramBot", key)
        if body is None:
            return Observed(namespace=key[0], name=key[1], bot=None, leftovers=marked, pods=self._pods_behind(marked))
        bot = understand.bot(body)
        if bot.spec is None:
            return Observed(namespace=key[0], name=key[1], bot=bot)
        return self._observe(bot, marked)

    def _observe(self, bot: Bot, marked: tuple[Deployment, ...]) -> Observed:
        target = (bot.namespace, bot.target)
        body = self._view("Deployment").get(target)
        if body is None or not _mark(body):  # the cache holds marked Deployments only; others are read live
            body = self.cluster.api.get("Deployment", target)
        deployment = self._deployment(body) if body else None
        token = _token(bot)
        identity = desired.identity(bot, token, deployment)
        pods = self._pods_of(bot, deployment, identity)
        return Observed(
            namespace=bot.namespace,
            name=bot.name,
            bot=bot,
            identity=identity,
            token=token,
            deployment=deployment,
            leftovers=tuple(each for each in marked if each.name != bot.target),
            pods=tuple(pods),
            nodes=self._nodes(bot, pods),
            replica_sets=self._replica_sets(bot, deployment, pods),
            versions=self._versions(deployment),
            rivals=self._rivals(bot, identity),
            findings=tuple(note for pod in pods for note in death_notes(pod)),
            spans=tuple(known for pod in pods if (known := span(pod)) is not None),
            applied_generation=self._applied.get(deployment.metadata.uid) if deployment else None,
        )

    def _pods_behind(self, deployments: tuple[Deployment, ...]) -> tuple[Pod, ...]:
        identities = {template_of(each).metadata.labels.bot for each in deployments} - {None}
        return tuple(pod for pod in self._cached_pods() if pod.metadata.labels.bot in identities)

    def _cached_pods(self) -> list[Pod]:
        return [self._pod(each) for each in self._view("Pod").values()]

    def _pods_of(self, bot: Bot, deployment: Deployment | None, identity: str) -> list[Pod]:
        pods = {pod.uid: pod for pod in self._cached_pods() if pod.metadata.labels.bot == identity}
        if deployment is not None and _needs_census(bot, deployment, identity, list(pods.values())):
            live = [self._pod(each) for each in self.cluster.pods() if _selected(each, deployment)]
            pods |= {pod.uid: pod for pod in live if pod.uid not in pods and belongs(pod, deployment)}
        return list(pods.values())

    def _nodes(self, bot: Bot, pods: list[Pod]) -> dict[str, Node | None]:
        after = bot.spec.stuck_pods.after_seconds if bot.spec else 0
        asked = {pod.spec.node_name for pod in pods if pod.spec.node_name and overdue(pod, after, self.cluster.now)}
        found = {name: self.cluster.api.get("Node", ("", name)) for name in sorted(asked)}
        return {name: parse_node(msgspec.json.encode(body)) if body else None for name, body in found.items()}

    def _replica_sets(self, bot: Bot, deployment: Deployment | None, pods: list[Pod]) -> dict[str, ReplicaSet | None]:
        mine = [pod for pod in pods if pod.metadata.namespace == bot.namespace]
        owners = {
            (pod.metadata.namespace, owner.name)
            for pod in mine
            if not belongs(pod, deployment) and (owner := pod.metadata.controller) and owner.kind == "ReplicaSet"
        }
        found = {name: self.cluster.api.get("ReplicaSet", (namespace, name)) for namespace, name in sorted(owners)}
        return {name: parse_replica_set(msgspec.json.encode(body)) if body else None for name, body in found.items()}

    def _versions(self, deployment: Deployment | None) -> tuple[ReplicaSet, ...]:
        """As in the shell: nothing where our Deployment is older than the ReplicaSets, which are read live."""
        if deployment is None or not deployment.has_old_pods:
            return ()
        now = self.cluster.api.get("Deployment", deployment.metadata.key)
        if now is None or now["metadata"]["resourceVersion"] != deployment.metadata.resource_version:
            return ()
        found = [parse_replica_set(msgspec.json.encode(body)) for body in self.cluster.api.all("ReplicaSet")]
        uid = deployment.metadata.uid
        return tuple(each for each in found if each.metadata.controller and each.metadata.controller.uid == uid)

    def _rivals(self, bot: Bot, identity: str) -> tuple[Rival, ...]:
        others = [understand.bot(body) for key, body in self._view("TelegramBot").items() if key != bot.key]
        found = [(other, (other.namespace, other.target) == (bot.namespace, bot.target)) for other in others]
        return tuple(
            Rival(other.namespace, other.name, other.uid, other.created, same_deployment=same)
            for other, same in found
            if same or desired.identity(other, _token(other), None) == identity
        )

    def _pod(self, body: Json) -> Pod:
        return self._parse(body, parse_pod)  # type: ignore[return-value]  # the cache holds what its key says

    def _deployment(self, body: Json) -> Deployment:
        return self._parse(body, parse_deployment)  # type: ignore[return-value]  # the cache holds what its key says

    def _parse(self, body: Json, parse: object) -> object:
        at = body["metadata"]["uid"], body["metadata"]["resourceVersion"]
        if at not in self._parsed:
            self._parsed[at] = parse(msgspec.json.encode(body))  # type: ignore[operator]  # one of the parsers above
        return self._parsed[at]

    # --- Acting ---------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """One pass for every key."""
        for key in self.bot_keys():
            self.run_pass(key)

    def run_pass(self, key: Key, crash_after: int | None = None) -> None:
        """One pass. With `crash_after` the operator dies after that many writes, and a new one takes its place."""
        seen = self.observe(key)
        todo = plan(seen, self.cluster.now)
        if crash_after is not None and crash_after <= len(todo.actions):
            self.execute(seen, todo, todo.actions[:crash_after])
            self.restart()
            return
        if todo.actions:
            self.execute(seen, todo, todo.actions)
            seen = self.observe(key)
            todo = plan(seen, self.cluster.now)
        if seen.bot is not None:
            self.report(seen, seen.bot, todo)

    def report(self, seen: Observed, bot: Bot, todo: Plan) -> None:
        """Write the status where it differs. Raises InvariantError (INV-5, INV-7)."""
        status = conditions.status(seen, bot, todo, self.cluster.now)
        if status != conditions.status(seen, bot, todo, self.cluster.now):
            raise InvariantError("INV-5: the status of the same inputs differs")
        if TOKEN.partition(":")[2] in str(status):
            raise InvariantError("INV-7: the token got into the status")
        if status == bot.status:
            return
        try:
            self.cluster.api.existing("TelegramBot", bot.key, uid=bot.uid)
            cleared = {name: None for name in bot.status if name not in status}
            self._learn(
                "TelegramBot", self.cluster.api.patch("TelegramBot", bot.key, {"status": {**status, **cleared}})
            )
            self.writes += 1
        except Refused:
            return

    def execute(self, seen: Observed, todo: Plan, actions: tuple[Action, ...]) -> None:
        """Carry out actions, one after the other. Raises InvariantError (INV-3, INV-4)."""
        for action in actions:
            try:
                self._do(seen, todo, action)
                self.writes += 1
            except Refused:
                continue

    def _do(self, seen: Observed, todo: Plan, action: Action) -> None:
        match action:
            case LabelPod():
                self._patch_pod(action, {"labels": {names.LABEL_BOT: action.identity}})
            case KeepPod():
                self._patch_pod(action, {"annotations": {names.ANNOTATION_DELETION_COST: str(action.cost)}})
            case PatchDeployment():
                meta = {**action.body.get("metadata", {}), "uid": action.uid}
                where = (action.namespace, action.deployment)
                self._learn(
                    "Deployment", self.cluster.api.patch("Deployment", where, {**action.body, "metadata": meta})
                )
            case ApplyDeployment():
                self._apply(action)
            case EmptyReplicaSet():
                body = {"metadata": {"uid": action.uid}, "spec": {"replicas": 0}}
                self.cluster.api.patch("ReplicaSet", (action.namespace, action.replica_set), body)
            case DeletePod():
                self._delete(seen, todo, action)

    def _patch_pod(self, action: LabelPod | KeepPod, metadata: Json) -> None:
        body = {"metadata": {"uid": action.uid, **metadata}}
        self._learn("Pod", self.cluster.api.patch("Pod", (action.namespace, action.pod), body))

    def _apply(self, action: ApplyDeployment) -> None:
        where = (action.namespace, action.deployment)
        known = self.cluster.api.get("Deployment", where)
        if known is None:
            answer = self.cluster.api.create("Deployment", action.body, self.cluster.now)
        else:
            whole = {"template": replacing(known["spec"]["template"], action.body["spec"]["template"])}
            answer = self.cluster.api.patch("Deployment", where, merge(action.body, {"spec": whole}))
        self._applied[answer["metadata"]["uid"]] = answer["metadata"]["generation"]
        self._learn("Deployment", answer)

    def _delete(self, seen: Observed, todo: Plan, action: DeletePod) -> None:
        if not action.uid or not action.resource_version:
            raise InvariantError(f"INV-3: the delete of {action.pod} carries no preconditions")
        api, where = self.cluster.api, (action.namespace, action.pod)
        body = api.existing("Pod", where, action.uid, action.resource_version)
        if action.force:
            self._check_force(seen, action, body)
        grace = 0 if action.force else None
        answer = api.delete(
            "Pod", where, self.cluster.now, uid=action.uid, version=action.resource_version, grace=grace
        )
        if action.force:
            self._frozen.get("Pod", {}).pop(where, None)
        else:
            self._learn("Pod", answer)
        del todo

    def _check_force(self, seen: Observed, action: DeletePod, body: Json) -> None:
        policy = seen.bot.spec.stuck_pods.policy if seen.bot and seen.bot.spec else None
        if policy != "Force" and self.cluster.nodes.is_alive(action.uid):
            raise InvariantError(f"INV-4: the process of {action.pod} was alive; its status said {body['status']}")


def _mark(body: Mapping[str, Json]) -> str | None:
    return (body["metadata"].get("labels") or {}).get(names.LABEL_NAME)


def _token(bot: Bot) -> TokenView:
    ref = bot.spec.token if bot.spec else None
    return understand.token(SECRET, ref.secret_key_ref) if ref else TokenView()


def _selected(body: Json, deployment: Deployment) -> bool:
    labels = msgspec.json.decode(deployment.spec.selector)["matchLabels"]
    return labels.items() <= (body["metadata"].get("labels") or {}).items()


def _needs_census(bot: Bot, deployment: Deployment, identity: str, pods: list[Pod]) -> bool:
    """As in the shell: the template lacks the label, or the Deployment counts more pods than the cache shows."""
    if not desired.is_ours(deployment, bot) or template_of(deployment).metadata.labels.bot != identity:
        return True
    mine = sum(belongs(pod, deployment) and life(pod) is not Life.DEAD for pod in pods)
    return deployment.status.replicas + deployment.status.terminating_replicas > mine
