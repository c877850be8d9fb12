"""An hour of a healthy bot's log, for each library of the bed, raises nothing: whatever else goes wrong, or is said.

The time is an argument: the hour passes in the stamps of the lines and in the passes that read them, a minute apart.
"""

from collections.abc import Iterator
from datetime import timedelta
from itertools import cycle

import pytest

from telegrambot_operator.core.conflicts import conflicts, question
from telegrambot_operator.core.evidence import read_conflicts
from telegrambot_operator.core.inside import several_pollers
from telegrambot_operator.core.observed import PodFinding
from tests.unit.worlds import at, lived, pod, said, status_of, telegram_bot, world

TAIL_LINES = 100
BOT = "bot7301948265:AAE9xkQ2vTn0LwRzYb4mHc7sPd1uJg5oXyZ"
# How each library starts, and what it prints over and over, good and bad, when nobody else polls.
LIBRARIES: dict[str, tuple[list[str], list[str]]] = {
    "python-telegram-bot": (
        [
            f'httpx - INFO - HTTP Request: POST https://api.telegram.org/{BOT}/getMe "HTTP/1.1 200 OK"',
            f'httpx - INFO - HTTP Request: POST https://api.telegram.org/{BOT}/deleteWebhook "HTTP/1.1 200 OK"',
            "telegram.ext.Application - INFO - Application started",
        ],
        [
            f'httpx - INFO - HTTP Request: POST https://api.telegram.org/{BOT}/getUpdates "HTTP/1.1 200 OK"',
            f'httpx - INFO - HTTP Request: POST https://api.telegram.org/{BOT}/getUpdates "HTTP/1.1 502 Bad Gateway"',
            "telegram.ext.Updater - ERROR - Exception happened while polling for updates.",
            "telegram.error.NetworkError: Bad Gateway",
            f'httpx - INFO - HTTP Request: POST https://api.telegram.org/{BOT}/sendMessage "HTTP/1.1 429 Too Many"',
            "telegram.error.RetryAfter: Flood control exceeded. Retry in 409 seconds",
        ],
    ),
    "aiogram": (
        [
            "INFO:aiogram.dispatcher:Start polling",
            "INFO:aiogram.dispatcher:Run polling for bot @shop_bot id=7301948265 - 'shop'",
        ],
        [
            "INFO:aiogram.event:Update id=409 is handled. Duration 409 ms by bot id=7301948265",
            "ERROR:aiogram.dispatcher:Failed to fetch updates - TelegramNetworkError: HTTP Client says - timeout",
            "WARNING:aiogram.dispatcher:Sleep for 1.000000 seconds and try again... (tryings = 0, bot id = 7301948265)",
            "INFO:aiogram.dispatcher:Connection established (tryings = 1, bot id = 7301948265)",
            "ERROR:aiogram.dispatcher:Failed to fetch updates - TelegramServerError: Telegram says - Bad Gateway",
        ],
    ),
    "pyTelegramBotAPI": (
        ['INFO - TeleBot: "Starting your bot with username: [@shop_bot]"'],
        [
            '(__init__.py:1103 MainThread) ERROR - TeleBot: "Infinity polling exception: Read timed out. (25)"',
            '(__init__.py:1105 MainThread) ERROR - TeleBot: "Exception traceback:',
            "Traceback (most recent call last):",
            '  File "/app/telebot/apihelper.py", line 162, in _make_request',
            "requests.exceptions.ReadTimeout: HTTPSConnectionPool(host='api.telegram.org', port=443): Read timed out.",
            "A request to the Telegram API was unsuccessful. Error code: 403. Description: Forbidden: bot was blocked",
        ],
    ),
    "grammy": (
        ["@shop_bot: polling started"],
        [
            "Call to 'getUpdates' failed, retrying in 3 s (502: Bad Gateway)",
            "GrammyError: Call to 'sendMessage' failed! (400: Bad Request: chat not found)",
            "HttpError: Network request for 'getUpdates' failed!",
        ],
    ),
    "telegraf": (
        ["polling started"],
        [
            "Unhandled error while processing { update_id: 409, message: { message_id: 409, text: '409' } }",
            "FetchError: request to https://api.telegram.org/bot73:[REDACTED]/getUpdates failed, reason: ECONNRESET",
            "TelegramError: 429: Too Many Requests: retry after 409",
        ],
    ),
    "node-telegram-bot-api": (
        ["polling started"],
        [
            'error: [polling_error] {"code":"EFATAL","message":"EFATAL: Error: read ECONNRESET"}',
            'error: [polling_error] {"code":"ETELEGRAM","message":"ETELEGRAM: 502 Bad Gateway"}',
            'error: [polling_error] {"code":"ETELEGRAM","message":"ETELEGRAM: 401 Unauthorized"}',
        ],
    ),
}
# What a shop's own code prints meanwhile.
OWN = [
    "INFO order 409 paid, 409 updates handled",
    '{"level":"error","status":409,"url":"https://shop.example/api/orders","message":"Conflict"}',
    "ERROR minio: PUT /receipts/409.pdf HTTP/1.1 409 Conflict: BucketAlreadyOwnedByYou",
    'DEBUG update {"message":{"text":"help: Conflict: terminated by other getUpdates request"}}',
    "psycopg.errors.UniqueViolation: conflict on key orders_pkey",
    "INFO only one bot instance may run, so this one takes the lock",
    '10.0.0.7 - - "GET /health HTTP/1.1" 200 2',
]


def hour(library: str) -> Iterator[tuple[int, str]]:
    """An hour of log: the second and the line, one a second."""
    start, usual = LIBRARIES[library]
    lines = [*start, *usual]
    theirs, own = cycle(usual), cycle(OWN)
    for second in range(3600):
        yield second, lines[second] if second < len(lines) else next(own) if second % 3 else next(theirs)


def stamped(second: int, line: str) -> str:
    return f"{at(second).strftime('%Y-%m-%dT%H:%M:%S')}.000000000Z {line}"


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_healthy_hour_raises_nothing(library: str) -> None:
    bot = telegram_bot()
    lines = [stamped(second, line) for second, line in hour(library)]
    first = status_of(world(bot, pods=[pod("bot-a", age=0)], spans=(lived("bot-a", since=0),)))
    for minute in range(1, 61):
        tail = "\n".join(lines[max(0, minute * 60 - TAIL_LINES) : minute * 60]).encode()
        assert several_pollers([tail]) == ""
        read = read_conflicts(tail, kubelet_timestamps=True)
        found = tuple(PodFinding("bot-a", "uid-bot-a", each, each.time or at(0)) for each in read)
        seen = world(bot, pods=[pod("bot-a", age=0)], spans=(lived("bot-a", since=0),), findings=found)
        now = at(60 * minute)
        assert question(seen, conflicts(seen, timedelta(seconds=300), now)) is None
        status = status_of(seen, seconds=60 * minute)
        assert said(status, "Conflicted")[:2] == ("False", "NoConflict")
        assert [said(status, kind) for kind in ("Ready", "Stalled")] == [
            said(first, kind) for kind in ("Ready", "Stalled")
        ]
        assert "lastConflict" not in status


def test_one_line_in_that_hour_would_have_raised_it() -> None:
    """The hour can fail: the reader looks at these very lines."""
    lines = [stamped(second, line) for second, line in hour("aiogram")]
    conflict = "TelegramConflictError: Telegram server says - Conflict: terminated by other getUpdates request"
    lines.insert(100, stamped(100, f"ERROR:aiogram.dispatcher:Failed to fetch updates - {conflict}"))
    assert len(read_conflicts("\n".join(lines[:200]).encode(), kubelet_timestamps=True)) == 1
