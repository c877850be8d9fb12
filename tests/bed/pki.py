"""Keys, certificates and kubeconfigs of a control plane: one authority per bed, valid for two days.

    authority = Authority.new(folder)
    pair = authority.issue("kube-apiserver", names=["kubernetes"], addresses=["127.0.0.1"])
    admin = authority.issue("admin", groups=["system:masters"])
    kubeconfig(folder / "admin.kubeconfig", url, authority, admin)

Kubernetes reads the user from a client certificate's common name and the groups from its organizations
(https://kubernetes.io/docs/reference/access-authn-authz/authentication/#x509-client-certificates).
"""

from __future__ import annotations

import base64
import datetime as dt
import ipaddress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_VALID = dt.timedelta(days=2)
_CLOCK_SKEW = dt.timedelta(minutes=5)
_USES = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH])


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its private key, as PEM files."""

    certificate: Path
    key: Path


class Authority:
    """Signs every certificate of one bed. `certificate` is the PEM file that all of them are checked against."""

    def __init__(self, folder: Path, key: ec.EllipticCurvePrivateKey, root: x509.Certificate) -> None:
        """Use `Authority.new`."""
        self.certificate = folder / "authority.crt"
        self._folder = folder
        self._key = key
        self._root = root

    @classmethod
    def new(cls, folder: Path) -> Authority:
        """A fresh authority that writes into `folder`."""
        key = _new_key()
        name = _subject("telegrambot-bed", [])
        root = (
            _draft(name, name, key)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .sign(key, hashes.SHA256())
        )
        authority = cls(folder, key, root)
        authority.certificate.write_bytes(_pem(root))
        return authority

    def issue(
        self,
        file: str,
        *,
        user: str = "",
        groups: Iterable[str] = (),
        names: Iterable[str] = (),
        addresses: Iterable[str] = (),
    ) -> Pair:
        """A certificate for a client (`user` and `groups`), a server (`names` and `addresses`), or both.

        The user is the file's name unless given. Both files, `file`.crt and `file`.key, are written into the
        authority's folder, over whatever was there.
        """
        key = _new_key()
        draft = _draft(_subject(user or file, groups), self._root.subject, key).add_extension(_USES, critical=False)
        general = [x509.DNSName(name) for name in names]
        general_addresses = [x509.IPAddress(ipaddress.ip_address(address)) for address in addresses]
        if general or general_addresses:
            draft = draft.add_extension(x509.SubjectAlternativeName([*general, *general_addresses]), critical=False)
        pair = Pair(self._folder / f"{file}.crt", self._folder / f"{file}.key")
        pair.certificate.write_bytes(_pem(draft.sign(self._key, hashes.SHA256())))
        _write_key(pair.key, key)
        return pair


def signing_keys(folder: Path) -> Pair:
    """A key pair for ServiceAccount tokens; its `certificate` is a bare public key, which is what Kubernetes wants."""
    key = _new_key()
    pair = Pair(folder / "service-accounts.pub", folder / "service-accounts.key")
    public = key.public_key()
    spki = serialization.PublicFormat.SubjectPublicKeyInfo
    pair.certificate.write_bytes(public.public_bytes(serialization.Encoding.PEM, spki))
    _write_key(pair.key, key)
    return pair


def kubeconfig(path: Path, url: str, authority: Authority, user: Pair | str) -> Path:
    """Write a kubeconfig that holds all it needs: for a client certificate, or for a bearer token. Returns `path`."""
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {"name": "bed", "cluster": {"server": url, "certificate-authority-data": _encoded(authority.certificate)}}
        ],
        "users": [{"name": "bed", "user": _credentials(user)}],
        "contexts": [{"name": "bed", "context": {"cluster": "bed", "user": "bed", "namespace": "default"}}],
        "current-context": "bed",
    }
    path.touch(mode=0o600)
    path.write_text(yaml.safe_dump(content))
    return path


def _credentials(user: Pair | str) -> dict[str, Any]:
    if isinstance(user, str):
        return {"token": user}
    return {"client-certificate-data": _encoded(user.certificate), "client-key-data": _encoded(user.key)}


def _encoded(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()


def _new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def _subject(name: str, groups: Iterable[str]) -> x509.Name:
    organizations = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
    return x509.Name([*organizations, x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _draft(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return x509.CertificateBuilder(
        issuer_name=issuer,
        subject_name=subject,
        public_key=key.public_key(),
        serial_number=x509.random_serial_number(),
        not_valid_before=now - _CLOCK_SKEW,
        not_valid_after=now + _VALID,
    )


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _write_key(path: Path, key: ec.EllipticCurvePrivateKey) -> None:
    path.touch(mode=0o600)
    # SEC 1, "EC PRIVATE KEY": the one form that every Kubernetes key flag reads.
    traditional = serialization.PrivateFormat.TraditionalOpenSSL
    path.write_bytes(key.private_bytes(serialization.Encoding.PEM, traditional, serialization.NoEncryption()))
