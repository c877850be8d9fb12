"""Which pods are a Deployment's: those of its ReplicaSets, which are named after it, in its own namespace."""

import pytest

from telegrambot_operator.core.ownership import belongs
from telegrambot_operator.core.records import Pod
from tests.unit.worlds import deployment, ownerless, pod

STRANGERS = {
    "a pod that nobody controls": ownerless("by-hand"),
    "a pod of something else than a ReplicaSet": pod(controller=("Job", "telegram-bot-6c9d")),
    "a pod of another Deployment": pod(controller=("ReplicaSet", "other-6c9d")),
    "a pod of a Deployment whose name begins alike": pod(controller=("ReplicaSet", "telegram-bot-beta-6c9d")),
    "a pod of the same manifest in another namespace": pod(namespace="staging"),
}


def test_a_pod_of_its_replica_set_belongs_to_it() -> None:
    assert belongs(pod(), deployment())


@pytest.mark.parametrize("stranger", STRANGERS.values(), ids=STRANGERS)
def test_nobody_elses_pod_does(stranger: Pod) -> None:
    assert not belongs(stranger, deployment())


def test_nothing_belongs_to_a_deployment_that_does_not_exist() -> None:
    assert not belongs(pod(), None)
