"""Options and help of ``python -m sync backfill``."""

from __future__ import annotations

from typing import Annotated

import typer

from sync.cli.commands import Who

_MOST_AT_ONCE = 256


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
        typer.Option(
            min=0.01, max=10_000, help="Studies a second to bring to FHIR at most, by all workers; default: no limit."
        ),
    ] = None,
    who: Who = "",
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
    from sync.cli import backfill as command

    command.backfill(
        container=container,
        prefix=prefix,
        since=since,
        dry_run=dry_run,
        project=project,
        parallel=parallel,
        rate=rate,
        who=who,
        as_json=as_json,
    )
