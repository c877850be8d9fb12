"""Records what each real library prints when Telegram answers 409, as samples for whoever has to recognise it.

    python -m tests.bed.record_corpus [LIBRARY ...]

writes tests/corpus/real/<library>-<case>.log, the raw output of the copy that got the 409s. Cases:
`other-getupdates` (two copies poll), `webhook-active` (a webhook is set, and set again when the library deletes it),
`set-webhook` (a webhook is set while a poll is running).
"""

from __future__ import annotations

import asyncio
import re
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from tests.bed.botenv import CACHE, REAL_BOTS, Copy, running
from tests.bed.telegram import Bot, Emulator

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

CORPUS = Path(__file__).parents[1] / "corpus" / "real"
_HOOK = "https://shop.example.com/telegram"
_ENOUGH = 3  # conflicts of one copy, if it does not exit on the first
_PATIENCE = 60.0  # seconds; some libraries pause after an error


async def _other_getupdates(name: str, telegram: Emulator, bot: Bot, folder: Path) -> str:
    async with running(name, telegram, bot, folder / "a") as first:
        await bot.until(bot.polling_now, _PATIENCE)
        async with running(name, telegram, bot, folder / "b"):
            return await _what_it_printed(bot, first)


async def _webhook_active(name: str, telegram: Emulator, bot: Bot, folder: Path) -> str:
    bot.keep_webhook(_HOOK)
    async with running(name, telegram, bot, folder / "a") as only:
        return await _what_it_printed(bot, only)


async def _set_webhook(name: str, telegram: Emulator, bot: Bot, folder: Path) -> str:
    async with running(name, telegram, bot, folder / "a") as only:
        await bot.until(bot.polling_now, _PATIENCE)
        bot.keep_webhook(_HOOK)
        return await _what_it_printed(bot, only)


async def _what_it_printed(bot: Bot, copy: Copy) -> str:
    """The output of a copy that exited, or that was refused often enough and polled again after that."""

    def refused() -> bool:
        polls = [poll for poll in bot.polls if poll.client.pid == copy.pid]
        ended = [poll for poll in polls if poll.result == "conflict"]
        return len(ended) >= _ENOUGH and polls[-1].started.mono > ended[_ENOUGH - 1].started.mono

    exited = asyncio.create_task(copy.process.wait())
    enough = asyncio.create_task(bot.until(refused, _PATIENCE))
    _, waiting = await asyncio.wait({exited, enough}, return_when=asyncio.FIRST_COMPLETED)
    for task in waiting:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    return copy.printed()


CASES: dict[str, Callable[[str, Emulator, Bot, Path], Awaitable[str]]] = {
    "other-getupdates": _other_getupdates,
    "webhook-active": _webhook_active,
    "set-webhook": _set_webhook,
}


async def record(names: list[str]) -> None:
    """Record every case of these libraries, one after the other."""
    CORPUS.mkdir(parents=True, exist_ok=True)
    async with Emulator.start() as telegram:
        for name in names:
            for case, play in CASES.items():
                with tempfile.TemporaryDirectory() as folder:
                    text = await play(name, telegram, telegram.new_bot(), Path(folder))
                (CORPUS / f"{name}-{case}.log").write_text(_without_paths(text))
                print(f"{name}-{case}: {len(text.splitlines())} lines, 409 in it: {'409' in text}", flush=True)


def _without_paths(text: str) -> str:
    """Folders of the machine that recorded become those of a container image."""
    home = re.escape(str(CACHE))
    text = re.sub(rf"{home}/python-[0-9a-f]+/lib/", "/usr/local/lib/", text)
    text = re.sub(rf"{home}/[^/]+/", "/app/", text)
    return text.replace(str(Path(__file__).parents[2]), "/app")


if __name__ == "__main__":
    asyncio.run(record(sys.argv[1:] or list(REAL_BOTS)))
