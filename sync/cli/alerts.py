"""``python -m sync alerts``: stand watch, acknowledge an alert, or export the rules for Azure Monitor."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import typer

from sync.cli.connecting import with_services
from sync.cli.reporting import EXIT_REJECTED, console, quiet_broken_pipe
from sync.cli.standing_watch import stand_watch, stop_by_signal, watch_once
from sync.errors import SyncError
from sync.monitoring.alerts import azure_monitor
from sync.monitoring.alerts.evaluation import acknowledge as note
from sync.monitoring.status import read_status
from sync.ports import Notice

if TYPE_CHECKING:
    from sync.bootstrap import Running


def watch(*, every: float, once: bool, as_json: bool) -> None:
    """Evaluate alerts from outside the function app until Ctrl-C or SIGTERM."""
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
    console().print(f"{failure}; no alert can be sent until the state account answers. {failure.hint}")


def acknowledge(*, code: str, who: str) -> None:
    """Acknowledge an active alert until it fires again. Idempotent."""
    acknowledged = with_services(lambda running: note(code, who, running.services))
    if acknowledged is None:
        console().print(f"{code} is not raised")
        raise typer.Exit(EXIT_REJECTED)


def export(*, workbook: bool) -> None:
    """Write the alert rules for Azure Monitor, or its workbook, to standard output. Needs no service or setting."""
    sys.stdout.write(azure_monitor.workbook() if workbook else azure_monitor.bicep())
