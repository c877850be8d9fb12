"""What Telegram's server keeps for one bot, and the rules by which it lets one process at a time fetch updates.

The rules are those of Telegram's own server, tdlib/telegram-bot-api (Client.cpp), and of
https://core.telegram.org/bots/api#getting-updates:

1. One long poll per bot is parked. A newer getUpdates that has to wait evicts the parked one, which gets the 409:
   the victim is the older poller, not the one that caused it.
2. A getUpdates that finds updates is answered at once and evicts nobody. So is one with a time-out of 0, except that
   one with the offset of the call before it, within 3 s of that call, is made to wait for up to 3 s.
3. Within 3 s of an immediate 409 every further one is answered 3 s late.
4. A getUpdates while a webhook is set gets a 409; setWebhook with a new URL evicts the parked poll.
5. An offset confirms, and so drops, every update before it. A negative one keeps that many from the end.
6. Updates that a confirmed setting of allowed_updates leaves out are never queued.
7. There is no lease: the poll of a client that is gone is nobody's turn.
"""

from __future__ import annotations

import asyncio
import itertools
import secrets
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.bed.telegram_peer import Client

OTHER_POLL = "Conflict: terminated by other getUpdates request; make sure that only one bot instance is running"
WEBHOOK_SET = "Conflict: terminated by setWebhook request"
WEBHOOK_ACTIVE = (
    "Conflict: can't use getUpdates method while webhook is active; use deleteWebhook to delete the webhook first"
)
LONGEST_POLL = 50.0  # seconds, LONG_POLL_MAX_TIMEOUT of the server
BRAKE = 3.0  # seconds, rules 2 and 3

Result = Literal["waiting", "updates", "empty", "conflict", "gone", "failed"]


class ApiError(Exception):
    """An answer of the form {"ok": false}: HTTP status, Telegram's description, and seconds to wait for a 429."""

    def __init__(self, status: int, description: str, retry_after: int | None = None) -> None:
        super().__init__(description)
        self.status = status
        self.description = description
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True)
class Moment:
    """A point in time on both clocks, in seconds: `mono` for differences, `wall` to match with logs."""

    mono: float
    wall: float

    @classmethod
    def now(cls) -> Moment:
        """This moment."""
        return cls(time.monotonic(), time.time())


@dataclass(slots=True)
class Poll:
    """One getUpdates as the referee saw it. `ended` is None while it is still being answered."""

    client: Client
    offset: int
    timeout: float
    started: Moment
    parked: bool = False
    ended: Moment | None = None
    result: Result = "waiting"
    updates: int = 0
    description: str = ""


@dataclass(frozen=True, slots=True)
class Conflict:
    """One 409 to a getUpdates: when it was decided, Telegram's words, and the client that got it (the victim)."""

    at: Moment
    description: str
    client: Client

    @property
    def pid(self) -> int | None:
        """The victim's process."""
        return self.client.pid


@dataclass(slots=True)
class Webhook:
    """Where updates are delivered to. An empty URL means by getUpdates."""

    url: str = ""
    secret_token: str = ""
    max_connections: int = 40
    last_error_date: int = 0
    last_error_message: str = ""


@dataclass(slots=True)
class _Fault:
    method: str | None
    error: ApiError
    left: int


@dataclass(slots=True)
class _Turn:
    """The parked poll: its waiter is woken by updates (True), by nothing but time (timeout), or by a 409."""

    poll: Poll
    waiter: asyncio.Future[bool]
    connected: Callable[[], bool]


