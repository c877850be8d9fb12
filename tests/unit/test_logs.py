"""How bots' logs are read: from a kubelet that behaves as the real one, at moments that a test chooses."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import pytest

from telegrambot_operator.core.evidence import ConflictKind, compile_pattern
from telegrambot_operator.core.targets import Tail
from telegrambot_operator.shell import logs as module
from telegrambot_operator.shell.kube import KubeError
from telegrambot_operator.shell.logs import KEPT_FINDINGS, LogReader
from telegrambot_operator.shell.rota import QUIET_PER_SECOND, Rank, Rota, Turn
from tests.bed.node_process import LOG_BYTES, PART_BYTES, Log
from tests.bed.node_server import Options, written

KEY = ("shop", "shop-bot")
SENTENCE = (
    "ERROR telegram.error.Conflict: Conflict: terminated by other getUpdates request; make sure that only one bot"
)
WEBHOOK = "ERROR telegram.error.Conflict: Conflict: can't use getUpdates method while webhook is active"
HTTP = 'INFO HTTP Request: POST https://api.telegram.org/bot7301948265:AAFq9Zr0bXw3KjT5uYv1LmN/getUpdates "HTTP/1.1 409'
NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
OTHER, ACTIVE, UNSPECIFIED = ConflictKind.OTHER_GET_UPDATES, ConflictKind.WEBHOOK_ACTIVE, ConflictKind.UNSPECIFIED

TAIL = Tail(
    namespace="shop",
    pod="bot-1",
    uid="uid-1",
    node="node-1",
    container="bot",
    restarts=0,
    running=True,
    terminated=False,
    leaving=False,
    started=NOW - timedelta(days=1),
    previous_unread=False,
)


@dataclass
class Kubelet:
    """Serves the logs of pods' latest runs. `skew` is how far its clock is ahead."""

    now: float = 0.0
    skew: float = 0.0
    runs: dict[str, list[Log]] = field(default_factory=dict)
    asked: list[Mapping[str, str]] = field(default_factory=list)
    hanging: set[str] = field(default_factory=set)
    answers: asyncio.Event = field(default_factory=asyncio.Event)
    sent: int = 0
    fault: KubeError | None = None

    def __post_init__(self) -> None:
        self.answers.set()

    def print(self, text: str, pod: str = "bot-1") -> None:
        at = NOW + timedelta(seconds=self.now + self.skew)
        self.runs.setdefault(pod, [Log()])[-1].add(text.encode() + b"\n", int(at.timestamp() * 1e6) * 1000)

    def restart(self, pod: str = "bot-1") -> None:
        self.runs[pod].append(Log())

    async def get(self, path: str, query: Mapping[str, str], **_: object) -> bytes:
        pod = path.split("/")[-2]
        self.asked.append({**query, "pod": pod})
        if self.fault:
            raise self.fault
        await (asyncio.Event() if pod in self.hanging else self.answers).wait()
        runs = self.runs.setdefault(pod, [Log()])
        if query.get("previous") and len(runs) < 2:
            raise KubeError(400, "BadRequest", "previous terminated container not found")
        log = runs[-2] if query.get("previous") else runs[-1]
        answer = b"".join(written(log.lines, Options.parse(query)))
        self.sent += len(answer)
        return answer


