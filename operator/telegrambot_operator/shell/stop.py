"""Stops the operator before `release`: scales its Deployment to 0, and waits until its pods are gone.

Through the scale alone, so that whoever does it needs no right to change anything else about the Deployment.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from ..core.records import parse_pod
from .kube import DEPLOYMENTS, PODS, Kube, KubeError, path
from .live import items

LOOK_SECONDS = 0.5
_ENDED = {"Succeeded", "Failed"}


class _ScaleStatus(msgspec.Struct):
    selector: str = ""


class _Scale(msgspec.Struct):
    status: _ScaleStatus = msgspec.field(default_factory=_ScaleStatus)


@dataclass(frozen=True, slots=True)
class Stop:
    """The Deployment of an operator that is to be stopped."""

    namespace: str
    name: str
    patience: float = 120.0

    async def run(self, kube: Kube, say: Callable[[str], None]) -> bool:
        """Stop it, and return whether no pod of it is left; `say` is told what was done, or why not."""
        try:
            selector = await self._scale_down(kube)
            if selector is None:
                say(f"there is no {self}: nobody to stop.")
                return True
            left = await self._wait(kube, selector)
        except KubeError as error:
            say(f"nothing was released: {self} cannot be stopped: {' '.join(error.message.split()).rstrip('.')}.")
            return False
        if left:
            say(
                f"nothing was released: {self} is scaled to 0, and after {self.patience:g} s {left}. "
                "Run this again when they are gone; delete one by hand if its node is lost for good."
            )
            return False
        say(f"{self} is stopped.")
        return True

    def foretell(self, say: Callable[[str], None]) -> None:
        """Say what would be done first."""
        say(f"{self} would be stopped first.")

    async def _scale_down(self, kube: Kube) -> str | None:
        """Scale to 0 and return the selector of its pods, None where there is no such Deployment. Raises KubeError."""
        try:
            data = await kube.patch(path(DEPLOYMENTS, self.namespace, self.name, "scale"), {"spec": {"replicas": 0}})
        except KubeError as error:
            if error.status == 404:
                return None
            raise
        return msgspec.json.decode(data, type=_Scale).status.selector

    async def _wait(self, kube: Kube, selector: str) -> str:
        """Wait until its pods are gone, and return those that are left when time is up. Raises KubeError."""
        limit = time.monotonic() + self.patience
        while True:
            try:
                pods = [
                    parse_pod(each) for each in await items(kube, path(PODS, self.namespace), labelSelector=selector)
                ]
                left = ", ".join(f"Pod {pod.name} is still there" for pod in pods if pod.status.phase not in _ENDED)
            except KubeError as error:
                if 400 <= error.status < 500 and error.status != 429:
                    raise
                left = "its pods cannot be listed"
            if not left or time.monotonic() >= limit:
                return left
            await asyncio.sleep(LOOK_SECONDS)

    def __str__(self) -> str:
        return f"Deployment {self.namespace}/{self.name}"
