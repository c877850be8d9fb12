"""The process node against the real API server: it treats processes as a kubelet does, and reports the truth."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

from tests.bed.bed import Bed
from tests.bed.controlplane import KubectlError
from tests.bed.kube import path
from tests.bed.node_process import LOG_BYTES, PART_BYTES, Log
from tests.bed.node_server import Options, wanted, written
from tests.bed.telegram_state import WEBHOOK_ACTIVE, Moment

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.bed.kube import Object
    from tests.bed.node import Node
    from tests.bed.telegram import Bot

pytestmark = pytest.mark.bed

NODE_PROXY = path("nodes", None, "node-1", "proxy")
HOOK = "https://shop.example.com/telegram"


def raw(bot: Bot, **env: str) -> Object:
    """A container as a user would write it: the image, and the token."""
    variables = {"BOT_TOKEN": bot.token, "POLL_SECONDS": "1", **env}
    return {
        "name": "bot",
        "image": "bots/raw",
        "env": [{"name": name, "value": value} for name, value in variables.items()],
    }


def script(text: str, **more: Any) -> Object:
    """A container that runs a shell script."""
    return {"name": "bot", "image": "any", "command": ["sh", "-c", text], **more}


def pod(container: Object, name: str = "web", node: str = "node-1", **spec: Any) -> Object:
    """A pod that is bound to a node by its author, so that a test knows where it runs."""
    return {"metadata": {"name": name}, "spec": {"nodeName": node, "containers": [container], **spec}}


@dataclass
class Witness:
    """What a watch saw of the pods of one namespace, and when."""

    events: list[tuple[Moment, str, Object]] = field(default_factory=list)

    def phases(self, name: str) -> list[str]:
        """The phases of a pod in turn, and "gone"."""
        seen: list[str] = []
        for _, event, found in self.events:
            phase = "gone" if event == "DELETED" else found["status"]["phase"]
            if found["metadata"]["name"] == name and seen[-1:] != [phase]:
                seen.append(phase)
        return seen

    def moment(self, name: str, phase: str) -> Moment | None:
        """When the pod was first seen so."""
        for at, event, found in self.events:
            if found["metadata"]["name"] == name and phase in {event, found["status"]["phase"]}:
                return at
        return None


@asynccontextmanager
async def witness(bed: Bed, ns: str) -> AsyncIterator[Witness]:
    """Watch the pods of a namespace during the block, as anybody may."""
    seen = Witness()

    async def watch() -> None:
        async for event, found in bed.kube.follow("pods", f"metadata.namespace={ns}"):
            for one in found if event == "LIST" else [found]:
                seen.events.append((Moment.now(), event, one))

    task = asyncio.create_task(watch())
    try:
        yield seen
    finally:
        task.cancel()


async def running(bed: Bed, ns: str, name: str = "web") -> Object:
    """The pod, once it is ready."""

    async def ready() -> Object | None:
        found = await bed.get("pod", name, ns)
        return found if found and condition(found, "Ready") == "True" else None

    result: Object = await bed.until(ready, what=f"pod {name} is ready")
    return result


async def state(bed: Bed, ns: str, kind: str, reason: str, name: str = "web") -> Object:
    """The status of the pod's first container, once its state is of this kind and reason."""

    async def reached() -> Object | None:
        found = await bed.get("pod", name, ns)
        statuses = found["status"].get("containerStatuses", []) if found else []
        return next((each for each in statuses[:1] if each["state"].get(kind, {}).get("reason") == reason), None)

    result: Object = await bed.until(reached, what=f"container of {name} is {kind}: {reason}")
    return result


async def phase(bed: Bed, ns: str, wanted: str, name: str = "web") -> Object:
    """The pod, once it is in this phase."""

    async def reached() -> Object | None:
        found = await bed.get("pod", name, ns)
        return found if found and found["status"]["phase"] == wanted else None

    result: Object = await bed.until(reached, what=f"pod {name} is {wanted}")
    return result


