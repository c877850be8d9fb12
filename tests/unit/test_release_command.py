"""What `release` makes of an API server's answers: each Deployment in one line, and no fight with anybody.

The API server is played by a few lines that keep Deployments and act on every change at once. With real processes it is
seen in tests/e2e/test_release.py.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, cast

import pytest

from telegrambot_operator.shell import letgo
from telegrambot_operator.shell.kube import Kube, KubeError
from telegrambot_operator.shell.letgo import Release, Scope
from tests.unit.worlds import BOT, IDENTITY, NAMESPACE, Json, acted, bot_body, deployment_body, patched, template_body

if TYPE_CHECKING:
    from collections.abc import Callable

DEPLOYMENTS = "/apis/apps/v1/deployments"
BOTS = "/apis/singleton.bot/v1alpha1/telegrambots"
MARK = "singleton.bot/name"


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody here takes any time to answer."""
    monkeypatch.setattr(letgo, "ANSWER_SECONDS", 0.05)
    monkeypatch.setattr(letgo, "LOOK_SECONDS", 0.01)


class ApiServer:
    """Answers as `shell/kube.py` does. `bots` is None where the CRD is gone; `changed` is called after each patch."""

    def __init__(self, *names: str, bots: list[Json] | None = None) -> None:
        self.deployments = {
            name: deployment_body(name, strategy="Recreate", mark=BOT, template=template_body(lock=IDENTITY))
            for name in names
        }
        self.bots = bots
        self.patches: list[tuple[str, Json]] = []
        self.changed: Callable[[str, Json], None] = lambda _name, _body: None

    async def get(self, where: str, query: Json | None = None) -> bytes:
        name = where.rpartition("/")[2]
        if where.startswith(BOTS.removesuffix("telegrambots")):
            return self._list(self.bots)
        if name == "deployments":
            selected = (query or {})["labelSelector"].partition("=")[2]
            return self._list([each for each in self.deployments.values() if mark_of(each) in {selected or BOT}])
        if name == "pods":
            return self._list([])
        if name in self.deployments:
            return json.dumps(self.deployments[name]).encode()
        raise KubeError(404, "NotFound", f"{name} not found")

    def _list(self, bodies: list[Json] | None) -> bytes:
        if bodies is None:
            raise KubeError(404, "NotFound", "the server could not find the requested resource")
        return json.dumps({"metadata": {}, "items": bodies}).encode()

    async def patch(self, where: str, body: Json) -> bytes:
        name = where.rpartition("/")[2]
        self.patches.append((name, body))
        self.deployments[name] = acted(patched(self.deployments[name], body))
        self.changed(name, body)
        return json.dumps(self.deployments[name]).encode()


def mark_of(body: Json) -> str | None:
    return cast("str | None", body["metadata"]["labels"].get(MARK))


async def release(server: ApiServer, name: str | None = None, **more: Any) -> tuple[int, list[str]]:
    """Run the command; returns its exit code and the lines that it printed."""
    lines: list[str] = []
    scope = Scope(name, (NAMESPACE,) if name else (), "operators", **{"patience": 1.0, **more})
    return await Release(cast("Kube", server), scope, lines.append).run(), lines


async def test_without_the_crd_there_is_nobody_to_ask_and_the_marks_tell_all() -> None:
    server = ApiServer("a", "b")
    code, lines = await release(server)
    assert (code, lines) == (
        0,
        [
            "Deployment shop/a: released: lock taken out of the pod template; mark taken off.",
            "Deployment shop/b: released: lock taken out of the pod template; mark taken off.",
            "2 released, 0 pods opened, 0 with nothing to release, 0 left.",
        ],
    )
    assert [mark_of(each) for each in server.deployments.values()] == [None, None]


async def test_an_operator_that_answers_is_left_alone_and_its_bots_as_well() -> None:
    server = ApiServer("telegram-bot", bots=[bot_body()])

    def put_back(name: str, _body: Json) -> None:
        server.deployments[name]["metadata"]["labels"][MARK] = BOT

    server.changed = put_back
    code, lines = await release(server)
    assert code == 1
    assert "an operator runs and put it back; stop that first" in lines[0]
    assert [set(body) for _, body in server.patches] == [{"metadata"}], "no template was touched"


async def test_where_nobody_answers_the_mark_comes_back_before_anything_else() -> None:
    server = ApiServer("telegram-bot", bots=[bot_body()])
    code, _ = await release(server)
    assert code == 0
    first, second, *_ = [body for _, body in server.patches]
    assert first["metadata"]["labels"] == {MARK: None}
    assert second["metadata"]["labels"] == {MARK: BOT}


