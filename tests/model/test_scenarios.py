"""Single stories on the model, each with the lock, and where the lock is the point also without any operator.

The runs without an operator are the control: they show that the model does what a cluster does, two processes and all.
"""

from collections.abc import Callable
from datetime import timedelta

import pytest

from telegrambot_operator.names import LABEL_BOT, LABEL_NAME
from tests.model import controllers
from tests.model.api import deleting, key_of, uid_of
from tests.model.cluster import BOT, BOT_ID, SECOND, Cluster
from tests.model.guard import Guard

Deed = Callable[[Cluster], None]
PROVEN_AFTER = 120  # seconds: the grace period of 30, the default afterSeconds of 60, and some more


def running(replicas: int = 1, strategy: str = "Recreate") -> Cluster:
    """Return a cluster in which the user's Deployment runs, without an operator."""
    cluster = Cluster()
    cluster.apply_deployment(replicas, strategy)
    cluster.run(10)
    return cluster


def guarded(cluster: Cluster, **fields: object) -> Guard:
    """Let an operator adopt the Deployment, and return it when all has settled."""
    guard = Guard(cluster)
    cluster.apply_bot(**fields)
    cluster.run(60, guard.run)
    assert len(cluster.alive()) == 1
    return guard


def condition(cluster: Cluster, kind: str) -> tuple[str, str]:
    """Return status and reason of a condition."""
    body = cluster.api.get("TelegramBot", BOT) or {}
    found = next(each for each in body["status"]["conditions"] if each["type"] == kind)
    return found["status"], found["reason"]


# --- What a user does, and what it comes to -----------------------------------------------------------------------


def deletes_the_pod(cluster: Cluster) -> None:
    """So do an eviction through the API, a drain and a preemption."""
    cluster.delete_pod(cluster.active_pods()[0])


def scales_to_two(cluster: Cluster) -> None:
    """By hand, or by an autoscaler."""
    cluster.edit_deployment(replicas=2)


def rolls_out_with_rolling_update(cluster: Cluster) -> None:
    """Kubernetes' default strategy starts the new pod before it stops the old one."""
    cluster.edit_deployment(strategy={"type": "RollingUpdate"})
    cluster.set_image("b")


def rolls_back_at_once(cluster: Cluster) -> None:
    """A -> B -> A while the first pod of A still stops: a Recreate rollout waits for the pods of B only."""
    cluster.set_image("b")
    cluster.deployments_step()
    cluster.replica_sets_step()
    cluster.set_image("a")


def scales_to_zero_and_back(cluster: Cluster) -> None:
    """1 -> 0 -> 1: the ReplicaSet does not count the pod that still stops."""
    cluster.edit_deployment(replicas=0)
    cluster.deployments_step()
    cluster.replica_sets_step()
    cluster.edit_deployment(replicas=1)


DEEDS = [
    deletes_the_pod,
    scales_to_two,
    rolls_out_with_rolling_update,
    rolls_back_at_once,
    scales_to_zero_and_back,
]


@pytest.mark.parametrize("deed", DEEDS, ids=lambda deed: deed.__name__)
def test_without_an_operator_two_processes_run(deed: Deed) -> None:
    cluster = running()
    deed(cluster)
    assert cluster.run(30) == 2


@pytest.mark.parametrize("deed", DEEDS, ids=lambda deed: deed.__name__)
def test_with_the_lock_one_process_runs_even_while_the_operator_is_down(deed: Deed) -> None:
    cluster = running()
    guarded(cluster)
    deed(cluster)
    assert cluster.run(60) == 1


@pytest.mark.parametrize("deed", DEEDS, ids=lambda deed: deed.__name__)
def test_with_the_operator_the_bot_is_back_and_ready_with_one_pod(deed: Deed) -> None:
    cluster = running()
    guard = guarded(cluster)
    deed(cluster)
    assert cluster.run(60, guard.run) == 1
    assert condition(cluster, "Ready") == ("True", "Running")
    assert len(cluster.pods()) == 1


