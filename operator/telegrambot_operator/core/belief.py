"""Tells a 409 that a line reports from one that it quotes.

A sentence is believed where an error stands: at the start of a line, after punctuation, after an error's name or the
number. It is not believed in what people wrote to the bot, in source code, in a test's name, in a help text, nor in
advice about conflicts: whoever writes to a bot that logs what it is told must not be able to raise an alarm.
"""

import re
from bisect import bisect_right
from enum import Enum, auto
from typing import NamedTuple


class Form(Enum):
    """How a 409 is told."""

    SENTENCE = auto()
    NAME = auto()
    REQUEST = auto()
    STATUS = auto()


class Place(NamedTuple):
    """Where in a line something stands."""

    line: str
    start: int
    end: int


_BEFORE = 240
_AFTER = 160

# --- What people wrote ------------------------------------------------------------------------------------------------

# The fields of the Bot API's objects that hold what people write (https://core.telegram.org/bots/api#message), and
# those in which loggers put it.
_FIELDS = (
    r"text|caption|title|first_?name|last_?name|username|bio|question|quote|query|raw_?text|(?:text_|caption_)?html"
    r"|(?:message|msg|user|reply|chat|input|original|incoming)_?text|user_?(?:message|input|msg)"
)
# Fields that may also hold Telegram's answer, or a pattern that somebody looks for.
_LOOSE_FIELDS = r"content|prompt|input|patterns?|regexp?|regex|match|expr|selector|search|needle"
_WRITTEN = re.compile(
    r"(?:^|[\s{,(\[\\\"'.])"
    rf"(?:(?P<strict>{_FIELDS})|{_LOOSE_FIELDS})"
    r"\\*[\"']?\s?[:=]\s?\[?(?P<open>\\*[\"'`]|(?=[^\W\d_])(?!(?:none|null|undefined)\b))",
    re.IGNORECASE,
)
_REST_OF_STRING = {quote: re.compile(rf"(?:[^{quote}\\]|\\.)*+{quote}", re.DOTALL) for quote in "\"'`"}
_CALLBACK = re.compile(r"\bcallback_?query\b.{0,300}\bdata\\*[\"']?\s?[:=]\s?\\*[\"'][^\"']{0,80}$", re.IGNORECASE)
_TELEGRAMS_ANSWER = re.compile(r"error_code\W{1,8}409\W{1,12}description\W{1,8}$", re.IGNORECASE)

# How logs announce what somebody wrote.
_MESSAGE = r"(?:message|msg|text|reply)"
_ANNOUNCED = re.compile(
    r"\b(?:got|received|incoming|new|handling|processing|sending|sent|forwarded|replying|echoing|user|chat)"
    rf"(?: (?!error|failure)\w{{1,20}}){{0,2}} (?<!error ){_MESSAGE}\b"
    rf"|(?<!error )(?<!failure )\b{_MESSAGE} (?:from|by|of|in|received|to)\b"
    r"(?! (?:the )?(?:telegram|api|bot api|server|getupdates))"
    r"|\b(?:said|wrote|writes|asked|asks|replied|echoing)\b"
    r"|@\w{2,32}(?<!bot) ?[:>]"
    r"|(?:^|\s)<@?(?!(?:td|tr|th|li|div|span|code|pre|module|string|stdin|lambda|none)\b)[^\W\d_]\w{1,31}>"
    r"|\b(?:user|chat|from)(?:[_ ]?id)?[ =:#]{1,3}\d{5,}"
    r"|\b(?:сообщение|сообщения|написал|написала|пишет|текст)\b"
    r"|\b(?:mensaje|mensagem|messaggio|nachricht|mesaj) (?:de|da|di|von|al)\b"
    r"|\bon_?message\b|\b(?:reply(?:ing)?|answering) (?:to|with)\b|\[(?:chat|dm|group|private|pm)\b"
    r"|(?:^|\s)/(?!getupdates|setwebhook)[a-z_]{2,32}: $"  # a command
    r"|消息|訊息|用户|说：|メッセージ|메시지",
    re.IGNORECASE,
)
_ANNOUNCED_BEHIND = re.compile(r"\W{0,6}\((?:from|by|chat|user)(?:_?id)?\b", re.IGNORECASE)

