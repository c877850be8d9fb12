"""Who else has a bot's token: every way in which a container can get a Secret's key, and what only looks like one."""

import json
from typing import Any

import pytest

from telegrambot_operator.core.strays import Use, Wanted, may_use, parse_parts, uses

Json = dict[str, Any]

TOKEN = "7301948265:AAE9xkQ2vTn0LwRzYb4mHc7sPd1uJg5oXyZ"
WANTED = Wanted("shop-token", "token", TOKEN)


def container(name: str = "bot", **given: Any) -> Json:
    return {"name": name, "image": "shop/bot:1", **given}


def variable(name: str = "shop-token", key: str = "token", **more: Any) -> Json:
    return {"name": "BOT_TOKEN", "valueFrom": {"secretKeyRef": {"name": name, "key": key, **more}}}


def mounts(volume: Json, **mount: Any) -> Json:
    """A pod's spec with one volume and one container that mounts it."""
    mounted = {"name": "v", "mountPath": "/run/token", **mount}
    return {"volumes": [{"name": "v", **volume}], "containers": [container(volumeMounts=[mounted])]}


def secret(*keys: str, name: str = "shop-token") -> Json:
    items = {"items": [{"key": key, "path": f"{key}.txt"} for key in keys]} if keys else {}
    return {"secret": {"secretName": name, **items}}


def projected(*keys: str, name: str = "shop-token") -> Json:
    items = {"items": [{"key": key, "path": f"in/{key}"} for key in keys]} if keys else {}
    sources = [{"configMap": {"name": "shop-token"}}, {"secret": {"name": name, **items}}, {"downwardAPI": {}}]
    return {"projected": {"sources": sources}}


def found(spec: Json, wanted: Wanted = WANTED) -> tuple[Use, ...]:
    return uses(parse_parts(json.dumps(spec).encode()), wanted)


AS_FILE = "from Secret shop-token in its volume v"
AMONG_ALL = "among all keys of Secret shop-token in its variables"
USES: dict[str, tuple[Json, str, bool]] = {
    "a variable": (
        {"containers": [container(env=[{"name": "A", "value": "b"}, variable()])]},
        "from Secret shop-token in its variable BOT_TOKEN",
        True,
    ),
    "an optional variable": (
        {"containers": [container(env=[variable(optional=True)])]},
        "from Secret shop-token in its variable BOT_TOKEN",
        True,
    ),
    "all keys as variables": (
        {"containers": [container(envFrom=[{"secretRef": {"name": "shop-token"}}])]},
        AMONG_ALL,
        False,
    ),
    "all keys as variables, with a prefix": (
        {"containers": [container(envFrom=[{"prefix": "X_", "secretRef": {"name": "shop-token", "optional": True}}])]},
        AMONG_ALL,
        False,
    ),
    "all keys, and the one that matters by name": (
        {"containers": [container(envFrom=[{"secretRef": {"name": "shop-token"}}], env=[variable()])]},
        "from Secret shop-token in its variable BOT_TOKEN",
        True,
    ),
    "a volume of all keys": (mounts(secret()), AS_FILE, False),
    "a volume of the key": (mounts(secret("other", "token")), AS_FILE, True),
    "one file of a volume": (mounts(secret(), subPath="token"), AS_FILE, True),
    "one file of a volume, renamed by it": (mounts(secret("token"), subPath="token.txt"), AS_FILE, True),
    "a projected volume of all keys": (mounts(projected()), AS_FILE, False),
    "a projected volume of the key": (mounts(projected("token")), AS_FILE, True),
    "a folder of a projected volume": (mounts(projected("token"), subPath="in/"), AS_FILE, True),
    "the token as a value": (
        {"containers": [container(env=[{"name": "TOKEN", "value": TOKEN}])]},
        "written out in its variable TOKEN",
        True,
    ),
    "the token within a value": (
        {"containers": [container(env=[{"name": "API", "value": f"https://api.telegram.org/bot{TOKEN}/"}])]},
        "written out in its variable API",
        True,
    ),
    "the token as an argument": (
        {"containers": [container(args=["--token", TOKEN])]},
        "written out in its command line",
        True,
    ),
    "the token within a command": (
        {"containers": [container(command=["sh", "-c", f"BOT_TOKEN={TOKEN} node bot.js"])]},
        "written out in its command line",
        True,
    ),
}
NO_USES: dict[str, Json] = {
    "no containers": {},
    "another key of the Secret": {"containers": [container(env=[variable(key="password")])]},
    "the key of another Secret": {"containers": [container(env=[variable("shop-token-2")])]},
    "a ConfigMap of the Secret's name": {"containers": [container(envFrom=[{"configMapRef": {"name": "shop-token"}}])]},
    "a key of a ConfigMap of that name": {
        "containers": [
            container(env=[{"name": "T", "valueFrom": {"configMapKeyRef": {"name": "shop-token", "key": "token"}}}])
        ]
    },
    "the Secret's name as a value": {"containers": [container(env=[{"name": "SECRET", "value": "shop-token"}])]},
    "a volume of another key": mounts(secret("other")),
    "a volume of another Secret": mounts(secret(name="shop-tokens")),
    "a projected volume of another key": mounts(projected("other")),
    "another file of the volume": mounts(secret(), subPath="tok"),
    "a volume that nobody mounts": {"volumes": [{"name": "v", **secret()}], "containers": [container()]},
    "an image of which the Secret's name is a part": {
        "containers": [container()],
        "imagePullSecrets": [{"name": "shop-token"}],
    },
    "a token that is longer at its beginning": {"containers": [container(env=[{"name": "T", "value": f"1{TOKEN}"}])]},
    "a token that is longer at its end": {"containers": [container(args=[f"--token={TOKEN}x"])]},
}


