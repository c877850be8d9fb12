"""What is done about turns: which held pod is opened, what is noted on the Lease, and when to look again.

`core/turn.py` says whether a pod may be opened; here is which one, by whom, and that everything else waits.
"""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from telegrambot_operator.core import turns as rules
from telegrambot_operator.core.actions import Action, ClaimTurn, OpenPod, describe
from telegrambot_operator.core.observed import Failure, Observed
from telegrambot_operator.core.plan import Plan, plan
from telegrambot_operator.core.records import Pod
from telegrambot_operator.core.turn import Claim, Turn, Vanished
from tests.unit.worlds import (
    DEPLOYMENT,
    GATE,
    HASH,
    IDENTITY,
    NAMESPACE,
    NOW,
    adopts,
    at,
    ended,
    gated,
    held,
    node,
    ownerless,
    pinned,
    pod,
    rival,
    takes_turns,
    telegram_bot,
    template_body,
    world,
)

BEFORE = Claim("7", "shop/old", "uid-old", "node-1", grace=30)
NOBODY = Claim()
GONE = pod("old", phase="Succeeded", containers=[ended()])
CANNOT_LIST = Failure("list", "pods", 403, 'User "op" cannot list resource "pods"')
CANNOT_DELETE = Failure("delete", "pods", 403, 'User "op" cannot delete resource "pods"')


def turning(*pods: Pod, **known: Any) -> Observed:
    """A bot with `lock: Gate`, and a Lease that nobody holds unless said otherwise."""
    return world(takes_turns(), pods=pods, **{"deployment": gated(), "claim": NOBODY, **known})


def free(*pods: Pod, **known: Any) -> Observed:
    """A bot that takes no turns."""
    return world(pods=pods, **known)


def vanished(told_for: float, *pods: Pod, **known: Any) -> Observed:
    """The holder's object is gone, and its node, which is well, has known that for so many seconds."""
    facts = {"claim": BEFORE, "ended": {"uid-old": Vanished(told_for)}, "nodes": {"node-1": node()}, **known}
    return turning(*pods, **facts)


def of_turns(made: Plan) -> list[str]:
    """What is done about turns: "claim" and "open" with the pod's name, a claimed opening with a "!" behind."""
    return [said(each) for each in made.actions if isinstance(each, ClaimTurn | OpenPod)]


def said(action: Action) -> str:
    match action:
        case ClaimTurn():
            return f"claim {action.pod}"
        case OpenPod():
            return f"open {action.pod}" + "!" * (action.claim is not None)
    raise AssertionError(action)


def acts(seen: Observed) -> list[str]:
    return of_turns(plan(seen, NOW))


# --- Which pod is opened, and when none is --------------------------------------------------------------------------

OLDER, NEWER = held("older", age=20), held("newer", age=5)
SUSPENDED = takes_turns(suspend=True)

