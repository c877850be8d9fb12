"""The API server's audit log: it misses no request, and needs no help of whoever makes it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_NO_ROTATION = "1000000"  # MiB


def log_in(folder: Path) -> Path:
    """Where the log is, of an API server that was started with `flags`."""
    return folder / "audit.log"


def flags(folder: Path, rules: Sequence[dict[str, Any]]) -> list[str]:
    """The API server's flags that have it log, into this folder, what the rules name, and nothing else."""
    kind = {"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived"]}
    policy = folder / "audit-policy.json"
    policy.write_text(json.dumps({**kind, "rules": [*rules, {"level": "None"}]}))
    return [
        f"--audit-policy-file={policy}",
        f"--audit-log-path={log_in(folder)}",
        f"--audit-log-maxsize={_NO_ROTATION}",
    ]
