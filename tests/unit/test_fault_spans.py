"""The measure of the fault table by itself: given lives of processes, which figures come of them."""

from __future__ import annotations

import pytest

from bench.faults.spans import Span, gap, overlap, peak

OLD = Span(0, 10)


@pytest.mark.parametrize(
    ("case", "others", "seconds", "most"),
    [
        ("nobody else", [], 0, 1),
        ("the next one starts later", [Span(12, 20)], 0, 1),
        ("the next one starts in the moment in which the old one ends", [Span(10, 20)], 0, 1),
        ("the next one starts a little too early", [Span(9.75, 20)], 0.25, 2),
        ("one lives within another's life", [Span(2, 3)], 1, 2),
        ("two one after the other within its life", [Span(2, 3), Span(5, 8)], 4, 2),
        ("three at once are counted as seconds once", [Span(2, 8), Span(4, 6)], 6, 3),
        ("three, but never more than two at once", [Span(2, 4), Span(4, 6)], 4, 2),
        ("two that start and end together", [Span(0, 10)], 10, 2),
        ("one that ended in the moment in which it started", [Span(5, 5)], 0, 1),
    ],
)
def test_how_long_and_how_many_lived_at_once(case: str, others: list[Span], seconds: float, most: int) -> None:
    for spans in ([OLD, *others], [*others, OLD]):
        assert (overlap(spans), peak(spans)) == (seconds, most), case


def test_of_nobody_there_are_none() -> None:
    assert (overlap([]), peak([]), gap([], 3, 5)) == (0, 0, 2)


@pytest.mark.parametrize(
    ("case", "spans", "seconds"),
    [
        ("it lives on", [Span(0, 100)], 0),
        ("the next one starts later", [Span(0, 10), Span(12, 100)], 2),
        ("the next one starts before the old one ends", [Span(0, 10), Span(9, 100)], 0),
        ("nobody came after it", [Span(0, 10)], 10),
        ("what was before it is not looked at", [Span(0, 1), Span(4, 100)], 0),
        ("it had ended before", [Span(0, 1), Span(8, 100)], 3),
        ("two gaps", [Span(0, 10), Span(12, 14), Span(15, 100)], 3),
        ("what comes later is not looked at", [Span(0, 10), Span(25, 100)], 10),
    ],
)
def test_how_long_nobody_lived(case: str, spans: list[Span], seconds: float) -> None:
    assert gap(spans, since=5, until=20) == seconds, case
