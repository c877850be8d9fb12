"""The command lines of the control plane's four programs, as one machine's loopback needs them.

Close to what kubeadm sets, apart from: one etcd on a Unix socket that may lose data with the machine, clients without
the default rate limits, and a node monitor that notices a lost node within seconds. A flag that is given twice counts
the second time, so a test's own flags go to the end.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.bed.pki import Authority, Pair

NODE_GRACE = "8s"  # a node that is silent this long is NotReady; Kubernetes' own default is 50 s
_CLIENT = ("--kube-api-qps=500", "--kube-api-burst=1000")  # thousands of Deployments, not dozens
_LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Layout:
    """Where everything of one control plane lies. `ports` are held open for their programs, which share them."""

    folder: Path
    ports: Mapping[str, int]
    authority: Authority
    serving: Pair
    admin: Pair
    kubelet_client: Pair
    service_accounts: Pair

    @property
    def etcd_socket(self) -> Path:
        """Where etcd listens for the API server."""
        return self.folder / "etcd.sock"

    def url(self, program: str) -> str:
        """The base address of a program that serves HTTPS."""
        return f"https://{_LOOPBACK}:{self.ports[program]}"

    def serve(self, program: str) -> list[str]:
        """The flags with which a program serves on its held port."""
        return [
            f"--bind-address={_LOOPBACK}",
            f"--secure-port={self.ports[program]}",
            "--permit-port-sharing",
            f"--tls-cert-file={self.serving.certificate}",
            f"--tls-private-key-file={self.serving.key}",
        ]


def etcd(layout: Layout) -> list[str]:
    """One member, on Unix sockets; the peer address is relative because etcd takes no absolute one there."""
    peer = "unix://peer:1"
    return [
        f"--data-dir={layout.folder / 'etcd'}",
        f"--listen-client-urls=unix://{layout.etcd_socket}",
        f"--advertise-client-urls=unix://{layout.etcd_socket}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=default={peer}",
        "--unsafe-no-fsync",
        "--log-level=warn",
    ]


def api_server(layout: Layout, authorization: str) -> list[str]:
    """The API server, which reaches kubelets at their nodes' InternalIP and kubelet port."""
    authority = layout.authority.certificate
    return [
        *layout.serve("kube-apiserver"),
        f"--etcd-servers=unix://{layout.etcd_socket}",
        f"--client-ca-file={authority}",
        f"--authorization-mode={authorization}",
        "--service-cluster-ip-range=10.96.0.0/16",
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
        f"--service-account-key-file={layout.service_accounts.certificate}",
        f"--service-account-signing-key-file={layout.service_accounts.key}",
        f"--kubelet-client-certificate={layout.kubelet_client.certificate}",
        f"--kubelet-client-key={layout.kubelet_client.key}",
        f"--kubelet-certificate-authority={authority}",
        "--kubelet-preferred-address-types=InternalIP",
        "--endpoint-reconciler-type=none",  # the Service `kubernetes` may not have a loopback address behind it
        "--allow-privileged",
    ]


def controller_manager(layout: Layout, kubeconfig: Path) -> list[str]:
    """The controller manager, each controller with its own ServiceAccount, as clusters have it."""
    return [
        *layout.serve("kube-controller-manager"),
        f"--kubeconfig={kubeconfig}",
        "--leader-elect=false",
        "--use-service-account-credentials",
        f"--service-account-private-key-file={layout.service_accounts.key}",
        f"--root-ca-file={layout.authority.certificate}",
        *_CLIENT,
        "--concurrent-deployment-syncs=25",
        "--concurrent-replicaset-syncs=25",
        "--node-monitor-period=1s",
        f"--node-monitor-grace-period={NODE_GRACE}",
        "--node-startup-grace-period=20s",
        "--node-eviction-rate=10",  # nodes per second; the default of one in ten seconds is for large clusters
    ]


def scheduler(layout: Layout, kubeconfig: Path) -> list[str]:
    """The scheduler with its default profile."""
    return [
        *layout.serve("kube-scheduler"),
        f"--kubeconfig={kubeconfig}",
        "--leader-elect=false",
        *_CLIENT,
    ]
