"""Each tool is built by itself, once; here Go is a script that is quick."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.bed import gobuild, tools

if TYPE_CHECKING:
    from pathlib import Path

FAKE_GO = """#!/bin/sh
if [ "$1" = env ]; then echo go1.26.1; exit; fi
echo "$PWD $@" >>{calls}
while [ "$1" != -o ]; do shift; done
echo built >$2${{3##*/}}
"""


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fake Go on the PATH, an empty cache, and the file that the fake writes its calls to."""
    for name in tools.NAMES:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setattr(tools, "CACHE", tmp_path / "cache")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "go").write_text(FAKE_GO.format(calls=tmp_path / "calls"))
    (tmp_path / "bin" / "go").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    return tmp_path / "calls"


def test_a_caller_waits_for_the_tool_that_it_uses_and_for_no_other(calls: Path) -> None:
    assert tools.program("helm").read_text() == "built\n"
    assert calls.read_text().count("\n") == 1
    assert calls.read_text().startswith(f"{tools.MODULES / 'helm'} build ")


def test_what_is_built_is_not_built_again(calls: Path) -> None:
    tools.program("helm")
    assert set(tools.programs()) == set(tools.NAMES)
    assert set(tools.programs()) == set(tools.NAMES)
    assert calls.read_text().count("\n") == len(tools.NAMES)


@pytest.mark.parametrize("name", tools._VERSION)
def test_the_version_of_go_mod_is_stamped(name: str, calls: Path) -> None:
    tools.program(name)
    module = tools._PACKAGES[name][0]
    assert f"{tools._VERSION[name]}={gobuild.version(tools.MODULES / name, module)} " in calls.read_text()


def test_a_program_that_the_environment_names_is_taken_as_it_is(
    calls: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HELM", str(tmp_path / "bin" / "go"))
    assert tools.program("helm") == tmp_path / "bin" / "go"
    assert not calls.exists()


@pytest.mark.parametrize("given", ["nowhere", "bin"])
def test_what_the_environment_names_and_is_no_program_is_refused(
    given: str, calls: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HELM", str(tmp_path / given))
    assert tools.main(["helm"]) == 1
    assert capsys.readouterr().err == f"tools: HELM={tmp_path / given} is not a program; name one, or unset it.\n"
    assert not calls.exists()


def test_a_tool_that_there_is_not_is_refused_with_those_that_there_are(
    calls: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert tools.main(["kubeval"]) == 2
    assert capsys.readouterr().err == "tools: there is no kubeval; use helm, promtool, actionlint, kind.\n"
    assert not calls.exists()
