"""What is new in a log that is read a tail at a time: nothing twice, nothing left out, nothing before it is known."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telegrambot_operator.core.evidence import ConflictKind, compile_pattern
from telegrambot_operator.core.tails import OVERLAP, SAME_CLOCK, Bookmark, begins_anew, last_time, moment, news

SENTENCE = "telegram.error.Conflict: Conflict: terminated by other getUpdates request; make sure that only one bot"
WEBHOOK = "telegram.error.Conflict: Conflict: can't use getUpdates method while webhook is active"
SECRET = "AAFq9Zr0bXw3KjT5uYv1LmNp8sQeHd2GcRk"
HTTP = f'INFO HTTP Request: POST https://api.telegram.org/bot7301948265:{SECRET}/getUpdates "HTTP/1.1 409 Conflict"'
START = datetime(2026, 11, 24, 8, 0, 0, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def stamped(seconds: float, text: str) -> bytes:
    return f"{at(seconds):%Y-%m-%dT%H:%M:%S.%f}000Z {text}\n".encode()


@dataclass
class Log:
    """A log that grows, and its reader, who asks for whole seconds as the API server does."""

    lines: list[tuple[float, bytes]] = field(default_factory=list)
    mark: Bookmark = field(default_factory=Bookmark)
    soon: bool = False

    def add(self, seconds: float, text: str) -> None:
        self.lines.append((seconds, stamped(seconds, text)))

    def read(self, *, ended: bool = False, cut: int = 0) -> list[tuple[float, ConflictKind]]:
        since = self.mark.read_from
        first = since.replace(microsecond=0) if since else START - timedelta(days=1)
        text = b"".join(line for seconds, line in self.lines if at(seconds) >= first)
        latest = news([text[: len(text) - cut]], self.mark, ended=ended)
        self.mark, self.soon = latest.bookmark, latest.soon
        return [((time - START).total_seconds(), each.kind) for time, each in latest.found]


OTHER, ACTIVE, UNSPECIFIED = ConflictKind.OTHER_GET_UPDATES, ConflictKind.WEBHOOK_ACTIVE, ConflictKind.UNSPECIFIED


# --- What has only a status -------------------------------------------------------------------------------------------


def test_a_bare_status_waits_for_the_sentence_that_is_printed_next() -> None:
    log = Log()
    log.add(1.0, HTTP)
    assert log.read() == []
    assert log.soon
    log.add(1.2, f"ERROR {WEBHOOK}")
    assert log.read() == [(1.0, ACTIVE)]
    assert not log.soon
    assert log.read() == []


def test_a_bare_status_is_believed_at_the_next_read_when_nothing_more_comes() -> None:
    log = Log()
    log.add(1.0, HTTP)
    assert log.read() == []
    assert log.read() == [(1.0, UNSPECIFIED)]
    assert not log.soon
    assert log.read() == []


def test_a_bare_status_waits_though_other_lines_follow_it() -> None:
    log = Log()
    log.add(1.0, HTTP)
    log.add(1.1, "INFO something else")
    assert log.read() == []
    log.add(1.3, f"ERROR {WEBHOOK}")
    assert log.read() == [(1.0, ACTIVE)]


def test_what_came_before_a_bare_status_does_not_wait() -> None:
    log = Log()
    log.add(1.0, f"ERROR {SENTENCE}")
    log.add(4.0, HTTP)
    assert log.read() == [(1.0, OTHER)]
    assert log.read() == [(4.0, UNSPECIFIED)]


def test_every_new_bare_status_waits_and_the_one_before_it_no_longer() -> None:
    log = Log()
    log.add(1.0, HTTP)
    assert log.read() == []
    log.add(4.0, HTTP)
    assert log.read() == [(1.0, UNSPECIFIED)]
    assert log.read() == [(4.0, UNSPECIFIED)]
    assert log.read() == []


def test_a_bare_status_at_the_end_of_a_run_is_believed_at_once() -> None:
    log = Log()
    log.add(1.0, HTTP)
    assert log.read(ended=True) == [(1.0, UNSPECIFIED)]


# --- Nothing twice, nothing left out ----------------------------------------------------------------------------------


def test_two_lines_of_one_moment_are_both_told_though_the_read_fell_between_them() -> None:
    log = Log()
    log.add(1.0, f"ERROR {SENTENCE}")
    assert log.read() == [(1.0, OTHER)]
    log.add(1.0, f"ERROR {SENTENCE}")
    assert log.read() == [(1.0, OTHER)]
    assert log.read() == []


def test_a_trace_that_goes_on_after_the_read_is_no_second_conflict() -> None:
    log = Log()
    log.add(1.9, f"ERROR {SENTENCE}")
    log.add(1.9, "Traceback (most recent call last):")
    assert log.read() == [(1.9, OTHER)]
    log.add(2.1, '  File "bot.py", line 1, in poll')
    log.add(2.1, SENTENCE)
    assert log.read() == []


def test_what_only_the_frames_behind_it_explain_is_told_when_they_are_there() -> None:
    log = Log()
    log.add(1.0, "io.client.ApiException: Conflict")
    assert log.read() == []
    log.add(1.0, "    at org.telegram.telegrambots.GetUpdates.call(GetUpdates.java:1)")
    assert log.read() == []
    assert log.soon
    assert log.read() == [(1.0, UNSPECIFIED)]


def test_a_line_that_is_still_being_written_is_read_when_it_is_whole() -> None:
    log = Log()
    log.add(1.0, f"ERROR {SENTENCE}")
    assert log.read(cut=60) == []
    assert log.soon
    assert log.read() == [(1.0, OTHER)]


def test_a_line_that_never_ends_is_read_as_it_stands_at_the_next_read() -> None:
    log = Log()
    log.add(1.0, f"ERROR {SENTENCE}")
    assert log.read(cut=1) == []
    assert log.read(cut=1) == [(1.0, OTHER)]
    assert not log.soon
    assert log.read() == []


@given(
    gaps=st.lists(st.sampled_from([0.0, 0.3, 1.0, 3.1, 7.0, 61.0]), min_size=1, max_size=12),
    reads=st.lists(st.booleans(), min_size=12, max_size=12),
)
def test_every_conflict_is_told_once_however_the_reads_fall(gaps: list[float], reads: list[bool]) -> None:
    log, told, now = Log(), [], 0.0
    for gap, is_read in zip(gaps, reads, strict=False):
        now += gap
        log.add(now, f"ERROR {SENTENCE}")
        log.add(now + 0.2, "INFO going on")
        told += log.read() if is_read else []
    told += log.read()
    whole = Log(lines=log.lines)
    assert told == whole.read()
    assert len(told) == len(gaps[: len(reads)])


def test_half_a_second_of_a_second_is_not_skipped() -> None:
    log = Log()
    log.add(1.1, "INFO first")
    log.read()
    log.add(1.2, f"ERROR {SENTENCE}")
    assert log.read() == [(1.2, OTHER)]


# --- A log that is not what it was ------------------------------------------------------------------------------------


def test_a_log_that_rotated_is_read_on() -> None:
    log = Log()
    log.add(1.0, "INFO first")
    log.read()
    log.lines.clear()
    assert log.read() == []
    log.add(30.0, f"ERROR {SENTENCE}")
    assert log.read() == [(30.0, OTHER)]


def test_a_run_that_ended_unseen_is_read_from_where_it_was_left() -> None:
    before = Log()
    before.add(1.0, f"ERROR {SENTENCE}")
    before.read()
    before.add(5.0, f"ERROR {WEBHOOK}")
    after = Log(mark=before.mark)
    after.add(9.0, "INFO started again")
    after.read()
    before.mark = after.mark.of_last_run()
    assert before.read(ended=True) == [(5.0, ACTIVE)]


def test_the_log_that_was_left_is_that_of_the_first_change_until_it_is_read() -> None:
    log = Log()
    log.add(1.0, "INFO one")
    log.read()
    for seconds in (100.0, 200.0):
        log.lines.clear()
        log.add(seconds, "INFO again")
        log.read()
    assert log.mark.of_last_run().at == at(1.0)


def test_a_log_that_is_only_read_on_does_not_begin_anew() -> None:
    text = stamped(1, "INFO one") + stamped(2, "INFO two")
    assert not begins_anew(text, Bookmark(at(2)))
    assert not begins_anew(text, Bookmark())
    assert not begins_anew(b"", Bookmark(at(2)))
    assert begins_anew(text, Bookmark(at(0.5)))


def test_a_tail_in_two_pieces_is_read_up_to_its_end() -> None:
    older = stamped(1, f"ERROR {SENTENCE}") + stamped(2, "INFO a long line")[:20]
    newer = stamped(8, "INFO its end") + stamped(9, f"ERROR {WEBHOOK}")
    latest = news([older, newer], Bookmark())
    assert [time for time, _ in latest.found] == [at(1), at(9)]
    assert latest.bookmark.at == at(9)
    assert latest.bookmark.left is None


def test_a_line_that_is_cut_at_the_end_of_the_older_piece_is_read_as_it_stands() -> None:
    older = stamped(1, f"ERROR {SENTENCE} and more")[:-10]
    latest = news([older, stamped(9, "INFO its end")], Bookmark())
    assert [time for time, _ in latest.found] == [at(1)]


def test_what_the_node_says_instead_of_a_log_moves_nothing() -> None:
    mark = Bookmark(at(3))
    assert news([b"unable to retrieve container logs for containerd://0123"], mark).bookmark == mark


def test_the_last_time_is_that_of_the_last_line_that_has_one() -> None:
    assert last_time(stamped(1, "one") + b"no stamp\n" + b"2026-11-24 not one either") == at(1)
    assert last_time(b"") is None


# --- Clocks -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "after", "before", "expected"),
    [(100, 99, 101, 100), (98, 99, 101, 98), (103, 99, 101, 103), (3700, 99, 101, 101), (-3500, 99, 101, 99)],
    ids=["between two reads", "a moment early", "a moment late", "its clock is fast", "its clock is slow"],
)
def test_when_a_line_was_written_by_our_clock(line: float, after: float, before: float, expected: float) -> None:
    assert moment(at(line), at(after), at(before)) == at(expected)


def test_what_the_first_read_shows_may_be_old() -> None:
    assert moment(at(-3500), None, at(0)) == at(-3500)
    assert timedelta(0) < SAME_CLOCK < OVERLAP * 2


# --- Secrets and patterns ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("behind", [f" ERROR {SENTENCE}", '/getUpdates "HTTP/1.1 409 Conflict"'])
@pytest.mark.parametrize("length", [12, 20, 34])
def test_the_rest_of_a_token_that_begins_a_tail_is_not_shown(length: int, behind: str) -> None:
    latest = news([stamped(1, SECRET[-length:] + behind)], Bookmark(), ended=True)
    assert [SECRET[-length:] in each.evidence for _, each in latest.found] == [False]


TOKEN = f"7301948265:{SECRET}"
TELLING = [
    f'POST https://api.telegram.org/bot{TOKEN}/getUpdates "HTTP/1.1 409 Conflict" {{}}',
    f"bot {TOKEN} ERROR {SENTENCE}",
    f"ERROR token={TOKEN}: Conflict: terminated by other getUpdates request",
    f'{{"level":"error","token":"{TOKEN}","msg":"Conflict: terminated by other getUpdates request"}}',
    f"duel lost {TOKEN}",
]


@given(line=st.sampled_from(TELLING), before=st.integers(0, 120), cut=st.integers(0, 60))
def test_no_secret_is_shown_wherever_a_tail_begins_and_ends(line: str, before: int, cut: int) -> None:
    text = stamped(1, line[before:]) + stamped(9, line)
    for each in (text[: len(text) - cut], text):
        for _, found in news([each], Bookmark(), [compile_pattern("duel|lost|[0-9]:")], ended=True).found:
            shown = {SECRET[start : start + 12] for start in range(len(SECRET) - 11)}
            assert not [piece for piece in shown if piece in found.evidence]


def test_a_user_s_pattern_is_read_where_nothing_else_would_be() -> None:
    text = stamped(1, "duel lost")
    assert news([text], Bookmark()).found == ()
    assert len(news([text], Bookmark(), [compile_pattern("^duel lost")]).found) == 1
