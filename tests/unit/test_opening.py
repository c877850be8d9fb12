"""How a turn is taken and a pod opened: what is asked of the API server, and in which order.

The API server is played by a few lines that keep pods and Leases, and note what they were asked: first the live look at
every page of every namespace, then the Lease under the version that was read, then the gate, and never another way.
"""

import json
from collections.abc import Callable, Sequence
from typing import Any, cast

import pytest

from telegrambot_operator.core.actions import ClaimTurn, OpenPod
from telegrambot_operator.core.turn import Claim
from telegrambot_operator.shell.kube import JSON_PATCH, MERGE, Kube, KubeError
from telegrambot_operator.shell.turns import NotItsTurn, Turns
from tests.unit.worlds import GATE, IDENTITY, NAMESPACE, Json, merged, pod

LEASES = "/apis/coordination.k8s.io/v1/namespaces/operators/leases"
LEASE = f"{LEASES}/telegrambot-{IDENTITY}"
POD = f"/api/v1/namespaces/{NAMESPACE}/pods/new"
PODS = "/api/v1/pods"
SELECTOR = f"singleton.bot/bot={IDENTITY}"


def listed(name: str, **facts: Any) -> Json:
    """A pod of the identity as a list shows it."""
    phase = facts.pop("phase", "Running")
    spec = {"nodeName": "node-1", **facts.pop("spec", {})}
    return {"metadata": {"name": name, "uid": f"uid-{name}", **facts}, "spec": spec, "status": {"phase": phase}}


def held(name: str, **facts: Any) -> Json:
    return listed(name, phase="Pending", spec={"nodeName": "", "schedulingGates": [{"name": GATE}]}, **facts)


class ApiServer:
    """Answers as `shell/kube.py` does. `pages` are lists of pods by path; `calls` is what was asked, in order."""

    def __init__(self, *, lease: Json | None = None, **pages: Sequence[list[Json]]) -> None:
        self.lease = lease
        self.pages: dict[str, Sequence[list[Json]]] = {
            PODS if where == "everywhere" else f"/api/v1/namespaces/{where}/pods": pages[where] for where in pages
        }
        self.calls: list[tuple[str, str]] = []
        self.queries: list[Json] = []
        self.bodies: dict[str, Any] = {}
        self.refuse: Callable[[str, str], KubeError | None] = lambda _method, _where: None

    async def get(self, where: str, query: Json | None = None) -> bytes:
        self._note("GET", where)
        if where == LEASE:
            if self.lease is None:
                raise KubeError(404, "NotFound", "no such Lease")
            return json.dumps(self.lease).encode()
        self.queries.append(dict(query or {}))
        pages = self.pages[where]
        number = int((query or {}).get("continue", "0"))
        more = {"continue": str(number + 1)} if number + 1 < len(pages) else {}
        return json.dumps({"metadata": more, "items": pages[number]}).encode()

    async def patch(self, where: str, body: Any, kind: str = MERGE) -> bytes:
        self._note(f"PATCH {kind}", where)
        self.bodies[where] = body
        return b'{"opened": true}'

    async def request(self, method: str, where: str, query: Json | None, body: Any) -> bytes:
        assert query is None
        self._note(method, where)
        self.bodies[where] = body
        return b"{}"

    def _note(self, method: str, where: str) -> None:
        self.calls.append((method, where))
        refusal = self.refuse(method, where)
        if refusal is not None:
            raise refusal


def turns(server: ApiServer, *namespaces: str) -> Turns:
    return Turns(cast("Kube", server), "operators", namespaces)


def claiming(version: str = "7", before: str = "uid-old") -> ClaimTurn:
    return ClaimTurn(NAMESPACE, "new", "uid-new", IDENTITY, version, before, node="", grace=45)


def opening(claim: ClaimTurn | None = None, gates: tuple[str, ...] = (GATE,)) -> OpenPod:
    return OpenPod(NAMESPACE, "new", "uid-new", gates, claim, "Pod new is opened.")


