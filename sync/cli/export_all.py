"""``python -m sync export``: NDJSON files for the bulk import of a new FHIR service."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from sync.adapters.file_locks import held
from sync.cli.connecting import with_services
from sync.cli.reporting import EXIT_UNAVAILABLE, console, results
from sync.cli.walks import begin_or_go_on, refuse, share_walk, tell_state
from sync.config.forms import NEW_CONTAINER
from sync.export import LOCK, NotEmpty, prepare, replaceable
from sync.export import export as export_to
from sync.model.exports import Manifest, json_of
from sync.protocol.walk_rows import WalkState
from sync.walks.exporting import Exporting, fetch_manifest, folder_of, new_export
from sync.walks.sharing import PARALLEL
from sync.words import counted

if TYPE_CHECKING:
    from sync.bootstrap import Running

_MEGABYTE = 1_000_000


def export(*, folder: Path | None, container: str, max_mb: int, overwrite: bool, who: str, as_json: bool) -> None:
    """Export all resources as NDJSON, one type per file, to bulk-load a FHIR service."""
    if container:
        _refuse_container(container, folder, overwrite=overwrite)
        exported = with_services(
            lambda running: _share(running, container, max_mb * _MEGABYTE, who=who, as_json=as_json)
        )
    else:
        exported = _into_folder(folder, max_mb * _MEGABYTE, overwrite=overwrite, quiet=as_json)
    _tell(exported, as_json=as_json)


def _into_folder(folder: Path | None, max_bytes: int, *, overwrite: bool, quiet: bool) -> Manifest:
    if folder is None:
        refuse("name the target: a folder, or --container")
    try:
        replaceable(folder, overwrite=overwrite)  # refused before anything is read
        return with_services(lambda running: _export(running, folder, max_bytes, overwrite=overwrite, quiet=quiet))
    except NotEmpty as problem:
        refuse(str(problem))
    except OSError as problem:
        refuse(f"{problem.strerror or 'not usable'}: {folder}")


def _refuse_container(container: str, folder: Path | None, *, overwrite: bool) -> None:
    if folder is not None or overwrite:
        refuse("--container needs neither a folder nor --overwrite: each export is in a folder of its own")
    if not NEW_CONTAINER.fullmatch(container):
        refuse("--container: expected 3 to 63 lowercase letters, digits and single hyphens")


async def _share(running: Running, container: str, max_bytes: int, *, who: str, as_json: bool) -> Manifest:
    """Take part in an export until it is over."""
    s, out, files = running.services, console(), running.export_files(container)
    if container in s.settings.containers:
        refuse("--container: is one of DICOM_SYNC_CONTAINERS, which hold DICOM objects")
    await files.ensure()
    asked = new_export(container, s.settings, max_bytes=max_bytes)
    await begin_or_go_on(
        asked, s, out, who=who, dealt=lambda counts: f"{counted(counts.get('studies', 0), 'study', 'studies')} exported"
    )
    kinds = {asked.kind: Exporting(services=s, files=running.export_files)}
    progress, _ = await share_walk(asked.name, kinds, s, out, heading="Exporting", parallel=PARALLEL, as_json=as_json)
    exported = await fetch_manifest(progress.row, files) if progress.row.state is WalkState.DONE else None
    if exported is None:
        tell_state(progress, out)
        raise typer.Exit(EXIT_UNAVAILABLE)
    out.print(f"complete  container {container}, folder {folder_of(progress.row)}")
    return exported


def _tell(exported: Manifest, *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(json_of(exported)))
        return
    for kind, count in sorted(exported.resources.items()):
        files = sum(file.kind == kind for file in exported.files)
        results().print(f"{kind:<20}{count:>9} in {counted(files, 'file')}")
    for reason, count in sorted(exported.left_out.items()):
        results().print(f"left out: {reason.replace('_', ' ')}  {count}")


@contextmanager
def _emptied(folder: Path, *, overwrite: bool) -> Iterator[None]:
    """Prepare the folder, and be the only process that writes it for the length of the block."""
    folder.mkdir(parents=True, exist_ok=True)
    with held(folder / LOCK):
        prepare(folder, overwrite=overwrite)
        yield


async def _export(running: Running, folder: Path, max_bytes: int, *, overwrite: bool, quiet: bool) -> Manifest:
    """Export into the folder; an earlier export goes only now that the storage has answered."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    out = console()
    bar = Progress(*columns, console=out, transient=True, disable=quiet or not out.is_terminal)
    with _emptied(folder, overwrite=overwrite), bar as progress:
        task = progress.add_task("studies", total=None)

        def on_progress(studies: int, fraction: float) -> None:
            progress.update(task, completed=studies, total=round(studies / fraction) if fraction else None)

        return await export_to(folder, max_bytes, running.services, on_progress)
