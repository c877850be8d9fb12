"""What Telegram says of a bot, look by look, and what is made of it.

A look is `getWebhookInfo`, and now and then `getMe`. Neither touches the bot: no update is taken, no poll is cut off,
no setting changed.

1. That the token is refused counts when two looks in a row say so. That the webhook is not as the spec has it counts
   after some looks over ten seconds, since a bot that starts sets or deletes it itself; where a 409 has just said that
   the bot polls, two looks are enough.
2. Updates pile up while every look finds some, and no fewer than the one before: nobody has fetched any, or not as many
   as came in. A look that finds fewer, or none, shows that somebody has. A new process, or a look that comes late,
   begins the count anew; so does an operator that starts, which goes on saying what the status says until it knows.
   A bot that handles one update after the other may have one waiting at most moments, so there are many looks, and
   never at even times, which could meet each message of a steady stream at the same point.
3. Telegram keeps an update for 24 hours. Of a pile that is nearly that old only its end proves that somebody fetches.
4. What Telegram does not answer changes nothing.
5. Whoever answers as another bot than the token's is not Telegram: nothing of what is said there is used.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from ..api.models import SecretKeyRef
from ..names import Reason
from .silence import Unheard
from .webhooks import Hook, hook_of, host_of, without_address

# Between two looks at a bot that is well: soon after anything has changed, then ever more seldom.
SOON_SECONDS = 2.0
SELDOM_SECONDS = 180.0
# ... at what has to be seen twice before it counts, at what is wrong until it is not, at updates that pile up (about
# sixty times until they are too old, but within these bounds), and at a token that is refused.
CONFIRM_SECONDS = 3.0
WRONG_SECONDS = 15.0
PILE_SECONDS = (2.0, 10.0)
REFUSED_SECONDS = 60.0
# ... and after an answer that did not come, doubled each time.
RETRY_SECONDS = 5.0
LONGEST_RETRY = 120.0
# Who the bot is does not change; its username may.
WHO_SECONDS = 6 * 3600.0
# How a message begins that says of a token that Telegram refuses it.
REFUSED_WORDS = "Telegram does not know the token"
# So long may a bot take to set or delete its webhook, unless it has met a 409 in the last minute.
SETTLE_SECONDS = 10.0
JUST_NOW = timedelta(minutes=1)
# So many looks at least make a pile, and so many seconds between two break the run.
PILE_LOOKS = 3
DEAF_LOOKS = 12
LATE_SECONDS = 60.0
# Multiples of it, without their whole part, are spread evenly and never repeat.
GOLDEN = 0.6180339887498949
# Telegram keeps updates for 24 hours: https://core.telegram.org/bots/api#getting-updates
EXPIRY_SECONDS = 23 * 3600.0
# For how long an error of the last delivery is told, and for how long it counts against the bot.
TOLD = timedelta(hours=1)
RECENT = timedelta(minutes=10)
# A bot that has polled for so long since it was last restarted has its restarts back.
WELL_AGAIN = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Me:
    """Telegram's answer to `getMe`."""

    id: int
    username: str


@dataclass(frozen=True, slots=True)
class Info:
    """Telegram's answer to `getWebhookInfo`. The URL may hold a secret: it is compared, and only its host is shown."""

    url: str = field(default="", repr=False)
    pending: int = 0
    error_at: datetime | None = None
    error: str = field(default="", repr=False)
    max_connections: int | None = None
    certificate: bool = False


@dataclass(frozen=True, slots=True)
class Refused:
    """Telegram does not know the token: 401 or 404 in the form of the Bot API."""


@dataclass(frozen=True, slots=True)
class Said:
    """What one look has given. `me` is None where only the webhook was asked for."""

    info: Info
    me: Me | None = None


Answer = Said | Refused | Unheard


@dataclass(frozen=True, slots=True)
class Poller:
    """The one process that is to fetch the updates: a pod that is Ready, and the restarts of its containers."""

    pod: str
    uid: str
    restarts: int


@dataclass(frozen=True, slots=True)
class Ask:
    """What to ask Telegram about, and with the token of which Secret.

    `url`: where Telegram is to deliver to, None for a bot that polls. `after`: seconds until a pile is too old.
    `alarm`: when the latest 409 was read, which is a reason to look at once.
    """

    identity: str
    secret: SecretKeyRef
    url: str | None = field(default=None, repr=False)
    after: int = 300
    poller: Poller | None = None
    alarm: datetime | None = None


