"""The four programs of the control plane, built once per user from the pinned modules in tests/bed/controlplane.

    folder = binaries()                     # builds when they are not there yet: 5 to 10 minutes on two cores
    folder / "kube-apiserver"

They are kept in `$XDG_CACHE_HOME/telegrambot-operator/controlplane` (default ~/.cache); see gobuild.py.
`$CONTROL_PLANE_BIN` names a folder of ready programs instead.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from tests.bed import gobuild
from tests.bed.gobuild import BuildError, GoPrograms, build_missing

__all__ = ["PROGRAMS", "BuildError", "binaries", "main", "version"]

PROGRAMS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")
MODULES = Path(__file__).parent / "controlplane"
CACHE = gobuild.CACHE / "controlplane"
_PACKAGES = ("go.etcd.io/etcd/server/v3", *(f"k8s.io/kubernetes/cmd/{name}" for name in PROGRAMS[1:]))


def binaries() -> Path:
    """The folder with the four programs, built first if need be. Raises BuildError."""
    if ready := os.environ.get("CONTROL_PLANE_BIN"):
        return _complete(Path(ready))
    programs = GoPrograms(
        label=f"control plane (etcd and Kubernetes {version()})",
        modules=MODULES,
        packages=_PACKAGES,
        cache=CACHE,
        takes="5 to 10 minutes",
        about=2500,
        stamps=_stamps(),
        names={"server": "etcd"},  # Go names a program after its package
    )
    build_missing([programs])
    return programs.folder


def version() -> str:
    """The version of Kubernetes that go.mod pins, such as v1.37.2."""
    return gobuild.version(MODULES, "k8s.io/kubernetes")


def _complete(folder: Path) -> Path:
    missing = [name for name in PROGRAMS if not os.access(folder / name, os.X_OK)]
    if missing:
        raise BuildError(f"CONTROL_PLANE_BIN={folder} has no program {' and no '.join(missing)}.")
    return folder.absolute()  # the programs are started in another folder


def _stamps() -> dict[str, str]:
    """What Kubernetes' own build stamps into its programs (hack/lib/version.sh), as far as it is known here."""
    major, minor, _ = version().removeprefix("v").split(".", 2)
    values = {"gitVersion": version(), "gitMajor": major, "gitMinor": minor, "gitTreeState": "archive"}
    packages = ("k8s.io/client-go/pkg/version", "k8s.io/component-base/version")
    return {f"{package}.{name}": value for package in packages for name, value in values.items()}


def main() -> int:
    """Build what is missing and say where it is; the exit code is 1 when that could not be done."""
    try:
        folder = binaries()
    except BuildError as error:
        print(f"control plane: {error}", file=sys.stderr)
        return 1
    print(f"control plane: ready in {folder}")
    return 0
