"""To whom the faults are done: bots with a TelegramBot, by lock and by how the lock gets onto the pods; and without."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from tests.e2e.world import Object


class Carrier(StrEnum):
    """How a bot comes under guard, as the table calls it."""

    TEMPLATE = "adopted"
    ADMISSION = "adopted by admission"
    OWN = "own"


@dataclass(frozen=True)
class Variant:
    """One column. `lock` and `carrier` are those of its TelegramBot, None without one; `spec` is its workload's."""

    name: str
    lock: Literal["Scheduler", "Gate"] | None = None
    carrier: Carrier | None = None
    kind: Literal["Deployment", "StatefulSet"] = "Deployment"
    spec: Object = field(default_factory=dict)
    pod: Object = field(default_factory=dict)

    @property
    def guarded(self) -> bool:
        """Whether it has a TelegramBot."""
        return self.lock is not None

    @property
    def policies(self) -> bool:
        """Whether deploy/admission is installed where it runs."""
        return self.carrier is Carrier.ADMISSION

    @property
    def adopts(self) -> bool:
        """Whether its Deployment is a user's."""
        return self.carrier is not Carrier.OWN


RECREATE: Object = {"replicas": 1, "strategy": {"type": "Recreate"}}
# What the lock `Scheduler` writes, as far as a person would: in one namespace, by the label that is there.
BY_HAND: Any = {
    "affinity": {
        "podAntiAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": [
                {"labelSelector": {"matchLabels": {"app": "telegram-bot"}}, "topologyKey": "kubernetes.io/os"}
            ]
        }
    }
}

GUARDED = [Variant(f"{lock}, {carrier}", lock, carrier) for carrier in Carrier for lock in ("Scheduler", "Gate")]
PLAIN = Variant("Deployment", spec=RECREATE)
STATEFUL = Variant("StatefulSet", kind="StatefulSet", spec={"replicas": 1, "serviceName": "telegram-bot"})
ANTI_AFFINITY = Variant("Deployment with anti-affinity", spec=RECREATE, pod=BY_HAND)
VARIANTS = [*GUARDED, PLAIN, STATEFUL, ANTI_AFFINITY]
