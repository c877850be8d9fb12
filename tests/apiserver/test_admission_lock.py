"""deploy/admission/lock.yaml as behaviour: which pods are born with label and lock, and which are left alone."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from telegrambot_operator.api.models import Lock
from telegrambot_operator.core.desired import lock_term
from telegrambot_operator.core.table import Entry, parse
from telegrambot_operator.names import GATE, LABEL_BOT
from tests.apiserver.admission import (
    CONTAINER,
    NO_ENTRIES,
    REQUIRED,
    TABLE,
    deployment,
    dry_run,
    owner,
    plain,
    pod,
    pod_of,
    write_table,
)
from tests.bed.kube import path

if TYPE_CHECKING:
    from tests.bed.bed import Bed

Object = dict[str, Any]

pytestmark = [pytest.mark.bed, pytest.mark.usefixtures("policies")]

ID = "4711"
THEIRS = {"labelSelector": {"matchLabels": {"app": "telegram-bot"}}, "topologyKey": "zone", "matchLabelKeys": ["v"]}
OTHERS = {"labelSelector": {"matchExpressions": [{"key": "a", "operator": "Exists"}]}, "topologyKey": "rack"}
LOCKS = {lock: str(Entry(ID, lock, 1, "shop")) for lock in Lock}
every_lock = pytest.mark.parametrize("lock", Lock)


def terms(stamped: Object) -> list[Object]:
    """The required anti-affinity terms of a pod."""
    found: list[Object] = stamped["spec"].get("affinity", {}).get("podAntiAffinity", {}).get(REQUIRED, [])
    return found


def gates(stamped: Object) -> list[str]:
    """The names of a pod's scheduling gates."""
    return [gate["name"] for gate in stamped["spec"].get("schedulingGates", [])]


def with_terms(*required: Object) -> Object:
    """The affinity of a pod that has these required anti-affinity terms, and others besides."""
    weighted = [{"weight": 5, "podAffinityTerm": OTHERS}]
    return {
        "podAffinity": {REQUIRED: [OTHERS]},
        "nodeAffinity": {
            REQUIRED: {"nodeSelectorTerms": [{"matchExpressions": [{"key": "disk", "operator": "Exists"}]}]}
        },
        "podAntiAffinity": {REQUIRED: list(required), "preferredDuringSchedulingIgnoredDuringExecution": weighted},
    }


async def stamp(bed: Bed, ns: str, lock: Lock, **spec: Any) -> Object:
    """What a pod of a Deployment with that lock becomes."""
    await write_table(bed, ns, {"telegram-bot": LOCKS[lock]})
    return await dry_run(bed, pod_of(ns, "telegram-bot", **spec))


# --- What a pod of a guarded Deployment gets ------------------------------------------------------------------------


@every_lock
async def test_it_gets_the_label_of_its_bot(lock: Lock, bed: Bed, ns: str) -> None:
    stamped = await stamp(bed, ns, lock)
    assert stamped["metadata"]["labels"] == {"app": "telegram-bot", "pod-template-hash": "5ccdf6cd6f", LABEL_BOT: ID}


@every_lock
async def test_it_gets_the_lock_that_the_operator_would_write_into_the_template(lock: Lock, bed: Bed, ns: str) -> None:
    stamped = await stamp(bed, ns, lock)
    assert terms(stamped) == ([] if lock is Lock.NONE else [lock_term(ID)])
    assert gates(stamped) == ([GATE] if lock is Lock.GATE else [])


@every_lock
async def test_the_end_of_its_log_is_told_when_it_ends_in_an_error(lock: Lock, bed: Bed, ns: str) -> None:
    containers = [CONTAINER, CONTAINER | {"name": "proxy", "terminationMessagePolicy": "File"}]
    stamped = await stamp(bed, ns, lock, containers=containers)
    assert {each["terminationMessagePolicy"] for each in stamped["spec"]["containers"]} == {"FallbackToLogsOnError"}


