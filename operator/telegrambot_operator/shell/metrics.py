"""Every metric, with its help text: docs/metrics.md and the checks of dashboard and alerts are made from this.

Names follow https://prometheus.io/docs/practices/naming/. Labels are bounded: by what the code knows (verbs, causes),
or, for the few that name a bot, by the number of TelegramBots; a bot that is gone takes its series along. No label
holds what somebody else wrote, so none can hold a token (INV-7).

What happens is counted where it happens. What is the case is read when somebody asks, by `collect`, in a thread of its
own: whoever reads a `Live` gauge copies what the event loop may change.
"""

import platform
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, disable_created_metrics
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from ..core.classify import Death
from ..core.decisions import DECISIONS
from ..core.handovers import Handovers
from ..core.records import Pod
from ..names import CAUSES

disable_created_metrics()  # type: ignore[no-untyped-call]  # they would double the series, and nobody asks for them

PREFIX = "telegrambot_operator"
Values = Iterable[tuple[Sequence[str], float]]

# A pass takes milliseconds, and retries and a slow API server seconds.
_FAST = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
# Between two processes of a bot a pod is made, bound, and started.
_SLOW = (0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 320.0)
_TELEGRAM = {200: "ok", 401: "refused", 404: "refused", 409: "conflict", 429: "limited"}


@dataclass(frozen=True, slots=True)
class Declared:
    """A metric as a query names it; a histogram has `_bucket`, `_sum` and `_count` behind its name."""

    name: str
    kind: str
    documentation: str
    labels: tuple[str, ...]


class Live(Collector):
    """A gauge whose values are read at each scrape; without `read` it has none."""

    def __init__(self, name: str, documentation: str, labels: Sequence[str]) -> None:
        self._declared = (name, documentation, labels)
        self.read: Callable[[], Values] = tuple

    def describe(self) -> Iterable[Metric]:
        """Yield the gauge without values."""
        name, documentation, labels = self._declared
        yield GaugeMetricFamily(name, documentation, labels=labels)

    def collect(self) -> Iterable[Metric]:
        """Yield the gauge with what is the case."""
        name, documentation, labels = self._declared
        family = GaugeMetricFamily(name, documentation, labels=labels)
        for values, number in self.read():
            family.add_metric(values, number)
        yield family


