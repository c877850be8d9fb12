"""The cache of one resource: it never goes back in time, forgets what is gone, and keeps what has come after it."""

import asyncio
import json
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from telegrambot_operator.core.records import Pod, parse_pod
from telegrambot_operator.shell import informer as informers
from telegrambot_operator.shell.health import SILENT_SECONDS
from telegrambot_operator.shell.informer import Informer, Store
from telegrambot_operator.shell.kube import SILENT, KubeError
from telegrambot_operator.shell.observe import index_pod
from tests.unit.clock import Clock
from tests.unit.worlds import IDENTITY, pod


def at_version(
    version: int, name: str = "bot-a", *, uid: str = "u1", bot: str = IDENTITY, namespace: str = "shop"
) -> Pod:
    made = pod(name, bot=bot, namespace=namespace)
    metadata = msgspec.structs.replace(made.metadata, resource_version=str(version), uid=uid)
    return msgspec.structs.replace(made, metadata=metadata)


def versions(store: Store[Pod]) -> dict[str, str]:
    return {each.name: each.metadata.resource_version for each in store}


# --- One object -----------------------------------------------------------------------------------------------------


@pytest.fixture
def store() -> Store[Pod]:
    return Store(index_pod)


def test_a_newer_version_replaces_an_older_one_and_both_are_told(store: Store[Pod]) -> None:
    old, new = at_version(5), at_version(6)
    assert store.put(old) == (None, old)
    assert store.put(new) == (old, new)
    assert versions(store) == {"bot-a": "6"}


@pytest.mark.parametrize("late", [4, 5], ids=["an older version", "the same version again"])
def test_what_is_not_newer_is_not_told(store: Store[Pod], late: int) -> None:
    """Our own write is stored with its answer; the watch brings it once more."""
    store.put(at_version(5))
    assert store.put(at_version(late)) is None
    assert versions(store) == {"bot-a": "5"}


def test_versions_are_numbers_and_not_texts(store: Store[Pod]) -> None:
    store.put(at_version(10))
    assert store.put(at_version(9)) is None


def test_a_delete_takes_it_out_and_tells_the_last_that_was_known(store: Store[Pod]) -> None:
    known = at_version(5)
    store.put(known)
    assert store.drop(at_version(6)) == (known, None)
    assert len(store) == 0


def test_a_late_event_does_not_bring_back_what_is_gone(store: Store[Pod]) -> None:
    """A ghost of a pod would hold up its successor for ever."""
    store.put(at_version(5))
    store.drop(at_version(7))
    assert store.put(at_version(6)) is None
    assert store.put(at_version(7)) is None
    assert len(store) == 0


def test_a_delete_that_overtakes_the_first_event_counts_too(store: Store[Pod]) -> None:
    assert store.drop(at_version(7)) is None
    assert store.put(at_version(6)) is None
    assert len(store) == 0


def test_a_successor_of_the_same_name_is_another_object(store: Store[Pod]) -> None:
    store.put(at_version(5))
    store.drop(at_version(6))
    successor = at_version(8, uid="u2")
    assert store.put(successor) == (None, successor)


def test_the_late_delete_of_a_predecessor_does_not_take_its_successor(store: Store[Pod]) -> None:
    store.put(at_version(8, uid="u2"))
    assert store.drop(at_version(7, uid="u1")) is None
    assert versions(store) == {"bot-a": "8"}


def test_pods_are_found_by_the_identity_that_they_wear_now(store: Store[Pod]) -> None:
    store.put(at_version(5, bot="first"))
    store.put(at_version(6, bot="second"))
    assert [each.metadata.resource_version for each in store.by("second")] == ["6"]
    assert store.by("first") == []
    store.drop(at_version(7, bot="second"))
    assert store.by("second") == []


def test_names_of_two_namespaces_do_not_meet(store: Store[Pod]) -> None:
    store.put(at_version(5, namespace="shop"))
    store.put(at_version(6, namespace="sales", uid="u2"))
    store.drop(at_version(7, namespace="sales", uid="u2"))
    assert store.get("shop", "bot-a") is not None
    assert store.get("sales", "bot-a") is None


# --- A list ---------------------------------------------------------------------------------------------------------


class Pages:
    """An API server that has nothing but the pages of one list."""

    def __init__(self, *pages: list[Pod], version: int = 100) -> None:
        self._pages = pages
        self._version = version
        self.asked: list[dict[str, str]] = []

    async def get(self, path: str, query: Mapping[str, str]) -> bytes:
        del path
        number = len(self.asked)
        self.asked.append(dict(query))
        more = {"continue": f"page-{number + 1}"} if number + 1 < len(self._pages) else {}
        items = [raw(each) for each in self._pages[number]]
        return json.dumps({"metadata": {"resourceVersion": str(self._version), **more}, "items": items}).encode()


