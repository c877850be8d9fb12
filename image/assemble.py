"""Puts an image's Python packages together, in the build stage of a Dockerfile: standard library only, no network.

    python3 assemble.py WHEELS TARGET [LOCK]

WHEELS is what `make wheels` filled. Everything in LOCK, checked by its hashes, and our own wheel are installed into
TARGET. What is there in the end is the same, byte for byte, whenever it is done.
"""

from __future__ import annotations

import compileall
import json
import os
import py_compile
import shutil
import subprocess
import sys
from pathlib import Path

# The generated halves of the `kubernetes` package, a class for each kind and call of the whole API: 70 MB of source, of
# which each is imported only when it is named. The operator sends and reads JSON, so none is but those that kopf names.
GENERATED = tuple(f"kubernetes/{half}/{part}" for half in ("client", "aio/client") for part in ("models", "api"))
_LOADED = (
    "import json, sys, telegrambot_operator.__main__;"
    "print(json.dumps(sorted(getattr(m, '__file__', None) or '' for m in list(sys.modules.values()))))"
)
_MADE = 1577836800  # 2020-01-01, the time that wheels built here carry as well


def install(wheels: Path, target: Path, lock: Path | None) -> None:
    """Install what the lock names, then our own wheel."""
    ours = sorted(str(path) for path in (wheels / "own").glob("*.whl"))
    if lock is not None:
        _pip(wheels, target, "--require-hashes", "--requirement", str(lock))
    if ours:
        _pip(wheels, target, *ours)


def _pip(wheels: Path, target: Path, *what: str) -> None:
    """Run pip out of its own wheel: the base image needs none."""
    (pip,) = wheels.glob("pip-*.whl")
    options = ["--no-index", "--find-links", str(wheels), "--no-deps", "--no-compile", "--no-cache-dir", "--quiet"]
    options += ["--disable-pip-version-check", "--root-user-action=ignore", "--target", str(target)]
    subprocess.run([sys.executable, str(pip / "pip"), "install", *options, *what], check=True)
    shutil.rmtree(target / "bin", ignore_errors=True)  # programs, which are never run


def unused(target: Path, loaded: set[str]) -> list[Path]:
    """Return the generated modules that are not among the loaded ones."""
    modules = [path for part in GENERATED for path in sorted((target / part).glob("*.py"))]
    return [path for path in modules if path.name != "__init__.py" and str(path) not in loaded]


def prune(target: Path) -> None:
    """Delete the generated modules that the operator does not load."""
    if not (target / "telegrambot_operator").is_dir():
        return
    environment = {**os.environ, "PYTHONPATH": str(target), "PYTHONDONTWRITEBYTECODE": "1"}
    said = subprocess.run([sys.executable, "-c", _LOADED], env=environment, check=True, capture_output=True).stdout
    for path in unused(target, set(json.loads(said))):
        path.unlink()


def compile_all(target: Path) -> None:
    """Compile everything: the file system is read-only later. Files are known by their content, not by their time."""
    mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
    compileall.compile_dir(target, quiet=2, invalidation_mode=mode, workers=1)


def stamp(target: Path) -> None:
    """Give everything one time."""
    for path in [target, *target.rglob("*")]:
        os.utime(path, (_MADE, _MADE), follow_symlinks=False)


def main(wheels: str, target: str, lock: str | None = None) -> None:
    """Do all of it."""
    folder = Path(target).resolve()
    install(Path(wheels).resolve(), folder, Path(lock) if lock else None)
    prune(folder)
    compile_all(folder)
    stamp(folder)


if __name__ == "__main__":
    main(*sys.argv[1:])
