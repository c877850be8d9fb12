"""Names that leave the process: a label's value is valid and belongs to one name only, and two bots never share one."""

import re
import string

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from telegrambot_operator.names import ConditionType, Reason, fallback_identity, label_value

# https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#syntax-and-character-set
VALID = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?")
LABEL = string.ascii_lowercase + string.digits

words = st.text(LABEL, min_size=1, max_size=63)
# Names of namespaces and of other objects, by Kubernetes' own rules: RFC 1123 labels and subdomains.
namespaces = st.lists(words, min_size=1, max_size=3).map(lambda parts: "-".join(parts)[:63].strip("-"))
objects = st.lists(words, min_size=1, max_size=5).flatmap(
    lambda parts: st.sampled_from(["-", "."]).map(lambda dash: dash.join(parts)[:253].strip("-."))
)


@given(objects)
def test_every_name_becomes_a_valid_label_value(name: str) -> None:
    assert VALID.fullmatch(label_value(name))


@given(objects)
def test_a_name_that_is_a_valid_label_value_stays_readable(name: str) -> None:
    if len(name) <= 63:
        assert label_value(name) == name


@given(objects, objects)
def test_two_names_never_meet_in_one_value(first: str, second: str) -> None:
    assume(first != second)
    assert label_value(first) != label_value(second)


@given(st.text(LABEL, min_size=63, max_size=200), words, words)
def test_names_that_differ_only_behind_the_cut_stay_apart(start: str, first: str, second: str) -> None:
    assume(first != second)
    assert label_value(start + first) != label_value(start + second)


@given(namespaces, objects, namespaces, objects)
def test_two_bots_never_share_an_identity(namespace: str, name: str, other_namespace: str, other_name: str) -> None:
    """INV-6, without a token: `a-b` in `c` and `b` in `c.a` and the like are two bots."""
    assume((namespace, name) != (other_namespace, other_name))
    assert fallback_identity(namespace, name) != fallback_identity(other_namespace, other_name)


@given(namespaces, objects, st.integers(1, 10**20))
def test_no_bot_without_a_token_can_wear_the_identity_of_one_that_has_one(namespace: str, name: str, bot: int) -> None:
    """Else anybody could keep another's bot from running, by the name of a TelegramBot."""
    assert fallback_identity(namespace, name) != str(bot)


@given(namespaces, objects)
def test_an_identity_is_a_valid_label_value(namespace: str, name: str) -> None:
    assert VALID.fullmatch(fallback_identity(namespace, name))


def test_a_value_is_the_same_in_every_process() -> None:
    """It is stored in the cluster: another value tomorrow would be another bot."""
    assert label_value("b" * 70) == "b" * 52 + "-b9444034ff"
    assert fallback_identity("shop", "telegram-bot") == "shop.telegram-bot"


@pytest.mark.parametrize("name", [*Reason, *ConditionType])
def test_reasons_and_types_are_camel_case_as_kubernetes_asks(name: str) -> None:
    """https://github.com/kubernetes/community/blob/master/contributors/devel/sig-architecture/api-conventions.md"""
    assert re.fullmatch(r"[A-Z][A-Za-z0-9]+", name)
