"""Puts the root file system of an image together, in the build stage of a Dockerfile: Python alone, no network.

    python3 assemble.py ROOT WHEELS LOCK

In ROOT are then the Python that runs this, without what only developers need; /app with everything in LOCK, checked by
its hashes, and our own wheel, both from WHEELS, which `make wheels` filled; the shared libraries that these load; and
nothing else: no shell, no package manager. It is the same, byte for byte, whenever it is done on one base image.
"""

from __future__ import annotations

import compileall
import json
import os
import py_compile
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

# The generated halves of the `kubernetes` package, a class for each kind and call of the whole API: 70 MB of source, of
# which each is imported only when it is named. The operator sends and reads JSON, so none is but those that kopf names.
GENERATED = tuple(f"kubernetes/{half}/{part}" for half in ("client", "aio/client") for part in ("models", "api"))
_LOADED = (
    "import json, sys, telegrambot_operator.__main__;"
    "print(json.dumps(sorted(getattr(m, '__file__', None) or '' for m in list(sys.modules.values()))))"
)
# Of the standard library: for developers, for screens, for other operating systems, and what others have installed.
_NOT_RUN = ("test", "tests", "idlelib", "tkinter", "turtledemo", "ensurepip", "lib2to3", "pydoc_data", "config-*")
_NOT_OURS = ("site-packages", "dist-packages", "__pycache__", "_tkinter*", "_curses*", "readline*", "_dbm*", "_gdbm*")
_FILES = {
    "etc/passwd": "nonroot:x:65532:65532::/:/\n",
    "etc/group": "nonroot:x:65532:\n",
    "etc/nsswitch.conf": "hosts: files dns\n",  # without it glibc asks DNS before it looks into /etc/hosts
}
_MADE = 1577836800  # 2020-01-01, the time that wheels built here carry as well


def install(wheels: Path, app: Path, lock: Path) -> None:
    """Install what the lock names, then our own wheel where there is one."""
    _pip(wheels, app, "--require-hashes", "--requirement", str(lock))
    for ours in sorted((wheels / "own").glob("*.whl")):
        _pip(wheels, app, str(ours))


def _pip(wheels: Path, app: Path, *what: str) -> None:
    """Run pip out of its own wheel: the base image needs none."""
    (pip,) = wheels.glob("pip-*.whl")
    options = ["--no-index", "--find-links", str(wheels), "--no-deps", "--no-compile", "--no-cache-dir", "--quiet"]
    options += ["--disable-pip-version-check", "--root-user-action=ignore", "--target", str(app)]
    subprocess.run([sys.executable, str(pip / "pip"), "install", *options, *what], check=True)
    shutil.rmtree(app / "bin", ignore_errors=True)  # programs, which are never run


def prune(app: Path) -> None:
    """Delete the generated modules that the operator does not load."""
    if not (app / "telegrambot_operator").is_dir():
        return
    environment = {**os.environ, "PYTHONPATH": str(app), "PYTHONDONTWRITEBYTECODE": "1"}
    said = subprocess.run([sys.executable, "-c", _LOADED], env=environment, check=True, capture_output=True).stdout
    for path in unused(app, set(json.loads(said))):
        path.unlink()


def unused(app: Path, loaded: set[str]) -> list[Path]:
    """Return the generated modules that are not among the loaded ones."""
    modules = [path for part in GENERATED for path in sorted((app / part).glob("*.py"))]
    return [path for path in modules if path.name != "__init__.py" and str(path) not in loaded]


def copy_python(root: Path) -> None:
    """Copy the interpreter to where it is here, with a link named python3 beside it, and the standard library."""
    python = Path(sys.executable).resolve()
    copy(root, python)
    (root / str(python)[1:]).with_name("python3").symlink_to(python.name)
    library = sysconfig.get_path("stdlib")
    shutil.copytree(library, root / library[1:], ignore=shutil.ignore_patterns(*_NOT_RUN, *_NOT_OURS))


def copy_libraries(root: Path) -> None:
    """Copy the shared libraries that anything under `root` loads, the loader, and its table of where they are."""
    (loader,) = set(re.findall(r"\S*/ld-linux\S*", Path("/proc/self/maps").read_text()))
    binaries = [Path(sys.executable).resolve(), *sorted(root.rglob("*.so"))]
    said = [
        subprocess.run([loader, "--list", str(path)], check=True, capture_output=True, text=True) for path in binaries
    ]
    needed = {found for each in said for found in re.findall(r"(?<!\S)/\S+", each.stdout)}
    for path in sorted(needed | {"/etc/ld.so.cache"}):
        if not Path(path).is_relative_to(root):
            copy(root, Path(path))


def copy(root: Path, path: Path) -> None:
    """Copy a file to the same place under `root`; of a link, what it leads to."""
    target = root / str(path)[1:]
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(path, target)


def write_files(root: Path) -> None:
    """Write who there is, and how names are looked up; and a folder for temporary files, should one be mounted."""
    for name, text in _FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    (root / "tmp").mkdir(mode=0o1777)


def compile_all(root: Path) -> None:
    """Compile everything: the file system is read-only later. Files are known by their content, not by their time."""
    mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
    compileall.compile_dir(root, quiet=2, invalidation_mode=mode, workers=1, stripdir=str(root), prependdir="/")


def stamp(root: Path) -> None:
    """Give everything one time."""
    for path in [root, *root.rglob("*")]:
        os.utime(path, (_MADE, _MADE), follow_symlinks=False)


def main(root: Path, wheels: Path, lock: Path) -> None:
    """Do all of it."""
    app = root / "app"
    install(wheels, app, lock)
    prune(app)
    copy_python(root)
    copy_libraries(root)
    write_files(root)
    compile_all(root)
    stamp(root)


if __name__ == "__main__":
    main(*(Path(each).resolve() for each in sys.argv[1:]))
