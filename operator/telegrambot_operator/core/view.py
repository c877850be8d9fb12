"""What all verdicts on one bot look at, the form they have, and the sentences that several of them say."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..names import ConditionType, Reason
from .conflicts import Conflicts
from .holds import goes_first, identity_winner
from .observed import Bot, Observed, TokenState
from .ownership import named_in
from .plan import Plan
from .records import Pod
from .silence import Silence, Sound
from .word import REFUSED_WORDS


@dataclass(frozen=True, slots=True)
class Verdict:
    """A condition before it has times: its status ("True", "False", "Unknown"), reason and message."""

    status: str
    reason: Reason
    message: str


def yes(reason: Reason, message: str) -> Verdict:
    """The condition is True."""
    return Verdict("True", reason, message)


def no(reason: Reason, message: str) -> Verdict:
    """The condition is False."""
    return Verdict("False", reason, message)


def unknown(reason: Reason, message: str) -> Verdict:
    """The condition cannot be known."""
    return Verdict("Unknown", reason, message)


@dataclass(frozen=True, slots=True)
class View:
    """What all verdicts look at, worked out once."""

    seen: Observed
    bot: Bot
    plan: Plan
    conflicts: Conflicts | None
    pod: Pod | None
    pollers: tuple[Pod, ...]

    @property
    def silence(self) -> Silence | None:
        """What listening to Telegram has led to so far, where there is somebody to listen for."""
        return self.seen.silence if self.plan.listen is not None else None

    @property
    def listens(self) -> bool:
        """Whether Telegram's silence may prove soon that a process on a lost node is dead."""
        return self.silence is not None and self.silence.sound in {Sound.LISTENING, Sound.SILENT}

    def said_before(self, kind: ConditionType) -> Mapping[str, Any] | None:
        """Return the condition as it was last written, or None on the first visit."""
        conditions: list[Mapping[str, Any]] = self.bot.status.get("conditions") or []
        return next((each for each in conditions if each.get("type") == kind), None)


def where(pod: Pod, view: View) -> str:
    """Name a pod; one of another namespace only by that fact, since the reader may not be allowed to know more."""
    return named_in(view.bot.namespace, pod)


def listed(items: list[str]) -> str:
    """Return the items in a fixed order, so that the same world gives the same sentence."""
    return ", ".join(sorted(items))


def duplicate_sentence(view: View) -> str:
    """Say which TelegramBot holds the identity; one of another namespace only by that fact."""
    winner = identity_winner(view.seen, view.bot)
    if winner is None:
        return ""
    near = winner.namespace == view.bot.namespace
    named = f"TelegramBot {winner.name}" if near else "a TelegramBot of another namespace"
    first = goes_first(winner, view.bot)
    return f"{named} {first} and runs the same bot; this one gets no pod. Delete one of the two"


def token_problem(view: View) -> Verdict | None:
    """Return what is wrong with the bot's token, or None where it is good, unreadable for us, or not given."""
    ref = view.bot.spec.token.secret_key_ref if view.bot.spec and view.bot.spec.token else None
    if ref is None:
        return None
    match view.seen.token.state:
        case TokenState.SECRET_NOT_FOUND:
            why = f"there is no Secret {ref.name}; create it, or correct spec.token.secretKeyRef.name"
        case TokenState.KEY_NOT_FOUND:
            why = f"Secret {ref.name} has no key {ref.key}; add it, or correct spec.token.secretKeyRef.key"
        case TokenState.EMPTY:
            why = f"key {ref.key} of Secret {ref.name} is empty; put the bot token there"
        case TokenState.NOT_A_TOKEN:
            why = (
                f"key {ref.key} of Secret {ref.name} does not hold a bot token (digits, a colon, then 35 characters); "
                "put there what @BotFather gave"
            )
        case TokenState.VALID if view.seen.word is not None and view.seen.word.refused:
            why = (
                f"{REFUSED_WORDS} in key {ref.key} of Secret {ref.name}: it was revoked, or belongs "
                "to another server; put the bot's present token there. The pod that runs is left alone"
            )
        case _:
            return None
    invalid = view.seen.token.state in {TokenState.NOT_A_TOKEN, TokenState.VALID}
    return no(Reason.TOKEN_INVALID if invalid else Reason.TOKEN_NOT_FOUND, why)
