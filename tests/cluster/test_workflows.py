"""What GitHub runs is sound, and covers what it has to."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import yaml

from tests.bed import gobuild
from tests.bed.tools import MODULES, program

ROOT = Path(__file__).parents[2]
JOBS = yaml.safe_load((ROOT / ".github" / "workflows" / "test.yaml").read_text())["jobs"]


def test_actionlint_finds_nothing() -> None:
    done = subprocess.run([program("actionlint")], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == ("", 0)


def test_every_target_that_it_makes_is_there() -> None:
    targets = set(re.findall(r"^([a-z-]+(?: [a-z-]+)*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    known = {name for each in targets for name in each.split()}
    steps = [step.get("run", "") for job in JOBS.values() for step in job["steps"]]
    made = {word for run in steps for call in re.findall(r"make ([a-z -]+)", run) for word in call.split()}
    assert {word for word in made if not word.startswith("-")} - known == set()
    assert {"test", "lint", "verify", "kind-up", "kind-load", "kind-test", "kind-down"} <= made


def test_the_stories_are_played_on_a_kubernetes_with_the_admission_policies_and_on_one_without() -> None:
    nodes = JOBS["kind"]["strategy"]["matrix"]["node"]
    assert all(re.fullmatch(r"kindest/node:v1\.[0-9]+\.[0-9]+@sha256:[0-9a-f]{64}", node) for node in nodes)
    minors = sorted(int(node.split(".")[1]) for node in nodes)
    assert minors[0] < 36 <= minors[1]
    assert gobuild.version(MODULES / "kind", "sigs.k8s.io/kind") == "v0.33.0", "the nodes' images belong to it"
    assert len(JOBS["test"]["strategy"]["matrix"]["python"]) == 2
