"""Rights that are missing: how they are told, and how the operator learns of them from the answers that it gets."""

import pytest

from telegrambot_operator.core.rights import Lack, lack
from telegrambot_operator.names import ConditionType
from telegrambot_operator.shell import rights
from telegrambot_operator.shell.rights import Rights
from tests.unit.worlds import denied, pod, said, status_of, world

PODS = 'pods is forbidden: User "op" cannot list resource "pods" in API group "" at the cluster scope'
STATUS = (
    'telegrambots.singleton.bot "bot" is forbidden: User "op" cannot patch resource "telegrambots/status" in API group '
    '"singleton.bot" in the namespace "shop": RBAC: role.rbac.authorization.k8s.io "op" not found'
)
EVENTS = Lack("create", "events.events.k8s.io", "shop", "op")


@pytest.mark.parametrize(
    ("message", "found", "sentence"),
    [
        (PODS, Lack("list", "pods"), "the operator may not list pods cluster-wide: grant it that verb (to op)"),
        (
            STATUS,
            Lack("patch", "telegrambots.singleton.bot/status", "shop"),
            "the operator may not patch telegrambots.singleton.bot/status in namespace shop: "
            "grant it that verb (to op)",
        ),
    ],
)
def test_a_right_is_named_with_where_it_is_missing_and_the_remedy(message: str, found: Lack, sentence: str) -> None:
    assert lack(message) == found
    assert str(lack(message)) == sentence


@pytest.mark.parametrize(
    "message",
    ["exceeded quota: none", 'unable to create new content in namespace "shop" because it is being terminated'],
)
def test_what_is_refused_for_another_reason_is_no_right(message: str) -> None:
    assert lack(message) is None


class Heard:
    """What a listener was told."""

    def __init__(self, known: Rights) -> None:
        self.news: list[tuple[str, str, bool]] = []
        known.changed = lambda right, is_lacking: self.news.append((right.verb, right.resource, is_lacking))


@pytest.mark.parametrize(
    ("verb", "resource", "method", "path", "watch"),
    [
        ("get", "pods", "GET", "/api/v1/namespaces/shop/pods/bot-a", False),
        ("list", "pods", "GET", "/api/v1/namespaces/shop/pods", False),
        ("watch", "pods", "GET", "/api/v1/namespaces/shop/pods", True),
        ("delete", "pods", "DELETE", "/api/v1/namespaces/shop/pods/bot-a", False),
        ("patch", "deployments.apps", "PATCH", "/apis/apps/v1/namespaces/shop/deployments/bot", False),
        ("create", "deployments.apps", "PATCH", "/apis/apps/v1/namespaces/shop/deployments/bot", False),
        ("create", "events.events.k8s.io", "POST", "/apis/events.k8s.io/v1/namespaces/shop/events", False),
    ],
)
def test_it_is_told_once_and_once_more_when_it_is_there(
    verb: str, resource: str, method: str, path: str, watch: bool
) -> None:
    known = Rights()
    heard = Heard(known)
    known.refused(denied(verb, resource).message)
    known.refused(denied(verb, resource).message)
    known.allowed(method, path.replace("shop", "other"), watch=watch)
    assert [each.verb for each in known.lacking("shop", cluster=True)] == [verb]
    known.allowed(method, path, watch=watch)
    assert known.lacking("shop", cluster=True) == ()
    assert heard.news == [(verb, resource, True), (verb, resource, False)]


def test_what_the_whole_cluster_lacks_concerns_every_namespace_and_another_namespace_none() -> None:
    known = Rights()
    known.refused(PODS)
    known.refused(denied("get", "secrets", "other").message)
    assert known.lacking("shop", cluster=True) == (Lack("list", "pods"),)
    assert known.lacking("shop", cluster=False) == ()


def test_what_nothing_has_asked_for_any_more_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    known = Rights()
    known.refused(PODS)
    monkeypatch.setattr(rights, "LASTS_SECONDS", -1.0)
    assert known.lacking("shop", cluster=True) == ()


def test_a_bot_that_is_served_without_a_right_says_so() -> None:
    reason, _, message = said(status_of(world(pods=[pod("bot-a")], lacking=(EVENTS,))), ConditionType.READY)
    assert (reason, "; the operator may not create events.events.k8s.io in namespace shop" in message) == ("True", True)


def test_what_a_failure_tells_already_is_not_told_twice() -> None:
    failure = denied("list", "pods")
    told = lack(failure.message) or EVENTS
    message = said(status_of(world(pods=[pod("bot-a")], lacking=(told,), failures=(failure,))), ConditionType.READY)[2]
    assert "may not" not in message
