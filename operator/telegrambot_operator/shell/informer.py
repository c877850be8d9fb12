"""A cache of one resource: a consistent list, then a watch, for ever.

1. The list is paged and never served from `resourceVersion=0`: what it says was true at one moment.
2. A list replaces the store, and what the store held beyond it counts as deleted: a delete that happened between two
   watches must not leave a ghost.
3. Nothing goes back in time: an older version of an object never replaces a newer one, whichever way it came. Resource
   versions are comparable (https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-versions).
4. What we write ourselves goes into the store with the answer, so a pass never acts on less than it has done.
5. Any fault ends in a back-off and another try, never in an exit.
6. Now and then it lists again though nothing is wrong.
"""

import asyncio
import logging
import random
import time
from collections.abc import Callable, Hashable, Iterable, Iterator
from typing import Generic, Protocol, TypeVar

import msgspec

from ..core.records import Meta
from .health import SILENT_SECONDS
from .kube import SILENT, Kube, KubeError

log = logging.getLogger(__name__)

PAGE = 500
# Everything is listed again now and then: that repairs what a watch has lost on its way, whoever lost it. A long list
# is asked for less often, so that listing takes a hundredth of the time at most.
RELIST_SECONDS = 60.0
RELIST_SHARE = 100
SHORT_SECONDS = 5.0  # a watch that ends sooner was not ended by us
BACKOFF_SECONDS = (0.1, 0.5, 1.0, 2.0, 5.0, 10.0)


class HasMeta(Protocol):
    """Anything with Kubernetes metadata."""

    @property
    def metadata(self) -> Meta:
        """The object's metadata."""


T = TypeVar("T", bound=HasMeta)
Key = tuple[str, str]
# Called with (before, after): before is None for a new object, after is None for one that is gone.
Listener = Callable[[T | None, T | None], None]


class _ListMeta(msgspec.Struct, rename="camel"):
    resource_version: str = ""
    continue_: str = msgspec.field(default="", name="continue")


class _Page(msgspec.Struct):
    metadata: _ListMeta
    items: list[msgspec.Raw] = []


class _Line(msgspec.Struct):
    type: str
    object: msgspec.Raw


class _Fault(msgspec.Struct):
    code: int = 0
    reason: str = ""
    message: str = ""


_pages = msgspec.json.Decoder(_Page)
_watch_lines = msgspec.json.Decoder(_Line)


class Store(Generic[T]):
    """Objects by namespace and name, and by the keys of one index."""

    def __init__(self, index: Callable[[T], Iterable[Hashable]]) -> None:
        self._objects: dict[Key, T] = {}
        self._index: dict[Hashable, dict[Key, T]] = {}
        self._keys_of = index
        self._gone: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._objects)

    def __iter__(self) -> Iterator[T]:
        return iter(list(self._objects.values()))

    def get(self, namespace: str, name: str) -> T | None:
        """Return one object, or None."""
        return self._objects.get((namespace, name))

    def by(self, key: Hashable) -> list[T]:
        """Return the objects of an index key."""
        return list(self._index.get(key, {}).values())

    def put(self, after: T) -> tuple[T | None, T | None] | None:
        """Store a version of an object and return (before, after), or None where a newer one is known."""
        before = self._objects.get(after.metadata.key)
        if self._gone.get(after.metadata.uid, -1) >= version(after) or (
            before is not None and version(before) >= version(after)
        ):
            return None
        self._remove(before)
        self._objects[after.metadata.key] = after
        for key in self._keys_of(after):
            self._index.setdefault(key, {})[after.metadata.key] = after
        return before, after

    def drop(self, last: T) -> tuple[T | None, T | None] | None:
        """Remove an object whose last version is given; None where it is not there, or a newer one of its name is."""
        before = self._objects.get(last.metadata.key)
        self._forget_later(last)
        if before is None or (before.metadata.uid != last.metadata.uid and version(before) > version(last)):
            return None
        self._remove(before)
        return before, None

    def _forget_later(self, last: T) -> None:
        """Remember a deletion, so that a late event does not bring the object back; the latest thousand will do."""
        self._gone[last.metadata.uid] = version(last)
        while len(self._gone) > 1000:
            del self._gone[next(iter(self._gone))]

    def _remove(self, old: T | None) -> None:
        if old is None:
            return
        self._objects.pop(old.metadata.key, None)
        for key in self._keys_of(old):
            bucket = self._index.get(key)
            if bucket is not None:
                bucket.pop(old.metadata.key, None)
                if not bucket:
                    del self._index[key]


