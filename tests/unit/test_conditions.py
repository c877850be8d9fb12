"""What the status says in every world that this version can meet: each condition, its reason, and words that help.

A message names the thing that is wrong and what a person can do about it. The status is a pure function of what was
seen (INV-5), and an unchanged world gives an equal status, so that nothing is written (INV-8).
"""

from dataclasses import replace
from typing import Any

import pytest

from telegrambot_operator.api.models import TelegramBotStatus
from telegrambot_operator.core.carrier import Admission
from telegrambot_operator.core.contest import Contest, Held, Keeping
from telegrambot_operator.core.evidence import ConflictKind
from telegrambot_operator.core.observed import Bot, Failure, Later, Observed, TokenState, TokenView
from telegrambot_operator.core.records import Field, Pod
from telegrambot_operator.core.strays_search import Crowd
from telegrambot_operator.core.turn import Claim, Vanished
from telegrambot_operator.core.webhooks import Hook
from telegrambot_operator.core.word import Word
from telegrambot_operator.names import ConditionType, Reason
from tests.unit.worlds import (
    BOT,
    DEPLOYMENT,
    IDENTITY,
    Json,
    adopts,
    at,
    conflict,
    denied,
    deployment,
    ended,
    ending,
    gated,
    held,
    lived,
    looked,
    node,
    ownerless,
    owns,
    pinned,
    pod,
    rival,
    running,
    said,
    status_of,
    stray,
    takes_turns,
    telegram_bot,
    template_body,
    waiting,
    world,
)

CANNOT_PATCH = denied("patch", "deployments.apps")
CANNOT_DELETE = denied("delete", "pods")
CANNOT_LIST = denied("list", "pods")
CANNOT_READ_SECRETS = denied("get", "secrets")
CANNOT_READ_LEASES = denied("get", "leases.coordination.k8s.io")
ADMISSION = Failure("patch", "deployments.apps", 403, "admission webhook denied the request: not on a Friday")
INVALID = Failure("patch", "deployments.apps", 422, "spec.template.spec.containers[0].image: Required value")
UNWELL = Failure("patch", "pods", 500, "etcd is away")

SERVING = [pod("bot-a")]
CROWD = Crowd("bot-a", "uid-bot-a", "containers bot and worker have the token; let only one of them poll")
SUSPENDED = telegram_bot(spec=adopts(suspend=True))
TOKENLESS = telegram_bot(spec=adopts(token=None))
BY_WEBHOOK = telegram_bot(spec=adopts(delivery="Webhook", webhook={"url": "https://shop.example/"}))
# What Telegram says; test_telling.py has more of it.
DEAF = Word(fresh=True, hook=Hook.WANTED, deaf=True, waiting=20)
UNHOOKED, HOOKED = Word(fresh=True, hook=Hook.MISSING), Word(fresh=True, hook=Hook.OTHER, host="old.example")
FAILING = Word(fresh=True, hook=Hook.WANTED, failing=True, waiting=5, error="Connection refused")
HUNG = [pod("bot-a", terminating=900)]
STOPPED = [pod("bot-a", terminating=900, containers=[ended()])]
BACK = {"node-1": node(since=-5)}
LOOPING = [pod("bot-a", containers=[waiting("CrashLoopBackOff", last=ending(code=1))], ready=False)]
PULLING = [pod("bot-a", containers=[waiting("ImagePullBackOff", "no such image")], phase="Pending", ready=False)]
CREATING = [pod("bot-a", containers=[waiting("ContainerCreating")], phase="Pending", ready=False)]

# Of the pod that held the turn before; what is known of it since it vanished; of the node that it ran on.
BEFORE = Claim("7", "shop/old", "uid-old", "node-1", grace=30)
MISSED = {"uid-old": Vanished(5.0)}
SILENT = {"node-1": node(ready=False)}


def waits(*pods: Pod, **known: Any) -> Observed:
    """A bot with `lock: Gate`, whose new pod waits for its turn."""
    facts = {"deployment": gated(), "claim": Claim(), **known}
    return world(takes_turns(), pods=[held("new"), *pods], **facts)


def missing(state: TokenState) -> TokenView:
    return TokenView(state)


def fighting(kind: ConflictKind = ConflictKind.OTHER_GET_UPDATES, **known: Any) -> Observed:
    """A bot that serves, and a 409 in its log ten seconds ago."""
    bot: Bot | None = known.pop("bot", None)
    return world(bot, pods=SERVING, findings=(conflict(-10, kind=kind),), **{"spans": (lived("bot-a"),), **known})


# --- Ready ----------------------------------------------------------------------------------------------------------

# The world, "status reason" of the condition, and what its message has to name.
Table = dict[str, tuple[Observed, str, list[str]]]