class Story:
    """A reader, its kubelet, and time that only a test moves."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.node = Kubelet()
        self.rota = Rota(lambda: self.node.now)
        self.told: list[tuple[str, str]] = []
        self.cpu = self.cost = 0.0
        self.reader = LogReader(
            self.node,  # type: ignore[arg-type]  # it asks for nothing but `get`
            self.told.append,
            self.rota,
            lambda: NOW + timedelta(seconds=self.node.now),
        )
        monkeypatch.setattr(module, "time", self)

    def monotonic(self) -> float:
        return self.node.now

    def thread_time(self) -> float:
        self.cpu += self.cost
        return self.cpu

    def follow(self, *tails: Tail, crowded: bool = False, troubled: bool = False) -> None:
        self.reader.follow(KEY, tails or (TAIL,), (), crowded=crowded, troubled=troubled)

    async def read(self) -> Turn:
        """Let time pass until the next turn, and take it."""
        while (turn := self.rota.next()) is None:
            seconds = self.rota.seconds_until_next()
            assert seconds is not None, "nobody's turn comes"
            self.node.now += max(seconds, 1e-6)
        await self.reader.take(turn)
        return turn

    def kinds(self) -> list[ConflictKind]:
        return [each.finding.kind for each in self.reader.findings(KEY)]

    def seconds(self) -> list[float]:
        return [(each.at - NOW).total_seconds() for each in self.reader.findings(KEY)]


@pytest.fixture
def story(monkeypatch: pytest.MonkeyPatch) -> Story:
    return Story(monkeypatch)


# --- What has only a status -------------------------------------------------------------------------------------------


async def test_a_read_between_two_lines_of_one_conflict_tells_no_half_of_it(story: Story) -> None:
    story.follow()
    story.node.print(HTTP)
    await story.read()
    assert story.kinds() == []
    assert story.told == []
    story.node.print(WEBHOOK)
    before = story.node.now
    await story.read()
    assert story.node.now - before < 1.0
    assert story.kinds() == [ACTIVE]
    assert story.told == [KEY]


async def test_a_status_without_a_sentence_is_told_within_a_second(story: Story) -> None:
    story.follow()
    story.node.print(HTTP)
    await story.read()
    before = story.node.now
    await story.read()
    assert story.node.now - before < 1.0
    assert story.kinds() == [UNSPECIFIED]
    for _ in range(3):
        await story.read()
    assert story.kinds() == [UNSPECIFIED]


# --- When -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "later",
    [
        replace(TAIL, restarts=1),
        replace(TAIL, running=False, terminated=True),
        replace(TAIL, leaving=True),
        replace(TAIL, container="other"),
    ],
    ids=["a restart", "an end", "a deletion", "another container"],
)
async def test_what_happens_to_a_quiet_bot_has_it_read_at_once(story: Story, later: Tail) -> None:
    story.follow()
    assert (await story.read()).rank is Rank.QUIET
    story.node.now += 0.1
    story.follow(later)
    before = story.node.now
    assert (await story.read()).rank is Rank.EVENT
    assert story.node.now - before <= 0.5
    assert (await story.read()).rank is Rank.LIVELY
    assert story.node.now - before <= 2.5


async def test_a_second_pod_has_both_read_at_once_and_often_while_it_is_there(story: Story) -> None:
    story.follow()
    await story.read()
    other = replace(TAIL, pod="bot-2", uid="uid-2")
    story.follow(TAIL, other, crowded=True)
    before = story.node.now
    assert {(await story.read()).uid, (await story.read()).uid} == {"uid-1", "uid-2"}
    assert story.node.now - before <= 0.6
    story.node.now += 3600
    for _ in range(8):
        await story.read()
    before = story.node.now
    assert {(await story.read()).uid, (await story.read()).uid} == {"uid-1", "uid-2"}
    assert story.node.now - before <= 2.1


async def test_a_pod_that_takes_the_place_of_another_is_read_at_once(story: Story) -> None:
    story.follow()
    await story.read()
    story.follow(replace(TAIL, pod="bot-2", uid="uid-2", started=NOW))
    turn = await story.read()
    assert (turn.uid, turn.rank) == ("uid-2", Rank.EVENT)
    assert len(story.rota) == 1


async def test_a_bot_with_conflicts_of_late_is_read_at_once_when_the_operator_starts(story: Story) -> None:
    story.follow(troubled=True)
    assert (await story.read()).rank is Rank.EVENT


async def test_a_few_bots_are_read_every_few_seconds_and_many_in_turn(story: Story) -> None:
    story.follow()
    await story.read()
    assert story.rota.seconds_until_next() == pytest.approx(3.0)
    for number in range(1000):
        tail = replace(TAIL, uid=f"uid-{number}", pod=f"bot-{number}")
        story.reader.follow(("shop", f"bot-{number}"), [tail], ())
    for _ in range(1000):
        await story.read()
    assert story.node.now == pytest.approx(1000 / QUIET_PER_SECOND, rel=0.1)


async def test_a_log_whose_turn_comes_while_it_is_read_is_not_read_twice_at_once(story: Story) -> None:
    story.follow()
    story.node.print(SENTENCE)
    story.node.answers.clear()
    turn = story.rota.next()
    assert turn is not None
    reading = asyncio.create_task(story.reader.take(turn))
    await asyncio.sleep(0)
    story.follow(replace(TAIL, restarts=1))
    await story.read()
    assert len(story.node.asked) == 1
    story.node.answers.set()
    await reading
    assert story.kinds() == [OTHER]
    await story.read()
    assert story.kinds() == [OTHER]
    assert len(story.node.asked) == 2


async def test_a_log_that_takes_long_to_look_through_leaves_time_for_others(story: Story) -> None:
    story.follow(crowded=True)
    await story.read()
    story.cost = 1.0
    await story.read()
    assert story.rota.seconds_until_next() == pytest.approx(20.0)


async def test_thousands_of_bots_and_a_node_that_hangs_do_not_delay_what_has_just_started() -> None:
    """The only test here in real time: it waits for the fact."""
    node = Kubelet(hanging={f"bot-{number}" for number in range(100)})
    found = asyncio.Event()
    reader = LogReader(node, lambda _: found.set())  # type: ignore[arg-type]  # it asks for nothing but `get`
    for number in range(5000):
        tail = replace(TAIL, uid=f"uid-{number}", pod=f"bot-{number}", node=f"node-{number // 100}")
        reader.follow(("shop", f"bot-{number}"), [tail], (), crowded=number < 100)
    running = asyncio.create_task(reader.run())
    node.print(SENTENCE, pod="new")
    started = replace(TAIL, uid="new", pod="new", node="node-new", started=None)
    reader.follow(("shop", "new"), [started], ())
    async with asyncio.timeout(60):
        await found.wait()
    assert [each.pod for each in reader.findings(("shop", "new"))] == ["new"]
    assert sum(query["pod"] in node.hanging for query in node.asked) <= 2
    assert len(node.asked) < 100
    running.cancel()
    await asyncio.wait([running])


# --- Restarts and rotation --------------------------------------------------------------------------------------------


async def test_the_last_words_of_a_run_are_read_after_its_restart(story: Story) -> None:
    story.follow()
    story.node.print("INFO polling")
    await story.read()
    story.node.print(SENTENCE)
    story.node.restart()
    story.node.print("INFO polling again")
    story.follow(replace(TAIL, restarts=1, previous_unread=True))
    await story.read()
    assert story.kinds() == [OTHER]
    for _ in range(3):
        await story.read()
    assert story.kinds() == [OTHER]
    assert sum("previous" in each for each in story.node.asked) == 1


async def test_the_last_words_of_a_run_are_read_though_the_next_run_was_read_before(story: Story) -> None:
    story.follow()
    story.node.print("INFO polling")
    await story.read()
    story.node.now += 10
    story.node.print(SENTENCE)
    story.node.restart()
    story.node.now += 10
    story.node.print("INFO polling again")
    story.node.now += 10
    await story.read()
    assert story.kinds() == []
    story.follow(replace(TAIL, restarts=1, previous_unread=True))
    await story.read()
    assert story.kinds() == [OTHER]


async def test_several_restarts_between_two_reads_tell_of_the_last_one(story: Story) -> None:
    story.follow()
    story.node.print("INFO polling")
    await story.read()
    for _ in range(3):
        story.node.print(SENTENCE)
        story.node.now += 1
        story.node.restart()
    story.follow(replace(TAIL, restarts=3, previous_unread=True, running=False))
    await story.read()
    assert story.kinds() == [OTHER]


async def test_a_last_run_that_could_not_be_read_is_read_later(story: Story) -> None:
    story.node.print(SENTENCE)
    story.node.restart()
    story.node.fault = KubeError(500, "InternalError", "the node is slow")
    story.follow(replace(TAIL, restarts=1, previous_unread=True))
    await story.read()
    assert "could not be read: the node is slow" in story.reader.problem(KEY)
    story.node.fault = None
    await story.read()
    assert story.kinds() == [OTHER]
    assert story.reader.problem(KEY) == ""


async def test_a_last_run_that_is_gone_is_no_problem(story: Story) -> None:
    story.node.print(SENTENCE)
    story.follow(replace(TAIL, restarts=1, previous_unread=True))
    await story.read()
    assert story.reader.problem(KEY) == ""
    assert story.kinds() == [OTHER]


async def test_the_last_words_of_a_run_are_read_however_much_it_printed_before(story: Story) -> None:
    for _ in range(100):
        story.node.print("x" * 30_000)
    story.node.print(SENTENCE)
    story.node.restart()
    story.follow(replace(TAIL, restarts=1, previous_unread=True, running=False))
    await story.read()
    assert story.kinds() == [OTHER]


async def test_a_container_that_waits_to_start_again_is_no_problem(story: Story) -> None:
    story.node.fault = KubeError(400, "BadRequest", 'container "bot" in pod "bot-1" is waiting to start')
    story.follow()
    await story.read()
    assert (story.reader.problem(KEY), story.told) == ("", [])


async def test_another_container_is_read_from_its_beginning_though_a_read_was_under_way(story: Story) -> None:
    story.follow()
    story.node.print("INFO the first container's log")
    story.node.answers.clear()
    turn = story.rota.next()
    assert turn is not None
    reading = asyncio.create_task(story.reader.take(turn))
    await asyncio.sleep(0)
    story.follow(replace(TAIL, container="other"))
    story.node.answers.set()
    await reading
    await story.read()
    assert ["sinceTime" in each for each in story.node.asked] == [False, False]


async def test_another_container_is_read_from_its_beginning(story: Story) -> None:
    story.follow()
    story.node.print("INFO the other container's log")
    await story.read()
    story.follow(replace(TAIL, container="other"))
    await story.read()
    assert ["sinceTime" in each for each in story.node.asked] == [False, False]


async def test_a_log_that_rotates_is_read_on(story: Story) -> None:
    story.follow()
    story.node.print(SENTENCE)
    await story.read()
    story.node.runs["bot-1"][-1].rotate()
    story.node.now += 5
    await story.read()
    story.node.print(WEBHOOK)
    await story.read()
    assert story.kinds() == [OTHER, ACTIVE]


async def test_what_was_told_since_a_rotation_is_not_told_again_after_a_restart(story: Story) -> None:
    story.follow()
    story.node.print("INFO polling")
    await story.read()
    story.node.runs["bot-1"][-1].rotate()
    story.node.now += 10
    story.node.print(SENTENCE)
    await story.read()
    story.node.now += 60
    story.node.print("INFO going on")
    await story.read()
    story.node.restart()
    story.follow(replace(TAIL, restarts=1, previous_unread=True))
    await story.read()
    assert story.kinds() == [OTHER]


async def test_a_run_that_is_known_is_read_on_from_its_own_place(story: Story) -> None:
    story.follow()
    story.node.print("INFO polling")
    await story.read()
    story.node.restart()
    story.follow(replace(TAIL, restarts=1))
    story.node.now += 10
    story.node.print("INFO polling")
    await story.read()
    for _ in range(2 * KEPT_FINDINGS):
        story.node.now += 3
        story.node.print(SENTENCE)
    await story.read()
    story.node.restart()
    before = story.reader.findings(KEY)
    assert len(before) == KEPT_FINDINGS
    story.follow(replace(TAIL, restarts=2, previous_unread=True))
    await story.read()
    assert story.reader.findings(KEY) == before


# --- Large logs -------------------------------------------------------------------------------------------------------


async def test_a_large_log_costs_no_more_than_its_tail(story: Story) -> None:
    for _ in range(40_000):
        story.node.print(f"INFO {'handled an update ' * 10}")
    story.node.print(SENTENCE)
    story.follow()
    await story.read()
    assert story.kinds() == [OTHER]
    assert story.node.sent < 1_000_000


@pytest.mark.parametrize("megabytes", [1, 3, 9])
async def test_a_line_of_many_megabytes_hides_neither_what_is_before_nor_what_is_behind_it(
    story: Story, megabytes: int
) -> None:
    assert megabytes << 20 < LOG_BYTES
    story.node.print(SENTENCE)
    story.node.now += 3
    story.node.print("x" * (megabytes << 20))
    story.node.now += 3
    story.node.print(WEBHOOK)
    story.follow()
    await story.read()
    assert story.kinds() == [OTHER, ACTIVE]
    await story.read()
    assert story.kinds() == [OTHER, ACTIVE]
    assert story.node.sent < 16 << 20


async def test_a_409_between_two_lines_of_megabytes_is_read(story: Story) -> None:
    for _ in range(2):
        story.node.print("x" * (3 << 20))
        story.node.now += 3
        story.node.print(SENTENCE)
        story.node.now += 3
    story.node.print("x" * (3 << 20))
    story.follow()
    await story.read()
    assert story.kinds() == [OTHER]


async def test_a_line_that_a_runtime_keeps_whole_hides_at_most_what_is_before_it(
    story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.bed.node_process.PART_BYTES", 100 << 20)
    story.node.print("x" * (5 << 20))
    story.node.now += 3
    story.node.print(SENTENCE)
    story.follow()
    await story.read()
    assert story.kinds() == [OTHER]


async def test_the_end_of_a_line_of_many_megabytes_is_read(story: Story) -> None:
    story.node.print("{'update': '" + "x" * (5 << 20) + "'}, " + SENTENCE)
    story.follow()
    await story.read()
    assert story.kinds() == [OTHER]


async def test_long_lines_in_a_row_do_not_hide_the_newest(story: Story) -> None:
    for _ in range(200):
        story.node.print("x" * (3 * PART_BYTES))
    story.node.print(SENTENCE)
    story.follow()
    await story.read()
    assert story.kinds() == [OTHER]


# --- Clocks, problems, secrets ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("skew", [-3600.0, 0.0, 3600.0])
async def test_a_node_whose_clock_is_wrong_is_read_all_the_same(story: Story, skew: float) -> None:
    story.node.skew = skew
    story.follow()
    story.node.print("INFO polling")
    await story.read()
    story.node.now += 2
    story.node.print(SENTENCE)
    printed = story.node.now
    await story.read()
    assert story.kinds() == [OTHER]
    assert story.seconds()[0] == pytest.approx(printed, abs=5.0)
    await story.read()
    assert story.kinds() == [OTHER]


async def test_a_conflict_that_had_to_wait_keeps_its_time(story: Story) -> None:
    story.follow()
    await story.read()
    story.node.now += 60
    await story.read()
    story.node.now += 10
    story.node.print(HTTP)
    printed = story.node.now
    story.node.now += 50
    for _ in range(2):
        await story.read()
    assert story.seconds() == [printed]


async def test_a_log_that_cannot_be_read_is_said_once_and_tried_again(story: Story) -> None:
    story.follow()
    story.node.fault = KubeError(403, "Forbidden", "no, 7301948265:AAFq9Zr0bXw3KjT5uYv1LmNp8sQeHd2GcRk")
    for _ in range(4):
        await story.read()
    assert story.told == [KEY]
    assert "AAFq9" not in story.reader.problem(KEY)
    story.node.fault = None
    await story.read()
    assert story.told == [KEY, KEY]
    assert story.reader.problem(KEY) == ""


async def test_an_error_of_ours_ends_no_reader(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> object:
        raise RuntimeError("a bug")

    story.follow()
    monkeypatch.setattr(module, "news", broken)
    await story.read()
    assert "an error of the operator" in story.reader.problem(KEY)
    monkeypatch.undo()
    monkeypatch.setattr(module, "time", story)
    await story.read()
    assert story.reader.problem(KEY) == ""


async def test_a_bot_that_is_forgotten_while_it_is_read_leaves_nothing(story: Story) -> None:
    story.follow()
    story.node.print(SENTENCE)
    turn = story.rota.next()
    assert turn is not None
    story.reader.forget(KEY)
    await story.reader.take(turn)
    assert (story.kinds(), story.told, len(story.rota)) == ([], [], 0)


async def test_the_user_s_patterns_are_looked_for(story: Story) -> None:
    story.node.print("duel lost")
    story.reader.follow(KEY, [TAIL], [compile_pattern("^duel lost")])
    await story.read()
    assert story.kinds() == [UNSPECIFIED]
