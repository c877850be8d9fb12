"""Helm, and the variants of the chart that people install."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio
import yaml

from tests.bed.bed import Bed
from tests.bed.chart import render
from tests.bed.tools import program

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

Object = dict[str, Any]
Values = dict[str, Any]

HARD = {"whenUnsatisfiable": "DoNotSchedule", "maxSkew": 1, "topologyKey": "topology.kubernetes.io/zone"}
VARIANTS: dict[str, Values] = {
    "as it is": {},
    "named namespaces": {"namespaces": ["shop", "lab"]},
    "named namespaces and cluster reads": {
        "namespaces": ["shop"],
        "clusterReads": True,
        "admissionPolicy": True,
    },
    "named namespaces without Secrets": {"namespaces": ["shop"], "secretAccess": False},
    "without Secrets": {"secretAccess": False},
    "admission policies": {"admissionPolicy": True},
    "without CRDs": {"installCRDs": False},
    "one replica, nothing more": {
        "replicas": 1,
        "podDisruptionBudget": {"enabled": False},
        "releaseOnUninstall": {"enabled": False},
        "resources": {"requests": None, "limits": None},
    },
    "image by digest": {
        "image": {"repository": "registry.example.com:5000/bots/operator", "digest": f"sha256:{'a' * 64}"},
        "imagePullSecrets": [{"name": "pull"}],
    },
    "image by tag": {"image": {"tag": "1.2.3-rc.1", "pullPolicy": "Always"}},
    "JSON logs, a Bot API of its own, and a proxy": {
        "logFormat": "json",
        "telegramApiUrl": "http://telegram.bots.svc:8081/api",
        "networkPolicy": {"enabled": True},
        "extraEnv": [
            {"name": "HTTPS_PROXY", "value": "http://proxy.example.com:3128"},
            {"name": "NO_PROXY", "valueFrom": {"configMapKeyRef": {"name": "proxy", "key": "none"}}},
        ],
    },
    "closed network": {
        "networkPolicy": {
            "enabled": True,
            "metricsFrom": [
                {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}},
                {"ipBlock": {"cidr": "10.0.0.0/8"}},
            ],
            "egressPorts": [6443],
        },
    },
    "monitored": {"serviceMonitor": {"enabled": True, "interval": "1m", "labels": {"release": "prometheus"}}}
    | {"prometheusRule": {"enabled": True, "labels": {"release": "prometheus"}}},
    "placed": {
        "nodeSelector": {"kubernetes.io/os": "linux"},
        "tolerations": [{"key": "node-role.kubernetes.io/control-plane", "operator": "Exists", "effect": "NoSchedule"}],
        "affinity": {"nodeAffinity": {}},
        "topologySpreadConstraints": [HARD | {"labelSelector": {"matchLabels": {"app.kubernetes.io/name": "x"}}}],
        "priorityClassName": "system-cluster-critical",
        "terminationGracePeriodSeconds": 60,
        "podLabels": {"team": "bots"},
        "podAnnotations": {"example.com/note": "yes: {all}"},
    },
    "as the user that the cluster chooses": {"runAsUser": None},
    "named by its user": {
        "fullnameOverride": "single",
        "serviceAccount": {"create": False, "name": "somebody"},
        "leaderElection": {"namespace": "default"},
    },
}


@pytest.fixture(scope="session")
def helm() -> Path:
    """The real Helm."""
    return program("helm")


@pytest.fixture
def values(tmp_path: Path) -> Callable[[Values], str]:
    """Writes values into a file, and gives the option that names it."""

    def write(content: Values) -> str:
        path = tmp_path / "values.yaml"
        path.write_text(json.dumps(content))
        return f"--values={path}"

    return write


@pytest.fixture(scope="session")
def known() -> dict[str, str]:
    """What has been rendered so far: several tests look at one variant."""
    return {}


@pytest.fixture
def rendered(helm: Path, values: Callable[[Values], str], known: dict[str, str]) -> Callable[..., list[Object]]:
    """The objects that Helm makes of some values."""

    def objects(content: Values, **more: Any) -> list[Object]:
        key = json.dumps([content, more])
        if key not in known:
            known[key] = render(helm, values(content), **more)
        return [each for each in yaml.safe_load_all(known[key]) if each]

    return objects


@pytest.fixture
def refused(helm: Path, values: Callable[[Values], str]) -> Callable[..., str]:
    """What Helm says of values that it does not take."""

    def why(content: Values, *options: str) -> str:
        with pytest.raises(subprocess.CalledProcessError) as error:
            render(helm, values(content), *options)
        return str(error.value.stderr)

    return why


@pytest_asyncio.fixture(scope="module")
async def bed() -> AsyncIterator[Bed]:
    """A bed for one module: an empty cluster, into which the CRD comes with the chart."""
    async with Bed.start(nodes=2, crd=False) as bed:
        yield bed


class Helm:
    """Helm against the bed, with folders of its own."""

    def __init__(self, program: Path, bed: Bed, folder: Path) -> None:
        self._program = program
        self._env = {
            "PATH": os.environ["PATH"],
            "KUBECONFIG": str(bed.cp.kubeconfig),
            **{f"HELM_{each}_HOME": str(folder / each) for each in ("CACHE", "CONFIG", "DATA")},
        }

    async def __call__(self, *arguments: object, code: int = 0) -> str:
        """Run it, and return what it printed."""
        ended, said = await run(self._program, *arguments, env=self._env)
        assert ended == code, said
        return said


@pytest.fixture
def on_bed(helm: Path, bed: Bed, tmp_path: Path) -> Helm:
    """Helm against the bed."""
    return Helm(helm, bed, tmp_path)


async def run(*command: object, env: dict[str, str] | None = None) -> tuple[int, str]:
    """Run a program to its end; returns its exit code and what it printed."""
    process = await asyncio.create_subprocess_exec(
        *map(str, command), env=env, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    said, _ = await process.communicate()
    return process.returncode or 0, said.decode()