# --- Reading a Lease ------------------------------------------------------------------------------------------------


async def test_a_lease_is_read_live() -> None:
    noted = {"singleton.bot/node": "node-1", "singleton.bot/grace-seconds": "45"}
    lease = {"metadata": {"resourceVersion": "7", "annotations": noted}, "spec": {"holderIdentity": "shop/old/uid-old"}}
    server = ApiServer(lease=lease)
    assert await turns(server).claim(IDENTITY) == Claim("7", "shop/old", "uid-old", "node-1", 45)
    assert server.calls == [("GET", LEASE)]


async def test_where_there_is_no_lease_nobody_holds_the_turn() -> None:
    assert await turns(ApiServer()).claim(IDENTITY) == Claim()


async def test_a_lease_that_cannot_be_read_says_nothing() -> None:
    """It must not be taken for one that nobody holds."""
    server = ApiServer()
    server.refuse = lambda _method, _where: KubeError(403, "Forbidden", "no")
    with pytest.raises(KubeError):
        await turns(server).claim(IDENTITY)


# --- Taking the turn --------------------------------------------------------------------------------------------------


async def test_the_first_turn_makes_the_lease() -> None:
    """Not over one that somebody else has just made: that is what a creation refuses."""
    server = ApiServer()
    await turns(server).take(claiming(version="", before=""))
    assert server.calls == [("POST", LEASES)]
    made = server.bodies[LEASES]
    assert (made["kind"], made["metadata"]["name"]) == ("Lease", f"telegrambot-{IDENTITY}")
    assert "resourceVersion" not in made["metadata"]
    assert made["spec"] == {"holderIdentity": "shop/new/uid-new"}


async def test_a_turn_is_taken_over_under_the_version_that_was_read() -> None:
    server = ApiServer()
    await turns(server).take(claiming(version="7"))
    assert server.calls == [(f"PATCH {MERGE}", LEASE)]
    assert server.bodies[LEASE]["metadata"]["resourceVersion"] == "7"
    assert server.bodies[LEASE]["spec"] == {"holderIdentity": "shop/new/uid-new"}


@pytest.mark.parametrize("place", ["", "node-2"], ids=["not known yet", "known"])
@pytest.mark.parametrize(("version", "where"), [("", LEASES), ("7", LEASE)], ids=["made", "taken over"])
async def test_what_a_lease_says_is_read_as_it_was_written(version: str, where: str, place: str) -> None:
    """The node of the holder before does not stay, even where the new one's is not known yet."""
    server = ApiServer()
    taken = ClaimTurn(NAMESPACE, "new", "uid-new", IDENTITY, version, "uid-old", node=place, grace=45)
    await turns(server).take(taken)
    before = {"metadata": {"annotations": {"singleton.bot/node": "node-1"}}} if version else {}
    server.lease = merged(merged(before, server.bodies[where]), {"metadata": {"resourceVersion": "8"}})
    assert await turns(server).claim(IDENTITY) == Claim("8", "shop/new", "uid-new", place, 45)


@pytest.mark.parametrize("version", ["", "7"])
async def test_somebody_was_faster(version: str) -> None:
    server = ApiServer()
    server.refuse = lambda _method, _where: KubeError(409, "Conflict", "somebody was faster")
    with pytest.raises(KubeError) as caught:
        await turns(server).take(claiming(version))
    assert caught.value.status == 409


async def test_no_namespace_for_leases_is_told_as_a_thing_to_do() -> None:
    """A 404 would be taken for a lost race, and nobody would ever hear of it."""
    server = ApiServer()
    server.refuse = lambda _method, _where: KubeError(404, "NotFound", 'namespaces "operators" not found')
    with pytest.raises(KubeError) as caught:
        await turns(server).take(claiming(version=""))
    assert caught.value.status == 422
    assert [each for each in ("operators", "create it", "OPERATOR_NAMESPACE") if each not in str(caught.value)] == []


