"""What GitOps tools make of a status: kstatus (Flux with `wait: true`, kpt), Argo CD's health check, `kubectl wait`.

The rules of kstatus are those of sigs.k8s.io/cli-utils, `pkg/kstatus/status/generic.go`, spelled again here: a
deletion, then the generation, then whichever of Reconciling and Stalled is True first in the list; a resource with
neither is current. They are held against every world of test_conditions.py.
"""

from typing import Any

import pytest

from telegrambot_operator.core.observed import Observed
from tests.unit.argocd import health, script
from tests.unit.test_conditions import LOOPING, SERVING, SUSPENDED, WORLDS, fighting, remembering
from tests.unit.worlds import Json, bot_body, pinned, pod, said, status_of, world


def kstatus(resource: Json) -> str:
    """Return what kstatus computes."""
    meta, status = resource["metadata"], resource.get("status", {})
    if meta.get("deletionTimestamp"):
        return "Terminating"
    if "generation" in meta and status.get("observedGeneration", meta["generation"]) != meta["generation"]:
        return "InProgress"
    for each in status.get("conditions", []):
        if each["status"] == "True" and each["type"] in {"Reconciling", "Stalled"}:
            return "InProgress" if each["type"] == "Reconciling" else "Failed"
    return "Current"


def waited(resource: Json) -> bool:
    """Return whether `kubectl wait --for=condition=Ready` is over: the condition has to be of the newest generation.

    k8s.io/kubectl, `pkg/cmd/wait/condition.go`.
    """
    for each in resource.get("status", {}).get("conditions", []):
        if each["type"] == "Ready":
            observed = each.get("observedGeneration", resource["metadata"]["generation"])
            return bool(each["status"] == "True" and observed >= resource["metadata"]["generation"])
    return False


def resource_in(seen: Observed, **facts: Any) -> Json:
    """Return the TelegramBot of a world as the API server has it after a pass."""
    body = bot_body(generation=2, status=status_of(seen))
    return {**body, "metadata": {**body["metadata"], **facts}}


every_world = pytest.mark.parametrize("seen", WORLDS.values(), ids=WORLDS)
OLD = pod("bot-a", terminating=-5)

STATES: dict[str, tuple[Json, str, str]] = {
    "one ready pod": (resource_in(world(pods=SERVING)), "Current", "Healthy"),
    "no pod yet": (resource_in(world()), "InProgress", "Progressing"),
    "its pod is about to be replaced": (resource_in(world(pods=[OLD])), "InProgress", "Progressing"),
    "a container that keeps ending": (resource_in(world(pods=LOOPING)), "InProgress", "Degraded"),
    "a 409 whose cause is not known yet": (resource_in(fighting()), "InProgress", "Degraded"),
    "a pod that nobody may delete": (
        resource_in(world(pods=[pod("bot-a", terminating=900)])),
        "Failed",
        "Degraded",
    ),
    "suspended": (resource_in(world(SUSPENDED, deployment=pinned(replicas=0))), "Current", "Suspended"),
    "an edit that nobody has looked at": (
        resource_in(world(pods=SERVING), generation=3),
        "InProgress",
        "Progressing",
    ),
    "one that is being deleted": (
        resource_in(world(pods=SERVING), deletionTimestamp="2026-11-24T12:00:00Z"),
        "Terminating",
        "Progressing",
    ),
}


@pytest.mark.parametrize(("resource", "flux", "argocd"), STATES.values(), ids=STATES)
def test_what_the_tools_show(resource: Json, flux: str, argocd: str) -> None:
    assert (kstatus(resource), health(resource)[0]) == (flux, argocd)


def test_one_that_was_just_made_is_not_taken_for_healthy() -> None:
    """kstatus takes a resource without any condition for current, as it does with every new resource of any kind."""
    fresh = bot_body(status=None)
    assert health(fresh) == ("Progressing", "the operator has not looked at it yet")
    assert health({key: value for key, value in fresh.items() if key != "status"})[0] == "Progressing"
    assert not waited(fresh)


@every_world
def test_current_means_that_it_runs_or_is_to_have_no_pod(seen: Observed) -> None:
    resource = resource_in(seen)
    status, reason, _ = said(resource["status"], "Ready")
    at_rest = {said(resource["status"], each)[0] for each in ("Reconciling", "Stalled")} == {"False"}
    assert (kstatus(resource) == "Current") == at_rest
    if at_rest:
        assert status == "True" or reason == "Suspended"


@every_world
def test_failed_means_that_a_person_must_act(seen: Observed) -> None:
    """The bot may run well at the same time, so `kubectl wait` for Ready may be over."""
    resource = resource_in(seen)
    stalled, reconciling = said(resource["status"], "Stalled")[0], said(resource["status"], "Reconciling")[0]
    assert (kstatus(resource) == "Failed") == (stalled == "True" and reconciling == "False")


FITS = {
    "Current": {"Healthy", "Suspended"},
    "Failed": {"Degraded"},
    "InProgress": {"Progressing", "Degraded"},
}


@every_world
def test_argo_cd_and_kstatus_agree(seen: Observed) -> None:
    """But for a conflict and a crash loop: kstatus still waits for those to pass, Argo CD shows them at once."""
    resource = resource_in(seen)
    shown, message = health(resource)
    assert shown in FITS[kstatus(resource)]
    assert message in {each["message"] for each in resource["status"]["conditions"]}
    assert (shown == "Healthy") <= waited(resource)


@every_world
def test_a_ready_bot_that_is_looked_at_again_stays_current(seen: Observed) -> None:
    first = resource_in(seen)
    if waited(first) and kstatus(first) == "Current":
        assert seen.bot is not None
        assert kstatus(resource_in(remembering(seen, first["status"]))) == "Current"


@pytest.mark.parametrize("missing", ["Ready", "Reconciling", "Stalled", "Conflicted"])
def test_the_script_bears_a_condition_that_an_older_operator_did_not_write(missing: str) -> None:
    resource = resource_in(world(pods=SERVING))
    resource["status"]["conditions"] = [each for each in resource["status"]["conditions"] if each["type"] != missing]
    assert health(resource)[0] == ("Progressing" if missing == "Ready" else "Healthy")


def test_the_script_keeps_to_what_lua_5_1_knows() -> None:
    assert not [each for each in ("goto ", "//", "&", "<const>", "table.unpack", "utf8") if each in script()]