def test_a_recreate_rollout_needs_no_lock() -> None:
    cluster = running()
    cluster.set_image("b")
    assert cluster.run(30) == 1


def test_a_pod_that_its_kubelet_evicted_is_replaced_only_when_its_process_has_ended() -> None:
    cluster = running()
    guard = guarded(cluster)
    cluster.nodes.pressure(cluster.alive()[0].uid, cluster.now)
    assert cluster.run(60, guard.run) == 1
    assert condition(cluster, "Ready") == ("True", "Running")


def test_suspended_and_resumed_while_the_pod_still_stops_one_process_runs() -> None:
    cluster = running()
    guard = guarded(cluster)
    cluster.edit_bot(suspend=True)
    cluster.run(2, guard.run)
    cluster.edit_bot(suspend=False)
    assert cluster.run(60, guard.run) == 1
    assert condition(cluster, "Ready") == ("True", "Running")


# --- Duplicates ---------------------------------------------------------------------------------------------------


def test_three_pods_at_adoption_become_one() -> None:
    cluster = running(replicas=3, strategy="RollingUpdate")
    assert len(cluster.alive()) == 3
    guarded(cluster)
    assert condition(cluster, "Singleton") == ("True", "OnePod")


def test_adoption_never_adds_a_process() -> None:
    cluster = running()
    guard = Guard(cluster)
    cluster.apply_bot()
    assert cluster.run(60, guard.run) == 1


def test_a_rolling_update_in_the_middle_of_the_adoption_waits_for_the_pod_that_never_had_the_lock() -> None:
    cluster = running()
    guard = Guard(cluster)
    cluster.apply_bot()
    guard.run()
    cluster.deployments_step()
    cluster.replica_sets_step()
    cluster.edit_deployment(strategy={"type": "RollingUpdate"})
    assert cluster.run(30) == 1


def test_a_shrinking_replica_set_takes_unready_and_young_pods_first() -> None:
    cluster = running(replicas=3)
    first, second, third = cluster.alive()
    cluster.nodes.set_health(first.uid, healthy=False)
    cluster.kubelets_step()
    cluster.edit_deployment(replicas=1)
    cluster.run(30)
    assert [each.uid for each in cluster.alive()] == [second.uid]
    assert third.uid != second.uid


def test_a_stray_pod_with_the_label_never_starts_beside_the_bot_and_is_deleted() -> None:
    cluster = running()
    guard = guarded(cluster)
    cluster.add_stray("debug", {LABEL_BOT: BOT_ID})
    assert cluster.run(10) == 1
    assert cluster.run(20, guard.run) == 1
    assert cluster.api.get("Pod", (BOT[0], "debug")) is None


def test_with_duplicates_report_a_stray_pod_is_left_to_a_person() -> None:
    cluster = running()
    guard = guarded(cluster, duplicates="Report")
    cluster.add_stray("debug", {LABEL_BOT: BOT_ID})
    cluster.run(20, guard.run)
    assert cluster.api.get("Pod", (BOT[0], "debug")) is not None
    assert condition(cluster, "Stalled") == ("True", "DuplicatePods")


def test_of_two_telegrambots_on_one_deployment_the_older_keeps_it() -> None:
    cluster = running()
    guard = guarded(cluster)
    cluster.apply_bot(SECOND, suspend=True)
    assert cluster.run(30, guard.run) == 1
    assert condition(cluster, "Ready") == ("True", "Running")


# --- Taken on, changed and let go of in the middle of something ---------------------------------------------------


def half_adopted() -> tuple[Cluster, Guard]:
    """Return a cluster in which the first pod still stops for the pod with the lock to start."""
    cluster = running()
    guard = Guard(cluster)
    cluster.apply_bot()
    guard.run()
    cluster.deployments_step()
    cluster.replica_sets_step()
    return cluster, guard


