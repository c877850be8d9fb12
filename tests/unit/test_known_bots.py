"""Which TelegramBots are known, who of them claims the same, and who has to look again when that changes."""

from typing import Any

import pytest

from telegrambot_operator.core.observed import Bot
from telegrambot_operator.shell.bots import REMEMBERED, Bots, Key
from tests.unit.worlds import BOT, NAMESPACE, adopts, bot_body, owns, telegram_bot

IDENTITY = "7301948265"
SHOP: Key = (NAMESPACE, "shop-bot")
SECOND: Key = (NAMESPACE, "second")


class Known:
    """TelegramBots, and the keys that were told to look again since the last question."""

    def __init__(self) -> None:
        self._told: list[Key] = []
        self.bots = Bots(self._told.append)

    def put(self, name: str = BOT, **facts: Any) -> Bot:
        return self.bots.put(bot_body(name, **facts))

    def told(self) -> set[Key]:
        told, self._told[:] = set(self._told), []
        return told

    def rivals(self, name: str, identity: str = IDENTITY) -> dict[str, bool]:
        """The names of a bot's rivals, and whether they claim the same Deployment."""
        bot = self.bots.get((NAMESPACE, name))
        assert bot is not None
        return {each.name: each.same_deployment for each in self.bots.rivals(bot, identity)}


@pytest.fixture
def known() -> Known:
    return Known()


# --- Taking in ------------------------------------------------------------------------------------------------------


def test_a_new_bot_is_looked_at(known: Known) -> None:
    known.put()
    assert known.told() == {SHOP}


def test_a_new_generation_is_looked_at(known: Known) -> None:
    known.put(version=5)
    known.told()
    known.put(version=6, generation=3)
    assert known.told() == {SHOP}


def test_a_status_that_we_wrote_ourselves_is_no_reason_to_look_again(known: Known) -> None:
    """Else each report would start the next pass."""
    known.put(version=5)
    known.told()
    known.bots.put(bot_body(version=6, status={"pod": "bot-a"}), ours=True)
    assert known.told() == set()
    kept = known.bots.get(SHOP)
    assert kept is not None
    assert kept.status == {"pod": "bot-a"}


def test_a_status_that_somebody_else_wrote_is_looked_at(known: Known) -> None:
    known.put(version=5, status={"pod": "bot-a"})
    known.told()
    known.put(version=6, status={})
    assert known.told() == {SHOP}


def test_a_bot_that_is_about_to_be_deleted_is_looked_at(known: Known) -> None:
    known.put(version=5)
    known.told()
    body = bot_body(version=6)
    body["metadata"]["deletionTimestamp"] = "2026-11-24T12:00:00Z"
    known.bots.put(body)
    assert known.told() == {SHOP}


def test_another_container_named_by_annotation_is_looked_at(known: Known) -> None:
    known.put(version=5)
    known.told()
    known.put(version=6, annotations={"singleton.bot/container": "talker"})
    assert known.told() == {SHOP}


@pytest.mark.parametrize("late", [4, 5], ids=["an older version", "the same version"])
def test_a_late_event_changes_nothing(known: Known, late: int) -> None:
    known.put(version=5, generation=3)
    known.told()
    answer = known.put(version=late, generation=2)
    assert (answer.generation, known.told()) == (3, set())


def test_versions_are_numbers_and_not_texts(known: Known) -> None:
    known.put(version=10, generation=3)
    assert known.put(version=9, generation=2).generation == 3


def test_a_successor_of_the_same_name_is_looked_at(known: Known) -> None:
    known.put(version=5, uid="u1")
    known.told()
    assert known.put(version=9, uid="u2").uid == "u2"
    assert known.told() == {SHOP}


def test_all_who_claim_a_bot_look_again_once_telegram_knows_one_of_them(known: Known) -> None:
    """Our own status tells it, and that alone is no reason to look again at a bot without rivals."""
    told = {"bot": {"id": int(IDENTITY), "username": "shop_bot"}}
    bot = known.put(version=5, status={"bot": {"id": int(IDENTITY)}})
    known.bots.claim(bot, IDENTITY)
    known.told()
    known.bots.put(bot_body(version=6, status=told), ours=True)
    assert known.told() == set()

    second = known.put("second", version=5)
    known.bots.claim(second, IDENTITY)
    known.told()
    known.bots.put(bot_body(version=7, status={"bot": {"id": int(IDENTITY)}}), ours=True)
    assert known.told() == {SHOP, SECOND}
    assert [each.confirmed for each in known.bots.rivals(second, IDENTITY)] == [False]
    known.bots.put(bot_body(version=8, status=told), ours=True)
    assert known.told() == {SHOP, SECOND}
    assert [each.confirmed for each in known.bots.rivals(second, IDENTITY)] == [True]


