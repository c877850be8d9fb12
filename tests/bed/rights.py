"""What roles grant and what a run has used of it, each as a set of `Right`s; and what was refused.

used = rights.used(written.events())                      # from the API server's audit log
unused = {each for each in rights.granted(objects, "telegrambot-operator") if not each.is_in(used)}
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

Object = dict[str, Any]


class Right(NamedTuple):
    """One verb on one resource. Without `namespace` everywhere, without `name` on every object."""

    verb: str
    resource: str  # with its group, as kubectl takes it: deployments.apps, pods/log, telegrambots.singleton.bot/status
    name: str = ""
    namespace: str = ""

    def __str__(self) -> str:
        """As one says it."""
        which = f" {self.name}" if self.name else ""
        where = f" in namespace {self.namespace}" if self.namespace else ""
        return f"{self.verb} {self.resource}{which}{where}"

    def is_in(self, used: Iterable[Right]) -> bool:
        """Whether one of these requests needed this right."""
        return any(
            (self.verb, self.resource) == (each.verb, each.resource)
            and self.name in {"", each.name}
            and self.namespace in {"", each.namespace}
            for each in used
        )


def resource_of(group: str, resource: str) -> str:
    """A resource with its group, as kubectl takes it."""
    plural, _, sub = resource.partition("/")
    return f"{plural}{'.' if group else ''}{group}{'/' if sub else ''}{sub}"


def granted(objects: Iterable[Object], account: str) -> set[Right]:
    """What these manifests grant to the ServiceAccount of this name, by Roles and ClusterRoles and their bindings."""
    found = list(objects)
    roles = {_key(each["kind"], each): each["rules"] for each in found if each["kind"] in {"Role", "ClusterRole"}}
    rights: set[Right] = set()
    for binding in found:
        if binding["kind"] not in {"RoleBinding", "ClusterRoleBinding"}:
            continue
        if account not in {each["name"] for each in binding["subjects"]}:
            continue
        namespace = binding["metadata"].get("namespace", "")
        ref = binding["roleRef"]
        rules = roles[ref["kind"], namespace if ref["kind"] == "Role" else "", ref["name"]]
        rights |= {right for rule in rules for right in of_rule(rule, namespace)}
    return rights


def _key(kind: str, role: Object) -> tuple[str, str, str]:
    return kind, role["metadata"].get("namespace", ""), role["metadata"]["name"]


def of_rule(rule: Object, namespace: str = "") -> Iterator[Right]:
    """Every right of one rule of a role."""
    for group in rule["apiGroups"]:
        for resource in rule["resources"]:
            for verb in rule["verbs"]:
                for name in rule.get("resourceNames") or [""]:
                    yield Right(verb, resource_of(group, resource), name, namespace)


def used(events: Iterable[Object]) -> set[Right]:
    """What the requests of an audit log needed. A patch that has made an object needed the right to create as well.

    That is asked for within the request, and is no request of its own
    (https://kubernetes.io/docs/reference/using-api/server-side-apply/#access-control-and-permissions).
    """
    rights: set[Right] = set()
    for event in events:
        target, code = event.get("objectRef"), event.get("responseStatus", {}).get("code", 0)
        if target is None or code == 403:
            continue
        sub = f"/{target['subresource']}" if "subresource" in target else ""
        resource = resource_of(target.get("apiGroup", ""), target["resource"] + sub)
        verbs = [event["verb"], "create"] if (event["verb"], code) == ("patch", 201) else [event["verb"]]
        where = target.get("name", ""), target.get("namespace", "")
        rights |= {Right(verb, resource, *where) for verb in verbs}
    return rights


def refused(events: Iterable[Object], outages: Sequence[tuple[datetime, datetime]] = ()) -> list[str]:
    """The requests that were refused for the lack of a right; quotas and admission answer 403 as well, and are none.

    An API server that starts refuses all it is asked until it has read the roles, and says meanwhile that it is not
    ready: what came in such an outage is left out.
    """
    lacking = [event for event in events if _lacked_a_right(event)]
    return sorted({each["responseStatus"]["message"] for each in lacking if not _came_within(outages, each)})


def _lacked_a_right(event: Object) -> bool:
    answer = event.get("responseStatus", {})
    asked = {event["verb"], "create"}
    return answer.get("code") == 403 and any(f" cannot {verb} " in answer.get("message", "") for verb in asked)


def _came_within(outages: Sequence[tuple[datetime, datetime]], event: Object) -> bool:
    came = datetime.fromisoformat(event["requestReceivedTimestamp"])
    return any(began <= came <= ended for began, ended in outages)
