"""What a person is told of a conflict's cause: who did it, and in the same sentence what to do about it."""

from collections.abc import Callable

from ..api.models import Duplicates
from ..names import LABEL_BOT, Reason
from .conflicts import (
    Conflicts,
    crowd_of,
    identity_rivals,
    is_of_a_rival,
    is_removable,
    secret_of,
    strays_then,
    suspects,
    was_quiet,
)
from .observed import PodSpan
from .strays_search import TOLD_AT_MOST, Stray
from .telling import webhook_sentence
from .view import View, listed

_GONE = "it is not there any more"


def cause_sentence(run: Conflicts, view: View) -> str:
    """Return who did it and what to do, without a full stop."""
    tell = _SENTENCES.get(run.cause, _unknown)
    return tell(run, view)


def _duplicate_pods(run: Conflicts, view: View) -> str:
    others = _others(run, view)
    them = f"pods {listed([run_pod(run), *others])}" if others else "more than one pod"
    report = view.bot.spec is not None and view.bot.spec.duplicates is Duplicates.REPORT
    advice = "delete all but one" if report else "all but one go; if more come, find out what makes them"
    return f"{them} of the bot were polling at once when {run_pod(run)} was cut off; {advice}"


def _terminating_pod(run: Conflicts, view: View) -> str:
    leaving = [span.pod for span in _spans(run, view) if span.deleted is not None]
    who = f"pod {listed(leaving)}" if leaving else "a pod of the bot"
    return (
        f"{who}, which was being deleted, was still polling when {run_pod(run)} was cut off; "
        "it ends by itself, and sooner if the bot stops polling on SIGTERM"
    )


def run_pod(run: Conflicts) -> str:
    """The pod that the cause was judged by, which stays the same while more of them are cut off."""
    return run.telling.pod if run.telling else run.pod


def _spans(run: Conflicts, view: View) -> list[PodSpan]:
    return suspects(run.telling, view.seen.spans) if run.telling else []


def _others(run: Conflicts, view: View) -> list[str]:
    """The pods that were there too, those of another namespace only by that fact."""
    victim = run.telling.uid if run.telling else ""
    here = view.bot.namespace
    return [
        span.pod if span.namespace in {"", here} else "one in another namespace"
        for span in _spans(run, view)
        if span.uid != victim and not is_of_a_rival(span, view.seen)
    ]


def _duplicate_bot(run: Conflicts, view: View) -> str:
    rivals = identity_rivals(view.seen)
    near = [each for each in rivals if each.namespace == view.bot.namespace]
    guarded = [stray for stray in strays_of(run, view) if stray.worn]
    if guarded and not rivals:
        named = _named(guarded)
        return (
            f"pod {named} of another TelegramBot ({LABEL_BOT}: {guarded[0].worn}) has the same token and cuts off "
            f"pod {run.pod}: its {guarded[0].has}; delete one of the two, or give it the token of another bot"
        )
    if not near:
        return "a TelegramBot of another namespace runs the same bot; delete one of the two"
    return f"TelegramBot {near[0].name} with Deployment {near[0].target} runs the same bot; delete one of the two"


def _stray_pod(run: Conflicts, view: View) -> str:
    found = [stray for stray in strays_of(run, view) if not stray.worn]
    if not found:
        return f"a pod that is not the bot's has the same token and cut off pod {run.pod}; {_GONE}"
    first, more = found[0], f" ({len(found)} such pods)" if len(found) > 1 else ""
    return (
        f"pod {_named(found)}, which is not the bot's, cuts off pod {run.pod}{more}: its {first.has}; "
        f"{_what_about(first, view)}"
    )


def _named(found: list[Stray]) -> str:
    return listed([stray.named for stray in found[:TOLD_AT_MOST]])


def _what_about(stray: Stray, view: View) -> str:
    """What is done or has to be done about a stray."""
    if stray.ended is not None:
        return _GONE
    if stray.deleting:
        return "it is being deleted"
    if stray.controller:
        return f"scale {stray.controller} to 0 or delete it, or give it the token of another bot"
    if stray not in _left(view):
        return "it is deleted"
    run = view.conflicts
    quiet = run is not None and run.telling is not None and was_quiet(stray, run.telling, view.seen)
    doubt = "it ran beside the bot for a while without a conflict, so make sure that it polls, then " if quiet else ""
    by_hand = f"kubectl -n {stray.namespace} delete pod {stray.pod}"
    return f"{doubt}delete it ({by_hand}), or give it the token of another bot"


def strays_of(run: Conflicts, view: View) -> list[Stray]:
    """Return the pods that did it, as far as the search has shown them."""
    return strays_then(run.telling, view.seen) if run.telling else []


def strays_left(view: View) -> bool:
    """Return whether a pod that did it is there still and will not be deleted by the operator."""
    return bool(_left(view))


def _left(view: View) -> list[Stray]:
    run, spec = view.conflicts, view.bot.spec
    if run is None or run.telling is None:
        return []
    deletes = spec is not None and spec.duplicates is Duplicates.DELETE
    return [
        stray
        for stray in strays_of(run, view)
        if stray.ended is None and not stray.deleting and not (deletes and is_removable(stray, run.telling, view.seen))
    ]


def _inside_pod(run: Conflicts, view: View) -> str:
    shown = crowd_of(run.telling, view.seen) if run.telling else ""
    return f"several pollers run inside pod {run_pod(run)}: {shown or 'let only one of them poll'}"


def _external_poller(run: Conflicts, view: View) -> str:
    search = view.seen.search
    left_out = f" ({search.left_out})" if search and search.left_out else ""
    return (
        "something that is not a pod of this TelegramBot keeps polling with the same token and cuts off pod "
        f"{run.pod}, and no other pod was found that has it{left_out}; stop it (another cluster, a laptop, a copy of "
        "the Secret), or revoke the token with @BotFather"
    )


def _unknown(run: Conflicts, view: View) -> str:
    cut_off = f"pod {run.pod} was cut off by another poller"
    search = view.seen.search
    if secret_of(view.seen) is None:
        return f"{cut_off}; name the token in spec.token, so that it can be looked for who else has it"
    if search is None:
        return f"{cut_off}; it is being looked for who else has the token"
    if search.problem:
        return f"{cut_off}, and it could not be looked for who else has the token: {search.problem}"
    left_out = f" ({search.left_out})" if search.left_out else ""
    return (
        f"{cut_off}, and no other pod was found that has the token{left_out}; if it comes back, it is somebody outside"
    )


_SENTENCES: dict[Reason, Callable[[Conflicts, View], str]] = {
    Reason.WEBHOOK_ACTIVE: webhook_sentence,
    Reason.WEBHOOK_SET: webhook_sentence,
    Reason.DUPLICATE_PODS: _duplicate_pods,
    Reason.TERMINATING_POD: _terminating_pod,
    Reason.DUPLICATE_BOT: _duplicate_bot,
    Reason.STRAY_POD: _stray_pod,
    Reason.INSIDE_POD: _inside_pod,
    Reason.EXTERNAL_POLLER: _external_poller,
}
