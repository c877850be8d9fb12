"""What a pinned Deployment looks like, and that the patches lead there, stop there, and lead back.

The properties apply patches as the API server does (RFC 7386), to made-up Deployments with affinity of their own.
"""

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telegrambot_operator.core import desired
from telegrambot_operator.core.observed import Bot, TokenState, TokenView
from telegrambot_operator.core.records import Deployment, template_of
from tests.unit.worlds import (
    BOT,
    GATE,
    IDENTITY,
    NAMESPACE,
    VALID,
    Json,
    acted,
    deployment,
    deployment_body,
    gated,
    lock_term,
    merged,
    owns,
    parsed,
    patched,
    pinned,
    takes_turns,
    telegram_bot,
    template_body,
)

REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
THEIRS = {"labelSelector": {"matchLabels": {"app": "database"}}, "topologyKey": "kubernetes.io/hostname"}

# --- Identity -------------------------------------------------------------------------------------------------------

LOCKED = pinned(lock="111111")
NOT_OURS = deployment(template=template_body(lock="111111"))
FALLBACK = f"{NAMESPACE}.{BOT}"

IDENTITIES: dict[str, tuple[TokenView, Deployment | None, str]] = {
    "the bot id of the token": (VALID, None, IDENTITY),
    "... also when the Deployment wears another one": (VALID, LOCKED, IDENTITY),
    "without a token, namespace and name": (TokenView(), None, FALLBACK),
    "when the token was taken out of the spec, namespace and name again": (TokenView(), LOCKED, FALLBACK),
    "when the Secret is gone, the one it has": (TokenView(TokenState.SECRET_NOT_FOUND), LOCKED, "111111"),
    "when the Secret may not be read, the one it has": (TokenView(TokenState.FORBIDDEN), LOCKED, "111111"),
    "when the API server does not answer, the one it has": (TokenView(TokenState.UNREADABLE), LOCKED, "111111"),
    "when there is no token and no lock yet, namespace and name": (
        TokenView(TokenState.SECRET_NOT_FOUND),
        deployment(),
        FALLBACK,
    ),
    "what it wears of a TelegramBot without a token is that one's, and anybody can write it there": (
        TokenView(TokenState.SECRET_NOT_FOUND),
        pinned(lock="elsewhere.shop-bot"),
        FALLBACK,
    ),
    "what a Deployment wears that is not marked as ours does not count": (
        TokenView(TokenState.SECRET_NOT_FOUND),
        NOT_OURS,
        FALLBACK,
    ),
}


@pytest.mark.parametrize(("token", "found", "expected"), IDENTITIES.values(), ids=IDENTITIES)
def test_identity(token: TokenView, found: Deployment | None, expected: str) -> None:
    assert desired.identity(telegram_bot(), token, found) == expected


# --- The pin --------------------------------------------------------------------------------------------------------


def pin(body: Json, *, lock: str | None = IDENTITY, count: int = 1, bot: Bot | None = None) -> Json:
    return desired.pin_patch(parsed(body), bot or telegram_bot(), lock, count)


def marked(**facts: Any) -> Json:
    return deployment_body(**{"mark": BOT, "strategy": "Recreate", "template": template_body(lock=IDENTITY), **facts})


