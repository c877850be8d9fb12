"""The CustomResourceDefinition: what Kubernetes takes, what the models say, and what is committed are the same."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from telegrambot_operator.api import crd as generator
from telegrambot_operator.api.models import RULES, TelegramBotSpec
from tests.unit.worlds import Json, adopts

COMMITTED = Path(__file__).parents[2] / "crds" / "telegrambots.singleton.bot.yaml"
CRD = yaml.safe_load(COMMITTED.read_text())
VERSION = CRD["spec"]["versions"][0]
SCHEMA = VERSION["schema"]["openAPIV3Schema"]
SPEC = SCHEMA["properties"]["spec"]


def schemas(node: Json, path: str = "") -> Iterator[tuple[str, Json]]:
    """Every schema within a schema, with the path of the field that it describes."""
    yield path, node
    for name, child in node.get("properties", {}).items():
        yield from schemas(child, f"{path}.{name}")
    if "items" in node:
        yield from schemas(node["items"], f"{path}[]")


EVERY = dict(schemas(SCHEMA))


def test_what_is_committed_is_what_the_models_say(capsys: pytest.CaptureFixture[str]) -> None:
    generator.main()
    assert capsys.readouterr().out == COMMITTED.read_text()


# https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/
KNOWN = {
    "type",
    "description",
    "properties",
    "required",
    "items",
    "default",
    "enum",
    "format",
    "pattern",
    "minLength",
    "maxLength",
    "minimum",
    "maximum",
    "minItems",
    "maxItems",
    "x-kubernetes-preserve-unknown-fields",
    "x-kubernetes-list-type",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-validations",
}


@pytest.mark.parametrize("path", EVERY)
def test_every_field_is_structural(path: str) -> None:
    """No `$ref`, `anyOf`, `title` and the like: the API server refuses them, or drops them without a word."""
    assert set(EVERY[path]) - KNOWN == set()
    assert EVERY[path].get("type"), "a structural schema gives every field a type"


@pytest.mark.parametrize("path", [path for path in EVERY if path.startswith(".spec.")])
def test_every_field_of_the_spec_explains_itself_to_kubectl_explain(path: str) -> None:
    named_by_kubernetes = path.endswith("[]") or path.startswith(".spec.template.spec")
    assert EVERY[path].get("description") or named_by_kubernetes


def test_a_template_keeps_the_fields_that_the_schema_does_not_name() -> None:
    kept = {path for path, node in EVERY.items() if node.get("x-kubernetes-preserve-unknown-fields")}
    assert kept == {
        ".spec.template",
        ".spec.template.metadata",
        ".spec.template.spec",
        ".spec.template.spec.containers[]",
    }


def test_every_rule_is_in_the_schema_with_its_sentence() -> None:
    found = [(each["rule"], each["message"]) for each in SPEC["x-kubernetes-validations"]]
    assert found == [(rule.cel, rule.message) for rule in RULES]


def test_rules_across_fields_stand_nowhere_but_at_the_spec() -> None:
    assert [path for path, node in EVERY.items() if "x-kubernetes-validations" in node] == [".spec"]


def defaulted(schema: Json, value: Any) -> Any:
    """What the API server stores: defaults filled in from the outside in."""
    if not isinstance(value, dict):
        return value
    out = dict(value)
    for name, child in schema.get("properties", {}).items():
        if name not in out and "default" in child:
            out[name] = child["default"]
        if name in out:
            out[name] = defaulted(child, out[name])
    return out


@pytest.mark.parametrize("spec", [adopts(), adopts(conflict={"logs": False}), adopts(stuckPods={"policy": "Force"})])
def test_the_api_server_fills_in_the_same_defaults_as_the_models(spec: Json) -> None:
    """Else an object stored before a field existed would mean something else than a new one."""
    stored = defaulted(SPEC, spec)
    assert TelegramBotSpec.model_validate(stored) == TelegramBotSpec.model_validate(spec)
    assert TelegramBotSpec.model_validate(spec).model_dump(mode="json", by_alias=True, exclude_none=True) == stored


def test_defaults_that_a_user_reads_about() -> None:
    stored = defaulted(SPEC, {"deploymentRef": {"name": "shop"}})
    assert stored == {
        "deploymentRef": {"name": "shop"},
        "delivery": "Polling",
        "suspend": False,
        "lock": "Scheduler",
        "duplicates": "Delete",
        "stuckPods": {"policy": "WhenProven", "afterSeconds": 60},
        "conflict": {"logs": True, "patterns": [], "clearAfterSeconds": 300, "remedy": "None"},
        "notPolling": {"policy": "Report", "afterSeconds": 300},
    }


CHOICES = {
    ".spec.delivery": ["Polling", "Webhook"],
    ".spec.lock": ["Scheduler", "Gate", "None"],
    ".spec.duplicates": ["Delete", "Report"],
    ".spec.stuckPods.policy": ["WhenProven", "Force", "Never"],
    ".spec.conflict.remedy": ["None", "FixWebhook"],
    ".spec.notPolling.policy": ["Report", "Restart"],
}


@pytest.mark.parametrize(("path", "values"), CHOICES.items(), ids=CHOICES)
def test_what_a_field_may_be(path: str, values: list[str]) -> None:
    assert EVERY[path]["enum"] == values


def test_texts_and_lists_of_users_are_bounded_so_that_the_rules_stay_cheap() -> None:
    """The API server estimates a rule's cost from such bounds, and refuses a CRD that may cost too much."""
    texts = [
        path
        for path, node in EVERY.items()
        if path.startswith(".spec") and node["type"] == "string" and not ("maxLength" in node or "enum" in node)
    ]
    lists = [path for path, node in EVERY.items() if path.startswith(".spec") and node["type"] == "array"]
    assert texts == []
    assert [path for path in lists if "maxItems" not in EVERY[path]] == []


def test_conditions_are_a_map_by_type_so_that_two_writers_do_not_replace_each_others() -> None:
    conditions = EVERY[".status.conditions"]
    assert conditions["x-kubernetes-list-type"] == "map"
    assert conditions["x-kubernetes-list-map-keys"] == ["type"]
    assert {"type", "status", "reason", "message", "lastTransitionTime"} <= set(conditions["items"]["required"])


def test_nothing_can_scale_a_telegrambot() -> None:
    assert VERSION["subresources"] == {"status": {}}


def test_what_it_is_called() -> None:
    names = CRD["spec"]["names"]
    assert (CRD["spec"]["group"], VERSION["name"], CRD["spec"]["scope"]) == ("singleton.bot", "v1alpha1", "Namespaced")
    assert (names["kind"], names["plural"], names["shortNames"], names["categories"]) == (
        "TelegramBot",
        "telegrambots",
        ["tgbot"],
        ["bots"],
    )


def test_the_columns_of_kubectl_get() -> None:
    """kubectl puts NAME in front."""
    columns = VERSION["additionalPrinterColumns"]
    assert [each["name"].upper() for each in columns if not each.get("priority")] == [
        "READY",
        "CONFLICT",
        "POD",
        "AGE",
        "REASON",
    ]
    assert [each["name"].upper() for each in columns if each.get("priority")] == [
        "DEPLOYMENT",
        "NODE",
        "BOT",
        "LAST-409",
        "MESSAGE",
    ]


def test_every_column_shows_a_field_that_exists() -> None:
    for column in VERSION["additionalPrinterColumns"]:
        path = column["jsonPath"].replace('[?(@.type=="Ready")]', "[]").replace('[?(@.type=="Conflicted")]', "[]")
        assert path in EVERY or path == ".metadata.creationTimestamp"
