"""What brings the lock to the pods, template or policies, what the table says, and how one follows the other."""

from typing import Any

import msgspec
import pytest

from telegrambot_operator.api.models import Lock
from telegrambot_operator.core.actions import DisownPin, LabelPod, OpenPod, PatchDeployment, WriteTable
from telegrambot_operator.core.carrier import Admission, Carrier, born_unlocked, carrier
from telegrambot_operator.core.observed import Bot, Observed
from telegrambot_operator.core.plan import Plan, plan
from telegrambot_operator.core.records import Deployment
from telegrambot_operator.core.table import Entry
from telegrambot_operator.core.turn import Claim, Vanished
from tests.unit.worlds import (
    BOT,
    DEPLOYMENT,
    IDENTITY,
    NAMESPACE,
    NOW,
    adopts,
    deployment,
    gated,
    held,
    node,
    owns,
    pinned,
    pod,
    rival,
    telegram_bot,
    world,
)

ALL = frozenset({"lock.singleton.bot", "pin.singleton.bot", "scale.singleton.bot", "token.singleton.bot"})
ENTRY = f"{IDENTITY} Scheduler 1 {BOT}"
SECRETS = {"shop-token_token": f"{IDENTITY}/{BOT}", "shop-token_": f"{IDENTITY}/{BOT}"}
TABLE = {DEPLOYMENT: ENTRY, **SECRETS}
SERVING = [pod()]


def policies(table: dict[str, str] | None = None, **known: Any) -> Admission:
    """The policies, installed, with a table that says what it should unless another is given."""
    return Admission(**{"policies": ALL, "table": TABLE if table is None else table, **known})


def plain(**facts: Any) -> Any:
    """The Deployment pinned, and its template as the user wrote it."""
    return pinned(lock=None, **facts)


def todo(bot: Bot | None = None, **known: Any) -> Plan:
    return plan(world(bot, **{"deployment": plain(), "pods": SERVING, **known}), NOW)


def written(made: Plan) -> dict[str, str | None]:
    """What is changed in the table."""
    return {key: value for each in made.actions if isinstance(each, WriteTable) for key, value in each.data.items()}


def patches(made: Plan) -> list[dict[str, Any]]:
    return [each.body for each in made.actions if isinstance(each, PatchDeployment)]


# --- Which carrier --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("admission", "adopted", "expected"),
    [
        (policies(), True, Carrier.ADMISSION),
        (policies(), False, Carrier.TEMPLATE),
        (Admission(), True, Carrier.TEMPLATE),
        (policies(policies=ALL - {"token.singleton.bot"}), True, Carrier.ADMISSION),
        (policies(policies=ALL - {"lock.singleton.bot"}), True, Carrier.TEMPLATE),
        (policies(policies=ALL - {"pin.singleton.bot"}), True, Carrier.TEMPLATE),
        (policies(problem="it is full"), True, Carrier.TEMPLATE),
        (policies(failed="pod bot-a"), True, Carrier.TEMPLATE),
    ],
)
def test_the_carrier(admission: Admission, adopted: bool, expected: Carrier) -> None:
    assert carrier(admission, adopts=adopted) is expected


LOCKED = pod(lock=IDENTITY)
ELSE_LOCKED = pod(lock="77")
REFUSAL = "pods is forbidden: ValidatingAdmissionPolicy 'token.singleton.bot' with binding ... denied request: ..."
QUOTA = "pods is forbidden: exceeded quota"


def failing(message: str) -> Any:
    return deployment(failing=message)


@pytest.mark.parametrize(
    ("found", "told", "born", "lock", "expected"),
    [
        (LOCKED, "", True, Lock.SCHEDULER, ""),
        (pod(), "", True, Lock.SCHEDULER, "pod bot-a"),
        (ELSE_LOCKED, "", True, Lock.SCHEDULER, "pod bot-a"),
        (pod(), "", False, Lock.SCHEDULER, ""),
        (pod(), "", True, Lock.NONE, ""),
        (LOCKED, REFUSAL, True, Lock.GATE, f"a pod that Deployment {DEPLOYMENT} was to have"),
        (LOCKED, QUOTA, True, Lock.GATE, ""),
    ],
)
def test_which_pod_the_policies_did_not_lock(found: Any, told: str, born: bool, lock: Lock, expected: str) -> None:
    entry = Entry(IDENTITY, lock, 1, BOT)
    assert born_unlocked(failing(told), [found], {found.uid} if born else set(), entry) == expected


# --- Adopting -------------------------------------------------------------------------------------------------------


def test_a_world_in_order_asks_for_nothing() -> None:
    assert todo(admission=policies()).actions == ()


