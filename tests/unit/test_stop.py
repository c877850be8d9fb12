"""`release --stop`: the operator is scaled to 0, and nothing goes on before its pods are gone."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, cast

import pytest

from telegrambot_operator.shell import stop
from telegrambot_operator.shell.kube import Kube, KubeError
from telegrambot_operator.shell.stop import Stop

if TYPE_CHECKING:
    from collections.abc import Sequence

SELECTOR = "app.kubernetes.io/name=telegrambot-operator"
GONE = KubeError(404, "NotFound", "deployments.apps not found")
REFUSED = KubeError(403, "Forbidden", "User shop cannot list resource pods.")
SILENT = KubeError(0, "NoAnswer", "the API server gave no answer")


class ApiServer:
    """Answers the lists of pods one after the other, and the last one again and again."""

    def __init__(self, *lists: Sequence[str] | KubeError, scaled: KubeError | None = None) -> None:
        self._lists = list(lists)
        self._scaled = scaled
        self.asked: list[tuple[str, Any]] = []

    async def patch(self, where: str, body: Any) -> bytes:
        self.asked.append((where, body))
        if self._scaled:
            raise self._scaled
        return json.dumps({"spec": {"replicas": 0}, "status": {"replicas": 2, "selector": SELECTOR}}).encode()

    async def get(self, where: str, query: Any) -> bytes:
        self.asked.append((where, query["labelSelector"]))
        answer = self._lists.pop(0) if len(self._lists) > 1 else self._lists[0]
        if isinstance(answer, KubeError):
            raise answer
        return json.dumps({"metadata": {}, "items": [pod(phase, at) for at, phase in enumerate(answer)]}).encode()


def pod(phase: str, number: int) -> dict[str, Any]:
    metadata = {"name": f"operator-{number}", "namespace": "ours", "uid": f"u{number}", "resourceVersion": "1"}
    return {"metadata": metadata, "spec": {"containers": []}, "status": {"phase": phase}}


async def stopped(server: ApiServer, patience: float = 60.0) -> tuple[bool, str]:
    said: list[str] = []
    done = await Stop("ours", "operator", patience).run(cast("Kube", server), said.append)
    return done, "\n".join(said)


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stop, "LOOK_SECONDS", 0.0)


async def test_it_is_scaled_to_0_and_waited_for() -> None:
    server = ApiServer(["Running", "Running"], SILENT, ["Running"], [])
    assert await stopped(server) == (True, "Deployment ours/operator is stopped.")
    scale, *lists = server.asked
    assert scale == ("/apis/apps/v1/namespaces/ours/deployments/operator/scale", {"spec": {"replicas": 0}})
    assert lists == [("/api/v1/namespaces/ours/pods", SELECTOR)] * 4


async def test_a_pod_that_has_ended_is_not_waited_for() -> None:
    assert (await stopped(ApiServer(["Succeeded", "Failed"])))[0]


async def test_where_there_is_no_operator_nobody_has_to_be_stopped() -> None:
    done, said = await stopped(ApiServer([], scaled=GONE))
    assert (done, said) == (True, "there is no Deployment ours/operator: nobody to stop.")


@pytest.mark.parametrize(
    ("server", "why"),
    [
        (
            ApiServer(["Running", "Pending"]),
            "and after 0 s Pod operator-0 is still there, Pod operator-1 is still there.",
        ),
        (ApiServer(SILENT), "and after 0 s its pods cannot be listed. "),
        (ApiServer(REFUSED), "cannot be stopped: User shop cannot list resource pods."),
        (ApiServer([], scaled=KubeError(403, "Forbidden", "no.")), "Deployment ours/operator cannot be stopped: no."),
    ],
)
async def test_nothing_goes_on_while_one_may_run(server: ApiServer, why: str) -> None:
    done, said = await stopped(server, patience=0.0)
    assert not done
    assert said.startswith("nothing was released: ")
    assert why in said
