"""The product with one rule taken out, each time another one, and the smallest world in which that shows.

A mutant that the search does not catch would mean that the model is too small, or that the rule is not needed.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import pytest

from telegrambot_operator import names
from telegrambot_operator.core import classify, turn
from telegrambot_operator.core.actions import ClaimTurn, DeletePod, OpenPod
from telegrambot_operator.core.classify import Death, Life, life
from telegrambot_operator.core.records import Node, Pod
from telegrambot_operator.core.turn import Claim, Turn, Vanished, Verdict
from telegrambot_operator.shell import history
from telegrambot_operator.shell.execute import Executor
from telegrambot_operator.shell.history import History
from telegrambot_operator.shell.kube import PODS, path
from telegrambot_operator.shell.turns import Turns
from tests.model.gate_operator import CLOCK
from tests.model.gate_world import NEVER, Bounds

Patch = pytest.MonkeyPatch


@dataclass(frozen=True)
class Mutant:
    """A product without a rule: what it breaks, and the bounds of the world in which it does."""

    without: Callable[[Patch], None]
    breaks: str
    bounds: Bounds = field(default_factory=Bounds)


def everywhere(patch: Patch, original: Callable[..., Any], put: Callable[..., Any]) -> None:
    """Replace a function in every module of the product that has it by name."""
    for name, module in list(sys.modules.items()):
        if name.startswith("telegrambot_operator"):
            for key, value in list(vars(module).items()):
                if value is original:
                    patch.setattr(module, key, put)


# --- Opening ----------------------------------------------------------------------------------------------------------


def no_live_list(patch: Patch) -> None:
    """The pods are not listed live before one is opened."""

    async def look(_self: Turns, _claim: ClaimTurn) -> None:
        return

    patch.setattr(Turns, "_look", look)


def gate_before_claim(patch: Patch) -> None:
    """The gate is removed first, and the Lease is written then."""
    usual = Turns.open

    async def opened(self: Turns, action: OpenPod) -> bytes:
        assert action.claim is not None
        await self._look(action.claim)
        answer = await usual(self, replace(action, claim=None))
        await self.take(action.claim)
        return answer

    patch.setattr(Turns, "open", opened)


def no_compare_and_swap(patch: Patch) -> None:
    """The Lease is written whatever has become of it since it was read."""
    usual = Turns.take

    async def take(self: Turns, claim: ClaimTurn) -> None:
        await usual(self, replace(claim, version=claim.version and "any"))

    patch.setattr(Turns, "take", take)


def held_holder_waits_for_nobody(patch: Patch) -> None:
    """The turn passes on while its holder is still held."""
    everywhere(patch, turn.is_next, lambda _: False)


def claims_are_not_finished(patch: Patch) -> None:
    """A pod that was made the holder by somebody who died then is not opened by anybody else."""
    usual = turn.may_be_opened

    def may_be_opened(pod: Pod, pods: Any, claim: Claim, *known: Any) -> Verdict:
        return Verdict(Turn.NOT_YET) if claim.uid == pod.uid else usual(pod, pods, claim, *known)

    everywhere(patch, usual, may_be_opened)


def one_lease_for_all(patch: Patch) -> None:
    """All bots share one turn."""
    everywhere(patch, names.lease, lambda _: "telegrambot-0")


# --- Who may be polling -----------------------------------------------------------------------------------------------


def leaving_pods_do_not_poll(patch: Patch) -> None:
    """A pod that is being deleted does not count."""
    everywhere(patch, classify.may_poll, lambda pod: life(pod) is Life.ALIVE)


def unknown_is_dead(patch: Patch) -> None:
    """A pod of which no kubelet has told anything yet counts as ended."""
    usual = classify.life

    def known_life(pod: Pod) -> Life:
        return usual(pod) if pod.status.container_statuses or not pod.spec.node_name else Life.DEAD

    everywhere(patch, usual, known_life)


# --- Who has vanished -------------------------------------------------------------------------------------------------


def vanished_is_ended(patch: Patch) -> None:
    """A holder whose object is gone has ended."""
    patch.setattr(turn, "_after_a_vanished_one", lambda *_: Verdict(Turn.OPEN))


def ready_node_proves(patch: Patch) -> None:
    """A vanished holder has ended if its node is Ready."""
    usual = turn._after_a_vanished_one

    def judged(claim: Claim, nodes: dict[str, Node | None], vanished: Vanished | None) -> Verdict:
        node = nodes.get(claim.node)
        return Verdict(Turn.OPEN) if node is not None and node.ready else usual(claim, nodes, vanished)

    patch.setattr(turn, "_after_a_vanished_one", judged)


def seen_to_go_is_ended(patch: Patch) -> None:
    """A pod has ended when a watch shows that it is removed, whatever its last state."""
    patch.setattr(History, "saw_the_last_of", lambda self, pod: self.prove(pod.uid))


def told_when_heard_of(patch: Patch) -> None:
    """A kubelet knows of a deletion as soon as it was heard of once."""
    usual = history._Missed.hear

    def hear(self: Any, *facts: str) -> Vanished:
        usual(self, *facts)
        self.told = self.heard if self.told is None else self.told
        return Vanished(None if self.told is None else CLOCK - self.told)

    patch.setattr(history._Missed, "hear", hear)


def no_grace(patch: Patch) -> None:
    """A kubelet that knows has ended the process."""
    usual = history._Missed.hear

    def hear(self: Any, *facts: str) -> Vanished:
        return Vanished(None if usual(self, *facts).told_for is None else 1e9)

    patch.setattr(history._Missed, "hear", hear)


def heard_of_is_hearing(patch: Patch) -> None:
    """A kubelet that is heard of has heard as well, though it was cut off until a moment ago."""
    patch.setattr(history, "_hears_too", lambda *_: True)


def node_before_stays(patch: Patch) -> None:
    """The Lease keeps the node of the holder before until that of the new one is known."""
    usual = Turns.take

    async def take(self: Turns, claim: ClaimTurn) -> None:
        kept = [key for key in (names.ANNOTATION_NODE,) if not claim.node]
        kube, self._kube = self._kube, _Forgetful(self._kube, kept)  # type: ignore[assignment]  # it has what is used
        try:
            await usual(self, claim)
        finally:
            self._kube = kube

    patch.setattr(Turns, "take", take)


class _Forgetful:
    """Leaves annotations out of what is written."""

    def __init__(self, kube: Any, without: list[str]) -> None:
        self._kube = kube
        self._without = without

    async def patch(self, where: str, body: dict[str, Any]) -> bytes:
        noted = {key: value for key, value in body["metadata"]["annotations"].items() if key not in self._without}
        answer: bytes = await self._kube.patch(where, {**body, "metadata": {**body["metadata"], "annotations": noted}})
        return answer

    async def request(self, *asked: Any) -> bytes:
        answer: bytes = await self._kube.request(*asked)
        return answer


# --- Deleting ---------------------------------------------------------------------------------------------------------


def no_preconditions(patch: Patch) -> None:
    """A pod is deleted by its name."""

    async def delete(self: Executor, _bot: Any, action: DeletePod) -> None:
        body = {"gracePeriodSeconds": 0} if action.force else {}
        await self._kube.request("DELETE", path(PODS, action.namespace, action.pod), None, body)

    patch.setattr(Executor, "_delete_pod", delete)


def lost_node_proves(patch: Patch) -> None:
    """A pod that hangs has ended if its node does not answer."""
    usual = Death.proven.fget  # type: ignore[attr-defined]  # it is a property
    patch.setattr(Death, "proven", property(lambda self: self is Death.NODE_LOST or usual(self)))


def ended_is_dead_at_once(patch: Patch) -> None:
    """Containers that were last reported as ended prove the end as soon as the node is Ready."""
    patch.setattr(classify, "HEARD_OF", timedelta(0))


def small(pods: int = 2, *, running_on: int = NEVER, nodes: int = 1, **each: int) -> Bounds:
    """Return a world with just these faults, of one bot and one operator, whose watch is never late."""
    faults = sum(each.values())
    return Bounds(pods, operators=1, nodes=nodes, lag=0, faults=faults, each=each, running_on=running_on)


MUTANTS = {
    "skips the live list": Mutant(no_live_list, "INV-2", small()),
    "opens before the claim": Mutant(gate_before_claim, "INV-2", small(crash=1, force=1)),
    "claims without compare-and-swap": Mutant(
        no_compare_and_swap, "INV-2", replace(small(3, running_on=0, delete=1, force=1), operators=2, noted=False)
    ),
    "passes the turn on while its holder is not bound": Mutant(
        held_holder_waits_for_nobody, "INV-2", small(scale=1, force=1)
    ),
    "leaves a claim unfinished": Mutant(claims_are_not_finished, "LIVE", small(crash=1)),
    "has one Lease for all bots": Mutant(one_lease_for_all, "LIVE", replace(small(3, running_on=0, force=1), bots=2)),
    "overlooks pods in Terminating": Mutant(leaving_pods_do_not_poll, "INV-2", small(delete=1)),
    "takes unknown for dead": Mutant(unknown_is_dead, "INV-2", small(delete=1)),
    "takes vanished for ended": Mutant(vanished_is_ended, "INV-2", small(force=1)),
    "takes a Ready node for a proof": Mutant(ready_node_proves, "INV-2", small(force=1)),
    "takes every deletion for an end": Mutant(seen_to_go_is_ended, "INV-2", small(force=1)),
    "waits for one sign of the kubelet only": Mutant(told_when_heard_of, "INV-2", small(running_on=0, force=1)),
    "waits for no grace period": Mutant(no_grace, "INV-2", small(running_on=0, force=1)),
    "does not care that the node was lost": Mutant(
        heard_of_is_hearing, "INV-2", small(running_on=0, force=1, cut=1, back=1)
    ),
    "leaves the node of the holder before": Mutant(
        node_before_stays, "INV-2", small(3, running_on=1, nodes=2, delete=1, cut=1, force=1)
    ),
    "deletes without preconditions": Mutant(no_preconditions, "INV-3", small(running_on=0, delete=1, cut=1, off=1)),
    "takes a lost node for a proof": Mutant(lost_node_proves, "INV-4", small(running_on=0, delete=1, cut=1)),
    "takes ended for dead at once": Mutant(
        ended_is_dead_at_once, "INV-4", small(running_on=0, exit=1, cut=1, delete=1, back=1)
    ),
}
