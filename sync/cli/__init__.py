"""
The command line: ``python -m sync``. One module a command; this one puts them together.

Standard output carries results only, standard error everything for people (or, with ``--json``, one JSON object a
line). Commands read files and settings and call the same functions as the running sync; they decide nothing themselves.
"""

from __future__ import annotations

from typing import Annotated

import typer

from sync import __version__
from sync.cli import added, alerts, config, dead_letters, removals
from sync.cli.backfill import backfill
from sync.cli.export_all import export
from sync.cli.map_files import map_files
from sync.cli.pausing import pause, resume
from sync.cli.replay import replay
from sync.cli.serve_dashboard import dashboard
from sync.cli.show_status import status
from sync.cli.show_where import where
from sync.cli.verify_all import verify
from sync.telemetry.telemetry import quieten_libraries

app = typer.Typer(
    name="sync",
    help="Keep a FHIR R4 service in sync with a DICOM store.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_show_locals=False,  # locals hold patient data
)


@app.callback(invoke_without_command=True)
def main(
    version: Annotated[bool, typer.Option("--version", help="Show the version and stop.")] = False,  # noqa: FBT002 - typer
) -> None:
    """Keep a FHIR R4 service in sync with a DICOM store."""
    quieten_libraries()
    if version:
        typer.echo(__version__)
        raise typer.Exit


app.command("status")(status)
app.command("dashboard")(dashboard)
app.command("where", no_args_is_help=True)(where)
app.add_typer(alerts.app)
app.command("map", no_args_is_help=True)(map_files)
app.add_typer(config.app)
app.add_typer(dead_letters.app)
app.add_typer(removals.app)
app.command("backfill")(backfill)
app.command("replay")(replay)
app.command("pause", no_args_is_help=True)(pause)
app.command("resume")(resume)
app.command("verify")(verify)
app.command("export", no_args_is_help=True)(export)
added.add_commands(app)