CASES: dict[str, tuple[Observed, list[str]]] = {
    "one held pod, and nobody else: it is opened, and holds the turn": (turning(held("new")), ["open new!"]),
    "its predecessor has ended": (turning(held("new"), GONE, claim=BEFORE), ["open new!"]),
    "its predecessor may be polling": (turning(held("new"), pod("old", terminating=-5), claim=BEFORE), []),
    "its predecessor vanished, and had its time": (vanished(30, held("new")), ["open new!"]),
    "its predecessor vanished just now": (vanished(5, held("new")), []),
    "two are held: the newest": (turning(OLDER, NEWER), ["open newer!"]),
    "... in whichever order they are listed": (turning(NEWER, OLDER), ["open newer!"]),
    "two are held, and the older holds the turn: somebody was about to open that one": (
        turning(OLDER, NEWER, claim=Claim("7", "shop/older", "uid-older")),
        ["open older!"],
    ),
    "two are held since the same second: always the same one": (
        turning(held("a"), held("b")),
        ["open b!"],
    ),
    "a held pod of an older template, though the rollout has begun": (
        turning(
            held("new", template_hash="5f7b", controller=("ReplicaSet", f"{DEPLOYMENT}-5f7b")),
            deployment=gated(settled=False),
        ),
        ["open new!"],
    ),
    "a held pod on its way out is not opened": (turning(held("new", terminating=-5)), []),
    "a pod that waits for a node only is open already": (turning(held("new", gates=[])), []),
    "... also when other gates hold it": (turning(held("new", gates=["example.com/quota"])), []),
    "a held pod that nobody controls": (turning(ownerless("stray", node="", gates=[GATE])), []),
    "a held pod of another controller": (turning(held("set-0", controller=("StatefulSet", "set"))), []),
    "suspended": (world(SUSPENDED, deployment=gated(replicas=0), claim=NOBODY, pods=[held("new")]), []),
    "second to another TelegramBot with its identity": (turning(held("new"), rivals=(rival(age=90000),)), []),
    "pods cannot be listed": (turning(held("new"), failures=(CANNOT_LIST,)), []),
    "another right is missing": (turning(held("new"), failures=(CANNOT_DELETE,)), ["open new!"]),
    "the Lease could not be read": (turning(held("new"), claim=None), []),
    "no turns any more: a pod that is still held is opened, and holds no turn": (free(held("new")), ["open new"]),
    "... also while another one runs: the scheduler holds it back": (free(held("new"), pod("old")), ["open new"]),
    "... all of them": (free(OLDER, NEWER), ["open newer", "open older"]),
    "... not one of another controller": (free(held("set-0", controller=("StatefulSet", "set"))), []),
    "without any lock likewise": (
        world(telegram_bot(spec=adopts(lock="None")), deployment=pinned(lock=None), pods=[held("new")]),
        ["open new"],
    ),
    "no turns, nobody held": (free(pod("old")), []),
    # What runs is noted on the Lease.
    "a pod runs, and nobody holds the turn: it holds it": (turning(pod("old")), ["claim old"]),
    "it holds the turn, and where it runs is not known yet": (
        turning(pod("old"), claim=replace(BEFORE, node="")),
        ["claim old"],
    ),
    "it holds the turn, and another node is noted": (
        turning(pod("old"), claim=replace(BEFORE, node="node-2")),
        ["claim old"],
    ),
    "it holds the turn, and that is known": (turning(pod("old"), claim=BEFORE), []),
    "it is on its way out: where it ran is noted all the same": (turning(pod("old", terminating=-5)), ["claim old"]),
    "two run: whoever is noted, the other would be forgotten": (turning(pod("old"), pod("other")), []),
    "none runs": (turning(), []),
    "the one that runs has ended": (turning(GONE), []),
    "the one that runs is in another namespace, as is its TelegramBot": (turning(pod("old", namespace="sales")), []),
    "one runs, and the turn is another's that was seen to end": (
        turning(pod("p"), claim=BEFORE, ended={"uid-old": None}),
        ["claim p"],
    ),
    "one runs, and the turn is another's that vanished": (vanished(5, pod("p")), []),
    "one runs, and the turn is another's that vanished and had its time": (vanished(30, pod("p")), ["claim p"]),
    "one runs, and the turn is another's that has ended and is still there": (
        turning(pod("p"), GONE, claim=BEFORE),
        ["claim p"],
    ),
    "it holds the turn, and has been given longer to stop": (
        turning(pod("old"), claim=replace(BEFORE, grace=5)),
        ["claim old"],
    ),
    "no turns, and suspended: nobody is opened": (
        world(telegram_bot(spec=adopts(suspend=True)), deployment=pinned(replicas=0), pods=[held("new")]),
        [],
    ),
    "one runs, and the turn is another's that waits for a node": (
        turning(pod("p"), held("old", gates=[]), claim=BEFORE),
        [],
    ),
    "one runs and another one is held: nothing is noted before that is decided": (
        turning(pod("old"), held("new")),
        [],
    ),
    "one runs while suspended": (world(SUSPENDED, deployment=gated(replicas=0), claim=NOBODY, pods=[pod("old")]), []),
}


@pytest.mark.parametrize(("seen", "expected"), CASES.values(), ids=CASES)
def test_turns(seen: Observed, expected: list[str]) -> None:
    assert acts(seen) == expected


