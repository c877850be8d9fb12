"""What a TelegramBot and a Secret say: whatever is wrong becomes one sentence that names the field, never a traceback.

Such objects exist although the API server checks: they were stored before a rule existed, or by another version.
"""

import base64
from typing import Any

import pytest

from telegrambot_operator.api.models import RULES, SecretKeyRef
from telegrambot_operator.core import understand
from telegrambot_operator.core.observed import TokenState, TokenView
from tests.unit.worlds import BOT, IDENTITY, NAMESPACE, Json, adopts, at, bot_body, owns, telegram_bot

# --- Specs ----------------------------------------------------------------------------------------------------------

# The spec, and what the sentence has to name.
BAD: dict[str, tuple[Json, list[str]]] = {
    "neither deploymentRef nor template": ({}, ["deploymentRef", "template", "exactly one"]),
    "both": ({**adopts(), **owns()}, ["deploymentRef", "template", "exactly one"]),
    "a reference without a name": (adopts(deploymentRef={}), ["spec.deploymentRef.name"]),
    "a name that no Deployment can have": (adopts(deploymentRef={"name": "Telegram Bot"}), ["spec.deploymentRef.name"]),
    "a reference that is a text": (adopts(deploymentRef="telegram-bot"), ["spec.deploymentRef"]),
    "a token without a key": (adopts(token={"secretKeyRef": {"name": "s"}}), ["spec.token.secretKeyRef.key"]),
    "a token with env beside deploymentRef": (
        adopts(token={"secretKeyRef": {"name": "s", "key": "k"}, "env": "T"}),
        ["spec.token.env", "template"],
    ),
    "a variable's name that none can have": (
        owns(token={"secretKeyRef": {"name": "s", "key": "k"}, "env": "BOT-TOKEN"}),
        ["spec.token.env"],
    ),
    "a delivery that does not exist": (adopts(delivery="Pigeon"), ["spec.delivery", "Polling", "Webhook"]),
    "Webhook without a URL": (adopts(delivery="Webhook"), ["spec.webhook.url"]),
    "a URL with Polling": (adopts(webhook={"url": "https://x.example/"}), ["spec.webhook", "Polling"]),
    "a URL without TLS": (adopts(delivery="Webhook", webhook={"url": "http://x.example/"}), ["spec.webhook.url"]),
    "a lock that does not exist": (adopts(lock="Padlock"), ["spec.lock", "Scheduler"]),
    "a policy that does not exist": (adopts(stuckPods={"policy": "Maybe"}), ["spec.stuckPods.policy", "WhenProven"]),
    "a time before zero": (adopts(stuckPods={"afterSeconds": -1}), ["spec.stuckPods.afterSeconds"]),
    "a window of no length": (adopts(conflict={"clearAfterSeconds": 0}), ["spec.conflict.clearAfterSeconds"]),
    "a pattern that is no regular expression": (
        adopts(conflict={"patterns": ["ok", "("]}),
        ["spec.conflict.patterns[1]"],
    ),
    "a pattern that looks back": (
        adopts(conflict={"patterns": ["(?<=a)b"]}),
        ["spec.conflict.patterns[0]", "look-behind"],
    ),
    "a pattern that matches everything": (
        adopts(conflict={"patterns": [".*"]}),
        ["spec.conflict.patterns[0]", "every"],
    ),
    "more patterns than sixteen": (
        adopts(conflict={"patterns": [f"boom {number}" for number in range(17)]}),
        ["spec.conflict.patterns", "16"],
    ),
    "a pattern that is too long": (adopts(conflict={"patterns": ["a" * 201]}), ["spec.conflict.patterns[0]", "200"]),
    "a pattern that is empty": (adopts(conflict={"patterns": [""]}), ["spec.conflict.patterns[0]"]),
    "a remedy without a token": (
        adopts(token=None, conflict={"remedy": "FixWebhook"}),
        ["spec.conflict.remedy", "token"],
    ),
    "a restart without a token": (
        adopts(token=None, notPolling={"policy": "Restart"}),
        ["spec.notPolling.policy", "token"],
    ),
    "a template without containers": (owns(template={"spec": {"containers": []}}), ["spec.template.spec.containers"]),
    "a container without a name": (
        owns(template={"spec": {"containers": [{"image": "x"}]}}),
        ["spec.template.spec.containers[0].name"],
    ),
}


@pytest.mark.parametrize(("spec", "named"), BAD.values(), ids=BAD)
def test_a_bad_spec_becomes_one_sentence_that_names_the_field(spec: Json, named: list[str]) -> None:
    bot = telegram_bot(spec=spec)
    assert bot.spec is None
    assert [each for each in named if each not in bot.problem] == []
    assert "\n" not in bot.problem
    assert "https://errors.pydantic.dev" not in bot.problem


@pytest.mark.parametrize("spec", [None, {"deploymentRef": None}, []], ids=["no spec", "a null field", "an empty list"])
def test_a_spec_that_is_hardly_one_is_no_reason_to_fail(spec: Any) -> None:
    bot = understand.bot({**bot_body(), "spec": spec})
    assert bot.spec is None
    assert bot.problem


def test_fields_of_a_later_version_are_no_problem() -> None:
    bot = telegram_bot(spec=adopts(lockTimeout=5, conflict={"logs": False, "learn": True}))
    assert bot.problem == ""
    assert bot.spec is not None
    assert bot.spec.conflict.logs is False


def test_every_rule_of_the_schema_is_held_against_stored_objects_too() -> None:
    assert {rule.message for rule in RULES} <= {telegram_bot(spec=spec).problem for spec, _ in BAD.values()}


