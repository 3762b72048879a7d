"""``python -m sync backfill``: inspect everything that the containers hold."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from sync.cli.connecting import with_services
from sync.cli.reporting import EXIT_REJECTED, console
from sync.cli.walks import Meter, leased_walk, print_line, projecting, refuse, timestamp
from sync.errors import SourceGone, SyncError
from sync.ports import Jobs, ObjectListing, ReadFeeds
from sync.walks.backfill import Scope
from sync.walks.backfill import backfill as walk_through
from sync.walks.walk import Walk

if TYPE_CHECKING:
    from sync.bootstrap import Running

_MOST_AT_ONCE = 256
_COUNTED_AT_ONCE = 1000
"""Names a page of the listing that only counts; five times as many would be five times the memory of all else."""


@dataclass(frozen=True, kw_only=True)
class _BackfillOptions:
    containers: tuple[str, ...]
    prefix: str
    since: datetime | None
    dry_run: bool
    project: bool
    parallel: int
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
    as_json: Annotated[  # noqa: FBT002 -- typer
        bool, typer.Option("--json", help="Write the result as one JSON object, and progress as one per line.")
    ] = False,
) -> None:
    """
    Inspect every object that is in the containers now.

    Use it for the first sync, or after events were lost. Unchanged objects cost one table read at most and are not
    downloaded. Running functions then project the studies; without a function app, add `--project`. It may run beside
    all other work. It is idempotent and resumable: after an interruption, start it again with the same options to
    continue.
    It does not see deletions; use `python -m sync verify` for these.

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

    - 3: a service did not answer; run it again to continue
    """
    options = _BackfillOptions(
        containers=tuple(container or ()),
        prefix=prefix,
        since=timestamp(since, "--since"),
        dry_run=dry_run,
        project=project,
        parallel=parallel,
        as_json=as_json,
    )
    if dry_run and project:
        refuse("--dry-run writes nothing, so there is nothing to --project")
    counts = with_services(lambda running: _run(options, running), writes_fhir=options.project)
    if counts["rejected"] or counts["dead_lettered"]:
        raise typer.Exit(EXIT_REJECTED)


async def _run(options: _BackfillOptions, running: Running) -> Counter[str]:
    allowed = running.sources.containers
    for name in options.containers:
        if name not in allowed:
            refuse(f"--container: {name} is not in DICOM_SYNC_CONTAINERS")
    out, objects, studies = console(), Counter[str](), Counter[str]()
    async with projecting(running.services, studies, enabled=options.project) as services:
        for name in options.containers or sorted(allowed):
            scope = Scope(container=name, prefix=options.prefix, since=options.since)
            objects += await _one(scope, options, running.listing, services, out)
    if options.project:
        print_line("studies", studies, as_json=options.as_json)
    return objects + studies


async def _one(
    scope: Scope, options: _BackfillOptions, listing: ObjectListing, s: ReadFeeds, out: Console
) -> Counter[str]:
    began = time.monotonic()
    async with _walk(scope, options, s, out) as walk:
        meter = Meter(f"Reading {scope.container}", walk, out, as_json=options.as_json)
        counting = asyncio.create_task(_count(scope, walk, listing, meter))
        try:
            async with meter.shown():
                await walk_through(scope, walk, listing, s, parallel=options.parallel, dry_run=options.dry_run)
        except SourceGone:
            refuse(f"there is no container {scope.container}")
        finally:
            counting.cancel()
    seconds = round(time.monotonic() - began, 1)
    measured = {"dry_run": options.dry_run, "seconds": seconds, "per_second": round(meter.rate, 1)}
    print_line(f"container {scope.container}", walk.counts, as_json=options.as_json, **measured)
    return walk.counts


@asynccontextmanager
async def _walk(scope: Scope, options: _BackfillOptions, s: Jobs, out: Console) -> AsyncIterator[Walk]:
    if options.dry_run:
        yield Walk()
        return
    async with leased_walk(scope.cursor, s, out) as walk:
        if walk.position and not walk.position.get("finished"):
            out.print(f"going on  {sum(walk.counts.values()):,} objects were dealt with before")
        yield walk


async def _count(scope: Scope, walk: Walk, listing: ObjectListing, meter: Meter) -> None:
    """Run ahead through the listing, names only: so there is a total, and an estimate, long before the end."""
    position = {} if walk.position.get("finished") else walk.position
    total, token = (sum(walk.counts.values()) if position else 0), position.get("token")
    with suppress(SyncError):
        while True:
            page = await listing.page(scope.container, prefix=scope.prefix, token=token, size=_COUNTED_AT_ONCE)
            total, token = total + len(page.objects), page.token
            if token is None:
                meter.total = total
                return