PATCHES: dict[str, tuple[Json, Json]] = {
    "nothing is missing: nothing is written": (marked(), {}),
    "scaled: only replicas": (marked(replicas=3), {"spec": {"replicas": 1}}),
    "another strategy: only the strategy, and what Recreate refuses beside it goes": (
        marked(strategy="RollingUpdate"),
        {"spec": {"strategy": {"type": "Recreate", "rollingUpdate": None}}},
    ),
    "no mark: only the mark": (marked(mark=None), {"metadata": {"labels": {"singleton.bot/name": BOT}}}),
    "no mark and scaled: both, since a mark starts no rollout": (
        marked(mark=None, replicas=3),
        {"metadata": {"labels": {"singleton.bot/name": BOT}}, "spec": {"replicas": 1}},
    ),
    "scaled and rolling: the strategy, and replicas later": (
        marked(replicas=3, strategy="RollingUpdate"),
        {"spec": {"strategy": {"type": "Recreate", "rollingUpdate": None}}},
    ),
    "scaled while a rollout has old pods: nothing yet": (marked(replicas=3, settled=False, updated=1), {}),
    "scaled, and nobody has acted, but every pod is of the newest template: only replicas": (
        marked(replicas=3, settled=False, updated=3),
        {"spec": {"replicas": 1}},
    ),
    "no lock: label and term, under the version that the terms were read at": (
        marked(template=template_body()),
        {
            "metadata": {"resourceVersion": "40"},
            "spec": {
                "template": {
                    "metadata": {"labels": {"singleton.bot/bot": IDENTITY}},
                    "spec": {"affinity": {"podAntiAffinity": {REQUIRED: [lock_term(IDENTITY)]}}},
                }
            },
        },
    ),
    "the user's own terms stay, in front of ours": (
        marked(template=template_body(terms=[THEIRS])),
        {
            "metadata": {"resourceVersion": "40"},
            "spec": {
                "template": {
                    "metadata": {"labels": {"singleton.bot/bot": IDENTITY}},
                    "spec": {"affinity": {"podAntiAffinity": {REQUIRED: [THEIRS, lock_term(IDENTITY)]}}},
                }
            },
        },
    ),
    "a lock on another identity is replaced, not joined": (
        marked(template=template_body(terms=[THEIRS], lock="111111")),
        {
            "metadata": {"resourceVersion": "40"},
            "spec": {
                "template": {
                    "metadata": {"labels": {"singleton.bot/bot": IDENTITY}},
                    "spec": {"affinity": {"podAntiAffinity": {REQUIRED: [THEIRS, lock_term(IDENTITY)]}}},
                }
            },
        },
    ),
}


@pytest.mark.parametrize(("body", "expected"), PATCHES.values(), ids=PATCHES)
def test_the_patch_holds_what_is_missing_and_no_more(body: Json, expected: Json) -> None:
    assert pin(body) == expected


def test_a_scaled_deployment_without_the_lock_gets_the_lock_and_keeps_its_replicas_for_now() -> None:
    spec = pin(marked(replicas=3, template=template_body()))["spec"]
    assert list(spec) == ["template"]


# What the Deployment's controller has told; whether replicas may be changed now.
SCALABLE: dict[str, tuple[Json, bool]] = {
    "it has acted, and all pods are new": ({"settled": True}, True),
    "it has acted, so old pods are on their way out": ({"settled": True, "updated": 0}, True),
    "it has not acted, and there were no old pods when it last did": ({"settled": False}, True),
    "it has not acted, and there is no pod yet": ({"settled": False, "updated": 0, "total": 0}, True),
    "it has not acted, and all pods are old": ({"settled": False, "updated": 0}, False),
    "it has not acted, and one pod of three is old": ({"settled": False, "updated": 2}, False),
    "it has not acted, and a rolling update has surged": ({"settled": False, "updated": 3, "total": 4}, False),
}


@pytest.mark.parametrize(("told", "expected"), SCALABLE.values(), ids=SCALABLE)
def test_replicas_are_not_changed_in_a_rollout_that_has_old_pods(told: Json, *, expected: bool) -> None:
    """Kubernetes' Deployment controller would then neither scale nor roll out, for ever."""
    assert desired.may_be_scaled(deployment(replicas=3, **told)) is expected


def test_a_lock_term_that_somebody_changed_is_put_right() -> None:
    weaker = {**lock_term(IDENTITY), "topologyKey": "kubernetes.io/hostname"}
    body = marked(
        template=merged(template_body(terms=[weaker]), {"metadata": {"labels": {"singleton.bot/bot": IDENTITY}}})
    )
    after = merged(body, pin(body))
    assert required(after) == [lock_term(IDENTITY)]


def test_a_lock_that_somebody_wrote_twice_is_there_once() -> None:
    body = marked(template=template_body(terms=[lock_term(IDENTITY)], lock=IDENTITY))
    assert required(merged(body, pin(body))) == [lock_term(IDENTITY)]


