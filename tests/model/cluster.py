"""The model's cluster: API server, controllers, machines, the clock, and what users do to a bot.

It holds what Kubernetes does, never what the operator should do: the objects go to the real core as JSON. The process
table (`alive`) is the truth; the API server only knows what kubelets have told it.

    cluster = Cluster()
    cluster.apply_deployment(replicas=2)
    cluster.run(20)                      # controllers, scheduler and kubelets, without an operator
    assert len(cluster.alive()) == 2
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from . import controllers
from .api import Api, Json, Key, deleting, key_of, terminal, uid_of
from .nodes import Container, Nodes

NAMESPACE = "shop"
DEPLOYMENT: Key = (NAMESPACE, "telegram-bot")
BOT: Key = (NAMESPACE, "telegram-bot")
SECOND: Key = (NAMESPACE, "second")
BOT_ID = "123456789"
TOKEN = f"{BOT_ID}:AAF-made-up-secret-part-of-the-token"
CONFLICT = (
    f"POST https://api.telegram.org/bot{TOKEN}/getUpdates: 409 Conflict: terminated by other getUpdates request; "
    "make sure that only one bot instance is running"
)
APP = {"app": "telegram-bot"}
START = datetime(2026, 1, 1, tzinfo=UTC)


def spec_of(**fields: object) -> Json:
    """Return a TelegramBot's spec that adopts the Deployment, as the API server stores it."""
    token = {"secretKeyRef": {"name": "shop-bot", "key": "token"}}
    spec: Json = {"deploymentRef": {"name": DEPLOYMENT[1]}, "token": token, "conflict": {"clearAfterSeconds": 5}}
    return {**spec, **fields}


def owning_spec(version: str, **fields: object) -> Json:
    """Return a TelegramBot's spec that owns its Deployment, and runs this version in it."""
    template = {"metadata": {"labels": APP}, "spec": {"containers": [{"name": "bot", "image": version}]}}
    return {
        **{name: value for name, value in spec_of(**fields).items() if name != "deploymentRef"},
        "template": template,
    }


