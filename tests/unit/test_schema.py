"""What a CRD that is older than the operator lacks, from what the API server says of a status."""

from typing import Any

import pytest

from telegrambot_operator.core.schema import older, undeclared, without

REFUSAL = (
    "failed to create typed patch object (shop/bot; singleton.bot/v1alpha1, Kind=TelegramBot): errors:\n"
    "  .status.bot: field not declared in schema\n  .status.webhook.repaired: field not declared in schema"
)


@pytest.mark.parametrize(
    ("message", "fields"),
    [
        (REFUSAL, {("bot",), ("webhook", "repaired")}),
        (".status.bot: field not declared in schema", {("bot",)}),
        (".spec.lock: field not declared in schema", set()),
        ("etcd is away", set()),
    ],
)
def test_which_fields_are_lacking(message: str, fields: set[tuple[str, ...]]) -> None:
    assert undeclared(message) == fields


@pytest.mark.parametrize(
    ("status", "left"),
    [
        ({"bot": {"id": 1}, "pod": "a"}, {"pod": "a"}),
        ({"webhook": {"host": "a", "repaired": {}}}, {"webhook": {"host": "a"}}),
        ({"webhook": None}, {"webhook": None}),
        ({}, {}),
    ],
)
def test_a_status_without_them(status: dict[str, Any], left: dict[str, Any]) -> None:
    before = repr(status)
    assert without(status, undeclared(REFUSAL)) == left
    assert repr(status) == before


def test_the_sentence_names_them_and_the_remedy() -> None:
    said = older(undeclared(REFUSAL))
    assert "lacks status.bot, status.webhook.repaired: apply" in said
    assert older(()) == ""