READY: Table = {
    "one ready pod, pinned, no conflict": (world(pods=SERVING), "True Running", ["bot-a", "node-1"]),
    "a ready pod that fetches nothing": (world(pods=SERVING, word=DEAF), "False NotPolling", ["bot-a", "20 updates"]),
    "a webhook is missing": (world(BY_WEBHOOK, pods=SERVING, word=UNHOOKED), "False WebhookMissing", ["shop.example"]),
    "another webhook is set": (world(BY_WEBHOOK, pods=SERVING, word=HOOKED), "False WebhookElsewhere", ["old.example"]),
    "deliveries fail": (world(BY_WEBHOOK, pods=SERVING, word=FAILING), "False WebhookFailing", ["Connection refused"]),
    "suspended": (world(SUSPENDED, deployment=pinned(replicas=0)), "False Suspended", ["on purpose"]),
    "suspended, its pod still there": (
        world(SUSPENDED, deployment=pinned(replicas=0), pods=[pod(terminating=-5)]),
        "False Suspended",
        ["bot-a"],
    ),
    "no pod yet": (world(), "False Starting", ["Deployment"]),
    "a pod that no node can take": (
        world(pods=[pod(node="", unscheduled="0/3 nodes are available")]),
        "False Starting",
        ["bot-a", "0/3 nodes are available"],
    ),
    "a pod whose container is being made": (world(pods=CREATING), "False Starting", ["bot-a", "node-1"]),
    "a pod that waits for the one before it": (
        world(pods=[pod("old", terminating=-5), pod("new", node="")]),
        "False WaitingForTurn",
        ["new", "old"],
    ),
    "a held pod, while another may be polling": (
        waits(pod("old", terminating=-5)),
        "False WaitingForTurn",
        ["pod new waits for its turn", "old may be polling"],
    ),
    "a held pod, while it is the turn of one that is held still": (
        waits(held("other", template_hash="x"), claim=Claim("7", "shop/other", "uid-other")),
        "False WaitingForTurn",
        ["pod new waits for its turn", "it is the turn of other"],
    ),
    "a held pod, while the process of one that vanished may still run": (
        waits(claim=BEFORE, ended=MISSED, nodes={"node-1": node()}),
        "False WaitingForTurn",
        ["pod new waits for its turn", "shop/old vanished", "node-1 has to end its process"],
    ),
    "a held pod, while nobody can tell of one that vanished": (
        waits(claim=BEFORE, ended=MISSED, nodes=SILENT),
        "False WaitingForTurn",
        ["pod new waits for its turn", "shop/old vanished", "node-1 does not answer"],
    ),
    "a held pod whose turn it is": (waits(), "False Starting", ["new", "not scheduled yet"]),
    "a held pod of a bot whose Lease cannot be read": (
        waits(pod("old", terminating=-5), claim=None),
        "False WaitingForTurn",
        ["new", "old"],
    ),
    "a pod on its way out, and none after it yet": (
        world(pods=[pod("old", terminating=-5)]),
        "False WaitingForTurn",
        ["old"],
    ),
    "an image that cannot be pulled": (world(pods=PULLING), "False PodNotReady", ["ImagePullBackOff", "no such image"]),
    "a pod that runs and is not ready": (world(pods=[pod(ready=False)]), "False PodNotReady", ["bot-a", "not ready"]),
    "a crash loop": (world(pods=LOOPING), "False CrashLoop", ["bot-a", "container bot", "exit code 1"]),
    "a container that has just ended again": (
        world(pods=[pod(containers=[ended(restarts=4, code=0)], ready=False)]),
        "False CrashLoop",
        ["bot-a", "exit code 0"],
    ),
    "a 409": (fighting(), "False Conflict", ["bot-a", "Conflict: terminated by other getUpdates"]),
    "a second pod that may be polling": (
        world(pods=[pod("bot-a"), pod("bot-b", age=900)]),
        "False DuplicatePods",
        ["bot-a", "bot-b"],
    ),
    "no Deployment": (world(deployment=None), "False DeploymentNotFound", [DEPLOYMENT, "spec.deploymentRef.name"]),
    "a Deployment of an older TelegramBot": (
        world(rivals=(rival("first", age=90000, same_deployment=True),)),
        "False DeploymentInUse",
        ["first", "delete one"],
    ),
    "a Deployment that another controller makes": (
        world(deployment=deployment(owner=("Rollout", "shop", "u"))),
        "False DeploymentControlled",
        ["Rollout shop", "Recreate"],
    ),
    "a Deployment that cannot make its pod": (
        world(deployment=pinned(failing="exceeded quota: pods=1")),
        "False DeploymentFailed",
        ["exceeded quota"],
    ),
    "a Deployment that has not acted on its latest change": (
        world(deployment=pinned(settled=False), pods=SERVING),
        "False Starting",
        [DEPLOYMENT, "not acted"],
    ),
    "a pod of the template before": (
        world(deployment=pinned(updated=0), pods=SERVING),
        "False Starting",
        ["bot-a", "previous version"],
    ),
    "a Deployment that may not be read": (
        world(deployment=None, failures=(denied("get", "deployments.apps"),)),
        "False Forbidden",
        ["get deployments.apps"],
    ),
    "a Deployment that is not pinned yet": (
        world(deployment=deployment(replicas=3), pods=SERVING),
        "False NotPinned",
        ["replicas 3", "RollingUpdate"],
    ),
    "a Deployment that may not be changed": (
        world(deployment=deployment(replicas=3), pods=SERVING, failures=(CANNOT_PATCH,)),
        "False PatchDenied",
        ["patch deployments.apps", "grant"],
    ),
    "no lock in the template": (
        world(deployment=pinned(lock=None), pods=SERVING),
        "False LockMissing",
        [DEPLOYMENT, "lock"],
    ),
    "no Secret": (
        world(token=missing(TokenState.SECRET_NOT_FOUND), pods=SERVING),
        "False TokenNotFound",
        ["Secret shop-token", "spec.token.secretKeyRef.name"],
    ),
    "no such key": (
        world(token=missing(TokenState.KEY_NOT_FOUND), pods=SERVING),
        "False TokenNotFound",
        ["Secret shop-token", "key token", "spec.token.secretKeyRef.key"],
    ),
    "an empty key": (
        world(token=missing(TokenState.EMPTY), pods=SERVING),
        "False TokenNotFound",
        ["key token of Secret shop-token", "empty"],
    ),
    "a key that holds something else": (
        world(token=missing(TokenState.NOT_A_TOKEN), pods=SERVING),
        "False TokenInvalid",
        ["key token of Secret shop-token", "@BotFather"],
    ),
    "a token that may not be read is no reason: the bot itself can": (
        world(token=missing(TokenState.FORBIDDEN), failures=(CANNOT_READ_SECRETS,), pods=SERVING),
        "True Running",
        [],
    ),
    "a spec that cannot be understood": (world(telegram_bot(spec={})), "False InvalidSpec", ["deploymentRef"]),
    "a TelegramBot that is being deleted": (world(telegram_bot(deleting=True)), "False Deleting", [BOT]),
    "an older TelegramBot of the same bot": (
        world(deployment=pinned(replicas=0), rivals=(rival("first", age=90000),)),
        "False DuplicateBot",
        ["first", "Delete one"],
    ),
    "an older TelegramBot of the same bot in a namespace that the reader may not know": (
        world(deployment=pinned(replicas=0), rivals=(rival("first", namespace="secret", age=90000),)),
        "False DuplicateBot",
        ["another namespace is older"],
    ),
    "a TelegramBot of the same bot and the same second": (
        world(deployment=pinned(replicas=0), rivals=(rival("first", age=86400),)),
        "False DuplicateBot",
        ["first was made in the same second and goes first"],
    ),
    "a pod that waits for one of another namespace": (
        world(pods=[pod("new", node=""), pod("old", namespace="secret")]),
        "False WaitingForTurn",
        ["until one in another namespace is gone"],
    ),
}