def test_a_label_without_its_term_is_no_lock() -> None:
    body = marked(template=merged(template_body(), {"metadata": {"labels": {"singleton.bot/bot": IDENTITY}}}))
    assert required(merged(body, pin(body))) == [lock_term(IDENTITY)]


def test_lock_none_takes_a_lock_away_that_was_there_and_keeps_the_users_terms() -> None:
    body = marked(template=template_body(terms=[THEIRS], lock=IDENTITY))
    after = merged(body, pin(body, lock=None))
    assert required(after) == [THEIRS]
    assert "singleton.bot/bot" not in after["spec"]["template"]["metadata"]["labels"]


def test_no_field_of_an_adopted_deployments_containers_is_ever_written() -> None:
    """To co-own an entry of that list keeps a container alive that its owner removed."""
    patch = pin(deployment_body(replicas=3))
    assert "containers" not in json.dumps(patch)


def test_the_template_of_an_owned_deployment_is_not_patched_but_applied() -> None:
    patch = pin(deployment_body(BOT, replicas=2), bot=telegram_bot(spec=owns()))
    assert "template" not in patch["spec"]


@pytest.mark.parametrize(
    ("lock", "expected"),
    [("Scheduler", IDENTITY), ("Gate", IDENTITY), ("None", None)],
    ids=["Scheduler locks", "Gate locks as Scheduler does, and holds", "None does not lock"],
)
def test_lock_name(lock: str, expected: str | None) -> None:
    spec = telegram_bot(spec=owns(lock=lock)).spec
    assert spec is not None
    assert desired.lock_name(spec, IDENTITY) == expected


def required(body: Json) -> list[Json]:
    affinity = body["spec"]["template"]["spec"].get("affinity", {})
    terms: list[Json] = affinity.get("podAntiAffinity", {}).get(REQUIRED, [])
    return terms


# --- The gate ---------------------------------------------------------------------------------------------------------

QUOTA, PROXY = "example.com/quota", "example.com/proxy"
TURNS = takes_turns()

GATES: dict[str, tuple[list[str], bool, list[str]]] = {
    "it is put in": ([], True, [GATE]),
    "behind the user's own": ([QUOTA, PROXY], True, [QUOTA, PROXY, GATE]),
    "once only": ([GATE, QUOTA, GATE], True, [QUOTA, GATE]),
    "it is taken out, and the user's own stay": ([QUOTA, GATE, PROXY], False, [QUOTA, PROXY]),
    "nothing is there, and nothing comes": ([], False, []),
}


@pytest.mark.parametrize(("before", "wanted", "after"), GATES.values(), ids=GATES)
def test_the_gate(before: list[str], wanted: bool, after: list[str]) -> None:
    found = desired.with_gate([{"name": each} for each in before], gated=wanted)
    assert found == [{"name": each} for each in after]


def gates(body: Json) -> list[str] | None:
    """The names of the gates in a template; None where it says nothing of any."""
    found = body["spec"]["template"]["spec"].get("schedulingGates")
    return None if found is None else [each["name"] for each in found]


def with_gates(*names: str, **facts: Any) -> Json:
    """A marked Deployment whose template is locked and has these gates."""
    return marked(template=template_body(lock=IDENTITY, gates=names), **facts)


GATE_PATCHES: dict[str, tuple[Json, Bot, list[str] | None]] = {
    "turns: it is put in": (marked(), TURNS, [GATE]),
    "turns: behind the user's own": (with_gates(QUOTA), TURNS, [QUOTA, GATE]),
    "no turns any more: it is taken out, and no empty list is left": (with_gates(GATE), telegram_bot(), None),
    "no turns any more: the user's own stay": (with_gates(QUOTA, GATE), telegram_bot(), [QUOTA]),
}


@pytest.mark.parametrize(("body", "bot", "after"), GATE_PATCHES.values(), ids=GATE_PATCHES)
def test_the_gate_is_written_under_the_version_that_the_gates_were_read_at(
    body: Json, bot: Bot, after: list[str] | None
) -> None:
    patch = pin(body, bot=bot)
    assert patch["metadata"]["resourceVersion"] == "40"
    assert gates(merged(body, patch)) == after
    assert required(merged(body, patch)) == [lock_term(IDENTITY)]


