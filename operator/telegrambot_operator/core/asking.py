"""What to ask Telegram about a bot, and whose silence would make it deaf."""

from ..api.models import Delivery, TelegramBotSpec
from .classify import Life, life, may_poll
from .holds import identity_winner
from .observed import Bot, Observed, TokenState
from .ownership import belongs
from .records import Pod
from .word import Ask, Poller


def ask(seen: Observed) -> Ask | None:
    """Return what to ask, or None where there is no token, or another TelegramBot asks for the same bot.

    One that has no pod for now is asked about all the same until Telegram knows it: that decides who has the bot.
    """
    bot = seen.bot
    if bot is None or bot.deleting or bot.spec is None or bot.spec.token is None:
        return None
    if seen.token.state is not TokenState.VALID:
        return None
    if identity_winner(seen, bot) is not None and bot.confirmed(seen.identity):
        return None
    return Ask(
        identity=str(seen.token.bot_id),
        secret=bot.spec.token.secret_key_ref,
        url=wanted_url(bot.spec),
        after=bot.spec.not_polling.after_seconds,
        poller=_poller(seen, bot),
        alarm=max((found.at for found in seen.findings), default=None),
    )


def wanted_url(spec: TelegramBotSpec) -> str | None:
    """Return where Telegram is to deliver to, None for a bot that polls."""
    return spec.webhook.url if spec.delivery is Delivery.WEBHOOK and spec.webhook is not None else None


def the_one(seen: Observed) -> Pod | None:
    """Return the only pod that may be polling, if it serves: bound, Ready, not being deleted, of the Deployment."""
    running = [pod for pod in seen.pods if may_poll(pod)]
    if len(running) != 1 or seen.pods_unknown is not None:
        return None
    (pod,) = running
    serves = life(pod) is Life.ALIVE and pod.ready and belongs(pod, seen.deployment)
    return pod if serves else None


def _poller(seen: Observed, bot: Bot) -> Poller | None:
    pod = the_one(seen)
    if pod is None or bot.spec is None or bot.spec.suspend:
        return None
    return Poller(pod.name, pod.uid, sum(each.restart_count for each in pod.status.container_statuses))
