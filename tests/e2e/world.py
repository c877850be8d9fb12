"""One bot in one namespace: the manifests a user would write, the deeds a user does, and what the referee saw.

world = await World.make(bed, ns, adopt=True)
await world.guarded()                      # the Deployment runs, the TelegramBot is applied and Ready
await DEEDS["rollback A-B-A"](world)
await world.settled()                      # one process, ready, polling, and nothing left to do
world.assert_never_two()
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from tests.apiserver.admission import TABLE

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from contextlib import AbstractAsyncContextManager

    from tests.bed.bed import Bed, Operator
    from tests.bed.telegram import Bot, Poll

Object = dict[str, Any]
Operate: TypeAlias = "Callable[..., AbstractAsyncContextManager[Operator]]"  # the fixture `operate`

NAME = "telegram-bot"  # of the Deployment, as in the story that began all this
CLEAR = 3  # seconds without a 409 until the condition clears; the default's 300 are longer than a test waits
SLOW = "2"  # seconds that a bot polls on after SIGTERM: long enough for two to meet if anything lets them


@dataclass
class World:
    """A namespace with one bot. `adopt`: the user has the Deployment; else the TelegramBot owns it.

    `kind`: what runs the bot where nothing guards it. `pod`: more of the pod's spec, as users have it.
    """

    bed: Bed
    ns: str
    bot: Bot
    adopt: bool
    spec: Object = field(default_factory=dict)
    env: dict[str, str] = field(default_factory=lambda: {"STOP_SECONDS": SLOW, "POLL_SECONDS": "2"})
    image: str = "bots/raw"
    grace: int = 10
    kind: Literal["Deployment", "StatefulSet"] = "Deployment"
    pod: Object = field(default_factory=dict)

    @classmethod
    async def make(cls, bed: Bed, ns: str, *, adopt: bool = True, token: bool = True, **more: Any) -> World:
        """A namespace with the bot's Secret and nothing else yet; `more` sets fields, and `spec` what is asked for."""
        world = cls(bed, ns, bed.telegram.new_bot(), adopt, **more)
        await bed.secret(ns, "shop-bot", token=world.bot.token)
        world.spec = {"conflict": {"clearAfterSeconds": CLEAR}, **world.spec}
        if token:
            world.spec = {"token": {"secretKeyRef": {"name": "shop-bot", "key": "token"}}, **world.spec}
        return world

    @property
    def deployment(self) -> str:
        """The name of its Deployment."""
        return NAME if self.adopt else "shop"

    @property
    def workload(self) -> str:
        """What runs the bot, as kubectl takes it."""
        return f"{self.kind.lower()}/{self.deployment}"

    def template(self, **env: str) -> Object:
        """The pod template, as a user writes it."""
        return {
            "metadata": {"labels": {"app": "telegram-bot"}},
            "spec": {"terminationGracePeriodSeconds": self.grace, **self.pod, "containers": [self.container(**env)]},
        }

    def container(self, **env: str) -> Object:
        """Its one container."""
        secret = {"secretKeyRef": {"name": "shop-bot", "key": "token"}}
        variables = [{"name": name, "value": value} for name, value in {**self.env, **env}.items()]
        return {"name": "bot", "image": self.image, "env": [{"name": "BOT_TOKEN", "valueFrom": secret}, *variables]}

    def plain(self, **spec: Any) -> Object:
        """A Deployment of that template, with what Kubernetes does by default unless `spec` says otherwise."""
        return {
            "apiVersion": "apps/v1",
            "kind": self.kind,
            "metadata": {"name": NAME, "namespace": self.ns, "labels": {"app": "telegram-bot"}},
            "spec": {"selector": {"matchLabels": {"app": "telegram-bot"}}, "template": self.template(), **spec},
        }

    def resource(self, name: str = "shop", **env: str) -> Object:
        """The TelegramBot."""
        carrier: Object = {"deploymentRef": {"name": NAME}} if self.adopt else {"template": self.template(**env)}
        return {
            "apiVersion": "singleton.bot/v1alpha1",
            "kind": "TelegramBot",
            "metadata": {"name": name, "namespace": self.ns},
            "spec": {**carrier, **self.spec},
        }

    async def guarded(self) -> None:
        """Apply everything, and wait until the bot is Ready under the operator's guard."""
        if self.adopt:
            await self.bed.apply(self.plain())
        await self.bed.apply(self.resource())
        await self.settled()

    # --- What there is ------------------------------------------------------------------------------------------

    async def kubectl(self, *arguments: str, **more: Any) -> str:
        """Run kubectl in the namespace."""
        return await self.bed.kubectl("-n", self.ns, *arguments, **more)

    async def status(self, name: str = "shop") -> Object:
        """The TelegramBot's status; empty when there is none yet."""
        found = await self.bed.get("telegrambot", name, self.ns)
        status: Object = (found or {}).get("status", {})
        return status

    async def condition(self, kind: str, name: str = "shop") -> Object:
        """One condition of the TelegramBot; empty when it is not there yet."""
        conditions = (await self.status(name)).get("conditions", [])
        return next((each for each in conditions if each["type"] == kind), {})

    async def says(self, kind: str, status: str, reason: str = "", *, text: str = "", name: str = "shop") -> Object:
        """Wait until a condition says this, and return it."""
        seen: Object = {}

        async def said() -> bool:
            seen.update(await self.condition(kind, name))
            fits = seen.get("status") == status and reason in {"", seen["reason"]}
            return fits and text in seen["message"]

        try:
            await self.bed.until(said, what=f"{kind}={status} {reason} {text}")
        except Exception as error:
            error.add_note(f"it says: {json.dumps(await self.status(name), indent=1)}")
            raise
        return seen

    async def pods(self) -> list[Object]:
        """The bot's pods, those in Terminating included."""
        return await self.bed.pods(self.ns, "app=telegram-bot")

    async def deployed(self) -> Object:
        """The Deployment. Raises LookupError when there is none."""
        found = await self.bed.get(self.kind, self.deployment, self.ns)
        if found is None:
            raise LookupError(f"no {self.kind} {self.deployment}")
        return found

    async def one_runs(self) -> bool:
        """Whether one pod is left and ready, its process is the only one, and Kubernetes has acted on every change."""
        pods = await self.pods()
        deployment = await self.bed.get(self.kind, self.deployment, self.ns)
        done = deployment is not None and (
            deployment.get("status", {}).get("observedGeneration", 0) >= deployment["metadata"]["generation"]
        )
        return done and len(pods) == 1 and is_ready(pods[0]) and len(self.bed.alive(self.bot)) == 1

    async def settled(self) -> None:
        """Wait until one pod is left and ready, its process is the only one and polls, and the resource says so."""
        await self.settled_as("shop")

    async def settled_as(self, name: str) -> None:
        """The same, of a TelegramBot with another name."""

        # A kubelet gets a minute after its node was lost, or has come up, before it counts as knowing what it missed.
        await self.bed.until(self.one_runs, patience=150.0, what=f"one pod in {self.ns}")
        await self.says("Ready", "True", name=name)
        await self.says("Reconciling", "False", name=name)
        sessions = {each.pid for each in self.bed.alive(self.bot)}
        await self.bot.until(lambda: any(poll.session in sessions for poll in self.bot.polling_now()))

    async def rested(self) -> None:
        """Wait until the cluster has done by itself what it does, without an operator: nothing ends, something runs."""

        async def at_rest() -> bool:
            deployment, pods = await self.deployed(), await self.pods()
            acted = deployment["status"]["observedGeneration"] >= deployment["metadata"]["generation"]
            ending = any("deletionTimestamp" in pod["metadata"] for pod in pods)
            return acted and not ending and any(is_ready(pod) for pod in pods)

        await self.bed.until(at_rest, what="a world at rest")

    async def pinned(self) -> None:
        """Wait until the Deployment has one replica, Recreate and the lock."""

        async def is_pinned() -> bool:
            spec = (await self.deployed())["spec"]
            return spec["replicas"] == 1 and spec["strategy"] == {"type": "Recreate"} and bool(locks(spec))

        await self.bed.until(is_pinned, what="a pinned Deployment")

    async def lock_table(self) -> dict[str, str]:
        """What the lock table of the admission policies says."""
        found = await self.bed.kube.get("configmaps", self.ns, TABLE)
        return dict((found or {}).get("data") or {})

    async def by_admission(self) -> None:
        """Wait until the bot is guarded and everything stands in the table, the number of pods too."""
        await self.says("Pinned", "True", "Pinned", text="at admission")

        async def entered() -> bool:
            return " 1 shop" in (await self.lock_table()).get(NAME, "")

        await self.bed.until(entered, what="an entry that pins")
        await self.settled()

    async def runs_alone(self) -> bool:
        """Whether there is one pod, ready, and one process."""
        pods = await self.pods()
        return len(pods) == 1 and is_ready(pods[0]) and len(self.bed.alive(self.bot)) == 1

    async def all_said(self) -> str:
        """Everything that the operator has written where a reader of the namespace can read it."""
        resource = await self.kubectl("get", "tgbot", "shop", "-o", "json")
        events = await self.kubectl("get", "events", "-o", "json")
        return resource + events

    def operator_polls(self) -> list[Poll]:
        """What operators have asked Telegram for updates."""
        return [poll for poll in self.bot.polls if poll.client.user_agent == "telegrambot-operator"]

    def assert_never_two(self) -> None:
        """Neither the process table nor Telegram ever saw two at once, and no operator has polled."""
        assert self.bed.overlaps(self.bot) == []
        assert self.bot.conflicts == []
        assert self.operator_polls() == []

    # --- What users do ------------------------------------------------------------------------------------------

    async def change(self, **env: str) -> None:
        """Roll out another version: `kubectl set env` on the own Deployment, an edit of the TelegramBot otherwise."""
        if self.adopt:
            await self.kubectl("set", "env", self.workload, *(f"{name}={value}" for name, value in env.items()))
        else:
            await self.bed.apply(self.resource(**env))

    async def patch(self, spec: Object) -> None:
        """Change the Deployment's spec behind everybody's back."""
        await self.kubectl("patch", self.workload, "--type=merge", "-p", json.dumps({"spec": spec}, default=str))

    async def scale(self, replicas: int) -> None:
        """Scale the Deployment."""
        await self.kubectl("scale", self.workload, f"--replicas={replicas}")

    async def only_pod(self) -> Object:
        """The one pod."""
        (pod,) = await self.pods()
        return pod

    async def a_second_older(self) -> None:
        """Wait until what is made now is younger than the TelegramBot: Kubernetes keeps ages in whole seconds."""
        shop = await self.bed.kube.get("telegrambots", self.ns, "shop") or {}
        made = datetime.fromisoformat(shop["metadata"]["creationTimestamp"])
        await self.bed.until(lambda: datetime.now(UTC) >= made + timedelta(seconds=1), what="the next second")

    async def edit(self, **spec: Any) -> None:
        """Merge-patch the TelegramBot's spec."""
        await self.kubectl("patch", "tgbot", "shop", "--type=merge", "-p", json.dumps({"spec": spec}))


