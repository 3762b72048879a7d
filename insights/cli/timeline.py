"""``python -m sync timeline``: one patient over time."""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
import webbrowser
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from insights.cli.reporting import command, console
from insights.errors import EXIT_REJECTED, CollectError, TimelineError
from sync.adapters.file_locks import beside, held

if TYPE_CHECKING:
    from insights.timeline.gather import Gathered


@command
def timeline(
    patient: Annotated[str, typer.Argument(metavar="PATIENT", help="Id of the Patient in FHIR.", show_default=False)],
    *,
    fhir: Annotated[
        str | None, typer.Option(metavar="URL", help="FHIR service; without it that of `DICOM_SYNC_FHIR_URL`.")
    ] = None,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the page to a file that only you can read.")
    ] = None,
    csv: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the table to a file that only you can read.")
    ] = None,
    show: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
    since: Annotated[
        datetime | None,
        typer.Option(
            formats=["%Y-%m-%d"], metavar="DAY", help="Mark resources that were written to FHIR since this day."
        ),
    ] = None,
    study: Annotated[str, typer.Option(metavar="UID", help="Mark priors of this study; default: of the latest.")] = "",
    viewer: Annotated[str, typer.Option(metavar="URL", help="Address of the viewer, with {uid} for the study.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Write everything as JSON to standard output.")] = False,
) -> None:
    """
    Show one patient over time: problems, operations, medication, studies, reports, measurements.

    Linked Patients are included. Eight searches run at once; if one fails, its lane is marked and never looks empty.
    How to read it: docs/timeline.md.

    **Examples**

    - in the browser: `python -m sync timeline PATIENT --open`

    - as a table: `python -m sync timeline PATIENT --csv timeline.csv`

    **Exit codes**

    - 0: complete

    - 1: a lane is missing or cut short; the rest is shown

    - 2: there is no such patient, or the command is wrong

    - 3: the FHIR service did not answer
    """
    from insights.settings import InsightsSettings  # noqa: PLC0415 -- loaded when the command runs
    from insights.timeline import page  # noqa: PLC0415
    from insights.timeline.entries import entries  # noqa: PLC0415

    if viewer and "{uid}" not in viewer:
        raise TimelineError("the viewer's address lacks {uid}", code="timeline.viewer")
    address = fhir or InsightsSettings.load().fhir_url
    if not address:
        raise CollectError("no FHIR service", code="collect.no_source", hint="Give --fhir or DICOM_SYNC_FHIR_URL.")
    gathered = asyncio.run(_gathered(address, patient))
    day = since.date().isoformat() if since else ""
    shown = page.Shown(gathered, entries(gathered.resources, since=day, study=study), day, viewer)
    if as_json:
        typer.echo(json.dumps(page.as_json(shown), sort_keys=True))
    elif html is None and csv is None and not show:
        for entry in shown.entries:
            marks = " (new)" * entry.new + " (relevant prior)" * entry.prior
            typer.echo(f"{entry.start or 'no date':10}  {entry.lane:16}  {entry.label}  {entry.detail}{marks}".rstrip())
    _write(html, page.html(shown))
    _write(csv, page.rows_csv(shown))
    if show:
        file = Path(tempfile.mkdtemp(prefix="timeline-")) / "page.html"
        _write(file, page.html(shown))
        webbrowser.open(file.as_uri())
        console().print(f"opened {file}; delete it when you are done")
    if study and all(entry.study != study for entry in shown.entries):
        console().print(f"no prior is marked: {study} is no study of this patient")
    for lane, why in gathered.missing.items():
        console().print(f"missing  {lane}: {why}")
    if gathered.missing:
        raise typer.Exit(EXIT_REJECTED)


async def _gathered(address: str, patient: str) -> Gathered:
    from insights.fetch.service import connected  # noqa: PLC0415
    from insights.timeline.gather import gather  # noqa: PLC0415

    async with connected(address) as service:
        return await gather(service, patient)


def _write(file: Path | None, text: str) -> None:
    """Write a file that only its owner can read; whole or not at all."""
    if file is None:
        return
    part = file.with_name(f".{file.name}.part")
    try:
        with held(beside(file)):
            with os.fdopen(os.open(part, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600), "w", encoding="utf-8") as out:
                out.write(text)
            part.replace(file)
    except OSError as problem:
        raise TimelineError(f"{file}: {problem.strerror}", code="timeline.out") from None
