"""Temporary folders that go with their owner: at the end of the block, or, if it was killed, when the next one starts.

    with scratch.folder() as path:
        ...

A bed's folder takes over 100 MB, and a killed process removes nothing. The owner holds a lock on a file in its folder;
the kernel takes the lock away with the owner, so a folder whose lock is free belongs to nobody.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_PREFIX = "telegrambot-bed-"
_LOCK = "owned"


@contextmanager
def folder() -> Iterator[Path]:
    """A new folder that only this user can read, and no folder left of this user's killed owners."""
    sweep()
    path = Path(tempfile.mkdtemp(prefix=_PREFIX))
    draft = path / f"{_LOCK}.part"
    with draft.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        draft.rename(path / _LOCK)  # so that no other run ever sees it without the lock
        try:
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)


def sweep() -> None:
    """Remove the folders of this user whose owners were killed."""
    for path in Path(tempfile.gettempdir()).glob(_PREFIX + "*"):
        if _left(path):
            shutil.rmtree(path, ignore_errors=True)


def _left(path: Path) -> bool:
    """Whether the folder is this user's and its owner is gone."""
    try:
        if path.stat().st_uid != os.getuid():
            return False
        with (path / _LOCK).open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # it is held, or not yet there, or no longer
        return False
    return True
