"""One run of one container as a local process: its log with the times of the lines, and its entry in the process table.

A container of the bed has no image. Its `command` and `args` are run as they stand, in a folder of its pod, on the
loopback network of the machine; an image named `bots/<name>` runs that bot of botenv.py, and one with the
operator's name, from whatever registry, the operator of this tree.
"""

from __future__ import annotations

import asyncio
import os
import re
import secrets
import sys
import time
from collections import deque
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.bed import botenv
from tests.bed.process import Child

if TYPE_CHECKING:
    import signal
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence

    from tests.bed.telegram_state import Moment

PART_BYTES = 16 * 1024  # containerd's max_container_log_line_size: a longer line is kept in parts
LOG_BYTES = 10 * 1024 * 1024  # the kubelet's containerLogMaxSize
_LAST_WORDS = 1.0  # seconds to read what a process printed before it ended
_MESSAGE_LINES, _MESSAGE_BYTES = 80, 2048  # FallbackToLogsOnError, as the API reference of Container has it
_PAUSE = [sys.executable, "-I", "-S", "-c", "import signal; signal.sigwait({signal.SIGTERM, signal.SIGINT})"]
# Images that are programs of this tree. They find their volumes, and have an address of their own.
PROGRAMS = {"telegrambot-operator": [sys.executable, "-P", str(Path(__file__).with_name("operator_image.py"))]}
_REFERENCE = re.compile(r"\$\((\w[\w.-]*)\)|\$\$")


class ImageError(Exception):
    """The bed has no such image; the message is its name."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Which container of which pod, and where."""

    namespace: str
    pod: str
    pod_uid: str
    container: str
    node: str


