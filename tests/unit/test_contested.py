"""Who keeps undoing the pin, when that is said and when no longer, and when the lock is left out of the template.

A history is played look by look, as passes see it: what somebody does to the Deployment, then what we make of it.
"""

from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from telegrambot_operator.core import desired
from telegrambot_operator.core.contest import Contest
from telegrambot_operator.core.contested import follow
from telegrambot_operator.core.observed import Observed
from telegrambot_operator.core.plan import plan
from telegrambot_operator.names import Reason
from tests.unit.worlds import (
    BOT,
    IDENTITY,
    Json,
    acted,
    adopts,
    at,
    deployment_body,
    merged,
    parsed,
    patched,
    pod,
    said,
    stamp,
    status_of,
    telegram_bot,
    template_body,
    world,
)

FLUX, ARGO = "kustomize-controller", "argocd-controller"
THEIRS = {"labelSelector": {"matchLabels": {"app": "database"}}, "topologyKey": "kubernetes.io/hostname"}
REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
FIELDS: dict[str, Json] = {
    "replicas": {"f:replicas": {}},
    "strategy": {"f:strategy": {"f:type": {}}},
    "the lock": {"f:template": {"f:spec": {"f:affinity": {"f:podAntiAffinity": {f"f:{REQUIRED}": {}}}}}},
}


def claim(manager: str, seconds: float, *fields: str) -> Json:
    """An entry of managed fields."""
    spec: Json = {"f:selector": {}}
    for each in fields:
        spec |= FIELDS[each]
    return {"manager": manager, "operation": "Apply", "time": stamp(seconds), "fieldsV1": {"f:spec": spec}}


@dataclass
class Play:
    """A Deployment through time. `seconds` goes on by ten with each thing that happens to it."""

    body: Json = field(
        default_factory=lambda: acted(
            deployment_body(strategy="Recreate", mark=BOT, template=template_body(lock=IDENTITY, terms=[THEIRS]))
        )
    )
    seconds: float = 0.0
    contest: Contest | None = None
    pod: str = "bot-a"
    spec: Json = field(default_factory=lambda: adopts(conflict={"clearAfterSeconds": 15}))
    generation: int = 2
    status: Json = field(default_factory=dict)
    writes: list[Json] = field(default_factory=list)

    def look(self) -> Observed:
        bot = telegram_bot(spec=self.spec, generation=self.generation, status=self.status)
        seen = world(bot, pods=[pod(self.pod)], deployment=parsed(self.body))
        self.contest = follow(self.contest, seen, at(self.seconds))
        return replace(seen, contest=self.contest)

    def settle(self) -> Observed:
        """Passes until nothing is left to do."""
        for _ in range(6):
            seen = self.look()
            patches = [each for each in plan(seen, at(self.seconds)).actions if hasattr(each, "body")]
            if not patches:
                self.body = acted(self.body)
                seen = self.look()
                self.status = status_of(seen, self.seconds)
                return seen
            self.writes += [each.body for each in patches]
            self.body = patched(self.body, patches[0].body)
            self.body["metadata"]["managedFields"] = [
                _without(each, patches[0].body.get("spec", {})) for each in self.managed
            ]
            self.look()
            self.body = acted(self.body)
        raise AssertionError("no end of it")

    @property
    def managed(self) -> list[Json]:
        found: list[Json] = self.body["metadata"].get("managedFields", [])
        return found

    def applied(self, manager: str = FLUX, *, restarts: bool = False, **spec: Any) -> Observed:
        """Somebody applies this spec; `restarts`: the rollout that follows has taken the pod."""
        self.seconds += 10
        self.body = patched(self.body, {"spec": spec})
        claims = [each for each in FIELDS if (each if each != "the lock" else "template") in spec]
        others = [each for each in self.managed if each["manager"] != manager]
        self.body["metadata"]["managedFields"] = [*others, claim(manager, self.seconds, *claims)]
        self.look()
        if restarts:
            self.pod += "a"
        return self.settle()

    def wait(self, seconds: float) -> Observed:
        self.seconds += seconds
        return self.settle()

    def says(self) -> tuple[str, str]:
        status, reason, _ = said(self.status, "Pinned")
        return status, reason

    def message(self) -> str:
        return said(self.status, "Pinned")[2]


def _without(entry: Json, spec: Json) -> Json:
    """A manager's entry after another has set these fields."""
    taken = {f"f:{each}" for each in spec}
    kept = {key: value for key, value in entry["fieldsV1"]["f:spec"].items() if key not in taken}
    return {**entry, "fieldsV1": {"f:spec": kept}}


