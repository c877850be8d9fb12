"""The TLS port of a node: container logs, for the API server and so for `kubectl logs`.

The parameters are those of PodLogOptions, the refusals in the kubelet's words (pkg/kubelet/kubelet_pods.go). As there
(k8s.io/cri-client, pkg/logs): a part of a long line counts as a line; the tail is cut first, and what is too old then
left out of it; the limit cuts off the end, and so the newest lines; the time stands before lines and not before parts.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections import deque
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Literal

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from tests.bed.node_pods import PodWorker
    from tests.bed.node_process import Line, Log, Run
    from tests.bed.node_status import Slot

LogFault = Literal["none", "error", "hang"]
_NANO = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Options:
    """What is asked for: PodLogOptions. `since` in nanoseconds since 1970."""

    follow: bool
    previous: bool
    timestamps: bool
    tail: int | None
    limit: int | None
    since: int

    @classmethod
    def parse(cls, query: Mapping[str, str]) -> Options:
        """The query of a request. Raises ValueError when a number is none."""
        since = 0
        if "sinceTime" in query:
            since = int(datetime.fromisoformat(query["sinceTime"]).timestamp() * _NANO)
        if "sinceSeconds" in query:
            since = time.time_ns() - int(query["sinceSeconds"]) * _NANO
        return cls(
            follow=query.get("follow") in {"true", "1"},
            previous=query.get("previous") in {"true", "1"},
            timestamps=query.get("timestamps") in {"true", "1"},
            tail=int(query["tailLines"]) if "tailLines" in query else None,
            limit=int(query["limitBytes"]) if "limitBytes" in query else None,
            since=since,
        )

    def chosen(self, lines: Iterable[Line]) -> list[Line]:
        """The lines that are there already and wanted."""
        return [line for line in deque(lines, maxlen=self.tail) if line.at >= self.since]


def written(lines: Iterable[Line], options: Options) -> Iterator[bytes]:
    """What is sent of lines that are there."""
    writer = _Writer(options)
    return (text for line in options.chosen(lines) if (text := writer.write(line)))


class _Writer:
    """Puts times before lines, and counts what is sent."""

    def __init__(self, options: Options) -> None:
        self._timestamps = options.timestamps
        self._left = options.limit
        self._begins = True

    @property
    def full(self) -> bool:
        """Whether no more may be sent."""
        return self._left == 0

    def write(self, line: Line) -> bytes:
        """A line, or part of one, as it is sent."""
        text = (stamp(line.at).encode() + b" " if self._timestamps and self._begins else b"") + line.text
        self._begins = line.text.endswith(b"\n")
        text = text[: self._left]
        self._left = None if self._left is None else self._left - len(text)
        return text


class LogServer:
    """Answers /containerLogs/<namespace>/<pod>/<container> on a port of its own."""

    def __init__(self, find: Callable[[str, str], PodWorker | None], awake: Callable[[], Awaitable[object]]) -> None:
        """`find` knows the pods; nothing is answered until `awake` returns. `asked` counts the requests for logs."""
        self.port = 0
        self.asked = 0
        self.fault: LogFault = "none"
        self._find = find
        self._awake = awake

    @asynccontextmanager
    async def serve(self, certificate: Path, key: Path) -> AsyncIterator[None]:
        """Serve on a free port of loopback until the block ends. Any client may read."""
        application = web.Application()
        application.router.add_get("/containerLogs/{namespace}/{pod}/{container}", self._logs)
        runner = web.AppRunner(application, handler_cancellation=True, access_log=None, shutdown_timeout=0.1)
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(certificate, key)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
            self.port = runner.addresses[0][1]
            yield
        finally:
            await runner.cleanup()

    async def _logs(self, request: web.Request) -> web.StreamResponse:
        self.asked += 1
        await self._awake()
        if self.fault == "hang":
            await asyncio.Event().wait()
        if self.fault == "error":
            return web.Response(status=500, text="the log endpoint is out of order")
        try:
            run, options = self._run_of(request), Options.parse(request.query)
        except LookupError as error:
            return web.Response(status=404, text=error.args[0])
        except ValueError as error:
            return web.Response(status=400, text=error.args[0])
        return await self._send(request, run, options)

    def _run_of(self, request: web.Request) -> Run:
        """Raises LookupError for what does not exist, ValueError for what has no log."""
        namespace, pod, name = (request.match_info[part] for part in ("namespace", "pod", "container"))
        worker = self._find(namespace, pod)
        if worker is None:
            raise LookupError(f'pod "{pod}" does not exist')
        slot = worker.slot(name)
        if slot is None:
            raise LookupError(f'container "{name}" not found in pod "{pod}"')
        previous = request.query.get("previous") in {"true", "1"}
        run = slot.log_run(previous=previous)
        if run is None:
            raise ValueError(_no_log(slot, pod, previous=previous))
        return run

    async def _send(self, request: web.Request, run: Run, options: Options) -> web.StreamResponse:
        """Send the lines; with `follow` also those to come, until the container ends or the client leaves."""
        answer = web.StreamResponse(headers={"Content-Type": "text/plain"})
        await answer.prepare(request)
        writer = _Writer(options)
        with suppress(ConnectionError):
            async for line in wanted(run.log, options):
                await self._awake()
                await answer.write(writer.write(line))
                if writer.full:
                    break
            await answer.write_eof()
        return answer


def _no_log(slot: Slot, pod: str, *, previous: bool) -> str:
    if previous:
        return f'previous terminated container "{slot.name}" in pod "{pod}" not found'
    who = f'container "{slot.name}" in pod "{pod}" is'
    if "terminated" in slot.state:
        return f"{who} terminated"
    reason = slot.state["waiting"]["reason"]
    why = {
        "ErrImagePull": "image can't be pulled",
        "ImagePullBackOff": "trying and failing to pull image",
    }
    return f"{who} waiting to start: {why.get(reason, reason)}"


async def wanted(log: Log, options: Options) -> AsyncIterator[Line]:
    """The lines asked for: those that are there, and with `follow` those to come. None is lost in between."""
    there = log.count
    for line in options.chosen(log.lines):
        yield line
    if options.follow:
        async for line in log.follow(there):
            yield line


def stamp(nanoseconds: int) -> str:
    """RFC 3339 with nine digits, as a kubelet prints it before each line."""
    seconds, rest = divmod(nanoseconds, _NANO)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{rest:09d}Z"
