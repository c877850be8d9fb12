"""The operator of the search: the product's own shell and core, one request at a time.

A pass is `observe`, `plan` and `run` as `shell/reconcile.py` puts them together; every request waits for its answer.
What a pass does next depends only on what it began with and what it was answered. So a pass is kept as just that, and
played again from its beginning for each step; what a play comes to is remembered. Within a pass time stands still. The
Deployment is pinned and stays so: what a pass does to that is left out.
"""

import json
from collections.abc import Coroutine, Generator, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from functools import cache
from types import SimpleNamespace
from typing import Any, NamedTuple, cast

import msgspec
import pytest

from telegrambot_operator import names
from telegrambot_operator.core import conditions
from telegrambot_operator.core.actions import Action, ClaimTurn, DeletePod, OpenPod
from telegrambot_operator.core.observed import Observed
from telegrambot_operator.core.plan import plan
from telegrambot_operator.core.records import Pod, parse_deployment
from telegrambot_operator.settings import Settings
from telegrambot_operator.shell import history
from telegrambot_operator.shell.fence import Fence
from telegrambot_operator.shell.history import History
from telegrambot_operator.shell.kube import Kube, KubeError
from telegrambot_operator.shell.reconcile import Guard
from telegrambot_operator.shell.rights import Rights
from tests.model.gate_memory import Answer, Executing, Known, Missed, Noted, Observing, Operator, Task
from tests.model.gate_world import NEVER, Node, Seen, Shows
from tests.unit import worlds
from tests.unit.worlds import NAMESPACE, NOW

Json = dict[str, Any]

MINUTE = 60
CLOCK = 1e6  # the operator's own steady time
# What a kubelet wrote last when the operator looked before, and what it has written since.
BEFORE, LATER = (at.isoformat() for at in (NOW, NOW + timedelta(seconds=1)))


class Request(NamedTuple):
    """What the product asks of the API server: `lease`, `find`, `list`, `beat`, `node`, `take`, `open` or `delete`."""

    name: str
    facts: tuple[Any, ...]


class Gathered(NamedTuple):
    """How far a pass has come: what it asks next, else what it will do; and what it remembers then."""

    request: Request | None
    actions: tuple[Action, ...]
    noted: Noted
    known: Known


class Deed(NamedTuple):
    """How far an action has come: what it asks next; what is noted on the Lease then, and who is proven dead."""

    request: Request | None
    noted: Noted
    proven: frozenset[int]


# --- What the model knows, as the product reads it ------------------------------------------------------------------


def identity(bot: int) -> str:
    """Return the identity of a bot of the model."""
    return names.fallback_identity(NAMESPACE, f"bot-{bot}")


@cache
def pod_record(seen: Seen) -> Pod:
    """Return a pod as a watch or a list shows it."""
    facts: Json = {"gates": [worlds.GATE] if seen.shows is Shows.HELD else []}
    if seen.node == NEVER:
        facts["node"] = ""
    else:
        facts |= {"node": f"node-{seen.node}", **_STATUS[seen.shows]}
    if seen.deleting != NEVER:
        facts["terminating"] = float(MINUTE * (seen.deleting - 1))
    owner = ("ReplicaSet", f"deployment-{seen.bot}-{worlds.HASH}")
    made = worlds.pod(
        f"pod-{seen.number}",
        controller=owner,
        bot=identity(seen.bot),
        grace=MINUTE,
        age=20.0 - seen.number,
        **facts,
    )
    return msgspec.structs.replace(
        made, metadata=msgspec.structs.replace(made.metadata, resource_version=str(seen.version))
    )


_STATUS: Mapping[Shows, Json] = {
    Shows.BOUND: {"phase": "Pending", "containers": []},
    Shows.RUNNING: {},
    Shows.ENDED: {"containers": [worlds.ended()]},
    Shows.TERMINAL: {"containers": [worlds.ended()], "phase": "Succeeded"},
}


@cache
def _pod_body(seen: Seen) -> bytes:
    return msgspec.json.encode(pod_record(seen))


def _listed(pods: tuple[Seen, ...]) -> bytes:
    return b'{"metadata": {}, "items": [' + b", ".join(_pod_body(each) for each in pods) + b"]}"


