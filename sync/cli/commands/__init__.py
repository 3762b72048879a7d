"""
Options and help of each command; its code is in the module of `sync.cli` that it loads when it runs.

``--help``, the parser and shell completion need these modules alone: they import neither our models nor any library
but Typer. A command that loaded what it runs took up to a second of CPU before its first line of help.
"""

from __future__ import annotations

from typing import Annotated

import typer

Who = Annotated[str, typer.Option("--as", help="Name to record; default: your user name.")]
Why = Annotated[str, typer.Option("--why", help="Reason for the audit trail; no patient data.")]
"""Options of the commands that the audit trail records."""
