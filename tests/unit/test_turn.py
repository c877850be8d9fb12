"""Whose turn it is: `core/turn.py` as a table of cases, and INV-2 for any pods, claims and nodes.

A pod is opened only when no other may be polling, be it there or vanished. Whatever is not known keeps it held.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from telegrambot_operator.core.records import Node, Pod, parse_lease
from telegrambot_operator.core.turn import Claim, Turn, Vanished, Verdict, is_next, may_be_opened
from tests.unit.worlds import Json, ended, held, node, pod, running

NEW = held("new")
# The pod that was opened last. It takes 30 s to stop.
BEFORE = Claim("7", "shop/old", "uid-old", "node-1", grace=30)
STOPPED = pod("old", phase="Succeeded", containers=[ended()])
NOBODY = Claim()
WELL: dict[str, Node | None] = {"node-1": node()}
NOTHING_SEEN: dict[str, Vanished | None] = {}


class Facts(NamedTuple):
    """What is known while the new pod waits."""

    others: tuple[Pod, ...] = ()
    claim: Claim = NOBODY
    nodes: Mapping[str, Node | None] = WELL
    ended: Mapping[str, Vanished | None] = NOTHING_SEEN

    def judged(self) -> Verdict:
        return may_be_opened(NEW, [*self.others, NEW], self.claim, self.nodes, self.ended)


def vanished(told_for: float | None = None, *, node_: Node | None = WELL["node-1"], **known: Any) -> Facts:
    """The holder's object is gone, and its node has known that for so many seconds; `node_` is what became of it."""
    facts = {"claim": BEFORE, "nodes": {"node-1": node_}, "ended": {"uid-old": Vanished(told_for)}, **known}
    return Facts(**facts)


def there(*others: Pod, **known: Any) -> Facts:
    return Facts(**{"others": others, "claim": BEFORE, **known})


# --- One held pod, and all that may speak against it ----------------------------------------------------------------

OPEN: dict[str, Facts] = {
    "nobody has ever held the turn": Facts(),
    "it holds the turn already: somebody took it and did not come to open it": Facts(
        claim=Claim("7", "shop/new", "uid-new")
    ),
    "the holder has ended": there(STOPPED),
    "the holder is held and on its way out: nothing will bind it": there(held("old", terminating=-5)),
    "others are held too, and none of them holds the turn": Facts(others=(held("a"), held("b", gates=[]))),
    "others have ended": Facts(others=(pod("a", phase="Failed", containers=[ended()]),)),
    "the holder vanished, and was seen to end": vanished(nodes={}, ended={"uid-old": None}),
    "the holder vanished, and its node no longer exists": vanished(node_=None),
    "the holder vanished, and an admin says that its node is off": vanished(
        node_=node(ready=False, out_of_service=True)
    ),
    "the holder vanished, its node does not answer, and nobody polls Telegram": vanished(
        node_=node(ready=False), ended={"uid-old": Vanished(silent=True)}
    ),
    "the holder vanished, and its node has had the time to end it": vanished(30.0),
    "... and more than that": vanished(3600.0),
    "... no time at all for a holder that stops at once": vanished(0.0, claim=replace(BEFORE, grace=0)),
}


@pytest.mark.parametrize("facts", OPEN.values(), ids=OPEN)
def test_it_is_opened_when(facts: Facts) -> None:
    assert facts.judged() == Verdict(Turn.OPEN)


# Why not, as words that the sentence has to hold, and the seconds until time alone may change the verdict.
Closed = tuple[Facts, Turn, list[str], float | None]