def _lease_body(version: str, holder: int, node: int) -> bytes:
    noted = {names.ANNOTATION_NODE: "" if node == NEVER else f"node-{node}", names.ANNOTATION_GRACE: str(MINUTE)}
    spec = {"holderIdentity": f"{NAMESPACE}/pod-{holder}/uid-pod-{holder}"}
    return json.dumps({"metadata": {"resourceVersion": version, "annotations": noted}, "spec": spec}).encode()


def _node_body(number: int, node: Node) -> bytes:
    return msgspec.json.encode(worlds.node(f"node-{number}", ready=node.ready, since=_ready_for(node)))


def _ready_for(node: Node) -> float:
    return -float(MINUTE * max(node.since, 0))


def _answered(request: Request, answer: Answer) -> bytes:
    """Return an answer as the API server gives it. Raises KubeError."""
    if answer.status != 200:
        raise KubeError(answer.status, "Failed", "the request failed")
    if request.name == "find" and not answer.facts:
        raise KubeError(404, "NotFound", "there is no such pod")
    match request.name:
        case "lease":
            return _lease_body(*answer.facts)
        case "list":
            return _listed(answer.facts)
        case "beat":
            renewed = LATER if answer.facts[0] else BEFORE
            return json.dumps({"metadata": {}, "spec": {"renewTime": renewed}}).encode()
        case "node":
            return _node_body(request.facts[0], answer.facts[0])
        case "find" | "open" | "delete":
            return _pod_body(answer.facts[0])
    return b"{}"


# --- What the product asks ------------------------------------------------------------------------------------------


def _asked(method: str, path: str, query: Mapping[str, str] | None, body: Any) -> Request | None:
    """Return what a request is about, None for one that the model has no answer to."""
    parts = path.split("/")
    kind = next((each for each in ("leases", "pods", "nodes") if each in parts), "")
    name = parts[-1] if parts[-1] != kind else ""
    match method, kind:
        case "GET", "leases" | "nodes":
            what = "node" if kind == "nodes" else "beat" if "kube-node-lease" in parts else "lease"
            return Request(what, (_number(name),))
        case "GET", "pods":
            return Request("find", (_number(name),)) if name else _asked_for_pods(query or {})
        case (("PATCH" | "POST"), "leases"):
            return _taking(name, body)
        case "PATCH", "pods" if isinstance(body, list):
            return Request("open", (_number(name),))
        case "DELETE", "pods":
            return _deleting(name, body)
    return None


def _number(name: str) -> int:
    """The number of what the model has made: its name ends in it. All others count as the first."""
    return int(name[-1]) if name[-1:].isdigit() else 0


def _asked_for_pods(query: Mapping[str, str]) -> Request | None:
    key, _, value = query.get("labelSelector", "").partition("=")
    return Request("list", (_number(value),)) if key == names.LABEL_BOT else None


def _taking(name: str, body: Json) -> Request:
    """The version is None for a write that holds under any."""
    meta = body["metadata"]
    holder, node = body["spec"]["holderIdentity"], meta["annotations"].get(names.ANNOTATION_NODE)
    version = meta.get("resourceVersion") if name else ""
    return Request("take", (_number(name or meta["name"]), version, _number(holder), _node_number(node)))


def _node_number(node: str | None) -> int | None:
    """None is a node that the write leaves as it was."""
    return None if node is None else _number(node) if node else NEVER


def _deleting(name: str, body: Json) -> Request:
    given = body.get("preconditions") or {}
    rightly = given.get("uid") == f"uid-{name}"
    return Request(
        "delete", (_number(name), rightly, given.get("resourceVersion"), body.get("gracePeriodSeconds") == 0)
    )


class _Asking:
    def __init__(self, request: Request) -> None:
        self._request = request

    def __await__(self) -> Generator[Request, Answer, bytes]:
        answer = yield self._request
        return _answered(self._request, answer)


class _Kube:
    """Takes the place of `shell/kube.py`: hands each request out, and waits. What it does not know does not exist."""

    fence = Fence()

    def __init__(self) -> None:
        self.rights = Rights()

    async def get(self, path: str, query: Mapping[str, str] | None = None, **_: Any) -> bytes:
        return await self._ask("GET", path, query, None)

    async def patch(self, path: str, body: Any, _kind: str = "", _query: Mapping[str, str] | None = None) -> bytes:
        return await self._ask("PATCH", path, None, body)

    async def request(
        self, method: str, path: str, query: Mapping[str, str] | None = None, body: Any = None, *_: Any
    ) -> bytes:
        return await self._ask(method, path, query, body)

    async def _ask(self, method: str, path: str, query: Mapping[str, str] | None, body: Any) -> bytes:
        request = _asked(method, path, query, body)
        if request is None:
            raise KubeError(404, "NotFound", f"{method} {path}")
        return await _Asking(request)


