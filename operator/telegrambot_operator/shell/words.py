"""Asks Telegram about all bots, under one budget: at once where there was a 409, else in turn and ever more seldom.

What is asked touches no bot (see core/word.py), and the token is read from its Secret for each look. Telegram's absence
is no news of any bot: what it said last stays, and one line of the log says so.
"""

import asyncio
import heapq
import itertools
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from ..core.actions import FixWebhook
from ..core.classify import may_poll
from ..core.records import Pod
from ..core.silence import Unheard
from ..core.webhooks import Hook, hook_of, host_of, without_address
from ..core.word import (
    CONFIRM_SECONDS,
    SOON_SECONDS,
    Answer,
    Ask,
    Heard,
    Info,
    Me,
    Refused,
    Repair,
    Said,
    Word,
    asks_otherwise,
    hear,
    is_news,
    remembered,
)
from .bots import Key
from .kube import KubeError
from .rate import Rate
from .telegram import Telegram
from .tokens import Tokens

log = logging.getLogger(__name__)

ASKS_A_SECOND = 10.0
ASKERS = 8
# Between two looks that 409s ask for.
ALARM_SECONDS = 10.0
_AT_ONCE = 0.0


@dataclass(slots=True)
class _Bot:
    ask: Ask
    heard: Heard
    due: float = 0.0
    looked_at: bool = False
    again: bool = False
    alarm: datetime | None = None
    alarmed: float = float("-inf")
    not_before: float = float("-inf")


