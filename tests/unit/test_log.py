"""What a line of the log looks like, whoever wrote it: one line, no token, no traceback unless it is asked for."""

import json
import logging
import subprocess
import sys
from datetime import datetime, timedelta

import pytest

from telegrambot_operator.shell.log import _Lines, _Objects

SECRET = "AAFq9Zr0bXw3KjT5uYv1LmNp8sQeHd2GcRk"
TOKEN = f"7301948265:{SECRET}"


def fail(text: str) -> None:
    raise RuntimeError(text)


def failure(text: str) -> logging.LogRecord:
    try:
        fail(text)
    except RuntimeError:
        return logging.LogRecord("kopf", logging.ERROR, "", 1, "it failed for %s", ("shop",), sys.exc_info())
    raise AssertionError


def test_an_error_is_one_line() -> None:
    line = _Lines(tracebacks=False).format(failure("two\nlines"))
    assert line.endswith(" ERROR it failed for shop (RuntimeError: two lines)")


def test_an_error_is_one_object() -> None:
    line = json.loads(_Objects(tracebacks=False).format(failure("two\nlines")))
    assert (line["level"], line["logger"], line["message"]) == ("error", "kopf", "it failed for shop")
    assert line["error"] == "RuntimeError: two lines"
    assert "traceback" not in line


def test_tracebacks_are_shown_when_they_are_asked_for() -> None:
    assert "Traceback" in _Lines(tracebacks=True).format(failure("x"))
    text = _Objects(tracebacks=True).format(failure("x"))
    assert "Traceback" in json.loads(text)["traceback"]
    assert "\n" not in text


@pytest.mark.parametrize("formatter", [form(tracebacks=more) for form in (_Lines, _Objects) for more in (True, False)])
def test_no_error_tells_a_token(formatter: logging.Formatter) -> None:
    """INV-7."""
    assert SECRET not in formatter.format(failure(f"no route to /bot{TOKEN}/getMe"))


def test_time_is_in_utc_and_says_so() -> None:
    at = datetime.fromisoformat(json.loads(_Objects(tracebacks=False).format(failure("x")))["time"])
    assert at.utcoffset() == timedelta(0)


def test_a_line_about_a_bot_has_it_as_a_field() -> None:
    record = logging.LogRecord("x", logging.ERROR, "", 1, "%s/%s: the pass failed; trying again", ("a", "b"), None)
    line = json.loads(_Objects(tracebacks=False).format(record))
    assert (line["bot"], line["message"]) == ("a/b", "a/b: the pass failed; trying again")
    assert "decision" not in line


NOBODY_CATCHES = f"""
import asyncio, gc, logging, threading, warnings
from telegrambot_operator.shell.log import to_stderr
to_stderr("json", verbose=False)
logging.getLogger("kopf.objects").error("kopf says {TOKEN}")
logging.getLogger("aiohttp.server").error("aiohttp says %s", "{TOKEN}")
logging.getLogger("shop").warning("%d is no number", "x")
warnings.warn("Python says {TOKEN}")
thread = threading.Thread(target=lambda: 1 / 0)
thread.start()
thread.join()
class Gone:
    def __del__(self):
        raise RuntimeError("{TOKEN}")
Gone()
async def forgotten():
    async def fails():
        raise RuntimeError("{TOKEN}")
    asyncio.ensure_future(fails())
    await asyncio.sleep(0)
asyncio.run(forgotten())
gc.collect()
raise RuntimeError("{TOKEN}")
"""


def test_what_others_write_and_nobody_catches() -> None:
    """kopf, aiohttp, Python's warnings, a thread, a destructor, a task, the program: each an object, and no token."""
    done = subprocess.run([sys.executable, "-c", NOBODY_CATCHES], capture_output=True, text=True, check=False)
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert [line["logger"] for line in lines[:4]] == ["kopf.objects", "aiohttp.server", "shop", "py.warnings"]
    assert lines[2]["message"] == "%d is no number", "one that cannot be put together is told as it is"
    assert {line.get("error", "").partition(":")[0] for line in lines} >= {"ZeroDivisionError", "RuntimeError"}
    assert len([line for line in lines if line.get("error", "").startswith("RuntimeError")]) == 3
    assert SECRET not in done.stderr
    assert done.returncode == 1
