"""A state machine over the operator's real core: users, nodes, controllers and operator act in any order.

After every step INV-1 holds (design, section 8): once the bot runs pinned and locked, no two processes run, as long as
nobody does what no lock can prevent. INV-3, INV-4 and INV-5 are checked inside `guard.py` at every write, INV-8 by a
rule and at the end. A pass is also played against a twin of the world without it: a repair never makes an overlap.

Runs are the same each time. For a longer, random search:

    MODEL_EXAMPLES=5000 .venv/bin/python -m pytest tests/model/test_machine.py
"""

import os

import msgspec
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from telegrambot_operator.core import desired
from telegrambot_operator.core.plan import plan
from telegrambot_operator.core.records import parse_deployment, template_of
from telegrambot_operator.names import LABEL_BOT
from tests.model import controllers
from tests.model.api import Json, Key, deleting, terminal, uid_of
from tests.model.cluster import BOT, BOT_ID, CONFLICT, SECOND, Cluster
from tests.model.guard import Guard, InvariantError
from tests.model.nodes import Container

EXAMPLES = int(os.environ.get("MODEL_EXAMPLES", "0"))
NODES = st.sampled_from(["node-1", "node-2"])
VERSIONS = st.sampled_from(["a", "b"])
INDEX = st.integers(0, 3)
SECONDS = st.sampled_from([1, 4, 10, 60, 120])
STRATEGIES = st.sampled_from(["Recreate", "RollingUpdate"])
PROCESS_FAULTS = ["crash", "conflict", "hang", "go on", "unhealthy", "healthy", "eviction"]
NODE_FAULTS = ["lost", "back", "removed", "tainted"]
EDITS: list[Json] = [
    *({"suspend": suspend} for suspend in (True, False)),
    *({"duplicates": duplicates} for duplicates in ("Delete", "Report")),
    *({"lock": lock} for lock in ("Scheduler", "None")),
    *({"stuckPods": {"policy": policy, "afterSeconds": 60}} for policy in ("WhenProven", "Force", "Never")),
    {"stuckPods": {"policy": "WhenProven", "afterSeconds": 0}},
]
BOTS = st.sampled_from([BOT, BOT, BOT, SECOND])
KINDS = st.sampled_from(["Pod", "Deployment", "TelegramBot"])
LOOK_AHEAD = 25  # seconds in which whatever a pass has set off shows: a bot takes six to stop
FIXED_POINT = 5  # passes, at most, until an unchanged world gives nothing to do


