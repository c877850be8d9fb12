"""What the chart makes of its values, by the real Helm; no API server is needed for it."""

from __future__ import annotations

import subprocess
import tomllib
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.bed.chart import CHART, COPIES, NAME, ROOT, manifests
from tests.chart.conftest import VARIANTS, Object, Values

if TYPE_CHECKING:
    from pathlib import Path

NONSENSE: dict[str, tuple[Values, str]] = {
    "a value that there is not": ({"replica": 2}, "additional properties 'replica' not allowed"),
    "a value that there is not, deeper": (
        {"image": {"name": "x"}},
        "at '/image': additional properties 'name' not allowed",
    ),
    "no replica": ({"replicas": 0}, "at '/replicas': minimum: got 0, want 1"),
    "replicas that are no number": ({"replicas": "two"}, "at '/replicas': got string, want integer"),
    "a namespace that is none": ({"namespaces": ["Shop"]}, "at '/namespaces/0': 'Shop' does not match pattern"),
    "a namespace twice": ({"namespaces": ["a", "a"]}, "at '/namespaces': items at 0 and 1 are equal"),
    "namespaces as one text": ({"namespaces": "shop"}, "at '/namespaces': got string, want array"),
    "a boolean as text": ({"secretAccess": "yes"}, "at '/secretAccess': got string, want boolean"),
    "another log format": ({"logFormat": "xml"}, "at '/logFormat': value must be one of 'text', 'json'"),
    "a Bot API without a scheme": (
        {"telegramApiUrl": "telegram"},
        "at '/telegramApiUrl': 'telegram' does not match pattern",
    ),
    "the address of a call": (
        {"telegramApiUrl": "https://api.telegram.org/bot1:x/getMe"},
        "telegramApiUrl: this is the address of a call, with a token in it; give the base",
    ),
    "a digest that is none": (
        {"image": {"digest": "sha256:12"}},
        "at '/image/digest': 'sha256:12' does not match pattern",
    ),
    "a tag within the repository": ({"image": {"repository": "x@y"}}, "at '/image/repository': 'x@y' does not match"),
    "latest, kept by each node": (
        {"image": {"tag": "latest"}},
        "image.tag: with latest and pullPolicy IfNotPresent each node",
    ),
    "another pull policy": ({"image": {"pullPolicy": "Sometimes"}}, "at '/image/pullPolicy': value must be one of"),
    "an environment variable without a name": (
        {"extraEnv": [{"value": "x"}]},
        "at '/extraEnv/0': missing property 'name'",
    ),
    "an environment variable that is a number": (
        {"extraEnv": [{"name": "X", "value": 1}]},
        "at '/extraEnv/0/value': got number, want string",
    ),
    "an environment variable of the chart": (
        {"extraEnv": [{"name": "TELEGRAM_API_URL", "value": "http://x"}]},
        "extraEnv: TELEGRAM_API_URL is set by the chart; leave it out, and use telegramApiUrl",
    ),
    "an environment variable with two values": (
        {"extraEnv": [{"name": "X", "value": "1", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]},
        "extraEnv: X has both value and valueFrom; leave one out.",
    ),
    "an amount that is none": ({"resources": {"limits": {"memory": "lots"}}}, "at '/resources/limits/memory'"),
    "a budget that blocks every drain": (
        {"podDisruptionBudget": {"maxUnavailable": 0}},
        "at '/podDisruptionBudget/maxUnavailable'",
    ),
    "a port that is none": ({"networkPolicy": {"egressPorts": [70000]}}, "at '/networkPolicy/egressPorts/0': maximum"),
    "a network without a way out": (
        {"networkPolicy": {"egressPorts": []}},
        "at '/networkPolicy/egressPorts': minItems",
    ),
    "an interval that is none": (
        {"serviceMonitor": {"interval": "often"}},
        "at '/serviceMonitor/interval': 'often' does",
    ),
    "root": ({"runAsUser": 0}, "at '/runAsUser': minimum: got 0, want 1"),
    "no time to stop": ({"terminationGracePeriodSeconds": 0}, "at '/terminationGracePeriodSeconds': minimum: got 0"),
    "a ServiceAccount that nobody names": (
        {"serviceAccount": {"create": False}},
        "serviceAccount.name: name the one that exists, or set serviceAccount.create to true.",
    ),
    "policies that the operator cannot see": (
        {"namespaces": ["shop"], "admissionPolicy": True},
        "with `namespaces` set clusterReads to true as well, or admissionPolicy to false.",
    ),
    "reads that it may do anyway": (
        {"clusterReads": True},
        "clusterReads: without `namespaces` the operator's ClusterRole",
    ),
}


def of_kind(objects: list[Object], *kinds: str) -> list[Object]:
    return [each for each in objects if each["kind"] in kinds]


def container_of(objects: list[Object]) -> Object:
    (deployment,) = of_kind(objects, "Deployment")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    found: Object = container
    return found


def rules_of(objects: list[Object]) -> list[Object]:
    return [rule for each in of_kind(objects, "Role", "ClusterRole") for rule in each["rules"]]


def grants(objects: list[Object], resource: str) -> set[str]:
    return {verb for rule in rules_of(objects) if resource in rule["resources"] for verb in rule["verbs"]}


class TestTheChart:
    def test_helm_finds_nothing_to_say_against_it(self, helm: Path) -> None:
        done = subprocess.run([helm, "lint", "--strict", CHART], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "[WARNING]" not in done.stdout

    def test_it_installs_this_version_of_the_operator(self) -> None:
        chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
        version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
        assert (chart["appVersion"], chart["version"]) == (version, version)

    def test_what_is_rendered_from_it_is_up_to_date(self, helm: Path) -> None:
        stale = [str(path) for path, text in manifests(helm).items() if path.read_text() != text]
        stale += [str(copy) for source, copy in COPIES.items() if copy.read_text() != source.read_text()]
        assert not stale, f"run `make generate` for {', '.join(stale)}"

    def test_the_manifests_for_kubectl_are_what_helm_installs_and_the_namespace(self, rendered: Any) -> None:
        namespace, *rest = yaml.safe_load_all((ROOT / "deploy" / "install.yaml").read_text())
        assert namespace["kind"] == "Namespace"
        assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
        assert rest == rendered({})

    @pytest.mark.parametrize(("content", "why"), NONSENSE.values(), ids=NONSENSE.keys())
    def test_nonsense_is_refused_with_the_name_of_the_value(self, content: Values, why: str, refused: Any) -> None:
        assert why in " ".join(refused(content).split())

    def test_policies_are_refused_where_the_cluster_does_not_know_them(self, refused: Any) -> None:
        why = refused({"admissionPolicy": True}, "--kube-version=1.35.0")
        assert (
            "admissionPolicy: this needs Kubernetes 1.36 or newer, and the cluster is v1.35.0: set it to false." in why
        )

    def test_every_value_is_in_the_schema_and_the_other_way_round(self) -> None:
        values = yaml.safe_load((CHART / "values.yaml").read_text())
        schema = yaml.safe_load((CHART / "values.schema.json").read_text())
        assert set(schema["properties"]) - {"global"} == set(values)


@pytest.mark.parametrize("content", VARIANTS.values(), ids=VARIANTS.keys())
class TestEveryVariant:
    def test_no_right_is_for_everything(self, content: Values, rendered: Any) -> None:
        rules = rules_of(rendered(content, hooks=True))
        assert rules
        assert not [rule for rule in rules if "*" in {*rule["apiGroups"], *rule["resources"], *rule["verbs"]}]
        assert not [rule for rule in rules if "nonResourceURLs" in rule]

    def test_secrets_are_never_listed_and_no_command_is_run_in_a_pod(self, content: Values, rendered: Any) -> None:
        objects = rendered(content, hooks=True)
        assert grants(objects, "secrets") == ({"get"} if content.get("secretAccess", True) else set())
        for resource in ("pods/exec", "pods/attach", "pods/portforward", "serviceaccounts/token"):
            assert not grants(objects, resource)

    def test_with_named_namespaces_there_is_no_cluster_role(self, content: Values, rendered: Any) -> None:
        objects = rendered(content, hooks=True)
        roles = of_kind(objects, "ClusterRole", "ClusterRoleBinding")
        assert bool(roles) == ("namespaces" not in content or content.get("clusterReads", False))
        if roles and "namespaces" in content:
            assert {resource for rule in roles[0]["rules"] for resource in rule["resources"]} == {
                "nodes",
                "mutatingadmissionpolicies",
                "mutatingadmissionpolicybindings",
                "validatingadmissionpolicies",
                "validatingadmissionpolicybindings",
            }

    def test_whoever_lets_go_may_stop_the_operator_and_change_nothing_else_of_it(
        self, content: Values, rendered: Any
    ) -> None:
        hooks = [each for each in rendered(content, hooks=True) if "annotations" in each["metadata"]]
        rules = list(rules_of([each for each in hooks if "helm.sh/hook" in each["metadata"]["annotations"]]))
        (name,) = {each["metadata"]["name"] for each in of_kind(rendered(content), "Deployment")}
        scale = [rule for rule in rules if "deployments/scale" in rule["resources"]]
        enabled = content.get("releaseOnUninstall", {}).get("enabled", True)
        assert [(rule["resourceNames"], rule["verbs"]) for rule in scale] == ([([name], ["patch"])] if enabled else [])
        verbs = {verb for rule in rules for verb in rule["verbs"]}
        assert verbs <= {"get", "list", "patch", "create"}
        assert {tuple(rule["resources"]) for rule in rules if "create" in rule["verbs"]} <= {("leases",)}

    def test_each_object_says_what_it_belongs_to(self, content: Values, rendered: Any) -> None:
        labels = [each["metadata"]["labels"] for each in rendered(content)]
        assert {each["app.kubernetes.io/part-of"] for each in labels} == {NAME}

    def test_services_and_budgets_select_the_pods(self, content: Values, rendered: Any) -> None:
        objects = rendered(content)
        (deployment,) = of_kind(objects, "Deployment")
        labels = deployment["spec"]["template"]["metadata"]["labels"].items()
        selectors = [
            deployment["spec"]["selector"]["matchLabels"],
            *(each["spec"]["selector"] for each in of_kind(objects, "Service")),
            *(each["spec"]["selector"]["matchLabels"] for each in of_kind(objects, "PodDisruptionBudget")),
            *(each["spec"]["podSelector"]["matchLabels"] for each in of_kind(objects, "NetworkPolicy")),
        ]
        assert all(selector.items() <= labels for selector in selectors)
        for monitor in of_kind(objects, "ServiceMonitor"):
            (service,) = of_kind(objects, "Service")
            assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()


class TestValues:
    def test_namespaces_are_arguments_and_roles(self, rendered: Any) -> None:
        objects = rendered({"namespaces": ["shop", "lab"]})
        arguments = container_of(objects)["args"]
        assert [each for each in arguments if "--namespace" in each] == ["--namespace=shop", "--namespace=lab"]
        assert f"--leader-elect-namespace={NAME}" in arguments
        assert {each["metadata"]["namespace"] for each in of_kind(objects, "Role")} == {"shop", "lab", NAME}

    def test_the_election_of_a_cluster_is_in_one_place_for_all_installations(self, rendered: Any) -> None:
        objects = rendered({})
        assert "--leader-elect-namespace=kube-system" in container_of(objects)["args"]
        (role,) = [each for each in of_kind(objects, "Role") if each["metadata"]["namespace"] == "kube-system"]
        assert [rule["resourceNames"] for rule in role["rules"]] == [["telegrambot-operator"]]

    def test_a_digest_goes_before_a_tag(self, rendered: Any) -> None:
        digest = f"sha256:{'a' * 64}"
        image = {"repository": "registry.example.com:5000/x", "tag": "1.2.3", "digest": digest}
        assert container_of(rendered({"image": image}))["image"] == f"registry.example.com:5000/x@{digest}"
        image.pop("digest")
        assert container_of(rendered({"image": image}))["image"] == "registry.example.com:5000/x:1.2.3"

    def test_the_environment_is_what_is_asked_for(self, rendered: Any) -> None:
        content = VARIANTS["JSON logs, a Bot API of its own, and a proxy"]
        container = container_of(rendered(content))
        assert "--log-format=json" in container["args"]
        environment = {each["name"]: each.get("value") for each in container["env"]}
        assert environment == {
            "OPERATOR_NAMESPACE": None,
            "TELEGRAM_API_URL": "http://telegram.bots.svc:8081/api",
            "HTTPS_PROXY": "http://proxy.example.com:3128",
            "NO_PROXY": None,
        }

    def test_a_network_policy_leaves_the_way_to_the_bot_api_open(self, rendered: Any) -> None:
        for url, port in (
            ("http://telegram.bots.svc:8081/api", 8081),
            ("http://telegram.bots.svc", 80),
            ("https://telegram.example.com", 443),
            ("https://[2001:db8::1]:8443", 8443),
        ):
            objects = rendered({"networkPolicy": {"enabled": True, "egressPorts": [6443]}, "telegramApiUrl": url})
            (policy,) = of_kind(objects, "NetworkPolicy")
            assert {each["port"] for each in policy["spec"]["egress"][1]["ports"]} == {6443, port}

    def test_the_cluster_may_choose_the_user(self, rendered: Any) -> None:
        for content, user in (({}, 65532), ({"runAsUser": None}, None), ({"runAsUser": 1000}, 1000)):
            (deployment,) = of_kind(rendered(content), "Deployment")
            security = deployment["spec"]["template"]["spec"]["securityContext"]
            assert (security["runAsNonRoot"], security.get("runAsUser")) == (True, user)

    def test_the_crd_is_kept_and_may_be_left_out(self, rendered: Any) -> None:
        (crd,) = of_kind(rendered({}), "CustomResourceDefinition")
        assert crd["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"
        generated = yaml.safe_load(next(iter(COPIES)).read_text())
        assert crd["spec"] == generated["spec"]
        assert not of_kind(rendered({"installCRDs": False}), "CustomResourceDefinition")

    def test_the_alert_rules_are_those_of_the_monitoring_folder(self, rendered: Any) -> None:
        (rule,) = of_kind(rendered({"prometheusRule": {"enabled": True}}), "PrometheusRule")
        assert rule["spec"] == yaml.safe_load((ROOT / "deploy" / "monitoring" / "alerts.yaml").read_text())

    def test_another_release_has_other_names(self, rendered: Any) -> None:
        (deployment,) = of_kind(rendered({}, release="second"), "Deployment")
        assert deployment["metadata"]["name"] == f"second-{NAME}"
