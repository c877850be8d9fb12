"""Leader election: takes and renews the election's Lease, and opens the fence while this replica leads.

What is done when, core/election.py decides. The client library's own (`kubernetes.aio.leaderelection`) is not used:
- it goes by the wall clock, which jumps;
- it sees that its deadline has passed only between two requests, of which each may take five minutes;
- it counts the deadline from its last try, not from the renewal that was granted last: it may lead beyond its lease;
- it never lets go of the Lease, so that a clean stop costs the others a whole lease;
- it takes a Lease that was deleted, or that has no holder, at once, while somebody may lead;
- it ends when leadership is lost, and writes a traceback for each claim for which somebody else was faster.
"""

import asyncio
import logging
import os
import secrets
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec

from .. import names
from ..core import election
from ..core.election import Candidate, Record, Step
from .fence import Fence, steady
from .kube import APPLY, LEASES, MERGE, Kube, KubeError, path

log = logging.getLogger(__name__)

# A request that takes longer is given up and made anew, on another connection: so a deadline has room for two.
ANSWER_SECONDS = 3.5
LET_GO_SECONDS = 1.0
SAY_AGAIN_SECONDS = 300.0


def identity(namespace: str) -> str:
    """Return a name that no other process has: the installation, the pod or host, and a random part."""
    return f"{namespace}/{os.uname().nodename}_{secrets.token_hex(4)}"


@dataclass(slots=True)
class Leadership:
    """Who leads, as far as this replica knows. `problem` is why it cannot take part, "" where it can."""

    leading: bool = False
    since: datetime | None = None
    holder: str = ""
    problem: str = ""


