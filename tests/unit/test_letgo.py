"""Releasing by hand: what comes next about one Deployment, case by case, and why nothing is done."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from telegrambot_operator.core.actions import OpenPod, PatchDeployment
from telegrambot_operator.core.letgo import ChangeTable, Do, Done, Facts, Step, Wait, next_step
from telegrambot_operator.core.turn import Claim, Vanished
from tests.unit.worlds import (
    BOT,
    DEPLOYMENT,
    GATE,
    IDENTITY,
    acted,
    deployment,
    deployment_body,
    gated,
    held,
    node,
    parsed,
    patched,
    pinned,
    pod,
    template_body,
)

ENTRY = f"{IDENTITY} Gate 1 {BOT}"
OWNER = ("TelegramBot", BOT, "uid-shop")
HOLDER = Claim("7", "shop/old", "uid-old", "node-1", 30)


def released(**facts: Any) -> Any:
    """A Deployment that is pinned, whose lock is gone already, and that still carries the mark."""
    return pinned(lock=None, **facts)


def at_admission(*pods: Any, **facts: Any) -> Facts:
    """A Deployment that the policies lock: nothing in its template, an entry in the table."""
    table = {DEPLOYMENT: ENTRY, "shop-token_token": f"{IDENTITY}/{BOT} 5/other", "other": "5 Gate 1 other"}
    return Facts(deployment=released(), pods=pods, table=table, table_version="9", **facts)


def told(step: Step) -> str:
    """The step in a few words."""
    match step:
        case Do():
            return f"do: {step.did}"
        case Wait():
            return f"wait: {step.why}"
        case Done():
            return f"done. {step.note}".rstrip(". ")


STEPS: dict[str, tuple[Facts, str]] = {
    "a rolling update would start two": (
        Facts(deployment=pinned(strategy="RollingUpdate"), pods=(pod(),)),
        "do: strategy RollingUpdate -> Recreate",
    ),
    "replicas that wait behind the lock would all start": (
        Facts(deployment=pinned(replicas=3, updated=3), pods=(pod(),)),
        "do: replicas 3 -> 1",
    ),
    "... but not in the middle of a rollout, which could hang on it": (
        Facts(deployment=pinned(replicas=3, settled=False, updated=0, total=1), pods=(pod(),)),
        "wait: its controller has to act on its last change",
    ),
    "a calm one lets go of its lock": (
        Facts(deployment=pinned(), pods=(pod(),)),
        "do: lock taken out of the pod template",
    ),
    "a calm one lets go of lock and gate": (
        Facts(deployment=gated(), pods=(pod(),)),
        "do: lock and gate taken out of the pod template",
    ),
    "a pod on its way out is waited for": (
        Facts(deployment=pinned(), pods=(pod("old", terminating=-5), pod("new", node=""))),
        "wait: pod old is on its way out",
    ),
    "a rollout is waited for": (
        Facts(deployment=pinned(settled=False), pods=(pod(),)),
        "wait: its rollout is under way",
    ),
    "a pod that waits for one of another Deployment has a reason to": (
        Facts(deployment=pinned(), pods=(pod(node=""), pod("other", namespace="staging"))),
        "wait: pod bot-a waits behind the lock: other may be polling",
    ),
    "a held pod whose predecessor vanished has one too": (
        Facts(
            deployment=gated(),
            pods=(held(),),
            claim=HOLDER,
            nodes={"node-1": node()},
            ended={"uid-old": Vanished()},
        ),
        "wait: pod new is held: pod shop/old vanished while it ran; its node node-1 has to end its process first",
    ),
    "a held pod of which nobody may know who ran last has one too": (
        Facts(deployment=gated(), pods=(held(),), claim=None),
        "wait: pod new is held: who ran last is not known: its Lease in the operator's namespace may not be read",
    ),
    "a held pod that waits for nobody holds nothing up": (
        Facts(deployment=gated(), pods=(held(),)),
        "do: lock and gate taken out of the pod template",
    ),
    "the table comes first, since it would gate what replaces an opened pod": (
        at_admission(held()),
        "do: taken out of the lock table",
    ),
    "the table too is left alone while a pod is on its way out": (
        at_admission(pod("old", terminating=-5), held()),
        "wait: pod old is on its way out",
    ),
    "a held pod that stays is opened": (
        Facts(deployment=released(), pods=(held(),)),
        "do: pod new opened",
    ),
    "a held pod that stays is not opened beside one that may be polling": (
        Facts(deployment=released(), pods=(held(), pod("old"))),
        "wait: pod new is held: old may be polling",
    ),
    "nor beside one that nothing holds and that may start": (
        Facts(deployment=released(), pods=(held(), pod("soon", node=""))),
        "wait: pod new is held: soon may start at any moment",
    ),
    "a held pod of an older template goes with the rollout": (
        Facts(deployment=released(updated=0), pods=(held(),)),
        "wait: its rollout has to replace pod new, which is held",
    ),
    "a held pod that is being deleted is nobody's any more": (
        Facts(deployment=released(), pods=(held(terminating=-5),)),
        "do: mark taken off",
    ),
    "the mark goes last": (Facts(deployment=released(), pods=(pod(),)), "do: mark taken off"),
    "an owned one keeps its mark": (
        Facts(deployment=released(owner=OWNER), pods=(pod(),)),
        "done. TelegramBot shop-bot owns it: Deployment telegram-bot is deleted with it, or with the CRD. "
        "To keep it: kubectl -n shop delete telegrambot shop-bot --cascade=orphan",
    ),
    "an owned one lets go of its lock": (
        Facts(deployment=pinned(owner=OWNER), pods=(pod(),)),
        "do: lock taken out of the pod template",
    ),
    "nothing of ours is left": (Facts(deployment=deployment(), pods=(pod(),)), "done"),
    "one without a lock is not made Recreate": (Facts(deployment=deployment(mark=BOT)), "do: mark taken off"),
    "one that is being deleted": (Facts(deployment=pinned(going=True)), "done. It is being deleted"),
}


@pytest.mark.parametrize(("facts", "expected"), STEPS.values(), ids=STEPS)
def test_what_comes_next(facts: Facts, expected: str) -> None:
    assert told(next_step(facts)) == expected


HURRIED = {
    "a pod on its way out": (Facts(deployment=pinned(), pods=(pod("old", terminating=-5), pod("new", node=""))), True),
    "a held pod in doubt": (Facts(deployment=gated(), pods=(held(),), claim=None), True),
    "a pod behind the lock": (Facts(deployment=pinned(), pods=(pod(node=""), pod("o", namespace="staging"))), True),
    "nobody at all": (Facts(deployment=pinned(), pods=(pod(),)), False),
}


@pytest.mark.parametrize(("facts", "risky"), HURRIED.values(), ids=HURRIED)
def test_in_a_hurry_the_lock_comes_off_and_what_that_risks_is_said_only_where_it_risks_something(
    facts: Facts, risky: bool
) -> None:
    step = next_step(replace(facts, hurry=True))
    assert isinstance(step, Do)
    assert isinstance(step.action, PatchDeployment)
    assert step.did.endswith("taken out of the pod template")
    assert step.risky is risky


@pytest.mark.parametrize("hurry", [False, True])
def test_no_hurry_opens_a_held_pod_in_doubt_and_what_a_person_can_do_is_said(hurry: bool) -> None:
    step = next_step(Facts(deployment=released(), pods=(held(),), claim=None, hurry=hurry))
    assert isinstance(step, Wait)
    assert "kubectl -n shop delete pod new" in step.cure


def test_no_hurry_starts_the_replicas_beyond_one() -> None:
    step = next_step(Facts(deployment=pinned(replicas=2, updated=2), pods=(pod(),), hurry=True))
    assert told(step) == "do: replicas 2 -> 1"


def test_the_table_loses_what_it_says_of_the_bot_and_keeps_what_it_says_of_others() -> None:
    step = next_step(at_admission(pod()))
    assert isinstance(step, Do)
    assert step.action == ChangeTable("shop", "9", {DEPLOYMENT: None, "shop-token_token": "5/other"})


def test_an_entry_that_somebody_has_spoiled_goes_as_well() -> None:
    step = next_step(Facts(deployment=released(), table={DEPLOYMENT: "nonsense"}, table_version="9"))
    assert isinstance(step, Do)
    assert step.action == ChangeTable("shop", "9", {DEPLOYMENT: None})


def opening(claim: Claim) -> OpenPod:
    step = next_step(Facts(deployment=released(), pods=(held(gates=["theirs", GATE]),), claim=claim))
    assert isinstance(step, Do)
    assert isinstance(step.action, OpenPod)
    assert step.opens
    return step.action


def test_a_pod_is_opened_as_the_holder_of_the_turn_where_there_is_a_lease() -> None:
    action = opening(Claim("7", "shop/new", "uid-new", "", 30))
    assert (action.pod, action.uid, action.gates) == ("new", "uid-new", ("theirs", GATE))
    assert action.claim is not None
    assert (action.claim.identity, action.claim.version) == (IDENTITY, "7")


def test_a_pod_is_opened_without_a_lease_where_there_is_none_since_its_namespace_may_be_gone() -> None:
    assert opening(Claim()).claim is None


def test_the_one_whose_turn_it_is_goes_first() -> None:
    pods = (held("a"), held("b"))
    step = next_step(Facts(deployment=released(), pods=pods, claim=Claim("7", "shop/b", "uid-b")))
    assert told(step) == "do: pod b opened"


@pytest.mark.parametrize("own", [None, OWNER], ids=["adopted", "owned"])
@pytest.mark.parametrize("gates", [[], [GATE]], ids=["Scheduler", "Gate"])
def test_step_by_step_it_comes_to_an_end_and_leaves_the_pin_and_what_is_the_users(own: Any, gates: list[str]) -> None:
    """Every step is written, and acted upon by the Deployment's controller, before the next is decided on."""
    mine = {"labelSelector": {"matchLabels": {"app": "cache"}}, "topologyKey": "kubernetes.io/hostname"}
    template = template_body(lock=IDENTITY, terms=[mine], gates=[*gates, "theirs"])
    body = deployment_body(mark=BOT, replicas=3, owner=own, template=template)
    did: list[str] = []
    while isinstance(step := next_step(Facts(deployment=parsed(body), pods=(pod(),))), Do):
        assert isinstance(step.action, PatchDeployment)
        body = acted(patched(body, step.action.body))
        did.append(step.did)
    assert isinstance(step, Done)
    what = "lock and gate" if gates else "lock"
    order = ["strategy RollingUpdate -> Recreate", "replicas 3 -> 1", f"{what} taken out of the pod template"]
    assert did == order + (["mark taken off"] if own is None else [])
    assert (body["spec"]["replicas"], body["spec"]["strategy"]["type"]) == (1, "Recreate")
    assert body["spec"]["template"] == template_body(terms=[mine], gates=["theirs"])