def test_adopted_in_the_middle_of_a_rolling_update_one_pod_is_left() -> None:
    cluster = running(replicas=3, strategy="RollingUpdate")
    cluster.set_image("b")
    cluster.run(2)
    guarded(cluster)
    assert condition(cluster, "Ready") == ("True", "Running")


def test_suspended_from_the_start_in_the_middle_of_a_rolling_update_no_pod_is_left() -> None:
    cluster = running(strategy="RollingUpdate")
    guard = Guard(cluster)
    cluster.set_image("b")
    cluster.controllers_step()
    cluster.apply_bot(suspend=True)
    cluster.run(60, guard.run)
    assert cluster.alive() == []
    assert condition(cluster, "Ready") == ("False", "Suspended")


def test_an_apply_of_replicas_strategy_and_image_at_once_still_rolls_out_its_image() -> None:
    cluster = running()
    guard = guarded(cluster)
    cluster.edit_deployment(replicas=3, strategy={"type": "RollingUpdate"})
    cluster.set_image("b")
    for _ in range(3):
        cluster.deployments_step()
    assert cluster.run(60, guard.run) == 1
    [pod] = cluster.pods()
    assert pod["spec"]["containers"][0]["image"] == "b"


def test_a_scale_in_the_middle_of_a_rolling_update_that_the_pin_overtakes_does_not_hang() -> None:
    cluster = running(replicas=2)
    guard = Guard(cluster)
    cluster.apply_bot()
    cluster.edit_deployment(strategy={"type": "RollingUpdate"})
    cluster.set_image("b")
    cluster.deployments_step()
    cluster.edit_deployment(replicas=0)
    cluster.run(60, guard.run)
    assert condition(cluster, "Ready") == ("True", "Running")
    [pod] = cluster.pods()
    assert pod["spec"]["containers"][0]["image"] == "b"


def test_a_lock_that_is_taken_off_while_a_pod_stops_makes_an_overlap() -> None:
    cluster, _ = half_adopted()
    cluster.undo_rollout(cluster.api.all("ReplicaSet")[0])
    assert cluster.run(30) == 2


def test_a_release_in_the_middle_of_the_adoption_waits_for_the_pod_that_stops() -> None:
    cluster, guard = half_adopted()
    cluster.delete_bot()
    guard.run()
    assert cluster.run(30) == 1


def test_lock_none_in_the_middle_of_the_adoption_waits_for_the_pod_that_stops() -> None:
    cluster, guard = half_adopted()
    cluster.edit_bot(lock="None")
    guard.run()
    assert cluster.run(30) == 1


def test_a_release_under_rolling_update_makes_no_overlap() -> None:
    cluster = running()
    guard = guarded(cluster)
    cluster.edit_deployment(strategy={"type": "RollingUpdate"})
    cluster.delete_bot()
    guard.run()
    assert cluster.run(30) == 1


@pytest.mark.parametrize("strategy", ["Recreate", "RollingUpdate"])
def test_a_released_deployment_ends_without_mark_and_lock_and_never_had_two_processes(strategy: str) -> None:
    cluster = running()
    guard = guarded(cluster)
    cluster.edit_deployment(strategy={"type": strategy})
    cluster.delete_bot()
    assert cluster.run(60, guard.run) == 1
    deployment = cluster.deployment()
    assert deployment is not None
    assert LABEL_NAME not in deployment["metadata"].get("labels", {})
    assert LABEL_BOT not in deployment["spec"]["template"]["metadata"]["labels"]
    assert "affinity" not in deployment["spec"]["template"]["spec"]
    assert len(cluster.alive()) == 1


# --- Stuck in Terminating -----------------------------------------------------------------------------------------


def with_a_terminating_pod(fault: Callable[[Cluster, str], None], policy: str = "WhenProven") -> tuple[Cluster, Guard]:
    """Let a pod be deleted, its node be struck by a fault, and so much time pass that the pod counts as stuck."""
    cluster = running()
    guard = guarded(cluster, stuckPods={"policy": policy})
    pod = cluster.pods()[0]
    cluster.delete_pod(pod)
    fault(cluster, pod["spec"]["nodeName"])
    cluster.wait(PROVEN_AFTER)
    assert cluster.api.get("Pod", key_of(pod)) is not None
    guard.run()
    return cluster, guard


