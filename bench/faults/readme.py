"""The README's part of the fault table: a few columns of it, copied from what was written to docs/fault-table.md."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from bench.faults.table import NO_CELL, rendered

if TYPE_CHECKING:
    from collections.abc import Sequence

BEGIN, END = "<!-- from docs/fault-table.md -->\n", "<!-- to here -->\n"
COLUMNS = {  # of the fault table, and what the README calls them
    "what happens": "what happens",
    "Deployment": "a Deployment, Recreate, 1 replica",
    "Scheduler, adopted": "with a TelegramBot",
    "Gate, adopted": "with `lock: Gate`",
}


def copied(fault_table: str, readme: str) -> str:
    """Return the README with these columns of a fault table. Raises ValueError where it has no place for them."""
    if BEGIN not in readme or END not in readme:
        raise ValueError(f"the README lacks {BEGIN.strip()} or {END.strip()}")
    before, _, rest = readme.partition(BEGIN)
    return f"{before}{BEGIN}{excerpt(fault_table)}{END}{rest.partition(END)[2]}"


def excerpt(fault_table: str) -> str:
    """Return the rows of the first table that say something in each of these columns."""
    head, _, *rows = [_cells(line) for line in _first_table(fault_table)]
    places = [head.index(name) for name in COLUMNS]
    chosen = [[row[place].replace("**", "") for place in places] for row in rows]
    return rendered(list(COLUMNS.values()), [row for row in chosen if NO_CELL not in row])


def _first_table(text: str) -> list[str]:
    found = re.search(r"(?:^\|.*\n)+", text, re.MULTILINE)
    return found[0].splitlines() if found else []


def _cells(line: str) -> Sequence[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]
