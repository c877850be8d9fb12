"""Serves the TelegramBots through kopf: `on.event` only, which takes in the resource and nothing else.

kopf's other handlers are edge-triggered or add finalizers, so they are not used, and nothing of it is stored on the
resources. kopf leaves its loop on some stream errors; `serve` starts it again while guarding goes on.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any

import kopf
from kubernetes.aio.client import Configuration

from .. import names

log = logging.getLogger(__name__)

RESTART_SECONDS = (0.5, 1.0, 2.0, 5.0, 10.0)
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
    handlers: kopf.OperatorRegistry, namespaces: tuple[str, ...], stop: asyncio.Event, started: Callable[[], None]
) -> None:
    """Run kopf until `stop`, and start it again whenever it ends by itself. `started` is called each time it is up."""
    failures = 0
    while not stop.is_set():
        ready = asyncio.Event()
        announcer = asyncio.create_task(_announce(ready, started))
        try:
            await kopf.operator(
                registry=handlers,
                settings=settings(),
                standalone=True,
                clusterwide=not namespaces,
                namespaces=namespaces,
                stop_flag=stop,
                ready_flag=ready,
            )
        except Exception as error:  # noqa: BLE001  whatever ends kopf must not end the guarding
            log.warning("watching TelegramBots broke off (%s); starting again", type(error).__name__)
        finally:
            announcer.cancel()
        failures = 0 if ready.is_set() and not failures else failures + 1
        if not stop.is_set():
            await asyncio.sleep(RESTART_SECONDS[min(failures, len(RESTART_SECONDS) - 1)])


async def _announce(ready: asyncio.Event, started: Callable[[], None]) -> None:
    await ready.wait()
    started()
