"""
The settings of the world that was started last, for other terminals: ``. .local/world.env``.

One line a setting, as a shell reads them. The file is there while its world is; one that another world has written
meanwhile is left to that.
"""

from __future__ import annotations

import contextlib
import os
import shlex
from collections.abc import Iterator
from pathlib import Path

from local.node import CACHE
from local.world import Addresses

SETTINGS = CACHE / "world.env"


@contextlib.contextmanager
def settings_file(addresses: Addresses, path: Path = SETTINGS) -> Iterator[None]:
    """Keep the file for the length of the block: settings of ``python -m sync``, and ``API``, the functions' root."""
    text = "".join(
        f"export {name}={shlex.quote(value)}\n" for name, value in {**addresses.env, "API": addresses.api}.items()
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_suffix(f".{os.getpid()}")
    new.write_text(text, "utf-8")
    new.replace(path)
    try:
        yield
    finally:
        with contextlib.suppress(FileNotFoundError):
            if path.read_text("utf-8") == text:
                path.unlink()
