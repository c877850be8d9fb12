"""`telegrambot-operator doctor` on a real API server: what it says of bots, with whose rights, and its exit code."""

from __future__ import annotations

import json
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
    assert found["token"]["todo"] == "get the right to get secrets, or ask who has it"


async def test_no_cluster_is_one_sentence(bed: Bed, ns: str, tmp_path: Path) -> None:
    world = await World.make(bed, ns)
    nowhere = tmp_path / "kubeconfig"
    nowhere.write_text(bed.cp.kubeconfig.read_text().replace(bed.cp.url, "https://127.0.0.1:9"))
    code, said = await doctor(world, PLAIN, kubeconfig=nowhere)
    assert code == 3
    (line,) = said.splitlines()
    assert "there is no cluster to look at" in line
