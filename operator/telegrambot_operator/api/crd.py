"""The CustomResourceDefinition, generated from the models: `python -m telegrambot_operator.api.crd` prints it as YAML.

Pydantic writes JSON Schema; Kubernetes takes a structural schema
(https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#specifying-a-structural-schema):
no `$ref`, no `anyOf` with null, no titles, defaults that are complete.
"""

import sys
from typing import Any

import yaml
from pydantic import BaseModel

from .. import names
from .models import TelegramBotSpec, TelegramBotStatus

Schema = dict[str, Any]

_DROPPED = {"title", "$defs", "additionalProperties", "const"}


def structural(model: type[BaseModel]) -> Schema:
    """Return the model's schema in the form that Kubernetes accepts."""
    schema = model.model_json_schema(by_alias=True)
    return _rewrite(schema, schema.get("$defs", {}))


def _rewrite(node: Schema, defs: Schema) -> Schema:
    merged = _resolved(node, defs)
    out = {key: value for key, value in merged.items() if key not in _DROPPED}
    if "properties" in merged:
        out["properties"] = {name: _rewrite(child, defs) for name, child in merged["properties"].items()}
    if isinstance(merged.get("items"), dict):
        out["items"] = _rewrite(merged["items"], defs)
    if out.get("default", ...) is None:
        del out["default"]
    return out


def _resolved(node: Schema, defs: Schema) -> Schema:
    """Follow `$ref` and drop the null branch of an optional field; what stands beside them wins over what they name."""
    if "$ref" in node:
        target = defs[node["$ref"].rpartition("/")[2]]
        return _resolved({**target, **{key: value for key, value in node.items() if key != "$ref"}}, defs)
    if "anyOf" in node:
        (branch,) = [each for each in node["anyOf"] if each.get("type") != "null"]
        return _resolved({**branch, **{key: value for key, value in node.items() if key != "anyOf"}}, defs)
    return node


def _column(name: str, path: str, kind: str = "string", priority: int = 0) -> Schema:
    return {"name": name, "type": kind, "jsonPath": path, **({"priority": priority} if priority else {})}


def _condition(kind: names.ConditionType, field: str) -> str:
    return f'.status.conditions[?(@.type=="{kind}")].{field}'


def columns() -> list[Schema]:
    """Return the columns of `kubectl get telegrambots`; those of priority 1 show with `-o wide`."""
    ready, conflicted = names.ConditionType.READY, names.ConditionType.CONFLICTED
    return [
        _column("Ready", _condition(ready, "status")),
        _column("Conflict", _condition(conflicted, "status")),
        _column("Pod", ".status.pod"),
        _column("Age", ".metadata.creationTimestamp", "date"),
        _column("Reason", _condition(ready, "reason")),
        _column("Deployment", ".status.deployment", priority=1),
        _column("Node", ".status.node", priority=1),
        _column("Bot", ".status.bot.id", "integer", priority=1),
        _column("Last-409", ".status.lastConflict.time", "date", priority=1),
        _column("Message", _condition(ready, "message"), priority=1),
    ]


def schema() -> Schema:
    """Return the schema of the whole resource."""
    return {
        "type": "object",
        "description": "Exactly one running instance of a Telegram bot.",
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
            "spec": structural(TelegramBotSpec),
            "status": structural(TelegramBotStatus),
        },
    }


def crd() -> Schema:
    """Return the CustomResourceDefinition as a manifest."""
    version = {
        "name": names.VERSION,
        "served": True,
        "storage": True,
        "additionalPrinterColumns": columns(),
        "subresources": {"status": {}},
        "schema": {"openAPIV3Schema": schema()},
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{names.PLURAL}.{names.GROUP}"},
        "spec": {
            "group": names.GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": names.KIND,
                "listKind": f"{names.KIND}List",
                "plural": names.PLURAL,
                "singular": names.KIND.lower(),
                "shortNames": [names.SHORT],
                "categories": [names.CATEGORY],
            },
            "versions": [version],
        },
    }


class _Plain(yaml.SafeDumper):
    """Writes repeated values out instead of using YAML anchors."""

    def ignore_aliases(self, data: Any) -> bool:
        del data
        return True


def main() -> None:
    """Print the CRD."""
    sys.stdout.write("# Generated from operator/telegrambot_operator/api/models.py by `make generate`.\n")
    yaml.dump(crd(), sys.stdout, Dumper=_Plain, sort_keys=False, width=120, allow_unicode=True)


if __name__ == "__main__":
    main()
