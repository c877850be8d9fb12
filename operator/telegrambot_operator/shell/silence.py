"""Listens to Telegram for processes on lost nodes: at most one long poll a bot, and none that nobody asked for.

A poll of ours cuts off whoever else polls, so it ends the moment that one of the bot's own pods may: when a pass says
so, when a pod is seen to, and before anything is done that lets one start.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta

from ..core.listening import Listen, may_listen
from ..core.records import Pod
from ..core.silence import Answer, Ear, Silence, Sound, Unheard, hear
from .bots import Key
from .kube import KubeError
from .telegram import Telegram
from .tokens import Tokens

log = logging.getLogger(__name__)


class _Probe:
    """Listening for one bot."""

    def __init__(self, key: Key, wanted: Listen, window: float) -> None:
        self.key = key
        self.wanted = wanted
        self.ear = Ear(window)
        self.until = datetime.now(UTC) + timedelta(seconds=window)
        self.task: asyncio.Task[None] | None = None

    def take_in(self, ear: Ear) -> bool:
        """Remember what is known now, and return whether that is news."""
        before, self.ear = self.ear, ear
        begins = ear.since is not None and ear.since != before.since
        if begins and before != Ear(ear.window):  # the first window was announced before it began
            self.until = datetime.now(UTC) + timedelta(seconds=ear.window)
        return begins or (before.sound, before.why) != (ear.sound, ear.why)

    @property
    def state(self) -> Silence:
        """What a decision needs of it."""
        until = self.until if self.ear.sound is Sound.LISTENING else None
        return Silence(self.wanted.about, self.ear.sound, until, self.ear.why)


class Silences:
    """The bots that are listened for. `pods_of` gives the pods of an identity as they are known now."""

    def __init__(
        self,
        telegram: Telegram,
        tokens: Tokens,
        window: float,
        pods_of: Callable[[str], Iterable[Pod]],
        changed: Callable[[Key], None],
    ) -> None:
        self._telegram = telegram
        self._tokens = tokens
        self._window = window
        self._pods_of = pods_of
        self._changed = changed
        self._probes: dict[str, _Probe] = {}

    async def run(self) -> None:
        """Wait for the operator's end, then stop listening."""
        try:
            await asyncio.Event().wait()
        finally:
            for probe in list(self._probes.values()):
                self._cancel(probe)
            await self._telegram.close()

    def state(self, key: Key) -> Silence | None:
        """Return what listening for a bot has led to, or None where nobody listens."""
        probe = self._of(key)
        return probe.state if probe else None

    async def tend(self, key: Key, wanted: Listen | None) -> None:
        """Listen for exactly this, or not at all."""
        probe = self._of(key)
        if probe is not None and probe.wanted != wanted:
            await self._end(probe)
            probe = None
        if probe is None and wanted is not None and wanted.identity not in self._probes:
            self._start(_Probe(key, wanted, self._window))

    async def hush(self, key: Key) -> Sound | None:
        """Stop listening for a bot, and return what was heard last; no poll of ours is on its way then."""
        probe = self._of(key)
        if probe is None:
            return None
        await self._end(probe)
        return probe.ear.sound

    def pod_changed(self, pod: Pod) -> None:
        """Stop at once where this pod may be polling and is not listened for."""
        probe = self._probes.get(pod.metadata.labels.bot or "")
        if probe is not None and not may_listen(probe.wanted.about, [pod]):
            self._cancel(probe)

    def _of(self, key: Key) -> _Probe | None:
        return next((probe for probe in self._probes.values() if probe.key == key), None)

    def _start(self, probe: _Probe) -> None:
        log.info("%s/%s: listening to Telegram, since a node is lost", *probe.key)
        self._probes[probe.wanted.identity] = probe
        probe.task = asyncio.get_running_loop().create_task(self._listen(probe))

    def _forget(self, probe: _Probe) -> None:
        if self._probes.get(probe.wanted.identity) is probe:
            del self._probes[probe.wanted.identity]

    def _cancel(self, probe: _Probe) -> None:
        self._forget(probe)
        if probe.task is not None:
            probe.task.cancel()

    async def _end(self, probe: _Probe) -> None:
        self._cancel(probe)
        if probe.task is not None:
            await asyncio.wait([probe.task])

    async def _listen(self, probe: _Probe) -> None:
        try:
            await self._poll_until_one_of_ours_may(probe)
        except Exception:
            log.exception("%s/%s: listening failed; trying again", *probe.key)
        self._forget(probe)
        self._changed(probe.key)

    async def _poll_until_one_of_ours_may(self, probe: _Probe) -> None:
        while (polled := await self._poll(probe)) is not None:
            asked, answer = polled
            ear = hear(probe.ear, answer, asked, time.monotonic(), polls=probe.wanted.polls)
            if probe.take_in(ear):
                log.info("%s/%s: Telegram: %s %s", *probe.key, ear.sound, ear.why)
                self._changed(probe.key)
            await asyncio.sleep(ear.pause)

    async def _poll(self, probe: _Probe) -> tuple[float, Answer] | None:
        """Poll once, and return when that was and what came of it; None where one of the bot's own pods may poll."""
        try:
            token = await self._tokens.reveal(probe.key[0], probe.wanted.secret)
        except KubeError as error:
            return time.monotonic(), Unheard(f"the Secret with the token cannot be read: HTTP {error.status}")
        if token is None or token.partition(":")[0] != probe.wanted.identity:
            return time.monotonic(), Unheard("the Secret does not hold this bot's token any more")
        if not may_listen(probe.wanted.about, self._pods_of(probe.wanted.identity)):
            return None
        asked = time.monotonic()
        return asked, await self._telegram.get_updates(token, probe.ear.timeout(asked))