class Metrics:
    """The metrics of one process, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.declared: list[Declared] = []
        self._handovers = Handovers()
        self._leads = False
        ProcessCollector(registry=self.registry)
        self._passes()
        self._requests()
        self._bots()
        self._process()

    def _passes(self) -> None:
        self.reaction = self._histogram(
            "reaction_seconds",
            "From when a change, or a moment that was waited for, asked for a pass, to that pass's last write.",
        )
        self.passes = self._counter(
            "passes_total",
            "Passes by result: unchanged (nothing to do), acted, incomplete (an action failed), failed (the API server "
            "gave no usable answer), crashed (an error of the operator's own).",
            "result",
            values=("unchanged", "acted", "incomplete", "failed", "crashed"),
        )
        self.pass_seconds = self._histogram("pass_duration_seconds", "How long a pass took.")
        self.decisions = self._counter(
            "decisions_total",
            "What was carried out and changed something, as the log tells it.",
            "decision",
            values=DECISIONS,
        )
        self.retries = self._counter("retries_total", "Passes that have to be made again.")
        self.queue_depth = self._live("queue_depth", "TelegramBots that wait for a pass.")
        self.queue_oldest = self._live("queue_oldest_seconds", "How long the first of those has been waiting.")
        self.watch_silence = self._live(
            "watch_silence_seconds", "Since the last event, bookmark or list of a watched resource.", "resource"
        )

    def _requests(self) -> None:
        self.requests = self._counter(
            "api_requests_total",
            "Requests to the API server by HTTP status; code is none where there was no answer.",
            *("verb", "resource", "code"),
        )
        self.request_seconds = self._histogram(
            "api_request_duration_seconds", "How long requests to the API server took, watches left out.", "verb"
        )
        self.telegram = self._counter(
            "telegram_requests_total",
            "Calls of the Bot API by result: ok, conflict (409), refused (401, 404), limited (429), failed (any other "
            "status), unanswered.",
            *("method", "result"),
        )
        self.log_reads = self._counter(
            "log_reads_total", "Reads of bots' logs by result: ok, failed.", "result", values=("ok", "failed")
        )
        self.log_lines = self._counter("log_lines_read_total", "Lines of bots' logs that were looked through.")
        self.log_waiting = self._live("log_reads_waiting", "Logs whose time has come, and that the budget holds back.")
        self.log_budget = self._live("log_reads_budget_per_second", "How many reads a second there are at most.")

    def _bots(self) -> None:
        self.conflicts = self._counter(
            "conflicts_total",
            "Telegram's 409s, by the cause that was known when they were told of.",
            "cause",
            values=CAUSES,
        )
        self.forced_deletes = self._counter(
            "forced_deletes_total",
            "Pods that were force-deleted, by what proved that no process of theirs was left; proof is none where "
            "stuckPods.policy: Force asked for it.",
            "proof",
            values=("none", *(str(death) for death in Death if death.proven)),
        )
        self.handovers = self._counter("handovers_total", "Times that a new pod of a bot began to run after another.")
        self.handover_gap = self._histogram(
            "handover_gap_seconds",
            "From when the old pod of a bot was seen to have ended, to when a new one was seen to run.",
            buckets=_SLOW,
        )
        self.bots = self._live("bots", "TelegramBots.")
        self.conditions = self._live(
            "bot_conditions", "TelegramBots by status and reason of each condition.", "condition", "status", "reason"
        )
        self.bot_ready = self._live("bot_ready", "1 where a TelegramBot is Ready, else 0.", "namespace", "name")
        self.bot_problems = self._live(
            "bot_problem",
            "1 for each condition of a TelegramBot that is not as it should be, and its reason.",
            *("namespace", "name", "condition", "reason"),
        )

    def _process(self) -> None:
        self.leading = self._gauge("leading", "1 in the process that guards the bots, 0 in one that stands by.")
        build = self._gauge("build_info", "1, with the version of the operator and of Python.", "version", "python")
        build.labels(_version(), platform.python_version()).set(1)

    def lead(self, *, leads: bool) -> None:
        """Take in whether this process guards the bots: one that stands by sees all, and counts no handover."""
        self._leads = leads
        self.leading.set(leads)

    # --- What is told of by others ----------------------------------------------------------------------------------

    def asked(self, verb: str, resource: str, status: int, seconds: float | None) -> None:
        """Count a request to the API server: see `Kube`."""
        self.requests.labels(verb, resource, str(status) if status else "none").inc()
        if seconds is not None:
            self.request_seconds.labels(verb).observe(seconds)

    def called(self, method: str, status: int) -> None:
        """Count a call of the Bot API: see `Telegram`."""
        other = "failed" if status else "unanswered"
        self.telegram.labels(method, _TELEGRAM.get(status, other)).inc()

    def told(self, before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
        """Count the 409s that a new status tells of."""
        old, new = before.get("lastConflict") or {}, after.get("lastConflict") or {}
        known = old.get("count", 0) if old.get("started") == new.get("started") else 0
        if (more := new.get("count", 0) - known) > 0:
            self.conflicts.labels(new["cause"]).inc(more)

    def pod_changed(self, before: Pod | None, after: Pod | None) -> None:
        """Count a handover, where this change is the end of one."""
        gap = self._handovers.take(before, after, time.monotonic())
        if gap is not None and self._leads:
            self.handovers.inc()
            self.handover_gap.observe(gap)

    # --- How they are declared --------------------------------------------------------------------------------------

    def _counter(self, name: str, documentation: str, *labels: str, values: Iterable[str] = ()) -> Counter:
        """Declare a counter; of `values` of its one label each begins at 0, so that the first step counts as one."""
        name = self._name(name, "counter", documentation, labels)
        counter = Counter(name, documentation, labels, registry=self.registry)
        for value in values:
            counter.labels(value)
        return counter

    def _gauge(self, name: str, documentation: str, *labels: str) -> Gauge:
        return Gauge(self._name(name, "gauge", documentation, labels), documentation, labels, registry=self.registry)

    def _histogram(self, name: str, documentation: str, *labels: str, buckets: Sequence[float] = _FAST) -> Histogram:
        name = self._name(name, "histogram", documentation, labels)
        return Histogram(name, documentation, labels, registry=self.registry, buckets=buckets)

    def _live(self, name: str, documentation: str, *labels: str) -> Live:
        live = Live(self._name(name, "gauge", documentation, labels), documentation, labels)
        self.registry.register(live)
        return live

    def _name(self, name: str, kind: str, documentation: str, labels: tuple[str, ...]) -> str:
        self.declared.append(Declared(f"{PREFIX}_{name}", kind, documentation, labels))
        return f"{PREFIX}_{name}"


def _version() -> str:
    try:
        return version("telegrambot-operator")
    except PackageNotFoundError:  # run from its sources
        return "unknown"


# For those that nobody asks for metrics: commands, tests.
UNREAD = Metrics()