def is_cut_off(cluster: Cluster, node: str) -> None:
    """The node is lost; the process lives on."""
    cluster.nodes.cut(node, cluster.now)


def is_cut_off_when_the_process_has_ended(cluster: Cluster, node: str) -> None:
    """The kubelet has written the terminal phase, and cannot confirm the deletion."""
    cluster.kubelets_step()
    cluster.wait(4)
    cluster.wait(4)
    cluster.nodes.sync(node, cluster.now)
    cluster.nodes.cut(node, cluster.now)


def is_off_and_removed(cluster: Cluster, node: str) -> None:
    """The cloud has removed the node."""
    cluster.remove_node(node)


def is_off_and_tainted(cluster: Cluster, node: str) -> None:
    """An admin has tainted it out-of-service."""
    cluster.taint_node(node)


def does_not_stop_the_process(cluster: Cluster, node: str) -> None:
    """The process ignores SIGKILL, as one that waits for a dead disk does."""
    del node
    cluster.nodes.hang(cluster.alive()[0].uid, hung=True)


PROOFS = [is_cut_off_when_the_process_has_ended, is_off_and_removed, is_off_and_tainted]
DOUBTS = [is_cut_off, does_not_stop_the_process]


@pytest.mark.parametrize("fault", PROOFS, ids=lambda fault: f"node_{fault.__name__}")
def test_a_stuck_pod_whose_process_is_proven_dead_is_force_deleted(fault: Callable[[Cluster, str], None]) -> None:
    cluster, guard = with_a_terminating_pod(fault)
    assert not any(deleting(pod) for pod in cluster.pods())
    assert cluster.run(60, guard.run) == 1
    assert condition(cluster, "Ready") == ("True", "Running")


@pytest.mark.parametrize("fault", PROOFS, ids=lambda fault: f"node_{fault.__name__}")
def test_with_the_policy_never_no_stuck_pod_is_touched(fault: Callable[[Cluster, str], None]) -> None:
    cluster, _ = with_a_terminating_pod(fault, "Never")
    assert any(deleting(pod) for pod in cluster.pods())
    assert condition(cluster, "Stalled")[0] == "True"


@pytest.mark.parametrize("fault", DOUBTS, ids=lambda fault: f"node_{fault.__name__}")
def test_a_stuck_pod_that_may_still_poll_is_held_and_its_successor_waits(fault: Callable[[Cluster, str], None]) -> None:
    cluster, guard = with_a_terminating_pod(fault)
    assert cluster.run(60, guard.run) == 1
    assert condition(cluster, "Stalled")[0] == "True"
    assert any(deleting(pod) for pod in cluster.pods())


@pytest.mark.parametrize("fault", DOUBTS, ids=lambda fault: f"node_{fault.__name__}")
def test_with_the_policy_force_it_is_deleted_and_two_processes_run(fault: Callable[[Cluster, str], None]) -> None:
    cluster, guard = with_a_terminating_pod(fault, "Force")
    assert cluster.run(60, guard.run) == 2


def test_the_finalizer_of_somebody_else_is_never_stripped() -> None:
    cluster = running()
    guard = guarded(cluster)
    pod = cluster.pods()[0]
    cluster.set_finalizers(pod, ["example.com/hold"])
    cluster.delete_pod(pod)
    assert cluster.run(PROVEN_AFTER, guard.run) == 1
    held = cluster.api.get("Pod", key_of(pod))
    assert held is not None
    assert held["metadata"]["finalizers"] == ["example.com/hold"]
    assert len(cluster.alive()) == 1  # its process is dead, so it does not keep its successor waiting
    assert uid_of(held) != cluster.alive()[0].uid


