"""Two URLs that are one address, hosts that may be shown, and words of Telegram's without a secret in them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telegrambot_operator.core.webhooks import Hook, hook_of, host_of, without_address

WANTED = "https://shop.example/hook/s3cret?key=k3y"
SAME = [
    WANTED,
    "HTTPS://Shop.Example/hook/s3cret?key=k3y",
    "https://shop.example:443/hook/s3cret?key=k3y",
]
OTHER = [
    "https://shop.example/hook/other?key=k3y",
    "https://shop.example/hook/s3cret",
    "https://shop.example:8443/hook/s3cret?key=k3y",
    "https://shop.example/HOOK/s3cret?key=k3y",
    "https://old.example/hook/s3cret?key=k3y",
    "http://shop.example/hook/s3cret?key=k3y",
    "https://me@shop.example/hook/s3cret?key=k3y",
    "https://shop.example:port/hook",
    "https://[shop.example/hook",
]


@pytest.mark.parametrize("url", SAME)
def test_spellings_of_one_address(url: str) -> None:
    assert hook_of(url, WANTED) is Hook.WANTED


@pytest.mark.parametrize("url", OTHER)
def test_other_addresses(url: str) -> None:
    assert hook_of(url, WANTED) is Hook.OTHER


def test_a_lone_slash_makes_no_difference() -> None:
    assert hook_of("https://shop.example", "https://shop.example/") is Hook.WANTED


def test_none_is_wanted_by_a_bot_that_polls_and_missed_by_another() -> None:
    assert [hook_of("", None), hook_of(WANTED, None), hook_of("", WANTED)] == [Hook.WANTED, Hook.OTHER, Hook.MISSING]


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://old.example.com/bot7301948265:AAFq9Zr0bXw3KjT5uYv1LmNp8sQeHd2GcRk", "old.example.com"),
        ("https://me:pass@old.example.com:8443/x", "old.example.com"),
        ("https://[2001:db8::1]/x", "2001:db8::1"),
        ("https://192.0.2.7/x", "192.0.2.7"),
        ("https://ex ample/x", ""),
        ("https://<b>/x", ""),
        ("https://[oh/x", ""),
        ("", ""),
    ],
)
def test_hosts(url: str, host: str) -> None:
    assert host_of(url) == host


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("Connection refused", "Connection refused"),
        ("Wrong response from the webhook: 401 Unauthorized", "Wrong response from the webhook: 401 Unauthorized"),
        ("moved to https://shop.example/hook/s3cret?key=k3y", "moved to shop.example"),
        ("404 at /hook/s3cret with key=k3y", "404 at <redacted> with <redacted>"),
        ("no bot7301948265:AAFq9Zr0bXw3KjT5uYv1LmNp8sQeHd2GcRk", "no bot7301948265:<redacted>"),
        ("two\nlines\tof it", "two lines of it"),
    ],
)
def test_words(said: str, shown: str) -> None:
    assert without_address(said, WANTED) == shown


@given(st.text(max_size=400), st.text(max_size=60))
def test_words_are_one_short_line_whatever_was_said(said: str, path: str) -> None:
    shown = without_address(said, f"https://shop.example/{path}")
    assert len(shown) <= 160
    assert "\n" not in shown
