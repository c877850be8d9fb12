"""What is done about one bot, and what is left alone: the order of safety of `core/plan.py`, as tables of cases.

The invariants of section 8 of the design that a single decision can keep are held here: every delete names a uid
(INV-3), no force delete without proof (INV-4), one TelegramBot an identity (INV-6), nothing to do in a world that is in
order (INV-8).
"""

from dataclasses import replace
from typing import Any

import pytest

from telegrambot_operator.core import understand
from telegrambot_operator.core.actions import (
    ApplyDeployment,
    DeletePod,
    KeepPod,
    LabelPod,
    PatchDeployment,
    WriteTable,
    describe,
)
from telegrambot_operator.core.carrier import Admission
from telegrambot_operator.core.observed import Bot, Failure, Later, Observed, TokenState, TokenView
from telegrambot_operator.core.plan import KEEP_COST, Plan, plan
from telegrambot_operator.core.records import Deployment, Node, Pod
from telegrambot_operator.names import Reason
from tests.unit.worlds import (
    BOT,
    DEPLOYMENT,
    IDENTITY,
    NAMESPACE,
    NOW,
    Json,
    acted,
    adopts,
    at,
    bot_body,
    denied,
    deployment,
    deployment_body,
    ended,
    merged,
    node,
    orphaned,
    ownerless,
    owns,
    parsed,
    patched,
    pinned,
    pod,
    replica_set,
    rival,
    telegram_bot,
    template_body,
    world,
)

# How long it may take, by the design, until something is seen that no event tells of.
SOON = 10.0


def todo(bot: Bot | None = None, **known: Any) -> Plan:
    return plan(world(bot, **known), NOW)


def deleted(made: Plan) -> list[str]:
    """The names of the pods that are deleted, those by force with a "!" behind."""
    return [each.pod + "!" * each.force for each in made.actions if isinstance(each, DeletePod)]


def patches(made: Plan) -> list[dict[str, Any]]:
    return [each.body for each in made.actions if isinstance(each, PatchDeployment)]


def labelled(made: Plan) -> list[str]:
    return [each.pod for each in made.actions if isinstance(each, LabelPod)]


def kept(made: Plan) -> dict[str, int]:
    """The pods that a shrinking ReplicaSet is to keep, and what deleting them is said to cost."""
    return {each.pod: each.cost for each in made.actions if isinstance(each, KeepPod)}


def kinds(made: Plan) -> list[str]:
    return [type(each).__name__ for each in made.actions]


def after(body: Json, made: Plan) -> Json:
    """The Deployment after the one patch of this plan, and after its own controller has acted on that."""
    (patch,) = patches(made)
    return acted(patched(body, patch))


# --- A world in order -----------------------------------------------------------------------------------------------

IN_ORDER: dict[str, Observed] = {
    "one pod that serves": world(pods=[pod()]),
    "no pod yet": world(),
    "a pod that waits for the one before it": world(pods=[pod("old", terminating=-5), pod("new", node="")]),
    "suspended, with its last pod on its way out": world(
        telegram_bot(spec=adopts(suspend=True)), deployment=pinned(replicas=0), pods=[pod(terminating=-5)]
    ),
    "a Deployment of zero replicas while suspended": world(
        telegram_bot(spec=adopts(suspend=True)), deployment=pinned(replicas=0)
    ),
    "without a lock, as the spec asks": world(
        telegram_bot(spec=adopts(lock="None")), deployment=pinned(lock=None), pods=[pod()]
    ),
    "the loser of an identity beside the winner's pod": world(
        deployment=pinned(replicas=0), rivals=(rival(age=90000),), pods=[pod("winners", template_hash="x")]
    ),
}


@pytest.mark.parametrize("seen", IN_ORDER.values(), ids=IN_ORDER)
def test_a_world_in_order_is_left_alone(seen: Observed) -> None:
    made = plan(seen, NOW)
    assert (made.actions, made.hold) == ((), None)


# --- A TelegramBot that is gone -------------------------------------------------------------------------------------


def test_a_bot_that_is_gone_lets_go_of_its_adopted_deployment_and_of_nothing_else() -> None:
    (action,) = plan(orphaned(pinned()), NOW).actions
    assert isinstance(action, PatchDeployment)
    assert (action.deployment, action.uid) == (DEPLOYMENT, f"uid-{DEPLOYMENT}")
    assert "replicas" not in action.body["spec"]
    assert "strategy" not in action.body["spec"]


def test_a_deployment_that_a_bot_owned_is_left_to_the_garbage_collector() -> None:
    owned = pinned(BOT, owner=("TelegramBot", BOT, "uid-of-the-bot-that-is-gone"))
    assert plan(orphaned(owned), NOW).actions == ()


def test_a_deployment_that_is_being_deleted_is_not_released() -> None:
    assert plan(orphaned(pinned(going=True)), NOW).actions == ()


@pytest.mark.parametrize(
    ("leftovers", "seconds"),
    [((pinned(),), SOON), ((pinned(going=True),), SOON), ((), None)],
    ids=["one to release", "one that is being deleted", "none is left"],
)
def test_a_bot_that_is_gone_is_looked_at_until_nothing_of_it_is_left(
    leftovers: tuple[Deployment, ...], seconds: float | None
) -> None:
    assert plan(orphaned(*leftovers), NOW).again_after == seconds


def test_a_deployment_that_rolls_gets_recreate_before_its_lock_comes_off() -> None:
    """A rolling update without the lock would start the second pod beside the first."""
    body = deployment_body(mark=BOT, template=template_body(lock=IDENTITY))
    first = plan(orphaned(parsed(body)), NOW)
    second = plan(orphaned(parsed(after(body, first))), NOW)
    assert patches(first) == [{"spec": {"strategy": {"type": "Recreate", "rollingUpdate": None}}}]
    assert released(second) == [DEPLOYMENT]


WAITS: dict[str, Observed] = {
    "a pod of it is on its way out": orphaned(pinned(), pods=[pod(terminating=-5)]),
    "... and another waits for it": orphaned(pinned(), pods=[pod("a", terminating=-5), pod("b", node="")]),
    "its controller counts one on its way out": orphaned(pinned(terminating=1), pods=[pod()]),
    "it has not acted on its latest change": orphaned(pinned(settled=False), pods=[pod()]),
    "it is being rolled out": orphaned(pinned(updated=0), pods=[pod()]),
}


