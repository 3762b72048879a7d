"""
Files of a world in a folder that several worlds may share: each has its own, whatever was started there before.

A lock of the operating system tells whose a file is: it ends with its process, however that ends, so that what a killed
world has left is taken over.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

_OWN = 0o600
"""Settings may hold passwords."""


@contextlib.contextmanager
def claimed(path: Path) -> Iterator[tuple[Path, TextIO]]:
    """
    Own a file for the length of the block: empty, and open for writing line by line.

    Returns
    -------
    tuple
        Its path and itself: the one that is asked for, or, while another world has that, the first of ``name-2``,
        ``name-3``, … that is free.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    names = itertools.chain([path], (path.with_stem(f"{path.stem}-{number}") for number in itertools.count(2)))
    for candidate in names:
        file = _locked(candidate)
        if file is not None:
            with file:
                yield candidate, file
            return


def _locked(path: Path) -> TextIO | None:
    """Open and lock; None while another world has it."""
    while True:
        file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, _OWN), "r+", buffering=1, encoding="utf-8")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            return None
        if os.fstat(file.fileno()).st_nlink:
            file.truncate(0)
            return file
        file.close()  # its world deleted it between the two calls: open the new one
