"""Argo CD's health of a TelegramBot: the script of deploy/argocd in a Lua 5.1, as Argo CD calls it."""

from pathlib import Path
from typing import Any

import yaml
from lupa import lua51

SNIPPET = Path(__file__).parents[2] / "deploy" / "argocd" / "health.yaml"
KEY = "resource.customizations.health.singleton.bot_TelegramBot"
# What Argo CD's interpreter has: the base library without files and code from elsewhere, tables, strings, and a safe os
# (argo-cd, util/lua/lua.go). The script needs less.
_TAKEN_AWAY = ("io", "os", "package", "require", "dofile", "loadfile", "load", "loadstring", "debug", "python")


def script() -> str:
    """Return the script."""
    text: str = yaml.safe_load(SNIPPET.read_text())["data"][KEY]
    return text


def health(resource: dict[str, Any]) -> tuple[str, str]:
    """Return status and message that Argo CD shows for the resource."""
    lua = lua51.LuaRuntime(unpack_returned_tuples=True)
    for each in _TAKEN_AWAY:
        lua.globals()[each] = None
    lua.globals().obj = lua.table_from(resource, recursive=True)
    found = lua.execute(script())
    return found.status, found.message
