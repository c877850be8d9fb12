"""The webhook that Telegram has, against the one that the spec wants. URLs hold secrets: only a host is ever shown."""

import re
from enum import StrEnum
from urllib.parse import SplitResult, urlsplit

from .redact import REDACTED, redact

LONGEST_WORDS = 160
_HOST = re.compile(r"[A-Za-z0-9._-]{1,253}|[0-9A-Fa-f:.]{2,45}")
_ADDRESS = re.compile(r"(?i)\bhttps?://\S+")


class Hook(StrEnum):
    """How the webhook stands to the spec."""

    UNKNOWN = "Unknown"
    WANTED = "Wanted"  # as the spec has it: none for a bot that polls
    MISSING = "Missing"  # none, and there should be one
    OTHER = "Other"  # another one; for a bot that polls, any


def hook_of(url: str, wanted: str | None) -> Hook:
    """Return how a URL, "" for none, stands to the one that is wanted, None for none."""
    if wanted is None:
        return Hook.OTHER if url else Hook.WANTED
    if not url:
        return Hook.MISSING
    return Hook.WANTED if _same(url, wanted) else Hook.OTHER


def _same(one: str, other: str) -> bool:
    return one == other or (_parts(one) is not None and _parts(one) == _parts(other))


def _parts(url: str) -> tuple[object, ...] | None:
    """What makes two spellings one address: the case of scheme and host, a default port and a lone slash do not."""
    split = _split(url)
    if split is None:
        return None
    try:
        port = split.port or {"https": 443, "http": 80}.get(split.scheme)
    except ValueError:
        return None
    path = split.path or "/"
    return split.scheme, split.username, split.password, split.hostname, port, path, split.query


def _split(url: str) -> SplitResult | None:
    try:
        return urlsplit(url)
    except ValueError:
        return None


def host_of(url: str) -> str:
    """Return the host of a URL, without port, path or user; "" where there is none that may be shown."""
    split = _split(url)
    host = (split.hostname or "") if split is not None else ""
    return host if _HOST.fullmatch(host) else ""


def without_address(text: str, url: str) -> str:
    """Return Telegram's words for a person: in one line, cut, without token and without any part of an address."""
    line = _ADDRESS.sub(lambda found: host_of(found[0]) or REDACTED, " ".join(text.split()))
    split = _split(url)
    secrets = [part for part in (split.path, split.query, split.fragment) if len(part) > 1] if split else []
    for part in sorted(secrets, key=len, reverse=True):
        line = line.replace(part, REDACTED)
    return redact(line)[:LONGEST_WORDS]


def leading_to(host: str) -> str:
    """Return the rest of a sentence about a webhook: where it leads to, "" where that is not known."""
    return f" to {host}" if host else ""
