"""Replicas of the operator that hold an election, each behind a proxy of its own, so that a test knows who did what.

async with election(bed, rights, ns) as replicas, replicas.start("a") as one, replicas.start("b") as two:
    await replicas.led_by(one)
    await two.stands_by()
    await one.operator.kill()
    await replicas.led_by(two, within=15)
"""

from __future__ import annotations

import json
import os
import re
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aiohttp import ClientSession, web

from tests.bed.installation import NAME
from tests.faults.proxy import Proxy

if TYPE_CHECKING:
    import signal
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from tests.bed.bed import Bed, Operator
    from tests.faults.proxy import Call

Object = dict[str, Any]

LEASE = "telegrambot-operator"
# How long a failover may take. These bound a wait; what it took is in the test's output.
AFTER_A_KILL = 15.0
AFTER_A_STOP = 2.0
_NAME = re.compile(r"standing for election as (\S+),")


@dataclass
class Telegram:
    """What one replica asks Telegram, on its way to the stand-in."""

    url: str
    asked: list[str] = field(default_factory=list)

    @classmethod
    @asynccontextmanager
    async def start(cls, upstream: str) -> AsyncIterator[Telegram]:
        """Pass everything on until the block ends."""
        async with ClientSession() as session:
            relay = cls("")

            async def handle(request: web.BaseRequest) -> web.StreamResponse:
                relay.asked.append(request.path.rpartition("/")[2])
                headers = {name: request.headers[name] for name in ("Content-Type", "User-Agent")}
                call = session.post(upstream + request.raw_path, data=await request.read(), headers=headers)
                async with call as answer:
                    return web.Response(status=answer.status, body=await answer.read(), content_type="application/json")

            runner = web.ServerRunner(web.Server(handle, handler_cancellation=True))
            await runner.setup()
            try:
                site = web.TCPSite(runner, "127.0.0.1", 0)
                await site.start()
                relay.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
                yield relay
            finally:
                await runner.cleanup()


@dataclass
class Replica:
    """One replica, and all that it asked for."""

    operator: Operator
    proxy: Proxy
    telegram: Telegram
    election: Election

    @property
    def name(self) -> str:
        """Its name in the election, "" until it stands for it."""
        found = _NAME.search(self.operator.log_text())
        return found[1] if found else ""

    @property
    def writes(self) -> list[Call]:
        """What it wrote, or wanted to: all but the Lease of the election."""
        return [call for call in self.proxy.writes if call.what != f"leases/{LEASE}"]

    @property
    def written(self) -> list[str]:
        """What the API server has done of that, in order."""
        return [str(call) for call, status in self.proxy.answered if status < 300 and call in self.writes]

    def says(self, text: str) -> bool:
        """Whether its log says this."""
        return text in self.operator.log_text()

    async def stands_by(self) -> None:
        """Wait until its caches are filled, and it knows who leads."""
        await self.election.bed.until(lambda: self.says("standing by: "), what=f"{self.name} stands by")

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        os.kill(self.operator.pid, number)


class Election:
    """An election with its Lease in one namespace, in which the operator's ServiceAccount may use it, and no other."""

    def __init__(
        self, bed: Bed, rights: Path, ns: str, account: str = NAME, guards: Sequence[str] | None = None
    ) -> None:
        """Use `election`. `rights` is the kubeconfig of the operator's ServiceAccount in namespace `account`.

        `guards` are the namespaces that are guarded: that of the Lease unless told otherwise, all where it is empty.
        """
        self.bed = bed
        self.ns = ns
        self._rights = rights
        self._account = account
        self._guards = [f"--namespace={each}" for each in ([ns] if guards is None else guards)]

    @asynccontextmanager
    async def start(self, installation: str = "here", *more: str, silence: int = 330) -> AsyncIterator[Replica]:
        """A replica of an installation. It is killed when the block ends."""
        where = ("--leader-elect", "--leader-elect-namespace", self.ns, *self._guards)
        async with Proxy.start(self._rights, self.bed.folder) as proxy, Telegram.start(self.bed.telegram.url) as relay:
            environment = {
                "OPERATOR_NAMESPACE": installation,
                "TELEGRAM_API_URL": relay.url,
                "TELEGRAM_SILENCE_SECONDS": str(silence),
            }
            begin = self.bed.operator(*where, *more, kubeconfig=proxy.kubeconfig, env=environment)
            async with begin as operator:
                yield Replica(operator, proxy, relay, self)

    async def lease(self) -> Object:
        """The Lease's spec; empty where there is none."""
        found = await self.bed.kube.get("leases", self.ns, LEASE)
        spec: Object = (found or {}).get("spec", {})
        return spec

    async def led_by(self, *replicas: Replica, within: float = 60.0) -> Replica:
        """Wait until the Lease says that one of these leads, and print how long that took; returns which."""
        began = time.monotonic()

        async def leader() -> Replica | None:
            holder = (await self.lease()).get("holderIdentity")
            return next((each for each in replicas if holder and each.name == holder), None)

        names = " or ".join(each.name or "one that starts" for each in replicas)
        found: Replica = await self.bed.until(leader, patience=within, what=f"{names} leads")
        print(f"{found.name} leads after {time.monotonic() - began:.2f} s")
        return found

    async def edit(self, **spec: Any) -> None:
        """Change the Lease by hand."""
        patch = json.dumps({"spec": spec})
        await self.bed.kubectl("-n", self.ns, "patch", "lease", LEASE, "--type=merge", "-p", patch)

    async def permit(self) -> None:
        """Grant the operator's ServiceAccount what it needs for the election, and nothing else."""
        named = {"name": LEASE, "namespace": self.ns}
        subject = {"kind": "ServiceAccount", "name": NAME, "namespace": self._account}
        api = "rbac.authorization.k8s.io"
        rule = {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "resourceNames": [LEASE]}
        role = {"apiVersion": f"{api}/v1", "kind": "Role", "metadata": named}
        reference = {"apiGroup": api, "kind": "Role", "name": LEASE}
        binding = {"apiVersion": f"{api}/v1", "kind": "RoleBinding", "metadata": named, "roleRef": reference}
        rules = [rule | {"verbs": ["get", "create", "patch"]}]
        await self.bed.apply([role | {"rules": rules}, binding | {"subjects": [subject]}])

    async def let_go(self) -> None:
        """Make the Lease as an earlier leader leaves it, so that the first replica need not wait."""
        kind = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": LEASE}}
        spec = {"holderIdentity": "", "leaseDurationSeconds": 1}
        await self.bed.kube.create("leases", self.ns, kind | {"spec": spec})


@asynccontextmanager
async def election(bed: Bed, rights: Path, ns: str) -> AsyncIterator[Election]:
    """An election that was held before, and whose last leader has stopped."""
    held = Election(bed, rights, ns)
    await held.permit()
    await held.let_go()
    yield held
