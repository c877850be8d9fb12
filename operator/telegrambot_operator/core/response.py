"""What to do about Telegram's own word: repair the webhook, restart a deaf bot, search, and when to look again."""

from dataclasses import dataclass, replace
from datetime import datetime

from ..api.models import TelegramBotSpec
from . import deafness, remedy
from .actions import Action
from .conflicts import Conflicts
from .holds import identity_winner
from .observed import Bot, Observed
from .remedy import Repairing
from .strays_search import Question


@dataclass(frozen=True, slots=True)
class Response:
    """What to do, what is done about the webhook, after how many seconds that changes, and what to search for."""

    actions: tuple[Action, ...] = ()
    repairing: Repairing | None = None
    again_after: float | None = None
    search: Question | None = None


def response(
    seen: Observed, bot: Bot, spec: TelegramBotSpec, run: Conflicts | None, now: datetime, *, at_rest: bool
) -> Response:
    """Return it. `at_rest`: nothing else is to be done, so that a pod that is deleted is just replaced."""
    if identity_winner(seen, bot) is not None:
        return Response()
    found = remedy.repairing(seen, bot, spec, run, now)
    actions = (*remedy.fix(seen, bot, spec, found), *(deafness.restart(seen, spec, run, now) if at_rest else ()))
    again = [remedy.seconds_until_again(seen, found, now), deafness.seconds_until_again(seen, spec, now)]
    again_after = min((each for each in again if each is not None and each > 0), default=None)
    return Response(actions, found, again_after, remedy.who_else(seen, bot, spec, now))


def both(one: Question | None, other: Question | None) -> Question | None:
    """Return the search that answers both questions, which differ only in how new an answer has to be."""
    if one is None or other is None:
        return one or other
    return replace(max(one, other, key=lambda each: each.since), victim=one.victim or other.victim)
