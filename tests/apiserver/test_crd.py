"""The CRD as a user meets it: what the real API server takes, fills in, and refuses, with the sentence it prints."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.bed.controlplane import KubectlError

if TYPE_CHECKING:
    from tests.bed.bed import Bed

pytestmark = pytest.mark.bed

POD = {"spec": {"containers": [{"name": "bot", "image": "shop/bot:1"}]}}
ADOPT = {"deploymentRef": {"name": "telegram-bot"}}
TOKEN = {"secretKeyRef": {"name": "shop-bot", "key": "token"}}


def manifest(namespace: str, spec: dict[str, Any], name: str = "shop") -> str:
    return json.dumps(
        {
            "apiVersion": "singleton.bot/v1alpha1",
            "kind": "TelegramBot",
            "metadata": {"name": name, "namespace": namespace},
            "spec": spec,
        }
    )


ACCEPTED = {
    "a Deployment to adopt": ADOPT,
    "a pod template to own": {"template": POD},
    "a token for an adopted Deployment": {**ADOPT, "token": TOKEN},
    "a token that goes into the owned container": {"template": POD, "token": {**TOKEN, "env": "BOT_TOKEN"}},
    "a webhook bot": {**ADOPT, "delivery": "Webhook", "webhook": {"url": "https://shop.example.com/hook"}},
    "every choice made": {
        **ADOPT,
        "token": TOKEN,
        "suspend": True,
        "lock": "None",
        "duplicates": "Report",
        "stuckPods": {"policy": "Never", "afterSeconds": 0},
        "conflict": {"logs": False, "patterns": ["^boom$"], "clearAfterSeconds": 1, "remedy": "FixWebhook"},
        "notPolling": {"policy": "Restart", "afterSeconds": 30},
    },
}


@pytest.mark.parametrize("spec", ACCEPTED.values(), ids=ACCEPTED.keys())
async def test_it_takes(spec: dict[str, Any], bed: Bed, ns: str) -> None:
    await bed.kubectl("create", "-f", "-", "--dry-run=server", stdin=manifest(ns, spec))


async def test_it_fills_in_every_default(bed: Bed, ns: str) -> None:
    stored = await bed.kubectl("create", "-f", "-", "--dry-run=server", "-o", "json", stdin=manifest(ns, ADOPT))
    assert json.loads(stored)["spec"] == {
        **ADOPT,
        "delivery": "Polling",
        "suspend": False,
        "lock": "Scheduler",
        "duplicates": "Delete",
        "stuckPods": {"policy": "WhenProven", "afterSeconds": 60},
        "conflict": {"logs": True, "patterns": [], "clearAfterSeconds": 300, "remedy": "None"},
        "notPolling": {"policy": "Report", "afterSeconds": 300},
    }


async def test_a_pod_template_is_stored_whole(bed: Bed, ns: str) -> None:
    template = {
        "metadata": {"labels": {"team": "shop"}, "annotations": {"note": "kept"}},
        "spec": {
            "containers": [{"name": "bot", "image": "shop/bot:1", "resources": {"limits": {"memory": "64Mi"}}}],
            "nodeSelector": {"disk": "ssd"},
            "terminationGracePeriodSeconds": 5,
        },
    }
    text = manifest(ns, {"template": template})
    stored = await bed.kubectl("create", "-f", "-", "--dry-run=server", "-o", "json", stdin=text)
    assert json.loads(stored)["spec"]["template"] == template


ONE_OF = "spec needs exactly one of deploymentRef (adopt an existing Deployment) and template (own a new one)"
REFUSED = {
    "neither Deployment nor template": ({}, ONE_OF),
    "both Deployment and template": ({**ADOPT, "template": POD}, ONE_OF),
    "a webhook bot without a URL": (
        {**ADOPT, "delivery": "Webhook"},
        "spec.webhook.url is required with delivery: Webhook; add it, or use delivery: Polling",
    ),
    "a webhook for a polling bot": (
        {**ADOPT, "webhook": {"url": "https://shop.example.com/hook"}},
        "spec.webhook is refused with delivery: Polling",
    ),
    "a webhook without TLS": (
        {**ADOPT, "delivery": "Webhook", "webhook": {"url": "http://shop.example.com"}},
        "spec.webhook.url",
    ),
    "a variable for a container that is not ours": (
        {**ADOPT, "token": {**TOKEN, "env": "BOT_TOKEN"}},
        "spec.token.env works only with template",
    ),
    "a remedy without a token": (
        {**ADOPT, "conflict": {"remedy": "FixWebhook"}},
        "spec.conflict.remedy: FixWebhook needs spec.token",
    ),
    "a restart without a token": (
        {**ADOPT, "notPolling": {"policy": "Restart"}},
        "spec.notPolling.policy: Restart needs spec.token",
    ),
    "a lock that does not exist": (
        {**ADOPT, "lock": "Gates"},
        'spec.lock: Unsupported value: "Gates": supported values: "Scheduler", "Gate", "None"',
    ),
    "a window of no length": (
        {**ADOPT, "conflict": {"clearAfterSeconds": 0}},
        "spec.conflict.clearAfterSeconds in body should be greater than or equal to 1",
    ),
    "more patterns than sixteen": ({**ADOPT, "conflict": {"patterns": ["x"] * 17}}, "spec.conflict.patterns"),
    "a name that no Deployment has": ({"deploymentRef": {"name": "Telegram_Bot"}}, "spec.deploymentRef.name"),
    "a token without a key": (
        {**ADOPT, "token": {"secretKeyRef": {"name": "shop-bot"}}},
        "spec.token.secretKeyRef.key",
    ),
    "a template without containers": ({"template": {"spec": {"containers": []}}}, "spec.template.spec.containers"),
    "a field with a typing error": ({**ADOPT, "dupliactes": "Delete"}, 'unknown field "spec.dupliactes"'),
}


@pytest.mark.parametrize(("spec", "sentence"), REFUSED.values(), ids=REFUSED.keys())
async def test_it_refuses(spec: dict[str, Any], sentence: str, bed: Bed, ns: str) -> None:
    with pytest.raises(KubectlError) as refusal:
        await bed.kubectl("apply", "-f", "-", stdin=manifest(ns, spec))
    assert sentence in refusal.value.stderr


async def test_nothing_can_scale_it(bed: Bed, ns: str) -> None:
    await bed.kubectl("create", "-f", "-", stdin=manifest(ns, ADOPT))
    with pytest.raises(KubectlError, match=r"could not find the requested resource|not found"):
        await bed.kubectl("scale", "telegrambot/shop", "--replicas=2", "-n", ns)


@pytest.mark.parametrize("name", ["telegrambots", "telegrambot", "tgbot", "bots"])
async def test_kubectl_knows_it_by_every_name(name: str, bed: Bed, ns: str) -> None:
    await bed.kubectl("create", "-f", "-", stdin=manifest(ns, ADOPT))
    assert "shop" in await bed.kubectl("get", name, "-n", ns)


async def test_kubectl_get_shows_the_columns(bed: Bed, ns: str) -> None:
    await bed.kubectl("create", "-f", "-", stdin=manifest(ns, ADOPT))
    short = (await bed.kubectl("get", "tgbot", "-n", ns)).splitlines()[0].split()
    wide = (await bed.kubectl("get", "tgbot", "-n", ns, "-o", "wide")).splitlines()[0].split()
    assert short == ["NAME", "READY", "CONFLICT", "POD", "AGE", "REASON"]
    assert wide == [*short, "DEPLOYMENT", "NODE", "BOT", "LAST-409", "MESSAGE"]


async def test_kubectl_explains_every_field(bed: Bed) -> None:
    text = await bed.kubectl("explain", "telegrambot.spec", "--recursive")
    for field in ("deploymentRef", "secretKeyRef", "afterSeconds", "clearAfterSeconds", "remedy", "notPolling"):
        assert field in text


async def test_a_spec_edit_does_not_touch_the_status_nor_the_other_way_round(bed: Bed, ns: str) -> None:
    await bed.kubectl("create", "-f", "-", stdin=manifest(ns, ADOPT))
    status = json.dumps({"spec": {"suspend": True}, "status": {"pod": "made-up"}})
    await bed.kubectl("patch", "tgbot", "shop", "-n", ns, "--type=merge", "--subresource=status", "-p", status)
    stored = json.loads(await bed.kubectl("get", "tgbot", "shop", "-n", ns, "-o", "json"))
    assert (stored["spec"]["suspend"], stored["status"]["pod"]) == (False, "made-up")


async def test_the_committed_file_is_what_is_installed(bed: Bed) -> None:
    text = (Path(__file__).parents[2] / "crds" / "telegrambots.singleton.bot.yaml").read_text()
    assert "unchanged" in await bed.kubectl("apply", "-f", "-", stdin=text)