class Words:
    """What Telegram has said of each bot. `changed` is called with a bot's key when that is something else."""

    def __init__(
        self,
        telegram: Telegram,
        tokens: Tokens,
        pods_of: Callable[[str], Awaitable[Sequence[Pod]]],
        changed: Callable[[Key], None],
    ) -> None:
        self._telegram = telegram
        self._tokens = tokens
        self._pods_of = pods_of
        self._changed = changed
        self._bots: dict[Key, _Bot] = {}
        self._due: list[tuple[float, int, Key]] = []
        self._order = itertools.count()
        self._wake = asyncio.Event()
        self._rate = Rate(ASKS_A_SECOND, _tell)

    def follow(self, key: Key, ask: Ask | None, status: Mapping[str, Any]) -> Word | None:
        """Ask about the bot from now on, or no more, and return what is known. `status` is where to begin from."""
        known = self._bots.get(key)
        if ask is None:
            self._bots.pop(key, None)
            return None
        if known is None:
            known = self._bots[key] = _Bot(ask, remembered(status, ask))
            self._schedule(key, known, _AT_ONCE if known.heard.word.is_odd else time.monotonic())
        elif replace(known.ask, alarm=None) != replace(ask, alarm=None):
            known.heard = asks_otherwise(known.heard, known.ask, ask)
            self._schedule(key, known, min(known.due, time.monotonic() + SOON_SECONDS))
        known.ask = ask
        if ask.alarm not in {None, known.alarm}:
            known.alarm = ask.alarm
            self._alarm(key, known)
        return known.heard.word

    def _alarm(self, key: Key, bot: _Bot) -> None:
        """Look before all others, or in a while if that was done a moment ago."""
        now = time.monotonic()
        at = max(now, bot.alarmed + ALARM_SECONDS)
        due = _AT_ONCE if at == now else at
        if due < bot.due:
            bot.alarmed = at
            self._schedule(key, bot, due)

    async def run(self) -> None:
        """Ask for ever."""
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(ASKERS):
                    group.create_task(self._asker())
        finally:
            await self._telegram.close()

    # --- Looking ----------------------------------------------------------------------------------------------------

    def _schedule(self, key: Key, bot: _Bot, at: float) -> None:
        """Look at a bot at this time, but not before Telegram wants to hear of it again."""
        bot.again = bot.again or bot.looked_at
        bot.due = at if bot.not_before <= time.monotonic() else max(at, bot.not_before)
        heapq.heappush(self._due, (bot.due, next(self._order), key))
        self._wake.set()

    async def _asker(self) -> None:
        while True:
            key, bot = await self._next()
            await self._rate.moment()
            if self._bots.get(key) is bot:
                bot.looked_at, bot.again = True, False
                await self._look(key, bot)
                bot.looked_at = False
                now, pause = time.monotonic(), bot.heard.pause
                bot.not_before = now + pause if bot.heard.failures else now
                # Something may have changed while Telegram was asked.
                self._schedule(key, bot, now + (min(pause, CONFIRM_SECONDS) if bot.again else pause))

    async def _next(self) -> tuple[Key, _Bot]:
        """Wait for the next bot that is due; entries that were overtaken by a newer one are dropped."""
        while True:
            now = time.monotonic()
            while self._due and self._due[0][0] <= now:
                due, _, key = heapq.heappop(self._due)
                bot = self._bots.get(key)
                if bot is not None and bot.due == due and not bot.looked_at:
                    bot.due = float("inf")
                    return key, bot
            self._wake.clear()
            try:
                async with asyncio.timeout(self._due[0][0] - now if self._due else None):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def _look(self, key: Key, bot: _Bot) -> None:
        ask, before = bot.ask, bot.heard.word
        try:
            answer = await self._answer(key, ask, who=bot.heard.asks_who(time.monotonic()))
        except Exception:
            log.exception("%s/%s: asking Telegram failed; trying again", *key)
            answer = Unheard("asking failed")
        if _asks_the_same(bot.ask, ask):
            bot.heard = hear(bot.heard, ask, answer, time.monotonic(), datetime.now(UTC))
        if is_news(before, bot.heard.word):
            self._changed(key)

    async def _answer(self, key: Key, ask: Ask, *, who: bool) -> Answer:
        token = await self._token(key[0], ask.identity, ask)
        if isinstance(token, Unheard):
            return token
        me = await self._telegram.get_me(token) if who else None
        answer = me if isinstance(me, Refused | Unheard) else _said(await self._telegram.get_webhook_info(token), me)
        if isinstance(answer, Unheard):
            log.debug("%s/%s: Telegram: %s", *key, answer.why)
            self._rate.bad(key, answer.why)
        else:
            self._rate.good()
        return answer

    async def _token(self, namespace: str, identity: str, where: Ask | FixWebhook) -> str | Unheard:
        try:
            token = await self._tokens.reveal(namespace, where.secret)
        except KubeError as error:
            return Unheard(f"the Secret with the token cannot be read: HTTP {error.status}")
        if token is None or token.partition(":")[0] != identity:
            return Unheard("the Secret does not hold this bot's token any more")
        return token

    # --- Repairing --------------------------------------------------------------------------------------------------

    def restarted(self, key: Key) -> None:
        """Take in that the bot's pod was deleted because it fetched nothing."""
        bot = self._bots.get(key)
        if bot is not None:
            word = bot.heard.word
            word = replace(word, restarts=word.restarts + 1, restarted=datetime.now(UTC), deaf=False, sure=False)
            bot.heard = replace(bot.heard, word=word, since=None, looks=0)

    async def fix(self, key: Key, action: FixWebhook) -> bool:
        """Repair the webhook, if it still needs it, and return whether that was done. Raises KubeError.

        What lets polling begin is done only after a live look at the identity's pods: at most one may begin.
        """
        bot = self._bots.get(key)
        running = [pod for pod in await self._pods_of(action.identity) if may_poll(pod)]
        if bot is None or len(running) != 1:
            return False
        token = await self._token(action.namespace, action.identity, action)
        done = token if isinstance(token, Unheard) else await self._repair(token, action)
        self._schedule(key, bot, _AT_ONCE)
        if done is None:
            return False
        problem = "" if done is True else _problem(done, action.url or "")
        word = replace(bot.heard.word, repair=Repair(datetime.now(UTC), action.generation, problem))
        word = word if problem else replace(word, hook=Hook.WANTED, host=host_of(action.url or ""))
        bot.heard = replace(bot.heard, word=word, odd=0, calm=0)
        return not problem

    async def _repair(self, token: str, action: FixWebhook) -> bool | Refused | Unheard | None:
        """Return what Telegram answered, None where there is nothing to repair any more."""
        info = await self._telegram.get_webhook_info(token)
        if not isinstance(info, Info):
            return info
        if hook_of(info.url, action.url) is Hook.WANTED:
            return None
        if action.url is None:
            return await self._telegram.delete_webhook(token)
        return await self._telegram.set_webhook(token, action.url, info.max_connections if info.url else None)


def _said(info: Info | Refused | Unheard, me: Me | None) -> Answer:
    return Said(info, me) if isinstance(info, Info) else info


def _problem(answer: bool | Refused | Unheard, url: str) -> str:
    """Say why Telegram has not repaired the webhook; its words may hold the address that it was given."""
    return without_address(answer.why, url) if isinstance(answer, Unheard) else "it does not know the token"


def _asks_the_same(one: Ask, other: Ask) -> bool:
    return replace(one, alarm=None) == replace(other, alarm=None)


def _tell(why: str) -> None:
    if why:
        log.warning("Telegram does not answer (%s); nothing changes for the bots, and it is asked less often", why)
    else:
        log.info("Telegram answers again")
