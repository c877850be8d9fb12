"""Every action that was carried out has its line in the log: a new kind of action without one fails here."""

import json
import logging
import typing
from dataclasses import fields
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest

from telegrambot_operator.api.models import SecretKeyRef
from telegrambot_operator.core.actions import (
    Action,
    ApplyDeployment,
    ClaimTurn,
    DeletePod,
    DisownPin,
    EmptyReplicaSet,
    FixWebhook,
    KeepPod,
    LabelPod,
    OpenPod,
    PatchDeployment,
    WriteTable,
)
from telegrambot_operator.core.decisions import DECISIONS, Decision, decision
from telegrambot_operator.settings import Settings
from telegrambot_operator.shell.fence import Fence
from telegrambot_operator.shell.log import _Lines, _Objects, decided
from telegrambot_operator.shell.metrics import Metrics
from telegrambot_operator.shell.reconcile import Guard
from telegrambot_operator.shell.rights import Rights

if TYPE_CHECKING:
    from telegrambot_operator.shell.kube import Kube

SECRET = "AAFq9Zr0bXw3KjT5uYv1LmNp8sQeHd2GcRk"
TOKEN = f"7301948265:{SECRET}"
CLAIM = ClaimTurn("shop", "bot-1", "u1", "7301948265", "", "", "node-1", 30)
DELETE = DeletePod("shop", "bot-1", "u1", "7", False, "DuplicateDeleted", "Pod bot-1 is deleted: it is a second pod.")
FORCED = DeletePod("shop", "bot-1", "u1", "7", True, "StuckPodForceDeleted", "It hung.", proven=True, proof="NodeGone")
HOOK = {"namespace": "shop", "identity": "7301948265", "secret": SecretKeyRef(name="s", key="t"), "generation": 1}

LINES: list[tuple[Action, Decision]] = [
    (
        WriteTable("shop", {"bot": "7301948265 Scheduler", "old": None}),
        Decision("WriteLockTable", "LockTable", "Lock table: bot is entered, old is taken out."),
    ),
    (
        LabelPod("shop", "bot-1", "u1", "7301948265"),
        Decision(
            "LabelPod",
            "NotCounted",
            "Pod bot-1 gets the label of bot 7301948265, so that the lock counts it.",
            pod="bot-1",
        ),
    ),
    (
        KeepPod("shop", "bot-1", "u1", 1000),
        Decision("KeepPod", "BestToKeep", "Pod bot-1 is marked as the one to keep.", pod="bot-1"),
    ),
    (
        PatchDeployment("shop", "bot", "u2", {}, "Pinned", "Deployment bot: replicas 3 -> 1."),
        Decision("PatchDeployment", "Pinned", "Deployment bot: replicas 3 -> 1.", deployment="bot"),
    ),
    (
        DisownPin("shop", "bot", "u2"),
        Decision(
            "DisownPin",
            "HeldAtAdmission",
            "The admission policies hold replicas and strategy: nobody who applies them meets a conflict with us.",
            deployment="bot",
        ),
    ),
    (
        ApplyDeployment("shop", "bot", {}, "Created", "Deployment bot is created."),
        Decision("ApplyDeployment", "Created", "Deployment bot is created.", deployment="bot"),
    ),
    (
        EmptyReplicaSet("shop", "bot-77", "u3", "RolloutUnblocked", "ReplicaSet bot-77 is scaled to 0."),
        Decision("EmptyReplicaSet", "RolloutUnblocked", "ReplicaSet bot-77 is scaled to 0."),
    ),
    (
        DELETE,
        Decision("DeletePod", "DuplicateDeleted", "Pod bot-1 is deleted: it is a second pod.", pod="bot-1"),
    ),
    (FORCED, Decision("ForceDeletePod", "StuckPodForceDeleted", "It hung.", pod="bot-1", proof="NodeGone")),
    (
        CLAIM,
        Decision(
            "ClaimTurn", "TurnTaken", "Pod bot-1 is noted as the one whose turn it is for bot 7301948265.", pod="bot-1"
        ),
    ),
    (
        OpenPod("shop", "bot-1", "u1", ("singleton.bot/turn",), CLAIM, "Pod bot-1 is opened."),
        Decision("OpenPod", "TurnCame", "Pod bot-1 is opened.", pod="bot-1"),
    ),
    (
        FixWebhook(**HOOK, url=None, reason="WebhookDeleted", why="The webhook is deleted."),
        Decision("DeleteWebhook", "WebhookDeleted", "The webhook is deleted."),
    ),
    (
        FixWebhook(**HOOK, url=f"https://example.com/bot{TOKEN}", reason="WebhookRepaired", why="The webhook is set."),
        Decision("SetWebhook", "WebhookRepaired", "The webhook is set."),
    ),
]


