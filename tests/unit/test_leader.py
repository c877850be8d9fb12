"""The shell of the election: what goes into the Lease, what opens the fence, and what is said of what is wrong."""

from __future__ import annotations

import asyncio
import json
import logging
import math
from typing import TYPE_CHECKING, Any, cast

import pytest

from telegrambot_operator.shell.fence import Fence
from telegrambot_operator.shell.kube import APPLY, MERGE, KubeError
from telegrambot_operator.shell.leader import Elector, Leadership, Terms, identity

if TYPE_CHECKING:
    from telegrambot_operator.shell.kube import Kube

Object = dict[str, Any]


class Clock:
    """A steady clock that a test winds."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


class Api:
    """An API server with one Lease, as far as an election uses it; `fails` is what it answers instead."""

    def __init__(self, clock: Clock) -> None:
        self.fence = Fence(-math.inf, clock)
        self.lease: Object | None = None
        self.version = 0
        self.fails: KubeError | None = None
        self.hangs = False
        self.patches: list[Object] = []

    def put(self, **spec: Any) -> None:
        """Write the Lease by hand."""
        self.version += 1
        self.lease = {"metadata": {"resourceVersion": str(self.version)}, "spec": spec}

    async def get(self, path: str, *, seconds: float) -> bytes:
        """Read it."""
        assert path == "/apis/coordination.k8s.io/v1/namespaces/elections/leases/telegrambot-operator"
        await self._answers(seconds)
        if self.lease is None:
            raise KubeError(404, "NotFound", "no such Lease")
        return json.dumps(self.lease).encode()

    async def patch_unfenced(self, path: str, body: Object, kind: str, query: Object, seconds: float) -> bytes:
        """Patch it, under its version or by server-side apply."""
        assert query["fieldManager"] == "telegrambot-operator"
        await self._answers(seconds)
        if kind == APPLY:
            if self.lease is None:
                self.put()
            return await self.get(path, seconds=seconds)
        assert kind == MERGE
        self.patches.append(body)
        if self.lease is None or body["metadata"]["resourceVersion"] != str(self.version):
            raise KubeError(409, "Conflict", "the Lease has changed")
        self.put(**(self.lease["spec"] | body["spec"]))
        return await self.get(path, seconds=seconds)

    async def _answers(self, seconds: float) -> None:
        assert seconds < 4, "a deadline has room for two"
        if self.hangs:
            await asyncio.Event().wait()
        if self.fails is not None:
            raise self.fails


class Stage:
    """An elector and all around it."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.api = Api(self.clock)
        self.leadership = Leadership()
        self.elector = Elector(cast("Kube", self.api), self.leadership, "elections", "here/me", self.clock)

    async def steps(self, count: int, seconds: float = 0.0) -> None:
        """So many steps, after so many seconds."""
        self.clock.now += seconds
        for _ in range(count):
            await self.elector._step()


@pytest.fixture
def stage() -> Stage:
    return Stage()


@pytest.fixture
async def leading(stage: Stage) -> Stage:
    stage.api.put(holderIdentity="", leaseDurationSeconds=1, leaseTransitions=4)
    await stage.steps(2)
    return stage


async def test_a_claim_names_the_holder_and_opens_the_fence(leading: Stage) -> None:
    assert leading.api.lease is not None
    spec = leading.api.lease["spec"]
    assert (spec["holderIdentity"], spec["leaseDurationSeconds"], spec["leaseTransitions"]) == ("here/me", 12, 5)
    assert spec["renewTime"] == spec["acquireTime"]
    assert leading.api.fence.left == 8
    assert leading.leadership.holder == "here/me"


async def test_a_renewal_changes_when_and_nothing_else(leading: Stage) -> None:
    assert leading.api.lease is not None
    before = dict(leading.api.lease["spec"])
    await leading.steps(1, 2)
    after = leading.api.lease["spec"]
    assert {each for each in after if after[each] != before[each]} == {"renewTime"}
    assert leading.api.fence.left == 8


async def test_every_claim_is_made_under_the_version_that_was_read(leading: Stage) -> None:
    await leading.steps(1, 2)
    assert [each["metadata"] for each in leading.api.patches] == [{"resourceVersion": "1"}, {"resourceVersion": "2"}]


async def test_the_fence_closes_by_itself_when_nothing_is_answered(leading: Stage) -> None:
    leading.api.fails = KubeError(0, "NoAnswer", "the API server gave no answer")
    await leading.steps(1, 2)
    assert leading.api.fence.left == 6
    assert leading.leadership.problem == "", "a moment without an answer is nothing to speak of"
    await leading.steps(1, 6)
    assert not leading.api.fence.is_open
    assert leading.leadership.problem == (
        "the election cannot be held: the Lease elections/telegrambot-operator cannot be used: "
        "the API server gave no answer"
    )
    leading.api.fails = None
    await leading.steps(2)
    assert leading.api.fence.left == 8
    assert leading.leadership.problem == ""


async def test_the_fence_closes_at_once_where_another_name_is_read(leading: Stage) -> None:
    leading.api.put(holderIdentity="here/other", leaseDurationSeconds=12)
    await leading.steps(2, 2)
    assert not leading.api.fence.is_open
    assert leading.leadership.holder == "here/other"


async def test_a_lease_that_is_not_there_is_made_without_a_holder(stage: Stage) -> None:
    await stage.steps(2)
    assert stage.api.lease is not None
    assert stage.api.lease["spec"] == {}
    await stage.steps(1, 12)
    assert stage.api.lease["spec"]["holderIdentity"] == "here/me"