AGAIN = {"replicas": 3, "strategy": {"type": "RollingUpdate"}}
QUIET, NAMED = ("True", Reason.PINNED), ("True", Reason.FIELD_MANAGER_CONFLICT)
LEFT_OUT = ("False", Reason.FIELD_MANAGER_CONFLICT)
NO_LOCK = {"template": template_body(terms=[THEIRS])}


@pytest.fixture
def play() -> Play:
    found = Play()
    found.settle()
    return found


def test_each_apply_costs_one_write_of_replicas_and_strategy_at_once(play: Play) -> None:
    for number in range(1, 5):
        play.applied(**AGAIN)
        assert len(play.writes) == number
        assert play.writes[-1]["spec"] == {"replicas": 1, "strategy": {"type": "Recreate", "rollingUpdate": None}}


def test_another_lock_in_the_telegrambot_is_nobodys_undoing(play: Play) -> None:
    for lock in ("Gate", "Scheduler", "Gate", "Scheduler"):
        play.spec = {**play.spec, "lock": lock}
        play.generation += 1
        play.seconds += 10
        play.look()
        play.pod += "a"
        play.settle()
        assert play.says() == QUIET
        assert play.contest is not None
        assert play.contest.undone == ()


def test_with_another_image_in_it_the_replicas_come_after_the_rollout_has_begun(play: Play) -> None:
    play.applied(**AGAIN, template={"spec": {"containers": [{"name": "bot", "image": "shop/bot:2"}]}})
    assert [sorted(each["spec"]) for each in play.writes] == [["strategy"], ["replicas"]]


def test_the_third_time_names_the_manager_and_what_it_sets(play: Play) -> None:
    said_so = []
    for _ in range(3):
        play.applied(**AGAIN)
        said_so.append(play.says())
    assert said_so == [QUIET, QUIET, NAMED]
    assert "field manager kustomize-controller keeps setting replicas and strategy" in play.message()
    assert "spec.ignore of the Flux Kustomization" in play.message()
    assert said(play.status, "Ready")[0] == "True"
    assert said(play.status, "Stalled")[0] == "False"


def test_once_it_is_said_no_event_tells_of_each_time(play: Play) -> None:
    for _ in range(3):
        play.applied(**AGAIN)
    play.body = patched(play.body, {"spec": {"replicas": 2}})
    (action,) = [each for each in plan(play.look(), at(play.seconds)).actions if hasattr(each, "quiet")]
    assert action.quiet


def test_its_status_does_not_change_with_each_apply(play: Play) -> None:
    for _ in range(4):
        play.applied(**AGAIN)
    before = play.status
    play.applied(**AGAIN)
    assert play.status == before


def test_it_is_said_until_twice_the_longest_pause_has_passed(play: Play) -> None:
    for _ in range(3):
        play.applied(**AGAIN)
    seen = play.wait(19)
    assert play.says() == NAMED
    again = plan(seen, at(play.seconds)).again_after
    assert again is not None
    assert 0 < again <= 1
    play.wait(again)
    assert play.says() == QUIET


def test_it_is_said_no_longer_once_the_manifest_says_the_same(play: Play) -> None:
    for _ in range(3):
        play.applied(**AGAIN)
    play.applied(replicas=1, strategy={"type": "Recreate"})
    assert play.says() == QUIET


def test_two_managers_by_turns_are_told_apart(play: Play) -> None:
    for manager in (FLUX, ARGO, FLUX, ARGO):
        play.applied(manager, **AGAIN)
    assert play.says() == QUIET
    play.applied(ARGO, replicas=2)
    assert "argocd-controller keeps setting replicas and strategy" in play.message()


@pytest.mark.parametrize("change", [{"suspend": True}, {"lock": "None"}])
def test_what_its_own_user_changes_is_nobodys_undoing(play: Play, change: Json) -> None:
    for _ in range(3):
        play.spec = {**play.spec, **change}
        play.generation += 1
        play.wait(10)
        play.spec = {key: value for key, value in play.spec.items() if key not in change}
        play.generation += 1
        play.wait(10)
    assert play.contest is not None
    assert play.contest.undone == ()


def test_a_lock_that_is_taken_out_and_costs_no_pod_is_put_back_each_time(play: Play) -> None:
    for _ in range(4):
        play.applied(**NO_LOCK)
        assert "template" in play.writes[-1]["spec"]
    assert play.says() == NAMED
    assert "keeps changing the lock" in play.message()


def fought(play: Play) -> Play:
    play.applied(**NO_LOCK, restarts=True)
    assert play.says() == QUIET
    play.applied(**NO_LOCK, restarts=True)
    return play


def test_a_lock_whose_return_has_cost_a_pod_is_left_out_the_second_time_and_somebody_must_act(play: Play) -> None:
    fought(play)
    assert play.says() == LEFT_OUT
    assert "field manager kustomize-controller keeps taking the lock out" in play.message()
    assert said(play.status, "Stalled")[:2] == ("True", Reason.FIELD_MANAGER_CONFLICT)
    before = len(play.writes)
    play.applied(**NO_LOCK)
    assert len(play.writes) == before


