"""A CRD in the cluster that is older than this operator: it refuses a status with fields that it does not know."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

Path = tuple[str, ...]

# How server-side apply refuses a field (sigs.k8s.io/structured-merge-diff, typed/validate.go).
_UNDECLARED = re.compile(r"\.status((?:\.\w+)+): field not declared in schema")


def undeclared(message: str) -> frozenset[Path]:
    """Return which fields of a status the API server says that its CRD does not have."""
    return frozenset(tuple(found.strip(".").split(".")) for found in _UNDECLARED.findall(message))


def without(status: Mapping[str, Any], fields: Iterable[Path]) -> dict[str, Any]:
    """Return a status without some of its fields."""
    kept = dict(status)
    for first, *rest in fields:
        if not rest:
            kept.pop(first, None)
        elif isinstance(kept.get(first), Mapping):
            kept[first] = without(kept[first], [tuple(rest)])
    return kept


def older(fields: Iterable[Path]) -> str:
    """Return a sentence that says what is wrong and what to do, "" where nothing is."""
    named = ", ".join(f"status.{'.'.join(each)}" for each in sorted(fields))
    return (
        f"the CRD telegrambots.singleton.bot in the cluster is older than the operator and lacks {named}: "
        "apply the operator's own, crds/telegrambots.singleton.bot.yaml"
        if named
        else ""
    )
