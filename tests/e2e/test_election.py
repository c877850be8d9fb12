"""Two replicas of the operator: one guards, the other stands by, and the bots see nothing of what happens to them.

Who leads is read from the Lease, who wrote what from the proxy of each. Waits are bounded; what they took is printed.
"""

from __future__ import annotations

import asyncio
import signal
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from tests.bed.botenv import running
from tests.bed.installation import Installation
from tests.e2e.replicas import AFTER_A_KILL, AFTER_A_STOP, LEASE, Election, election
from tests.e2e.world import World, assert_healthy, delete, restart, rollout, scale_to_two
from tests.faults.proxy import delayed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from tests.bed.bed import Bed
    from tests.e2e.replicas import Replica
    from tests.e2e.world import Operate

pytestmark = pytest.mark.bed


async def replaced(world: World, old: str) -> bool:
    """Whether a pod runs, and the old one is gone."""
    return old not in {pod["metadata"]["uid"] for pod in await world.pods()} and await world.one_runs()


async def test_the_second_stands_by_warm_and_takes_over_from_one_that_stops(bed: Bed, ns: str, rights: Path) -> None:
    world = await World.make(bed, ns)
    async with election(bed, rights, ns) as held, held.start() as one:
        await held.led_by(one)
        await world.guarded()
        async with held.start() as two:
            await two.stands_by()
            old = (await world.only_pod())["metadata"]["uid"]
            await restart(world)
            await bed.until(lambda: replaced(world, old), what="another pod")
            await world.settled()
            assert two.writes == []
            assert two.telegram.asked == []
            assert not [str(call) for call in two.proxy.calls if "/log" in call.what or call.what.startswith("secrets")]
            before = await world.only_pod()
            await scale_to_two(world)
            one.signal(signal.SIGTERM)
            await held.led_by(two, within=AFTER_A_STOP)
            assert await one.operator.exited(10) == 0
            await world.settled()
            assert (await world.only_pod())["metadata"]["uid"] == before["metadata"]["uid"]
            world.assert_never_two()
            assert_healthy(one.operator)
            assert_healthy(two.operator)


async def test_the_second_takes_over_from_one_that_is_killed(bed: Bed, ns: str, rights: Path) -> None:
    world = await World.make(bed, ns)
    async with election(bed, rights, ns) as held, held.start() as one, held.start() as two:
        leader = await held.led_by(one, two)
        other = two if leader is one else one
        await world.guarded()
        await other.stands_by()
        await leader.operator.kill()
        await scale_to_two(world)
        await held.led_by(other, within=AFTER_A_KILL)
        await world.settled()
        world.assert_never_two()


async def test_one_that_stood_still_for_longer_than_its_lease_writes_nothing_more(
    bed: Bed, ns: str, rights: Path
) -> None:
    world = await World.make(bed, ns)
    async with election(bed, rights, ns) as held, held.start() as one:
        await held.led_by(one)
        await world.guarded()
        async with held.start() as two:
            await two.stands_by()
            await world.change(VERSION="2")
            one.signal(signal.SIGSTOP)
            try:
                await held.led_by(two, within=AFTER_A_KILL)
                await world.settled()
                await world.change(VERSION="3")
                before = len(one.writes)
            finally:
                one.signal(signal.SIGCONT)
            await bed.until(lambda: one.says(f"standing by: {two.name} leads"), what="the first stands by")
            await world.settled()
            assert [str(call) for call in one.writes[before:]] == []
            await two.operator.stop()
            await held.led_by(one, within=AFTER_A_STOP)
            await scale_to_two(world)
            await world.settled()
            world.assert_never_two()
            assert_healthy(one.operator)


# --- The API server is away -------------------------------------------------------------------------------------------


@asynccontextmanager
async def without_an_answer(replica: Replica) -> AsyncIterator[None]:
    """Requests arrive nowhere, and nothing says so."""
    replica.proxy.at_request("", delayed(3600))
    yield
    replica.proxy.heal()
    replica.proxy.reset()


@asynccontextmanager
async def refused(replica: Replica) -> AsyncIterator[None]:
    """Nobody listens where the API server was."""
    async with replica.proxy.refusing():
        yield


AWAY: dict[str, Callable[[Replica], AbstractAsyncContextManager[None]]] = {
    "without an answer": without_an_answer,
    "refused": refused,
}