async def test_what_the_lease_says_is_known_once_it_was_read_or_written() -> None:
    runs, elsewhere, other = pod("new"), pod("new", node="node-2"), pod("old")
    taken = turns(ApiServer())
    assert not taken.is_noted(IDENTITY, runs)
    await taken.take(ClaimTurn(NAMESPACE, "new", "uid-new", IDENTITY, "7", "uid-old", node="node-1", grace=30))
    assert [taken.is_noted(IDENTITY, each) for each in (runs, elsewhere, other)] == [True, False, False]
    assert not taken.is_noted("111111", runs)
    await taken.claim(IDENTITY)
    assert not taken.is_noted(IDENTITY, runs)


async def test_what_could_not_be_written_is_not_noted() -> None:
    server = ApiServer()
    server.refuse = lambda _method, _where: KubeError(409, "Conflict", "somebody was faster")
    taken = turns(server)
    with pytest.raises(KubeError):
        await taken.take(ClaimTurn(NAMESPACE, "new", "uid-new", IDENTITY, "7", "uid-old", node="node-1", grace=30))
    assert not taken.is_noted(IDENTITY, pod("new"))


# --- Opening ----------------------------------------------------------------------------------------------------------

TAKEN_AND_OPENED = [(f"PATCH {MERGE}", LEASE), (f"PATCH {JSON_PATCH}", POD)]
GONE_BY = "2026-11-24T12:00:00Z"


async def test_look_take_open_in_this_order() -> None:
    server = ApiServer(everywhere=[[held("new")]])
    assert await turns(server).open(opening(claiming())) == b'{"opened": true}'
    assert server.calls == [("GET", PODS), *TAKEN_AND_OPENED]


async def test_the_gate_goes_only_from_the_pod_and_the_place_that_were_meant() -> None:
    """A pod of the same name that was born since then, or a gate that moved, makes the API server refuse."""
    server = ApiServer()
    await turns(server).open(opening(gates=("example.com/quota", GATE, "example.com/proxy")))
    assert server.bodies[POD] == [
        {"op": "test", "path": "/metadata/uid", "value": "uid-new"},
        {"op": "test", "path": "/spec/schedulingGates/1/name", "value": GATE},
        {"op": "remove", "path": "/spec/schedulingGates/1"},
    ]


async def test_without_turns_a_pod_is_opened_and_nothing_else() -> None:
    server = ApiServer()
    await turns(server).open(opening())
    assert server.calls == [(f"PATCH {JSON_PATCH}", POD)]


async def test_every_page_of_the_whole_cluster_is_looked_at_before_the_turn_is_taken() -> None:
    """A list without a resourceVersion is a consistent read: never a cache's."""
    server = ApiServer(everywhere=[[held("new")], [held("b")], [held("c")]])
    await turns(server).open(opening(claiming()))
    assert server.calls == [("GET", PODS)] * 3 + TAKEN_AND_OPENED
    assert [each.get("continue") for each in server.queries] == [None, "1", "2"]
    assert {each["labelSelector"] for each in server.queries} == {SELECTOR}
    assert [each for each in server.queries if "resourceVersion" in each] == []


async def test_every_namespace_that_is_guarded_is_looked_at_before_the_turn_is_taken() -> None:
    server = ApiServer(shop=[[held("new")], []], sales=[[]])
    await turns(server, "shop", "sales").open(opening(claiming()))
    shop, sales = "/api/v1/namespaces/shop/pods", "/api/v1/namespaces/sales/pods"
    assert server.calls == [("GET", shop), ("GET", shop), ("GET", sales), *TAKEN_AND_OPENED]
    assert [each.get("continue") for each in server.queries] == [None, "1", None]


HARMLESS: dict[str, Json] = {
    "the pod itself": held("new"),
    "one that is held": held("other"),
    "one that has ended": listed("other", phase="Succeeded"),
    "the holder before, which has ended": listed("old", phase="Failed"),
    "the holder before, held and on its way out": held("old", deletionTimestamp=GONE_BY),
}