# --- Source code, tests, documents ------------------------------------------------------------------------------------

_COMMENT = re.compile(r"\s*(?:\d{1,6}\s?[|:]\s*)?[+-]?\s{0,80}(?://|/\*|<!--|#{1,6}\s)")
_STATEMENT = re.compile(
    r"\s*(?:\d{1,6}\s?[|:]\s*)?[>+-]?\s*(?:if|elif|else if|while|assert|return|raise|throw|case|when|expect|except"
    r"|catch|import|from|def|func|fn|class|const|let|var|await|for|with)\b[^\"'`]{0,120}[\"'`][^\"'`]{0,40}$",
)
_CALL = re.compile(
    r"(?:\b(?:includes|contains|indexOf|startswith|endswith|match|matches|search|test|find|has_?prefix|has_?suffix"
    r"|assert\w{0,20}|errors\.new|errorf|equals?|toequal|tocontain|tothrow|is_match|raise_if|split|replace|compile)"
    r"|\bnew \w{0,60}error|\braise \w{1,60})"
    r"\(\s{0,4}(?:[\w.]{1,60},\s{0,4})?[\"'`/][^\"'`]{0,20}$",
    re.IGNORECASE,
)
_COMPARED = re.compile(r"[!=]==? ?[\"'`][^\"'`]{0,20}$")
_CODE_BEHIND = re.compile(r"[\"'`]\)?\s*(?:in\s+\w|not in\s+\w|===?\s)|[\"'`/][\w.]{0,12}\)+\s*(?:\{|:|=>|;)\s*$")
_SEARCH = re.compile(
    r"\b(?:grep|egrep|fgrep|zgrep|rg|ack|ag|findstr|awk|sed)\b[^|;]{0,160}[\"'/][^\"']{0,40}$"
    r"|\|[=~] ?[\"'`][^\"'`]{0,40}$"
)
_TEST = re.compile(
    r"\s*(?:[✓✔√]|(?:not )?ok \d+\b|--- (?:PASS|FAIL|SKIP)|=== (?:RUN|CONT|PAUSE)|test \S{1,200} \.\.\."
    r"|(?:PASS|FAIL)\s+\S)"
    r"|.{0,200}::test_\w"
)
_TEST_BEHIND = re.compile(r".{0,80}(?:\(\d+(?:\.\d+)? ?m?s\)|\bPASSED\b)\s*$|[^\w]{0,4}\] (?:PASSED|FAILED)")
_TABLE = re.compile(r"\s*\|[^|]{0,300}$|\s*\|[^|]{1,300}\|[^|]{0,300}$")
_QUOTED_LINE = re.compile(r"\s{0,8}> ?")
_COLUMN = re.compile(r"\s+(?:409:?\s+)?")
_BULLET = re.compile(
    r"\s*(?:[-*•+]|\d{1,3}[.)])\s{1,4}(?P<mark>[\"'`*«“„]{1,3})?(?:\w{0,20} ?(?:error|api|409)[: ]{0,2}){0,3}$",
    re.IGNORECASE,
)
_COMMIT = re.compile(
    r"(?:^|\s)(?:fix|feat|docs?|chore|tests?|refactor|ci|build|perf|revert|style)(?:\([\w./-]{1,40}\))?!?: [^:]{0,60}$"
    r"|\b(?:handles?|fix(?:es|ed)?|catch(?:es)?|retr(?:y|ies) on|explains?|documents?|avoids?|prevents?|exits? on)"
    r" (?:an? |the )?(?:http |error )?(?:409\b:? ?)?[\"'`*«]{0,2}$"
    r"|\b(?:causes?|leads? to|results? in|gives?|gets|produces?|triggers?|yields?)"
    r" (?:an? )?[\"'`]?(?:409\b:? ?)?[\"'`*«]{0,2}$"
    r"|^[0-9a-f]{7,40} [A-Z][a-z]+ (?:409 )?$",
    re.IGNORECASE,
)