RIGHT_GATES: dict[str, tuple[Json, Bot]] = {
    "turns, and the gate is there": (with_gates(GATE), TURNS),
    "turns, and the user's own are there too": (with_gates(GATE, QUOTA), TURNS),
    "no turns, and only the user's own are there": (with_gates(QUOTA), telegram_bot()),
}


@pytest.mark.parametrize(("body", "bot"), RIGHT_GATES.values(), ids=RIGHT_GATES)
def test_gates_that_are_right_are_left_alone(body: Json, bot: Bot) -> None:
    assert pin(body, bot=bot) == {}


def test_a_change_of_the_identity_touches_no_gate() -> None:
    body = marked(template=template_body(lock="111111", gates=[QUOTA, GATE]))
    assert "schedulingGates" not in pin(body, bot=TURNS)["spec"]["template"]["spec"]


def test_a_gate_is_never_written_where_the_lock_comes_off() -> None:
    """A pod that is held and that nobody would ever open is no use to anybody."""
    body = with_gates(GATE)
    assert gates(merged(body, pin(body, bot=TURNS, lock=None))) is None


def test_the_lock_is_in_force_only_with_the_gate_that_it_should_have() -> None:
    with_it, without = template_of(gated()), template_of(pinned())
    assert [desired.lock_in_force(each, IDENTITY, gated=True) for each in (with_it, without)] == [True, False]
    assert [desired.lock_in_force(each, IDENTITY) for each in (with_it, without)] == [False, True]
    assert desired.lock_in_force(template_of(deployment()), None, gated=True)


def test_a_release_takes_the_gate_off_and_leaves_the_users_own() -> None:
    body = with_gates(QUOTA, GATE)
    assert gates(merged(body, desired.release_patch(parsed(body)))) == [QUOTA]


# --- There and back: for any Deployment -----------------------------------------------------------------------------

labels = st.dictionaries(st.sampled_from(["app", "tier", "team"]), st.sampled_from(["a", "b"]), min_size=1)
terms = st.builds(lambda chosen: {"labelSelector": {"matchLabels": chosen}, "topologyKey": "zone"}, labels)
weighted = st.builds(lambda term: {"weight": 1, "podAffinityTerm": term}, terms)
anti_affinities = st.fixed_dictionaries(
    {},
    optional={
        REQUIRED: st.lists(terms, min_size=1, max_size=3),
        "preferredDuringSchedulingIgnoredDuringExecution": st.lists(weighted, min_size=1, max_size=2),
    },
).filter(bool)
affinities = st.fixed_dictionaries(
    {},
    optional={
        "podAntiAffinity": anti_affinities,
        "podAffinity": st.builds(lambda term: {REQUIRED: [term]}, terms),
        "nodeAffinity": st.just({REQUIRED: {"nodeSelectorTerms": [{"matchFields": []}]}}),
    },
).filter(bool)


@st.composite
def deployments(draw: st.DrawFn) -> Json:
    """Draw a Deployment that nothing of ours has touched."""
    affinity = draw(st.none() | affinities)
    theirs = draw(st.lists(st.sampled_from([QUOTA, PROXY]), unique=True))
    template = template_body(affinity=affinity, gates=theirs)
    strategy = draw(st.sampled_from(["RollingUpdate", "Recreate"]))
    return deployment_body(replicas=draw(st.integers(0, 5)), strategy=strategy, template=template)


locks = st.sampled_from([IDENTITY, "shop.shop-bot", None])
counts = st.integers(0, 1)
bots = st.sampled_from([telegram_bot(), TURNS])


def settle(body: Json, *, lock: str | None, count: int = 1, bot: Bot | None = None) -> tuple[list[Json], Json]:
    """Patch until nothing is missing, each time after the Deployment has acted: the patches, and where they lead."""
    made: list[Json] = []
    while patch := pin(body, lock=lock, count=count, bot=bot):
        assert len(made) < 9, "the patches lead nowhere"
        made.append(patch)
        body = acted(patched(body, patch))
    return made, body