async def test_it_is_let_go_of_for_everybody_to_take(leading: Stage) -> None:
    await leading.elector.let_go()
    assert leading.api.lease is not None
    spec = leading.api.lease["spec"]
    assert (spec["holderIdentity"], spec["leaseDurationSeconds"]) == ("", 1)
    assert not leading.api.fence.is_open


async def test_what_is_not_ones_own_is_not_let_go_of(leading: Stage) -> None:
    leading.api.put(holderIdentity="here/other", leaseDurationSeconds=12)
    await leading.elector.let_go()
    assert leading.api.lease is not None
    assert leading.api.lease["spec"]["holderIdentity"] == "here/other"


async def test_a_claim_of_which_nothing_is_known_is_looked_at_before_it_is_let_go_of(leading: Stage) -> None:
    leading.api.fails = KubeError(0, "NoAnswer", "the API server gave no answer")
    await leading.steps(1, 2)
    leading.api.fails = None
    assert leading.api.lease is not None
    leading.api.put(**leading.api.lease["spec"] | {"renewTime": leading.elector._candidate.sent})
    await leading.elector.let_go()
    assert leading.api.lease["spec"]["holderIdentity"] == ""


async def test_letting_go_does_not_hang(leading: Stage) -> None:
    leading.api.hangs = True
    async with asyncio.timeout(30):
        await leading.elector.let_go()


PROBLEMS = [
    (
        KubeError(403, "Forbidden", 'leases "telegrambot-operator" is forbidden'),
        "the election cannot be held: the operator may not use the Lease elections/telegrambot-operator "
        '(leases "telegrambot-operator" is forbidden); grant its ServiceAccount get, create and patch on '
        "leases.coordination.k8s.io of that name in namespace elections",
    ),
    (
        KubeError(404, "NotFound", 'namespaces "elections" not found'),
        "the election cannot be held: there is no namespace elections for its Lease; create it, or name another in "
        "--leader-elect-namespace",
    ),
]


@pytest.mark.parametrize(("error", "said"), PROBLEMS, ids=["no right", "no namespace"])
async def test_what_only_a_person_can_mend_is_said_at_once_and_again_not_often(
    error: KubeError, said: str, stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    stage.api.fails = error
    await stage.steps(3)
    assert stage.leadership.problem == said
    line = f"{said}; this replica does nothing meanwhile"
    assert caplog.messages == [line]
    await stage.steps(1, 299)
    assert caplog.messages == [line]
    await stage.steps(1, 2)
    assert caplog.messages == [line, line]


async def test_a_lease_that_cannot_be_read_is_waited_for(stage: Stage) -> None:
    stage.api.lease = {"metadata": {"resourceVersion": "1"}, "spec": {"holderIdentity": 7}}
    await stage.steps(2, 9)
    assert "it cannot be read" in stage.leadership.problem
    assert not stage.api.fence.is_open


def test_two_processes_on_one_host_have_two_names() -> None:
    one, two = identity("here"), identity("here")
    assert one != two
    assert one.startswith("here/")


# --- Terms ------------------------------------------------------------------------------------------------------------


class Work:
    """What is done while leading."""

    def __init__(self) -> None:
        self.began = 0
        self.under_way = 0

    async def lead(self) -> None:
        self.began += 1
        self.under_way += 1
        try:
            await asyncio.Event().wait()
        finally:
            self.under_way -= 1


async def until(fact: Any) -> None:
    async with asyncio.timeout(30):
        while not fact():  # noqa: ASYNC110  whatever makes it true knows of no test
            await asyncio.sleep(0)


async def test_a_term_lasts_as_long_as_the_fence_is_open_and_a_new_one_may_follow() -> None:
    clock, work, leadership, told = Clock(), Work(), Leadership(), list[bool]()
    fence = Fence(-math.inf, clock)
    running = asyncio.create_task(Terms(fence, leadership, told.append).run(work.lead))
    await asyncio.sleep(0)
    assert work.began == 0
    for number in (1, 2):
        fence.open_until(clock.now + 8)
        await until(lambda: work.under_way == 1)
        assert (work.began, leadership.leading) == (number, True)
        clock.now += 8
        fence.open_until(clock.now)
        await until(lambda: not leadership.leading)
        assert work.under_way == 0
    assert told == [True, False, True, False]
    running.cancel()


async def test_a_term_ends_when_its_time_is_over_though_nobody_says_so() -> None:
    work, leadership = Work(), Leadership()
    fence = Fence()
    running = asyncio.create_task(Terms(fence, leadership).run(work.lead))
    await until(lambda: work.under_way == 1)
    fence._until = -math.inf
    await until(lambda: work.under_way == 0)
    running.cancel()


async def test_after_the_end_no_term_follows() -> None:
    work, leadership, fence = Work(), Leadership(), Fence()
    terms = Terms(fence, leadership)
    running = asyncio.create_task(terms.run(work.lead))
    await until(lambda: work.under_way == 1)
    await terms.end(30)
    assert work.under_way == 0
    fence.open_until(math.inf)
    await asyncio.sleep(0)
    assert (work.began, fence.is_open) == (1, False)
    running.cancel()


async def test_what_ends_a_term_by_itself_ends_everything() -> None:
    async def fails() -> None:
        raise ValueError("a mistake")

    with pytest.raises(ValueError, match="a mistake"):
        await Terms(Fence(), Leadership()).run(fails)
