"""The Bot API methods that the bed's bots call, each as a small function of (bot, parameters, caller).

Names, parameters and results are those of https://core.telegram.org/bots/api; a method that changes nothing the bed
looks at is accepted and answered True.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from tests.bed.telegram_state import LONGEST_POLL, ApiError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from tests.bed.telegram_peer import Client
    from tests.bed.telegram_state import Bot


@dataclass(frozen=True, slots=True)
class Call:
    """One request: its parameters as sent (form, query or JSON), who sent it, and whether they are still there."""

    params: Mapping[str, Any]
    client: Client
    connected: Callable[[], bool]

    def text(self, name: str) -> str:
        """A parameter as text; empty when it is missing."""
        value = self.params.get(name)
        return "" if value is None else str(value)

    def integer(self, name: str, default: int = 0, low: int | None = None, high: int | None = None) -> int:
        """A whole number, cut to its limits as the server does; what is not a number counts as 0."""
        if name not in self.params:
            return default
        try:
            value = int(float(self.text(name) or 0))
        except ValueError:
            value = 0
        value = value if low is None else max(low, value)
        return value if high is None else min(high, value)

    def flag(self, name: str) -> bool:
        """A Boolean as the server reads one."""
        return self.text(name).lower() in {"true", "yes", "1"}

    def items(self, name: str) -> list[Any] | None:
        """A JSON array, sent as such or as text; None when it is missing or not an array."""
        value = self.params.get(name)
        if isinstance(value, str):
            try:
                value = json.loads(value)
            except ValueError:
                return None
        return value if isinstance(value, list) else None


# Gives the value of "result" and the optional "description" of a good answer, or raises ApiError.
Method: TypeAlias = "Callable[[Bot, Call], Awaitable[tuple[Any, str]]]"


async def _get_updates(bot: Bot, call: Call) -> tuple[Any, str]:
    if not bot.webhook.url:
        _keep_allowed_updates(bot, call)
    updates = await bot.get_updates(
        call.client,
        call.connected,
        offset=call.integer("offset"),
        limit=call.integer("limit", 100, 1, 100),
        timeout=call.integer("timeout", 0, 0, int(LONGEST_POLL)),
    )
    return updates, ""


def _keep_allowed_updates(bot: Bot, call: Call) -> None:
    """The setting stays until the next one; an empty list means the default."""
    wanted = call.items("allowed_updates")
    if wanted is not None:
        bot.allowed_updates = tuple(str(name) for name in wanted)


async def _set_webhook(bot: Bot, call: Call) -> tuple[Any, str]:
    url = call.text("url")
    if not url:
        return await _delete_webhook(bot, call)
    if not url.startswith(("https://", "http://127.0.0.1", "http://localhost", "http://[::1]")):
        raise ApiError(400, "Bad Request: bad webhook: An HTTPS URL must be provided for webhook")
    _once_a_second(bot)
    known = url == bot.webhook.url
    if not (known and not call.flag("drop_pending_updates")):
        bot.set_webhook(url)
    bot.webhook.secret_token = call.text("secret_token")
    bot.webhook.max_connections = call.integer("max_connections", 40, 1, 100)
    _keep_allowed_updates(bot, call)
    _drop_if_asked(bot, call)
    return True, "Webhook is already set" if known else "Webhook was set"


def _once_a_second(bot: Bot) -> None:
    """The server takes one setWebhook a second and asks for a second's patience otherwise."""
    now = time.monotonic()
    if now < bot.webhook_free_at:
        raise ApiError(429, "Too Many Requests: retry after 1", 1)
    bot.webhook_free_at = now + 1


async def _delete_webhook(bot: Bot, call: Call) -> tuple[Any, str]:
    was_set = bool(bot.webhook.url)
    bot.set_webhook("")
    _drop_if_asked(bot, call)
    return True, "Webhook was deleted" if was_set else "Webhook is already deleted"


def _drop_if_asked(bot: Bot, call: Call) -> None:
    if call.flag("drop_pending_updates"):
        bot.drop_pending()


async def _get_webhook_info(bot: Bot, _: Call) -> tuple[Any, str]:
    hook = bot.webhook
    info: dict[str, Any] = {
        "url": hook.url,
        "has_custom_certificate": False,
        "pending_update_count": len(bot.pending),
    }
    if hook.last_error_date:
        info |= {"last_error_date": hook.last_error_date, "last_error_message": hook.last_error_message}
    if hook.url:
        info["max_connections"] = hook.max_connections
    if bot.allowed_updates:
        info["allowed_updates"] = list(bot.allowed_updates)
    return info, ""


async def _get_me(bot: Bot, _: Call) -> tuple[Any, str]:
    return {
        "id": bot.id,
        "is_bot": True,
        "first_name": bot.username,
        "username": bot.username,
        "can_join_groups": True,
        "can_read_all_group_messages": False,
        "supports_inline_queries": False,
        "can_connect_to_business": False,
        "has_main_web_app": False,
    }, ""


async def _send_message(bot: Bot, call: Call) -> tuple[Any, str]:
    if not call.text("chat_id"):
        raise ApiError(400, "Bad Request: chat_id is empty")
    if not call.text("text"):
        raise ApiError(400, "Bad Request: message text is empty")
    return bot.reply(call.integer("chat_id"), call.text("text")), ""


async def _set_commands(bot: Bot, call: Call) -> tuple[Any, str]:
    bot.commands = call.items("commands") or []
    return True, ""


async def _get_commands(bot: Bot, _: Call) -> tuple[Any, str]:
    return bot.commands, ""


async def _accept(_: Bot, __: Call) -> tuple[Any, str]:
    return True, ""


METHODS: dict[str, Method] = {
    "getupdates": _get_updates,
    "setwebhook": _set_webhook,
    "deletewebhook": _delete_webhook,
    "getwebhookinfo": _get_webhook_info,
    "getme": _get_me,
    "sendmessage": _send_message,
    "setmycommands": _set_commands,
    "getmycommands": _get_commands,
    "deletemycommands": _accept,
    "setmydescription": _accept,
    "setmyshortdescription": _accept,
    "setmyname": _accept,
    "setchatmenubutton": _accept,
    "sendchataction": _accept,
    "logout": _accept,
    "close": _accept,
}
