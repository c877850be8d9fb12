"""Recognises Telegram's 409 in one line of a log, whatever library printed it, and tells it from a line that quotes it.

The descriptions are those of Telegram's own server (tdlib/telegram-bot-api, Client.cpp), which puts "Conflict: " before
them. A sentence is believed where an error stands: at the start of a line, after punctuation, after an error's name or
the number. It is not believed inside a chat message, nor in prose about conflicts; whoever writes to a bot that logs
what it is told must not be able to raise an alarm.
"""

import re
from bisect import bisect_right
from collections.abc import Iterator
from enum import StrEnum
from itertools import islice
from typing import NamedTuple


class ConflictKind(StrEnum):
    """What Telegram's 409 said: what it was that cut off the poll."""

    OTHER_GET_UPDATES = "OtherGetUpdates"
    WEBHOOK_ACTIVE = "WebhookActive"
    TERMINATED_BY_SET_WEBHOOK = "TerminatedBySetWebhook"
    OTHER_SET_WEBHOOK = "OtherSetWebhook"
    UNSPECIFIED = "Unspecified"


class Sign(NamedTuple):
    """A 409 in a line: what it says, where it stands, and whether only the HTTP status is known."""

    kind: ConflictKind
    start: int
    end: int
    only_status: bool


# One of these is in every line that has a sign.
_NEEDLES = ("terminated by ", "webhook is active", "terminatedby", "getupdates")

_SPELLED = "terminatedbyothergetupdates"
# Each sentence by the name of its group.
_KINDS = {
    "updates": ConflictKind.OTHER_GET_UPDATES,
    "spelled": ConflictKind.OTHER_GET_UPDATES,
    "active": ConflictKind.WEBHOOK_ACTIVE,
    "another": ConflictKind.WEBHOOK_ACTIVE,
    "set": ConflictKind.TERMINATED_BY_SET_WEBHOOK,
    "other_set": ConflictKind.OTHER_SET_WEBHOOK,
    "old": ConflictKind.UNSPECIFIED,
}
# An apostrophe comes escaped by JSON, by Python's repr or by HTML. Some libraries lower the case of everything.
_SENTENCE = re.compile(
    r"(?:\bconflict\W{1,4})?(?:"
    r"(?P<updates>terminated by other getUpdates(?: request)?)"
    r"|(?P<active>can\W{0,3}(?:t|u0027t|39;t|x27;t) use getUpdates method while webhook is active)"
    r"|(?P<another>another webhook is active)"
    r"|(?P<set>terminated by setWebhook(?: request)?)"
    r"|(?P<other_set>terminated by other setWebhook(?: request)?)"
    r"|(?P<old>terminated by other long poll or webhook)"
    r"|(?P<spelled>\bTerminatedByOtherGetUpdates\b)"
    r")",
    re.IGNORECASE | re.ASCII,
)

# Clients and proxies that print requests: the call, then its status; or the status, its name, then the call.
_STATUS = re.compile(
    r"\bgetUpdates(?:\?[^\s\"'<>]{0,300}+)?+[\"'\s,:()\]>=-]{1,8}(?:HTTP/[0-9.]{1,3}[\"'\s]{1,3})?"
    r"(?:status(?:[ _-]?code)?[=: ]{1,3})?409(?![0-9.])"
    r"|(?<![0-9.])409\b[^\n]{0,40}\bConflict\b[^\n]{0,100}?/bot[^\s/]{1,120}/getUpdates\b",
    re.IGNORECASE | re.ASCII,
)

# The fields of the Bot API's objects that hold what people write (https://core.telegram.org/bots/api#message).
_WRITTEN = re.compile(
    r"(?:^|[\s{,(\[\\\"'.])"
    r"(?:text|caption|title|first_?name|last_?name|username|bio|question|quote|query|raw_?text|(?:text_|caption_)?html)"
    r"\\*[\"']?\s?[:=]\s?(?P<open>\\*[\"'`]|(?=[^\W\d_])(?!(?:none|null|undefined)\b))",
    re.IGNORECASE,
)
_REST_OF_STRING = {quote: re.compile(rf"(?:[^{quote}\\]|\\.)*+{quote}", re.DOTALL) for quote in "\"'`"}

_OPENERS = " \t\x0b\x0c\"'`«“‘\\*_"
_PUNCTUATION = ":,.;|=>-–—()[]{}!•·…"
_ERROR_WORDS = ("409", "error", "errors", "exception", "failed", "failure", "err", "fatal", "panic", "conflict")
_LEVELS = ("trace", "debug", "info", "notice", "warn", "warning", "crit", "critical", "severe", "alert")
_ABROAD = ("ошибка", "исключение", "помилка", "fehler", "erreur", "erro", "błąd", "hata", "错误", "خطأ")
_LEADS = (*_ERROR_WORDS, *_LEVELS, *_ABROAD)

