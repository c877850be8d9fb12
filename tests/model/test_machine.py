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
from tests.model import controllers, known_gaps
from tests.model.api import Json, deleting, terminal, uid_of
from tests.model.cluster import BOT, BOT_ID, CONFLICT, SECOND, Cluster
from tests.model.guard import Guard, InvariantError

EXAMPLES = int(os.environ.get("MODEL_EXAMPLES", "0"))
NODES = st.sampled_from(["node-1", "node-2"])
VERSIONS = st.sampled_from(["a", "b"])
INDEX = st.integers(0, 3)
SECONDS = st.sampled_from([1, 4, 10, 60, 120])
OVERDUE = st.sampled_from([60] if known_gaps.READY_NODE_PROVES_TOO_MUCH else [0, 60])
BOTS = st.sampled_from([BOT, BOT, BOT, SECOND])
KINDS = st.sampled_from(["Pod", "Deployment", "TelegramBot"])
LOOK_AHEAD = 25  # seconds in which whatever a pass has set off shows: a bot takes six to stop
FIXED_POINT = 5  # passes, at most, until an unchanged world gives nothing to do


class World(RuleBasedStateMachine):
    """One Deployment, one bot; everything that may happen to it."""

    def __init__(self) -> None:
        super().__init__()
        self.cluster = Cluster()
        self.guard = Guard(self.cluster)
        self.protected = False

    @initialize(
        replicas=st.integers(1, 3), strategy=st.sampled_from(["Recreate", "RollingUpdate"]), settled=st.booleans()
    )
    def start(self, replicas: int, strategy: str, settled: bool) -> None:
        self.cluster.apply_deployment(replicas, strategy)
        self.cluster.run(5)
        if settled:
            self.cluster.apply_bot()
            self.cluster.run(40, self.guard.run)

    # --- The user -------------------------------------------------------------------------------------------------

    @rule(version=VERSIONS)
    def user_rolls_out(self, version: str) -> None:
        self.cluster.set_image(version)

    @rule(replicas=st.integers(0, 3))
    def user_scales(self, replicas: int) -> None:
        self.cluster.edit_deployment(replicas=replicas)

    @rule(strategy=st.sampled_from(["Recreate", "RollingUpdate"]))
    def user_changes_strategy(self, strategy: str) -> None:
        self.cluster.edit_deployment(strategy={"type": strategy})

    @rule(index=INDEX)
    def user_undoes_rollout(self, index: int) -> None:
        owned = [each for each in self.cluster.api.all("ReplicaSet") if self._controlled(each)]
        if owned:
            self._beyond_unless(_locked(owned[index % len(owned)]["spec"]["template"]))
            self.cluster.undo_rollout(owned[index % len(owned)])

    @rule(version=VERSIONS)
    def user_replaces_template(self, version: str) -> None:
        self._beyond_unless(False)
        self.cluster.replace_template(version)

    @rule()
    def user_recreates_deployment(self) -> None:
        self._beyond_unless(False)
        self.cluster.recreate_deployment()

    @rule(index=INDEX)
    def user_deletes_or_evicts_pod(self, index: int) -> None:
        if (pod := self._pod(index)) is not None:
            self.cluster.delete_pod(pod)

    @rule(index=INDEX)
    def user_force_deletes_pod(self, index: int) -> None:
        if (pod := self._pod(index)) is not None:
            self._beyond_unless(not self.cluster.nodes.is_alive(uid_of(pod)))
            self.cluster.force_delete(pod)

    @rule(index=INDEX, name=st.sampled_from(["debug", "copy"]), ours=st.booleans())
    def user_starts_stray(self, index: int, name: str, ours: bool) -> None:
        """A pod without an owner; with the bot's label, the locked pods keep it from being bound."""
        del index
        self._beyond_unless(ours)
        self.cluster.add_stray(name, {"singleton.bot/bot": BOT_ID} if ours else {})

    @rule(index=INDEX, held=st.booleans())
    def somebody_sets_finalizer(self, index: int, held: bool) -> None:
        if (pod := self._pod(index)) is not None:
            self.cluster.set_finalizers(pod, ["example.com/hold"] if held else None)

    @rule(suspend=st.booleans(), key=BOTS)
    def user_suspends(self, suspend: bool, key: tuple[str, str]) -> None:
        self.cluster.edit_bot(key, suspend=suspend)

    @rule(duplicates=st.sampled_from(["Delete", "Report"]), key=BOTS)
    def user_chooses_duplicates(self, duplicates: str, key: tuple[str, str]) -> None:
        self.cluster.edit_bot(key, duplicates=duplicates)

    @rule(policy=st.sampled_from(["WhenProven", "Force", "Never"]), after=OVERDUE, key=BOTS)
    def user_chooses_stuck_pods(self, policy: str, after: int, key: tuple[str, str]) -> None:
        self._beyond_unless(policy != "Force")
        self.cluster.edit_bot(key, stuckPods={"policy": policy, "afterSeconds": after})

    @rule(lock=st.sampled_from(["Scheduler", "None"]), key=BOTS)
    def user_chooses_lock(self, lock: str, key: tuple[str, str]) -> None:
        self._beyond_unless(lock == "Scheduler")
        self.cluster.edit_bot(key, lock=lock)

    @rule(key=BOTS)
    def user_deletes_bot(self, key: tuple[str, str]) -> None:
        self._beyond_unless(self.cluster.api.get("TelegramBot", key) is None)
        self.cluster.delete_bot(key)

    @rule(key=BOTS)
    def user_creates_bot(self, key: tuple[str, str]) -> None:
        if self.cluster.api.get("TelegramBot", key) is None:
            self.cluster.apply_bot(key)

    # --- Machines and processes -----------------------------------------------------------------------------------

    @rule(index=INDEX, conflict=st.booleans())
    def process_crashes(self, index: int, conflict: bool) -> None:
        if alive := self.cluster.alive():
            self.cluster.nodes.crash(alive[index % len(alive)].uid, self.cluster.now, CONFLICT if conflict else "")

    @rule(index=INDEX, hung=st.booleans())
    def process_hangs(self, index: int, hung: bool) -> None:
        if alive := self.cluster.alive():
            self.cluster.nodes.hang(alive[index % len(alive)].uid, hung=hung)

    @rule(index=INDEX, healthy=st.booleans())
    def process_changes_health(self, index: int, healthy: bool) -> None:
        if alive := self.cluster.alive():
            self.cluster.nodes.set_health(alive[index % len(alive)].uid, healthy=healthy)

    @rule(index=INDEX)
    def kubelet_evicts(self, index: int) -> None:
        near = [each for each in self.cluster.alive() if self.cluster.nodes.machines[each.node].connected]
        if near:
            self.cluster.nodes.pressure(near[index % len(near)].uid, self.cluster.now)

    @rule(name=NODES)
    def node_is_lost(self, name: str) -> None:
        self.cluster.nodes.cut(name, self.cluster.now)

    @rule(name=NODES)
    def node_comes_back(self, name: str) -> None:
        self.cluster.nodes.reconnect(name, self.cluster.now)

    @rule(name=NODES)
    def node_is_removed(self, name: str) -> None:
        self.cluster.remove_node(name)

    @rule(name=NODES)
    def node_is_tainted_out_of_service(self, name: str) -> None:
        self.cluster.taint_node(name)

    # --- Time and controllers -------------------------------------------------------------------------------------

    @rule(seconds=SECONDS)
    def time_passes(self, seconds: int) -> None:
        self.cluster.wait(seconds)

    @rule()
    def deployment_controller(self) -> None:
        self.cluster.deployments_step()

    @rule()
    def replica_set_controller(self) -> None:
        self.cluster.replica_sets_step()

    @rule()
    def scheduler(self) -> None:
        self.cluster.schedule()

    @rule()
    def all_controllers(self) -> None:
        self.cluster.controllers_step()

    @rule()
    def taint_manager(self) -> None:
        controllers.evict_from_lost_nodes(self.cluster.api, self.cluster.now)

    @rule(name=NODES)
    def kubelet(self, name: str) -> None:
        self.cluster.nodes.sync(name, self.cluster.now)

    @rule(seconds=st.sampled_from([2, 10, 40]))
    def everything_runs(self, seconds: int) -> None:
        for _ in range(seconds):
            self.cluster.run(1, self.guard.run)
            self.at_most_one_process()

    # --- The operator ---------------------------------------------------------------------------------------------

    @rule(key=BOTS)
    def operator_passes(self, key: tuple[str, str]) -> None:
        comparable = self._comparable()
        without = self.cluster.clone().run(LOOK_AHEAD)
        self.guard.run_pass(key)
        after = self.cluster.clone().run(LOOK_AHEAD)
        if after > max(1, without) and comparable:
            raise InvariantError(f"INV-1: a pass leads to {after} processes at once, without it there are {without}")

    @rule(key=BOTS, writes=st.integers(0, 3))
    def operator_crashes_in_a_pass(self, key: tuple[str, str], writes: int) -> None:
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
        if self.cluster.deployment() is None:  # not one step was taken
            return
        self._end_of_trouble()
        self.cluster.run(150, self.guard.run)
        self._reaches_fixed_point()
        writes = self.guard.writes
        self.cluster.run(20, self.guard.run)
        if self.guard.writes != writes:
            raise InvariantError("INV-8: the operator goes on writing to a settled world")
        self._bot_runs()

    def _end_of_trouble(self) -> None:
        self.guard.restart()
        self.cluster.heal()
        self.cluster.delete_bot(SECOND)
        for name in ("debug", "copy"):
            pod = self.cluster.api.get("Pod", (BOT[0], name))
            if pod is not None and not deleting(pod):
                self.cluster.delete_pod(pod)
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

    def _beyond_unless(self, within_reach: bool) -> None:
        self.protected = self.protected and within_reach

    def _forcing(self) -> bool:
        return any(
            (each["spec"].get("stuckPods") or {}).get("policy") == "Force"
            for each in self.cluster.api.all("TelegramBot")
        )

    def _comparable(self) -> bool:
        """Whether the operator can know of every process: each has a pod that the lock or the Deployment counts."""
        if self._forcing() or (known_gaps.RELEASE_OVERLAPS and not self._locks()):
            return False
        pods = [self.cluster.pod_of(each) for each in self.cluster.alive()]
        return all(pod is not None and {"singleton.bot/bot", "app"} & set(pod["metadata"]["labels"]) for pod in pods)

    def _locks(self) -> bool:
        bots = [self.cluster.api.get("TelegramBot", key) for key in (BOT, SECOND)]
        return bots[0] is not None and all(each is None or each["spec"].get("lock") != "None" for each in bots)

    def _pinned_and_settled(self) -> bool:
        """Whether the lock is in force: on the template, and on every pod that may run."""
        deployment, bot = self.cluster.deployment(), self.cluster.api.get("TelegramBot", BOT)
        if deployment is None or bot is None or bot["spec"].get("lock") == "None" or self._forcing():
            return False
        spec = deployment["spec"]
        pinned = spec["replicas"] <= 1 and spec["strategy"]["type"] == "Recreate" and _locked(spec["template"])
        settled = deployment["status"].get("observedGeneration") == deployment["metadata"]["generation"]
        running = [pod for pod in self.cluster.pods() if not terminal(pod)]
        known = all(self.cluster.pod_of(each) for each in self.cluster.alive())
        active = [each for each in self.cluster.api.all("ReplicaSet") if each["spec"]["replicas"]]
        locked = all(_locked(each["spec"]["template"]) for each in active) and all(_locked(pod) for pod in running)
        return pinned and settled and known and locked and len(self.cluster.alive()) <= 1


def _locked(template: Json) -> bool:
    """Whether a template, or a pod, carries the lock; that of the core itself, not a copy of its rule."""
    body = {"metadata": {}, "spec": {"template": template}}
    return desired.lock_in_force(template_of(parse_deployment(msgspec.json.encode(body))), BOT_ID)


TestWorld = World.TestCase
TestWorld.settings = settings(
    max_examples=EXAMPLES or 60,
    stateful_step_count=40,
    derandomize=not EXAMPLES,
    database=None,
    report_multiple_bugs=False,
    phases=[Phase.generate, Phase.shrink],
    deadline=None,  # a slow machine is no bug
    suppress_health_check=[HealthCheck.too_slow],  # a start settles a whole cluster
)