# --- Singleton ------------------------------------------------------------------------------------------------------

SINGLETON: Table = {
    "one pod": (world(pods=SERVING), "True OnePod", ["bot-a"]),
    "no pod": (world(), "True NoPod", []),
    "a pod that no node has got cannot poll": (world(pods=[pod(node="")]), "True NoPod", []),
    "a dead pod cannot poll": (
        world(pods=[pod("bot-a"), pod("dead", phase="Failed", containers=[ended()])]),
        "True OnePod",
        ["bot-a"],
    ),
    "a pod that waits for the one before it cannot poll": (
        world(pods=[pod("old", terminating=-5), pod("new", node="")]),
        "True OnePod",
        ["old"],
    ),
    "two pods": (world(pods=[pod("bot-a"), pod("bot-b")]), "False DuplicatePods", ["bot-a, bot-b"]),
    "two pods, one of them going": (
        world(pods=[pod("bot-a"), pod("bot-b", terminating=-5)]),
        "False TerminatingPodStillRunning",
        ["bot-a, bot-b"],
    ),
    "two pods on their way out": (
        world(pods=[pod("bot-a", terminating=-5), pod("bot-b", terminating=-5)]),
        "False TerminatingPodStillRunning",
        ["bot-a, bot-b"],
    ),
    "two pods and one that is going": (
        world(pods=[pod("bot-a"), pod("bot-b"), pod("bot-c", terminating=-5)]),
        "False DuplicatePods",
        ["bot-a, bot-b, bot-c"],
    ),
    "a hanging pod whose node is silent": (
        world(pods=HUNG, nodes={"node-1": node(ready=False)}),
        "Unknown PodUnreachable",
        ["bot-a", "node"],
    ),
    "a hanging pod whose node could not be read": (world(pods=HUNG), "Unknown PodUnreachable", ["bot-a"]),
    "a hanging pod whose containers have ended, on a node that is Ready again for a moment": (
        world(pods=STOPPED, nodes=BACK),
        "True OnePod",
        ["bot-a"],
    ),
    "... beside its successor: not proven, so it counts": (
        world(pods=[*STOPPED, pod("bot-b")], nodes=BACK),
        "False TerminatingPodStillRunning",
        ["bot-a, bot-b"],
    ),
    "pods that may not be listed": (world(failures=(CANNOT_LIST,)), "Unknown Forbidden", ["list pods", "grant"]),
    "a pod of another namespace is not named": (
        world(pods=[pod("bot-a"), ownerless("secret-pod", namespace="secret")]),
        "False DuplicatePods",
        ["bot-a", "another namespace"],
    ),
}

# --- Pinned ---------------------------------------------------------------------------------------------------------

POLICIES = frozenset({"lock.singleton.bot", "pin.singleton.bot", "scale.singleton.bot", "token.singleton.bot"})
ENFORCED = Admission(policies=POLICIES, table={DEPLOYMENT: f"{IDENTITY} Scheduler 1 {BOT}"})

PINNED: Table = {
    "replicas 1, Recreate, locked": (world(), "True Pinned", [DEPLOYMENT, "Recreate", IDENTITY]),
    "replicas 0 while suspended": (world(SUSPENDED, deployment=pinned(replicas=0)), "True Pinned", ["replicas 0"]),
    "without a lock, as asked": (
        world(telegram_bot(spec=adopts(lock="None")), deployment=pinned(lock=None)),
        "True Pinned",
        ["without a lock"],
    ),
    "scaled": (world(deployment=pinned(replicas=2)), "False NotPinned", ["replicas 2"]),
    "scaled, and replicas have to wait for a rollout": (
        world(deployment=pinned(replicas=2, settled=False, updated=1)),
        "False NotPinned",
        ["replicas 2"],
    ),
    "a lock that is not asked for any more, and waits to come off": (
        world(telegram_bot(spec=adopts(lock="None")), pods=[pod(terminating=-5)]),
        "True Pinned",
        ["without a lock"],
    ),
    "started although suspended": (world(SUSPENDED), "False NotPinned", ["replicas 1"]),
    "rolling": (world(deployment=pinned(strategy="RollingUpdate")), "False NotPinned", ["RollingUpdate"]),
    "by the admission policies": (
        world(deployment=pinned(lock=None), admission=ENFORCED),
        "True Pinned",
        ["at admission"],
    ),
    "by admission policies that came a moment ago": (
        world(deployment=pinned(lock=None), admission=replace(ENFORCED, new=True)),
        "False LockMissing",
        [DEPLOYMENT, "a moment ago"],
    ),
    "by the template, until the admission policies are older": (
        world(admission=replace(ENFORCED, new=True)),
        "True Pinned",
        [DEPLOYMENT],
    ),
    "by the admission policies, whose table lacks it": (
        world(deployment=pinned(lock=None), admission=Admission(policies=POLICIES)),
        "False LockMissing",
        [DEPLOYMENT],
    ),
    "a pod that the admission policies did not lock": (
        world(admission=replace(ENFORCED, failed="pod bot-a"), unlocked="pod bot-a"),
        "False LockMissing",
        ["pod bot-a", "the pod template does"],
    ),
    "the admission policies are trusted no more": (
        world(admission=replace(ENFORCED, failed="pod bot-a")),
        "True Pinned",
        ["did not lock pod bot-a", "the pod template does"],
    ),
    "some of the admission policies are missing": (
        world(admission=Admission(policies=frozenset({"scale.singleton.bot"}))),
        "True Pinned",
        ["not installed: admission policy lock.singleton.bot, pin.singleton.bot, token.singleton.bot"],
    ),
    "a lock table that cannot be written": (
        world(admission=Admission(policies=POLICIES, problem="the lock table cannot be written: it is full")),
        "True Pinned",
        ["it is full"],
    ),
    "an autoscaler": (
        world(deployment=pinned(replicas=2), autoscalers=("busy",)),
        "False AutoscalerFound",
        ["HorizontalPodAutoscaler busy", DEPLOYMENT, "delete it"],
    ),
    "no Deployment of our own yet": (
        world(telegram_bot(spec=owns()), deployment=None),
        "False NotPinned",
        [BOT, "not there yet"],
    ),
    "locked on another identity": (world(deployment=pinned(lock="111111")), "False LockMissing", [DEPLOYMENT]),
    "a label without its anti-affinity": (
        world(
            deployment=pinned(template=template_body(lock=None) | {"metadata": {"labels": {"singleton.bot/bot": "x"}}})
        ),
        "False LockMissing",
        [DEPLOYMENT],
    ),
    "scaled, and the right to patch is missing": (
        world(deployment=pinned(replicas=2), failures=(CANNOT_PATCH,)),
        "False PatchDenied",
        ["replicas 2", "patch deployments.apps"],
    ),
    "scaled, and an admission rule refuses": (
        world(deployment=pinned(replicas=2), failures=(ADMISSION,)),
        "False PatchDenied",
        ["replicas 2", "not on a Friday"],
    ),
    "a field manager keeps setting it": (
        world(contest=Contest(keeping=Keeping("helm", frozenset({Field.REPLICAS}), at(60)))),
        "True FieldManagerConflict",
        ["one replica", "field manager helm keeps setting replicas", "docs/gitops.md"],
    ),
    "an operator before this one has said that somebody does": (
        world(contest=Contest(said="field manager helm keeps setting replicas", said_until=at(60))),
        "True FieldManagerConflict",
        ["field manager helm keeps setting replicas"],
    ),
    "the lock is left out, since it would be taken out again": (
        world(deployment=pinned(lock=None), contest=Contest(held=Held("helm", 2, claimed=True))),
        "False FieldManagerConflict",
        ["field manager helm", DEPLOYMENT, "deploy/admission", "docs/gitops.md"],
    ),
    "no Deployment": (world(deployment=None), "False DeploymentNotFound", [DEPLOYMENT]),
    "a token that may not be read": (
        world(token=missing(TokenState.FORBIDDEN), failures=(CANNOT_READ_SECRETS,)),
        "True Pinned",
        ["token cannot be read", IDENTITY],
    ),
    "lock: Gate": (world(takes_turns(), deployment=gated()), "True Pinned", [IDENTITY, "one turn at a time"]),
    "lock: Gate, and the gate is not in the template yet": (world(takes_turns()), "False LockMissing", [DEPLOYMENT]),
    "lock: Scheduler, and the gate is still in the template": (
        world(deployment=gated()),
        "False LockMissing",
        [DEPLOYMENT],
    ),
}

