"""Calls the roll of the TelegramBots: all are listed now and then, which catches what a broken watch has lost."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping

import msgspec

from .bots import Bots
from .health import SILENT_SECONDS
from .kube import BOTS, SILENT, Kube, KubeError, path

log = logging.getLogger(__name__)

RELIST_SECONDS = 120.0
AGAIN_SECONDS = 2.0


class Roll:
    """Lists the TelegramBots of all namespaces, or of some, into `Bots`."""

    def __init__(self, kube: Kube, bots: Bots, namespaces: tuple[str, ...]) -> None:
        self._kube = kube
        self._bots = bots
        self._namespaces = namespaces
        self._problem = "no answer so far"
        self._complained = False
        self._listed_at: float | None = None
        self._moved_at: float | None = None  # also when it is listed in vain, but answered

    async def run(self, listed: Callable[[], None]) -> None:
        """List for ever; `listed` is called each time that it succeeds."""
        self._listed_at = self._moved_at = time.monotonic()  # from now on it should be
        while True:
            try:
                for namespace in self._namespaces or (None,):
                    await self._list(namespace)
            except KubeError as error:
                self._failed(error)
                await asyncio.sleep(AGAIN_SECONDS)
                continue
            self._problem, self._complained = "", False
            self._listed_at = self._moved_at = time.monotonic()
            listed()
            await asyncio.sleep(RELIST_SECONDS)

    async def _list(self, namespace: str | None) -> None:
        found: list[Mapping[str, object]] = []
        query = {"limit": "500"}
        while True:
            page = msgspec.json.decode(await self._kube.get(path(BOTS, namespace), query))
            self._moved_at = time.monotonic()
            found.extend(page["items"])
            if not page["metadata"].get("continue"):
                break
            query["continue"] = page["metadata"]["continue"]
        self._bots.replace(found, (namespace,) if namespace else (), listed_at=int(page["metadata"]["resourceVersion"]))

    def _failed(self, error: KubeError) -> None:
        self._problem = _problem(error)
        log.log(logging.DEBUG if self._complained else logging.WARNING, "%s", self._problem)
        self._complained = True
        if error.reason != SILENT:
            self._moved_at = time.monotonic()

    # --- What others want to know -----------------------------------------------------------------------------------

    @property
    def silence(self) -> float:
        """For how many seconds the TelegramBots have not been listed."""
        return time.monotonic() - self._listed_at if self._listed_at is not None else 0.0

    def stuck(self) -> str:
        """Return in a sentence that listing stands still though the API server is connected to, or ""."""
        silence = time.monotonic() - (self._moved_at or time.monotonic()) - RELIST_SECONDS
        return f"TelegramBots have not been listed for {silence:.0f} s" if silence > SILENT_SECONDS else ""

    def missing(self) -> str:
        """Return in a sentence why the TelegramBots are not known, or ""."""
        return self._problem


def _problem(error: KubeError) -> str:
    if error.status == 404:
        return (
            "TelegramBots are not known to the API server; "
            "install the CRD: kubectl apply -f crds/telegrambots.singleton.bot.yaml"
        )
    return f"TelegramBots cannot be listed: {error.message}"
