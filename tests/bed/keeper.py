"""Kills the process groups named on stdin when stdin ends: the part of the leash that reaches grandchildren.

The kernel kills a program on a leash (leash.py), but not what that program started. So each test process has one
keeper, which reads "+<group>" and "-<group>" lines from a pipe whose other end dies with the test process.
"""

import os
import signal
import sys


def keep() -> None:
    """Note the groups until stdin ends, however that comes about; then kill those that are left."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    groups: set[int] = set()
    for line in sys.stdin:
        (groups.add if line[0] == "+" else groups.discard)(int(line[1:]))
    for group in groups:
        try:
            os.killpg(group, signal.SIGKILL)
        except ProcessLookupError:  # one that is gone must not save the others
            continue


if __name__ == "__main__":
    keep()