def test_adopting_touches_no_template_and_the_table_comes_first() -> None:
    found = deployment(replicas=1)
    made = todo(deployment=found, pods=[pod(bot=None)], admission=policies({}))
    assert [type(each) for each in made.actions] == [WriteTable, LabelPod, PatchDeployment]
    assert written(made) == {DEPLOYMENT: f"{IDENTITY} Scheduler - {BOT}", **SECRETS}
    assert all("template" not in each.get("spec", {}) for each in patches(made))


def test_the_number_of_pods_is_held_once_it_is_right() -> None:
    made = todo(admission=policies({**TABLE, DEPLOYMENT: f"{IDENTITY} Scheduler - {BOT}"}))
    assert written(made) == {DEPLOYMENT: ENTRY}


def test_it_is_let_go_before_the_number_changes() -> None:
    made = todo(telegram_bot(spec=adopts(suspend=True)), admission=policies())
    assert [type(each) for each in made.actions] == [WriteTable, PatchDeployment]
    assert written(made) == {DEPLOYMENT: f"{IDENTITY} Scheduler - {BOT}"}


@pytest.mark.parametrize(
    ("known", "admission", "disowned"),
    [
        ({}, policies(in_force=True), True),
        ({}, policies(), False),
        ({}, policies({**TABLE, DEPLOYMENT: ENTRY.replace(" 1 ", " - ")}, in_force=True), False),
        ({}, policies(in_force=True, failed="pod bot-a"), False),
        ({"manages": False}, policies(in_force=True), False),
        ({"replicas": 2}, policies(in_force=True), False),
    ],
)
def test_the_pin_has_no_manager_once_the_policies_hold_it(
    known: dict[str, Any], admission: Admission, disowned: bool
) -> None:
    """Else a server-side apply that is not forced, as Helm 4 makes it, is refused whatever else it changes."""
    facts = {"manages": True, **known}
    found = msgspec.structs.replace(plain(replicas=facts.get("replicas", 1)), manages=facts["manages"])
    made = todo(deployment=found, admission=admission)
    assert any(isinstance(each, DisownPin) for each in made.actions) is disowned


def test_a_deployment_that_is_not_there_yet_is_entered_with_its_number_of_pods() -> None:
    made = todo(deployment=None, pods=[], admission=policies({}))
    assert written(made) == TABLE


def test_the_younger_of_two_on_one_deployment_writes_nothing() -> None:
    older = rival("first", age=90000, same_deployment=True)
    table = {DEPLOYMENT: f"{IDENTITY} Scheduler 1 first"}
    assert todo(rivals=(older,), admission=policies(table)).actions == ()


def test_a_second_bot_of_the_identity_is_held_at_no_pod() -> None:
    made = todo(deployment=plain(replicas=0), pods=[], rivals=(rival("first", age=90000),), admission=policies({}))
    assert written(made)[DEPLOYMENT] == f"{IDENTITY} Scheduler 0 {BOT}"


def test_an_owned_deployment_has_its_lock_in_the_template_and_its_pin_in_the_table() -> None:
    made = todo(telegram_bot(spec=owns()), deployment=None, pods=[], admission=policies({}))
    assert written(made)[BOT] == ENTRY


def test_without_any_policy_there_is_no_table() -> None:
    assert written(todo(deployment=pinned(), admission=Admission())) == {}


def test_when_the_policies_go_so_does_what_the_table_says() -> None:
    made = todo(admission=policies(policies=frozenset()))
    assert written(made) == dict.fromkeys(TABLE)
    assert "template" in patches(made)[0]["spec"]


# --- Moving ---------------------------------------------------------------------------------------------------------


def template_patched(made: Plan) -> bool:
    return any("template" in each.get("spec", {}) for each in patches(made))


@pytest.mark.parametrize(
    ("why", "known", "moves"),
    [
        ("all is calm", {"admission": policies(in_force=True)}, True),
        ("the table is too young", {"admission": policies()}, False),
        ("the table says something else", {"admission": policies({}, in_force=True)}, False),
        ("a pod is going", {"admission": policies(in_force=True), "pods": [pod(terminating=-5)]}, False),
        ("a policy did not lock", {"admission": policies(in_force=True, failed="pod bot-a")}, False),
    ],
)
def test_the_lock_leaves_the_template(why: str, known: dict[str, Any], moves: bool) -> None:
    assert template_patched(todo(**{"deployment": pinned(), **known})) is moves, why


def test_it_takes_its_gate_along() -> None:
    bot = telegram_bot(spec=adopts(lock="Gate"))
    table = {**TABLE, DEPLOYMENT: f"{IDENTITY} Gate 1 {BOT}"}
    (body,) = patches(todo(bot, deployment=gated(), admission=policies(table, in_force=True)))
    assert body["spec"]["template"]["spec"]["schedulingGates"] is None