@given(deployments(), locks, counts, bots)
def test_two_patches_lead_to_a_pinned_deployment_that_is_missing_nothing(
    body: Json, lock: str | None, count: int, bot: Bot
) -> None:
    """INV-8: the third pass writes nothing."""
    made, after = settle(body, lock=lock, count=count, bot=bot)
    assert len(made) <= 2
    assert (after["spec"]["replicas"], after["spec"]["strategy"]) == (count, {"type": "Recreate"})
    assert desired.lock_in_force(template_of(parsed(after)), lock, gated=bot is TURNS)
    assert desired.is_ours(parsed(after), telegram_bot())


@given(deployments(), locks, counts)
def test_a_patch_that_starts_a_rollout_leaves_replicas_to_the_next_one(
    body: Json, lock: str | None, count: int
) -> None:
    changed = [set(patch.get("spec", {})) for patch in settle(body, lock=lock, count=count)[0]]
    assert [each for each in changed if "replicas" in each and len(each) > 1] == []
    assert [each for each in changed[1:] if each != {"replicas"}] == []


@given(deployments(), locks, counts, st.booleans(), st.integers(0, 5), st.integers(0, 5))
def test_replicas_are_never_written_while_they_may_not_be(
    body: Json, lock: str | None, count: int, settled: bool, updated: int, total: int
) -> None:
    status = {"observedGeneration": 3 if settled else 2, "updatedReplicas": updated, "replicas": total}
    given_: Json = merged(body, {"status": status})
    patch = pin(given_, lock=lock, count=count)
    if "replicas" in patch.get("spec", {}):
        assert settled or updated >= total


@given(deployments(), locks, locks, bots, bots)
def test_a_change_of_the_lock_needs_one_patch(
    body: Json, before: str | None, lock: str | None, earlier: Bot, bot: Bot
) -> None:
    _, held = settle(body, lock=before, bot=earlier)
    made, after = settle(held, lock=lock, bot=bot)
    same = lock == before and (bot is earlier or lock is None)
    assert [list(patch["spec"]) for patch in made] == ([] if same else [["template"]])
    assert desired.lock_in_force(template_of(parsed(after)), lock, gated=bot is TURNS)


@given(deployments(), locks, bots)
def test_pinning_keeps_every_rule_of_the_users_own(body: Json, lock: str | None, bot: Bot) -> None:
    after = merged(body, pin(body, lock=lock, bot=bot))
    assert [term for term in required(after) if term != lock_term(lock or "")] == required(body)
    assert [each for each in gates(after) or [] if each != GATE] == (gates(body) or [])
    assert without_terms(after) == without_terms(body)


@given(deployments(), locks, bots)
def test_a_release_gives_the_template_back_as_it_was_and_leaves_the_pin(body: Json, lock: str | None, bot: Bot) -> None:
    _, held = settle(body, lock=lock, bot=bot)
    freed = merged(held, desired.release_patch(parsed(held)))
    assert freed["spec"]["template"] == body["spec"]["template"]
    assert freed["metadata"]["labels"] == body["metadata"]["labels"]
    assert (freed["spec"]["replicas"], freed["spec"]["strategy"]) == (1, {"type": "Recreate"})


def test_a_release_names_the_version_that_the_terms_were_read_at() -> None:
    assert desired.release_patch(pinned())["metadata"]["resourceVersion"] == "40"


def test_a_release_of_a_template_without_our_lock_touches_no_template() -> None:
    """A template that changes restarts the bot."""
    assert "spec" not in desired.release_patch(pinned(template=template_body(terms=[THEIRS])))


def without_terms(body: Json) -> Json:
    """The template without required anti-affinity terms, gates, our label, and objects that are empty then."""
    spec = json.loads(json.dumps(body["spec"]["template"]["spec"]))
    spec.pop("schedulingGates", None)
    spec.get("affinity", {}).get("podAntiAffinity", {}).pop(REQUIRED, None)
    pruned: Json = _pruned(spec)
    return pruned


