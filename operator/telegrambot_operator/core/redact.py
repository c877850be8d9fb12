"""Takes bot tokens out of text that leaves the process: a status, an Event, a log line (INV-7).

A token is the bot's id, a colon and a secret (https://core.telegram.org/bots/api#authorizing-your-bot). The id is not
secret and is kept, since it tells which bot is meant. A text may be torn anywhere, by a log that was cut or by whoever
cut its lines, so a secret counts however short it is where the text ends, and in an address behind `/bot`.
"""

import re

REDACTED = "<redacted>"

# Colours that a log puts around numbers come between the id, the colon and the secret.
_COLOURS = r"(?:\x1b\[[0-9;]{0,16}m){0,3}"
_COLON = rf"{_COLOURS}(?::|%3[Aa]|%253[Aa]|\\u003[Aa]){_COLOURS}"
_CHARACTER = "[A-Za-z0-9_-]"

# Each pattern begins at the colon, since a run of digits may be long; the id before it is only looked at.
# A whole token: Telegram's secrets have 35 characters so far. The possessive `++` never gives characters back.
_WHOLE = re.compile(rf"(?<=[0-9]{{5}}){_COLON}{_CHARACTER}{{30}}{_CHARACTER}*+")
_CUT_AT_THE_END = re.compile(rf"(?<=[0-9]{{5}}){_COLON}{_CHARACTER}++(?=\s*\Z|…|\.\.)")
_IN_ADDRESS = re.compile(rf"(/bot[0-9]{{1,20}}){_COLON}{_CHARACTER}++")
_ID_CUT = re.compile(
    rf"\A([0-9]{{0,20}}){_COLON}(?:{_CHARACTER}{{30}}{_CHARACTER}*+|{_CHARACTER}{{8}}{_CHARACTER}*+(?=\s*\Z))"
)
# The path of a call whose beginning is missing: what is left of the secret, then the method.
_SECRET_CUT = re.compile(rf"\A{_CHARACTER}{{8}}{_CHARACTER}*+(?=/[a-z]{{2,12}}[A-Z][A-Za-z]*)")


def redact(text: str) -> str:
    """Return the text with the secret of every bot token replaced; doing it again changes nothing.

    Of a secret whose beginning and colon are missing, only what stands before a method's name is recognised.
    """
    for pattern in (_WHOLE, _CUT_AT_THE_END):
        text = pattern.sub(f":{REDACTED}", text)
    for pattern in (_IN_ADDRESS, _ID_CUT):
        text = pattern.sub(rf"\g<1>:{REDACTED}", text)
    return _SECRET_CUT.sub(REDACTED, text)