def raw(given: Pod) -> dict[str, Any]:
    body: dict[str, Any] = msgspec.to_builtins(given)
    return body


Told = list[tuple[str | None, str | None]]


def informer(*pages: list[Pod], path: str = "/api/v1/pods", version: int = 100) -> tuple[Informer[Pod], Told]:
    """An informer, and what it tells of each change: uids before and after."""
    told: Told = []

    def listen(before: Pod | None, after: Pod | None) -> None:
        told.append((before.uid if before else None, after.uid if after else None))

    server: Any = Pages(*pages, version=version)
    return Informer(server, [path], parse_pod, listen, index=index_pod), told


def learned(cache: Informer[Pod], *given: Pod) -> None:
    """The cache learns objects as the answers to our own writes give them."""
    for each in given:
        cache.learn(json.dumps(raw(each)).encode())


async def test_a_list_of_several_pages_is_read_to_its_end_and_told_as_one() -> None:
    first, second = at_version(5, "a", uid="u1"), at_version(6, "b", uid="u2")
    cache, told = informer([first], [second])
    await cache._list("/api/v1/pods")
    assert told == [(None, "u1"), (None, "u2")]
    assert versions(cache.store) == {"a": "5", "b": "6"}


async def test_a_list_is_never_served_from_a_servers_stale_cache() -> None:
    cache, _ = informer([])
    await cache._list("/api/v1/pods")
    server: Any = cache._kube
    assert [query for query in server.asked if "resourceVersion" in query] == []


async def test_what_a_new_list_no_longer_holds_is_told_as_deleted() -> None:
    """A delete between two watches leaves no ghost."""
    cache, told = informer([at_version(9, "stays", uid="u2")])
    learned(cache, at_version(5, "gone", uid="u1"))
    learned(cache, at_version(9, "stays", uid="u2"))
    told.clear()
    await cache._list("/api/v1/pods")
    assert told == [("u1", None)]
    assert versions(cache.store) == {"stays": "9"}


async def test_a_pod_that_was_replaced_between_two_watches_is_told_as_replaced() -> None:
    cache, told = informer([at_version(9, uid="u2")])
    learned(cache, at_version(5, uid="u1"))
    told.clear()
    await cache._list("/api/v1/pods")
    assert told == [("u1", "u2")]


async def test_a_list_does_not_take_back_what_we_have_written_since() -> None:
    cache, told = informer([at_version(5)])
    learned(cache, at_version(8))
    told.clear()
    await cache._list("/api/v1/pods")
    assert told == []
    assert versions(cache.store) == {"bot-a": "8"}


async def test_a_list_says_nothing_of_what_came_into_being_after_it() -> None:
    """What we wrote ourselves is known before its watch event, which then is no news."""
    cache, told = informer([], version=100)
    learned(cache, at_version(105, "new"))
    await cache._list("/api/v1/pods")
    cache._take(line("ADDED", raw(at_version(105, "new"))))
    assert told == [(None, "u1")]
    assert versions(cache.store) == {"new": "105"}


@pytest.mark.parametrize(
    ("known", "left"),
    [(99, {}), (100, {}), (101, {"bot-a": "101"})],
    ids=["older than the list: gone", "as old as the list: gone", "newer than the list: it stays"],
)
async def test_a_list_judges_what_is_as_old_as_itself(known: int, left: dict[str, str]) -> None:
    cache, _ = informer([], version=100)
    learned(cache, at_version(known))
    await cache._list("/api/v1/pods")
    assert versions(cache.store) == left


async def test_the_list_of_one_namespace_says_nothing_of_another() -> None:
    path = "/api/v1/namespaces/shop/pods"
    cache, told = informer([], path=path)
    learned(cache, at_version(5, namespace="sales", uid="u1"))
    learned(cache, at_version(6, namespace="shop", uid="u2"))
    told.clear()
    await cache._list(path)
    assert told == [("u2", None)]


# --- A watch --------------------------------------------------------------------------------------------------------


def line(kind: str, body: dict[str, Any]) -> Any:
    return informers._watch_lines.decode(json.dumps({"type": kind, "object": body}).encode())


def test_the_watch_tells_what_is_added_changed_and_deleted() -> None:
    cache, told = informer()
    taken = [
        cache._take(line(kind, raw(at_version(version))))
        for kind, version in (("ADDED", 5), ("MODIFIED", 6), ("DELETED", 7))
    ]
    assert told == [(None, "u1"), ("u1", "u1"), ("u1", None)]
    assert taken == ["5", "6", "7"]