# --- Conflicted -----------------------------------------------------------------------------------------------------

OURS = (lived("bot-a"), lived("bot-b", until=-5))

CONFLICTED: Table = {
    "no 409": (world(pods=SERVING), "False NoConflict", ["300 s"]),
    "no 409 in a window of one's own": (
        world(telegram_bot(spec=adopts(conflict={"clearAfterSeconds": 42}))),
        "False NoConflict",
        ["42 s"],
    ),
    "no 409, and logs are not read": (
        world(telegram_bot(spec=adopts(conflict={"logs": False}))),
        "False NoConflict",
        ["conflict.logs"],
    ),
    "no 409, but the log could not be read": (
        world(log_problem="the log of pod bot-a cannot be read: 403"),
        "False NoConflict",
        ["the log of pod bot-a cannot be read"],
    ),
    "a 409 longer ago than the window": (world(findings=(conflict(-301),)), "False NoConflict", []),
    "a 409, and nobody has been looked for yet": (fighting(), "True CauseUnknown", ["bot-a", "being looked for"]),
    "a 409, and nobody was found": (
        fighting(search=looked()),
        "True CauseUnknown",
        ["bot-a", "no other pod was found", "somebody outside"],
    ),
    "a 409, and pods of other namespaces may not be listed": (
        fighting(search=looked(left_out="the others were not looked at")),
        "True CauseUnknown",
        ["bot-a", "(the others were not looked at)"],
    ),
    "a 409, and nobody could be looked for": (
        fighting(search=looked(problem="the operator may not list pods in namespace shop: grant it that verb")),
        "True CauseUnknown",
        ["bot-a", "could not be looked for", "grant it that verb"],
    ),
    "a 409 of a bot whose token is not named": (
        fighting(bot=TOKENLESS, token=TokenView()),
        "True CauseUnknown",
        ["bot-a", "name the token in spec.token"],
    ),
    "two pods": (fighting(spans=OURS), "True DuplicatePods", ["bot-a, bot-b", "all but one go"]),
    "two pods, and that is only reported": (
        fighting(bot=telegram_bot(spec=adopts(duplicates="Report")), spans=OURS),
        "True DuplicatePods",
        ["bot-a, bot-b", "delete all but one"],
    ),
    "two pods, one of another namespace": (
        fighting(spans=(lived("bot-a"), replace(lived("secret-name"), namespace="secret"))),
        "True DuplicatePods",
        ["bot-a, one in another namespace"],
    ),
    "a stray pod": (
        fighting(search=looked(stray())),
        "True StrayPod",
        ["shop/debug", "cuts off pod bot-a", "container bot has the token from Secret shop-token", "it is deleted"],
    ),
    "a stray pod that is being deleted": (
        fighting(search=looked(stray(deleting=True))),
        "True StrayPod",
        ["shop/debug", "being deleted"],
    ),
    "a stray pod that has gone by itself": (
        fighting(search=looked(stray(until=-9))),
        "True StrayPod",
        ["shop/debug", "not there any more"],
    ),
    "a stray pod that is only reported": (
        fighting(bot=telegram_bot(spec=adopts(duplicates="Report")), search=looked(stray())),
        "True StrayPod",
        ["shop/debug", "kubectl -n shop delete pod debug"],
    ),
    "a stray pod that may want another key of the Secret": (
        fighting(search=looked(stray(sure=False))),
        "True StrayPod",
        ["shop/debug", "kubectl -n shop delete pod debug"],
    ),
    "a stray pod that ran beside the bot for long": (
        fighting(search=looked(stray(since=-200))),
        "True StrayPod",
        ["shop/debug", "without a conflict", "make sure that it polls", "kubectl -n shop delete pod debug"],
    ),
    "a stray pod of a Deployment": (
        fighting(search=looked(stray("copy-7f-x", controller="Deployment copy"))),
        "True StrayPod",
        ["shop/copy-7f-x of Deployment copy", "scale Deployment copy to 0"],
    ),
    "a stray pod of another namespace": (
        fighting(search=looked(stray(namespace="staging"))),
        "True StrayPod",
        ["staging/debug", "kubectl -n staging delete pod debug"],
    ),
    "many stray pods": (
        fighting(search=looked(*(stray(f"debug-{number}") for number in range(9)))),
        "True StrayPod",
        ["shop/debug-0, shop/debug-1, shop/debug-2", "9 such pods"],
    ),
    "a pod of a TelegramBot that has the token under another identity": (
        fighting(search=looked(stray("copy-7f-x", worn="shop.copy", controller="Deployment copy"))),
        "True DuplicateBot",
        ["shop/copy-7f-x of Deployment copy", "singleton.bot/bot: shop.copy", "delete one of the two"],
    ),
    "two containers of the pod have the token": (
        fighting(
            search=looked(
                crowds=(
                    Crowd("bot-a", "uid-bot-a", "containers bot and worker have the token; let only one of them poll"),
                )
            )
        ),
        "True InsidePod",
        ["pod bot-a", "containers bot and worker", "only one"],
    ),
    "a pod that was being deleted": (
        fighting(spans=(lived("bot-a"), lived("bot-b", deleted=-20, until=-5))),
        "True TerminatingPod",
        ["pod bot-b, which was being deleted", "bot-a was cut off", "SIGTERM"],
    ),
    "another TelegramBot": (
        fighting(rivals=(rival("second", age=60),)),
        "True DuplicateBot",
        ["TelegramBot second with Deployment second-deployment", "delete one"],
    ),
    "another TelegramBot, of another namespace": (
        fighting(rivals=(rival("second", namespace="secret", age=60),)),
        "True DuplicateBot",
        ["of another namespace"],
    ),
    "a webhook is active": (
        fighting(ConflictKind.WEBHOOK_ACTIVE),
        "True WebhookActive",
        ["deleteWebhook", "delivery: Webhook"],
    ),
    "a webhook was set": (
        fighting(ConflictKind.TERMINATED_BY_SET_WEBHOOK),
        "True WebhookSet",
        ["setWebhook", "delivery: Webhook"],
    ),
    "somebody outside": (
        world(pods=SERVING, findings=(conflict(-60), conflict(-10)), spans=(lived("bot-a"),), search=looked()),
        "True ExternalPoller",
        ["bot-a", "stop it", "@BotFather"],
    ),
}

