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
UNWATCHED_SECONDS = 10.0  # where they may be listed and not watched


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
        self._unwatched: set[str | None] = set()

    async def run(self, listed: Callable[[], None]) -> None:
        """List for ever; `listed` is called each time that it succeeds, in one namespace at least."""
        self._listed_at = self._moved_at = time.monotonic()  # from now on it should be
        while True:
            failed = [error for each in self._namespaces or (None,) if (error := await self._call(each)) is not None]
            await asyncio.sleep(self._conclude(failed, listed))

    def _conclude(self, failed: list[KubeError], listed: Callable[[], None]) -> float:
        """Return in how many seconds to list again. A namespace that may not be listed holds up no other."""
        refused = [error for error in failed if error.lack is not None]
        others = [error for error in failed if error.lack is None]
        if others or (refused and len(refused) == len(self._namespaces or (None,))):
            self._failed((others or refused)[0])
            return AGAIN_SECONDS
        self._problem, self._complained = "", False
        self._listed_at = self._moved_at = time.monotonic()
        listed()
        return UNWATCHED_SECONDS if refused or self._unwatched else RELIST_SECONDS

    async def _call(self, namespace: str | None) -> KubeError | None:
        """List the TelegramBots of a namespace, or of all, and return why that cannot be done, None where it can be."""
        try:
            listed_at = await self._list(namespace)
        except KubeError as error:
            return error
        await self._try_to_watch(namespace, listed_at)
        return None

    async def _try_to_watch(self, namespace: str | None, listed_at: str) -> None:
        """Whether kopf may watch them: it does not tell, and tries for ever. What fails otherwise is no news here."""
        self._unwatched.discard(namespace)
        try:
            async with self._kube.watch(path(BOTS, namespace), {"resourceVersion": listed_at, "timeoutSeconds": "1"}):
                return
        except KubeError as error:
            if error.lack is not None:
                self._unwatched.add(namespace)

    async def _list(self, namespace: str | None) -> str:
        """Take in a list, and return as of which resource version it is."""
        found: list[Mapping[str, object]] = []
        query = {"limit": "500"}
        while True:
            page = msgspec.json.decode(await self._kube.get(path(BOTS, namespace), query))
            self._moved_at = time.monotonic()
            found.extend(page["items"])
            if not page["metadata"].get("continue"):
                break
            query["continue"] = page["metadata"]["continue"]
        listed_at = str(page["metadata"]["resourceVersion"])
        self._bots.replace(found, (namespace,) if namespace else (), listed_at=int(listed_at))
        return listed_at

    def _failed(self, error: KubeError) -> None:
        self._problem = _problem(error)
        told = self._complained or error.lack is not None  # a right that is missing is told of where it is found out
        log.log(logging.DEBUG if told else logging.WARNING, "%s", self._problem)
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
    return f"TelegramBots cannot be listed: {error.sentence}"