CLOSED: dict[str, Closed] = {
    "another one runs": (Facts(others=(pod("a"),)), Turn.NOT_YET, ["a may be polling"], None),
    "another one is on its way out": (
        Facts(others=(pod("a", terminating=-5),)),
        Turn.NOT_YET,
        ["a may be polling"],
        None,
    ),
    "another one is bound and has not started": (
        Facts(others=(pod("a", phase="Pending", containers=[], ready=False),)),
        Turn.NOT_YET,
        ["a may be polling"],
        None,
    ),
    "another one is called failed while a container of it runs": (
        Facts(others=(pod("a", phase="Failed", containers=[running()]),)),
        Turn.NOT_YET,
        ["a may be polling"],
        None,
    ),
    "two others run, and both are named": (
        Facts(others=(pod("b"), pod("a"))),
        Turn.NOT_YET,
        ["a, b may be polling"],
        None,
    ),
    "it holds the turn itself, but another one runs": (
        Facts(others=(pod("a"),), claim=Claim("7", "shop/new", "uid-new")),
        Turn.NOT_YET,
        ["a may be polling"],
        None,
    ),
    "the holder runs": (there(pod("old")), Turn.NOT_YET, ["old may be polling"], None),
    "the holder is held still: somebody may be about to open it": (
        there(held("old")),
        Turn.NOT_YET,
        ["it is the turn of old"],
        None,
    ),
    "the holder is open and has no node yet": (
        there(held("old", gates=[])),
        Turn.NOT_YET,
        ["it is the turn of old"],
        None,
    ),
    "the holder vanished, and nobody knows where it ran": (
        vanished(claim=replace(BEFORE, node=""), nodes={"": None}),
        Turn.UNKNOWN,
        ["shop/old vanished", "nobody knows on which node"],
        10.0,
    ),
    "the holder vanished, and its node could not be read": (
        vanished(nodes={}),
        Turn.UNKNOWN,
        ["shop/old vanished", "its node node-1 could not be read"],
        10.0,
    ),
    "the holder vanished, and its node does not answer": (
        vanished(node_=node(ready=False)),
        Turn.UNKNOWN,
        ["shop/old vanished", "node-1 does not answer"],
        10.0,
    ),
    "... though it was told in time: a process that was to stop may hang with its node": (
        vanished(3600.0, node_=node(ready=False)),
        Turn.UNKNOWN,
        ["node-1 does not answer"],
        10.0,
    ),
    "the holder vanished, and nobody polled Telegram before its node was back": (
        vanished(ended={"uid-old": Vanished(silent=True)}),
        Turn.VANISHED,
        ["node-1 has to end its process"],
        3.0,
    ),
    "the holder vanished, and nobody knows yet whether its node was told": (
        vanished(),
        Turn.VANISHED,
        ["shop/old vanished", "node-1 has to end its process"],
        3.0,
    ),
    "... not even where it stops at once": (vanished(claim=replace(BEFORE, grace=0)), Turn.VANISHED, [], 3.0),
    "the holder is missed for the first time in this very pass": (
        vanished(ended={"uid-a": None}),
        Turn.VANISHED,
        ["shop/old vanished"],
        3.0,
    ),
    "the holder vanished, and its node has just been told": (
        vanished(0.0),
        Turn.VANISHED,
        ["shop/old vanished", "node-1 has to end its process"],
        30.0,
    ),
    "the holder vanished, and has a second left": (vanished(29.0), Turn.VANISHED, ["node-1"], 1.0),
    "the holder vanished, and takes its time to stop": (
        vanished(30.0, claim=replace(BEFORE, grace=600)),
        Turn.VANISHED,
        ["node-1"],
        570.0,
    ),
    "one of another namespace runs, and its name is nobody's business here": (
        Facts(others=(pod("theirs", namespace="secret"),)),
        Turn.NOT_YET,
        ["one in another namespace may be polling"],
        None,
    ),
    "one runs that has lost its label: no event would tell of its end": (
        Facts(others=(pod("a", bot="999"),)),
        Turn.NOT_YET,
        ["a may be polling"],
        10.0,
    ),
    "it is the turn of one in another namespace": (
        there(held("old", namespace="secret")),
        Turn.NOT_YET,
        ["the turn of one in another namespace"],
        None,
    ),
    "the holder vanished in another namespace": (
        vanished(claim=replace(BEFORE, pod="secret/theirs")),
        Turn.VANISHED,
        ["pod of another namespace vanished"],
        3.0,
    ),
    "the holder vanished and was seen to end, but another one runs": (
        vanished(others=(pod("a"),), ended={"uid-old": None}),
        Turn.NOT_YET,
        ["a may be polling"],
        None,
    ),
}


