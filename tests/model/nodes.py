"""Machines, their kubelets and the process table: the truth about who may be polling.

The API server knows of a process only what a kubelet has told it. A machine that is cut off runs on, and restarts what
crashes; a pod that is force-deleted vanishes from the API server while its process lives on for its grace period.

    nodes = Nodes(api)
    nodes.join("node-1", now)
    nodes.sync("node-1", now)        # one round of its kubelet: start, report, stop, remove
    nodes.pass_time(then)            # processes that were told to stop have ended by then
    nodes.alive()
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from . import controllers
from .api import Api, Json, Key, Refused, deleting, key_of, merge, stamp, terminal, uid_of

STOPS_AFTER = 6  # seconds that a bot takes to stop after SIGTERM
ORPHAN_GRACE = 2  # the least grace period of a pod that is not in the API any more (kubelet, killPod)
HEARTBEATS_MISSED = timedelta(seconds=40)  # node-monitor-grace-period


@dataclass(frozen=True, slots=True)
class Container:
    """A pod's one container on a machine. `stop_at` is when its process ends, unless it is `hung`."""

    uid: str
    pod: Key
    node: str
    grace: int
    started: datetime
    running: bool = True
    healthy: bool = True
    hung: bool = False
    evicted: bool = False
    stop_at: datetime | None = None
    finished: datetime | None = None
    exit_code: int = 0
    message: str = ""
    restarts: int = 0
    last: Json | None = None


@dataclass(frozen=True, slots=True)
class Machine:
    """A machine: on or off, connected to the API server or not, and since when."""

    on: bool = True
    connected: bool = True
    cut_off: datetime | None = None


