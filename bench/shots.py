"""Shots: a Deployment is scaled to 2, and the clock runs until a watch shows 1 again.

The operator and the minimal loop live side by side all the time and take turns, shot by shot, each at Deployments of
its own. So both meet the same control plane in the same state, warm caches and open connections included; whoever is
not shot at sees no event and sleeps. Blocks of shots between a stop and a start would instead compare two moments of a
machine, and a paused process would wake to a backlog.
"""

from __future__ import annotations

import asyncio
import gc
import random
import time
from dataclasses import dataclass, field
from statistics import median, quantiles
from typing import TYPE_CHECKING

from bench import world

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from bench.audit import AuditLog
    from bench.world import Followed
    from tests.bed.kube import Kube, Object

WARM_UP = 5  # shots of each that do not count: connections are opened, code is loaded
_RESAMPLED = 2000
_PATIENCE = 30.0  # seconds for one shot
_PAUSE = (0.15, 0.3)  # seconds between two shots: what the last one has set off is over, and nothing falls into step


@dataclass(slots=True)
class Shot:
    """One shot at one Deployment; times in seconds of one clock."""

    name: str
    at: float = 0.0  # when the request was sent, in seconds since the epoch
    sent: float = 0.0
    seen: float = 0.0  # the watch showed 2
    back: float = 0.0  # the watch showed 1 again
    arrived: float = 0.0  # ms from the scaling's arrival at the API server to that of the patch which undoes it
    over: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def milliseconds(self) -> float:
        """From the request that scales to 2 until the watch shows 1 again."""
        return 1000 * (self.back - self.sent)

    def hear(self, found: Object) -> None:
        """Take note of the Deployment's next version."""
        if found["metadata"]["name"] != self.name or self.back:
            return
        if found["spec"]["replicas"] == 2:
            self.seen = self.seen or time.perf_counter()
        elif self.seen:
            self.back = time.perf_counter()
            self.over.set()


class Gallery:
    """Shoots at Deployments, which `deployments` follows with the fact `settled`."""

    def __init__(self, kube: Kube, deployments: Followed) -> None:
        """Nothing else may use the `hear` of `deployments`."""
        self._kube = kube
        self._deployments = deployments
        self._dice = random.Random(1)  # noqa: S311 - it spreads shots

    async def alternate(
        self, groups: Mapping[str, Sequence[str]], shots: int, tell: Callable[[int], None]
    ) -> dict[str, list[Shot]]:
        """So many shots at each group of Deployments, in turn, the order within each turn left to chance."""
        gc.collect()
        gc.freeze()  # no pause of this process falls into a shot
        fired: dict[str, list[Shot]] = {group: [] for group in groups}
        for turn in range(shots):
            for group in self._dice.sample(sorted(groups), len(groups)):
                names = groups[group]
                fired[group].append(await self.shoot(names[turn % len(names)]))
            tell(turn + 1)
        return fired

    async def shoot(self, name: str) -> Shot:
        """One shot; when this returns, the Deployment's controllers are at rest again."""
        await self._settled(name)
        shot = Shot(name)
        self._deployments.hear = shot.hear
        await asyncio.sleep(self._dice.uniform(*_PAUSE))
        shot.at = time.time()
        shot.sent = time.perf_counter()
        await world.scale(self._kube, name, 2)
        try:
            async with asyncio.timeout(_PATIENCE):
                await shot.over.wait()
        except TimeoutError:
            raise world.BenchError(f"Deployment {name} was not back at one replica within {_PATIENCE:.0f} s") from None
        await self._settled(name)
        return shot

    async def _settled(self, name: str) -> None:
        settled = self._deployments.names["settled"]
        await self._deployments.until(lambda: name in settled, _PATIENCE, f"Deployment {name} at rest")


def read_arrivals(shots: Iterable[Shot], log: AuditLog) -> None:
    """Fill in what only the API server knows of the shots."""
    for shot in shots:
        scaled = log.first("patch deployments/scale", shot.name, shot.at)
        undone = log.first("patch deployments", shot.name, scaled.at) if scaled else None
        if scaled is None or undone is None:
            raise world.BenchError(f"the audit log lacks what was done to Deployment {shot.name}")
        shot.arrived = 1000 * (undone.at - scaled.at)


def likely(ours: Sequence[float], least: Sequence[float]) -> tuple[float, float]:
    """Between which values the ratio of the medians is, with 90 % confidence (a bootstrap over the pairs of shots)."""
    dice = random.Random(1)  # noqa: S311 - a resampling
    pairs = list(zip(ours, least, strict=True))
    ratios = []
    for _ in range(_RESAMPLED):
        drawn = dice.choices(pairs, k=len(pairs))
        ratios.append(median(our for our, _ in drawn) / median(their for _, their in drawn))
    return percentile(ratios, 5), percentile(ratios, 95)


def percentile(values: Sequence[float], percent: int) -> float:
    """The value that so many percent of the values do not exceed, interpolated."""
    return quantiles(values, n=100, method="inclusive")[percent - 1]