@pytest.mark.parametrize(("action", "line"), LINES, ids=lambda each: getattr(each, "what", None))
def test_the_line_of(action: Action, line: Decision) -> None:
    assert decision(action) == line


def test_no_action_is_without_a_line() -> None:
    assert {type(action) for action, _ in LINES} == set(typing.get_args(Action))


def test_every_decision_is_known_by_name() -> None:
    assert {line.what for _, line in LINES} == set(DECISIONS)


# --- How it is written ----------------------------------------------------------------------------------------------


def logged(formatter: logging.Formatter, made: Decision, caplog: pytest.LogCaptureFixture) -> str:
    with caplog.at_level(logging.INFO):
        decided(logging.getLogger("telegrambot_operator.shell.execute"), ("shop", "bot"), made)
    (record,) = caplog.records
    return formatter.format(record)


def test_a_line_for_people(caplog: pytest.LogCaptureFixture) -> None:
    line = logged(_Lines(tracebacks=False), decision(DELETE), caplog)
    assert line.endswith(" INFO shop/bot: DeletePod (DuplicateDeleted): Pod bot-1 is deleted: it is a second pod.")


def test_an_object_for_machines(caplog: pytest.LogCaptureFixture) -> None:
    line = json.loads(logged(_Objects(tracebacks=False), decision(FORCED), caplog))
    assert line.pop("time").endswith("Z")
    assert line == {
        "level": "info",
        "logger": "telegrambot_operator.shell.execute",
        "message": "It hung.",
        "bot": "shop/bot",
        "decision": "ForceDeletePod",
        "reason": "StuckPodForceDeleted",
        "pod": "bot-1",
        "proof": "NodeGone",
    }


@pytest.mark.parametrize("formatter", [_Lines(tracebacks=False), _Objects(tracebacks=False)])
@pytest.mark.parametrize("name", [each.name for each in fields(Decision)])
def test_a_token_is_in_no_field(formatter: logging.Formatter, name: str, caplog: pytest.LogCaptureFixture) -> None:
    """INV-7."""
    made = Decision(**{"what": "DeletePod", "reason": "R", "message": "m", name: f"it is {TOKEN}"})
    assert SECRET not in logged(formatter, made, caplog)


def test_each_is_counted_and_a_forced_delete_by_its_proof() -> None:
    metrics = Metrics()
    kube = SimpleNamespace(fence=Fence(), rights=Rights())
    guard = Guard(cast("Kube", kube), Settings(None, (), "", verbose=False), metrics=metrics)
    for action in (DELETE, FORCED, FORCED):
        guard.executor._decided(("shop", "bot"), action)
    value = metrics.registry.get_sample_value
    assert value("telegrambot_operator_decisions_total", {"decision": "DeletePod"}) == 1
    assert value("telegrambot_operator_decisions_total", {"decision": "ForceDeletePod"}) == 2
    assert value("telegrambot_operator_forced_deletes_total", {"proof": "NodeGone"}) == 2
    assert value("telegrambot_operator_forced_deletes_total", {"proof": "none"}) == 0
