"""Settings from a file, for a command: ``--env-file``."""

from __future__ import annotations

import os
from pathlib import Path

import typer


def read_env_file(path: Path) -> None:
    """
    Add the settings of a file to the environment of this process; settings that exist there stay.

    Lines are ``NAME=value`` as in a shell or in Docker: comments, quotes and ``export`` are understood, and nothing is
    expanded. A name alone stands for what the environment has.

    Raises
    ------
    typer.BadParameter
        A line is none of these; its text, which may hold a secret, is not shown.
    """
    from dotenv.parser import parse_stream  # noqa: PLC0415 -- few commands are given a file

    with path.open(encoding="utf-8") as lines:
        settings = list(parse_stream(lines))
    for setting in settings:
        if setting.error:
            text = setting.original.string  # with the empty lines before it
            number = setting.original.line + text[: len(text) - len(text.lstrip())].count("\n")
            raise typer.BadParameter(f"{path}, line {number}: expected NAME=value")
    for name, value in {setting.key: setting.value for setting in settings if setting.key}.items():
        if value is not None:
            os.environ.setdefault(name, value)
