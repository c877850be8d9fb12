"""A bot that serves and fetches nothing: restarted where `notPolling.policy: Restart` asks for that, not for ever.

A restart is an ordinary delete of the pod; the lock holds its successor until it is gone. It follows only on a pile
that this operator has seen from beginning to end, so never sooner than `afterSeconds` after the pod or its container
began. Each further restart waits twice as long, and after the third without success a person is asked.
"""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta

from ..api.models import NotPollingPolicy, TelegramBotSpec
from ..names import EventReason
from .actions import DeletePod
from .asking import the_one
from .conflicts import Conflicts
from .observed import Observed
from .word import waiting_sentence

MOST_RESTARTS = 3


def restart(seen: Observed, spec: TelegramBotSpec, run: Conflicts | None, now: datetime) -> Iterator[DeletePod]:
    """Yield the delete of the pod that is deaf, if it is to be restarted now."""
    word, pod = seen.word, the_one(seen)
    if word is None or pod is None or not (word.deaf and word.sure and word.fresh) or not restarts(spec):
        return
    fights = run is not None and run.active  # a 409 explains it: then a restart would not help
    if gave_up(seen) or not _settled(seen) or fights:
        return
    left = seconds_until_again(seen, spec, now)
    if left is not None and left > 0:
        return
    why = (
        f"Pod {pod.name} is restarted: {waiting_sentence(word.waiting)} at Telegram, and none was fetched for "
        f"{spec.not_polling.after_seconds} s."
    )
    yield replace(DeletePod.of(pod, EventReason.NOT_POLLING_RESTARTED, why), deaf=True)


def seconds_until_again(seen: Observed, spec: TelegramBotSpec, now: datetime) -> float | None:
    """Return the seconds until a deaf bot that was restarted before may be restarted again, None where that is all."""
    word = seen.word
    if word is None or not word.deaf or word.restarted is None or not restarts(spec) or gave_up(seen):
        return None
    wait = timedelta(seconds=spec.not_polling.after_seconds * int(2**word.restarts))
    return (word.restarted + wait - now).total_seconds()


def restarts(spec: TelegramBotSpec) -> bool:
    """Return whether a deaf bot is to be restarted."""
    return spec.not_polling.policy is NotPollingPolicy.RESTART and not spec.suspend


def gave_up(seen: Observed) -> bool:
    """Return whether restarts have not helped."""
    return seen.word is not None and seen.word.restarts >= MOST_RESTARTS


def _settled(seen: Observed) -> bool:
    return seen.deployment is not None and seen.deployment.rolled_out
