"""Options and help of ``python -m sync map``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def map_files(
    paths: Annotated[
        list[Path],
        typer.Argument(
            exists=True, metavar="PATH", help="DICOM files, or folders to search for them.", show_default=False
        ),
    ],
    as_json: Annotated[  # noqa: FBT002 - typer's way to declare a flag
        bool, typer.Option("--json", help="Write standard error as JSON, one object per line.")
    ] = False,
) -> None:
    """
    Map DICOM files to FHIR, without any service.

    Writes one transaction Bundle per study (Patient, Endpoint if configured, Devices, ImagingStudy, and the resources
    of reports and measurements) as NDJSON to standard output, ordered by Study Instance UID. Standard error lists
    rejected files with the reason, and attributes that could not be used. The output does not depend on the order of
    the files.

    **Examples**

    - one file, to inspect: `python -m sync map scan.dcm | jq .`

    - a folder, into a file: `python -m sync map /data/studies > bundles.ndjson`

    - findings as JSON: `python -m sync map --json /data/studies 2> findings.jsonl > bundles.ndjson`

    - scanners that do not state their time zone offset:
      `DICOM_SYNC_TIMEZONE=Europe/Berlin python -m sync map scan.dcm`

    **Settings**, all optional, each with the prefix `DICOM_SYNC_`: `TIMEZONE`, `DICOMWEB_URL`, `ISSUERS`,
    `PATIENT_SYSTEM`, `ACCESSION_SYSTEM`, `PLACER_SYSTEM`, `FILLER_SYSTEM`, `ADMISSION_SYSTEM`, `STUDY_ID_SYSTEM`,
    `CODING_SCHEMES`, `PLACEHOLDER_PATIENT_IDS`, `PATIENT_OTHER_NAMES`, `PATIENT_SPECIES`, `PATIENT_RESPONSIBLE_PERSON`,
    `DETAIL`, and the limits `HEADER_*`.

    **Exit codes**

    - 0: every file was mapped

    - 1: some files were rejected; all others were mapped

    - 2: wrong usage or setting; nothing was read

    - 141: the reader of standard output closed it
    """
    from sync.cli import map_files as command

    command.map_files(paths=paths, as_json=as_json)