@pytest.mark.parametrize("how", AWAY)
async def test_a_leader_that_is_cut_off_stops_before_the_other_begins(
    how: str, bed: Bed, ns: str, rights: Path
) -> None:
    world = await World.make(bed, ns)
    async with election(bed, rights, ns) as held, held.start() as one:
        await held.led_by(one)
        await world.guarded()
        async with held.start() as two:
            await two.stands_by()
            async with AWAY[how](one):
                await held.led_by(two, within=AFTER_A_KILL)
                assert one.says("this replica does nothing meanwhile")
                before = len(one.writes)
                await rollout(world)
                await world.settled()
            await bed.until(lambda: one.says(f"standing by: {two.name} leads"), what="the first stands by")
            assert [str(call) for call in one.writes[before:]] == []
            world.assert_never_two()
            assert_healthy(one.operator)
            assert_healthy(two.operator)


async def test_after_an_outage_for_both_one_leads_and_neither_has_ended(bed: Bed, ns: str, rights: Path) -> None:
    world = await World.make(bed, ns)
    async with election(bed, rights, ns) as held, held.start() as one, held.start() as two:
        leader = await held.led_by(one, two)
        await world.guarded()
        async with one.proxy.refusing(), two.proxy.refusing():
            await bed.until(lambda: leader.says("this replica does nothing meanwhile"), what="the leader stops")
            await scale_to_two(world)
        await held.led_by(one, two)
        await world.settled()
        world.assert_never_two()
        for each in (one, two):
            assert await each.operator.stop() == 0
            assert_healthy(each.operator)


# --- The Lease is touched, or may not be ------------------------------------------------------------------------------

EDITS: dict[str, dict[str, Any]] = {
    "without a holder": {"holderIdentity": ""},
    "without anything": {"holderIdentity": None, "leaseDurationSeconds": None, "renewTime": None, "acquireTime": None},
    "for years": {"leaseDurationSeconds": 2_000_000_000, "renewTime": "9999-12-31T23:59:59.000000Z"},
}


@pytest.mark.parametrize("edit", [*EDITS, "deleted"])
async def test_a_leader_puts_the_lease_right_and_the_other_does_not_begin(
    edit: str, bed: Bed, ns: str, rights: Path
) -> None:
    async with election(bed, rights, ns) as held, held.start() as one:
        await held.led_by(one)
        async with held.start() as two:
            await two.stands_by()
            if edit == "deleted":
                await bed.kubectl("-n", ns, "delete", "lease", LEASE)
            else:
                await held.edit(**EDITS[edit])

            async def right() -> bool:
                lease = await held.lease()
                good = lease.get("leaseDurationSeconds") == 12 and "9999" not in lease.get("renewTime", "9999")
                return good and lease.get("holderIdentity") == one.name

            await bed.until(right, what="the Lease is right")
            assert not two.says("leading as")
            assert one.operator.log_text().count("leading as") == 1


async def test_a_leader_that_reads_another_name_stops_and_somebody_leads_in_the_end(
    bed: Bed, ns: str, rights: Path
) -> None:
    async with election(bed, rights, ns) as held, held.start() as one:
        await held.led_by(one)
        async with held.start() as two:
            await two.stands_by()
            await held.edit(holderIdentity="me")
            await bed.until(lambda: one.says("standing by: me leads"), what="the leader stops")
            await held.led_by(one, two)


async def test_without_the_right_to_the_lease_nothing_is_done_and_the_log_says_what_is_missing(
    bed: Bed, ns: str
) -> None:
    world = await World.make(bed, ns)
    installation = Installation(bed, f"{ns}-operator")
    held = Election(bed, await installation.install(), ns, account=f"{ns}-operator")
    await bed.apply([world.plain(), world.resource()])
    async with held.start() as one:
        await bed.until(lambda: one.says("grant its ServiceAccount get, create and patch"), what="what is missing")
        assert one.says(f"in namespace {ns}")
        assert one.says("this replica does nothing meanwhile")
        assert one.writes == []
        assert not one.says("guarding ")
        await held.permit()
        await world.settled()
        assert_healthy(one.operator)


async def test_without_a_namespace_for_the_lease_the_log_says_so(bed: Bed, ns: str) -> None:
    nowhere = f"no-{ns}"
    async with bed.operator("--leader-elect", "--leader-elect-namespace", nowhere, "--namespace", ns) as one:
        await bed.until(lambda: f"there is no namespace {nowhere}" in one.log_text(), what="what is missing")
        assert "guarding " not in one.log_text()
        assert await one.stop() == 0