@dataclass(frozen=True, slots=True)
class Repair:
    """The last repair of the webhook: when, for which generation of the spec, and Telegram's refusal, if it was one."""

    at: datetime
    generation: int
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Word:
    """What decisions and the status need. It changes only when something does, so that a status does not flap.

    `fresh`: this operator has heard it itself, not only read it in the status. `since`: when it first has heard how the
    webhook stands now. `alarm`: the latest 409 that was known
    when Telegram was asked. `waiting`: at least so many updates pile up, in steps of 1, 2, 5; None while none do.
    `deaf`: for longer than the spec allows; `sure`: as seen by this operator from beginning to end. `stranger`: the id
    of the bot that answers in place of ours. `error`: why the last delivery failed that did; `failing`: they all do.
    """

    fresh: bool = False
    refused: bool = False
    stranger: int | None = None
    username: str = ""
    hook: Hook = Hook.UNKNOWN
    since: datetime | None = None
    host: str = ""
    certificate: bool = False
    alarm: datetime | None = None
    waiting: int | None = None
    deaf: bool = False
    sure: bool = False
    error: str = ""
    failing: bool = False
    repair: Repair | None = None
    restarts: int = 0
    restarted: datetime | None = None

    @property
    def is_odd(self) -> bool:
        """Whether anything is not as it should be."""
        return self.refused or self.deaf or self.failing or self.hook in {Hook.MISSING, Hook.OTHER}


@dataclass(frozen=True, slots=True)
class Heard:
    """What is known between two looks. Times are seconds of a steady clock.

    `since`: since when updates pile up; `pending`: how many there were at the last look; `looks`: how many looks that
    run has. `odd`: looks in a row at which the webhook was not as it should be. `last`: when Telegram last answered.
    """

    word: Word = Word()
    since: float | None = None
    pending: int = 0
    looks: int = 0
    odd: int = 0
    odd_since: float = 0.0
    refusals: int = 0
    failures: int = 0
    calm: int = 0
    last: float | None = None
    asked_who: float | None = None
    pause: float = 0.0

    def asks_who(self, now: float) -> bool:
        """Return whether it is time to ask who the bot is."""
        return self.asked_who is None or now - self.asked_who >= WHO_SECONDS


# --- Before the first look ------------------------------------------------------------------------------------------


def remembered(status: Mapping[str, Any], ask: Ask) -> Heard:
    """Return what the status says that Telegram has said: it holds until Telegram says something else."""
    conditions: list[Mapping[str, Any]] = status.get("conditions") or []
    ready = next((each for each in conditions if each.get("type") == "Ready"), {})
    reason, message = str(ready.get("reason")), str(ready.get("message"))
    hook = status.get("webhook") or {}
    past = status.get("notPolling") or {}
    same = ask.poller is not None and (ask.poller.pod, ask.poller.restarts) == (
        status.get("pod"),
        status.get("restarts"),
    )
    word = Word(
        refused=message.startswith(REFUSED_WORDS),
        username=_remembered_username(status, ask),
        hook=_remembered_hook(reason, status, ask),
        host=str(hook.get("host") or ""),
        waiting=hook.get("pendingUpdates"),
        deaf=same and reason == Reason.NOT_POLLING,
        error=str(hook.get("lastError") or ""),
        failing=reason == Reason.WEBHOOK_FAILING,
        repair=_remembered_repair(hook.get("repaired")),
        restarts=int(past.get("restarts") or 0),
        restarted=_time(past.get("lastRestart")),
    )
    return Heard(word, pending=word.waiting or 0, calm=10 if word.username and not word.is_odd else 0)


def _remembered_username(status: Mapping[str, Any], ask: Ask) -> str:
    """Return what Telegram has called this very bot: the Secret may hold another one's token by now."""
    told = status.get("bot") or {}
    return str(told.get("username") or "") if str(told.get("id")) == ask.identity else ""