@pytest.mark.parametrize("seen", WAITS.values(), ids=WAITS)
def test_a_lock_that_somebody_may_wait_behind_comes_off_later(seen: Observed) -> None:
    made = plan(seen, NOW)
    assert (made.actions, made.again_after) == ((), SOON)


CALM: dict[str, Observed] = {
    "its pod serves": orphaned(pinned(), pods=[pod()]),
    "it has no pod": orphaned(pinned(replicas=0)),
    "a pod that leaves is another Deployment's": orphaned(
        pinned(), pods=[pod(), pod("x", terminating=-5, controller=("ReplicaSet", "next-77"), template_hash="77")]
    ),
    "its template has no lock to wait behind": orphaned(pinned(lock=None, settled=False), pods=[pod(terminating=-5)]),
    "... nor has it to be made Recreate then": orphaned(deployment(mark=BOT), pods=[pod()]),
}


@pytest.mark.parametrize("seen", CALM.values(), ids=CALM)
def test_a_lock_that_nobody_waits_behind_comes_off_at_once(seen: Observed) -> None:
    assert released(plan(seen, NOW)) == [DEPLOYMENT]


def released(made: Plan) -> list[str]:
    """The Deployments whose mark is taken off."""
    actions = [each for each in made.actions if isinstance(each, PatchDeployment)]
    unmarked = {"singleton.bot/name": None}
    return [each.deployment for each in actions if each.body.get("metadata", {}).get("labels") == unmarked]


def test_a_bot_that_points_elsewhere_lets_go_of_the_deployment_before_it_pins_the_next() -> None:
    made = todo(deployment=deployment("next"), leftovers=(pinned("before"),), bot=pointing_at("next"))
    assert [each.deployment for each in made.actions if isinstance(each, PatchDeployment)] == ["before", "next"]


def test_a_bot_that_is_on_hold_lets_go_all_the_same() -> None:
    made = todo(deployment=None, leftovers=(pinned("before"),), bot=pointing_at("missing"))
    assert [each.deployment for each in made.actions if isinstance(each, PatchDeployment)] == ["before"]


def test_a_spec_that_cannot_be_read_lets_go_of_nothing_since_it_does_not_say_what_is_meant() -> None:
    made = plan(world(telegram_bot(spec={}), deployment=None, leftovers=(pinned(),)), NOW)
    assert made.actions == ()


def pointing_at(name: str) -> Bot:
    return telegram_bot(spec=adopts(deploymentRef={"name": name}))


ENTERED = Admission(table={DEPLOYMENT: f"{IDENTITY} Scheduler 1 {BOT}"})
TAKEN: dict[str, tuple[Observed, list[Any]]] = {
    "its pods go first": (orphaned(pinned(), pods=[pod()], heirs=[IDENTITY]), [{"replicas": 0}]),
    "it is made Recreate before that": (
        orphaned(pinned(strategy="RollingUpdate"), heirs=[IDENTITY]),
        [{"strategy": {"type": "Recreate", "rollingUpdate": None}}],
    ),
    "a rollout is not disturbed": (orphaned(pinned(settled=False, updated=0), heirs=[IDENTITY]), []),
    "its last pod is waited for": (
        orphaned(pinned(replicas=0), pods=[pod(terminating=-5)], heirs=[IDENTITY]),
        [],
    ),
    "the bot of another is nothing to it": (orphaned(pinned(), pods=[pod()], heirs=["7"]), ["released"]),
    "... also where its lock comes by admission, whose table has to let it be zero first": (
        replace(orphaned(pinned(lock=None), pods=[pod()], heirs=[IDENTITY]), admission=ENTERED),
        [{"replicas": 0}],
    ),
    "without pods it is let go of": (orphaned(pinned(replicas=0), heirs=[IDENTITY]), ["released"]),
}


@pytest.mark.parametrize(("seen", "expected"), TAKEN.values(), ids=TAKEN)
def test_a_deployment_whose_bot_somebody_else_runs_now_gets_no_pod_before_its_lock_comes_off(
    seen: Observed, expected: list[Any]
) -> None:
    made = plan(seen, NOW)
    assert ["released" if released(made) else each["spec"] for each in patches(made)] == expected


def test_the_table_lets_a_deployment_be_scaled_to_zero_that_another_runs_now_and_forgets_it_after_that() -> None:
    pinned_by_table = replace(orphaned(pinned(lock=None), pods=[pod()], heirs=[IDENTITY]), admission=ENTERED)
    assert tables(plan(pinned_by_table, NOW)) == [{DEPLOYMENT: f"{IDENTITY} Scheduler - {BOT}"}]
    without_pods = replace(pinned_by_table, leftovers=(pinned(lock=None, replicas=0),), pods=())
    assert tables(plan(without_pods, NOW)) == [{DEPLOYMENT: None}]


def tables(made: Plan) -> list[Any]:
    return [each.data for each in made.actions if isinstance(each, WriteTable)]


# --- Who may not act ------------------------------------------------------------------------------------------------

FORBIDDEN = denied("get", "deployments.apps")
UNANSWERED = Failure("get", "deployments.apps", 500, "etcd is away")
OWNED = telegram_bot(spec=owns())
WITHOUT_LOCK = telegram_bot(spec=adopts(lock="None"))

