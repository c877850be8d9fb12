"""The search for others with the token: what one pod has to do with it, and what one look after another shows."""

import json
from typing import Any

import pytest

from telegrambot_operator.api.models import SecretKeyRef
from telegrambot_operator.core.strays import Wanted
from telegrambot_operator.core.strays_search import Crowd, Question, Search, Stray, look_at, merged
from tests.unit.worlds import DEPLOYMENT, IDENTITY, NAMESPACE, Json, at, looked, stamp, stray

TOKEN = "7301948265:AAE9xkQ2vTn0LwRzYb4mHc7sPd1uJg5oXyZ"
WANTED = Wanted("shop-token", "token", TOKEN)
QUESTION = Question(NAMESPACE, SecretKeyRef(name="shop-token", key="token"), IDENTITY, DEPLOYMENT, at(-60))
VARIABLE = {"name": "BOT_TOKEN", "valueFrom": {"secretKeyRef": {"name": "shop-token", "key": "token"}}}
RUNS = {"running": {"startedAt": stamp(-100)}}


def container(name: str = "bot", *, uses: bool = True) -> Json:
    return {"name": name, "env": [VARIABLE] if uses else []}


def told(name: str = "bot", state: Json | None = None, **more: Any) -> Json:
    return {"name": name, "state": RUNS if state is None else state, **more}


def over(*, since: float = -100, until: float) -> Json:
    return {"terminated": {"startedAt": stamp(since), "finishedAt": stamp(until), "exitCode": 1}}


def body(
    *,
    owner: tuple[str, str] | None = None,
    labels: Json | None = None,
    spec: Json | None = None,
    status: Json | None = None,
    **metadata: Any,
) -> Json:
    """A pod that runs with the bot's token, made by hand."""
    owners = [{"kind": owner[0], "name": owner[1], "uid": "uid-o", "controller": True}] if owner else []
    known = {
        "name": "debug",
        "namespace": NAMESPACE,
        "uid": "uid-debug",
        "resourceVersion": "90",
        "labels": labels or {},
    }
    runs = {"phase": "Running", "startTime": stamp(-110), "containerStatuses": [told()], **(status or {})}
    return {
        "metadata": {**known, "labels": labels or {}, "ownerReferences": owners, **metadata},
        "spec": {"nodeName": "node-1", "containers": [container()], **(spec or {})},
        "status": runs,
    }


def seen(pod: Json, wanted: Wanted = WANTED) -> Stray | Crowd | None:
    return look_at(json.dumps(pod).encode(), QUESTION, wanted)


FOUND = Stray(
    namespace=NAMESPACE,
    pod="debug",
    uid="uid-debug",
    resource_version="90",
    has="container bot has the token from Secret shop-token in its variable BOT_TOKEN",
    started=at(-100),
)


def facts(found: Stray | Crowd | None, *names: str) -> list[Any]:
    assert isinstance(found, Stray)
    return [getattr(found, name) for name in names]


def test_a_pod_with_the_token_is_found_with_all_that_has_to_be_known_of_it() -> None:
    assert seen(body()) == FOUND


@pytest.mark.parametrize(
    ("owner", "labels", "controller"),
    [
        (("ReplicaSet", "copy-7f"), {"pod-template-hash": "7f"}, "Deployment copy"),
        (("ReplicaSet", "canary-5d"), {"rollouts-pod-template-hash": "5d"}, "ReplicaSet canary-5d"),
        (("StatefulSet", "bot"), {}, "StatefulSet bot"),
        (("Job", "nightly-29"), {}, "Job nightly-29"),
        (("Node", "node-1"), {}, "Node node-1"),
        (None, {"pod-template-hash": "7f"}, ""),
    ],
    ids=["a Deployment", "another maker of ReplicaSets", "a StatefulSet", "a Job", "a static pod's node", "nobody"],
)
def test_who_would_make_it_anew_is_named(owner: tuple[str, str] | None, labels: Json, controller: str) -> None:
    assert facts(seen(body(owner=owner, labels=labels)), "controller") == [controller]


OWN: dict[str, Json] = {
    "by its label": body(labels={"singleton.bot/bot": IDENTITY}),
    "by its label, in another namespace": body(labels={"singleton.bot/bot": IDENTITY}, namespace="else"),
    "by its Deployment, before it has the label": body(
        owner=("ReplicaSet", f"{DEPLOYMENT}-7f"), labels={"pod-template-hash": "7f"}
    ),
}


@pytest.mark.parametrize("pod", OWN.values(), ids=OWN)
def test_the_bots_own_pod_is_no_stray(pod: Json) -> None:
    assert seen(pod) is None


def test_a_pod_of_a_deployment_of_the_same_name_elsewhere_is_not_the_bots() -> None:
    pod = body(owner=("ReplicaSet", f"{DEPLOYMENT}-7f"), labels={"pod-template-hash": "7f"}, namespace="else")
    assert facts(seen(pod), "namespace", "controller") == ["else", f"Deployment {DEPLOYMENT}"]


