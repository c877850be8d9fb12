"""Credentials as they lie in files, and whether the files have changed since: a kubelet renews a token in its place.

Where they come from: the files of a kubeconfig and those that it names, or a pod's service account
(https://kubernetes.io/docs/concepts/storage/projected-volumes/#serviceaccounttoken: "the application is responsible for
reloading the token when it rotates").
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import msgspec
from kubernetes.aio import config as kubeconfig
from kubernetes.aio.client import Configuration
from kubernetes.aio.config.incluster_config import InClusterConfigLoader
from yaml import YAMLError

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
# What kubernetes.aio raises on a file that is no kubeconfig, or is half written.
UNREADABLE = (kubeconfig.ConfigException, YAMLError, OSError, ValueError, TypeError, LookupError, AttributeError)

_State = dict[Path, tuple[int, int, int] | None]


@dataclass(frozen=True, slots=True)
class Credentials:
    """A client configuration, and what it was made of."""

    configuration: Configuration
    connection: tuple[object, ...]  # what a connection rests on: address, CA, client certificate
    token: str | None  # what each request carries, as a header has it
    state: _State  # of the files, from before they were read

    def changed(self) -> bool:
        """Whether one of the files is another one by now."""
        return _state(self.state) != self.state


async def read(path: str | None) -> Credentials:
    """Return the credentials of a kubeconfig, or of the pod's service account where path is None.

    Raises one of UNREADABLE.
    """
    state = _state(_folder_of_the_pod() if path is None else _kubeconfigs(path))
    if path is not None:
        state |= _state(_named(list(state)))
    configuration: Configuration = Configuration()
    if path is None:
        _load_service_account(configuration)
    else:
        await kubeconfig.load_kube_config(config_file=path, client_configuration=configuration, persist_config=False)
    _use_proxy_of_the_environment(configuration)
    return Credentials(configuration, _connection(configuration), configuration.api_key.get("BearerToken"), state)


def namespace_of_context(path: str | None) -> str:
    """Return the namespace of the kubeconfig's current context, or of the pod where path is None."""
    if path is None:
        return (SERVICE_ACCOUNT / "namespace").read_text().strip()
    _, current = kubeconfig.list_kube_config_contexts(config_file=path)
    return str(current["context"].get("namespace") or "default")


def _load_service_account(configuration: Configuration) -> None:
    """Load what is there now. The library would read the token again each minute, whether it has changed or not."""
    token, authority = _folder_of_the_pod()
    InClusterConfigLoader(
        token_filename=str(token), cert_filename=str(authority), try_refresh_token=False
    ).load_and_set(client_configuration=configuration)


def _folder_of_the_pod() -> list[Path]:
    return [SERVICE_ACCOUNT / "token", SERVICE_ACCOUNT / "ca.crt"]


def _kubeconfigs(path: str) -> list[Path]:
    return [Path(each).expanduser() for each in path.split(os.pathsep) if each]


class _Files(msgspec.Struct):
    token: str | None = msgspec.field(default=None, name="tokenFile")
    authority: str | None = msgspec.field(default=None, name="certificate-authority")
    certificate: str | None = msgspec.field(default=None, name="client-certificate")
    key: str | None = msgspec.field(default=None, name="client-key")


class _Entry(msgspec.Struct):
    user: _Files | None = None
    cluster: _Files | None = None


class _Kubeconfig(msgspec.Struct):
    users: list[_Entry] | None = None
    clusters: list[_Entry] | None = None


def _named(kubeconfigs: Iterable[Path]) -> list[Path]:
    """Return the files that kubeconfigs name; of what is none its reader will complain."""
    found: list[Path] = []
    for each in kubeconfigs:
        try:
            content = msgspec.yaml.decode(each.read_bytes(), type=_Kubeconfig)
        except (OSError, msgspec.MsgspecError):
            continue
        entries = (content.users or []) + (content.clusters or [])
        parts = [part for entry in entries for part in (entry.user, entry.cluster)]
        names = [name for part in parts if part for name in (part.token, part.authority, part.certificate, part.key)]
        found += [each.absolute().parent / name for name in names if name]
    return found


def _state(files: Iterable[Path]) -> _State:
    """Return what tells one version of each file from another, None where there is none."""
    return {each: _version(each) for each in files}


def _version(file: Path) -> tuple[int, int, int] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def _connection(configuration: Configuration) -> tuple[object, ...]:
    files = (configuration.ssl_ca_cert, configuration.cert_file, configuration.key_file)
    contents = tuple(Path(each).read_bytes() if each else None for each in files)
    how = (configuration.host, configuration.verify_ssl, configuration.tls_server_name, configuration.proxy)
    return (*how, *contents)


def _use_proxy_of_the_environment(configuration: Configuration) -> None:
    """Look the environment's proxy up once; aiohttp would do so, in a thread, for every single request."""
    address = urlsplit(configuration.host)
    if not configuration.proxy and not proxy_bypass(address.hostname or ""):
        configuration.proxy = getproxies().get(address.scheme)
    configuration.client_session_kwargs = {"trust_env": False}
