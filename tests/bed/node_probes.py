"""The probes of a container, asked as a kubelet asks them (pkg/kubelet/prober/worker.go).

A result counts once it came as often in a row as its threshold says. A frozen node asks nothing.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from aiohttp import ClientError, ClientSession, ClientTimeout

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from tests.bed.kube import Object


async def results(
    probe: Object, ask: Callable[[Object], Awaitable[bool]], awake: Callable[[], Awaitable[object]]
) -> AsyncGenerator[bool]:
    """Each result that counts, for ever."""
    streak, last = 0, False
    await asyncio.sleep(probe.get("initialDelaySeconds", 0))
    while True:
        await awake()
        result = await ask(probe)
        streak = streak + 1 if result == last else 1
        last = result
        if streak >= (probe.get("successThreshold", 1) if result else probe.get("failureThreshold", 3)):
            yield result
        await asyncio.sleep(probe.get("periodSeconds", 10))


async def http_answers(action: Object, address: str, ports: dict[str, int], patience: float) -> bool:
    """Whether an `httpGet` answers with a status from 200 to 399 in time; at this address unless it names its host."""
    port = ports.get(str(action["port"]), action["port"])
    host = action.get("host") or address
    url = f"{action.get('scheme', 'HTTP').lower()}://{host}:{port}/{action.get('path', '/').lstrip('/')}"
    headers = {"User-Agent": "kube-probe/1.37"} | {
        each["name"]: each["value"] for each in action.get("httpHeaders", [])
    }
    try:
        async with (
            ClientSession(timeout=ClientTimeout(total=patience)) as session,
            session.get(url, headers=headers, allow_redirects=False, ssl=False) as answer,
        ):
            return 200 <= answer.status < 400
    except (ClientError, OSError, TimeoutError):
        return False


def named_ports(container: Object) -> dict[str, int]:
    """The container's ports by name."""
    return {each["name"]: each["containerPort"] for each in container.get("ports", []) if "name" in each}
