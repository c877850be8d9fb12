"""Credentials that change in their files are taken in: over real connections, to a server with its own certificates."""

from __future__ import annotations

import asyncio
import json
import ssl
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio
from aiohttp import web

from telegrambot_operator.shell import credentials, watch
from telegrambot_operator.shell import kube as shell_kube
from telegrambot_operator.shell.kube import PODS, UNTRUSTED, Kube, KubeError, path
from tests.bed.pki import Authority

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

POD = path(PODS, "shop", "bot")


class Server:
    """An API server that takes some tokens, and asks for a client certificate by the same CA."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority = Authority.new(folder)
        self.takes = {"first", "second"}
        self.got: list[str] = []
        self.watched = asyncio.Event()
        self.port = 0
        self._runner = web.ServerRunner(web.Server(self.handle))

    async def serve(self, authority: Authority) -> None:
        """From now on with a certificate by this CA."""
        await self._runner.cleanup()
        pair = authority.issue("server", addresses=["127.0.0.1"])
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(self.authority.certificate))
        tls.load_cert_chain(pair.certificate, pair.key)
        tls.verify_mode = ssl.CERT_OPTIONAL
        self._runner = web.ServerRunner(web.Server(self.handle), shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port, ssl_context=tls, reuse_address=True).start()
        self.port = self._runner.addresses[0][1]

    async def close(self) -> None:
        await self._runner.cleanup()

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        shown = request.transport.get_extra_info("peercert") if request.transport else None
        names = [value for part in (shown or {}).get("subject", ()) for _, value in part]
        token = request.headers.get("Authorization", "").removeprefix("Bearer ").removeprefix("bearer ")
        self.got += [*names, token]
        if "watch" in request.query:
            return await self._stream(request)
        return web.json_response({}, status=200 if token in self.takes else 401)

    async def _stream(self, request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"begun\n")
        await self.watched.wait()
        await response.write(b"still there\n")
        return response


@pytest_asyncio.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    (tmp_path / "server").mkdir()
    server = Server(tmp_path / "server")
    await server.serve(server.authority)
    yield server
    await server.close()


def kubeconfig(folder: Path, server: Server, **user: str) -> str:
    """A kubeconfig that names files beside it."""
    config: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {"name": "c", "cluster": {"server": f"https://127.0.0.1:{server.port}", "certificate-authority": "ca.crt"}}
        ],
        "users": [{"name": "u", "user": user or {"tokenFile": "token"}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    (folder / "kubeconfig").write_text(json.dumps(config))
    return str(folder / "kubeconfig")


@pytest_asyncio.fixture(params=["kubeconfig", "service account"])
async def kube(
    request: pytest.FixtureRequest, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Kube]:
    """A client whose credentials are `token` and `ca.crt` in the folder."""
    (tmp_path / "token").write_text("first")
    (tmp_path / "ca.crt").write_bytes(server.authority.certificate.read_bytes())
    monkeypatch.setattr(credentials, "SERVICE_ACCOUNT", tmp_path)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(server.port))
    client = await Kube.connect(kubeconfig(tmp_path, server) if request.param == "kubeconfig" else None)
    yield client
    await client.close()


async def test_a_token_is_renewed_before_it_expires_and_no_watch_breaks_off(
    kube: Kube, server: Server, tmp_path: Path
) -> None:
    renewed = asyncio.create_task(kube.renewed())
    async with kube.watch(POD, {}) as lines:
        assert await anext(lines) == b"begun"
        replace(tmp_path / "token", "second")
        await kube.look()
        await kube.get(POD)
        server.watched.set()
        assert await anext(lines) == b"still there"
    assert server.got == ["first", "second"]
    async with asyncio.timeout(1):
        await renewed
    assert watch.connection(kube.configuration).token == "second"


async def test_a_token_that_is_not_taken_any_more_is_read_again_at_once(
    kube: Kube, server: Server, tmp_path: Path
) -> None:
    server.takes = {"second"}
    replace(tmp_path / "token", "second")
    await asyncio.gather(kube.get(POD), kube.get(POD))  # the one that comes second has missed nothing either
    assert server.got.count("second") == 2


async def test_a_refusal_is_passed_on_where_there_is_no_other_token(
    kube: Kube, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.takes = set()
    monkeypatch.setattr(shell_kube, "RELOAD_SECONDS", 0.0)
    with pytest.raises(KubeError) as refused:
        await kube.get(POD)
    assert refused.value.status == 401
    assert server.got == ["first"]


async def test_another_ca_is_named_in_the_error_and_taken_in_from_its_file(
    kube: Kube, server: Server, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    other = Authority.new(tmp_path / "other")
    await server.serve(other)
    with pytest.raises(KubeError, match=r"certificate is not trusted .*; renew the CA") as untrusted:
        await kube.get(POD)
    assert untrusted.value.reason == UNTRUSTED
    replace(tmp_path / "ca.crt", other.certificate.read_text())
    await kube.get(POD)


async def test_nothing_is_renewed_where_nothing_has_changed(kube: Kube, tmp_path: Path) -> None:
    renewed = asyncio.create_task(kube.renewed())
    replace(tmp_path / "token", "first")
    await kube.look()
    with suppress(TimeoutError):
        async with asyncio.timeout(0.01):
            await renewed
    assert renewed.cancelled()


async def test_half_a_file_changes_nothing_and_is_read_again_when_it_is_whole(
    kube: Kube, server: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    replace(tmp_path / "ca.crt", "-----BEGIN CERTIFICATE-----\nMII")
    replace(tmp_path / "token", "second")
    await kube.look()
    await kube.look()
    await kube.get(POD)
    assert server.got == ["first"]
    assert [each.message for each in caplog.records if each.levelname == "WARNING"] == [
        "credentials could not be read again: SSLError"
    ]
    replace(tmp_path / "ca.crt", server.authority.certificate.read_text())
    await kube.look()
    await kube.get(POD)
    assert server.got == ["first", "second"]


async def test_a_client_certificate_is_renewed(server: Server, tmp_path: Path) -> None:
    (tmp_path / "ca.crt").write_bytes(server.authority.certificate.read_bytes())
    files = {"client-certificate": "client.crt", "client-key": "client.key"}
    client = await Kube.connect(kubeconfig(show(server, tmp_path, "anna"), server, **files))
    server.takes = {""}
    await client.get(POD)
    show(server, tmp_path, "bert")
    await client.look()
    await client.get(POD)
    await client.close()
    assert server.got == ["anna", "", "bert", ""]


def show(server: Server, folder: Path, user: str) -> Path:
    """Lay a client certificate for this user into the folder."""
    pair = server.authority.issue(user)
    replace(folder / "client.crt", pair.certificate.read_text())
    replace(folder / "client.key", pair.key.read_text())
    return folder


def replace(file: Path, text: str) -> None:
    """Write it as a kubelet does: a new file in place of the old one."""
    new = file.with_suffix(".new")
    new.write_text(text)
    new.replace(file)
