"""Listening at work, against Telegram's stand-in: one poll a bot, none that nobody asked for, and an end at once."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import pytest
import pytest_asyncio

from telegrambot_operator.api.models import SecretKeyRef
from telegrambot_operator.core.listening import Listen
from telegrambot_operator.core.silence import Silence, Sound
from telegrambot_operator.shell.kube import KubeError
from telegrambot_operator.shell.silence import Silences
from telegrambot_operator.shell.telegram import Telegram
from tests.bed.telegram import Bot, Emulator
from tests.unit.worlds import pod

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from telegrambot_operator.core.records import Pod
    from telegrambot_operator.shell.tokens import Tokens

KEY = ("shop", "shop-bot")
ABOUT = frozenset({("uid-hung", "node-1")})
SHORT, LOOKS_OFTEN, LONG = 1.0, 10.0, 3600.0


@dataclass
class Secrets:
    """Gives the token that the Secret holds, or fails."""

    token: str | None
    error: KubeError | None = None

    async def reveal(self, namespace: str, ref: SecretKeyRef) -> str | None:
        assert (namespace, ref.name) == ("shop", "shop-token")
        if self.error:
            raise self.error
        return self.token


@dataclass
class Listener:
    """An operator's listening, and what it knows of the bot's pods."""

    bot: Bot
    silences: Silences
    pods: list[Pod]
    news: list[tuple[str, str]] = field(default_factory=list)

    def wanted(self, about: frozenset[tuple[str, str]] = ABOUT) -> Listen:
        return Listen(str(self.bot.id), SecretKeyRef(name="shop-token", key="token"), about)

    @property
    def sound(self) -> Sound | None:
        state = self.silences.state(KEY)
        return state.sound if state else None

    async def hears(self, sound: Sound | None) -> None:
        """Wait for the answer that leads to this."""
        await self.bot.until(lambda: self.sound is sound)

    async def parked(self) -> None:
        await self.bot.until(lambda: self.bot.polls and self.bot.polls[-1].parked)

    async def gone(self) -> None:
        """Wait until Telegram has no poll any more."""
        await self.bot.until(lambda: not self.bot.polling_now())


@pytest_asyncio.fixture
async def emulator() -> AsyncIterator[Emulator]:
    async with Emulator.start(brake=0.1) as emulator:
        yield emulator


def listener(emulator: Emulator, bot: Bot, window: float, secrets: Secrets | None = None) -> Listener:
    """Every piece of news is a change for whoever waits in `Bot.until`."""
    pods = [pod("hung", terminating=90, bot=str(bot.id))]
    news: list[tuple[str, str]] = []

    def changed(key: tuple[str, str]) -> None:
        news.append(key)
        bot.notify()

    tokens = cast("Tokens", secrets or Secrets(bot.token))
    return Listener(bot, Silences(Telegram(emulator.url), tokens, window, lambda _: pods, changed), pods, news)


@pytest_asyncio.fixture
async def bot(emulator: Emulator) -> Bot:
    return emulator.new_bot()


async def test_a_whole_window_without_anybody_is_silence_and_what_came_in_meanwhile_is_kept(
    emulator: Emulator, bot: Bot
) -> None:
    ear = listener(emulator, bot, SHORT)
    await ear.silences.tend(KEY, ear.wanted())
    await ear.parked()
    bot.send("are you there?")
    await ear.hears(Sound.SILENT)
    assert [each["message"]["text"] for each in bot.pending] == ["are you there?"]
    assert KEY in ear.news
    assert await ear.silences.hush(KEY) is Sound.SILENT
    await ear.gone()


async def test_until_when_it_listens_is_known_at_once_and_does_not_change(emulator: Emulator, bot: Bot) -> None:
    ear = listener(emulator, bot, LOOKS_OFTEN)
    await ear.silences.tend(KEY, ear.wanted())
    first = ear.silences.state(KEY)
    bot.send("hello")
    await bot.until(lambda: len(bot.polls) > 1)
    assert first is not None
    assert first.until is not None
    assert ear.silences.state(KEY) == Silence(ABOUT, Sound.LISTENING, first.until)
    await ear.silences.hush(KEY)


async def test_somebody_who_fetches_the_updates_is_heard(emulator: Emulator, bot: Bot) -> None:
    ear = listener(emulator, bot, LOOKS_OFTEN)
    update = bot.send("one")
    assert update is not None
    await ear.silences.tend(KEY, ear.wanted())
    await bot.until(lambda: bot.polls)
    bot.confirm(update + 1)
    await ear.hears(Sound.HEARD)
    assert not any(poll.parked for poll in bot.polls), "nobody could be cut off"
    await ear.silences.hush(KEY)


async def test_a_second_pass_starts_no_second_poll_and_nobody_else_does(emulator: Emulator, bot: Bot) -> None:
    ear = listener(emulator, bot, LONG)
    await ear.silences.tend(KEY, ear.wanted())
    await ear.parked()
    await ear.silences.tend(KEY, ear.wanted())
    await ear.silences.tend(("else", "rival"), ear.wanted())
    assert len(bot.polling_now()) == 1
    assert ear.silences.state(("else", "rival")) is None
    await ear.silences.tend(("else", "rival"), None)
    assert len(bot.polling_now()) == 1
    await ear.silences.hush(KEY)
    await ear.gone()
    assert (len(bot.polls), bot.conflicts) == (1, [])


async def test_it_ends_when_a_pass_no_longer_asks_for_it(emulator: Emulator, bot: Bot) -> None:
    ear = listener(emulator, bot, LONG)
    await ear.silences.tend(KEY, ear.wanted())
    await ear.parked()
    await ear.silences.tend(KEY, None)
    await ear.gone()
    assert ear.sound is None


async def test_for_other_pods_it_begins_anew(emulator: Emulator, bot: Bot) -> None:
    ear = listener(emulator, bot, SHORT)
    await ear.silences.tend(KEY, ear.wanted())
    await ear.hears(Sound.SILENT)
    more = ABOUT | {("uid-too", "node-1")}
    await ear.silences.tend(KEY, ear.wanted(more))
    state = ear.silences.state(KEY)
    assert state is not None
    assert (state.about, state.sound) == (more, Sound.LISTENING)
    await ear.silences.hush(KEY)


OURS: dict[str, dict[str, Any]] = {
    "it is bound": {},
    "it runs": {"node": "node-2"},
    "it is on its way out": {"terminating": -5},
}


@pytest.mark.parametrize("facts", OURS.values(), ids=OURS)
async def test_it_ends_at_once_when_a_pod_of_the_bot_may_poll(
    facts: dict[str, Any], emulator: Emulator, bot: Bot
) -> None:
    ear = listener(emulator, bot, LONG)
    await ear.silences.tend(KEY, ear.wanted())
    await ear.parked()
    ear.silences.pod_changed(pod("new", bot=str(bot.id), **facts))
    assert ear.sound is None
    await ear.gone()
    assert bot.conflicts == []


async def test_a_pod_that_cannot_poll_ends_nothing(emulator: Emulator, bot: Bot) -> None:
    ear = listener(emulator, bot, LONG)
    await ear.silences.tend(KEY, ear.wanted())
    for other in (pod("new", bot=str(bot.id), node=""), pod("another-bots"), ear.pods[0]):
        ear.silences.pod_changed(other)
    assert ear.sound is Sound.LISTENING
    await ear.silences.hush(KEY)


async def test_the_reader_itself_looks_before_each_poll(emulator: Emulator, bot: Bot) -> None:
    ear = listener(emulator, bot, LOOKS_OFTEN)
    bot.send("so that no poll is parked")
    await ear.silences.tend(KEY, ear.wanted())
    await bot.until(lambda: bot.polls)
    ear.pods.append(pod("new", bot=str(bot.id)))
    await ear.hears(None)
    assert not bot.polling_now()


async def test_where_one_of_ours_may_poll_it_does_not_even_begin(emulator: Emulator, bot: Bot) -> None:
    ear = listener(emulator, bot, LONG)
    ear.pods.append(pod("new", bot=str(bot.id)))
    await ear.silences.tend(KEY, ear.wanted())
    await ear.hears(None)
    assert bot.polls == []


CANNOT: dict[str, tuple[Secrets, str]] = {
    "the Secret is gone": (Secrets(None), "does not hold this bot's token"),
    "it holds another bot's token": (Secrets("7301948265:AAFq9Zr0bXw3KjT5uYv1LmNp8sQeHd2GcRk"), "does not hold this"),
    "it may not be read": (Secrets(None, KubeError(403, "Forbidden", "no")), "cannot be read: HTTP 403"),
}


@pytest.mark.parametrize(("secrets", "why"), CANNOT.values(), ids=CANNOT)
async def test_without_the_token_nothing_is_asked(secrets: Secrets, why: str, emulator: Emulator, bot: Bot) -> None:
    ear = listener(emulator, bot, LONG, secrets)
    await ear.silences.tend(KEY, ear.wanted())
    await ear.hears(Sound.CANNOT)
    state = ear.silences.state(KEY)
    assert state is not None
    assert why in state.why
    assert bot.polls == []
    await ear.silences.hush(KEY)


async def test_of_two_operators_that_listen_one_is_cut_off_and_the_other_has_its_whole_window(
    emulator: Emulator, bot: Bot
) -> None:
    first, second = listener(emulator, bot, 2.0), listener(emulator, bot, 2.0)
    await first.silences.tend(KEY, first.wanted())
    await first.parked()
    await second.silences.tend(KEY, second.wanted())
    await first.hears(Sound.HEARD)
    await second.hears(Sound.SILENT)
    assert first.sound is Sound.HEARD
    await first.silences.hush(KEY)
    await second.silences.hush(KEY)


async def test_the_token_is_in_no_line_of_the_log_and_in_no_state(
    emulator: Emulator, bot: Bot, caplog: pytest.LogCaptureFixture
) -> None:
    """INV-7."""
    caplog.set_level(logging.DEBUG)
    ear = listener(emulator, bot, LONG)
    emulator.revoke(bot)
    await ear.silences.tend(KEY, ear.wanted())
    await ear.hears(Sound.CANNOT)
    secret = bot.token.partition(":")[2]
    ours = [line.getMessage() for line in caplog.records if line.name.startswith("telegrambot_operator")]
    assert ours
    assert secret not in f"{ours} {ear.silences.state(KEY)}"
    await ear.silences.hush(KEY)
