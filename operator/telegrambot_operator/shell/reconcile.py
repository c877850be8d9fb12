"""The passes: one bot at a time, level-triggered, observe -> plan -> execute -> report.

After writing, the pass observes again before it reports, so a status tells of the world as it is and not of the one
that was just changed, and a repair that takes a moment costs no two statuses.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from .. import names
from ..core import conditions
from ..core.asking import ask
from ..core.conflicts import seconds_left
from ..core.observed import Bot, Failure, Observed
from ..core.plan import Plan, plan
from ..core.records import Autoscaler, Deployment, Pod, parse_autoscaler, parse_deployment, parse_pod
from ..settings import Settings
from .bots import Bots, Key
from .execute import Executor
from .informer import Informer
from .kube import AUTOSCALERS, BOTS, CONFIGMAPS, DEPLOYMENTS, PODS, Kube, KubeError, path
from .logs import LogReader
from .observe import UNSEEN_SECONDS, Caches, Observer, index_autoscaler, index_deployment, index_pod
from .pace import Pace
from .report import Reporter
from .silence import Silences
from .strays import Strays
from .tables import Tables
from .telegram import Telegram
from .tokens import Tokens
from .turns import Turns
from .words import Words
from .workqueue import WorkQueue

log = logging.getLogger(__name__)

WORKERS = 16
RELIST_SECONDS = 120.0
RESYNC_SECONDS = 600.0


class Guard:
    """Everything that keeps the bots single: caches, queue, passes."""

    def __init__(
        self, kube: Kube, settings: Settings, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._kube = kube
        self._clock = clock
        self._namespaces = settings.namespaces
        self.queue: WorkQueue[Key] = WorkQueue()
        self.bots = Bots(self.queue.add)
        self.logs = LogReader(kube, self.queue.add)
        self.deployments: Informer[Deployment] = Informer(
            kube,
            self._paths(DEPLOYMENTS),
            parse_deployment,
            self._deployment_changed,
            selector=names.LABEL_NAME,
            index=index_deployment,
            rights_changed=self._all_changed,
        )
        self.pods: Informer[Pod] = Informer(
            kube,
            self._paths(PODS),
            parse_pod,
            self._pod_changed,
            selector=names.LABEL_BOT,
            index=index_pod,
            rights_changed=self._all_changed,
        )
        self.reporter = Reporter(kube, self.bots)
        self.turns = Turns(kube, settings.operator_namespace, settings.namespaces)
        self.tables = Tables(kube, self._paths(CONFIGMAPS), self.queue.add, self._all_changed)
        self.autoscalers: Informer[Autoscaler] = Informer(
            kube, self._paths(AUTOSCALERS), parse_autoscaler, self._autoscaler_changed, index=index_autoscaler
        )
        caches = Caches(self.deployments, self.pods, self.autoscalers)
        self.observer = Observer(kube, self.bots, caches, self.logs, self.turns, self.tables)
        self.pods.last_seen = self.observer.history.saw_the_last_of
        self.pace = Pace()
        tokens = Tokens(kube)
        self.silences = Silences(
            Telegram(settings.telegram_api_url),
            tokens,
            settings.silence_seconds,
            self.pods.store.by,
            self.queue.add,
        )
        self.words = Words(Telegram(settings.telegram_api_url), tokens, self.turns.pods_of, self.queue.add)
        self.strays = Strays(kube, tokens, settings.namespaces, self.queue.add, self.queue.add_after)
        self.executor = Executor(
            kube,
            caches,
            self.reporter,
            self.turns,
            self.tables,
            self.observer,
            pace=self.pace,
            silences=self.silences,
            words=self.words,
        )
        self._marks: dict[tuple[str, str], Key] = {}

    def _paths(self, resource: str) -> list[str]:
        return [path(resource, namespace) for namespace in self._namespaces] or [path(resource)]

    # --- What changed -----------------------------------------------------------------------------------------------

    def _all_changed(self) -> None:
        """Every bot, and every Deployment whose bot may be gone, is looked at."""
        for key in self.bots.all_keys():
            self.queue.add(key)
        for deployment in self.deployments.store:
            self._deployment_changed(None, deployment)

    def _deployment_changed(self, before: Deployment | None, after: Deployment | None) -> None:
        if before is not None and after is None:
            self.observer.generations.forget(before.metadata.uid)
        for each in (before, after):
            if each is not None and each.metadata.labels.owner:
                self.queue.add(self._bot_of_mark(each.metadata.namespace, each.metadata.labels.owner))

    def _bot_of_mark(self, namespace: str, mark: str) -> Key:
        """Return the bot behind a mark: the mark is its name, unless the name was too long for a label."""
        if self.bots.get((namespace, mark)) is not None:
            return namespace, mark
        if (namespace, mark) in self._marks:
            return self._marks[namespace, mark]
        found = next(
            (key for key in self.bots.all_keys() if key[0] == namespace and names.label_value(key[1]) == mark), None
        )
        if found is not None:
            self._marks[namespace, mark] = found
        return found or (namespace, mark)

    def _pod_changed(self, before: Pod | None, after: Pod | None) -> None:
        if before is not None and (after is None or after.uid != before.uid):
            self.observer.history.pod_is_gone(before)
        if before is None and after is not None:
            self.observer.history.is_there(after)
        if after is not None:
            self.silences.pod_changed(after)
        for identity in {each.metadata.labels.bot for each in (before, after) if each is not None}:
            for key in self.bots.of_identity(identity) if identity else ():
                self.queue.add(key)

    def _autoscaler_changed(self, before: Autoscaler | None, after: Autoscaler | None) -> None:
        for each in (before, after):
            for target in index_autoscaler(each) if each is not None else ():
                for key in self.bots.of_deployment(*target):
                    self.queue.add(key)

    # --- Running ----------------------------------------------------------------------------------------------------

    async def run(self, ready: Callable[[], None]) -> None:
        """Guard for ever. `ready` is called when all caches are filled and passes begin."""
        async with asyncio.TaskGroup() as group:
            listed, looked = asyncio.Event(), asyncio.Event()
            group.create_task(self._relist(listed))
            group.create_task(self.tables.run(looked.set))
            caches: list[Informer[Any]] = [self.deployments, self.pods, self.tables.tables, self.autoscalers]
            for cache in caches:
                group.create_task(cache.run())
            for first in (listed.wait(), looked.wait(), *(cache.answered() for cache in caches)):
                await first
            ready()
            group.create_task(self.logs.run())
            group.create_task(self.reporter.run())
            group.create_task(self.silences.run())
            group.create_task(self.words.run())
            group.create_task(self.strays.run())
            group.create_task(self._resync())
            self._all_changed()
            for _ in range(WORKERS):
                group.create_task(self._work())

    async def _relist(self, listed: asyncio.Event) -> None:
        """List the TelegramBots now and then: that catches what a broken watch has lost."""
        complained = False
        while True:
            try:
                for namespace in self._namespaces or (None,):
                    await self._list(namespace)
                listed.set()
                complained = False
                await asyncio.sleep(RELIST_SECONDS)
            except KubeError as error:
                log.log(logging.DEBUG if complained else logging.WARNING, "%s", _list_problem(error))
                complained = True
                await asyncio.sleep(2.0)

    async def _list(self, namespace: str | None) -> None:
        found: list[Mapping[str, object]] = []
        query = {"limit": "500"}
        while True:
            page = msgspec.json.decode(await self._kube.get(path(BOTS, namespace), query))
            found.extend(page["items"])
            if not page["metadata"].get("continue"):
                break
            query["continue"] = page["metadata"]["continue"]
        self.bots.replace(found, (namespace,) if namespace else (), listed_at=int(page["metadata"]["resourceVersion"]))

    async def _resync(self) -> None:
        """Look at every bot now and then, evenly spread, though no event asked for it."""
        while True:
            keys = self.bots.all_keys()
            for key in keys:
                self.queue.add(key)
                await asyncio.sleep(RESYNC_SECONDS / len(keys))
            if not keys:
                await asyncio.sleep(RESYNC_SECONDS / 60)

    async def _work(self) -> None:
        while True:
            key = await self.queue.get()
            try:
                await self._pass(key)
            except KubeError as error:
                log.debug("%s/%s: %s", *key, error.message)
                self.queue.retry(key)
            except Exception:
                log.exception("%s/%s: the pass failed; trying again", *key)
                self.queue.retry(key)
            finally:
                self.queue.done(key)

    # --- One pass ---------------------------------------------------------------------------------------------------

    async def _pass(self, key: Key) -> None:
        seen = await self._look(key)
        todo = plan(seen, self._clock())
        await self.silences.tend(key, todo.listen)
        self.strays.tend(key, todo.search)
        failures: tuple[Failure, ...] = ()
        if todo.actions:
            failures = await self.executor.run(seen.bot, todo.actions)
            await self.strays.look_again(key, todo.actions)
            seen = await self._look(key)
            todo = plan(seen, self._clock())
            await self.silences.tend(key, todo.listen)
            self.strays.tend(key, todo.search)
        seen = replace(seen, silence=self.silences.state(key))
        await self._conclude(key, seen, todo, failures)

    async def _look(self, key: Key) -> Observed:
        seen = await self.observer.observe(key, self._clock())
        held_back = self.pace.waits(pod.uid for pod in seen.pods)
        word = self.words.follow(key, ask(seen), seen.bot.status if seen.bot else {})
        seen = replace(seen, search=self.strays.state(key), word=word)
        return replace(seen, held_back=held_back, silence=self.silences.state(key))

    async def _conclude(self, key: Key, seen: Observed, todo: Plan, failures: tuple[Failure, ...]) -> None:
        if todo.actions or failures:
            self.queue.retry(key)
        else:
            self.queue.forget(key)
        if self.observer.unseen(key):
            self.queue.add_after(key, UNSEEN_SECONDS)
        too_young = self.tables.seconds_until_heard(key)
        if too_young is not None:
            self.queue.add_after(key, too_young + 0.01)
        if todo.again_after is not None:
            self.queue.add_after(key, todo.again_after + 0.01)
        bot, now = seen.bot, self._clock()
        if bot is None:
            self.reporter.forget(key)
            return
        seen = replace(seen, failures=seen.failures + failures)
        status = conditions.status(seen, bot, todo, now)
        self._look_again_when_a_conflict_ends(bot, status, now)
        more_may_come = self.reporter.seconds_to_wait(bot, status)
        if more_may_come is None:
            await self.reporter.report(bot, status)
        else:
            self.queue.add_after(key, more_may_come + 0.01)

    def _look_again_when_a_conflict_ends(self, bot: Bot, status: dict[str, object], now: datetime) -> None:
        if bot.spec is not None:
            left = seconds_left(status, timedelta(seconds=bot.spec.conflict.clear_after_seconds), now)
            if left is not None:
                self.queue.add_after(bot.key, left + 0.05)


def _list_problem(error: KubeError) -> str:
    if error.status == 404:
        return (
            "TelegramBots are not known to the API server; "
            "install the CRD: kubectl apply -f crds/telegrambots.singleton.bot.yaml"
        )
    return f"TelegramBots cannot be listed: {error.message}"
