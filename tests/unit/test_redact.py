"""What is left of a bot token in a text that leaves the process."""

import string

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from telegrambot_operator.core.redact import redact

SECRET = "AAFq9Zr0bXw3KjT5uYv1LmNp8sQeHd2GcRk"
TOKEN = f"7301948265:{SECRET}"
ESCAPE = "\x1b"

HIDDEN = {
    "a token alone": (TOKEN, "7301948265:<redacted>"),
    "a token in a sentence": (f"token {TOKEN} is bad", "token 7301948265:<redacted> is bad"),
    "two tokens": (f"{TOKEN} {TOKEN}", "7301948265:<redacted> 7301948265:<redacted>"),
    "a token in a call's address": (f"/bot{TOKEN}/getMe", "/bot7301948265:<redacted>/getMe"),
    "a token with an encoded colon": (f"t={TOKEN.replace(':', '%3A')}&a=1", "t=7301948265:<redacted>&a=1"),
    "a token with a colon encoded twice": (TOKEN.replace(":", "%253a") + " x", "7301948265:<redacted> x"),
    "a token in JSON": (f'{{"token":"{TOKEN}"}}', '{"token":"7301948265:<redacted>"}'),
    "a token with a colon escaped by JSON": (TOKEN.replace(":", r"\u003a") + '"', '7301948265:<redacted>"'),
    "a token with a coloured id": (
        f"{ESCAPE}[1;36m7301948265{ESCAPE}[0m:{SECRET}!",
        f"{ESCAPE}[1;36m7301948265:<redacted>!",
    ),
    "a longer secret than Telegram's": (f"7301948265:{SECRET}{SECRET} x", "7301948265:<redacted> x"),
    "a short id, as the first bots have": (f"12345:{SECRET} x", "12345:<redacted> x"),
    "a token cut at the end of the text": ("call /bot7301948265:AAFq9", "call /bot7301948265:<redacted>"),
    "a token cut at the end, no address": ("using 7301948265:AAF", "using 7301948265:<redacted>"),
    "a token cut at the end of the last line": ("using 7301948265:AAF\n", "using 7301948265:<redacted>\n"),
    "a token that somebody shortened": ("using 7301948265:AAFq9Zr0... now", "using 7301948265:<redacted>... now"),
    "a short secret in an address": ("/bot7301948265:AAFq9/getMe", "/bot7301948265:<redacted>/getMe"),
    "a text that begins inside the id": (f"265:{SECRET} x", "265:<redacted> x"),
    "a text that begins at the colon": (f":{SECRET} x", ":<redacted> x"),
    "a text that is a piece of a token": ("65:AAFq9Zr0bXw3", "65:<redacted>"),
    "a text that begins inside the secret": (
        f'{SECRET[9:]}/getUpdates "HTTP/1.1 409',
        '<redacted>/getUpdates "HTTP/1.1 409',
    ),
}


@pytest.mark.parametrize(("text", "shown"), HIDDEN.values(), ids=HIDDEN)
def test_hides_the_secret_and_keeps_the_id(text: str, shown: str) -> None:
    assert redact(text) == shown


PLAIN = [
    "",
    "2026-11-24T08:45:53.123456Z started",
    "listening on 127.0.0.1:8080",
    "bot.py:12345: DeprecationWarning",
    "sha256:9243213661e29250eb41368e5daa826fc017156c3b8a11440826b2e3ed376472",
    "bot id = 7301948265",
    "the token 7301948265: is missing",
    "12:30",
]


@pytest.mark.parametrize("text", PLAIN)
def test_leaves_other_text_alone(text: str) -> None:
    assert redact(text) == text


secrets = st.text(string.ascii_letters + string.digits + "_-", min_size=35, max_size=35)
bot_ids = st.integers(10_000_000, 10**12).map(str)
colons = st.sampled_from([":", "%3A", "%3a", "%253A"])
arounds = st.text("abc /:\"'=&?%\n.0123456789<>", max_size=30)


@given(bot_ids, colons, secrets, arounds, arounds)
@example("12345678", ":", "-" * 35, "1:", ":1")
def test_no_eight_characters_of_a_secret_survive(bot: str, colon: str, secret: str, before: str, after: str) -> None:
    shown = redact(before + bot + colon + secret + after)
    assert not [
        piece for at in range(28) if (piece := secret[at : at + 8]) in shown and piece not in before + bot + after
    ]


@given(bot_ids, colons, secrets, arounds, st.integers(8, 34))
def test_what_a_torn_end_left_of_a_secret_does_not_survive(
    bot: str, colon: str, secret: str, before: str, kept: int
) -> None:
    shown = redact(before + bot + colon + secret[:kept])
    pieces = [secret[at : at + 8] for at in range(kept - 7)]
    assert not [piece for piece in pieces if piece in shown and piece not in before + bot]


@given(
    st.lists(st.one_of(arounds, bot_ids, colons, secrets, st.sampled_from(["/bot", "/getUpdates", "..."])), max_size=8)
)
def test_redacting_twice_changes_nothing_more(parts: list[str]) -> None:
    once = redact("".join(parts))
    assert redact(once) == once
