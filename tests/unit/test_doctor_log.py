"""`telegrambot-operator doctor --log`: what it says of logs at hand, in which form, and with which exit code."""

import io
import json
import os
import sys
import tracemalloc
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from telegrambot_operator.__main__ import main
from telegrambot_operator.core.doctor_log import ADVICE, Conflict, Table, json_pieces, named
from telegrambot_operator.core.evidence import ConflictKind, Finding
from telegrambot_operator.shell import doctor_log
from telegrambot_operator.shell.doctor_log import PIECE, findings, pieces

OTHER = "terminated by other getUpdates request; make sure that only one bot instance is running"
WEBHOOK = "can't use getUpdates method while webhook is active; use deleteWebhook to delete the webhook first"
REQUEST = (
    'POST https://api.telegram.org/bot7301948265:AAFq9Zr0bXw3KjT5uYv1LmNp8sQeHd2GcRk/getUpdates "HTTP/1.1 409 Conflict"'
)
SECRET = "AAFq9Zr0bXw3KjT5uYv1LmNp8sQeHd2GcRk"
AT = datetime(2026, 11, 24, 8, 0, 4, tzinfo=UTC)
README = Path(__file__).parents[2] / "README.md"


@pytest.fixture
def log(tmp_path: Path) -> Callable[..., str]:
    """Writes a log and gives its name."""

    def write(content: str | bytes, name: str = "bot.log") -> str:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(path)

    return write


