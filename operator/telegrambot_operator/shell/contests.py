"""What is remembered of those who undo the pin, for each bot. It goes with the process; the status tells the next."""

from dataclasses import replace
from datetime import datetime

from ..core.contest import Contest
from ..core.contested import follow
from ..core.observed import Observed
from .bots import Key


class Contests:
    """One memory for each bot."""

    def __init__(self) -> None:
        self._known: dict[Key, Contest] = {}

    def follow(self, key: Key, seen: Observed, now: datetime) -> Observed:
        """Take in a look at a bot, and return it with what is remembered."""
        if seen.bot is None:
            self._known.pop(key, None)
            return seen
        contest = self._known[key] = follow(self.known(key), seen, now)
        return replace(seen, contest=contest)

    def known(self, key: Key) -> Contest | None:
        """Return what is remembered of a bot, or None where it was not looked at yet."""
        return self._known.get(key)
