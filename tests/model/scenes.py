"""Which worlds are searched through, and the command that does so.

python -m tests.model.scenes        every scene: minutes; fails where an invariant breaks
"""

import sys

from tests.model.gate_search import Gate
from tests.model.gate_world import FAULTS, Bounds
from tests.model.search import Found, Search

ANY = dict.fromkeys(FAULTS, 1)
CRASHES = {"delete": 1, "force": 1, "crash": 1, "lost": 1, "refused": 1}
NODES = {"force": 1, "cut": 1, "back": 1}

# Searched to the fixed point by `make test`.
FAST = {
    "one operator, any fault": Bounds(pods=2, operators=1, lag=1, faults=1, each=ANY),
    "one operator, a forced delete on a node that is lost and comes back": Bounds(
        pods=2, operators=1, lag=0, faults=3, each=NODES
    ),
    "two operators, none of which dies": Bounds(pods=2, operators=2, lag=0, faults=1, each={"force": 1, "refused": 1}),
    "two bots": Bounds(pods=2, bots=2, operators=1, lag=0, faults=0),
}

# Searched by `make model`, beside those.
DEEP = {
    "one operator, any two faults, three pods": Bounds(pods=3, operators=1, lag=1, faults=2, each=ANY),
    "one operator, all that a node can do": Bounds(
        pods=2, operators=1, lag=1, faults=4, each={**NODES, "delete": 1, "off": 1, "exit": 1}
    ),
    "two operators, any fault": Bounds(pods=2, operators=2, lag=0, faults=1, each=ANY),
    "two bots, any fault": Bounds(pods=3, bots=2, operators=1, lag=0, faults=1, each=ANY),
}


def search(bounds: Bounds) -> Found:
    """Search one scene through."""
    return Search(Gate(bounds)).run()


def main() -> int:
    """Search all scenes, tell what was found, and return 1 where an invariant breaks."""
    broken = False
    for name, bounds in {**FAST, **DEEP}.items():
        found = search(bounds)
        broken = broken or bool(found.broken)
        print(f"{name}: {found}", flush=True)
    return int(broken)


if __name__ == "__main__":
    sys.exit(main())
