"""Tools that apply a manifest again and again, each by the requests that the real one makes.

applier = Flux(world, manifest)
wrote = await applier.reconcile()     # whether it found a difference, and so applied

What they compare and how they apply is from their sources: fluxcd/pkg `ssa/manager_diff.go`; gitops-engine
`pkg/diff/diff.go` and `pkg/sync`; kubectl itself for the rest.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from tests.bed.kube import path

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.world import Object, World

APPLY = "application/apply-patch+yaml"


@dataclass
class Applier:
    """Applies `manifest`, a Deployment, whether or not anything differs: `kubectl apply` in a pipeline."""

    world: World
    manifest: Object
    manager: ClassVar[str] = "kubectl-client-side-apply"

    async def reconcile(self) -> bool:
        """Bring the cluster to the manifest once; returns whether the applier saw something to do."""
        await self.world.bed.apply(self.manifest)
        return True

    async def live(self) -> Object:
        """The Deployment as it is."""
        return await self.world.deployed()


@dataclass
class Kustomize(Applier):
    """`kubectl apply -k`: an overlay that sets the replicas of a base."""

    async def reconcile(self) -> bool:
        folder = Path(self.world.bed.folder) / f"kustomize-{self.world.ns}"
        folder.mkdir(exist_ok=True)
        spec = {key: value for key, value in self.manifest["spec"].items() if key != "replicas"}
        (folder / "deployment.yaml").write_text(json.dumps({**self.manifest, "spec": spec}))
        overlay = {
            "resources": ["deployment.yaml"],
            "replicas": [{"name": self.manifest["metadata"]["name"], "count": self.manifest["spec"]["replicas"]}],
        }
        (folder / "kustomization.yaml").write_text(json.dumps(overlay))
        await self.world.bed.kubectl("apply", "--kustomize", str(folder))
        return True


@dataclass
class ServerSide(Applier):
    """Server-side apply with force, after a dry run that shows a difference."""

    async def reconcile(self) -> bool:
        if not self.differs(await self.apply(dry_run=True), await self.live()):
            return False
        await self.apply()
        return True

    async def apply(self, *, dry_run: bool = False) -> Object:
        """What the API server stores, or would store."""
        meta = self.manifest["metadata"]
        query = f"?fieldManager={self.manager}&force=true{'&dryRun=All' if dry_run else ''}"
        where = path("deployments", meta["namespace"], meta["name"])
        return await self.world.bed.kube.patch(where + query, self.manifest, APPLY)

    def differs(self, predicted: Object, live: Object) -> bool:
        """Whether the two differ in a way that the tool acts on."""
        raise NotImplementedError


@dataclass
class Flux(ServerSide):
    """Flux's kustomize-controller: labels, annotations and everything but metadata and status are compared."""

    manager: ClassVar[str] = "kustomize-controller"

    def differs(self, predicted: Object, live: Object) -> bool:
        meta = [each["metadata"].get(what) for what in ("labels", "annotations") for each in (predicted, live)]
        return meta[0] != meta[1] or meta[2] != meta[3] or predicted["spec"] != live["spec"]


@dataclass
class ArgoServerSide(ServerSide):
    """Argo CD with ServerSideApply=true and ServerSideDiff=true: what it does not own is not compared."""

    manager: ClassVar[str] = "argocd-controller"

    def differs(self, predicted: Object, live: Object) -> bool:
        entries = [each for each in predicted["metadata"]["managedFields"] if each["manager"] == self.manager]
        owned = [way for entry in entries for way in _leaves(entry["fieldsV1"])]
        return any(_at(predicted, way) != _at(live, way) for way in owned)


def _leaves(fields: Object, way: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The paths of managed fields, as far as they lead through objects; what is in lists is compared as a list."""
    names = [key for key in fields if key.startswith("f:")]
    if not names:
        yield way
    for key in names:
        yield from _leaves(fields[key], (*way, key.removeprefix("f:")))


def _at(found: Any, way: tuple[str, ...]) -> Any:
    for key in way:
        found = found.get(key) if isinstance(found, dict) else None
    return found


@dataclass
class ArgoClientSide(Applier):
    """Argo CD as it is set up: a three-way diff that no admission policy sees, `kubectl apply`, self-heal.

    `ignored` are the paths of its `ignoreDifferences`; with RespectIgnoreDifferences they are applied as they are live.
    """

    ignored: tuple[tuple[str, ...], ...] = field(default=())
    manager: ClassVar[str] = "argocd-controller"

    async def reconcile(self) -> bool:
        wanted, live = json.loads(json.dumps(self.manifest)), await self.live()
        for way in self.ignored:
            _put(wanted, way, _at(live, way))
        if _holds(live, wanted):
            return False
        await self.world.bed.apply(wanted, f"--field-manager={self.manager}")
        return True


def _put(body: Object, way: tuple[str, ...], value: Any) -> None:
    for key in way[:-1]:
        body = body[key]
    body[way[-1]] = value


def _holds(live: Any, wanted: Any) -> bool:
    """Whether everything that is wanted is there, as a three-way diff sees it after defaulting."""
    if isinstance(wanted, dict):
        return isinstance(live, dict) and all(_holds(live.get(key), value) for key, value in wanted.items())
    if isinstance(wanted, list):
        long_enough = isinstance(live, list) and len(live) == len(wanted)
        return long_enough and all(_holds(have, want) for have, want in zip(live, wanted, strict=True))
    return bool(live == wanted)
