"""`telegrambot-operator doctor` where there is little to look at: one sentence, and the exit code; what it asks for."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any, cast

import pytest

from telegrambot_operator.shell import doctor_cluster
from telegrambot_operator.shell.doctor import Doctor, Kind, Target
from telegrambot_operator.shell.doctor_cluster import Cluster
from telegrambot_operator.shell.kube import PODS, Kube, KubeError, path

from .worlds import bot_body, deployment_body

if TYPE_CHECKING:
    from collections.abc import Mapping

BOTS = "/apis/singleton.bot/v1alpha1/telegrambots"
DEPLOYMENTS = "/apis/apps/v1/deployments"
VERSION = {"gitVersion": "v1.37.2"}


class Answers:
    """An API server that gives what it is told to; of everything else it has none. `asked` is what it was asked."""

    def __init__(self, **answers: Any) -> None:
        self.answers = {"/version": VERSION} | {key.replace("__", "/"): value for key, value in answers.items()}
        self.asked: list[tuple[str, Mapping[str, str]]] = []

    async def get(self, where: str, query: Mapping[str, str] | None = None, **_: Any) -> bytes:
        self.asked.append((where, dict(query or {})))
        await asyncio.sleep(0)
        return self.given(where)

    def given(self, where: str) -> bytes:
        answer = self.answers.get(where, {"metadata": {}, "items": []})
        if isinstance(answer, KubeError):
            raise answer
        return answer if isinstance(answer, bytes) else json.dumps(answer).encode()

    def has(self, where: str, answer: Any) -> Answers:
        self.answers[where] = answer
        return self


def kube(answers: Answers) -> Kube:
    return cast("Kube", answers)


async def doctor(answers: Answers, target: Target, *, as_json: bool = False) -> tuple[int, str, list[str]]:
    """The exit code, what was written, and what was complained of."""
    written: list[str] = []
    complaints: list[str] = []
    doctor = Doctor(kube(answers), "http://127.0.0.1:9", written.append, complaints.append, as_json=as_json)
    return await doctor.run(target), "".join(written), complaints


def items(*bodies: Any) -> dict[str, Any]:
    return {"metadata": {}, "items": list(bodies)}


ALL, ONE = Target(None), Target("shop", "shop-bot")
DEPLOYMENT = Target("shop", "telegram-bot", Kind.DEPLOYMENT)
NOT_FOUND = KubeError(404, "NotFound", "the server could not find the requested resource")
FORBIDDEN = KubeError(403, "Forbidden", 'User "me" cannot list resource "telegrambots" in API group "singleton.bot"')
NOBODY = {
    "nobody answers": (Answers().has("/version", KubeError(0, "NoAnswer", "no answer")), ONE, 3, "there is no cluster"),
    "nobody is known": (
        Answers().has("/version", KubeError(401, "Unauthorized", "Unauthorized")),
        ONE,
        3,
        "there is no cluster to look at: Unauthorized; check KUBECONFIG and its current context",
    ),
    "something else answers": (
        Answers().has("/version", b"<html>"),
        ONE,
        3,
        "what answers is no Kubernetes API server",
    ),
    "no TelegramBot of that name": (
        Answers().has(BOTS, items(bot_body("other"))),
        ONE,
        1,
        "there is no TelegramBot shop-bot in namespace shop; a plain Deployment is looked at as deployment/NAME",
    ),
    "no TelegramBots at all": (Answers(), ALL, 0, "there is no TelegramBot in this cluster; a plain Deployment"),
    "no CRD": (
        Answers().has(BOTS, NOT_FOUND),
        ONE,
        1,
        "there is no TelegramBot shop-bot in namespace shop, nor the CRD that it takes; a plain Deployment",
    ),
    "no right to see TelegramBots": (
        Answers().has(BOTS, FORBIDDEN),
        ALL,
        3,
        "you may not list telegrambots in all namespaces; ask for the right to list telegrambots in all namespaces",
    ),
    "no Deployment of that name": (
        Answers(),
        DEPLOYMENT,
        1,
        "there is no Deployment telegram-bot in namespace shop; name another, or use -n",
    ),
}


@pytest.mark.parametrize(("answers", "target", "code", "words"), NOBODY.values(), ids=NOBODY)
async def test_one_sentence_where(answers: Answers, target: Target, code: int, words: str) -> None:
    found, written, (complaint,) = await doctor(answers, target)
    assert (found, written) == (code, "")
    assert words in complaint


async def test_a_deployment_needs_no_crd() -> None:
    answers = Answers().has(BOTS, NOT_FOUND).has(DEPLOYMENTS, items(deployment_body()))
    code, written, complaints = await doctor(answers, DEPLOYMENT)
    assert (code, complaints) == (1, [])
    assert written.startswith("Deployment telegram-bot in namespace shop\n")
    assert "kind: TelegramBot\n" in written


async def test_a_deployment_that_has_a_telegrambot_is_looked_at_as_that() -> None:
    answers = Answers().has(BOTS, items(bot_body())).has(DEPLOYMENTS, items(deployment_body()))
    _, written, _ = await doctor(answers, DEPLOYMENT)
    assert written.startswith("TelegramBot shop-bot in namespace shop\n")
    assert "kind: TelegramBot" not in written


async def test_several_bots_have_a_section_each_and_one_last_line() -> None:
    bots = [bot_body("b"), bot_body("a"), bot_body("c", namespace="test")]
    answers = Answers().has(BOTS, items(*bots)).has(DEPLOYMENTS, items(deployment_body()))
    code, written, _ = await doctor(answers, ALL)
    titles = [line for line in written.splitlines() if line.startswith("TelegramBot ")]
    assert titles == [
        f"TelegramBot {name}" for name in ("a in namespace shop", "b in namespace shop", "c in namespace test")
    ]
    assert written.splitlines()[-1] == "3 bots: 0 pass, 3 fail, 0 unknown."
    assert code == 1
    _, written, _ = await doctor(answers, ALL, as_json=True)
    assert [json.loads(line)["name"] for line in written.splitlines()] == ["a", "b", "c"]


async def test_nothing_is_asked_for_but_reads_and_lists_are_asked_for_in_pages() -> None:
    answers = Answers().has(BOTS, items(bot_body())).has(DEPLOYMENTS, items(deployment_body()))
    await doctor(answers, ONE)
    lists = [query for where, query in answers.asked if where.endswith(("pods", "deployments", "telegrambots"))]
    assert lists
    assert all(query.get("limit") for query in lists)


async def test_a_list_is_read_to_its_end() -> None:
    pages = {"": (["a", "b"], "more"), "more": (["c"], "")}

    class Paged(Answers):
        async def get(self, where: str, query: Mapping[str, str] | None = None, **_: Any) -> bytes:
            found, following = pages[(query or {}).get("continue", "")]
            return self.has(where, {"metadata": {"continue": following}, "items": found}).given(where)

    assert await Cluster(kube(Paged())).every(PODS, json.loads, None) == ("a", "b", "c")


async def test_a_list_that_does_not_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_cluster, "LIST_SECONDS", 0.05)

    endless = Answers().has(path(PODS), {"metadata": {"continue": "more"}, "items": []})
    found = await Cluster(kube(endless)).every(PODS, json.loads, None)
    assert isinstance(found, doctor_cluster.Gap)
    assert "took longer" in found.why


async def test_who_may_see_one_namespace_only_is_told_what_is_not_seen() -> None:
    refusal = KubeError(403, "Forbidden", 'User "me" cannot list resource "pods" in API group ""')
    answers = Answers().has(path(PODS), refusal).has(DEPLOYMENTS, items(deployment_body()))
    census = await Cluster(kube(answers)).census("shop")
    assert census.pods == ()
    assert census.unseen is not None
    assert census.unseen.why == "you may not list pods in all namespaces"
    assert census.unseen.todo == "ask for the right to list pods in all namespaces"
