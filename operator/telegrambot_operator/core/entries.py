"""What the lock table has to say of one bot (its format: `table`; who reads it: `deploy/admission`)."""

from collections.abc import Iterator
from dataclasses import replace

from ..api.models import Lock, TelegramBotSpec
from . import desired
from .actions import Action, WriteTable
from .carrier import Carrier, carrier
from .observed import Bot, Observed
from .records import Deployment, template_of
from .release import calm, is_anothers, waits_for_an_end
from .table import Entry, bots_of, changes, secret_keys


def enter(seen: Observed, bot: Bot, spec: TelegramBotSpec, count: int) -> Iterator[Action]:
    """Yield what makes the table speak of the bot: of its Deployment, there or not yet, and of its token."""
    if not seen.admission.policies:
        yield from leave(seen)
        return
    entries = {bot.target: _entry(seen, bot, spec, count), **_still_needed(seen)}
    guarded = secret_keys(spec) if _pods_wear_the_identity(seen, bot, spec) else ()
    yield from _write(seen, entries, dict.fromkeys(guarded, seen.identity))


def leave(seen: Observed) -> Iterator[Action]:
    """Yield what takes the bot out of the table, save for Deployments whose pods still wait behind its lock."""
    yield from _write(seen, _still_needed(seen), {})


def _write(seen: Observed, entries: dict[str, Entry], secrets: dict[str, str]) -> Iterator[Action]:
    data = changes(seen.admission.table, seen.name, entries, secrets)
    if data:
        yield WriteTable(seen.namespace, data)


def _entry(seen: Observed, bot: Bot, spec: TelegramBotSpec, count: int) -> Entry:
    return Entry(seen.identity, _lock(seen, spec), _replicas(seen.deployment, count), bot.name)


def _lock(seen: Observed, spec: TelegramBotSpec) -> Lock:
    """A lock comes off when nobody waits behind it."""
    held = spec.lock is Lock.NONE and seen.entry is not None and seen.entry.lock is not Lock.NONE
    if held and seen.entry and seen.deployment and not calm(seen.deployment, seen.pods):
        return seen.entry.lock
    return spec.lock


def _replicas(deployment: Deployment | None, count: int) -> int | None:
    """The number is held once it is right; before that, one request must not change strategy and replicas."""
    if deployment is None:
        return count
    pinned = deployment.spec.strategy.type == "Recreate" and deployment.spec.replicas == count
    return count if pinned else None


def _pods_wear_the_identity(seen: Observed, bot: Bot, spec: TelegramBotSpec) -> bool:
    """Whether every new pod of the bot has its label, without which the token is refused to it.

    Where the template is to get the lock that the policies have failed to bring, the token stays guarded until then: a
    pod that is made meanwhile would have no lock.
    """
    if by_admission(seen, bot):
        return True
    if seen.deployment is None:
        return False
    guarded = any(bot.name in bots_of(key, seen.admission.table.get(key, "")) for key in secret_keys(spec))
    about_to = guarded and template_lock(seen, bot, spec, seen.deployment) == seen.identity
    return about_to or template_of(seen.deployment).metadata.labels.bot == seen.identity


def _still_needed(seen: Observed) -> dict[str, Entry]:
    kept = {}
    for deployment in seen.leftovers:
        entry = seen.entry_of(deployment.name)
        if entry is not None and is_anothers(deployment, seen) and deployment.spec.replicas:
            kept[deployment.name] = replace(entry, replicas=None)  # it has to be scaled to 0 first
        elif entry is not None and (not calm(deployment, seen.pods) or waits_for_an_end(deployment, seen)):
            kept[deployment.name] = entry
    return kept


def by_admission(seen: Observed, bot: Bot) -> bool:
    """Return whether the policies are to bring the lock to the bot's pods."""
    return carrier(seen.admission, adopts=bot.adopts) is Carrier.ADMISSION


def in_force(seen: Observed, bot: Bot, spec: TelegramBotSpec) -> bool:
    """Return whether the policies have been told to lock the bot's pods as its spec asks."""
    entry = seen.entry_of(bot.target)
    return entry is not None and entry.identity == seen.identity and entry.lock is spec.lock


def pinned_at_admission(seen: Observed, bot: Bot, spec: TelegramBotSpec, count: int) -> bool:
    """Return whether every API server holds the Deployment's strategy and this number of replicas by itself."""
    held = seen.entry is not None and seen.entry.replicas == count
    return by_admission(seen, bot) and held and seen.admission.in_force and in_force(seen, bot, spec)


def template_lock(seen: Observed, bot: Bot, spec: TelegramBotSpec, deployment: Deployment) -> str | None:
    """Return the identity that the pod template should be locked on now, or None for no lock in it."""
    lock = None if by_admission(seen, bot) else desired.lock_name(spec, seen.identity)
    if lock is not None or not desired.locked(deployment):
        return lock
    others_hold = spec.lock is Lock.NONE or (seen.admission.in_force and in_force(seen, bot, spec))
    if calm(deployment, seen.pods) and others_hold:
        return None
    return template_of(deployment).metadata.labels.bot or seen.identity