async def test_a_second_installation_stands_by_and_says_what_to_do(bed: Bed, ns: str, rights: Path) -> None:
    async with election(bed, rights, ns) as held, held.start("here") as one:
        await held.led_by(one)
        async with held.start("there") as two:
            await bed.until(lambda: two.says("of the installation in namespace here leads"), what="who leads")
            assert two.says("uninstall one of the two")
            await one.operator.stop()
            await held.led_by(two, within=AFTER_A_STOP)
            async with held.start("here") as three:
                await bed.until(lambda: three.says("of the installation in namespace there leads"), what="who leads")


# --- What a new leader knows ------------------------------------------------------------------------------------------


async def test_a_conflict_while_nobody_led_is_told_and_one_from_before_is_no_news(
    bed: Bed, ns: str, rights: Path, tmp_path: Path
) -> None:
    world = await World.make(bed, ns, spec={"conflict": {"clearAfterSeconds": 60}})
    async with election(bed, rights, ns) as held, held.start() as one:
        await held.led_by(one)
        await world.guarded()
        async with held.start() as two:
            await two.stands_by()
            await one.operator.kill()
            async with running("raw", bed.telegram, world.bot, tmp_path / "laptop"):
                await bed.until(lambda: len(world.bot.conflicts) >= 2, what="409s")
            assert not two.says("leading as")
            await held.led_by(two, within=AFTER_A_KILL)
            await world.says("Conflicted", "True")
            told = (await world.status())["lastConflict"]
            async with held.start() as three:
                await three.stands_by()
                two.signal(signal.SIGTERM)
                await held.led_by(three, within=AFTER_A_STOP)
                await world.edit(conflict={"clearAfterSeconds": 50})
                await bed.until(lambda: any("telegrambots" in each for each in three.written), what="a status")
                again = (await world.status())["lastConflict"]
                assert (again["time"], again["count"]) == (told["time"], told["count"])


@pytest.mark.usefixtures("nodes")
async def test_only_the_leader_listens_to_telegram(bed: Bed, ns: str, rights: Path) -> None:
    """A node is lost, and whether its process is dead, Telegram has to tell: by polls that no two replicas may make."""
    world = await World.make(bed, ns, spec={"stuckPods": {"afterSeconds": 0}}, grace=1)
    polls: Callable[[Replica], int] = lambda replica: replica.telegram.asked.count("getUpdates")  # noqa: E731
    async with election(bed, rights, ns) as held, held.start(silence=3600) as one:
        await held.led_by(one)
        await world.guarded()
        async with held.start(silence=3600) as two:
            await two.stands_by()
            node = bed.node_of(await world.only_pod())
            node.crash()
            await bed.kubectl("wait", "--for=condition=Ready=Unknown", f"node/{node.name}", "--timeout=60s")
            await delete(world)
            await bed.until(lambda: polls(one), what="the leader listens")
            assert polls(two) == 0
            one.signal(signal.SIGSTOP)
            try:
                await held.led_by(two, within=AFTER_A_KILL)
                await bed.until(lambda: polls(two), what="the next one listens")
                before = polls(one)
            finally:
                one.signal(signal.SIGCONT)
            await bed.until(lambda: one.says(f"standing by: {two.name} leads"), what="the first stands by")
            more = polls(two)
            await bed.until(lambda: polls(two) > more, what="the next one listens on", patience=120)
            assert polls(one) == before


# --- How one stops ----------------------------------------------------------------------------------------------------


async def test_one_that_is_told_to_stop_twice_stops_once(bed: Bed, ns: str, rights: Path) -> None:
    async with election(bed, rights, ns) as held, held.start() as one:
        await held.led_by(one)
        one.signal(signal.SIGTERM)
        one.signal(signal.SIGTERM)
        assert await one.operator.exited(15) == 0
        assert (await held.lease()).get("holderIdentity", "") == ""
        assert_healthy(one.operator)


async def test_one_that_gets_no_answer_stops_all_the_same(bed: Bed, ns: str, rights: Path) -> None:
    async with election(bed, rights, ns) as held, held.start() as one:
        await held.led_by(one)
        async with without_an_answer(one):
            one.signal(signal.SIGTERM)
            assert await one.operator.exited(15) == 0


# --- Without an election ----------------------------------------------------------------------------------------------


async def test_two_that_know_nothing_of_each_other_do_no_harm(bed: Bed, ns: str, operate: Operate) -> None:
    world = await World.make(bed, ns)
    async with operate("--namespace", ns) as one, operate("--namespace", ns) as two:
        await asyncio.gather(one.ready(), two.ready())
        await world.guarded()
        for deed in (rollout, scale_to_two, delete):
            await deed(world)
            await world.settled()
        world.assert_never_two()
        assert_healthy(one)
        assert_healthy(two)
