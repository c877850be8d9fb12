"""What is logged, and how: lines for people, or a JSON object a line for machines.

No line leaves the process with a bot token in it, whoever wrote it (INV-7): kopf, aiohttp, a warning of Python's own.
An error is one line; its traceback is shown only when that is asked for.
"""

import logging
import sys
import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from ..core.decisions import Decision
from ..core.redact import redact

log = logging.getLogger("telegrambot_operator")

Key = tuple[str, str]


def decided(logger: logging.Logger, key: Key, made: Decision) -> None:
    """Log a decision that has changed something."""
    about = {
        "bot": "/".join(key),
        "decision": made.what,
        "reason": made.reason,
        "pod": made.pod,
        "deployment": made.deployment,
        "proof": made.proof,
    }
    logger.info("%s", made.message, extra={"about": {name: value for name, value in about.items() if value}})


class _Lines(logging.Formatter):
    """Lines for people."""

    def __init__(self, *, tracebacks: bool) -> None:
        super().__init__("%(asctime)s %(levelname)s %(message)s")
        self._tracebacks = tracebacks

    def format(self, record: logging.LogRecord) -> str:
        """Return the line; with tracebacks an error has several."""
        plain = logging.makeLogRecord({**record.__dict__, "exc_info": None, "exc_text": None, "stack_info": None})
        plain.msg, plain.args = f"{_subject(record)}{_message(record)}{_short(record)}", ()
        trace = self.formatException(record.exc_info) if self._tracebacks and record.exc_info else ""
        return redact("\n".join(filter(None, (super().format(plain), trace))))


class _Objects(logging.Formatter):
    """A JSON object a line: time, level, logger, message, what a decision was about, and the error if there is one."""

    def __init__(self, *, tracebacks: bool) -> None:
        super().__init__()
        self._tracebacks = tracebacks

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        fields = {
            "time": at,
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _message(record),
            **(_about(record) or _bot(record)),
        }
        if record.exc_info:
            fields["error"] = _error(record)
        if record.exc_info and self._tracebacks:
            fields["traceback"] = self.formatException(record.exc_info)
        return msgspec.json.encode({name: redact(text) for name, text in fields.items()}).decode()


def _about(record: logging.LogRecord) -> Mapping[str, str]:
    about: Mapping[str, str] = getattr(record, "about", {})
    return about


def _bot(record: logging.LogRecord) -> Mapping[str, str]:
    """The bot of any other line that is about one: such a line begins with its key."""
    if str(record.msg).startswith("%s/%s: ") and isinstance(record.args, tuple):
        return {"bot": "{}/{}".format(*record.args[:2])}
    return {}


def _subject(record: logging.LogRecord) -> str:
    """Whom a decision was about, as the beginning of a line."""
    about = _about(record)
    return f"{about['bot']}: {about['decision']} ({about['reason']}): " if about else ""


def _message(record: logging.LogRecord) -> str:
    try:
        text = record.getMessage()
    except (TypeError, ValueError):  # somebody else's line whose arguments do not fit is better than none
        text = str(record.msg)
    return " ".join(text.split("\n"))


def _short(record: logging.LogRecord) -> str:
    return f" ({_error(record)})" if record.exc_info else ""


def _error(record: logging.LogRecord) -> str:
    error = record.exc_info[1] if record.exc_info else None
    return " ".join(f"{type(error).__name__}: {error}".split("\n"))


def _is_no_attempt_of_kopf(record: logging.LogRecord) -> bool:
    """Whether a record is worth a line: of each request that kopf tries again it would tell a dozen times.

    What is wrong then is told by our own requests, once.
    """
    return not (record.name.startswith("kopf") and record.getMessage().startswith("Request attempt"))


def to_stderr(form: str, *, verbose: bool) -> None:
    """Log to stderr from now on, as `text` or `json`; with `verbose` every step, and tracebacks."""
    handler = logging.StreamHandler()
    handler.setFormatter((_Objects if form == "json" else _Lines)(tracebacks=verbose))
    if not verbose:
        handler.addFilter(_is_no_attempt_of_kopf)
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    log.setLevel(logging.DEBUG if verbose else logging.INFO)
    logging.getLogger("kopf").setLevel(logging.INFO if verbose else logging.ERROR)
    logging.raiseExceptions = False  # it would print what could not be written, in a form of its own
    logging.captureWarnings(capture=True)
    _take_in_what_nobody_caught()


def _take_in_what_nobody_caught() -> None:
    """Let errors go through the log that Python would print by itself, with a traceback and all that is in it."""

    def log_it(*exc_info: Any) -> None:
        log.error("an error that nobody caught", exc_info=exc_info)

    sys.excepthook = log_it
    threading.excepthook = lambda args: log_it(args.exc_type, args.exc_value, args.exc_traceback)
    sys.unraisablehook = lambda args: log_it(args.exc_type, args.exc_value, args.exc_traceback)
