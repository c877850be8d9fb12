"""The command line, and the one place where everything is put together."""

import argparse
import asyncio
import logging
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from kubernetes.aio.config import ConfigException
from yaml import YAMLError

from . import settings as configuration
from .core.redact import redact
from .settings import SettingError, Settings
from .shell import watch
from .shell.kube import Kube
from .shell.reconcile import Guard

log = logging.getLogger("telegrambot_operator")

STOP_SECONDS = 3.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code: 0 done, 1 failed, 2 wrong settings."""
    options = _parser().parse_args(arguments)
    try:
        settings = configuration.read(os.environ, options.namespace, verbose=options.verbose)
    except SettingError as error:
        sys.stderr.write(f"telegrambot-operator: {redact(str(error))}\n")
        return 2
    _log_to_stderr(verbose=settings.verbose)
    return asyncio.run(run(settings))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="telegrambot-operator", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser(
        "run",
        help="guard the TelegramBots of a cluster",
        description="Guards the TelegramBots of the cluster that KUBECONFIG, ~/.kube/config or the pod's service "
        "account names. TELEGRAM_API_URL is the base of the Bot API.",
    )
    command.add_argument(
        "--namespace", action="append", default=[], metavar="NS", help="guard only this namespace; may be repeated"
    )
    command.add_argument("--verbose", action="store_true", help="log every step")
    return parser


class _Lines(logging.Formatter):
    """No line leaves the process with a bot token in it, whoever wrote it (INV-7); tracebacks only when asked for."""

    def __init__(self, *, tracebacks: bool) -> None:
        super().__init__("%(asctime)s %(levelname)s %(message)s")
        self._tracebacks = tracebacks

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        if self._tracebacks or not record.exc_info:
            return redact(super().format(record))
        error = record.exc_info[1]
        plain = logging.makeLogRecord({**record.__dict__, "exc_info": None, "exc_text": None, "stack_info": None})
        return redact(f"{super().format(plain)} ({type(error).__name__}: {error})")


def _log_to_stderr(*, verbose: bool) -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(_Lines(tracebacks=verbose))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    logging.getLogger("telegrambot_operator").setLevel(logging.DEBUG if verbose else logging.INFO)
    logging.getLogger("kopf").setLevel(logging.INFO if verbose else logging.ERROR)


async def run(settings: Settings) -> int:
    """Guard until SIGTERM or SIGINT. Returns the exit code."""
    stop = asyncio.Event()
    _stop_on_signals(stop)
    try:
        kube = await Kube.connect(settings.kubeconfig)
    except (ConfigException, YAMLError, OSError, ValueError, TypeError, LookupError, AttributeError) as error:
        why = " ".join(f"{type(error).__name__}: {error}".split())  # what a client library finds may span lines
        sys.stderr.write(f"telegrambot-operator: KUBECONFIG: cannot be used ({why}); name a valid one\n")
        return 2
    try:
        return await _guard_until(stop, kube, settings)
    finally:
        await kube.close()


def _stop_on_signals(stop: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)


async def _guard_until(stop: asyncio.Event, kube: Kube, settings: Settings) -> int:
    guard = Guard(kube, settings)
    listed = asyncio.Event()

    def seen(kind: str | None, body: Mapping[str, Any]) -> None:
        metadata = body["metadata"]
        if kind == "DELETED":
            guard.bots.drop((metadata["namespace"], metadata["name"]), metadata["uid"])
        else:
            guard.bots.put(body)

    def ready() -> None:
        log.info("guarding %d TelegramBots in %s", len(guard.bots), ", ".join(settings.namespaces) or "all namespaces")
        listed.set()

    async def serve() -> None:
        await listed.wait()  # kopf looks for the resource once, when it starts: by now it is known to exist
        handlers = watch.registry(lambda: kube.configuration, seen)
        await watch.serve(handlers, settings.namespaces, stop, lambda: _stop_on_signals(stop))
        stop.set()

    tasks = [asyncio.create_task(guard.run(ready)), asyncio.create_task(serve())]
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait([*tasks, stopping], return_when=asyncio.FIRST_COMPLETED)
    failed = await _end([*tasks, stopping])
    log.info("stopped")
    return 1 if failed else 0


async def _end(tasks: Sequence[asyncio.Task[Any]]) -> bool:
    """Cancel the tasks and wait for them, not too long. Returns whether one had failed by itself."""
    for task in tasks:
        task.cancel()
    done, _ = await asyncio.wait(tasks, timeout=STOP_SECONDS)
    failed = [task.exception() for task in done if not task.cancelled() and task.exception() is not None]
    for error in failed:
        log.error("a part of the operator failed", exc_info=error)
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