# --- What an opening says ---------------------------------------------------------------------------------------------


def opened(seen: Observed) -> OpenPod:
    (found,) = [each for each in plan(seen, NOW).actions if isinstance(each, OpenPod)]
    return found


def test_an_opening_names_the_pod_by_uid_its_gates_in_order_and_the_turn_as_it_was_read() -> None:
    new = held("new", gates=["example.com/quota", GATE], grace=45)
    assert opened(turning(new, GONE, claim=BEFORE)) == OpenPod(
        NAMESPACE,
        "new",
        "uid-new",
        ("example.com/quota", GATE),
        ClaimTurn(NAMESPACE, "new", "uid-new", IDENTITY, version="7", before="uid-old", node="", grace=45),
        f"Pod new is opened: no other pod of bot {IDENTITY} can be polling.",
    )


def test_the_first_opening_of_all_makes_the_lease() -> None:
    made = opened(turning(held("new"))).claim
    assert made is not None
    assert (made.version, made.before) == ("", "")


def test_an_opening_without_turns_says_so() -> None:
    made = opened(free(held("new")))
    assert (made.uid, made.gates, made.why) == ("uid-new", (GATE,), "Pod new is opened: its bot takes no turns.")


def test_what_is_noted_is_where_the_pod_runs_and_how_long_it_may_take_to_stop() -> None:
    (made,) = plan(turning(pod("old", grace=45), claim=replace(BEFORE, node="")), NOW).actions
    assert made == ClaimTurn(
        NAMESPACE, "old", "uid-old", IDENTITY, version="7", before="uid-old", node="node-1", grace=45
    )


def test_of_two_times_to_stop_the_longer_is_noted() -> None:
    """A deletion may give a pod more time than its spec does, or less; its kubelet goes by what it heard."""
    for spec, deletion in ((30, 600), (600, 30)):
        going = pod("old", terminating=-5, grace=deletion)
        going = structs.replace(going, spec=structs.replace(going.spec, termination_grace_period_seconds=spec))
        (made,) = plan(turning(going), NOW).actions
        assert isinstance(made, ClaimTurn)
        assert made.grace == 600


def test_the_rights_that_turns_take() -> None:
    """As an admin writes them into a Role."""
    noted = plan(turning(pod("old")), NOW).actions[0]
    assert describe(noted) == ("patch", "leases.coordination.k8s.io")
    assert describe(opened(turning(held("new")))) == ("patch", "pods")


# --- How it stands in the plan ----------------------------------------------------------------------------------------

# A held pod is ten seconds old: in so many more its Deployment's progress deadline is held off.
DEADLINE = 20.0

WAITS: dict[str, tuple[Observed, Turn | None, float | None]] = {
    "a pod that may be polling: its end is an event": (
        turning(held("new"), pod("old")),
        Turn.NOT_YET,
        DEADLINE,
    ),
    "a process that has ten more seconds": (vanished(20, held("new")), Turn.VANISHED, 10.0),
    "a node that does not answer: it is looked at again": (
        vanished(20, held("new"), nodes={"node-1": node(ready=False)}),
        Turn.UNKNOWN,
        10.0,
    ),
    "the sooner of two: a pod becomes overdue before the process that vanished has had its time": (
        vanished(5, held("new"), held("hung", terminating=57)),
        Turn.VANISHED,
        3.0,
    ),
    "... and the other way round": (
        vanished(28, held("new"), held("hung", terminating=50)),
        Turn.VANISHED,
        2.0,
    ),
    "nothing: it is opened": (turning(held("new")), None, DEADLINE),
    "nothing: nobody is held": (turning(pod("old"), claim=BEFORE), None, None),
    "nothing that can be known without the Lease": (turning(held("new"), claim=None), None, DEADLINE),
}


@pytest.mark.parametrize(("seen", "turn", "again_after"), WAITS.values(), ids=WAITS)
def test_a_held_pod_waits_for(seen: Observed, turn: Turn | None, again_after: float | None) -> None:
    made = plan(seen, NOW)
    assert (made.waits.turn if made.waits else None, made.again_after) == (turn, again_after)


HOUR = 3600.0


