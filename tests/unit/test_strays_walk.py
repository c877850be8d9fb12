"""How all pods are looked through: near ones first, page by page, as far as the rights go, and once for all who ask."""

import asyncio
import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from telegrambot_operator.api.models import SecretKeyRef
from telegrambot_operator.core.actions import DeletePod
from telegrambot_operator.core.strays_search import Question, Search, Victim
from telegrambot_operator.shell.kube import KubeError
from telegrambot_operator.shell.strays import Strays
from telegrambot_operator.shell.tokens import Tokens
from tests.unit.worlds import DEPLOYMENT, IDENTITY, NAMESPACE, Json, denied

TOKEN = "7301948265:AAE9xkQ2vTn0LwRzYb4mHc7sPd1uJg5oXyZ"
KEY = (NAMESPACE, "shop-bot")
HERE, EVERYWHERE = f"/api/v1/namespaces/{NAMESPACE}/pods", "/api/v1/pods"
SECRET = f"/api/v1/namespaces/{NAMESPACE}/secrets/shop-token"
LOG = f"{HERE}/bot-a/log"
DENIED = KubeError(403, "Forbidden", denied("list", "pods").message)
AWAY = KubeError(500, "InternalError", "etcd is away")


def pod(name: str, namespace: str = NAMESPACE, **container: Any) -> Json:
    return {
        "metadata": {"name": name, "namespace": namespace, "uid": f"uid-{name}", "resourceVersion": "7"},
        "spec": {"nodeName": "node-1", "containers": [{"name": "bot", **container}]},
        "status": {"phase": "Running", "startTime": "2026-11-24T11:00:00Z"},
    }


def by_secret(name: str) -> Json:
    ref = {"secretKeyRef": {"name": "shop-token", "key": "token"}}
    return pod(name, env=[{"name": "BOT_TOKEN", "valueFrom": ref}])


def written(name: str, namespace: str) -> Json:
    return pod(name, namespace, args=[f"--token={TOKEN}"])


class Cluster:
    """An API server with pods, in pages, and answers that can be set by path."""

    def __init__(self, *pods: Json) -> None:
        self.pods = list(pods)
        self.answers: dict[str, bytes | KubeError] = {SECRET: json.dumps(secret(token=TOKEN)).encode()}
        self.asked: list[str] = []
        self.page = 250
        self.gate: asyncio.Event | None = None

    async def get(self, path: str, query: Mapping[str, str] | None = None, **_: Any) -> bytes:
        self.asked.append(path)
        if path == EVERYWHERE and self.gate is not None:
            await self.gate.wait()
        await asyncio.sleep(0)
        answer = self.answers.get(path)
        if isinstance(answer, KubeError):
            raise answer
        return answer if answer is not None else self._list(path, dict(query or {}))

    def _list(self, path: str, query: dict[str, str]) -> bytes:
        namespace = path.split("/")[4] if "/namespaces/" in path else None
        name = query.get("fieldSelector", "").removeprefix("metadata.name=")
        found = [
            each
            for each in self.pods
            if namespace in {None, each["metadata"]["namespace"]} and name in {"", each["metadata"]["name"]}
        ]
        start, size = int(query.get("continue", "0")), min(self.page, int(query.get("limit", "500")))
        more = {"continue": str(start + size)} if start + size < len(found) else {}
        return json.dumps({"metadata": more, "items": found[start : start + size]}).encode()


def secret(**keys: str) -> Json:
    return {"data": {key: base64.b64encode(value.encode()).decode() for key, value in keys.items()}}


class Desk:
    """Strays over such a cluster, and what they called."""

    def __init__(self, cluster: Cluster, namespaces: tuple[str, ...] = ()) -> None:
        self.news: asyncio.Queue[tuple[str, str]] = asyncio.Queue()
        self.later: list[float] = []
        kube: Any = cluster
        self.strays = Strays(kube, Tokens(kube), namespaces, self.news.put_nowait, self._again)

    def _again(self, _: tuple[str, str], seconds: float) -> None:
        self.later.append(seconds)

    async def look(self, question: Question) -> Search:
        """Ask, and wait for the answer."""
        self.strays.tend(KEY, question)
        async with asyncio.timeout(10):
            await self.news.get()
        found = self.strays.state(KEY)
        assert found is not None
        return found


async def happens(fact: Callable[[], bool]) -> None:
    """Let the others run until a fact is true."""
    for _ in range(10_000):
        if fact():
            return
        await asyncio.sleep(0)
    raise AssertionError("it did not happen")


