"""Options and help of ``python -m sync replay``."""

from __future__ import annotations

from typing import Annotated

import typer

from sync.cli.commands import Who


def replay(  # noqa: PLR0917 -- a command's options
    source: Annotated[str, typer.Option(help="Source of the changes: `blob`, `dicom` or `orthanc`.")] = "blob",
    from_: Annotated[
        str | None, typer.Option("--from", help="Start of the period, e.g. 2026-03-04 or 2026-03-04T05:00Z.")
    ] = None,
    to: Annotated[str | None, typer.Option("--to", help="End of the period, exclusive; default: now.")] = None,
    study: Annotated[str | None, typer.Option(help="Only this study, by Study Instance UID; needs no period.")] = None,
    partition: Annotated[
        str, typer.Option(help="Data partition of the study, for a DICOM service with partitions.")
    ] = "",
    reread: Annotated[  # noqa: FBT002 -- typer
        bool, typer.Option("--reread", help="Read unchanged objects too, e.g. after an upgrade.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Dry run: show what would change; write nothing.")] = False,  # noqa: FBT002 -- typer
    project: Annotated[  # noqa: FBT002 -- typer
        bool,
        typer.Option("--project", help="Project the studies in this command; use it if no function app is running."),
    ] = False,
    parallel: Annotated[int, typer.Option(min=1, max=256, help="Objects to inspect concurrently.")] = 32,
    rate: Annotated[
        float | None,
        typer.Option(
            min=0.01,
            max=10_000,
            help="Studies a second to compare with FHIR at most, by all workers; default: no limit.",
        ),
    ] = None,
    who: Who = "",
    as_json: Annotated[bool, typer.Option("--json", help="Write the result as JSON, one object per line.")] = False,  # noqa: FBT002 -- typer
) -> None:
    """
    Compare the changes of a period, or one study, with FHIR.

    Reads the change feed of the source, inspects every changed object, and compares each study with the actual content
    of FHIR, bypassing cached records. It repairs missed changes and data lost by the FHIR service; correct resources
    are not written again. The feed is cut into slices, which this command and all running functions share; the
    functions then do the comparison. Without a function app, add `--project`. It is idempotent and resumable: functions
    continue it after an interruption, and so does the same command again. `python -m sync walks` pauses, resumes and
    cancels it.

    **Examples**

    - preview the changes: `python -m sync replay --from 2026-03-01 --dry-run`

    - events were lost for a night: `python -m sync replay --from 2026-03-03T20:00+01:00 --to 2026-03-04T08:00+01:00`

    - the FHIR service was restored from a backup of March 1: `python -m sync replay --from 2026-02-28`

    - one study: `python -m sync replay --study 1.2.840.113619.2.1`

    - changes of the DICOM service: `python -m sync replay --source dicom --from 2026-03-01`

    **Counted**: `synced` (inspected, an instance), `unchanged` (not inspected), `gone`, `rejected` (now a dead
    letter), `passed` (entries outside the configured sources), `unusable` (entries that name no object), `studies` (to
    be compared). With `--project` also studies: `written`, `unchanged`, `dead_lettered`. A time needs a zone; a date
    starts at midnight UTC.

    **Exit codes**

    - 0: done, or dry run finished

    - 1: done; some objects or studies became dead letters, or the study is unknown

    - 2: wrong usage or setting; nothing was started

    - 3: a service did not answer, or the replay was paused or cancelled; run it again to continue
    """
    from sync.cli import replay as command

    command.replay(
        source=source,
        from_=from_,
        to=to,
        study=study,
        partition=partition,
        reread=reread,
        dry_run=dry_run,
        project=project,
        parallel=parallel,
        rate=rate,
        who=who,
        as_json=as_json,
    )