@pytest.mark.parametrize("jump", [-HOUR, HOUR], ids=["an hour back", "an hour on"])
@pytest.mark.parametrize(("seen", "expected"), CASES.values(), ids=CASES)
def test_a_clock_that_jumps_opens_nobody(seen: Observed, expected: list[str], jump: float) -> None:
    """What is waited for a vanished pod's kubelet is measured on a clock that runs steadily (`shell/history.py`)."""
    assert of_turns(plan(seen, at(jump))) == expected


def test_a_pod_is_opened_last_when_all_else_has_been_put_in_order() -> None:
    """Its own label is on it by then, so that the live look of whoever comes next finds it."""
    seen = turning(held("new", bot=None), held("stray", controller=None), deployment=gated(mark=None), claim=Claim("7"))
    kinds = [type(each).__name__ for each in plan(seen, NOW).actions]
    assert kinds == ["LabelPod", "PatchDeployment", "DeletePod", "OpenPod"]


def test_a_hung_predecessor_is_force_deleted_and_the_next_opened_in_a_later_pass() -> None:
    """Only what is seen counts, not what has just been asked for."""
    hung = pod("old", terminating=900)
    seen = turning(held("new"), hung, claim=BEFORE, nodes={"node-1": None})
    assert [type(each).__name__ for each in plan(seen, NOW).actions] == ["DeletePod"]


def test_the_gate_comes_off_before_the_pods_behind_it_are_opened() -> None:
    """Else the Deployment would go on to make held ones."""
    made = plan(free(held("new"), deployment=gated()), NOW)
    assert [type(each).__name__ for each in made.actions] == ["PatchDeployment", "OpenPod"]


def test_which_pods_are_held_newest_first() -> None:
    pods = [OLDER, pod("runs"), NEWER, held("going", terminating=-5), held("open", gates=[])]
    assert [each.name for each in rules.held(turning(*pods))] == ["newer", "older"]


# --- For any pods -----------------------------------------------------------------------------------------------------

lives = st.sampled_from(
    [
        {"node": "", "gates": [GATE]},
        {"node": "", "gates": [GATE], "age": 5.0},
        {"node": ""},
        {"node": "", "gates": [GATE], "terminating": -5},
        {},
        {"terminating": -5},
        {"phase": "Failed", "containers": [ended()]},
    ]
)
crowds = st.dictionaries(st.sampled_from(["a", "b", "c", "old"]), lives, max_size=4)
claims = st.sampled_from([NOBODY, BEFORE, replace(BEFORE, node=""), Claim("7", "shop/a", "uid-a", "node-1")])
fates = st.sampled_from([None, Vanished(), Vanished(29.0), Vanished(30.0)])


@given(crowds, claims, fates, fates)
def test_one_pod_at_most_is_opened_and_never_beside_another_that_may_poll(
    crowd: dict[str, dict[str, Any]], claim: Claim, old: Vanished | None, a: Vanished | None
) -> None:
    """INV-2 for the whole plan; what is opened, is opened as the holder of the turn."""
    pods = [pod(name, template_hash=HASH, **facts) for name, facts in crowd.items()]
    missed = {uid: fate for uid, fate in (("uid-old", old), ("uid-a", a)) if uid[4:] not in crowd}
    made = plan(turning(*pods, claim=claim, ended=missed, nodes={"node-1": node()}), NOW)
    found = [each for each in made.actions if isinstance(each, OpenPod)]
    assert len(found) <= 1
    for each in found:
        assert each.claim is not None
        assert (each.claim.version, each.claim.before) == (claim.version, claim.uid)
        assert [name for name, facts in crowd.items() if facts in ({}, {"terminating": -5})] == []
        assert missed.get(claim.uid) in {None, Vanished(30.0)}
        assert GATE in each.gates


def test_a_template_that_lacks_the_gate_gets_it_and_its_held_pods_wait_as_all_others() -> None:
    seen = turning(held("new"), pod("old"), deployment=pinned(template=template_body(lock=IDENTITY)))
    assert [type(each).__name__ for each in plan(seen, NOW).actions] == ["PatchDeployment"]
