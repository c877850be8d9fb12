"""The operator's ServiceAccount and its rights, as they are installed; several side by side, each with fewer rights.

kubeconfig = await Installation(bed).install()                        # as it is
other = Installation(bed, "second", without=[Right("get", "secrets")])
async with bed.operator(kubeconfig=await other.install(), env=other.env): ...
await other.grant()                                                   # all that it lacked
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from tests.bed import rights

if TYPE_CHECKING:
    from collections.abc import Collection

    from tests.bed.bed import Bed
    from tests.bed.rights import Right

Object = dict[str, Any]

NAME = "telegrambot-operator"  # of the account, of its roles, and of its namespace
_INSTALL = Path(__file__).parents[2] / "deploy" / "install.yaml"
_KINDS = {"Namespace", "ServiceAccount", "Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding"}


def manifests() -> list[Object]:
    """The account, its roles and their bindings, as they are installed."""
    return [each for each in yaml.safe_load_all(_INSTALL.read_text()) if each and each["kind"] in _KINDS]


class Installation:
    """One installation's account, in a namespace of its own."""

    def __init__(self, bed: Bed, namespace: str = NAME, *, without: Collection[Right] = ()) -> None:
        """Nothing is installed before `install`. `without`: rights as the manifests have them, which it will lack."""
        self._bed = bed
        self._namespace = namespace
        self._without = frozenset(without)

    @property
    def env(self) -> dict[str, str]:
        """What its operator needs in the environment."""
        return {"OPERATOR_NAMESPACE": self._namespace}

    async def install(self) -> Path:
        """Install it, and return the kubeconfig of its account."""
        await self._bed.apply([_moved(_less(each, self._without), self._namespace) for each in manifests()])
        return await self._bed.cp.service_account_kubeconfig(self._namespace, NAME, seconds=4 * 3600)

    async def grant(self) -> None:
        """Give it every right from now on."""
        await self._bed.apply([_moved(each, self._namespace) for each in manifests() if each["kind"].endswith("Role")])


def _moved(found: Object, namespace: str) -> Object:
    """The same object for an installation in another namespace; what is not in that gets another name."""
    if namespace == NAME:
        return found
    meta, moved = found["metadata"], dict(found)
    if found["kind"] in {"ServiceAccount"} or meta.get("namespace") == NAME:
        moved["metadata"] = meta | {"namespace": namespace}
    else:
        moved["metadata"] = meta | {"name": namespace}
        if "roleRef" in found:
            moved["roleRef"] = found["roleRef"] | {"name": namespace}
    if "subjects" in found:
        moved["subjects"] = [each | {"namespace": namespace} for each in found["subjects"]]
    return moved


def _less(found: Object, without: Collection[Right]) -> Object:
    """The same role without some of its rights."""
    if not without or "rules" not in found:
        return found
    namespace = found["metadata"].get("namespace", "") if found["kind"] == "Role" else ""
    kept = [
        _rule(right) for rule in found["rules"] for right in rights.of_rule(rule, namespace) if right not in without
    ]
    return found | {"rules": kept}


def _rule(right: Right) -> Object:
    plural, _, sub = right.resource.partition("/")
    plural, _, group = plural.partition(".")
    named = {"resourceNames": [right.name]} if right.name else {}
    return {"apiGroups": [group], "resources": [plural + (f"/{sub}" if sub else "")], "verbs": [right.verb], **named}
