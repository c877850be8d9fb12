"""Counts a process's requests from the API server's audit log, which misses none and needs no help of the process.

    log = AuditLog(folder)
    ControlPlane.start(more={"kube-apiserver": log.flags(["telegrambot-operator"])})
    log.of("telegrambot-operator", since, until)

Each process under test is a user of its own, so that every request counts, whichever library has made it.
"""

from __future__ import annotations

import json
import time
from collections import Counter, defaultdict
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from tests.bed import audit

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

_WRITES = {"create", "update", "patch", "delete", "deletecollection"}


@dataclass(frozen=True, slots=True)
class Request:
    """A request as the API server has seen it. `at` is when it came in, in seconds since the epoch."""

    at: float
    user: str
    verb: str
    resource: str  # with its subresource: "pods/log"
    namespace: str  # empty: of the whole cluster
    name: str

    @property
    def kind(self) -> str:
        """Such as "patch deployments"."""
        return f"{self.verb} {self.resource}"

    @property
    def writes(self) -> bool:
        """Whether it asks for a change."""
        return self.verb in _WRITES

    @property
    def by_the_clock(self) -> bool:
        """Whether it is made at the operator's own pace, and not for a change: log tails, lists of everything."""
        return self.resource == "pods/log" or (self.verb in {"list", "watch"} and not self.namespace)


class AuditLog:
    """The log of one API server, in a folder of ours."""

    def __init__(self, folder: Path) -> None:
        """The folder exists; the API server is started later, with `flags`."""
        self._folder = folder
        self._path = audit.log_in(folder)
        self._read_to = 0
        self._requests: dict[str, Request] = {}
        self._by_name: defaultdict[tuple[str, str], list[Request]] = defaultdict(list)

    def flags(self, users: Sequence[str]) -> list[str]:
        """The API server's flags that have it log these users' requests, and every scaling; without their bodies."""
        rules = [
            {"level": "Metadata", "users": users},
            {"level": "Metadata", "resources": [{"group": "apps", "resources": ["deployments/scale"]}]},
        ]
        return audit.flags(self._folder, rules)

    def first(self, kind: str, name: str, since: float) -> Request | None:
        """The first request of this kind for an object of this name, by anybody, that came in no earlier than then."""
        self._catch_up()
        found = [each for each in self._by_name.get((kind, name), []) if each.at >= since]
        return min(found, key=lambda each: each.at, default=None)

    def of(self, user: str, since: float = 0.0, until: float = float("inf")) -> list[Request]:
        """A user's requests that came in between these times, as far as they have been answered."""
        self._catch_up()
        return [each for each in self._requests.values() if each.user == user and since <= each.at < until]

    def seconds_without_a_write(self, user: str) -> float:
        """For how long this user has asked for no change."""
        return time.time() - max((each.at for each in self.of(user) if each.writes), default=0.0)

    def _catch_up(self) -> None:
        """Read on. Each request counts once, though a watch is logged when it begins and again when it ends."""
        with self._path.open("rb") as log:
            log.seek(self._read_to)
            for line in log:
                if not line.endswith(b"\n"):  # half written
                    break
                self._read_to += len(line)
                self._take(json.loads(line))

    def _take(self, event: dict[str, Any]) -> None:
        if event["auditID"] not in self._requests:
            request = self._requests[event["auditID"]] = _request(event)
            self._by_name[request.kind, request.name].append(request)


def kinds(requests: Iterable[Request]) -> Counter[str]:
    """How many there are of each kind."""
    return Counter(request.kind for request in requests)


def _request(event: dict[str, Any]) -> Request:
    target = event.get("objectRef", {})
    return Request(
        at=datetime.fromisoformat(event["requestReceivedTimestamp"]).timestamp(),
        user=event["user"]["username"],
        verb=event["verb"],
        resource="/".join(filter(None, (target.get("resource", ""), target.get("subresource", "")))),
        namespace=target.get("namespace", ""),
        name=target.get("name", ""),
    )
