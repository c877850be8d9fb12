"""The command line, and the one place where everything is put together."""

import argparse
import asyncio
import math
import os
import signal
import sys
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any

from . import settings as configuration
from .core.redact import redact
from .names import FIELD_MANAGER
from .settings import SettingError, Settings
from .shell import gauges, watch
from .shell.credentials import UNREADABLE, namespace_of_context
from .shell.doctor import Doctor, Kind, Target
from .shell.doctor_log import DoctorLog
from .shell.health import Health
from .shell.kube import Kube, Told
from .shell.leader import Elector, Leadership, Terms, identity
from .shell.letgo import Release, Scope
from .shell.listen import CannotListenError, Listener
from .shell.log import log, to_stderr
from .shell.metrics import Metrics
from .shell.reconcile import Guard
from .shell.stop import Stop

STOP_SECONDS = 3.0
# For what goes on when the operator is told to stop, and then for what it writes: others wait for the Lease meanwhile.
FINISH_SECONDS = 1.0
_WATCHING = "watching TelegramBots"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code: 0 done, 1 failed, 2 wrong settings, 3 a log could not be read."""
    options = _parser().parse_args(arguments)
    if options.command == "doctor" and options.log:
        return _doctor_log(options)
    try:
        if options.command == "doctor":
            return _doctor(options)
        settings = _settings(options)
        if options.command == "release":
            return _release(options, settings)
    except SettingError as error:
        return _wrong(str(error))
    to_stderr(settings.log_format, verbose=settings.verbose)
    return asyncio.run(run(settings))


def _settings(options: argparse.Namespace) -> Settings:
    """Return the settings of `run` or `release`. Raises SettingError."""
    if options.command == "release":
        return configuration.read(os.environ, options.namespace)
    settings = configuration.read(
        os.environ,
        options.namespace,
        verbose=options.verbose,
        listen=options.listen,
        log_format=options.log_format,
    )
    if options.leader_elect:
        return configuration.with_election(settings, options.leader_elect_namespace)
    if options.leader_elect_namespace is not None:
        raise SettingError("--leader-elect-namespace: means nothing without --leader-elect; give both, or neither")
    return settings


def _release(options: argparse.Namespace, settings: Settings) -> int:
    """Release, and return the exit code. Raises SettingError."""
    scope, operator = _scope(options, settings), _stop(options, settings)

    async def work(kube: Kube) -> int:
        if operator is not None and scope.dry_run:
            operator.foretell(_say)
        elif operator is not None and not await operator.run(kube, _say):
            return 1
        return await Release(kube, scope, _say).run()

    return asyncio.run(_with_kube(settings, work))


def _stop(options: argparse.Namespace, settings: Settings) -> Stop | None:
    """Return the operator that is to be stopped first, if one is. Raises SettingError."""
    if options.stop is None:
        return None
    name = configuration.deployment_name(options.stop)
    return Stop(settings.operator_namespace, name, options.timeout)


def _wrong(why: str) -> int:
    """Say in one line what setting is wrong; what a client library finds may span lines."""
    sys.stderr.write(f"telegrambot-operator: {redact(' '.join(why.split()))}\n")
    return 2


def _say(line: str) -> None:
    sys.stdout.write(f"{redact(line)}\n")
    sys.stdout.flush()


def _doctor(options: argparse.Namespace) -> int:
    """Look at bots, and return the exit code. Raises SettingError."""
    settings = configuration.read(os.environ, [options.namespace] if options.namespace else ())
    target = _target(options, settings)
    how = {
        "as_json": options.o == "json",
        "colour": configuration.colours(os.environ, terminal=sys.stdout.isatty()),
    }

    def work(kube: Kube) -> Coroutine[Any, Any, int]:
        return Doctor(kube, settings.telegram_api_url, _write, _complain, **how).run(target)

    return _unless_unread(lambda: asyncio.run(_with_kube(settings, work)))


def _doctor_log(options: argparse.Namespace) -> int:
    """Read logs, and return the exit code."""
    if options.name or options.all or options.namespace:
        return _wrong("--log reads files and no cluster: give it alone, without NAME, -A and -n")
    return _unless_unread(lambda: DoctorLog(_write, _complain, as_json=options.o == "json").run(options.log))


def _unless_unread(command: Callable[[], int]) -> int:
    """Run a command, and return its exit code; 1 where nobody reads it, 130 where somebody breaks it off."""
    try:
        return command()
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _complain(why: str) -> None:
    sys.stderr.write(f"telegrambot-operator: {redact(why)}\n")


def _write(text: str) -> None:
    """Write to standard output what its encoding has letters for, and the rest escaped."""
    encoding = sys.stdout.encoding or "utf-8"
    sys.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="telegrambot-operator", description="Keeps each Telegram bot single.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_run(commands)
    _add_release(commands)
    _add_doctor(commands)
    return parser


def _add_run(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    command = commands.add_parser(
        "run",
        help="guard the TelegramBots of a cluster",
        description="Guards the TelegramBots of the cluster that KUBECONFIG, ~/.kube/config or the pod's service "
        "account names. TELEGRAM_API_URL is the base of the Bot API, OPERATOR_NAMESPACE where the Leases of "
        "`lock: Gate` are.",
    )
    command.add_argument(
        "--namespace", action="append", default=[], metavar="NS", help="guard only this namespace; may be repeated"
    )
    command.add_argument(
        "--listen",
        default="",
        metavar="HOST:PORT",
        help="serve /metrics, /healthz and /readyz there; :8080 is all hosts",
    )
    command.add_argument("--log-format", default="text", metavar="text|json", help="lines to read, or JSON objects")
    command.add_argument("--verbose", action="store_true", help="log every step")
    command.add_argument(
        "--leader-elect",
        action="store_true",
        help="run in several replicas, of which one guards and the others stand by",
    )
    command.add_argument(
        "--leader-elect-namespace",
        metavar="NS",
        help="where the Lease is that they share, with --leader-elect (default: OPERATOR_NAMESPACE)",
    )


def _add_release(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    command = commands.add_parser(
        "release",
        help="take locks and gates out of Deployments, to uninstall or with the operator gone",
        description="Takes locks, gates and marks out of Deployments and opens the pods that are held, so that they "
        "run without the operator. Stop the operator first, or let --stop do it: it would put everything back. The pin "
        "(one replica, Recreate) stays. Each Deployment rolls out once, when none of its pods is on its way out. Needs "
        "a kubeconfig and nothing else. Exit code: 0 all is released, 1 something was left and is named, 2 wrong "
        "settings.",
    )
    which = command.add_mutually_exclusive_group(required=True)
    which.add_argument("name", nargs="?", metavar="NAME", help="the TelegramBot whose Deployment is released")
    which.add_argument("--all", action="store_true", help="release every Deployment")
    command.add_argument(
        "--namespace",
        action="append",
        default=[],
        metavar="NS",
        help="where; may be repeated. Default: the namespace of the kubeconfig's context for NAME, every one for --all",
    )
    command.add_argument(
        "--now",
        action="store_true",
        help="wait neither for pods on their way out nor for a held pod's turn: two pods may run for a moment. A pod "
        "that stays held is not opened in doubt all the same",
    )
    command.add_argument(
        "--stop",
        metavar="deployment/NAME",
        help="first scale this Deployment in OPERATOR_NAMESPACE, the operator's, to 0 and wait until its pods are gone",
    )
    command.add_argument("--dry-run", action="store_true", help="say what would be done first, and do nothing")
    command.add_argument(
        "--timeout",
        type=_seconds,
        default=120,
        metavar="SECONDS",
        help="how long to wait at most; as long for --stop before that (default: 120)",
    )


def _add_doctor(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    command = commands.add_parser(
        "doctor",
        help="say what is wrong with a bot, from the cluster or from logs at hand",
        usage="telegrambot-operator doctor [NAME | -A] [-n NS] [-o table|json]\n"
        "       telegrambot-operator doctor --log FILE... [-o table|json]",
        description="Goes through the checklist of a bot's deployment with your own kubeconfig, and says of each check "
        "whether it passes, why, and what to do. Reads only; needs no operator. For deployment/NAME it needs no "
        "TelegramBot either, and ends with the manifest of the one that would adopt it. Exit code: 0 all passes, 1 "
        "something fails or NAME is not there, 2 wrong usage, 3 nothing fails but something is unknown. With --log it "
        "reads logs of any library, size and encoding instead, and says which of Telegram's 409 conflicts are in them, "
        "when, and what to do; it needs no cluster then. Exit code: 0 no conflict, 1 conflicts, 2 wrong usage, 3 a "
        "file could not be read.",
    )
    which = command.add_mutually_exclusive_group()
    which.add_argument(
        "name", nargs="?", metavar="NAME", help="a TelegramBot, or deployment/NAME. Default: all TelegramBots there"
    )
    which.add_argument("-A", "--all-namespaces", dest="all", action="store_true", help="the bots of all namespaces")
    command.add_argument("-n", "--namespace", metavar="NS", help="where. Default: that of the kubeconfig's context")
    command.add_argument("--log", nargs="+", metavar="FILE", help="read these logs; - is standard input")
    command.add_argument(
        "-o", choices=("table", "json"), default="table", help="a table, or a JSON object a line for each bot or file"
    )


def _seconds(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds")
    return int(text)


def _target(options: argparse.Namespace, settings: Settings) -> Target:
    """Return what the doctor is to look at. Raises SettingError."""
    if options.all and options.namespace:
        raise SettingError("-A: looks at all namespaces; leave out -n, or -A")
    namespace = None if options.all else _namespaces(settings)[0]
    if options.name is None:
        return Target(namespace)
    kind, name = configuration.kind_and_name(options.name)
    return Target(namespace, name, Kind.DEPLOYMENT if kind == "deployment" else Kind.BOT)


def _namespaces(settings: Settings) -> tuple[str, ...]:
    """Return the namespaces that are named, else that of the kubeconfig's context. Raises SettingError."""
    if settings.namespaces:
        return settings.namespaces
    try:
        return (namespace_of_context(settings.kubeconfig),)
    except UNREADABLE as error:
        raise SettingError(_unusable(error)) from None