@dataclass(eq=False)
class Record:
    """One process in the table of a node. `pid` is its session's id too, which the emulator knows of every poll.

    `ended` is None while it lives. `environment` holds tokens and so is left out of what is printed.
    """

    of: Identity
    pid: int
    started: Moment
    environment: Mapping[str, str] = field(repr=False)
    ended: Moment | None = None

    def carries(self, token: str) -> bool:
        """Whether the token is in the process's environment."""
        return any(token in value for value in self.environment.values())

    def alive_at(self, mono: float) -> bool:
        """Whether it was alive at this reading of the monotonic clock."""
        return self.started.mono <= mono and (self.ended is None or mono < self.ended.mono)


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a log, or a part of a long one, and when it came (nanoseconds).

    Parts have no line end, nor has the last thing printed if it was no whole line.
    """

    at: int
    text: bytes


class Log:
    """What one run printed on both streams. Ends when the process does.

    As a kubelet's: only the newest file can be read, and one that has become large is put aside.
    """

    def __init__(self) -> None:
        """Empty, and open."""
        self.lines: deque[Line] = deque()
        self.count = 0  # of all lines, also of those that were dropped
        self.closed = False
        self._size = 0
        self._changed = asyncio.Event()

    def add(self, text: bytes, at: int | None = None) -> None:
        """One more line, printed at that time (nanoseconds since 1970) or now."""
        if self._size > LOG_BYTES:
            self.rotate()
        self._size += len(text)
        ends = range(PART_BYTES, len(text.rstrip(b"\n")), PART_BYTES)
        for start, end in pairwise((0, *ends, len(text))):
            self.lines.append(Line(at or time.time_ns(), text[start:end]))
            self.count += 1
        self._notify()

    def rotate(self) -> None:
        """Put the file aside: what is in it can no longer be read."""
        self.lines.clear()
        self._size = 0

    def close(self) -> None:
        """No more lines will come."""
        self.closed = True
        self._notify()

    def tail(self) -> str:
        """What a kubelet takes as the termination message of a failed container: its last lines, cut to size."""
        text = b"".join(line.text for line in list(self.lines)[-_MESSAGE_LINES:])
        return text[-_MESSAGE_BYTES:].decode(errors="replace")

    async def follow(self, seen: int) -> AsyncIterator[Line]:
        """The lines after the first `seen` ones, also those to come, until the log ends."""
        while True:
            changed, new = self._changed, min(self.count - seen, len(self.lines))
            seen = self.count
            for line in list(self.lines)[len(self.lines) - new :]:
                yield line
            if self.closed and seen == self.count:
                return
            if seen == self.count:
                await changed.wait()

    def _notify(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()


class Run:
    """A process that was started for a container. Its log closes right after it ended."""

    def __init__(self, child: Child, record: Record, output: int) -> None:
        """Made by `start`; `output` is the read end of the pipe that it prints to."""
        self.id = f"bed://{secrets.token_hex(32)}"
        self.record = record
        self.log = Log()
        self._child = child
        self._exit = asyncio.create_task(self._watch(output))

    @classmethod
    def start(cls, argv: Sequence[str], folder: Path, environment: Mapping[str, str], identity: Identity) -> Run:
        """Start the command in a folder. One that cannot be run prints that and ends at once."""
        reading, writing = os.pipe()
        try:
            child = Child.start(argv, env=environment, cwd=folder, output=writing)
        finally:
            os.close(writing)
        return cls(child, Record(identity, child.pid, child.started, environment), reading)

    @property
    def alive(self) -> bool:
        """Whether the process still lives."""
        return self.record.ended is None

    @property
    def exit_code(self) -> int:
        """As a shell and a kubelet count: 128 and more for a signal. Only after its end."""
        code = self._child.returncode
        assert code is not None, "it still runs"
        return 128 - code if code < 0 else code

    async def ended(self, timeout: float | None = None) -> bool:
        """Wait for its end, and until its log is complete; False when it still runs after `timeout` seconds."""
        done, _ = await asyncio.wait([self._exit], timeout=timeout)
        return bool(done)

    def on_end(self, call: Callable[[], None]) -> None:
        """Call this once it has ended."""
        self._exit.add_done_callback(lambda _: call())

    def send(self, number: signal.Signals) -> None:
        """Signal the process and whatever it started."""
        self._child.send(number)

    async def _watch(self, output: int) -> None:
        reader = asyncio.create_task(_read(output, self.log))
        await self._child.exited()
        self.record.ended = self._child.ended
        await asyncio.wait([reader], timeout=_LAST_WORDS)  # what it left behind may hold the pipe open
        reader.cancel()
        self.log.close()


async def _read(output: int, log: Log) -> None:
    """Cut the output into lines as it comes; lines of any length."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    with os.fdopen(output, "rb", buffering=0) as pipe:
        transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), pipe)
        rest = b""
        try:
            while chunk := await reader.read(65536):
                *complete, rest = (rest + chunk).split(b"\n")
                for text in complete:
                    log.add(text + b"\n")
        finally:
            if rest:
                log.add(rest)
            transport.close()


def command_of(container: Mapping[str, Any], environment: Mapping[str, str]) -> list[str]:
    """The command line of a container. May install a bot, which takes a while: call it in a thread.

    Raises ImageError when there is neither a command nor an image that the bed knows.
    """
    image = container.get("image", "").partition(":")[0]
    arguments = container.get("args", [])
    if image.startswith("broken/"):
        raise ImageError(container["image"])
    if "command" in container:
        return [expand(part, environment) for part in [*container["command"], *arguments]]
    if image == "pause":
        return _PAUSE
    if is_program(container):
        return [*PROGRAMS[_last_part(container["image"])], *(expand(part, environment) for part in arguments)]
    try:
        return [*botenv.argv(image.partition("bots/")[2]), *(expand(part, environment) for part in arguments)]
    except (KeyError, botenv.BotEnvError) as error:
        raise ImageError(f"{container.get('image', '')}: {error}") from None


def is_program(container: Mapping[str, Any]) -> bool:
    """Whether the container runs one of PROGRAMS."""
    return "command" not in container and _last_part(container.get("image", "")) in PROGRAMS


def _last_part(image: str) -> str:
    """The image's name without registry, tag and digest."""
    return image.partition("@")[0].rpartition("/")[2].partition(":")[0]


def expand(text: str, environment: Mapping[str, str]) -> str:
    """Kubernetes' own variables: $(NAME) where NAME is set, $$ for a dollar."""
    return _REFERENCE.sub(lambda found: environment.get(found[1], found[0]) if found[1] else "$", text)
