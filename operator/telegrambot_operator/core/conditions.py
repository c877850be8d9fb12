"""The status of a TelegramBot: a pure function of (previous status, observed, plan, now) (INV-5).

All conditions are written every time; `lastTransitionTime` moves only when `status` flips, and messages hold nothing
that ticks, so an unchanged world gives an equal status and no write (INV-8).
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from ..names import ConditionType
from .classify import Life, life, may_poll
from .conflicts import Conflicts, conflicts, timestamp
from .holds import identity_winner
from .observed import Bot, Observed
from .ownership import belongs
from .plan import Plan, candidates
from .records import Pod
from .verdicts import judge
from .view import Verdict, View
from .word import Repair

Json = dict[str, Any]
MESSAGE_LIMIT = 1024


def status(seen: Observed, bot: Bot, plan: Plan, now: datetime) -> Json:
    """Return the whole status of the TelegramBot."""
    clear_after = timedelta(seconds=bot.spec.conflict.clear_after_seconds if bot.spec else 300)
    view = View(
        seen=seen,
        bot=bot,
        plan=plan,
        conflicts=conflicts(seen, clear_after, now),
        pod=main_pod(seen, bot),
        pollers=tuple(pod for pod in seen.pods if may_poll(pod)),
    )
    fields = {
        "observedGeneration": bot.generation,
        "conditions": _conditions(view, now),
        "deployment": seen.deployment.name if seen.deployment else None,
        **_pod_fields(view),
        "bot": _bot_field(view),
        "webhook": _webhook_field(view),
        "notPolling": _not_polling_field(view),
        "lastConflict": _last_conflict(view.conflicts),
    }
    return {name: value for name, value in fields.items() if value is not None}


def main_pod(seen: Observed, bot: Bot) -> Pod | None:
    """Return the pod that is the bot: the one to keep, else one that is on its way out."""
    leaving = [pod for pod in seen.pods if pod.metadata.namespace == seen.namespace and life(pod) is Life.LEAVING]
    pods = [*candidates(seen), *sorted(leaving, key=lambda pod: pod.name)]
    if identity_winner(seen, bot) is not None:  # pods without our Deployment are the winner's
        pods = [pod for pod in pods if belongs(pod, seen.deployment)]
    return pods[0] if pods else None


def _pod_fields(view: View) -> Json:
    pod = view.pod
    return {
        "pod": pod.name if pod else None,
        "node": (pod.spec.node_name or None) if pod else None,
        "runningPods": len(view.pollers),
        "terminatingPods": sum(pod.deleting for pod in view.pollers),
        "restarts": sum(each.restart_count for each in pod.status.container_statuses) if pod else None,
    }


def _bot_field(view: View) -> Json | None:
    known = dict(view.bot.status.get("bot") or {})
    if view.seen.token.bot_id is not None and view.seen.token.bot_id != known.get("id"):
        known = {"id": view.seen.token.bot_id}
    word = view.seen.word
    if word is not None and "id" in known:
        named = word.username and not word.refused
        known = {"id": known["id"], **({"username": word.username} if named else {})}
    return known or None


def _webhook_field(view: View) -> Json | None:
    """What Telegram says of the webhook. Updates that wait are told only while they pile up, and in steps."""
    word = view.seen.word
    if word is None:
        kept = (view.bot.status.get("webhook") or {}).get("repaired")
        return {"repaired": kept} if kept else None
    fields = {
        "host": word.host or None,
        "pendingUpdates": word.waiting,
        "lastError": word.error or None,
        "repaired": _repaired(word.repair) if word.repair else None,
    }
    return {name: value for name, value in fields.items() if value is not None} or None


def _repaired(repair: Repair) -> Json:
    done: Json = {"time": timestamp(repair.at), "generation": repair.generation}
    return {**done, "problem": repair.problem} if repair.problem else done


def _not_polling_field(view: View) -> Json | None:
    word = view.seen.word
    if word is None:
        return view.bot.status.get("notPolling")
    if word.restarted is None:
        return None
    return {"restarts": word.restarts, "lastRestart": timestamp(word.restarted)}


def _last_conflict(run: Conflicts | None) -> Json | None:
    if run is None:
        return None
    return {
        "time": timestamp(run.time),
        "started": timestamp(run.started),
        "cause": str(run.cause),
        "evidence": run.evidence,
        "pod": run.pod,
        "count": run.count,
    }


def _conditions(view: View, now: datetime) -> list[Json]:
    verdicts = judge(view)
    previous = {each.get("type"): each for each in view.bot.status.get("conditions") or []}
    return [_condition(kind, verdicts[kind], previous.get(kind), view.bot.generation, now) for kind in ConditionType]


def _condition(
    kind: ConditionType, verdict: Verdict, previous: Mapping[str, Any] | None, generation: int, now: datetime
) -> Json:
    flipped = previous is None or previous.get("status") != verdict.status
    since = (
        now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        if previous is None or flipped
        else previous["lastTransitionTime"]
    )
    return {
        "type": str(kind),
        "status": verdict.status,
        "observedGeneration": generation,
        "lastTransitionTime": since,
        "reason": str(verdict.reason),
        "message": verdict.message[:MESSAGE_LIMIT],
    }