def test_a_lost_node_that_comes_back_ends_the_wait() -> None:
    cluster, guard = with_a_terminating_pod(is_cut_off)
    for name in cluster.nodes.machines:
        cluster.nodes.reconnect(name, cluster.now)
    assert cluster.run(60, guard.run) == 1
    assert condition(cluster, "Ready") == ("True", "Running")


def test_pods_of_a_lost_node_are_deleted_by_the_taint_manager_and_the_successor_waits() -> None:
    cluster = running()
    guard = guarded(cluster)
    cluster.nodes.cut(cluster.alive()[0].node, cluster.now)
    cluster.wait(60)
    controllers.evict_from_lost_nodes(cluster.api, cluster.now)
    assert cluster.run(PROVEN_AFTER, guard.run) == 1
    assert condition(cluster, "Singleton") == ("Unknown", "PodUnreachable")


def cut_off_after_a_crash(**fields: object) -> tuple[Cluster, Guard, str]:
    """Let a process crash, its node be cut off before it reports the restart, and the pod be deleted."""
    cluster = running()
    guard = guarded(cluster, **fields)
    [process] = cluster.alive()
    cluster.nodes.crash(process.uid, cluster.now)
    cluster.nodes.sync(process.node, cluster.now)
    cluster.nodes.cut(process.node, cluster.now)
    cluster.nodes.sync(process.node, cluster.now)
    cluster.delete_pod(cluster.active_pods()[0])
    assert cluster.nodes.is_alive(process.uid)
    return cluster, guard, process.node


def test_the_first_heartbeat_after_a_cut_proves_no_death() -> None:
    cluster, guard, node = cut_off_after_a_crash()
    cluster.wait(PROVEN_AFTER)
    guard.run()
    cluster.nodes.reconnect(node, cluster.now)
    guard.run()
    assert any(deleting(pod) for pod in cluster.pods())
    assert cluster.run(60, guard.run) == 1
    assert condition(cluster, "Ready") == ("True", "Running")


def test_a_node_that_only_counts_as_ready_until_its_silence_is_noticed_proves_no_death() -> None:
    cluster, guard, node = cut_off_after_a_crash(stuckPods={"afterSeconds": 0})
    cluster.wait(35)
    assert controllers.ready(cluster.api.existing("Node", ("", node)))
    guard.run()
    assert any(deleting(pod) for pod in cluster.pods())


def test_a_container_that_its_ready_node_reports_as_ended_for_long_is_dead() -> None:
    cluster = running()
    guard = guarded(cluster)
    pod = cluster.pods()[0]
    cluster.nodes.crash(uid_of(pod), cluster.now)
    cluster.nodes.sync(pod["spec"]["nodeName"], cluster.now)
    cluster.delete_pod(pod)
    cluster.now += timedelta(seconds=PROVEN_AFTER)  # the kubelet reports, but does nothing for this pod
    guard.run()
    assert not any(deleting(pod) for pod in cluster.pods())


def test_a_pass_on_an_old_deployment_starts_nothing_from_a_template_that_has_lost_its_lock() -> None:
    cluster = Cluster()
    cluster.apply_deployment()
    cluster.run(10)
    guard = Guard(cluster)
    cluster.apply_bot()
    cluster.edit_deployment(replicas=0)
    cluster.run(1, guard.run)  # the lock is in the template; the first pod, without it, stops
    guard.freeze("Deployment")
    cluster.undo_rollout(cluster.api.all("ReplicaSet")[0])  # back to the template without the lock
    guard.run_pass(BOT)
    assert cluster.run(30) == 1


# --- What no lock prevents ----------------------------------------------------------------------------------------


def test_a_force_delete_by_hand_leaves_a_process_that_nobody_sees() -> None:
    cluster = running()
    guard = guarded(cluster)
    cluster.force_delete(cluster.pods()[0])
    assert cluster.run(30, guard.run) == 2
    assert len(cluster.alive()) == 1
