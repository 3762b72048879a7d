"""
The demo: uploads sample studies as files, and waits until they are in FHIR.

    records of a clinical world into FHIR -> upload (16 at once)
        -> wait until ``api/status`` is idle with the expected numbers -> read FHIR back -> summary

Success is what FHIR answers to plain searches, compared series by series with what pydicom reads from the files, and
one dead letter with the right reason for each file that cannot be an instance.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import httpx
from azure.storage.blob.aio import BlobServiceClient
from rich.console import Console
from rich.panel import Panel
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from local.clinical_files import send_world
from local.clinical_imaging import imaging
from local.clinical_world import BLOCK, people
from local.processes import StartError
from local.readback import Held, differences, read_back
from local.samples import Expectation, Measurement, expectation, samples
from local.settings_file import SETTINGS
from local.world import Addresses, World
from sync.adapters.http.no_answer import words_of
from sync.words import counted

DEADLINE = 180.0
"""Seconds from the first upload until everything must have arrived."""

EXTRA = "pip install '.[insights]'"
"""Installs the packages that the questions need besides those of `make demo`."""

QUESTIONS = (
    "python -m sync collect .local/clinical",
    "python -m sync cohort run docs/examples/osteosarcoma.yaml --data .local/clinical --out .local/cohort",
    "python -m sync similar cw-000033 --rule docs/examples/lung.yaml --data .local/clinical",
    "python -m sync timeline cw-000033",
    "python -m sync feedback report docs/examples/nodules.yaml --reader r-17 --data .local/clinical --out .local/reads",
    "python -m sync feedback watch docs/examples/nodules.yaml --once",
    (
        'python -m sync models report docs/examples/nodules.yaml --model "Nodule Finder 2.1" '
        "--data .local/clinical --out .local/figures"
    ),
)
"""What can be asked of the clinical world of the demo, in another terminal with its settings."""

_AT_ONCE = 16
_POLL_SECONDS = 0.25
"""Seconds between two readings of the status."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """The outcome of the samples; as JSON, the last line of ``demo --once``."""

    complete: bool
    problems: Sequence[str]
    files: int
    studies: int
    series: int
    instances: int
    patients: int
    rejected: Mapping[str, int]
    fhir_requests: int | None
    records: int
    """Resources of the EHR of synthetic patients, put into FHIR before the upload."""
    seconds: float
    """From the first upload until everything was in FHIR."""


class Demonstration:
    """
    One run of the demo in a world.

    Parameters
    ----------
    once
        Print the summary as JSON and end, instead of staying.
    log
        Where the world's logs are, to be named when something went wrong.
    """

    def __init__(self, *, once: bool, log: Path, deadline: float = DEADLINE) -> None:
        self._once, self._log, self._deadline = once, log, deadline
        self._console = Console(stderr=True)

    async def run(self, world: World, settings: Path = SETTINGS) -> int | None:
        """Upload, wait, tell; return the exit status, or None to stay."""
        patients = list(people(BLOCK))
        files = [*samples(), *imaging(patients)]
        expected = expectation(files)
        # before the images: a study of a patient whom the EHR knows is linked to the Patient of the EHR
        try:
            records = await send_world(world.addresses.fhir, patients)
        except (httpx.HTTPError, httpx.InvalidURL) as problem:
            where = world.addresses.fhir
            raise StartError(f"the FHIR server {where} took no records: {words_of(problem)}; see --fhir") from None
        start = time.monotonic()
        with _progress(self._console) as progress:
            await _upload(files, world.addresses, progress)
            letters = await self._wait(world, expected, start, progress)
        seconds = time.monotonic() - start
        summary = await _summarise(world.addresses, expected, letters, (len(files), records), seconds)
        self._tell(summary, letters, world.addresses, settings)
        if self._once:
            print(json.dumps({**asdict(summary), "addresses": asdict(world.addresses)}), flush=True)
        if not summary.complete:
            return 1
        return 0 if self._once else None

    async def _wait(self, world: World, expected: Expectation, start: float, progress: Progress) -> dict[str, Any]:
        """Return the dead letters once all numbers are as expected, or as they are at the deadline."""
        task = progress.add_task("Waiting for FHIR", total=len(expected.studies))
        async with httpx.AsyncClient(base_url=world.addresses.api, timeout=30) as api:
            while time.monotonic() - start < self._deadline:
                status = await _ask(api, "status")
                progress.update(task, completed=status.get("synced_studies", 0), description=_described(status))
                if not world.events.pending and _arrived(status, expected):
                    break
                await asyncio.sleep(_POLL_SECONDS)
            return await _ask(api, "dead-letters")

    def _tell(self, summary: Summary, letters: Mapping[str, Any], addresses: Addresses, settings: Path) -> None:
        if summary.complete:
            self._console.print(f"[bold green]Everything arrived[/] in {summary.seconds:.1f} s.")
        else:
            self._console.print("[bold red]Not everything arrived:[/]", *summary.problems, sep="\n  ")
            self._console.print(f"The functions host's log: {self._log}", highlight=False)
        self._console.print(_table(summary, letters))
        if not self._once:
            self._console.print(
                Panel(_addresses(addresses, settings), title="Look around; Ctrl-C ends it", expand=False)
            )
            self._console.print(
                "Ask the synthetic patients, in that other terminal:",
                f"{EXTRA}    # once",
                *QUESTIONS,
                sep="\n  ",
                soft_wrap=True,
                highlight=False,
                markup=False,
            )
            # whole, on a line of its own, for copying
            self._console.print(f"Storage, container {addresses.container!r}:", addresses.storage, soft_wrap=True)


def _progress(console: Console) -> Progress:
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    return Progress(*columns, console=console)


async def _upload(files: Sequence[Measurement], addresses: Addresses, progress: Progress) -> None:
    task = progress.add_task("Uploading files", total=len(files))
    gate = asyncio.Semaphore(_AT_ONCE)
    async with BlobServiceClient.from_connection_string(addresses.storage) as service, asyncio.TaskGroup() as tasks:
        container = service.get_container_client(addresses.container)

        async def upload(sample: Measurement) -> None:
            async with gate:
                await container.upload_blob(sample.name, sample.content, overwrite=True)
            progress.advance(task)

        for sample in files:
            tasks.create_task(upload(sample))


async def _ask(api: httpx.AsyncClient, what: str) -> dict[str, Any]:
    """Ask the functions host; a host that is being restarted knows nothing for a moment."""
    try:
        answer = (await api.get(what)).raise_for_status().json()
    except (httpx.HTTPError, ValueError):
        return {}
    return answer if isinstance(answer, dict) else {}


def _arrived(status: Mapping[str, Any], expected: Expectation) -> bool:
    numbers = (status.get("synced_studies"), status.get("dead_letters"))
    return bool(status.get("idle")) and numbers == (len(expected.studies), sum(expected.rejected.values()))


def _described(status: Mapping[str, Any]) -> str:
    if not status:
        return "Waiting for the functions host"
    messages, studies = int(status.get("queued", 0)), int(status.get("dirty_studies", 0))
    return f"In FHIR; {counted(messages, 'message')} and {counted(studies, 'study', 'studies')} outstanding"


async def _summarise(
    addresses: Addresses, expected: Expectation, letters: Mapping[str, Any], sent: tuple[int, int], seconds: float
) -> Summary:
    requests = await _fhir_requests(addresses.fhir)
    rejected = {code: group["count"] for code, group in letters.get("by_code", {}).items()}
    try:
        held = await read_back(addresses.fhir, expected)
        problems = differences(expected, held, rejected)
    except httpx.HTTPError as problem:
        held, problems = Held({}, frozenset()), [f"the FHIR server does not answer: {words_of(problem)}"]
    return Summary(
        complete=not problems,
        problems=problems,
        files=sent[0],
        records=sent[1],
        studies=len(held.studies),
        series=held.series,
        instances=held.instances,
        patients=len(held.patients),
        rejected=rejected,
        fhir_requests=requests,
        seconds=round(seconds, 1),
    )


async def _fhir_requests(fhir_url: str) -> int | None:
    """Ask the server how many requests it had; only our embedded one can tell."""
    async with httpx.AsyncClient(timeout=30) as client:
        try:
            return int((await client.get(f"{fhir_url}/_requests")).raise_for_status().json()["total"])
        except (httpx.HTTPError, ValueError, KeyError):
            return None


def _table(summary: Summary, letters: Mapping[str, Any]) -> Table:
    table = Table(show_header=False)
    table.add_row("Files uploaded", str(summary.files))
    table.add_row("Records of the EHR in FHIR", str(summary.records))
    for name in ("studies", "series", "instances", "patients"):
        table.add_row(f"{name.capitalize()} in FHIR", str(getattr(summary, name)))
    requests = "not counted by this server" if summary.fhir_requests is None else str(summary.fhir_requests)
    table.add_row("FHIR requests made", requests)
    for code, group in letters.get("by_code", {}).items():
        table.add_row(f"Rejected: {code}", f"{group['count']}  {group['hint']}")
    table.add_row("Seconds, first upload to last study", f"{summary.seconds:.1f}")
    return table


def _addresses(addresses: Addresses, settings: Path) -> str:
    return "\n".join(
        (
            f"Dashboard     {addresses.api}/dashboard",
            f"Studies       {addresses.fhir}/ImagingStudy",
            f"Patients      {addresses.fhir}/Patient",
            f"Status        {addresses.api}/status",
            f"Dead letters  {addresses.api}/dead-letters",
            f"Settings      . {os.path.relpath(settings)}     in another terminal, for python -m sync",
        )
    )
