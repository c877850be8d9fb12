"""A leash: a program started on it is killed by the kernel when the process that started it dies, however that dies.

    subprocess.Popen(leash.on(["etcd", "--data-dir", folder]))

It is PR_SET_PDEATHSIG of prctl(2), set by this file run as a tiny program that then becomes the real one; the process
id stays the same. The kernel's "parent" is the thread that started the program: start it from the main thread, or from
one that lives as long. Children of the program are not on the leash.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1  # from linux/prctl.h


def on(command: list[str]) -> list[str]:
    """The command line that runs `command` on a leash held by this process. The program is looked up on the PATH."""
    return [sys.executable, "-I", "-S", __file__, str(os.getpid()), *command]


def _become(parent: int, command: list[str]) -> None:
    for ignored in (signal.SIGPIPE, signal.SIGXFSZ):  # by Python, and what is ignored stays so in the real program
        signal.signal(ignored, signal.SIG_DFL)
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before the leash was on
        sys.exit("the process that held the leash is gone")
    try:
        os.execvp(command[0], command)  # noqa: S606 no shell is wanted here
    except OSError as error:
        sys.exit(f"cannot run {command[0]}: {error.strerror}")


if __name__ == "__main__":
    _become(int(sys.argv[1]), sys.argv[2:])
