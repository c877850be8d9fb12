"""Which worlds are searched through, and the command that does so.

python -m tests.model.scenes        every scene: minutes; fails where an invariant breaks
"""

import sys
from collections.abc import Iterator

from tests.model.gate_search import Gate
from tests.model.gate_world import FAULTS, Bounds
from tests.model.mutants import MUTANTS
from tests.model.search import Found, Search

ANY = dict.fromkeys(FAULTS, 1)
WRITES = {"delete": 1, "force": 1, "refused": 1}
NODE = {"force": 1, "cut": 1, "back": 1}

# Searched to the fixed point by `make test`.
FAST = {
    "one operator, any fault": Bounds(2, operators=1, lag=1, faults=1, each=ANY),
    "one operator, any two faults": Bounds(2, operators=1, lag=0, faults=2, each=ANY),
    "one operator, its pod is forced away from a node that is lost and comes back": Bounds(
        2, operators=1, nodes=1, lag=1, faults=3, each=NODE, running_on=0
    ),
    "two operators": Bounds(2, operators=2, nodes=1, lag=0, faults=1, each=WRITES),
    "two bots": Bounds(4, bots=2, operators=1, nodes=1, lag=0, faults=0),
}

# Searched by `make model`, beside those.
DEEP = {
    "one operator, any two faults, a late watch": Bounds(3, operators=1, lag=1, faults=2, each=ANY),
    "one operator, any three faults": Bounds(3, operators=1, nodes=1, lag=0, faults=3, each=ANY),
    "one operator, whatever a node can do": Bounds(
        3, operators=1, lag=0, faults=5, each={**NODE, "delete": 1, "off": 1, "exit": 1}, running_on=0
    ),
    "two operators, any fault": Bounds(2, operators=2, lag=0, faults=1, each=ANY),
    "two operators, late watches": Bounds(2, operators=2, nodes=1, lag=1, faults=1, each=WRITES),
    "two operators, a pod is deleted and the next one forced away": Bounds(
        3, operators=2, nodes=1, lag=0, faults=2, each={"delete": 1, "force": 1}, running_on=0, noted=False
    ),
    "two bots, any fault": Bounds(3, bots=2, operators=1, nodes=1, lag=0, faults=1, each=ANY),
    "stuckPods.policy: Never": Bounds(2, operators=1, lag=0, faults=2, each=ANY, policy="Never"),
}


def search(bounds: Bounds) -> Found:
    """Search one scene through."""
    return Search(Gate(bounds)).run()


def worlds() -> Iterator[tuple[str, Bounds]]:
    """Return every scene, and every world in which a mutant is caught: without a mutation no invariant breaks there."""
    yield from {**FAST, **DEEP}.items()
    tried = list({**FAST, **DEEP}.values())
    for name, mutant in MUTANTS.items():
        if mutant.bounds not in tried:
            tried.append(mutant.bounds)
            yield f"the world that catches one that {name}", mutant.bounds


def main() -> int:
    """Search all worlds, tell what was found, and return 1 where an invariant breaks."""
    broken = False
    for name, bounds in worlds():
        found = search(bounds)
        broken = broken or bool(found.broken)
        print(f"{name}: {found}", flush=True)
    return int(broken)


if __name__ == "__main__":
    sys.exit(main())