async def test_asking_for_an_operator_touches_nothing_but_the_mark() -> None:
    """A progress deadline that is held off comes back when the Deployment is let go, and not before."""
    server = ApiServer("telegram-bot", bots=[bot_body()])
    noted = {"singleton.bot/progress-deadline-seconds": "45"}
    server.deployments["telegram-bot"]["metadata"]["annotations"] = noted
    code, _ = await release(server)
    assert code == 0
    first, second, *_ = [body for _, body in server.patches]
    assert [set(first), set(second)] == [{"metadata"}, {"metadata"}]
    assert "annotations" not in first["metadata"]
    assert server.deployments["telegram-bot"]["spec"]["progressDeadlineSeconds"] == 45


async def test_an_operator_that_starts_in_the_middle_is_not_fought_with() -> None:
    server = ApiServer("telegram-bot")

    def put_back(name: str, body: Json) -> None:
        if "spec" in body:
            server.deployments[name]["spec"]["template"] = template_body(lock=IDENTITY)

    server.changed = put_back
    code, lines = await release(server)
    assert code == 1
    assert "left: an operator runs and put it back" in lines[0]
    assert len(server.patches) == 1


async def test_what_is_put_back_at_the_very_end_is_seen() -> None:
    server = ApiServer("telegram-bot")

    def put_back(name: str, body: Json) -> None:
        if body["metadata"].get("labels"):
            server.deployments[name]["metadata"]["labels"][MARK] = BOT

    server.changed = put_back
    server.bots = None
    code, lines = await release(server)
    assert (code, "left: an operator runs and put it back" in lines[0]) == (1, True)


async def test_a_deployment_that_somebody_changed_in_between_is_read_again() -> None:
    server = ApiServer("telegram-bot")
    refusals = [KubeError(409, "Conflict", "the object has been modified")]

    def refuse_once(_name: str, _body: Json) -> None:
        if refusals:
            raise refusals.pop()

    patch = server.patch

    async def patched_later(where: str, body: Json) -> bytes:
        refuse_once(where, body)
        return await patch(where, body)

    server.patch = patched_later  # type: ignore[method-assign]
    code, lines = await release(server)
    assert code == 0
    assert lines[0] == "Deployment shop/telegram-bot: released: lock taken out of the pod template; mark taken off."


REFUSED = {
    403: 'deployments.apps "a" is forbidden: User "jane" cannot patch resource "deployments"',
    422: "admission webhook said no.",
    500: "etcd is away",
}


@pytest.mark.parametrize(("status", "said"), REFUSED.items(), ids=str)
async def test_one_that_cannot_be_written_is_named_with_the_servers_words_and_the_others_are_released(
    status: int, said: str
) -> None:
    server = ApiServer("a", "b")
    patch = server.patch

    async def refuse(where: str, body: Json) -> bytes:
        if where.endswith("/a"):
            raise KubeError(status, "Refused", said)
        return await patch(where, body)

    server.patch = refuse  # type: ignore[method-assign]
    code, lines = await release(server, patience=0.0)
    assert code == 1
    (first,) = [line for line in lines if line.startswith("Deployment shop/a: left: ")]
    assert said.rstrip(".") in first
    assert "Deployment shop/b: released: lock taken out of the pod template; mark taken off." in lines
    assert lines[-1] == "1 released, 0 pods opened, 0 with nothing to release, 1 left."


async def test_an_api_server_that_does_not_answer_is_said_in_one_line() -> None:
    server = ApiServer("a")

    async def silence(_where: str, _query: Json | None = None) -> bytes:
        raise KubeError(0, "NoAnswer", "the API server gave no answer (TimeoutError)")

    server.get = silence  # type: ignore[method-assign]
    assert await release(server) == (1, ["nothing was done: the API server gave no answer (TimeoutError)."])


async def test_a_dry_run_writes_nothing() -> None:
    server = ApiServer("a", bots=[])
    code, lines = await release(server, dry_run=True)
    assert (code, server.patches) == (0, [])
    assert lines == [
        "Deployment shop/a: would be released, and first: lock taken out of the pod template.",
        "nothing was done: --dry-run.",
    ]


async def test_only_the_deployment_of_the_named_bot_is_released() -> None:
    server = ApiServer("a", "b")
    server.deployments["b"]["metadata"]["labels"][MARK] = "other"
    code, lines = await release(server, BOT)
    assert code == 0
    assert [name for name, _ in server.patches] == ["a", "a"]
    assert lines[-1].startswith("1 released")
