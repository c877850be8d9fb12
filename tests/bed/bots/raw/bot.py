"""An echo bot without a library: starts in a blink, takes a few MiB. Most tests run this one.

BOT_TOKEN, TELEGRAM_API_URL   which bot, and the server
POLL_SECONDS                  how long a poll waits for updates (30)
ON_CONFLICT                   what a 409 does: "continue" (default) or "exit" with code 1
STOP_SECONDS                  how long it polls on after SIGTERM (0)
IGNORE_SIGTERM                set to anything: SIGTERM does nothing
"""

import http.client
import json
import os
import signal
import sys
import time
from typing import Any


class Api:
    """The Bot API on one connection that is kept open."""

    def __init__(self, url: str, token: str) -> None:
        """The server's base URL and the bot's token."""
        self.host = url.removeprefix("http://").rstrip("/")
        self.token = token
        self.connection = http.client.HTTPConnection(self.host)

    def call(self, method: str, **parameters: object) -> dict[str, Any]:
        """The body of the answer, good or not. Raises OSError or HTTPException when there is none."""
        try:
            return self._call(method, parameters)
        except (OSError, http.client.HTTPException):
            self.connection.close()
            raise

    def _call(self, method: str, parameters: dict[str, object]) -> dict[str, Any]:
        headers = {"Content-Type": "application/json", "User-Agent": "raw-bot"}
        self.connection.request("POST", f"/bot{self.token}/{method}", json.dumps(parameters), headers)
        body: dict[str, Any] = json.loads(self.connection.getresponse().read())
        return body


def say(text: str) -> None:
    """One line of the log, at once."""
    print(text, flush=True)


def on_sigterm(*_: object) -> None:
    """Stop now, or after STOP_SECONDS of polling on."""
    seconds = float(os.environ.get("STOP_SECONDS", "0"))
    if seconds <= 0:
        stop()
    say(f"stopping in {seconds:g} s")
    signal.setitimer(signal.ITIMER_REAL, seconds)


def stop(*_: object) -> None:
    """End with exit code 0, in the middle of a poll if need be."""
    say("stopped")
    sys.exit(0)


def handle_signals() -> None:
    """SIGTERM stops the bot, unless it is to be ignored."""
    ignore = os.environ.get("IGNORE_SIGTERM")
    signal.signal(signal.SIGTERM, signal.SIG_IGN if ignore else on_sigterm)
    signal.signal(signal.SIGALRM, stop)


def on_refusal(body: dict[str, Any]) -> None:
    """Print what Telegram said; wait if it asked for that; end on a 409 if told so."""
    say(f"error: getUpdates failed: {body['error_code']} {body['description']}")
    if body["error_code"] == 409:
        if os.environ.get("ON_CONFLICT") == "exit":
            sys.exit(1)
        return
    time.sleep(body.get("parameters", {}).get("retry_after", 1))


def echo(api: Api, update: dict[str, Any]) -> None:
    """Send a text back to whoever wrote it."""
    message = update.get("message", {})
    if "text" in message:
        api.call("sendMessage", chat_id=message["chat"]["id"], text=message["text"])


def poll_for_ever(api: Api, seconds: int) -> None:
    """Fetch and answer updates until a signal or a 409 ends it."""
    offset = 0
    while True:
        try:
            body = api.call("getUpdates", offset=offset, timeout=seconds)
            if not body["ok"]:
                on_refusal(body)
            for update in body.get("result", []):
                offset = update["update_id"] + 1
                echo(api, update)
        except (OSError, http.client.HTTPException, ValueError) as error:
            say(f"error: no answer from Telegram: {type(error).__name__}")
            time.sleep(0.5)


if __name__ == "__main__":
    handle_signals()
    say("polling started")
    server = Api(os.environ["TELEGRAM_API_URL"], os.environ["BOT_TOKEN"])
    poll_for_ever(server, int(os.environ.get("POLL_SECONDS", "30")))
