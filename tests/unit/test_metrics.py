"""The metrics: how they are named, what they count, and that their labels are bounded and hold no secret."""

import re

import pytest
from prometheus_client.core import Metric

from telegrambot_operator.shell.kube import about
from telegrambot_operator.shell.metrics import Metrics

PREFIX = "telegrambot_operator_"
UNITS = ("_seconds", "_total", "_info", "_per_second")
COUNTS = {"queue_depth", "log_reads_waiting", "bots", "bot_conditions", "bot_ready", "bot_problem", "leading"}


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


def ours(metrics: Metrics) -> list[Metric]:
    return [each for each in metrics.registry.collect() if not each.name.startswith(("process_", "python_"))]


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(PREFIX + name, labels)


def test_names_say_whose_they_are_and_in_what_unit(metrics: Metrics) -> None:
    for family in ours(metrics):
        assert family.name.startswith(PREFIX)
        name = f"{family.name}_total" if family.type == "counter" else family.name
        assert name.endswith(UNITS) or name.removeprefix(PREFIX) in COUNTS, name


def test_every_metric_says_what_it_is(metrics: Metrics) -> None:
    for family in ours(metrics):
        assert re.fullmatch(r"[A-Z0-9].*\.", family.documentation), family.name


def test_the_process_itself_is_shown_too(metrics: Metrics) -> None:
    assert metrics.registry.get_sample_value("process_resident_memory_bytes")


@pytest.mark.parametrize(
    ("method", "path", "verb", "resource"),
    [
        ("GET", "/api/v1/pods", "list", "pods"),
        ("GET", "/api/v1/namespaces/shop/pods", "list", "pods"),
        ("GET", "/api/v1/namespaces/shop/pods/bot-1", "get", "pods"),
        ("GET", "/api/v1/namespaces/shop/pods/bot-1/log", "get", "pods/log"),
        ("GET", "/api/v1/nodes/node-1", "get", "nodes"),
        ("DELETE", "/api/v1/namespaces/shop/pods/bot-1", "delete", "pods"),
        ("PATCH", "/apis/apps/v1/namespaces/shop/deployments/bot", "patch", "deployments"),
        (
            "PATCH",
            "/apis/singleton.bot/v1alpha1/namespaces/shop/telegrambots/bot/status",
            "patch",
            "telegrambots/status",
        ),
        ("POST", "/apis/events.k8s.io/v1/namespaces/shop/events", "create", "events"),
        ("GET", "/version", "get", "other"),
        ("GET", "/apis/example.com/v1/secretsauces", "get", "other"),
        ("GET", "/api/v1/namespaces/shop/pods/bot-1/exec", "get", "other"),
    ],
)
def test_a_request_is_named_as_a_role_names_it(method: str, path: str, verb: str, resource: str) -> None:
    assert about(method, path) == (verb, resource)


def test_requests_are_counted_by_their_end(metrics: Metrics) -> None:
    metrics.asked("list", "pods", 200, 0.1)
    metrics.asked("list", "pods", 0, 15.0)
    metrics.asked("watch", "pods", 200, None)
    assert value(metrics, "api_requests_total", verb="list", resource="pods", code="200") == 1
    assert value(metrics, "api_requests_total", verb="list", resource="pods", code="none") == 1
    assert value(metrics, "api_request_duration_seconds_count", verb="list") == 2
    assert value(metrics, "api_request_duration_seconds_count", verb="watch") is None


@pytest.mark.parametrize(
    ("status", "result"),
    [
        (200, "ok"),
        (401, "refused"),
        (404, "refused"),
        (409, "conflict"),
        (429, "limited"),
        (502, "failed"),
        (0, "unanswered"),
    ],
)
def test_calls_of_telegram_are_counted_by_what_came_of_them(metrics: Metrics, status: int, result: str) -> None:
    metrics.called("getMe", status)
    assert value(metrics, "telegram_requests_total", method="getMe", result=result) == 1


def conflict(count: int, started: str = "2026-03-01T12:00:00Z", cause: str = "StrayPod") -> dict[str, object]:
    return {"lastConflict": {"count": count, "started": started, "cause": cause}}


def test_each_409_is_counted_once(metrics: Metrics) -> None:
    metrics.told({}, conflict(2))
    metrics.told(conflict(2), conflict(5))
    metrics.told(conflict(5), conflict(5))
    assert value(metrics, "conflicts_total", cause="StrayPod") == 5


def test_a_new_run_of_409s_begins_at_nothing(metrics: Metrics) -> None:
    metrics.told(conflict(5), conflict(2, started="2026-03-01T13:00:00Z"))
    assert value(metrics, "conflicts_total", cause="StrayPod") == 2


def test_no_409_is_none(metrics: Metrics) -> None:
    metrics.told({}, {"conditions": []})
    metrics.told(conflict(5), {})
    assert value(metrics, "conflicts_total", cause="StrayPod") == 0


def test_what_alerts_ask_for_begins_at_nothing(metrics: Metrics) -> None:
    """Of a series that begins with its first step, Prometheus does not see that step."""
    assert value(metrics, "passes_total", result="crashed") == 0
    assert value(metrics, "forced_deletes_total", proof="none") == 0
