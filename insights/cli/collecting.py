"""``python -m sync collect``: FHIR resources into flat tables."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Self

import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from insights.cli.reporting import command, console

if TYPE_CHECKING:
    from insights.collect import Built, Input
    from insights.views import Catalogue


@command
def collect(
    folder: Annotated[
        Path,
        typer.Argument(metavar="DIR", help="Folder for the tables; made if missing, mode 0700.", show_default=False),
    ],
    *,
    ndjson: Annotated[
        Path | None,
        typer.Option(metavar="PATH", help="Folder with NDJSON files: output of $export, or of `sync export`."),
    ] = None,
    refresh: Annotated[
        bool, typer.Option("--refresh", help="The source holds only what changed since the last time.")
    ] = False,
    view: Annotated[
        list[Path] | None, typer.Option(metavar="FILE", help="Further ViewDefinition; may be given several times.")
    ] = None,
    memory_mb: Annotated[int, typer.Option(min=200, metavar="MB", help="Memory that DuckDB may use.")] = 700,
    as_json: Annotated[bool, typer.Option("--json", help="Write what was collected to standard output.")] = False,
) -> None:
    """
    Collect FHIR resources as flat tables for cohorts and other questions.

    Only the columns that views read are kept: no names, no addresses. The tables are in `DIR/tables.duckdb`; which
    there are: docs/tables.md. A full collection takes the place of the former when it is whole; a refresh is one
    transaction. After a kill, repeat the command: what was loaded is not loaded again.

    **Examples**

    - a Bulk Data export: `python -m sync collect data --ndjson export/`

    - what changed since: `python -m sync collect data --ndjson changes/ --refresh`

    **Exit codes**

    - 0: the tables are complete

    - 2: wrong usage, setting, view or file; the former tables stay

    - 3: the FHIR service did not answer; repeat the command
    """
    from insights.collect import Store, build, read_folder  # noqa: PLC0415 -- loaded when the command runs
    from insights.errors import CollectError  # noqa: PLC0415

    catalogue = _catalogue(view or [])
    if ndjson is None:
        raise CollectError("no source", code="collect.no_source", hint="Give --ndjson.")
    data = read_folder(ndjson)
    with _progress(data) as advance:
        built = build(
            Store(folder),
            data,
            catalogue,
            source=str(ndjson),
            refresh=refresh,
            deletions="deleted-files" if refresh else "all",
            memory_mb=memory_mb,
            progress=advance,
        )
    if as_json:
        typer.echo(json.dumps(asdict(built.known), sort_keys=True))
    _say(built, data, catalogue)


def _catalogue(files: list[Path]) -> Catalogue:
    from insights.errors import ViewError  # noqa: PLC0415
    from insights.views import Catalogue, parse_view  # noqa: PLC0415

    views = []
    for file in files:
        try:
            views.append(parse_view(json.loads(file.read_text("utf-8"))))
        except (OSError, ValueError) as problem:
            raise ViewError(f"{file}: {type(problem).__name__}", code="view.invalid") from None
    catalogue = Catalogue.shipped(views)
    assert catalogue.views  # compiled before anything is read
    return catalogue


class _progress:  # noqa: N801 -- used as a function
    """Bytes loaded, and how long the rest will take."""

    def __init__(self, data: Input) -> None:
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            TimeRemainingColumn(),
            console=console(),
            transient=True,
        )
        self._task = self._bar.add_task("collect", total=data.size)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def __call__(self, kind: str, size: int) -> None:
        self._bar.update(self._task, description=kind, advance=size)


def _say(built: Built, data: Input, catalogue: Catalogue) -> None:
    out = console()
    for kind, count in built.known.resources.items():
        changed, gone = built.changed.get(kind, 0), built.deleted.get(kind, 0)
        out.print(f"{kind:26} {count:>10}   {changed} written, {gone} deleted")
    ignored = sorted(set(data.by_type) - set(catalogue.by_resource))
    if ignored:
        out.print(f"not read: {', '.join(ignored)}, no view asks for them")
    if built.resumed:
        out.print(f"loaded before: {', '.join(built.resumed)}")
    out.print(f"data version {built.known.data_version}, complete until {built.known.data_time or 'an unknown time'}")