# The world; the reason; whether a person must act; what the message has to name.
HOLDS: dict[str, tuple[Observed, Reason, bool, list[str]]] = {
    "a TelegramBot that is being deleted": (world(telegram_bot(deleting=True)), Reason.DELETING, False, [BOT]),
    "a spec that breaks a rule": (
        world(telegram_bot(spec={})),
        Reason.INVALID_SPEC,
        True,
        ["deploymentRef", "template"],
    ),
    "an older TelegramBot on the same Deployment": (
        world(rivals=(rival("first", age=90000, same_deployment=True),)),
        Reason.DEPLOYMENT_IN_USE,
        True,
        ["first", DEPLOYMENT, "delete one"],
    ),
    "an adopted Deployment that is not there": (
        world(deployment=None),
        Reason.DEPLOYMENT_NOT_FOUND,
        False,
        [DEPLOYMENT, NAMESPACE, "spec.deploymentRef.name"],
    ),
    "an adopted Deployment that may not be read": (
        world(deployment=None, failures=(FORBIDDEN,)),
        Reason.FORBIDDEN,
        False,
        ["get", "deployments.apps"],
    ),
    "an adopted Deployment that could not be read": (
        world(deployment=None, failures=(UNANSWERED,)),
        Reason.DEPLOYMENT_NOT_FOUND,
        False,
        ["deployments.apps", "etcd is away"],
    ),
    "a template, but somebody else's Deployment has the name": (
        world(OWNED, deployment=deployment(BOT)),
        Reason.DEPLOYMENT_IN_USE,
        True,
        [BOT, "spec.deploymentRef"],
    ),
    "a template, but the Deployment of an earlier TelegramBot is still there": (
        world(OWNED, deployment=pinned(BOT, owner=("TelegramBot", BOT, "uid-earlier"))),
        Reason.DEPLOYMENT_IN_USE,
        False,
        [BOT, "being removed"],
    ),
    "an adopted Deployment that another controller makes": (
        world(deployment=deployment(owner=("Rollout", "shop", "uid-rollout"))),
        Reason.DEPLOYMENT_CONTROLLED,
        True,
        ["Rollout shop", "Recreate"],
    ),
    "an adopted Deployment that is being deleted": (
        world(deployment=pinned(going=True)),
        Reason.DEPLOYMENT_NOT_FOUND,
        False,
        [DEPLOYMENT, "being deleted"],
    ),
}


@pytest.mark.parametrize(("seen", "reason", "person", "named"), HOLDS.values(), ids=HOLDS)
def test_what_may_not_be_touched_is_not_touched(
    seen: Observed, reason: Reason, named: list[str], *, person: bool
) -> None:
    with_duplicates = Observed(**{**fields(seen), "pods": (pod("a"), ownerless("b"), pod("c", terminating=900))})
    made = plan(with_duplicates, NOW)
    assert made.actions == ()
    assert made.hold is not None
    assert (made.hold.reason, made.hold.person) == (reason, person)
    assert [each for each in named if each not in made.hold.message] == []


@pytest.mark.parametrize(("seen", "reason", "person", "named"), HOLDS.values(), ids=HOLDS)
def test_what_heals_by_itself_is_looked_at_again_within_ten_seconds(
    seen: Observed, reason: Reason, named: list[str], *, person: bool
) -> None:
    del reason, named
    assert plan(seen, NOW).again_after == (None if person else SOON)


def fields(seen: Observed) -> dict[str, Any]:
    return {name: getattr(seen, name) for name in Observed.__dataclass_fields__}


ON_WITH_IT: dict[str, Observed] = {
    "the younger TelegramBot on the same Deployment does not count": world(
        rivals=(rival(age=60, same_deployment=True),)
    ),
    "a Deployment that an earlier TelegramBot of the same name marked is taken over": world(deployment=pinned()),
    "an owner that does not control the Deployment does not count": world(
        deployment=parsed(merged(deployment_body(), {"metadata": {"ownerReferences": [{"kind": "App", "name": "x"}]}}))
    ),
    "the Deployment that this TelegramBot owns": world(
        OWNED, deployment=pinned(BOT, owner=("TelegramBot", BOT, OWNED.uid))
    ),
    "a template whose Deployment is not there yet": world(OWNED, deployment=None),
}


@pytest.mark.parametrize("seen", ON_WITH_IT.values(), ids=ON_WITH_IT)
def test_what_is_no_reason_to_hold(seen: Observed) -> None:
    assert plan(seen, NOW).hold is None


# --- Pin and lock ---------------------------------------------------------------------------------------------------


def test_a_scaled_up_rolling_deployment_gets_recreate_and_the_lock_and_then_one_replica() -> None:
    body = deployment_body(replicas=3)
    first = todo(deployment=parsed(body))
    (patch,) = patches(first)
    assert set(patch["spec"]) == {"strategy", "template"}
    assert patch["spec"]["strategy"] == {"type": "Recreate", "rollingUpdate": None}
    assert patch["spec"]["template"]["metadata"]["labels"] == {"singleton.bot/bot": IDENTITY}
    assert patches(todo(deployment=parsed(after(body, first)))) == [{"spec": {"replicas": 1}}]


def test_replicas_wait_until_the_deployment_has_acted_on_a_new_template() -> None:
    """Kubernetes' Deployment controller would otherwise neither scale nor roll out, for ever."""
    pods = [pod("a"), pod("b")]
    assert todo(deployment=pinned(replicas=3, settled=False, updated=1), pods=pods).actions == ()
    assert patches(todo(deployment=pinned(replicas=3, updated=1), pods=pods)) == [{"spec": {"replicas": 1}}]


def test_a_deployment_that_was_only_scaled_is_scaled_back_before_its_controller_has_acted() -> None:
    made = todo(deployment=pinned(replicas=2, settled=False, updated=1, total=1), pods=[pod()])
    assert patches(made) == [{"spec": {"replicas": 1}}]


def test_a_deployment_of_zero_replicas_is_started() -> None:
    """... from the template that was seen, and from no other: hence the resource version."""
    stopped = pinned(replicas=0)
    (patch,) = patches(todo(deployment=stopped))
    assert patch == {
        "metadata": {"resourceVersion": stopped.metadata.resource_version},
        "spec": {"replicas": 1},
    }


def test_suspend_asks_for_zero_pods() -> None:
    (patch,) = patches(todo(telegram_bot(spec=adopts(suspend=True))))
    assert patch == {"spec": {"replicas": 0}}


def test_the_event_says_what_was_changed_and_from_what() -> None:
    body = deployment_body(replicas=3)
    first = todo(deployment=parsed(body))
    second = todo(deployment=parsed(after(body, first)))
    told = [each.why for made in (first, second) for each in made.actions if isinstance(each, PatchDeployment)]
    assert told == [
        f"Deployment {DEPLOYMENT}: strategy RollingUpdate -> Recreate, lock written into the pod template.",
        f"Deployment {DEPLOYMENT}: replicas 3 -> 1.",
    ]


