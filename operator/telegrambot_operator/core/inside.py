"""What a pod's log shows of several pollers inside the one pod: workers of one program, or a reloader that starts two.

1. Two workers that are cut off in turn prove it: each 409 is told under the name or the process id of a worker. Of
   process ids the first has to come again, since a program that is started anew has another one.
2. A process manager that says it runs several workers of one program, or a reloader that says it starts the program
   beside itself, shows it as far as nothing else explains the conflict.
3. What a worker is called is shown to people, so it is redacted like all evidence.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from .lines import Line, decoded, lines
from .redact import redact
from .signs import find_sign, may_be_sign

LONGEST_NAME = 40

# How a line tells which of several processes printed it. The groups of one pattern are one name.
_WORKERS = tuple(
    re.compile(pattern, re.ASCII)
    for pattern in (
        r'"(?:pid|process_id|processId|process)"\s?:\s?"?(\d{1,10})\b',  # pino, bunyan, structlog
        r"\[Nest\] (\d{1,10})\b",
        r"\b(?i:pid)[=:]\s?(\d{1,10})\b",
        r"\] \[(\d{1,10})\] \[[A-Z]",  # gunicorn
        r"\b((?:Spawn|Fork)?(?:Process|PoolWorker)-\d{1,6})\b",  # Python's multiprocessing, celery
        r"\b(?i:worker)[ _#-]?(\d{1,10})\b",
    )
)
_PM2 = re.compile(r"\d{1,6}\|", re.ASCII)


@dataclass(frozen=True, slots=True)
class _Manager:
    """How a process manager tells that it has started a worker, and that one has ended; the group names the worker."""

    name: str
    started: re.Pattern[str]
    ended: re.Pattern[str]
    advice: str

    def workers(self, text: str) -> int:
        """Return how many workers of one program run by now, as far as the log tells."""
        events = [(each.start(), each.groupdict(), True) for each in self.started.finditer(text)]
        events += [(each.start(), each.groupdict(), False) for each in self.ended.finditer(text)]
        running: dict[str, set[str]] = {}
        for _, names, began in sorted(events, key=lambda event: event[0]):
            program = running.setdefault(names.get("program") or "", set())
            (program.add if began else program.discard)(names["worker"])
        return max((len(each) for each in running.values()), default=0)


_MANAGERS = (
    _Manager(
        "PM2",
        re.compile(r"\bApp \[(?P<program>[^\]:\n]{1,80}):(?P<worker>\d{1,6})\] online"),
        re.compile(r"\bApp \[(?P<program>[^\]:\n]{1,80}):(?P<worker>\d{1,6})\] exited"),
        "set instances: 1",
    ),
    _Manager(
        "gunicorn",
        re.compile(r"\bBooting worker with pid: (?P<worker>\d{1,10})\b"),
        re.compile(r"\b(?:Worker exiting \(pid: |Worker \(pid:)(?P<worker>\d{1,10})\)"),
        "start it with --workers 1, or poll in a process of its own",
    ),
    _Manager(
        "uvicorn",
        re.compile(r"\bStarted server process \[(?P<worker>\d{1,10})\]"),
        re.compile(r"\b(?:Finished server|Child) process \[(?P<worker>\d{1,10})\](?! waiting)"),
        "start it with --workers 1, or poll in a process of its own",
    ),
    _Manager(
        "supervisord",
        re.compile(r"\bspawned: '(?P<program>[^'\n]{1,80}?)[_-]?(?P<worker>\d{1,4})' with pid"),
        re.compile(r"\b(?:exited|stopped): (?P<program>[^\s'\n]{1,80}?)[_-]?(?P<worker>\d{1,4}) \("),
        "set numprocs=1",
    ),
    _Manager(
        "the program's cluster",
        re.compile(r"(?i:\bworker) #?(?P<worker>\d{1,10}) (?:is |has )?(?:started|running|online|ready)\b"),
        re.compile(r"(?i:\bworker) #?(?P<worker>\d{1,10}) (?:has )?(?:died|exited|stopped)\b"),
        "poll in one of them only",
    ),
)
# Reloaders that run the program twice, or start it anew before the old one has ended.
_RELOADERS = (
    ("Flask's debug reloader", re.compile(r"^ ?\* Restarting with (?:stat|watchdog|reloader)\b", re.MULTILINE)),
    ("Django's reloader", re.compile(r"\bWatching for file changes with (?:Stat|Watchman)Reloader\b")),
    ("uvicorn's reloader", re.compile(r"\bStarted reloader process \[\d{1,10}\]")),
    (
        "nodemon",
        re.compile(r"^\[nodemon\] (?:restarting due to changes|still waiting for \d+ sub-process)", re.MULTILINE),
    ),
    ("ts-node-dev", re.compile(r"^\[INFO\] [\d:]{8} Restarting: ", re.MULTILINE)),
)


def several_pollers(answers: Sequence[bytes]) -> str:
    """Return what the pieces of a log show, and what to do about it, as the rest of a sentence; "" for nothing.

    Each line begins with the kubelet's timestamp. The pieces are in the log's order, and the last is its end.
    """
    known = [line for answer in answers for line in lines(decoded(answer), stamped=True)]
    text = "\n".join(line.text for line in known)
    return _cut_off_in_turn(known) or _managed(text) or _reloaded(text)


def _cut_off_in_turn(known: Sequence[Line]) -> str:
    order: list[str] = []
    for worker in _victims(known):
        if worker in order and order[-1] != worker:
            return _told(worker, order[-1])
        if _PM2.match(worker) and any(_PM2.match(each) and each != worker for each in order):
            return _told(order[-1], worker)
        if worker not in order:
            order.append(worker)
    return ""


def _told(first: str, second: str) -> str:
    both = " and ".join(sorted({redact(each)[:LONGEST_NAME] for each in (first, second)}))
    return f"its workers {both} are cut off in turn; let only one of them poll"


def _victims(known: Sequence[Line]) -> Iterator[str]:
    """Yield the workers that tell of a 409, one for each line that does."""
    for line in known:
        if may_be_sign(line.text) and find_sign(line.text) is not None:
            worker = line.source.strip() or _worker(line.text)
            if worker:
                yield worker


def _worker(text: str) -> str:
    found = (pattern.search(text[:500]) for pattern in _WORKERS)
    return next((match[1] for match in found if match), "")


def _managed(text: str) -> str:
    for manager in _MANAGERS:
        count = manager.workers(text)
        if count > 1:
            return f"{manager.name} runs {count} workers of it; {manager.advice}"
    return ""


def _reloaded(text: str) -> str:
    name = next((name for name, pattern in _RELOADERS if pattern.search(text)), "")
    return f"{name} runs the program more than once; switch it off" if name else ""
