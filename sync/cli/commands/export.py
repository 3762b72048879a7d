"""Options and help of ``python -m sync export``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sync.cli.commands import Who


def export(
    folder: Annotated[
        Path | None,
        typer.Argument(
            file_okay=False, metavar="DIR", help="Folder for the files; created if missing.", show_default=False
        ),
    ] = None,
    *,
    container: Annotated[
        str,
        typer.Option(
            metavar="NAME", help="Instead of a folder: a container of the state account, filled by all functions too."
        ),
    ] = "",
    max_mb: Annotated[int, typer.Option(min=1, metavar="MB", help="Maximum size of a file.")] = 200,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier export in the folder.")] = False,
    who: Who = "",
    as_json: Annotated[bool, typer.Option("--json", help="Write the manifest to standard output.")] = False,
) -> None:
    """
    Export all resources as NDJSON, one type per file, to bulk-load a FHIR service.

    Reads the ledger only, not FHIR; the same ledger gives the same bytes. The resources and ids are those that the
    sync would write to an empty service. `manifest.json` is written last and lists each file with its count, size and
    SHA-256. Adopted ImagingStudies are left out, because their owner has them. Studies linked to a Patient of another
    system need that Patient in the new service.

    With `--container`, the studies are cut into slices, which this command and all running functions share; functions
    continue it after an interruption, and so does the same command again. `python -m sync walks` lists, pauses, resumes
    and cancels it. The files are in a folder of their own, and only those that its `manifest.json` names count.

    **Examples**

    - everything: `python -m sync export /data/export`

    - a large store, by all functions: `python -m sync export --container exports`

    - for Azure: upload the files to the import container, `POST` a `Parameters` resource with their URLs to
    `$import` (docs/verify-and-export.md has one), then set `DICOM_SYNC_FHIR_URL` to the new service

    - afterwards: `python -m sync verify --repair`

    **Exit codes**

    - 0: everything was written

    - 2: wrong usage or setting, or the folder is not empty, in use by another export or not writable; no manifest
    was written

    - 3: storage did not answer, or the export was paused or cancelled; there is no manifest. Run the command again,
    for a folder with `--overwrite`
    """
    from sync.cli import export_all as command

    command.export(folder=folder, container=container, max_mb=max_mb, overwrite=overwrite, who=who, as_json=as_json)
