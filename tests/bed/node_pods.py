"""One pod on a node, from the moment it is bound to it until its processes are gone. The kubelet's rules:

1. Init containers run one after the other, then all containers at once. Each is started again as the restart policy
   says: at once the first time, then after a back-off that doubles.
2. A deleted pod gets its preStop hook, SIGTERM, its grace period (which may be shortened meanwhile), SIGKILL. Then its
   terminal phase is reported, and only then the object removed. Nothing is restarted meanwhile.
3. A pod whose object vanished is an orphan. Its processes live on until the node notices, and then end as in rule 2.
4. An evicted pod ends as in rule 2, but its object stays, Failed. So does one that somebody else declared terminal.
5. A frozen node does none of this; what came due meanwhile is done when it thaws.
"""

from __future__ import annotations

import asyncio
import base64
import itertools
import logging
import os
import signal
import time
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aiohttp import ClientError

from tests.bed.kube import STRATEGIC, KubeError, path
from tests.bed.node_probes import http_answers, named_ports, results
from tests.bed.node_process import Identity, ImageError, Run, command_of, expand, is_program
from tests.bed.node_status import TERMINAL, Slot, condition, conditions, covers, phase, stamp
from tests.bed.node_volumes import Mounts, VolumeError
from tests.bed.process import Child

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine, Mapping
    from pathlib import Path

    from tests.bed.kube import Kube, Object
    from tests.bed.node_process import Record

UNREACHABLE = (ClientError, OSError, TimeoutError, KubeError)
_LEAST_WINDOW = 2.0  # seconds between SIGTERM and SIGKILL at least, minimumGracePeriodInSeconds of the kubelet
_BACKOFF_LIMIT = 30  # a kubelet's 300 s over its 10 s
_RETRY = 0.5  # seconds until a write that failed is tried again
_SOON = 0.02  # ... and a read that the node authorizer refuses because it has not heard of the pod's binding yet
_REFERENCES = (("secretKeyRef", "secrets", "Secret"), ("configMapKeyRef", "configmaps", "ConfigMap"))

_logger = logging.getLogger(__name__)


class ConfigError(Exception):
    """A container's environment cannot be made; the message is the kubelet's."""


@dataclass(eq=False)
class Host:
    """What a pod needs of its node. `awake` returns once the node is not frozen; times in seconds.

    `kills` and `removals` are set while the node does what their names say; a fault clears them.
    """

    name: str
    kube: Kube
    folder: Path
    environment: Mapping[str, str]
    backoff: float
    orphan_delay: float
    awake: Callable[[], Awaitable[object]]
    history: list[Record] = field(default_factory=list)
    living: set[Run] = field(default_factory=set)
    programs: list[Run] = field(default_factory=list)
    kills: asyncio.Event = field(default_factory=asyncio.Event)
    removals: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        """Begin without faults."""
        self.kills.set()
        self.removals.set()

    def start(self, argv: list[str], folder: Path, environment: Mapping[str, str], identity: Identity) -> Run:
        """Start a process and note it in the process table."""
        run = Run.start(argv, folder, environment, identity)
        self.history.append(run.record)
        self.living.add(run)
        run.on_end(lambda: self.living.discard(run))
        return run