def _scope(options: argparse.Namespace, settings: Settings) -> Scope:
    """Return what is to be released. Raises SettingError."""
    name = None if options.all else configuration.bot_name(options.name)
    namespaces = settings.namespaces if name is None else _namespaces(settings)
    return Scope(
        name, namespaces, settings.operator_namespace, options.now, dry_run=options.dry_run, patience=options.timeout
    )


def _unusable(error: Exception) -> str:
    return f"KUBECONFIG: cannot be used ({type(error).__name__}: {error}); name a valid one"


async def run(settings: Settings) -> int:
    """Guard until SIGTERM or SIGINT. Returns the exit code."""
    stop = asyncio.Event()
    _stop_on_signals(stop)
    metrics, health = Metrics(), Health()

    def guard(kube: Kube) -> Coroutine[Any, Any, int]:
        return _guard_until(stop, kube, settings, metrics, health)

    if settings.listen is None:
        return await _with_kube(settings, guard, metrics.asked)
    try:
        async with Listener(metrics, health).listening(settings.listen):
            return await _with_kube(settings, guard, metrics.asked)
    except CannotListenError as error:
        return _wrong(f"--listen: {settings.listen} cannot be listened on ({error}); name another address")


async def _with_kube(
    settings: Settings, work: Callable[[Kube], Coroutine[Any, Any, int]], told: Told = lambda *_: None
) -> int:
    """Do the work with a connection to the cluster. Returns its exit code, 2 where there is none to be had."""
    try:
        kube = await Kube.connect(settings.kubeconfig, told)
    except UNREADABLE as error:
        return _wrong(_unusable(error))
    try:
        return await work(kube)
    finally:
        await kube.close()


