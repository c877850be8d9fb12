"""Requests to the API server: raw JSON over the connection pool and credentials of `kubernetes.aio`.

The generated client would parse every answer into a tree of models that nobody here needs; its configuration, TLS,
proxies, exec plugins and token refresh are what we want of it.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

import aiohttp
import msgspec
from kubernetes.aio.client import ApiClient, Configuration

from ..core.rights import VERBS, Lack, lack, target
from ..names import FIELD_MANAGER
from . import credentials
from .fence import Fence
from .health import moved
from .rights import Rights

log = logging.getLogger(__name__)

Json = dict[str, Any]
MERGE = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"
APPLY = "application/apply-patch+yaml"
REQUEST_SECONDS = 15.0
CONNECT_SECONDS = 5.0
# For how long a write may stay unanswered once this replica leads no more: less than passes until somebody else may.
IN_FLIGHT_SECONDS = 3.0
# A watch gets a bookmark about once a minute (https://kubernetes.io/docs/reference/using-api/api-concepts/#watch-bookmarks).
SILENCE_SECONDS = 150.0
# How often credentials are read again where nothing has changed in their files: a plugin may have others to give.
RELOAD_SECONDS = 5.0
LOOK_SECONDS = 5.0

# Where nothing at all came back over a connection: not even a refusal.
SILENT = "Silent"
# Where the API server shows a certificate that the CA in use has not signed: both may have been renewed.
UNTRUSTED = "Untrusted"


class KubeError(Exception):
    """A request failed. `status` is the HTTP status, 0 where there was no answer; `reason` is the API's own word."""

    def __init__(
        self, status: int, reason: str, message: str, *, retry_after: float | None = None, details: Json | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.message = message
        self.retry_after = retry_after
        self.details = details or {}

    @property
    def wants_credentials(self) -> bool:
        """Whether other credentials may help: they may lie in their files already."""
        return self.status == 401 or self.reason == UNTRUSTED

    @property
    def lack(self) -> Lack | None:
        """The right that is lacking, where that is why."""
        return lack(self.message) if self.status == 403 else None

    @property
    def sentence(self) -> str:
        """The message for a person: which right is lacking, where it says so."""
        return str(self.lack or self.message)


# What has to hold when a request goes out. Raises KubeError where it does not.
_MUST_HOLD: ContextVar[Callable[[], None]] = ContextVar("must_hold", default=lambda: None)


def _looks_before_it_sends() -> aiohttp.TraceConfig:
    """Look once more when there is a connection: to wait for one, and to make one, may take long."""

    async def look(*_: object) -> None:
        _MUST_HOLD.get()()

    trace = aiohttp.TraceConfig()
    trace.on_connection_reuseconn.append(look)
    trace.on_connection_create_end.append(look)
    return trace


@dataclass(frozen=True, slots=True)
class _Call:
    """One request, without its credentials."""

    method: str
    path: str
    query: Mapping[str, str] | None = None
    body: Any = None
    content_type: str = "application/json"
    accept: str = "application/json"


# Called with verb, resource, HTTP status (0: no answer) and seconds, None for a watch, which takes as long as it likes.
Told = Callable[[str, str, int, float | None], None]


class Kube:
    """One pool of connections to one API server. `told` hears of every request that has ended, and of every watch.

    `agent` is the name under which the audit log has it. Nothing is changed while the `fence` is closed: that ends in a
    KubeError, as a lost race does.
    """

    agent = FIELD_MANAGER

    def __init__(self, path: str | None, found: credentials.Credentials, told: Told = lambda *_: None) -> None:
        self._told = told
        self._path = path
        self.fence = Fence()
        self._credentials = found
        self._api = _client(found)
        self._renewals = 0
        self._renewed = asyncio.Event()
        self._reloaded = time.monotonic()
        self._reloading = asyncio.Lock()
        self._complaint = ""
        self.rights = Rights()

    @classmethod
    async def connect(cls, path: str | None, told: Told = lambda *_: None) -> "Kube":
        """Return a client for the kubeconfig, or for the service account. Makes no request yet."""
        return cls(path, await credentials.read(path), told)

    @property
    def configuration(self) -> Configuration:
        """The configuration in use; it changes when credentials are read again."""
        configuration: Configuration = self._api.configuration
        return configuration

    async def close(self) -> None:
        """Close all connections."""
        await self._api.close()

    async def get(
        self,
        path: str,
        query: Mapping[str, str] | None = None,
        *,
        accept: str = "application/json",
        seconds: float = REQUEST_SECONDS,
    ) -> bytes:
        """Return the body of a GET, which may take so many seconds. Raises KubeError."""
        return await self.request("GET", path, query, accept=accept, seconds=seconds)

    async def patch(self, path: str, body: Any, kind: str = MERGE, query: Mapping[str, str] | None = None) -> bytes:
        """Patch an object as our field manager and return it. Raises KubeError."""
        return await self.request("PATCH", path, {"fieldManager": FIELD_MANAGER, **(query or {})}, body, kind)

    async def patch_unfenced(self, path: str, body: Any, kind: str, query: Mapping[str, str], seconds: float) -> bytes:
        """Patch the Lease that decides who leads, which alone is written by those who do not. Raises KubeError."""
        return await self._answered(_Call("PATCH", path, query, body, kind), seconds)

    async def request(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        content_type: str = "application/json",
        *,
        accept: str = "application/json",
        seconds: float = REQUEST_SECONDS,
    ) -> bytes:
        """Return the body of the answer. Raises KubeError.

        Where other credentials may help they are read again, and if they are others it is tried once more.
        """
        call = _Call(method, path, query, body, content_type, accept)
        if method == "GET":
            return await self._answered(call, seconds)
        self._look_at_the_fence()
        # It is given up before somebody else can lead: whoever asked for it may then be told that it failed, too late.
        seconds = min(seconds, self.fence.left + IN_FLIGHT_SECONDS)
        return await self.fence.through(self._fenced(call, seconds))

    async def _fenced(self, call: "_Call", seconds: float) -> bytes:
        _MUST_HOLD.set(self._look_at_the_fence)
        return await self._answered(call, seconds)

    def _look_at_the_fence(self) -> None:
        if not self.fence.is_open:
            raise KubeError(409, "NotLeading", "this replica does not lead, so it changes nothing")

    async def _answered(self, call: "_Call", seconds: float) -> bytes:
        timeout = aiohttp.ClientTimeout(total=seconds, connect=CONNECT_SECONDS)
        used = self._renewals
        try:
            return await self._once(call, timeout)
        except KubeError as error:
            if not error.wants_credentials or not await self.reload(used):
                raise
            return await self._once(call, timeout)

    async def _once(self, call: "_Call", timeout: aiohttp.ClientTimeout) -> bytes:
        began, status = time.monotonic(), 0
        try:
            response = await self._send(call, timeout)
            async with response:
                data = await response.read()
            status = response.status
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise _unanswered(error, "the API server gave no answer") from None
        finally:
            moved()
            self._told(*about(call.method, call.path), status, time.monotonic() - began)
        self._judge(call, response, data)
        return data

    def _judge(self, call: "_Call", response: aiohttp.ClientResponse, data: bytes = b"") -> None:
        """Take in whether a request was allowed. Raises KubeError where the answer is an error."""
        if response.status < 400:
            self.rights.allowed(call.method, call.path, watch="watch" in (call.query or ()))
            return
        error = _error(response.status, data, response.headers.get("Retry-After"))
        if response.status == 403:
            self.rights.refused(error.message)
        raise error

    async def _send(self, call: "_Call", timeout: aiohttp.ClientTimeout) -> aiohttp.ClientResponse:
        headers = {"Accept": call.accept, "Content-Type": call.content_type, "User-Agent": self.agent}
        await self._api.update_params_for_auth(headers, [], ["BearerToken"], call.path, call.method, call.body)
        url = self.configuration.host + call.path + (f"?{urlencode(call.query)}" if call.query else "")
        answer = await self._api.rest_client.request(
            call.method, url, headers=headers, body=call.body, _request_timeout=timeout
        )
        response: aiohttp.ClientResponse = answer.response
        return response

    @asynccontextmanager
    async def watch(self, path: str, query: Mapping[str, str]) -> AsyncIterator[AsyncIterator[bytes]]:
        """Open a watch and give its lines. Raises KubeError, also when the line is cut or silent."""
        timeout = aiohttp.ClientTimeout(total=None, connect=CONNECT_SECONDS, sock_read=SILENCE_SECONDS)
        try:
            call = _Call("GET", path, {**query, "watch": "1"})
            response = await self._send(call, timeout)
            self._told("watch", about("GET", path)[1], response.status, None)
            async with response:
                self._judge(call, response, await response.read() if response.status >= 400 else b"")
                yield _lines(response)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            self._told("watch", about("GET", path)[1], 0, None)
            raise _unanswered(error, "the watch broke off") from None

    # --- Credentials ------------------------------------------------------------------------------------------------

    async def keep_fresh(self) -> None:
        """Read the credentials again whenever their files have changed, for ever."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            await self.look()

    async def look(self) -> None:
        """Read the credentials again if their files have changed."""
        if self._credentials.changed():
            await self.reload(self._renewals)

    async def renewed(self) -> None:
        """Wait until other credentials are in use than now."""
        await self._renewed.wait()

    async def reload(self, used: int | None = None) -> bool:
        """Read the credentials again, as after a 401. Returns whether others are in use than were for the request.

        `used`: how many times they had been renewed when it was sent, if not now.
        """
        used = self._renewals if used is None else used
        async with self._reloading:
            if used == self._renewals and self._worth_reading():
                self._reloaded = time.monotonic()
                await self._read()
            return used != self._renewals

    def _worth_reading(self) -> bool:
        return self._credentials.changed() or time.monotonic() - self._reloaded >= RELOAD_SECONDS

    async def _read(self) -> None:
        try:
            fresh = await credentials.read(self._path)
            old, self._api = self._api, self._client_for(fresh)
        except credentials.UNREADABLE as error:
            self._complain(type(error).__name__)
            return
        others = old is not self._api or fresh.token != self._credentials.token
        self._credentials, self._complaint = fresh, ""
        if old is not self._api:
            asyncio.get_running_loop().call_later(REQUEST_SECONDS, lambda: asyncio.ensure_future(old.close()))
        if others:
            self._announce()

    def _client_for(self, fresh: credentials.Credentials) -> ApiClient:
        """Return a client for these: the one in use where another token is all, so that no watch breaks off."""
        if fresh.connection != self._credentials.connection:
            return _client(fresh)
        self.configuration.api_key = fresh.configuration.api_key
        self.configuration.refresh_api_key_hook = fresh.configuration.refresh_api_key_hook
        return self._api

    def _announce(self) -> None:
        log.info("the credentials for the API server have changed; the new ones are in use")
        self._renewals += 1
        self._renewed.set()
        self._renewed = asyncio.Event()

    def _complain(self, why: str) -> None:
        level = logging.DEBUG if why == self._complaint else logging.WARNING
        log.log(level, "credentials could not be read again: %s", why)
        self._complaint = why


def _client(found: credentials.Credentials) -> ApiClient:
    found.configuration.trace_configs = [_looks_before_it_sends()]
    return ApiClient(found.configuration)


async def _lines(response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    """Yield whole lines of any length; a torn last line counts for nothing."""
    rest = bytearray()
    async for chunk in response.content.iter_any():
        rest += chunk
        if b"\n" not in chunk:
            continue
        *lines, last = bytes(rest).split(b"\n")
        rest = bytearray(last)
        for line in lines:
            if line:
                yield line


class _StatusBody(msgspec.Struct):
    reason: str = ""
    message: str = ""
    details: Json | None = None


def _unanswered(error: Exception, what: str) -> KubeError:
    """Return the error for a request without an answer: a server that cannot be connected to is down, not silent."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return KubeError(0, UNTRUSTED, f"{what}: {_why_untrusted(error.certificate_error)}")
    silent = isinstance(error, TimeoutError) and not isinstance(error, aiohttp.ConnectionTimeoutError)
    return KubeError(0, SILENT if silent else "NoAnswer", f"{what} ({type(error).__name__})")


def _why_untrusted(error: Exception) -> str:
    why = getattr(error, "verify_message", "") or type(error).__name__
    return f"its certificate is not trusted ({why}); renew the CA where the operator's credentials are, if that is old"


def _error(status: int, data: bytes, retry_after: str | None) -> KubeError:
    try:
        told = msgspec.json.decode(data, type=_StatusBody)
    except msgspec.DecodeError:
        told = _StatusBody(message=f"HTTP {status}")
    seconds = float(retry_after) if retry_after and retry_after.isdigit() else None
    return KubeError(status, told.reason, told.message or f"HTTP {status}", retry_after=seconds, details=told.details)


def path(resource: str, namespace: str | None = None, name: str | None = None, sub: str | None = None) -> str:
    """Return the path of a resource, given as `group/version/plural`, or `v1/plural` for the core group."""
    group_version, _, plural = resource.rpartition("/")
    base = f"/api/{group_version}" if group_version == "v1" else f"/apis/{group_version}"
    parts = [base]
    if namespace:
        parts += ["namespaces", quote(namespace)]
    parts.append(plural)
    parts += [quote(part) for part in (name, sub) if part]
    return "/".join(parts)


PODS = "v1/pods"
NODES = "v1/nodes"
CONFIGMAPS = "v1/configmaps"
SECRETS = "v1/secrets"
AUTOSCALERS = "autoscaling/v2/horizontalpodautoscalers"
MUTATING_POLICIES = "admissionregistration.k8s.io/v1/mutatingadmissionpolicies"
MUTATING_BINDINGS = "admissionregistration.k8s.io/v1/mutatingadmissionpolicybindings"
VALIDATING_POLICIES = "admissionregistration.k8s.io/v1/validatingadmissionpolicies"
VALIDATING_BINDINGS = "admissionregistration.k8s.io/v1/validatingadmissionpolicybindings"
DEPLOYMENTS = "apps/v1/deployments"
REPLICASETS = "apps/v1/replicasets"
EVENTS = "events.k8s.io/v1/events"
LEASES = "coordination.k8s.io/v1/leases"
BOTS = "singleton.bot/v1alpha1/telegrambots"

_KNOWN = {
    each.rpartition("/")[2]
    for each in (
        *(PODS, NODES, CONFIGMAPS, SECRETS, AUTOSCALERS, DEPLOYMENTS, REPLICASETS, EVENTS, LEASES, BOTS),
        *(MUTATING_POLICIES, MUTATING_BINDINGS, VALIDATING_POLICIES, VALIDATING_BINDINGS),
    )
}
_SUBRESOURCES = {"", "log", "status"}


def about(method: str, path: str) -> tuple[str, str]:
    """Return verb and resource of a request, as a Role names them; a resource that nothing here asks for is `other`."""
    found = target(path)
    if found is None or found.plural not in _KNOWN or found.sub not in _SUBRESOURCES:
        return VERBS.get(method, "get"), "other"
    return found.verb(method), found.resource