# --- Prose and advice -------------------------------------------------------------------------------------------------

_ADVICE = re.compile(
    r"\b(?:(?:if|when) (?:you|it|another|two|more|a second|telegram)|whenever|avoids?|prevents?|otherwise|means"
    r"|remember|make sure|ensure|beware|faq|readme|troubleshooting|might|would|should|see also"
    r"|may (?:answer|see|say|get|return|be)"
    r"|errors? like|known (?:issues?|errors?)|e\.g\."
    r"|если|при (?:ошибке|появлении|возникновении)|когда (?:вы|появ)|якщо"
    r"|si (?:aparece|ves|ve|vous|obtienes|sale)|cuando|falls|wenn|se (?:você|aparecer|vedi)|lorsque|quand)\b"
    r"|\b(?:hint|tip|note|usage) ?[:-]|如果|若出现|当出现",
    re.IGNORECASE,
)
_TELEGRAMS_ADVICE = (
    "; make sure that only one bot instance is running",
    "; use deletewebhook to delete the webhook first",
)
_EXPLAINED = re.compile(
    r"[\"'`»”“)*]{0,3},? ?(?:errors? )?(?:means?|happens?|occurs?|appears?|usually|comes? from|go(?:es)? away"
    r"|indicates?|in (?:the|my|your) logs?"
    r"|(?:is|are) (?:raised|thrown|returned|shown|sent|normal|expected|what)|(?:if|when) (?:you|it|another|two|more)"
    r"|erscheint|aparece|означает|значит)\b"
)

# --- Where an error stands --------------------------------------------------------------------------------------------

_OPENERS = " \t\x0b\x0c\"'`«“‘„‚\\*_"
_PUNCTUATION = ":,.;|=>-–—()[]{}!•·…‣›→「『（【《〈」』）】：，。；！、？\ufffd"
_HAPPENED = ("returned", "because", "due to", "raised", "threw", "answered", "caused by", "reason")
_ERROR_WORDS = ("409", "error", "errors", "exception", "failed", "failure", "err", "fatal", "panic", "conflict")
_LEVELS = ("trace", "debug", "info", "notice", "warn", "warning", "crit", "critical", "severe", "alert")
_ABROAD = (
    "ошибка",
    "ошибку",
    "исключение",
    "помилка",
    "fehler",
    "erreur",
    "erro",
    "błąd",
    "hata",
    "错误",
    "错误",
    "오류",
    "خطأ",
    "خطا",
)
_LEADS = (*_HAPPENED, *_ERROR_WORDS, *_LEVELS, *_ABROAD)
# An error that is told somewhere before a quoted sentence.
_ERROR_BEFORE = re.compile(
    r"\b(?:error|failed|failure|fatal|exception|crash(?:ed)?|fail|critical|ошибк\w|сбой|не удалось"
    r"|fehler|excepción|falha|erro|hata|错误)\b|失敗|失败|エラー|실패",
    re.IGNORECASE,
)
# In prose the number is quoted with the sentence, as Markdown does.
_QUOTED_NUMBER = re.compile(r"[a-z] `409\W{0,2}$")
_PREFIXED_QUOTE = re.compile(r"(?<![a-z])[ubrf]{1,2}[\"']{1,3}$")


def written_spans(line: str) -> list[tuple[int, int, bool]]:
    """Return where the line holds what people wrote: the values of such fields, in JSON, in a repr, or bare.

    The flag says that the field holds nothing else.
    """
    spans = []
    position = 0
    while match := _WRITTEN.search(line, position):
        position = _string_end(line, match.end(), match["open"])
        spans.append((match.end(), position, match["strict"] is not None))
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