@pytest.mark.parametrize("other", HARMLESS.values(), ids=HARMLESS)
async def test_it_is_opened_beside(other: Json) -> None:
    server = ApiServer(everywhere=[[other]])
    await turns(server).open(opening(claiming()))
    assert server.calls[1:] == TAKEN_AND_OPENED


DANGEROUS: dict[str, Json] = {
    "one that runs": listed("other"),
    "one that is bound and has not started": listed("other", phase="Pending"),
    "one that is on its way out": listed("other", deletionTimestamp=GONE_BY),
    "the holder before, which runs": listed("old"),
    "the holder before, which is held still": held("old"),
    "the holder before, which is open and has no node yet": listed("old", phase="Pending", spec={"nodeName": ""}),
}


@pytest.mark.parametrize("where", ["the first page", "the last page"])
@pytest.mark.parametrize("other", DANGEROUS.values(), ids=DANGEROUS)
async def test_it_is_not_its_turn_beside(other: Json, where: str) -> None:
    """INV-2: whatever the cache has shown, nothing is written."""
    pages = [[held("new"), other], [held("c")]] if where == "the first page" else [[held("new")], [held("c"), other]]
    server = ApiServer(everywhere=pages)
    with pytest.raises(NotItsTurn, match=other["metadata"]["name"]):
        await turns(server).open(opening(claiming()))
    assert {method for method, _ in server.calls} == {"GET"}


async def test_it_is_not_its_turn_beside_one_in_another_namespace() -> None:
    server = ApiServer(shop=[[held("new")]], sales=[[listed("b"), listed("a")]])
    with pytest.raises(NotItsTurn) as caught:
        await turns(server, "shop", "sales").open(opening(claiming()))
    assert str(caught.value) == "it is the turn of a, b"
    assert {method for method, _ in server.calls} == {"GET"}


FAULTS: dict[str, tuple[str, int]] = {
    "the look fails: no turn is taken": ("GET", 1),
    "somebody else takes the turn in between: nothing is opened": (f"PATCH {MERGE}", 2),
}


@pytest.mark.parametrize(("fails", "calls"), FAULTS.values(), ids=FAULTS)
async def test_what_fails_ends_it(fails: str, calls: int) -> None:
    server = ApiServer(everywhere=[[held("new")]])
    server.refuse = lambda method, _where: KubeError(409, "Conflict", "no") if method == fails else None
    with pytest.raises(KubeError):
        await turns(server).open(opening(claiming()))
    assert len(server.calls) == calls


async def test_a_page_that_is_lost_ends_it_too() -> None:
    server = ApiServer(everywhere=[[held("new")], [listed("other")]])
    server.refuse = lambda _method, _where: KubeError(410, "Expired", "gone") if len(server.calls) == 2 else None
    with pytest.raises(KubeError):
        await turns(server).open(opening(claiming()))
    assert {method for method, _ in server.calls} == {"GET"}


async def test_an_opening_that_fails_is_finished_by_whoever_comes_next() -> None:
    """The turn is the pod's by then: the next pass finds it as the holder that is held still."""
    server = ApiServer(everywhere=[[held("new")]])
    server.refuse = lambda method, _where: KubeError(500, "", "no") if method == f"PATCH {JSON_PATCH}" else None
    with pytest.raises(KubeError):
        await turns(server).open(opening(claiming()))
    written = server.bodies[LEASE]
    server.lease = {**written, "metadata": {**written["metadata"], "resourceVersion": "8"}}
    found = await turns(server).claim(IDENTITY)
    assert (found.version, found.uid) == ("8", "uid-new")
    server.refuse = lambda _method, _where: None
    server.calls.clear()
    await turns(server).open(opening(claiming(found.version, found.uid)))
    assert server.calls == [("GET", PODS), *TAKEN_AND_OPENED]
