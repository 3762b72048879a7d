"""``python -m sync alerts``: stand watch, take note of one, or export the rules for Azure Monitor."""

from __future__ import annotations

import enum
import json
import sys
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from sync.cli.connecting import with_services
from sync.cli.reporting import EXIT_REJECTED, console, quiet_broken_pipe
from sync.cli.standing_watch import stand_watch, stop_by_signal, watch_once
from sync.cli.user import user_name
from sync.config import EVALUATED_EVERY
from sync.errors import SyncError
from sync.monitoring.alerts import azure_monitor
from sync.monitoring.alerts.evaluation import acknowledge as note
from sync.monitoring.status import read_status
from sync.ports import Notice

if TYPE_CHECKING:
    from sync.bootstrap import Running

app = typer.Typer(name="alerts", help="Alerts: watch, acknowledge, export the rules.", no_args_is_help=True)

Seconds = Annotated[float, typer.Option("--every", help="Seconds between two evaluations.", min=1, max=600)]


class Format(enum.Enum):
    """What Azure Monitor takes."""

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
    with quiet_broken_pipe():
        failing = with_services(partial(_watched, every=every, once=once, as_json=as_json))
    if failing:
        raise typer.Exit(EXIT_REJECTED)


async def _watched(running: Running, *, every: float, once: bool, as_json: bool) -> bool:
    tell = partial(_tell, as_json=as_json)
    if once:
        tell(await watch_once(running))
        return bool((await read_status(running.services)).health.verdict == "failing")
    console().print(f"watching every {every:g} s; Ctrl-C ends it")
    await stand_watch(running, every=every, stop=stop_by_signal(), tell=tell, warn=_warn)
    return False


def _tell(notices: Sequence[Notice], *, as_json: bool) -> None:
    for notice in notices:
        line = f"{notice.at:%Y-%m-%dT%H:%M:%SZ}  {notice.step:7}  {notice.severity:8}  {notice.code}  {notice.text}"
        sys.stdout.write(f"{json.dumps(notice.as_json()) if as_json else line}\n")
    sys.stdout.flush()


def _warn(failure: SyncError) -> None:
    console().print(f"{failure}; no alert can be sent until it is over. {failure.hint}")


@app.command()
def acknowledge(
    code: Annotated[str, typer.Argument(help="Code of an active alert, such as alert.lag.")],
    who: Annotated[str, typer.Option("--as", help="Name to record; default: your user name.")] = "",
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
    acknowledged = with_services(lambda running: note(code, who or user_name(), running.services))
    if acknowledged is None:
        console().print(f"{code} is not raised")
        raise typer.Exit(EXIT_REJECTED)


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
    sys.stdout.write(azure_monitor.bicep() if form is Format.BICEP else azure_monitor.workbook())
