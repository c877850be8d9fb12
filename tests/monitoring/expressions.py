"""What the dashboard and the alerts ask Prometheus, taken apart as far as names and labels go."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from telegrambot_operator.shell.metrics import Metrics

if TYPE_CHECKING:
    from collections.abc import Iterator

MONITORING = Path(__file__).parents[2] / "deploy" / "monitoring"
ALERTS = MONITORING / "alerts.yaml"
DASHBOARD = MONITORING / "dashboard.json"

# What Prometheus itself puts on every series that it scrapes.
TARGET = {"job", "instance"}
# The parts of a histogram, and the label of one.
_PARTS = ("_bucket", "_sum", "_count")
_DECLARED = Metrics().declared
_PROCESS = {"process_resident_memory_bytes", "process_cpu_seconds_total"}
_NAME = re.compile(r"\b(?:telegrambot_operator|process)_\w+")
_SELECTOR = re.compile(r"\b(?P<name>(?:telegrambot_operator|process)_\w+)\s*\{(?P<matchers>[^}]*)\}")
_MATCHER = re.compile(r'(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"')
_GROUPED = re.compile(r"\b(?:by|on|without|ignoring|group_left|group_right)\s*\(([^)]*)\)")


@dataclass(frozen=True)
class Query:
    """An expression, where it stands, and the labels that its text around it shows."""

    where: str
    expression: str
    shown: frozenset[str] = frozenset()

    def __str__(self) -> str:
        """Where it stands: the name of a test."""
        return self.where

    @property
    def names(self) -> set[str]:
        """The series that it names."""
        return set(_NAME.findall(self.expression))

    @property
    def matchers(self) -> list[tuple[str, str, str, str]]:
        """Series, label, operator and value of each label that it selects by."""
        return [
            (found["name"], *matcher)
            for found in _SELECTOR.finditer(self.expression)
            for matcher in _MATCHER.findall(found["matchers"])
        ]

    @property
    def grouped(self) -> set[str]:
        """The labels that it groups or joins by."""
        lists = _GROUPED.findall(self.expression)
        return {label.strip() for each in lists for label in each.split(",") if label.strip()}


def labels_of(series: str) -> set[str] | None:
    """The labels of a series that the operator has, None where it has none of that name."""
    if series in _PROCESS:
        return set(TARGET)
    for metric in _DECLARED:
        if metric.kind == "histogram" and series in {metric.name + part for part in _PARTS}:
            return {*metric.labels, *TARGET, *(["le"] if series.endswith("_bucket") else [])}
        if metric.kind != "histogram" and series == metric.name:
            return {*metric.labels, *TARGET}
    return None


def groups() -> list[dict[str, Any]]:
    """The groups of alerts."""
    found: list[dict[str, Any]] = yaml.safe_load(ALERTS.read_text())["groups"]
    return found


def alerts() -> list[dict[str, Any]]:
    """All alerts."""
    return [rule for group in groups() for rule in group["rules"]]


def panels() -> list[dict[str, Any]]:
    """The panels of the dashboard, rows left out."""
    return [each for each in json.loads(DASHBOARD.read_text())["panels"] if each["type"] != "row"]


def of_alerts() -> Iterator[Query]:
    """The expressions of the alerts."""
    for rule in alerts():
        shown = re.findall(r"\$labels\.(\w+)", json.dumps(rule["annotations"]))
        yield Query(rule["alert"], rule["expr"], frozenset(shown))


def of_dashboard() -> Iterator[Query]:
    """The expressions of the dashboard."""
    for panel in panels():
        for target in panel["targets"]:
            shown = re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])
            where = f"{panel['title']} {target['refId']}"
            yield Query(where, target["expr"].replace("$__rate_interval", "5m"), frozenset(shown))
