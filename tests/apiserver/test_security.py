"""The policy that docs/security.md gives to admins who want no repairs of webhooks does what it is for."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.bed.controlplane import KubectlError

if TYPE_CHECKING:
    from tests.bed.bed import Bed

pytestmark = pytest.mark.bed

DOC = Path(__file__).parents[2] / "docs" / "security.md"


def shop(ns: str, **conflict: Any) -> dict[str, Any]:
    """A TelegramBot that asks for this about conflicts."""
    token = {"secretKeyRef": {"name": "shop-bot", "key": "token"}}
    spec = {"deploymentRef": {"name": "telegram-bot"}, "token": token, "conflict": conflict}
    metadata = {"name": "shop", "namespace": ns}
    return {"apiVersion": "singleton.bot/v1alpha1", "kind": "TelegramBot", "metadata": metadata, "spec": spec}


async def test_a_telegrambot_that_asks_for_repairs_is_refused_and_another_is_not(bed: Bed, ns: str) -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", DOC.read_text(), re.DOTALL)
    (policy,) = [each for each in blocks if "no-webhook-repairs" in each]

    async def refused() -> bool:
        try:
            await bed.apply(shop(ns, remedy="FixWebhook"), "--dry-run=server")
        except KubectlError as error:
            return "conflict.remedy is not allowed here" in str(error)
        return False

    await bed.apply(policy)
    try:
        await bed.until(refused, what="the API server goes by the policy")
        await bed.apply(shop(ns, remedy="None", clearAfterSeconds=10))
        await bed.apply(shop(ns))
    finally:
        await bed.kubectl("delete", "-f", "-", stdin=policy)
