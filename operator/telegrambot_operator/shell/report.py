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
from ..core import events
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
NOTE_LIMIT = 1000


class Reporter:
    """Writes statuses and Events."""

    def __init__(self, kube: Kube, bots: Bots, metrics: Metrics = UNREAD) -> None:
        self._metrics = metrics
        self._kube = kube
        self._bots = bots
        self._events: asyncio.Queue[dict[str, Any]] = asyncio.Queue(WAITING_EVENTS)
        self._news_since: dict[Key, float] = {}

    def seconds_to_wait(self, bot: Bot, status: Mapping[str, Any]) -> float | None:
        """Return for how long a status should wait for what else changes in a moment, or None when it is to be written.

        What a bot's first status says is what its user waits for.
        """
        if status == bot.status or not bot.status:
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
        if status == bot.status:
            return
        body = {
            "apiVersion": names.API_VERSION,
            "kind": names.KIND,
            "metadata": {"name": bot.name, "namespace": bot.namespace, "uid": bot.uid},
            "status": status,
        }
        where = path(BOTS, bot.namespace, bot.name, "status")
        query = {"fieldManager": names.STATUS_MANAGER, "force": "true"}
        data = await self._kube.patch(where, body, APPLY, query)
        self._bots.put(msgspec.json.decode(data), ours=True)
        self._metrics.told(bot.status, status)
        for event in events.changes(bot.status, status):
            self.tell(bot, event)

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
