"""What the fault table says of figures, and what it calls a broken promise."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.faults.faults import FAULTS, Fault
from bench.faults.play import Figures, worst
from bench.faults.readme import BEGIN, END, copied
from bench.faults.table import Table, longer
from bench.faults.table import handovers as handovers_told
from bench.faults.variants import PLAIN, VARIANTS, Variant

ROOT = Path(__file__).parents[2]

GATE = next(each for each in VARIANTS if each.name == "Gate, adopted")
SCHEDULER = next(each for each in VARIANTS if each.name == "Scheduler, adopted")
FORCED = next(each for each in FAULTS if each.name == "a forced delete")

NOBODY_MET = Figures(overlap=0.0, peak=1, conflicts=0, gap=0.2, ended=True, together=False)
A_BLINK = Figures(overlap=0.01, peak=2, conflicts=0, gap=0.0, ended=True, together=False)
A_409 = Figures(overlap=0.0, peak=1, conflicts=1, gap=0.1, ended=True, together=False)
FOR_EVER = Figures(overlap=20.0, peak=2, conflicts=9, gap=0.0, ended=False, together=True)
NEVER_BACK = Figures(overlap=0.0, peak=1, conflicts=0, gap=20.0, ended=False, together=False)


def table(fault: Fault, variant: Variant, figures: Figures | None) -> Table:
    return Table([fault], [variant], {(fault.name, variant.name): figures})


def test_a_promise_that_is_kept_is_no_reason_to_fail() -> None:
    assert table(FORCED, GATE, NOBODY_MET).broken() == []


@pytest.mark.parametrize("figures", [A_BLINK, A_409, FOR_EVER, NEVER_BACK, None])
def test_a_promise_is_broken_by_the_least_overlap_one_409_and_a_bot_that_is_not_back(figures: Figures | None) -> None:
    (broken,) = table(FORCED, GATE, figures).broken()
    assert broken.startswith("a forced delete, Gate, adopted: ")


@pytest.mark.parametrize("variant", [SCHEDULER, PLAIN])
def test_what_nobody_promised_may_be_anything_that_was_measured(variant: Variant) -> None:
    assert table(FORCED, variant, FOR_EVER).broken() == []
    assert table(FORCED, variant, None).broken() != []


@pytest.mark.parametrize(
    ("figures", "text"),
    [
        (NOBODY_MET, "**0.0 s, 0 x 409**"),
        (A_BLINK, "**0.01 s, 0 x 409**"),
        (FOR_EVER, "**for ever, 9 x 409**"),
        (NEVER_BACK, "**0.0 s, 0 x 409, no end**"),
        (None, "**not measured**"),
    ],
)
def test_a_cell_tells_its_figures_and_an_overlap_never_reads_as_none(figures: Figures | None, text: str) -> None:
    assert f"| a forced delete | {text} |" in table(FORCED, GATE, figures).markdown()


def test_several_runs_are_as_bad_as_the_worst() -> None:
    both = worst([A_BLINK, A_409, NEVER_BACK])
    assert both == Figures(overlap=0.01, peak=2, conflicts=1, gap=20.0, ended=False, together=False, runs=3)
    assert not both.clean


def test_what_the_design_promises_is_promised() -> None:
    always = {"a rollout", "a deleted pod", "an eviction", "a drain", "a scale to 2", "a strategy change in a rollout"}
    always |= {"a rollback A-B-A", "a scale 1-0-1", "a second TelegramBot", "a preemption"}
    promised = {each.name for each in FAULTS if each.promised(SCHEDULER)}
    assert promised >= always
    with_gate = {each.name for each in FAULTS if each.promised(GATE)} - promised
    assert {"a forced delete", "a lost node"} <= with_gate
    assert {words.split(":")[0] for words in with_gate} >= {"operator killed at each write", "two operators"}
    assert not [each.name for each in FAULTS if each.promised(PLAIN)]


TENTH = [0.1] * 10


@pytest.mark.parametrize(
    ("case", "seconds", "is_longer"),
    [
        ("the same", TENTH, False),
        ("shorter", [0.05] * 10, False),
        ("a little longer in all runs", [0.14] * 10, False),
        ("longer in all runs", [0.16] * 10, True),
        ("longer in nine of ten", [*[0.16] * 9, 0.05], True),
        ("longer in eight of ten, which chance may do", [*[0.2] * 8, 0.05, 0.05], False),
        ("much longer in one", [*[0.1] * 9, 5.0], False),
    ],
)
def test_a_handover_is_longer_when_chance_cannot_explain_it(case: str, seconds: list[float], is_longer: bool) -> None:
    assert longer(seconds, TENTH) is is_longer, case


@pytest.mark.parametrize(
    ("row", "beside"),
    [
        ("a deleted pod", {"StatefulSet": TENTH}),
        ("a rollout restart", {"Deployment": TENTH, "StatefulSet": [0.01] * 10}),
    ],
)
@pytest.mark.parametrize(
    ("column", "seconds", "broken"),
    [("Scheduler, adopted", 0.2, 1), ("Scheduler, adopted", 0.1, 0), ("Gate, adopted by admission", 0.2, 1)],
)
def test_a_guarded_bot_is_promised_a_handover_as_short_as_kubernetes_own(
    row: str, beside: dict[str, list[float]], column: str, seconds: float, broken: int
) -> None:
    handovers = {row: {column: [seconds] * 10, **beside}}
    assert len(Table([], [], handovers=handovers).broken()) == broken


def test_a_column_that_hands_nothing_over_has_no_cell() -> None:
    columns = {"StatefulSet": TENTH}
    text = handovers_told({"a deleted pod": columns, "a rollout restart": {"Deployment": TENTH, **columns}})
    assert "| a deleted pod | – | 0.100 s |" in text


def test_the_readme_says_what_the_fault_table_says() -> None:
    readme = (ROOT / "README.md").read_text()
    assert copied((ROOT / "docs" / "fault-table.md").read_text(), readme) == readme


def test_the_readmes_part_has_the_rows_that_say_something_in_all_its_columns() -> None:
    lines = (
        "| what happens | Scheduler, adopted | Gate, adopted | Scheduler, own | Deployment |",
        "| --- | --- | --- | --- | --- |",
        "| a deleted pod | **0.0 s** | **0.1 s** | **0.2 s** | 6.0 s |",
        "| two operators | 0.0 s | **0.0 s** | 0.0 s | – |",
    )
    text = copied("# A title\n\n" + "\n".join(lines) + "\n\n| another |\n", f"before\n{BEGIN}old\n{END}after\n")
    assert text.startswith(f"before\n{BEGIN}| what happens | a Deployment, Recreate, 1 replica | ")
    assert text.endswith(f"\n| a deleted pod | 6.0 s | 0.0 s | 0.1 s |\n{END}after\n")
    assert "two operators" not in text


def test_a_readme_without_a_place_for_it_is_not_written_over() -> None:
    with pytest.raises(ValueError, match="lacks"):
        copied("", "nothing here")