# --- Playing a pass -------------------------------------------------------------------------------------------------


class Product:
    """The product with `lock: Gate` and a policy for pods that hang."""

    def __init__(self, policy: str) -> None:
        self._policy = policy
        self._gathered: dict[Observing, Gathered] = {}
        self._deeds: dict[Executing, Deed] = {}
        self._stalled: dict[Observing, bool] = {}

    def asks(self, task: Task) -> Request:
        """Return what an operator asks next. What asks nothing any more is no task."""
        asked = self.gather(task).request if isinstance(task, Observing) else self.carry_out(task).request
        if asked is None:
            raise AssertionError(f"{task} asks nothing")
        return asked

    def hears(self, operator: Operator, request: Request, answer: Answer) -> Operator:
        """Return an operator after an answer."""
        if isinstance(operator.task, Observing):
            return self._gathers(operator, operator.task, request, answer)
        if operator.task is None:
            raise AssertionError("nothing was asked")
        if answer.status == 200 and request.name in {"open", "delete"}:
            seen: Seen = answer.facts[0]
            gone = request.name == "delete" and (request.facts[3] or seen.deleting == NEVER)
            operator = operator.learns(seen, gone=gone)
        return self._acts(operator, operator.task, answer)  # type: ignore[arg-type]  # it is still the same

    def _gathers(self, operator: Operator, task: Observing, request: Request, answer: Answer) -> Operator:
        task = task._replace(answers=(*task.answers, answer))
        come = self.gather(task)
        if request.name == "beat":
            operator = operator.marks((answer.known.number,), fresh=False)
        elif answer.known.number != NEVER:
            operator = operator.remembers(_after(answer, come.known))
        after: Task | None = task
        if come.request is None:
            after = Executing(task.bot, come.actions) if come.actions else None
        return operator._replace(task=after, noted=_noted(operator, task.bot, come.noted))

    def _acts(self, operator: Operator, task: Executing, answer: Answer) -> Operator:
        task = task._replace(answers=(*task.answers, answer))
        come = self.carry_out(task)
        noted = operator.noted if come.noted is None else _noted(operator, task.bot, come.noted)
        if come.request is not None:
            return operator._replace(task=task, noted=noted)
        rest = Executing(task.bot, task.actions[1:]) if task.actions[1:] else None
        return operator._replace(task=rest, noted=noted, ended=operator.ended | come.proven)

    def gather(self, task: Observing) -> Gathered:
        """Return how far a pass gets with these answers. One that fails does nothing."""
        if task not in self._gathered:
            guard, request, seen = self._observe(task)
            planned = plan(seen, NOW).actions if seen is not None else ()
            actions = tuple(each for each in planned if isinstance(each, ClaimTurn | OpenPod | DeletePod))
            known = _recall(guard.history, holder_in(task.answers))
            self._gathered[task] = Gathered(request, actions, guard.turns._noted.get(identity(task.bot)), known)
        return self._gathered[task]

    def _observe(self, task: Observing) -> tuple[Guard, Request | None, Observed | None]:
        guard = self._guard(task.bot, task.view, task.noted)
        observing = guard.observer.observe((NAMESPACE, f"bot-{task.bot}"), NOW)
        return guard, *_play(guard, observing, task.answers)

    def carry_out(self, task: Executing) -> Deed:
        """Return how far the first action of a pass gets with these answers."""
        task = task._replace(actions=task.actions[:1])
        if task not in self._deeds:
            guard = self._guard(task.bot, (), None)
            key = NAMESPACE, f"bot-{task.bot}"
            request, _ = _play(guard, guard.executor.run(key, guard.bots.get(key), task.actions), task.answers)
            proven = frozenset(_number(uid) for uid in guard.history._ended)
            self._deeds[task] = Deed(request, guard.turns._noted.get(identity(task.bot)), proven)
        return self._deeds[task]

    def stalls(self, task: Observing) -> bool:
        """Return whether the status that comes of a pass calls for a person."""
        if task not in self._stalled:
            self._stalled[task] = self._stalls(task)
        return self._stalled[task]

    def _stalls(self, task: Observing) -> bool:
        _, _, seen = self._observe(task)
        if seen is None or seen.bot is None:
            return False
        said = conditions.status(seen, seen.bot, plan(seen, NOW), NOW)
        return any(each["type"] == "Stalled" and each["status"] == "True" for each in said["conditions"])

    def proves(self, seen: Seen) -> bool:
        """Return whether the last state of a pod, as a watch shows it, proves that it has ended."""
        past = History()
        past.saw_the_last_of(pod_record(seen))
        return bool(past._ended)

    def _guard(self, bot: int, view: tuple[Seen, ...], noted: Noted) -> Guard:
        settings = Settings(None, (), "", verbose=False, operator_namespace="operators")
        guard = Guard(cast("Kube", _Kube()), settings, lambda: NOW)
        guard.bots.put(_bot_body(bot, self._policy))
        guard.deployments.store.put(_deployment(bot))
        for seen in view:
            guard.pods.store.put(pod_record(seen))
        if noted is not None:
            guard.turns._noted[identity(bot)] = noted
        return guard