def is_ready(pod: Object) -> bool:
    """Whether a pod is Ready and not on its way out."""
    conditions = pod["status"].get("conditions", [])
    ready = any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)
    return ready and "deletionTimestamp" not in pod["metadata"]


def locks(spec: Object) -> list[Object]:
    """The lock's terms among a Deployment's anti-affinity terms."""
    anti = spec["template"]["spec"].get("affinity", {}).get("podAntiAffinity", {})
    terms = anti.get("requiredDuringSchedulingIgnoredDuringExecution", [])
    return [term for term in terms if "singleton.bot/bot" in term["labelSelector"].get("matchLabels", {})]


# How the operator logs an error that nobody foresaw; a traceback is there only with --verbose.
UNFORESEEN = ("Traceback", "the pass failed", "listening failed", "a part of the operator failed")


def assert_healthy(operator: Operator) -> None:
    """Whatever happened, the operator foresaw it."""
    log = operator.log_text()
    assert not [words for words in UNFORESEEN if words in log], log


def stray(world: World, node: str | None = None, **more: Any) -> Object:
    """A pod made by hand with the label and the token, without the lock; with `node` it passes the scheduler by."""
    template = world.template()
    if node:
        template["spec"]["nodeName"] = node
    labels = {"singleton.bot/bot": str(world.bot.id), "app": "telegram-bot-debug"}
    metadata = {"name": "stray", "namespace": world.ns, "labels": labels, **more}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}