def test_a_lock_that_is_not_wanted_any_more_stays_in_the_table_while_somebody_waits_behind_it() -> None:
    bot = telegram_bot(spec=adopts(lock="None"))
    assert DEPLOYMENT not in written(todo(bot, pods=[pod(terminating=-5)], admission=policies()))
    assert written(todo(bot, admission=policies()))[DEPLOYMENT] == f"{IDENTITY} None 1 {BOT}"


# --- Guarding the token ---------------------------------------------------------------------------------------------


def test_a_token_is_not_guarded_from_pods_that_do_not_get_the_label() -> None:
    """Else the bot itself could not start: a template of another identity, and no policy that would change it."""
    partly = policies({}, policies=frozenset({"token.singleton.bot"}))
    assert set(written(todo(deployment=plain(), admission=partly))) == {DEPLOYMENT}
    assert set(written(todo(deployment=pinned(), admission=partly))) == {DEPLOYMENT, *SECRETS}


def test_a_token_stays_guarded_until_the_template_has_the_lock_that_a_policy_failed_to_bring() -> None:
    """Else its ReplicaSet, whose pods were refused so far, would make one that nothing holds back."""
    failed = policies(failed="pod bot-a")
    made = todo(deployment=plain(), admission=failed)
    assert not set(written(made)) & set(SECRETS)
    assert "template" in patches(made)[0]["spec"]
    assert not set(written(todo(deployment=pinned(), admission=failed))) & set(SECRETS)
    unlocked = todo(telegram_bot(spec=adopts(lock="None")), deployment=plain(), admission=failed)
    assert {key: written(unlocked)[key] for key in SECRETS} == dict.fromkeys(SECRETS)


# --- Letting go -----------------------------------------------------------------------------------------------------


def gone(*pods: Any, table: dict[str, str], left: Deployment | None = None, **known: Any) -> Plan:
    facts = {"leftovers": (left or plain(),), "pods": pods, "admission": policies(table), **known}
    return plan(Observed(namespace=NAMESPACE, name=BOT, bot=None, **facts), NOW)


def test_a_bot_that_is_gone_leaves_the_table_first_and_then_its_mark() -> None:
    assert written(gone(pod(), table=TABLE)) == dict.fromkeys(TABLE)
    assert patches(gone(pod(), table=TABLE)) == []
    assert patches(gone(pod(), table={}))[0]["metadata"]["labels"] == {"singleton.bot/name": None}


def test_its_deployment_stays_locked_while_a_pod_is_going() -> None:
    assert DEPLOYMENT not in written(gone(pod(terminating=-5), table=TABLE))


def test_a_pod_that_is_held_is_opened_when_the_table_no_longer_holds_the_next() -> None:
    waiting = held()
    assert not [each for each in gone(waiting, table=TABLE).actions if isinstance(each, OpenPod)]
    made = gone(waiting, table={})
    assert [type(each) for each in made.actions] == [OpenPod]


GATED = {**TABLE, DEPLOYMENT: f"{IDENTITY} Gate 1 {BOT}"}
BEFORE = Claim("7", f"{NAMESPACE}/old", "uid-old", "node-1", grace=30)
RUNNING_ON = {"claim": BEFORE, "ended": {"uid-old": Vanished(29.0)}, "nodes": {"node-1": node()}}
ENDED = {**RUNNING_ON, "ended": {"uid-old": None}}
LOST = {**RUNNING_ON, "ended": {"uid-old": Vanished()}, "nodes": {"node-1": node(ready=False)}}


@pytest.mark.parametrize("left", [plain(), gated()], ids=["by admission", "by the template"])
def test_a_pod_that_is_held_since_another_was_forced_away_waits_for_its_end_though_its_bot_is_gone(
    left: Deployment,
) -> None:
    made = gone(held(), table=GATED, left=left, **RUNNING_ON)
    assert [type(each) for each in made.actions] in ([WriteTable], [])
    assert DEPLOYMENT not in written(made)
    assert made.again_after is not None


@pytest.mark.parametrize("known", [ENDED, LOST], ids=["it has ended", "only a person can tell, and is told no more"])
def test_but_not_for_ever(known: dict[str, Any]) -> None:
    assert written(gone(held(), table=GATED, **known)) == dict.fromkeys(GATED)
    (opened,) = gone(held(), table={}, **known).actions
    assert isinstance(opened, OpenPod)
    assert opened.claim is not None
    assert opened.claim.before == "uid-old"
    assert "template" in patches(gone(held(), table={}, left=gated(), **known))[0]["spec"]


def test_it_waits_for_one_that_may_be_polling_as_well() -> None:
    made = gone(held(), pod("old", terminating=-5), table={}, left=gated(), claim=BEFORE)
    assert made.actions == ()


def test_a_table_that_speaks_of_a_bot_that_never_was_is_cleared() -> None:
    seen = Observed(namespace=NAMESPACE, name=BOT, bot=None, admission=policies({"nginx": ENTRY, "web": "???"}))
    assert written(plan(seen, NOW)) == {"nginx": None}