async def gone(bed: Bed, ns: str, name: str = "web") -> None:
    """Wait until there is no pod of this name."""

    async def none_left() -> bool:
        return await bed.get("pod", name, ns) is None

    await bed.until(none_left, what=f"pod {name} is gone")


def condition(thing: Object, kind: str) -> str:
    """The status of a condition."""
    return next((each["status"] for each in thing["status"].get("conditions", []) if each["type"] == kind), "Unknown")


async def create(bed: Bed, ns: str, body: Object) -> Object:
    return await bed.kube.create("pods", ns, body)


async def delete(bed: Bed, ns: str, grace: int | None = None, name: str = "web") -> None:
    await bed.kube.delete(path("pods", ns, name), grace=grace)


def node_of(bed: Bed, name: str) -> Node:
    return next(node for node in bed.nodes if node.name == name)


@pytest_asyncio.fixture
async def bot(bed: Bed) -> Bot:
    return bed.telegram.new_bot()


async def answers(bot: Bot, text: str) -> None:
    """Write to the bot and wait for its answer: proof that a process of it lives and polls."""
    bot.send(text)
    await bot.until(lambda: any(message["text"] == text for message in bot.sent))


class TestRunning:
    async def test_a_scheduled_pod_is_a_process_that_polls(self, bed: Bed, ns: str, bot: Bot) -> None:
        await bed.secret(ns, "shop-bot", token=bot.token)
        reference = {"secretKeyRef": {"name": "shop-bot", "key": "token"}}
        container = {"name": "bot", "image": "bots/raw:1", "env": [{"name": "BOT_TOKEN", "valueFrom": reference}]}
        await create(bed, ns, {"metadata": {"name": "web"}, "spec": {"containers": [container]}})
        found = await running(bed, ns)
        await bot.until(bot.polling_now)
        (record,) = bed.alive(bot)
        assert record.pid == bot.polls[0].client.session
        assert (record.of.namespace, record.of.pod, record.of.pod_uid) == (ns, "web", found["metadata"]["uid"])
        assert record in bed.node_of(found).alive
        assert found["status"]["phase"] == "Running"
        assert found["status"]["podIP"]
        assert condition(found, "PodScheduled") == "True", "the scheduler's condition stays"

    @pytest.mark.bots
    @pytest.mark.parametrize("library", ["python-telegram-bot", "grammy"])
    async def test_a_real_bot_needs_its_image_and_its_token_only(
        self, library: str, bed: Bed, ns: str, bot: Bot
    ) -> None:
        env = [{"name": "BOT_TOKEN", "value": bot.token}]
        await create(bed, ns, pod({"name": "bot", "image": f"bots/{library}:1", "env": env}))
        await running(bed, ns)
        await answers(bot, "hello")

    async def test_the_environment_comes_from_values_secrets_and_the_pod(self, bed: Bed, ns: str) -> None:
        await bed.kube.create("secrets", ns, {"metadata": {"name": "all"}, "stringData": {"ONE": "1", "TWO": "2"}})
        env = [
            {"name": "NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            {"name": "APP", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['app']"}}},
            {"name": "TWO", "value": "two of $(NAME)"},
            {"name": "NONE", "valueFrom": {"secretKeyRef": {"name": "missing", "key": "x", "optional": True}}},
        ]
        container = script(
            'echo "$ONE, $TWO, $APP, ${NONE-unset}, $(NAME), $0"',
            args=["$$(NAME)"],
            env=env,
            envFrom=[{"secretRef": {"name": "all"}}],
        )
        body = pod(container, restartPolicy="Never")
        body["metadata"]["labels"] = {"app": "shop"}
        await create(bed, ns, body)
        await phase(bed, ns, "Succeeded")
        assert await bed.kubectl("logs", "web", "-n", ns) == "1, two of web, shop, unset, web, $(NAME)\n"

    async def test_init_containers_come_first_and_one_by_one(self, bed: Bed, ns: str) -> None:
        first = {**script("sleep 0.2; echo first >>said"), "name": "first"}
        second = {**script("echo second >>said"), "name": "second"}
        body = pod(script("echo third >>said; cat said"), restartPolicy="Never", initContainers=[first, second])
        await create(bed, ns, body)
        found = await phase(bed, ns, "Succeeded")
        assert await bed.kubectl("logs", "web", "-n", ns) == "first\nsecond\nthird\n"
        assert condition(found, "Initialized") == "True"

    @pytest.mark.parametrize(
        ("code", "policy", "wanted"),
        [(0, "Never", "Succeeded"), (3, "Never", "Failed"), (0, "OnFailure", "Succeeded")],
    )
    async def test_a_pod_that_is_not_restarted_ends(
        self, code: int, policy: str, wanted: str, bed: Bed, ns: str
    ) -> None:
        await create(bed, ns, pod(script(f"exit {code}"), restartPolicy=policy))
        found = await phase(bed, ns, wanted)
        (status,) = found["status"]["containerStatuses"]
        assert (status["state"]["terminated"]["exitCode"], status["restartCount"]) == (code, 0)
        await delete(bed, ns)
        await gone(bed, ns)

    async def test_a_missing_secret_holds_the_container_until_it_is_there(self, bed: Bed, ns: str, bot: Bot) -> None:
        reference = {"secretKeyRef": {"name": "shop-bot", "key": "token"}}
        env = [{"name": "BOT_TOKEN", "valueFrom": reference}]
        await create(bed, ns, pod({"name": "bot", "image": "bots/raw", "env": env}))
        status = await state(bed, ns, "waiting", "CreateContainerConfigError")
        assert status["state"]["waiting"]["message"] == 'secret "shop-bot" not found'
        await bed.secret(ns, "shop-bot", key="tocken", token=bot.token)

        async def key_is_missed() -> bool:
            text = await bed.kubectl("get", "pod", "web", "-n", ns, "-o", "yaml")
            return f"couldn't find key token in Secret {ns}/shop-bot" in text

        await bed.until(key_is_missed)
        await bed.kube.patch(path("secrets", ns, "shop-bot"), {"stringData": {"token": bot.token}})
        await running(bed, ns)
        await bot.until(bot.polling_now)

    async def test_an_image_that_is_not_there_is_said_to_be_so(self, bed: Bed, ns: str) -> None:
        await create(bed, ns, pod({"name": "bot", "image": "broken/shop:1"}))
        await state(bed, ns, "waiting", "ImagePullBackOff")
        with pytest.raises(KubectlError, match="is waiting to start"):
            await bed.kubectl("logs", "web", "-n", ns)

    async def test_a_readiness_probe_decides_who_is_ready(self, bed: Bed, ns: str) -> None:
        probe = {"exec": {"command": ["test", "-e", "ready"]}, "periodSeconds": 1, "failureThreshold": 1}
        made = await create(bed, ns, pod({"name": "bot", "image": "pause", "readinessProbe": probe}))
        found = await phase(bed, ns, "Running")
        assert condition(found, "Ready") == "False"
        flag = bed.node.folder_of(made) / "ready"
        flag.touch()
        await running(bed, ns)
        flag.unlink()

        async def unready() -> bool:
            found = await bed.get("pod", "web", ns)
            return found is not None and condition(found, "Ready") == "False"

        await bed.until(unready, what="the pod is not ready any more")