async def another_deployment(world: World) -> None:
    """A Deployment whose pods have the bot's label: whose they are is looked up."""
    copy = world.plain()
    labels = {"app": "copy", "singleton.bot/bot": str(world.bot.id)}
    copy["metadata"]["name"] = "copy"
    copy["spec"]["selector"]["matchLabels"] = copy["spec"]["template"]["metadata"]["labels"] = labels
    await world.bed.apply(copy)


async def middle_of_a_rolling_update(world: World, replicas: int) -> None:
    """A rolling update that hangs with pods of two versions: the new one never becomes ready."""
    await world.bed.apply(world.plain(replicas=replicas))
    await world.bed.until(lambda: len(world.bed.alive(world.bot)) == replicas, what="the old version runs")
    never = {"exec": {"command": ["false"]}, "periodSeconds": 1}
    await world.patch({"template": {"spec": {"containers": [world.container() | {"readinessProbe": never}]}}})
    await world.bed.until(lambda: len(world.bed.alive(world.bot)) == replicas + 1, what="two versions run")


async def rollout(world: World) -> None:
    await world.change(VERSION="2")


async def restart(world: World) -> None:
    await world.kubectl("rollout", "restart", world.workload)


async def delete(world: World) -> None:
    pod = await world.only_pod()
    await world.kubectl("delete", "pod", pod["metadata"]["name"], "--wait=false")


