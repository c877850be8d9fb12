"""The YAML that docs/gitops.md shows, by what it is part of: the tests use it as a reader would."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

PAGE = Path(__file__).parents[2] / "docs" / "gitops.md"
_BLOCK = re.compile(r"```yaml\n# part of the ([\w.]+)[^\n]*\n(.*?)```", re.DOTALL)


def shown() -> list[tuple[str, dict[str, Any]]]:
    """Return all blocks, in order."""
    return [(kind, yaml.safe_load(text)) for kind, text in _BLOCK.findall(PAGE.read_text())]


def shown_of(kind: str) -> list[dict[str, Any]]:
    """Return the blocks that are part of such an object."""
    return [block for each, block in shown() if each == kind]


def merged(body: Any, part: Any) -> Any:
    """Return an object with a part of it written over: lists as a whole."""
    if not (isinstance(body, dict) and isinstance(part, dict)):
        return part
    return {**body, **{key: merged(body.get(key), value) for key, value in part.items()}}