def _pruned(value: Any) -> Any:
    if not isinstance(value, Mapping):
        return value
    kept = {key: _pruned(each) for key, each in value.items()}
    return {key: each for key, each in kept.items() if each != {}}


# --- A Deployment of our own ----------------------------------------------------------------------------------------

TOKEN_FROM_SECRET = {"name": "BOT_TOKEN", "valueFrom": {"secretKeyRef": {"name": "shop-token", "key": "token"}}}


def made(*containers: Json, count: int = 1, pod_spec: Json | None = None, **changes: Any) -> Json:
    """The Deployment that a TelegramBot with these containers owns."""
    spec = {"containers": list(containers) or [{"name": "bot", "image": "shop/bot:1"}], **(pod_spec or {})}
    template = {"metadata": {"labels": {"tier": "chat"}}, "spec": spec}
    return desired.owned_deployment(telegram_bot(spec=owns(template=template, **changes)), IDENTITY, count)


def first(body: Json) -> Json:
    container: Json = body["spec"]["template"]["spec"]["containers"][0]
    return container


def test_it_is_named_as_the_telegrambot_and_goes_with_it() -> None:
    body = made()
    (owner,) = body["metadata"]["ownerReferences"]
    assert body["metadata"]["name"] == BOT
    assert (owner["kind"], owner["uid"], owner["controller"]) == ("TelegramBot", f"uid-{NAMESPACE}-{BOT}", True)


def test_it_is_born_pinned() -> None:
    spec = made()["spec"]
    assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})


def test_it_is_born_locked() -> None:
    body = made()
    assert required(body) == [lock_term(IDENTITY)]
    assert body["spec"]["template"]["metadata"]["labels"]["singleton.bot/bot"] == IDENTITY


def test_gate_is_born_with_the_scheduler_lock_and_the_gate() -> None:
    body = made(lock="Gate")
    assert required(body) == [lock_term(IDENTITY)]
    assert gates(body) == [GATE]


def test_the_gate_comes_behind_the_users_own() -> None:
    assert gates(made(lock="Gate", pod_spec={"schedulingGates": [{"name": QUOTA}]})) == [QUOTA, GATE]


@pytest.mark.parametrize("lock", ["Scheduler", "None"])
def test_without_turns_only_the_users_own_gates_are_there(lock: str) -> None:
    assert gates(made(lock=lock)) is None
    assert gates(made(lock=lock, pod_spec={"schedulingGates": [{"name": QUOTA}]})) == [QUOTA]


def test_a_lock_that_takes_turns_now_or_no_longer_is_drift() -> None:
    turns, none = telegram_bot(spec=owns(lock="Gate")), telegram_bot(spec=owns())
    for before, after in ((turns, none), (none, turns)):
        applied = merged(deployment_body(BOT), desired.owned_deployment(before, IDENTITY, 1))
        assert [drifted(applied, bot=each) for each in (before, after)] == [False, True]


def test_a_gate_that_somebody_takes_out_is_drift() -> None:
    bot = telegram_bot(spec=owns(lock="Gate"))
    applied = merged(deployment_body(BOT), desired.owned_deployment(bot, IDENTITY, 1))
    assert not drifted(applied, bot=bot)
    assert drifted(merged(applied, {"spec": {"template": {"spec": {"schedulingGates": None}}}}), bot=bot)


def test_without_a_lock_its_pods_are_found_all_the_same() -> None:
    body = made(lock="None")
    assert required(body) == []
    assert body["spec"]["template"]["metadata"]["labels"]["singleton.bot/bot"] == IDENTITY


def test_its_selector_selects_its_own_pods_and_holds_nothing_that_may_change() -> None:
    """A Deployment's selector cannot be changed, and the identity can."""
    body = made()
    wanted = body["spec"]["selector"]["matchLabels"]
    assert wanted.items() <= body["spec"]["template"]["metadata"]["labels"].items()
    assert IDENTITY not in wanted.values()


