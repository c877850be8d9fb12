"""Searches all pods for others with a bot's token, while a pass asks for that: page by page, and no page is kept.

1. The bot's own namespace is looked through first: a Secret is used from nowhere else, and it is small.
2. Only where that shows nobody, the pods of all namespaces follow, or of those that the operator may list. One walk
   serves all bots that wait for it.
3. A token is read for one search, compared in memory, and dropped (INV-7).
4. Where no other pod has it, the log of the pod that was cut off is read once, from its beginning and its end: it may
   show that the pod fights with itself.
5. Whatever fails is said, and tried again ever more seldom. Nothing here holds up a pass.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from ..api.models import SecretKeyRef
from ..core.actions import Action, DeletePod
from ..core.inside import several_pollers
from ..core.strays import Wanted
from ..core.strays_search import Crowd, Question, Search, Stray, Victim, look_at, merged
from .bots import Key
from .kube import PODS, Kube, KubeError, path
from .live import each, pod_list
from .tokens import Tokens

log = logging.getLogger(__name__)

PAGE = 250
PAUSE_SECONDS = 10.0  # between two searches for one bot, however it is asked
AGAIN_SECONDS = (10.0, 30.0, 60.0, 120.0, 300.0)
AT_ONCE = 4
LOG_SECONDS = 5.0  # a node that does not answer must not keep a search for long
HEAD = {"limitBytes": str(64 * 1024)}
TAIL = {"limitBytes": str(256 * 1024), "tailLines": "400"}


@dataclass(slots=True)
class _Entry:
    """What is known for one bot."""

    question: Question
    search: Search | None = None
    busy: bool = False
    failures: int = 0
    not_before: float = 0.0


@dataclass(slots=True)
class _Found:
    """What one look has shown so far."""

    strays: list[Stray] = field(default_factory=list)
    crowds: list[Crowd] = field(default_factory=list)
    left_out: str = ""
    problem: str = ""

    def take(self, seen: Stray | Crowd | None) -> None:
        if isinstance(seen, Stray):
            self.strays.append(seen)
        elif seen is not None:
            self.crowds.append(seen)


class Strays:
    """What was found for the bots that somebody asks about. `changed` is called with a bot's key when that is news."""

    def __init__(
        self,
        kube: Kube,
        tokens: Tokens,
        namespaces: Sequence[str],
        changed: Callable[[Key], None],
        again: Callable[[Key, float], None],
    ) -> None:
        self._kube = kube
        self._tokens = tokens
        self._changed = changed
        self._again = again
        self._entries: dict[Key, _Entry] = {}
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._tasks: set[asyncio.Task[None]] = set()
        self._everywhere = _Walks(kube, namespaces)

    async def run(self) -> None:
        """Wait for the operator's end, then search no more."""
        try:
            await asyncio.Event().wait()
        finally:
            for task in self._tasks:
                task.cancel()

    def state(self, key: Key) -> Search | None:
        """Return what was found for a bot, or None where nothing was asked or it is not known yet."""
        entry = self._entries.get(key)
        return entry.search if entry else None

    def tend(self, key: Key, question: Question | None) -> None:
        """Search if what is known is older than the question wants it; forget all where nobody asks any more."""
        if question is None:
            self._entries.pop(key, None)
            return
        entry = self._entries.setdefault(key, _Entry(question))
        entry.question = question
        known = entry.search
        if entry.busy or (known is not None and known.complete and known.asked >= question.since):
            return
        wait = entry.not_before - time.monotonic()
        if wait > 0:
            self._again(key, wait)
            return
        entry.busy = True
        task = asyncio.get_running_loop().create_task(self._search(key, entry))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def look_again(self, key: Key, actions: Iterable[Action]) -> None:
        """Read those strays live that were to be deleted: whether that was so, or what has changed about them."""
        entry = self._entries.get(key)
        uids = {action.uid for action in actions if isinstance(action, DeletePod)}
        if entry is None or entry.search is None or not any(stray.uid in uids for stray in entry.search.strays):
            return
        strays = [await self._now(stray) if stray.uid in uids else stray for stray in entry.search.strays]
        entry.search = replace(entry.search, strays=tuple(strays))

    async def _now(self, stray: Stray) -> Stray:
        where = path(PODS, stray.namespace)
        found = pod_list(await self._kube.get(where, {"fieldSelector": f"metadata.name={stray.pod}"}))
        pod = next((each for each in found if each.uid == stray.uid), None)
        if pod is None:
            return replace(stray, deleting=True, ended=stray.ended or datetime.now(UTC))
        return replace(stray, deleting=pod.deleting, resource_version=pod.metadata.resource_version)

    # --- One search -------------------------------------------------------------------------------------------------

    async def _search(self, key: Key, entry: _Entry) -> None:
        asked = datetime.now(UTC)
        try:
            found = await self._look(entry.question)
        except Exception:
            log.exception("%s/%s: the search for others with the token failed; trying again", *key)
            found = _Found(problem="the search for others with the token failed")
        answer = Search(asked, tuple(found.strays), tuple(found.crowds), found.left_out, found.problem)
        entry.search = merged(entry.search, answer)
        entry.busy = False
        entry.failures = entry.failures + 1 if found.problem else 0
        pause = AGAIN_SECONDS[min(entry.failures, len(AGAIN_SECONDS)) - 1] if found.problem else PAUSE_SECONDS
        entry.not_before = time.monotonic() + pause
        log.info("%s/%s: %d other pods with the bot's token %s", *key, len(found.strays), found.problem)
        self._changed(key)

    async def _look(self, question: Question) -> _Found:
        found = _Found()
        try:
            if question.secret is not None:
                await self._others(question, question.secret, found)
            if not found.strays and question.victim is not None:
                found.take(await self._inside(question.namespace, question.victim))
        except KubeError as error:
            found.problem = _problem(error, f"in namespace {question.namespace}")
        return found

    async def _others(self, question: Question, secret: SecretKeyRef, found: _Found) -> None:
        """Look through the bot's own namespace, and through all others where that shows nobody. Raises KubeError."""
        async with self._slots:
            wanted, found.left_out = await self._wanted(question.namespace, secret)
            async for pod in each(self._kube, path(PODS, question.namespace), page=PAGE):
                found.take(look_at(pod, question, wanted))
        if not found.strays and wanted.token is not None:
            await self._everywhere.look(question, wanted, found)

    async def _inside(self, namespace: str, victim: Victim) -> Crowd | None:
        """Return what the log shows of several pollers in the pod; one that cannot be read shows nothing."""
        where = path(PODS, namespace, victim.pod, "log")
        options = {"container": victim.container, "timestamps": "true"}
        try:
            answers = [
                await self._kube.get(where, options | part, accept="*/*", seconds=LOG_SECONDS) for part in (HEAD, TAIL)
            ]
        except KubeError as error:
            log.debug("the log of pod %s cannot be read: %s", victim.pod, error.message)
            return None
        shown = await asyncio.to_thread(several_pollers, answers)
        return Crowd(victim.pod, victim.uid, shown) if shown else None

    async def _wanted(self, namespace: str, secret: SecretKeyRef) -> tuple[Wanted, str]:
        """Return what to look for, and what can therefore not be found."""
        try:
            return await self._tokens.sought(namespace, secret), ""
        except KubeError as error:
            if error.status not in {403, 404}:
                raise
            left_out = f"a token that is written out was not looked for, since Secret {secret.name} cannot be read"
            return Wanted(secret.name, secret.key), left_out


