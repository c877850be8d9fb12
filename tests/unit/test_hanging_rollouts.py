"""A Deployment whose controller will never act again: how we keep from leading it there, and how we free it."""

import json
from typing import Any

import pytest

from telegrambot_operator.core import desired
from telegrambot_operator.core.actions import ApplyDeployment, EmptyReplicaSet
from telegrambot_operator.core.plan import plan
from telegrambot_operator.core.records import Deployment, ReplicaSet, parse_deployment, parse_replica_set
from tests.unit.worlds import (
    BOT,
    NAMESPACE,
    NOW,
    deployment,
    deployment_body,
    merged,
    owns,
    pinned,
    telegram_bot,
    world,
)


def replica_set(name: str, replicas: int, desired_replicas: int | None) -> ReplicaSet:
    annotations = (
        {} if desired_replicas is None else {"deployment.kubernetes.io/desired-replicas": str(desired_replicas)}
    )
    metadata = {"name": name, "namespace": NAMESPACE, "uid": f"uid-{name}", "annotations": annotations}
    return parse_replica_set(json.dumps({"metadata": metadata, "spec": {"replicas": replicas}}).encode())


def emptied(deployment: Deployment, *versions: ReplicaSet) -> list[str]:
    actions = plan(world(deployment=deployment, versions=versions), NOW).actions
    return [each.replica_set for each in actions if isinstance(each, EmptyReplicaSet)]


HANGING: dict[str, tuple[list[tuple[str, int, int | None]], list[str]]] = {
    "two that have pods": ([("old", 3, 3), ("new", 1, 3)], ["old", "new"]),
    "one whose number fits, noted for another one": ([("new", 1, 3)], ["new"]),
    "one that was never scaled": ([("new", 1, None)], []),
    "one that is as it should be": ([("new", 1, 1)], []),
    "old ones that are empty": ([("old", 0, 3), ("older", 0, 2), ("new", 1, 1)], []),
    "none that has pods": ([("old", 0, 3)], []),
}


@pytest.mark.parametrize(("sets", "expected"), HANGING.values(), ids=HANGING)
def test_which_replica_sets_a_rollout_hangs_on(sets: list[tuple[str, int, int | None]], expected: list[str]) -> None:
    assert emptied(pinned(), *(replica_set(*each) for each in sets)) == expected


def test_a_rolling_update_may_have_two_versions() -> None:
    rolling = deployment(strategy="RollingUpdate", replicas=1)
    assert emptied(rolling, replica_set("old", 3, 3), replica_set("new", 1, 3)) == []


def test_each_is_named_by_uid_and_told() -> None:
    actions = plan(world(versions=(replica_set("old", 3, 3), replica_set("new", 1, 3))), NOW).actions
    first = next(each for each in actions if isinstance(each, EmptyReplicaSet))
    assert (first.namespace, first.uid, first.reason) == (NAMESPACE, "uid-old", "RolloutUnblocked")
    assert first.why == "ReplicaSet old is scaled to 0: the rollout of Deployment telegram-bot hung on it."


SHAPED: dict[str, tuple[dict[str, Any], int | None, bool]] = {
    "we changed its template, and it has acted on that": ({"observed": 4}, 4, True),
    "we changed its template, and its counts are from before": ({"observed": 3}, 4, False),
    "we have changed nothing that we know of": ({"observed": 3}, None, True),
}


@pytest.mark.parametrize(("facts", "shaped", "expected"), SHAPED.values(), ids=SHAPED)
def test_counts_from_before_our_own_change_prove_nothing(
    facts: dict[str, Any], shaped: int | None, *, expected: bool
) -> None:
    body = deployment_body(replicas=2)
    body["metadata"]["generation"] = 5
    body["status"] |= {"observedGeneration": facts["observed"], "replicas": 1, "updatedReplicas": 1}
    assert desired.may_be_scaled(parse_deployment(json.dumps(body).encode()), shaped) is expected


def test_an_owned_deployment_without_a_lock_is_corrected_though_it_cannot_roll_out() -> None:
    old, new = (
        telegram_bot(spec=owns(lock="None", template={"spec": {"containers": [{"name": "bot", "image": image}]}}))
        for image in ("shop/bot:1", "shop/bot:2")
    )
    (created,) = plan(world(old, deployment=None), NOW).actions
    assert isinstance(created, ApplyDeployment)
    failing = deployment_body(BOT, strategy="Recreate", updated=0, failing="exceeded quota")
    stuck = parse_deployment(json.dumps(merged(failing, created.body)).encode())
    (action,) = plan(world(new, deployment=stuck), NOW).actions
    assert isinstance(action, ApplyDeployment)
    assert action.body["spec"]["template"]["spec"]["containers"][0]["image"] == "shop/bot:2"
