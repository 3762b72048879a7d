"""Settings from a file, for a command: ``--env-file``."""

from __future__ import annotations

import os
from pathlib import Path


def read_env_file(path: Path) -> None:
    """
    Put the settings of a file into the environment of this process; what is set there already stays.

    Lines are ``NAME=value`` as in a shell or in Docker: comments, quotes and ``export`` are understood, and nothing is
    expanded.
    """
    from dotenv import dotenv_values  # noqa: PLC0415 -- few commands are given a file

    for name, value in dotenv_values(path, interpolate=False).items():
        if value is not None:
            os.environ.setdefault(name, value)
