"""Whether the webhook is repaired: once for each change, where it makes no second poller, and never against others.

A webhook that is deleted lets polling begin, so it is deleted only while exactly one process may begin. What has been
repaired and is wrong again within a day, with the same spec, is set by somebody else, whom the operator does not fight.
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
from .conflicts import STILL_THERE, conflicts
from .observed import Bot, Observed
from .webhooks import Hook

# A repair that is undone within this time was undone by somebody.
COMES_BACK = timedelta(hours=24)
# A repair that Telegram refused is tried again after so long.
TRY_AGAIN = timedelta(minutes=5)


class Repairs(StrEnum):
    """What is done about a webhook that is not as the spec has it."""

    NOT_ASKED = "NotAsked"  # conflict.remedy: None
    NOW = "Now"
    WAITS = "Waits"  # it would make a second poller, or is not certain yet
    CAME_BACK = "CameBack"
    REFUSED = "Refused"  # by Telegram
    CERTIFICATE = "Certificate"  # a repair would lose it


@dataclass(frozen=True, slots=True)
class Repairing:
    """The verdict, and why, as the end of a sentence."""

    verdict: Repairs
    why: str = ""

    @property
    def person(self) -> bool:
        """Whether a person has to repair it."""
        return self.verdict not in {Repairs.NOW, Repairs.WAITS}


def repairing(seen: Observed, bot: Bot, spec: TelegramBotSpec, now: datetime) -> Repairing | None:
    """Return what is done about the webhook; None where it is as it should be, or nothing is known of it."""
    if seen.word is None or seen.word.hook in {Hook.UNKNOWN, Hook.WANTED}:
        return None
    if spec.conflict.remedy is not Remedy.FIX_WEBHOOK:
        return Repairing(Repairs.NOT_ASKED)
    return _tried(seen, bot, now) or _unsafe(seen, spec, now) or Repairing(Repairs.NOW)


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
    return Repairing(Repairs.REFUSED, f"Telegram refused the repair: {last.problem}")


def _unsafe(seen: Observed, spec: TelegramBotSpec, now: datetime) -> Repairing | None:
    if wanted_url(spec) is not None and seen.word is not None and seen.word.certificate:
        why = "it has a certificate of its own, which a repair would lose: set the webhook yourself"
        return Repairing(Repairs.CERTIFICATE, why)
    if not (seen.word and seen.word.fresh):
        return Repairing(Repairs.WAITS, "it is repaired once Telegram has confirmed it")
    if not _one_may_poll(seen) or _others_poll(seen, spec, now):
        return Repairing(Repairs.WAITS, "it is repaired once exactly one pod can be the bot")
    return None


def _one_may_poll(seen: Observed) -> bool:
    """Whether one pod, and nothing else that is known of, would begin to poll."""
    running = [pod for pod in seen.pods if may_poll(pod)]
    vanished = any(how is not None for how in seen.ended.values())
    mine = all(pod.metadata.namespace == seen.namespace and not pod.deleting for pod in running)
    return len(running) == 1 and mine and not vanished and seen.pods_unknown is None


_HARMLESS = {Reason.WEBHOOK_ACTIVE, Reason.WEBHOOK_SET, Reason.CAUSE_UNKNOWN}


def _others_poll(seen: Observed, spec: TelegramBotSpec, now: datetime) -> bool:
    """Whether a 409 of late was somebody else's poll."""
    run = conflicts(seen, timedelta(seconds=spec.conflict.clear_after_seconds), now)
    if run is None or not run.active:
        return False
    came_back = run.cause is Reason.CAUSE_UNKNOWN and run.time - run.started >= STILL_THERE
    return came_back or run.cause not in _HARMLESS


def fix(seen: Observed, bot: Bot, spec: TelegramBotSpec, now: datetime) -> Iterator[FixWebhook]:
    """Yield the repair of the webhook, if it is to be made now."""
    found = repairing(seen, bot, spec, now)
    if found is None or found.verdict is not Repairs.NOW or spec.token is None or seen.word is None or spec.suspend:
        return
    url, host = wanted_url(spec), seen.word.host
    if url is None:
        reason = EventReason.WEBHOOK_DELETED
        why = f"The webhook{_to(host)} is deleted, so that the bot can poll; no update is lost."
    else:
        reason = EventReason.WEBHOOK_SET
        before = f"was set{_to(host)}" if seen.word.hook is Hook.OTHER else "was missing"
        why = f"The webhook {before} and is set as spec.webhook.url says, without a secret_token; no update is lost."
    yield FixWebhook(bot.namespace, seen.identity, spec.token.secret_key_ref, bot.generation, url, reason, why)


def _to(host: str) -> str:
    return f" to {host}" if host else ""
