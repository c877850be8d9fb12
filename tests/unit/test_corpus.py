"""The reader on the corpus: every labelled log of tests/corpus, with the share that it finds and that it finds rightly.

`pytest -s tests/unit/test_corpus.py` prints both. A kind counts once for each sample; how often it is found is compared
as well, but is another matter than whether it is.
"""

import re
import tomllib
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from telegrambot_operator.core.doctor_log import named
from telegrambot_operator.core.evidence import polling_started, read_conflicts, webhook_set

CORPUS = Path(__file__).parent.parent / "corpus"
PADDING = "at poll (bot.js:1) " * 16_000
TOKEN = re.compile(rb"[0-9]{5,}:([A-Za-z0-9_-]{35})")


@dataclass(frozen=True)
class Sample:
    """One labelled log; `expect` has the kind of each of its conflicts, `says` the good signs in it."""

    name: str
    origin: str
    data: bytes
    expect: list[str]
    says: set[str] = field(default_factory=set)

    def found(self) -> list[str]:
        """What the reader makes of it."""
        return [conflict.kind for conflict in named(read_conflicts(self.data))]


def samples() -> list[Sample]:
    """All samples of all index files."""
    return [
        Sample(
            f"{index.stem}: {entry['name']}",
            entry["origin"],
            data_of(entry),
            entry.get("expect", []),
            {sign for sign in ("polling", "webhook") if entry.get(sign)},
        )
        for index in sorted(CORPUS.glob("*.toml"))
        for entry in tomllib.loads(index.read_text())["sample"]
    ]


def data_of(entry: dict[str, str]) -> bytes:
    """The bytes of a sample: those of its file, its hexadecimal digits, or its text in its encoding."""
    if "file" in entry:
        return (CORPUS / entry["file"]).read_bytes()
    if "hex" in entry:
        return bytes.fromhex(entry["hex"])
    text = entry["log"].replace("<300 kB>", PADDING)
    text = text.replace("\n", "\r\n") if entry.get("crlf") else text
    return text.encode(entry.get("encoding", "utf-8"))[int(entry.get("skip_bytes", 0)) :]


SAMPLES = samples()
CONFLICTING = [sample for sample in SAMPLES if sample.expect]


def test_the_reader_finds_every_conflict_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    wrong: list[str] = []
    score: Counter[str] = Counter()
    for sample in SAMPLES:
        expected, found = set(sample.expect), set(sample.found())
        score.update(right=len(expected & found), missed=len(expected - found), invented=len(found - expected))
        if expected != found:
            wrong.append(f"{sample.name}: expected {sorted(expected)}, found {sorted(found)}")
    recall = score["right"] / (score["right"] + score["missed"])
    precision = score["right"] / (score["right"] + score["invented"])
    with capsys.disabled():
        real = sum(sample.origin.startswith("real run") for sample in SAMPLES)
        print(
            f"\ncorpus: {len(SAMPLES)} samples ({real} real runs), {len(CONFLICTING)} with conflicts, "
            f"{len(SAMPLES) - len(CONFLICTING)} without; recall {recall:.3f}, precision {precision:.3f}"
        )
    assert not wrong
    assert (recall, precision) == (1.0, 1.0)


@pytest.mark.parametrize("sample", CONFLICTING, ids=lambda sample: sample.name)
def test_each_conflict_is_found_once(sample: Sample) -> None:
    assert sample.found() == sample.expect


@pytest.mark.parametrize("sample", [each for each in SAMPLES if each.says], ids=lambda sample: sample.name)
def test_the_good_signs_are_read(sample: Sample) -> None:
    read = {"polling": polling_started, "webhook": webhook_set}
    assert {sign for sign, said in read.items() if said(sample.data)} == sample.says


def test_a_conflict_is_no_good_sign() -> None:
    """A log whose every line is a conflict's says neither that polling began nor that a webhook was set."""
    for sample in SAMPLES:
        if sample.name.startswith("others: ") and "healthy start" not in sample.name:
            assert not webhook_set(sample.data), sample.name


def test_no_secret_of_a_sample_is_shown() -> None:
    for sample in CONFLICTING:
        shown = " ".join(finding.evidence for finding in read_conflicts(sample.data))
        secrets = {match[1].decode() for match in TOKEN.finditer(sample.data)}
        assert not [secret for secret in secrets if secret[:8] in shown], sample.name


def test_the_corpus_is_large_and_of_many_libraries() -> None:
    runs = {sample.origin for sample in SAMPLES if sample.origin.startswith("real run of ")}
    assert len(SAMPLES) >= 200
    assert len(runs) >= 20
    assert len({sample.name for sample in SAMPLES}) == len(SAMPLES)


def test_every_log_of_the_corpus_is_labelled() -> None:
    labelled = {
        entry["file"]
        for index in CORPUS.glob("*.toml")
        for entry in tomllib.loads(index.read_text())["sample"]
        if "file" in entry
    }
    assert {str(path.relative_to(CORPUS)) for path in CORPUS.glob("*/*.log")} == labelled
