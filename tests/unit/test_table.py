"""The lock table: what the operator writes into it, and that nothing of others is lost."""

import pytest

from telegrambot_operator.api.models import Lock
from telegrambot_operator.core.table import Entry, bots_of, changes, holders, parse, secret_keys, with_holder
from tests.unit.worlds import adopts, telegram_bot

SHOP = Entry("4242", Lock.GATE, 1, "shop")


@pytest.mark.parametrize("entry", [SHOP, Entry("a.b", Lock.NONE, None, "b"), Entry("1", Lock.SCHEDULER, 0, "x")])
def test_an_entry_reads_as_it_was_written(entry: Entry) -> None:
    assert parse(str(entry)) == entry


@pytest.mark.parametrize(
    "value",
    [
        "",
        "4242",
        "4242 Gate 1",
        "4242 Gate 1 shop more",
        "4242 Fence 1 shop",
        "4242 Gate 2 shop",
        " Gate 1 shop",
        "a/b Gate 1 shop",
        "4242 Gate 1 Shop",
        "4242 Gate 1 shop\n",
    ],
)
def test_a_value_that_somebody_has_edited_is_no_entry(value: str) -> None:
    assert parse(value) is None


def test_a_token_is_guarded_by_its_key_and_as_part_of_its_secret() -> None:
    spec = telegram_bot().spec
    assert spec is not None
    assert secret_keys(spec) == ("shop-token_token", "shop-token_")


def test_a_name_too_long_for_a_key_is_not_guarded() -> None:
    name = "s" * 250
    spec = telegram_bot(spec=adopts(token={"secretKeyRef": {"name": name, "key": "token"}})).spec
    assert spec is not None
    assert secret_keys(spec) == (f"{name}_",)


def test_a_secret_may_serve_several_bots() -> None:
    value = with_holder(with_holder("", "shop", "4242"), "help", "77")
    assert holders(value) == {"shop": "4242", "help": "77"}
    assert with_holder(value, "shop", None) == "77/help"


def test_a_new_bot_is_entered() -> None:
    assert changes({}, "shop", {"telegram-bot": SHOP}, {"shop-bot_token": "4242"}) == {
        "telegram-bot": "4242 Gate 1 shop",
        "shop-bot_token": "4242/shop",
    }


def test_a_second_look_changes_nothing() -> None:
    table = {"telegram-bot": "4242 Gate 1 shop", "shop-bot_token": "4242/shop", "other": "1 None - help"}
    assert changes(table, "shop", {"telegram-bot": SHOP}, {"shop-bot_token": "4242"}) == {}


def test_a_bot_that_is_gone_leaves_and_the_others_stay() -> None:
    table = {
        "telegram-bot": "4242 Gate 1 shop",
        "both_": "4242/shop 77/help",
        "mine_": "4242/shop",
        "help": "77 Gate 1 help",
    }
    assert changes(table, "shop", {}, {}) == {"telegram-bot": None, "both_": "77/help", "mine_": None}


def test_an_entry_under_a_deployment_that_the_bot_does_not_have_goes() -> None:
    table = {"nginx": "4242 Gate 1 shop"}
    assert changes(table, "shop", {"telegram-bot": SHOP}, {})["nginx"] is None


def test_an_edited_value_is_put_right_and_a_strangers_is_left_alone() -> None:
    table = {"telegram-bot": "4242 Gate 7 shop", "nginx": "what is this"}
    assert changes(table, "shop", {"telegram-bot": SHOP}, {}) == {"telegram-bot": "4242 Gate 1 shop"}


@pytest.mark.parametrize(
    ("key", "value", "named"),
    [
        ("telegram-bot", "4242 Gate 1 shop", {"shop"}),
        ("both_", "4242/shop 77/help", {"shop", "help"}),
        ("telegram-bot", "edited", set()),
        ("both_", "edited", set()),
    ],
)
def test_whom_an_entry_speaks_of(key: str, value: str, named: set[str]) -> None:
    assert bots_of(key, value) == named
