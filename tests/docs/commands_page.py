"""Writes docs/commands.md from the commands' own help: ``python -m tests.docs.commands_page``."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from typer.main import get_command

from sync.cli import app

PAGE = Path(__file__).parents[2] / "docs" / "commands.md"

_HEAD = """\
# Commands

`python -m sync` is the command line; where the wheel is installed, `dicom-fhir-sync` is the same. Standard output
carries results only; messages go to standard error. Ctrl-C ends a command that does not say otherwise with exit
code 130.
Commands that need services read the [settings](settings.md) from the environment. In a clone, beside the world that
`make demo` or `python -m local up` runs on this machine:

```sh
. .venv/bin/activate      # use this folder's Python
. .local/world.env        # the settings of the running world
python -m sync status
```

Settings may also come from a file, by `--env-file FILE` before the command; the environment wins over it. In an
installed `dicom-fhir-sync`, `--install-completion` adds completion of commands and options to your shell. Exit code 74
says that standard output takes no more, as on a full disk.

`--help` after any command shows the same as this page, which is made from it:
`.venv/bin/python -m tests.docs.commands_page`.
"""


def page() -> str:
    """Return the page."""
    return _HEAD + "".join(_section(name, command) for name, command in _commands("sync", get_command(app)))


def _commands(name: str, command: Any) -> Iterator[tuple[str, Any]]:
    for command_name, inner in sorted(getattr(command, "commands", {}).items()):
        full = f"{name} {command_name}"
        if getattr(inner, "commands", None):
            yield from _commands(full, inner)
        else:
            yield full, inner


def _section(name: str, command: Any) -> str:
    arguments = [parameter for parameter in command.params if parameter.param_type_name == "argument"]
    options = [
        parameter for parameter in command.params if parameter.param_type_name == "option" and not parameter.hidden
    ]
    usage = " ".join(["python -m", name, "[OPTIONS]" if options else "", *(_usage(argument) for argument in arguments)])
    text = inspect.cleandoc(command.help or "").replace("\f", "")
    rows = [f"| {_names(argument)} | {_cell(argument.help or '')} |" for argument in (*arguments, *options)]
    table = "\n".join(["| option | meaning |", "|---|---|", *rows]) if rows else ""
    return f"\n## {name.removeprefix('sync ')}\n\n```\n{' '.join(usage.split())}\n```\n\n{text}\n\n{table}\n".replace(
        "\n\n\n", "\n\n"
    )


def _usage(argument: Any) -> str:
    name = argument.metavar or argument.name.upper()
    name = f"{name}…" if argument.nargs == -1 else name
    return name if argument.required else f"[{name}]"


def _names(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return f"`{parameter.metavar or parameter.name.upper()}`"
    shown = ", ".join(f"`{name}`" for name in (*parameter.opts, *parameter.secondary_opts))
    return shown if parameter.is_flag else f"{shown} {parameter.metavar or parameter.bare_type().upper()}"


def _cell(text: str) -> str:
    return re.sub(r"\s+", " ", text).replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(page())
