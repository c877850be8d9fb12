"""Where the doctor finds a bot's token in a pod template, and who else in the cluster has it."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from telegrambot_operator.api.models import SecretKeyRef
from telegrambot_operator.core.doctor_census import Census, Employer, Resident, parts_of
from telegrambot_operator.core.doctor_facts import Facts, Gap, Place
from telegrambot_operator.core.doctor_uses import (
    User,
    holders,
    others,
    place_of,
    rivals,
    secrets_named,
    ways,
    written_out,
)
from telegrambot_operator.core.records import parse_autoscaler
from telegrambot_operator.core.strays import PodParts, Wanted

from .worlds import DEPLOYMENT, IDENTITY, NAMESPACE, NOW, adopts, deployment_body, telegram_bot

TOKEN = f"{IDENTITY}:AAFq9Zr0bXw3KjT5uYv1LmNp8sQeHd2GcRk"
OTHER = "7301948266:BBFq9Zr0bXw3KjT5uYv1LmNp8sQeHd2GcRk"
GAP = Gap("you may not list pods in all namespaces")


def given(secret: str, key: str, name: str = "BOT_TOKEN") -> dict[str, Any]:
    """A variable from a key of a Secret."""
    return {"name": name, "valueFrom": {"secretKeyRef": {"name": secret, "key": key}}}


def spec(*env: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A pod's spec with one container."""
    return {"containers": [{"name": "bot", "env": list(env), **more}]}


def parts(body: dict[str, Any]) -> PodParts:
    return parts_of(json.dumps({"spec": body}).encode())


def secret(**data: str) -> dict[str, Any]:
    return {"data": {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}}


PLAIN = Place(SecretKeyRef(name="shop", key="token"), "BOT_TOKEN")
FOUND = {
    "a variable from a Secret": (spec(given("shop", "token")), {"shop": secret(token=TOKEN)}, PLAIN),
    "the one of several variables that holds a token": (
        spec(given("api", "key", "API_KEY"), given("shop", "token", "SECRET")),
        {"shop": secret(token=TOKEN), "api": secret(key="hunter2")},
        Place(PLAIN.secret, "SECRET"),
    ),
    "a whole Secret in variables": (
        spec(envFrom=[{"secretRef": {"name": "shop"}}]),
        {"shop": secret(url="postgres://", token=TOKEN)},
        Place(PLAIN.secret),
    ),
    "a Secret in a volume": (
        {
            **spec(volumeMounts=[{"name": "keys", "mountPath": "/keys"}]),
            "volumes": [{"name": "keys", "secret": {"secretName": "shop"}}],
        },
        {"shop": secret(token=TOKEN)},
        Place(PLAIN.secret),
    ),
    "a variable with the token in it": (spec({"name": "TG", "value": TOKEN}), {}, Place(None, "TG")),
    "a command with the token in it": (spec(args=["--token", TOKEN]), {}, Place(None)),
    "by its names, where the Secret may not be read": (
        spec(given("db", "password", "DB_PASSWORD"), given("shop", "token")),
        {},
        PLAIN,
    ),
    "nothing where no name promises anything": (spec(given("db", "password", "DB_PASSWORD")), {}, None),
    "nothing where the Secret holds something else": (spec(given("shop", "token")), {"shop": secret(token="x")}, None),
    "nothing where the Secret is not there": (spec(given("shop", "token")), {"shop": None}, None),
    "nothing in an empty template": (spec(), {}, None),
}


@pytest.mark.parametrize(("body", "secrets", "place"), FOUND.values(), ids=FOUND)
def test_it_finds(body: dict[str, Any], secrets: dict[str, Any], place: Place | None) -> None:
    assert place_of(ways(parts(body)), secrets) == place


def test_the_secrets_that_promise_most_are_read_first() -> None:
    body = spec(given("db", "password", "DB_PASSWORD"), given("api", "token", "API_TOKEN"), given("shop", "token"))
    assert secrets_named(ways(parts(body))) == ["shop", "api", "db"]


def test_a_token_that_is_written_out_is_found_for_a_call() -> None:
    assert written_out(parts(spec({"name": "TG", "value": TOKEN})), "TG") == TOKEN
    assert written_out(parts(spec(command=["bot", f"--token={TOKEN}"])), "") == TOKEN
    assert written_out(parts(spec(given("shop", "token"))), "BOT_TOKEN") is None


def test_two_containers_of_a_pod_with_the_token() -> None:
    both = {"containers": [{"name": name, "env": [given("shop", "token")]} for name in ("bot", "worker")]}
    both["initContainers"] = [{"name": "migrate", "env": [given("shop", "token")]}]
    assert holders(parts(both), Wanted("shop", "token")) == ("bot", "worker")


# --- Who else has it --------------------------------------------------------------------------------------------------


