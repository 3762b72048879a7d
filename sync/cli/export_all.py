"""``python -m sync export``: NDJSON files for the bulk import of a new FHIR service."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from sync.cli.connecting import with_services
from sync.cli.reporting import EXIT_USAGE, console, results
from sync.export import Exported, NotEmpty, prepare
from sync.export import export as export_to
from sync.words import counted

if TYPE_CHECKING:
    from sync.bootstrap import Running

_MEGABYTE = 1_000_000


def export(
    folder: Annotated[
        Path,
        typer.Argument(
            file_okay=False, metavar="DIR", help="Folder for the files; created if missing.", show_default=False
        ),
    ],
    *,
    max_mb: Annotated[int, typer.Option(min=1, metavar="MB", help="Maximum size of a file.")] = 200,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier export in the folder.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Write the manifest to standard output.")] = False,
) -> None:
    """
    Export all resources as NDJSON, one type per file, to bulk-load a FHIR service.

    Reads the ledger only, not FHIR; the same ledger gives the same bytes. The resources and ids are those that the
    sync would write to an empty service. `manifest.json` is written last and lists each file with its count, size and
    SHA-256. Adopted ImagingStudies are left out, because their owner has them. Studies linked to a Patient of another
    system need that Patient in the new service.

    **Examples**

    - everything: `python -m sync export /data/export`

    - for Azure: upload the files to the import container, `POST` a `Parameters` resource with their URLs to
    `$import` (docs/verify-and-export.md has one), then set `DICOM_SYNC_FHIR_URL` to the new service

    - afterwards: `python -m sync verify --repair`

    **Exit codes**

    - 0: everything was written

    - 2: wrong usage or setting, or the folder is not empty; nothing was written

    - 3: storage did not answer; there is no manifest, repeat with `--overwrite`
    """
    try:
        prepare(folder, overwrite=overwrite)
    except (NotEmpty, OSError) as problem:
        console().print(
            str(problem) if isinstance(problem, NotEmpty) else f"{problem.strerror or 'not usable'}: {folder}"
        )
        raise typer.Exit(EXIT_USAGE) from None
    exported = with_services(lambda running: _export(running, folder, max_mb * _MEGABYTE, quiet=as_json))
    if as_json:
        typer.echo(json.dumps(exported.manifest()))
        return
    for kind, count in sorted(exported.resources.items()):
        files = sum(file["type"] == kind for file in exported.files)
        results().print(f"{kind:<20}{count:>9} in {counted(files, 'file')}")
    for reason, count in sorted(exported.left_out.items()):
        results().print(f"left out: {reason.replace('_', ' ')}  {count}")


async def _export(running: Running, folder: Path, max_bytes: int, *, quiet: bool) -> Exported:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    out = console()
    with Progress(*columns, console=out, transient=True, disable=quiet or not out.is_terminal) as progress:
        task = progress.add_task("studies", total=None)

        def on_progress(studies: int, fraction: float) -> None:
            progress.update(task, completed=studies, total=round(studies / fraction) if fraction else None)

        return await export_to(folder, max_bytes, running.services, on_progress)
