"""Which Events tell of a change: one for each condition whose status or reason changed, none for what stayed."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ..names import ConditionType


@dataclass(frozen=True, slots=True)
class Event:
    """An Event about the TelegramBot, or about one of its pods where `pod` and `pod_uid` are set."""

    reason: str
    message: str
    warning: bool = False
    pod: str = ""
    pod_uid: str = ""


# The worrying status of each condition that is told; Reconciling only says that we are at work.
_WORRYING = {
    ConditionType.READY: "False",
    ConditionType.SINGLETON: "False",
    ConditionType.CONFLICTED: "True",
    ConditionType.STALLED: "True",
}
_HARMLESS = {"Starting", "Suspended", "WaitingForTurn"}


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Event]:
    """Yield an Event for every change between two statuses that a person wants to know of.

    Ready often repeats what another condition says: then that one, which comes later in the list, tells it.
    """
    previous = {each.get("type"): each for each in before.get("conditions") or []}
    told: set[str] = set()
    for condition in reversed(after.get("conditions") or []):
        kind, old = condition["type"], previous.get(condition["type"])
        if kind not in _WORRYING or condition["message"] in told or not _changed(kind, old, condition):
            continue
        told.add(condition["message"])
        worrying = condition["status"] == _WORRYING[kind] and condition["reason"] not in _HARMLESS
        yield Event(reason=_reason(kind, condition), message=condition["message"], warning=worrying)


def _changed(kind: str, old: Mapping[str, Any] | None, new: Mapping[str, Any]) -> bool:
    if old is None:  # the first visit tells only what is wrong, or that the bot runs
        return bool(new["status"] == _WORRYING[ConditionType(kind)] or kind == ConditionType.READY)
    return (old.get("status"), old.get("reason")) != (new["status"], new["reason"]) and not (
        old.get("status") == new["status"] != _WORRYING[ConditionType(kind)]
    )


def _reason(kind: str, condition: Mapping[str, Any]) -> str:
    """The condition's reason, with the type in front where the reason alone would not say what is meant."""
    reason = str(condition["reason"])
    return reason if kind in {ConditionType.READY, ConditionType.SINGLETON} else f"{kind}{reason}"
