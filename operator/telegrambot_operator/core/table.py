"""The lock table: what the admission policies of `deploy/admission` know, one ConfigMap in each namespace with bots.

A policy can look up one key cheaply, and split its value at spaces; it cannot read a TelegramBot. Two kinds of keys:

    telegram-bot        the Deployment of that name      <identity> <lock> <replicas> <TelegramBot>
    shop-bot_token      Secret shop-bot, its key token   <identity>/<TelegramBot> ...
    shop-bot_           Secret shop-bot, all of it       <identity>/<TelegramBot> ...

Names of objects hold no underscore, so the kinds cannot meet. `replicas` is `-` until the Deployment has been pinned:
a change of strategy and of replicas in one request can hang a rollout (`desired.may_be_scaled`).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from ..api.models import Lock, TelegramBotSpec

# A ConfigMap's keys are at most so long (https://kubernetes.io/docs/concepts/configuration/configmap/).
KEY_MAX = 253
NOT_PINNED = "-"
# What the policies take for an entry; they go by the same form (deploy/admission/lock.yaml).
_ENTRY = re.compile(
    r"([A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?) "  # a label value
    r"(Scheduler|Gate|None) ([-01]) "
    r"([a-z0-9](?:[a-z0-9.-]*[a-z0-9])?)"  # an object's name
)


@dataclass(frozen=True, slots=True)
class Entry:
    """What the table says of a Deployment. `replicas` is None while its number of pods is not held."""

    identity: str
    lock: Lock
    replicas: int | None
    bot: str

    def __str__(self) -> str:
        """The value as it stands in the table."""
        count = NOT_PINNED if self.replicas is None else str(self.replicas)
        return f"{self.identity} {self.lock} {count} {self.bot}"


def parse(value: str) -> Entry | None:
    """Return a Deployment's entry, or None where the value is none: somebody has edited it."""
    match = _ENTRY.fullmatch(value)
    if match is None:
        return None
    identity, lock, count, bot = match.groups()
    return Entry(identity, Lock(lock), None if count == NOT_PINNED else int(count), bot)


def secret_keys(spec: TelegramBotSpec) -> tuple[str, ...]:
    """Return the keys that guard the bot's token: that key of the Secret, and the Secret as a whole."""
    if spec.token is None:
        return ()
    ref = spec.token.secret_key_ref
    keys = (f"{ref.name}_{ref.key}", f"{ref.name}_")
    return tuple(key for key in keys if len(key) <= KEY_MAX)


def holders(value: str) -> dict[str, str]:
    """Return the TelegramBots that a Secret's entry names: name to identity. What is not understood is left out."""
    pairs = (each.split("/") for each in value.split(" "))
    return {parts[1]: parts[0] for parts in pairs if len(parts) == 2 and all(parts)}


def with_holder(value: str, bot: str, identity: str | None) -> str:
    """Return a Secret's entry with this TelegramBot's identity in it, without it where that is None; "" where empty."""
    named = {name: other for name, other in holders(value).items() if name != bot}
    if identity is not None:
        named[bot] = identity
    return " ".join(f"{other}/{name}" for name, other in sorted(named.items()))


def changes(
    table: Mapping[str, str], bot: str, entries: Mapping[str, Entry], secrets: Mapping[str, str]
) -> dict[str, str | None]:
    """Return the merge patch of the table's data that makes it say exactly this of one TelegramBot.

    `entries` by Deployment, `secrets` by key: the identity. What other TelegramBots have in it stays; keys that become
    empty go (None).
    """
    wanted: dict[str, str | None] = {}
    for key in {*table, *entries, *secrets}:
        value = _wanted(table.get(key, ""), key, bot, entries, secrets)
        if value != table.get(key):
            wanted[key] = value
    return wanted


def _wanted(value: str, key: str, bot: str, entries: Mapping[str, Entry], secrets: Mapping[str, str]) -> str | None:
    if "_" in key:
        return with_holder(value, bot, secrets.get(key)) or None
    if key in entries:
        return str(entries[key])
    entry = parse(value)
    return None if entry is not None and entry.bot == bot else value


def bots_of(key: str, value: str) -> set[str]:
    """Return the names of the TelegramBots that one entry speaks of; none where somebody has edited it."""
    if "_" in key:
        return set(holders(value))
    entry = parse(value)
    return {entry.bot} if entry is not None else set()
