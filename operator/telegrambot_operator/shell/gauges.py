"""What the gauges that are read at a scrape show of a `Guard`: copies, since a scrape is made in a thread."""

from collections import Counter
from collections.abc import Iterator

from ..core.observed import Bot
from ..names import ConditionType, Reason
from .metrics import Metrics, Values
from .reconcile import Guard
from .rota import PROMPT_PER_SECOND, QUIET_PER_SECOND

# The status in which a condition is as it should be.
_WELL = {
    ConditionType.READY: "True",
    ConditionType.SINGLETON: "True",
    ConditionType.PINNED: "True",
    ConditionType.CONFLICTED: "False",
    ConditionType.STALLED: "False",
}
_KINDS, _REASONS = {str(each) for each in ConditionType}, {str(each) for each in Reason}
_STATUSES = {"True", "False", "Unknown"}


def show(guard: Guard, metrics: Metrics) -> None:
    """Let the metrics show this guard."""
    metrics.queue_depth.read = lambda: [((), len(guard.queue))]
    metrics.queue_oldest.read = lambda: [((), guard.queue.oldest())]
    metrics.watch_silence.read = lambda: _silences(guard)
    metrics.log_waiting.read = lambda: [((), guard.logs.waiting())]
    metrics.log_budget.read = lambda: [((), PROMPT_PER_SECOND + QUIET_PER_SECOND)]
    metrics.bots.read = lambda: [((), len(guard.bots))]
    metrics.conditions.read = lambda: _conditions(guard)
    metrics.bot_ready.read = lambda: (((bot.namespace, bot.name), _is_ready(bot)) for bot in guard.bots.all_bots())
    metrics.bot_problems.read = lambda: (
        ((bot.namespace, bot.name, kind, reason), 1)
        for bot in guard.bots.all_bots()
        for kind, status, reason in _told(bot)
        if kind in _WELL and status != _WELL[ConditionType(kind)]
    )


def _silences(guard: Guard) -> Values:
    yield ("telegrambots",), guard.roll.silence
    for resource, cache in guard.caches.items():
        yield (resource,), cache.silence


def _conditions(guard: Guard) -> Values:
    return Counter(condition for bot in guard.bots.all_bots() for condition in _told(bot)).items()


def _is_ready(bot: Bot) -> bool:
    return any(kind == ConditionType.READY and status == "True" for kind, status, _ in _told(bot))


def _told(bot: Bot) -> Iterator[tuple[str, str, str]]:
    """Yield type, status and reason of each condition that a status holds, whoever wrote it."""
    for each in bot.status.get("conditions") or []:
        kind, status, reason = each.get("type"), each.get("status"), each.get("reason")
        if kind in _KINDS and status in _STATUSES and reason in _REASONS:
            yield kind, status, reason
