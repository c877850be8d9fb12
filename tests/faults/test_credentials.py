"""Credentials that change in their files: a token that expires, as a kubelet rotates it, and another CA."""

from __future__ import annotations

import base64
import json
import ssl
import time
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from aiohttp import ClientSession
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from tests.bed.installation import NAME
from tests.bed.pki import Authority
from tests.e2e.world import World, assert_healthy
from tests.faults.front import Front

if TYPE_CHECKING:
    from pathlib import Path

    from tests.bed.bed import Bed

pytestmark = [pytest.mark.bed, pytest.mark.usefixtures("rights")]

LIFE = 15  # seconds of a token; the API server gives none under ten minutes, so it is signed here
LEEWAY = 60  # seconds that a token lives longer than it says: of the library that the API server reads it with, go-jose
CHANGED = "the credentials for the API server have changed"


def signed_anew(bed: Bed, token: str) -> str:
    """A ServiceAccount's token with a short life, signed with the key of the API server."""
    head, claims = token.split(".")[:2]
    end = int(time.time()) + LIFE - LEEWAY
    body = json.loads(base64.urlsafe_b64decode(claims + "==")) | {"iat": end - 600, "nbf": end - 600, "exp": end}
    text = f"{head}.{_encoded(json.dumps(body).encode())}"
    key = serialization.load_pem_private_key(bed.cp._layout.service_accounts.key.read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    r, s = decode_dss_signature(key.sign(text.encode(), ec.ECDSA(hashes.SHA256())))
    return f"{text}.{_encoded(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def kubeconfig(folder: Path, url: str) -> Path:
    """A kubeconfig that names the files `ca` and `token` of the folder."""
    content: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "bed", "cluster": {"server": url, "certificate-authority": str(folder / "ca")}}],
        "users": [{"name": "bed", "user": {"tokenFile": str(folder / "token")}}],
        "contexts": [{"name": "bed", "context": {"cluster": "bed", "user": "bed"}}],
        "current-context": "bed",
    }
    where = folder / "kubeconfig"
    where.write_text(yaml.safe_dump(content))
    return where


def authority(folder: Path) -> Authority:
    """A CA of its own."""
    folder.mkdir()
    return Authority.new(folder)


def write(file: Path, text: str) -> None:
    """A new file in place of the old one, as a kubelet does it."""
    new = file.with_suffix(".new")
    new.write_text(text)
    new.replace(file)


async def refused(bed: Bed, token: str) -> bool:
    """Whether the API server takes the token no more: it still does for some seconds after it has expired."""
    tls = ssl.create_default_context(cafile=bed.cp.authority)
    headers = {"Authorization": f"Bearer {token}"}
    async with ClientSession() as session, session.get(f"{bed.cp.url}/version", headers=headers, ssl=tls) as answer:
        return answer.status == 401


async def test_a_token_is_renewed_in_its_file_and_the_old_one_expires(bed: Bed, ns: str, tmp_path: Path) -> None:
    world = await World.make(bed, ns)
    second = (await bed.kubectl("-n", NAME, "create", "token", NAME)).strip()
    first = signed_anew(bed, second)
    ca = authority(tmp_path / "ca-1")
    write(tmp_path / "ca", ca.certificate.read_text())
    write(tmp_path / "token", first)
    async with (
        Front.start(bed, ca) as front,
        bed.operator("--namespace", ns, kubeconfig=kubeconfig(tmp_path, front.url)) as operator,
    ):
        await world.guarded()
        write(tmp_path / "token", second)
        await bed.until(lambda: refused(bed, first), what="the first token has expired")
        await front.change(ca)  # every watch is opened anew
        await _works(world)
        assert operator.log_text().count(CHANGED) == 1
        assert "401" not in operator.log_text()
        assert await operator.stop() == 0
        assert_healthy(operator)


async def test_the_ca_of_the_api_server_changes_and_its_file_too(bed: Bed, ns: str, tmp_path: Path) -> None:
    world = await World.make(bed, ns)
    write(tmp_path / "token", (await bed.kubectl("-n", NAME, "create", "token", NAME)).strip())
    first, second = authority(tmp_path / "ca-1"), authority(tmp_path / "ca-2")
    write(tmp_path / "ca", first.certificate.read_text())
    async with (
        Front.start(bed, first) as front,
        bed.operator("--namespace", ns, kubeconfig=kubeconfig(tmp_path, front.url)) as operator,
    ):
        await world.guarded()
        await front.change(second)
        await bed.until(lambda: "renew the CA" in operator.log_text(), what="the log says what to do")
        write(tmp_path / "ca", second.certificate.read_text())
        await _works(world)
        assert operator.log_text().count(CHANGED) == 1
        assert await operator.stop() == 0
        assert_healthy(operator)


async def _works(world: World) -> None:
    """Changes of the Deployment and of the TelegramBot are seen: of the latter long before all are listed again."""
    await world.scale(2)
    await world.pinned()
    await world.settled()
    await world.edit(suspend=True)
    await world.says("Ready", "False", "Suspended")
    world.assert_never_two()