def resident(
    name: str, body: dict[str, Any], *, namespace: str = NAMESPACE, owner: str = "", phase: str = "Running"
) -> Resident:
    metadata: dict[str, Any] = {"name": name, "namespace": namespace, "uid": f"uid-{namespace}-{name}"}
    if owner:
        metadata["labels"] = {"pod-template-hash": "6c9d"}
        reference = {"kind": "ReplicaSet", "name": f"{owner}-6c9d", "uid": "u", "controller": True}
        metadata["ownerReferences"] = [reference]
    full = {"metadata": metadata, "spec": {**body, "nodeName": "node-1"}, "status": {"phase": phase}}
    return Resident.of(json.dumps(full).encode())


def employer(name: str, body: dict[str, Any], replicas: int = 1) -> Employer:
    template = {"metadata": {}, "spec": body}
    return Employer.of(json.dumps(deployment_body(name, replicas=replicas, template=template)).encode())


def told(census: Census, *, sole: bool = True, token: str | None = TOKEN) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Who has the token that is in Secret shop: surely, and perhaps."""
    wanted = Wanted("shop", "token", token, sole)
    found = others(census.users(NAMESPACE, "shop", token), NAMESPACE, wanted, census.unseen)
    return found.found, found.perhaps


USES, SPELLS = spec(given("shop", "token")), spec({"name": "TG", "value": TOKEN})


def test_everybody_who_has_the_token_is_named_once() -> None:
    census = Census(
        deployments=(employer("copy", USES), employer("idle", USES, replicas=0), employer("web", spec())),
        pods=(
            resident("copy-1", USES, owner="copy"),
            resident("left-1", USES, owner="left"),
            resident("debug", USES),
            resident("done", USES, phase="Succeeded"),
            resident("elsewhere", USES, namespace="test"),
            resident("pasted", SPELLS, namespace="test"),
            resident("another", spec({"name": "TG", "value": OTHER}), namespace="test"),
        ),
    )
    assert told(census) == (
        ("Deployment copy", "pod debug", "pod left-1 of Deployment left", "pod pasted in namespace test"),
        (),
    )


def test_a_secret_of_the_same_name_in_another_namespace_is_another_secret() -> None:
    user = User("pod", "test", "elsewhere", "uid", parts(USES))
    assert others([user], NAMESPACE, Wanted("shop", "token", TOKEN), None).found == ()
    assert others([user], "test", Wanted("shop", "token", TOKEN), None).found == ("pod elsewhere",)


def test_who_is_given_a_secret_of_many_keys_may_have_it() -> None:
    census = Census(pods=(resident("web", spec(envFrom=[{"secretRef": {"name": "shop"}}])),))
    assert told(census, sole=False) == ((), ("pod web",))
    assert told(census, sole=True) == (("pod web",), ())


def test_without_the_token_only_the_secret_tells() -> None:
    census = Census(pods=(resident("debug", USES), resident("pasted", SPELLS)), unseen=GAP)
    assert told(census, token=None) == (("pod debug",), ())


def test_no_token_is_in_what_a_census_shows_of_itself() -> None:
    """INV-7: a line of a debugger or an assertion would print it."""
    census = Census(deployments=(employer("copy", SPELLS),), pods=(resident("pasted", SPELLS),))
    assert "AAFq9" not in repr(list(census.users(NAMESPACE, None, TOKEN)))
    assert "AAFq9" not in repr(census.pods)


def test_other_telegrambots_of_the_same_key_or_the_same_bot() -> None:
    facts = Facts(namespace=NAMESPACE, deployment_name=DEPLOYMENT, now=NOW, bot=telegram_bot("mine"))
    bots = [
        telegram_bot("mine"),
        telegram_bot("same-key"),
        telegram_bot("other-key", spec=adopts(token=None)),
        telegram_bot("same-key-elsewhere", namespace="test"),
        telegram_bot("same-bot", namespace="test", status={"bot": {"id": int(IDENTITY)}}),
    ]
    ref = SecretKeyRef(name="shop-token", key="token")
    census = Census(bots=tuple(bots))
    assert rivals(census.kin(NAMESPACE, None, None), facts) == []
    assert rivals(census.kin(NAMESPACE, ref, int(IDENTITY)), facts) == [
        "TelegramBot same-bot in namespace test",
        "TelegramBot same-key",
    ]


def test_autoscalers_that_would_make_more_pods_than_one() -> None:
    def scaler(name: str, most: int, kind: str = "Deployment") -> Any:
        body = {"scaleTargetRef": {"kind": kind, "name": DEPLOYMENT}, "maxReplicas": most}
        return parse_autoscaler(json.dumps({"metadata": {"name": name, "namespace": NAMESPACE}, "spec": body}).encode())

    census = Census(autoscalers=(scaler("many", 5), scaler("one", 1), scaler("set", 5, "StatefulSet")))
    assert census.scaling((NAMESPACE, DEPLOYMENT)) == ("many",)
    assert census.scaling((NAMESPACE, "web")) == ()
    assert Census(autoscalers=GAP).scaling((NAMESPACE, DEPLOYMENT)) == GAP
