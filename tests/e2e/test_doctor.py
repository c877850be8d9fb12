"""`telegrambot-operator doctor` on a real API server: what it says of bots, with whose rights, and its exit code."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.test_release import somebody
from tests.e2e.world import NAME, Object, Operate, World

if TYPE_CHECKING:
    from pathlib import Path

    from tests.bed.bed import Bed

pytestmark = pytest.mark.bed

PLAIN = f"deployment/{NAME}"


async def doctor(world: World, *arguments: str, **more: Any) -> tuple[int, str]:
    """Ask about what is in the world's namespace; returns the exit code and what was printed."""
    return await world.bed.command("doctor", *arguments, "-n", world.ns, **more)


async def checks(world: World, name: str, **more: Any) -> tuple[int, dict[str, Object]]:
    """The exit code, and what came of each check."""
    code, said = await doctor(world, name, "-o", "json", **more)
    return code, {each["check"]: each for each in json.loads(said)["checks"]}


def failing(found: dict[str, Object]) -> set[str]:
    """The checks that fail."""
    return {name for name, each in found.items() if each["result"] == "fail"}


def unknown(found: dict[str, Object]) -> set[str]:
    """The checks of which nothing is known."""
    return {name for name, each in found.items() if each["result"] == "unknown"}


async def runs(world: World, count: int = 1) -> None:
    """Wait until so many processes of the bot poll."""
    await world.bed.until(lambda: len(world.bed.alive(world.bot)) == count, what=f"{count} processes")
    await world.bot.until(lambda: bool(world.bot.polls))


async def test_a_plain_deployment_is_adopted_by_the_manifest_that_is_printed(
    bed: Bed, ns: str, operate: Operate
) -> None:
    world = await World.make(bed, ns)
    await bed.apply(world.plain(replicas=2))
    await runs(world, 2)
    code, said = await doctor(world, PLAIN)
    assert code == 1, said
    assert world.bot.token.partition(":")[2] not in said
    manifest = "apiVersion" + said.partition("apiVersion")[2].partition("\n\n")[0]
    await world.kubectl("apply", "--dry-run=server", "-f", "-", stdin=manifest)
    code, found = await checks(world, PLAIN)
    assert failing(found) >= {"one-instance", "replicas", "strategy", "lock"}

    async with operate():
        await world.kubectl("apply", "-f", "-", stdin=manifest)
        await world.says("Pinned", "True", name=NAME)
        await bed.until(world.runs_alone, what="one pod")
        code, found = await checks(world, NAME)
        assert failing(found) == {"operator"}, "the war is not old enough for the operator to be content"
        assert not unknown(found)


async def test_who_may_read_little_is_told_what_he_may_not(bed: Bed, ns: str) -> None:
    world = await World.make(bed, ns)
    await bed.apply(world.plain())
    await runs(world)
    few = await somebody(bed, ns, [{"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["get", "list"]}])
    code, found = await checks(world, PLAIN, kubeconfig=few)
    assert code == 1
    assert unknown(found) == {
        "one-instance",
        "stuck-pods",
        "autoscaler",
        "token",
        "telegram",
        "sole-user",
        "webhook",
    } | ({"no-409", "polling"})
    assert "you may not get secrets in namespace" in found["token"]["why"]
    assert found["token"]["todo"] == f"ask for the right to get secrets in namespace {ns}"


def may(group: str, *resources: str, verb: str = "list") -> Object:
    return {"apiGroups": [group], "resources": list(resources), "verbs": [verb]}


READS = [
    may("singleton.bot", "telegrambots"),
    may("apps", "deployments"),
    may("", "pods"),
    may("autoscaling", "horizontalpodautoscalers"),
    may("", "secrets", "configmaps", "pods/log", "nodes", verb="get"),
]


async def test_the_rights_to_read_that_the_readme_names_are_enough(bed: Bed, ns: str, operate: Operate) -> None:
    """Nothing is written, and nobody is cut off: the referee would have seen it."""
    world = await World.make(bed, ns)
    reader = await somebody(bed, ns, READS, everywhere=True)
    async with operate():
        await world.guarded()
        code, found = await checks(world, "shop", kubeconfig=reader)
        assert (code, failing(found), unknown(found)) == (0, set(), set()), found
    few = await somebody(bed, ns, READS)
    code, found = await checks(world, "shop", kubeconfig=few)
    assert (code, failing(found), unknown(found)) == (3, set(), {"sole-user"}), found
    assert found["sole-user"]["todo"] == "ask for the right to list pods in all namespaces"
    world.assert_never_two()


async def test_whoever_else_has_the_token_is_named(bed: Bed, ns: str) -> None:
    world = await World.make(bed, ns)
    elsewhere = await bed.namespace()
    await bed.apply(world.plain())
    copy = world.plain(selector={"matchLabels": {"app": "copy"}})
    copy["metadata"]["name"] = "copy"
    copy["spec"]["template"]["metadata"]["labels"] = {"app": "copy"}
    pasted = {"name": "bot", "image": "bots/raw", "env": [{"name": "BOT_TOKEN", "value": world.bot.token}]}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pasted", "namespace": elsewhere}}
    await bed.apply([copy, {**pod, "spec": {"containers": [pasted]}}])
    await runs(world, 3)
    code, said = await doctor(world, PLAIN)
    assert code == 1
    assert f"the same token is used by Deployment copy, pod pasted in namespace {elsewhere}" in " ".join(said.split())
    assert world.bot.token.partition(":")[2] not in said


async def test_all_namespaces_have_a_section_a_bot(bed: Bed, ns: str) -> None:
    first, second = await World.make(bed, ns), await World.make(bed, await bed.namespace())
    for world in (first, second):
        await bed.apply(world.resource())
    code, said = await bed.command("doctor", "-A")
    assert code == 1
    for world in (first, second):
        assert f"TelegramBot shop in namespace {world.ns}" in said
    assert re.fullmatch(r"\d+ bots: \d+ pass, \d+ fail, \d+ unknown\.", said.splitlines()[-1])
    code, said = await bed.command("doctor", "-A", "-o", "json")
    told = {each["namespace"]: each["result"] for each in map(json.loads, said.splitlines())}
    assert told[first.ns] == told[second.ns] == "fail"


async def test_no_cluster_is_one_sentence(bed: Bed, ns: str, tmp_path: Path) -> None:
    world = await World.make(bed, ns)
    nowhere = tmp_path / "kubeconfig"
    nowhere.write_text(bed.cp.kubeconfig.read_text().replace(bed.cp.url, "https://127.0.0.1:9"))
    code, said = await doctor(world, PLAIN, kubeconfig=nowhere)
    assert code == 3
    (line,) = said.splitlines()
    assert "there is no cluster to look at" in line
