"""What the operator's image runs, as a process of the bed's node: the program itself, in the image's surroundings.

A container has a root file system and a network of its own; a process of the node has neither, and needs no root user.
So this does what they would do, and nothing else:

- the ServiceAccount's folder, which is an absolute path, is looked for under BED_ROOT;
- what would listen on every address of the pod listens on BED_ADDRESS, a loopback address that the pod has for itself;
- its host's name is its own, which the node gives it as HOSTNAME;
- there is no home folder, so no kubeconfig of whoever runs the tests;
- modules that the image does not have (image/assemble.py) cannot be imported.
"""

from __future__ import annotations

import asyncio
import os
import runpy
import sys
from importlib.abc import MetaPathFinder
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import ModuleType

_EVERYWHERE = {None, "", "0.0.0.0", "::"}
_ASSEMBLE = Path(__file__).parents[2] / "image" / "assemble.py"


class _NotInTheImage(MetaPathFinder):
    """Refuses what `assemble.py` leaves out: the generated modules that were not loaded by now."""

    def __init__(self) -> None:
        self._left_out = {part.replace("/", ".") for part in runpy.run_path(str(_ASSEMBLE))["GENERATED"]}

    def find_spec(self, fullname: str, path: Any, target: ModuleType | None = None) -> None:  # noqa: ARG002
        """Raise ImportError for a module that is left out, and leave the others to others."""
        if fullname.rpartition(".")[0] in self._left_out:
            raise ImportError(f"{fullname} is not in the image")


def _mount(root: str) -> None:
    """Let every constant that is a path in the ServiceAccount's folder be one under `root`."""
    account = "/var/run/secrets/kubernetes.io/serviceaccount"
    for module in list(sys.modules.values()):
        for name, value in list(vars(module).items()):
            if isinstance(value, str | Path) and str(value).startswith(account):
                setattr(module, name, type(value)(root + str(value)))


def _listen_on(address: str) -> None:
    """Let every server that would listen everywhere listen on this address."""
    create_server = asyncio.BaseEventLoop.create_server

    def create(self: asyncio.BaseEventLoop, factory: Any, host: Any = None, port: Any = None, **more: Any) -> Any:
        everywhere = more.get("sock") is None and not isinstance(host, list | tuple) and host in _EVERYWHERE
        return create_server(self, factory, address if everywhere else host, port, **more)

    asyncio.BaseEventLoop.create_server = create  # type: ignore[assignment,method-assign]


def _be_named(name: str) -> None:
    """Let the host have this name."""
    real = os.uname()
    named = os.uname_result((real.sysname, name, real.release, real.version, real.machine))
    os.uname = lambda: named


def _main() -> int:
    root = os.environ.pop("BED_ROOT")
    os.environ["HOME"] = root
    from telegrambot_operator import __main__ as program  # noqa: PLC0415 with what comes below still as it is

    sys.meta_path.insert(0, _NotInTheImage())
    _mount(root)
    _listen_on(os.environ.pop("BED_ADDRESS"))
    _be_named(os.environ["HOSTNAME"])
    return program.main(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(_main())
