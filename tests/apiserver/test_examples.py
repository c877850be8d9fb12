"""Every manifest that a reader may copy is taken by the API server, in the files and in the README."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from telegrambot_operator.api.models import TelegramBotSpec, TelegramBotStatus
from telegrambot_operator.names import Reason

if TYPE_CHECKING:
    from tests.bed.bed import Bed

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
IN_README = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
FILES = {path.name: path.read_text() for path in sorted((ROOT / "examples").glob("*.yaml"))}
CASES = FILES | {f"README {number}": text for number, text in enumerate(IN_README, 1)}


@pytest.mark.bed
@pytest.mark.parametrize("text", CASES.values(), ids=CASES.keys())
async def test_it_is_taken(text: str, bed: Bed, ns: str) -> None:
    assert yaml.safe_load(text)["kind"] == "TelegramBot"
    await bed.kubectl("-n", ns, "apply", "--dry-run=server", "-f", "-", stdin=text)


@pytest.mark.bed
async def test_the_rights_are_taken(bed: Bed) -> None:
    await bed.kubectl("apply", "--dry-run=server", "-f", str(ROOT / "deploy" / "rbac.yaml"), check=False)
    await bed.kubectl("apply", "-f", str(ROOT / "deploy" / "rbac.yaml"))


def test_the_readme_shows_a_manifest() -> None:
    assert IN_README


@pytest.mark.parametrize("reason", Reason)
def test_the_readme_says_what_to_do_about_every_reason(reason: Reason) -> None:
    assert f"`{reason}`" in README


@pytest.mark.parametrize("name", [each.alias for each in TelegramBotSpec.model_fields.values()])
def test_the_readme_explains_every_field(name: str) -> None:
    assert re.search(rf"`{name}[`.]", README)


def test_the_readme_explains_the_status() -> None:
    for field in TelegramBotStatus.model_fields.values():
        assert f"`{field.alias}`" in README or f"`{field.alias}." in README