async def evict(world: World) -> None:
    name = (await world.only_pod())["metadata"]["name"]
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": world.ns}}
    where = f"/api/v1/namespaces/{world.ns}/pods/{name}/eviction"
    await world.kubectl("create", "--raw", where, "-f", "-", stdin=json.dumps(body))


async def drain(world: World) -> None:
    node = (await world.only_pod())["spec"]["nodeName"]
    await world.bed.kubectl("drain", node, "--force", "--pod-selector=app=telegram-bot", "--timeout=60s")
    await world.bed.kubectl("uncordon", node)


async def scale_to_two(world: World) -> None:
    await world.scale(2)


async def change_the_strategy_in_a_rollout(world: World) -> None:
    template = {"metadata": {"annotations": {"version": "2"}}}
    await world.patch({"strategy": {"type": "RollingUpdate", "rollingUpdate": None}, "template": template})


async def roll_back(world: World) -> None:
    """A -> B -> A, the second before the first is through: Recreate does not wait for pods of the revision it makes."""
    await world.patch({"template": {"metadata": {"annotations": {"version": "B"}}}})

    async def leaving() -> bool:
        return all("deletionTimestamp" in pod["metadata"] for pod in await world.pods())

    await world.bed.until(leaving, what="the first pod leaving")
    await world.patch({"template": {"metadata": {"annotations": {"version": None}}}})


async def to_zero_and_back(world: World) -> None:
    await world.scale(0)
    await world.scale(1)


async def roll_twice(world: World) -> None:
    await world.change(VERSION="2")
    await world.change(VERSION="3")


async def force_delete(world: World) -> None:
    """What the well-known repair script does: the name is free at once, the process is not. No lock but Gate helps."""
    pod = (await world.only_pod())["metadata"]["name"]
    await world.kubectl("delete", "pod", pod, "--force", "--grace-period=0")


DEEDS: dict[str, Callable[[World], Awaitable[None]]] = {
    "a rollout": rollout,
    "a rollout restart": restart,
    "a deleted pod": delete,
    "an eviction": evict,
    "a drain": drain,
    "a scale to 2": scale_to_two,
    "a strategy change in a rollout": change_the_strategy_in_a_rollout,
    "a rollback A-B-A": roll_back,
    "a scale 1-0-1": to_zero_and_back,
    "two rollouts at once": roll_twice,
}