@pytest.mark.parametrize(("facts", "turn", "words", "again_after"), CLOSED.values(), ids=CLOSED)
def test_it_stays_held_while(facts: Facts, turn: Turn, words: list[str], again_after: float | None) -> None:
    verdict = facts.judged()
    assert (verdict.turn, verdict.again_after) == (turn, again_after), verdict.why
    assert [each for each in words if each not in verdict.why] == [], verdict.why


@pytest.mark.parametrize(("facts", "turn", "words", "again_after"), CLOSED.values(), ids=CLOSED)
def test_no_name_of_another_namespace_is_said(
    facts: Facts, turn: Turn, words: list[str], again_after: float | None
) -> None:
    del turn, words, again_after
    assert "secret" not in facts.judged().why
    assert "theirs" not in facts.judged().why


NEXT: dict[str, tuple[Pod, bool]] = {
    "held behind the gate": (held(), True),
    "open, and not bound yet": (held(gates=[]), True),
    "held, and on its way out": (held(terminating=-5), False),
    "bound": (pod(), False),
    "ended": (STOPPED, False),
}


@pytest.mark.parametrize(("holder", "expected"), NEXT.values(), ids=NEXT)
def test_a_holder_that_is_about_to_start(holder: Pod, expected: bool) -> None:
    assert is_next(holder) is expected


# --- What a Lease says ----------------------------------------------------------------------------------------------


def lease(holder: str | None = "shop/old/uid-old", **annotations: str) -> Json:
    """A Lease as the API server sends it; the annotations without their prefix, `grace_seconds` for grace-seconds."""
    noted = {f"singleton.bot/{key.replace('_', '-')}": value for key, value in annotations.items()}
    spec = {} if holder is None else {"holderIdentity": holder}
    return {"metadata": {"name": "telegrambot-1", "resourceVersion": "7", "annotations": noted}, "spec": spec}


LEASES: dict[str, tuple[Json, Claim]] = {
    "whole": (lease(node="node-1", grace_seconds="45"), replace(BEFORE, grace=45)),
    "without a node": (lease(grace_seconds="30"), replace(BEFORE, node="")),
    "without a grace period: Kubernetes' own": (lease(node="node-1"), BEFORE),
    "a holder that stops at once": (lease(node="node-1", grace_seconds="0"), replace(BEFORE, grace=0)),
    "a grace period in words": (lease(node="node-1", grace_seconds="soon"), BEFORE),
    "a grace period below zero": (lease(node="node-1", grace_seconds="-45"), BEFORE),
    "a grace period with a fraction": (lease(node="node-1", grace_seconds="0.5"), BEFORE),
    "an empty grace period": (lease(node="node-1", grace_seconds=""), BEFORE),
    "nobody holds it": (lease(None), Claim("7")),
    "its holder is empty": (lease(""), Claim("7")),
}


def claim(body: Json) -> Claim:
    return Claim.of(parse_lease(json.dumps(body).encode()))


@pytest.mark.parametrize(("body", "expected"), LEASES.values(), ids=LEASES)
def test_a_lease(body: Json, expected: Claim) -> None:
    assert claim(body) == expected


NONSENSE = ["somebody", "/", "//", "shop/old/", "shop/new", "uid-new/", " ", "an operator_6f1c"]


@pytest.mark.parametrize("holder", NONSENSE)
def test_a_lease_that_says_nonsense_is_held_by_nobody_known_and_opens_nothing(holder: str) -> None:
    """Somebody else has written it, and nobody can say what it stands for: a person has to look at it."""
    found = claim(lease(holder))
    assert found.uid not in {"", NEW.uid}
    assert Facts(claim=found).judged().turn is Turn.UNKNOWN


# --- For any pods, claims and nodes ---------------------------------------------------------------------------------

