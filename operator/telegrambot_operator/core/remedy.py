"""Whether the webhook is repaired: once for each change, where it makes no second poller, and never against others.

A webhook that is deleted lets polling begin, so it is deleted only while exactly one process may begin, and after a
search for others that have the token (core/strays_search.py). What has been repaired and is wrong again within a day,
with the same spec, is set by somebody else, whom the operator does not fight.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from ..api.models import Remedy, TelegramBotSpec
from ..names import EventReason, Reason
from .actions import FixWebhook
from .asking import wanted_url
from .classify import may_poll
from .conflicts import STILL_THERE, Conflicts
from .observed import Bot, Observed
from .strays_search import TOLD_AT_MOST, Question
from .webhooks import Hook, leading_to
from .word import Word

# A repair that is undone within this time was undone by somebody.
COMES_BACK = timedelta(hours=24)
# A repair that Telegram did not carry out is tried again after so long.
TRY_AGAIN = timedelta(minutes=5)


class Repairs(StrEnum):
    """What is done about a webhook that is not as the spec has it."""

    NOT_ASKED = "NotAsked"  # conflict.remedy: None
    NOW = "Now"
    WAITS = "Waits"  # it would make a second poller, or is not certain yet
    CAME_BACK = "CameBack"
    REFUSED = "Refused"  # by Telegram, a moment ago
    CERTIFICATE = "Certificate"  # a repair would lose it
    OTHERS = "Others"  # somebody else would begin to poll as well


@dataclass(frozen=True, slots=True)
class Repairing:
    """The verdict, and why, as the end of a sentence."""

    verdict: Repairs
    why: str = ""

    @property
    def person(self) -> bool:
        """Whether a person has to repair it."""
        return self.verdict not in {Repairs.NOW, Repairs.WAITS}


def repairing(
    seen: Observed, bot: Bot, spec: TelegramBotSpec, run: Conflicts | None, now: datetime
) -> Repairing | None:
    """Return what is done about the webhook; None where it is as it should be, or nothing is known of it."""
    if seen.word is None or seen.word.hook in {Hook.UNKNOWN, Hook.WANTED}:
        return None
    if spec.conflict.remedy is not Remedy.FIX_WEBHOOK:
        return Repairing(Repairs.NOT_ASKED)
    unsafe = _unsafe_to_delete if wanted_url(spec) is None else _unsafe_to_set
    return _tried(seen, bot, now) or unsafe(seen, seen.word, run) or Repairing(Repairs.NOW)


def _tried(seen: Observed, bot: Bot, now: datetime) -> Repairing | None:
    last = seen.word.repair if seen.word else None
    if last is None or last.generation != bot.generation:
        return None
    if not last.problem:
        when = f"{last.at:%Y-%m-%d %H:%M} UTC"
        again = f"it was repaired at {when} and has changed again, so something else sets it: find that"
        return Repairing(Repairs.CAME_BACK, again) if now - last.at < COMES_BACK else None
    if now - last.at >= TRY_AGAIN:
        return None
    why = f"Telegram did not carry out the repair ({last.problem}), which is tried again every five minutes"
    return Repairing(Repairs.REFUSED, why)


def _unsafe_to_set(seen: Observed, word: Word, run: Conflicts | None) -> Repairing | None:
    del run
    if word.certificate:
        why = "it has a certificate of its own, which a repair would lose: set the webhook yourself"
        return Repairing(Repairs.CERTIFICATE, why)
    return _not_yet(seen, word)


def _not_yet(seen: Observed, word: Word) -> Repairing | None:
    if not word.fresh or word.since is None:
        return Repairing(Repairs.WAITS, "it is repaired once Telegram has confirmed it")
    if not _one_may_poll(seen):
        return Repairing(Repairs.WAITS, "it is repaired once exactly one pod can be the bot")
    return None


def _unsafe_to_delete(seen: Observed, word: Word, run: Conflicts | None) -> Repairing | None:
    too_early = _not_yet(seen, word)
    if too_early is not None:
        return too_early
    if _others_poll(run):
        return Repairing(Repairs.OTHERS, "it is not deleted while a 409 shows that something else polls as well")
    found = seen.search
    if found is None or word.since is None or found.asked < word.since or not found.complete:
        return Repairing(Repairs.WAITS, "it is repaired once all pods were searched for others with the token")
    others = [stray.named for stray in found.strays if stray.ended is None]
    others += [f"a second container of {crowd.pod}" for crowd in found.crowds]
    why = f"it is not deleted, since {', '.join(sorted(others)[:TOLD_AT_MOST])} may poll as well: stop that first"
    return Repairing(Repairs.OTHERS, why) if others else None


def _one_may_poll(seen: Observed) -> bool:
    """Whether one pod, and nothing else that is known of, would begin to poll."""
    running = [pod for pod in seen.pods if may_poll(pod)]
    vanished = any(how is not None for how in seen.ended.values())
    mine = all(pod.metadata.namespace == seen.namespace and not pod.deleting for pod in running)
    return len(running) == 1 and mine and not vanished and seen.pods_unknown is None


_HARMLESS = {Reason.WEBHOOK_ACTIVE, Reason.WEBHOOK_SET, Reason.CAUSE_UNKNOWN}


def _others_poll(run: Conflicts | None) -> bool:
    """Whether a 409 of late was somebody else's poll."""
    if run is None or not run.active:
        return False
    came_back = run.cause is Reason.CAUSE_UNKNOWN and run.time - run.started >= STILL_THERE
    return came_back or run.cause not in _HARMLESS


def who_else(seen: Observed, bot: Bot, spec: TelegramBotSpec, now: datetime) -> Question | None:
    """Return the search that has to come before a webhook is deleted; None where none is to be."""
    word, token = seen.word, spec.token
    asks = spec.conflict.remedy is Remedy.FIX_WEBHOOK and wanted_url(spec) is None and token is not None
    if not asks or token is None or word is None or word.hook is not Hook.OTHER or not word.fresh or word.since is None:
        return None
    if _tried(seen, bot, now) is not None or spec.suspend:
        return None
    return Question(seen.namespace, token.secret_key_ref, seen.identity, bot.target, word.since)


def fix(seen: Observed, bot: Bot, spec: TelegramBotSpec, found: Repairing | None) -> Iterator[FixWebhook]:
    """Yield the repair of the webhook, if it is to be made now."""
    if found is None or found.verdict is not Repairs.NOW or spec.token is None or seen.word is None or spec.suspend:
        return
    url, host = wanted_url(spec), seen.word.host
    if url is None:
        reason = EventReason.WEBHOOK_DELETED
        why = f"The webhook{leading_to(host)} is deleted, so that the bot can poll; no update is lost."
    else:
        reason = EventReason.WEBHOOK_SET
        before = f"was set{leading_to(host)}" if seen.word.hook is Hook.OTHER else "was missing"
        why = f"The webhook {before} and is set as spec.webhook.url says, without a secret_token; no update is lost."
    yield FixWebhook(bot.namespace, seen.identity, spec.token.secret_key_ref, bot.generation, url, reason, why)


def seconds_until_again(seen: Observed, found: Repairing | None, now: datetime) -> float | None:
    """Return the seconds until a repair that Telegram refused is tried again, or None where there is none."""
    last = seen.word.repair if seen.word else None
    if last is None or found is None or found.verdict is not Repairs.REFUSED:
        return None
    return (last.at + TRY_AGAIN - now).total_seconds()