# --- Reconciling ----------------------------------------------------------------------------------------------------

RECONCILING: Table = {
    "all is well": (world(pods=SERVING), "False Settled", []),
    "suspended": (world(SUSPENDED, deployment=pinned(replicas=0)), "False Settled", []),
    "suspended, and the Deployment has not acted on it": (
        world(SUSPENDED, deployment=pinned(replicas=0, settled=False)),
        "True RollingOut",
        [DEPLOYMENT],
    ),
    "something is being repaired": (world(deployment=pinned(replicas=3)), "True Repairing", []),
    "a request failed that will be made again": (
        world(pods=SERVING, failures=(UNWELL,)),
        "True Repairing",
        ["patch pods", "etcd is away"],
    ),
    "forced deletes are held back": (
        world(
            pods=[pod(name, node="", terminating=90) for name in ("a", "b")],
            held_back={"uid-a": Later(at(4005), 4005.0), "uid-b": Later(at(4000), 4000.0)},
        ),
        "True Repairing",
        ["pod a, b is not force-deleted before 13:06:40 UTC", "at most 10 are in a minute"],
    ),
    "a pod is starting": (world(pods=CREATING), "True RollingOut", ["bot-a"]),
    "a rollout": (world(deployment=pinned(updated=0), pods=SERVING), "True RollingOut", [DEPLOYMENT]),
    "a Deployment that has not acted on its latest change": (
        world(deployment=pinned(settled=False), pods=SERVING),
        "True RollingOut",
        [DEPLOYMENT],
    ),
    "replicas that have to wait for a rollout": (
        world(deployment=pinned(replicas=2, settled=False, updated=1), pods=SERVING),
        "True RollingOut",
        [DEPLOYMENT],
    ),
    "a Deployment is waited for": (world(deployment=None), "True DeploymentNotFound", [DEPLOYMENT]),
    "a person must act": (world(telegram_bot(spec={})), "False InvalidSpec", ["person"]),
}

# --- Stalled --------------------------------------------------------------------------------------------------------

NEVER = telegram_bot(spec=adopts(stuckPods={"policy": "Never"}))
WELL = {"node-1": node()}
SILENT = {"node-1": node(ready=False)}