def test_the_younger_bot_of_an_identity_gets_no_pod_and_keeps_the_lock() -> None:
    body, older = deployment_body(), (rival(age=90000),)
    first = todo(deployment=parsed(body), rivals=older)
    second = todo(deployment=parsed(after(body, first)), rivals=older)
    assert [list(patch["spec"]) for patch in patches(first)] == [["strategy", "template"]]
    assert patches(second) == [{"spec": {"replicas": 0}}]


def test_the_older_bot_of_an_identity_goes_on() -> None:
    assert todo(rivals=(rival(age=60),), pods=[pod()]) == Plan()


def test_two_bots_made_in_the_same_second_do_not_both_win() -> None:
    def of(name: str, other: str) -> int:
        made = todo(telegram_bot(name), deployment=pinned(mark=name), rivals=(rival(other, age=86400.0),))
        counts: list[int] = [patch["spec"]["replicas"] for patch in patches(made)]
        return counts[0] if counts else 1

    assert sorted([of("left", "right"), of("right", "left")]) == [0, 1]


def test_an_owned_deployment_is_created_with_one_replica() -> None:
    (action,) = todo(OWNED, deployment=None).actions
    assert isinstance(action, ApplyDeployment)
    assert action.deployment == BOT
    assert action.body["spec"]["replicas"] == 1


def test_a_suspended_owned_deployment_is_created_with_none() -> None:
    (action,) = todo(telegram_bot(spec=owns(suspend=True)), deployment=None).actions
    assert isinstance(action, ApplyDeployment)
    assert action.body["spec"]["replicas"] == 0


def test_an_owned_deployment_that_somebody_scaled_is_patched_back_before_anything_else() -> None:
    made = todo(OWNED, deployment=pinned(BOT, replicas=3, owner=("TelegramBot", BOT, OWNED.uid)))
    assert kinds(made)[0] == "PatchDeployment"
    assert patches(made)[0] == {"spec": {"replicas": 1}}


def test_an_owned_deployment_whose_template_has_changed_is_applied_again() -> None:
    (created,) = todo(OWNED, deployment=None).actions
    assert isinstance(created, ApplyDeployment)
    stored = merged(deployment_body(BOT, strategy="Recreate"), created.body)
    newer = telegram_bot(spec=owns(template={"spec": {"containers": [{"name": "bot", "image": "shop/bot:2"}]}}))
    (action,) = todo(newer, deployment=parsed(stored)).actions
    assert isinstance(action, ApplyDeployment)
    assert action.body["spec"]["template"]["spec"]["containers"][0]["image"] == "shop/bot:2"


def test_a_new_template_of_an_owned_deployment_waits_until_its_replicas_are_right() -> None:
    """It is applied together with the replicas, which may not change while a rollout has old pods."""
    stored = owned_body(settled=False, updated=1)
    newer = telegram_bot(spec=owns(template={"spec": {"containers": [{"name": "bot", "image": "shop/bot:2"}]}}))
    scaled = merged(stored, {"spec": {"replicas": 3}, "status": {"replicas": 3}})
    assert todo(newer, deployment=parsed(scaled)).actions == ()
    assert kinds(todo(newer, deployment=parsed(stored))) == ["ApplyDeployment"]


def test_the_lock_of_an_owned_deployment_stays_while_somebody_may_wait_behind_it() -> None:
    unlocked = telegram_bot(spec=owns(lock="None"))
    waiting = [pod("a", controller=OWN_SET, terminating=-5), pod("b", controller=OWN_SET, node="")]
    assert todo(unlocked, deployment=parsed(owned_body()), pods=waiting).actions == ()
    assert kinds(todo(unlocked, deployment=parsed(owned_body()), pods=waiting[1:])) == ["ApplyDeployment"]


OWN_SET = ("ReplicaSet", f"{BOT}-6c9d")


def owned_body(**facts: Any) -> Json:
    """The Deployment that a TelegramBot with a template owns, as it is stored."""
    (created,) = todo(OWNED, deployment=None).actions
    assert isinstance(created, ApplyDeployment)
    body: Json = merged(deployment_body(BOT, strategy="Recreate", **facts), created.body)
    return body


def test_while_an_owned_deployment_is_made_pods_that_wear_its_identity_are_left_alone() -> None:
    made = todo(OWNED, deployment=None, pods=[pod("of-another-deployment")])
    assert kinds(made) == ["ApplyDeployment"]


def test_a_lock_that_the_spec_no_longer_asks_for_comes_off_when_nobody_waits_behind_it() -> None:
    (patch,) = patches(todo(WITHOUT_LOCK, pods=[pod()]))
    assert patch["spec"]["template"]["metadata"]["labels"] == {"singleton.bot/bot": None}


@pytest.mark.parametrize(
    "known",
    [
        {"pods": [pod("a", terminating=-5), pod("b", node="")]},
        {"deployment": pinned(terminating=1), "pods": [pod()]},
        {"deployment": pinned(updated=0), "pods": [pod()]},
        {"deployment": pinned(settled=False), "pods": [pod()]},
    ],
    ids=["a pod leaves", "the Deployment counts one that leaves", "a rollout", "a change not acted on"],
)
def test_a_lock_that_the_spec_no_longer_asks_for_stays_while_somebody_may_wait_behind_it(known: Json) -> None:
    assert todo(WITHOUT_LOCK, **known).actions == ()


def test_while_a_lock_waits_to_come_off_the_pin_is_kept_up() -> None:
    leaving = [pod("a", terminating=-5)]
    rolling = todo(WITHOUT_LOCK, deployment=pinned(strategy="RollingUpdate"), pods=leaving)
    scaled = todo(WITHOUT_LOCK, deployment=pinned(replicas=3), pods=leaving)
    assert [list(patch["spec"]) for patch in patches(rolling)] == [["strategy"]]
    assert patches(scaled) == [{"spec": {"replicas": 1}}]


