"""When to listen to Telegram for a process on a lost node, and what its silence then proves.

Only while no other pod of the bot may be polling: our own poll would cut it off. What was heard counts for exactly the
pods and nodes for which it was listened, and only as long as the listening goes on.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from ..api.models import Delivery, SecretKeyRef, StuckPolicy, TelegramBotSpec
from .classify import Death, may_poll
from .observed import Observed, TokenState
from .records import Pod
from .silence import Sound, Target
from .turns import held

Stuck = tuple[tuple[Pod, Death], ...]


@dataclass(frozen=True, slots=True)
class Listen:
    """Listen with the token of this Secret, for the processes that these pods may have left."""

    identity: str
    secret: SecretKeyRef
    about: frozenset[Target]
    polls: bool = True  # the bot is meant to fetch its updates, and not to have a webhook


def listen(seen: Observed, spec: TelegramBotSpec, stuck: Stuck) -> Listen | None:
    """Return for whom to listen, or None where there is no need, no token, or somebody else who may be polling."""
    about = _lost(spec, stuck) | _lost_holder(seen, spec)
    if not about or spec.token is None or seen.token.state is not TokenState.VALID or seen.pods_unknown is not None:
        return None
    somewhere_else = set(_vanished(seen)) - {uid for uid, _ in about}
    if somewhere_else or not may_listen(about, seen.pods):
        return None
    return Listen(seen.identity, spec.token.secret_key_ref, about, spec.delivery is Delivery.POLLING)


def may_listen(about: frozenset[Target], pods: Iterable[Pod]) -> bool:
    """Return whether none of these pods may be polling but those that are listened for."""
    return not any(may_poll(pod) and (pod.uid, pod.spec.node_name) not in about for pod in pods)


def _lost(spec: TelegramBotSpec, stuck: Stuck) -> frozenset[Target]:
    if spec.stuck_pods.policy is not StuckPolicy.WHEN_PROVEN:
        return frozenset()
    return frozenset((pod.uid, pod.spec.node_name) for pod, verdict in stuck if verdict is Death.NODE_LOST)


def _vanished(seen: Observed) -> list[str]:
    return [uid for uid, how in seen.ended.items() if how is not None]


def _lost_holder(seen: Observed, spec: TelegramBotSpec) -> frozenset[Target]:
    """The holder of the turn that vanished from a lost node, while a pod waits for that turn (rule 4 of turn.py).

    A poll of ours would cut off a process that lives: as a pod in Terminating, it gets its time to end otherwise.
    """
    vanished = seen.ended.get(seen.claim.uid) if seen.claim else None
    if seen.claim is None or vanished is None or vanished.missed_for < spec.stuck_pods.after_seconds:
        return frozenset()
    node = seen.nodes.get(seen.claim.node)
    lost = node is not None and not node.ready and not node.out_of_service
    needed = lost and spec.stuck_pods.policy is not StuckPolicy.NEVER and bool(held(seen))
    return frozenset({(seen.claim.uid, seen.claim.node)}) if needed else frozenset()


def heard_out(seen: Observed, stuck: Stuck, wanted: Listen | None) -> tuple[Observed, Stuck]:
    """Return what is known with what the silence proves, if there is any and it was listened for just these pods."""
    if wanted is None or seen.silence is None or seen.silence.sound is not Sound.SILENT:
        return seen, stuck
    if seen.silence.about != wanted.about:
        return seen, stuck
    silent = {uid for uid, _ in wanted.about}
    ended = {uid: replace(how, silent=True) if how and uid in silent else how for uid, how in seen.ended.items()}
    judged = tuple(
        (pod, Death.SILENT if verdict is Death.NODE_LOST and pod.uid in silent else verdict) for pod, verdict in stuck
    )
    return replace(seen, ended=ended), judged
