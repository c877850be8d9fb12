"""How often a server is asked, by everybody together: less while it does not answer, more again while it does."""

import asyncio
import time
from collections.abc import Callable, Hashable

LEAST_A_SECOND = 0.5
# So many answers that do not come, one after the other, are a silence.
SILENT = 5
HARDER, EASIER = 0.5, 1.2


class Rate:
    """Hands out moments, `most` a second at first. `told` is called when a server falls silent, and when it is back.

    One bot of which a server does not want to know says nothing about the others: two in a row have to fail.
    """

    def __init__(self, most: float, told: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._most = most
        self._told = told
        self._clock = clock
        self.a_second = most
        self._next = 0.0
        self._failed: Hashable | None = None
        self._in_a_row = 0

    async def moment(self) -> None:
        """Wait for the next moment."""
        now = self._clock()
        at = max(self._next, now)
        self._next = at + 1 / self.a_second
        await asyncio.sleep(at - now)

    def good(self) -> None:
        """Take in an answer."""
        if self._in_a_row >= SILENT:
            self._told("")
        self._failed, self._in_a_row = None, 0
        self.a_second = min(self._most, self.a_second * EASIER)

    def bad(self, who: Hashable, why: str) -> None:
        """Take in that no answer came, or that we ask too much."""
        before, self._failed = self._failed, who
        self._in_a_row += 1
        if self._in_a_row == SILENT:
            self._told(why)
        if before not in {None, who}:
            self.a_second = max(LEAST_A_SECOND, self.a_second * HARDER)