# --- Labels before the lock -----------------------------------------------------------------------------------------


def test_the_running_pod_is_labelled_before_the_template_gets_the_lock() -> None:
    """Else the pod that replaces it would see no pod of the bot, and start beside it."""
    made = todo(deployment=deployment(), pods=[pod(bot=None)])
    assert kinds(made) == ["LabelPod", "PatchDeployment"]


def test_every_pod_of_the_deployment_that_may_run_is_labelled_also_one_that_is_leaving() -> None:
    made = todo(pods=[pod("a", bot=None), pod("b", bot=None, terminating=-5), pod("c", bot=None, node="")])
    assert labelled(made) == ["a", "b", "c"]


def test_a_pod_that_wears_another_identity_gets_this_one() -> None:
    assert labelled(todo(pods=[pod("a", bot="shop.shop-bot")])) == ["a"]


OTHER_BOT = "7000000001"
BEFORE: dict[str, Any] = {"bot": OTHER_BOT, "lock": OTHER_BOT}  # as it was born, which its own lock says
ANOTHERS = {
    "before the template changes": todo(deployment=pinned(lock=OTHER_BOT), pods=[pod("a", **BEFORE)]),
    "while the rollout that replaces it is under way": todo(deployment=pinned(updated=0), pods=[pod("a", **BEFORE)]),
    "while it is on its way out": todo(pods=[pod("a", **BEFORE, terminating=-5), pod("b", node="")]),
    "where the policies bring the lock, and no rollout comes of it": todo(
        deployment=pinned(lock=None), pods=[pod("a", **BEFORE)]
    ),
}


@pytest.mark.parametrize("made", ANOTHERS.values(), ids=ANOTHERS)
def test_a_pod_that_still_runs_the_bot_before_keeps_that_ones_label_so_that_its_next_waits(made: Plan) -> None:
    assert labelled(made) == []


def test_a_label_that_somebody_has_edited_is_restored() -> None:
    assert labelled(todo(pods=[pod("a", bot=OTHER_BOT, lock=IDENTITY)])) == ["a"]


def test_a_pod_that_has_ended_gets_the_label_of_now() -> None:
    gone = pod("a", **BEFORE, phase="Failed", containers=[ended()])
    assert labelled(todo(pods=[gone])) == ["a"]


def test_what_was_labelled_by_name_gets_the_bot_id_at_once_since_it_runs_that_bot() -> None:
    before = "shop.shop-bot"
    assert labelled(todo(deployment=pinned(lock=before), pods=[pod("a", bot=before)])) == ["a"]


def test_a_dead_pod_of_the_deployment_is_labelled_too_since_it_is_found_by_that_when_it_hangs() -> None:
    assert labelled(todo(pods=[pod("dead", bot=None, phase="Failed", containers=[ended()])])) == ["dead"]


def test_pods_of_others_are_not_labelled() -> None:
    made = todo(
        pods=[
            pod("other", bot=None, controller=("ReplicaSet", "other-77")),
            pod("canary", bot=None, controller=("ReplicaSet", f"{DEPLOYMENT}-canary-6c9d")),
            pod("set-0", bot=None, controller=("StatefulSet", f"{DEPLOYMENT}-6c9d")),
        ]
    )
    assert labelled(made) == []


# --- Duplicates -----------------------------------------------------------------------------------------------------

SURPLUS = deployment(replicas=3)


def test_of_a_deployments_own_surplus_the_one_to_keep_is_marked_and_nothing_is_deleted_by_hand() -> None:
    """Its ReplicaSet shrinks itself; to delete as well could kill both."""
    made = todo(deployment=SURPLUS, pods=[pod("old", age=900), pod("new", age=60), pod("mid", age=300)])
    assert kept(made) == {"new": KEEP_COST}
    assert kinds(made) == ["KeepPod", "PatchDeployment"]


# The pods; which is marked, and what deleting it costs.
KEEP: dict[str, tuple[list[Pod], dict[str, int]]] = {
    "the newest stays": ([pod("old", age=900), pod("new", age=60)], {"new": 1000}),
    "one that serves stays before a newer one that does not": (
        [pod("serving", age=900), pod("starting", age=60, ready=False)],
        {"serving": 1000},
    ),
    "one that runs needs no mark against a newer one that is on no node: a ReplicaSet takes that first": (
        [pod("running", age=900, ready=False), pod("held", age=60, node="")],
        {},
    ),
    "of those that run one is marked, whoever waits for a node": (
        [pod("older", age=900), pod("running", age=300), pod("held", age=60, node="", cost="7000")],
        {"running": 1000},
    ),
    "one that is being deleted is not kept": (
        [pod("leaving", age=30, terminating=-5), pod("a", age=900), pod("b", age=60)],
        {"b": 1000},
    ),
    "one that nobody controls is not kept, and its cost is no measure": (
        [ownerless("stray", age=5, cost="7000"), pod("a", age=900), pod("b", age=60)],
        {"b": 1000},
    ),
    "the mark is set once": ([pod("a", age=900), pod("b", age=60, cost="1000")], {}),
    "a mark of an earlier time on another pod is outbid": (
        [pod("a", age=900, cost="1000"), pod("b", age=60)],
        {"b": 2000},
    ),
    "a mark that another pod has as well is outbid": (
        [pod("a", age=900, cost="1000"), pod("b", age=60, cost="1000")],
        {"b": 2000},
    ),
    "the dearest of several others is outbid": (
        [pod("a", age=900, cost="40"), pod("b", age=800, cost="-3"), pod("c", age=60, cost="39")],
        {"c": 1040},
    ),
    "what costs more than the others as it is needs no mark": ([pod("a", age=900, cost="-3"), pod("b", age=60)], {}),
    "others that are cheaper than nothing are outbid too": (
        [pod("a", age=900, cost="-3"), pod("b", age=60, cost="-3")],
        {"b": 997},
    ),
    "a cost that is no number is none": ([pod("a", age=900, cost="much"), pod("b", age=60)], {"b": 1000}),
    "a single pod needs no mark": ([pod("a")], {}),
    "a single pod of it beside a stray one needs none either": ([pod("a"), ownerless("stray")], {}),
}