# --- Going ----------------------------------------------------------------------------------------------------------


def test_one_that_is_gone_is_looked_at_so_that_its_deployment_is_released(known: Known) -> None:
    known.put(uid="u1")
    known.told()
    known.bots.drop(SHOP, "u1")
    assert (known.bots.get(SHOP), known.told()) == (None, {SHOP})


def test_the_late_delete_of_a_predecessor_does_not_take_its_successor(known: Known) -> None:
    known.put(uid="u2")
    known.told()
    known.bots.drop(SHOP, "u1")
    assert len(known.bots) == 1
    assert known.told() == set()


def test_what_is_not_known_cannot_go(known: Known) -> None:
    known.bots.drop(SHOP)
    assert known.told() == set()


def test_a_complete_list_takes_away_what_is_not_in_it(known: Known) -> None:
    """A delete that a broken watch has lost."""
    known.put("shop-bot", version=5)
    known.put("second", version=6, spec=adopts(deploymentRef={"name": "other"}))
    known.told()
    known.bots.replace([bot_body("second", version=6, spec=adopts(deploymentRef={"name": "other"}))], listed_at=7)
    assert (known.bots.all_keys(), known.told()) == ([SECOND], {SHOP})


def test_the_list_of_one_namespace_says_nothing_of_another(known: Known) -> None:
    known.put("shop-bot", namespace="shop")
    known.put("sales-bot", namespace="sales")
    known.bots.replace([], ("shop",), listed_at=100)
    assert known.bots.all_keys() == [("sales", "sales-bot")]


def test_a_list_says_nothing_of_what_was_made_after_it(known: Known) -> None:
    known.put("shop-bot", version=8)
    known.bots.replace([], listed_at=7)
    assert known.bots.all_keys() == [SHOP]


def test_a_late_answer_does_not_bring_a_telegrambot_back(known: Known) -> None:
    """The answer to our own status write, read after its deletion was."""
    known.put("shop-bot", version=5, uid="u1")
    known.bots.drop(SHOP, "u1")
    known.put("shop-bot", version=6, uid="u1")
    assert known.bots.all_keys() == []


def test_one_that_is_gone_keeps_nobody_of_its_name_away(known: Known) -> None:
    known.put("shop-bot", version=5, uid="u1")
    known.bots.drop(SHOP, "u1")
    known.put("shop-bot", version=7, uid="u2")
    assert known.bots.all_keys() == [SHOP]


def test_a_late_answer_about_one_that_is_gone_does_not_replace_its_successor(known: Known) -> None:
    known.put("shop-bot", version=5, uid="u1")
    known.bots.drop(SHOP, "u1")
    known.put("shop-bot", version=7, uid="u2")
    assert known.put("shop-bot", version=8, uid="u1").uid == "u2"


def test_of_those_that_are_gone_only_so_many_are_remembered() -> None:
    bots = Bots(lambda _key: None)
    for number in range(REMEMBERED + 5):
        bots.put(bot_body(uid=f"u{number}"))
        bots.drop(SHOP)
    assert len(bots._gone) == REMEMBERED
    bots.put(bot_body(uid=f"u{REMEMBERED + 4}"))
    assert len(bots) == 0


def test_a_bot_that_cannot_be_understood_claims_no_deployment(known: Known) -> None:
    known.put("telegram-bot", spec={}, age=90000)
    good = known.put("shop-bot")
    assert known.bots.rivals(good, IDENTITY) == ()


# --- Rivals for a Deployment ----------------------------------------------------------------------------------------


def test_two_bots_of_one_deployment_are_rivals_and_both_look(known: Known) -> None:
    known.put("shop-bot")
    known.told()
    known.put("second")
    assert known.told() == {SHOP, SECOND}
    assert known.rivals("shop-bot") == {"second": True}
    assert known.rivals("second") == {"shop-bot": True}


def test_an_owned_deployment_is_claimed_by_the_bots_own_name(known: Known) -> None:
    known.put("shop-bot", spec=adopts(deploymentRef={"name": "second"}))
    known.put("second", spec=owns())
    assert known.rivals("second") == {"shop-bot": True}


def test_deployments_of_one_name_in_two_namespaces_are_two(known: Known) -> None:
    known.put("shop-bot")
    known.put("second", namespace="sales")
    assert known.rivals("shop-bot") == {}


