"""Measure the fault table and print it.

    python -m bench.faults                                        # all of it, into docs/fault-table.md and README too
    python -m bench.faults --row "forced delete" --column Gate    # what these words are part of; only printed

The exit code is 0 when every promise was kept, 1 when one was broken or a cell could not be measured.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

from bench.faults.faults import FAULTS
from bench.faults.handover import handovers
from bench.faults.play import cell
from bench.faults.readme import copied
from bench.faults.stage import stages
from bench.faults.table import Table, told
from bench.faults.variants import VARIANTS
from tests.bed.botenv import BotEnvError
from tests.bed.controlplane import BuildError, ControlPlaneError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.faults.faults import Fault
    from bench.faults.stage import Stages
    from bench.faults.variants import Variant

WRITTEN = Path(__file__).parents[2] / "docs" / "fault-table.md"
README = Path(__file__).parents[2] / "README.md"


def options(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.faults", description=__doc__)
    parser.add_argument("--row", action="append", default=[], help="only the rows with these words; may be repeated")
    parser.add_argument("--column", action="append", default=[], help="only the columns with these words; the same")
    parser.add_argument("--at-once", type=int, default=20, help="runs at once, two fifths with the policies")
    parser.add_argument("--handovers", type=int, default=10, help="runs of the plain handovers; 0: leave them out")
    return parser.parse_args(arguments)


async def measure(chosen: argparse.Namespace) -> Table:
    """Measure what was chosen."""
    rows = [each for each in FAULTS if not chosen.row or any(words in each.name for words in chosen.row)]
    columns = [each for each in VARIANTS if not chosen.column or any(words in each.name for words in chosen.column)]
    table = Table(rows, columns)
    with_policies = max(2, chosen.at_once * 2 // 5) if any(each.policies for each in columns) else 0
    async with stages(max(5, chosen.at_once - with_policies), with_policies) as free:
        if columns == VARIANTS and chosen.handovers:
            table.handovers = await handovers(free, chosen.handovers)
        async with asyncio.TaskGroup() as group:
            for fault in sorted(rows, key=lambda each: not each.at_every_write):  # the longest first
                for variant in filter(fault.fits, columns):
                    group.create_task(fill(table, free, fault, variant))
    return table


async def fill(table: Table, free: Stages, fault: Fault, variant: Variant) -> None:
    """Measure a cell. What goes wrong there is told, and no reason to give up the others."""
    try:
        figures = await cell(free, fault, variant)
    except Exception:  # noqa: BLE001 - whatever it is, the table has no such cell then, and the command fails
        traceback.print_exc()
        figures = None
    table.cells[fault.name, variant.name] = figures
    print(f"{fault.name}, {variant.name}: {told(figures)}", file=sys.stderr, flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, and return the exit code."""
    chosen = options(arguments)
    began = time.monotonic()
    try:
        table = asyncio.run(measure(chosen))
    except (BuildError, BotEnvError, ControlPlaneError) as error:
        print(f"faults: {error}", file=sys.stderr)
        return 1
    text = table.markdown()
    print(text)
    if not (chosen.row or chosen.column):
        WRITTEN.write_text(text)
        README.write_text(copied(text, README.read_text()))
    for broken in table.broken():
        print(f"broken: {broken}", file=sys.stderr)
    print(f"It took {time.monotonic() - began:.0f} s.", file=sys.stderr)
    return 1 if table.broken() else 0


if __name__ == "__main__":
    sys.exit(main())
