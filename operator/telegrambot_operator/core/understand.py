"""From a TelegramBot as the API server stores it to a `Bot`, and from a Secret to what is known of the token."""

import base64
import binascii
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from .. import names
from ..api.models import RULES, SecretKeyRef, TelegramBotSpec
from .evidence import InvalidPattern, compile_pattern
from .observed import Bot, TokenState, TokenView

# https://core.telegram.org/bots/api#authorizing-your-bot: the bot id, a colon, and a secret of 35 characters so far.
_TOKEN = re.compile(r"([0-9]{5,20}):[A-Za-z0-9_-]{30,64}")


def bot(body: Mapping[str, Any]) -> Bot:
    """Return the TelegramBot. What cannot be understood becomes its `problem`: one sentence that names the field."""
    metadata = body["metadata"]
    raw = body.get("spec") or {}
    spec, problem = _spec(raw)
    return Bot(
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=metadata["uid"],
        generation=metadata.get("generation", 0),
        created=datetime.fromisoformat(metadata["creationTimestamp"]),
        spec=spec,
        problem=problem,
        status=body.get("status") or {},
        resource_version=metadata.get("resourceVersion", "0"),
        template=raw.get("template"),
        container=(metadata.get("annotations") or {}).get(names.ANNOTATION_CONTAINER),
        deleting="deletionTimestamp" in metadata,
    )


def _spec(raw: Mapping[str, Any]) -> tuple[TelegramBotSpec | None, str]:
    try:
        spec = TelegramBotSpec.model_validate(raw)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        return None, f"{_field(first['loc'])}: {first['msg']}; correct it with kubectl edit"
    broken = next((rule.message for rule in RULES if not rule.holds(spec)), "") or _bad_pattern(spec)
    return (None, broken) if broken else (spec, "")


def _field(location: tuple[int | str, ...]) -> str:
    return "spec" + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)


def _bad_pattern(spec: TelegramBotSpec) -> str:
    for position, pattern in enumerate(spec.conflict.patterns):
        try:
            compile_pattern(pattern)
        except InvalidPattern as error:
            return f"spec.conflict.patterns[{position}]: {error}"
    return ""


def token(secret: Mapping[str, Any] | None, ref: SecretKeyRef) -> TokenView:
    """Return what a Secret says of the token; None is a Secret that does not exist. The token goes no further."""
    found = _token(secret, ref)
    return TokenView(TokenState.VALID, int(found[1])) if isinstance(found, re.Match) else TokenView(found)


def token_itself(secret: Mapping[str, Any] | None, ref: SecretKeyRef) -> str | None:
    """Return the token in a Secret, for a call that is made at once; None where there is no good one."""
    found = _token(secret, ref)
    return found[0] if isinstance(found, re.Match) else None


def _token(secret: Mapping[str, Any] | None, ref: SecretKeyRef) -> re.Match[str] | TokenState:
    if secret is None:
        return TokenState.SECRET_NOT_FOUND
    data = secret.get("data") or {}
    if ref.key not in data:
        return TokenState.KEY_NOT_FOUND
    try:
        text = base64.b64decode(data[ref.key]).decode().strip()
    except (binascii.Error, UnicodeDecodeError):
        return TokenState.NOT_A_TOKEN
    if not text:
        return TokenState.EMPTY
    return _TOKEN.fullmatch(text) or TokenState.NOT_A_TOKEN
