"""The README's part of the demo, by `python -m tests.demo --readme`: what the doctor said before and after."""

from __future__ import annotations

import re
from pathlib import Path

README = Path(__file__).parents[2] / "README.md"
NAMES = ("deployment/telegram-bot -n war", "telegram-bot -n war", "telegram-bot -n loop", "telegram-bot -n loop")
PARTS = ("redeploy war, before", "redeploy war, after", "crash loop, before", "crash loop, after")
_END = "<!-- to here -->\n"

# What is not the same in any two runs.
_VOLATILE = {
    r"telegram-bot-[0-9a-f]+-[a-z0-9]{5}\b": "POD",
    r"\b[0-9]{9,10}\b": "ID",
    r"\bnode-[0-9]\b": "NODE",
    r"\b[0-9]+ restarts\b": "restarts",
}
# What these say of a conflict depends on the moment at which it came; whether a pod is ready that restarts, also.
_OF_A_MOMENT = {"no-409", "operator"}
_BY_CHANCE = {"pod-ready"}
_ROW = re.compile(r"^  (pass|FAIL|unknown) +([a-z0-9-]+) +")


def _begin(part: str) -> str:
    return f"<!-- the doctor on the {part} -->\n"


def written(outputs: list[str], readme: str) -> str:
    """Return the README with what the doctor said. Raises ValueError where it has no place for it."""
    for part, name, said in zip(PARTS, NAMES, outputs, strict=True):
        block = f"\n$ telegrambot-operator doctor {name}\n{said.rstrip()}"
        indented = "".join(f"    {line}".rstrip() + "\n" for line in block.splitlines())
        before, found, rest = readme.partition(_begin(part))
        _, end, after = rest.partition(_END)
        if not found or not end:
            raise ValueError(f"the README lacks {_begin(part).strip()} or {_END.strip()}")
        readme = f"{before}{found}{indented}\n{end}{after}"
    return readme


def shown(readme: str) -> list[str]:
    """Return what the README shows of each part."""
    blocks = [readme.partition(_begin(part))[2].partition(_END)[0] for part in PARTS]
    return ["".join(line.removeprefix("    ") for line in block.splitlines(keepends=True)) for block in blocks]


def steady(said: str) -> dict[str, str]:
    """Return what the doctor said of each check, without what is not the same in any two runs."""
    rows = re.split(r"\n(?=  (?:pass|FAIL|unknown) )", said.split("\n\n")[1])
    found = {row[2]: (row[1], text[row.end() :]) for text in rows if (row := _ROW.match(text))}
    return {
        check: result if check in _OF_A_MOMENT else f"{result}: {_without_chance(words)}"
        for check, (result, words) in found.items()
        if check not in _BY_CHANCE
    }


def _without_chance(text: str) -> str:
    text = " ".join(text.split())
    for pattern, name in _VOLATILE.items():
        text = re.sub(pattern, name, text)
    return text