def test_the_pod_of_another_telegrambot_is_told_by_what_it_wears() -> None:
    assert facts(seen(body(labels={"singleton.bot/bot": "shop.other"})), "worn") == ["shop.other"]


# What the pod's status says, when it began, when it ended.
LIVED: dict[str, tuple[Json, float, float | None]] = {
    "it runs": ({}, -100, None),
    "nothing is told of its container yet": ({"containerStatuses": []}, -110, None),
    "it waits for its next start": (
        {"containerStatuses": [told(state={"waiting": {}}, restartCount=3, lastState=over(until=-70))]},
        -110,
        None,
    ),
    "it runs again, and its 409 was of the run before": (
        {"containerStatuses": [told(state={"running": {"startedAt": stamp(-5)}}, restartCount=1)]},
        -110,
        None,
    ),
    "it ended after the conflict": (
        {"phase": "Failed", "containerStatuses": [told(state=over(until=-50))]},
        -100,
        -50,
    ),
    "it ended a moment before": ({"containerStatuses": [told(state=over(until=-65))]}, -100, -65),
}


@pytest.mark.parametrize(("status", "since", "until"), LIVED.values(), ids=LIVED)
def test_when_it_may_have_been_polling(status: Json, since: float, until: float | None) -> None:
    ended = None if until is None else at(until)
    assert facts(seen(body(status=status)), "started", "ended") == [at(since), ended]


NOT_THEN: dict[str, Json] = {
    "it is bound to no node": body(spec={"nodeName": ""}),
    "it ended long before": body(status={"phase": "Succeeded", "containerStatuses": [told(state=over(until=-100))]}),
    "it ended, nobody knows when": body(status={"phase": "Failed", "startTime": stamp(-900), "containerStatuses": []}),
    "only an init container had the token, which is through": body(
        spec={"containers": [container(uses=False)], "initContainers": [container("migrate")]},
        status={"initContainerStatuses": [told("migrate", over(until=-95))]},
    ),
    "it does not have the token": body(spec={"containers": [container(uses=False)]}),
    "it only names the Secret": body(
        spec={"containers": [{"name": "bot", "env": [{"name": "SECRET", "value": "shop-token"}]}]}
    ),
}


@pytest.mark.parametrize("pod", NOT_THEN.values(), ids=NOT_THEN)
def test_a_pod_that_cannot_have_been_polling_then_is_no_stray(pod: Json) -> None:
    assert seen(pod) is None


def test_a_sidecar_and_a_container_for_debugging_count() -> None:
    spec = {"containers": [container("web", uses=False)], "ephemeralContainers": [container("debugger")]}
    pod = body(spec=spec, status={"ephemeralContainerStatuses": [told("debugger")]})
    assert facts(seen(pod), "has") == [FOUND.has.replace("container bot", "container debugger")]


def test_a_container_that_surely_has_the_token_is_told_of_first() -> None:
    whole = {"name": "web", "envFrom": [{"secretRef": {"name": "shop-token"}}]}
    both = body(spec={"containers": [whole, container()]}, status={"containerStatuses": [told("web"), told()]})
    one = body(spec={"containers": [whole]}, status={"containerStatuses": [told("web")]})
    assert facts(seen(both), "has", "sure") == [FOUND.has, True]
    assert facts(seen(one), "sure") == [False]


def test_in_other_namespaces_only_the_token_counts_and_our_own_is_passed_over() -> None:
    only_token = Wanted(None, "token", TOKEN)
    written = {"containers": [{"name": "bot", "args": [TOKEN]}]}
    assert seen(body(namespace="else"), only_token) is None
    assert facts(seen(body(namespace="else", spec=written), only_token), "namespace") == ["else"]
    assert seen(body(spec=written), only_token) is None


def test_two_containers_of_the_bots_own_pod_are_a_crowd_while_both_run() -> None:
    spec = {"containers": [container(), container("worker")]}
    two = body(
        labels={"singleton.bot/bot": IDENTITY}, spec=spec, status={"containerStatuses": [told(), told("worker")]}
    )
    found = seen(two)
    assert isinstance(found, Crowd)
    assert "containers bot and worker" in found.shown
    two["status"]["containerStatuses"][1]["state"] = over(until=-70)
    assert seen(two) is None


# --- One look after another -----------------------------------------------------------------------------------------


def test_a_stray_that_is_not_found_again_ended_by_then() -> None:
    before, after = looked(stray("a"), stray("b"), seconds=-30), looked(stray("b"), seconds=-10)
    both = {each.pod: each.ended for each in merged(before, after).strays}
    assert both == {"b": None, "a": at(-10)}


def test_what_ended_once_keeps_its_end() -> None:
    again = merged(merged(looked(stray("a"), seconds=-30), looked(seconds=-20)), looked(seconds=-10))
    assert [each.ended for each in again.strays] == [at(-20)]


def test_half_an_answer_proves_no_end() -> None:
    before = looked(stray("a"), seconds=-30)
    assert [each.ended for each in merged(before, looked(seconds=-10, problem="away")).strays] == [None]


def test_the_first_answer_stands_by_itself() -> None:
    answer: Search = looked(stray("a"))
    assert merged(None, answer) == answer
