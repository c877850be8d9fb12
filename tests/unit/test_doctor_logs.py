"""Which part of a log the doctor reads: its end, however long its lines are."""

from typing import Any

from telegrambot_operator.core.doctor_facts import Gap
from telegrambot_operator.core.records import Pod
from telegrambot_operator.shell.doctor_facts import Gatherer
from telegrambot_operator.shell.logs import TAIL_BYTES
from tests.unit.worlds import pod

CONFLICT = b"2026-07-01T10:00:00Z 409: Conflict: terminated by other getUpdates request\n"


class Kubelet:
    """A log as the kubelet gives it: of the last lines, the first bytes."""

    def __init__(self, text: bytes) -> None:
        self.lines = text.splitlines(keepends=True)
        self.asked = 0

    async def log(self, _: Pod, **options: str) -> bytes | Gap:
        self.asked += 1
        return b"".join(self.lines[-int(options["tailLines"]) :])[: int(options["limitBytes"])]


async def tail(kubelet: Any) -> bytes | Gap:
    nothing: Any = None
    return await Gatherer(kubelet, nothing, nothing)._tail(pod("bot-a"), "bot")


async def test_a_short_log_is_read_once() -> None:
    kubelet = Kubelet(b"started\n" * 100 + CONFLICT)
    assert await tail(kubelet) == b"".join(kubelet.lines)
    assert kubelet.asked == 1


async def test_the_end_of_a_log_of_long_lines_is_read() -> None:
    kubelet = Kubelet((b"x" * 10_000 + b"\n") * (2 * TAIL_BYTES // 10_000) + CONFLICT)
    read = await tail(kubelet)
    assert isinstance(read, bytes)
    assert read.endswith(CONFLICT)
    assert kubelet.asked == 2


async def test_a_log_that_cannot_be_read_stays_so() -> None:
    class Refusing(Kubelet):
        async def log(self, _: Pod, **options: str) -> bytes | Gap:
            del options
            return Gap("forbidden")

    assert await tail(Refusing(b"")) == Gap("forbidden")
