"""The examples, applied as a user would: with images of the bed and tokens that Telegram knows, each becomes Ready."""

from __future__ import annotations

import asyncio
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.bed.tools import program

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.bed.bed import Bed
    from tests.bed.telegram import Bot
    from tests.e2e.world import Operate

pytestmark = pytest.mark.bed

EXAMPLES = Path(__file__).parents[2] / "examples"
IMAGE = re.compile(r"registry\.example\.com/[a-z/-]+:[0-9.]+")
Manifests = list[dict[str, Any]]


def read(*names: str, image: str = "bots/raw") -> Manifests:
    """What is in these files of the examples, with an image that the bed has."""
    texts = [(EXAMPLES / name).read_text() for name in names]
    return [each for text in texts for each in yaml.safe_load_all(IMAGE.sub(image, text))]


def bots_of(manifests: Manifests) -> Manifests:
    """The TelegramBots among them."""
    return [each for each in manifests if each["kind"] == "TelegramBot"]


async def give_tokens(bed: Bed, ns: str, manifests: Manifests) -> list[Bot]:
    """Make the Secret that each TelegramBot names, each with the token of a bot of its own."""
    made = []
    for each in bots_of(manifests):
        ref = each["spec"]["token"]["secretKeyRef"]
        made.append(bed.telegram.new_bot())
        await bed.secret(ns, ref["name"], token=made[-1].token, key=ref["key"])
    return made


async def become_ready(bed: Bed, ns: str, manifests: Manifests) -> None:
    """Apply it all, and wait for what a user waits for."""
    await bed.apply(manifests, "-n", ns)
    for each in bots_of(manifests):
        name = f"telegrambot/{each['metadata']['name']}"
        await bed.kubectl("-n", ns, "wait", "--for=condition=Ready", name, "--timeout=90s")


@pytest.mark.parametrize(
    "names",
    [("adopt-deployment.yaml", "adopt.yaml"), ("own.yaml",), ("gate.yaml",), ("two-bots.yaml",)],
    ids=["adopt", "own", "gate", "two bots"],
)
async def test_each_bot_polls_once_and_is_ready(names: tuple[str, ...], bed: Bed, ns: str, operate: Operate) -> None:
    manifests = read(*names)
    bots = await give_tokens(bed, ns, manifests)
    async with operate("--namespace", ns):
        await become_ready(bed, ns, manifests)
        for bot in bots:
            await bot.until(bot.polling_now)
            assert len(bed.alive(bot)) == 1
            assert bot.conflicts == []


async def test_one_that_telegram_delivers_to_is_ready_once_its_webhook_is_set(
    bed: Bed, ns: str, operate: Operate
) -> None:
    manifests = read("webhook.yaml", image="pause")
    (bot,) = await give_tokens(bed, ns, manifests)
    async with operate("--namespace", ns):
        await bed.apply(manifests, "-n", ns)
        missing = "jsonpath={.status.conditions[?(@.type=='Ready')].reason}=WebhookMissing"
        await bed.kubectl("-n", ns, "wait", f"--for={missing}", "telegrambot/orders", "--timeout=90s")
        bot.set_webhook(bots_of(manifests)[0]["spec"]["webhook"]["url"])
        await bed.kubectl("-n", ns, "wait", "--for=condition=Ready", "telegrambot/orders", "--timeout=90s")


async def test_the_careful_one_pins_and_touches_neither_template_nor_pod(bed: Bed, ns: str, operate: Operate) -> None:
    text = (EXAMPLES / "adopt-deployment.yaml").read_text().replace("telegram-bot", "billing-bot")
    (deployment,) = yaml.safe_load_all(IMAGE.sub("bots/raw", text))
    bot = bed.telegram.new_bot()
    await bed.secret(ns, "billing-bot", token=bot.token)
    await bed.apply(deployment, "-n", ns)
    await bed.kubectl("-n", ns, "rollout", "status", "deployment/billing-bot", "--timeout=60s")
    before = await bed.get("deployment", "billing-bot", ns)
    (pod,) = await bed.pods(ns)
    async with operate("--namespace", ns):
        await become_ready(bed, ns, read("careful.yaml"))
        after = await bed.get("deployment", "billing-bot", ns)
        assert before is not None
        assert after is not None
        assert after["spec"]["strategy"] == {"type": "Recreate"}
        assert after["spec"]["template"] == before["spec"]["template"]
        assert [each["metadata"]["uid"] for each in await bed.pods(ns)] == [pod["metadata"]["uid"]]


async def by_kustomize(bed: Bed) -> str:
    return await bed.kubectl("kustomize", str(EXAMPLES / "kustomize/overlays/production"))


async def by_helm(bed: Bed) -> str:
    del bed
    command = [str(program("helm")), "template", "shop", str(EXAMPLES / "helm/shop-bot")]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=True)
    return str(done.stdout)


@pytest.mark.parametrize("build", [by_kustomize, by_helm])
async def test_what_a_tool_builds_is_ready(
    build: Callable[[Bed], Awaitable[str]], bed: Bed, ns: str, operate: Operate
) -> None:
    built = await build(bed)
    manifests: Manifests = [
        each for each in yaml.safe_load_all(IMAGE.sub("bots/raw", built)) if each["kind"] != "Secret"
    ]
    (bot,) = await give_tokens(bed, ns, manifests)
    async with operate("--namespace", ns):
        await become_ready(bed, ns, manifests)
        assert len(bed.alive(bot)) == 1
