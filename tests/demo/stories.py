"""The two stories that this project comes from, played with real bots on a real control plane."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from telegrambot_operator.core.doctor_pods import STUCK_SECONDS
from tests.bed.telegram_state import WEBHOOK_ACTIVE, WEBHOOK_SET
from tests.demo.stage import Stage, conditions_table

if TYPE_CHECKING:
    from tests.bed.bed import Bed
    from tests.demo.timeline import Timeline

_HOOK = "https://old.example.com/telegram"
_ENOUGH = 6  # 409s until it is clear that this is a war


async def redeploy_war(bed: Bed, line: Timeline) -> list[str]:
    """Story 1: several pods of one polling bot at once, one more stuck in Terminating, and a scale-up afterwards.

    Returns what the doctor said before and after, as story 2 does.
    """
    line.chapter(
        "Story 1: the redeploy war",
        "A polling bot (node-telegram-bot-api) deployed over itself: three replicas, RollingUpdate, and a fourth pod "
        "that hangs in Terminating though its process is dead. Telegram answers 409 to whoever is cut off.",
    )
    async with Stage.set(bed, line, "war") as stage:
        await stage.apply("redeploy-war.deployment.yaml", "3 replicas, RollingUpdate")
        await stage.until("the pods fight", lambda: len(stage.bot.conflicts) >= _ENOUGH)
        stuck = await _hang_one(stage)
        await stage.shown("get", "deployment,pods", "-l", "app=telegram-bot")
        await stage.shown("logs", "-l", "app=telegram-bot", "--tail=1", "--prefix")
        line.claim(f"{len(stage.alive())} processes poll at once, by the process table", len(stage.alive()) == 3)
        await stage.until("it hangs for longer than a kubelet may take", lambda: _is_late(stage, stuck))
        before = await stage.doctor("deployment/telegram-bot", 1)
        await _adopt(stage, stuck)
        await _stays_single(stage)
        after = await stage.doctor("telegram-bot", 0)
        await _epilogue(stage)
    return [before, after]


async def _hang_one(stage: Stage) -> str:
    """Delete a pod whose kubelet then never removes the object; its process ends. Returns the pod's name."""
    pod = (await stage.bed.pods(stage.ns, "app=telegram-bot"))[0]
    name: str = pod["metadata"]["name"]
    stage.bed.node_of(pod).hang_before("removal")
    stage.line.say("you", f"kubectl delete pod {name}    (its volume cannot be unmounted: it will hang in Terminating)")
    await stage.kubectl("delete", "pod", name, "--wait=false")

    def dead_and_replaced() -> bool:
        alive = [each.of.pod for each in stage.alive()]
        return name not in alive and len(alive) == 3

    await stage.until("the deleted pod's process is dead, its replacement polls", dead_and_replaced)
    return name


async def _is_late(stage: Stage, stuck: str) -> bool:
    pod = await stage.bed.get("pod", stuck, stage.ns) or {}
    due = datetime.fromisoformat(pod["metadata"]["deletionTimestamp"])
    return datetime.now(UTC) > due + timedelta(seconds=STUCK_SECONDS)


async def _adopt(stage: Stage, stuck: str) -> None:
    began = time.monotonic()
    await stage.apply("redeploy-war.telegrambot.yaml", "adopts the Deployment")
    await stage.until("one process is left", lambda: len(stage.alive()) == 1)
    one = time.monotonic()
    stage.line.say("processes", f"one is left, {one - began:.1f} s after the TelegramBot was applied")

    async def stuck_is_gone() -> bool:
        return stuck not in {pod["metadata"]["name"] for pod in await stage.bed.pods(stage.ns)}

    await stage.until("the stuck pod is gone", stuck_is_gone)
    await stage.until("Conflicted is False again", lambda: stage.is_("Conflicted", "False"))
    await stage.until("Ready is True", lambda: stage.is_("Ready", "True"))
    deployment = await stage.bed.get("deployment", "telegram-bot", stage.ns) or {}
    stage.line.claim(
        "the Deployment has one replica and Recreate",
        deployment["spec"]["replicas"] == 1 and deployment["spec"]["strategy"] == {"type": "Recreate"},
    )
    stage.line.claim(f"the stuck pod {stuck} is gone", await stuck_is_gone())
    stage.line.claim("no new 409 since one process is left", not stage.bot.conflicts_since(one))
    log = await stage.kubectl("logs", "deployment/telegram-bot")
    stage.line.claim("the bot's log says that it polls, and holds no 409", "polling" in log and "409" not in log)
    await _answers(stage)


