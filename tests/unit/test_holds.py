"""Who has a bot that several TelegramBots claim."""

import pytest

from telegrambot_operator.core.holds import goes_first, identity_winner
from telegrambot_operator.core.observed import Rival
from tests.unit.worlds import IDENTITY, known_to_telegram, rival, telegram_bot, world

OLDER, YOUNGER = 90000, 60  # the usual TelegramBot is 86,400 seconds old
MINE = None

CLAIMS: dict[str, tuple[bool, tuple[Rival, ...], str | None]] = {
    "alone": (False, (), MINE),
    "the older has it": (True, (rival(age=OLDER, confirmed=True),), "other"),
    "... though neither is known to Telegram": (False, (rival(age=OLDER),), "other"),
    "the younger has not": (True, (rival(age=YOUNGER, confirmed=True),), MINE),
    "a made-up token gives way to one that Telegram knows, though it is older": (True, (rival(age=OLDER),), MINE),
    "... and so does this one's": (False, (rival(age=YOUNGER, confirmed=True),), "other"),
    "of several the oldest that Telegram knows": (
        False,
        (rival("pretender", age=OLDER + 2), rival("real", age=OLDER, confirmed=True), rival("late", age=YOUNGER)),
        "real",
    ),
    "one with the same Deployment is no matter of identity": (True, (rival(age=OLDER, same_deployment=True),), MINE),
}


@pytest.mark.parametrize(("known", "rivals", "expected"), CLAIMS.values(), ids=CLAIMS)
def test_who_has_the_bot(known: bool, rivals: tuple[Rival, ...], expected: str | None) -> None:
    bot = telegram_bot(status=known_to_telegram() if known else {})
    found = identity_winner(world(bot, rivals=rivals), bot)
    assert (found.name if found else MINE) == expected


def test_that_telegram_knows_another_bots_token_is_no_claim_to_this_one() -> None:
    bot = telegram_bot(status=known_to_telegram("999999999"))
    assert not bot.confirmed(IDENTITY)


@pytest.mark.parametrize(
    ("winner", "words"),
    [
        (rival(age=OLDER), "is older"),
        (rival(age=86400), "was made in the same second and goes first"),
        (rival(age=YOUNGER, confirmed=True), "has a token that Telegram knows"),
    ],
)
def test_why_is_said(winner: Rival, words: str) -> None:
    assert goes_first(winner, telegram_bot()) == words
