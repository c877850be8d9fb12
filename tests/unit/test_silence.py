"""What is made of Telegram's answers: each case is a short story of polls, and what is known at its end."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telegrambot_operator.core.silence import (
    LONGEST_RETRY,
    Answer,
    CutOff,
    Ear,
    Hooked,
    Nothing,
    Sound,
    Unheard,
    Waiting,
    hear,
)

WINDOW = 330.0
NOTHING, CUT, HOOKED = Nothing(), CutOff(), Hooked()
DOWN = Unheard("HTTP 502")

# A poll: what was answered, and after how many seconds. A number is a pause beyond the one that was asked for.
Story = Sequence[tuple[Answer, float] | float]


def after(story: Story, *, polls: bool = True) -> Ear:
    """What is known at the end of a story whose clock begins at 1,000 s."""
    ear, now = Ear(WINDOW), 1000.0
    for step in story:
        if isinstance(step, float):
            now += step
            continue
        asked = now
        now = asked + step[1]
        ear = hear(ear, step[0], asked, now, polls=polls)
        now += ear.pause
    return ear


PARKED = (NOTHING, 50.0)
WHOLE: list[tuple[Answer, float]] = [PARKED] * 6 + [(NOTHING, 30.0)]


def waiting(oldest: int, looks: int) -> list[tuple[Answer, float]]:
    """So many looks at updates that wait; there are five seconds between two."""
    return [(Waiting(oldest), 0.0)] * looks


STORIES: dict[str, tuple[Story, Sound]] = {
    "nothing was asked yet: listening": ([], Sound.LISTENING),
    "one poll that nobody cut off: listening": ([PARKED], Sound.LISTENING),
    "a second less than the window: listening": ([PARKED] * 6 + [(NOTHING, 29.0)], Sound.LISTENING),
    "nobody for the whole window: silent": (WHOLE, Sound.SILENT),
    "... and it lasts as long as the listening": ([*WHOLE, PARKED, PARKED], Sound.SILENT),
    "cut off by another poll: heard": ([(CUT, 3.0)], Sound.HEARD),
    "cut off just before the end: heard": ([PARKED] * 6 + [(CUT, 29.0)], Sound.HEARD),
    "cut off after the window: the silence is over": ([*WHOLE, (CUT, 1.0)], Sound.HEARD),
    "heard, and listening again: still heard": ([(CUT, 3.0), PARKED], Sound.HEARD),
    "heard, and then nobody for a whole window: silent": ([(CUT, 3.0), *WHOLE], Sound.SILENT),
    "heard, and then nobody for a second less: still heard": (
        [(CUT, 3.0), *[PARKED] * 6, (NOTHING, 29.0)],
        Sound.HEARD,
    ),
    "updates wait and nobody takes them for the whole window: silent": (waiting(7, 67), Sound.SILENT),
    "... one look less: listening": (waiting(7, 66), Sound.LISTENING),
    "the oldest update is another one: somebody took it": ([*waiting(7, 3), *waiting(8, 1)], Sound.HEARD),
    "no update waits any more: somebody took them": ([*waiting(7, 3), PARKED], Sound.HEARD),
    "an update comes in while nobody polls: listening": ([PARKED, *waiting(7, 3)], Sound.LISTENING),
    "... and it counts on": ([*[PARKED] * 6, *waiting(7, 7)], Sound.SILENT),
    "Telegram did not answer: it cannot tell": ([PARKED, (DOWN, 1.0)], Sound.CANNOT),
    "... and it begins anew": ([*[PARKED] * 6, (DOWN, 1.0), PARKED], Sound.LISTENING),
    "... the whole window": ([*[PARKED] * 6, (DOWN, 1.0), *WHOLE], Sound.SILENT),
    "no answer after the window: the silence is over": ([*WHOLE, (DOWN, 1.0)], Sound.CANNOT),
    "who was heard before an outage was heard no more": ([(CUT, 3.0), (DOWN, 1.0), PARKED], Sound.LISTENING),
    "the operator stood still between two polls: it begins anew": ([*[PARKED] * 6, 11.0, PARKED], Sound.LISTENING),
    "... for a moment only: it goes on": ([*[PARKED] * 6, 9.0, PARKED], Sound.SILENT),
    "the operator stood still during a poll: nothing counts": ([(NOTHING, 400.0)], Sound.LISTENING),
    "... and what was learned before does not either": ([*waiting(7, 3), (NOTHING, 400.0)], Sound.LISTENING),
    "a webhook is set, and the bot is to poll: it cannot tell": ([(HOOKED, 0.0)] * 100, Sound.CANNOT),
}


@pytest.mark.parametrize(("story", "expected"), STORIES.values(), ids=STORIES)
def test_a_story(story: Story, expected: Sound) -> None:
    assert after(story).sound is expected


WEBHOOKS: dict[str, tuple[Story, Sound]] = {
    "for the whole window: nobody could poll": ([(HOOKED, 0.0)] * 67, Sound.SILENT),
    "one look less: listening": ([(HOOKED, 0.0)] * 66, Sound.LISTENING),
    "it was deleted: it begins anew": ([*[(HOOKED, 0.0)] * 60, PARKED], Sound.LISTENING),
    "it was set meanwhile: it begins anew": ([*[PARKED] * 6, *[(HOOKED, 0.0)] * 10], Sound.LISTENING),
}


@pytest.mark.parametrize(("story", "expected"), WEBHOOKS.values(), ids=WEBHOOKS)
def test_a_webhook_of_a_bot_that_is_not_to_poll(story: Story, expected: Sound) -> None:
    assert after(story, polls=False).sound is expected


# --- How long a poll is parked, and how long nobody polls -----------------------------------------------------------


def test_the_last_poll_ends_with_the_window() -> None:
    assert [after([PARKED] * 6).timeout(1300.0), after([PARKED] * 6).timeout(1329.5)] == [31, 1]


def test_a_poll_is_never_longer_than_telegram_parks_it_nor_shorter_than_a_second() -> None:
    assert (after([]).timeout(1000.0), after(WHOLE).timeout(9999.0), after([PARKED]).timeout(9999.0)) == (50, 50, 1)


def test_while_updates_wait_a_look_is_parked_for_no_time_and_so_cuts_off_nobody() -> None:
    assert after(waiting(7, 3)).timeout(1015.0) == 0


def test_who_was_heard_is_left_alone_for_longer_than_another_operator_listens() -> None:
    assert after([(CUT, 1.0)]).pause > WINDOW + LONGEST_RETRY


def test_an_outage_is_met_with_patience() -> None:
    assert [after([(DOWN, 1.0)] * count).pause for count in (1, 2, 3, 4, 5, 50)] == [5.0, 10.0, 20.0, 40.0, 60.0, 60.0]


def test_the_patience_starts_again_once_telegram_has_answered() -> None:
    assert after([*[(DOWN, 1.0)] * 5, PARKED, (DOWN, 1.0)]).pause == 5.0


def test_telegrams_own_wish_goes_before() -> None:
    assert after([(Unheard("HTTP 429", 90.0), 0.0)]).pause == 90.0


def test_a_parked_poll_is_followed_at_once_by_the_next_so_that_nobody_slips_in_between() -> None:
    assert after([PARKED]).pause == 0.0


def test_why_telegram_does_not_tell_is_kept_until_it_does() -> None:
    assert (after([(DOWN, 1.0)]).why, after([(DOWN, 1.0), PARKED]).why) == ("HTTP 502", "")


# --- Any story ------------------------------------------------------------------------------------------------------

ANSWERS = st.one_of(
    st.just(NOTHING), st.just(NOTHING), st.integers(1, 2).map(Waiting), st.just(CUT), st.just(HOOKED), st.just(DOWN)
)


@given(st.lists(st.tuples(ANSWERS, st.sampled_from([0.0, 1.0, 29.0, 50.0, 100.0])), max_size=40), st.booleans())
def test_silence_is_a_whole_window_of_answers_none_of_which_speaks_against_it(
    polls: list[tuple[Answer, float]], to_poll: bool
) -> None:
    ear, now, quiet_since = Ear(WINDOW), 0.0, None
    for answer, took in polls:
        quiet_since = now if quiet_since is None else quiet_since
        if isinstance(answer, CutOff | Unheard) or took > 60 or (to_poll and isinstance(answer, Hooked)):
            quiet_since = None
        ear = hear(ear, answer, now, now + took, polls=to_poll)
        now += took
        if ear.sound is Sound.SILENT:
            assert quiet_since is not None
            assert now - quiet_since >= WINDOW
        now += ear.pause
