"""The stories that have to come true wherever the operator is installed: `make kind-test` plays them with containers.

pytest tests/cluster                    # on the bed
pytest tests/cluster --cluster=kind     # on the cluster that `make kind-up kind-load` made
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.cluster.cluster import INSTALL
from tests.cluster.cluster import NAME as OPERATOR
from tests.cluster.story import NAME, Story

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.cluster.cluster import Cluster, Object

pytestmark = [pytest.mark.bed, pytest.mark.bots, pytest.mark.timeout(1200)]

EXAMPLES = Path(__file__).parents[2] / "examples"
WAR = "python-telegram-bot"  # the library of the bot that is deployed over itself
HOOK = "https://old.example.com/telegram"
# A node that is lost: its pods are given up five seconds later, not after the default's five minutes.
SOON = [
    {"key": f"node.kubernetes.io/{state}", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 5}
    for state in ("unreachable", "not-ready")
]


async def test_it_is_installed_by_one_command_and_a_bot_can_be_waited_for(cluster: Cluster, ns: str) -> None:
    story = await Story.begin(cluster, ns)
    await story.guard(template=story.template())
    await story.wait("Ready")
    await story.one_polls()
    shown = await story.kubectl("get", "telegrambots")
    assert shown.splitlines()[0].split() == ["NAME", "READY", "CONFLICT", "POD", "AGE", "REASON"]
    assert shown.splitlines()[1].split()[1:3] == ["True", "False"]


async def test_every_replica_answers_and_counts(cluster: Cluster) -> None:
    pods = await cluster.operators()
    assert len(pods) == 2
    for pod in pods:
        assert "telegrambot_operator_" in await cluster.page(pod, "/metrics")
        await cluster.page(pod, "/healthz")


async def test_the_redeploy_war_ends_with_one_poller(cluster: Cluster, ns: str) -> None:
    story = await Story.begin(cluster, ns)
    await story.deploy(story.template(WAR), replicas=3)

    async def war() -> bool:
        report = await story.report()
        return len(report.conflicts) >= 6 and len({each.poller for each in report.conflicts}) >= 2

    await cluster.until("the pods fight", war)
    await story.guard_by(EXAMPLES / "adopt.yaml", "shop")
    await story.says("Pinned", "True", "Pinned")
    uid = await story.settled()
    peace = (await story.report()).now
    await story.change("2")
    await story.changed(uid)
    report = await story.report()
    assert report.overlaps_since(peace) == []
    assert report.conflicts_since(peace) == []


async def roll_out(story: Story) -> None:
    await story.change("2")


async def delete_the_pod(story: Story) -> None:
    await story.kubectl("delete", "pod", "-l", f"app={NAME}", "--wait=false")


async def ask_for_two(story: Story) -> None:
    """And for another pod, so that there is one to wait for."""
    await story.scale(2)
    await story.change("2")


@pytest.mark.parametrize("deed", [roll_out, delete_the_pod, ask_for_two])
async def test_two_never_poll(cluster: Cluster, ns: str, deed: Callable[[Story], Awaitable[None]]) -> None:
    story = await Story.begin(cluster, ns)
    await story.deploy(story.template(), strategy="Recreate")
    await story.guard()
    uid = await story.settled()
    await deed(story)
    await story.changed(uid)
    await story.assert_never_two()


async def test_a_crash_loop_is_put_down_to_the_webhook_that_is_set(cluster: Cluster, ns: str) -> None:
    story = await Story.begin(cluster, ns)
    await cluster.set_webhook(story.bot, HOOK)
    await story.deploy(story.template(env={"ON_CONFLICT": "exit"}))
    await story.guard()
    said = await story.says("Conflicted", "True", "WebhookActive")
    assert "webhook" in said["message"]
    await cluster.set_webhook(story.bot, "")
    await story.settled()
    assert (await story.conditions())["Conflicted"]["status"] == "False"


async def test_nothing_second_starts_while_a_node_is_lost(cluster: Cluster, ns: str) -> None:
    story = await Story.begin(cluster, ns)
    node = cluster.losable[0]
    await story.guard(lock="Gate", template=story.template(tolerations=SOON, affinity=prefers(node)))
    await story.settled()
    (before,) = await story.pods()
    assert before["spec"]["nodeName"] == node
    await cluster.have_one_elsewhere(node)
    await cluster.lose(node)
    await cluster.kubectl("wait", f"node/{node}", "--for=condition=Ready=Unknown", "--timeout=240s")

    async def held() -> bool:
        pods = {each["metadata"]["uid"]: each for each in await story.pods()}
        given_up = "deletionTimestamp" in pods.pop(before["metadata"]["uid"])["metadata"]
        return given_up and [each["spec"].get("nodeName") for each in pods.values()] == [None]

    await cluster.until("the old pod is given up, and a new one is held", held)
    await story.says("Ready", "False", "WaitingForTurn")
    assert await held()
    await cluster.find(node)
    await cluster.kubectl("wait", f"node/{node}", "--for=condition=Ready", "--timeout=240s")
    assert await story.settled() != before["metadata"]["uid"]
    await story.assert_never_two()


def prefers(node: str) -> Object:
    """The affinity of a pod that goes to this node if it can."""
    term = {"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}
    preferred = {"weight": 100, "preference": {"matchExpressions": [term]}}
    return {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [preferred]}}


async def test_another_replica_takes_over_from_a_leader_that_is_killed(cluster: Cluster, ns: str) -> None:
    story = await Story.begin(cluster, ns)
    await story.deploy(story.template(), strategy="Recreate")
    await story.guard()
    uid = await story.settled()
    leader = await cluster.leader()
    await cluster.kill(next(pod for pod in await cluster.operators() if f"/{pod['metadata']['name']}_" in leader))
    await ask_for_two(story)
    await story.changed(uid)

    async def another() -> bool:
        return await cluster.leader() not in {"", leader}

    await cluster.until("another leads", another)
    await story.assert_never_two()


@pytest.mark.usefixtures("policies")
async def test_with_the_policies_nothing_restarts_and_an_apply_of_three_leaves_one(cluster: Cluster, ns: str) -> None:
    story = await Story.begin(cluster, ns)
    await story.deploy(story.template())
    uid = await story.changed("", guarded=False)
    await story.guard()

    async def at_admission() -> bool:
        pinned = (await story.conditions()).get("Pinned", {})
        return pinned.get("status") == "True" and "at admission" in pinned["message"]

    await cluster.until("it is pinned at admission", at_admission)
    await story.deploy(story.template(), replicas=3)
    spec = (await story.deployment())["spec"]
    assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})
    assert await story.settled() == uid
    await delete_the_pod(story)
    await story.changed(uid)
    await story.assert_never_two()


async def test_all_examples_are_taken_and_answered(cluster: Cluster, ns: str) -> None:
    """Without their pods: the images are nobody's, and a kubelet that pulls one lets no pod of it go for minutes."""
    await cluster.kubectl("-n", ns, "create", "quota", "no-pods", "--hard=pods=0")
    await cluster.kubectl("-n", ns, "apply", "-f", str(EXAMPLES))

    async def answered() -> bool:
        bots = (await cluster.get("telegrambots", "-n", ns))["items"]
        return len(bots) > 5 and all(each.get("status", {}).get("conditions") for each in bots)

    await cluster.until("every TelegramBot has its conditions", answered)


async def test_uninstalling_lets_go_of_every_bot(cluster: Cluster, ns: str) -> None:
    story = await Story.begin(cluster, ns)
    await story.deploy(story.template())
    await story.guard()
    uid = await story.settled()

    async def others_are_over() -> bool:
        guarded = (await cluster.get("deployments", "-A", "-l", "singleton.bot/name"))["items"]
        return all(each["metadata"]["namespace"] == ns for each in guarded)

    await cluster.until("the bots of other stories are gone", others_are_over)
    await cluster.assert_no_token_logged()
    code, said = await cluster.command("release", "--all", "--stop", f"deployment/{OPERATOR}")
    assert code == 0, said
    await cluster.kubectl("delete", "-f", str(INSTALL), "-l", "app.kubernetes.io/component!=crd")
    await story.changed(uid, guarded=False)
    assert "singleton.bot" not in str((await story.deployment())["spec"]["template"])
    await story.assert_never_two()
