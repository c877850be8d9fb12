"""Dashboard and alerts ask only for what the operator has, and each alert says what to do."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from telegrambot_operator.core.classify import Death
from telegrambot_operator.names import ConditionType, Reason
from tests.monitoring.expressions import DASHBOARD, Query, alerts, labels_of, of_alerts, of_dashboard, panels

DOCS = Path(__file__).parents[2] / "docs"
QUERIES = [*of_alerts(), *of_dashboard()]
ALERTS = alerts()
# What a label may be, where the code knows.
VALUES = {
    "condition": {str(each) for each in ConditionType},
    "status": {"True", "False", "Unknown"},
    "reason": {str(each) for each in Reason},
    "cause": {str(each) for each in Reason},
    "proof": {"none", *(str(each) for each in Death)},
}


@pytest.mark.parametrize("query", QUERIES, ids=str)
def test_every_series_is_one_that_the_operator_has(query: Query) -> None:
    assert query.names
    assert {name for name in query.names if labels_of(name) is None} == set()


@pytest.mark.parametrize("query", QUERIES, ids=str)
def test_every_label_is_one_of_its_series(query: Query) -> None:
    known = {label for name in query.names for label in labels_of(name) or ()}
    assert query.grouped <= known
    assert {label for name, label, _, _ in query.matchers if label not in (labels_of(name) or ())} == set()


@pytest.mark.parametrize("query", QUERIES, ids=str)
def test_what_its_text_shows_is_left_when_it_is_evaluated(query: Query) -> None:
    if re.search(r"\b(by|without) \(", query.expression):
        assert query.shown <= query.grouped
    elif re.match(r"(sum|max|absent|count)\(", query.expression):
        assert not query.shown
    assert query.shown <= {label for name in query.names for label in labels_of(name) or ()}


@pytest.mark.parametrize("query", QUERIES, ids=str)
def test_every_value_that_is_asked_for_is_one_that_the_operator_knows(query: Query) -> None:
    for _, label, operator, value in query.matchers:
        if label in VALUES:
            known = VALUES[label]
            found = {each for each in known if re.fullmatch(value, each)} if "~" in operator else {value} & known
            assert found, f"{label}{operator}{value}"


@pytest.mark.parametrize("alert", ALERTS, ids=lambda each: str(each["alert"]))
def test_an_alert_says_what_is_the_case_and_what_to_do(alert: dict[str, Any]) -> None:
    told = alert["annotations"]
    assert told["summary"].endswith(".")
    assert len(told["description"]) > 80
    assert alert["labels"]["severity"] in {"critical", "warning", "info"}
    assert told["runbook_url"].endswith(f"/docs/operations.md#{alert['alert'].lower()}")


def test_every_alert_is_explained_where_it_points_to_and_no_other_is() -> None:
    page = (DOCS / "operations.md").read_text()
    assert set(re.findall(r"^### (TelegramBot\w+)$", page, re.MULTILINE)) == {alert["alert"] for alert in ALERTS}


def test_no_alert_has_the_name_of_another() -> None:
    names = [alert["alert"] for alert in ALERTS]
    assert len(names) == len(set(names))


def test_every_panel_says_what_it_shows() -> None:
    for panel in panels():
        assert panel["description"].endswith("."), panel["title"]
        assert panel["datasource"]["uid"] == "${datasource}"


def test_panels_do_not_lie_on_each_other() -> None:
    taken = set()
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        at = panel["gridPos"]
        cells = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= 24
        taken |= cells


def test_the_table_of_metrics_is_what_the_code_declares() -> None:
    """`make verify` says so, too, and this without make."""
    from telegrambot_operator.shell.metrics_table import table  # noqa: PLC0415  it is what the test is about

    assert table() in (DOCS / "metrics.md").read_text()
