"""Which pods may be polling, and which of those that hang are proven dead: the classes of section 5 of the design.

Unknown always counts as "may be polling": a mistake in that direction costs a restart, one in the other an overlap.
"""

import pytest

from telegrambot_operator.core.classify import Death, Life, because, death, life, may_poll, overdue, overdue_at
from telegrambot_operator.core.records import Node, Pod
from tests.unit.worlds import NOW, at, ended, node, pod, running, waiting

# --- What a pod's process can do ------------------------------------------------------------------------------------

LIVES: dict[str, tuple[Pod, Life]] = {
    "a pod that no node has got yet is held": (pod(node=""), Life.HELD),
    "a held pod that is being deleted is still held": (pod(node="", terminating=5), Life.HELD),
    "a running pod is alive": (pod(), Life.ALIVE),
    "a pod whose kubelet has said nothing yet is alive": (pod(phase="Pending", containers=[]), Life.ALIVE),
    "a pod whose image is being pulled is alive, since it may start at any moment": (
        pod(phase="Pending", containers=[waiting("ContainerCreating")]),
        Life.ALIVE,
    ),
    "a pod between two restarts is alive": (pod(containers=[waiting("CrashLoopBackOff")]), Life.ALIVE),
    "a pod whose containers have ended is alive while its phase lets them start again": (
        pod(containers=[ended()]),
        Life.ALIVE,
    ),
    "a pod of unknown phase is alive": (pod(phase="Unknown"), Life.ALIVE),
    "a running pod that is being deleted is leaving": (pod(terminating=-20), Life.LEAVING),
    "a failed pod is dead": (pod(phase="Failed", containers=[ended()]), Life.DEAD),
    "a succeeded pod is dead": (pod(phase="Succeeded", containers=[ended(code=0)]), Life.DEAD),
    "a failed pod that is being deleted is dead": (
        pod(phase="Failed", containers=[ended()], terminating=5),
        Life.DEAD,
    ),
    "an evicted pod without container statuses is dead": (
        pod(phase="Failed", containers=[], reason="Evicted"),
        Life.DEAD,
    ),
    "a pod that a controller called failed, with a container last seen running, is alive": (
        pod(phase="Failed"),
        Life.ALIVE,
    ),
    "a failed pod whose sidecar was last seen running is alive": (
        pod(phase="Failed", containers=[ended()], sidecars=[running("proxy")]),
        Life.ALIVE,
    ),
}


@pytest.mark.parametrize(("given", "expected"), LIVES.values(), ids=LIVES)
def test_life(given: Pod, expected: Life) -> None:
    assert life(given) is expected


@pytest.mark.parametrize(("given", "expected"), LIVES.values(), ids=LIVES)
def test_only_held_and_dead_pods_cannot_be_polling(given: Pod, expected: Life) -> None:
    assert may_poll(given) is (expected not in {Life.HELD, Life.DEAD})


# --- Whether a pod that hangs is dead -------------------------------------------------------------------------------

STUCK = pod(terminating=90)
STOPPED = pod(terminating=90, containers=[ended()])
READY, LOST, OFF = node(), node(ready=False), node(ready=False, out_of_service=True)
BACK = node(since=-59)  # heard of again, but not for long enough to have spoken of its pods
UNDATED = node(since=None)

DEATHS: dict[str, tuple[Pod, dict[str, Node | None], Death, bool]] = {
    "never bound to a node: proven": (pod(node="", terminating=90), {}, Death.NEVER_BOUND, True),
    "terminal phase: proven, whatever the node does": (
        pod(phase="Failed", containers=[ended()], terminating=90),
        {"node-1": LOST},
        Death.CONTAINERS_TERMINATED,
        True,
    ),
    "all containers ended, node Ready, overdue by a minute: proven": (
        pod(terminating=60, containers=[ended()]),
        {"node-1": node(since=-60)},
        Death.CONTAINERS_TERMINATED,
        True,
    ),
    "all containers ended, node Ready for less than a minute: not proven yet": (
        STOPPED,
        {"node-1": BACK},
        Death.ENDING,
        False,
    ),
    "all containers ended, node Ready, overdue by less than a minute: not proven yet": (
        pod(terminating=59, containers=[ended()]),
        {"node-1": READY},
        Death.ENDING,
        False,
    ),
    "all containers ended, node Ready since nobody knows when: not proven yet": (
        STOPPED,
        {"node-1": UNDATED},
        Death.ENDING,
        False,
    ),
    "never bound: proven at once, no node has to say so": (
        pod(node="", terminating=0),
        {"node-1": BACK},
        Death.NEVER_BOUND,
        True,
    ),
    "terminal phase: proven at once, since the kubelet does not go back on it": (
        pod(phase="Failed", containers=[ended()], terminating=0),
        {"node-1": BACK},
        Death.CONTAINERS_TERMINATED,
        True,
    ),
    "all containers ended, node silent: not proven, it may start them again": (
        STOPPED,
        {"node-1": LOST},
        Death.NODE_LOST,
        False,
    ),
    "one of two containers ended: alive": (
        pod(terminating=90, containers=[ended("bot"), running("helper")]),
        {"node-1": READY},
        Death.ALIVE,
        False,
    ),
    "containers ended but a sidecar runs: alive": (
        pod(terminating=90, containers=[ended()], sidecars=[running("proxy")]),
        {"node-1": READY},
        Death.ALIVE,
        False,
    ),
    "one container ended, the other between restarts: alive": (
        pod(terminating=90, containers=[ended("bot"), waiting("CrashLoopBackOff", name="helper")]),
        {"node-1": READY},
        Death.ALIVE,
        False,
    ),
    "no container reported yet: alive": (pod(terminating=90, containers=[]), {"node-1": READY}, Death.ALIVE, False),
    "running on a Ready node: alive": (STUCK, {"node-1": READY}, Death.ALIVE, False),
    "last seen running, node not Ready: unproven": (STUCK, {"node-1": LOST}, Death.NODE_LOST, False),
    "node object gone: proven": (STUCK, {"node-1": None}, Death.NODE_GONE, True),
    "node tainted out-of-service by an admin: proven": (STUCK, {"node-1": OFF}, Death.OUT_OF_SERVICE, True),
    "node could not be read: unproven": (STUCK, {}, Death.UNKNOWN, False),
    "phase set by a controller on a silent node, last seen running: unproven": (
        pod(phase="Failed", terminating=90),
        {"node-1": LOST},
        Death.NODE_LOST,
        False,
    ),
}


