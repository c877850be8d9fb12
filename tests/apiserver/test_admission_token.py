"""deploy/admission/token.yaml as behaviour: a pod that uses a bot's token and is not that bot's is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from telegrambot_operator.api.models import Lock, TelegramBotSpec
from telegrambot_operator.core.table import Entry, secret_keys, with_holder
from telegrambot_operator.names import LABEL_BOT
from tests.apiserver.admission import CONTAINER, deployment, dry_run, pod, pod_of, refusal, write_table
from tests.bed.controlplane import KubectlError
from tests.bed.kube import KubeError, path

if TYPE_CHECKING:
    from tests.bed.bed import Bed

Object = dict[str, Any]

pytestmark = [pytest.mark.bed, pytest.mark.usefixtures("policies")]

ID = "4711"
KEY, WHOLE = secret_keys(
    TelegramBotSpec.model_validate(
        {"deploymentRef": {"name": "telegram-bot"}, "token": {"secretKeyRef": {"name": "shop-bot", "key": "token"}}}
    )
)
HOLDER = with_holder("", "shop", ID)
GUARD = {KEY: HOLDER, WHOLE: HOLDER}


def env(name: str = "shop-bot", key: str = "token") -> Object:
    """A container's part that has a key of a Secret as a variable."""
    other = {"name": "LEVEL", "value": "debug"}
    return {"env": [other, {"name": "T", "valueFrom": {"secretKeyRef": {"name": name, "key": key}}}]}


def env_from(name: str = "shop-bot") -> Object:
    """A container's part that has all keys of a Secret as variables."""
    return {"envFrom": [{"configMapRef": {"name": "shop"}}, {"prefix": "SHOP_", "secretRef": {"name": name}}]}


def volume(name: str = "shop-bot", *keys: str) -> Object:
    """A pod's part with a volume of a Secret, of these keys of it or of all."""
    items = {"items": [{"key": key, "path": f"{key}.txt"} for key in keys]} if keys else {}
    return {"volumes": [{"name": "tmp", "emptyDir": {}}, {"name": "s", "secret": {"secretName": name, **items}}]}


def projected(name: str = "shop-bot", *keys: str) -> Object:
    """The same as one source of several of a projected volume."""
    items = {"items": [{"key": key, "path": f"{key}.txt"} for key in keys]} if keys else {}
    field = {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}
    sources = [{"downwardAPI": field}, {"secret": {"name": name, **items}}]
    return {"volumes": [{"name": "tmp", "emptyDir": {}}, {"name": "p", "projected": {"sources": sources}}]}


def containers(part: Object) -> Object:
    """A pod's part whose second container has this."""
    return {"containers": [CONTAINER, {**CONTAINER, "name": "second", **part}]}


def init_containers(part: Object) -> Object:
    """A pod's part whose second init container has this."""
    first, second = {**CONTAINER, "name": "init-1"}, {**CONTAINER, "name": "init-2", **part}
    return {"initContainers": [first, second]}


def sidecar(part: Object) -> Object:
    """A pod's part with an init container that stays."""
    return {"initContainers": [{**CONTAINER, "name": "sidecar", "restartPolicy": "Always", **part}]}


USES_OF_THE_KEY = {
    "a variable": containers(env()),
    "a variable of an init container": init_containers(env()),
    "a variable of a sidecar": sidecar(env()),
    "a volume of that key": volume("shop-bot", "other", "token"),
    "a projected volume of that key": projected("shop-bot", "other", "token"),
}
USES_OF_ALL_KEYS = {
    "all keys as variables": containers(env_from()),
    "all keys as variables of an init container": init_containers(env_from()),
    "all keys as variables of a sidecar": sidecar(env_from()),
    "a volume": volume(),
    "a projected volume": projected(),
}
USES = USES_OF_THE_KEY | USES_OF_ALL_KEYS
OTHER_USES = {
    "another key as a variable": containers(env(key="other")),
    "a key that begins alike": containers(env(key="token2")),
    "another key in a volume": volume("shop-bot", "other"),
    "another key in a projected volume": projected("shop-bot", "other"),
    "another Secret as a variable": containers(env("web")),
    "a Secret that begins alike": containers(env("shop-bot-2")),
    "all keys of another Secret": containers(env_from("web")),
    "another Secret as a volume": volume("web"),
    "another Secret as a projected volume": projected("web"),
    "no Secret": {},
    "images from a registry": {"imagePullSecrets": [{"name": "shop-bot"}]},
}
REMEDY = " or give it the token of another bot; or, if it only sends messages, this token in a Secret of another name."
WHY = ", and it is no pod of that bot: two processes that fetch its updates end each other with 409 Conflict."
KEY_SENTENCE = f"this pod uses key token of Secret shop-bot, the token of the TelegramBot shop{WHY} Leave the key out;"
WHOLE_SENTENCE = (
    f"this pod uses all keys of Secret shop-bot, which holds the token of the TelegramBot shop{WHY} "
    "Name the keys that it needs, without the token;"
)


