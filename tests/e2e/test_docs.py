"""The commands that the docs tell people to run do what the docs say, in the order in which they stand there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.e2e.world import Operate, World

if TYPE_CHECKING:
    from tests.bed.bed import Bed

pytestmark = pytest.mark.bed

DOCS = Path(__file__).parents[2] / "docs"
# What there is only where the operator runs as a pod, with the election of its replicas.
INSTALLED = ("kubectl -n telegrambot-operator ", "kubectl -n kube-system ")
_COMMAND = re.compile(r"^    ((?:kubectl|telegrambot-operator) .*?)(?: +#.*| \| .*)?$", re.MULTILINE)


def commands(page: str) -> list[str]:
    """The commands on a page, without comments and what they are piped into."""
    return _COMMAND.findall((DOCS / page).read_text())


async def run(bed: Bed, command: str, **names: str) -> tuple[int, str]:
    """Run a command with names of the test in place of the page's; returns its exit code and what it printed."""
    program, *arguments = [names.get(word, word) for word in shlex.split(command)]
    arguments = [re.sub("IDENTITY", names.get("IDENTITY", ""), word) for word in arguments]
    if program == "telegrambot-operator":
        return await bed.command(*arguments)
    return 0, await bed.kubectl(*arguments)


async def test_a_bot_is_adopted_by_the_steps_of_the_page_and_given_back(bed: Bed, ns: str, operate: Operate) -> None:
    steps = [each for each in commands("adopting.md") if "--log" not in each]
    world = await World.make(bed, ns)
    await bed.apply(world.plain())
    await bed.until(world.one_runs, what="a bot that runs by itself")
    manifest = bed.folder / f"{ns}.yaml"
    names = {"shop": ns, "telegrambot.yaml": str(manifest)}

    code, said = await run(bed, steps[0], **names)
    assert (code, "deployment/telegram-bot" in steps[0]) == (1, True)
    manifest.write_text("apiVersion" + said.partition("\napiVersion")[2].partition("\n\n")[0])
    async with operate("--namespace", ns):
        for step in steps[1:]:
            code, said = await run(bed, step, **names)
            assert code == 0, f"{step}\n{said}"
            await world.settled_as("telegram-bot")
        assert "Deployment telegram-bot: replicas 3 -> 1." in said, "the last of them lists the Events"
        world.assert_never_two()

        (undo,) = re.findall(r"`(kubectl -n shop delete telegrambot [a-z-]+)`", (DOCS / "adopting.md").read_text())
        await run(bed, undo, **names)

        async def given_back() -> bool:
            deployment = await world.deployed()
            labels, template = deployment["metadata"]["labels"], deployment["spec"]["template"]
            return "singleton.bot/name" not in labels and "affinity" not in template["spec"]

        await bed.until(given_back, what="a Deployment without lock and mark")
        await world.rested()
        world.assert_never_two()


@pytest.mark.parametrize("page", ["operations.md", "troubleshooting.md"])
async def test_what_the_page_tells_to_look_at_can_be_looked_at(
    page: str, bed: Bed, ns: str, operate: Operate, tmp_path: Path
) -> None:
    world = await World.make(bed, ns)
    log = tmp_path / "bot.log"
    log.write_text("nothing of interest\n")
    names = {"NS": ns, "NAME": "shop", "IDENTITY": str(world.bot.id), "deployment/NAME": "deployment/telegram-bot"}
    async with operate("--namespace", ns):
        await world.guarded()
        looks = [each for each in commands(page) if not each.startswith(INSTALLED)]
        assert len(looks) > 3
        for look in looks:
            code, said = await run(bed, look, FILE=str(log), **names)
            assert (code, bool(said)) == (0, True), f"{look}\n{said}"
