"""Where a run happens: a namespace, and two nodes that no other run uses, so that several run at once on one bed."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from tests.apiserver.admission import FOLDER
from tests.bed.bed import Bed
from tests.bed.installation import Installation
from tests.bed.kube import path
from tests.e2e.world import World

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from bench.faults.variants import Variant
    from tests.bed.bed import Operator
    from tests.e2e.world import Object

PAIR = "bed/pair"  # the label of nodes that belong together
GRACE = 10  # seconds that a pod may take to stop
EVICTED_AFTER = 2  # seconds on a lost node; Kubernetes' own default is 300
_LOST = [
    {"key": f"node.kubernetes.io/{what}", "operator": "Exists", "effect": "NoExecute"}
    | {"tolerationSeconds": EVICTED_AFTER}
    for what in ("unreachable", "not-ready")
]


Stages: TypeAlias = "dict[bool, asyncio.Queue[Stage]]"  # the free ones: without and with the admission policies


@dataclass(frozen=True)
class Stage:
    """A pair of nodes on a bed. `rights` is the kubeconfig of the operator's ServiceAccount."""

    bed: Bed
    pair: int
    rights: Path

    @classmethod
    async def of(cls, bed: Bed, pair: int, rights: Path) -> Stage:
        """The bed's nth pair of nodes."""
        for node in bed.nodes[2 * pair : 2 * pair + 2]:
            await bed.kubectl("label", "node", node.name, f"{PAIR}={pair}", "--overwrite")
        return cls(bed, pair, rights)

    def operate(self, *arguments: str) -> AbstractAsyncContextManager[Operator]:
        """The operator, with arguments of `run`."""
        return self.bed.operator(*arguments, kubeconfig=self.rights)

    @asynccontextmanager
    async def world(self, variant: Variant, *, stopping: float) -> AsyncIterator[World]:
        """A bot in a namespace of its own that polls on for `stopping` seconds after SIGTERM; both go afterwards."""
        ns = await self.bed.namespace()
        env = {"STOP_SECONDS": f"{stopping:g}", "POLL_SECONDS": "2"}
        more: dict[str, Any] = {"kind": variant.kind, "env": env, "grace": GRACE, "pod": self._pod(variant)}
        try:
            yield await World.make(self.bed, ns, adopt=variant.adopts, spec=_spec(variant), **more)
        finally:
            await self.mend()
            await self.bed.kube.delete(path("namespaces", None, ns))

    def _pod(self, variant: Variant) -> Object:
        """On these nodes, evicted soon from a lost one, and with a request that others can be preferred to."""
        requests = {"requests": {"cpu": "1"}}
        return {"nodeSelector": {PAIR: str(self.pair)}, "tolerations": _LOST, "resources": requests, **variant.pod}

    async def mend(self) -> None:
        """Both nodes as they were."""
        for node in self.bed.nodes[2 * self.pair : 2 * self.pair + 2]:
            node.thaw()
            await self.bed.kubectl("uncordon", node.name)


def _spec(variant: Variant) -> Object:
    return {"lock": variant.lock} if variant.lock else {}


@asynccontextmanager
async def stages(pairs: int, pairs_with_policies: int) -> AsyncIterator[Stages]:
    """Two beds with so many pairs, the second with the policies of deploy/admission; none for no pairs."""
    async with AsyncExitStack() as held:
        made: Stages = {}
        for policies, number in ((False, pairs), (True, pairs_with_policies)):
            if number:
                bed = await held.enter_async_context(Bed.start(nodes=2 * number))
                made[policies] = await _stages(bed, number, policies=policies)
        yield made


async def _stages(bed: Bed, pairs: int, *, policies: bool) -> asyncio.Queue[Stage]:
    if policies:
        await bed.kubectl("apply", f"--filename={FOLDER}")
    rights = await Installation(bed).install()
    free: asyncio.Queue[Stage] = asyncio.Queue()
    for pair in range(pairs):
        free.put_nowait(await Stage.of(bed, pair, rights))
    return free
