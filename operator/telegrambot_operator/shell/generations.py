"""What we remember of our own writes to Deployments. It goes with the process, and nothing needs it to be safe."""

from dataclasses import dataclass, field


@dataclass(slots=True)
class Generations:
    """The generation of a Deployment, by uid, that our own last write of a kind ended at.

    `applied`: an owned one's whole template. `shaped`: strategy or template of any.
    """

    applied: dict[str, int] = field(default_factory=dict)
    shaped: dict[str, int] = field(default_factory=dict)

    def forget(self, uid: str) -> None:
        """Forget a Deployment that is gone."""
        self.applied.pop(uid, None)
        self.shaped.pop(uid, None)
