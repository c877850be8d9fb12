"""Whether anybody fetches a bot's updates, as a long poll of our own hears it, answer by answer.

What Telegram's own server does (tdlib/telegram-bot-api, Client.cpp):
1. Our poll has no offset, so it confirms nothing and takes no update away from anybody.
2. While no update waits, the poll is parked there; a newer one that has to wait as well cuts it off with a 409.
3. While updates wait, every poll is answered at once. Who really fetches them confirms them: the oldest one changes.

What we make of it:
4. Neither of the two for a whole window without a break: nobody polls. The window is longer than the longest pause
   that a live poller makes. An answer that is missing or late, and a poll that comes late, are breaks.
5. Who was heard is left alone for longer than a window, since each poll of ours cuts off one of its own. Of two
   operators that listen, the one that is cut off so leaves the other a whole window.
6. With a webhook set nobody can poll; but a process that polls may live, and polls again once the webhook is gone. So
   that proves something only for a bot that is not to poll at all.
7. Silence lasts while the listening does, and no longer.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

# Telegram parks a poll for at most 50 s: LONG_POLL_MAX_TIMEOUT.
LONGEST_POLL = 50
# Between two looks at updates that wait.
LOOK_SECONDS = 5.0
# How late an answer or a poll may be before what happened meanwhile counts as unheard.
LATE_SECONDS = 10.0
# Before Telegram is asked again that would not answer as it should, doubled each time ...
RETRY_SECONDS = 5.0
LONGEST_RETRY = 60.0
# ... and for how many windows whoever was heard is left alone.
LEFT_ALONE = 1.5


@dataclass(frozen=True, slots=True)
class Nothing:
    """No update waits, and nobody cut the poll off."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """Updates wait; this is the id of the oldest."""

    oldest: int


@dataclass(frozen=True, slots=True)
class CutOff:
    """A 409: somebody else polls, or has just set a webhook."""


@dataclass(frozen=True, slots=True)
class Hooked:
    """A 409: a webhook is set."""


@dataclass(frozen=True, slots=True)
class Unheard:
    """Anything else, in words without the token; `after` is how many seconds Telegram asks us to wait."""

    why: str
    after: float = 0.0


Answer = Nothing | Waiting | CutOff | Hooked | Unheard


class Sound(StrEnum):
    """What has been heard."""

    LISTENING = "Listening"  # nothing so far
    HEARD = "Heard"  # somebody polls
    SILENT = "Silent"  # nothing for the whole window: nobody polls
    CANNOT = "Cannot"  # Telegram does not tell


# A pod that may have left a process, by uid, and its node.
Target = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Silence:
    """What listening for these pods has led to so far. `until` is when the window ends, where one is under way."""

    about: frozenset[Target]
    sound: Sound
    until: datetime | None = None
    why: str = ""


@dataclass(frozen=True, slots=True)
class Ear:
    """What is known between two polls. Times are seconds of a steady clock.

    `since`: since when nothing was heard, without a break; None where the next poll begins a new window.
    `last`: when the last answer came. `pause`: how long to wait before the next poll.
    """

    window: float
    sound: Sound = Sound.LISTENING
    since: float | None = None
    last: float | None = None
    oldest: int | None = None
    hooked: bool = False
    pause: float = 0.0
    failures: int = 0
    why: str = ""

    def timeout(self, now: float) -> int:
        """Return for how many seconds the next poll is to be parked: not beyond the end of the window.

        While updates wait it is a look that need not be parked, and so cuts off nobody who took them meanwhile.
        """
        if self.oldest is not None:
            return 0
        left = self.window if self.since is None else self.since + self.window - now
        return LONGEST_POLL if self.sound is Sound.SILENT else max(1, min(LONGEST_POLL, int(left) + 1))


def hear(ear: Ear, answer: Answer, asked: float, now: float, *, polls: bool = True) -> Ear:
    """Return what is known after an answer that came now to a poll of `asked`. `polls`: the bot is meant to poll."""
    if ear.last is not None and asked - ear.last > ear.pause + LATE_SECONDS:
        ear = replace(ear, since=None, oldest=None)
    if now - asked > LONGEST_POLL + LATE_SECONDS:
        ear, asked = replace(ear, since=None, oldest=None), now
    match answer:
        case CutOff():
            return _heard(ear)
        case Unheard():
            return _unheard(ear, answer.why, answer.after)
        case Hooked():
            if polls:
                return _unheard(
                    ear, "a webhook is set, and who polls may do so again once it is deleted", LONGEST_RETRY
                )
            return _quiet(ear, asked, now, None, hooked=True)
        case Waiting():
            return _heard(ear) if ear.oldest not in {None, answer.oldest} else _quiet(ear, asked, now, answer.oldest)
        case Nothing():
            return _heard(ear) if ear.oldest is not None else _quiet(ear, asked, now, None)


def _heard(ear: Ear) -> Ear:
    return Ear(ear.window, Sound.HEARD, pause=ear.window * LEFT_ALONE)


def _unheard(ear: Ear, why: str, after: float) -> Ear:
    pause = max(after, min(LONGEST_RETRY, RETRY_SECONDS * 2**ear.failures))
    return Ear(ear.window, Sound.CANNOT, pause=pause, failures=min(ear.failures + 1, 10), why=why)


def _quiet(ear: Ear, asked: float, now: float, oldest: int | None, *, hooked: bool = False) -> Ear:
    since = asked if ear.since is None or ear.hooked is not hooked else ear.since
    at_once = oldest is not None or hooked
    still = Sound.HEARD if ear.sound is Sound.HEARD else Sound.LISTENING
    return Ear(
        window=ear.window,
        sound=Sound.SILENT if now - since >= ear.window else still,
        since=since,
        last=now,
        oldest=oldest,
        hooked=hooked,
        pause=min(LOOK_SECONDS, ear.window / 5) if at_once else 0.0,
    )