# --- Pods that are not the bot's -------------------------------------------------------------------------------------


@pytest.mark.parametrize("spec", USES_OF_THE_KEY.values(), ids=USES_OF_THE_KEY.keys())
async def test_a_stranger_with_the_token_is_refused(spec: Object, bed: Bed, ns: str) -> None:
    await write_table(bed, ns, GUARD)
    assert (await refusal(bed, pod(ns, **spec))).endswith(f"denied request: {KEY_SENTENCE}{REMEDY}")


@pytest.mark.parametrize("spec", USES_OF_ALL_KEYS.values(), ids=USES_OF_ALL_KEYS.keys())
async def test_a_stranger_with_the_whole_secret_is_refused(spec: Object, bed: Bed, ns: str) -> None:
    await write_table(bed, ns, GUARD)
    assert (await refusal(bed, pod(ns, **spec))).endswith(f"denied request: {WHOLE_SENTENCE}{REMEDY}")


@pytest.mark.parametrize("label", ["", "47", "47110", "4711.x", "another"])
async def test_the_label_of_another_bot_does_not_help(label: str, bed: Bed, ns: str) -> None:
    await write_table(bed, ns, GUARD)
    assert KEY_SENTENCE in await refusal(bed, pod(ns, {LABEL_BOT: label}, **containers(env())))


async def test_a_pod_of_a_second_deployment_is_refused(bed: Bed, ns: str) -> None:
    await write_table(bed, ns, GUARD | {"telegram-bot": str(Entry(ID, Lock.SCHEDULER, 1, "shop"))})
    assert KEY_SENTENCE in await refusal(bed, pod_of(ns, "telegram-bot-2", **containers(env())))


async def test_a_second_deployment_shows_why_it_has_no_pod(bed: Bed, ns: str) -> None:
    await write_table(bed, ns, GUARD)
    template = {"metadata": {"labels": {"app": "second"}}, "spec": containers(env())}
    await bed.kube.create("deployments", ns, deployment(ns, "second", template=template))

    async def says_why() -> bool:
        found = await bed.get("deployment", "second", ns) or {}
        return any(KEY_SENTENCE in each["message"] for each in found.get("status", {}).get("conditions", []))

    await bed.until(says_why, what="the sentence in a condition of the Deployment")
    assert await bed.pods(ns) == []


async def test_a_pod_with_the_tokens_of_two_bots_needs_to_be_both(bed: Bed, ns: str) -> None:
    await write_table(bed, ns, GUARD | {"news-bot_token": with_holder("", "news", "815")})
    both = containers({"env": [*env()["env"], {**env("news-bot")["env"][1], "name": "N"}]})
    assert "the TelegramBot news" in await refusal(bed, pod(ns, {LABEL_BOT: ID}, **both))
    assert "the TelegramBot shop" in await refusal(bed, pod(ns, {LABEL_BOT: "815"}, **both))


# --- Pods that pass --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spec", USES.values(), ids=USES.keys())
async def test_the_bots_own_pod_passes(spec: Object, bed: Bed, ns: str) -> None:
    await write_table(bed, ns, GUARD)
    assert await refusal(bed, pod(ns, {LABEL_BOT: ID}, **spec)) == ""


@pytest.mark.parametrize("lock", Lock)
async def test_the_label_that_a_pod_is_born_with_is_there_in_time(lock: Lock, bed: Bed, ns: str) -> None:
    await write_table(bed, ns, GUARD | {"telegram-bot": str(Entry(ID, lock, 1, "shop"))})
    stamped = await dry_run(bed, pod_of(ns, "telegram-bot", **containers(env())))
    assert stamped["metadata"]["labels"][LABEL_BOT] == ID


@pytest.mark.parametrize("spec", OTHER_USES.values(), ids=OTHER_USES.keys())
async def test_a_stranger_passes_with(spec: Object, bed: Bed, ns: str) -> None:
    await write_table(bed, ns, GUARD)
    assert await refusal(bed, pod(ns, **spec)) == ""


async def test_several_bots_may_have_one_secret(bed: Bed, ns: str) -> None:
    both = with_holder(HOLDER, "news", "815")
    await write_table(bed, ns, {KEY: HOLDER, "shop-bot_news": with_holder("", "news", "815"), WHOLE: both})
    for label in (ID, "815"):
        assert await refusal(bed, pod(ns, {LABEL_BOT: label}, **volume())) == ""
    assert "the token of the TelegramBot news, shop," in await refusal(bed, pod(ns, {LABEL_BOT: "1"}, **volume()))
    assert "the TelegramBot shop" in await refusal(bed, pod(ns, {LABEL_BOT: "815"}, **containers(env())))