@pytest.mark.parametrize(("pods", "expected"), KEEP.values(), ids=KEEP)
def test_which_pod_is_marked_to_be_kept_when_the_deployment_shrinks(pods: list[Pod], expected: dict[str, int]) -> None:
    assert kept(todo(deployment=SURPLUS, pods=pods)) == expected
    assert kept(todo(deployment=pinned(replicas=3), pods=pods)) == expected


def test_a_deployment_that_does_not_shrink_has_no_pod_to_mark() -> None:
    rolling = pinned(strategy="RollingUpdate")
    assert kept(todo(deployment=rolling, pods=[pod("a", age=900), pod("b", age=60)])) == {}


def test_the_order_in_which_pods_are_listed_does_not_choose_the_one_to_keep() -> None:
    pods = [pod("a", age=60), pod("b", age=60), pod("c", age=60)]
    assert kept(todo(deployment=SURPLUS, pods=pods)) == kept(todo(deployment=SURPLUS, pods=pods[::-1]))


GONE = {"telegram-bot-old": None}
OLD_SET = ("ReplicaSet", "telegram-bot-old")

# Pods beside the Deployment's own "mine", what is known of ReplicaSets; who is deleted, who is tolerated.
DUPLICATES: dict[str, tuple[list[Pod], dict[str, Any], list[str], list[str]]] = {
    "a pod that nobody controls goes": ([ownerless("stray")], {}, ["stray"], []),
    "... also when it is newer and serves": ([ownerless("stray", age=1)], {}, ["stray"], []),
    "... also when no node has it yet": ([ownerless("stray", node="")], {}, ["stray"], []),
    "... not when it is going already": ([ownerless("stray", terminating=-5)], {}, [], []),
    "... not when it is dead": ([ownerless("stray", phase="Failed", containers=[ended()])], {}, [], []),
    "a pod whose ReplicaSet has vanished goes": ([pod("old", controller=OLD_SET)], {"replica_sets": GONE}, ["old"], []),
    "a pod whose ReplicaSet still exists stays: it would be replaced at once": (
        [pod("old", controller=OLD_SET)],
        {"replica_sets": {"telegram-bot-old": replica_set("telegram-bot-old")}},
        [],
        ["old"],
    ),
    "a pod whose ReplicaSet could not be read stays": ([pod("old", controller=OLD_SET)], {}, [], ["old"]),
    "a pod of something else that has the name of a ReplicaSet that vanished stays": (
        [pod("set-0", controller=("StatefulSet", "telegram-bot-old"))],
        {"replica_sets": GONE},
        [],
        ["set-0"],
    ),
    "a pod of a StatefulSet stays": ([pod("set-0", controller=("StatefulSet", "set"))], {}, [], ["set-0"]),
    "a pod of a Job stays": ([pod("job-x", controller=("Job", "job"))], {}, [], ["job-x"]),
    "a second pod of the Deployment itself is its ReplicaSet's to remove": ([pod("mine-too", age=900)], {}, [], []),
    "a pod of another namespace is not ours to touch": ([ownerless("far", namespace="else")], {}, [], []),
}


@pytest.mark.parametrize(("others", "known", "gone", "tolerated"), DUPLICATES.values(), ids=DUPLICATES)
def test_which_duplicates_are_deleted(
    others: list[Pod], known: dict[str, Any], gone: list[str], tolerated: list[str]
) -> None:
    made = todo(pods=[pod("mine", age=60), *others], **known)
    assert deleted(made) == gone
    assert [each.name for each in made.tolerated] == tolerated


def test_duplicates_report_deletes_nothing_and_says_whom_it_left() -> None:
    made = todo(telegram_bot(spec=adopts(duplicates="Report")), pods=[pod("mine"), ownerless("stray")])
    assert (made.actions, [each.name for each in made.tolerated]) == ((), ["stray"])


def test_nothing_is_deleted_before_the_deployments_controller_has_settled() -> None:
    made = todo(deployment=pinned(settled=False), pods=[pod("mine"), ownerless("stray")])
    assert deleted(made) == []


def test_without_a_pod_of_the_deployment_the_best_stray_stays_until_there_is_one() -> None:
    made = todo(pods=[ownerless("older", age=900), ownerless("newer", age=60)])
    assert deleted(made) == ["older"]


def test_a_suspended_bot_keeps_no_stray_pod_either() -> None:
    made = todo(telegram_bot(spec=adopts(suspend=True)), deployment=pinned(replicas=0), pods=[ownerless("stray")])
    assert deleted(made) == ["stray"]


def test_the_loser_of_an_identity_deletes_no_pod_since_it_would_meet_the_winners() -> None:
    made = todo(
        deployment=pinned(replicas=0),
        rivals=(rival(age=90000),),
        pods=[ownerless("winners"), ownerless("winners-too"), pod("winners-own", controller=("ReplicaSet", "w-1"))],
        replica_sets={"w-1": None},
    )
    assert (made.actions, made.tolerated) == ((), ())


def test_every_delete_names_the_pod_by_uid_and_by_the_version_that_was_read() -> None:
    """INV-3: a successor of the same name, or a pod that has changed since, is never hit."""
    made = todo(
        deployment=pinned(updated=0),
        pods=[
            pod("mine"),
            ownerless("stray"),
            pod("stuck", node="", terminating=900),
            pod("remains", phase="Failed", containers=[ended()]),
        ],
    )
    gone = [each for each in made.actions if isinstance(each, DeletePod)]
    assert {each.pod for each in gone} == {"stray", "stuck", "remains"}
    assert {(each.uid, each.resource_version) for each in gone} == {(f"uid-{each.pod}", "70") for each in gone}


# --- Pods that hang in Terminating ----------------------------------------------------------------------------------

HUNG = pod("hung", terminating=90)
NEVER_BOUND = pod("hung", node="", terminating=90)
STOPPED = pod("hung", terminating=90, containers=[ended()])
FAILED = pod("hung", terminating=90, phase="Failed", containers=[ended()])
WELL: dict[str, Node | None] = {"node-1": node()}
SILENT: dict[str, Node | None] = {"node-1": node(ready=False)}
OFF: dict[str, Node | None] = {"node-1": node(ready=False, out_of_service=True)}
NO_NODE: dict[str, Node | None] = {"node-1": None}
BACK: dict[str, Node | None] = {"node-1": node(since=-5)}

