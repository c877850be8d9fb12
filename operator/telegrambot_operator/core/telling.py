"""What a person is told of Telegram's own word: why a bot that serves gets no updates, and what to do about it."""

from ..api.models import Delivery
from ..names import Reason
from .asking import wanted_url
from .conflicts import Conflicts
from .deafness import gave_up, restarts
from .remedy import Repairs
from .rights import Lack, told
from .view import Verdict, View, no
from .webhooks import Hook, host_of, leading_to
from .word import Word, waiting_sentence

BY_HAND = {
    Delivery.POLLING: "call deleteWebhook without drop_pending_updates, or let conflict.remedy: FixWebhook do it; "
    "a bot that is meant to have one runs with delivery: Webhook",
    Delivery.WEBHOOK: "let the bot call setWebhook with that address, or conflict.remedy: FixWebhook do it",
}


def webhook_in_the_way(view: View) -> str:
    """Return what to say of a webhook that keeps a bot from polling, "" where none does."""
    spec, word = view.bot.spec, view.seen.word
    if spec is None or word is None or spec.delivery is not Delivery.POLLING or word.hook is not Hook.OTHER:
        return ""
    if not view.pollers or view.plan.hold is not None or view.plan.repairing is None:
        return ""
    pods = ", ".join(sorted(pod.name for pod in view.pollers if pod.metadata.namespace == view.bot.namespace))
    hook = f"a webhook{leading_to(word.host)} is set at Telegram, which answers 409 to each getUpdates of pod {pods}"
    return f"{hook}; {_advice(view)}"


def webhook_sentence(run: Conflicts, view: View) -> str:
    """Return what to say of 409s that a webhook explains."""
    spec, word = view.bot.spec, view.seen.word
    if spec is not None and spec.delivery is Delivery.WEBHOOK:
        return f"pod {run.pod} polls, and delivery is Webhook; run the bot by webhook, or set delivery: Polling"
    if is_over(run, word):
        return f"a webhook was set while pod {run.pod} polled; it is gone again, so find who calls setWebhook"
    if run.cause is Reason.WEBHOOK_SET:
        return f"somebody set a webhook while pod {run.pod} polled; find who calls setWebhook, and {_by_hand(view)}"
    return f"pod {run.pod} polls while a webhook is set at Telegram; {_by_hand(view)}"


def is_over(run: Conflicts, word: Word | None) -> bool:
    """Return whether Telegram has said since the last 409 that there is no webhook any more."""
    return word is not None and word.hook is Hook.WANTED and word.alarm is not None and word.alarm >= run.time


def _by_hand(view: View) -> str:
    return BY_HAND[view.bot.spec.delivery] if view.bot.spec else ""


def _advice(view: View) -> str:
    found = view.plan.repairing
    match found.verdict if found else Repairs.NOT_ASKED:
        case Repairs.NOT_ASKED:
            return _by_hand(view)
        case Repairs.NOW:
            return "it is being repaired"
    return found.why if found else ""


# --- A pod that serves ----------------------------------------------------------------------------------------------


def gets_no_updates(view: View) -> Verdict | None:
    """Return why the pod that serves gets no updates, or None where Telegram says nothing of the kind."""
    spec, word = view.bot.spec, view.seen.word
    if spec is None or word is None or spec.token is None or view.pod is None:
        return None
    if spec.delivery is Delivery.WEBHOOK:
        return _not_delivered(view, word)
    return no(Reason.NOT_POLLING, _deaf_sentence(view, word)) if word.deaf else None


def _not_delivered(view: View, word: Word) -> Verdict | None:
    here = host_of((view.bot.spec and wanted_url(view.bot.spec)) or "")
    if word.hook is Hook.MISSING:
        why = f"Telegram has no webhook for the bot, and spec.webhook.url is on {here}; {_advice(view)}"
        return no(Reason.WEBHOOK_MISSING, why)
    if word.hook is Hook.OTHER:
        there = "another address there" if word.host == here else word.host or "another address"
        why = f"Telegram delivers the bot's updates to {there}, and spec.webhook.url is on {here}; {_advice(view)}"
        return no(Reason.WEBHOOK_ELSEWHERE, why)
    if not word.failing:
        return None
    waiting = waiting_sentence(word.waiting)
    why = f"Telegram cannot deliver to {here}, and {waiting}: {word.error}; make sure that it reaches the bot there"
    return no(Reason.WEBHOOK_FAILING, f"{why}{_secret_note(view, word)}")


def _secret_note(view: View, word: Word) -> str:
    """A secret_token cannot be read from Telegram, so a webhook that the operator sets has none."""
    ours = word.repair is not None and not word.repair.problem and word.repair.generation == view.bot.generation
    return ". The operator has set it without a secret_token: restart a bot that sets and checks one" if ours else ""


def _deaf_sentence(view: View, word: Word) -> str:
    spec, pod = view.bot.spec, view.pod
    after = spec.not_polling.after_seconds if spec else 0
    pile = (
        f"{waiting_sentence(word.waiting)} at Telegram for pod {pod.name if pod else ''}, which is ready, "
        f"and their number has not fallen for {after} s"
    )
    if spec is None or not restarts(spec):
        return f"{pile}: it hangs, does not poll or cannot keep up; look at its log, or restart it"
    if gave_up(view.seen):
        return f"{pile}, though it was restarted {word.restarts} times; look at its log"
    return f"{pile}; it is restarted, as notPolling.policy asks"


def waits_for_a_person(view: View) -> tuple[Reason, str] | None:
    """Return what of this only a person can put right."""
    found, spec = gets_no_updates(view), view.bot.spec
    pod = view.pod
    if found is None or spec is None or pod is None or pod.deleting or not pod.ready or view.plan.hold is not None:
        return None
    match found.reason:
        case Reason.NOT_POLLING:
            person = not restarts(spec) or gave_up(view.seen)
        case Reason.WEBHOOK_FAILING:
            person = True
        case _:
            person = view.plan.repairing is None or view.plan.repairing.person
    return (found.reason, found.message) if person else None


def under_repair(view: View) -> str:
    """Return what the operator is about to put right, or ""."""
    spec, found, word = view.bot.spec, view.plan.repairing, view.seen.word
    if spec is None or word is None or view.plan.hold is not None or spec.suspend:
        return ""
    if found is not None and not found.person:
        return f"the webhook{leading_to(word.host)} is not as the spec has it; {_advice(view)}"
    return _deaf_sentence(view, word) if word.deaf and restarts(spec) and not gave_up(view.seen) else ""


def note(view: View) -> str:
    """Return what else is worth knowing of a bot that is well, as the end of a sentence."""
    older = f"; {view.seen.older}" if view.seen.older else ""
    return told(_lacking(view)) + older + _telegrams_note(view)


def _lacking(view: View) -> set[Lack]:
    """The rights that nothing else speaks of: the bot is served without them."""
    elsewhere = {each.lack for each in view.seen.failures}
    return {each for each in view.seen.lacking if each not in elsewhere and each.resource != "pods/log"}


def _telegrams_note(view: View) -> str:
    spec, word = view.bot.spec, view.seen.word
    if spec is None or word is None:
        return ""
    if word.stranger is not None:
        asked = f"asked about bot {view.seen.identity}, the Bot API answers as bot {word.stranger}"
        return f"; {asked}, so nothing of what it says is used: is TELEGRAM_API_URL right?"
    return f"; Telegram's last failed delivery: {word.error}" if word.error and wanted_url(spec) is not None else ""
