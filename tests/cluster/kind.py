"""The suite's own kind cluster: makes it, gives it images, deletes it, and touches no other.

    python -m tests.cluster.kind up | load | down | program

It is ours when the kubeconfig in dist/kind leads to nodes with our label, and these are the nodes that kind has for a
cluster of that name. From the environment: KIND_CLUSTER its name, KIND_NODE_IMAGE the nodes' image (kind's own unless
given), OPERATOR_IMAGE and BOT_IMAGE what is loaded. KIND is the program; else it is the one on the PATH, else it is
built from its Go module. `program` builds it in any case, and prints where it is.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.bed.controlplane import KUBECTL
from tests.bed.gobuild import BuildError
from tests.bed.tools import program

ROOT = Path(__file__).parents[2]
CONFIG = Path(__file__).with_name("kind.yaml")
LABEL = "singleton.bot/test-cluster"
DEFAULT_NAME = "telegrambot-operator-test"


class NotOursError(Exception):
    """The cluster is not there, or not ours; the text says which, and what to do."""


@dataclass(frozen=True, slots=True)
class Owned:
    """Our cluster. `main` is the node with the control plane, `workers` are the others."""

    name: str
    kubeconfig: Path
    main: str
    workers: tuple[str, ...]
    operator_image: str
    bot_image: str


def _settings() -> tuple[str, Path]:
    return os.environ.get("KIND_CLUSTER") or DEFAULT_NAME, ROOT / "dist" / "kind" / "kubeconfig"


def owned() -> Owned:
    """Return the cluster. Raises NotOursError where it is not ours beyond doubt."""
    name, kubeconfig = _settings()
    labelled = _labels_of_nodes(kubeconfig)
    ours = {node for node, labels in labelled.items() if labels.get(LABEL) == name}
    there = set(_said(_kind(), "get", "nodes", "--name", name).split())
    if not ours or ours != there or ours != labelled.keys():
        raise NotOursError(
            f"the kind cluster {name} is not one that `make kind-up` made: its nodes are {sorted(there)}, and those "
            f"with the label {LABEL}={name} are {sorted(ours)}; name another one with KIND_CLUSTER"
        )
    main = next(node for node, labels in labelled.items() if "node-role.kubernetes.io/control-plane" in labels)
    return Owned(name, kubeconfig, main, tuple(sorted(ours - {main})), *_images())


def _images() -> tuple[str, str]:
    """The operator's image and the bots'. Raises NotOursError where one is not named."""
    found = [os.environ.get(name, "") for name in ("OPERATOR_IMAGE", "BOT_IMAGE")]
    if not all(found):
        raise NotOursError("OPERATOR_IMAGE and BOT_IMAGE name the images; `make` sets them")
    return found[0], found[1]


def _labels_of_nodes(kubeconfig: Path) -> dict[str, dict[str, str]]:
    if not kubeconfig.is_file():
        raise NotOursError(
            f"there is no cluster of ours: {kubeconfig.relative_to(ROOT)} is missing; run `make kind-up`"
        )
    what = ["get", "nodes", "-o", "json", "--request-timeout=20s"]
    items = json.loads(_said(KUBECTL, f"--kubeconfig={kubeconfig}", *what))["items"]
    return {node["metadata"]["name"]: node["metadata"]["labels"] for node in items}


def up() -> None:
    """Make the cluster, and mark it as ours. Raises NotOursError where there is one of that name."""
    name, kubeconfig = _settings()
    if name in _said(_kind(), "get", "clusters").split():
        raise NotOursError(
            f"there is a kind cluster {name} already; `make kind-down`, or name another one with KIND_CLUSTER"
        )
    kubeconfig.parent.mkdir(parents=True, exist_ok=True)
    image = os.environ.get("KIND_NODE_IMAGE")
    options = [
        "--config",
        str(CONFIG),
        "--kubeconfig",
        str(kubeconfig),
        "--wait",
        "180s",
        *(["--image", image] if image else []),
    ]
    _run(_kind(), "create", "cluster", "--name", name, *options)
    _run(KUBECTL, f"--kubeconfig={kubeconfig}", "label", "nodes", "--all", f"{LABEL}={name}")
    _run(KUBECTL, f"--kubeconfig={kubeconfig}", "wait", "nodes", "--all", "--for=condition=Ready", "--timeout=120s")


def load() -> None:
    """Give our cluster its images."""
    cluster = owned()
    for image in (cluster.operator_image, cluster.bot_image):
        _run(_kind(), "load", "docker-image", "--name", cluster.name, image)


def down() -> None:
    """Delete our cluster; nodes that a test left paused go on first."""
    name, kubeconfig = _settings()
    paused = _said(
        "docker", "ps", "-q", "--filter", f"label=io.x-k8s.kind.cluster={name}", "--filter", "status=paused"
    ).split()
    if paused and kubeconfig.is_file():
        _run("docker", "unpause", *paused)
    cluster = owned()
    _run(_kind(), "delete", "cluster", "--name", cluster.name, "--kubeconfig", str(cluster.kubeconfig))
    cluster.kubeconfig.unlink(missing_ok=True)


def show_program() -> None:
    """Build kind, and print where it is."""
    print(program("kind"))


def _kind() -> str:
    on_path = None if os.environ.get("KIND") else shutil.which("kind")
    return on_path or str(program("kind"))


def _run(*command: str | Path) -> None:
    subprocess.run([str(part) for part in command], check=True)


def _said(*command: str | Path) -> str:
    done = subprocess.run([str(part) for part in command], check=False, capture_output=True, text=True)
    if done.returncode:
        raise NotOursError(f"{Path(command[0]).name} {command[1]} failed: {done.stderr.strip()}")
    return done.stdout


def main(arguments: list[str]) -> int:
    """Do what is asked; the exit code is 1, with a sentence, where that is refused or fails."""
    try:
        {"up": up, "load": load, "down": down, "program": show_program}[arguments[0]]()
    except (NotOursError, BuildError) as error:
        print(f"kind: {error}", file=sys.stderr)
        return 1
    except subprocess.CalledProcessError as error:
        print(
            f"kind: {Path(error.cmd[0]).name} {error.cmd[1]} ended with exit code {error.returncode}", file=sys.stderr
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