async def _answers(stage: Stage) -> None:
    before = len(stage.bot.sent)
    stage.bot.send("is anybody there?")
    await stage.until("the bot answers a message", lambda: len(stage.bot.sent) > before)
    stage.line.claim("a message to the bot is answered, once", len(stage.bot.sent) == before + 1)


async def _stays_single(stage: Stage) -> None:
    since = time.monotonic()
    stage.line.say("you", "kubectl scale deployment/telegram-bot --replicas=3")
    await stage.kubectl("scale", "deployment/telegram-bot", "--replicas=3")

    async def back_at_one() -> bool:
        deployment = await stage.bed.get("deployment", "telegram-bot", stage.ns) or {}
        pods = await stage.bed.pods(stage.ns, "app=telegram-bot")
        return deployment["spec"]["replicas"] == 1 and len(pods) == 1 and await stage.is_("Ready", "True")

    await stage.until("back at one replica and one pod", back_at_one)
    started = [each for each in stage.bed.history if each.of.namespace == stage.ns and each.started.mono > since]
    stage.line.claim("scaling to 3 started no second poller, not for a moment", not started)
    stage.line.claim("and made no 409", not stage.bot.conflicts_since(since))


async def crash_loop(bed: Bed, line: Timeline) -> list[str]:
    """Story 2: a bot that exits on a 409 because a webhook is still set, is restarted, and exits again."""
    line.chapter(
        "Story 2: the crash loop",
        "A grammY bot polls while an old deployment keeps setting a webhook. Telegram answers 409, grammY exits, the "
        "kubelet starts it again. Its log is not read here: what is known comes from the termination message.",
    )
    async with Stage.set(bed, line, "loop") as stage:
        stage.bot.keep_webhook(_HOOK)
        line.say("Telegram", f"an old deployment has set the webhook {_HOOK}, and sets it again when it is deleted")
        await stage.apply("crash-loop.telegrambot.yaml", "owns its Deployment")
        await stage.until("Conflicted is True", lambda: stage.is_("Conflicted", "True"))
        await stage.until("it was restarted", lambda: _restarts(stage, 2))
        said = await stage.condition("Conflicted")
        words = [each.removeprefix("Conflict: ") for each in (WEBHOOK_ACTIVE, WEBHOOK_SET)]
        line.claim("Conflicted gives Telegram's own words", any(each in said.get("message", "") for each in words))
        line.claim("... and the cause, a webhook", said.get("reason") in {"WebhookActive", "WebhookSet"})
        line.claim("Stalled says that a person must act", await stage.is_("Stalled", "True"))
        await stage.shown("get", "telegrambots")
        before = await stage.doctor("telegram-bot", 1)
        line.say("you", "stop the old deployment and delete its webhook, as the message says")
        stage.bot.keep_webhook("")
        await stage.until("Ready is True", lambda: stage.is_("Ready", "True"))
        line.claim("the bot runs, and Conflicted is False", await stage.is_("Conflicted", "False"))
        await _answers(stage)
        after = await stage.doctor("telegram-bot", 0)
        await _epilogue(stage)
    return [before, after]


async def _restarts(stage: Stage, least: int) -> bool:
    found = await stage.bed.get("telegrambot", "telegram-bot", stage.ns) or {}
    return bool(found.get("status", {}).get("restarts", 0) >= least)


async def _epilogue(stage: Stage) -> None:
    await stage.shown("get", "telegrambots", "-o", "wide")
    resource = await stage.kubectl("get", "telegrambot", "telegram-bot", "-o", "json")
    stage.line.show(f"kubectl -n {stage.ns} describe telegrambot telegram-bot", conditions_table(resource))
    stage.line.claim("no bot token in the resource", stage.bot.token.partition(":")[2] not in resource)