STALLED: Table = {
    "all is well": (world(pods=SERVING), "False NotStalled", []),
    "a Deployment that is not there yet may come": (world(deployment=None), "False NotStalled", []),
    "a spec that cannot be understood": (world(telegram_bot(spec={})), "True InvalidSpec", ["template"]),
    "an older TelegramBot of the same bot": (
        world(deployment=pinned(replicas=0), rivals=(rival("first", age=90000),)),
        "True DuplicateBot",
        ["first", "Delete one"],
    ),
    "a pod that does not stop on a Ready node": (
        world(pods=HUNG, nodes=WELL),
        "True TerminatingPodStillRunning",
        ["bot-a", "does not stop", "stuckPods.policy: Force"],
    ),
    "two pods that do not stop": (
        world(pods=[*HUNG, pod("bot-b", terminating=900)], nodes=WELL),
        "True TerminatingPodStillRunning",
        ["bot-a"],
    ),
    "a pod whose containers have ended, on a node that is Ready again for a moment: time heals it": (
        world(pods=STOPPED, nodes=BACK),
        "False NotStalled",
        [],
    ),
    "... but where Never leaves it, a person must act all the same": (
        world(NEVER, pods=STOPPED, nodes=BACK),
        "True PodUnreachable",
        ["bot-a", "Ready for a minute", "stuckPods.policy: Never"],
    ),
    "a pod on a silent node": (
        world(pods=HUNG, nodes=SILENT),
        "True PodUnreachable",
        ["bot-a", "node.kubernetes.io/out-of-service", "stuckPods.policy: Force"],
    ),
    "a dead pod that Never leaves": (
        world(NEVER, pods=HUNG, nodes={"node-1": None}),
        "True PodUnreachable",
        ["bot-a", "stuckPods.policy: Never"],
    ),
    "a pod vanished, and its node does not answer": (
        waits(claim=BEFORE, ended=MISSED, nodes=SILENT),
        "True PodUnreachable",
        ["shop/old vanished", "node-1 does not answer", "is off", "delete the node", f"Lease telegrambot-{IDENTITY}"],
    ),
    "a pod vanished, and nobody knows where it ran": (
        waits(claim=Claim("7", "shop/old", "uid-old"), ended=MISSED),
        "True PodUnreachable",
        ["shop/old vanished", "nobody knows on which node", f"Lease telegrambot-{IDENTITY}"],
    ),
    "a pod vanished, and its node may not be read": (
        waits(claim=BEFORE, ended=MISSED, failures=(denied("get", "nodes", ""),)),
        "True PodUnreachable",
        ["node-1 could not be read; the operator may not get nodes cluster-wide: grant it that verb", "is off"],
    ),
    "a pod vanished from a node that does not answer, and something else may not be read": (
        waits(claim=BEFORE, ended=MISSED, nodes=SILENT, failures=(denied("get", "pods"),)),
        "True PodUnreachable",
        ["node-1 does not answer; make sure that it is off"],
    ),
    "a pod hangs, and its node may not be read": (
        world(pods=HUNG, failures=(denied("get", "nodes", ""),)),
        "True PodUnreachable",
        ["its node could not be read; the operator may not get nodes cluster-wide: grant it that verb", "is off"],
    ),
    "a pod vanished, and time will tell": (
        waits(claim=BEFORE, ended=MISSED, nodes={"node-1": node()}),
        "False NotStalled",
        [],
    ),
    "a held pod that waits for one that may be polling": (
        waits(pod("old", terminating=-5)),
        "False NotStalled",
        [],
    ),
    "the Lease may not be read": (
        waits(claim=None, failures=(CANNOT_READ_LEASES,)),
        "True Forbidden",
        ["get leases.coordination.k8s.io", "grant"],
    ),
    "a dead pod is dealt with": (world(pods=HUNG, nodes={"node-1": None}), "False NotStalled", []),
    "a finalizer of somebody else": (
        world(pods=[pod("bot-a", terminating=900, finalizers=["example.com/backup"])], nodes=WELL),
        "True TerminatingPodStillRunning",
        ["example.com/backup", "bot-a"],
    ),
    "the pin is refused": (
        world(deployment=pinned(replicas=3), failures=(ADMISSION,)),
        "True PatchDenied",
        ["not on a Friday"],
    ),
    "no token": (world(token=missing(TokenState.EMPTY), pods=SERVING), "True TokenNotFound", ["Secret shop-token"]),
    "no good token": (world(token=missing(TokenState.NOT_A_TOKEN)), "True TokenInvalid", ["@BotFather"]),
    "without the right to read Secrets all else works": (
        world(token=missing(TokenState.FORBIDDEN), failures=(CANNOT_READ_SECRETS,), pods=SERVING),
        "False NotStalled",
        [],
    ),
    "a right is missing": (
        world(pods=SERVING, failures=(CANNOT_DELETE,)),
        "True Forbidden",
        ["delete pods", "grant"],
    ),
    "a template that the API server refuses": (
        world(pods=SERVING, failures=(INVALID,)),
        "True Refused",
        ["containers[0].image"],
    ),
    "a request that only failed is made again": (world(pods=SERVING, failures=(UNWELL,)), "False NotStalled", []),
    "a second pod of another controller": (
        world(pods=[pod("bot-a"), pod("set-0", controller=("StatefulSet", "set"))]),
        "True DuplicatePods",
        ["set-0 of StatefulSet set", "remove that"],
    ),
    "a second pod that duplicates: Report leaves": (
        world(telegram_bot(spec=adopts(duplicates="Report")), pods=[pod("bot-a"), ownerless("stray")]),
        "True DuplicatePods",
        ["stray", "duplicates: Report"],
    ),
    "a webhook is active": (fighting(ConflictKind.WEBHOOK_ACTIVE), "True WebhookActive", ["deleteWebhook"]),
    "a webhook was set": (fighting(ConflictKind.OTHER_SET_WEBHOOK), "True WebhookSet", ["setWebhook"]),
    "somebody outside": (
        world(pods=SERVING, findings=(conflict(-60), conflict(-10)), spans=(lived("bot-a"),), search=looked()),
        "True ExternalPoller",
        ["revoke"],
    ),
    "a conflict of our own pods is ours to end": (fighting(spans=OURS), "False NotStalled", []),
    "a stray pod is ours to end": (fighting(search=looked(stray())), "False NotStalled", []),
    "a stray pod that is gone": (fighting(search=looked(stray(until=-9))), "False NotStalled", []),
    "a stray pod of a Deployment": (
        fighting(search=looked(stray(controller="Deployment copy"))),
        "True StrayPod",
        ["Deployment copy"],
    ),
    "a stray pod of another namespace": (fighting(search=looked(stray(namespace="else"))), "True StrayPod", []),
    "a stray pod that is only reported": (
        fighting(bot=telegram_bot(spec=adopts(duplicates="Report")), search=looked(stray())),
        "True StrayPod",
        ["kubectl"],
    ),
    "a pod of a TelegramBot under another identity": (
        fighting(search=looked(stray(worn="shop.copy"))),
        "True DuplicateBot",
        ["delete one of the two"],
    ),
    "several pollers in the pod": (
        fighting(
            search=looked(
                crowds=(
                    Crowd("bot-a", "uid-bot-a", "containers bot and worker have the token; let only one of them poll"),
                )
            )
        ),
        "True InsidePod",
        ["only one"],
    ),
}