def test_the_users_labels_and_terms_are_kept() -> None:
    body = made(pod_spec={"affinity": {"podAntiAffinity": {REQUIRED: [THEIRS]}}})
    assert body["spec"]["template"]["metadata"]["labels"]["tier"] == "chat"
    assert required(body) == [THEIRS, lock_term(IDENTITY)]


def test_the_first_container_gets_the_token_and_no_other_does() -> None:
    body = made({"name": "bot"}, {"name": "helper"})
    assert first(body)["env"] == [TOKEN_FROM_SECRET]
    assert "env" not in body["spec"]["template"]["spec"]["containers"][1]


def test_a_token_that_the_container_sets_itself_is_left_as_it_is() -> None:
    own = {"name": "BOT_TOKEN", "valueFrom": {"secretKeyRef": {"name": "mine", "key": "t"}}}
    assert first(made({"name": "bot", "env": [own]}))["env"] == [own]


def test_the_token_comes_behind_the_users_own_environment() -> None:
    debug = {"name": "DEBUG", "value": "1"}
    assert first(made({"name": "bot", "env": [debug]}))["env"] == [debug, TOKEN_FROM_SECRET]


@pytest.mark.parametrize("token", [None, {"secretKeyRef": {"name": "shop-token", "key": "token"}}])
def test_without_token_env_nothing_is_injected(token: Json | None) -> None:
    assert "env" not in first(made(token=token))


def test_every_container_leaves_its_last_words_in_its_status() -> None:
    """A bot that exits on a 409 is then understood without its log."""
    body = made({"name": "bot"}, {"name": "helper", "terminationMessagePolicy": "File"})
    policies = [each["terminationMessagePolicy"] for each in body["spec"]["template"]["spec"]["containers"]]
    assert policies == ["FallbackToLogsOnError", "File"]


def test_making_it_does_not_change_what_the_user_wrote() -> None:
    bot = telegram_bot(spec=owns())
    before = json.dumps(bot.template)
    desired.owned_deployment(bot, IDENTITY, 1)
    assert json.dumps(bot.template) == before


# --- Drift ----------------------------------------------------------------------------------------------------------

OWNER = telegram_bot(spec=owns())
APPLIED = merged(deployment_body(BOT), desired.owned_deployment(OWNER, IDENTITY, 1))


def drifted(body: Json, *, bot: Bot = OWNER, identity: str = IDENTITY, applied: int | None = None) -> bool:
    return desired.template_drifted(parsed(body), bot, identity, applied)


def with_template(patch: Json) -> Json:
    body: Json = merged(APPLIED, {"spec": {"template": patch}})
    return body


def with_container(changes: Json) -> Json:
    return with_template({"spec": {"containers": [{**first(APPLIED), **changes}]}})


def test_what_was_applied_has_not_drifted() -> None:
    assert not drifted(APPLIED)


NO_DRIFT: dict[str, Json] = {
    "defaults that the API server adds": with_container({"imagePullPolicy": "Always", "resources": {}}),
    "an annotation as of kubectl rollout restart": with_template(
        {"metadata": {"annotations": {"kubectl.kubernetes.io/restartedAt": "now"}}}
    ),
    "a sidecar that somebody injects": with_template(
        {"spec": {"containers": [{"name": "proxy", "image": "proxy:1"}, first(APPLIED)]}}
    ),
    "an environment variable that somebody adds": with_container(
        {"env": [{"name": "HTTP_PROXY", "value": "x"}, *first(APPLIED)["env"]]}
    ),
}


@pytest.mark.parametrize("body", NO_DRIFT.values(), ids=NO_DRIFT)
def test_what_others_add_is_no_drift(body: Json) -> None:
    assert not drifted(body)


DRIFT: dict[str, Json] = {
    "another image": with_container({"image": "shop/bot:2"}),
    "the token taken out": with_container({"env": []}),
    "another Secret for the token": with_container({"env": [{"name": "BOT_TOKEN", "value": "literal"}]}),
    "the lock taken out": with_template({"spec": {"affinity": None}}),
    "our label taken out": with_template({"metadata": {"labels": {"singleton.bot/bot": None}}}),
    "a termination message policy changed": with_container({"terminationMessagePolicy": "File"}),
    "the container taken out": with_template({"spec": {"containers": [{"name": "proxy"}]}}),
}