def as_json(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    """The objects that were printed, one a line."""
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


# --- Names ------------------------------------------------------------------------------------------------------------


def finding(kind: ConflictKind) -> Finding:
    return Finding(kind, None, kind.value)


def names(*kinds: ConflictKind) -> list[str]:
    return [conflict.kind for conflict in named(map(finding, kinds))]


def test_each_kind_has_one_of_three_names() -> None:
    assert names(*ConflictKind) == ["GetUpdates", "WebhookActive", "SetWebhook", "SetWebhook", "SetWebhook"]


def test_a_bare_status_is_named_by_the_conflict_before_it() -> None:
    assert names(ConflictKind.WEBHOOK_ACTIVE, ConflictKind.UNSPECIFIED) == ["WebhookActive"] * 2


def test_a_bare_status_is_named_by_the_conflict_after_it_if_it_is_the_first() -> None:
    assert (
        names(ConflictKind.UNSPECIFIED, ConflictKind.UNSPECIFIED, ConflictKind.WEBHOOK_ACTIVE) == ["WebhookActive"] * 3
    )


def test_a_bare_status_alone_is_the_commonest_conflict() -> None:
    assert names(ConflictKind.UNSPECIFIED) == ["GetUpdates"]


def test_only_so_many_conflicts_wait_for_a_name() -> None:
    kinds = [ConflictKind.UNSPECIFIED] * 1001 + [ConflictKind.WEBHOOK_ACTIVE]
    assert names(*kinds) == ["GetUpdates"] * 1001 + ["WebhookActive"]


# --- JSON -------------------------------------------------------------------------------------------------------------


def test_a_file_is_one_line_of_json() -> None:
    conflicts = [Conflict("GetUpdates", AT, "a"), Conflict("SetWebhook", None, 'b "c"')]
    line = "".join(json_pieces("bot.log", conflicts))
    assert line.endswith("]}\n")
    assert line.count("\n") == 1
    assert json.loads(line) == {
        "file": "bot.log",
        "conflicts": [
            {"kind": "GetUpdates", "time": "2026-11-24T08:00:04Z", "evidence": "a"},
            {"kind": "SetWebhook", "time": None, "evidence": 'b "c"'},
        ],
    }


def test_a_file_without_conflicts_has_an_empty_list() -> None:
    assert "".join(json_pieces("bot.log", [])) == '{"file": "bot.log", "conflicts": []}\n'


def test_times_are_in_utc_and_without_a_zone_where_the_log_has_none() -> None:
    told = [AT.astimezone(timezone(timedelta(hours=2))), AT.replace(tzinfo=None)]
    line = "".join(json_pieces("x", [Conflict("GetUpdates", time, "") for time in told]))
    times = [each["time"] for each in json.loads(line)["conflicts"]]
    assert times == ["2026-11-24T08:00:04Z", "2026-11-24T08:00:04"]


TIMES = {
    "the kubelet's": ("2026-11-24T10:00:04.123456789+02:00 telegram.error.Conflict: ", "2026-11-24T08:00:04.123456Z"),
    "Docker's": ("2026-11-24T08:00:04Z stderr F Conflict: ", "2026-11-24T08:00:04Z"),
    "a logger's": ("2026-11-24 08:00:04,123 - bot - ERROR - Conflict: ", "2026-11-24T08:00:04.123000"),
    "Go's": ("2026/11/24 08:00:04 Conflict: ", "2026-11-24T08:00:04"),
    "an access log's": ("[24/Nov/2026:08:00:04 +0000] ERROR Conflict: ", "2026-11-24T08:00:04Z"),
    "pino's, in milliseconds": ('{"level":50,"time":1795507204123,"msg":"Conflict: ', "2026-11-24T08:00:04.123000Z"),
    "zap's, in seconds": ('{"level":"error","ts":1795507204.5,"msg":"Conflict: ', "2026-11-24T08:00:04.500000Z"),
    "a JSON field far behind": (
        f'{{"a":"{"x" * 300}","timestamp":"2026-11-24T08:00:04Z","msg":"Conflict: ',
        "2026-11-24T08:00:04Z",
    ),
    "of the record above": ("2026-11-24 08:00:04 ERROR poll\nTraceback\nerror.Conflict: ", "2026-11-24T08:00:04"),
    "none": ("Conflict: ", None),
    "an impossible one": ("2026-99-99 08:00:04 ERROR Conflict: ", None),
}


@pytest.mark.parametrize(("before", "time"), TIMES.values(), ids=TIMES)
def test_the_time_is_the_best_that_the_log_tells(
    log: Callable[..., str], capsys: pytest.CaptureFixture[str], before: str, time: str | None
) -> None:
    assert main(["doctor", "-o", "json", "--log", log(f"{before}{OTHER}\n")]) == 1
    assert as_json(capsys)[0]["conflicts"][0]["time"] == time  # type: ignore[index]


# --- The table --------------------------------------------------------------------------------------------------------


def test_a_person_gets_a_table_and_advice_for_what_was_found() -> None:
    table = Table()
    table.add("a.log", [Conflict("GetUpdates", AT, "x"), Conflict("GetUpdates", AT + timedelta(minutes=1), "y")])
    table.add("longer.log", [])
    assert table.text().splitlines() == [
        "FILE         CONFLICT     COUNT   FIRST                  LAST                   EVIDENCE",
        "a.log        GetUpdates   2       2026-11-24T08:00:04Z   2026-11-24T08:01:04Z   x",
        "longer.log   none         0       -                      -",
        "",
        f"GetUpdates: {ADVICE['GetUpdates']}.",
    ]


def test_no_advice_drops_updates() -> None:
    assert not [sentence for sentence in ADVICE.values() if "drop" in sentence]


# --- Exit codes -------------------------------------------------------------------------------------------------------


def test_a_healthy_log(log: Callable[..., str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--log", log("polling started\n")]) == 0
    assert "none" in capsys.readouterr().out


def test_conflicts_in_one_of_two_logs(log: Callable[..., str], capsys: pytest.CaptureFixture[str]) -> None:
    files = [log("polling started\n", "good.log"), log(f"Conflict: {WEBHOOK}\n", "bad.log")]
    assert main(["doctor", "--log", *files, "-o", "json"]) == 1
    assert [(each["file"], each["conflicts"]) for each in as_json(capsys)] == [
        (files[0], []),
        (files[1], [{"kind": "WebhookActive", "time": None, "evidence": f"Conflict: {WEBHOOK}"}]),
    ]


def test_a_file_that_is_not_there_does_not_keep_the_others_from_being_read(
    log: Callable[..., str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = str(tmp_path / "nope.log")
    assert main(["doctor", "--log", missing, str(tmp_path), log(f"Conflict: {OTHER}\n"), "-o", "json"]) == 3
    printed = capsys.readouterr()
    assert len(printed.out.splitlines()) == 1
    assert printed.err.splitlines() == [
        f"telegrambot-operator: {missing} could not be read: No such file or directory",
        f"telegrambot-operator: {tmp_path} could not be read: Is a directory",
    ]


class Torn(io.BytesIO):
    """A file on a disk that breaks when it has been read."""

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        if not data:
            raise OSError(5, "Input/output error")
        return data


def test_what_was_found_before_a_file_broke_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = f"Conflict: {OTHER}\nbye\n" + "some other line of the log\n" * 100_000
    monkeypatch.setattr(doctor_log, "_opened", lambda _: Torn(text.encode()))
    assert main(["doctor", "--log", "broken.log", "-o", "json"]) == 3
    printed = capsys.readouterr()
    assert len(json.loads(printed.out)["conflicts"]) == 1
    assert "broken.log could not be read: Input/output error" in printed.err


@pytest.mark.parametrize(
    "arguments", [["doctor", "shop", "-A"], ["doctor", "--log"], ["doctor", "--log", "x", "-o", "yaml"]]
)
def test_wrong_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exited:
        main(arguments)
    assert exited.value.code == 2
    assert "usage: telegrambot-operator doctor" in capsys.readouterr().err


def test_needs_no_cluster_and_no_settings(
    log: Callable[..., str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KUBECONFIG", "/nowhere")
    monkeypatch.setenv("TELEGRAM_API_URL", "not an address")
    assert main(["doctor", "--log", log("")]) == 0
    assert capsys.readouterr().err == ""


def test_reads_standard_input(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(f"Conflict: {OTHER}\n".encode())))
    assert main(["doctor", "--log", "-", "-o", "json"]) == 1
    assert as_json(capsys)[0]["file"] == "-"


def test_a_reader_that_hangs_up_is_no_error(log: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w", buffering=1) as closed:
        monkeypatch.setattr(sys, "stdout", closed)
        assert main(["doctor", "--log", log(f"Conflict: {OTHER}\n")]) == 1


# --- Secrets, letters and size ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["table", "json"])
def test_no_token_is_shown_not_even_of_a_file_s_name(
    log: Callable[..., str], capsys: pytest.CaptureFixture[str], form: str
) -> None:
    files = [log(f"{REQUEST}\n", f"7301948265:{SECRET}.log"), f"7301948265:{SECRET}.txt"]
    assert main(["doctor", "--log", *files, "-o", form]) == 3
    printed = capsys.readouterr()
    assert "<redacted>" in printed.out
    assert SECRET[:6] not in printed.out + printed.err


def test_letters_that_the_terminal_does_not_have_are_escaped(
    log: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    output = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(output, encoding="ascii", write_through=True))
    assert main(["doctor", "--log", log(f"Ошибка: Conflict: {OTHER}\n")]) == 1
    assert b"\\u041e" in output.getvalue()


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16-be", "cp1251", "utf-32"])
def test_every_encoding_is_read_in_pieces(encoding: str) -> None:
    text = "Ошибка сети\n" * 200_000 + f"Ошибка: Conflict: {OTHER}\n"
    found = list(findings(io.BytesIO(text.encode(encoding))))
    assert [each.kind for each in found] == [ConflictKind.OTHER_GET_UPDATES]


def test_a_conflict_is_found_once_wherever_a_piece_ends() -> None:
    lines = f"GrammyError: (409: Conflict: {OTHER})\n    at x {{\n  description: 'Conflict: {OTHER}'\n}}\n"
    for cut in range(0, len(lines), 7):
        text = "x" * (PIECE - cut - 1) + "\n" + lines + "bye\n" * 10
        assert len(list(findings(io.BytesIO(text.encode())))) == 1, cut


def test_binary_rubbish_is_read() -> None:
    assert list(findings(io.BytesIO(bytes(range(256)) * 9000))) == []


def test_memory_does_not_grow_with_the_log() -> None:
    class Endless(io.RawIOBase):
        left = 48

        def read(self, size: int = -1, /) -> bytes:
            self.left -= 1
            return (b"GET /health 200\n" * (size // 16)) if self.left >= 0 else b""

    assert peak(Endless()) < 24 * PIECE


def test_memory_does_not_grow_with_a_line() -> None:
    assert peak(io.BytesIO(b"x" * (24 * PIECE))) < 24 * PIECE


def peak(stream: io.IOBase) -> int:
    """The most memory that reading took."""
    tracemalloc.start()
    try:
        assert list(findings(stream)) == []  # type: ignore[arg-type]
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_pieces_are_whole_and_end_where_a_record_ends() -> None:
    text = ("error\n    at x\n    at y\n" * 200_000).encode()
    found = list(pieces(io.BytesIO(text)))
    assert "".join(found).encode() == text
    assert all(piece.startswith("error") for piece in found)


# --- The README -------------------------------------------------------------------------------------------------------


def test_the_readme_s_example_is_what_is_printed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(README.parent)
    example = (
        README.read_text().partition("\n    $ telegrambot-operator doctor --log ")[2].partition("\nThe three kinds")[0]
    )
    files, _, shown = example.partition("\n")
    assert main(["doctor", "--log", *files.split()]) == 1
    printed = capsys.readouterr().out.splitlines()
    assert [line.removeprefix("    ") for line in shown.splitlines()] == printed