def question(**facts: Any) -> Question:
    known: dict[str, Any] = {"victim": None, "since": datetime.now(UTC) - timedelta(seconds=1), **facts}
    return Question(NAMESPACE, SecretKeyRef(name="shop-token", key="token"), IDENTITY, DEPLOYMENT, **known)


async def test_a_pod_of_the_own_namespace_is_found_without_a_look_at_the_others() -> None:
    cluster = Cluster(pod("web"), by_secret("debug"), written("far", "else"))
    found = await Desk(cluster).look(question())
    assert [stray.pod for stray in found.strays] == ["debug"]
    assert EVERYWHERE not in cluster.asked


async def test_the_token_is_found_in_every_namespace_however_many_pages_there_are() -> None:
    cluster = Cluster(*(pod(f"web-{number}", "else") for number in range(7)), written("far", "else"))
    cluster.page = 2
    found = await Desk(cluster).look(question())
    assert [(stray.namespace, stray.pod) for stray in found.strays] == [("else", "far")]
    assert (found.complete, found.left_out) == (True, "")
    assert cluster.asked.count(EVERYWHERE) == 4


async def test_where_only_some_namespaces_may_be_listed_the_guarded_ones_are_and_that_is_told() -> None:
    cluster = Cluster(written("far", "second"), written("hidden", "third"))
    cluster.answers[EVERYWHERE] = DENIED
    found = await Desk(cluster, (NAMESPACE, "second")).look(question())
    assert [stray.pod for stray in found.strays] == ["far"]
    assert found.complete
    assert "namespaces that are not guarded" in found.left_out


async def test_where_no_other_namespace_may_be_listed_that_is_told() -> None:
    cluster = Cluster()
    cluster.answers[EVERYWHERE] = DENIED
    found = await Desk(cluster).look(question())
    assert (found.strays, found.complete) == ((), True)
    assert "the operator may not list pods there" in found.left_out


async def test_where_not_even_the_own_namespace_may_be_listed_there_is_no_answer() -> None:
    cluster = Cluster()
    cluster.answers[HERE] = DENIED
    found = await Desk(cluster).look(question())
    assert found.problem == f"pods could not be listed in namespace {NAMESPACE}: {denied('list', 'pods')}"


@pytest.mark.parametrize("error", [DENIED, KubeError(404, "NotFound", "no such secret")], ids=["no right", "no Secret"])
async def test_without_the_token_the_secret_is_looked_for_and_that_is_told(error: KubeError) -> None:
    cluster = Cluster(by_secret("debug"), written("far", "else"))
    cluster.answers[SECRET] = error
    found = await Desk(cluster).look(question())
    assert [stray.pod for stray in found.strays] == ["debug"]
    assert "Secret shop-token cannot be read" in found.left_out
    assert EVERYWHERE not in cluster.asked


@pytest.mark.parametrize("where", [SECRET, HERE, EVERYWHERE], ids=["the Secret", "near", "everywhere"])
async def test_a_fault_is_told_and_looked_again_later(where: str) -> None:
    cluster = Cluster(written("far", "else"))
    whole, cluster.answers[where] = cluster.answers.get(where), AWAY
    desk, asked = Desk(cluster), question()
    assert "etcd is away" in (await desk.look(asked)).problem
    desk.strays.tend(KEY, asked)
    assert len(desk.later) == 1
    assert 0 < desk.later[0] <= 10
    del cluster.answers[where]
    if whole is not None:
        cluster.answers[where] = whole
    desk.strays._entries[KEY].not_before = 0.0
    assert [stray.pod for stray in (await desk.look(asked)).strays] == ["far"]


async def test_an_answer_is_not_looked_for_twice() -> None:
    cluster = Cluster()
    desk, asked = Desk(cluster), question()
    await desk.look(asked)
    before = len(cluster.asked)
    for _ in range(5):
        desk.strays.tend(KEY, asked)
    await asyncio.sleep(0)
    assert (len(cluster.asked), desk.later) == (before, [])


async def test_a_later_question_is_looked_for_once_more_and_not_at_once() -> None:
    cluster = Cluster()
    desk, asked = Desk(cluster), question()
    await desk.look(asked)
    desk.strays.tend(KEY, replace(asked, since=datetime.now(UTC) + timedelta(hours=1)))
    assert desk.later[0] > 9
    assert cluster.asked.count(HERE) == 1


