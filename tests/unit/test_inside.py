"""What a log shows of several pollers inside one pod, and what only looks like that."""

import pytest

from telegrambot_operator.core.inside import several_pollers

CONFLICT = "409: Conflict: terminated by other getUpdates request; make sure that only one bot instance is running"


def log(*printed: str) -> bytes:
    """A log as the API server gives it: the kubelet's time before each line."""
    stamped = [f"2026-11-24T12:00:{number:02}.000000000Z {line}" for number, line in enumerate(printed)]
    return "\n".join(stamped).encode() + b"\n"


def pino(pid: int) -> str:
    return f'{{"level":50,"time":1795521600000,"pid":{pid},"hostname":"bot-a","msg":"{CONFLICT}"}}'


SHOWN: dict[str, tuple[list[str], str]] = {
    "two workers of PM2": (
        [f"0|bot  | {CONFLICT}", f"1|bot  | {CONFLICT}"],
        "workers 0|bot and 1|bot are cut off in turn",
    ),
    "two workers of PM2 with times": (
        [f"2026-11-24T12:00:00: 3|shop-bot | {CONFLICT}", "", f"2026-11-24T12:00:03: 2|shop-bot | {CONFLICT}"],
        "workers 2|shop-bot and 3|shop-bot",
    ),
    "two processes in turn, by pino's pid": ([pino(17), pino(18), pino(17)], "workers 17 and 18"),
    "two processes of Nest in turn": (
        [f"[Nest] {pid}  - 11/24/2026, 12:00:00 PM   ERROR {CONFLICT}" for pid in (8, 9, 9, 8)],
        "workers 8 and 9",
    ),
    "two workers of gunicorn in turn": (
        [f"[2026-11-24 12:00:00 +0000] [{pid}] [ERROR] {CONFLICT}" for pid in (8, 9, 8)],
        "workers 8 and 9",
    ),
    "two processes of Python's multiprocessing in turn": (
        [f"ERROR SpawnProcess-{number} telegram.ext.Updater: {CONFLICT}" for number in (1, 2, 1)],
        "workers SpawnProcess-1 and SpawnProcess-2",
    ),
    "two programs of supervisord in turn": (
        [f"bot_0{number} stderr | {CONFLICT}" for number in (0, 1, 0)],
        "workers bot_00 stderr and bot_01 stderr",
    ),
    "PM2 says so at start": (
        [
            "2026-11-24T12:00:00: PM2 log: App [bot:0] starting in -cluster mode-",
            "2026-11-24T12:00:00: PM2 log: App [bot:0] online",
            "2026-11-24T12:00:00: PM2 log: App [bot:1] online",
        ],
        "PM2 runs 2 workers of it; set instances: 1",
    ),
    "gunicorn says so at start": (
        [f"[2026-11-24 12:00:00 +0000] [{pid}] [INFO] Booting worker with pid: {pid}" for pid in (7, 8, 9)],
        "gunicorn runs 3 workers of it; start it with --workers 1",
    ),
    "uvicorn says so at start": (
        ["INFO:     Started parent process [1]", *(f"INFO:     Started server process [{pid}]" for pid in (8, 9))],
        "uvicorn runs 2 workers",
    ),
    "supervisord says so at start": (
        [f"2026-11-24 12:00:00,123 INFO spawned: 'bot_0{number}' with pid {number + 8}" for number in (0, 1)],
        "supervisord runs 2 workers of it; set numprocs=1",
    ),
    "a cluster says so at start": (
        ["Primary 1 is running", "Worker 24 started", "Worker 25 started"],
        "the program's cluster runs 2 workers",
    ),
    "Flask's debug reloader": (
        [" * Serving Flask app 'shop'", " * Debug mode: on", " * Restarting with stat", " * Debugger is active!"],
        "Flask's debug reloader runs the program more than once; switch it off",
    ),
    "Django's reloader": (["Watching for file changes with StatReloader"], "Django's reloader"),
    "nodemon": (["[nodemon] 3.1.0", "[nodemon] restarting due to changes..."], "nodemon runs the program"),
}
NOT_SHOWN: dict[str, list[str]] = {
    "a log without anything": [],
    "one program": [CONFLICT, CONFLICT, CONFLICT],
    "one worker of PM2": [f"0|bot  | {CONFLICT}", f"0|bot  | {CONFLICT}"],
    "two workers of PM2, of which one is no poller": [f"0|bot  | {CONFLICT}", "1|web  | listening on 8080"],
    "a program that is started anew after each 409": [pino(17), pino(18), pino(19)],
    "two loggers of one process": [pino(17), f"ERROR {CONFLICT}", pino(17)],
    "two programs of supervisord": [
        f"2026-11-24 12:00:00,123 INFO spawned: '{name}' with pid 8" for name in ("bot", "web", "nginx")
    ],
    "a worker of gunicorn that took the place of one that ended": [
        "[2026-11-24 12:00:00 +0000] [7] [INFO] Booting worker with pid: 7",
        "[2026-11-24 12:00:00 +0000] [1] [CRITICAL] WORKER TIMEOUT (pid:7)",
        "[2026-11-24 12:00:00 +0000] [7] [INFO] Worker exiting (pid: 7)",
        "[2026-11-24 12:00:00 +0000] [8] [INFO] Booting worker with pid: 8",
    ],
    "a worker of uvicorn that took the place of one that died": [
        "INFO:     Started server process [7]",
        "INFO:     Child process [7] died",
        "INFO:     Started server process [8]",
    ],
    "a worker of PM2 that exited": [
        "PM2 | App [bot:0] online",
        "PM2 | App [bot:0] exited with code [1] via signal [SIGINT]",
        "PM2 | App [bot:1] online",
    ],
    "one of each of two programs of PM2": ["PM2 | App [bot:0] online", "PM2 | App [web:1] online"],
    "nodemon that has started the program once": ["[nodemon] starting `node bot.js`"],
}


@pytest.mark.parametrize(("printed", "told"), SHOWN.values(), ids=SHOWN)
def test_several_pollers_are_seen(printed: list[str], told: str) -> None:
    assert told in several_pollers([log(*printed)])


@pytest.mark.parametrize("printed", NOT_SHOWN.values(), ids=NOT_SHOWN)
def test_one_poller_is_not_taken_for_several(printed: list[str]) -> None:
    assert several_pollers([log(*printed)]) == ""


def test_the_beginning_of_a_log_and_its_end_are_read_together() -> None:
    assert several_pollers([log("Worker 24 started"), log("Worker 25 started")])
    assert several_pollers([]) == ""


def test_a_workers_name_does_not_tell_a_token() -> None:
    secret = "AAE9xkQ2vTn0LwRzYb4mHc7sPd1uJg5oXyZ"
    shown = several_pollers([log(f"0|7301948265:{secret} | {CONFLICT}", f"1|7301948265:{secret} | {CONFLICT}")])
    assert secret not in shown
