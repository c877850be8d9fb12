"""What is remembered of somebody who keeps undoing the pin. `contested` has the rules."""

from dataclasses import dataclass, field
from datetime import datetime

from .records import Field

# Replicas, the identity that the template is locked on if it is, and whether its pods are born with the gate.
Wanted = tuple[int, str | None, bool]


@dataclass(frozen=True, slots=True)
class Undoing:
    """One time that a Deployment which was right was set otherwise.

    `manager` is "" where nobody has left a trace of it. `written` is when that manager wrote, as Kubernetes noted it.
    """

    at: datetime
    manager: str
    written: str
    fields: frozenset[Field]


@dataclass(frozen=True, slots=True)
class Keeping:
    """A field manager that keeps undoing it, and until when that is said if it does not do it again."""

    manager: str
    fields: frozenset[Field]
    until: datetime


@dataclass(frozen=True, slots=True)
class Held:
    """Why the lock is left out of the template: putting it back has restarted the bot, and `manager` took it out again.

    `generation` is the TelegramBot's at that time. `claimed`: somebody had set the list of terms that the lock is in.
    `said` is how an operator before this one put it.
    """

    manager: str
    generation: int
    claimed: bool
    said: str = ""


@dataclass(frozen=True, slots=True)
class Contest:
    """What is remembered of one Deployment.

    `wanted`: what was wanted at the last look; `right`: whether it was so then. `template`: a digest of the template
    that all its pods were last seen to be of. `met`: the pods that ran since the lock was last taken out, by uid.
    `said`: what an operator before this one has said of it, and until when that is repeated.
    """

    wanted: Wanted | None = None
    right: bool = False
    template: int | None = None
    met: frozenset[str] = frozenset()
    undone: tuple[Undoing, ...] = ()
    keeping: Keeping | None = field(default=None)
    held: Held | None = None
    said: str = ""
    said_until: datetime | None = None
