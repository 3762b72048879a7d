"""
Commands of `insights` under ``python -m sync``. One module a command.

What is imported here is light: DuckDB and the models of FHIR are loaded when a command runs, so that the other commands
start as fast as before and work without the extra.
"""

from __future__ import annotations

import typer

from insights.cli import cohorts
from insights.cli.collecting import collect


def add_commands(app: typer.Typer) -> None:
    """Add the commands to a command line."""
    app.command("collect", no_args_is_help=True)(collect)
    app.add_typer(cohorts.app)
