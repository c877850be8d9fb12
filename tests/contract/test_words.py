"""Asking at work, against Telegram's stand-in: who is asked when, what goes wrong, and repairs that lose nothing."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import defaultdict
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, cast

import pytest
import pytest_asyncio

from telegrambot_operator.api.models import SecretKeyRef
from telegrambot_operator.core.actions import FixWebhook
from telegrambot_operator.core.webhooks import Hook
from telegrambot_operator.core.word import Ask, Poller, Word
from telegrambot_operator.shell import words as module
from telegrambot_operator.shell.kube import KubeError
from telegrambot_operator.shell.rate import LEAST_A_SECOND, Rate
from telegrambot_operator.shell.telegram import Telegram
from telegrambot_operator.shell.words import Words
from tests.bed.telegram import Bot, Emulator
from tests.unit.worlds import pod

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from telegrambot_operator.core.records import Pod
    from telegrambot_operator.shell.bots import Key
    from telegrambot_operator.shell.tokens import Tokens

KEY = ("shop", "shop-bot")
SECRET = SecretKeyRef(name="shop-token", key="token")
HOOK, OTHER = "https://shop.example/hook/s3cret", "https://old.example/hook"
INFO = "getwebhookinfo"


@dataclass
class Secrets:
    """Gives the token that a namespace's Secret holds, or fails."""

    tokens: dict[str, str | None] = field(default_factory=dict)
    error: KubeError | None = None

    async def reveal(self, namespace: str, ref: SecretKeyRef) -> str | None:
        assert ref == SECRET
        if self.error:
            raise self.error
        return self.tokens[namespace]


