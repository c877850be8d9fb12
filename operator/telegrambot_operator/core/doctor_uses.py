"""Which of the Secrets that a pod template uses holds the bot's token, and who else in the cluster has that token."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ..api.models import SecretKeyRef
from . import understand
from .doctor_facts import Facts, Gap, Place, Users
from .observed import Bot, TokenState
from .strays import Container, PodParts, Wanted, uses

# https://core.telegram.org/bots/api#authorizing-your-bot
_TOKEN = re.compile(r"(?<![0-9A-Za-z])[0-9]{5,20}:[A-Za-z0-9_-]{30,64}(?![A-Za-z0-9_-])")
# How people call the variable, the Secret or the key with a bot's token: BOT_TOKEN, TELEGRAM_API_KEY, tg-bot.
_OF_A_BOT = re.compile(r"bot|telegram|(?:\b|_)tg", re.IGNORECASE)
_A_TOKEN = re.compile(r"token|api.?key", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Way:
    """How a container may get a token: from a key of a Secret, from any key (`key` is ""), or written out (neither)."""

    secret: str = ""
    key: str = ""
    env: str = ""

    @property
    def likely(self) -> int:
        """How much its names promise, at most 2."""
        names = f"{self.env} {self.secret} {self.key}"
        return bool(_A_TOKEN.search(f"{self.env} {self.key}")) + bool(_OF_A_BOT.search(names))


def ways(parts: PodParts) -> list[Way]:
    """Return the ways by which a token may come into the containers, the most promising ones first."""
    found = [way for container in parts.containers for way in (*_written(container), *_given(container))]
    mounted = {mount.name for container in parts.containers for mount in container.volume_mounts}
    for volume in parts.volumes:
        for source in volume.sources if volume.name in mounted else ():
            name = source.secret_name or source.name
            keys = [item.key for item in source.items] or [""]
            found += [Way(name, key) for key in keys if name]
    return sorted(dict.fromkeys(found), key=lambda way: (bool(way.secret), -way.likely))


def _written(container: Container) -> Iterator[Way]:
    for variable in container.env:
        if _TOKEN.search(variable.value):
            yield Way(env=variable.name)
    if any(_TOKEN.search(word) for word in container.command + container.args):
        yield Way()


def _given(container: Container) -> Iterator[Way]:
    for variable in container.env:
        ref = variable.value_from.secret_key_ref
        if ref.name:
            yield Way(ref.name, ref.key, variable.name)
    yield from (Way(each.secret_ref.name) for each in container.env_from if each.secret_ref.name)


def secrets_named(found: Iterable[Way]) -> list[str]:
    """Return the names of the Secrets that may hold the token, the most promising ones first."""
    return list(dict.fromkeys(way.secret for way in found if way.secret))


def place_of(found: Sequence[Way], secrets: Mapping[str, Mapping[str, Any] | None]) -> Place | None:
    """Return where the token is: by the content of those Secrets that could be read, else by the names in use."""
    for way in found:
        if not way.secret:
            return Place(None, way.env)
        for key in _keys(way, secrets.get(way.secret)):
            ref = SecretKeyRef(name=way.secret, key=key)
            if understand.token(secrets[way.secret], ref).state is TokenState.VALID:
                return Place(ref, way.env)
    guess = next((way for way in found if way.key and way.likely and way.secret not in secrets), None)
    return Place(SecretKeyRef(name=guess.secret, key=guess.key), guess.env) if guess else None


def _keys(way: Way, secret: Mapping[str, Any] | None) -> list[str]:
    if secret is None:
        return []
    return [way.key] if way.key else sorted(secret.get("data") or {})


def written_out(parts: PodParts, env: str) -> str | None:
    """Return the token that is written out in a variable, or in the command where `env` is "", for a call at once."""
    texts = [each.value for container in parts.containers for each in container.env if each.name == env]
    if not env:
        texts = [word for container in parts.containers for word in container.command + container.args]
    return next((found[0] for text in texts if (found := _TOKEN.search(text))), None)


def holders(parts: PodParts, wanted: Wanted) -> tuple[str, ...]:
    """Return the containers that run side by side and surely have the token."""
    beside = {each.name for each in parts.containers}
    return tuple(use.container for use in uses(parts, wanted) if use.sure and use.container in beside)


# --- Who else has it --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class User:
    """Something that may have a token: a Deployment, or a pod with what controls it, as "Kind name"."""

    kind: str
    namespace: str
    name: str
    uid: str
    parts: PodParts = field(repr=False, compare=False)  # a token may be written out there (INV-7)
    owner: str = ""

    def told(self, namespace: str) -> str:
        """Name it to a person who looks from this namespace."""
        where = "" if self.namespace == namespace else f" in namespace {self.namespace}"
        return f"{self.kind} {self.name}{where}" + (f" of {self.owner}" if self.owner else "")


def secrets_in(parts: PodParts) -> set[str]:
    """Return the names of all Secrets that are given to containers, or to volumes that one might mount."""
    found = {variable.value_from.secret_key_ref.name for each in parts.all_containers for variable in each.env}
    found |= {more.secret_ref.name for each in parts.all_containers for more in each.env_from}
    found |= {name for volume in parts.volumes for each in volume.sources for name in (each.name, each.secret_name)}
    return found - {""}


def tokens_in(parts: PodParts) -> set[str]:
    """Return the tokens that are written out."""
    texts = [variable.value for each in parts.all_containers for variable in each.env]
    texts += [word for each in parts.all_containers for word in each.command + each.args]
    return {found[0] for text in texts for found in _TOKEN.finditer(text)}


def others(users: Iterable[User], namespace: str, wanted: Wanted, unseen: Gap | None) -> Users:
    """Return who of these has the token. Pods of a Deployment that is named are not named as well.

    A Secret is known by its name in one namespace only; a token that is written out is known everywhere.
    """
    abroad = replace(wanted, secret=None)
    found = {
        user: how for user in users if (how := uses(user.parts, wanted if user.namespace == namespace else abroad))
    }
    named = {(user.namespace, f"Deployment {user.name}") for user in found if user.kind == "Deployment"}
    shown = {user: how for user, how in found.items() if (user.namespace, user.owner) not in named}
    sure = [user.told(namespace) for user, how in shown.items() if any(each.sure for each in how)]
    perhaps = [user.told(namespace) for user, how in shown.items() if not any(each.sure for each in how)]
    return Users(tuple(sorted(set(sure))), tuple(sorted(set(perhaps))), unseen)


def rivals(kin: Iterable[Bot], facts: Facts) -> list[str]:
    """Name those TelegramBots of one token that are not the one that is looked at."""
    told = []
    for bot in kin:
        if facts.bot is None or facts.bot.uid != bot.uid:
            where = "" if bot.namespace == facts.namespace else f" in namespace {bot.namespace}"
            told.append(f"TelegramBot {bot.name}{where}")
    return sorted(told)
