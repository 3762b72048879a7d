"""
Options and help of each command; its code is in the module of `sync.cli` that it loads when it runs.

``--help``, the parser and shell completion need these modules alone: they import neither our models nor any library
but Typer. A command that loaded what it runs took up to a second of CPU before its first line of help.
"""

from __future__ import annotations

from typing import Annotated

import typer


def name_to_record(given: str) -> str:
    """Return the name that the audit trail records: the given one, or that of the user of this machine."""
    from sync.cli.user import user_name

    return given.strip() or user_name()


Who = Annotated[str, typer.Option("--as", callback=name_to_record, help="Name to record; default: your user name.")]
Why = Annotated[str, typer.Option("--why", help="Reason for the audit trail; no patient data.")]
"""Options of the commands that the audit trail records."""