class TestRestarts:
    async def test_a_crash_loop_backs_off_and_keeps_the_last_words(self, bed: Bed, ns: str, bot: Bot) -> None:
        bot.keep_webhook(HOOK)
        container = raw(bot, ON_CONFLICT="exit") | {"terminationMessagePolicy": "FallbackToLogsOnError"}
        await create(bed, ns, pod(container))
        status = await state(bed, ns, "waiting", "CrashLoopBackOff")
        last = status["lastState"]["terminated"]
        assert (last["exitCode"], last["reason"], status["ready"]) == (1, "Error", False)
        assert last["message"].endswith(f"error: getUpdates failed: 409 {WEBHOOK_ACTIVE}\n")
        assert status["restartCount"] >= 1
        runs = [record for record in bed.history if record.carries(bot.token)]
        assert len(runs) == status["restartCount"] + 1
        bot.keep_webhook("")
        await running(bed, ns)
        await bot.until(bot.polling_now)

    async def test_without_the_policy_a_crash_leaves_no_message(self, bed: Bed, ns: str) -> None:
        await create(bed, ns, pod(script("echo secret; exit 1")))
        status = await state(bed, ns, "waiting", "CrashLoopBackOff")
        assert "message" not in status["lastState"]["terminated"]

    async def test_the_message_is_the_end_of_a_long_log(self, bed: Bed, ns: str) -> None:
        text = "i=0; while [ $i -lt 200 ]; do echo line $i; i=$((i+1)); done; exit 1"
        container = script(text, terminationMessagePolicy="FallbackToLogsOnError")
        await create(bed, ns, pod(container, restartPolicy="Never"))
        found = await phase(bed, ns, "Failed")
        message = found["status"]["containerStatuses"][0]["state"]["terminated"]["message"]
        assert message.splitlines() == [f"line {number}" for number in range(120, 200)]


