"""A bot on telepot that polls and prints what the library prints."""

import os
import time

import telepot
from telepot.loop import MessageLoop


def _url(request, **_):
    token, method = request[:2]
    return f"{os.environ['TELEGRAM_API_URL']}/bot{token}/{method}"


telepot.api._methodurl = _url
MessageLoop(telepot.Bot(os.environ["BOT_TOKEN"]), print).run_as_thread()
while True:
    time.sleep(10)