class Nodes:
    """Machines and containers. Both tables hold frozen values, so a copy of the tables is a copy of the world."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self.machines: dict[str, Machine] = {}
        self.containers: dict[str, Container] = {}

    def clone(self, api: Api) -> "Nodes":
        """Return the same machines, talking to another API server."""
        twin = Nodes(api)
        twin.machines, twin.containers = dict(self.machines), dict(self.containers)
        return twin

    def alive(self) -> list[Container]:
        """Return the running processes."""
        return [each for each in self.containers.values() if each.running]

    def able(self) -> list[Container]:
        """Return the running processes, and those that have crashed and that a kubelet may start again."""
        return [each for each in self.containers.values() if each.running or not (each.stop_at or each.evicted)]

    def is_alive(self, uid: str) -> bool:
        """Return whether the process of a pod runs."""
        return uid in self.containers and self.containers[uid].running

    # --- Deeds ----------------------------------------------------------------------------------------------------

    def join(self, name: str, now: datetime) -> None:
        """Add a machine and its node."""
        self.machines[name] = Machine()
        self.api.create("Node", {"metadata": {"name": name}}, now)
        controllers.node_ready(self.api, name, "True", now)

    def cut(self, name: str, now: datetime) -> None:
        """Cut a machine off: its processes live on."""
        self.machines[name] = replace(self.machines[name], connected=False, cut_off=now)

    def reconnect(self, name: str, now: datetime) -> None:
        """Connect a machine again, and switch it on. The first heartbeat comes before any status of a pod."""
        self.machines[name] = Machine()
        if self.api.get("Node", ("", name)) is None:
            self.api.create("Node", {"metadata": {"name": name}}, now)
        self.api.patch("Node", ("", name), {"spec": {"taints": None}})
        controllers.node_ready(self.api, name, "True", now)

    def switch_off(self, name: str, now: datetime) -> None:
        """Switch a machine off: nothing runs there any more, and nobody is told."""
        self.machines[name] = Machine(on=False, connected=False, cut_off=self.machines[name].cut_off or now)
        for each in self._on(name):
            self._end(each, now, 137)

    def crash(self, uid: str, now: datetime, message: str = "") -> None:
        """End a process; its kubelet will start it again."""
        if self.is_alive(uid) and self.containers[uid].stop_at is None:
            self._put(replace(self.containers[uid], message=message))
            self._end(self.containers[uid], now, 1)

    def hang(self, uid: str, *, hung: bool) -> None:
        """Let a process ignore signals, SIGKILL too (a dead disk), or no longer."""
        self._put(replace(self.containers[uid], hung=hung))

    def set_health(self, uid: str, *, healthy: bool) -> None:
        """Let a process pass or fail its readiness probe."""
        self._put(replace(self.containers[uid], healthy=healthy))

    def pressure(self, uid: str, now: datetime) -> None:
        """Let the kubelet evict a pod: it is stopped, and Failed once it has ended; nobody deletes its object."""
        each = self.containers[uid]
        self._put(replace(each, evicted=True, stop_at=each.stop_at or now + timedelta(seconds=STOPS_AFTER)))

    # --- Time -----------------------------------------------------------------------------------------------------

    def pass_time(self, now: datetime) -> None:
        """End the processes whose time has come, and notice machines that have been silent for too long."""
        for each in self.alive():
            if each.stop_at is not None and each.stop_at <= now and not each.hung:
                self._end(each, now, 0)
        for name, machine in self.machines.items():
            node = self.api.get("Node", ("", name))
            silent = machine.cut_off is not None and now - machine.cut_off >= HEARTBEATS_MISSED
            if silent and node is not None and controllers.ready(node):
                controllers.node_ready(self.api, name, "Unknown", now)

    def _on(self, name: str) -> list[Container]:
        return [each for each in self.containers.values() if each.node == name]

    def _put(self, container: Container) -> None:
        self.containers[container.uid] = container

    def _end(self, container: Container, now: datetime, code: int) -> None:
        if container.running:
            self._put(replace(container, running=False, finished=now, exit_code=code))

    # --- Kubelet --------------------------------------------------------------------------------------------------

    def sync(self, name: str, now: datetime) -> None:
        """One round of a machine's kubelet."""
        if not self.machines[name].on:
            return
        if not self.machines[name].connected:
            self._restart_unheard(name, now)
            return
        for pod in self.api.all("Pod"):
            if pod["spec"].get("nodeName") == name:
                self._sync_pod(pod, now)
        for each in self._on(name):
            self._sync_orphan(each, now)

    def _restart_unheard(self, name: str, now: datetime) -> None:
        for each in self._on(name):
            if not each.running and each.stop_at is None and not each.evicted:
                self._put(_restarted(each, now))

    def _sync_orphan(self, each: Container, now: datetime) -> None:
        """A container whose pod is no longer in the API is stopped, with at least two seconds to do so."""
        pod = self.api.get("Pod", each.pod)
        if pod is not None and uid_of(pod) == each.uid:
            return
        if not each.running:
            del self.containers[each.uid]
        elif each.stop_at is None:
            self._put(replace(each, stop_at=_stop_at(now, max(ORPHAN_GRACE, each.grace))))

    def _sync_pod(self, pod: Json, now: datetime) -> None:
        each = self.containers.get(uid_of(pod))
        if terminal(pod):
            self._remove_if_deleted(pod, now)
        elif each is not None and not each.running and (deleting(pod) or each.evicted):
            self._report_the_end(pod, each, now)
        elif deleting(pod):
            self._stop(pod, each, now)
        else:
            self._run(pod, each, now)

    def _remove_if_deleted(self, pod: Json, now: datetime) -> None:
        """The kubelet confirms a deletion only after the terminal phase has been written."""
        if deleting(pod):
            self.api.delete("Pod", key_of(pod), now, uid=uid_of(pod), grace=0)

    def _report_the_end(self, pod: Json, each: Container, now: datetime) -> None:
        """Write the terminal phase; this kubelet will never start the container again, cut off or not."""
        self._put(replace(each, stop_at=each.stop_at or now))
        reason = {"reason": "Evicted"} if each.evicted else {}
        phase = "Failed" if each.exit_code or each.evicted else "Succeeded"
        self._report(pod, {"phase": phase, **reason, **_status(each, {"terminated": _terminated(each, now)})})

    def _stop(self, pod: Json, each: Container | None, now: datetime) -> None:
        if each is None:  # deleted before it was started
            self._report(pod, {"phase": "Failed"})
            return
        grace = min(each.grace, pod["metadata"]["deletionGracePeriodSeconds"])
        at = _stop_at(now, max(grace, ORPHAN_GRACE) if grace == 0 else grace)
        self._put(replace(each, stop_at=min(each.stop_at or at, at)))

    def _run(self, pod: Json, each: Container | None, now: datetime) -> None:
        """Start what does not run, and report what does; a crash is reported before the restart."""
        if each is None:
            grace = pod["spec"].get("terminationGracePeriodSeconds", 30)
            fresh = Container(uid_of(pod), key_of(pod), pod["spec"]["nodeName"], grace, now)
            self._put(fresh)
            self._report(pod, {"phase": "Running", "startTime": stamp(now), **_running(fresh, ready=False)})
        elif each.running:
            self._report(pod, {"phase": "Running", **_running(each, ready=each.healthy)})
        elif "terminated" not in pod["status"]["containerStatuses"][0]["state"]:
            self._report(pod, {"phase": "Running", **_status(each, {"terminated": _terminated(each, now)})})
        else:
            fresh = _restarted(each, now)
            self._put(fresh)
            self._report(pod, {"phase": "Running", **_running(fresh, ready=False)})

    def _report(self, pod: Json, status: Json) -> None:
        try:
            whole = merge(pod["status"], status)
            self.api.patch("Pod", key_of(pod), {"metadata": {"uid": uid_of(pod)}, "status": whole})
        except Refused:
            return


def _stop_at(now: datetime, grace: int) -> datetime:
    return now + timedelta(seconds=min(STOPS_AFTER, grace))


def _restarted(each: Container, now: datetime) -> Container:
    fresh = Container(each.uid, each.pod, each.node, each.grace, now)
    return replace(fresh, restarts=each.restarts + 1, last=_terminated(each, now))


def _terminated(each: Container, now: datetime) -> Json:
    return {
        "exitCode": each.exit_code,
        "reason": "Error" if each.exit_code else "Completed",
        "message": each.message,
        "startedAt": stamp(each.started),
        "finishedAt": stamp(each.finished or now),
    }


def _running(each: Container, *, ready: bool) -> Json:
    return _status(each, {"running": {"startedAt": stamp(each.started)}}, ready=ready)


def _status(each: Container, state: Json, *, ready: bool = False) -> Json:
    container = {"name": "bot", "ready": ready, "restartCount": each.restarts, "state": state}
    if each.last is not None:
        container["lastState"] = {"terminated": each.last}
    return {
        "conditions": [
            {"type": "PodScheduled", "status": "True"},
            {"type": "Ready", "status": "True" if ready else "False"},
        ],
        "containerStatuses": [container],
    }