class TestDeletion:
    async def test_a_process_that_ignores_sigterm_is_killed_and_terminal_before_its_pod_is_gone(
        self, bed: Bed, ns: str, bot: Bot
    ) -> None:
        async with witness(bed, ns) as seen:
            await create(bed, ns, pod(raw(bot, IGNORE_SIGTERM="1"), terminationGracePeriodSeconds=3))
            await running(bed, ns)
            await bot.until(bot.polling_now)
            await delete(bed, ns)
            await bed.until(lambda: any("deletionTimestamp" in found["metadata"] for _, _, found in seen.events))
            await answers(bot, "are you still there?")
            await gone(bed, ns)
            await bed.until(lambda: "gone" in seen.phases("web"))
        assert seen.phases("web")[-3:] == ["Running", "Failed", "gone"]
        (record,) = [each for each in bed.history if each.carries(bot.token)]
        failed = seen.moment("web", "Failed")
        assert failed is not None
        assert record.ended is not None
        assert record.ended.mono <= failed.mono, "terminal only when the process is dead"
        _, _, last = seen.events[-1]
        assert last["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 137

    async def test_a_process_that_stops_on_sigterm_succeeds(self, bed: Bed, ns: str, bot: Bot) -> None:
        async with witness(bed, ns) as seen:
            await create(bed, ns, pod(raw(bot, STOP_SECONDS="1")))
            await running(bed, ns)
            await bot.until(bot.polling_now)
            await delete(bed, ns)
            await gone(bed, ns)
            await bed.until(lambda: "gone" in seen.phases("web"))
        assert seen.phases("web")[-3:] == ["Running", "Succeeded", "gone"]
        assert not bed.alive(bot)

    async def test_a_grace_period_can_be_shortened_while_it_runs(self, bed: Bed, ns: str, bot: Bot) -> None:
        await create(bed, ns, pod(raw(bot, IGNORE_SIGTERM="1"), terminationGracePeriodSeconds=3600))
        await running(bed, ns)
        await delete(bed, ns)
        await delete(bed, ns, grace=1)
        await gone(bed, ns)
        assert not bed.alive(bot)

    async def test_a_pre_stop_hook_runs_before_sigterm(self, bed: Bed, ns: str) -> None:
        hook = {"preStop": {"exec": {"command": ["sh", "-c", "echo hook >>said"]}}}
        text = "trap 'echo term >>said; exit 0' TERM; echo start >said; while :; do sleep 0.05; done"
        made = await create(bed, ns, pod(script(text, lifecycle=hook)))
        said = bed.node.folder_of(made) / "said"
        await bed.until(said.exists)
        await delete(bed, ns)
        await gone(bed, ns)
        assert said.read_text() == "start\nhook\nterm\n"

    async def test_a_forced_delete_frees_the_name_while_the_process_lives_on(self, bed: Bed, ns: str, bot: Bot) -> None:
        slow = raw(bot, STOP_SECONDS="10")  # on a busy machine its successor may be long in coming
        await create(bed, ns, pod(slow, terminationGracePeriodSeconds=20))
        await running(bed, ns)
        await bot.until(bot.polling_now)
        (orphan,) = bed.alive(bot)
        await delete(bed, ns, grace=0)
        assert await bed.get("pod", "web", ns) is None
        await create(bed, ns, pod(raw(bot)))
        await bot.until(lambda: bot.conflicts)
        assert orphan.ended is None
        await bed.until(lambda: orphan.ended, what="the orphan is ended")
        (successor,) = bed.alive(bot)
        assert [{each.first, each.second} for each in bed.overlaps(bot)] == [{orphan.pid, successor.pid}]

    async def test_a_finalizer_keeps_a_pod_that_is_terminal(self, bed: Bed, ns: str, bot: Bot) -> None:
        body = pod(raw(bot))
        body["metadata"]["finalizers"] = ["example.com/keep"]
        await create(bed, ns, body)
        await bot.until(bot.polling_now)
        await delete(bed, ns)
        found = await phase(bed, ns, "Succeeded")
        assert found["metadata"]["deletionTimestamp"]
        assert not bed.alive(bot)
        await bed.kube.patch(path("pods", ns, "web"), {"metadata": {"finalizers": None}})
        await gone(bed, ns)

    async def test_an_evicted_pod_stays_as_failed(self, bed: Bed, ns: str, bot: Bot) -> None:
        await create(bed, ns, pod(raw(bot)))
        await running(bed, ns)
        bed.node.evict(ns, "web")
        found = await phase(bed, ns, "Failed")
        assert found["status"]["reason"] == "Evicted"
        assert condition(found, "DisruptionTarget") == "True"
        assert "deletionTimestamp" not in found["metadata"]
        assert not bed.alive(bot)
        await delete(bed, ns)
        await gone(bed, ns)


def sent(log: Log, **query: str) -> bytes:
    """What is sent of a log for a query."""
    return b"".join(written(log.lines, Options.parse(query)))


class TestLogs:
    async def test_kubectl_prints_them_whole_in_part_and_with_times(self, bed: Bed, ns: str) -> None:
        await create(bed, ns, pod(script("echo one; echo two >&2; printf three; exec sleep 60")))
        await running(bed, ns)

        async def logs(*options: str) -> str:
            return await bed.kubectl("logs", "web", "-n", ns, *options)

        async def two_lines() -> bool:
            return (await logs()).count("\n") == 2

        await bed.until(two_lines)
        assert await logs() == "one\ntwo\n", "a line that has not ended is not shown"
        assert await logs("--tail=1") == "two\n"
        assert await logs("--limit-bytes=5") == "one\nt"
        assert await logs("--since-time=2020-01-01T00:00:00Z") == "one\ntwo\n"
        assert await logs("--since-time=2100-01-01T00:00:00Z") == ""
        stamps = [line.split(" ")[0] for line in (await logs("--timestamps")).splitlines()]
        assert stamps == sorted(stamps)
        assert all(len(stamp) == len("2006-01-02T15:04:05.000000000Z") for stamp in stamps)

    async def test_they_can_be_followed_to_the_end(self, bed: Bed, ns: str) -> None:
        made = await create(bed, ns, pod(script("echo one; until test -e go; do sleep 0.05; done; printf two")))
        await running(bed, ns)
        following = asyncio.create_task(bed.kubectl("logs", "web", "-n", ns, "-f"))
        (bed.node.folder_of(made) / "go").touch()
        async with asyncio.timeout(30):
            assert await following == "one\ntwo"

    async def test_no_line_is_lost_between_those_there_and_those_to_come(self) -> None:
        log = Log()
        log.add(b"one\n")
        lines = wanted(log, Options.parse({"follow": "true", "tailLines": "1"}))
        assert (await anext(lines)).text == b"one\n"
        log.add(b"two\n")
        assert (await anext(lines)).text == b"two\n"
        log.add(b"three")
        log.close()
        assert [line.text async for line in lines] == [b"three"]

    async def test_a_long_line_is_kept_in_parts_that_count_as_lines_and_are_sent_as_one(self) -> None:
        log = Log()
        log.add(b"one\n", at=1)
        log.add(b"x" * (2 * PART_BYTES + 5) + b"\n", at=2)
        log.add(b"y" * PART_BYTES + b"\n", at=3)
        assert sent(log) == b"one\n" + b"x" * (2 * PART_BYTES + 5) + b"\n" + b"y" * PART_BYTES + b"\n"
        assert sent(log, tailLines="2") == b"xxxxx\n" + b"y" * PART_BYTES + b"\n"
        stamped = sent(log, timestamps="true").splitlines()
        assert [line[:31] for line in stamped] == [f"1970-01-01T00:00:00.{n:09d}Z ".encode() for n in (1, 2, 3)]

    async def test_the_tail_is_cut_before_what_is_too_old_is_left_out_and_the_limit_cuts_off_the_newest(self) -> None:
        log = Log()
        for number in range(1, 6):
            log.add(f"{number}\n".encode(), at=number * 1_000_000_000)
        assert sent(log, sinceTime="1970-01-01T00:00:04Z") == b"4\n5\n"
        assert sent(log, sinceTime="1970-01-01T00:00:01Z", tailLines="2") == b"4\n5\n"
        assert sent(log, tailLines="4", limitBytes="5") == b"2\n3\n4"

    async def test_a_file_that_has_become_large_is_put_aside(self) -> None:
        log = Log()
        line = b"x" * 999 + b"\n"
        for _ in range(LOG_BYTES // 1000 + 2):
            log.add(line)
        assert sent(log) == line
        log.rotate()
        assert sent(log) == b""

    async def test_the_previous_run_has_its_own(self, bed: Bed, ns: str) -> None:
        text = "if test -e again; then echo second; exec sleep 60; fi; touch again; echo first; exit 1"
        await create(bed, ns, pod(script(text)))

        async def restarted() -> bool:
            return await bed.kubectl("logs", "web", "-n", ns, check=False) == "second\n"

        await bed.until(restarted)
        assert await bed.kubectl("logs", "web", "-n", ns, "--previous") == "first\n"

    async def test_there_may_be_none(self, bed: Bed, ns: str) -> None:
        await create(bed, ns, pod({"name": "bot", "image": "pause"}))
        await running(bed, ns)
        with pytest.raises(KubectlError, match='previous terminated container "bot" in pod "web" not found'):
            await bed.kubectl("logs", "web", "-n", ns, "--previous")

    async def test_a_pod_that_is_being_deleted_still_has_them(self, bed: Bed, ns: str) -> None:
        await create(bed, ns, pod(script("trap 'echo stopping' TERM; echo up; while :; do sleep 0.05; done")))

        async def told(word: str) -> bool:
            return word in await bed.kubectl("logs", "web", "-n", ns, check=False)

        await bed.until(lambda: told("up"), what="a process that waits for SIGTERM")
        await delete(bed, ns)
        await bed.until(lambda: told("stopping"), what="its last words")
        await delete(bed, ns, grace=1)

    async def test_the_endpoint_can_fail_or_hang(self, bed: Bed, ns: str) -> None:
        await create(bed, ns, pod(script("echo one; exec sleep 60")))
        await running(bed, ns)
        bed.node.fail_logs("error")
        with pytest.raises(KubectlError, match="out of order"):
            await bed.kubectl("logs", "web", "-n", ns)
        bed.node.fail_logs("hang")
        with pytest.raises(KubectlError, match=r"[Tt]imeout"):
            await bed.kubectl("logs", "web", "-n", ns, "--request-timeout=1s")
        bed.node.fail_logs("none")
        assert await bed.kubectl("logs", "web", "-n", ns) == "one\n"


class TestFaults:
    async def test_a_frozen_node_is_lost_while_its_processes_poll_on_and_cleans_up_when_it_is_back(
        self, bed: Bed, ns: str, bot: Bot
    ) -> None:
        impatient = {"operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 0}
        keys = ("node.kubernetes.io/unreachable", "node.kubernetes.io/not-ready")
        await create(bed, ns, pod(raw(bot), node="node-2", tolerations=[{"key": key, **impatient} for key in keys]))
        await running(bed, ns)
        await bot.until(bot.polling_now)
        lost = node_of(bed, "node-2")
        lost.freeze()

        async def terminating() -> Object | None:
            found = await bed.get("pod", "web", ns)
            return found if found and "deletionTimestamp" in found["metadata"] else None

        found = await bed.until(terminating, what="the pod is deleted because its node is lost")
        node = await bed.get("node", "node-2")
        assert node is not None
        assert condition(node, "Ready") == "Unknown"
        assert condition(found, "Ready") == "False"
        assert found["status"]["phase"] == "Running"
        await answers(bot, "are you still there?")
        assert [record.of.node for record in bed.alive(bot)] == ["node-2"]

        lost.thaw()
        await gone(bed, ns)
        assert not bed.alive(bot)

        async def back() -> bool:
            node = await bed.get("node", "node-2")
            return node is not None and condition(node, "Ready") == "True" and not node["spec"].get("taints")

        await bed.until(back, what="the node is ready again")

    async def test_a_pod_that_was_force_deleted_meanwhile_is_ended_when_the_node_is_back(
        self, bed: Bed, ns: str, bot: Bot
    ) -> None:
        await create(bed, ns, pod(raw(bot)))
        await running(bed, ns)
        await bot.until(bot.polling_now)
        bed.node.freeze()
        await delete(bed, ns, grace=0)
        await answers(bot, "are you still there?")
        with pytest.raises(KubectlError, match=r"[Tt]imeout"):
            await bed.kubectl(
                "get",
                "--raw",
                f"{path('nodes', None, 'node-1')}/proxy/containerLogs/{ns}/web/bot",
                "--request-timeout=1s",
            )
        assert bed.alive(bot)
        bed.node.thaw()
        await bed.until(lambda: not bed.alive(bot), what="the orphan is ended")

    async def test_after_a_crash_the_containers_start_again(self, bed: Bed, ns: str, bot: Bot) -> None:
        await create(bed, ns, pod(raw(bot)))
        await running(bed, ns)
        await bot.until(bot.polling_now)
        bed.node.crash()
        await bed.until(lambda: not bed.alive(bot), what="the process is dead")
        found = await bed.get("pod", "web", ns)
        assert found is not None
        assert condition(found, "Ready") == "True", "nobody is there to tell"
        bed.node.thaw()
        polls = len(bot.polls)
        await bot.until(lambda: len(bot.polls) > polls)
        found = await running(bed, ns)
        assert found["status"]["containerStatuses"][0]["restartCount"] == 1

    async def test_a_restart_of_the_api_server_harms_no_pod(self, bed: Bed, ns: str, bot: Bot) -> None:
        await create(bed, ns, pod(raw(bot)))
        await running(bed, ns)
        await bot.until(bot.polling_now)
        before = bed.alive(bot)
        await bed.cp.kill("kube-apiserver")
        await bed.cp.run("kube-apiserver")
        await create(bed, ns, pod({"name": "bot", "image": "pause"}, name="later"))
        await running(bed, ns, "later")
        assert bed.alive(bot) == before


class TestTheWholeBed:
    async def test_the_scheduler_lock_leaves_a_second_pod_pending(self, bed: Bed, ns: str, bot: Bot) -> None:
        term = {
            "labelSelector": {"matchLabels": {"singleton.bot/bot": "shop"}},
            "namespaceSelector": {},
            "topologyKey": "kubernetes.io/os",
        }
        template = {
            "metadata": {"labels": {"app": "shop", "singleton.bot/bot": "shop"}},
            "spec": {
                "containers": [raw(bot)],
                "affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}},
            },
        }
        spec = {"replicas": 1, "selector": {"matchLabels": {"app": "shop"}}, "template": template}
        manifest = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "shop", "namespace": ns}}
        await bed.apply(manifest | {"spec": spec})
        await bot.until(bot.polling_now)
        before = bed.alive(bot)
        await bed.kubectl("scale", "deployment/shop", "--replicas=2", "-n", ns)

        async def one_is_held() -> bool:
            found = await bed.pods(ns, "app=shop")
            return sorted(condition(each, "PodScheduled") for each in found) == ["False", "True"]

        await bed.until(one_is_held, what="the second pod cannot be scheduled")
        assert bed.alive(bot) == before
        assert not bed.overlaps(bot)
        assert not bot.conflicts

    async def test_two_beds_do_not_disturb_each_other(self, bed: Bed, ns: str, bot: Bot) -> None:
        async with Bed.start(crd=False) as other:
            stranger, body = other.telegram.new_bot(), pod(raw(bot))
            await create(bed, ns, body)
            await create(other, "default", pod(raw(stranger)))
            await bot.until(bot.polling_now)
            await stranger.until(stranger.polling_now)
            (theirs,) = other.alive(stranger)
            await running(bed, ns)
            await delete(bed, ns)
            await gone(bed, ns)
            assert other.alive(stranger) == [theirs]
            assert not other.alive(bot)
        assert theirs.ended is not None

    async def test_nothing_is_left_of_a_bed_that_was_killed(self) -> None:
        owner = await asyncio.create_subprocess_exec(
            sys.executable, "-c", OWNER, stdout=asyncio.subprocess.PIPE, cwd=Path(__file__).parents[2]
        )
        assert owner.stdout is not None
        try:
            async with asyncio.timeout(60):
                pids = json.loads(await owner.stdout.readline())
            assert len(pids) == 4 + 2, "four programs, a script and what the script started"
            assert all(_lives(pid) for pid in pids)
        finally:
            owner.send_signal(signal.SIGKILL)
            await owner.wait()
        async with asyncio.timeout(10):
            while any(_lives(pid) for pid in pids):  # noqa: ASYNC110 - the kernel sends no event for it
                await asyncio.sleep(0.05)

    async def test_the_operator_runs_in_a_process_of_its_own(self, bed: Bed) -> None:
        async with bed.operator("--help") as operator:
            assert await operator.exited() == 0
            assert "usage" in operator.log_text().lower()


OWNER = """
import asyncio, json
from tests.bed.bed import Bed
from tests.bed.test_node import pod, script

async def own():
    async with Bed.start(crd=False) as bed:
        made = await bed.kube.create("pods", "default", pod(script("sleep 600 & echo $! >child; wait")))
        child = bed.node.folder_of(made) / "child"
        await bed.until(lambda: child.exists() and child.read_text())
        print(json.dumps([*bed.cp.pids.values(), bed.node.history[0].pid, int(child.read_text())]), flush=True)
        await asyncio.Event().wait()

asyncio.run(own())
"""


def _lives(pid: int) -> bool:
    """Whether the process runs; one that ended and waits for its parent to notice does not."""
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
