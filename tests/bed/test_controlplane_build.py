"""The programs of the control plane are built once, by whichever Go there is; here Go is a script that is quick."""

from __future__ import annotations

import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from tests.bed import controlplane_build as build
from tests.bed import gobuild

if TYPE_CHECKING:
    from pathlib import Path

FAKE_GO = """#!/bin/sh
if [ "$1" = env ]; then echo go1.26.1; exit; fi
echo "$@" >>{calls}
while [ "$1" != -o ]; do shift; done
for name in server kube-apiserver kube-controller-manager kube-scheduler; do echo $name >$2$name; done
"""


def _script(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fake Go on the PATH, an empty cache, and the file that the fake writes its calls to."""
    monkeypatch.delenv("CONTROL_PLANE_BIN", raising=False)
    monkeypatch.setattr(build, "CACHE", tmp_path / "cache")
    (tmp_path / "bin").mkdir()
    calls = tmp_path / "calls"
    _script(tmp_path / "bin" / "go", FAKE_GO.format(calls=calls))
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    return calls


def test_the_four_programs_are_built_and_named_as_everybody_names_them(calls: Path) -> None:
    folder = build.binaries()

    assert sorted(path.name for path in folder.iterdir()) == sorted(build.PROGRAMS)
    assert (folder / "etcd").read_text() == "server\n"
    assert calls.read_text().count("\n") == 1


def test_the_version_of_go_mod_is_stamped_as_kubernetes_own_build_does(calls: Path) -> None:
    build.binaries()

    major, minor = build.version().removeprefix("v").split(".")[:2]
    for package in ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version"):
        assert f"-X {package}.gitVersion={build.version()} " in calls.read_text()
        assert f"-X {package}.gitMajor={major} -X {package}.gitMinor={minor} " in calls.read_text()


def test_what_is_built_is_not_built_again(calls: Path) -> None:
    assert build.binaries() == build.binaries()
    assert calls.read_text().count("\n") == 1


def test_two_runs_at_once_build_once(calls: Path) -> None:
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda _: build.binaries(), range(2))

    assert first == second
    assert calls.read_text().count("\n") == 1


def test_a_build_that_fails_says_what_go_said_and_leaves_nothing_to_be_taken_for_a_build(
    calls: Path, tmp_path: Path
) -> None:
    good = (tmp_path / "bin" / "go").read_text()
    _script(
        tmp_path / "bin" / "go", '#!/bin/sh\n[ "$1" = env ] && echo go1.26.1 && exit\necho "no space" >&2\nexit 1\n'
    )
    with pytest.raises(build.BuildError, match=r"go build failed with exit code 1:\nno space"):
        build.binaries()

    _script(tmp_path / "bin" / "go", good)
    assert (build.binaries() / "etcd").exists()
    assert calls.read_text().count("\n") == 1


@pytest.mark.parametrize("go", ["#!/bin/sh\necho go1.25.9\n", "#!/bin/sh\nexit 1\n", None])
def test_without_a_go_that_is_new_enough_the_wheel_is_taken(
    go: str | None, calls: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "bin" / "go"
    wheel = program.rename(tmp_path / "go-of-the-wheel")
    monkeypatch.setattr(gobuild, "_go_wheel", lambda _: gobuild.Go(wheel, scratch=tmp_path / "scratch"))
    (tmp_path / "scratch").mkdir()
    if go is not None:
        _script(program, go)

    build.binaries()

    assert calls.read_text().count("\n") == 1
    assert not (tmp_path / "scratch").exists()


def test_a_folder_of_ready_programs_is_taken_as_it_is(
    calls: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in build.PROGRAMS:
        _script(tmp_path / name, "")
    monkeypatch.setenv("CONTROL_PLANE_BIN", tmp_path.name)
    monkeypatch.chdir(tmp_path.parent)

    assert build.binaries() == tmp_path
    assert not calls.exists()


def test_a_folder_that_lacks_a_program_is_refused_with_its_name(
    calls: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _script(tmp_path / "etcd", "")
    _script(tmp_path / "kube-apiserver", "")
    (tmp_path / "kube-scheduler").write_text("not to be run")
    monkeypatch.setenv("CONTROL_PLANE_BIN", str(tmp_path))

    assert build.main() == 1
    assert capsys.readouterr().err == (
        f"control plane: CONTROL_PLANE_BIN={tmp_path} has no program kube-controller-manager and no kube-scheduler.\n"
    )
    assert not calls.exists()


@pytest.mark.bed
def test_the_command_builds_nothing_when_all_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build.binaries()
    _script(tmp_path / "go", f"#!/bin/sh\ntouch {tmp_path / 'called'}\n")
    monkeypatch.setenv("PATH", str(tmp_path))

    done = subprocess.run(
        [sys.executable, "-m", "tests.bed.controlplane"], capture_output=True, text=True, check=False, timeout=60
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("control plane: ready in ")
    assert not (tmp_path / "called").exists()
