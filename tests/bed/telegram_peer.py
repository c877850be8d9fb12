"""Whose connection is this? Finds the local process at the other end of a loopback TCP connection.

All pollers of a bed share one address, so a poll can only be tied to a pod through its process. The kernel lists
sockets with their inode in /proc/net/tcp and open files in /proc/<pid>/fd (Linux, proc(5)).
"""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")
_TCP_ESTABLISHED = 1  # the first byte of struct tcp_info, tcp(7); a peer that closed or died leaves CLOSE_WAIT


@dataclass(frozen=True, slots=True)
class Client:
    """One connection of a bot: its port, what it calls itself, and the process behind it where that was found.

    `session` is the session id of the process (setsid(2)). A container's processes share one, so it names the
    container even when a wrapper or a worker did the polling. `address` tells pods apart that have one each.
    """

    port: int
    user_agent: str = ""
    pid: int | None = None
    session: int | None = None
    address: str = "127.0.0.1"


def identify(address: str, port: int, server_port: int, user_agent: str) -> Client:
    """The client that holds `port` of a connection to `server_port`; without a process when that is not here."""
    pid = client_of(port, server_port)
    session = None
    if pid is not None:
        with suppress(OSError):
            session = os.getsid(pid)
    return Client(port=port, user_agent=user_agent, pid=pid, session=session, address=address)


def client_of(port: int, server_port: int) -> int | None:
    """The id of a process that has this loopback connection open, or None when nobody does any more."""
    inode = _inode(port, server_port)
    return None if inode is None else _holder(f"socket:[{inode}]")


def still_connected(connection: socket.socket | None) -> bool:
    """Whether the peer still holds its end, as the kernel knows it before the event loop has read the end of file."""
    if connection is None or connection.fileno() < 0:
        return False
    try:
        info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)
    except OSError:
        return False
    return info[0] == _TCP_ESTABLISHED


def _inode(port: int, server_port: int) -> str | None:
    for table in ("tcp", "tcp6"):
        with suppress(OSError):
            for line in (_PROC / "net" / table).read_text().splitlines()[1:]:
                _, local, remote, *rest = line.split()
                if _port(local) == port and _port(remote) == server_port:
                    return rest[6]
    return None


def _port(address: str) -> int:
    return int(address.rpartition(":")[2], 16)


def _holder(link: str) -> int | None:
    for entry in _PROC.iterdir():
        if entry.name.isdigit() and _holds(entry / "fd", link):
            return int(entry.name)
    return None


def _holds(folder: Path, link: str) -> bool:
    with suppress(OSError):  # the process ended meanwhile, or is another user's
        for name in folder.iterdir():
            with suppress(OSError):
                if str(name.readlink()) == link:
                    return True
    return False