def test_when_one_of_them_goes_the_other_looks_again_and_has_no_rival(known: Known) -> None:
    known.put("shop-bot")
    known.put("second")
    known.told()
    known.bots.drop(SHOP)
    assert SECOND in known.told()
    assert known.rivals("second") == {}


def test_when_one_of_them_turns_to_another_deployment_the_other_looks_again(known: Known) -> None:
    known.put("shop-bot", version=5)
    known.put("second")
    known.told()
    known.put("shop-bot", version=6, generation=3, spec=adopts(deploymentRef={"name": "elsewhere"}))
    assert SECOND in known.told()
    assert known.rivals("second") == {}


# --- Rivals for an identity -----------------------------------------------------------------------------------------


def two_of_one_token(known: Known) -> tuple[Bot, Bot]:
    """Two TelegramBots of two Deployments, whose token turned out to be the same."""
    first = known.put("shop-bot", spec=adopts(deploymentRef={"name": "a"}))
    second = known.put("second", spec=adopts(deploymentRef={"name": "b"}))
    known.bots.claim(first, IDENTITY)
    known.told()
    known.bots.claim(second, IDENTITY)
    return first, second


def test_two_bots_of_one_token_are_rivals_and_both_look(known: Known) -> None:
    two_of_one_token(known)
    assert known.told() == {SHOP, SECOND}
    assert known.rivals("shop-bot") == {"second": False}
    assert known.bots.of_identity(IDENTITY) == {SHOP, SECOND}


def test_also_across_namespaces(known: Known) -> None:
    known.bots.claim(known.put("shop-bot"), IDENTITY)
    known.bots.claim(known.put("second", namespace="sales"), IDENTITY)
    assert known.rivals("shop-bot") == {"second": False}


def test_a_claim_that_is_made_again_wakes_nobody(known: Known) -> None:
    """INV-8: each pass makes it."""
    _, second = two_of_one_token(known)
    known.told()
    known.bots.claim(second, IDENTITY)
    assert known.told() == set()


def test_a_bot_that_gets_another_token_leaves_its_rival_in_peace(known: Known) -> None:
    _, second = two_of_one_token(known)
    known.told()
    known.bots.claim(second, "222222222")
    assert SHOP in known.told()
    assert known.rivals("shop-bot") == {}
    assert known.bots.of_identity("222222222") == {SECOND}


def test_a_new_version_of_a_bot_keeps_the_identity_that_a_pass_has_found(known: Known) -> None:
    two_of_one_token(known)
    known.put("second", version=60, generation=3, spec=adopts(deploymentRef={"name": "b"}, suspend=True))
    assert known.rivals("shop-bot") == {"second": False}


def test_after_a_restart_the_reported_identity_counts_until_a_pass_has_found_it(known: Known) -> None:
    """Else the first bot to be looked at would win over an older one that was not yet."""
    known.put("shop-bot", status={"bot": {"id": int(IDENTITY)}}, spec=adopts(deploymentRef={"name": "a"}))
    second = known.put("second", spec=adopts(deploymentRef={"name": "b"}))
    known.bots.claim(second, IDENTITY)
    assert known.rivals("second") == {"shop-bot": False}


def test_bots_without_a_token_are_nobodys_rivals(known: Known) -> None:
    known.put("shop-bot", spec=adopts(token=None, deploymentRef={"name": "a"}))
    known.put("second", spec=adopts(token=None, deploymentRef={"name": "b"}))
    assert known.rivals("shop-bot", f"{NAMESPACE}.shop-bot") == {}
    assert known.bots.of_identity(f"{NAMESPACE}.shop-bot") == {SHOP}


def test_seniority_is_age_and_then_a_coin_that_falls_the_same_for_all() -> None:
    old, young = telegram_bot("z", age=100), telegram_bot("a", age=50)
    twins = [telegram_bot("a", age=50, uid="u1"), telegram_bot("b", age=50, uid="u2")]
    assert old.seniority < young.seniority
    assert twins[0].seniority < twins[1].seniority


def test_who_begins_anew_goes_by_what_was_reported_and_not_by_what_it_once_worked_out(known: Known) -> None:
    """A replica that leads again after another one did: the Secret may hold another token by now."""
    first, _ = two_of_one_token(known)
    known.put(
        "shop-bot", version=first.version + 1, spec=adopts(deploymentRef={"name": "a"}), status={"bot": {"id": 5}}
    )
    known.bots.forget_claims()
    assert known.bots.of_identity("5") == {SHOP}
    assert known.bots.of_identity(IDENTITY) == set()
    assert known.bots.of_deployment(NAMESPACE, "a") == {SHOP}
    assert known.rivals("shop-bot") == {}