@pytest.mark.parametrize(("given", "nodes", "expected", "proven"), DEATHS.values(), ids=DEATHS)
def test_death(given: Pod, nodes: dict[str, Node | None], expected: Death, *, proven: bool) -> None:
    verdict = death(given, nodes, NOW)
    assert (verdict, verdict.proven) == (expected, proven)


def test_a_container_that_no_kubelet_has_reported_is_not_taken_for_ended() -> None:
    half_told = pod(terminating=90, containers=[ended("bot")], unreported=["helper"])
    assert death(half_told, {"node-1": READY}, NOW) is Death.ALIVE


def test_time_alone_turns_an_ending_pod_into_a_dead_one() -> None:
    stopped = pod(terminating=0, containers=[ended()])
    verdicts = [death(stopped, {"node-1": node(since=0)}, at(seconds)) for seconds in (0, 59, 60)]
    assert verdicts == [Death.ENDING, Death.ENDING, Death.CONTAINERS_TERMINATED]


@pytest.mark.parametrize("jump", [-3600, 3600], ids=["an hour back", "an hour on"])
@pytest.mark.parametrize(("given", "nodes", "expected", "proven"), DEATHS.values(), ids=DEATHS)
def test_a_clock_that_jumps_counts_for_nothing_but_the_minute_after_the_containers_ended(
    given: Pod, nodes: dict[str, Node | None], expected: Death, *, proven: bool, jump: int
) -> None:
    """That minute proves that a node which is Ready, and has reported every container as ended, is well in fact."""
    verdict = death(given, nodes, at(jump))
    minute = {Death.ENDING, Death.CONTAINERS_TERMINATED}
    assert verdict is expected or {verdict, expected} == minute
    assert verdict.proven is proven or expected in minute


def test_the_table_above_has_every_verdict() -> None:
    heard_at_telegram = {Death.SILENT}  # see test_listening.py
    assert {expected for _, _, expected, _ in DEATHS.values()} == set(Death) - heard_at_telegram


def test_every_verdict_has_words_of_its_own() -> None:
    assert len({because(verdict) for verdict in Death}) == len(Death)


def test_the_words_for_a_silent_node_are_true_also_of_a_pod_whose_containers_had_ended() -> None:
    assert "last seen running" not in because(death(STOPPED, {"node-1": LOST}, NOW))


# --- When a pod is stuck --------------------------------------------------------------------------------------------


def test_a_pod_that_is_not_being_deleted_is_never_stuck() -> None:
    assert overdue_at(pod(), 60) is None
    assert not overdue(pod(), 0, NOW)


def test_the_grace_period_is_in_the_deletion_timestamp_and_is_not_added_again() -> None:
    """Kubernetes sets deletionTimestamp to the request's time plus the grace period."""
    asked_now_with_ten_minutes = pod(terminating=-600, grace=600)
    assert overdue_at(asked_now_with_ten_minutes, 60) == at(660)


@pytest.mark.parametrize(
    ("terminating", "stuck"),
    [(-30, False), (0, False), (59, False), (60, True), (3600, True)],
    ids=[
        "within its grace period it is not stuck",
        "when its grace period ends it is not stuck",
        "a second before afterSeconds it is not stuck",
        "at afterSeconds it is stuck",
        "an hour later it is stuck",
    ],
)
def test_overdue(terminating: float, *, stuck: bool) -> None:
    assert overdue(pod(terminating=terminating), 60, NOW) is stuck