def believable(place: Place, form: Form, written: list[tuple[int, int, bool]], previous: str = "") -> bool:
    """Return whether the line reports what stands there. `previous` is the line before it.

    Looks at a bounded piece of the line, so the time does not depend on the line's length.
    """
    line, start, end = place
    raw = line[max(0, start - _BEFORE) : start]
    before, after = _without_telegrams(raw.lower()), line[end : end + _AFTER]
    if (
        _is_written(place, written, raw)
        or _ANNOUNCED.search(before)
        or _ANNOUNCED_BEHIND.match(_without_telegrams(after))
    ):
        return False
    if form is Form.REQUEST:
        return True
    if _is_source(raw if start <= _BEFORE else "?", before, after) or _is_document(place, before, after):
        return False
    if form is Form.NAME:
        return not _COMMIT.search(before)
    if _is_advice(before, after, previous):
        return False
    return form is Form.STATUS or _stands_as_error(before)


def _is_written(place: Place, written: list[tuple[int, int, bool]], before: str) -> bool:
    index = bisect_right(written, place.start, key=lambda span: span[0]) - 1
    if index >= 0 and place.start < written[index][1]:
        return written[index][2] or not _TELEGRAMS_ANSWER.search(before)
    return _CALLBACK.search(before) is not None


def _is_source(raw: str, before: str, after: str) -> bool:
    """Return whether the line is a program's source, its test's name, or somebody's search for the sentence."""
    return bool(
        _COMMENT.match(raw)
        or _STATEMENT.match(raw)
        or _CALL.search(before)
        or _COMPARED.search(before)
        or _CODE_BEHIND.match(after)
        or _SEARCH.search(before)
        or _TEST.match(raw)
        or _TEST_BEHIND.match(after)
        or _COMMIT.search(before)
    )


def _is_document(place: Place, before: str, after: str) -> bool:
    """Return whether the line is one of a help text: a row of a table, or a point of a list with its explanation."""
    if place.start <= _BEFORE and ((_TABLE.match(before) and "|" in after) or _QUOTED_LINE.fullmatch(before)):
        return True
    if _COLUMN.fullmatch(before) and re.match(r"\s{2,}[^\W\d_]", after):
        return True
    bullet = _BULLET.match(before) if place.start <= _BEFORE else None
    if bullet is None:
        return False
    explained = re.match(r"[\"'`*»”]{0,3}\s?[-–—:]\s\w", _without_telegrams(after.lower()))
    return bullet["mark"] is not None or explained is not None


def _is_advice(before: str, after: str, previous: str) -> bool:
    """Return whether the sentence is explained or warned of; one that begins a line may go on from the line before."""
    if before and before[0] in " \t" and not before.strip(_OPENERS + "409:"):
        before = f"{_without_telegrams(previous[-_BEFORE:].lower())} {before}"
    return bool(_ADVICE.search(before) or _EXPLAINED.match(_without_telegrams(after.lower())))


def _without_telegrams(text: str) -> str:
    for advice in _TELEGRAMS_ADVICE:
        text = text.replace(advice, "")
    return text


def _stands_as_error(before: str) -> bool:
    """Return whether the lower-case text leads to an error: ends in punctuation, a time, a level or an error's name."""
    lead = _PREFIXED_QUOTE.sub("", before).rstrip(_OPENERS)
    if _QUOTED_NUMBER.search(before) and not _ERROR_BEFORE.search(before):
        return False
    if not lead or lead[-1] in _PUNCTUATION or lead.endswith(_LEADS) or before.endswith(("\t", "  ")):
        return True
    return lead.split()[-1][0].isdigit() or (before[-1:] in "\"'`«“„" and _ERROR_BEFORE.search(before) is not None)