def test_a_good_spec_has_no_problem_and_its_defaults() -> None:
    bot = telegram_bot(spec={"deploymentRef": {"name": "shop"}})
    assert bot.problem == ""
    assert bot.spec is not None
    assert (bot.spec.lock, bot.spec.stuck_pods.policy, bot.spec.duplicates) == ("Scheduler", "WhenProven", "Delete")


def test_the_template_is_kept_as_it_was_written_also_where_the_schema_says_nothing_of_it() -> None:
    template = {"spec": {"containers": [{"name": "bot", "someField": {"of": "a later Kubernetes"}}]}}
    assert telegram_bot(spec=owns(template=template)).template == template


def test_who_and_when_it_is() -> None:
    bot = telegram_bot(age=60, uid="u-1", generation=4, version=99)
    assert (bot.key, bot.uid, bot.generation, bot.resource_version) == ((NAMESPACE, BOT), "u-1", 4, "99")
    assert bot.created == at(-60)
    assert not bot.deleting


def test_one_that_is_being_deleted_says_so() -> None:
    assert telegram_bot(deleting=True).deleting


@pytest.mark.parametrize(
    ("spec", "target", "adopted"),
    [(adopts(deploymentRef={"name": "shop"}), "shop", True), (owns(), BOT, False)],
    ids=["deploymentRef adopts the Deployment that it names", "template owns one of its own name"],
)
def test_which_deployment_is_meant(spec: Json, target: str, *, adopted: bool) -> None:
    bot = telegram_bot(spec=spec)
    assert (bot.target, bot.adopts) == (target, adopted)


def test_the_container_whose_log_counts_can_be_named_by_annotation() -> None:
    assert telegram_bot(annotations={"singleton.bot/container": "talker"}).container == "talker"
    assert telegram_bot().container is None


# --- Tokens ---------------------------------------------------------------------------------------------------------

SECRET = "AAFq9Zr0bXw3KjT5uYv1LmNp8sQeHd2GcRk"
TOKEN = f"{IDENTITY}:{SECRET}"
REF = SecretKeyRef(name="shop-token", key="token")


def secret(text: str | bytes, key: str = "token") -> Json:
    return {"data": {key: base64.b64encode(text if isinstance(text, bytes) else text.encode()).decode()}}


SECRETS: dict[str, tuple[Json | None, TokenState]] = {
    "a token": (secret(TOKEN), TokenState.VALID),
    "a token with a line break behind it, as echo makes it": (secret(f"{TOKEN}\n"), TokenState.VALID),
    "a token of a longer secret, as Telegram may give one day": (secret(TOKEN + "0" * 10), TokenState.VALID),
    "no Secret": (None, TokenState.SECRET_NOT_FOUND),
    "a Secret without data": ({}, TokenState.KEY_NOT_FOUND),
    "a Secret whose data is null": ({"data": None}, TokenState.KEY_NOT_FOUND),
    "a Secret with another key": (secret(TOKEN, "TOKEN"), TokenState.KEY_NOT_FOUND),
    "an empty value": (secret(""), TokenState.EMPTY),
    "nothing but space": (secret(" \n"), TokenState.EMPTY),
    "a placeholder": (secret("<your token>"), TokenState.NOT_A_TOKEN),
    "the bot id alone": (secret(IDENTITY), TokenState.NOT_A_TOKEN),
    "the secret part alone": (secret(SECRET), TokenState.NOT_A_TOKEN),
    "a token that was cut": (secret(TOKEN[:-12]), TokenState.NOT_A_TOKEN),
    "a token in quotes": (secret(f'"{TOKEN}"'), TokenState.NOT_A_TOKEN),
    "a token encoded twice": (secret(base64.b64encode(TOKEN.encode())), TokenState.NOT_A_TOKEN),
    "an environment file": (secret(f"BOT_TOKEN={TOKEN}"), TokenState.NOT_A_TOKEN),
    "bytes that are no text": (secret(b"\xff\xfe\x00"), TokenState.NOT_A_TOKEN),
    "a value that is not base64": ({"data": {"token": "a"}}, TokenState.NOT_A_TOKEN),
}


@pytest.mark.parametrize(("stored", "expected"), SECRETS.values(), ids=SECRETS)
def test_what_a_secret_says_of_the_token(stored: Json | None, expected: TokenState) -> None:
    view = understand.token(stored, REF)
    assert view.state is expected
    assert view.bot_id == (int(IDENTITY) if expected is TokenState.VALID else None)


@pytest.mark.parametrize("stored", [each for each, _ in SECRETS.values()], ids=SECRETS)
def test_the_token_goes_no_further(stored: Json | None) -> None:
    """INV-7: what is passed on can be printed by anybody."""
    view = understand.token(stored, REF)
    assert SECRET[:8] not in repr(view)
    assert SECRET[:8] not in str(view)


MISSING = {
    TokenState.NOT_GIVEN: False,
    TokenState.VALID: False,
    TokenState.SECRET_NOT_FOUND: True,
    TokenState.KEY_NOT_FOUND: True,
    TokenState.EMPTY: True,
    TokenState.NOT_A_TOKEN: True,
    TokenState.FORBIDDEN: True,
    TokenState.UNREADABLE: True,
}


@pytest.mark.parametrize("state", TokenState)
def test_a_token_that_should_be_there_and_is_not_is_looked_for_again(state: TokenState) -> None:
    assert TokenView(state).missing is MISSING[state]