names = st.sampled_from(["a", "b", "old"])
lives = st.sampled_from(
    [
        {"node": "", "gates": ["singleton.bot/turn"]},
        {"node": ""},
        {"node": "", "terminating": -5},
        {},
        {"terminating": 90},
        {"phase": "Failed", "containers": [ended()]},
        {"phase": "Succeeded", "containers": [running()]},
        {"phase": "Running", "containers": [ended()]},
    ]
)
some_pods = st.dictionaries(names, lives, max_size=3)
claims = st.builds(
    Claim,
    version=st.just("7"),
    uid=st.sampled_from(["", "uid-new", "uid-old", "uid-a", "somebody"]),
    node=st.sampled_from(["", "node-1", "node-2"]),
    grace=st.sampled_from([0, 30, 300]),
)
some_nodes = st.dictionaries(
    st.sampled_from(["node-1", "node-2", ""]),
    st.none() | st.builds(node, ready=st.booleans(), out_of_service=st.booleans()),
)
told_for = st.none() | st.sampled_from([0.0, 29.0, 30.0, 299.0, 300.0, 3600.0])
fates = st.none() | st.builds(Vanished, told_for, silent=st.booleans())
some_ended = st.dictionaries(st.sampled_from(["uid-old", "uid-a", "somebody"]), fates)


def runs(facts: Json) -> bool:
    """Whether a pod with these facts may have a process, said once more and in another way."""
    running_ = any("running" in each["state"] for each in facts.get("containers", ()))
    return facts.get("node") != "" and (facts.get("phase", "Running") == "Running" or running_)


def proven(holder: Claim, nodes: Mapping[str, Node | None], seen: Mapping[str, Vanished | None]) -> bool:
    """Whether it is known that a vanished holder has no process."""
    fate = seen.get(holder.uid, Vanished())
    if fate is None:
        return True
    if holder.node == "" or holder.node not in nodes:
        return False
    where = nodes[holder.node]
    if where is None or where.out_of_service:
        return True
    if not where.ready:
        return fate.silent
    return fate.told_for is not None and fate.told_for >= holder.grace


@given(some_pods, claims, some_nodes, some_ended)
@example({}, BEFORE, {"node-1": node()}, {"uid-old": Vanished(30.0)})
@example({}, BEFORE, {"node-1": node()}, {"uid-old": Vanished(29.0)})
@example({}, BEFORE, {"node-1": node(ready=False)}, {"uid-old": Vanished(30.0)})
@example({}, BEFORE, {"node-1": node(ready=False)}, {"uid-old": Vanished(silent=True)})
@example({}, BEFORE, {"node-1": node()}, {"uid-old": Vanished(silent=True)})
@example({"old": {"node": ""}}, BEFORE, {}, {"uid-old": None})
def test_a_pod_is_opened_if_and_only_if_nobody_else_can_be_polling_or_about_to(
    others: dict[str, Json],
    holder: Claim,
    nodes: dict[str, Node | None],
    seen: dict[str, Vanished | None],
) -> None:
    """INV-2, and that nothing waits for ever that need not."""
    pods = tuple(pod(name, **facts) for name, facts in others.items())
    verdict = Facts(pods, holder, nodes, seen).judged()
    facts = next((each for name, each in others.items() if f"uid-{name}" == holder.uid), None)
    if holder.uid in {"", "uid-new"}:
        held_back = False
    elif facts is None:
        held_back = not proven(holder, nodes, seen)
    else:
        held_back = facts.get("node") == "" and "terminating" not in facts
    assert (verdict.turn is Turn.OPEN) is not (held_back or any(map(runs, others.values())))
    assert bool(verdict.why) is (verdict.turn is not Turn.OPEN)


@given(claims, some_nodes, some_ended)
def test_who_only_has_to_wait_is_opened_when_the_time_that_it_was_told_is_over(
    holder: Claim, nodes: dict[str, Node | None], seen: dict[str, Vanished | None]
) -> None:
    verdict = Facts((), holder, nodes, seen).judged()
    fate = seen.get(holder.uid, Vanished())
    if verdict.turn is not Turn.VANISHED:
        assert verdict.again_after == (10.0 if verdict.turn is Turn.UNKNOWN else None)
    elif fate is None or fate.told_for is None:
        assert verdict.again_after == 3.0
    else:
        assert verdict.again_after is not None
        assert verdict.again_after > 0
        later = {holder.uid: Vanished(fate.told_for + verdict.again_after)}
        assert Facts((), holder, nodes, later).judged() == Verdict(Turn.OPEN)