@pytest.mark.parametrize("body", DRIFT.values(), ids=DRIFT)
def test_what_others_change_is_drift(body: Json) -> None:
    assert drifted(body)


def test_a_new_template_of_the_telegrambot_is_drift() -> None:
    changed = telegram_bot(spec=owns(template={"spec": {"containers": [{"name": "bot", "image": "shop/bot:2"}]}}))
    assert drifted(APPLIED, bot=changed)


def test_a_field_that_the_telegrambot_no_longer_sets_is_drift_although_all_it_wants_is_there() -> None:
    more = owns(template={"spec": {"containers": [{"name": "bot", "image": "shop/bot:1"}], "hostNetwork": True}})
    applied = merged(deployment_body(BOT), desired.owned_deployment(telegram_bot(spec=more), IDENTITY, 1))
    assert drifted(applied)


def test_a_new_identity_is_drift() -> None:
    assert drifted(APPLIED, identity="222222222")


def test_what_differs_only_in_spelling_is_applied_once_and_not_for_ever() -> None:
    """The API server stores 1000m as 1: INV-8 holds for such a template too."""
    limits = {"resources": {"limits": {"cpu": "1000m"}}}
    bot = telegram_bot(spec=owns(template={"spec": {"containers": [{"name": "bot", **limits}]}}))
    applied = merged(deployment_body(BOT, generation=7), desired.owned_deployment(bot, IDENTITY, 1))
    first(applied)["resources"]["limits"]["cpu"] = "1"
    assert drifted(applied, bot=bot, applied=None)
    assert not drifted(applied, bot=bot, applied=7)
    assert drifted(applied, bot=bot, applied=6)


def named(value: dict[str, Any]) -> list[Json]:
    """A list whose entries are found by name, as containers and environment variables are."""
    return [{"name": name, "value": each} for name, each in value.items()]


def test_a_list_that_has_a_name_twice_contains_itself() -> None:
    """Legal in a pod, though server-side apply refuses it: it must not count as drift for ever."""
    env = [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]
    assert desired.contains(env, env)
    assert not desired.contains(env, env[::-1])


documents = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["", "a", "b"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["x", "y"]), inner)
        | st.dictionaries(st.sampled_from(["a", "b"]), inner).map(named)
    ),
    max_leaves=12,
)


@given(documents)
def test_every_document_contains_itself(document: Any) -> None:
    assert desired.contains(document, document)


@given(documents, documents)
def test_a_merge_contains_what_was_merged_in(base: Any, wanted: Any) -> None:
    assert desired.contains(merged(base, wanted), wanted)


@pytest.mark.parametrize(
    ("actual", "wanted"),
    [({"a": 1}, {"a": 2}), ({}, {"a": 1}), ([1], [1, 2]), ([2, 1], [1, 2]), (None, {"a": 1}), (None, "x"), (0, 1)],
)
def test_what_is_not_contained(actual: Any, wanted: Any) -> None:
    assert not desired.contains(actual, wanted)


def test_the_digest_of_a_template_does_not_hang_on_the_order_of_its_fields() -> None:
    assert desired.digest({"a": 1, "b": {"c": 2, "d": 3}}) == desired.digest({"b": {"d": 3, "c": 2}, "a": 1})


def test_a_name_too_long_for_a_label_is_still_known_as_ours() -> None:
    bot = telegram_bot("a" * 70)
    body = merged(deployment_body(), pin(deployment_body(), bot=bot))
    mark = body["metadata"]["labels"]["singleton.bot/name"]
    assert len(mark) <= 63
    assert desired.is_ours(parsed(body), bot)
    assert not desired.is_ours(parsed(body), telegram_bot("a" * 71))


def test_the_lock_is_read_where_it_was_written() -> None:
    assert desired.lock_in_force(template_of(pinned()), IDENTITY)
    assert not desired.lock_in_force(template_of(pinned(lock="111111")), IDENTITY)
    assert not desired.lock_in_force(template_of(pinned()), None)
