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
import errno
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
from local.processes import StartError
from sync.words import counted

if TYPE_CHECKING:
    from local.visits import Visit
    from local.world import Plan, World

app = typer.Typer(add_completion=False, no_args_is_help=True, help="The world on one machine.")

_SERVERS = ("embedded", "embedded-azure", "hapi")


def _fhir_server(value: str) -> str:
    if value not in _SERVERS and not value.startswith(("http://", "https://")):
        raise typer.BadParameter(f"expected {', '.join(_SERVERS)}, or the base URL of a FHIR R4 server (http://…)")
    return value


Fhir = Annotated[
    str,
    typer.Option(help="embedded, embedded-azure, hapi, or the base URL of a FHIR R4 server", callback=_fhir_server),
]
Port = Annotated[int, typer.Option(help="port of the functions host; 0 takes a free one")]
Events = Annotated[Literal["cloudevents", "eventgrid"], typer.Option(help="schema of the events")]
Lost = Annotated[
    float, typer.Option(help="share of the events that never come, to see what an alert does", min=0, max=1)
]
Once = Annotated[bool, typer.Option("--once", help="print the summary as one JSON line and end")]

LOG, UP_LOG = CACHE / "demo.log", CACHE / "up.log"
_FORM = "%(name)s: %(message)s"


@app.command()
def up(*, fhir: Fhir = "embedded", port: Port = 0, events: Events = "cloudevents", lose_events: Lost = 0.0) -> None:
    """Start everything, print the addresses as one JSON line, stay until Ctrl-C."""
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
    """Start everything, upload sample studies, show their outcome, stay until Ctrl-C."""
    from local import demo as demonstration  # noqa: PLC0415  # pydicom, httpx and rich take a moment
    from local.world import Plan  # noqa: PLC0415  # the parts of a world take a moment

    with claimed(LOG) as (path, log):
        logging.basicConfig(level=logging.WARNING, format=_FORM, stream=log)
        show = demonstration.Demonstration(once=once, log=_shown(path))
        _run(Plan(fhir=fhir, port=port), log.write, show.run)


@app.command(name="dicom-service")
def serve_dicom(
    folder: Annotated[Path | None, typer.Argument(help="DICOM files to begin with", exists=True)] = None,
    *,
    port: Annotated[int, typer.Option(help="0 takes a free one")] = 0,
) -> None:
    """Serve DICOM files as a DICOM service with a change feed; set DICOM_SYNC_DICOM_URL to the address it prints."""
    from local.dicom_service import serve  # noqa: PLC0415  # pydicom takes a moment

    with _ending_in_a_line():
        serve(folder, port)


@app.command(name="orthanc")
def run_orthanc() -> None:
    """Run an empty Orthanc; set DICOM_SYNC_ORTHANC_URL to the address it prints."""
    with _ending_in_a_line(), orthanc_server() as server:
        print(json.dumps({"url": server.url}), flush=True)
        signal.sigwait({signal.SIGINT, signal.SIGTERM})


@app.command()
def samples(folder: Annotated[Path, typer.Argument(help="made if missing", file_okay=False)]) -> None:
    """Write the sample files of the demo into a folder."""
    from local.samples import write_samples  # noqa: PLC0415  # pydicom takes a moment

    with _ending_in_a_line():
        print(counted(write_samples(folder), "file"))


@app.command()
def clinical(
    folder: Annotated[Path, typer.Argument(help="made if missing", file_okay=False)],
    *,
    patients: Annotated[int, typer.Option(min=1, help="how many; patient i is the same whatever the number")] = 104,
) -> None:
    """Write a clinical world into a folder: FHIR as NDJSON, DICOM files, and truth.json with what is so."""
    from local.clinical_files import write_world  # noqa: PLC0415  # pydicom takes a moment

    with _ending_in_a_line():
        facts = write_world(folder, patients)
    print(f"{counted(patients, 'patient')}, {len(facts['osteosarcoma']['in'])} of them in the example's cohort")


@app.command()
def upload(paths: Annotated[list[Path], typer.Argument(help="files, or folders of files", exists=True)]) -> None:
    """Upload files into the world that AzureWebJobsStorage names; a file of the same name is overwritten."""
    from local import blobs  # noqa: PLC0415  # the library of Azure takes a moment

    with _ending_in_a_line():
        print(f"{blobs.upload(paths)} uploaded")


@app.command()
def delete(names: Annotated[list[str], typer.Argument(help="names as they were uploaded")]) -> None:
    """Delete files from the world that AzureWebJobsStorage names."""
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
    hapi: Annotated[bool, typer.Option("--hapi", help="build the HAPI server as well")] = False,
    browser: Annotated[bool, typer.Option("--browser", help="install Chromium as well, for tests of pages")] = False,
    orthanc: Annotated[bool, typer.Option("--orthanc", help="install Orthanc as well")] = False,
    helm: Annotated[bool, typer.Option("--helm", help="compile Helm as well, for tests of the chart")] = False,
) -> None:
    """Install what the world needs, so that nothing is left to be downloaded later; idempotent."""
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
        if problem.errno == errno.EADDRINUSE:
            print("the port is taken; give another --port, or 0 for a free one", file=sys.stderr)
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