async def test_an_identity_made_of_names_serves_as_well_as_a_bot_id(bed: Bed, ns: str) -> None:
    await write_table(bed, ns, {"telegram.bot-2": f"{ns}.shop-bot_1 Scheduler - shop.bot"})
    stamped = await dry_run(bed, pod_of(ns, "telegram.bot-2"))
    assert terms(stamped) == [lock_term(f"{ns}.shop-bot_1")]


# --- What it keeps --------------------------------------------------------------------------------------------------


@every_lock
async def test_it_keeps_affinities_of_its_own(lock: Lock, bed: Bed, ns: str) -> None:
    affinity = with_terms(THEIRS, OTHERS)
    stamped = await stamp(bed, ns, lock, affinity=affinity)
    wanted = [THEIRS, OTHERS] if lock is Lock.NONE else [THEIRS, OTHERS, lock_term(ID)]
    assert stamped["spec"]["affinity"] == with_terms(*wanted)


@every_lock
async def test_it_keeps_gates_of_its_own(lock: Lock, bed: Bed, ns: str) -> None:
    stamped = await stamp(bed, ns, lock, schedulingGates=[{"name": "example.com/quota"}])
    assert gates(stamped) == ["example.com/quota", *([GATE] if lock is Lock.GATE else [])]


@every_lock
async def test_one_that_has_it_all_is_left_as_it_is(lock: Lock, bed: Bed, ns: str) -> None:
    once = await stamp(bed, ns, lock, affinity=with_terms(THEIRS), schedulingGates=[{"name": "example.com/quota"}])
    twice = await dry_run(bed, once | {"metadata": {**once["metadata"], "resourceVersion": ""}})
    assert plain(twice) == plain(once)


@every_lock
async def test_a_lock_of_another_identity_goes(lock: Lock, bed: Bed, ns: str) -> None:
    """A template may still carry it, from before the token was another bot's."""
    stale = pod_of(ns, "telegram-bot", affinity=with_terms(lock_term("1"), THEIRS, lock_term("2"), lock_term(ID)))
    stale["metadata"]["labels"][LABEL_BOT] = "1"
    await write_table(bed, ns, {"telegram-bot": LOCKS[lock]})
    stamped = await dry_run(bed, stale)
    assert (terms(stamped), stamped["metadata"]["labels"][LABEL_BOT]) == ([THEIRS, lock_term(ID)], ID)


async def test_a_lock_that_is_alone_is_replaced_as_well(bed: Bed, ns: str) -> None:
    stamped = await stamp(bed, ns, Lock.SCHEDULER, affinity={"podAntiAffinity": {REQUIRED: [lock_term("1")]}})
    assert terms(stamped) == [lock_term(ID)]


async def test_one_that_is_bound_by_hand_cannot_have_a_gate(bed: Bed, ns: str) -> None:
    """Nothing could hold it back; so it is not made, and the Deployment's condition has Kubernetes' own sentence."""
    with pytest.raises(Exception, match="cannot be set until all schedulingGates have been cleared"):
        await stamp(bed, ns, Lock.GATE, nodeName="node-1")


# --- Pods that are none of ours -------------------------------------------------------------------------------------


async def untouched(bed: Bed, body: Object) -> bool:
    """Whether a pod is stored as it would be where no table is."""
    elsewhere = await bed.namespace()
    without = await dry_run(bed, json.loads(json.dumps(body).replace(body["metadata"]["namespace"], elsewhere)))
    found = await dry_run(bed, body)
    await bed.kube.delete(path("namespaces", None, elsewhere))
    return plain(found) == plain(without).replace(elsewhere, body["metadata"]["namespace"])


