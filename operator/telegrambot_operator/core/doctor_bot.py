"""The doctor's checks of the bot itself: its token, what Telegram says of it, its log, and what the operator says."""

from datetime import datetime, timedelta

from ..names import ConditionType, Reason
from .doctor_answer import Answer, fails, passes, unread, unsure
from .doctor_facts import Facts, Gap, Mail
from .doctor_log import ADVICE, as_told
from .observed import PodFinding, TokenState
from .webhooks import Hook, hook_of, host_of, without_address
from .word import RECENT, Me, Refused


def token_is_readable(facts: Facts) -> Answer | None:
    """Where the token is, and whether what is there looks like one."""
    if isinstance(facts.place, Gap):
        return unread(facts.place)
    if facts.place is None:
        return _no_place(facts)
    if isinstance(facts.token, Gap):
        return unread(facts.token)
    match facts.token.state:
        case TokenState.VALID if facts.place.secret is None:
            cure = "put it into a Secret: whoever may read the Deployment can take the bot over"
            return fails(f"it is {facts.place}, in plain text", cure)
        case TokenState.VALID:
            return passes(f"{facts.place} holds the token of bot {facts.token.bot_id}")
        case TokenState.SECRET_NOT_FOUND:
            why = f"there is no Secret {facts.place.secret.name if facts.place.secret else ''}"
        case TokenState.KEY_NOT_FOUND:
            why = f"there is no {facts.place}"
        case TokenState.EMPTY:
            why = f"{facts.place} is empty"
        case _:
            why = f"{facts.place} does not hold a bot token (digits, a colon, then 35 characters)"
    return fails(why, "put there what @BotFather gave")


def _no_place(facts: Facts) -> Answer:
    if facts.bot is not None:
        todo = "name its Secret in spec.token, so that Telegram can be asked"
        return unsure("the TelegramBot does not say where the token is", todo)
    todo = "name its Secret in spec.token of the TelegramBot at the end"
    return unsure("no variable of the pod template holds a bot token", todo)


def telegram_takes_it(facts: Facts) -> Answer | None:
    """A token of the right form may still be revoked."""
    match facts.account:
        case Gap() as gap:
            return unread(gap)
        case Refused():
            return fails(
                "Telegram refuses the token: it was revoked, or is no bot's", "get a fresh one from @BotFather"
            )
        case Me(_, username):
            return passes(f"Telegram knows the token: it is @{username}'s")
    return None


def nobody_else_uses_the_token(facts: Facts) -> Answer | None:
    """Another TelegramBot, Deployment or pod that polls the same bot."""
    if facts.place is None or isinstance(facts.place, Gap):
        return None
    users = facts.users
    if users.found:
        cure = "stop it, or give it a bot of its own from @BotFather"
        return fails(f"the same token is used by {', '.join(users.found)}", cure)
    if users.perhaps:
        why = f"{', '.join(users.perhaps)} gets the token, among other keys of the Secret"
        return unsure(why, "make sure that it does not poll, or give the token a Secret of its own")
    if len(facts.holders) > 1:
        why = f"containers {', '.join(facts.holders)} of the pod are both given the token"
        return unsure(why, "make sure that only one of them polls")
    return unread(users.unseen) if users.unseen else passes("nobody else in this cluster is seen to use the token")


# --- Telegram and the logs --------------------------------------------------------------------------------------------


def webhook_matches_delivery(facts: Facts) -> Answer | None:
    """Nobody can poll while a webhook is set."""
    match facts.mail:
        case Gap() as gap:
            return unread(gap)
        case Mail() as mail:
            return _hooked(mail, facts) if facts.spec.webhook else _polled(mail, facts)
    return None


def _polled(mail: Mail, facts: Facts) -> Answer:
    if not mail.info.url:
        return passes("no webhook is set, so the bot can poll")
    if facts.bot is None and _serves_the_webhook(facts):
        return passes(f"a webhook is set at {mail.host}, and by its log the bot set it")
    cure = "find who sets it and call deleteWebhook (waiting updates are kept), or run the bot with delivery: Webhook"
    return fails(f"a webhook is set at {mail.host}, so nobody can poll", cure)


def _serves_the_webhook(facts: Facts) -> bool:
    logs = () if isinstance(facts.logs, Gap) else facts.logs
    return any(log.hooks and not log.polls and not log.findings for log in logs)


