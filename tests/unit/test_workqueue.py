"""The queue of keys: one pass a key at a time, none lost, none too many, and later when that was asked for.

Time stands still until a test moves it: nothing here sleeps.
"""

import asyncio
import heapq
import itertools
from collections.abc import Callable
from types import SimpleNamespace

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from telegrambot_operator.shell import workqueue
from telegrambot_operator.shell.workqueue import RETRY_SECONDS, WorkQueue


class Clock:
    """A clock with timers, as far as the queue uses the event loop's. `advance` moves it."""

    def __init__(self) -> None:
        self.now = 1000.0
        self._timers: list[tuple[float, int, Callable[[], None], SimpleNamespace]] = []
        self._order = itertools.count()

    def monotonic(self) -> float:
        return self.now

    def create_future(self) -> "asyncio.Future[None]":
        return asyncio.get_running_loop().create_future()

    def call_later(self, delay: float, callback: Callable[[], None]) -> SimpleNamespace:
        handle = SimpleNamespace(cancelled=False)
        handle.cancel = lambda: setattr(handle, "cancelled", True)
        heapq.heappush(self._timers, (self.now + delay, next(self._order), callback, handle))
        return handle

    def advance(self, seconds: float) -> None:
        end = self.now + seconds
        while self._timers and self._timers[0][0] <= end:
            self.now, _, callback, handle = heapq.heappop(self._timers)
            if not handle.cancelled:
                callback()
        self.now = end


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(workqueue, "time", clock)
    monkeypatch.setattr(
        workqueue, "asyncio", SimpleNamespace(get_running_loop=lambda: clock, CancelledError=asyncio.CancelledError)
    )
    return clock


@pytest.fixture
def queue(clock: Clock) -> WorkQueue[str]:
    del clock
    return WorkQueue()


def take(queue: WorkQueue[str]) -> str | None:
    """The next key, without waiting for one; None if there is none."""
    try:
        waiting = queue.get()
        waiting.send(None)
    except StopIteration as stop:
        key: str = stop.value
        return key
    waiting.close()
    return None


# --- Now ------------------------------------------------------------------------------------------------------------


async def test_a_key_that_is_asked_for_twice_is_worked_on_once(queue: WorkQueue[str]) -> None:
    queue.add("shop")
    queue.add("shop")
    assert (take(queue), take(queue)) == ("shop", None)


async def test_keys_come_in_the_order_in_which_they_were_asked_for(queue: WorkQueue[str]) -> None:
    for key in ("a", "b", "a", "c"):
        queue.add(key)
    assert [take(queue), take(queue), take(queue)] == ["a", "b", "c"]


async def test_a_key_that_is_worked_on_is_given_to_no_second_worker(queue: WorkQueue[str]) -> None:
    queue.add("shop")
    assert take(queue) == "shop"
    queue.add("shop")
    assert take(queue) is None


async def test_what_changes_during_the_work_is_worked_on_once_more_afterwards(queue: WorkQueue[str]) -> None:
    queue.add("shop")
    take(queue)
    queue.add("shop")
    queue.add("shop")
    queue.done("shop")
    assert (take(queue), take(queue)) == ("shop", None)
    queue.done("shop")
    assert take(queue) is None


async def test_work_that_ends_without_a_change_is_over(queue: WorkQueue[str]) -> None:
    queue.add("shop")
    take(queue)
    queue.done("shop")
    assert take(queue) is None


async def test_a_worker_that_waits_gets_the_next_key(queue: WorkQueue[str]) -> None:
    worker = asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    assert not worker.done()
    queue.add("shop")
    async with asyncio.timeout(5):
        assert await worker == "shop"


async def test_two_workers_that_wait_share_two_keys(queue: WorkQueue[str]) -> None:
    workers = [asyncio.create_task(queue.get()) for _ in range(2)]
    await asyncio.sleep(0)
    queue.add("a")
    queue.add("b")
    async with asyncio.timeout(5):
        assert sorted(await asyncio.gather(*workers)) == ["a", "b"]


