"""Finds Telegram's 409 in one line of a log, whatever library printed it. Whether to believe it, belief.py says.

The descriptions are those of Telegram's own server (tdlib/telegram-bot-api, Client.cpp), which puts "Conflict: " before
them. Some libraries keep only a name or the HTTP status: those count when the line says that it is a getUpdates'.
"""

import re
from collections.abc import Iterator, Sequence
from enum import StrEnum
from itertools import islice, takewhile
from typing import NamedTuple

from .belief import Form, Place, believable, written_spans


class ConflictKind(StrEnum):
    """What Telegram's 409 said: what it was that cut off the poll."""

    OTHER_GET_UPDATES = "OtherGetUpdates"
    WEBHOOK_ACTIVE = "WebhookActive"
    TERMINATED_BY_SET_WEBHOOK = "TerminatedBySetWebhook"
    OTHER_SET_WEBHOOK = "OtherSetWebhook"
    UNSPECIFIED = "Unspecified"


class Sign(NamedTuple):
    """A 409 in a line: what it says, where it stands, and how it is told."""

    kind: ConflictKind
    start: int
    end: int
    form: Form = Form.SENTENCE

    @property
    def only_status(self) -> bool:
        """Whether the line tells no more than the HTTP status."""
        return self.form in {Form.REQUEST, Form.STATUS}


# One of these is in every line that has a sign.
_NEEDLES = ("terminated by", "webhook is ", "terminatedby", "getupdates", "can't use")

# Each sentence or name by its group.
_KINDS = {
    "updates": ConflictKind.OTHER_GET_UPDATES,
    "active": ConflictKind.WEBHOOK_ACTIVE,
    "another": ConflictKind.WEBHOOK_ACTIVE,
    "set": ConflictKind.TERMINATED_BY_SET_WEBHOOK,
    "other_set": ConflictKind.OTHER_SET_WEBHOOK,
    "old": ConflictKind.UNSPECIFIED,
    "cut_updates": ConflictKind.OTHER_GET_UPDATES,
    "cut_active": ConflictKind.WEBHOOK_ACTIVE,
    "cut_set": ConflictKind.TERMINATED_BY_SET_WEBHOOK,
    "torn_updates": ConflictKind.OTHER_GET_UPDATES,
    "torn_active": ConflictKind.WEBHOOK_ACTIVE,
    "name_updates": ConflictKind.OTHER_GET_UPDATES,
    "name_active": ConflictKind.WEBHOOK_ACTIVE,
    "name_old": ConflictKind.UNSPECIFIED,
}
# What a logger puts where it shortens a message; or the line ends here.
_CUT = r"(?=…|\.\.\.|\[|<trunc|\Z)"
# An apostrophe comes escaped by JSON, by Python's repr or by HTML. Some libraries lower the case of everything.
_SENTENCE = re.compile(
    r"(?:\bconflict\W{1,4})?(?:"
    r"(?P<updates>terminated by other getUpdates(?: request)?)"
    r"|(?P<active>can\W{0,3}(?:t|u0027t|u2019t|39;t|x27;t|apos;t) use getUpdates method while webhook is active)"
    r"|(?<=conflict: )(?P<another>another webhook is active)"
    r"|(?P<set>terminated by setWebhook(?: request)?)"
    r"|(?P<other_set>terminated by other setWebhook(?: request)?)"
    r"|(?P<old>terminated by other long poll(?: or webhook)?)"
    rf"|(?<=conflict: )(?P<cut_updates>terminated by (?:other(?: get\w{{0,6}}| g)?)?){_CUT}"
    rf"|(?<=conflict: )(?P<cut_set>terminated by set\w{{0,6}}){_CUT}"
    r"|(?P<cut_active>can\W{0,3}t use getUpdates(?: method(?: while(?: webhook(?: is(?: a\w{0,5})?)?)?)?)? ?)"
    rf"{_CUT}"
    r"|(?P<name_updates>\bTerminatedByOtherGetUpdates\b)"
    r"|(?P<name_active>\bCantGetUpdates\b)"
    r"|(?P<name_old>\bTerminatedByOtherLongPoll(?:OrWebhook)?\b)"
    r"|\A(?P<torn_updates>[a-z ]{0,24}getUpdates request; make sure that only one bot)"
    r"|\A(?P<torn_active>[a-z' ]{0,40}webhook is active; use deleteWebhook to delete)"
    r")",
    re.IGNORECASE | re.ASCII,
)

