"""
A lock by which one process at a time writes a folder or a file.

The operating system releases it with its process, however that ends, so a killed command blocks nothing. Windows has no
such lock that goes with its file: two processes are not kept apart there.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_OWN = 0o600


class Busy(OSError):
    """Another process holds the lock."""


@contextlib.contextmanager
def held(lock: Path) -> Iterator[None]:
    """
    Hold a lock file for the length of the block; it is deleted at the end.

    Raises
    ------
    Busy
        Another process holds it.
    OSError
        The file cannot be written.
    """
    if fcntl is None:
        yield
        return
    descriptor = _locked(lock)
    try:
        yield
    finally:
        lock.unlink(missing_ok=True)  # while it is held: a process that opened it before sees that it is gone
        os.close(descriptor)


def beside(target: Path) -> Path:
    """Return the lock file of a folder or file that is replaced as a whole, so that the lock cannot be in it."""
    return target.with_name(f".{target.name}.lock")


def _locked(lock: Path) -> int:
    while True:
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, _OWN)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(descriptor).st_nlink:
                return descriptor
        except BlockingIOError:
            os.close(descriptor)
            raise Busy(errno.EBUSY, "another process writes it") from None
        except OSError:
            os.close(descriptor)
            raise
        os.close(descriptor)  # its holder deleted it between the two calls: open the new one