async def test_a_worker_that_has_gone_takes_no_key_with_it(queue: WorkQueue[str]) -> None:
    gone, stays = asyncio.create_task(queue.get()), asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    gone.cancel()
    await asyncio.wait([gone])
    queue.add("shop")
    async with asyncio.timeout(5):
        assert await stays == "shop"


async def test_a_worker_that_goes_when_its_key_comes_leaves_it_to_another(queue: WorkQueue[str]) -> None:
    """Woken and cancelled in one turn of the loop."""
    gone, stays = asyncio.create_task(queue.get()), asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    queue.add("shop")
    gone.cancel()
    await asyncio.wait([gone])
    async with asyncio.timeout(5):
        assert await stays == "shop"


# --- How long -------------------------------------------------------------------------------------------------------


def test_the_oldest_is_the_one_that_waits_longest(queue: WorkQueue[str], clock: Clock) -> None:
    assert queue.oldest() == 0
    queue.add("a")
    clock.advance(2)
    queue.add("b")
    queue.add("a")
    assert queue.oldest() == 2
    take(queue)
    assert queue.oldest() == 0
    clock.advance(3)
    assert queue.oldest() == 3


def test_work_knows_when_it_was_asked_for(queue: WorkQueue[str], clock: Clock) -> None:
    queue.add("a")
    clock.advance(2)
    take(queue)
    assert clock.now - queue.asked("a") == 2


def test_what_is_asked_for_meanwhile_waits_from_then_on(queue: WorkQueue[str], clock: Clock) -> None:
    queue.add("a")
    take(queue)
    clock.advance(5)
    queue.add("a")
    clock.advance(1)
    assert queue.oldest() == 1
    queue.done("a")
    take(queue)
    assert clock.now - queue.asked("a") == 1
    queue.done("a")
    assert queue.oldest() == 0


# --- Later ----------------------------------------------------------------------------------------------------------


async def test_a_key_for_later_comes_at_its_time_and_not_before(queue: WorkQueue[str], clock: Clock) -> None:
    queue.add_after("shop", 10)
    clock.advance(9.9)
    assert take(queue) is None
    clock.advance(0.1)
    assert take(queue) == "shop"


@pytest.mark.parametrize("delays", [(10, 5), (5, 10)], ids=["the sooner last", "the sooner first"])
async def test_of_two_times_the_sooner_counts_and_only_once(
    queue: WorkQueue[str], clock: Clock, delays: tuple[float, float]
) -> None:
    for delay in delays:
        queue.add_after("shop", delay)
    clock.advance(5)
    assert take(queue) == "shop"
    queue.done("shop")
    clock.advance(100)
    assert take(queue) is None


async def test_a_pass_now_makes_the_one_for_later_needless(queue: WorkQueue[str], clock: Clock) -> None:
    """It works out the next time anew."""
    queue.add_after("shop", 10)
    queue.add("shop")
    take(queue)
    queue.done("shop")
    clock.advance(100)
    assert take(queue) is None


async def test_a_key_that_waits_already_is_not_asked_for_later_as_well(queue: WorkQueue[str], clock: Clock) -> None:
    queue.add("shop")
    queue.add_after("shop", 10)
    take(queue)
    queue.done("shop")
    clock.advance(100)
    assert take(queue) is None


async def test_a_time_that_comes_during_the_work_is_worked_on_afterwards(queue: WorkQueue[str], clock: Clock) -> None:
    queue.add("shop")
    take(queue)
    queue.add_after("shop", 10)
    clock.advance(10)
    assert take(queue) is None
    queue.done("shop")
    assert take(queue) == "shop"


async def test_many_times_come_in_their_order(queue: WorkQueue[str], clock: Clock) -> None:
    for delay, key in ((30, "c"), (10, "a"), (20, "b")):
        queue.add_after(key, delay)
    clock.advance(100)
    assert [take(queue), take(queue), take(queue)] == ["a", "b", "c"]


# --- Nothing any more -----------------------------------------------------------------------------------------------