class Cluster:
    """A cluster with two nodes. Every method is one atomic step of the world."""

    def __init__(self) -> None:
        self.now = START
        self.api = Api()
        self.nodes = Nodes(self.api)
        for name in ("node-1", "node-2"):
            self.nodes.join(name, self.now)

    def clone(self) -> "Cluster":
        """Return a world of its own that is the same up to now."""
        twin = Cluster.__new__(Cluster)
        twin.now, twin.api = self.now, self.api.clone()
        twin.nodes = self.nodes.clone(twin.api)
        return twin

    # --- What is true ---------------------------------------------------------------------------------------------

    def alive(self) -> list[Container]:
        """Return the running processes: all of them have the bot's token."""
        return self.nodes.alive()

    def pods(self) -> list[Json]:
        """Return all pods; every pod of this cluster has the bot's token."""
        return self.api.all("Pod")

    def deployment(self) -> Json | None:
        """Return the Deployment."""
        return self.api.get("Deployment", DEPLOYMENT)

    # --- Time and controllers -------------------------------------------------------------------------------------

    def controllers_step(self) -> None:
        """Every controller looks once: the Deployments', the ReplicaSets', the scheduler, the garbage collectors."""
        self.deployments_step()
        self.replica_sets_step()
        self.schedule()
        controllers.collect_pods(self.api, self.now)
        controllers.collect_orphans(self.api, self.now)

    def deployments_step(self) -> None:
        """The Deployment controller looks once at each Deployment."""
        for each in self.api.all("Deployment"):
            controllers.sync_deployment(self.api, each, self.now)

    def replica_sets_step(self) -> None:
        """The ReplicaSet controller looks once at each ReplicaSet."""
        for each in self.api.all("ReplicaSet"):
            controllers.sync_replica_set(self.api, each, self.now)

    def schedule(self) -> None:
        """The scheduler binds what fits."""
        controllers.schedule(self.api, self.now)

    def kubelets_step(self) -> None:
        """Every kubelet looks once."""
        for name in self.nodes.machines:
            self.nodes.sync(name, self.now)

    def wait(self, seconds: int) -> None:
        """Let time pass. A kubelet never sleeps for more than five seconds of it."""
        while seconds > 0:
            part = min(seconds, 5)
            seconds -= part
            self.now += timedelta(seconds=part)
            self.nodes.pass_time(self.now)
            if part == 5:
                self.kubelets_step()

    def run(self, seconds: int, operator: Callable[[], object] | None = None) -> int:
        """Run everything for some time, the operator too where one is given; return the most processes seen at once."""
        most = len(self.alive())
        for _ in range(seconds):
            if operator is not None:
                operator()
            for step in (self.controllers_step, self.kubelets_step, lambda: self.wait(1)):
                step()
                most = max(most, len(self.alive()))
        return most

    def settle(self, operator: Callable[[], object], quiet: int = 10, most: int = 300) -> bool:
        """Run everything until nothing was written for `quiet` seconds; return False where that takes too long.

        Ten seconds are more than a bot needs to stop.
        """
        silent, version = 0, self.api.version
        for _ in range(most):
            self.run(1, operator)
            silent, version = (silent + 1 if version == self.api.version else 0), self.api.version
            if silent >= quiet:
                return True
        return False

    # --- What users do --------------------------------------------------------------------------------------------

    def apply_deployment(self, replicas: int = 1, strategy: str = "Recreate", version: str = "a") -> None:
        """Create the user's Deployment."""
        template = {"metadata": {"labels": APP}, "spec": {"containers": [{"name": "bot", "image": version}]}}
        where = {"namespace": DEPLOYMENT[0], "name": DEPLOYMENT[1]}
        selector = {"matchLabels": APP}
        spec = {"replicas": replicas, "strategy": {"type": strategy}, "selector": selector, "template": template}
        self.api.create("Deployment", {"metadata": where, "spec": spec}, self.now)

    def apply_bot(self, key: Key = BOT, **fields: object) -> None:
        """Create a TelegramBot that adopts the Deployment."""
        body = {"metadata": {"namespace": key[0], "name": key[1]}, "spec": spec_of(**fields)}
        self.api.create("TelegramBot", body, self.now)

    def apply_owner(self, version: str = "a", **fields: object) -> None:
        """Create a TelegramBot that owns its Deployment, or give it another version of its template."""
        spec = owning_spec(version, **fields)
        if self.api.get("TelegramBot", BOT) is None:
            meta = {"namespace": BOT[0], "name": BOT[1]}
            self.api.create("TelegramBot", {"metadata": meta, "spec": spec}, self.now)
        else:
            self.edit_bot(template=spec["template"], **fields)

    def edit_bot(self, key: Key = BOT, **fields: object) -> None:
        """Change fields of a TelegramBot's spec."""
        if self.api.get("TelegramBot", key):
            self.api.patch("TelegramBot", key, {"spec": fields})

    def delete_bot(self, key: Key = BOT) -> None:
        """Delete a TelegramBot."""
        if self.api.get("TelegramBot", key):
            self.api.delete("TelegramBot", key, self.now)

    def edit_deployment(self, **spec: object) -> None:
        """Merge-patch the Deployment's spec, as kubectl scale, patch and set image do."""
        if self.deployment() is not None:
            self.api.patch("Deployment", DEPLOYMENT, {"spec": spec})

    def set_image(self, version: str) -> None:
        """Roll out another version; what others have put into the template stays."""
        if (deployment := self.deployment()) is not None:
            containers = [{"name": "bot", "image": version}]
            template = {**deployment["spec"]["template"]}
            self.edit_deployment(template={"spec": {**template["spec"], "containers": containers}})

    def replace_template(self, version: str) -> None:
        """Replace the whole template, as kubectl replace does: a lock in it is lost."""
        if (deployment := self.deployment()) is not None:
            labels = deployment["spec"]["selector"]["matchLabels"]
            template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "bot", "image": version}]}}
            self.api.patch("Deployment", DEPLOYMENT, {"spec": {"template": None}})
            self.api.patch("Deployment", DEPLOYMENT, {"spec": {**deployment["spec"], "template": template}})

    def undo_rollout(self, replica_set: Json) -> None:
        """Go back to the template of a ReplicaSet, as kubectl rollout undo does: to its lock, or the lack of one."""
        template = controllers.unhashed(replica_set["spec"]["template"])
        self.api.patch("Deployment", DEPLOYMENT, {"spec": {"template": None}})
        self.api.patch("Deployment", DEPLOYMENT, {"spec": {"template": template}})

    def delete_deployment(self) -> None:
        """Delete the Deployment; the garbage collector deletes what it owned."""
        if self.deployment() is not None:
            self.api.delete("Deployment", DEPLOYMENT, self.now)

    def delete_pod(self, pod: Json) -> None:
        """kubectl delete pod; an eviction through the API and a drain do the same."""
        self.api.delete("Pod", key_of(pod), self.now)

    def force_delete(self, pod: Json) -> None:
        """kubectl delete pod --force --grace-period=0: the process lives on for its grace period."""
        self.api.delete("Pod", key_of(pod), self.now, grace=0)

    def add_foreign(self, name: str) -> None:
        """Create a ReplicaSet of nobody's with the Deployment's template, as one that a cascade has spared."""
        if (deployment := self.deployment()) is not None and not self.api.get("ReplicaSet", (NAMESPACE, name)):
            meta = {"namespace": NAMESPACE, "name": name, "annotations": {}}
            spec = {"replicas": 1, "template": deployment["spec"]["template"]}
            self.api.create("ReplicaSet", {"metadata": meta, "spec": spec}, self.now)

    def remove_foreign(self, name: str) -> None:
        """Delete a ReplicaSet; its pods follow."""
        if self.api.get("ReplicaSet", (NAMESPACE, name)):
            self.api.delete("ReplicaSet", (NAMESPACE, name), self.now)

    def add_stray(self, name: str, labels: Json) -> None:
        """Create a pod without an owner that runs the bot."""
        spec = {"containers": [{"name": "bot", "image": "debug"}]}
        meta = {"namespace": NAMESPACE, "name": name, "labels": labels}
        if not self.api.get("Pod", (NAMESPACE, name)):
            self.api.create("Pod", {"metadata": meta, "spec": spec, "status": {"phase": "Pending"}}, self.now)

    def set_finalizers(self, pod: Json, finalizers: list[str] | None) -> None:
        """Put finalizers on a pod, or take them off."""
        self.api.patch("Pod", key_of(pod), {"metadata": {"finalizers": finalizers}})

    def remove_node(self, name: str) -> None:
        """A machine is switched off, and the cloud says so by removing its node."""
        self.nodes.switch_off(name, self.now)
        if self.api.get("Node", ("", name)):
            self.api.delete("Node", ("", name), self.now)

    def taint_node(self, name: str) -> None:
        """A machine is switched off, and an admin says so by the out-of-service taint."""
        self.nodes.switch_off(name, self.now)
        if self.api.get("Node", ("", name)):
            taint = {"key": "node.kubernetes.io/out-of-service", "effect": "NoExecute"}
            self.api.patch("Node", ("", name), {"spec": {"taints": [taint]}})

    def heal(self) -> None:
        """All faults end: machines are there and connected, nothing hangs, no finalizer is left."""
        for each in self.nodes.alive():
            self.nodes.hang(each.uid, hung=False)
            self.nodes.set_health(each.uid, healthy=True)
        for name in self.nodes.machines:
            self.nodes.reconnect(name, self.now)
        for pod in self.pods():
            if pod["metadata"].get("finalizers"):
                self.set_finalizers(pod, None)

    def active_pods(self) -> list[Json]:
        """Return the pods that are neither being deleted nor over."""
        return [pod for pod in self.pods() if not deleting(pod) and not terminal(pod)]

    def pod_of(self, container: Container) -> Json | None:
        """Return the pod of a process, or None where the API server has forgotten it."""
        pod = self.api.get("Pod", container.pod)
        return pod if pod is not None and uid_of(pod) == container.uid else None