def _problem(error: KubeError, where: str) -> str:
    return f"pods could not be listed {where}: {error.sentence}"


# --- All namespaces ---------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Walk:
    """One walk through all namespaces, for all who joined before it began."""

    asked: list[tuple[Question, Wanted, _Found]] = field(default_factory=list)
    task: asyncio.Task[None] | None = None


class _Walks:
    """Walks through all namespaces, one after the other: who comes while one is under way joins the next."""

    def __init__(self, kube: Kube, namespaces: Sequence[str]) -> None:
        self._kube = kube
        self._namespaces = namespaces
        self._one = asyncio.Lock()
        self._next: _Walk | None = None

    async def look(self, question: Question, wanted: Wanted, found: _Found) -> None:
        """Add what the pods of all other namespaces show. Raises KubeError."""
        walk = self._next = self._next or _Walk()
        walk.asked.append((question, replace(wanted, secret=None), found))
        if walk.task is None:
            walk.task = asyncio.get_running_loop().create_task(self._walk(walk))
        await asyncio.shield(walk.task)

    async def _walk(self, walk: _Walk) -> None:
        async with self._one:
            self._next = None
            try:
                await self._through(walk, path(PODS))
            except KubeError as error:
                if error.status != 403:
                    raise
                await self._through_what_may_be_listed(walk)

    async def _through_what_may_be_listed(self, walk: _Walk) -> None:
        for _, _, found in walk.asked:
            rest = "pods of other namespaces" if not self._namespaces else "pods of namespaces that are not guarded"
            found.left_out = f"{rest} were not looked at, since the operator may not list pods there"
        for namespace in self._namespaces:
            await self._through(walk, path(PODS, namespace))

    async def _through(self, walk: _Walk, where: str) -> None:
        async for pod in each(self._kube, where, page=PAGE):
            for question, wanted, found in walk.asked:
                found.take(look_at(pod, question, wanted))
