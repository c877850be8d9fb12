"""The alerts under Prometheus' own rules: with made-up series, and with what a real operator shows."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from tests.bed.botenv import running
from tests.e2e.world import World
from tests.monitoring.expressions import ALERTS, Query, alerts, of_alerts, of_dashboard
from tests.monitoring.promtool import case, complaint, promtool

if TYPE_CHECKING:
    from tests.bed.bed import Bed
    from tests.monitoring.test_signals import Serve

CASES = Path(__file__).parent / "alerts.test.yaml"
# What begins with its first event, which need not have come.
AT_TIMES = {
    "telegrambot_operator_bot_problem",
    "telegrambot_operator_handover_gap_seconds_bucket",
    "telegrambot_operator_reaction_seconds_bucket",
}


async def test_promtool_finds_nothing_wrong_with_the_rules() -> None:
    code, printed = await promtool("check", "rules", "--lint=all", "--lint-fatal", str(ALERTS))
    assert code == 0, printed


async def test_each_fires_when_it_should_and_not_when_it_should_not() -> None:
    code, printed = await promtool("test", "rules", str(CASES))
    assert code == 0, printed


def test_each_has_a_case_in_which_it_fires() -> None:
    fired = set(re.findall(r'alertname="(\w+)", alertstate="firing", severity', CASES.read_text()))
    assert fired == {alert["alert"] for alert in alerts()}


async def test_the_dashboards_queries_are_promql(tmp_path: Path) -> None:
    """As recording rules, which promtool parses."""
    rules = [{"record": f"query:{number}", "expr": each.expression} for number, each in enumerate(of_dashboard())]
    path = tmp_path / "rules.yaml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    code, printed = await promtool("check", "rules", str(path))
    assert code == 0, printed


@pytest.mark.bed
async def test_a_409_war_with_a_laptop_wakes_somebody_up(bed: Bed, ns: str, serve: Serve, tmp_path: Path) -> None:
    world = await World.make(bed, ns, spec={"conflict": {"clearAfterSeconds": 20}})
    async with serve("--namespace", ns) as scraped:
        await world.guarded()
        well = await scraped.metrics()
        async with running("raw", bed.telegram, world.bot, tmp_path / "laptop"):
            await world.says("Stalled", "True", "ExternalPoller")
            problem = {"namespace": ns, "name": "shop", "condition": "Stalled", "reason": "ExternalPoller"}

            async def shown() -> str:
                found = await scraped.value("telegrambot_operator_bot_problem", **problem)
                return await scraped.metrics() if found else ""

            war = await bed.until(shown, what="the metrics show it")
    assert await promtool("check", "metrics", stdin=war) == (0, "")
    series = {name for query in (*of_alerts(), *of_dashboard()) for name in query.names}
    seen = [f"{name}" for name in sorted(series - AT_TIMES)]
    about = {"namespace": ns, "name": "shop"}
    expected = [
        {"alertname": "TelegramBotDown", "severity": "critical", **about},
        {"alertname": "TelegramBotPolledOutside", "severity": "critical", **about},
        {"alertname": "TelegramBotStalled", "severity": "warning", "reason": "ExternalPoller", **about},
    ]
    assert await complaint(tmp_path, case(well, [], seen)) == ""
    assert await complaint(tmp_path, case(war, expected, [*seen, "telegrambot_operator_bot_problem"])) == ""
    assert await complaint(tmp_path, case(war, expected[1:])) != "", "promtool notices one that is not expected"


def test_no_query_is_left_out() -> None:
    """`AT_TIMES` names what a real operator need not show; the rest it has to."""
    assert {name for query in _queries() for name in query.names} >= AT_TIMES


def _queries() -> list[Query]:
    return [*of_alerts(), *of_dashboard()]
