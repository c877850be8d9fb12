"""Which pods are whose."""

from .records import Deployment, Pod


def belongs(pod: Pod, deployment: Deployment | None) -> bool:
    """Return whether a ReplicaSet of the Deployment controls the pod; such a ReplicaSet is named after both."""
    owner = pod.metadata.controller
    if deployment is None or owner is None or owner.kind != "ReplicaSet":
        return False
    same_namespace = pod.metadata.namespace == deployment.metadata.namespace
    return same_namespace and owner.name == f"{deployment.name}-{pod.metadata.labels.template_hash}"
