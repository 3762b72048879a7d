"""Options and help of ``python -m sync alerts``."""

from __future__ import annotations

import enum
from typing import Annotated

import typer

from sync.cli.commands import Who

app = typer.Typer(name="alerts", help="Alerts: watch, acknowledge, export the rules.", no_args_is_help=True)

EVALUATED_EVERY = 30.0
"""Seconds, as `sync.config.EVALUATED_EVERY`, whose models of settings the help need not wait for."""

Seconds = Annotated[float, typer.Option("--every", help="Seconds between two evaluations.", min=1, max=600)]


class Format(enum.Enum):
    """The formats that Azure Monitor accepts."""

    BICEP = "bicep"
    WORKBOOK = "workbook"


@app.command()
def watch(
    every: Seconds = EVALUATED_EVERY,
    once: Annotated[bool, typer.Option("--once", help="Evaluate once, for use from a scheduler.")] = False,  # noqa: FBT002 - typer
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON, one object per notification.")] = False,  # noqa: FBT002 - typer
) -> None:
    """
    Evaluate alerts from outside the function app until Ctrl-C or SIGTERM.

    Uses the same rules, states and channels as the app, so each alert is raised and cleared once, whichever notices
    first. It also detects a stopped app (`alert.stopped`) and work that accumulates meanwhile. Run it on a machine
    that does not fail together with the app. Notifications go to standard output, and to the topic and webhook of the
    settings.

    **Examples**

    - on a hospital machine: `python -m sync alerts watch`

    - from cron, every minute: `python -m sync alerts watch --once`

    **Exit codes**

    - 0: ended by a signal; with `--once`: no critical alert is active

    - 1: with `--once`: a critical alert is active

    - 2: wrong usage or setting

    - 3: the state account did not answer at the start, or with `--once`

    - 141: the reader of standard output closed it
    """
    from sync.cli import alerts as command

    command.watch(every=every, once=once, as_json=as_json)


@app.command()
def acknowledge(
    code: Annotated[str, typer.Argument(help="Code of an active alert, such as alert.lag.")],
    who: Who = "",
) -> None:
    """
    Acknowledge an active alert until it fires again. Idempotent.

    **Examples**

    - `python -m sync alerts acknowledge alert.lag --as ada`

    **Exit codes**

    - 0: acknowledged

    - 1: no such alert is active

    - 2: wrong usage or setting

    - 3: the state account did not answer
    """
    from sync.cli import alerts as command

    command.acknowledge(code=code, who=who)


@app.command()
def export(
    form: Annotated[Format, typer.Option("--format", help="Alert rules as Bicep, or a workbook.")] = Format.BICEP,
) -> None:
    """
    Write the alert rules for Azure Monitor, or its workbook, to standard output. Needs no service or setting.

    **Examples**

    - `python -m sync alerts export --format bicep > infra/alerts.bicep`

    **Exit codes**

    - 0: written

    - 2: wrong usage
    """
    from sync.cli import alerts as command

    command.export(workbook=form is Format.WORKBOOK)