def holder_in(answers: tuple[Answer, ...]) -> int:
    """Return which pod the Lease names that a pass has read."""
    return next((each.facts[1] for each in answers if each.to == "lease" and each.facts), NEVER)


def _noted(operator: Operator, bot: int, noted: Noted) -> tuple[Noted, ...]:
    return (*operator.noted[:bot], noted, *operator.noted[bot + 1 :])


@cache
def _bot_body(bot: int, policy: str) -> Json:
    spec = {
        "deploymentRef": {"name": f"deployment-{bot}"},
        "lock": "Gate",
        "stuckPods": {"policy": policy, "afterSeconds": 0},
        "conflict": {"logs": False},
    }
    return worlds.bot_body(f"bot-{bot}", spec=spec)


@cache
def _deployment(bot: int) -> Any:
    template = worlds.template_body(lock=identity(bot), gates=[worlds.GATE])
    facts: Json = {"strategy": "Recreate", "mark": f"bot-{bot}", "template": template, "total": 0}
    return parse_deployment(json.dumps(worlds.deployment_body(f"deployment-{bot}", **facts)).encode())


def _play(guard: Guard, coroutine: Coroutine[Any, Any, Any], answers: tuple[Answer, ...]) -> tuple[Request | None, Any]:
    """Run a coroutine as far as the answers go. Return what it asks next, or what it returns: None if it failed."""
    told = iter(answers)
    try:
        with _steady_clock():
            request = cast("Request", coroutine.send(None))
            for answer in told:
                _remind(guard.history, answer)
                request = cast("Request", coroutine.send(answer))
    except StopIteration as end:
        return None, end.value
    except KubeError:
        return None, None
    coroutine.close()
    return request, None


@contextmanager
def _steady_clock() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(history, "time", SimpleNamespace(monotonic=lambda: CLOCK))
        yield


# --- What an operator remembers of who vanished ---------------------------------------------------------------------


def _remind(past: History, answer: Answer) -> None:
    known = answer.known
    if known.missed is not None:
        entry = history._Missed(BEFORE, _time(known.missed.heard), _time(known.missed.told))
        past._missed[f"uid-pod-{known.number}"] = entry
    if known.ended:
        past._ended[f"uid-pod-{known.number}"] = None


def _after(answer: Answer, known: Known) -> Known:
    """What has happened since the operator looked is still to be seen."""
    before, now = answer.known.missed or Missed(answer.known.number), known.missed
    return known._replace(missed=now and now._replace(fresh=before.fresh))


def _time(age: int) -> float | None:
    return None if age == NEVER else CLOCK - MINUTE * age


def _recall(past: History, number: int) -> Known:
    entry = past._missed.get(f"uid-pod-{number}")
    ended = f"uid-pod-{number}" in past._ended
    missed = None if entry is None else Missed(number, False, _age(entry.heard), _age(entry.told))
    return Known(number, ended, missed)


def _age(at: float | None) -> int:
    return NEVER if at is None else min(int((CLOCK - at) / MINUTE), 1)