# How logs announce what somebody wrote, and how people write about conflicts.
_ANNOUNCED = re.compile(
    r"\b(?:got|received|incoming|new|handling|processing|sending|sent|forwarded|replying|echoing|user|chat)"
    r"(?: \w{1,20}){0,2} (?:message|msg|text|reply)\b"
    r"|\b(?:message|msg|text|reply) (?:from|by|of|in|received|to)\b"
    r"|\b(?:said|wrote|writes|asked|asks|replied|echoing)\b"
    r"|@\w{3,32} ?[:>]|<@?[^\W\d_]\w{1,31}>|\b(?:user|chat|from)(?:[_ ]?id)?[ =:#]{1,3}\d{5,}"
    r"|\b(?:сообщение|сообщения|написал|написала|пишет|текст)\b",
    re.IGNORECASE,
)
_ADVICE = re.compile(
    r"\b(?:(?:if|when) (?:you|it|another|two|more|a second)|whenever|avoids?|prevents?|otherwise|means|remember"
    r"|make sure|ensure|beware|faq|readme|might|would|should|see also|(?:hint|tip|note) ?:)",
    re.IGNORECASE,
)
_TELEGRAMS_ADVICE = "; make sure that only one bot instance is running"
_EXPLAINED = re.compile(
    r"[\"'`»”)]{0,2} ?(?:error )?(?:means|happens|occurs|appears|usually|in the logs?"
    r"|(?:if|when) (?:you|it|another|two|more))\b"
)
_BEFORE = 240
# A real error has its sentence once or twice in a line; a line of hundreds is somebody's prank and not worth the time.
_CANDIDATES = 16


def may_have_sign(text: str) -> bool:
    """Return False for a text that surely has no sign: a search for plain strings, all that most logs cost."""
    low = text.lower()
    return any(needle in low for needle in _NEEDLES)


def find_sign(line: str) -> Sign | None:
    """Return the first 409 of a getUpdates that the line reports, or None. Time grows with the line's length only."""
    candidates = list(_candidates(line)) if may_have_sign(line) else []
    if not candidates:
        return None
    written = _written_spans(line)
    return next((sign for sign in candidates if not _inside(written, sign.start) and _believable(line, sign)), None)


def _candidates(line: str) -> Iterator[Sign]:
    for match in islice(_SENTENCE.finditer(line), _CANDIDATES):
        yield Sign(_KINDS[match.lastgroup or "old"], match.start(), match.end(), only_status=False)
    for match in islice(_STATUS.finditer(line), _CANDIDATES):
        yield Sign(ConflictKind.UNSPECIFIED, match.start(), match.end(), only_status=True)


def _written_spans(line: str) -> list[tuple[int, int]]:
    """Return where the line holds what people wrote: the values of such fields, in JSON, in a repr, or bare."""
    spans = []
    position = 0
    while match := _WRITTEN.search(line, position):
        position = _string_end(line, match.end(), match["open"])
        spans.append((match.end(), position))
    return spans


def _string_end(line: str, start: int, opener: str) -> int:
    """Return where a string ends whose opening quote may itself be escaped; an unclosed or bare one takes the rest."""
    if not opener:
        return len(line)
    if len(opener) == 1:
        match = _REST_OF_STRING[opener].match(line, start)
        return match.end() if match else len(line)
    position = line.find(opener, start)
    while position > start and line[position - 1] == "\\":
        position = line.find(opener, position + 1)
    return position + len(opener) if position >= 0 else len(line)


def _inside(spans: list[tuple[int, int]], position: int) -> bool:
    index = bisect_right(spans, position, key=lambda span: span[0]) - 1
    return index >= 0 and position < spans[index][1]


def _believable(line: str, sign: Sign) -> bool:
    before = line[max(0, sign.start - _BEFORE) : sign.start].lower().replace(_TELEGRAMS_ADVICE, "")
    if _ANNOUNCED.search(before):
        return False
    if sign.only_status or line[sign.start : sign.end].lower() == _SPELLED:
        return True
    return _stands_as_error(before) and not _is_advice(before, line[sign.end : sign.end + _BEFORE])


def _stands_as_error(before: str) -> bool:
    """Return whether the lower-case text leads to an error: ends in punctuation, a time, a level or an error's name."""
    lead = before.rstrip(_OPENERS)
    if not lead or lead[-1] in _PUNCTUATION or lead.endswith(_LEADS):
        return True
    return lead.split()[-1][0].isdigit()


def _is_advice(before: str, after: str) -> bool:
    return bool(_ADVICE.search(before) or _EXPLAINED.match(after.lower().removeprefix(_TELEGRAMS_ADVICE)))


def locate(line: str, sign: Sign) -> Sign:
    """Return where the sign stands in another form of its line, or at the beginning if it cannot be found there."""
    return next((each for each in _candidates(line) if each.kind is sign.kind), Sign(sign.kind, 0, 0, sign.only_status))
