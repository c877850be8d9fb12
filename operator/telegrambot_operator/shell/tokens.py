"""Reads bot tokens from Secrets, keeps only what may be known of them, and not for long."""

import time
from dataclasses import dataclass
from typing import Any

import msgspec

from ..api.models import SecretKeyRef
from ..core import understand
from ..core.observed import Bot, Failure, TokenState, TokenView
from ..core.strays import Wanted
from .kube import SECRETS, Kube, KubeError, path

# How long an answer holds before it is read again at the next pass, in seconds.
_LASTS = {
    TokenState.VALID: 600.0,
    TokenState.FORBIDDEN: 60.0,
    TokenState.UNREADABLE: 5.0,
}
_LASTS_OTHERWISE = 9.0


@dataclass(slots=True)
class _Entry:
    asked: tuple[object, ...]
    view: TokenView
    until: float
    failure: Failure | None


class Tokens:
    """What is known of each bot's token."""

    def __init__(self, kube: Kube) -> None:
        self._kube = kube
        self._known: dict[tuple[str, str], _Entry] = {}

    async def view(self, bot: Bot, pods: object) -> tuple[TokenView, Failure | None]:
        """Return what is known of a bot's token, read again when the spec changes or `pods`, a fingerprint of them.

        A Secret is swapped under a bot by restarting it, so a new pod is the moment to look again.
        """
        token = bot.spec.token if bot.spec else None
        if token is None:
            return TokenView(), None
        asked = (bot.uid, bot.generation, pods)
        entry = self._known.get(bot.key)
        if entry is None or entry.asked != asked or entry.until < time.monotonic():
            view, failure = await self._read(bot)
            entry = _Entry(asked, view, time.monotonic() + _LASTS.get(view.state, _LASTS_OTHERWISE), failure)
            self._known[bot.key] = entry
        return entry.view, entry.failure

    def forget(self, key: tuple[str, str]) -> None:
        """Forget a bot that is gone."""
        self._known.pop(key, None)

    async def reveal(self, namespace: str, ref: SecretKeyRef) -> str | None:
        """Return the token itself, read now, for a call that is made at once. Raises KubeError."""
        try:
            return understand.token_itself(await self._secret(namespace, ref), ref)
        except KubeError as error:
            if error.status == 404:
                return None
            raise

    async def sought(self, namespace: str, ref: SecretKeyRef) -> Wanted:
        """Return what to look for in other pods, the token itself with it, read now. Raises KubeError."""
        secret = await self._secret(namespace, ref)
        sole = len(secret.get("data") or {}) == 1
        return Wanted(ref.name, ref.key, understand.token_itself(secret, ref), sole)

    async def _secret(self, namespace: str, ref: SecretKeyRef) -> dict[str, Any]:
        secret: dict[str, Any] = msgspec.json.decode(await self._kube.get(path(SECRETS, namespace, ref.name)))
        return secret

    async def _read(self, bot: Bot) -> tuple[TokenView, Failure | None]:
        if bot.spec is None or bot.spec.token is None:
            return TokenView(), None
        ref = bot.spec.token.secret_key_ref
        try:
            secret = await self._secret(bot.namespace, ref)
        except KubeError as error:
            if error.status == 404:
                return understand.token(None, ref), None
            state = TokenState.FORBIDDEN if error.status == 403 else TokenState.UNREADABLE
            return TokenView(state), Failure("get", "secrets", error.status, error.message)
        return understand.token(secret, ref), None
