"""A Deployment's progress deadline does not run while its pod waits for its turn: that wait is ours and no failure.

Kubernetes' Deployment controller calls a rollout failed when it has made no progress for `progressDeadlineSeconds`,
and it never does so at the largest value that the field takes (pkg/controller/deployment/util, HasProgressDeadline).
So the deadline is taken off while a pod is held for long, its own value is noted in an annotation, and it comes back
once the Deployment has a pod that is ready: before that its controller would still count from before the wait.
"""

from collections.abc import Iterator
from datetime import datetime

from .actions import PatchDeployment
from .desired import deadline, deadline_patch
from .observed import Observed
from .records import Deployment
from .turns import held

NEVER = 2**31 - 1
# A pod that waits no longer than this has done so in any rollout; a deadline that is shorter than twice of it counts.
LONG_SECONDS = 30.0


def hold_the_deadline(seen: Observed, now: datetime) -> Iterator[PatchDeployment]:
    """Yield what takes the deadline off, or brings it back."""
    deployment = seen.deployment
    if deployment is None:
        return
    noted = deployment.metadata.annotations.deadline
    wait = seconds_until_long(seen, now)
    if noted is None and wait is not None and wait <= 0 and deployment.spec.progress_deadline_seconds != NEVER:
        own = deployment.spec.progress_deadline_seconds
        yield _patch(deployment, NEVER, str(own), "is held off while its pod waits for its turn")
    elif noted is not None and wait is None and _has_its_pods(deployment):
        yield _patch(deployment, deadline(noted), None, "counts again")


def seconds_until_long(seen: Observed, now: datetime) -> float | None:
    """Return the seconds until a held pod has waited long, at most 0 when it has; None where no pod is held."""
    born = [at for pod in held(seen) if (at := pod.metadata.creation_timestamp) is not None]
    if seen.deployment is None or not born:
        return None
    long = min(LONG_SECONDS, seen.deployment.spec.progress_deadline_seconds / 2)
    return long - (now - min(born)).total_seconds()


def _has_its_pods(deployment: Deployment) -> bool:
    return deployment.rolled_out and deployment.status.ready_replicas >= deployment.spec.replicas


def _patch(deployment: Deployment, seconds: int, note: str | None, what: str) -> PatchDeployment:
    return PatchDeployment(
        namespace=deployment.metadata.namespace,
        deployment=deployment.name,
        uid=deployment.metadata.uid,
        body=deadline_patch(seconds, note),
        reason="ProgressDeadline",
        why=f"The progress deadline of Deployment {deployment.name} {what}.",
    )
