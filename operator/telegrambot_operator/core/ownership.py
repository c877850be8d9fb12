"""Which pods are whose, and by what name a reader of one namespace may know them."""

from .records import Deployment, Pod


def belongs(pod: Pod, deployment: Deployment | None) -> bool:
    """Return whether a ReplicaSet of the Deployment controls the pod; such a ReplicaSet is named after both."""
    owner = pod.metadata.controller
    if deployment is None or owner is None or owner.kind != "ReplicaSet":
        return False
    same_namespace = pod.metadata.namespace == deployment.metadata.namespace
    return same_namespace and owner.name == f"{deployment.name}-{pod.metadata.labels.template_hash}"


def deployment_of(pod: Pod) -> str:
    """Return the Deployment whose ReplicaSet controls the pod, as far as their names tell, or ""."""
    owner, made = pod.metadata.controller, f"-{pod.metadata.labels.template_hash}"
    of_one = owner is not None and owner.kind == "ReplicaSet" and owner.name.endswith(made)
    return owner.name.removesuffix(made) if owner is not None and of_one else ""


def owner_of(pod: Pod) -> str:
    """Return who would make the pod anew, as "Kind name": its Deployment rather than the ReplicaSet; "" for nobody."""
    deployment, owner = deployment_of(pod), pod.metadata.controller
    if deployment:
        return f"Deployment {deployment}"
    return f"{owner.kind} {owner.name}" if owner else ""


def named_in(namespace: str, pod: Pod) -> str:
    """Name a pod to readers of a namespace; one of another only by that fact: they may not be allowed to know more."""
    return pod.name if pod.metadata.namespace == namespace else "one in another namespace"