# Clients and proxies that print requests: the call, then its status; or the status, its name, then the call.
# A line may begin within the token of an address.
_CALL = r"(?:/bot[^\s/]{1,120}/(?:test/)?|\A[\w-]{8,60}/|(?<![\w/.-]))getUpdates\b"
_STATUS_BEHIND = (
    r"(?:HTTP/[0-9.]{1,3}[\"'\s]{1,3})?(?:status(?:[ _-]?code)?[=: ]{1,3})?409(?![\w.%-])"
    r"(?!\s?(?:updates?|messages?|ms|s|sec|seconds?|bytes?|items?|times|kb|mb|kib|mib)\b)"
)
_REQUEST = re.compile(
    rf"{_CALL}(?:\?[^\s\"'<>]{{0,300}}+)?+[\"'\s,:()\]>=-]{{1,8}}{_STATUS_BEHIND}"
    r"|(?<![\w.])409\b[^\n]{0,40}\bConflict\b[^\n]{0,100}?/bot[^\s/]{1,120}/getUpdates\b"
    r"|\bResponse\{[^\n]{0,60}\bcode=409,[^\n]{0,100}?/bot[^\s/]{1,120}/getUpdates\b",  # OkHttp
    re.IGNORECASE | re.ASCII,
)
# Words that stand between the method and its status in people's own words, either way round.
_BETWEEN = (
    r"(?:failed|errors?|errored|returned|result|responded|response|request|status(?:[_ -]?code)?|error_?code|code"
    r"|http|with|call|calling|method|answer(?:ed)?|got|received|telegram|api|bot|the|refused|by|from|of|in|on|for|to|is|was|an?"
    r"|during|while|at|when|client|server|conflict|exception)"
)
_STATUS = re.compile(
    rf"{_CALL}(?:[^\w\n]{{1,5}}{_BETWEEN}\b){{1,6}}[^\w\n]{{1,5}}409(?![\w.%-])"
    r"(?!\s?(?:updates?|ms|s|seconds?|bytes?)\b)"
    r"|(?:(?<=status=)|(?<=code=)|(?<![\w.:#/=-])(?<!offset )(?<!update )(?<!id )(?<!port ))"
    rf"409\b(?:[^\w\n]{{1,4}}{_BETWEEN}\b){{1,8}}[^\w\n]{{1,4}}{_CALL}"
    r"|\"(?:error_code|status|status_?code|code)\"\s?:\s?\"?409\b[^\n]{0,300}?\"method\"\s?:\s?\"getUpdates\""
    r"|\"method\"\s?:\s?\"getUpdates\"[^\n]{0,300}?\"(?:error_code|status|status_?code|code)\"\s?:\s?\"?409\b",
    re.IGNORECASE | re.ASCII,
)
# A bare "Conflict" or 409 is Telegram's when the trace below, or the line above, says whose request it was.
_BARE = re.compile(
    r"(?:exception|error)\b[\"']?(?: with message)?:? [\"']?(?:\[?409\]?:? )?conflict\b[\"']?(?= in |\s*$|\\[nr]|[\"'])"
    r"|status code(?: does not indicate success:)? 409\b",
    re.IGNORECASE | re.ASCII,
)
_OF_GET_UPDATES = re.compile(r"get_?updates", re.IGNORECASE)
_FAILED_GET_UPDATES = re.compile(
    r"(?:error|failed|failure)\b[^\n]{0,80}getupdates|getupdates[^\n]{0,80}(?:error|failed)", re.IGNORECASE
)
_FRAME = re.compile(r"\s|#\d|$|caused by|at |stack trace", re.IGNORECASE)
_FRAME_LENGTH = 400
# How many lines before and behind a sign tell whose it is.
BEFORE, BEHIND = 3, 16

# A real error has its sentence once or twice in a line; a line of hundreds is somebody's prank and not worth the time.
_CANDIDATES = 16


def may_have_sign(text: str) -> bool:
    """Return False for a text that surely has no sign: a search for plain strings, all that most logs cost."""
    low = text.lower()
    return any(needle in low for needle in _NEEDLES)


def may_be_sign(line: str) -> bool:
    """Return False for a line of such a text that surely has no sign."""
    low = line.lower()
    return "409" in low or "conflict" in low or any(needle in low for needle in _NEEDLES)


def find_sign(line: str, before: Sequence[str] = (), behind: Sequence[str] = ()) -> Sign | None:
    """Return the first 409 of a getUpdates that the line reports, or None. Time grows with the line's length only.

    `before` and `behind` are the lines around it, the nearer ones; some libraries say only there what was refused.
    """
    candidates = list(_candidates(line)) if may_have_sign(line) else []
    if candidates and not _is_source_line(line, before):
        written = written_spans(line)
        previous = before[-1] if before else ""
        for sign in candidates:
            if believable(Place(line, sign.start, sign.end), sign.form, written, previous):
                return sign
    return None if candidates else _bare(line, before, behind)


def _candidates(line: str) -> Iterator[Sign]:
    for match in islice(_SENTENCE.finditer(line), _CANDIDATES):
        group = match.lastgroup or "old"
        yield Sign(_KINDS[group], match.start(), match.end(), Form.NAME if group.startswith("name") else Form.SENTENCE)
    for form, pattern in ((Form.REQUEST, _REQUEST), (Form.STATUS, _STATUS)):
        for match in islice(pattern.finditer(line), _CANDIDATES):
            yield Sign(ConflictKind.UNSPECIFIED, match.start(), match.end(), form)


_PYTHON_FRAME = re.compile(r'\s*File "[^"]{1,300}", line \d+')
_NODE_CRASH = re.compile(r"(?:file://)?/?[\w@./\\:-]{1,300}\.[cm]?[jt]sx?:\d+$")


def _is_source_line(line: str, before: Sequence[str]) -> bool:
    """Return whether the line before names a file and a line of it, so that this one is that line of source code."""
    if not before:
        return False
    return bool((line.startswith("    ") and _PYTHON_FRAME.match(before[-1])) or _NODE_CRASH.match(before[-1]))


def _bare(line: str, before: Sequence[str], behind: Sequence[str]) -> Sign | None:
    match = _BARE.search(line)
    if match is None:
        return None
    sign = Sign(ConflictKind.UNSPECIFIED, match.start(), match.end(), Form.REQUEST)
    trace = " ".join([line, *(each[:_FRAME_LENGTH] for each in takewhile(_FRAME.match, behind))])
    announced = "telegram" in line.lower() and any(_FAILED_GET_UPDATES.search(each[:_FRAME_LENGTH]) for each in before)
    if not announced and not ("telegram" in trace.lower() and _OF_GET_UPDATES.search(trace)):
        return None
    return sign if believable(Place(line, sign.start, sign.end), sign.form, written_spans(line)) else None


def locate(line: str, sign: Sign) -> Sign:
    """Return where the sign stands in another form of its line, or at the beginning if it cannot be found there."""
    return next((each for each in _candidates(line) if each.kind is sign.kind), Sign(sign.kind, 0, 0, sign.form))
