"""``python -m sync status``: shows the status, once or continuously."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import typer
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from sync.cli.connecting import with_services
from sync.cli.reporting import EXIT_REJECTED, quiet_broken_pipe
from sync.monitoring.headline import headline
from sync.monitoring.status import read_status
from sync.monitoring.status_model import Status
from sync.monitoring.status_model import as_json as json_of
from sync.words import counted

if TYPE_CHECKING:
    from sync.bootstrap import Running

EVERY = 2.0
"""Seconds between two readings of the status."""

_COLORS = {"good": "green", "warn": "yellow", "bad": "red"}


def status(*, watch: bool, as_json: bool) -> None:
    """Show whether imaging and FHIR agree, what is pending, and why."""
    with quiet_broken_pipe():
        current = with_services(lambda running: _told(running, watch=watch, as_json=as_json))
    if current.health.verdict == "failing":
        raise typer.Exit(EXIT_REJECTED)


async def _told(running: Running, *, watch: bool, as_json: bool) -> Status:
    current = await read_status(running.services)
    out = Console()
    if not watch or as_json or not out.is_terminal:
        _say(current, as_json=as_json)
        return await _watched(running, current, lambda now: _say(now, as_json=as_json)) if watch else current
    with Live(picture(current), console=out, screen=True, auto_refresh=False) as live:
        return await _watched(running, current, lambda now: live.update(picture(now), refresh=True))


async def _watched(running: Running, current: Status, show: Callable[[Status], object]) -> Status:
    while True:
        try:
            await asyncio.sleep(EVERY)
            current = await read_status(running.services)
        except asyncio.CancelledError:  # Ctrl-C, while it waits or reads
            return current
        show(current)


def _say(current: Status, *, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(json.dumps(json_of(current)) + "\n")
        sys.stdout.flush()
    else:
        Console().print(picture(current))


def picture(current: Status) -> Group:
    """Draw the status: the verdict, its reasons, and the figures behind it."""
    words, tone = headline(current)
    head = Text(f" {words.upper()} ", style=f"bold reverse {_COLORS[tone]}")
    reasons = [Text(f"  {reason}") for reason in current.health.reasons]
    return Group(head, *reasons, _figures(current))


def _figures(current: Status) -> Table:
    table = Table(box=None, show_header=False, padding=(0, 2))
    for name, value in _lines(current):
        table.add_row(name, Text(value))
    return table


def _lines(current: Status) -> list[tuple[str, str]]:
    recent, lag = current.recent, current.lag
    lines = [
        ("Studies in FHIR", f"{current.synced_studies:,} with {counted(current.synced_instances, 'instance')}"),
        ("Outstanding", _outstanding(current)),
        ("Queued", ", ".join(f"{name} {depth}" for name, depth in current.queues.items() if depth) or "nothing"),
        (
            f"Last {recent.minutes} min",
            f"{counted(recent.objects, 'object')}, {counted(recent.studies_written, 'study', 'studies')} written",
        ),
        ("Latency", f"median {_seconds(recent.latency_median)}, 95 % below {_seconds(recent.latency_95)}"),
        ("FHIR", f"{counted(recent.fhir_requests, 'request')}, {recent.fhir_throttled:,} answered 429"),
        ("Dead letters", _by_word(current.dead_letters_by_code)),
        ("Drift", _by_word(current.drift.by_kind)),
    ]
    lines += [(f"{walk.kind.capitalize()} {walk.id}", walk.says()) for walk in current.walks]
    lines += [(f"Feed {name}", f"read {age:.0f} s ago") for name, age in lag.feeds.items()]
    return lines


def _outstanding(current: Status) -> str:
    if not current.dirty_studies:
        return "none"
    return f"{counted(current.dirty_studies, 'study', 'studies')}, the oldest for {current.lag.oldest_study:.0f} s"


def _seconds(value: float | None) -> str:
    return f"{value:.1f} s" if value is not None else "-"


def _by_word(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{word} {count}" for word, count in counts.items()) or "none"