@dataclass
class Bot:
    """One bot on the emulator: its queue of updates, the parked poll, its webhook, and the referee's records."""

    username: str
    id: int
    token: str
    brake: float = BRAKE
    polls: list[Poll] = field(default_factory=list)
    conflicts: list[Conflict] = field(default_factory=list)
    sent: list[dict[str, Any]] = field(default_factory=list)
    asked: list[tuple[str, str]] = field(default_factory=list)  # each call: method in lower case, User-Agent
    pending: deque[dict[str, Any]] = field(default_factory=deque)
    confirmed: int = 0
    allowed_updates: tuple[str, ...] = ()
    commands: list[dict[str, str]] = field(default_factory=list)
    webhook: Webhook = field(default_factory=Webhook)
    webhook_free_at: float = 0.0  # on the monotonic clock

    def __post_init__(self) -> None:
        """Start update and message numbers somewhere, as Telegram does."""
        self._update_ids = itertools.count(secrets.randbelow(900_000_000) + 100_000_000)
        self._message_ids = itertools.count(1)
        self._turn: _Turn | None = None
        self._free_conflict_at = 0.0
        self._previous_offset: int | None = None
        self._previous_start = 0.0
        self._faults: list[_Fault] = []
        self._insisted = ""
        self._watchers: set[asyncio.Future[None]] = set()

    # What a test or a demo does with it

    @classmethod
    def new(cls, username: str | None = None, brake: float = BRAKE) -> Bot:
        """A bot with an id and a token shaped like real ones."""
        number = secrets.randbelow(8_999_999_999) + 1_000_000_000
        return cls(
            username=username or f"bed{number}_bot",
            id=number,
            token=f"{number}:AA{secrets.token_hex(32)[:33]}",
            brake=brake,
        )

    def send(self, text: str, chat_id: int = 4242) -> int | None:
        """Queue a private message of a user; returns its update id, or None when allowed_updates leaves it out."""
        if self.allowed_updates and "message" not in self.allowed_updates:
            return None
        update_id = next(self._update_ids)
        self.pending.append({"update_id": update_id, "message": self._message(text, chat_id)})
        self._wake_turn()
        self.notify()
        return update_id

    def set_webhook(self, url: str) -> None:
        """Set (or with an empty URL delete) the webhook, as somebody else's setWebhook request would."""
        if url and url != self.webhook.url:
            self._evict(WEBHOOK_SET)
        self.webhook = Webhook(url=url)
        if not url and self._insisted:
            self.webhook = Webhook(url=self._insisted)
        self.notify()

    def keep_webhook(self, url: str) -> None:
        """Set this webhook, and again whenever somebody deletes it, as a deployment in webhook mode does.

        An empty URL ends that and deletes it. Several libraries delete a webhook silently at start or on a 409, so
        without this they hardly ever meet one.
        """
        self._insisted = url
        self.set_webhook(url)

    def fail_next(
        self,
        status: int,
        *,
        n: int = 1,
        retry_after: int | None = None,
        method: str | None = "getUpdates",
        description: str = "",
    ) -> None:
        """Let the next `n` requests to `method` (None: to any) fail with this status; seconds for `retry_after`."""
        error = ApiError(status, description or usual_words(status, retry_after), retry_after)
        self._faults.append(_Fault(method.lower() if method else None, error, n))

    def polling_now(self) -> list[Client]:
        """The clients that are waiting for an answer to getUpdates at this moment, the oldest first."""
        return [poll.client for poll in self.polls if poll.ended is None]

    @property
    def last_poll(self) -> Poll | None:
        """The newest getUpdates, if there was one."""
        return self.polls[-1] if self.polls else None

    def polls_since(self, mono: float) -> list[Poll]:
        """The polls that started at or after this reading of the monotonic clock."""
        return [poll for poll in self.polls if poll.started.mono >= mono]

    def conflicts_since(self, mono: float) -> list[Conflict]:
        """The conflicts decided at or after this reading of the monotonic clock."""
        return [conflict for conflict in self.conflicts if conflict.at.mono >= mono]

    async def until(self, fact: Callable[[], object], timeout: float | None = 60.0) -> None:
        """Wait until `fact()` is true, looking again after every change of this bot.

        Raises TimeoutError with what was seen when it does not come true within `timeout` seconds (None: for ever).
        """
        try:
            async with asyncio.timeout(timeout):
                while not fact():
                    await self._change()
        except TimeoutError as error:
            raise TimeoutError(f"not true within {timeout:g} s; {self.summary()}") from error

    async def _change(self) -> None:
        changed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._watchers.add(changed)
        try:
            await changed
        finally:
            self._watchers.discard(changed)

    def summary(self) -> str:
        """One line for error messages: how many polls, conflicts and waiting updates."""
        return (
            f"@{self.username}: {len(self.polls)} polls by {len({poll.client.pid for poll in self.polls})} processes, "
            f"{len(self.conflicts)} conflicts, {len(self.pending)} updates waiting, last poll {self.last_poll}"
        )

    # What the server does with it

    def notify(self) -> None:
        """Tell everyone in `until` to look again."""
        for watcher in self._watchers:
            if not watcher.done():
                watcher.set_result(None)

    def raise_fault(self, method: str) -> None:
        """Raise the failure ordered for this method, if one is left."""
        for fault in self._faults:
            if fault.left > 0 and fault.method in {None, method}:
                fault.left -= 1
                raise fault.error

    async def get_updates(
        self, client: Client, connected: Callable[[], bool], *, offset: int, limit: int, timeout: float
    ) -> list[dict[str, Any]]:
        """Answer one getUpdates: the updates, or ApiError 409. Cancelling it frees the turn (rule 7)."""
        poll = Poll(client, offset, timeout, Moment.now())
        self.polls.append(poll)
        self.notify()
        try:
            updates = await self._answer(poll, connected, limit)
            poll.result, poll.updates = ("updates" if updates else "empty"), len(updates)
        except ApiError as error:
            poll.result, poll.description = ("conflict" if error.status == 409 else "failed"), error.description
            raise
        except asyncio.CancelledError:
            poll.result = "gone"
            raise
        finally:
            poll.ended = Moment.now()
            self.notify()
        return updates

    async def _answer(self, poll: Poll, connected: Callable[[], bool], limit: int) -> list[dict[str, Any]]:
        self.raise_fault("getupdates")
        if self.webhook.url:
            await self._refuse(poll, WEBHOOK_ACTIVE)
        limit, wait = self._slow_down(poll, limit)
        self.confirm(poll.offset)
        if not self.pending and wait > 0:
            await self._park(poll, connected, wait)
        return list(itertools.islice(self.pending, limit))

    def _slow_down(self, poll: Poll, limit: int) -> tuple[int, float]:
        """The second half of rule 2; a repeat within half a second also gets one update only."""
        since = poll.started.mono - self._previous_start
        repeated = poll.offset == self._previous_offset
        self._previous_offset, self._previous_start = poll.offset, poll.started.mono
        wait = min(poll.timeout, LONGEST_POLL)
        if repeated and since < self.brake:
            wait = max(wait, self.brake)
        return (1 if repeated and since < 0.5 else limit), wait

    def confirm(self, offset: int) -> None:
        """Drop the updates before `offset` (rule 5); `confirmed` is the next one that was not."""
        if offset < 0:
            offset = self.pending[offset]["update_id"] if len(self.pending) >= -offset else 0
        while self.pending and self.pending[0]["update_id"] < offset:
            self.confirmed = self.pending.popleft()["update_id"] + 1
        self.notify()

    def drop_pending(self) -> None:
        """Forget every waiting update, as drop_pending_updates asks."""
        self.pending.clear()
        self.notify()

    async def _park(self, poll: Poll, connected: Callable[[], bool], wait: float) -> None:
        self._evict(OTHER_POLL)
        turn = _Turn(poll, asyncio.get_running_loop().create_future(), connected)
        self._turn, poll.parked = turn, True
        self.notify()
        try:
            async with asyncio.timeout(wait):
                await turn.waiter
        except TimeoutError:
            pass
        except ApiError as error:
            await self._refuse(poll, error.description, recorded=True)
        finally:
            if self._turn is turn:
                self._turn = None

    def _wake_turn(self) -> None:
        if self._turn is not None and not self._turn.waiter.done():
            self._turn.waiter.set_result(True)
            self._turn = None

    def _evict(self, description: str) -> None:
        turn, self._turn = self._turn, None
        if turn is None or turn.waiter.done() or not turn.connected():
            return
        self._record(turn.poll, description)
        turn.waiter.set_exception(ApiError(409, description))

    def _record(self, poll: Poll, description: str) -> None:
        self.conflicts.append(Conflict(Moment.now(), description, poll.client))
        self.notify()

    async def _refuse(self, poll: Poll, description: str, *, recorded: bool = False) -> None:
        if not recorded:
            self._record(poll, description)
        now = time.monotonic()
        if now >= self._free_conflict_at:
            self._free_conflict_at = now + self.brake
        else:
            await asyncio.sleep(self.brake)
        raise ApiError(409, description)

    def _message(self, text: str, chat_id: int) -> dict[str, Any]:
        person = {"id": chat_id, "first_name": "Ada", "username": "ada"}
        message: dict[str, Any] = {
            "message_id": next(self._message_ids),
            "from": {**person, "is_bot": False, "language_code": "en"},
            "chat": {**person, "type": "private"},
            "date": int(time.time()),
            "text": text,
        }
        if text.startswith("/"):
            message["entities"] = [{"type": "bot_command", "offset": 0, "length": len(text.split(maxsplit=1)[0])}]
        return message

    def reply(self, chat_id: int, text: str) -> dict[str, Any]:
        """Record a message of the bot and return it as Telegram shows it to the sender."""
        message = self._message(text, chat_id)
        message["from"] = {"id": self.id, "is_bot": True, "first_name": self.username, "username": self.username}
        self.sent.append(message)
        self.notify()
        return message


def usual_words(status: int, retry_after: int | None) -> str:
    if status == 429:
        return f"Too Many Requests: retry after {retry_after or 0}"
    return {401: "Unauthorized", 403: "Forbidden", 404: "Not Found", 409: OTHER_POLL, 502: "Bad Gateway"}.get(
        status, "Internal Server Error"
    )