@dataclass
class Asker:
    """An operator's asking, and what it knows of the pods of each identity."""

    emulator: Emulator
    secrets: Secrets
    pods: dict[str, list[Pod]]
    words: Words = field(init=False)
    news: list[Key] = field(default_factory=list)
    status: dict[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.words = Words(Telegram(self.emulator.url), cast("Tokens", self.secrets), self.live, self.news.append)

    async def live(self, identity: str) -> Sequence[Pod]:
        return self.pods[identity]

    def bot(self, key: Key = KEY) -> Bot:
        bot = self.emulator.new_bot()
        self.secrets.tokens[key[0]] = bot.token
        self.pods[str(bot.id)] = [pod("bot-a")]
        return bot

    def follow(self, bot: Bot, key: Key = KEY, **more: object) -> Word:
        ask = replace(Ask(str(bot.id), SECRET, poller=Poller("bot-a", "uid-a", 0)), **more)
        word = self.words.follow(key, ask, self.status)
        assert word is not None
        return word

    def fix(self, bot: Bot, url: str | None = None) -> FixWebhook:
        return FixWebhook("shop", str(bot.id), SECRET, 2, url, "WebhookDeleted", "It is deleted.")


@pytest_asyncio.fixture
async def asker(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Asker]:
    """Asks as often as it likes, and what has to be seen twice is looked at again at once."""
    monkeypatch.setattr(module, "ASKS_A_SECOND", 1000.0)
    monkeypatch.setattr("telegrambot_operator.core.word.CONFIRM_SECONDS", 0.01)
    monkeypatch.setattr("telegrambot_operator.core.word.SETTLE_SECONDS", 0.02)
    async with Emulator.start(brake=0.1) as emulator:
        asker = Asker(emulator, Secrets(), defaultdict(list))
        task = asyncio.create_task(asker.words.run())
        yield asker
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(fact: Callable[[], object]) -> None:
    """Wait until it is so, looking again every few milliseconds."""
    async with asyncio.timeout(20):
        while True:
            if fact():
                return
            await asyncio.sleep(0.005)


def asked(bot: Bot, method: str = INFO) -> int:
    return [name for name, _ in bot.asked].count(method)


async def test_it_says_who_the_bot_is_and_how_its_webhook_stands(asker: Asker) -> None:
    bot = asker.bot()
    bot.set_webhook(HOOK)
    assert asker.follow(bot, url=HOOK) == Word()
    await until(lambda: asker.news)
    word = asker.follow(bot, url=HOOK)
    assert (word.username, word.hook, word.host, word.fresh) == (bot.username, Hook.WANTED, "shop.example", True)
    assert bot.polls == []


async def test_what_it_asks_takes_no_update_and_cuts_nobody_off(asker: Asker) -> None:
    bot = asker.bot()
    bot.send("one")
    asker.follow(bot)
    await until(lambda: asked(bot))
    assert (len(bot.pending), bot.conflicts) == (1, [])


async def test_a_webhook_in_the_way_is_news_once_it_is_certain(asker: Asker) -> None:
    bot = asker.bot()
    bot.set_webhook(OTHER)
    asker.follow(bot)
    await until(lambda: asker.follow(bot).hook is Hook.OTHER)
    assert asked(bot) >= 2


async def test_a_token_that_is_refused_is_asked_for_twice(asker: Asker) -> None:
    bot = asker.bot()
    asker.emulator.revoke(bot)
    asker.follow(bot)
    await until(lambda: asker.follow(bot).refused)


async def test_an_answer_of_another_bot_is_not_used(asker: Asker) -> None:
    bot = asker.bot()
    bot.set_webhook(OTHER)
    bot.id += 1
    asker.words.follow(KEY, Ask(bot.token.partition(":")[0], SECRET), {})
    await until(lambda: asker.news)
    word = asker.words.follow(KEY, Ask(bot.token.partition(":")[0], SECRET), {})
    assert word == Word(fresh=True, stranger=bot.id)


async def test_an_answer_that_does_not_come_is_no_news(asker: Asker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("telegrambot_operator.core.word.RETRY_SECONDS", 0.01)
    bot = asker.bot()
    asker.emulator.outage(502)
    asker.follow(bot)
    await until(lambda: len(asker.emulator.turned_away) >= 3)
    assert asker.news == []
    asker.emulator.recover()
    await until(lambda: asker.news)


@pytest.mark.parametrize("of_another", [False, True])
async def test_without_the_bots_own_token_nobody_is_asked(
    of_another: bool, asker: Asker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("telegrambot_operator.core.word.RETRY_SECONDS", 0.01)
    bot, another = asker.bot(), asker.emulator.new_bot()
    good, asker.secrets.tokens["shop"] = asker.secrets.tokens["shop"], another.token if of_another else None
    asker.follow(bot)
    other = asker.bot(("other", "bot"))
    asker.follow(other, ("other", "bot"))
    await until(lambda: asked(other))
    assert (bot.asked, another.asked) == ([], [])
    asker.secrets.tokens["shop"] = good
    await until(lambda: asked(bot))


async def test_a_secret_that_cannot_be_read_is_asked_for_again(asker: Asker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("telegrambot_operator.core.word.RETRY_SECONDS", 0.01)
    bot = asker.bot()
    asker.secrets.error = KubeError(503, "Unavailable", "no")
    asker.follow(bot)
    asker.secrets.error = None
    await until(lambda: asked(bot))


async def test_a_conflict_is_looked_at_at_once_and_a_war_of_them_not_at_each(asker: Asker) -> None:
    bot = asker.bot()
    asker.status = {"bot": {"username": bot.username}}  # a bot that is known well: its next look is in three minutes
    asker.follow(bot)
    await until(lambda: asked(bot) == 1)
    for second in range(5):
        asker.follow(bot, alarm=datetime(2026, 11, 24, 12, 0, second, tzinfo=UTC))
    await until(lambda: asked(bot) == 2)
    asker.follow(bot, alarm=datetime(2026, 11, 24, 12, 1, tzinfo=UTC))
    other = asker.bot(("other", "bot"))
    asker.follow(other, ("other", "bot"))
    await until(lambda: asked(other))
    assert asked(bot) == 2


async def test_as_long_as_telegram_asks_for_patience_nothing_brings_a_bot_forward(asker: Asker) -> None:
    bot = asker.bot()
    bot.fail_next(429, method="getWebhookInfo", retry_after=3600)
    asker.follow(bot)
    await until(lambda: asked(bot))
    await until(lambda: asker.words._bots[KEY].heard.failures)
    asker.follow(bot, poller=None, alarm=datetime(2026, 11, 24, 12, tzinfo=UTC))
    assert asker.words._bots[KEY].due > time.monotonic() + 3000


async def test_who_has_a_conflict_goes_before_all_others(asker: Asker, monkeypatch: pytest.MonkeyPatch) -> None:
    asker.words._rate.a_second = 5.0
    monkeypatch.setattr("telegrambot_operator.shell.rate.EASIER", 1.0)
    others = [asker.bot((f"ns-{number}", "bot")) for number in range(30)]
    for number, other in enumerate(others):
        asker.follow(other, (f"ns-{number}", "bot"))
    bot = asker.bot()
    asker.follow(bot, alarm=datetime(2026, 11, 24, 12, tzinfo=UTC))
    await until(lambda: asked(bot))
    assert sum(bool(other.asked) for other in others) < 10


async def test_a_bot_that_is_gone_is_not_asked_about(asker: Asker) -> None:
    bot = asker.bot()
    asker.follow(bot)
    assert asker.words.follow(KEY, None, {}) is None
    other = asker.bot(("other", "bot"))
    asker.follow(other, ("other", "bot"))
    await until(lambda: asked(other))
    assert bot.asked == []


# --- Repairs --------------------------------------------------------------------------------------------------------


async def test_a_webhook_is_deleted_and_no_update_with_it(asker: Asker) -> None:
    bot = asker.bot()
    bot.set_webhook(OTHER)
    bot.send("one")
    asker.follow(bot)
    assert await asker.words.fix(KEY, asker.fix(bot))
    assert (bot.webhook.url, len(bot.pending)) == ("", 1)
    word = asker.follow(bot)
    assert (word.hook, word.host) == (Hook.WANTED, "")
    assert word.repair is not None
    assert (word.repair.generation, word.repair.problem) == (2, "")


async def test_a_webhook_is_set_and_keeps_what_telegram_tells_of_the_one_before(asker: Asker) -> None:
    bot = asker.bot()
    bot.set_webhook(OTHER)
    bot.webhook.max_connections, bot.allowed_updates = 7, ("message", "poll")
    bot.send("one")
    asker.follow(bot, url=HOOK)
    assert await asker.words.fix(KEY, asker.fix(bot, HOOK))
    assert (bot.webhook.url, bot.webhook.max_connections) == (HOOK, 7)
    assert (bot.allowed_updates, len(bot.pending)) == (("message", "poll"), 1)


@pytest.mark.parametrize("count", [0, 2])
async def test_polling_begins_only_where_one_pod_can_begin(count: int, asker: Asker) -> None:
    bot = asker.bot()
    bot.set_webhook(OTHER)
    asker.pods[str(bot.id)] = [pod(f"bot-{number}") for number in range(count)]
    asker.follow(bot)
    assert not await asker.words.fix(KEY, asker.fix(bot))
    assert bot.webhook.url == OTHER


async def test_what_is_right_by_now_is_left_alone(asker: Asker) -> None:
    bot = asker.bot()
    asker.follow(bot)
    assert not await asker.words.fix(KEY, asker.fix(bot))
    assert asked(bot, "deletewebhook") == 0
    assert asker.follow(bot).repair is None


async def test_a_repair_that_telegram_refuses_is_told_without_the_address(asker: Asker) -> None:
    bot = asker.bot()
    asker.follow(bot, url=HOOK)
    bot.fail_next(400, method="setWebhook", description=f"Bad Request: bad webhook: failed to resolve {HOOK}")
    assert not await asker.words.fix(KEY, asker.fix(bot, HOOK))
    repair = asker.follow(bot, url=HOOK).repair
    assert repair is not None
    assert "bad webhook" in repair.problem
    assert "s3cret" not in repair.problem


async def test_nothing_that_is_logged_holds_a_token_or_an_address(
    asker: Asker, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    bot = asker.bot()
    bot.set_webhook(HOOK)
    bot.fail_next(500, method="getMe", description=f"no route for /bot{bot.token}/getMe")
    asker.follow(bot)
    await until(lambda: asked(bot, "getme"))
    asker.follow(bot, alarm=datetime(2026, 11, 24, tzinfo=UTC))
    await asker.words.fix(KEY, asker.fix(bot))
    logged = [record.getMessage() for record in caplog.records if record.name.startswith("telegrambot_operator")]
    assert [line for line in logged if bot.token.partition(":")[2] in line or "s3cret" in line] == []


# --- The pace -------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def _paced(most: float) -> AsyncIterator[tuple[Rate, list[str]]]:
    told: list[str] = []
    yield Rate(most, told.append), told


async def test_one_bot_without_an_answer_does_not_slow_the_others_down() -> None:
    async with _paced(10.0) as (rate, told):
        for _ in range(50):
            rate.bad("a", "HTTP 429")
        assert (rate.a_second, told) == (10.0, ["HTTP 429"])


async def test_an_outage_is_told_once_and_so_is_its_end() -> None:
    async with _paced(10.0) as (rate, told):
        for number in range(50):
            rate.bad(number, "HTTP 502")
        assert (rate.a_second, told) == (LEAST_A_SECOND, ["HTTP 502"])
        for _ in range(50):
            rate.good()
        assert (rate.a_second, told) == (10.0, ["HTTP 502", ""])