# The pod and what is known of its node; whether it is forced under WhenProven, under Force, under Never.
STUCK: dict[str, tuple[Pod, dict[str, Node | None], tuple[bool, bool, bool]]] = {
    "never bound": (NEVER_BOUND, {}, (True, True, False)),
    "terminal phase": (FAILED, SILENT, (True, True, False)),
    "all containers ended on a Ready node": (STOPPED, WELL, (True, True, False)),
    "all containers ended on a node that is Ready again for a moment": (STOPPED, BACK, (False, True, False)),
    "node object gone": (HUNG, NO_NODE, (True, True, False)),
    "node out of service": (HUNG, OFF, (True, True, False)),
    "node silent, last seen running": (HUNG, SILENT, (False, True, False)),
    "node silent, last seen ended": (STOPPED, SILENT, (False, True, False)),
    "running on a Ready node": (HUNG, WELL, (False, True, False)),
    "node could not be read": (HUNG, {}, (False, True, False)),
}
CASES = [
    pytest.param(hung, nodes, policy, forced, id=f"{policy}: {name}: {'forced' if forced else 'held'}")
    for name, (hung, nodes, verdicts) in STUCK.items()
    for policy, forced in zip(("WhenProven", "Force", "Never"), verdicts, strict=True)
]


@pytest.mark.parametrize(("hung", "nodes", "policy", "forced"), CASES)
def test_stuck_pods(hung: Pod, nodes: dict[str, Node | None], policy: str, *, forced: bool) -> None:
    made = todo(telegram_bot(spec=adopts(stuckPods={"policy": policy})), pods=[hung], nodes=nodes)
    assert deleted(made) == (["hung!"] if forced else [])
    assert [stuck.name for stuck, _ in made.stuck] == ["hung"]


@pytest.mark.parametrize(("hung", "nodes", "policy", "forced"), CASES)
def test_a_finalizer_of_somebody_else_is_never_stripped_nor_the_pod_forced(
    hung: Pod, nodes: dict[str, Node | None], policy: str, *, forced: bool
) -> None:
    del forced, hung
    held = pod("hung", terminating=90, finalizers=["example.com/backup"])
    made = todo(telegram_bot(spec=adopts(stuckPods={"policy": policy})), pods=[held], nodes=nodes)
    assert made.actions == ()


def test_a_pod_whose_containers_have_ended_goes_when_its_node_has_been_ready_for_a_minute() -> None:
    seen = world(pods=[STOPPED], nodes=BACK)
    assert [deleted(plan(seen, at(seconds))) for seconds in (0, 54, 55)] == [[], [], ["hung!"]]


def test_a_pod_whose_containers_have_ended_has_a_minute_for_its_last_words_however_short_after_seconds_is() -> None:
    eager = telegram_bot(spec=adopts(stuckPods={"afterSeconds": 0}))
    seen = world(eager, pods=[pod("hung", terminating=1, containers=[ended()])], nodes=WELL)
    assert [deleted(plan(seen, at(seconds))) for seconds in (0, 58, 59)] == [[], [], ["hung!"]]


LATER = Later(at(40), 40.0)


def test_a_forced_delete_beyond_the_limit_is_held_back_until_its_moment() -> None:
    made = todo(pods=[pod("a", node="", terminating=90), NEVER_BOUND], held_back={"uid-hung": LATER})
    assert deleted(made) == ["a!"]
    assert [(each.name, later) for each, later in made.held_back] == [("hung", LATER)]


def test_a_pass_comes_by_itself_when_that_moment_is_there() -> None:
    soon = Later(at(4), 4.0)
    assert todo(pods=[NEVER_BOUND], held_back={"uid-hung": soon}).again_after == 4.0


@pytest.mark.parametrize(
    "facts",
    [{"pods": [HUNG], "nodes": SILENT}, {"pods": [pod("hung", terminating=90, finalizers=["example.com/backup"])]}],
    ids=["not proven dead", "held by a finalizer"],
)
def test_what_would_not_be_forced_anyway_is_not_held_back(facts: dict[str, Any]) -> None:
    assert todo(held_back={"uid-hung": LATER}, **facts).held_back == ()


def test_the_event_of_an_unproven_force_delete_says_so() -> None:
    forced = telegram_bot(spec=adopts(stuckPods={"policy": "Force"}))
    (unproven,) = todo(forced, pods=[HUNG], nodes=SILENT).actions
    (proven,) = todo(forced, pods=[HUNG], nodes=NO_NODE).actions
    assert isinstance(unproven, DeletePod)
    assert isinstance(proven, DeletePod)
    assert "not proven" in unproven.why
    assert "not proven" not in proven.why
    assert "node no longer exists" in proven.why
    assert (unproven.proof, proven.proof) == ("none", "NodeGone"), "by which they are counted"


@pytest.mark.parametrize("policy", ["WhenProven", "Force"])
def test_no_pod_is_forced_within_its_grace_period_and_after_seconds(policy: str) -> None:
    made = todo(
        telegram_bot(spec=adopts(stuckPods={"policy": policy, "afterSeconds": 60})),
        pods=[pod("in-grace", node="", terminating=-20), pod("nearly", node="", terminating=59)],
    )
    assert (made.actions, made.stuck) == ((), ())


def test_a_stuck_pod_of_another_namespace_is_not_ours_to_force() -> None:
    made = todo(pods=[pod("far", namespace="else", node="", terminating=900)])
    assert made.actions == ()


def test_a_pod_that_is_not_being_deleted_is_never_forced() -> None:
    made = todo(
        telegram_bot(spec=adopts(stuckPods={"policy": "Force", "afterSeconds": 0})),
        pods=[pod("mine"), ownerless("stray")],
        nodes=NO_NODE,
    )
    assert deleted(made) == ["stray"]


# --- Remains of a rollout -------------------------------------------------------------------------------------------