@pytest.mark.parametrize(("spec", "how", "sure"), USES.values(), ids=USES)
def test_a_container_has_the_token(spec: Json, how: str, *, sure: bool) -> None:
    assert found(spec) == (Use("bot", how, sure),)


@pytest.mark.parametrize("spec", NO_USES.values(), ids=NO_USES)
def test_a_container_does_not_have_the_token(spec: Json) -> None:
    assert found(spec) == ()


@pytest.mark.parametrize("kind", ["initContainers", "ephemeralContainers"])
def test_containers_of_every_kind_count(kind: str) -> None:
    spec = {"containers": [container("web")], kind: [container("side", env=[variable()])]}
    assert [use.container for use in found(spec)] == ["side"]


def test_each_container_is_told_of_once() -> None:
    both = container(env=[variable(), {"name": "T", "value": TOKEN}], args=[TOKEN])
    assert [use.container for use in found({"containers": [both, container("two", env=[variable()])]})] == [
        "bot",
        "two",
    ]


def test_of_a_secret_with_one_key_a_use_of_the_whole_leaves_no_doubt() -> None:
    sole = Wanted("shop-token", "token", sole=True)
    for spec in (USES["all keys as variables"][0], mounts(secret()), mounts(projected())):
        assert [use.sure for use in found(spec, sole)] == [True]


def test_without_the_token_only_the_secret_is_looked_for() -> None:
    unread = Wanted("shop-token", "token")
    assert found(USES["a variable"][0], unread)
    assert not found(USES["the token as a value"][0], unread)


@pytest.mark.parametrize("spec", [each[0] for each in USES.values()], ids=USES)
def test_whoever_has_the_token_passes_the_quick_look(spec: Json) -> None:
    assert may_use(json.dumps(spec).encode(), WANTED)


def test_the_quick_look_passes_over_what_names_neither() -> None:
    assert not may_use(json.dumps({"containers": [container(env=[variable("other")])]}).encode(), WANTED)


def test_the_token_is_in_nothing_that_is_told() -> None:
    told = [repr(WANTED), str(WANTED), *(repr(found(spec)) for spec, _, _ in USES.values())]
    assert not [text for text in told if TOKEN.partition(":")[2] in text]
