"""
``python -m local up`` and ``demo``: the world, empty or with sample studies in it; ``prepare`` only downloads.

Standard output of both carries JSON only, one line; progress and logs go to standard error. Exit status: 0 after a stop
by Ctrl-C or SIGTERM, or a demo where everything arrived; 1 when a part did not start or died, or something did not
arrive. ``samples``, ``upload`` and ``delete`` are for playing with a world in another terminal, by the settings that it
has written into a file (`local.settings_file`).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NoReturn

import typer

from local.browser import ensure_chromium
from local.claimed_files import claimed
from local.helm import ensure_helm
from local.log_stream import LogStream
from local.node import CACHE, ensure_packages
from local.orthanc import ensure_installed, orthanc_server
from local.processes import PORT_REFUSALS, StartError
from sync.words import counted

if TYPE_CHECKING:
    from local.visits import Visit
    from local.world import Plan, World

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Run the whole system on this machine: storage, events, functions and FHIR. `demo` is the place to begin; "
    "`upload`, `delete` and `python -m sync` then act on the running world from another terminal, after "
    "`. .local/world.env`.",
)

_SERVERS = ("embedded", "embedded-azure", "hapi")


def _fhir_server(value: str) -> str:
    if value not in _SERVERS and not value.startswith(("http://", "https://")):
        raise typer.BadParameter(f"expected {', '.join(_SERVERS)}, or the base URL of a FHIR R4 server (http://…)")
    return value


Fhir = Annotated[
    str,
    typer.Option(
        help="FHIR server: embedded; embedded-azure, which answers as Azure's does; hapi (needs a JDK 17 and Maven); "
        "or the base URL of a FHIR R4 server.",
        callback=_fhir_server,
    ),
]
Port = Annotated[
    int,
    typer.Option(help="Port of the functions host, with dashboard and API; 0 chooses a free one.", min=0, max=65535),
]
Events = Annotated[
    Literal["cloudevents", "eventgrid"], typer.Option(help="Schema in which the storage account sends its events.")
]
Lost = Annotated[
    float,
    typer.Option(help="Share of the events that get lost, 0 to 1: causes the alert for missing events.", min=0, max=1),
]
Once = Annotated[bool, typer.Option("--once", help="Print the summary as one JSON line and end; for scripts.")]

LOG, UP_LOG = CACHE / "demo.log", CACHE / "up.log"
_FORM = "%(name)s: %(message)s"


@app.command()
def up(*, fhir: Fhir = "embedded", port: Port = 0, events: Events = "cloudevents", lose_events: Lost = 0.0) -> None:
    """
    Start storage, events, functions and FHIR without samples, and run until Ctrl-C.

    Use it to try your own files or settings. Prints the addresses as one JSON line, and writes the settings for other
    terminals to `.local/world.env`. `DICOM_SYNC_*` settings of the shell apply to the world.

    **Examples**

    - an empty world: `python -m local up`, then in another terminal `. .local/world.env` and
      `python -m local upload scan.dcm`

    - a FHIR server with the rules of Azure: `python -m local up --fhir embedded-azure`

    - to see an alert: `DICOM_SYNC_ALERT_MISSING_EVENTS_SECONDS=60 python -m local up --lose-events 1`

    **Exit codes**

    - 0: ended by Ctrl-C or SIGTERM

    - 1: a part did not start, or died
    """
    from local.storage_events import Disorder  # noqa: PLC0415  # the parts of a world take a moment
    from local.visits import announce  # noqa: PLC0415  # the parts of a world take a moment
    from local.world import Plan  # noqa: PLC0415  # the parts of a world take a moment

    plan = Plan(fhir=fhir, port=port, schema=events, disorder=Disorder(drop=lose_events))
    if not sys.stderr.isatty():
        log = LogStream(sys.stderr.fileno())
        logging.basicConfig(level=logging.WARNING, format=_FORM, stream=log)
        _run(plan, log.write, announce)
    # A terminal that every log line goes to cannot be read: it gets one line of its own.
    print("starting storage, FHIR and functions", file=sys.stderr)
    with claimed(UP_LOG) as (path, file):
        logging.basicConfig(level=logging.WARNING, format=_FORM, stream=file)

        async def announce_and_say(running: World, settings: Path) -> int | None:
            await announce(running, settings)
            where = f"settings for another terminal: . {_shown(settings)}; log: {_shown(path)}"
            print(f"running; {where}; Ctrl-C ends it", file=sys.stderr)
            return None

        _run(plan, file.write, announce_and_say)


@app.command()
def demo(*, fhir: Fhir = "embedded", port: Port = 0, once: Once = False) -> None:
    """
    Start everything, upload sample studies, show what arrived in FHIR, and run until Ctrl-C.

    Use it first. FHIR also gets the records of 104 synthetic patients. The summary has the counts, the rejected files
    with their reasons, and the addresses to open, the dashboard first. `make demo` installs all needs and runs this.

    **Examples**

    - to look around: `python -m local demo`

    - from a script, until everything arrived: `python -m local demo --once`

    **Exit codes**

    - 0: everything arrived; ended by Ctrl-C, SIGTERM or `--once`

    - 1: a part did not start or died, or something did not arrive
    """
    from local import demo as demonstration  # noqa: PLC0415  # pydicom, httpx and rich take a moment
    from local.world import Plan  # noqa: PLC0415  # the parts of a world take a moment

    with claimed(LOG) as (path, log):
        logging.basicConfig(level=logging.WARNING, format=_FORM, stream=log)
        show = demonstration.Demonstration(once=once, log=_shown(path))
        _run(Plan(fhir=fhir, port=port), log.write, show.run)


@app.command(name="dicom-service")
def serve_dicom(
    folder: Annotated[Path | None, typer.Argument(help="Folder of DICOM files to serve.", exists=True)] = None,
    *,
    port: Annotated[int, typer.Option(help="Port of the service; 0 chooses a free one.", min=0, max=65535)] = 0,
) -> None:
    """
    Serve a folder of DICOM files as a DICOM service with a change feed, until Ctrl-C.

    Use it to try the source `DICOM_SYNC_DICOM_URL` without Azure: set that to the printed address. The service accepts
    stores, updates and deletes by DICOMweb, and drops and refuses the same values as Azure's.

    **Examples**

    - `python -m local dicom-service .local/samples --port 8104`, then in another terminal
      `DICOM_SYNC_DICOM_URL=http://127.0.0.1:8104 python -m local up`
    """
    from local.dicom_service import serve  # noqa: PLC0415  # pydicom takes a moment

    with _ending_in_a_line():
        serve(folder, port)


@app.command(name="orthanc")
def run_orthanc() -> None:
    """
    Run a real, empty Orthanc until Ctrl-C, and print its address as JSON.

    Use it to try the source `DICOM_SYNC_ORTHANC_URL`: set that to the printed address.
    `python -m local prepare --orthanc` installs Orthanc.

    **Examples**

    - `python -m local orthanc`, then in another terminal `DICOM_SYNC_ORTHANC_URL=http://… python -m local up`
    """
    with _ending_in_a_line(), orthanc_server() as server:
        print(json.dumps({"url": server.url}), flush=True)
        signal.sigwait({signal.SIGINT, signal.SIGTERM})


@app.command()
def samples(folder: Annotated[Path, typer.Argument(help="Folder; created if missing.", file_okay=False)]) -> None:
    """
    Write the sample DICOM files of the demo into a folder, some of them broken on purpose.

    Use it to try a command with files, or to upload them again. Prints the number of files.

    **Examples**

    - `python -m local samples .local/samples`, then `python -m sync map .local/samples/single/CT_small.dcm`
    """
    from local.samples import write_samples  # noqa: PLC0415  # pydicom takes a moment

    with _ending_in_a_line():
        print(counted(write_samples(folder), "file"))


@app.command()
def clinical(
    folder: Annotated[Path, typer.Argument(help="Folder; created if missing.", file_okay=False)],
    *,
    patients: Annotated[
        int, typer.Option(min=1, help="Number of patients; a larger number adds patients and changes none.")
    ] = 104,
) -> None:
    """
    Write synthetic patients into a folder: FHIR as NDJSON, DICOM files, and `truth.json` with the correct answers.

    Use it to try `collect`, `cohort`, `similar`, `feedback` and `models` on data whose answers are known. The same
    number of patients gives the same bytes.

    **Examples**

    - `python -m local clinical .local/patients --patients 1000`, then
      `python -m sync collect .local/tables --ndjson .local/patients/fhir`
    """
    from local.clinical_files import write_world  # noqa: PLC0415  # pydicom takes a moment

    with _ending_in_a_line():
        facts = write_world(folder, patients)
    print(f"{counted(patients, 'patient')}, {len(facts['osteosarcoma']['in'])} of them in the example's cohort")


@app.command()
def upload(paths: Annotated[list[Path], typer.Argument(help="Files, or folders of files.", exists=True)]) -> None:
    """
    Upload files into the running world; a blob of the same name is overwritten.

    Acts on the world whose settings are in the environment (`. .local/world.env`). A file gets its own name, a file of
    a folder its path below the folder. FHIR follows within seconds.

    **Examples**

    - one file: `python -m local upload scan.dcm`

    - a folder: `python -m local upload .local/samples`
    """
    from local import blobs  # noqa: PLC0415  # the library of Azure takes a moment

    with _ending_in_a_line():
        print(f"{blobs.upload(paths)} uploaded")


@app.command()
def delete(names: Annotated[list[str], typer.Argument(help="Blob names, such as single/CT_small.dcm.")]) -> None:
    """
    Delete blobs from the running world; FHIR follows within seconds.

    Acts on the world whose settings are in the environment (`. .local/world.env`).

    **Examples**

    - `python -m local delete single/CT_small.dcm`

    **Exit codes**

    - 0: all were deleted

    - 1: there is no blob of one of the names; the nearest name is suggested
    """
    from local import blobs  # noqa: PLC0415  # the library of Azure takes a moment

    with _ending_in_a_line():
        deleted, missing = blobs.delete(names)
        print(f"{deleted} deleted")
        for name, meant in missing.items():
            hint = (
                f"did you mean {meant}?" if meant else "names are those that upload was given, such as folder/file.dcm"
            )
            print(f"not there: {name}; {hint}", file=sys.stderr)
        if missing:
            raise typer.Exit(1)


@app.command()
def prepare(
    *,
    hapi: Annotated[bool, typer.Option("--hapi", help="Also build the HAPI server; needs a JDK 17 and Maven.")] = False,
    browser: Annotated[bool, typer.Option("--browser", help="Also install Chromium, for tests of pages.")] = False,
    orthanc: Annotated[bool, typer.Option("--orthanc", help="Also install Orthanc.")] = False,
    helm: Annotated[bool, typer.Option("--helm", help="Also compile Helm, for tests of the chart.")] = False,
) -> None:
    """
    Download and install Azurite and the embedded FHIR server, so that later commands need no network. Idempotent.

    Use it before you go offline, or in an image; otherwise `up` and `demo` install the same at their first start.

    **Examples**

    - what `up` and `demo` need: `python -m local prepare`

    - with a real Orthanc: `python -m local prepare --orthanc`
    """
    with _ending_in_a_line(), ThreadPoolExecutor(1) as beside:
        compiled = beside.submit(ensure_helm) if helm else None  # it computes, while the others download
        ensure_packages()
        if hapi:
            from local.hapi import ensure_built  # noqa: PLC0415  # only who wants HAPI needs Java to be looked for

            ensure_built()
        if browser:
            ensure_chromium()
        if orthanc:
            ensure_installed()
        if compiled is not None:
            compiled.result()


@contextlib.contextmanager
def _ending_in_a_line() -> Iterator[None]:
    """End the command with a line that says why, where something is missing or did not start."""
    try:
        yield
    except StartError as problem:
        print(problem, file=sys.stderr)
        raise SystemExit(1) from None
    except OSError as problem:
        if problem.filename is None and problem.errno in PORT_REFUSALS:
            print(f"{PORT_REFUSALS[problem.errno]}; give another --port, or 0 for a free one", file=sys.stderr)
        elif problem.filename is not None:
            print(f"{problem.filename}: {problem.strerror}", file=sys.stderr)
        else:
            raise
        raise SystemExit(1) from None


def _shown(path: Path) -> Path:
    """Return a path as it is typed from here."""
    return Path(os.path.relpath(path))


def _run(plan: Plan, log: Callable[[str], object], visit: Visit) -> NoReturn:
    from local.visits import visiting  # noqa: PLC0415  # the parts of a world take a moment

    with _ending_in_a_line():
        raise SystemExit(asyncio.run(visiting(plan, log, visit)))


if __name__ == "__main__":
    app(prog_name="python -m local")
