"""Serves the TelegramBots through kopf: `on.event` only, which takes in the resource and nothing else.

kopf's other handlers are edge-triggered or add finalizers, so they are not used, and nothing of it is stored on the
resources. kopf leaves its loop on some stream errors; `serve` starts it again while guarding goes on. On others it
tries for ever with the credentials that it began with, after an untrusted certificate for one: new ones begin it anew.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

import kopf
from kubernetes.aio.client import Configuration

from .. import names

log = logging.getLogger(__name__)

RESTART_SECONDS = (0.5, 1.0, 2.0, 5.0, 10.0)
LONG_SECONDS = 60.0  # what ran for so long had not failed from the start
SERVER_SECONDS = 290
SILENCE_SECONDS = 300


class _NoDiffBase(kopf.DiffBaseStorage):
    """kopf's own memory of a resource, which only its edge-triggered handlers need: none."""

    def build(self, *, body: kopf.Body, extra_fields: Any = None) -> kopf.BodyEssence:
        """Return nothing to remember."""
        del body, extra_fields
        return kopf.BodyEssence({})

    def fetch(self, *, body: kopf.Body) -> kopf.BodyEssence | None:
        """Return nothing remembered."""
        del body
        return None

    def store(self, *, body: kopf.Body, patch: kopf.Patch, essence: kopf.BodyEssence) -> None:
        """Store nothing."""
        del body, patch, essence


def registry(
    configuration: Callable[[], Configuration], seen: Callable[[str | None, Mapping[str, Any]], None]
) -> kopf.OperatorRegistry:
    """Return a registry with one handler: `seen(type, body)` for every TelegramBot that kopf lists or watches."""
    handlers = kopf.OperatorRegistry()

    @kopf.on.login(registry=handlers)
    def login(**_: Any) -> kopf.ConnectionInfo:
        return connection(configuration())

    @kopf.on.event(names.GROUP, names.VERSION, names.PLURAL, registry=handlers)
    def event(event: Mapping[str, Any], **_: Any) -> None:
        seen(event["type"], event["object"])

    return handlers


def connection(configuration: Configuration) -> kopf.ConnectionInfo:
    """Return kopf's credentials, the same that our own client uses."""
    scheme, _, token = configuration.api_key.get("BearerToken", "").partition(" ")
    return kopf.ConnectionInfo(
        server=configuration.host,
        ca_path=configuration.ssl_ca_cert or None,
        insecure=not configuration.verify_ssl,
        scheme=scheme.capitalize() or None,
        token=token or None,
        certificate_path=configuration.cert_file or None,
        private_key_path=configuration.key_file or None,
        proxy_url=configuration.proxy or None,
        trust_env=True,
    )


def settings() -> kopf.OperatorSettings:
    """Return kopf's settings: it watches, and does nothing else."""
    chosen = kopf.OperatorSettings()
    chosen.posting.enabled = False
    chosen.scanning.disabled = True
    chosen.persistence.diffbase_storage = _NoDiffBase()
    chosen.watching.server_timeout = SERVER_SECONDS
    chosen.watching.client_timeout = SILENCE_SECONDS
    return chosen


async def serve(
    handlers: kopf.OperatorRegistry,
    namespaces: tuple[str, ...],
    stop: asyncio.Event,
    started: Callable[[], None],
    renewed: Callable[[], Awaitable[None]],
) -> None:
    """Run kopf until `stop`, and start it again whenever it ends by itself, and at once when credentials are `renewed`.

    `started` is called each time it is up. `renewed()` ends when other credentials are in use than when it was called.
    """
    failures = 0
    while not stop.is_set():
        began = time.monotonic()
        async with _first_of(stop.wait(), renewed()) as end:
            await _run(handlers, namespaces, end, started, logging.DEBUG if failures else logging.WARNING)
            failures = 0 if end.is_set() or time.monotonic() - began > LONG_SECONDS else failures + 1
            with suppress(TimeoutError):
                async with asyncio.timeout(RESTART_SECONDS[min(failures, len(RESTART_SECONDS) - 1)]):
                    await end.wait()


async def _run(
    handlers: kopf.OperatorRegistry,
    namespaces: tuple[str, ...],
    end: asyncio.Event,
    started: Callable[[], None],
    level: int,
) -> None:
    """Run kopf until `end`, or until it breaks off, which is told at this level."""
    ready = asyncio.Event()
    announcer = asyncio.create_task(_announce(ready, started))
    try:
        tasks = await kopf.spawn_tasks(
            registry=handlers,
            settings=settings(),
            standalone=True,
            clusterwide=not namespaces,
            namespaces=namespaces,
            stop_flag=end,
            ready_flag=ready,
        )
        await kopf.run_tasks(tasks, ignored=_EveryTask())
    except Exception as error:  # noqa: BLE001  whatever ends kopf must not end the guarding
        log.log(level, "watching TelegramBots broke off (%s); starting again", type(error).__name__)
    finally:
        announcer.cancel()


class _EveryTask(Collection[Any]):
    """What kopf is to leave alone when it ends: every task that is not one of its own.

    It would wait for each task that began in its time, then cancel it: ours, that guard. Its own sub-tasks end with
    those that made them.
    """

    def __contains__(self, task: object) -> bool:
        return True

    def __iter__(self) -> Iterator[Any]:
        return iter(())

    def __len__(self) -> int:
        return 0


@asynccontextmanager
async def _first_of(*facts: Awaitable[object]) -> AsyncIterator[asyncio.Event]:
    """Give an event that is set as soon as one of these has come."""
    end = asyncio.Event()
    waiting = [asyncio.ensure_future(fact) for fact in facts]
    for each in waiting:
        each.add_done_callback(lambda _: end.set())
    try:
        yield end
    finally:
        for each in waiting:
            each.cancel()


async def _announce(ready: asyncio.Event, started: Callable[[], None]) -> None:
    await ready.wait()
    started()
