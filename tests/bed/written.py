"""Whether a token is in anything that operators have written in a run (INV-7), and what they asked for.

That is in a request, by the API server's audit log, which misses none, or in a log of their own.

written = Written(folder)
Bed.start(more={"kube-apiserver": written.flags()})
written.found(logs, tokens)                            # where, as sentences without the token; nothing is expected
rights.refused(written.events())                       # what they asked for and may not do
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tests.bed import audit

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

OPERATOR = "system:serviceaccount:telegrambot-operator:telegrambot-operator"


class Written:
    """The audit log of one API server: what operators ask for, and what they write, in a folder of ours."""

    def __init__(self, folder: Path) -> None:
        """The folder exists; the API server is started later, with `flags`."""
        self._folder = folder
        self._log = audit.log_in(folder)

    def flags(self) -> list[str]:
        """The API server's flags that have it log what ServiceAccounts write, but for Kubernetes' own controllers.

        Of the operator's own account it logs all that it asks for.
        """
        controllers = {"level": "None", "userGroups": ["system:serviceaccounts:kube-system"]}
        verbs = ["create", "update", "patch", "delete"]
        writes = {"level": "Request", "userGroups": ["system:serviceaccounts"], "verbs": verbs}
        return audit.flags(self._folder, [controllers, writes, {"level": "Metadata", "users": [OPERATOR]}])

    @property
    def requests(self) -> int:
        """How many requests had a body."""
        return sum(b'"requestObject":' in line for line in self._lines())

    def events(self) -> Iterator[dict[str, Any]]:
        """Every request of the operator's own account, as the audit log has it (audit.k8s.io/v1 Event).

        A watch is there twice: when it began, and when it ended.
        """
        for line in self._lines():
            event = json.loads(line)
            if event["user"]["username"] == OPERATOR:
                yield event

    def writes_in(self, namespace: str) -> list[str]:
        """Return what was stored in a namespace, in order: "patch deployments test-1/telegram-bot"."""
        bodies = (line for line in self._lines() if b'"requestObject":' in line)
        stored = (line for line in bodies if json.loads(line)["responseStatus"]["code"] < 300)
        return [each for each in map(_request, stored) if f" {namespace}/" in each]

    def found(self, logs: Iterable[Path], tokens: Iterable[str]) -> list[str]:
        """Return where one of the tokens is, or the secret half of one."""
        secrets = [token.partition(":")[2].encode() for token in tokens]
        requests = [_request(line) for line in self._lines() if any(each in line for each in secrets)]
        own = [log.name for log in logs if any(each in log.read_bytes() for each in secrets)]
        return [f"a token is in {where}" for where in (*requests, *own)]

    def _lines(self) -> Iterator[bytes]:
        if self._log.exists():
            with self._log.open("rb") as log:
                yield from log


def _request(line: bytes) -> str:
    """Name a request of the audit log by its verb and object."""
    event = json.loads(line)
    target = event.get("objectRef", {})
    resource = "/".join(target[each] for each in ("resource", "subresource") if target.get(each))
    return f"{event['verb']} {resource} {target.get('namespace', '')}/{target.get('name', '')}"
