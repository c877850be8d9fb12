"""What a kubelet reports of a pod, as plain functions of its containers' states.

The rules are the kubelet's (getPhase and generateAPIPodStatus in pkg/kubelet/kubelet_pods.go of Kubernetes 1.37).
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.bed.node_process import Run
    from tests.bed.telegram_state import Moment

Object = dict[str, Any]

TERMINAL = {"Succeeded", "Failed"}


@dataclass(eq=False)
class Slot:
    """One container of a pod over all its runs. `state` and `last_state` are as in a ContainerStatus."""

    spec: Object
    initial: bool = False
    state: Object = field(default_factory=lambda: {"waiting": {"reason": "ContainerCreating"}})
    last_state: Object = field(default_factory=dict)
    run: Run | None = None
    runs: dict[str, Run] = field(default_factory=dict)  # by container id, for the logs
    restarts: int = 0
    ready: bool = False
    started: bool = False

    @property
    def name(self) -> str:
        """The container's name."""
        return str(self.spec["name"])

    @property
    def exit_code(self) -> int | None:
        """How its newest run ended; None while it runs, or before."""
        ended: Object = self.state.get("terminated") or self.last_state.get("terminated") or {}
        return None if "running" in self.state else ended.get("exitCode")

    def wait(self, reason: str, message: str = "") -> None:
        """It waits, for this reason. How it ended before moves to the last state."""
        if "terminated" in self.state:
            self.last_state = {"terminated": self.state["terminated"]}
        self.state = {"waiting": {"reason": reason, "message": message} if message else {"reason": reason}}

    def begin(self, run: Run) -> None:
        """A new run of it."""
        if self.run is not None:
            self.restarts += 1
        self.runs = {run.id: run} | ({self.run.id: self.run} if self.run else {})
        if "terminated" in self.state:
            self.last_state = {"terminated": self.state["terminated"]}
        self.run = run
        self.state = {"running": {"startedAt": stamp(run.record.started)}}
        self.started = "startupProbe" not in self.spec
        self.ready = self.started and not self.initial and "readinessProbe" not in self.spec

    def finish(self) -> None:
        """Its run has ended."""
        run = self.run
        assert run is not None, "it never ran"
        code = run.exit_code
        ended: Object = {
            "exitCode": code,
            "reason": "Error" if code else "Completed",
            "startedAt": stamp(run.record.started),
            "finishedAt": stamp(run.record.ended),
            "containerID": run.id,
        }
        if code and self.spec.get("terminationMessagePolicy") == "FallbackToLogsOnError":
            ended["message"] = run.log.tail()
        self.state, self.ready = {"terminated": ended}, self.initial and code == 0

    def settle(self) -> None:
        """It will not run again: whatever it waits for, its state is how it ended, or that it never ran."""
        if "waiting" in self.state:
            lost = {
                "exitCode": 137,
                "reason": "ContainerStatusUnknown",
                "message": "The container could not be located when the pod was terminated",
            }
            self.state = {"terminated": self.last_state.get("terminated", lost)}
            self.ready = False

    def log_run(self, *, previous: bool) -> Run | None:
        """The run whose log is asked for: the newest, or the one that ended before it."""
        last = self.last_state.get("terminated", {}).get("containerID", "")
        if previous:
            return self.runs.get(last)
        ended = self.state.get("terminated", {}).get("containerID", "")
        return self.run if "running" in self.state else self.runs.get(ended or last)

    def status(self) -> Object:
        """Its ContainerStatus."""
        return {
            "name": self.name,
            "image": self.spec.get("image", ""),
            "imageID": "",
            "state": self.state,
            "lastState": self.last_state,
            "restartCount": self.restarts,
            "ready": self.ready,
            "started": "running" in self.state and self.started,
        } | ({"containerID": self.run.id} if self.run else {})


def phase(init: Sequence[Slot], containers: Sequence[Slot], policy: str, *, over: bool) -> str:
    """The pod's phase; `over` when nothing will be started any more."""
    if over:
        return "Succeeded" if all(slot.exit_code == 0 for slot in containers) else "Failed"
    if policy == "Never" and any(slot.exit_code not in {None, 0} for slot in init):
        return "Failed"
    if any("waiting" in slot.state and not slot.last_state for slot in containers) or not initialized(init):
        return "Pending"
    if policy == "Always" or any("running" in slot.state for slot in containers):
        return "Running"
    if all(slot.exit_code == 0 for slot in containers):
        return "Succeeded"
    return "Failed" if policy == "Never" else "Running"


def initialized(init: Sequence[Slot]) -> bool:
    """Whether every init container has done its work."""
    return all(slot.exit_code == 0 for slot in init)


def conditions(pod: Object, init: Sequence[Slot], containers: Sequence[Slot], phase_: str) -> list[Object]:
    """The conditions that a kubelet owns; the time of one changes only with its status."""
    unready = [slot.name for slot in containers if not slot.ready]
    reason = {"Succeeded": "PodCompleted", "Failed": "PodFailed"}.get(phase_, "ContainersNotReady")
    message = f"containers with unready status: [{' '.join(unready)}]" if reason == "ContainersNotReady" else ""
    why = {"reason": reason, "message": message} if unready else {}
    unfinished = [slot.name for slot in init if slot.exit_code != 0]
    why_not_initialized = {
        "reason": "ContainersNotInitialized",
        "message": f"containers with incomplete status: [{' '.join(unfinished)}]",
    }
    return [
        condition(pod, "Initialized", not unfinished, why_not_initialized if unfinished else {}),
        condition(pod, "Ready", not unready, why),
        condition(pod, "ContainersReady", not unready, why),
    ]


def condition(pod: Object, kind: str, true: bool, why: Object) -> Object:
    """One condition of the pod, with reason and message if there are any."""
    wanted = {"type": kind, "status": "True" if true else "False", "reason": None, "message": None, **why}
    for old in pod["status"].get("conditions", []):
        if old["type"] == kind and old["status"] == wanted["status"]:
            return wanted | {"lastTransitionTime": old.get("lastTransitionTime")}
    return wanted | {"lastTransitionTime": stamp()}


def covers(found: object, wanted: object) -> bool:
    """Whether everything wanted is found; None and an empty value count as absent. Lists of named things by name."""
    if not wanted:
        return not found or found == wanted
    if isinstance(wanted, dict):
        return isinstance(found, dict) and all(covers(found.get(key), value) for key, value in wanted.items())
    if isinstance(wanted, list):
        return isinstance(found, list) and all(any(covers(one, value) for one in found) for value in wanted)
    return found == wanted


def stamp(moment: Moment | None = None) -> str:
    """A time as Kubernetes writes it, to the second."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(moment.wall if moment else None))
