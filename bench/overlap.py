"""How long two processes of one bot live at once: a plain Deployment, beside one that a TelegramBot guards.

    .venv/bin/python -m bench.overlap               # about a quarter of an hour: the table of the README
    .venv/bin/python -m bench.overlap "a drain"     # one row of it

The bot takes six seconds to stop. The plain Deployment is the best that Kubernetes offers by itself: one replica and
the Recreate strategy. Each deed of tests/e2e/world.py is done to all, one after the other on the same bed, and the
nodes' process tables are read: the seconds in which more than one process that has polled lived, and Telegram's 409s.
"""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tests.bed.bed import Bed
from tests.e2e.world import DEEDS, World, force_delete

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

RBAC = Path(__file__).parents[1] / "deploy" / "rbac.yaml"
STOPPING = "6"  # seconds that the bot polls on after SIGTERM
WATCHED = 20.0  # seconds after a deed; an overlap that lasts until then has no end of its own
REPAIRS = 5  # rounds of the repair script


async def repair_script(world: World) -> None:
    """Three replicas, then what people run: keep the newest pod, force-delete all others, set replicas to 1, again."""
    await world.scale(3)
    for _ in range(REPAIRS):
        pods = sorted(await world.pods(), key=lambda pod: str(pod["metadata"]["creationTimestamp"]))
        for pod in pods[:-1]:
            name = pod["metadata"]["name"]
            await world.kubectl("delete", "pod", name, "--force", "--grace-period=0", "--ignore-not-found", check=False)
        await world.scale(1)
        await asyncio.sleep(1)  # the script's own pause


ROWS: dict[str, Callable[[World], Awaitable[None]]] = {
    **DEEDS,
    "a forced delete": force_delete,
    "replicas 3 and the repair script": repair_script,
}


LOCKS = {"a Deployment, Recreate, 1 replica": None, "with a TelegramBot": "Scheduler", "with `lock: Gate`": "Gate"}


async def measure(bed: Bed, row: str, lock: str | None) -> str:
    """Do one deed in a namespace of its own, and return what came of it as a cell of the table."""
    env = {"STOP_SECONDS": STOPPING, "POLL_SECONDS": "2"}
    world = await World.make(bed, await bed.namespace(), env=env, grace=20, spec={"lock": lock} if lock else {})
    await bed.apply(world.plain(strategy={"type": "Recreate"}))
    if lock:
        await bed.apply(world.resource())
        await world.settled()
    await bed.until(world.bot.polling_now, what="the bot polls")
    began = time.monotonic()
    await ROWS[row](world)
    await asyncio.sleep(max(0.0, began + WATCHED - time.monotonic()))
    cell = shown(bed, world)
    await bed.kubectl("delete", "namespace", world.ns, "--wait=false")
    await bed.until(lambda: not bed.alive(world.bot), patience=60, what="its processes are gone")
    return cell


def shown(bed: Bed, world: World) -> str:
    """The overlap so far, and what it cost."""
    overlaps = bed.overlaps(world.bot)
    if not overlaps:
        return f"0.0 s, {len(world.bot.conflicts)} x 409"
    alive = {each.pid for each in bed.alive(world.bot)}
    for_ever = any({each.first, each.second} <= alive for each in overlaps)
    longest = max(each.seconds for each in overlaps)
    return f"{'for ever' if for_ever else f'{longest:.1f} s'}, {len(world.bot.conflicts)} x 409"


async def play(rows: list[str]) -> None:
    """Measure the rows, and print the table as Markdown. Raises KeyError for a row that there is not."""
    print(f"| what happens | {' | '.join(LOCKS)} |\n|{'---|' * (1 + len(LOCKS))}")
    async with Bed.start(nodes=2) as bed, bed.operator() as operator:
        await operator.ready()
        await bed.apply(RBAC.read_text())  # for the namespace of the Leases
        for row in rows:
            cells = [await measure(bed, row, lock) for lock in LOCKS.values()]
            print(f"| {row} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    sys.exit(asyncio.run(play(sys.argv[1:] or list(ROWS))))
