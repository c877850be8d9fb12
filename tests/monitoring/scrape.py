"""A running operator, asked as Prometheus and a kubelet ask it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aiohttp import ClientSession, ClientTimeout
from prometheus_client.parser import text_string_to_metric_families

if TYPE_CHECKING:
    from prometheus_client.samples import Sample

    from tests.bed.bed import Operator

_LISTENING = re.compile(r"listening on 127\.0\.0\.1:(\d+)")
# A probe of a kubelet gives up after a second, unless told otherwise; the machine of a test has more to do.
PROBE = ClientTimeout(total=5)


def port_of(log: str) -> int | None:
    """Where the operator says that it listens."""
    found = _LISTENING.search(log)
    return int(found[1]) if found else None


@dataclass(frozen=True)
class Scraped:
    """An operator and its port."""

    operator: Operator
    port: int

    async def get(self, path: str) -> tuple[int, str]:
        """Status and text. Raises TimeoutError where nothing is answered."""
        async with (
            ClientSession(timeout=PROBE) as session,
            session.get(f"http://127.0.0.1:{self.port}{path}") as answer,
        ):
            return answer.status, await answer.text()

    async def metrics(self) -> str:
        """One scrape."""
        status, text = await self.get("/metrics")
        assert status == 200
        return text

    async def samples(self, metric: str, /, **labels: str) -> list[Sample]:
        """The samples of this name that carry these labels."""
        families = text_string_to_metric_families(await self.metrics())
        found = [sample for family in families for sample in family.samples if sample.name == metric]
        return [each for each in found if labels.items() <= each.labels.items()]

    async def value(self, metric: str, /, **labels: str) -> float:
        """Their sum."""
        return sum(each.value for each in await self.samples(metric, **labels))
