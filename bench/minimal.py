"""The yardstick: the least that a program can do to hold Deployments at one replica. Run by `bench.quick`.

    KUBECONFIG=... python -m bench.minimal LABEL_SELECTOR

One watch, and one merge patch for each Deployment that it shows with another number than 1. No cache, no queue, no
status, no retries: it ends with an error when the watch does. The HTTP and TLS stack is the operator's own (aiohttp,
set up by kubernetes.aio), so that what differs is what an operator does beyond this.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import aiohttp
from kubernetes.aio import config
from kubernetes.aio.client import ApiClient, Configuration

DEPLOYMENTS = "/apis/apps/v1/deployments"
ENDLESS = aiohttp.ClientTimeout(total=None)


async def hold(selector: str) -> None:
    """Hold the Deployments with these labels at one replica until the watch ends."""
    configuration: Configuration = Configuration()
    await config.load_kube_config(client_configuration=configuration)
    async with ApiClient(configuration) as api:
        connector = aiohttp.TCPConnector(ssl=api.rest_client.ssl_context)
        async with aiohttp.ClientSession(configuration.host, connector=connector, raise_for_status=True) as session:
            query = {"labelSelector": selector, "watch": "true"}
            async with session.get(DEPLOYMENTS, params=query, timeout=ENDLESS) as watch:
                async for line in watch.content:
                    await correct(session, json.loads(line)["object"])


async def correct(session: aiohttp.ClientSession, deployment: dict[str, Any]) -> None:
    """Patch the Deployment if it has another number of replicas than 1."""
    if deployment["spec"]["replicas"] == 1:
        return
    metadata = deployment["metadata"]
    where = f"/apis/apps/v1/namespaces/{metadata['namespace']}/deployments/{metadata['name']}"
    headers = {"Content-Type": "application/merge-patch+json"}
    async with session.patch(where, data=b'{"spec":{"replicas":1}}', headers=headers) as answer:
        await answer.read()


if __name__ == "__main__":
    asyncio.run(hold(sys.argv[1]))
    sys.exit("the watch ended")
