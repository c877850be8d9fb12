"""The TelegramBots that are known, and which of them claim the same Deployment or the same identity."""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .. import names
from ..core import understand
from ..core.observed import Bot, Rival

log = logging.getLogger(__name__)

Key = tuple[str, str]

REMEMBERED = 1000  # uids of TelegramBots that are gone: a late answer must not bring one back


class Bots:
    """TelegramBots by namespace and name. `changed` is called with the key of each bot that a change concerns."""

    def __init__(self, changed: Callable[[Key], None]) -> None:
        self._bots: dict[Key, Bot] = {}
        self._claims: dict[tuple[str, str, str], set[Key]] = {}
        self._claimed: dict[Key, tuple[tuple[str, str, str], tuple[str, str, str]]] = {}
        self._gone: dict[str, None] = {}
        self._changed = changed

    def __len__(self) -> int:
        return len(self._bots)

    def all_keys(self) -> list[Key]:
        """Return all keys."""
        return list(self._bots)

    def all_bots(self) -> list[Bot]:
        """Return all bots."""
        return list(self._bots.values())

    def get(self, key: Key) -> Bot | None:
        """Return one bot, or None."""
        return self._bots.get(key)

    def put(self, body: Mapping[str, Any], *, ours: bool = False) -> Bot:
        """Take in a version of a TelegramBot, unless a newer one is known, and return the newest.

        `ours`: it is the answer to our own status write. A status that somebody else has changed is looked at again.
        """
        fresh = understand.bot(body)
        known = self._bots.get(fresh.key)
        if fresh.uid in self._gone or (known is not None and known.version >= fresh.version):
            return known or fresh
        self._bots[fresh.key] = fresh
        self._claim(fresh, self._identity(fresh))
        if known is not None and known.status.get("bot") != fresh.status.get("bot"):
            self._rank_anew(self._identity(fresh))
        if known is None or _asks(known) != _asks(fresh) or (known.status != fresh.status and not ours):
            self._changed(fresh.key)
        return fresh

    def _rank_anew(self, identity: str) -> None:
        """Let those who share an identity look again: whom of them Telegram knows decides who has it."""
        sharing = self.of_identity(identity)
        for key in sharing if len(sharing) > 1 else ():
            self._changed(key)

    def drop(self, key: Key, uid: str | None = None) -> None:
        """Forget a TelegramBot; with `uid`, only that one and not a successor of its name."""
        known = self._bots.get(key)
        if known is None or uid not in {None, known.uid}:
            return
        del self._bots[key]
        self._gone[known.uid] = None
        while len(self._gone) > REMEMBERED:
            del self._gone[next(iter(self._gone))]
        for claim in self._claimed.pop(key, ()):
            self._leave(claim, key)
        self._changed(key)

    def replace(self, bodies: Sequence[Mapping[str, Any]], namespaces: tuple[str, ...] = (), *, listed_at: int) -> None:
        """Take in a complete list as of a resource version: what was known then and is not in it is gone."""
        present = {(body["metadata"]["namespace"], body["metadata"]["name"]) for body in bodies}
        for key in self.all_keys():
            judged = self._bots[key].version <= listed_at and (not namespaces or key[0] in namespaces)
            if judged and key not in present:
                self.drop(key)
        for body in bodies:
            self.put(body)

    def forget_claims(self) -> None:
        """Forget which identities passes have worked out: somebody else may know better, and has reported it."""
        self._claims.clear()
        self._claimed.clear()
        for bot in self._bots.values():
            self._claim(bot, self._identity(bot))

    def claim(self, bot: Bot, identity: str) -> None:
        """Note which identity a bot has; those that share its old or new one look again."""
        self._claim(bot, identity)

    def of_identity(self, identity: str) -> set[Key]:
        """Return the keys of the bots that have the identity."""
        return set(self._claims.get(("identity", "", identity), ()))

    def of_deployment(self, namespace: str, name: str) -> set[Key]:
        """Return the keys of the bots that mean the Deployment."""
        return set(self._claims.get(("deployment", namespace, name), ()))

    def last_identity(self, bot: Bot) -> str:
        """Return the identity that the bot had when it was last looked at, or that it reported last."""
        return self._identity(bot)

    def rivals(self, bot: Bot, identity: str) -> tuple[Rival, ...]:
        """Return the other bots that claim the same Deployment or identity."""
        deployment = self._claims.get(("deployment", bot.namespace, bot.target), set())
        same = self._claims.get(("identity", "", identity), set())
        found = []
        for key in sorted((deployment | same) - {bot.key}):
            other = self._bots[key]
            same_deployment = key in deployment
            found.append(
                Rival(
                    other.namespace,
                    other.name,
                    other.uid,
                    other.created,
                    same_deployment,
                    target=other.target,
                    confirmed=other.confirmed(identity),
                )
            )
        return tuple(found)

    def _identity(self, bot: Bot) -> str:
        """The identity until a pass has worked it out: as last reported, so that a restart shuffles no winners."""
        if bot.key in self._claimed:
            return self._claimed[bot.key][1][2]
        reported = (bot.status.get("bot") or {}).get("id")
        return str(reported) if reported else names.fallback_identity(bot.namespace, bot.name)

    def _claim(self, bot: Bot, identity: str) -> None:
        # A spec that cannot be read does not say which Deployment is meant: its own key stands for it and meets nobody.
        target = bot.target if bot.spec else f"{bot.name}?"
        fresh = (("deployment", bot.namespace, target), ("identity", "", identity))
        old = self._claimed.get(bot.key, ())
        if old == fresh:
            return
        self._claimed[bot.key] = fresh
        for claim in set(old) - set(fresh):
            self._leave(claim, bot.key)
        for claim in set(fresh) - set(old):
            self._join(claim, bot.key)

    def _join(self, claim: tuple[str, str, str], key: Key) -> None:
        others = self._claims.setdefault(claim, set())
        for other in others:
            self._changed(other)
        if others:
            self._changed(key)
        others.add(key)

    def _leave(self, claim: tuple[str, str, str], key: Key) -> None:
        others = self._claims.get(claim, set())
        others.discard(key)
        for other in others:
            self._changed(other)
        if not others:
            self._claims.pop(claim, None)


def _asks(bot: Bot) -> tuple[object, ...]:
    """What a pass depends on, its own last word aside."""
    return bot.uid, bot.generation, bot.container, bot.deleting
