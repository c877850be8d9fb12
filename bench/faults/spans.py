"""From the lives of processes to figures: how long two lived at once, how many at most, how long nobody did.

A span is half open: a process that starts in the moment in which another ends does not meet it.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


@dataclass(frozen=True, slots=True)
class Span:
    """The life of a process, in seconds on the monotonic clock."""

    start: float
    end: float


def overlap(spans: Sequence[Span]) -> float:
    """Return for how many seconds more than one lived, however many they were."""
    return sum(seconds for seconds, alive in _levels(spans) if alive > 1)


def peak(spans: Sequence[Span]) -> int:
    """Return how many lived at once at most."""
    return max((alive for seconds, alive in _levels(spans) if seconds > 0), default=0)


def gap(spans: Sequence[Span], since: float, until: float) -> float:
    """Return for how many of the seconds between these two moments nobody lived."""
    cut = [Span(max(each.start, since), min(each.end, until)) for each in spans]
    alive = sum(seconds for seconds, alive in _levels([each for each in cut if each.start < each.end]) if alive)
    return max(0.0, until - since - alive)


def _levels(spans: Sequence[Span]) -> Iterator[tuple[float, int]]:
    """Yield the pieces of time between two starts or ends: their seconds, and how many lived."""
    for start, end in pairwise(sorted({moment for each in spans for moment in (each.start, each.end)})):
        yield end - start, sum(each.start <= start and end <= each.end for each in spans)