async def test_a_queue_that_is_cleared_has_forgotten_everything(queue: WorkQueue[str], clock: Clock) -> None:
    queue.add("waits")
    queue.add("is worked on")
    queue.add_after("later", 5)
    queue.retry("failed")
    queue.retry("failed")
    take(queue)
    queue.add("is worked on")
    queue.clear()
    assert (len(queue), queue.oldest()) == (0, 0.0)
    clock.advance(60)
    assert take(queue) is None
    queue.add("is worked on")
    assert take(queue) == "is worked on"
    queue.done("is worked on")
    assert delay_of_next_retry(queue, clock, "failed") == pytest.approx(RETRY_SECONDS[0], abs=2 * STEP)


# --- Again ----------------------------------------------------------------------------------------------------------


STEP = 0.01


def delay_of_next_retry(queue: WorkQueue[str], clock: Clock, key: str = "shop") -> float:
    """Fail once more, and return after how many seconds the key comes back."""
    queue.retry(key)
    start = clock.now
    while take(queue) is None:
        clock.advance(STEP)
    queue.done(key)
    return clock.now - start


async def test_each_failure_waits_longer_up_to_a_limit(queue: WorkQueue[str], clock: Clock) -> None:
    delays = [delay_of_next_retry(queue, clock) for _ in range(len(RETRY_SECONDS) + 2)]
    assert delays[: len(RETRY_SECONDS)] == pytest.approx(sorted(set(RETRY_SECONDS)), abs=2 * STEP)
    assert delays[len(RETRY_SECONDS) :] == pytest.approx([max(RETRY_SECONDS)] * 2, abs=2 * STEP)


async def test_failures_in_a_burst_of_events_are_one_step(queue: WorkQueue[str], clock: Clock) -> None:
    """Else a quarter of a second of trouble could end in half a minute of waiting."""
    for _ in range(6):
        queue.add("shop")
        assert take(queue) == "shop"
        queue.retry("shop")
        queue.done("shop")
    clock.advance(RETRY_SECONDS[0] + STEP)
    assert take(queue) == "shop"


async def test_after_a_success_the_next_failure_waits_as_long_as_the_first(queue: WorkQueue[str], clock: Clock) -> None:
    first = delay_of_next_retry(queue, clock)
    delay_of_next_retry(queue, clock)
    queue.forget("shop")
    assert delay_of_next_retry(queue, clock) == pytest.approx(first, abs=2 * STEP)


async def test_the_failures_of_one_key_do_not_hold_up_another(queue: WorkQueue[str], clock: Clock) -> None:
    first = delay_of_next_retry(queue, clock)
    for _ in range(4):
        delay_of_next_retry(queue, clock)
    assert delay_of_next_retry(queue, clock, "other") == pytest.approx(first, abs=2 * STEP)


async def test_a_change_does_not_wait_for_the_retry(queue: WorkQueue[str], clock: Clock) -> None:
    for _ in range(6):
        delay_of_next_retry(queue, clock)
    queue.retry("shop")
    queue.add("shop")
    assert take(queue) == "shop"


# --- Always ---------------------------------------------------------------------------------------------------------

keys = st.sampled_from(["a", "b", "c"])


class Workers(RuleBasedStateMachine):
    """Keys come and workers take them, in any order: against what each key is owed."""

    def __init__(self) -> None:
        super().__init__()
        self.queue: WorkQueue[str] = WorkQueue()
        self.owed: set[str] = set()
        self.working: list[str] = []

    @rule(key=keys)
    def something_changes(self, key: str) -> None:
        self.queue.add(key)
        self.owed.add(key)

    @precondition(lambda self: self.owed - set(self.working))
    @rule()
    def a_worker_takes_a_key(self) -> None:
        key = take(self.queue)
        assert key in self.owed, "a key was lost, or nobody asked for it"
        assert key not in self.working, "two workers work on one key"
        self.owed.remove(key)
        self.working.append(key)

    @precondition(lambda self: self.working)
    @rule()
    def a_worker_is_done(self) -> None:
        self.queue.done(self.working.pop(0))

    @invariant()
    def its_length_is_what_is_owed(self) -> None:
        assert len(self.queue) == len(self.owed)


TestWorkers = Workers.TestCase