def test_a_bookmark_moves_the_place_and_tells_nothing() -> None:
    cache, told = informer()
    assert cache._take(line("BOOKMARK", {"metadata": {"resourceVersion": "900"}})) == "900"
    assert told == []


def test_an_error_in_the_stream_is_a_fault_and_no_object() -> None:
    cache, told = informer()
    gone = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old resource version"}
    with pytest.raises(KubeError) as caught:
        cache._take(line("ERROR", gone))
    assert (caught.value.status, told) == (410, [])


@pytest.mark.parametrize(
    ("error", "anew"),
    [
        (KubeError(410, "Expired", "too old"), True),
        (KubeError(500, "InternalError", "etcd is away"), False),
        (KubeError(0, "", "the line was cut"), False),
    ],
    ids=["a place that is too old is given up", "a server that fails is asked again", "a cut line is taken up again"],
)
async def test_after_a_fault_the_watch_goes_on_where_it_was_unless_that_is_too_old(
    error: KubeError, *, anew: bool
) -> None:
    cache, _ = informer([])
    await cache._list("/api/v1/pods")
    await cache._failed("/api/v1/pods", error)
    assert cache._at["/api/v1/pods"] == ("" if anew else "100")


async def test_a_right_that_is_missing_is_told_once_and_ends_the_wait_for_the_first_list() -> None:
    told: list[str] = []
    server: Any = Pages([])
    cache: Informer[Pod] = Informer(
        server,
        ["/api/v1/pods"],
        parse_pod,
        lambda _before, _after: None,
        rights_changed=lambda: told.append("changed"),
    )
    denied = KubeError(403, "Forbidden", "cannot list")
    await cache._failed("/api/v1/pods", denied)
    await cache._failed("/api/v1/pods", denied)
    await cache.answered()
    assert (cache.denied, told) == (denied, ["changed"])
    await cache._list("/api/v1/pods")
    assert (cache.denied, told) == (None, ["changed", "changed"])


# --- Silence --------------------------------------------------------------------------------------------------------


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(informers, "time", clock)
    monkeypatch.setattr(informers, "asyncio", SimpleNamespace(Event=asyncio.Event, sleep=no_pause))
    return clock


async def no_pause(seconds: float) -> None:
    del seconds


async def test_what_a_watch_brings_ends_its_silence(clock: Clock) -> None:
    cache, _ = informer([])
    await cache._list("/api/v1/pods")
    clock.seconds += 60
    assert cache.silence == 60
    cache._hear("/api/v1/pods")
    assert cache.silence == 0


@pytest.mark.parametrize(
    ("error", "stuck"),
    [
        (KubeError(0, SILENT, "the watch broke off (SocketTimeoutError)"), True),
        (KubeError(0, "NoAnswer", "the API server gave no answer (ClientConnectorError)"), False),
        (KubeError(503, "ServiceUnavailable", "it is down"), False),
        (KubeError(403, "Forbidden", "cannot list"), False),
    ],
    ids=["nothing comes", "nobody is there", "it fails", "it refuses"],
)
async def test_only_where_nothing_comes_at_all_it_is_stuck(error: KubeError, clock: Clock, *, stuck: bool) -> None:
    """An API server that is down, or refuses, is nothing that a new start would mend."""
    cache, _ = informer([])
    await cache._list("/api/v1/pods")
    for _ in range(10):
        clock.seconds += SILENT_SECONDS / 5
        await cache._pause("/api/v1/pods", error, 9)
    assert cache.silence == 2 * SILENT_SECONDS, "the metric tells of all of it"
    assert bool(cache.stuck()) is stuck


async def test_one_that_is_told_to_come_again_later_is_not_stuck_until_then(clock: Clock) -> None:
    cache, _ = informer([])
    await cache._list("/api/v1/pods")
    await cache._pause("/api/v1/pods", KubeError(429, "TooManyRequests", "later", retry_after=3600), 0)
    clock.seconds += 3600 + SILENT_SECONDS - 1
    assert cache.stuck() == ""
    clock.seconds += 2
    assert cache.stuck() == "nothing has come from /api/v1/pods for 331 s"


async def test_one_that_never_listed_says_what_it_waits_for(clock: Clock) -> None:
    del clock
    cache, _ = informer([])
    assert cache.unlisted() == "/api/v1/pods has not been listed yet (no answer so far)"
    await cache._pause("/api/v1/pods", KubeError(503, "ServiceUnavailable", "it is down"), 0)
    assert cache.unlisted() == "/api/v1/pods has not been listed yet (it is down)"
    assert cache.forbidden() == ""
    await cache._failed("/api/v1/pods", KubeError(403, "Forbidden", "cannot list"))
    assert (cache.unlisted(), cache.forbidden()) == ("", "cannot list")