async def test_an_answer_that_nobody_asks_for_any_more_is_forgotten() -> None:
    desk = Desk(Cluster(by_secret("debug")))
    await desk.look(question())
    desk.strays.tend(KEY, None)
    assert desk.strays.state(KEY) is None


async def test_one_walk_serves_all_who_wait_for_it() -> None:
    cluster = Cluster(written("far", "else"))
    cluster.gate = asyncio.Event()
    desk, keys = Desk(cluster), [(NAMESPACE, f"bot-{number}") for number in range(9)]
    desk.strays.tend(keys[0], question())
    await happens(lambda: EVERYWHERE in cluster.asked)
    for key in keys[1:]:
        desk.strays.tend(key, question())
    await happens(lambda: cluster.asked.count(HERE) == len(keys))
    cluster.gate.set()
    for _ in keys:
        async with asyncio.timeout(10):
            await desk.news.get()
    found = [desk.strays.state(key) for key in keys]
    assert all(each is not None and [stray.pod for stray in each.strays] == ["far"] for each in found)
    assert cluster.asked.count(EVERYWHERE) <= 3


async def test_the_log_of_the_pod_that_was_cut_off_is_read_where_nobody_else_has_the_token() -> None:
    cluster = Cluster()
    cluster.answers[LOG] = b"2026-11-24T12:00:00Z Worker 24 started\n2026-11-24T12:00:00Z Worker 25 started\n"
    victim = Victim("bot-a", "uid-bot-a", "bot")
    found = await Desk(cluster).look(question(victim=victim))
    assert [(crowd.uid, crowd.shown[:13]) for crowd in found.crowds] == [("uid-bot-a", "the program's")]
    cluster = Cluster(by_secret("debug"))
    await Desk(cluster).look(question(victim=victim))
    assert LOG not in cluster.asked


async def test_a_log_that_cannot_be_read_is_no_fault_of_the_search() -> None:
    cluster = Cluster()
    cluster.answers[LOG] = AWAY
    found = await Desk(cluster).look(question(victim=Victim("bot-a", "uid-bot-a", "bot")))
    assert (found.complete, found.crowds) == (True, ())


async def test_without_a_secret_no_pod_is_listed() -> None:
    cluster = Cluster()
    cluster.answers[LOG] = b"2026-11-24T12:00:00Z Watching for file changes with StatReloader\n"
    asked = replace(question(victim=Victim("bot-a", "uid-bot-a", "bot")), secret=None)
    assert len((await Desk(cluster).look(asked)).crowds) == 1
    assert set(cluster.asked) == {LOG}


def delete(uid: str) -> DeletePod:
    return DeletePod(NAMESPACE, uid.removeprefix("uid-"), uid, "7", force=False, reason="StrayDeleted", why="")


async def test_what_was_to_be_deleted_is_looked_at_again() -> None:
    cluster = Cluster(by_secret("a"), by_secret("b"), by_secret("c"))
    desk = Desk(cluster)
    await desk.look(question())
    cluster.pods[0]["metadata"]["resourceVersion"] = "8"
    cluster.pods[1]["metadata"]["deletionTimestamp"] = "2026-11-24T12:00:30Z"
    del cluster.pods[2]
    await desk.strays.look_again(KEY, [delete("uid-a"), delete("uid-b"), delete("uid-c")])
    found = desk.strays.state(KEY)
    assert found is not None
    a, b, c = found.strays
    assert (a.resource_version, a.deleting, a.ended) == ("8", False, None)
    assert (b.deleting, b.ended) == (True, None)
    assert c.ended is not None


async def test_a_pod_of_the_same_name_is_another_one() -> None:
    cluster = Cluster(by_secret("a"))
    desk = Desk(cluster)
    await desk.look(question())
    cluster.pods[0]["metadata"]["uid"] = "uid-new"
    await desk.strays.look_again(KEY, [delete("uid-a")])
    found = desk.strays.state(KEY)
    assert found is not None
    assert found.strays[0].ended is not None


async def test_an_action_that_is_no_strays_costs_no_look() -> None:
    cluster = Cluster(by_secret("a"))
    desk = Desk(cluster)
    await desk.look(question())
    before = len(cluster.asked)
    await desk.strays.look_again(KEY, [delete("uid-bot-b")])
    assert len(cluster.asked) == before


async def test_the_token_is_kept_nowhere() -> None:
    desk = Desk(Cluster(written("far", "else")))
    found = await desk.look(question())
    kept = repr((found, desk.strays._entries, desk.strays._everywhere.__dict__))
    assert TOKEN.partition(":")[2] not in kept