TABLES = {
    ConditionType.READY: READY,
    ConditionType.SINGLETON: SINGLETON,
    ConditionType.PINNED: PINNED,
    ConditionType.CONFLICTED: CONFLICTED,
    ConditionType.RECONCILING: RECONCILING,
    ConditionType.STALLED: STALLED,
}
CASES = [
    pytest.param(kind, *case, id=f"{kind}: {name}: {case[1]}")
    for kind, table in TABLES.items()
    for name, case in table.items()
]
WORLDS = {f"{kind}: {name}": case[0] for kind, table in TABLES.items() for name, case in table.items()}


@pytest.mark.parametrize(("kind", "seen", "expected", "named"), CASES)
def test_conditions(kind: str, seen: Observed, expected: str, named: list[str]) -> None:
    status, reason, message = said(status_of(seen), kind)
    assert f"{status} {reason}" == expected, message
    assert [each for each in named if each not in message] == [], message


def test_no_reason_is_public_that_no_world_leads_to() -> None:
    reached = {each["reason"] for seen in WORLDS.values() for each in status_of(seen)["conditions"]}
    assert set(Reason) - reached == set()


# --- In every world -------------------------------------------------------------------------------------------------

every_world = pytest.mark.parametrize("seen", WORLDS.values(), ids=WORLDS)


@every_world
def test_every_condition_is_written_every_time_and_complete(seen: Observed) -> None:
    found = status_of(seen)["conditions"]
    assert [each["type"] for each in found] == [str(kind) for kind in ConditionType]
    assert [each for each in found if not (each["reason"] and each["message"])] == []
    assert {each["observedGeneration"] for each in found} == {2}


@every_world
def test_the_status_fits_its_own_schema(seen: Observed) -> None:
    status = status_of(seen)
    assert TelegramBotStatus.model_validate(status).model_dump(by_alias=True, exclude_none=True) == status


@every_world
def test_an_unchanged_world_gives_an_equal_status(seen: Observed) -> None:
    """INV-8: equal to the last letter, also a second later, so that nothing is written."""
    first = status_of(seen)
    assert status_of(remembering(seen, first), seconds=1) == first


@every_world
def test_the_order_in_which_pods_are_listed_changes_no_word(seen: Observed) -> None:
    assert status_of(replace(seen, pods=seen.pods[::-1])) == status_of(seen)


@every_world
def test_a_resource_that_waits_for_a_person_is_not_said_to_be_reconciling_by_itself(seen: Observed) -> None:
    """kstatus, which Argo CD and Flux use, takes the two for opposites, except while something is still being done."""
    status = status_of(seen)
    if said(status, "Stalled")[0] == "True" and said(status, "Reconciling")[0] == "True":
        assert said(status, "Reconciling")[1] == Reason.REPAIRING


@every_world
def test_ready_is_true_only_where_one_pod_is_pinned_and_nobody_fights(seen: Observed) -> None:
    status = status_of(seen)
    if said(status, "Ready")[0] == "True":
        others = [said(status, kind)[0] for kind in ("Singleton", "Pinned", "Conflicted")]
        assert others == ["True", "True", "False"]
        assert status["runningPods"] == 1


@every_world
def test_names_of_another_namespace_are_told_to_nobody(seen: Observed) -> None:
    text = str(status_of(seen))
    assert "secret-pod" not in text
    assert "namespace secret" not in text


def remembering(seen: Observed, status: Json) -> Observed:
    """The same world, with this status stored."""
    assert seen.bot is not None
    return replace(seen, bot=replace(seen.bot, status=status))


# --- Policies whose age is not known --------------------------------------------------------------------------------


def test_an_operator_that_has_just_started_keeps_to_what_it_said_of_the_policies() -> None:
    sure = world(deployment=pinned(lock=None), admission=ENFORCED)
    unsure = replace(sure, admission=replace(ENFORCED, new=True))
    before = status_of(sure)
    assert status_of(remembering(unsure, before)) == before


def test_but_not_to_what_it_said_of_another_lock() -> None:
    without = world(telegram_bot(spec=adopts(lock="None")), deployment=pinned(lock=None), admission=ENFORCED)
    unsure = world(deployment=pinned(lock=None), admission=replace(ENFORCED, new=True))
    assert said(status_of(remembering(unsure, status_of(without))), "Pinned")[:2] == ("False", "LockMissing")


# --- Times ----------------------------------------------------------------------------------------------------------


def times(status: Json) -> dict[str, str]:
    return {each["type"]: each["lastTransitionTime"] for each in status["conditions"]}


def test_the_transition_time_moves_only_when_the_status_flips() -> None:
    starting = status_of(world(pods=CREATING), seconds=-100)
    crashing = status_of(remembering(world(pods=LOOPING), starting), seconds=-50)
    serving = status_of(remembering(world(pods=SERVING), crashing), seconds=0)
    assert said(starting, "Ready")[:2] != said(crashing, "Ready")[:2]
    assert times(crashing)["Ready"] == times(starting)["Ready"]
    assert times(serving)["Ready"] != times(crashing)["Ready"]
    assert times(serving)["Pinned"] == times(starting)["Pinned"]


def test_a_conflict_is_over_when_its_window_is() -> None:
    before = status_of(fighting())
    after = status_of(remembering(fighting(), before), seconds=291)
    assert said(before, "Conflicted")[0] == "True"
    assert said(after, "Conflicted")[:2] == ("False", "NoConflict")
    assert said(after, "Ready")[0] == "True"
    assert after["lastConflict"] == before["lastConflict"]


def test_while_the_deployment_has_not_acted_what_was_said_of_the_pod_stands() -> None:
    """Our own patch must not make Ready flicker."""
    before = status_of(world(pods=SERVING))
    meanwhile = remembering(world(pods=SERVING, deployment=pinned(settled=False)), before)
    assert said(status_of(meanwhile), "Ready") == said(before, "Ready")


def test_while_the_deployment_has_not_acted_nothing_else_that_was_said_stands() -> None:
    before = status_of(world(deployment=deployment(replicas=3), pods=SERVING))
    meanwhile = remembering(world(pods=SERVING, deployment=pinned(settled=False)), before)
    assert said(before, "Ready")[1] == Reason.NOT_PINNED
    assert said(status_of(meanwhile), "Ready")[:2] == ("False", "Starting")


