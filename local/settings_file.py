"""
The settings of a running world, for other terminals: ``. .local/world.env``.

One line a setting, as a shell reads them. The file is there while its world is; a second world in the same folder
writes ``world-2.env``.
"""

from __future__ import annotations

import contextlib
import os
import shlex
from collections.abc import Iterator
from pathlib import Path

from local.claimed_files import claimed
from local.node import CACHE
from local.world import Addresses
from sync.config import PREFIX

SETTINGS = CACHE / "world.env"

BREAKABLE = ("fhir", "host")
"""Parts whose process id the file has, as ``FHIR_PID`` and ``HOST_PID``: to try an outage."""


@contextlib.contextmanager
def settings_file(addresses: Addresses, path: Path = SETTINGS) -> Iterator[Path]:
    """
    Keep the file for the length of the block: settings of ``python -m sync``, ``API``, the functions' root, and ids.

    What the shell that started the world has set reaches the world's functions, and so the other terminals too.

    Returns
    -------
    Path
        Of the file; another one than ``path`` while another world has that.
    """
    ours = {name: value for name, value in os.environ.items() if name.startswith(PREFIX)}
    processes = {f"{part.upper()}_PID": str(addresses.pids[part]) for part in BREAKABLE if part in addresses.pids}
    settings = {**ours, **addresses.env, "API": addresses.api, **processes}
    with claimed(path) as (taken, file):
        file.writelines(f"export {name}={shlex.quote(value)}\n" for name, value in settings.items())
        file.flush()
        try:
            yield taken
        finally:
            taken.unlink(missing_ok=True)