STRANGERS = {
    "made by hand": {"ownerReferences": []},
    "of another Deployment": {"ownerReferences": [owner("web-5ccdf6cd6f")]},
    "of a Deployment with a longer name": {"ownerReferences": [owner("telegram-bot-2-5ccdf6cd6f")]},
    "of a ReplicaSet without a Deployment": {"ownerReferences": [owner("telegram-bot")]},
    "of a ReplicaSet with another hash": {"ownerReferences": [owner("telegram-bot-77d9f6cd6f")]},
    "of a StatefulSet": {"ownerReferences": [owner("telegram-bot-5ccdf6cd6f", "StatefulSet")]},
    "of somebody else's ReplicaSet": {"ownerReferences": [owner("telegram-bot-5ccdf6cd6f", version="example.com/v1")]},
    "owned but not controlled": {"ownerReferences": [owner("telegram-bot-5ccdf6cd6f") | {"controller": False}]},
    "without a hash": {"labels": {"app": "telegram-bot"}},
}


@pytest.mark.parametrize("metadata", STRANGERS.values(), ids=STRANGERS.keys())
async def test_a_pod_is_left_alone(metadata: Object, bed: Bed, ns: str) -> None:
    await write_table(bed, ns, {"telegram-bot": LOCKS[Lock.GATE]})
    stranger = pod_of(ns, "telegram-bot")
    stranger["metadata"] |= metadata
    assert await untouched(bed, stranger)


@pytest.mark.parametrize("value", NO_ENTRIES.values(), ids=NO_ENTRIES.keys())
async def test_an_entry_edited_by_hand_touches_nothing(value: str, bed: Bed, ns: str) -> None:
    await write_table(bed, ns, {"telegram-bot": value})
    assert await untouched(bed, pod_of(ns, "telegram-bot"))


async def test_without_a_table_nothing_is_touched(bed: Bed, ns: str) -> None:
    assert await untouched(bed, pod_of(ns, "telegram-bot"))


async def test_a_table_without_data_touches_nothing(bed: Bed, ns: str) -> None:
    await bed.kube.create("configmaps", ns, {"metadata": {"name": TABLE}})
    assert await untouched(bed, pod_of(ns, "telegram-bot"))
    assert await untouched(bed, pod(ns))


def test_what_the_operator_writes_it_can_read() -> None:
    assert all(parse(value) == Entry(ID, lock, 1, "shop") for lock, value in LOCKS.items())


# --- With the cluster's own controllers -----------------------------------------------------------------------------


async def test_the_template_of_the_deployment_is_never_touched(bed: Bed, ns: str) -> None:
    await write_table(bed, ns, {"telegram-bot": LOCKS[Lock.GATE]})
    made = await bed.kube.create("deployments", ns, deployment(ns, replicas=1))

    async def held() -> bool:
        return any(
            each["status"].get("conditions", [{}])[0].get("reason") == "SchedulingGated" for each in await bed.pods(ns)
        )

    await bed.until(held, what="a pod behind the gate")
    (stamped,) = await bed.pods(ns)
    assert (terms(stamped), stamped["metadata"]["labels"][LABEL_BOT]) == ([lock_term(ID)], ID)
    found = await bed.get("deployment", "telegram-bot", ns)
    assert found is not None
    assert found["spec"]["template"] == made["spec"]["template"]


async def test_the_scheduler_holds_the_next_pod_until_the_first_is_gone(bed: Bed, ns: str) -> None:
    await write_table(bed, ns, {"telegram-bot": f"{ns} Scheduler - shop"})
    image = [{"name": "bot", "image": "bed/pause", "command": ["sleep", "1000"]}]
    template = {"metadata": {"labels": {"app": "telegram-bot"}}, "spec": {"containers": image}}
    await bed.kube.create("deployments", ns, deployment(ns, replicas=2, template=template))

    async def one_runs_one_waits() -> bool:
        pods = await bed.pods(ns)
        phases = sorted(each["status"]["phase"] for each in pods)
        told = [each["reason"] for each in pods for each in each["status"].get("conditions", []) if "reason" in each]
        return phases == ["Pending", "Running"] and "Unschedulable" in told

    await bed.until(one_runs_one_waits, what="one pod running, one held back")
