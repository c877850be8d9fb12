"""The search for tokens in what operators wrote: it has to find one wherever it is."""

import json
from pathlib import Path

import pytest

from tests.bed.written import OPERATOR, Written

TOKEN = "1234567890:AAE" + "x1_-" * 8
SECRET = TOKEN.partition(":")[2]


def event(**body: object) -> str:
    target = {"resource": "telegrambots", "subresource": "status", "namespace": "shop", "name": "bot"}
    return json.dumps({"verb": "patch", "user": {"username": OPERATOR}, "objectRef": target, "requestObject": body})


@pytest.mark.parametrize("text", [TOKEN, SECRET, f"https://api.telegram.org/bot{TOKEN}/getUpdates"])
def test_a_token_in_a_request_is_found_and_not_shown(text: str, tmp_path: Path) -> None:
    (tmp_path / "audit.log").write_text(event(message="fine") + "\n" + event(message=text) + "\n")
    written = Written(tmp_path)
    assert written.requests == 2
    assert written.found([], [TOKEN]) == ["a token is in patch telegrambots/status shop/bot"]


def test_a_token_in_an_operators_log_is_found(tmp_path: Path) -> None:
    one, other = tmp_path / "operator-1.log", tmp_path / "operator-2.log"
    one.write_text("nothing\n")
    other.write_text(f"bot{TOKEN}\n")
    assert Written(tmp_path).found([one, other], [TOKEN]) == ["a token is in operator-2.log"]


def test_where_there_is_none_there_is_nothing(tmp_path: Path) -> None:
    (tmp_path / "audit.log").write_text(event(message="the bot 1234567890 has a token") + "\n")
    assert Written(tmp_path).found([], [TOKEN]) == []
