"""Why a bot may not act on its Deployment: an ordered list of named checks; the first that holds decides."""

from dataclasses import dataclass

from .. import names
from ..names import Reason
from . import desired
from .observed import Bot, Observed, Rival


@dataclass(frozen=True, slots=True)
class Hold:
    """Why nothing (more) is done. `person` means that a person must act; else time or another's event heals it."""

    reason: Reason
    message: str
    person: bool = False


def may_not_act(seen: Observed, bot: Bot) -> Hold | None:
    """Return the first reason why this bot may not touch its Deployment, or None."""
    checks = (
        bot_is_being_deleted,
        spec_cannot_be_understood,
        deployment_belongs_to_an_older_bot,
        deployment_is_missing,
        deployment_is_not_ours_to_own,
        deployment_is_controlled_by_someone_else,
        deployment_is_going_away,
    )
    return next((hold for check in checks if (hold := check(seen, bot))), None)


def bot_is_being_deleted(seen: Observed, bot: Bot) -> Hold | None:
    """Whatever is done now would only get into the way of the garbage collector."""
    del seen
    return Hold(Reason.DELETING, f"TelegramBot {bot.name} is being deleted") if bot.deleting else None


def spec_cannot_be_understood(seen: Observed, bot: Bot) -> Hold | None:
    """A TelegramBot stored before a rule existed, or one that only the operator can judge."""
    del seen
    return Hold(Reason.INVALID_SPEC, bot.problem, person=True) if bot.spec is None else None


def deployment_belongs_to_an_older_bot(seen: Observed, bot: Bot) -> Hold | None:
    """Two TelegramBots on one Deployment: the older keeps it."""
    older = _older(bot, tuple(rival for rival in seen.rivals if rival.same_deployment))
    if older is None:
        return None
    message = (
        f"TelegramBot {older.name} {goes_first(older, bot)} and already holds Deployment {bot.target}; "
        "delete one of the two, or name another Deployment here"
    )
    return Hold(Reason.DEPLOYMENT_IN_USE, message, person=True)


def deployment_is_missing(seen: Observed, bot: Bot) -> Hold | None:
    """An adopted Deployment that does not exist (yet)."""
    if seen.deployment is not None or not bot.adopts:
        return None
    unreadable = next((each for each in seen.failures if each.resource == "deployments.apps"), None)
    if unreadable is not None:
        reason = Reason.FORBIDDEN if unreadable.lacks_right else Reason.DEPLOYMENT_NOT_FOUND
        return Hold(reason, str(unreadable))
    message = (
        f"there is no Deployment {bot.target} in namespace {bot.namespace}; "
        "create it, or correct spec.deploymentRef.name"
    )
    return Hold(Reason.DEPLOYMENT_NOT_FOUND, message)


def deployment_is_not_ours_to_own(seen: Observed, bot: Bot) -> Hold | None:
    """With `template`: a Deployment of our name that somebody else made."""
    if seen.deployment is None or bot.adopts or desired.owned_by(seen.deployment, bot):
        return None
    if any(owner.kind == names.KIND for owner in seen.deployment.metadata.owner_references):
        return Hold(Reason.DEPLOYMENT_IN_USE, f"Deployment {bot.target} of an earlier TelegramBot is being removed")
    message = (
        f"Deployment {bot.target} exists and was not made by this TelegramBot; "
        "adopt it with spec.deploymentRef, or give the TelegramBot another name"
    )
    return Hold(Reason.DEPLOYMENT_IN_USE, message, person=True)


def deployment_is_controlled_by_someone_else(seen: Observed, bot: Bot) -> Hold | None:
    """A Deployment that another controller makes would be changed back at once, for ever."""
    owner = seen.deployment.metadata.controller if seen.deployment else None
    if owner is None or owner.uid == bot.uid:
        return None
    message = (
        f"Deployment {bot.target} is controlled by {owner.kind} {owner.name}, which would undo every pin; "
        f"set one replica and the Recreate strategy in {owner.kind} {owner.name} instead"
    )
    return Hold(Reason.DEPLOYMENT_CONTROLLED, message, person=True)


def deployment_is_going_away(seen: Observed, bot: Bot) -> Hold | None:
    """Nothing is written to a Deployment that is being deleted."""
    if seen.deployment is None or seen.deployment.metadata.deletion_timestamp is None:
        return None
    return Hold(Reason.DEPLOYMENT_NOT_FOUND, f"Deployment {bot.target} is being deleted")


def goes_first(winner: Rival, bot: Bot) -> str:
    """Say why the other TelegramBot has precedence. Ages are kept in whole seconds; within one the uid decides."""
    if winner.seniority > bot.seniority:
        return "has a token that Telegram knows"
    return "is older" if winner.created < bot.created else "was made in the same second and goes first"


def _older(bot: Bot, rivals: tuple[Rival, ...]) -> Rival | None:
    older = [rival for rival in rivals if rival.seniority < bot.seniority]
    return min(older, key=lambda rival: rival.seniority, default=None)


def identity_winner(seen: Observed, bot: Bot) -> Rival | None:
    """Return the TelegramBot that holds this bot's identity, or None where this one does (INV-6).

    The older one holds it, but a claim that Telegram has not confirmed gives way to one that it has: a token of the
    right form can be made up by anybody.
    """
    mine = (not bot.confirmed(seen.identity), *bot.seniority)
    ahead = [rival for rival in seen.rivals if not rival.same_deployment and rival.standing < mine]
    return min(ahead, key=lambda rival: rival.standing, default=None)
