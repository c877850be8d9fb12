"""Telegram's own word on a bot, for the doctor: getMe and getWebhookInfo, which change nothing and disturb nobody."""

import asyncio

from ..core.doctor_facts import Gap, Mail
from ..core.silence import Unheard
from ..core.word import Me, Refused
from .telegram import Telegram

LOOK_AGAIN_SECONDS = 3.0
_UNREACHABLE = "see that the Bot API can be reached from here, or try again"
_REFUSED = Gap("Telegram refuses the token, and tells nothing", "put a good one there first")


async def ask(telegram: Telegram, token: str, *, polls: bool) -> tuple[Me | Refused | Gap, Mail | Gap]:
    """Return who the bot is and what is delivered; looked at twice where updates wait for a bot that polls."""
    me, mail = await asyncio.gather(telegram.get_me(token), _mail(telegram, token))
    if polls and isinstance(mail, Mail) and mail.info.pending and not mail.info.url:
        await asyncio.sleep(LOOK_AGAIN_SECONDS)
        again = await _mail(telegram, token)
        mail = Mail(again.info, again.info.pending < mail.info.pending) if isinstance(again, Mail) else again
    return _gap(me) if isinstance(me, Unheard) else me, mail


async def _mail(telegram: Telegram, token: str) -> Mail | Gap:
    info = await telegram.get_webhook_info(token)
    if isinstance(info, Unheard):
        return _gap(info)
    return _REFUSED if isinstance(info, Refused) else Mail(info)


def _gap(unheard: Unheard) -> Gap:
    return Gap(f"Telegram does not tell ({unheard.why})", _UNREACHABLE)
