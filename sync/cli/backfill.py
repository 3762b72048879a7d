"""``python -m sync backfill``: inspect all objects in the containers."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import typer
from rich.console import Console

from sync.cli.connecting import with_services
from sync.cli.reporting import EXIT_REJECTED, EXIT_UNAVAILABLE, console
from sync.cli.walks import (
    Meter,
    begin_or_go_on,
    print_line,
    projecting,
    refuse,
    refuse_projected_dry_run,
    share_walk,
    tell_state,
    timestamp,
)
from sync.errors import SourceGone, SyncError
from sync.model.circles import Passed, listed_on
from sync.ports import Ingest, ObjectListing, Services
from sync.protocol.walk_rows import WalkState
from sync.walks.backfill import PAGE, Backfill, Scope, new_backfill, preview_backfill
from sync.walks.handed import ListedOnce
from sync.walks.walk import Walk
from sync.words import counted

if TYPE_CHECKING:
    from sync.bootstrap import Running

_MOST_AT_ONCE = 256


@dataclass(frozen=True, kw_only=True)
class _BackfillOptions:
    containers: tuple[str, ...]
    prefix: str
    since: datetime | None
    dry_run: bool
    project: bool
    parallel: int
    rate: float | None
    who: str
    as_json: bool


def backfill(
    *,
    container: list[str] | None,
    prefix: str,
    since: str | None,
    dry_run: bool,
    project: bool,
    parallel: int,
    rate: float | None,
    who: str,
    as_json: bool,
) -> None:
    """Inspect every object that is in the containers now."""
    options = _BackfillOptions(
        containers=tuple(container or ()),
        prefix=prefix,
        since=timestamp(since, "--since"),
        dry_run=dry_run,
        project=project,
        parallel=parallel,
        rate=rate,
        who=who,
        as_json=as_json,
    )
    refuse_projected_dry_run(dry_run=dry_run, project=project)
    counts, states = with_services(lambda running: _run(options, running), writes_fhir=options.project)
    if not states <= {WalkState.DONE, WalkState.FAILED}:
        raise typer.Exit(EXIT_UNAVAILABLE)
    if counts["rejected"] or counts["dead_lettered"] or WalkState.FAILED in states:
        raise typer.Exit(EXIT_REJECTED)


async def _run(options: _BackfillOptions, running: Running) -> tuple[Counter[str], set[WalkState]]:
    allowed = running.sources.containers
    for name in options.containers:
        if name not in allowed:
            refuse(f"--container: {name} is not in DICOM_SYNC_CONTAINERS")
    out, objects, studies, states = console(), Counter[str](), Counter[str](), set[WalkState]()
    async with projecting(running.services, studies, enabled=options.project) as services:
        for name in options.containers or sorted(allowed):
            scope = Scope(container=name, prefix=options.prefix, since=options.since)
            counted, state = await _one(scope, options, running, services, out)
            objects += counted
            states.add(state)
    if options.project:
        print_line("studies", studies, as_json=options.as_json)
    return objects + studies, states


async def _one(
    scope: Scope, options: _BackfillOptions, running: Running, s: Services, out: Console
) -> tuple[Counter[str], WalkState]:
    began = time.monotonic()
    try:
        if options.dry_run:
            parallel, as_json = options.parallel, options.as_json
            counts, rate, state = await preview(scope, running.listing, s, out, parallel=parallel, as_json=as_json)
        else:
            await running.listing.page(scope.container, size=1)
            counts, rate, state = await _shared(scope, options, running, s, out)
    except SourceGone:
        refuse(f"there is no container {scope.container}; see --container, DICOM_SYNC_CONTAINERS and DICOM_SYNC_SOURCE")
    seconds = round(time.monotonic() - began, 1)
    measured = {"dry_run": options.dry_run, "seconds": seconds, "per_second": round(rate, 1)}
    print_line(f"container {scope.container}", counts, as_json=options.as_json, **measured)
    return counts, state


async def preview(
    scope: Scope, listing: ObjectListing, s: Ingest, out: Console, *, parallel: int, as_json: bool
) -> tuple[Counter[str], float, WalkState]:
    """
    Count the objects that a backfill would inspect, and show progress. Only reads.

    Raises
    ------
    SourceGone, TransientError
        See `preview_backfill`.
    """
    walk, listing = Walk(), ListedOnce(listing)
    meter = Meter(f"Reading {scope.container}", walk, out, as_json=as_json)
    counting = asyncio.create_task(_count(scope, listing, meter))
    try:
        async with meter.shown():
            await preview_backfill(scope, walk, listing, s, parallel=parallel)
    finally:
        counting.cancel()
    return walk.counts, meter.rate, WalkState.DONE


async def _shared(
    scope: Scope, options: _BackfillOptions, running: Running, s: Services, out: Console
) -> tuple[Counter[str], float, WalkState]:
    asked = new_backfill(scope, rate=options.rate)
    await begin_or_go_on(
        asked, s, out, who=options.who, dealt=lambda counts: f"{counted(sum(counts.values()), 'object')} processed"
    )
    kinds, heading = {asked.kind: Backfill(listing=running.listing)}, f"Reading {scope.container}"
    progress, rate = await share_walk(
        asked.name, kinds, s, out, heading=heading, parallel=options.parallel, as_json=options.as_json
    )
    tell_state(progress, out)
    return Counter(progress.counts), rate, progress.row.state


async def _count(scope: Scope, listing: ObjectListing, meter: Meter) -> None:
    """Read the whole listing ahead, names only: it gives a total, and an estimate, long before the end."""
    total, token, passed = 0, None, Passed()
    with suppress(SyncError):
        while True:
            page = await listing.page(scope.container, prefix=scope.prefix, token=token, size=PAGE)
            total, token, passed = total + len(page.objects), page.token, listed_on(passed, page.token)
            if token is None:
                meter.total = total
                return