def test_replicas_are_set_back_while_the_lock_is_left_out(play: Play) -> None:
    fought(play)
    play.applied(**AGAIN, **NO_LOCK)
    assert set(play.writes[-1]["spec"]) == {"replicas", "strategy"}
    assert play.says() == LEFT_OUT


def test_a_lock_that_two_different_hands_take_out_is_put_back(play: Play) -> None:
    play.applied(FLUX, **NO_LOCK, restarts=True)
    play.applied(ARGO, **NO_LOCK, restarts=True)
    assert play.says() == QUIET


def test_a_lock_that_is_taken_out_again_after_hours_is_put_back(play: Play) -> None:
    play.applied(**NO_LOCK, restarts=True)
    play.wait(3 * 3600)
    play.applied(**NO_LOCK, restarts=True)
    assert play.says() == QUIET


def test_the_lock_in_the_manifest_ends_it(play: Play) -> None:
    fought(play)
    play.applied(template=template_body(lock=IDENTITY, terms=[THEIRS]))
    assert play.says() == QUIET


def test_a_manifest_without_terms_of_its_own_ends_it(play: Play) -> None:
    fought(play)
    anti = {"affinity": None}
    play.body = merged(play.body, {"spec": {"template": {"spec": anti}}})
    play.body["metadata"]["managedFields"] = [claim(FLUX, play.seconds + 5)]
    play.wait(10)
    assert "template" in play.writes[-1]["spec"]
    assert play.says() == QUIET


def test_an_edit_of_the_telegram_bot_tries_again(play: Play) -> None:
    fought(play)
    play.generation += 1
    play.wait(10)
    assert "template" in play.writes[-1]["spec"]
    assert play.says() == QUIET


def test_an_operator_that_starts_leaves_out_what_was_left_out(play: Play) -> None:
    fought(play)
    before, writes = play.status, len(play.writes)
    play.contest = None
    play.wait(10)
    assert (play.status, len(play.writes)) == (before, writes)


def test_an_operator_that_starts_while_the_deployment_is_away_knows_it_too(play: Play) -> None:
    fought(play)
    before = play.status
    away = world(telegram_bot(spec=play.spec, status=play.status), deployment=None)
    play.contest = follow(None, away, at(play.seconds))
    play.wait(10)
    assert play.status == before


def test_an_operator_that_starts_repeats_for_a_while_who_keeps_setting_it(play: Play) -> None:
    for _ in range(3):
        play.applied(**AGAIN)
    before = play.message()
    play.contest = None
    play.wait(10)
    assert (play.says(), play.message()) == (NAMED, before)
    play.wait(900)
    assert play.says() == QUIET


def test_managed_fields_say_who_last_set_what() -> None:
    body = deployment_body()
    body["metadata"]["managedFields"] = [
        claim(FLUX, 1, "replicas", "the lock"),
        claim("telegrambot-operator", 2, "strategy"),
        {"manager": "kube-controller-manager", "subresource": "status", "time": stamp(3), "fieldsV1": {"f:status": {}}},
        {"manager": "kubectl", "subresource": "scale", "time": stamp(4), "fieldsV1": {"f:spec": {"f:replicas": {}}}},
    ]
    found = {each.manager: sorted(each.fields) for each in parsed(body).claims}
    assert found == {FLUX: ["replicas", "the lock"], "kubectl": ["replicas"]}


def test_whether_we_are_noted_for_the_pin_and_how_that_ends() -> None:
    body = deployment_body()
    mark = {"f:metadata": {"f:labels": {"f:singleton.bot/name": {}}}}
    ours = claim("telegrambot-operator", 2, "strategy", "replicas")
    ours["fieldsV1"] |= mark
    ours["fieldsV1"]["f:spec"].pop("f:selector")
    body["metadata"]["managedFields"] = [claim(FLUX, 1, "replicas"), ours, claim("telegrambot-operator", 3, "strategy")]
    assert parsed(body).manages
    after = desired.disowned(body["metadata"]["managedFields"])
    body["metadata"]["managedFields"] = after
    assert not parsed(body).manages
    assert after[0] == claim(FLUX, 1, "replicas")
    assert after[1]["fieldsV1"] == mark
    assert [each["manager"] for each in after] == [FLUX, "telegrambot-operator", "telegrambot-operator"]
    assert desired.disowned([{"manager": "telegrambot-operator", "fieldsV1": {"f:spec": {"f:replicas": {}}}}]) == []


def test_a_bot_that_is_gone_or_on_hold_is_not_judged() -> None:
    before = Contest(right=True)
    assert follow(before, world(deployment=None), at(0)) is before
