"""What a real operator says of itself while it works."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.e2e.world import World

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    from tests.bed.bed import Bed
    from tests.monitoring.scrape import Scraped

    Serve = Callable[..., AbstractAsyncContextManager[Scraped]]

pytestmark = pytest.mark.bed

UNHURRIED = 12  # seconds: a 409 that is seen only after its window is no news, and a busy machine may be late
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
