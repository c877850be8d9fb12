"""What a real operator says of itself while it works."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from tests.e2e.replicas import election
from tests.e2e.world import World
from tests.monitoring.scrape import Scraped, port_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from tests.bed.bed import Bed
    from tests.e2e.replicas import Replica

    Serve = Callable[..., AbstractAsyncContextManager[Scraped]]

pytestmark = pytest.mark.bed

UNHURRIED = 12  # seconds: a 409 that is seen only after its window is no news, and a busy machine may be late
EXECUTE = "telegrambot_operator.shell.execute"
OURS = "telegrambot_operator_"


async def test_a_war_of_replicas_in_figures(bed: Bed, ns: str, serve: Serve) -> None:
    world = await World.make(bed, ns, spec={"conflict": {"clearAfterSeconds": UNHURRIED}})
    await bed.apply(world.plain(replicas=3))
    await bed.until(lambda: len(world.bot.conflicts) >= 3, what="three pods fighting")
    async with serve("--namespace", ns) as scraped:
        await bed.until(lambda: scraped.get("/readyz"), what="it answers")
        await bed.apply(world.resource())
        await world.says("Conflicted", "True", "DuplicatePods")
        problem = {"namespace": ns, "name": "shop", "condition": "Conflicted", "reason": "DuplicatePods"}

        async def shown() -> bool:
            return await scraped.value(f"{OURS}bot_problem", **problem) == 1

        await bed.until(shown, what="the conflict is shown")
        assert await scraped.value(f"{OURS}conflicts_total", cause="DuplicatePods") >= 1
        await world.settled()
        assert await scraped.value(f"{OURS}bot_ready", namespace=ns, name="shop") == 1
        assert not await scraped.samples(f"{OURS}bot_problem", namespace=ns)
        assert await scraped.value(f"{OURS}bots") == 1
        assert await scraped.value(f"{OURS}bot_conditions", condition="Ready", status="True") == 1
        assert await scraped.value(f"{OURS}passes_total", result="acted") >= 2
        assert await scraped.value(f"{OURS}reaction_seconds_count") >= 2
        assert await scraped.value(f"{OURS}api_requests_total", verb="patch", resource="deployments", code="200") >= 2
        assert await scraped.value(f"{OURS}log_lines_read_total") > 0
        assert await scraped.value(f"{OURS}telegram_requests_total", method="getWebhookInfo", result="ok") >= 1
        assert (await scraped.get("/healthz"), await scraped.get("/readyz")) == ((200, "ok\n"), (200, "ok\n"))
        await bed.kubectl("-n", ns, "delete", "telegrambot", "shop")

        async def gone() -> bool:
            return not await scraped.samples(f"{OURS}bot_ready", namespace=ns)

        await bed.until(gone, what="its series go with it")
        assert world.bot.token.partition(":")[2] not in await scraped.metrics()


async def test_not_ready_until_the_crd_is_there_and_pods_may_be_listed(bed: Bed, ns: str, serve: Serve) -> None:
    """A ServiceAccount without rights: the right is named."""
    await bed.kubectl("-n", ns, "create", "serviceaccount", "nobody")
    powerless = await bed.cp.service_account_kubeconfig(ns, "nobody", seconds=600)
    async with serve("--namespace", ns, kubeconfig=powerless) as scraped:

        async def named() -> bool:
            status, text = await scraped.get("/readyz")
            return status == 503 and 'cannot list resource "pods"' in text and "telegrambots" in text

        await bed.until(named, what="the missing rights are named")
        assert await scraped.get("/healthz") == (200, "ok\n"), "a new start would not mend it"


async def test_each_decision_is_one_line_and_a_pass_that_changes_nothing_is_none(
    bed: Bed, ns: str, serve: Serve
) -> None:
    world = await World.make(bed, ns)
    await bed.apply(world.plain(replicas=3))
    await bed.until(lambda: len(world.bot.conflicts) >= 1, what="pods fighting")
    async with serve("--namespace", ns, "--log-format=json") as scraped:
        await bed.apply(world.resource())
        await world.settled()
        decisions = [line for line in logged(scraped) if "decision" in line]
        assert {(line["bot"], line["logger"]) for line in decisions} == {(f"{ns}/shop", EXECUTE)}
        told = Counter(line["decision"] for line in decisions)
        assert told["PatchDeployment"] >= 2, "strategy and lock, then replicas"
        for decision, count in told.items():
            assert await scraped.value(f"{OURS}decisions_total", decision=decision) == count
        assert await scraped.value(f"{OURS}decisions_total") == len(decisions)
        pinned = [line for line in decisions if line["reason"] == "Pinned"]
        assert {line["deployment"] for line in pinned} == {"telegram-bot"}
        before, passes = len(logged(scraped)), await scraped.value(f"{OURS}passes_total")
        await world.edit(conflict={"clearAfterSeconds": UNHURRIED})

        async def another_pass() -> bool:
            return await scraped.value(f"{OURS}passes_total") > passes

        await bed.until(another_pass, what="another pass")
        await world.settled()
        assert len(logged(scraped)) == before
        assert await scraped.operator.stop() == 0
        assert logged(scraped)[-1]["message"] == "stopped"
    assert world.bot.token.partition(":")[2] not in scraped.operator.log_text()


def logged(scraped: Scraped) -> list[dict[str, str]]:
    """Every line of the log: each is an object."""
    return [json.loads(line) for line in scraped.operator.log_text().splitlines()]


async def test_a_handover_is_counted_with_its_gap(bed: Bed, ns: str, serve: Serve) -> None:
    world = await World.make(bed, ns)
    async with serve("--namespace", ns) as scraped:
        await world.guarded()
        before = await scraped.value(f"{OURS}handovers_total")  # that of the adoption, which restarts the bot once
        await world.kubectl("rollout", "restart", "deployment/telegram-bot")
        await world.kubectl("rollout", "status", "deployment/telegram-bot", "--timeout=60s")

        async def counted() -> bool:
            return await scraped.value(f"{OURS}handovers_total") == before + 1

        await bed.until(counted, what="the handover is counted")
        gap = await scraped.value(f"{OURS}handover_gap_seconds_sum")
        assert gap > 0
        assert await scraped.value(f"{OURS}handover_gap_seconds_count") == before + 1
    world.assert_never_two()


async def test_of_two_replicas_one_leads_and_both_show_the_bots(bed: Bed, ns: str, rights: Path) -> None:
    world = await World.make(bed, ns)
    serve = ("here", "--listen=127.0.0.1:0")
    async with election(bed, rights, ns) as held, held.start(*serve) as one, held.start(*serve) as two:
        leads = await held.led_by(one, two)
        stands_by = two if leads is one else one
        await world.guarded()
        await stands_by.stands_by()
        first, second = await scraped_of(bed, leads), await scraped_of(bed, stands_by)
        assert await first.value(f"{OURS}leading") == 1
        assert await second.value(f"{OURS}leading") == 0
        for each in (first, second):
            assert (await each.get("/healthz"), await each.get("/readyz")) == ((200, "ok\n"), (200, "ok\n"))

            async def shown(each: Scraped = each) -> bool:
                return await each.value(f"{OURS}bot_ready", namespace=ns, name="shop") == 1

            await bed.until(shown, what="it shows the bot")
        assert await first.value(f"{OURS}handovers_total") >= 1, "that of the adoption"
        for counted in ("passes_total", "decisions_total", "conflicts_total", "handovers_total", "queue_depth"):
            assert await second.value(f"{OURS}{counted}") == 0
        await leads.operator.stop()
        await held.led_by(stands_by)

        async def took_over() -> bool:
            return await second.value(f"{OURS}leading") == 1 and await second.value(f"{OURS}passes_total") > 0

        await bed.until(took_over, what="the second leads")


async def scraped_of(bed: Bed, replica: Replica) -> Scraped:
    """A replica as it may be scraped."""
    port = await bed.until(lambda: port_of(replica.operator.log_text()), what="it listens")
    return Scraped(replica.operator, port)
