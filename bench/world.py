"""The objects of the benchmark: bots with a Deployment each, and the Deployments that the minimal loop holds.

Both groups have Deployments of one shape and size, so that a patch costs the API server the same; each carries a label
of its own group only, so that neither process sees the other's.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import yaml

from tests.bed.kube import path

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from tests.bed.kube import Kube, Object

NAMESPACE = "default"  # its ServiceAccount is there from the start
GROUP = "bench/group"  # the label that says whose a Deployment is
MINIMAL = "minimal"
OPERATOR = "operator"
_CRD = Path(__file__).parents[1] / "crds" / "telegrambots.singleton.bot.yaml"
_AT_ONCE = 32  # requests while the world is made
_LOOK = 0.05  # seconds

T = TypeVar("T")


class BenchError(Exception):
    """The measurement is not possible; the message is the one sentence that the caller reads."""


class Followed:
    """One resource as a watch shows it: what is true of which of its objects, and word of every change.

    bots = Followed(kube, "telegrambots", ready=bot_is_ready)
    await bots.until(lambda: len(bots.names["ready"]) == 200, 60, "200 ready bots")
    """

    def __init__(self, kube: Kube, resource: str, **facts: Callable[[Object], bool]) -> None:
        """`run` does the work."""
        self.names: dict[str, set[str]] = {fact: set() for fact in facts}
        self.hear: Callable[[Object], None] = lambda _: None
        self._kube = kube
        self._resource = resource
        self._facts = facts
        self._news = asyncio.Event()

    async def run(self) -> None:
        """Follow the resource, for ever."""
        async for event, found in self._kube.follow(self._resource, f"metadata.namespace={NAMESPACE}"):
            for each in found if event == "LIST" else [found] if event != "DELETED" else []:
                self.hear(each)
                self._note(each)
            self._news.set()
            self._news = asyncio.Event()

    def _note(self, found: Object) -> None:
        for fact, holds in self._facts.items():
            names = self.names[fact]
            (names.add if holds(found) else names.discard)(found["metadata"]["name"])

    async def until(self, holds: Callable[[], bool], seconds: float, what: str) -> None:
        """Wait until something is true of what the watch has shown. Raises BenchError after so many seconds."""
        try:
            async with asyncio.timeout(seconds):
                while not holds():
                    await self._news.wait()
        except TimeoutError:
            raise BenchError(f"{what}: not within {seconds:.0f} s") from None


async def for_each(work: Callable[[T], Awaitable[object]], items: Iterable[T]) -> None:
    """Do the work for every item, a bounded number of them at once."""
    todo = iter(items)

    async def worker() -> None:
        for item in todo:
            await work(item)

    await asyncio.gather(*(worker() for _ in range(_AT_ONCE)))


async def install_crd(kube: Kube) -> None:
    """Install the CRD, and wait until TelegramBots are served."""
    await kube.create("customresourcedefinitions", None, yaml.safe_load(_CRD.read_text()))
    deadline = time.monotonic() + 30
    where = path("customresourcedefinitions", None, "telegrambots.singleton.bot")
    while time.monotonic() < deadline:
        if _conditions(await kube.call("GET", where)).get("Established") == "True":
            return
        await asyncio.sleep(_LOOK)
    raise BenchError("the API server did not serve TelegramBots within 30 s of the CRD's installation")


async def create_deployments(kube: Kube, names: Iterable[str], group: str) -> None:
    """Create a Deployment of each name; those of the minimal loop look like those that the operator has pinned."""
    await for_each(lambda name: kube.create("deployments", NAMESPACE, _deployment(name, group)), names)


async def create_bots(kube: Kube, names: Iterable[str]) -> None:
    """Create a TelegramBot of each name, which adopts the Deployment of that name."""
    await for_each(lambda name: kube.create("telegrambots", NAMESPACE, _bot(name)), names)


async def scale(kube: Kube, name: str, replicas: int) -> None:
    """What `kubectl scale deployment` does."""
    await kube.patch(path("deployments", NAMESPACE, name, "scale"), {"spec": {"replicas": replicas}})


def deployment_is_settled(found: Object) -> bool:
    """Whether the Deployment's controllers have nothing left to do, and its one pod is ready."""
    status = found.get("status", {})
    return (
        status.get("observedGeneration", 0) >= found["metadata"]["generation"]
        and found["spec"]["replicas"] == 1
        and all(status.get(count, 0) == 1 for count in ("replicas", "updatedReplicas", "readyReplicas"))
        and not status.get("terminatingReplicas")
    )


def bot_is_reconciled(found: Object) -> bool:
    """Whether the operator has written a status for the TelegramBot as it is."""
    generation: int = found["metadata"]["generation"]
    return bool(found.get("status", {}).get("observedGeneration") == generation)


def bot_is_ready(found: Object) -> bool:
    """Whether the operator says that all is well with it."""
    conditions = _conditions(found)
    return conditions.get("Ready") == "True" and conditions.get("Reconciling") == "False"


def _conditions(found: Object) -> dict[str, str]:
    """The status of each condition by its type."""
    return {every["type"]: every["status"] for every in found.get("status", {}).get("conditions") or []}


def _bot(name: str) -> Object:
    return {
        "apiVersion": "singleton.bot/v1alpha1",
        "kind": "TelegramBot",
        "metadata": {"name": name},
        "spec": {"deploymentRef": {"name": name}},
    }


def _deployment(name: str, group: str) -> Object:
    labels = {"app": name, GROUP: group}
    spec = {"containers": [{"name": "bot", "image": "bot:1", "env": [{"name": "LANGUAGE", "value": "en"}]}]}
    held = {"strategy": {"type": "Recreate"}} if group == MINIMAL else {}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "labels": labels},
        "spec": {
            "replicas": 1,
            **held,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": labels},
                "spec": spec | ({"affinity": _kept_apart(name)} if group == MINIMAL else {}),
            },
        },
    }


def _kept_apart(name: str) -> Object:
    """The operator's lock on another label: a second pod stays unbound here too."""
    term = {
        "labelSelector": {"matchLabels": {"app": name}},
        "namespaceSelector": {},
        "topologyKey": "kubernetes.io/os",
    }
    return {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}
