"""Records what more libraries print when Telegram answers 409: those that the bed does not run itself.

    python -m tests.corpus.scripts.record [NAME ...]

writes tests/corpus/real/<name>-<case>.log, as tests/bed/record_corpus.py does for the bed's own bots. Each library is
installed at the versions named beside its bot, once, into the per-user cache: with pip, npm, go, mvn or cargo, of which
only those are needed whose bots are recorded.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
import sys
import tempfile
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tests.bed import record_corpus
from tests.bed.botenv import CACHE, Copy, environment, started
from tests.bed.telegram import Bot, Emulator

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

SCRIPTS = Path(__file__).parent
HOME = CACHE / "corpus"
PYTHON = {"aiogram2": 1, "telebot3": 1, "ptb13": 2, "telepot12": 2}
NODE = {
    name: name + end
    for name, end in [
        ("telegraf3", ".cjs"),
        ("telebot", ".cjs"),
        ("puregram", ".cjs"),
        ("gramio", ".mjs"),
        ("runner", ".mjs"),
    ]
}
GO = ("telego", "telebot3", "telebot4", "tgbotapi", "gotelegrambot", "gotgbot")
JAVA = ("Telegrambots", "Pengrad")


def commands() -> dict[str, tuple[str, ...]]:
    """Return for each name the kind of its environment, then its program."""
    return {
        **{f"python-{name}": ("python", name) for name in PYTHON},
        **{f"node-{name}": ("node", name) for name in NODE},
        **{f"go-{name}": ("go", name) for name in GO},
        **{f"java-{name.lower()}": ("java", name) for name in JAVA},
        "rust-teloxide": ("rust", "corpus"),
    }


def argv(kind: str, name: str) -> list[str]:
    """Return the command line of a bot; its environment is installed first if it is not there yet."""
    if kind == "python":
        return [str(_python(PYTHON[name]) / "bin" / "python"), str(SCRIPTS / "python" / f"{name}.py")]
    folder = HOME / kind
    if not folder.is_dir():
        _build(kind, folder)
    if kind == "java":
        classes = f"{folder / 'target' / 'classes'}:{(folder / 'classpath').read_text().strip()}"
        return ["java", "-cp", classes, f"corpus.{name}"]
    return {
        "node": ["node", str(folder / NODE.get(name, ""))],
        "go": [str(folder / "bin" / name)],
        "rust": [str(folder / "target" / "debug" / name)],
    }[kind]


def _python(number: int) -> Path:
    folder = HOME / f"python-{number}"
    if not folder.is_dir():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        wanted = SCRIPTS / "python" / f"requirements-{number}.txt"
        subprocess.run([str(folder / "bin" / "pip"), "install", "-q", "-r", str(wanted)], check=True)
    return folder


_BUILD = {
    "node": "npm install --no-package-lock --ignore-scripts --no-audit --no-fund",
    "go": "go build -o bin/ ./...",
    "java": "mvn -q -B compile dependency:build-classpath -Dmdep.outputFile=classpath",
    "rust": "cargo build",
}


def _build(kind: str, folder: Path) -> None:
    shutil.copytree(SCRIPTS / kind, folder)
    subprocess.run(_BUILD[kind].split(), cwd=folder, check=True)


@asynccontextmanager
async def running(name: str, telegram: Emulator, bot: Bot, log: Path) -> AsyncIterator[Copy]:
    """A copy of the bot `name`, killed when the block ends."""
    command = await asyncio.to_thread(argv, *commands()[name])
    extra = {"RUST_LOG": "info", "BOT_DEBUG": os.environ.get("BOT_DEBUG", "")}
    async with started(command, environment(telegram, bot, extra), log) as copy:
        yield copy


async def record(names: list[str]) -> None:
    """Record every case of these bots, one after the other."""
    record_corpus.running = running  # type: ignore[assignment]  # the cases are those of the bed's bots
    async with Emulator.start() as telegram:
        for name in names:
            for case, play in record_corpus.CASES.items():
                with tempfile.TemporaryDirectory() as folder:
                    try:
                        text = await play(name, telegram, telegram.new_bot(), Path(folder))
                    except TimeoutError:
                        print(f"{name}-{case}: nothing; {(Path(folder) / 'a').read_text()[-2000:]}", flush=True)
                        continue
                (record_corpus.CORPUS / f"{name}-{case}.log").write_text(_without_paths(text))
                print(f"{name}-{case}: {len(text.splitlines())} lines, 409 in it: {'409' in text}", flush=True)


def _without_paths(text: str) -> str:
    """Folders of the machine that recorded become those of a container image."""
    text = re.sub(rf"{re.escape(str(HOME))}/python-\d/lib/", "/usr/local/lib/", text)
    text = re.sub(rf"{re.escape(str(HOME))}/[^/]+/", "/app/", text)
    text = text.replace(str(SCRIPTS.parents[2]), "/app")
    return text.replace(str(Path.home()), "/home/app")


if __name__ == "__main__":
    asyncio.run(record(sys.argv[1:] or list(commands())))
