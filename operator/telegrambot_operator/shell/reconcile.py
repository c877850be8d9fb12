"""The passes: one bot at a time, level-triggered, observe -> plan -> execute -> report.

After writing, the pass observes again before it reports, so a status tells of the world as it is and not of the one
that was just changed, and a repair that takes a moment costs no two statuses.

A replica that stands by only follows the caches. When it leads, it knows what they show and what the statuses say, and
no more than an operator that has just started: whatever it remembers of an earlier time in which it led, somebody else
may have made untrue since.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from .. import names
from ..core import conditions
from ..core.asking import ask
from ..core.conflicts import seconds_left
from ..core.observed import Bot, Failure, Observed
from ..core.plan import Plan, plan
from ..core.records import Autoscaler, Deployment, Pod, parse_autoscaler, parse_deployment, parse_pod
from ..core.rights import Lack
from ..settings import Settings
from .bots import Bots, Key
from .contests import Contests
from .execute import Executor
from .health import Health, Passes
from .history import History
from .informer import Informer
from .kube import AUTOSCALERS, CONFIGMAPS, DEPLOYMENTS, PODS, Kube, KubeError, path
from .logs import LogReader
from .metrics import UNREAD, Metrics
from .observe import UNSEEN_SECONDS, Caches, Observer, index_autoscaler, index_deployment, index_pod
from .pace import Pace
from .report import Reporter
from .roll import Roll
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
RESYNC_SECONDS = 600.0


class Guard:
    """Everything that keeps the bots single: caches, queue, passes.

    Nothing is changed, and Telegram is not called, while the client's fence is closed.
    """

    def __init__(
        self,
        kube: Kube,
        settings: Settings,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        metrics: Metrics = UNREAD,
    ) -> None:
        self._kube = kube
        self._clock = clock
        self._metrics = metrics
        self._settings = settings
        self._namespaces = settings.namespaces
        self._leads = False
        self.queue: WorkQueue[Key] = WorkQueue()
        self.passes = Passes(self.queue.oldest)
        kube.rights.changed = self._right_changed
        self.bots = Bots(self._want)
        self.history = History()
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
        self.tables = Tables(kube, self._paths(CONFIGMAPS), self._want, self._all_changed)
        self.autoscalers: Informer[Autoscaler] = Informer(
            kube, self._paths(AUTOSCALERS), parse_autoscaler, self._autoscaler_changed, index=index_autoscaler
        )
        self.pods.last_seen = self.history.saw_the_last_of
        self.roll = Roll(kube, self.bots, settings.namespaces)
        self.caches: dict[str, Informer[Any]] = {
            "deployments": self.deployments,
            "pods": self.pods,
            "configmaps": self.tables.tables,
            "horizontalpodautoscalers": self.autoscalers,
        }
        self._running: dict[str, asyncio.Task[None]] = {}
        self._marks: dict[tuple[str, str], Key] = {}
        self._begin_anew()

    def _begin_anew(self) -> None:
        """Remember nothing but what the caches show, and what pods were seen to do."""
        kube, settings, metrics = self._kube, self._settings, self._metrics
        tokens = Tokens(kube)
        telegram = partial(Telegram, settings.telegram_api_url, metrics.called, kube.fence)
        self.bots.forget_claims()
        self.tables.forget_all()
        self.logs = LogReader(kube, self._want, metrics=metrics)
        self.reporter = Reporter(kube, self.bots, metrics)
        self.turns = Turns(kube, settings.operator_namespace, settings.namespaces)
        self.pace = Pace()
        self.contests = Contests()
        self.silences = Silences(telegram(), tokens, settings.silence_seconds, self.pods.store.by, self._want)
        self.words = Words(telegram(), tokens, self.turns.pods_of, self._want)
        self.strays = Strays(kube, tokens, settings.namespaces, self._want, self.queue.add_after)
        caches = Caches(self.deployments, self.pods, self.autoscalers)
        self.observer = Observer(kube, self.bots, caches, self.logs, self.turns, self.tables, self.history)
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
            metrics=metrics,
        )

    def _paths(self, resource: str) -> list[str]:
        return [path(resource, namespace) for namespace in self._namespaces] or [path(resource)]

    def _want(self, key: Key) -> None:
        """Ask for a pass, if passes are made here."""
        if self._leads:
            self.queue.add(key)

    # --- What changed -----------------------------------------------------------------------------------------------

    def _all_changed(self) -> None:
        """Every bot, and every Deployment whose bot may be gone, is looked at."""
        for key in self.bots.all_keys():
            self._want(key)
        for deployment in self.deployments.store:
            self._deployment_changed(None, deployment)

    def _right_changed(self, right: Lack, is_lacking: bool) -> None:
        """Tell of a right that is missing, or granted; what a namespaced operator cannot have is not told."""
        if self._namespaces and not right.namespace:
            return
        if is_lacking:
            log.warning("%s", right)
        else:
            log.info("the operator may %s %s again", right.verb, right.resource)
        for key in self.bots.all_keys():
            if right.namespace in {"", key[0]}:
                self._want(key)

    def _deployment_changed(self, before: Deployment | None, after: Deployment | None) -> None:
        if before is not None and after is None:
            self.observer.generations.forget(before.metadata.uid)
        for each in (before, after):
            if each is not None and each.metadata.labels.owner:
                self._want(self._bot_of_mark(each.metadata.namespace, each.metadata.labels.owner))

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
        self._metrics.pod_changed(before, after)
        if before is not None and (after is None or after.uid != before.uid):
            self.history.pod_is_gone(before)
        if before is None and after is not None:
            self.history.is_there(after)
        if after is not None:
            self.silences.pod_changed(after)
        for identity in {each.metadata.labels.bot for each in (before, after) if each is not None}:
            for key in self.bots.of_identity(identity) if identity else ():
                self._want(key)

    def _autoscaler_changed(self, before: Autoscaler | None, after: Autoscaler | None) -> None:
        for each in (before, after):
            for target in index_autoscaler(each) if each is not None else ():
                for key in self.bots.of_deployment(*target):
                    self._want(key)

    # --- Running ----------------------------------------------------------------------------------------------------

    async def follow(self, ready: Callable[[], None]) -> None:
        """Fill the caches and follow what changes, for ever. `ready` is called when all of them are filled."""
        async with asyncio.TaskGroup() as group:
            listed, looked = asyncio.Event(), asyncio.Event()
            self._start(group, "listing TelegramBots", self.roll.run(listed.set))
            self._start(group, "looking for admission policies", self.tables.run(looked.set))
            for resource, cache in self.caches.items():
                self._start(group, f"watching {resource}", cache.run())
            for first in (listed.wait(), looked.wait(), *(cache.answered() for cache in self.caches.values())):
                await first
            ready()

    async def lead(self) -> None:
        """Guard until this is cancelled: look at every bot at once, then at each whenever something happens to it."""
        where = ", ".join(self._namespaces) or "all namespaces"
        log.info("guarding %d TelegramBots in %s", len(self.bots), where)
        self._begin_anew()
        following = dict(self._running)
        self._leads = True
        try:
            async with asyncio.TaskGroup() as group:
                self._guard(group)
        finally:
            self._leads = False
            self._running = following
            self.queue.clear()

    def _guard(self, group: asyncio.TaskGroup) -> None:
        self._start(group, "reading logs", self.logs.run())
        self._start(group, "writing Events", self.reporter.run())
        self._start(group, "listening to Telegram", self.silences.run())
        self._start(group, "asking Telegram", self.words.run())
        self._start(group, "searching pods", self.strays.run())
        self._start(group, "looking at every bot now and then", self._resync())
        self._all_changed()
        self.passes.begin()
        for number in range(WORKERS):
            self._start(group, f"worker {number}", self._work())

    def _start(self, group: asyncio.TaskGroup, what: str, work: Coroutine[Any, Any, None]) -> None:
        self._running[what] = group.create_task(work)

    def report_to(self, health: Health) -> None:
        """Let the health tell what stands still here, and what is missing."""
        health.lives(self.passes.stuck)
        health.lives(self.roll.stuck)
        health.lives(lambda: next((f"{what} has ended" for what, task in self._running.items() if task.done()), ""))
        health.needs(self.roll.missing)
        for cache in self.caches.values():
            health.lives(cache.stuck)
            health.needs(cache.unlisted)
        for cache in (self.deployments, self.pods):
            health.needs(cache.forbidden)

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
            began = time.monotonic()
            try:
                with self.passes.one(f"{key[0]}/{key[1]}"):
                    result = await self._pass(key)
            except KubeError as error:
                result = "failed"
                log.debug("%s/%s: %s", *key, error.message)
                self._retry(key)
            except Exception:
                result = "crashed"
                log.exception("%s/%s: the pass failed; trying again", *key)
                self._retry(key)
            finally:
                self.queue.done(key)
            self._metrics.passes.labels(result).inc()
            self._metrics.pass_seconds.observe(time.monotonic() - began)

    def _retry(self, key: Key) -> None:
        self._metrics.retries.inc()
        self.queue.retry(key)

    # --- One pass ---------------------------------------------------------------------------------------------------

    async def _pass(self, key: Key) -> str:
        """Make a pass, and return what came of it."""
        seen = await self._look(key)
        todo = plan(seen, self._clock())
        await self.silences.tend(key, todo.listen)
        self.strays.tend(key, todo.search)
        failures: tuple[Failure, ...] = ()
        result = "unchanged"
        if todo.actions:
            failures = await self.executor.run(key, seen.bot, todo.actions)
            self._metrics.reaction.observe(time.monotonic() - self.queue.asked(key))
            result = "incomplete" if failures else "acted"
            await self.strays.look_again(key, todo.actions)
            seen = await self._look(key)
            todo = plan(seen, self._clock())
            await self.silences.tend(key, todo.listen)
            self.strays.tend(key, todo.search)
        seen = replace(seen, silence=self.silences.state(key))
        await self._conclude(key, seen, todo, failures)
        return result

    async def _look(self, key: Key) -> Observed:
        seen = await self.observer.observe(key, self._clock())
        held_back = self.pace.waits(pod.uid for pod in seen.pods)
        word = self.words.follow(key, ask(seen), seen.bot.status if seen.bot else {})
        lacking = self._kube.rights.lacking(key[0], cluster=not self._namespaces)
        seen = replace(seen, search=self.strays.state(key), word=word, lacking=lacking, older=self.reporter.older)
        seen = self.contests.follow(key, seen, self._clock())
        return replace(seen, held_back=held_back, silence=self.silences.state(key))

    async def _conclude(self, key: Key, seen: Observed, todo: Plan, failures: tuple[Failure, ...]) -> None:
        if todo.actions or failures:
            self._retry(key)
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
