"""`make demo`: the two stories, about a minute and a half. The exit code is 0 only if every claim was true.

`python -m tests.demo --readme` also writes what the doctor said of them into the README.
"""

from __future__ import annotations

import asyncio
import sys
import time

from tests.bed.bed import Bed
from tests.bed.botenv import BotEnvError
from tests.bed.controlplane import BuildError, ControlPlaneError
from tests.demo.readme import README, written
from tests.demo.stage import guarding
from tests.demo.stories import crash_loop, redeploy_war
from tests.demo.timeline import Timeline
from tests.e2e.world import UNFORESEEN


async def play() -> int:
    """Play both stories and return the exit code."""
    line = Timeline()
    began = time.monotonic()
    line.chapter("A real API server, controller manager, scheduler and etcd; two nodes; a Telegram that referees")
    async with Bed.start(nodes=2, crd=False) as bed:
        line.say("bed", f"Kubernetes at {bed.cp.url}, Telegram at {bed.telegram.url}")
        async with guarding(bed, line) as operator:
            said = await redeploy_war(bed, line)
            bed.mend()
            said += await crash_loop(bed, line)
            codes = await operator.stop()
        line.claim("both of the operator's pods stopped cleanly", codes == [0, 0])
        unforeseen = [words for words in UNFORESEEN if words in operator.log_text()]
        line.claim("and met nothing that it did not foresee", not unforeseen)
    if "--readme" in sys.argv[1:] and not line.failed:
        README.write_text(written(said, README.read_text()))
    verdict = "Every claim was true." if not line.failed else f"{line.failed} claims were FALSE."
    print(f"\n{verdict} It took {time.monotonic() - began:.0f} s.")
    return 1 if line.failed else 0


def main() -> int:
    """Run, and end in one sentence where the bed cannot be made."""
    try:
        return asyncio.run(play())
    except (BuildError, BotEnvError, ControlPlaneError) as error:
        print(f"demo: {error}", file=sys.stderr)
    except KeyboardInterrupt:
        print("\ndemo: interrupted", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