def version(thing: HasMeta) -> int:
    """Return an object's resource version as a number."""
    return int(thing.metadata.resource_version or 0)


class Informer(Generic[T]):
    """Keeps a `Store` true to the API server and tells a listener of every change."""

    def __init__(  # noqa: PLR0913  each narrows what is listed, or names one who is told
        self,
        kube: Kube,
        paths: Iterable[str],
        parse: Callable[[bytes], T],
        listener: Listener[T],
        *,
        selector: str = "",
        fields: str = "",
        index: Callable[[T], Iterable[Hashable]] = lambda _: (),
        rights_changed: Callable[[], None] = lambda: None,
    ) -> None:
        self._kube = kube
        self._paths = tuple(paths)
        self._parse = parse
        self._listener = listener
        self._rights_changed = rights_changed
        self._selector = {"labelSelector": selector} if selector else {}
        if fields:
            self._selector["fieldSelector"] = fields
        self._answered = {each: asyncio.Event() for each in self._paths}
        self._at = dict.fromkeys(self._paths, "")
        self._denied: dict[str, KubeError] = {}
        self._watch_for: dict[str, float] = {}
        self._heard: dict[str, float] = {}  # when each path last brought a line or a list
        self._moved: dict[str, float] = {}  # ... or anything at all, a refusal included
        self._problem: dict[str, str] = {}  # what the latest try ended in
        self.store: Store[T] = Store(index)
        # Called with each object as the API server removed it: with its very last state, which no list ever shows.
        self.last_seen: Callable[[T], None] = lambda _: None

    async def run(self) -> None:
        """Watch for ever: one loop for each path (one, or one a namespace)."""
        async with asyncio.TaskGroup() as group:
            for each in self._paths:
                group.create_task(self._run(each))

    async def answered(self) -> None:
        """Wait until every path has been listed once, or its list was refused: `denied` then says so."""
        for event in self._answered.values():
            await event.wait()

    @property
    def denied(self) -> KubeError | None:
        """Why the store is not up to date, where the operator lacks the right to list or watch; None when it is."""
        return next(iter(self._denied.values()), None)

    @property
    def silence(self) -> float:
        """For how many seconds the path that has been silent longest has brought no event, bookmark or list."""
        return max(0.0, time.monotonic() - min(list(self._heard.values()), default=float("inf")))

    def stuck(self) -> str:
        """Return in a sentence which watch is silent though the API server is connected to, or ""."""
        path, moved = min(list(self._moved.items()), key=lambda each: each[1], default=("", float("inf")))
        silence = time.monotonic() - moved
        return f"nothing has come from {path} for {silence:.0f} s" if silence > SILENT_SECONDS else ""

    def unlisted(self) -> str:
        """Return in a sentence what has not been listed yet, or ""."""
        path = next((path for path, event in self._answered.items() if not event.is_set()), None)
        return f"{path} has not been listed yet ({self._problem.get(path, 'no answer so far')})" if path else ""

    def forbidden(self) -> str:
        """Return in a sentence what may not be read any more, or ""."""
        return self.denied.message if self.denied is not None else ""

    def learn(self, data: bytes) -> T:
        """Take in an object as an answer to our own write gave it, and return it."""
        thing = self._parse(data)
        self._tell(self.store.put(thing))
        return thing

    def forget(self, thing: T) -> None:
        """Take in that our own request removed an object at once."""
        self._tell(self.store.drop(thing))

    def _tell(self, change: tuple[T | None, T | None] | None) -> None:
        if change is not None:
            self._listener(*change)

    async def _run(self, path: str) -> None:
        failures = 0
        self._hear(path)  # from now on it should be heard of
        while True:
            try:
                if not self._at[path]:
                    await self._list(path)
                    self._answered[path].set()
                began = time.monotonic()
                await self._watch(path)
                self._at[path] = ""
                failures = failures + 1 if time.monotonic() - began < SHORT_SECONDS else 0
                if failures:
                    await self._pause(path, KubeError(0, "Short", "the watch ended at once"), failures - 1)
            except KubeError as error:
                await self._failed(path, error)
                await self._pause(path, error, failures)
                failures += 1
            except msgspec.MsgspecError as error:
                self._at[path] = ""
                await self._pause(path, KubeError(0, "Unreadable", f"an object could not be read: {error}"), failures)
                failures += 1

    async def _failed(self, path: str, error: KubeError) -> None:
        if error.status in {400, 410} or error.reason == "Expired":
            self._at[path] = ""
        if error.wants_credentials:
            await self._kube.reload()
        if error.status == 403:
            self._note(path, error)
            self._answered[path].set()

    def _note(self, path: str, denied: KubeError | None) -> None:
        """Remember whether the path may be read, and tell when that changed."""
        before = self._denied.pop(path, None)
        if denied is not None:
            self._denied[path] = denied
        if (before is None) != (denied is None):
            self._rights_changed()

    async def _pause(self, path: str, error: KubeError, failures: int) -> None:
        delay = error.retry_after or BACKOFF_SECONDS[min(failures, len(BACKOFF_SECONDS) - 1)]
        self._problem[path] = error.message
        if error.reason != SILENT:
            self._moved[path] = time.monotonic() + delay
        log.log(logging.WARNING if failures == 3 else logging.DEBUG, "%s: %s; trying again", path, error.sentence)
        await asyncio.sleep(delay * random.uniform(0.8, 1.2))  # noqa: S311  spreads retries, guards nothing

    async def _list(self, path: str) -> None:
        """List everything, page by page, and make the store equal to it."""
        began = time.monotonic()
        found: list[T] = []
        query: dict[str, str] = {**self._selector, "limit": str(PAGE)}
        while True:
            page = _pages.decode(await self._kube.get(path, query))
            self._hear(path)
            found.extend(self._parse(bytes(item)) for item in page.items)
            if not page.metadata.continue_:
                break
            query["continue"] = page.metadata.continue_
            await asyncio.sleep(0)  # a long list must not hold up the passes
        self._replace(path, found, int(page.metadata.resource_version))
        self._at[path] = page.metadata.resource_version
        self._watch_for[path] = max(RELIST_SECONDS, RELIST_SHARE * (time.monotonic() - began))
        self._note(path, None)

    def _replace(self, path: str, found: list[T], listed_at: int) -> None:
        """Make the store equal to a list; what is newer than the list is not judged by it."""
        present = {thing.metadata.key for thing in found}
        namespace = path.split("/namespaces/")[1].split("/", maxsplit=1)[0] if "/namespaces/" in path else None
        for thing in self.store:
            known_then = version(thing) <= listed_at and namespace in {None, thing.metadata.namespace}
            if known_then and thing.metadata.key not in present:
                self._tell(self.store.drop(thing))
        for thing in found:
            self._tell(self.store.put(thing))

    async def _watch(self, path: str) -> None:
        query = {
            **self._selector,
            "resourceVersion": self._at[path],
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(int(self._watch_for.get(path, RELIST_SECONDS))),
        }
        async with self._kube.watch(path, query) as lines:
            self._note(path, None)
            self._hear(path)
            async for data in lines:
                self._hear(path)
                self._at[path] = self._take(_watch_lines.decode(data))

    def _hear(self, path: str) -> None:
        self._heard[path] = self._moved[path] = time.monotonic()

    def _take(self, line: _Line) -> str:
        """Take in one line of the watch and return the resource version that it brought."""
        if line.type == "ERROR":
            fault = msgspec.json.decode(line.object, type=_Fault)
            raise KubeError(fault.code, fault.reason, fault.message)
        if line.type == "BOOKMARK":
            return msgspec.json.decode(line.object, type=_OnlyMeta).metadata.resource_version
        thing = self._parse(bytes(line.object))
        if line.type == "DELETED":
            self.last_seen(thing)
        self._tell(self.store.drop(thing) if line.type == "DELETED" else self.store.put(thing))
        return thing.metadata.resource_version


class _OnlyMeta(msgspec.Struct):
    metadata: Meta
