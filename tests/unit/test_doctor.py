"""The doctor's checks in tables: what is known of a bot, and what is said of it, why, and what to do."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from telegrambot_operator.api.models import SecretKeyRef
from telegrambot_operator.core.carrier import Admission
from telegrambot_operator.core.doctor import Diagnosis, as_json, as_text, exit_code, summary, worst
from telegrambot_operator.core.doctor_answer import Answer, Outcome
from telegrambot_operator.core.doctor_checks import CHECKS, Line, examine
from telegrambot_operator.core.doctor_facts import Facts, Gap, Log, Mail, Place, Users
from telegrambot_operator.core.doctor_manifest import manifest
from telegrambot_operator.core.evidence import ConflictKind
from telegrambot_operator.core.observed import TokenState, TokenView
from telegrambot_operator.core.word import Info, Me, Refused

from .worlds import (
    DEPLOYMENT,
    IDENTITY,
    NAMESPACE,
    NOW,
    VALID,
    adopts,
    at,
    conflict,
    deployment,
    node,
    ownerless,
    pinned,
    pod,
    telegram_bot,
    template_body,
    waiting,
)

PLACE = Place(SecretKeyRef(name="shop-token", key="token"), "BOT_TOKEN")
GAP = Gap("you may not do that", "ask for the right to do that")
CONTENT = {
    "observedGeneration": 2,
    "conditions": [{"type": "Ready", "status": "True", "reason": "Running", "message": "m"}],
}


def healthy(**more: Any) -> Facts:
    """A bot with a TelegramBot, of which nothing is wrong; `more` is what else is known."""
    facts = Facts(
        namespace=NAMESPACE,
        deployment_name=DEPLOYMENT,
        now=NOW,
        bot=telegram_bot(status=CONTENT),
        deployment=pinned(),
        pods=(pod(),),
        identity=IDENTITY,
        place=PLACE,
        token=VALID,
        account=Me(int(IDENTITY), "shop_bot"),
        mail=Mail(Info()),
        logs=(Log("bot-a", polls=True),),
        holders=("bot",),
    )
    return replace(facts, **more)


def plain(**more: Any) -> Facts:
    """The same bot as a Deployment without a TelegramBot, as people have them."""
    return replace(healthy(bot=None, deployment=deployment(replicas=1)), **more)


def answers(facts: Facts) -> dict[str, Answer]:
    return {line.check: line.answer for line in examine(facts)}


def of(outcome: Outcome, facts: Facts) -> set[str]:
    return {name for name, answer in answers(facts).items() if answer.outcome is outcome}


# --- What there is to find --------------------------------------------------------------------------------------------


def test_nothing_is_found_where_nothing_is_wrong() -> None:
    assert of(Outcome.PASS, healthy()) == set(CHECKS) - {"spec"}
    assert all(not answer.todo for answer in answers(healthy()).values())


def test_a_plain_deployment_that_is_well_lacks_recreate_and_the_lock() -> None:
    assert of(Outcome.FAIL, plain()) == {"strategy", "lock"}
    assert "operator" not in answers(plain())


def webhooked(**more: Any) -> Facts:
    """A bot that is served by a webhook."""
    spec = adopts(delivery="Webhook", webhook={"url": "https://bot.example.com/hook"})
    return healthy(bot=telegram_bot(spec=spec, status=CONTENT), **more)


def said(**condition: str) -> Any:
    """A TelegramBot whose status says this."""
    return telegram_bot(status={"observedGeneration": 2, "conditions": [condition]})


STUCK = pod("old", terminating=60, node="node-1")
WORDS = "error: terminated by other getUpdates request"
CASES: dict[str, tuple[Facts, str, Outcome, str, str]] = {
    "a spec that nobody can act on": (
        healthy(bot=telegram_bot(spec={"template": None})),
        "spec",
        Outcome.FAIL,
        "exactly one of deploymentRef",
        "kubectl -n shop edit telegrambot shop-bot",
    ),
    "no Deployment": (
        healthy(deployment=None, pods=()),
        "deployment",
        Outcome.FAIL,
        "there is no Deployment telegram-bot in namespace shop",
        "create it, or correct spec.deploymentRef.name",
    ),
    "a Deployment that another controller makes": (
        plain(deployment=deployment(owner=("HelmApp", "shop", "uid-helm"))),
        "deployment",
        Outcome.FAIL,
        "HelmApp shop controls it and would undo every pin",
        "set one replica and the Recreate strategy in HelmApp shop",
    ),
    "a Deployment that goes": (
        plain(deployment=deployment(going=True)),
        "deployment",
        Outcome.FAIL,
        "Deployment telegram-bot is being deleted",
        "see who deletes it",
    ),
    "two pods of a plain Deployment": (
        plain(deployment=deployment(replicas=2), pods=(pod("b"), pod("a"))),
        "one-instance",
        Outcome.FAIL,
        "2 pods may be polling at once: a, b",
        "set one replica and Recreate as below, or apply the TelegramBot at the end, which does both",
    ),
    "a pod on its way out beside another": (
        plain(pods=(pod("b", terminating=-20), pod("a"))),
        "one-instance",
        Outcome.FAIL,
        "2 pods may be polling at once: a, b (Terminating)",
        "wait until the one that is being deleted has ended, or see the next check",
    ),
    "a pod with its label in another namespace": (
        healthy(namesakes=(ownerless("copy", namespace="test"),)),
        "one-instance",
        Outcome.FAIL,
        "2 pods may be polling at once: bot-a, test/copy",
        "the operator does it within seconds: see that one runs, and what it says below",
    ),
    "no pod": (
        plain(deployment=deployment(replicas=0), pods=()),
        "one-instance",
        Outcome.FAIL,
        "no pod of it runs",
        "kubectl -n shop scale deployment telegram-bot --replicas=1",
    ),
    "a pod that cannot be scheduled": (
        plain(pods=(pod(node=""),)),
        "one-instance",
        Outcome.FAIL,
        "no pod of it runs",
        "kubectl -n shop describe deployment telegram-bot",
    ),
    "a suspended bot that runs": (
        healthy(bot=telegram_bot(spec=adopts(suspend=True), status=CONTENT)),
        "one-instance",
        Outcome.FAIL,
        "pod bot-a may be polling, and none should, as spec.suspend asks",
        "the operator does it within seconds: see that one runs, and what it says below",
    ),
    "a suspended bot that does not": (
        healthy(
            bot=telegram_bot(spec=adopts(suspend=True), status=CONTENT), deployment=pinned(replicas=0), pods=(), logs=()
        ),
        "one-instance",
        Outcome.PASS,
        "no pod can be polling, as spec.suspend asks",
        "",
    ),
    "a bot that an older TelegramBot runs": (
        healthy(
            bot=said(type="Ready", reason="DuplicateBot"), pods=(), namesakes=(pod(),), deployment=pinned(replicas=0)
        ),
        "one-instance",
        Outcome.PASS,
        "no pod can be polling, since another TelegramBot runs the same bot",
        "",
    ),
    "a crash loop": (
        healthy(pods=(pod(ready=False, containers=[waiting("CrashLoopBackOff") | {"restartCount": 7}]),)),
        "pod-ready",
        Outcome.FAIL,
        "pod bot-a is not Ready: CrashLoopBackOff, 7 restarts",
        "see the log below, or: kubectl -n shop describe pod bot-a",
    ),
    "a stuck pod that is dead": (
        healthy(pods=(pod(), pod("old", terminating=60, phase="Failed", containers=[]))),
        "stuck-pods",
        Outcome.FAIL,
        "pod old hangs in Terminating: its node reports every container as ended",
        "no process is left: kubectl -n shop delete pod old --force",
    ),
    "a stuck pod that lives": (
        healthy(pods=(STUCK,), nodes={"node-1": node()}),
        "stuck-pods",
        Outcome.FAIL,
        "pod old hangs in Terminating: its node is Ready and reports running containers",
        "look at the kubelet of node node-1; do not force the pod away: its process would live on",
    ),
    "a stuck pod on a lost node": (
        healthy(pods=(STUCK,), nodes={"node-1": node(ready=False)}),
        "stuck-pods",
        Outcome.FAIL,
        "its node does not answer, so its process may still run",
        "make sure that node node-1 is off, then delete it or taint it out-of-service; do not force the pod",
    ),
    "a stuck pod on a node that may not be read": (
        healthy(pods=(STUCK,)),
        "stuck-pods",
        Outcome.FAIL,
        "its node could not be read",
        "see whether node node-1 is well; do not force the pod away before its process has ended",
    ),
    "a stuck pod with a finalizer": (
        healthy(pods=(pod("odd", terminating=90, finalizers=["example.com/hold"], phase="Failed", containers=[]),)),
        "stuck-pods",
        Outcome.FAIL,
        "pod odd hangs in Terminating: its node reports every container as ended",
        "see who should take off its finalizer example.com/hold",
    ),
    "two stuck pods": (
        healthy(pods=(STUCK, pod("older", terminating=90)), nodes={"node-1": node()}),
        "stuck-pods",
        Outcome.FAIL,
        "pod old hangs in Terminating (and 1 more): its node is Ready and reports running containers",
        "look at the kubelet of node node-1",
    ),
    "a pod that is only on its way out": (
        healthy(pods=(pod("old", terminating=5),)),
        "stuck-pods",
        Outcome.PASS,
        "no pod hangs in Terminating",
        "",
    ),
    "three replicas": (
        plain(deployment=deployment(replicas=3)),
        "replicas",
        Outcome.FAIL,
        "replicas 3, and a bot has 1",
        "kubectl -n shop scale deployment telegram-bot --replicas=1",
    ),
    "no replicas": (
        plain(deployment=deployment(replicas=0), pods=()),
        "replicas",
        Outcome.FAIL,
        "replicas 0, and a bot has 1",
        "kubectl -n shop scale deployment telegram-bot --replicas=1",
    ),
    "three replicas that the operator has not seen yet": (
        healthy(deployment=pinned(replicas=3)),
        "replicas",
        Outcome.FAIL,
        "replicas 3, and a bot has 1",
        "the operator does it within seconds: see that one runs, and what it says below",
    ),
    "RollingUpdate": (
        plain(),
        "strategy",
        Outcome.FAIL,
        "RollingUpdate: every rollout runs two pods at once",
        "set spec.strategy to {type: Recreate} in the Deployment",
    ),
    "no lock": (
        plain(),
        "lock",
        Outcome.FAIL,
        "nothing keeps a second pod from starting when one is deleted, evicted or rolled back",
        "apply the TelegramBot at the end",
    ),
    "the lock of another bot": (
        healthy(deployment=pinned(template=template_body(lock="55555"))),
        "lock",
        Outcome.FAIL,
        "nothing keeps a second pod from starting",
        "",
    ),
    "no lock wanted": (
        healthy(
            bot=telegram_bot(spec=adopts(lock="None"), status=CONTENT), deployment=pinned(template=template_body())
        ),
        "lock",
        Outcome.PASS,
        "none, as spec.lock asks",
        "",
    ),
    "the lock at admission": (
        healthy(
            deployment=pinned(template=template_body()),
            admission=Admission(
                frozenset({"lock.singleton.bot", "pin.singleton.bot"}),
                {DEPLOYMENT: f"{IDENTITY} Scheduler 1 shop-bot"},
            ),
        ),
        "lock",
        Outcome.PASS,
        f"the admission policies lock its pods on {IDENTITY}",
        "",
    ),
    "a lock table without policies": (
        healthy(
            deployment=pinned(template=template_body()),
            admission=Admission(table={DEPLOYMENT: f"{IDENTITY} Scheduler 1 shop-bot"}),
        ),
        "lock",
        Outcome.FAIL,
        "nothing keeps a second pod from starting",
        "",
    ),
    "an autoscaler": (
        healthy(autoscalers=("shop",)),
        "autoscaler",
        Outcome.FAIL,
        "HorizontalPodAutoscaler shop scales it beyond one pod",
        "delete it (with KEDA: its ScaledObject), or set its maxReplicas to 1",
    ),
    "no Secret": (
        healthy(token=TokenView(TokenState.SECRET_NOT_FOUND)),
        "token",
        Outcome.FAIL,
        "there is no Secret shop-token",
        "put there what @BotFather gave",
    ),
    "no key": (
        healthy(token=TokenView(TokenState.KEY_NOT_FOUND)),
        "token",
        Outcome.FAIL,
        "there is no key token of Secret shop-token",
        "put there what @BotFather gave",
    ),
    "an empty key": (
        healthy(token=TokenView(TokenState.EMPTY)),
        "token",
        Outcome.FAIL,
        "key token of Secret shop-token is empty",
        "put there what @BotFather gave",
    ),
    "no token": (
        healthy(token=TokenView(TokenState.NOT_A_TOKEN)),
        "token",
        Outcome.FAIL,
        "key token of Secret shop-token does not hold a bot token",
        "put there what @BotFather gave",
    ),
    "a token for everybody to read": (
        plain(place=Place(None, "BOT_TOKEN")),
        "token",
        Outcome.FAIL,
        "it is the value of BOT_TOKEN in the pod template, in plain text",
        "put it into a Secret: whoever may read the Deployment can take the bot over",
    ),
    "a TelegramBot that names no token": (
        healthy(place=None, token=TokenView()),
        "token",
        Outcome.UNKNOWN,
        "the TelegramBot does not say where the token is",
        "name its Secret in spec.token, so that Telegram can be asked",
    ),
    "a Deployment in which no token is found": (
        plain(place=None, token=TokenView()),
        "token",
        Outcome.UNKNOWN,
        "no variable of the pod template holds a bot token",
        "name its Secret in spec.token of the TelegramBot at the end",
    ),
    "a revoked token": (
        healthy(account=Refused()),
        "telegram",
        Outcome.FAIL,
        "Telegram refuses the token: it was revoked, or is no bot's",
        "get a fresh one from @BotFather",
    ),
    "somebody else with the token": (
        healthy(users=Users(("Deployment copy", "pod debug in namespace test"))),
        "sole-user",
        Outcome.FAIL,
        "the same token is used by Deployment copy, pod debug in namespace test",
        "stop it, or give it a bot of its own from @BotFather",
    ),
    "somebody with the whole Secret": (
        healthy(users=Users((), ("Deployment web",))),
        "sole-user",
        Outcome.UNKNOWN,
        "Deployment web gets the token, among other keys of the Secret",
        "make sure that it does not poll, or give the token a Secret of its own",
    ),
    "two containers with the token": (
        healthy(holders=("bot", "worker")),
        "sole-user",
        Outcome.UNKNOWN,
        "containers bot, worker of the pod are both given the token",
        "make sure that only one of them polls",
    ),
    "other namespaces that may not be seen": (
        healthy(users=Users(unseen=GAP)),
        "sole-user",
        Outcome.UNKNOWN,
        "you may not do that",
        "ask for the right to do that",
    ),
    "a webhook under a poller": (
        healthy(mail=Mail(Info("https://old.example.com/secret"))),
        "webhook",
        Outcome.FAIL,
        "a webhook is set at old.example.com, so nobody can poll",
        "find who sets it and call deleteWebhook (waiting updates are kept), or run the bot with delivery: Webhook",
    ),
    "a webhook that a bot has set itself which should poll": (
        healthy(mail=Mail(Info("https://old.example.com/secret")), logs=(Log("bot-a", hooks=True),)),
        "webhook",
        Outcome.FAIL,
        "a webhook is set at old.example.com, so nobody can poll",
        "find who sets it",
    ),
    "a webhook that a plain bot has set itself": (
        plain(mail=Mail(Info("https://old.example.com/secret")), logs=(Log("bot-a", hooks=True),)),
        "webhook",
        Outcome.PASS,
        "a webhook is set at old.example.com, and by its log the bot set it",
        "",
    ),
    "the webhook that is wanted": (
        webhooked(mail=Mail(Info("https://bot.example.com/hook"))),
        "webhook",
        Outcome.PASS,
        "the webhook is set at bot.example.com, as spec.webhook says",
        "",
    ),
    "a webhook elsewhere": (
        webhooked(mail=Mail(Info("https://old.example.com/secret"))),
        "webhook",
        Outcome.FAIL,
        "the webhook is set at old.example.com, not at bot.example.com",
        "find who sets it, or correct spec.webhook.url",
    ),
    "a webhook at another address of the host": (
        webhooked(mail=Mail(Info("https://bot.example.com/secret"))),
        "webhook",
        Outcome.FAIL,
        "the webhook is set at another address of bot.example.com",
        "find who sets it, or correct spec.webhook.url",
    ),
    "no webhook where one is wanted": (
        webhooked(),
        "webhook",
        Outcome.FAIL,
        "no webhook is set, so the bot gets nothing",
        "start the bot anew, or call setWebhook",
    ),
    "a webhook that Telegram cannot reach": (
        webhooked(mail=Mail(Info("https://bot.example.com/hook", 3, at(-60), "Connection refused"))),
        "webhook",
        Outcome.FAIL,
        "Telegram cannot deliver to bot.example.com: Connection refused",
        "look at the way from the Internet to bot.example.com",
    ),
    "a webhook that Telegram could not reach yesterday": (
        webhooked(mail=Mail(Info("https://bot.example.com/hook", 3, at(-86400), "Connection refused"))),
        "webhook",
        Outcome.PASS,
        "the webhook is set at bot.example.com",
        "",
    ),
    "409s": (
        healthy(logs=(Log("bot-a", (conflict(-90, evidence=WORDS), conflict(-30, evidence=WORDS)), polls=True),)),
        "no-409",
        Outcome.FAIL,
        f"2 409s in the log of pod bot-a, the last 30 s ago: {WORDS}",
        "another process polls with the same token: stop it (a second pod, Deployment, worker, cluster or laptop), or "
        "revoke the token with @BotFather; passes 5 min after the last one",
    ),
    "a 409 of a webhook": (
        healthy(logs=(Log("bot-a", (conflict(-30, kind=ConflictKind.WEBHOOK_ACTIVE, evidence="w"),)),)),
        "no-409",
        Outcome.FAIL,
        "a 409 in the log of pod bot-a, the last 30 s ago: w",
        "a webhook is set, so nobody can poll",
    ),
    "an old 409": (
        healthy(logs=(Log("bot-a", (conflict(-7200),), polls=True),)),
        "no-409",
        Outcome.PASS,
        "no 409 in the last 5 min; the last one was 2 h ago",
        "",
    ),
    "a bot that says that it polls": (
        healthy(),
        "polling",
        Outcome.PASS,
        "its log says that it polls, and no update is left waiting at Telegram",
        "",
    ),
    "a bot that says nothing and answers": (
        healthy(logs=(Log("bot-a"),)),
        "polling",
        Outcome.PASS,
        "its log does not say that it polls, but no update is left waiting at Telegram",
        "",
    ),
    "a bot that says nothing, and Telegram is not asked": (
        healthy(logs=(Log("bot-a"),), mail=None),
        "polling",
        Outcome.UNKNOWN,
        "its log does not say that it polls; not every library does",
        "send it a message and see whether it answers",
    ),
    "a bot that may be deaf": (
        healthy(mail=Mail(Info(pending=12), fell=False)),
        "polling",
        Outcome.UNKNOWN,
        "12 updates wait at Telegram, no fewer than a moment before",
        "send it a message; if it does not answer, restart it: such a bot is deaf",
    ),
    "a bot that may not have seen one update": (
        healthy(mail=Mail(Info(pending=1), fell=False)),
        "polling",
        Outcome.UNKNOWN,
        "1 update waits at Telegram, no fewer than a moment before",
        "send it a message",
    ),
    "a bot that is busy": (
        healthy(mail=Mail(Info(pending=12), fell=True)),
        "polling",
        Outcome.PASS,
        "its log says that it polls",
        "",
    ),
    "a TelegramBot that nobody has seen": (
        healthy(bot=telegram_bot()),
        "operator",
        Outcome.FAIL,
        "no operator has looked at this TelegramBot",
        "start one: telegrambot-operator run",
    ),
    "a change that nobody has seen": (
        healthy(bot=telegram_bot(status=CONTENT, generation=3)),
        "operator",
        Outcome.FAIL,
        "no operator has acted on its latest change",
        "see that one runs: telegrambot-operator run",
    ),
    "a stalled TelegramBot": (
        healthy(bot=said(type="Stalled", status="True", reason="StrayPod", message="pod debug polls")),
        "operator",
        Outcome.FAIL,
        "Stalled, StrayPod: pod debug polls",
        "do what it says",
    ),
    "a TelegramBot that is not ready": (
        healthy(bot=said(type="Ready", status="False", reason="Starting", message="it starts")),
        "operator",
        Outcome.FAIL,
        "not Ready, Starting: it starts",
        "wait, or do what it says",
    ),
}


@pytest.mark.parametrize(("facts", "check", "outcome", "why", "todo"), CASES.values(), ids=CASES)
def test_what_is_said_of(facts: Facts, check: str, outcome: Outcome, why: str, todo: str) -> None:
    answer = answers(facts)[check]
    assert answer.outcome is outcome, answer
    assert why in answer.why
    assert todo in answer.todo
    assert bool(answer.todo) is (outcome is not Outcome.PASS)


MUTE = {
    "deployment": {"deployment": GAP, "pods": GAP},
    "one-instance": {"pods": GAP},
    "stuck-pods": {"pods": GAP},
    "lock": {"admission": GAP, "deployment": pinned(template=template_body())},
    "autoscaler": {"autoscalers": GAP},
    "token": {"place": GAP},
    "telegram": {"account": GAP},
    "webhook": {"mail": GAP},
    "no-409": {"logs": GAP},
    "polling": {"logs": GAP, "mail": GAP},
}


@pytest.mark.parametrize(("check", "unread"), MUTE.items(), ids=MUTE)
def test_what_may_not_be_read_is_unknown_and_the_right_is_named(check: str, unread: dict[str, Any]) -> None:
    assert answers(healthy(**unread))[check] == Answer(Outcome.UNKNOWN, GAP.why, GAP.todo)
    assert of(Outcome.FAIL, healthy(**unread)) == set()


# --- How it is said ---------------------------------------------------------------------------------------------------


def diagnosis(*outcomes: Outcome, **more: str) -> Diagnosis:
    lines = tuple(Line(f"check-{number}", Answer(each, "why", "do")) for number, each in enumerate(outcomes))
    return Diagnosis("TelegramBot", NAMESPACE, "shop-bot", lines, **more)


@pytest.mark.parametrize(
    ("outcomes", "code"),
    [
        ([Outcome.PASS], 0),
        ([Outcome.PASS, Outcome.FAIL, Outcome.UNKNOWN], 1),
        ([Outcome.PASS, Outcome.UNKNOWN], 3),
        ([], 0),
    ],
)
def test_the_exit_code_is_that_of_the_worst(outcomes: list[Outcome], code: int) -> None:
    assert exit_code(worst(outcomes)) == code


def test_a_section_has_a_line_for_each_check_and_fits_a_narrow_terminal() -> None:
    every = [healthy(), plain(), *(case[0] for case in CASES.values())]
    for facts in every:
        lines = tuple(examine(facts))
        text = as_text(Diagnosis("TelegramBot", NAMESPACE, "shop-bot", lines))
        assert max(map(len, text.splitlines())) <= 100
        assert [line.split()[1] for line in text.splitlines() if line[:3].strip() and line[:2] == "  "] == [
            line.check for line in lines
        ]


def test_of_several_bots_only_what_does_not_pass_is_shown() -> None:
    text = as_text(diagnosis(Outcome.PASS, Outcome.FAIL, Outcome.PASS), brief=True)
    assert "check-0" not in text
    assert "FAIL     check-1" in text
    assert "pass     2 checks" in text


def test_colours_change_no_width() -> None:
    lines = tuple(examine(plain(mail=GAP)))
    found = Diagnosis("Deployment", NAMESPACE, DEPLOYMENT, lines)
    assert re.sub(r"\x1b\[[0-9;]*m", "", as_text(found, colour=True)) == as_text(found)
    assert "\x1b[1;31mFAIL\x1b[0m     strategy" in as_text(found, colour=True)


def test_the_last_line_counts() -> None:
    assert summary([diagnosis(Outcome.PASS, Outcome.FAIL)]) == "1 check passed, 1 failed, 0 unknown.\n"
    three = [diagnosis(Outcome.PASS), diagnosis(Outcome.PASS, Outcome.UNKNOWN), diagnosis(Outcome.FAIL)]
    assert summary(three) == "3 bots: 1 pass, 1 fail, 1 unknown.\n"


def test_json_is_an_object_a_line() -> None:
    text = as_json(diagnosis(Outcome.FAIL, manifest="a: b\n"))
    assert text.count("\n") == 1
    assert json.loads(text) == {
        "kind": "TelegramBot",
        "namespace": NAMESPACE,
        "name": "shop-bot",
        "result": "fail",
        "checks": [{"check": "check-0", "result": "fail", "why": "why", "todo": "do"}],
        "manifest": "a: b\n",
    }


def test_a_token_in_what_others_have_written_is_not_shown() -> None:
    """INV-7: a TelegramBot's status, an evidence line, a variable's name."""
    token = f"{IDENTITY}:AAFq9Zr0bXw3KjT5uYv1LmNp8sQeHd2GcRk"
    found = Diagnosis("TelegramBot", NAMESPACE, "shop-bot", (Line("operator", Answer(Outcome.FAIL, token, token)),))
    assert "AAFq9" not in as_text(found) + as_json(found)


def test_the_manifest_names_what_is_known() -> None:
    assert "secretKeyRef:\n      name: shop-token\n      key: token\n" in manifest(plain())
    assert "With spec.token.secretKeyRef" in manifest(plain(place=Place(None, "BOT_TOKEN")))
    hooked = manifest(plain(mail=Mail(Info("https://old.example.com/secret"))))
    assert "A webhook is set at old.example.com." in hooked
    assert "secret\n" not in hooked


def test_how_long_ago() -> None:
    for seconds, words in {5: "5 s", 60: "1 min", 90: "90 s", 7200: "2 h", 200000: "2 d"}.items():
        facts = healthy(logs=(Log("bot-a", (conflict(-seconds),)),))
        assert f"{words} ago" in answers(facts)["no-409"].why, timedelta(seconds=seconds)
