"""Prometheus' own promtool, and what has been scraped as its input."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import yaml
from prometheus_client.parser import text_string_to_metric_families

from tests.bed.tools import program
from tests.monitoring.expressions import ALERTS

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

Object = dict[str, Any]
MINUTES = 60  # for so long what was scraped once stays as it is: longer than any alert waits


async def promtool(*arguments: str, stdin: str = "") -> tuple[int, str]:
    """Run it; returns its exit code and all that it printed."""
    path = await asyncio.to_thread(program, "promtool")
    child = await asyncio.create_subprocess_exec(
        path,
        *arguments,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    printed, _ = await child.communicate(stdin.encode())
    return child.returncode or 0, printed.decode()


def case(scraped: str, firing: Iterable[Object], expressions: Iterable[str] = ()) -> Object:
    """A case for `promtool test rules`: with this scrape for an hour exactly these alerts fire.

    An expression is one that finds something in it.
    """
    expected = [{"labels": _series("ALERTS", labels | {"alertstate": "firing"}), "value": 1} for labels in firing]
    checks: list[Object] = [
        {"expr": 'ALERTS{alertstate="firing"}', "eval_time": f"{MINUTES}m", "exp_samples": expected},
        *(
            {
                "expr": f"count({each}) > bool 0",
                "eval_time": f"{MINUTES}m",
                "exp_samples": [{"labels": "{}", "value": 1}],
            }
            for each in expressions
        ),
    ]
    test = {"interval": "1m", "input_series": list(_inputs(scraped)), "promql_expr_test": checks}
    return {"rule_files": [str(ALERTS)], "evaluation_interval": "1m", "tests": [test]}


def _inputs(scraped: str) -> Iterable[Object]:
    for family in text_string_to_metric_families(scraped):
        for sample in family.samples:
            labels = sample.labels | {"job": "operator", "instance": "here"}
            yield {"series": _series(sample.name, labels), "values": f"{sample.value}x{MINUTES}"}


def _series(name: str, labels: Object) -> str:
    pairs = ", ".join(f'{label}="{value}"' for label, value in sorted(labels.items()))
    return f"{name}{{{pairs}}}"


async def complaint(folder: Path, test: Object) -> str:
    """What promtool has to say against a case, "" if it holds."""
    path = folder / "case.yaml"
    path.write_text(yaml.safe_dump(test))
    code, printed = await promtool("test", "rules", str(path))
    return printed if code else ""