EVICTED = pod("evicted", phase="Failed", containers=[], reason="Evicted")
CRASHED = pod("failed", phase="Failed", containers=[ended()])


def test_failed_and_evicted_pods_go_while_the_deployment_waits_for_its_new_pod() -> None:
    made = todo(deployment=pinned(updated=0), pods=[EVICTED, CRASHED])
    assert deleted(made) == ["evicted", "failed"]


def test_the_event_of_remains_says_what_they_were() -> None:
    (action,) = todo(deployment=pinned(updated=0), pods=[EVICTED]).actions
    assert isinstance(action, DeletePod)
    assert "Evicted" in action.why


NOT_REMAINS: dict[str, dict[str, Any]] = {
    "a rollout that has its new pod": {"deployment": pinned(updated=1), "pods": [EVICTED]},
    "a failed pod that is going already": {
        "deployment": pinned(updated=0),
        "pods": [pod("failed", phase="Failed", containers=[ended()], terminating=-5)],
    },
    "a failed pod of somebody else": {
        "deployment": pinned(updated=0),
        "pods": [pod("failed", phase="Failed", containers=[ended()], controller=("Job", "backup"))],
    },
    "a pod that was called failed while a container was last seen running": {
        "deployment": pinned(updated=0),
        "pods": [pod("failed", phase="Failed")],
    },
}


@pytest.mark.parametrize("known", NOT_REMAINS.values(), ids=NOT_REMAINS)
def test_what_no_rollout_hangs_on_stays(known: dict[str, Any]) -> None:
    assert deleted(todo(**known)) == []


# --- Order and time -------------------------------------------------------------------------------------------------


def test_the_order_is_the_order_of_safety() -> None:
    """Let go, label, keep, pin, then delete: first duplicates, then what hangs, then remains."""
    made = todo(
        deployment=deployment(replicas=3, updated=0, mark=BOT),
        leftovers=(pinned("before"),),
        pods=[
            pod("mine", age=60, bot=None),
            pod("mine-too", age=900),
            ownerless("stray"),
            pod("hung", node="", terminating=90),
            EVICTED,
        ],
    )
    assert kinds(made) == [
        "PatchDeployment",
        "LabelPod",
        "KeepPod",
        "PatchDeployment",
        "DeletePod",
        "DeletePod",
        "DeletePod",
    ]
    assert deleted(made) == ["stray", "hung!", "evicted"]


DEADLINES: dict[str, tuple[dict[str, Any], float | None]] = {
    "nothing pends: no need to look again": ({"pods": [pod()]}, None),
    "a pod will be overdue when its grace period and afterSeconds have passed": (
        {"pods": [pod(terminating=-20)]},
        80.0,
    ),
    "of two deadlines the nearer counts": ({"pods": [pod("a", terminating=-20), pod("b", terminating=50)]}, 10.0),
    "a pod that is stuck already is looked at again: its node may change": (
        {"pods": [pod(terminating=900)], "nodes": SILENT},
        SOON,
    ),
    "a pod whose containers have ended is looked at again until that is proven": (
        {"pods": [pod(terminating=900, containers=[ended()])], "nodes": BACK},
        SOON,
    ),
    "a Deployment that is let go of is looked at again": ({"pods": [pod()], "leftovers": (pinned("before"),)}, SOON),
    "a deadline nearer than that counts": (
        {"pods": [pod("a", terminating=900), pod("b", terminating=57)], "nodes": SILENT},
        3.0,
    ),
    "a token that is missing is looked for again": (
        {"token": TokenView(TokenState.SECRET_NOT_FOUND), "pods": [pod()]},
        SOON,
    ),
}


@pytest.mark.parametrize(("known", "seconds"), DEADLINES.values(), ids=DEADLINES)
def test_when_to_look_again(known: dict[str, Any], seconds: float | None) -> None:
    assert todo(**known).again_after == seconds


def test_a_request_that_fails_is_named_as_an_admin_writes_it_into_a_role() -> None:
    made = todo(deployment=deployment(replicas=3), pods=[pod("a", bot=None), pod("b", node="", terminating=90)])
    assert [describe(each) for each in made.actions] == [
        ("patch", "pods"),
        ("patch", "deployments.apps"),
        ("delete", "pods"),
    ]


# --- Then it is enough ----------------------------------------------------------------------------------------------

# What a user's Deployment may look like, and how many patches it takes.
UNPINNED: dict[str, tuple[Json, int]] = {
    "one replica, rolling": (deployment_body(), 1),
    "scaled and rolling": (deployment_body(replicas=3), 2),
    "without a pod": (deployment_body(replicas=0), 2),
    "Recreate already": (deployment_body(strategy="Recreate"), 1),
    "locked on another identity": (deployment_body(template=template_body(lock="somebody-else")), 1),
    "with an affinity of its own": (deployment_body(template=template_body(affinity={"nodeAffinity": {"x": 1}})), 1),
}


@pytest.mark.parametrize(("body", "count"), UNPINNED.values(), ids=UNPINNED)
def test_what_the_patches_ask_for_is_all_that_was_missing(body: Json, count: int) -> None:
    """INV-8: once the world is as the plans want it, there is nothing more to do."""
    for _ in range(count):
        body = after(body, todo(deployment=parsed(body)))
    assert todo(deployment=parsed(body)).actions == ()


def test_an_owned_deployment_that_was_just_applied_is_left_alone() -> None:
    bot = understand.bot(bot_body(spec=owns()))
    (action,) = todo(bot, deployment=None).actions
    assert isinstance(action, ApplyDeployment)
    stored = merged(deployment_body(BOT, strategy="Recreate"), action.body)
    assert todo(bot, deployment=parsed(stored), pods=[]).actions == ()


def test_a_pod_that_only_an_edited_lease_names_is_nobodys_duplicate() -> None:
    """It was read because the turn is said to be its own; that makes it no pod of the bot."""
    stranger = ownerless("somebody-elses", bot=None)
    assert deleted(todo(pods=[pod(), stranger])) == []
    assert deleted(todo(pods=[pod(), ownerless("a-duplicate")])) == ["a-duplicate"]