def _remembered_hook(reason: str, status: Mapping[str, Any], ask: Ask) -> Hook:
    """Return how the webhook stood: as it should, unless the status says otherwise, or Telegram was not asked yet."""
    if not _remembered_username(status, ask):
        return Hook.UNKNOWN
    if reason == Reason.WEBHOOK_MISSING:
        return Hook.MISSING
    hooked = ask.url is None and (status.get("webhook") or {}).get("host")
    return Hook.OTHER if hooked or reason == Reason.WEBHOOK_ELSEWHERE else Hook.WANTED


def _remembered_repair(written: Mapping[str, Any] | None) -> Repair | None:
    at = _time((written or {}).get("time"))
    if written is None or at is None:
        return None
    return Repair(at, int(written.get("generation") or 0), str(written.get("problem") or ""))


def _time(text: object) -> datetime | None:
    try:
        return datetime.fromisoformat(str(text))
    except ValueError:
        return None


def is_news(before: Word, after: Word) -> bool:
    """Return whether decisions may depend on what has changed: that a bot is well, as it was before, is no news."""
    confirmed = after.fresh and not before.fresh and (after.hook is not Hook.WANTED or after.deaf)
    return confirmed or replace(before, fresh=after.fresh, since=after.since) != after


# --- A look ---------------------------------------------------------------------------------------------------------


def asks_otherwise(heard: Heard, before: Ask, now: Ask) -> Heard:
    """Return what is known once something else is asked for: of a new process nothing is known."""
    if (before.identity, before.secret) != (now.identity, now.secret):
        kept = Word(repair=heard.word.repair, restarts=heard.word.restarts, restarted=heard.word.restarted)
        return Heard(kept)
    word = heard.word
    if before.poller != now.poller:
        word = replace(word, deaf=False, sure=False, failing=False)
    if before.url != now.url:
        word = replace(word, hook=Hook.UNKNOWN, since=None, failing=False)
    return replace(heard, word=word, since=None, looks=0, odd=0, calm=0)


def hear(heard: Heard, ask: Ask, answer: Answer, now: float, today: datetime) -> Heard:
    """Return what is known after an answer that came now; `today` is the same moment on the clock on the wall."""
    match answer:
        case Unheard():
            pause = max(answer.after, min(LONGEST_RETRY, RETRY_SECONDS * 2**heard.failures))
            return replace(heard, failures=min(heard.failures + 1, 10), pause=pause)
        case Refused():
            return _refused(heard)
        case Said():
            known = replace(heard, failures=0, refusals=0)
            if answer.me is not None:
                known = _who(known, ask, answer.me, now)
            if known.word.stranger is not None:
                return replace(known, since=None, looks=0, odd=0, last=now, pause=SELDOM_SECONDS)
            return _looked(known, ask, answer.info, now, today)


def _refused(heard: Heard) -> Heard:
    certain = heard.refusals >= 1 or heard.word.refused
    word = replace(heard.word, fresh=True, refused=certain, deaf=False, sure=False, failing=False)
    pause = REFUSED_SECONDS if certain else CONFIRM_SECONDS
    return replace(heard, word=word, refusals=heard.refusals + 1, failures=0, since=None, looks=0, pause=pause)


def _who(heard: Heard, ask: Ask, me: Me, now: float) -> Heard:
    if str(me.id) != ask.identity:
        past = heard.word
        word = Word(True, stranger=me.id, repair=past.repair, restarts=past.restarts, restarted=past.restarted)
        return replace(heard, word=word, asked_who=None)
    return replace(heard, word=replace(heard.word, stranger=None, username=me.username), asked_who=now)


def _looked(heard: Heard, ask: Ask, info: Info, now: float, today: datetime) -> Heard:
    seen = replace(_piled(heard, ask, info.pending, now), last=now)
    hook = hook_of(info.url, ask.url)
    odd = 0 if hook is Hook.WANTED else heard.odd + 1
    odd_since = heard.odd_since if heard.odd else now
    polls = ask.alarm is not None and today - ask.alarm < JUST_NOW
    certain = odd > 1 and (polls or now - odd_since >= SETTLE_SECONDS)
    word = replace(heard.word, fresh=True, refused=False, alarm=ask.alarm)
    if hook is Hook.WANTED or certain or hook is heard.word.hook:
        since = word.since if hook is word.hook and word.since is not None else today
        word = replace(word, hook=hook, since=since, host=host_of(info.url), certificate=info.certificate)
    word = _deafness(heard, seen, ask, word, now, today)
    word = _delivery(seen, ask, word, info, today)
    seen = replace(seen, word=word, odd=odd, odd_since=odd_since, calm=0 if odd else min(seen.calm + 1, 10))
    return replace(seen, pause=_pause(seen, ask))


