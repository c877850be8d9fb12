"""The sets that the tour compares: what roles grant, what an audit log shows as used, and what it shows as refused."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.bed.rights import Right, granted, refused, used

ROLE: dict[str, Any] = {
    "kind": "ClusterRole",
    "metadata": {"name": "shop"},
    "rules": [
        {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["get", "create"]},
        {"apiGroups": [""], "resources": ["pods/log"], "verbs": ["get"]},
    ],
}
NAMED: dict[str, Any] = {
    "kind": "Role",
    "metadata": {"name": "shop", "namespace": "ours"},
    "rules": [{"apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["locks"], "verbs": ["patch"]}],
}


def binding(role: dict[str, Any], account: str = "shop") -> dict[str, Any]:
    where = {key: value for key, value in role["metadata"].items() if key == "namespace"}
    ref = {"kind": role["kind"], "name": role["metadata"]["name"]}
    return {"kind": f"{role['kind']}Binding", "metadata": where, "roleRef": ref, "subjects": [{"name": account}]}


def event(verb: str, code: int = 200, message: str = "", at: str = "2026-11-29T10:00:00.5Z", **target: str) -> Any:
    status = {"code": code, "message": message}
    return {"verb": verb, "objectRef": target, "responseStatus": status, "requestReceivedTimestamp": at}


def test_what_is_granted() -> None:
    assert granted([ROLE, NAMED, binding(ROLE), binding(NAMED)], "shop") == {
        Right("get", "deployments.apps"),
        Right("create", "deployments.apps"),
        Right("get", "pods/log"),
        Right("patch", "configmaps", "locks", "ours"),
    }


def test_a_role_that_is_bound_to_somebody_else_grants_nothing() -> None:
    assert granted([ROLE, binding(ROLE, "somebody")], "shop") == set()


@pytest.mark.parametrize(
    ("right", "is_used"),
    [
        (Right("patch", "deployments.apps"), True),
        (Right("create", "deployments.apps"), True),  # the patch has made it
        (Right("patch", "deployments.apps", "bot", "shop"), True),
        (Right("patch", "deployments.apps", "other"), False),
        (Right("patch", "deployments.apps", "", "other"), False),
        (Right("patch", "deployments.apps/scale"), False),
        (Right("get", "pods/log"), True),
        (Right("get", "pods"), False),
        (Right("list", "pods"), False),  # it was refused
        (Right("create", "pods"), False),
    ],
    ids=str,
)
def test_what_is_used(right: Right, is_used: bool) -> None:
    log = [
        event("patch", 201, apiGroup="apps", resource="deployments", namespace="shop", name="bot"),
        event("get", 200, resource="pods", subresource="log", namespace="shop", name="bot"),
        event("list", 403, resource="pods"),
        event("patch", 200, resource="pods", namespace="shop", name="bot"),
    ]
    assert right.is_in(used(log)) is is_used


@pytest.mark.parametrize(
    ("verb", "code", "message", "count"),
    [
        ("list", 403, 'User "shop" cannot list resource "pods"', 1),
        ("patch", 403, 'User "shop" cannot create resource "configmaps"', 1),  # asked for within the patch
        ("create", 403, "exceeded quota: none", 0),
        ("list", 200, "", 0),
    ],
)
def test_what_was_refused(verb: str, code: int, message: str, count: int) -> None:
    assert len(refused([event(verb, code, message, resource="pods")])) == count


def test_what_an_api_server_refused_that_was_not_ready_does_not_count() -> None:
    log = [event("list", 403, 'User "shop" cannot list resource "pods"', resource="pods")]
    came = datetime(2026, 11, 29, 10, tzinfo=UTC)
    assert refused(log, [(came, came + timedelta(seconds=1))]) == []
    assert len(refused(log, [(came + timedelta(seconds=1), came + timedelta(seconds=2))])) == 1
