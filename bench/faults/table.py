"""The figures as Markdown, and what of them breaks a promise."""

from __future__ import annotations

import platform
from dataclasses import dataclass, field
from importlib.metadata import version
from math import comb
from statistics import median
from typing import TYPE_CHECKING

from bench.faults.handover import YARDSTICKS
from bench.faults.play import NO_END, STOPPING, WATCHED
from bench.faults.variants import GUARDED
from tests.bed import controlplane

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.faults.faults import Fault
    from bench.faults.handover import Handovers
    from bench.faults.play import Figures
    from bench.faults.variants import Variant

NO_CELL = "–"
MARGIN = 0.05  # seconds by which a handover may be longer
_GUARDED = {each.name for each in GUARDED}
FAILED = "not measured"

HEAD = """\
# The fault table

Written by `make faults`, not by hand. Real processes on the control plane of `tests/bed`: {versions}.

The bot takes {stopping:g} s to stop and polls on until then. A process counts from its start to its end, as the nodes
started and saw it end, and each 409 as Telegram's stand-in answered it; nothing here is what the operator says. Each
fault is done to a bot of its own, which is watched for {watched:g} s and until one process runs again and nothing is
left to do, or for {no_end:g} s more where nothing is promised. Columns named after a lock are guarded by a TelegramBot:
of a Deployment that was there before (adopted), without and with the policies of `deploy/admission`, or with a pod
template (own). The other three are the best that Kubernetes does by itself: one replica and the strategy Recreate, a
StatefulSet of one, and that Deployment with the anti-affinity of the lock `Scheduler` written by hand.
"""

SUMMARY = """\
## Overlap and 409s

How many seconds more than one process lived, and how many 409s Telegram answered. **Bold** is promised to be zero.
Refused: an admission policy did not let it happen. No end: something was left to do when the time was over.
"""

HANDOVER = """\
## The handover

Seconds from the end of the old process to the start of the new one, in the plain case: the median of {runs} runs, in
which the columns took turns. It is promised to be no longer than what Kubernetes needs by itself, but for {margin:g} s:
in most runs not longer than in the one beside it. For a deleted pod that is what a StatefulSet needs (a plain
Deployment has two then). For a rollout it is what the Deployment needs without an operator: its controller makes a new
ReplicaSet before it makes a pod, which a StatefulSet does without. The lock costs nothing; the operator takes its share
of the processors on which all of this runs, and with `Gate` the new pod also waits until it has looked at all others.
"""

DETAILS = """\
## Every figure

Overlap: seconds in which more than one process lived. Peak: how many at once. Without a poller: seconds after the fault
in which none lived. Of several runs it is the longest, and the 409s of all.
"""


@dataclass
class Table:
    """What was measured so far: None for a cell that could not be."""

    faults: Sequence[Fault]
    variants: Sequence[Variant]
    cells: dict[tuple[str, str], Figures | None] = field(default_factory=dict)
    handovers: Handovers = field(default_factory=dict)

    def markdown(self) -> str:
        """All of it."""
        head = HEAD.format(versions=versions(), stopping=STOPPING, watched=WATCHED, no_end=NO_END)
        parts = [head, SUMMARY + "\n" + self._summary()]
        if self.handovers:
            parts.append(handovers(self.handovers))
        return "\n".join([*parts, DETAILS, *(self._details(fault) for fault in self.faults)])

    def broken(self) -> list[str]:
        """Each promise that was not kept, and each cell that was not measured, as a sentence."""
        slow = [
            f"the handover of {row}, {name}: nearly always longer than that of a {YARDSTICKS[row].name}"
            for row, columns in self.handovers.items()
            for name, seconds in columns.items()
            if name in _GUARDED and longer(seconds, columns[YARDSTICKS[row].name])
        ]
        return slow + [
            f"{fault.name}, {variant.name}: {told(self.cells[fault.name, variant.name])}"
            for fault in self.faults
            for variant in self.variants
            if (fault.name, variant.name) in self.cells and not self._kept(fault, variant)
        ]

    def _kept(self, fault: Fault, variant: Variant) -> bool:
        figures = self.cells[fault.name, variant.name]
        return figures is not None and (figures.clean or not fault.promised(variant))

    def _summary(self) -> str:
        rows = [[fault.name, *(self._short(fault, variant) for variant in self.variants)] for fault in self.faults]
        return rendered(["what happens", *(variant.name for variant in self.variants)], rows)

    def _short(self, fault: Fault, variant: Variant) -> str:
        if (fault.name, variant.name) not in self.cells:
            return NO_CELL
        text = told(self.cells[fault.name, variant.name])
        return f"**{text}**" if fault.promised(variant) else text

    def _details(self, fault: Fault) -> str:
        rows = [
            [variant.name, *detailed(self.cells[fault.name, variant.name]), "yes" if fault.promised(variant) else ""]
            for variant in self.variants
            if (fault.name, variant.name) in self.cells
        ]
        head = ["", "overlap", "peak", "409s", "without a poller", "runs", "promised"]
        title = fault.name[0].upper() + fault.name[1:]
        return f"### {title}\n\n{rendered(head, rows)}"


def told(figures: Figures | None) -> str:
    """Overlap and 409s of a cell."""
    if figures is None:
        return FAILED
    notes = ", refused" if figures.refused else "" if figures.ended or figures.together else ", no end"
    return f"{_overlap(figures)}, {figures.conflicts} x 409{notes}"


def detailed(figures: Figures | None) -> list[str]:
    """All figures of a cell."""
    if figures is None:
        return [FAILED, "", "", "", ""]
    gap = f"{figures.gap:.1f} s" if figures.ended or figures.together else f"{figures.gap:.1f} s, no end"
    return [_overlap(figures), str(figures.peak), str(figures.conflicts), gap, str(figures.runs)]


def _overlap(figures: Figures) -> str:
    """In tenths of a second, unless that would make nothing of it."""
    if figures.together and not figures.ended:
        return "for ever"
    return f"{figures.overlap:.1f} s" if figures.overlap >= 0.05 or not figures.overlap else f"{figures.overlap:.2g} s"


def longer(seconds: Sequence[float], yardstick: Sequence[float]) -> bool:
    """Return whether so many of the runs were longer than those beside them that it cannot be chance (p < 0.02)."""
    runs = list(zip(seconds, yardstick, strict=True))
    more = sum(ours > theirs + MARGIN for ours, theirs in runs)
    return sum(comb(len(runs), count) for count in range(more, len(runs) + 1)) < 0.02 * (1 << len(runs))


def handovers(all_of: Handovers) -> str:
    """The table of the plain handovers: the median of each row and column."""
    runs = min(len(each) for columns in all_of.values() for each in columns.values())
    names = max((list(columns) for columns in all_of.values()), key=len)
    rows = [
        [row, *(f"{median(columns[name]):.3f} s" if name in columns else NO_CELL for name in names)]
        for row, columns in all_of.items()
    ]
    return HANDOVER.format(runs=runs, margin=MARGIN) + "\n" + rendered(["", *names], rows)


def rendered(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def versions() -> str:
    """What it ran on."""
    operator = f"telegrambot-operator {version('telegrambot-operator')}"
    return f"Kubernetes {controlplane.version()}, Python {platform.python_version()}, {operator}"
