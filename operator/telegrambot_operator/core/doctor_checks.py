"""The doctor's checks: an ordered list of named questions about one bot, each answered pass, fail or unknown.

A check answers None where its question makes no sense for this bot. One that needs what could not be read says so and
names the right that is missing. What is said fits on a line where all is well.
"""

from collections.abc import Callable
from dataclasses import dataclass

from . import doctor_bot, doctor_pods
from .doctor_answer import Answer
from .doctor_facts import Facts


@dataclass(frozen=True, slots=True)
class Line:
    """A check by its name, and what came of it."""

    check: str
    answer: Answer


def examine(facts: Facts) -> list[Line]:
    """Return what came of every check that makes sense for this bot, in order."""
    return [Line(name, answer) for name, check in CHECKS.items() if (answer := check(facts)) is not None]


CHECKS: dict[str, Callable[[Facts], Answer | None]] = {
    "spec": doctor_pods.the_spec_is_understood,
    "deployment": doctor_pods.the_deployment_is_there,
    "one-instance": doctor_pods.one_instance_may_poll,
    "pod-ready": doctor_pods.its_pod_is_ready,
    "stuck-pods": doctor_pods.no_pod_is_stuck,
    "replicas": doctor_pods.one_replica,
    "strategy": doctor_pods.recreate_strategy,
    "lock": doctor_pods.lock_in_force,
    "autoscaler": doctor_pods.no_autoscaler,
    "token": doctor_bot.token_is_readable,
    "telegram": doctor_bot.telegram_takes_it,
    "sole-user": doctor_bot.nobody_else_uses_the_token,
    "webhook": doctor_bot.webhook_matches_delivery,
    "no-409": doctor_bot.no_409_in_the_log,
    "polling": doctor_bot.it_fetches_updates,
    "operator": doctor_bot.the_operator_is_content,
}