def _hooked(mail: Mail, facts: Facts) -> Answer:
    wanted, info = facts.spec.webhook.url if facts.spec.webhook else "", mail.info
    match hook_of(info.url, wanted):
        case Hook.MISSING:
            return fails("no webhook is set, so the bot gets nothing", "start the bot anew, or call setWebhook")
        case Hook.OTHER:
            same = mail.host == host_of(wanted)
            told = f"at another address of {mail.host}" if same else f"at {mail.host}, not at {host_of(wanted)}"
            return fails(f"the webhook is set {told}", "find who sets it, or correct spec.webhook.url")
    if info.error and info.error_at and facts.now - info.error_at < RECENT:
        cure = f"look at the way from the Internet to {mail.host}"
        return fails(f"Telegram cannot deliver to {mail.host}: {without_address(info.error, info.url)}", cure)
    return passes(f"the webhook is set at {mail.host}, as spec.webhook says")


def no_409_in_the_log(facts: Facts) -> Answer | None:
    """Whoever reads a 409 is the victim: the log says that there was one, not who did it."""
    if isinstance(facts.pods, Gap):
        return unread(facts.pods)
    if isinstance(facts.logs, Gap):
        return unread(facts.logs)
    if not facts.logs:
        return None
    found = sorted((each for log in facts.logs for each in log.findings), key=lambda each: each.at)
    fresh = [each for each in found if facts.now - each.at < facts.recent]
    if fresh:
        told = as_told(fresh[-1].finding.kind)
        over = f"; passes {_span(facts.recent)} after the last one"
        return fails(f"{_counted(fresh, facts)}: {fresh[-1].finding.evidence}", ADVICE[told] + over)
    if found:
        return passes(f"no 409 in the last {_span(facts.recent)}; the last one was {_ago(found[-1].at, facts)}")
    return passes("no 409 in the log")


def _counted(found: list[PodFinding], facts: Facts) -> str:
    times = "a 409" if len(found) == 1 else f"{len(found)} 409s"
    pods = sorted({each.pod for each in found})
    where = f"pod {pods[0]}" if len(pods) == 1 else f"{len(pods)} pods"
    return f"{times} in the log of {where}, the last {_ago(found[-1].at, facts)}"


def it_fetches_updates(facts: Facts) -> Answer | None:
    """The good sign: its log says that it polls, or nothing waits for it at Telegram."""
    hooked = isinstance(facts.mail, Mail) and facts.mail.info.url
    if facts.spec.webhook or hooked:
        return None  # that has been said
    if isinstance(facts.pods, Gap):
        return unread(facts.pods)
    return (_seems_deaf(facts) or _good_sign(facts)) if facts.pollers else None


def _seems_deaf(facts: Facts) -> Answer | None:
    mail = facts.mail
    if not isinstance(mail, Mail) or not mail.info.pending or mail.fell:
        return None
    todo = "send it a message; if it does not answer, restart it: such a bot is deaf"
    waiting = "1 update waits" if mail.info.pending == 1 else f"{mail.info.pending} updates wait"
    return unsure(f"{waiting} at Telegram, no fewer than a moment before", todo)


def _good_sign(facts: Facts) -> Answer:
    told = isinstance(facts.mail, Mail)
    if not isinstance(facts.logs, Gap) and any(log.polls for log in facts.logs):
        return passes("its log says that it polls" + (", and no update is left waiting at Telegram" if told else ""))
    if told:
        return passes("its log does not say that it polls, but no update is left waiting at Telegram")
    if isinstance(facts.logs, Gap):
        return unread(facts.logs)
    todo = "send it a message and see whether it answers"
    return unsure("its log does not say that it polls; not every library does", todo)


# --- The operator -----------------------------------------------------------------------------------------------------


def the_operator_is_content(facts: Facts) -> Answer | None:
    """What the TelegramBot's own status says."""
    if facts.bot is None or facts.bot.spec is None:
        return None
    said = {each["type"]: each for each in facts.bot.status.get("conditions") or []}
    if not said:
        return fails("no operator has looked at this TelegramBot", "start one: telegrambot-operator run")
    if facts.bot.status.get("observedGeneration", 0) < facts.bot.generation:
        return fails("no operator has acted on its latest change", "see that one runs: telegrambot-operator run")
    stalled, ready = said.get(ConditionType.STALLED, {}), said.get(ConditionType.READY, {})
    if stalled.get("status") == "True":
        return fails(f"Stalled, {stalled['reason']}: {stalled['message']}", "do what it says")
    if ready.get("status") == "True" or ready.get("reason") == Reason.SUSPENDED:
        return passes(f"{ready['reason']}: {ready['message']}")
    return fails(f"not Ready, {ready.get('reason')}: {ready.get('message')}", "wait, or do what it says")


def _ago(at: datetime, facts: Facts) -> str:
    return f"{_span(max(facts.now - at, timedelta(0)))} ago"


def _span(length: timedelta) -> str:
    seconds = int(length.total_seconds())
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size or seconds == size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"