class Terms:
    """Leads while the fence is open: each time anew, and never twice at once. `told` hears when that changes."""

    def __init__(self, fence: Fence, leadership: Leadership, told: Callable[[bool], None] = lambda _: None) -> None:
        self._fence = fence
        self._told = told
        self._leadership = leadership
        self._idle = asyncio.Event()
        self._idle.set()

    async def run(self, lead: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Lead whenever that may be, for ever. What ends a term by itself ends this too."""
        while True:
            await self._fence.opened()
            self._idle.clear()
            self._turn(leading=True)
            try:
                await self._one(lead())
            finally:
                self._turn(leading=False)
                self._idle.set()

    def _turn(self, *, leading: bool) -> None:
        self._leadership.leading = leading
        self._leadership.since = datetime.now(UTC)
        self._told(leading)

    async def _one(self, work: Coroutine[Any, Any, None]) -> None:
        term = asyncio.create_task(work)
        closed = asyncio.create_task(self._fence.closed())
        try:
            await asyncio.wait({term, closed}, return_when=asyncio.FIRST_COMPLETED)
            if term.done():
                term.result()
        finally:
            term.cancel()
            closed.cancel()
            await asyncio.wait({term, closed})

    async def end(self, seconds: float) -> None:
        """Lead no more. Waits so long at most for what goes on, then as long for what it writes."""
        self._fence.close()
        try:
            async with asyncio.timeout(seconds):
                await self._idle.wait()
        except TimeoutError:
            log.debug("what goes on has not ended after %g s", seconds)
        await self._fence.empty(seconds)


class Elector:
    """Stands for election under a name, with the Lease in this namespace."""

    def __init__(
        self, kube: Kube, leadership: Leadership, namespace: str, me: str, clock: Callable[[], float] = steady
    ) -> None:
        self._kube = kube
        self._leadership = leadership
        self._namespace = namespace
        self._clock = clock
        self._candidate = Candidate(me)
        self._heard = clock()
        self._words = _Words()
        self._stepping = asyncio.Lock()
        self._ended = False

    async def run(self) -> None:
        """Stand for election for ever."""
        log.info("standing for election as %s, with the Lease %s", self._candidate.me, self._lease)
        while not self._ended:
            async with self._stepping:
                await self._step()
            await asyncio.sleep(max(0.0, self._candidate.due - self._clock()))

    async def let_go(self) -> None:
        """Give the Lease to whoever wants it, if it is ours. Call it when nothing is written any more."""
        self._ended = True
        try:
            async with asyncio.timeout(LET_GO_SECONDS), self._stepping:
                self._take(election.resigned(self._candidate))
                await self._release()
        except TimeoutError:
            log.debug("the Lease could not be let go of in time")
        except KubeError as error:
            log.debug("the Lease could not be let go of: %s", error.message)

    # --- Steps ------------------------------------------------------------------------------------------------------

    async def _step(self) -> None:
        todo = election.step(self._candidate, self._clock())
        try:
            await {Step.LOOK: self._look, Step.MAKE: self._make, Step.CLAIM: self._claim}[todo]()
        except KubeError as error:
            raced = error.status in {404, 409} and todo is Step.CLAIM
            self._take(election.failed(self._candidate, self._clock(), raced=raced))
            self._note(error, raced=raced)
        except msgspec.MsgspecError as error:
            self._take(election.failed(self._candidate, self._clock()))
            self._note(KubeError(500, "Unreadable", f"it cannot be read ({error})"), raced=False)
        else:
            self._heard = self._clock()
            if self._candidate.record and self._candidate.record.version:  # else one still has to be made
                self._leadership.problem = ""
        self._tell()

    def _note(self, error: KubeError, *, raced: bool) -> None:
        """Note what is wrong. A server that does not answer for a moment is nothing to speak of."""
        for_good = error.status in {403, 404}
        if not raced and (for_good or self._clock() - self._heard >= self._candidate.times.deadline):
            self._leadership.problem = _problem(error, self._namespace)

    async def _look(self) -> None:
        try:
            record = _record(await self._kube.get(self._path, seconds=ANSWER_SECONDS))
        except KubeError as error:
            if error.status != 404:
                raise
            record = Record()
        self._take(election.saw(self._candidate, record, self._clock()))

    async def _make(self) -> None:
        """Make a Lease without a holder; one that is there meanwhile stays as it is.

        By server-side apply, because the right to create can be given for one name only for requests that name it.
        """
        body = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": names.ELECTION_LEASE}}
        data = await self._patch(body, APPLY, {"force": "true"})
        self._take(election.saw(self._candidate, _record(data), self._clock()))

    async def _claim(self) -> None:
        it, asked = self._candidate, self._clock()
        record, renewed = it.record or Record(), _now()
        spec = {"holderIdentity": it.me, "leaseDurationSeconds": int(it.times.lease), "renewTime": renewed}
        if record.holder != it.me:
            spec |= {"acquireTime": renewed, "leaseTransitions": record.transitions + 1}
        self._take(election.sends(it, renewed))
        data = await self._patch({"metadata": {"resourceVersion": record.version}, "spec": spec}, MERGE)
        self._take(election.claimed(self._candidate, _record(data), asked, self._clock()))

    async def _release(self) -> None:
        """Write what client-go writes: no holder, and a lease of a second. Raises KubeError."""
        if not self._candidate.current:  # whether the last claim was granted is not known
            await self._look()
        record = self._candidate.record
        if record is not None and self._candidate.holds:
            spec = {"holderIdentity": "", "leaseDurationSeconds": 1, "renewTime": _now()}
            await self._patch({"metadata": {"resourceVersion": record.version}, "spec": spec}, MERGE)

    async def _patch(self, body: dict[str, Any], kind: str, query: dict[str, str] | None = None) -> bytes:
        query = {"fieldManager": names.FIELD_MANAGER, **(query or {})}
        return await self._kube.patch_unfenced(self._path, body, kind, query, ANSWER_SECONDS)

    @property
    def _lease(self) -> str:
        return f"{self._namespace}/{names.ELECTION_LEASE}"

    @property
    def _path(self) -> str:
        return path(LEASES, self._namespace, names.ELECTION_LEASE)

    # --- What comes of them -----------------------------------------------------------------------------------------

    def _take(self, candidate: Candidate) -> None:
        """Go by this from now on."""
        self._candidate = candidate
        self._kube.fence.open_until(candidate.until)
        self._leadership.holder = candidate.record.holder if candidate.record else ""

    def _tell(self) -> None:
        """Say what has changed, and what is wrong again and again, though not often."""
        it, now = self._candidate, self._clock()
        if self._leadership.problem:
            meanwhile = "" if it.leads(now) else "; this replica does nothing meanwhile"
            self._words.warn(f"{self._leadership.problem}{meanwhile}", now)
        elif it.leads(now):
            self._words.say(f"leading as {it.me}")
        elif it.current and it.record and it.record.version:
            self._words.say(election.standing_by(it))


class _Words:
    """Writes a line when it differs from the last one, and a warning again after a while."""

    def __init__(self) -> None:
        self._last = ""
        self._at = 0.0

    def say(self, line: str) -> None:
        if line != self._last:
            log.info("%s", line)
            self._last = line

    def warn(self, line: str, now: float) -> None:
        if line != self._last or now - self._at >= SAY_AGAIN_SECONDS:
            log.warning("%s", line)
            self._last, self._at = line, now


# --- The Lease --------------------------------------------------------------------------------------------------------


class _Meta(msgspec.Struct, rename="camel"):
    resource_version: str = ""


class _Spec(msgspec.Struct, rename="camel"):
    holder_identity: str | None = None
    lease_duration_seconds: int | None = None
    renew_time: str | None = None
    lease_transitions: int | None = None


class _Lease(msgspec.Struct):
    metadata: _Meta
    spec: _Spec | None = None


def _record(data: bytes) -> Record:
    """Return what an answer says of the Lease. Raises msgspec.MsgspecError."""
    lease = msgspec.json.decode(data, type=_Lease)
    spec = lease.spec or _Spec()
    return Record(
        version=lease.metadata.resource_version,
        holder=spec.holder_identity or "",
        seconds=spec.lease_duration_seconds,
        renewed=spec.renew_time or "",
        transitions=spec.lease_transitions or 0,
    )


def _now() -> str:
    """Return the time as Kubernetes writes a MicroTime. It is for people; nobody here reads it as a time."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _problem(error: KubeError, namespace: str) -> str:
    lease = f"Lease {namespace}/{names.ELECTION_LEASE}"
    if error.status == 403:
        return (
            f"the election cannot be held: the operator may not use the {lease} ({error.message}); grant its "
            f"ServiceAccount get, create and patch on leases.coordination.k8s.io of that name in namespace {namespace}"
        )
    if error.status == 404:
        return (
            f"the election cannot be held: there is no namespace {namespace} for its Lease; "
            "create it, or name another in --leader-elect-namespace"
        )
    return f"the election cannot be held: the {lease} cannot be used: {error.message}"
