"""What counts as standing still, and what does not. Time stands still until a test moves it."""

import asyncio

import pytest

from telegrambot_operator.shell import health
from telegrambot_operator.shell.health import STILL_SECONDS, Health, Passes, moved
from tests.unit.clock import Clock

LONG = STILL_SECONDS + 1


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(health, "time", clock)
    return clock


class Queue:
    """A queue whose oldest key has waited for so long."""

    def __init__(self) -> None:
        self.waited = 0.0

    def oldest(self) -> float:
        return self.waited


@pytest.fixture
def queue() -> Queue:
    return Queue()


@pytest.fixture
def passes(clock: Clock, queue: Queue) -> Passes:
    del clock
    return Passes(queue.oldest)


def test_one_that_has_just_started_is_well_and_not_ready() -> None:
    assert Health().stuck() == ""
    assert Health().missing() == "there is no connection to the cluster yet"


def test_every_complaint_is_told() -> None:
    checked = Health()
    for sentence in ("", "the first", "the second"):
        checked.lives(lambda sentence=sentence: sentence)  # type: ignore[misc]
        checked.needs(lambda sentence=sentence: sentence)  # type: ignore[misc]
    assert checked.stuck() == checked.missing() == "the first; the second"


def test_a_pass_that_stands_still(passes: Passes, clock: Clock) -> None:
    with passes.one("shop/bot"):
        clock.seconds += STILL_SECONDS - 1
        assert passes.stuck() == ""
        clock.seconds += 2
        assert passes.stuck() == "the pass of shop/bot has stood still for 121 s"
    assert passes.stuck() == ""


def test_a_long_pass_whose_requests_end_is_at_work(passes: Passes, clock: Clock) -> None:
    """Each may end in a time-out: that is an API server that is down, which a new start would not mend."""
    with passes.one("shop/bot"):
        for _ in range(100):
            clock.seconds += 30
            moved()
            assert passes.stuck() == ""


async def test_the_requests_of_one_pass_say_nothing_of_another(passes: Passes, clock: Clock) -> None:
    asked, at_work = asyncio.Event(), asyncio.Event()

    async def hang() -> None:
        with passes.one("shop/hangs"):
            at_work.set()
            await asked.wait()

    hanging = asyncio.create_task(hang())
    await at_work.wait()
    with passes.one("shop/works"):
        clock.seconds += LONG
        moved()
        assert "shop/hangs" in passes.stuck()
    asked.set()
    await hanging


def test_a_request_outside_a_pass_is_nobodys(passes: Passes) -> None:
    moved()
    assert passes.stuck() == ""


def test_a_key_that_waits_while_no_pass_is_made(passes: Passes, queue: Queue, clock: Clock) -> None:
    passes.begin()
    queue.waited = LONG
    assert passes.stuck() == "", "it has only begun"
    clock.seconds += LONG
    assert passes.stuck() == "no pass has begun for 121 s, though one has been asked for"


def test_nobody_works_yet_in_one_that_stands_by(passes: Passes, queue: Queue, clock: Clock) -> None:
    clock.seconds += LONG
    queue.waited = LONG
    assert passes.stuck() == ""


def test_a_long_queue_that_moves_is_at_work(passes: Passes, queue: Queue, clock: Clock) -> None:
    passes.begin()
    queue.waited = 10 * LONG
    for _ in range(10):
        clock.seconds += STILL_SECONDS - 1
        with passes.one("shop/bot"):
            assert passes.stuck() == ""


def test_an_idle_operator_is_well(passes: Passes, queue: Queue, clock: Clock) -> None:
    passes.begin()
    clock.seconds += 100 * LONG
    queue.waited = 1.0
    assert passes.stuck() == ""
