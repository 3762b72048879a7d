"""``python -m sync alerts``: take note of one, or export the rules for Azure Monitor."""

from __future__ import annotations

import enum
import getpass
import sys
from typing import Annotated

import typer

from sync.cli.connecting import with_services
from sync.cli.reporting import EXIT_REJECTED, console
from sync.ops import monitor
from sync.ops.alerts import acknowledge as note

app = typer.Typer(name="alerts", help="Alerts: acknowledge one, export the rules.", no_args_is_help=True)


class Format(enum.Enum):
    """What Azure Monitor takes."""

    BICEP = "bicep"
    WORKBOOK = "workbook"


@app.command()
def acknowledge(
    code: Annotated[str, typer.Argument(help="Code of a raised alert, such as alert.lag.")],
    who: Annotated[str, typer.Option("--as", help="Who takes note of it; your user name by default.")] = "",
) -> None:
    """
    Note that somebody has taken note of a raised alert, until it is raised anew. Safe to repeat.

    **Examples**

    - `python -m sync alerts acknowledge alert.lag --as ada`

    **Exit codes**

    - 0: noted

    - 1: no such alert is raised

    - 2: wrong usage or setting

    - 3: the state account did not answer
    """
    found = with_services(lambda running: note(code, who or getpass.getuser(), running.services))
    if found is None:
        console().print(f"{code} is not raised")
        raise typer.Exit(EXIT_REJECTED)


@app.command()
def export(
    form: Annotated[Format, typer.Option("--format", help="Alert rules as Bicep, or a workbook.")] = Format.BICEP,
) -> None:
    """
    Write the alert rules for Azure Monitor, or its workbook, to standard output. Needs no service and no setting.

    **Examples**

    - `python -m sync alerts export --format bicep > infra/alerts.bicep`

    **Exit codes**

    - 0: written

    - 2: wrong usage
    """
    sys.stdout.write(monitor.bicep() if form is Format.BICEP else monitor.workbook())
