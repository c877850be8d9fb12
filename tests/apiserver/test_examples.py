"""Every manifest that a reader may copy is taken by the API server: the examples, and what README and docs show."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from telegrambot_operator.api.models import TelegramBotSpec, TelegramBotStatus
from telegrambot_operator.names import Reason
from tests.bed.tools import program

if TYPE_CHECKING:
    from tests.bed.bed import Bed

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
EXAMPLES = ROOT / "examples"
FILES = {path.name: path.read_text() for path in sorted(EXAMPLES.glob("*.yaml"))}
BUILT = {path.parent.relative_to(EXAMPLES).as_posix(): path.parent for path in EXAMPLES.rglob("kustomization.yaml")}
BLOCK = re.compile(r"```yaml\n(.*?)```", re.DOTALL)
SHOWN = {
    f"{path.relative_to(ROOT)} {number}": text
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
    for number, text in enumerate(BLOCK.findall(path.read_text()), 1)
    if "\nkind:" in text
}
STRICT = ("apply", "--server-side", "--validate=strict", "--dry-run=server", "-f", "-")


@pytest.mark.bed
@pytest.mark.parametrize("text", [*FILES.values(), *SHOWN.values()], ids=[*FILES, *SHOWN])
async def test_it_is_taken(text: str, bed: Bed, ns: str) -> None:
    await bed.kubectl("-n", ns, *STRICT, stdin=text)


@pytest.mark.bed
@pytest.mark.parametrize("folder", BUILT.values(), ids=BUILT)
async def test_what_kustomize_builds_is_taken(folder: Path, bed: Bed, ns: str) -> None:
    await bed.kubectl("-n", ns, *STRICT, stdin=await bed.kubectl("kustomize", str(folder)))


@pytest.mark.bed
async def test_the_names_that_kustomize_changes_reach_the_telegrambot(bed: Bed) -> None:
    built = yaml.safe_load_all(await bed.kubectl("kustomize", str(EXAMPLES / "kustomize/overlays/production")))
    found = {each["kind"]: each for each in built}
    bot, deployment, secret = found["TelegramBot"]["spec"], found["Deployment"], found["Secret"]
    assert bot["deploymentRef"]["name"] == deployment["metadata"]["name"] == "production-telegram-bot"
    assert bot["token"]["secretKeyRef"]["name"] == secret["metadata"]["name"] != "telegram-bot"


def helm(command: str, *arguments: str) -> str:
    """What Helm says of the chart that carries a TelegramBot. Raises CalledProcessError."""
    words = [str(program("helm")), command, *arguments, str(EXAMPLES / "helm" / "shop-bot")]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout


@pytest.mark.bed
@pytest.mark.parametrize("values", ["telegramBot.lock=Gate", "image=registry.example.com/other"])
async def test_what_helm_renders_is_taken(values: str, bed: Bed, ns: str) -> None:
    helm("lint", "--strict", "--set", values)
    text = helm("template", "shop", "--set", values)
    assert values.partition("=")[2] in text
    await bed.kubectl("-n", ns, *STRICT, stdin=text)


def test_the_chart_can_be_installed_where_there_is_no_operator() -> None:
    kinds = [
        each["kind"] for each in yaml.safe_load_all(helm("template", "shop", "--set", "telegramBot.enabled=false"))
    ]
    assert kinds == ["Deployment"]


@pytest.mark.bed
async def test_all_of_them_can_live_in_one_namespace(bed: Bed, ns: str) -> None:
    await bed.kubectl("-n", ns, "apply", "-f", str(EXAMPLES))
    made = await bed.kubectl("-n", ns, "get", "telegrambots", "-o", "name")
    documents = [each for text in FILES.values() for each in yaml.safe_load_all(text)]
    assert len(made.splitlines()) == sum(each["kind"] == "TelegramBot" for each in documents)


@pytest.mark.parametrize("text", FILES.values(), ids=FILES)
def test_it_holds_no_token_that_could_be_real(text: str) -> None:
    assert not re.search(r"[0-9]{5,}:[A-Za-z0-9_-]{30,}", text)


def test_the_readme_shows_a_manifest() -> None:
    assert any(name.startswith("README") for name in SHOWN)


@pytest.mark.parametrize("reason", Reason)
def test_the_readme_says_what_to_do_about_every_reason(reason: Reason) -> None:
    assert f"`{reason}`" in README


@pytest.mark.parametrize("name", [each.alias for each in TelegramBotSpec.model_fields.values()])
def test_the_readme_explains_every_field(name: str) -> None:
    assert re.search(rf"`{name}[`.]", README)


def test_the_readme_explains_the_status() -> None:
    for field in TelegramBotStatus.model_fields.values():
        assert f"`{field.alias}`" in README or f"`{field.alias}." in README
