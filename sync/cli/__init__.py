"""
The command line: ``python -m sync``. One module a command; this one lists them.

Standard output carries results only, standard error everything for people (or, with ``--json``, one JSON object a
line). Commands read files and settings and call the same functions as the running sync; they decide nothing themselves.

A command's options and help (`sync.cli.commands`) are imported when the command is named, and what it does when it
runs: importing all of them cost 1.3 s of CPU before the first word, and what one does up to a second.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sync import __version__
from sync.cli.env_file import read_env_file
from sync.cli.loading import CommandPlace, lazy_group
from sync.cli.plugins import added_commands
from sync.telemetry.library_logs import quieten_identity, quieten_libraries

COMMANDS = {
    "status": CommandPlace(
        "sync.cli.commands.status:status", "Show whether imaging and FHIR agree, what is pending, and why."
    ),
    "dashboard": CommandPlace(
        "sync.cli.commands.dashboard:dashboard", "Serve the dashboard on this machine until Ctrl-C or SIGTERM."
    ),
    "where": CommandPlace(
        "sync.cli.commands.where:where",
        "Show which objects hold a study, series or instance: account, container and name.",
        no_args_is_help=True,
    ),
    "map": CommandPlace(
        "sync.cli.commands.map_files:map_files", "Map DICOM files to FHIR, without any service.", no_args_is_help=True
    ),
    "backfill": CommandPlace(
        "sync.cli.commands.backfill:backfill", "Inspect every object that is in the containers now."
    ),
    "walks": CommandPlace(
        "sync.cli.commands.walks:app", "Replays, backfills, comparisons, exports: list, pause, resume, cancel."
    ),
    "replay": CommandPlace(
        "sync.cli.commands.replay:replay", "Compare the changes of a period, or one study, with FHIR."
    ),
    "pause": CommandPlace(
        "sync.cli.commands.pausing:pause",
        "Pause projection: nothing is written to FHIR until `resume`. Idempotent.",
        no_args_is_help=True,
    ),
    "resume": CommandPlace("sync.cli.commands.pausing:resume", "Resume projection after `pause`. Idempotent."),
    "verify": CommandPlace(
        "sync.cli.commands.verify:verify", "Compare source, ledger and FHIR for each study, and list the differences."
    ),
    "export": CommandPlace(
        "sync.cli.commands.export:export",
        "Export all resources as NDJSON, one type per file, to bulk-load a FHIR service.",
        no_args_is_help=True,
    ),
    "alerts": CommandPlace("sync.cli.commands.alerts:app", "Alerts: watch, acknowledge, export the rules."),
    "config": CommandPlace("sync.cli.commands.config:app", "Check the settings."),
    "dead-letters": CommandPlace("sync.cli.commands.dead_letters:app", "Dead letters: list, show, retry, discard."),
    "removals": CommandPlace("sync.cli.commands.removals:app", "Removals past the ceiling: show, confirm, refuse."),
}
"""Commands of `sync` by name. The list that ``--help`` shows repeats their first sentences, for speed."""

app = typer.Typer(
    name="sync",
    cls=lazy_group(COMMANDS | added_commands()),
    help="Keep a FHIR R4 service in sync with a DICOM store.",
    no_args_is_help=True,
    add_completion=True,
    rich_markup_mode="markdown",
    pretty_exceptions_show_locals=False,  # locals hold patient data
)


@app.callback(invoke_without_command=True)
def main(
    version: Annotated[bool, typer.Option("--version", help="Show the version and stop.")] = False,  # noqa: FBT002 - typer
    env_file: Annotated[
        Path | None,
        typer.Option(
            help="File with settings, one `NAME=value` a line; the environment wins over it.",
            exists=True,
            dir_okay=False,
        ),
    ] = None,
) -> None:
    """Keep a FHIR R4 service in sync with a DICOM store."""
    quieten_libraries()
    quieten_identity()
    if env_file is not None:
        read_env_file(env_file)
    if version:
        typer.echo(__version__)
        raise typer.Exit
