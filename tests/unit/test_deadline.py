"""The progress deadline stands still while a pod waits for its turn, and counts again afterwards."""

from typing import Any

import pytest

from telegrambot_operator.core.actions import PatchDeployment
from telegrambot_operator.core.deadline import NEVER, hold_the_deadline
from telegrambot_operator.core.desired import release_patch, unmark_patch
from telegrambot_operator.core.plan import plan
from telegrambot_operator.core.records import Deployment
from tests.unit.worlds import NOW, at, deployment_body, held, merged, parsed, pinned, pod, takes_turns, world

NOTE = "singleton.bot/progress-deadline-seconds"
LEAVING = pod("old", terminating=-5)


def waiting(seconds: int = 600, note: str | None = None, **facts: Any) -> Deployment:
    body = deployment_body(mark="shop", strategy="Recreate", **facts)
    change: dict[str, Any] = {"spec": {"progressDeadlineSeconds": seconds}}
    return parsed(merged(body, {**change, "metadata": {"annotations": {NOTE: note} if note else {}}}))


def made(deployment: Deployment, *pods: Any) -> list[dict[str, Any]]:
    return [each.body for each in hold_the_deadline(world(takes_turns(), deployment=deployment, pods=pods), NOW)]


def says(seconds: int, note: str | None) -> list[dict[str, Any]]:
    return [{"metadata": {"annotations": {NOTE: note}}, "spec": {"progressDeadlineSeconds": seconds}}]


def test_a_pod_that_waits_long_stops_it_and_its_own_value_is_noted() -> None:
    assert made(waiting(), LEAVING, held(age=31)) == says(NEVER, "600")


def test_a_short_wait_is_none_of_its_business() -> None:
    assert made(waiting(), LEAVING, held(age=29)) == []


def test_a_short_deadline_is_stopped_at_half_of_it() -> None:
    assert made(waiting(10), LEAVING, held(age=4)) == []
    assert made(waiting(10), LEAVING, held(age=5)) == says(NEVER, "10")


def test_once_stopped_it_is_left_alone_while_the_pod_waits() -> None:
    assert made(waiting(NEVER, "600"), LEAVING, held(age=100)) == []


def test_a_deployment_without_a_deadline_needs_nothing() -> None:
    assert made(waiting(NEVER), LEAVING, held(age=100)) == []


def test_it_counts_again_when_the_pod_is_ready_and_not_before() -> None:
    ready = waiting(NEVER, "45")
    assert made(parsed(merged_ready(ready, 1)), pod()) == says(45, None)
    assert made(parsed(merged_ready(ready, 0)), pod(ready=False)) == []


def merged_ready(deployment: Deployment, ready: int) -> dict[str, Any]:
    body = deployment_body(mark="shop", strategy="Recreate")
    change = {
        "spec": {"progressDeadlineSeconds": deployment.spec.progress_deadline_seconds},
        "metadata": {"annotations": {NOTE: deployment.metadata.annotations.deadline}},
        "status": {"readyReplicas": ready},
    }
    found: dict[str, Any] = merged(body, change)
    return found


@pytest.mark.parametrize("note", ["soon", "-5", "0", str(2**31)])
def test_a_note_that_somebody_has_edited_gives_the_default(note: str) -> None:
    assert made(parsed(merged_ready(waiting(NEVER, note), 1)), pod()) == says(600, None)


@pytest.mark.parametrize("patch", [release_patch, unmark_patch])
def test_a_deployment_that_is_let_go_gets_its_own_back(patch: Any) -> None:
    body = patch(waiting(NEVER, "45"))
    assert body["spec"]["progressDeadlineSeconds"] == 45
    assert body["metadata"]["annotations"] == {NOTE: None}
    assert "annotations" not in patch(pinned())["metadata"]


def test_the_pass_comes_again_when_the_wait_becomes_long() -> None:
    again = plan(world(takes_turns(), deployment=waiting(), pods=[LEAVING, held(age=29)]), NOW).again_after
    assert again is not None
    assert again <= 1
    assert at(0) == NOW


def test_it_is_one_of_the_things_that_a_pass_does() -> None:
    actions = plan(world(takes_turns(), deployment=waiting(), pods=[LEAVING, held(age=31)]), NOW).actions
    assert [each.reason for each in actions if isinstance(each, PatchDeployment)][-1] == "ProgressDeadline"