class PodWorker:
    """Runs one pod; `pod` is the newest version of its object that was seen."""

    def __init__(self, host: Host, pod: Object, address: str) -> None:
        """Call `work` to start it."""
        spec = pod["spec"]
        self.pod = pod
        self.namespace: str = pod["metadata"]["namespace"]
        self.name: str = pod["metadata"]["name"]
        self.uid: str = pod["metadata"]["uid"]
        self.init = [Slot(container, initial=True) for container in spec.get("initContainers", [])]
        self.containers = [Slot(container) for container in spec["containers"]]
        self.vanished = False
        self.loopback = _own_loopback()
        self._mounts: dict[str, Mounts] = {}  # by container
        self._host = host
        self._address = address
        self._policy: str = spec.get("restartPolicy", "Always")
        self._never_ours = pod["status"].get("phase") in TERMINAL
        self._started_at = pod["status"].get("startTime", stamp())
        self._evicted: Object = {}
        self._over = False
        self._changed = asyncio.Event()
        for slot in self.containers if self.init else []:
            slot.wait("PodInitializing")

    # What the node tells it

    def see(self, pod: Object) -> None:
        """A version of the object. The answer to a write of ours may come before older events of the watch."""
        if _version(pod) > _version(self.pod):
            self.pod = pod
            self._touch()

    def vanish(self) -> None:
        """The object is gone."""
        self.vanished = True
        self._touch()

    def evict(self, message: str) -> None:
        """The node is short of something: the pod must go, and its object stays as a witness."""
        self._evicted = {"reason": "Evicted", "message": message}
        self._touch()

    def renew_tokens(self) -> None:
        """Give its containers new tokens."""
        for mounts in self._mounts.values():
            mounts.renew()

    def slot(self, container: str) -> Slot | None:
        """The container of this name."""
        return next((slot for slot in [*self.init, *self.containers] if slot.name == container), None)

    async def work(self) -> None:
        """Do all of the above; returns when the object and every process are gone."""
        async with _background(self._report()):
            async with _background(self._live()):
                await self._until(lambda: self._must_end)
            await self._end()

    # Rule 1: living

    async def _live(self) -> None:
        if self._never_ours:
            return
        for slot in self.init:
            await self._keep_running(slot)
            if slot.exit_code != 0:
                return
        async with asyncio.TaskGroup() as group:
            for slot in self.containers:
                group.create_task(self._keep_running(slot))

    async def _keep_running(self, slot: Slot) -> None:
        """Start a container, and again as often as the restart policy says."""
        pause = 0.0
        while True:
            run = await self._start(slot)
            async with _background(self._probe(slot, run)), _background(self._keep_tokens(slot)):
                await run.ended()
            await self._host.awake()
            slot.finish()
            self._touch()
            if not self._restarts(slot):
                return
            pause = await self._back_off(slot, pause)

    async def _keep_tokens(self, slot: Slot) -> None:
        if slot.name in self._mounts:
            await self._mounts[slot.name].keep(self._host.awake)

    def _restarts(self, slot: Slot) -> bool:
        if slot.exit_code == 0:
            return self._policy == "Always" and not slot.initial
        return self._policy != "Never"

    async def _back_off(self, slot: Slot, pause: float) -> float:
        """Wait before the next start; returns the pause after that one."""
        longest = _BACKOFF_LIMIT * self._host.backoff
        if pause:
            pod = f"{self.name}_{self.namespace}({self.uid})"
            words = f"back-off {pause:g}s restarting failed container={slot.name} pod={pod}"
            await self._hold(slot, "CrashLoopBackOff", words, pause)
        assert slot.run is not None
        ran = slot.run.record
        healthy = ran.ended is not None and ran.ended.mono - ran.started.mono > 2 * longest
        return self._host.backoff if healthy or not pause else min(2 * pause, longest)

    async def _start(self, slot: Slot) -> Run:
        """Start the container's process, as soon as its environment and image are there."""
        while True:
            await self._host.awake()
            try:
                environment = await self._environment(slot.spec) | await self._surroundings(slot)
                argv = await asyncio.to_thread(command_of, slot.spec, environment)
                return self._run(slot, argv, environment)
            except (ConfigError, VolumeError) as error:
                await self._hold(slot, "CreateContainerConfigError", str(error), self._host.backoff)
            except ImageError as error:
                await self._hold(slot, *_image_words(slot, str(error)), self._host.backoff)
            except UNREACHABLE as error:
                refused = isinstance(error, KubeError) and error.status == 403
                await asyncio.sleep(_SOON if refused else _RETRY)

    async def _hold(self, slot: Slot, reason: str, message: str, pause: float) -> None:
        slot.wait(reason, message)
        self._touch()
        await asyncio.sleep(pause)

    def _run(self, slot: Slot, argv: list[str], environment: Mapping[str, str]) -> Run:
        identity = Identity(self.namespace, self.name, self.uid, slot.name, self._host.name)
        run = self._host.start(argv, self._folder(), environment, identity)
        run.on_end(self._touch)
        slot.begin(run)
        if is_program(slot.spec):
            self._host.programs.append(run)
        self._touch()
        return run

    def _folder(self) -> Path:
        """The working directory of the pod's processes, which they share. It stands in for a volume."""
        folder = self._host.folder / self.uid
        folder.mkdir(exist_ok=True)
        return folder

    async def _probe(self, slot: Slot, run: Run) -> None:
        """Ask the probes: `ready` is as the readiness probe has it, and what fails its liveness probe is stopped."""
        if slot.initial:
            return
        if startup := slot.spec.get("startupProbe"):
            slot.started = await anext(self._results(startup, slot, run))
            if not slot.started:
                await self._stop(slot, time.monotonic())
                return
            slot.ready = "readinessProbe" not in slot.spec
            self._touch()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._mind_readiness(slot, run))
            group.create_task(self._mind_liveness(slot, run))

    async def _mind_readiness(self, slot: Slot, run: Run) -> None:
        if probe := slot.spec.get("readinessProbe"):
            async for result in self._results(probe, slot, run):
                slot.ready = result and run.alive
                self._touch()

    async def _mind_liveness(self, slot: Slot, run: Run) -> None:
        if probe := slot.spec.get("livenessProbe"):
            async for result in self._results(probe, slot, run):
                if not result:
                    await self._stop(slot, time.monotonic())
                    return

    def _results(self, probe: Object, slot: Slot, run: Run) -> AsyncGenerator[bool]:
        """What a probe gives. `exec` and `httpGet` are known; any other kind fails."""
        ports = named_ports(slot.spec)

        async def ask(probe: Object) -> bool:
            patience = probe.get("timeoutSeconds", 1)
            if "httpGet" in probe:
                return await http_answers(probe["httpGet"], self.loopback, ports, patience)
            return await self._execute(probe, run, patience)

        return results(probe, ask, self._host.awake)

    async def _execute(self, hook: Object, run: Run, patience: float) -> bool:
        """Run the command of a probe or a hook beside a container; whether it succeeded in time."""
        command = hook.get("exec", {}).get("command")
        if not command:
            return False
        child = Child.start(command, env=run.record.environment, cwd=self._folder())
        try:
            return await child.exited(patience) == 0
        except TimeoutError:
            return False
        finally:
            child.send(signal.SIGKILL)

    # Rules 2 to 4: ending

    @property
    def _must_end(self) -> bool:
        terminal = self.pod["status"].get("phase") in TERMINAL and not self._finished
        return self.vanished or self._deleted or bool(self._evicted) or terminal

    @property
    def _deleted(self) -> bool:
        return "deletionTimestamp" in self.pod["metadata"]

    @property
    def _finished(self) -> bool:
        """Whether every container has come to its own end."""
        return self._phase() in TERMINAL

    def _grace(self) -> float:
        if self._evicted and not self._deleted:
            return 0.0
        spec: float = self.pod["spec"].get("terminationGracePeriodSeconds", 30)
        return float(self.pod["metadata"].get("deletionGracePeriodSeconds", spec))

    async def _end(self) -> None:
        if self.vanished:
            await asyncio.sleep(self._host.orphan_delay)
        await self._host.awake()
        began = time.monotonic()
        slots = [*self.init, *self.containers]
        await asyncio.gather(*(self._stop(slot, began) for slot in slots if "running" in slot.state))
        await self._host.awake()
        self._settle()
        await self._until(lambda: self.vanished or (self._deleted and self._reported()))
        await self._remove()
        await self._until(lambda: self.vanished)

    async def _stop(self, slot: Slot, began: float) -> None:
        """End one container within the pod's grace period, as that stands at each moment."""
        run = slot.run
        assert run is not None, "only what runs is stopped"
        async with _background(self._pre_stop(slot, run)) as hook:
            hook.add_done_callback(lambda _: self._touch())
            await self._until(lambda: hook.done() or not run.alive, lambda: began + self._grace())
        await self._host.awake()
        run.send(signal.SIGTERM)
        least = time.monotonic() + _LEAST_WINDOW
        await self._until(lambda: not run.alive, lambda: max(least, began + self._grace()))
        await self._host.awake()
        await self._host.kills.wait()
        run.send(signal.SIGKILL)
        await run.ended()

    async def _pre_stop(self, slot: Slot, run: Run) -> None:
        hook = slot.spec.get("lifecycle", {}).get("preStop", {})
        if "sleep" in hook:
            await asyncio.sleep(hook["sleep"]["seconds"])
        elif "exec" in hook:
            await self._execute(hook, run, self._grace())

    def _settle(self) -> None:
        """Nothing runs any more, and nothing will."""
        for slot in [*self.init, *self.containers]:
            if "running" in slot.state:
                slot.finish()
            slot.settle()
        self._over = True
        self._touch()

    async def _remove(self) -> None:
        """Delete the object for good, if it still is this pod. A finalizer may keep it."""
        await self._host.removals.wait()
        while not self.vanished:
            await self._host.awake()
            try:
                await self._host.kube.delete(path("pods", self.namespace, self.name), uid=self.uid, grace=0)
            except UNREACHABLE:
                await asyncio.sleep(_RETRY)
            else:
                return

    # What the API server is told

    def status(self) -> Object:
        """The pod's status as this node sees it. A phase that is terminal stays."""
        now = self._phase()
        known = self.pod["status"].get("phase")
        started = any(slot.run for slot in [*self.init, *self.containers])
        address = {"podIP": self._address, "podIPs": [{"ip": self._address}]} if started else {}
        return {
            "observedGeneration": self.pod["metadata"].get("generation"),
            "phase": known if known in TERMINAL else now,
            "hostIP": "127.0.0.1",
            "hostIPs": [{"ip": "127.0.0.1"}],
            "startTime": self._started_at,
            "conditions": conditions(self.pod, self.init, self.containers, now) + self._disruption(),
            "initContainerStatuses": [slot.status() for slot in self.init],
            "containerStatuses": [slot.status() for slot in self.containers],
            **address,
            **(self._evicted if self._over else {}),
        }

    def _disruption(self) -> list[Object]:
        """What a kubelet leaves on a pod that it evicts."""
        why = {"reason": "TerminationByKubelet", "message": self._evicted.get("message")}
        return [condition(self.pod, "DisruptionTarget", True, why)] if self._over and self._evicted else []

    def _phase(self) -> str:
        if self._over and self._evicted:
            return "Failed"
        return phase(self.init, self.containers, self._policy, over=self._over)

    def _reported(self) -> bool:
        return self._never_ours or covers(self.pod["status"], self.status())

    async def _report(self) -> None:
        """Bring the stored status in line with the real one, whoever changed either of them."""
        while True:
            await self._until(lambda: not self.vanished and not self._reported())
            await self._host.awake()
            body = {"metadata": {"uid": self.uid}, "status": self.status()}
            try:
                where = path("pods", self.namespace, self.name, "status")
                self.see(await self._host.kube.patch(where, body, STRATEGIC))
            except UNREACHABLE as error:
                if isinstance(error, KubeError) and error.status not in {404, 409}:
                    _logger.warning("status of pod %s/%s not taken: %s", self.namespace, self.name, error)
                await asyncio.sleep(_RETRY)

    # Environments

    async def _surroundings(self, slot: Slot) -> dict[str, str]:
        """Make what an image's program has around it, and say where that is."""
        if not is_program(slot.spec):
            return {}
        root = self._folder() / f"root-{slot.name}"
        mounts = Mounts(self._host.kube, self.pod, slot.spec, root, self._field)
        await mounts.fill()
        self._mounts[slot.name] = mounts
        return {"BED_ROOT": str(root), "BED_ADDRESS": self.loopback}

    async def _environment(self, container: Object) -> dict[str, str]:
        """What the process gets: the node's own variables, then those of the container."""
        environment = {**self._host.environment, "HOSTNAME": self.name}
        for source in container.get("envFrom", []):
            kind, reference = ("secrets", "secretRef") if "secretRef" in source else ("configmaps", "configMapRef")
            values = await self._values(kind, source[reference])
            environment |= {source.get("prefix", "") + key: value for key, value in values.items()}
        for entry in container.get("env", []):
            value = await self._value(entry, environment)
            environment |= {} if value is None else {entry["name"]: value}
        return environment

    async def _value(self, entry: Object, environment: Mapping[str, str]) -> str | None:
        source = entry.get("valueFrom", {})
        if "fieldRef" in source:
            return self._field(source["fieldRef"]["fieldPath"])
        for reference, kind, title in _REFERENCES:
            if reference in source:
                wanted = source[reference]
                value = (await self._values(kind, wanted)).get(wanted["key"])
                if value is None and not wanted.get("optional"):
                    place = f"{self.namespace}/{wanted['name']}"
                    raise ConfigError(f"couldn't find key {wanted['key']} in {title} {place}")
                return value
        return expand(entry.get("value", ""), environment)

    async def _values(self, kind: str, reference: Object) -> dict[str, str]:
        """All that a Secret or ConfigMap holds."""
        found = await self._host.kube.get(kind, self.namespace, reference["name"])
        if found is None:
            if reference.get("optional"):
                return {}
            raise ConfigError(f'{kind.removesuffix("s")} "{reference["name"]}" not found')
        data: dict[str, str] = found.get("data") or {}
        if kind == "secrets":
            return {key: base64.b64decode(value).decode(errors="replace") for key, value in data.items()}
        return data

    def _field(self, field_path: str) -> str:
        """The downward API, as far as names go: metadata.name, spec.nodeName, metadata.labels['app'] and such."""
        head, _, key = field_path.partition("['")
        value: Any = {**self.pod, "status": self.pod["status"] | {"podIP": self._address}}
        for part in head.split("."):
            value = value.get(part, {})
        return str(value.get(key.removesuffix("']"), "") if key else value)

    # Waiting

    def _touch(self) -> None:
        """Something changed: everyone in `_until` looks again."""
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def _until(self, fact: Callable[[], bool], deadline: Callable[[], float] | None = None) -> None:
        """Wait for the fact, or for a deadline on the monotonic clock that may move."""
        while not fact():
            left = None if deadline is None else deadline() - time.monotonic()
            if left is not None and left <= 0:
                return
            with suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._changed.wait()


@asynccontextmanager
async def _background(work: Coroutine[Any, Any, None]) -> AsyncIterator[asyncio.Task[None]]:
    """Run the coroutine until the block ends. A fault in it is shown at once, and raised at the end."""
    task = asyncio.create_task(work)
    task.add_done_callback(_complain)
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait([task])
        if not task.cancelled():
            task.result()


_loopbacks = itertools.cycle(range(1, 255))


def _own_loopback() -> str:
    """A loopback address for one pod: beds side by side are told apart by their process ids."""
    us = os.getpid()
    return f"127.{us >> 8 & 255}.{us & 255}.{next(_loopbacks)}"


def _version(pod: Object) -> int:
    return int(pod["metadata"]["resourceVersion"])


def _complain(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and task.exception():
        _logger.error("a pod's task failed", exc_info=task.exception())


def _image_words(slot: Slot, image: str) -> tuple[str, str]:
    """The kubelet's two reasons in turn: it tried, and it waits before it tries again."""
    if slot.state.get("waiting", {}).get("reason") == "ErrImagePull":
        return "ImagePullBackOff", f'Back-off pulling image "{image}"'
    return "ErrImagePull", f'failed to pull and unpack image "{image}": not found'
