"""``python -m sync backfill``: inspect everything that the containers hold."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from sync.cli.connecting import with_services
from sync.cli.reporting import EXIT_REJECTED, EXIT_UNAVAILABLE, console
from sync.cli.walks import Meter, begin_or_go_on, print_line, projecting, refuse, share_walk, tell_state, timestamp
from sync.errors import SourceGone, SyncError
from sync.ports import Ingest, ObjectListing, Services
from sync.protocol.walk_rows import WalkState
from sync.walks.backfill import PAGE, Scope, new_backfill, preview_backfill
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
    as_json: bool


def backfill(  # noqa: PLR0917 -- a command's options
    container: Annotated[
        list[str] | None,
        typer.Option(help="Only this container, one of `DICOM_SYNC_CONTAINERS`; repeatable."),
    ] = None,
    prefix: Annotated[str, typer.Option(help="Only objects whose names start with this prefix.")] = "",
    since: Annotated[
        str | None, typer.Option(help="Only objects changed since this time, e.g. 2026-03-04 or 2026-03-04T05:00Z.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Dry run: count the objects; write nothing.")] = False,  # noqa: FBT002 -- typer
    project: Annotated[  # noqa: FBT002 -- typer
        bool,
        typer.Option("--project", help="Project the studies in this command; use it if no function app is running."),
    ] = False,
    parallel: Annotated[int, typer.Option(min=1, max=_MOST_AT_ONCE, help="Objects to inspect concurrently.")] = 32,
    rate: Annotated[
        float | None,
        typer.Option(min=0.01, help="Studies a second to bring to FHIR at most, by all workers; default: no limit."),
    ] = None,
    as_json: Annotated[  # noqa: FBT002 -- typer
        bool, typer.Option("--json", help="Write the result as one JSON object, and progress as one per line.")
    ] = False,
) -> None:
    """
    Inspect every object that is in the containers now.

    Use it for the first sync, or after events were lost. Unchanged objects cost one table read at most and are not
    downloaded. The containers are cut into slices, which this command and all running functions share; the functions
    then project the studies. Without a function app, add `--project`. It may run beside all other work. It is
    idempotent and resumable: functions continue it after an interruption, and so does the same command again.
    `python -m sync walks` pauses, resumes and cancels it. It does not see deletions; use `python -m sync verify`.

    **Examples**

    - show what would be done: `python -m sync backfill --dry-run`

    - everything, with functions running: `python -m sync backfill`

    - everything, without a function app: `python -m sync backfill --project`

    - one folder, objects changed since yesterday: `python -m sync backfill --prefix 2026/03/ --since 2026-03-03`

    **Counted**: `synced` (inspected, an instance), `rejected` (now a dead letter), `gone` (deleted in the meantime),
    `unchanged` (not inspected), `passed` (unchanged since `--since`); with `--dry-run` `new`, `changed`, `unchanged`.
    With `--project` also studies: `written`, `unchanged`, `dead_lettered`.

    **Exit codes**

    - 0: all objects were inspected

    - 1: all objects were inspected; some objects or studies became dead letters

    - 2: wrong usage or setting; nothing was read

    - 3: a service did not answer, or the backfill was paused or cancelled; run it again to continue
    """
    options = _BackfillOptions(
        containers=tuple(container or ()),
        prefix=prefix,
        since=timestamp(since, "--since"),
        dry_run=dry_run,
        project=project,
        parallel=parallel,
        rate=rate,
        as_json=as_json,
    )
    if dry_run and project:
        refuse("--dry-run writes nothing, so there is nothing to --project")
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
    Count what a backfill would inspect, and show how far it is. Only reads.

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
    await begin_or_go_on(asked, s, out, dealt=lambda counts: f"{counted(sum(counts.values()), 'object')} dealt with")
    heading = f"Reading {scope.container}"
    progress, rate = await share_walk(
        asked.name, running.kinds, s, out, heading=heading, parallel=options.parallel, as_json=options.as_json
    )
    tell_state(progress, out)
    return Counter(progress.counts), rate, progress.row.state


async def _count(scope: Scope, listing: ObjectListing, meter: Meter) -> None:
    """Run ahead through the listing, names only: so there is a total, and an estimate, long before the end."""
    total, token = 0, None
    with suppress(SyncError):
        while True:
            page = await listing.page(scope.container, prefix=scope.prefix, token=token, size=PAGE)
            total, token = total + len(page.objects), page.token
            if token is None:
                meter.total = total
                return
