"""Every rule across fields stands twice: as CEL for the API server, as a predicate for objects stored before the rule.

Here the two are held against each other, on every combination of the fields that they look at, and against what a
person expects of them.
"""

import itertools
import re
from typing import Any

import pytest
from pydantic import ValidationError

from telegrambot_operator.api.models import RULES, Rule, TelegramBotSpec
from tests.unit.worlds import Json, adopts, owns

REF = {"secretKeyRef": {"name": "shop-token", "key": "token"}}
WITH_ENV = {**REF, "env": "BOT_TOKEN"}
URL = {"url": "https://shop.example/"}

# --- CEL and predicate ----------------------------------------------------------------------------------------------


def cel(rule: str, spec: Json) -> bool:
    """What a rule says of a spec, for the part of CEL that the rules use: has(), fields, texts, ==, !=, !, ||, &&."""
    python = re.sub(r"has\(self\.([\w.]+)\)", r"has('\1')", rule)
    python = re.sub(r"self\.([\w.]+)", r"field('\1')", python)
    python = re.sub(r"!(?!=)", " not ", python).replace("||", " or ").replace("&&", " and ")

    def field(path: str) -> Any:
        value: Any = spec
        for part in path.split("."):
            value = value[part]
        return value

    def has(path: str) -> bool:
        parent, _, name = path.rpartition(".")
        return name in (field(parent) if parent else spec)

    return bool(eval(python, {"has": has, "field": field}))  # noqa: S307  the rules are our own source


def specs() -> list[Json]:
    """Every combination of what the rules look at, as the API server holds it: with its defaults filled in."""
    choices: dict[str, list[Any]] = {
        "deploymentRef": [None, {"name": "shop"}],
        "template": [None, {"spec": {"containers": [{"name": "bot"}]}}],
        "token": [None, REF, WITH_ENV],
        "delivery": ["Polling", "Webhook"],
        "webhook": [None, URL],
        "conflict": [None, {"remedy": "None"}, {"remedy": "FixWebhook"}],
        "notPolling": [None, {"policy": "Report"}, {"policy": "Restart"}],
    }
    rows = itertools.product(*choices.values())
    return [{key: value for key, value in zip(choices, row, strict=True) if value is not None} for row in rows]


@pytest.mark.parametrize("rule", RULES, ids=[rule.cel for rule in RULES])
def test_predicate_and_cel_say_the_same_of_every_spec(rule: Rule) -> None:
    said = [(cel(rule.cel, spec), rule.holds(TelegramBotSpec.model_validate(spec))) for spec in specs()]
    assert {by_cel for by_cel, _ in said} == {True, False}
    assert [pair for pair in said if pair[0] is not pair[1]] == []


# --- What a person expects ------------------------------------------------------------------------------------------

# A spec, and the fields that the refusal has to name; none where it is accepted.
EXPECTED: dict[str, tuple[Json, list[str]]] = {
    "adopting is accepted": (adopts(), []),
    "owning is accepted": (owns(), []),
    "neither is refused": ({}, ["deploymentRef", "template"]),
    "both is refused": ({**adopts(token=None), **owns(token=None)}, ["deploymentRef", "template"]),
    "adopting without a token is accepted": (adopts(token=None), []),
    "a token's env is accepted with template": (owns(token=WITH_ENV), []),
    "a token's env is refused with deploymentRef": (adopts(token=WITH_ENV), ["spec.token.env"]),
    "Webhook with a URL is accepted": (adopts(delivery="Webhook", webhook=URL), []),
    "Webhook without a URL is refused": (adopts(delivery="Webhook"), ["spec.webhook.url"]),
    "Polling with a URL is refused": (adopts(webhook=URL), ["spec.webhook"]),
    "a remedy with a token is accepted": (adopts(conflict={"remedy": "FixWebhook"}), []),
    "a remedy without one is refused": (
        adopts(token=None, conflict={"remedy": "FixWebhook"}),
        ["spec.conflict.remedy", "spec.token"],
    ),
    "a restart with a token is accepted": (adopts(notPolling={"policy": "Restart"}), []),
    "a restart without one is refused": (
        adopts(token=None, notPolling={"policy": "Restart"}),
        ["spec.notPolling.policy", "spec.token"],
    ),
}


@pytest.mark.parametrize(("spec", "named"), EXPECTED.values(), ids=EXPECTED)
def test_what_the_rules_refuse(spec: Json, named: list[str]) -> None:
    broken = [rule.message for rule in RULES if not rule.holds(TelegramBotSpec.model_validate(spec))]
    assert len(broken) == (1 if named else 0)
    assert [each for each in named if each not in broken[0]] == []


def test_every_rule_refuses_something_above() -> None:
    broken = {
        rule.message
        for spec, _ in EXPECTED.values()
        for rule in RULES
        if not rule.holds(TelegramBotSpec.model_validate(spec))
    }
    assert broken == {rule.message for rule in RULES}


@pytest.mark.parametrize("message", [rule.message for rule in RULES])
def test_a_refusal_fits_into_one_line_of_kubectl(message: str) -> None:
    assert len(message) < 200
    assert "\n" not in message


# --- Fields ---------------------------------------------------------------------------------------------------------

NAMES: dict[str, bool] = {
    "shop-bot": True,
    "shop.bot.v2": True,
    "a": True,
    "a" * 253: True,
    "": False,
    "Shop": False,
    "shop_bot": False,
    "-shop": False,
    "shop-": False,
    "shop/bot": False,
    "a" * 254: False,
}


@pytest.mark.parametrize(("name", "possible"), NAMES.items(), ids=[each[:12] or "(empty)" for each in NAMES])
def test_names_that_no_object_can_have_are_refused(name: str, *, possible: bool) -> None:
    spec = adopts(deploymentRef={"name": name})
    if possible:
        TelegramBotSpec.model_validate(spec)
    else:
        with pytest.raises(ValidationError, match=r"deploymentRef\.name"):
            TelegramBotSpec.model_validate(spec)


def test_a_spec_cannot_be_changed_after_it_was_read() -> None:
    spec = TelegramBotSpec.model_validate(adopts())
    with pytest.raises(ValidationError):
        spec.suspend = True