class World(RuleBasedStateMachine):
    """One Deployment, one bot that adopts or owns it; everything that may happen to it."""

    def __init__(self) -> None:
        super().__init__()
        self.cluster = Cluster()
        self.guard = Guard(self.cluster)
        self.protected = False
        self.started = False
        self.owned = False

    @initialize(
        replicas=st.integers(1, 3),
        strategy=STRATEGIES,
        owned=st.sampled_from([False, False, True]),
        seconds=st.sampled_from([0, 1, 3, 8, 40]),
    )
    def start(self, replicas: int, strategy: str, owned: bool, seconds: int) -> None:
        """A Deployment runs, and is being adopted for some seconds already; or the bot makes its own."""
        self.started, self.owned = True, owned
        if not owned:
            self.cluster.apply_deployment(replicas, strategy)
            self.cluster.run(5)
        self.user_creates_bot(BOT)
        self.cluster.run(seconds, self.guard.run)

    # --- The user -------------------------------------------------------------------------------------------------

    @rule(version=VERSIONS, begun=st.booleans())
    def user_rolls_out(self, version: str, begun: bool) -> None:
        self.cluster.set_image(version)
        if begun:
            self.cluster.deployments_step()
            self.cluster.replica_sets_step()

    @rule(version=VERSIONS)
    def user_edits_template(self, version: str) -> None:
        if self.owned and self.cluster.api.get("TelegramBot", BOT):
            self.cluster.apply_owner(version)

    @rule(replicas=st.integers(0, 3))
    def user_scales(self, replicas: int) -> None:
        self.cluster.edit_deployment(replicas=replicas)

    @rule(strategy=STRATEGIES)
    def user_changes_strategy(self, strategy: str) -> None:
        self.cluster.edit_deployment(strategy={"type": strategy})

    @rule(index=INDEX)
    def user_undoes_rollout(self, index: int) -> None:
        owned = self._replica_sets()
        if owned:
            self._beyond_unless(_locked(owned[index % len(owned)]["spec"]["template"]))
            self.cluster.undo_rollout(owned[index % len(owned)])

    @rule(whole=st.booleans())
    def user_replaces_template_or_deployment(self, whole: bool) -> None:
        self._beyond_unless(False)
        if whole and self.owned:
            self.cluster.delete_deployment()
        elif whole:
            self.cluster.delete_deployment()
            self.cluster.apply_deployment()
        else:
            self.cluster.replace_template("c")

    @rule(index=INDEX)
    def user_deletes_or_evicts_pod(self, index: int) -> None:
        if (pod := self._pod(index)) is not None:
            self.cluster.delete_pod(pod)

    @rule(index=INDEX)
    def user_force_deletes_pod(self, index: int) -> None:
        if (pod := self._pod(index)) is not None:
            self._beyond_unless(not self.cluster.nodes.is_alive(uid_of(pod)))
            self.cluster.force_delete(pod)

    @rule(name=st.sampled_from(["debug", "copy"]), ours=st.booleans())
    def user_starts_stray(self, name: str, ours: bool) -> None:
        """A pod without an owner; with the bot's label, no locked pod runs beside it, but a second stray would."""
        self._beyond_unless(ours and not any(controllers.controller_of(pod) == {} for pod in self.cluster.pods()))
        self.cluster.add_stray(name, {LABEL_BOT: BOT_ID} if ours else {})

    @rule(there=st.booleans())
    def somebody_keeps_a_replica_set(self, there: bool) -> None:
        """One without a Deployment, with the lock in its template: its pods come back however often they go."""
        deployment = self.cluster.deployment()
        if not there:
            self.cluster.remove_foreign("foreign")
        elif deployment is not None and _locked(deployment["spec"]["template"]):
            self.cluster.add_foreign("foreign")

    @rule(index=INDEX, held=st.booleans())
    def somebody_sets_finalizer(self, index: int, held: bool) -> None:
        if (pod := self._pod(index)) is not None:
            self.cluster.set_finalizers(pod, ["example.com/hold"] if held else None)

    @rule(key=BOTS, change=st.sampled_from(EDITS))
    def user_edits_bot(self, key: Key, change: Json) -> None:
        self._beyond_unless(change.get("lock") != "None" and change.get("stuckPods", {}).get("policy") != "Force")
        self.cluster.edit_bot(key, **change)

    @rule(key=BOTS)
    def user_deletes_bot(self, key: Key) -> None:
        self._beyond_unless(self.cluster.api.get("TelegramBot", key) is None)
        self.cluster.delete_bot(key)

    @rule(key=BOTS)
    def user_creates_bot(self, key: Key) -> None:
        if self.cluster.api.get("TelegramBot", key):
            return
        if self.owned and key == BOT:
            self.cluster.apply_owner()
        else:
            self.cluster.apply_bot(key)

    # --- Machines and processes -----------------------------------------------------------------------------------

    @rule(index=INDEX, fault=st.sampled_from(PROCESS_FAULTS))
    def process_is_struck(self, index: int, fault: str) -> None:
        if alive := self.cluster.alive():
            self._strike(alive[index % len(alive)], fault)

    def _strike(self, container: Container, fault: str) -> None:
        nodes, uid = self.cluster.nodes, container.uid
        match fault:
            case "crash":
                nodes.crash(uid, self.cluster.now)
            case "conflict":
                nodes.crash(uid, self.cluster.now, CONFLICT)
            case "hang" | "go on":
                nodes.hang(uid, hung=fault == "hang")
            case "unhealthy" | "healthy":
                nodes.set_health(uid, healthy=fault == "healthy")
            case "eviction" if nodes.machines[container.node].connected:
                nodes.pressure(uid, self.cluster.now)

    @rule(name=NODES, fault=st.sampled_from(NODE_FAULTS))
    def node_is_struck(self, name: str, fault: str) -> None:
        match fault:
            case "lost":
                self.cluster.nodes.cut(name, self.cluster.now)
            case "back":
                self.cluster.nodes.reconnect(name, self.cluster.now)
            case "removed":
                self.cluster.remove_node(name)
            case "tainted":
                self.cluster.taint_node(name)

    @rule(index=INDEX, fault=st.sampled_from([*NODE_FAULTS, "hang", "crash"]), pause=st.sampled_from([0, 5, 120, 120]))
    def deleted_pod_is_struck(self, index: int, fault: str, pause: int) -> None:
        """A pod hangs in Terminating, in one of the ways of section 5."""
        alive = self.cluster.alive()
        pod = self.cluster.pod_of(alive[index % len(alive)]) if alive else None
        if pod is None:
            return
        self._strike(alive[index % len(alive)], fault)
        self.cluster.delete_pod(pod)
        self.node_is_struck(pod["spec"]["nodeName"], fault)
        self.cluster.wait(pause)
        self.guard.run()

    # --- Time and controllers -------------------------------------------------------------------------------------

    @rule(seconds=SECONDS)
    def time_passes(self, seconds: int) -> None:
        self.cluster.wait(seconds)

    @rule(which=st.sampled_from(["Deployments", "ReplicaSets", "scheduler", "taint manager", "all"]))
    def controllers_look(self, which: str) -> None:
        match which:
            case "Deployments":
                self.cluster.deployments_step()
            case "ReplicaSets":
                self.cluster.replica_sets_step()
            case "scheduler":
                self.cluster.schedule()
            case "taint manager":
                controllers.evict_from_lost_nodes(self.cluster.api, self.cluster.now)
            case "all":
                self.cluster.controllers_step()

    @rule(name=NODES)
    def kubelet_looks(self, name: str) -> None:
        self.cluster.nodes.sync(name, self.cluster.now)

    @rule(seconds=st.sampled_from([1, 3, 40]), operated=st.booleans())
    def everything_runs(self, seconds: int, operated: bool) -> None:
        for _ in range(seconds):
            self.cluster.run(1, self.guard.run if operated else None)
            self.at_most_one_process()

    # --- The operator ---------------------------------------------------------------------------------------------

    @rule(key=BOTS)
    def operator_passes(self, key: Key) -> None:
        comparable, before = self._comparable(), self.cluster.clone()
        self.guard.run_pass(key)
        after = self.cluster.clone().run(LOOK_AHEAD)
        if after > 1 and comparable and after > (without := _at_worst(before)):
            raise InvariantError(f"INV-1: a pass leads to {after} processes at once, without it there are {without}")

    @rule(key=BOTS, writes=st.integers(0, 3))
    def operator_crashes_in_a_pass(self, key: Key, writes: int) -> None:
        self.guard.run_pass(key, crash_after=writes)

    @rule(kind=KINDS)
    def watch_stalls(self, kind: str) -> None:
        self.guard.freeze(kind)

    @rule()
    def watch_catches_up(self) -> None:
        self.guard.thaw()

    @rule()
    def world_stands_still(self) -> None:
        self.guard.thaw()
        self._reaches_fixed_point()

    # --- What holds -----------------------------------------------------------------------------------------------

    @invariant()
    def at_most_one_process(self) -> None:
        alive = self.cluster.alive()
        if self.protected and len(alive) > 1:
            raise InvariantError(f"INV-1: these run at once: {[each.pod[1] for each in alive]}")
        self.protected = self.protected or self._pinned_and_settled()

    def teardown(self) -> None:
        """Once all faults end, the bot runs, the status says so, and nothing is written any more."""
        if not self.started:
            return
        self._end_of_trouble()
        if not self.cluster.settle(self.guard.run):
            raise InvariantError("INV-8: the world does not settle")
        self._reaches_fixed_point()
        self._bot_runs()

    def _end_of_trouble(self) -> None:
        self.guard.restart()
        self.cluster.heal()
        self.cluster.delete_bot(SECOND)
        self.cluster.remove_foreign("foreign")
        for name in ("debug", "copy"):
            pod = self.cluster.api.get("Pod", (BOT[0], name))
            if pod is not None and not deleting(pod) and LABEL_BOT not in pod["metadata"]["labels"]:
                self.cluster.delete_pod(pod)  # the operator cannot know of it; the others it must delete
        self.user_creates_bot(BOT)
        self.cluster.edit_bot(duplicates="Delete", stuckPods={"policy": "WhenProven", "afterSeconds": 60})

    def _bot_runs(self) -> None:
        bot = self.cluster.api.get("TelegramBot", BOT) or {}
        wanted = 0 if bot["spec"].get("suspend") else 1
        told = {each["type"]: each for each in bot["status"]["conditions"]}
        alive = self.cluster.alive()
        if len(alive) != wanted or sum(not terminal(pod) for pod in self.cluster.pods()) != wanted:
            raise InvariantError(f"liveness: {len(alive)} processes run instead of {wanted}; {told}")
        ready = (told["Ready"]["status"], told["Ready"]["reason"])
        if ready != (("True", "Running") if wanted else ("False", "Suspended")):
            raise InvariantError(f"liveness: the status says {told['Ready']}")
        for kind, status in (("Singleton", "True"), ("Pinned", "True"), ("Stalled", "False"), ("Reconciling", "False")):
            if told[kind]["status"] != status:
                raise InvariantError(f"liveness: the status says {told[kind]}")

    def _reaches_fixed_point(self) -> None:
        """An unchanged world needs a few passes, and then none of them writes or wants to."""
        for _ in range(FIXED_POINT):
            writes = self.guard.writes
            self.guard.run()
            if self.guard.writes == writes:
                break
        else:
            raise InvariantError(f"INV-8: still writing after {FIXED_POINT} passes over an unchanged world")
        for key in self.guard.bot_keys():
            if actions := plan(self.guard.observe(key), self.cluster.now).actions:
                raise InvariantError(f"INV-8: still to do in a world where nothing helps: {actions}")

    # --- Helpers --------------------------------------------------------------------------------------------------

    def _pod(self, index: int) -> Json | None:
        pods = self.cluster.pods()
        return pods[index % len(pods)] if pods else None

    def _controlled(self, replica_set: Json) -> bool:
        deployment = self.cluster.deployment()
        return bool(deployment and controllers.controller_of(replica_set).get("uid") == uid_of(deployment))

    def _lets_strangers_in(self) -> bool:
        """Whether others wait, or will, behind a lock that is to go: a bot that is let go of is not guarded."""
        bot = self.cluster.api.get("TelegramBot", BOT)
        released = bot is None or bot["spec"].get("lock") == "None"
        waiting = [pod for pod in self.cluster.pods() if not pod["spec"].get("nodeName")]
        strangers = {controllers.controller_of(pod).get("uid") for pod in waiting}
        strangers |= {uid_of(each) for each in self.cluster.api.all("ReplicaSet")}
        return released and bool(strangers - {uid_of(each) for each in self._replica_sets()})

    def _replica_sets(self) -> list[Json]:
        return [each for each in self.cluster.api.all("ReplicaSet") if self._controlled(each)]

    def _lasting(self, container: Container) -> bool:
        """Whether the API server shows the process until it has ended: not so after a force delete."""
        pod = self.cluster.pod_of(container)
        return pod is not None and pod["metadata"].get("deletionGracePeriodSeconds") != 0

    def _beyond_unless(self, within_reach: bool) -> None:
        self.protected = self.protected and within_reach

    def _forcing(self) -> bool:
        return any(
            (each["spec"].get("stuckPods") or {}).get("policy") == "Force"
            for each in self.cluster.api.all("TelegramBot")
        )

    def _comparable(self) -> bool:
        """Whether the operator can know of all processes, now and soon: each has a pod with a label that it goes by."""
        if self._forcing() or self._lets_strangers_in():
            return False
        known = all(self.cluster.pod_of(each) for each in self.cluster.alive())
        pods = [pod for pod in self.cluster.pods() if not terminal(pod)]
        return known and all({LABEL_BOT, "app"} & set(pod["metadata"]["labels"]) for pod in pods)

    def _pinned_and_settled(self) -> bool:
        """Whether the lock is in force: on the template, and on every pod that may run."""
        deployment, bot = self.cluster.deployment(), self.cluster.api.get("TelegramBot", BOT)
        if deployment is None or bot is None or bot["spec"].get("lock") == "None" or self._forcing():
            return False
        spec = deployment["spec"]
        pinned = spec["replicas"] <= 1 and spec["strategy"]["type"] == "Recreate" and _locked(spec["template"])
        settled = deployment["status"].get("observedGeneration") == deployment["metadata"]["generation"]
        running = [pod for pod in self.cluster.pods() if not terminal(pod)]
        known = all(self._lasting(each) for each in self.cluster.nodes.able())
        active = [each for each in self.cluster.api.all("ReplicaSet") if each["spec"]["replicas"]]
        locked = all(_locked(each["spec"]["template"]) for each in active) and all(_locked(pod) for pod in running)
        return pinned and settled and known and locked and len(self.cluster.alive()) <= 1


def _at_worst(cluster: Cluster) -> int:
    """Return the most processes at once in the time to come, whoever looks first: controllers keep no order."""
    hasty = cluster.clone()
    hasty.replica_sets_step()
    hasty.schedule()
    hasty.kubelets_step()
    return max(cluster.clone().run(LOOK_AHEAD), hasty.run(LOOK_AHEAD))


def _locked(template: Json) -> bool:
    """Whether a template, or a pod, carries the lock; that of the core itself, not a copy of its rule."""
    body = {"metadata": {}, "spec": {"template": template}}
    return desired.lock_in_force(template_of(parse_deployment(msgspec.json.encode(body))), BOT_ID)


TestWorld = World.TestCase
TestWorld.settings = settings(
    max_examples=EXAMPLES or 200,
    stateful_step_count=40,
    derandomize=not EXAMPLES,
    database=None,
    report_multiple_bugs=False,
    phases=[Phase.generate, Phase.shrink],
    deadline=None,  # a slow machine is no bug
    suppress_health_check=[HealthCheck.too_slow],  # a start settles a whole cluster
)
