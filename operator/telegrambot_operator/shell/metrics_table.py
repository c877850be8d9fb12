"""Writes the table of all metrics into a file: `python -m telegrambot_operator.shell.metrics_table docs/metrics.md`."""

import re
import sys
from pathlib import Path

from .metrics import Declared, Metrics

BEGIN, END = "<!-- the metrics: make generate -->", "<!-- to here -->"


def table() -> str:
    """Return the table in Markdown."""
    rows = [_row(each) for each in Metrics().declared]
    return "\n".join(["| metric | type | labels | what it is |", "| --- | --- | --- | --- |", *rows])


def _row(metric: Declared) -> str:
    labels = ", ".join(f"`{label}`" for label in metric.labels)
    return f"| `{metric.name}` | {metric.kind} | {labels} | {metric.documentation} |"


def written(text: str) -> str:
    """Return a text with the table between its two marks. Raises ValueError where they are missing."""
    pattern = re.compile(rf"(?<={re.escape(BEGIN)}\n).*?(?={re.escape(END)})", re.DOTALL)
    if not pattern.search(text):
        raise ValueError(f"there is no {BEGIN} and {END}")
    return pattern.sub(lambda _: f"\n{table()}\n\n", text, count=1)


if __name__ == "__main__":
    where = Path(sys.argv[1])
    where.write_text(written(where.read_text()))
