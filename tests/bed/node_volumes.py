"""The volumes that a container finds at its mount paths, under a folder that stands in for its root file system.

Projected volumes are laid out and renewed as a kubelet does it (pkg/volume/util/atomic_writer.go, pkg/kubelet/token):
the files are links through `..data`, which is replaced as one; a ServiceAccount's token is one of the TokenRequest API,
bound to the pod, and is renewed once four fifths of its life are over.
"""

from __future__ import annotations

import asyncio
import shutil
import time
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from aiohttp import ClientError

from tests.bed.kube import KubeError, path

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from tests.bed.kube import Kube, Object

_RENEWED_AFTER = 0.8  # of a token's life
_RETRY = 1.0  # seconds until what could not be renewed is tried again
_FAULTS = (ClientError, OSError, TimeoutError, KubeError)


class VolumeError(Exception):
    """A volume cannot be made here; the message says which, and is the reason that the pod shows."""


class Mounts:
    """What one container finds. `fill` makes it, `keep` renews the tokens in it."""

    def __init__(self, kube: Kube, pod: Object, container: Object, root: Path, field: Callable[[str], str]) -> None:
        """Of this container of the pod, under `root`; `field` is the downward API."""
        self.root = root
        self._kube = kube
        self._pod = pod
        self._volumes = {each["name"]: each for each in pod["spec"].get("volumes", [])}
        self._mounts: list[Object] = container.get("volumeMounts", [])
        self._field = field
        self._due = float("inf")
        self._asked = asyncio.Event()

    async def fill(self) -> None:
        """Write all of it. Raises VolumeError and what the API server refuses."""
        self._due = float("inf")
        for mount in self._mounts:
            folder = self.root / mount["mountPath"].lstrip("/")
            folder.mkdir(parents=True, exist_ok=True)
            volume = self._volumes[mount["name"]]
            if "projected" in volume:
                _replace(folder, await self._project(volume["projected"]["sources"]))
            elif "emptyDir" not in volume:
                raise VolumeError(
                    f"the bed has no volume of the kind of {volume['name']}: it has projected and emptyDir"
                )

    async def keep(self, awake: Callable[[], Awaitable[object]]) -> None:
        """Renew the tokens whenever it is time or somebody asks, for ever."""
        while True:
            with suppress(TimeoutError):
                left = None if self._due == float("inf") else max(0.0, self._due - time.time())
                async with asyncio.timeout(left):
                    await self._asked.wait()
            await awake()
            try:
                await self.fill()
                self._asked.clear()
            except _FAULTS:
                await asyncio.sleep(_RETRY)

    def renew(self) -> None:
        """Renew the tokens now, whatever is left of them."""
        self._asked.set()

    async def _project(self, sources: list[Object]) -> dict[str, str]:
        files: dict[str, str] = {}
        for source in sources:
            ((kind, wanted),) = source.items()
            if kind == "serviceAccountToken":
                files[wanted["path"]] = await self._token(wanted)
            elif kind == "configMap":
                found = await self._kube.get("configmaps", self._pod["metadata"]["namespace"], wanted["name"]) or {}
                files |= {item["path"]: found["data"][item["key"]] for item in wanted["items"]}
            elif kind == "downwardAPI":
                files |= {item["path"]: self._field(item["fieldRef"]["fieldPath"]) for item in wanted["items"]}
            else:
                raise VolumeError(f"the bed projects no {kind}")
        return files

    async def _token(self, wanted: Object) -> str:
        """A token that is good for as long as the pod lives, and no longer than was asked for."""
        metadata = self._pod["metadata"]
        account = self._pod["spec"].get("serviceAccountName", "default")
        owner = {"kind": "Pod", "apiVersion": "v1", "name": metadata["name"], "uid": metadata["uid"]}
        spec = {"expirationSeconds": wanted.get("expirationSeconds", 3600), "boundObjectRef": owner}
        if "audience" in wanted:
            spec["audiences"] = [wanted["audience"]]
        where = path("serviceaccounts", metadata["namespace"], account, "token")
        asked = time.time()
        status = (await self._kube.call("POST", where, {"spec": spec}))["status"]
        life = datetime.fromisoformat(status["expirationTimestamp"]).timestamp() - asked
        self._due = min(self._due, asked + _RENEWED_AFTER * life)
        return str(status["token"])


def _replace(folder: Path, files: Mapping[str, str]) -> None:
    """Put the files there, all at once: whoever reads finds the old ones or the new ones."""
    fresh = folder / f"..{time.time_ns()}"
    fresh.mkdir()
    for name, text in files.items():
        (fresh / name).write_text(text)
    draft, data = folder / "..data_tmp", folder / "..data"
    draft.symlink_to(fresh.name)
    old = data.resolve() if data.is_symlink() else None
    draft.replace(data)
    for name in files:
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(Path("..data") / name)
    if old is not None:
        shutil.rmtree(old)