def _piled(heard: Heard, ask: Ask, pending: int, now: float) -> Heard:
    """Count a look into the run in which updates pile up, or begin a new one."""
    if not pending:
        return replace(heard, since=None, looks=0, pending=0)
    in_time = heard.last is not None and now - heard.last <= max(LATE_SECONDS, ask.after / 2)
    if heard.since is None or not in_time:
        return replace(heard, since=now, looks=1, pending=pending)
    if _fell(heard, pending, now):
        return replace(heard, since=None, looks=0, pending=pending)
    return replace(heard, looks=heard.looks + 1, pending=pending)


def _fell(heard: Heard, pending: int, now: float) -> bool:
    if pending >= heard.pending:
        return False
    expires = heard.word.deaf and heard.since is not None and now - heard.since >= EXPIRY_SECONDS
    return not expires


def _deafness(heard: Heard, seen: Heard, ask: Ask, word: Word, now: float, today: datetime) -> Word:
    """Whether the process fetches nothing; and that updates pile up, whoever should fetch them, if it goes on."""
    long = seen.looks >= PILE_LOOKS and seen.since is not None and now - seen.since >= ask.after / 2
    polls = ask.poller is not None and ask.url is None and word.hook is not Hook.OTHER
    old = seen.since is not None and now - seen.since >= ask.after and seen.looks >= DEAF_LOOKS
    still = heard.word.deaf and seen.pending > 0 and not _fell(heard, seen.pending, now)
    deaf = polls and (old or still)
    waiting = at_least(seen.pending) if long or deaf else None
    word = replace(word, waiting=waiting, deaf=deaf, sure=polls and old)
    well = word.restarted is not None and today - word.restarted >= WELL_AGAIN and not deaf
    return replace(word, restarts=0, restarted=None) if well else word


def _delivery(seen: Heard, ask: Ask, word: Word, info: Info, today: datetime) -> Word:
    """Whether Telegram says that it cannot deliver, and whether updates pile up for that."""
    ago = today - info.error_at if info.error_at is not None and info.url else None
    delivers = ask.url is not None and word.hook is Hook.WANTED and ask.poller is not None
    begins = ago is not None and ago < RECENT and seen.looks >= PILE_LOOKS
    failing = delivers and ago is not None and seen.pending > 0 and (begins or word.failing)
    told = ago is not None and (ago < TOLD or failing)
    waiting = at_least(seen.pending) if failing else word.waiting
    return replace(word, error=without_address(info.error, info.url) if told else "", failing=failing, waiting=waiting)


def _pause(heard: Heard, ask: Ask) -> float:
    if heard.odd and heard.word.hook in {Hook.UNKNOWN, Hook.WANTED}:
        return CONFIRM_SECONDS
    if heard.odd or heard.word.deaf or heard.word.failing:
        return WRONG_SECONDS
    if heard.since is None:
        return min(SELDOM_SECONDS, SOON_SECONDS * 2.0**heard.calm)
    if ask.url is None:
        least, most = PILE_SECONDS
        return max(least, min(most, ask.after / 60)) * (0.5 + heard.looks * GOLDEN % 1)
    return CONFIRM_SECONDS if heard.looks < PILE_LOOKS else WRONG_SECONDS


def waiting_sentence(waiting: int | None) -> str:
    """Return how many updates wait, as the beginning of a sentence; where not even steps tell, that some do."""
    return (
        "updates wait" if waiting is None else "1 update waits" if waiting == 1 else f"at least {waiting} updates wait"
    )


def at_least(count: int) -> int:
    """Return the largest of 1, 2, 5, 10, 20, 50, ... that is not above the count: a status need not tell each one."""
    step = int(10 ** (len(str(count)) - 1))
    return next(step * digit for digit in (5, 2, 1) if step * digit <= count)
