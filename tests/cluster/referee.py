"""Who polled when: what the suite asks of Telegram's stand-in, on whichever cluster it plays.

A poller is a process where all share one address, as on the bed, and an address where every pod has its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.bed.telegram import Bot, Client, Emulator


@dataclass(frozen=True, slots=True)
class Span:
    """One poll. Times in seconds of the referee's own clock; `ended` is None while it is still being answered."""

    poller: str
    started: float
    ended: float | None


@dataclass(frozen=True, slots=True)
class Conflict:
    """One 409: who got it, and when."""

    poller: str
    at: float
    words: str


@dataclass(frozen=True, slots=True)
class Report:
    """All that the referee saw of one bot, at the moment `now` of its clock."""

    now: float
    polls: tuple[Span, ...]
    conflicts: tuple[Conflict, ...]

    @classmethod
    def read(cls, found: dict[str, Any]) -> Report:
        """A report as it comes as JSON."""
        polls = tuple(Span(*each) for each in found["polls"])
        return cls(found["now"], polls, tuple(Conflict(*each) for each in found["conflicts"]))

    def polling(self) -> set[str]:
        """Who polls now."""
        return {each.poller for each in self.polls if each.ended is None}

    def conflicts_since(self, moment: float) -> list[Conflict]:
        """The 409s from this moment on."""
        return [each for each in self.conflicts if each.at >= moment]

    def overlaps_since(self, moment: float = 0.0) -> list[tuple[str, str, float]]:
        """Pollers of which each began before the other's last poll had ended, and for how many seconds of that time."""
        spans = {who: self._span(who, moment) for who in sorted({each.poller for each in self.polls})}
        found = [
            (one, other, min(spans[one][1], spans[other][1]) - max(spans[one][0], spans[other][0]))
            for one, other in combinations(spans, 2)
        ]
        return [each for each in found if each[2] > 0]

    def _span(self, poller: str, moment: float) -> tuple[float, float]:
        """From the first poll to the end of the last, without what was before the moment."""
        polls = [each for each in self.polls if each.poller == poller]
        end = max(self.now if each.ended is None else each.ended for each in polls)
        return max(moment, min(each.started for each in polls)), end


class Referee:
    """Makes bots and reports on them."""

    def __init__(self, telegram: Emulator) -> None:
        """Of this stand-in."""
        self._telegram = telegram

    def new_bot(self) -> dict[str, Any]:
        """A bot's id and token."""
        bot = self._telegram.new_bot()
        return {"id": bot.id, "token": bot.token}

    def set_webhook(self, number: int, url: str) -> None:
        """Set the bot's webhook, as somebody elsewhere does; an empty URL deletes it. Raises LookupError."""
        self._bot(number).keep_webhook(url)

    def report(self, number: int, now: float) -> dict[str, Any]:
        """What was seen of a bot up to now, a moment of the monotonic clock; JSON for `Report`. Raises LookupError."""
        bot = self._bot(number)
        return {
            "now": now,
            "polls": [(_who(each.client), each.started.mono, each.ended and each.ended.mono) for each in bot.polls],
            "conflicts": [(_who(each.client), each.at.mono, each.description) for each in bot.conflicts],
        }

    def _bot(self, number: int) -> Bot:
        found = [bot for bot in self._telegram.bots.values() if bot.id == number]
        if not found:
            raise LookupError(f"no bot has the id {number}")
        return found[0]


def _who(client: Client) -> str:
    return str(client.session or client.address)
