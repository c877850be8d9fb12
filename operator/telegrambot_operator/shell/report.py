"""The one writer of status, and of Events. An unchanged status is not written."""

import asyncio
import logging
import os
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from .. import names
from ..core import events, schema
from ..core.conflicts import timestamp
from ..core.events import Event
from ..core.observed import Bot
from .bots import Bots, Key
from .kube import APPLY, BOTS, EVENTS, Kube, KubeError, path
from .metrics import UNREAD, Metrics

log = logging.getLogger(__name__)

# A handover changes a bot's state some five times in a tenth of a second. One status tells of all that: each write is
# work for the API server that the new pod would wait for, and so would the bot's next pass.
TOGETHER_SECONDS = 0.2
WAITING_EVENTS = 1000
OLDER_SECONDS = 300.0  # how long a field that the CRD lacks is left out, until it is tried again
NOTE_LIMIT = 1000


class Reporter:
    """Writes statuses and Events."""

    def __init__(self, kube: Kube, bots: Bots, metrics: Metrics = UNREAD) -> None:
        self._metrics = metrics
        self._kube = kube
        self._bots = bots
        self._events: asyncio.Queue[dict[str, Any]] = asyncio.Queue(WAITING_EVENTS)
        self._news_since: dict[Key, float] = {}
        self._undeclared: frozenset[schema.Path] = frozenset()
        self._undeclared_until = 0.0
        self._told_older = ""

    @property
    def older(self) -> str:
        """Say which fields of the status the CRD in the cluster lacks, "" where it lacks none."""
        return schema.older(self._undeclared)

    def as_stored(self, status: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return a status as it would be stored: without what an older CRD is known to lack."""
        if self._undeclared and time.monotonic() > self._undeclared_until:
            self._undeclared = frozenset()
        return schema.without(status, self._undeclared) if self._undeclared else status

    def seconds_to_wait(self, bot: Bot, status: Mapping[str, Any]) -> float | None:
        """Return for how long a status should wait for what else changes in a moment, or None when it is to be written.

        What a bot's first status says is what its user waits for.
        """
        if self.as_stored(status) == bot.status or not bot.status:
            self._news_since.pop(bot.key, None)
            return None
        since = self._news_since.setdefault(bot.key, time.monotonic())
        left = since + TOGETHER_SECONDS - time.monotonic()
        return left if left > 0 else None

    def forget(self, key: Key) -> None:
        """Forget a bot that is gone."""
        self._news_since.pop(key, None)

    async def report(self, bot: Bot, status: Mapping[str, Any]) -> None:
        """Write the status if it differs from the bot's, then tell what changed. Raises KubeError."""
        self._news_since.pop(bot.key, None)
        status = self.as_stored(status)
        if status == bot.status:
            return
        data = await self._write(bot, status)
        self._bots.put(msgspec.json.decode(data), ours=True)
        self._metrics.told(bot.status, status)
        for event in events.changes(bot.status, status):
            self.tell(bot, event)

    async def _write(self, bot: Bot, status: Mapping[str, Any]) -> bytes:
        """Write the status, without what the CRD in the cluster turns out not to have. Raises KubeError."""
        try:
            return await self._apply(bot, status)
        except KubeError as error:
            if error.status == 404 and error.details.get("kind") != names.PLURAL:
                self._tell_once(
                    "the CRD telegrambots.singleton.bot in the cluster has no status: apply the operator's own"
                )
            fields = schema.undeclared(error.message)
            if not fields:
                raise
        self._undeclared |= fields
        self._undeclared_until = time.monotonic() + OLDER_SECONDS
        self._tell_once(self.older)
        return await self._apply(bot, schema.without(status, fields))

    def _tell_once(self, sentence: str) -> None:
        if sentence != self._told_older:
            self._told_older = sentence
            log.warning("%s", sentence)

    async def _apply(self, bot: Bot, status: Mapping[str, Any]) -> bytes:
        body = {
            "apiVersion": names.API_VERSION,
            "kind": names.KIND,
            "metadata": {"name": bot.name, "namespace": bot.namespace, "uid": bot.uid},
            "status": status,
        }
        where = path(BOTS, bot.namespace, bot.name, "status")
        query = {"fieldManager": names.STATUS_MANAGER, "force": "true"}
        return await self._kube.patch(where, body, APPLY, query)

    def tell(self, bot: Bot, event: Event) -> None:
        """Queue an Event. It is dropped when a thousand are waiting already: guarding goes before telling."""
        try:
            self._events.put_nowait(_event(bot, event))
        except asyncio.QueueFull:
            log.debug("an Event was dropped: %s", event.reason)

    async def run(self) -> None:
        """Send Events for ever, one after the other."""
        while True:
            event = await self._events.get()
            try:
                await self._kube.request("POST", path(EVENTS, event["metadata"]["namespace"]), None, event)
            except KubeError as error:
                log.debug("an Event could not be written: %s", error.message)


def _event(bot: Bot, event: Event) -> dict[str, Any]:
    subject = {"apiVersion": names.API_VERSION, "kind": names.KIND, "name": bot.name, "uid": bot.uid}
    if event.pod:
        subject = {"apiVersion": "v1", "kind": "Pod", "name": event.pod, "uid": event.pod_uid}
    return {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"name": f"{subject['name'][:220]}.{time.time_ns():x}", "namespace": bot.namespace},
        "eventTime": timestamp(datetime.now(UTC)),
        "reportingController": names.REPORTER,
        "reportingInstance": f"{names.FIELD_MANAGER}-{os.uname().nodename}"[:128],
        "action": "Guard",
        "reason": event.reason[:128],
        "regarding": {**subject, "namespace": bot.namespace},
        "note": event.message[:NOTE_LIMIT],
        "type": "Warning" if event.warning else "Normal",
    }
