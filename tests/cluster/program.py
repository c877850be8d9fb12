"""What the image of the kind suite runs: a bot of tests/bed/bots by its name, or `telegram`, the stand-in for Telegram.

The stand-in serves the Bot API on port 8080 and the referee on port 8081:

    POST /bots                      a new bot: its id and token
    GET  /bots/ID                   who polled when, and who got a 409
    PUT  /bots/ID/webhook           {"url": ...}, an empty one deletes it
"""

from __future__ import annotations

import asyncio
import json
import runpy
import signal
import sys
import time
from pathlib import Path

from aiohttp import web

from tests.bed.telegram import Emulator
from tests.cluster.referee import Referee

BOTS = Path(__file__).parents[1] / "bed" / "bots"
API, REFEREE = 8080, 8081


def application(referee: Referee) -> web.Application:
    """The referee's pages."""

    async def new_bot(_: web.Request) -> web.Response:
        return web.json_response(referee.new_bot())

    async def report(request: web.Request) -> web.Response:
        return web.json_response(referee.report(_number(request), time.monotonic()))

    async def set_webhook(request: web.Request) -> web.Response:
        referee.set_webhook(_number(request), json.loads(await request.text())["url"])
        return web.json_response({})

    pages = web.Application()
    pages.router.add_post("/bots", new_bot)
    pages.router.add_get("/bots/{id}", report)
    pages.router.add_put("/bots/{id}/webhook", set_webhook)
    return pages


def _number(request: web.Request) -> int:
    return int(request.match_info["id"])


async def serve() -> None:
    """Be Telegram until SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with Emulator.start(host="0.0.0.0", port=API) as telegram:
        runner = web.AppRunner(application(Referee(telegram)), access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "0.0.0.0", REFEREE).start()
        await stop.wait()
        await runner.cleanup()


def main(name: str) -> None:
    """Run what has this name, until it ends."""
    if name == "telegram":
        asyncio.run(serve())
        return
    sys.argv = [str(BOTS / "slow_stop.py"), str(BOTS / name / "bot.py")]
    if name == "raw":
        sys.argv = sys.argv[1:]
    runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    main(sys.argv[1])