async def test_several_telegrambots_may_have_one_key(bed: Bed, ns: str) -> None:
    """Two of one bot, of which the younger is told that it is a duplicate; until the token is read, by their names."""
    await write_table(bed, ns, {KEY: with_holder(with_holder("", "shop", f"{ns}.shop"), "shop-2", f"{ns}.shop-2")})
    for label in (f"{ns}.shop", f"{ns}.shop-2"):
        assert await refusal(bed, pod(ns, {LABEL_BOT: label}, **containers(env()))) == ""
    assert "the TelegramBot shop, shop-2," in await refusal(bed, pod(ns, **containers(env())))


async def test_names_with_dots_and_underscores_are_told_apart(bed: Bed, ns: str) -> None:
    await write_table(bed, ns, {"shop.bot_bot_token": HOLDER})
    assert "uses key bot_token of Secret shop.bot," in await refusal(
        bed, pod(ns, **containers(env("shop.bot", "bot_token")))
    )
    assert await refusal(bed, pod(ns, **containers(env("shop.bot", "token")))) == ""


NO_HOLDERS = [
    "",
    "4711",
    "4711/",
    "/shop",
    "4711/shop ",
    " 4711/shop",
    "4711/shop  815/news",
    "4711/shop/x",
    "4711/Shop",
]


@pytest.mark.parametrize("value", NO_HOLDERS)
async def test_an_entry_edited_by_hand_refuses_nobody(value: str, bed: Bed, ns: str) -> None:
    await write_table(bed, ns, {KEY: value})
    assert await refusal(bed, pod(ns, **containers(env()))) == ""


async def test_without_a_table_nobody_is_refused(bed: Bed, ns: str) -> None:
    assert await refusal(bed, pod(ns, **containers(env()))) == ""


async def test_a_pod_may_be_as_large_as_it_likes(bed: Bed, ns: str) -> None:
    """The API server bounds what a policy may cost, and one that costs more does nothing."""
    many = [{**each, "name": f"V{number}"} for number in range(500) for each in env("web")["env"][1:]]
    crowd = [{**CONTAINER, "name": f"c{number}", "env": many} for number in range(8)]
    await write_table(bed, ns, GUARD)
    assert await refusal(bed, pod(ns, containers=crowd)) == ""
    assert KEY_SENTENCE in await refusal(bed, pod(ns, containers=[*crowd, {**CONTAINER, **env()}]))


# --- Containers for debugging ----------------------------------------------------------------------------------------


async def debug(bed: Bed, ns: str, part: Object, labels: dict[str, str] | None = None, **spec: Any) -> str:
    """The sentence with which an ephemeral container is refused in a pod that was there before the guard, or ""."""
    running = pod(ns, labels, **spec)
    running["metadata"]["name"] = "running"
    await bed.kube.create("pods", ns, running)
    await write_table(bed, ns, GUARD)
    ephemeral = {"spec": {"ephemeralContainers": [{"name": "debug", "image": "busybox", **part}]}}
    try:
        await bed.kube.patch(path("pods", ns, "running", "ephemeralcontainers"), ephemeral)
    except KubeError as error:
        return str(error)
    return ""


@pytest.mark.parametrize(("part", "sentence"), [(env(), KEY_SENTENCE), (env_from(), WHOLE_SENTENCE)])
async def test_one_with_the_token_is_refused(part: Object, sentence: str, bed: Bed, ns: str) -> None:
    assert sentence in await debug(bed, ns, part)


async def test_one_that_mounts_the_token_is_refused(bed: Bed, ns: str) -> None:
    mount = {"volumeMounts": [{"name": "s", "mountPath": "/s"}]}
    assert WHOLE_SENTENCE in await debug(bed, ns, mount, **volume())


async def test_one_in_a_pod_of_the_bot_passes(bed: Bed, ns: str) -> None:
    assert await debug(bed, ns, env(), {LABEL_BOT: ID}) == ""


async def test_one_without_the_token_passes_whatever_the_pod_around_it_uses(bed: Bed, ns: str) -> None:
    assert await debug(bed, ns, env(key="other"), **containers(env()), **volume()) == ""


async def test_a_copy_of_the_bots_pod_is_refused(bed: Bed, ns: str) -> None:
    """`kubectl debug --copy-to` leaves the labels out."""
    await write_table(bed, ns, GUARD)
    await bed.kube.create("pods", ns, pod(ns, {LABEL_BOT: ID}, **containers(env())))
    with pytest.raises(KubectlError) as refused:
        await bed.kubectl("-n", ns, "debug", "a-pod", "--copy-to=copy", "--image=busybox", "--container=debug")
    assert KEY_SENTENCE in refused.value.stderr
