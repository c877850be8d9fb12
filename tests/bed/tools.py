"""Helm, promtool, actionlint and kind: the real programs, built once per user from the pinned modules in tests/tools.

    python -m tests.bed.tools               # build those that are missing
    python -m tests.bed.tools --quiet helm  # ... of these, and say nothing where they are there
    tools.program("helm")                   # its path, built first if need be

Each has a go.mod of its own, so that none is held back by what another requires, and a caller waits only for what it
uses. `$HELM`, `$PROMTOOL`, `$ACTIONLINT` and `$KIND` name ready programs instead. See gobuild.py for the rest.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from tests.bed import gobuild
from tests.bed.gobuild import BuildError, GoPrograms, build_missing

MODULES = Path(__file__).parents[1] / "tools"
CACHE = gobuild.CACHE / "tools"
_PACKAGES = {
    "helm": ("helm.sh/helm/v4", "cmd/helm", "2 to 4 minutes", 900),
    "promtool": ("github.com/prometheus/prometheus", "cmd/promtool", "2 to 4 minutes", 1300),
    "actionlint": ("github.com/rhysd/actionlint", "cmd/actionlint", "under a minute", 100),
    "kind": ("sigs.k8s.io/kind", "", "about a minute", 150),
}
NAMES = tuple(_PACKAGES)
# What promtool finds targets with at a dozen clouds takes half of its build, and no rule or metric needs it.
_TAGS = {"promtool": ("remove_all_sd",)}
# Where each program keeps the version that it prints; without the stamp it does not know. kind knows its own.
_VERSION = {
    "helm": "helm.sh/helm/v4/internal/version.version",
    "promtool": "github.com/prometheus/common/version.Version",
    "actionlint": "github.com/rhysd/actionlint.version",
}


def program(name: str) -> Path:
    """The path of one of the tools, built first if need be. Raises BuildError, and KeyError for another name."""
    return programs((name,))[name]


def programs(names: tuple[str, ...] = NAMES) -> dict[str, Path]:
    """The paths of these tools, built first if need be. Raises BuildError, and KeyError for another name."""
    found = {name: _given(name) for name in names}
    recipes = {name: _recipe(name) for name in names if found[name] is None}
    build_missing(list(recipes.values()))
    return {name: given or recipes[name].folder / name for name, given in found.items()}


def _given(name: str) -> Path | None:
    """The program that the environment names. Raises BuildError where it cannot be run."""
    given = os.environ.get(name.upper())
    if not given:
        return None
    if not os.access(given, os.X_OK) or Path(given).is_dir():
        raise BuildError(f"{name.upper()}={given} is not a program; name one, or unset it.")
    return Path(given).absolute()


def _recipe(name: str) -> GoPrograms:
    module, package, takes, about = _PACKAGES[name]
    version = gobuild.version(MODULES / name, module)
    return GoPrograms(
        label=f"{name} {version}",
        modules=MODULES / name,
        packages=(f"{module}/{package}".rstrip("/"),),
        cache=CACHE,
        takes=takes,
        about=about,
        stamps={_VERSION[name]: version} if name in _VERSION else {},
        tags=_TAGS.get(name, ()),
    )


def main(arguments: list[str]) -> int:
    """Build what is missing and say where it is; the exit code is 1 when that could not be done."""
    quiet = arguments[:1] == ["--quiet"]
    arguments = arguments[quiet:]
    if unknown := [name for name in arguments if name not in NAMES]:
        print(f"tools: there is no {', no '.join(unknown)}; use {', '.join(NAMES)}.", file=sys.stderr)
        return 2
    try:
        found = programs(tuple(arguments) or NAMES)
    except BuildError as error:
        print(f"tools: {error}", file=sys.stderr)
        return 1
    for name, path in found.items() if not quiet else ():
        print(f"{name}: ready in {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