def _stop_on_signals(stop: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)


async def _guard_until(stop: asyncio.Event, kube: Kube, settings: Settings, metrics: Metrics, health: Health) -> int:
    leadership = Leadership()
    elector = _elector(kube, settings, leadership)
    terms = Terms(kube.fence, leadership, lambda leads: metrics.lead(leads=leads))
    guard = Guard(kube, settings, metrics=metrics)
    gauges.show(guard, metrics)
    guard.report_to(health)
    health.needs(lambda: leadership.problem)
    warm = asyncio.Event()

    async def lead() -> None:
        await warm.wait()  # nobody is to wait for one that still has to look around
        async with asyncio.TaskGroup() as group:
            group.create_task(terms.run(guard.lead))
            if elector is not None:
                group.create_task(elector.run())

    parts = {
        "following the cluster": guard.follow(warm.set),
        _WATCHING: _watch(guard, kube, settings, stop, warm),
        "leading": lead(),
        "keeping the credentials fresh": kube.keep_fresh(),
    }
    tasks = {what: asyncio.create_task(part) for what, part in parts.items()}
    for what, task in tasks.items():
        health.runs(what, task)
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait([*tasks.values(), stopping], return_when=asyncio.FIRST_COMPLETED)
    await terms.end(FINISH_SECONDS)
    if elector is not None:
        await elector.let_go()
    stop.set()
    if warm.is_set():  # kopf runs: told to stop it closes its connections, which it does not when it is cancelled
        await asyncio.wait({tasks[_WATCHING]}, timeout=FINISH_SECONDS)
    failed = await _end([*tasks.values(), stopping])
    log.info("stopped")
    return 1 if failed else 0


def _elector(kube: Kube, settings: Settings, leadership: Leadership) -> Elector | None:
    """Return who stands for election, None where there is none and this replica leads."""
    me = identity(settings.operator_namespace)
    kube.agent = f"{FIELD_MANAGER} ({me})"
    if settings.election_namespace is None:
        return None
    kube.fence.open_until(-math.inf)
    return Elector(kube, leadership, settings.election_namespace, me)


async def _watch(guard: Guard, kube: Kube, settings: Settings, stop: asyncio.Event, warm: asyncio.Event) -> None:
    """Watch the TelegramBots until `stop`."""

    def seen(kind: str | None, body: Mapping[str, Any]) -> None:
        metadata = body["metadata"]
        if kind == "DELETED":
            guard.bots.drop((metadata["namespace"], metadata["name"]), metadata["uid"])
        else:
            guard.bots.put(body)

    await warm.wait()  # kopf looks for the resource once, when it starts: by now it is known to exist
    handlers = watch.registry(lambda: kube.configuration, seen)
    await watch.serve(handlers, settings.namespaces, stop, lambda: _stop_on_signals(stop), kube.renewed)
    stop.set()


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
