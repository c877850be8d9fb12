"""Every variant of the chart is taken by a real API server, strictly, and its pods by Pod Security `restricted`."""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio
import yaml

from tests.bed.chart import NAME
from tests.bed.controlplane import KubectlError
from tests.chart.conftest import VARIANTS, Object, Values

if TYPE_CHECKING:
    from tests.bed.bed import Bed

pytestmark = pytest.mark.bed

ACCOUNTS = (NAME, f"{NAME}-release", "single", "single-release", "somebody")


def served(kind: str, spec: Object) -> Object:
    """A CRD as the Prometheus Operator has it, of the fields that the chart writes."""
    plural = f"{kind.lower()}s"
    group = "monitoring.coreos.com"
    schema = {"type": "object", "properties": {"spec": {"type": "object", "properties": spec}}}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"kind": kind, "plural": plural},
            "versions": [version],
        },
    }


TEXT = {"type": "string"}
TEXTS = {"type": "object", "additionalProperties": TEXT}


def of(**fields: Object) -> Object:
    return {"type": "object", "properties": fields}


def many(item: Object) -> Object:
    return {"type": "array", "items": item}


RULE = of(alert=TEXT, expr=TEXT, labels=TEXTS, annotations=TEXTS, **{"for": TEXT}) | {"required": ["expr"]}
MONITORING = [
    served(
        "ServiceMonitor",
        {
            "selector": of(matchLabels=TEXTS),
            "endpoints": many(of(port=TEXT, path=TEXT, interval=TEXT, honorLabels={"type": "boolean"})),
        },
    ),
    served("PrometheusRule", {"groups": many(of(name=TEXT, interval=TEXT, rules=many(RULE)))}),
]


@pytest_asyncio.fixture(scope="module", autouse=True)
async def ground(bed: Bed) -> None:
    """What the variants need to be there: their namespaces, and who runs their pods."""
    restricted = {"pod-security.kubernetes.io/enforce": "restricted"}
    for name in (NAME, "shop", "lab"):
        metadata = {"name": name, "labels": restricted if name == NAME else {}}
        await bed.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
    for name in ACCOUNTS:
        metadata = {"name": name, "namespace": NAME}
        await bed.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata})
    await bed.apply(MONITORING)
    for crd in MONITORING:
        await bed.served(crd["metadata"]["name"])


def pods_of(objects: list[Object]) -> list[Object]:
    """A pod of each thing that makes pods."""
    return [
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "try", "namespace": NAME, "labels": each["spec"]["template"]["metadata"]["labels"]},
            "spec": each["spec"]["template"]["spec"],
        }
        for each in objects
        if each["kind"] in {"Deployment", "Job"}
    ]


@pytest.mark.parametrize("content", VARIANTS.values(), ids=VARIANTS.keys())
async def test_it_is_taken_strictly(content: Values, bed: Bed, rendered: Any) -> None:
    manifest = yaml.safe_dump_all(rendered(content, hooks=True))
    options = ("--server-side", "--validate=strict", "--dry-run=server", "--force-conflicts")
    said = await bed.apply(manifest, *options)
    assert "serverside-applied" in said
    assert "Warning" not in said


@pytest.mark.parametrize("content", VARIANTS.values(), ids=VARIANTS.keys())
async def test_its_pods_are_taken_where_pod_security_is_restricted(content: Values, bed: Bed, rendered: Any) -> None:
    pods = pods_of(rendered(content, hooks=True))
    assert len(pods) == (2 if content.get("releaseOnUninstall", {}).get("enabled", True) else 1)
    for pod in pods:
        await bed.kubectl("create", "--dry-run=server", "--filename=-", stdin=json.dumps(pod))


@pytest.mark.parametrize("field", ["runAsNonRoot", "seccompProfile"])
async def test_a_pod_that_is_less_careful_is_not_taken_there(field: str, bed: Bed, rendered: Any) -> None:
    pod = copy.deepcopy(pods_of(rendered({}))[0])
    del pod["spec"]["securityContext"][field]
    with pytest.raises(KubectlError, match=f'violates PodSecurity "restricted:latest": {field}'):
        await bed.kubectl("create", "--dry-run=server", "--filename=-", stdin=json.dumps(pod))


async def test_a_field_that_there_is_not_would_be_noticed(bed: Bed, rendered: Any) -> None:
    (service,) = [each for each in rendered({}) if each["kind"] == "Service"]
    service["spec"]["portz"] = 1
    with pytest.raises(KubectlError, match="portz"):
        await bed.apply(service, "--server-side", "--validate=strict", "--dry-run=server")