# While the Deployment has not acted: its pods, and what Ready is although it was True.
NOT_WELL = {
    "its pod is gone": ([], "Starting"),
    "its pod is going": ([pod("bot-a", terminating=-5)], "WaitingForTurn"),
    "its pod crashes": (LOOPING, "CrashLoop"),
    "its pod is no longer ready": ([pod("bot-a", ready=False)], "PodNotReady"),
    "it has two pods": ([pod("bot-a"), pod("bot-b")], "DuplicatePods"),
}


@pytest.mark.parametrize(("pods", "reason"), NOT_WELL.values(), ids=NOT_WELL)
def test_ready_does_not_stand_where_the_pod_itself_says_otherwise(pods: list[Pod], reason: str) -> None:
    """A Deployment controller that is down must not keep Ready true."""
    meanwhile = remembering(world(deployment=pinned(settled=False), pods=pods), status_of(world(pods=SERVING)))
    assert said(status_of(meanwhile), "Ready")[:2] == ("False", reason)


def test_ready_does_not_stand_once_the_deployment_has_acted_and_will_replace_the_pod() -> None:
    rolling = remembering(world(deployment=pinned(updated=0), pods=SERVING), status_of(world(pods=SERVING)))
    assert said(status_of(rolling), "Ready")[:2] == ("False", "Starting")


UNSETTLED = world(deployment=pinned(settled=False), pods=SERVING)


@pytest.mark.parametrize(
    ("before", "expected"),
    [
        (world(pods=SERVING), ("False", "Settled")),
        (world(deployment=pinned(updated=0), pods=SERVING), ("True", "RollingOut")),
        (world(deployment=pinned(replicas=3), pods=SERVING), ("True", "RollingOut")),
        (world(pods=SERVING, failures=(UNWELL,)), ("True", "RollingOut")),
    ],
    ids=[
        "settled stays settled",
        "a rollout goes on",
        "a repair goes on as a rollout",
        "a repair of a bot that is ready does so too",
    ],
)
def test_while_the_deployment_has_not_acted_reconciling_keeps_its_word(
    before: Observed, expected: tuple[str, str]
) -> None:
    """A change of a label, say, is a new generation and no rollout."""
    meanwhile = remembering(UNSETTLED, status_of(before))
    assert said(status_of(meanwhile), "Reconciling")[:2] == expected


def test_reconciling_does_not_stay_settled_where_the_pod_itself_says_otherwise() -> None:
    meanwhile = remembering(replace(UNSETTLED, pods=tuple(LOOPING)), status_of(world(pods=SERVING)))
    assert said(status_of(meanwhile), "Reconciling")[:2] == ("True", "RollingOut")


def test_reconciling_does_not_stay_settled_once_the_deployment_has_acted() -> None:
    rolling = remembering(world(deployment=pinned(updated=0), pods=SERVING), status_of(world(pods=SERVING)))
    assert said(status_of(rolling), "Reconciling")[:2] == ("True", "RollingOut")


# --- The other fields -----------------------------------------------------------------------------------------------


def test_the_fields_tell_of_the_pod_that_is_the_bot() -> None:
    status = status_of(world(pods=[pod("bot-a", containers=[running(last=ending())]), pod("bot-b", terminating=-5)]))
    shown = {key: status[key] for key in ("deployment", "pod", "node", "runningPods", "terminatingPods", "restarts")}
    assert shown == {
        "deployment": DEPLOYMENT,
        "pod": "bot-a",
        "node": "node-1",
        "runningPods": 2,
        "terminatingPods": 1,
        "restarts": 1,
    }


def test_without_a_pod_there_is_none_in_the_status() -> None:
    status = status_of(world())
    assert [key for key in ("pod", "node", "restarts") if key in status] == []
    assert status["runningPods"] == 0


def test_a_pod_that_is_going_is_shown_until_there_is_another() -> None:
    assert status_of(world(pods=[pod("old", terminating=-5)]))["pod"] == "old"
    assert status_of(world(pods=[pod("old", terminating=-5), pod("new", node="")]))["pod"] == "new"


def test_the_loser_of_an_identity_does_not_show_the_winners_pod_as_its_own() -> None:
    loser = world(
        deployment=pinned(replicas=0),
        rivals=(rival(age=90000),),
        pods=[pod("winners", controller=("ReplicaSet", "winner-77"), template_hash="77")],
    )
    assert "pod" not in status_of(loser)


def test_the_bot_is_known_by_its_id_as_soon_as_its_token_is() -> None:
    assert status_of(world())["bot"] == {"id": int(IDENTITY)}


def test_what_is_known_of_the_bot_is_kept_while_its_token_cannot_be_read() -> None:
    known = telegram_bot(status={"bot": {"id": 5, "username": "shop_bot"}})
    assert status_of(world(known, token=missing(TokenState.UNREADABLE)))["bot"] == {"id": 5, "username": "shop_bot"}


def test_another_bots_token_forgets_the_name_of_the_one_before() -> None:
    known = telegram_bot(status={"bot": {"id": 5, "username": "shop_bot"}})
    assert status_of(world(known))["bot"] == {"id": int(IDENTITY)}


def test_without_a_token_there_is_no_bot_to_speak_of() -> None:
    assert "bot" not in status_of(world(TOKENLESS, token=TokenView()))


def test_the_last_conflict_is_told_in_full() -> None:
    status = status_of(fighting(spans=OURS))
    assert status["lastConflict"] == {
        "time": "2026-11-24T11:59:50.000000Z",
        "started": "2026-11-24T11:59:50.000000Z",
        "cause": "DuplicatePods",
        "evidence": "Conflict: terminated by other getUpdates request",
        "pod": "bot-a",
        "count": 1,
    }


def test_a_message_of_any_length_fits_into_the_status() -> None:
    long = world(deployment=pinned(failing="x" * 100_000))
    assert len(said(status_of(long), "Ready")[2]) <= 1024


def test_the_status_belongs_to_the_generation_that_was_seen() -> None:
    assert status_of(world(telegram_bot(generation=9)))["observedGeneration"] == 9


def test_no_clock_stands_in_a_message() -> None:
    """A message that ticks would be a write at every pass."""
    for seen in WORLDS.values():
        for each in status_of(seen)["conditions"]:
            assert at(0).strftime("%H:%M") not in each["message"]
