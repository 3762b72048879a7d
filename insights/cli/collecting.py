"""``python -m sync collect``: FHIR resources into flat tables."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from insights.cli.options import Engine
from insights.cli.reporting import command, console
from insights.errors import CollectError, ViewError, unreadable

if TYPE_CHECKING:
    from insights.collect import Built, Input, Store
    from insights.views import Catalogue


class Since(StrEnum):
    """Start of the changes to collect."""

    LAST = "last"


@dataclass(frozen=True, slots=True)
class _Source:
    """The files to load, and their source."""

    data: Input
    name: str
    deletions: str
    notes: tuple[str, ...] = ()
    temporary: Path | None = None


@command
def collect(
    folder: Annotated[
        Path,
        typer.Argument(metavar="DIR", help="Folder for the tables; made if missing, mode 0700.", show_default=False),
    ],
    *,
    fhir: Annotated[
        str | None, typer.Option(metavar="URL", help="FHIR service; without it that of `DICOM_SYNC_FHIR_URL`.")
    ] = None,
    ndjson: Annotated[
        Path | None,
        typer.Option(metavar="PATH", help="Folder with NDJSON files instead: output of $export, or of `sync export`."),
    ] = None,
    since: Annotated[
        Since | None,
        typer.Option(help="Only changes since the last collection; with --ndjson: the folder holds only these."),
    ] = None,
    paging: Annotated[bool, typer.Option("--paging", help="Search page by page, without trying $export.")] = False,
    view: Annotated[
        list[Path] | None, typer.Option(metavar="FILE", help="Further ViewDefinition; may be given several times.")
    ] = None,
    memory_mb: Annotated[int, typer.Option(min=200, metavar="MB", help="Memory that DuckDB may use.")] = 700,
    engine: Annotated[
        Engine, typer.Option("--engine", help="`spark` writes the tables of --ndjson as Parquet, into a new folder.")
    ] = Engine.DUCKDB,
    as_json: Annotated[bool, typer.Option("--json", help="Write what was collected to standard output.")] = False,
) -> None:
    """
    Collect FHIR resources as flat tables for cohorts and other questions.

    Only the columns that views read are kept: no names, no addresses. The tables are in `DIR/tables.duckdb`; see
    docs/tables.md. A full collection replaces the previous one once it is complete; a refresh is one transaction. After
    a crash, repeat the command: it continues with what is missing. Deleted resources are found by the service's own
    list of them, else by listing all ids; the output says which.

    **Examples**

    - from the FHIR service, by `$export` or page by page: `python -m sync collect data`

    - only changes since the last time: `python -m sync collect data --since last`

    - a Bulk Data export: `python -m sync collect data --ndjson export/`

    - the same tables as Parquet, by Spark: `python -m sync collect parquet --ndjson export/ --engine spark`

    **Exit codes**

    - 0: the tables are complete

    - 2: wrong usage, setting, view or file; the previous tables stay

    - 3: the FHIR service did not answer; repeat the command
    """
    from insights.collect import Store, build  # noqa: PLC0415 -- loaded when the command runs

    catalogue = _catalogue(view or [])
    if engine is Engine.SPARK:
        _by_spark(folder, ndjson, catalogue, refresh=since is not None, as_json=as_json)
        return
    store = Store(folder)
    refresh = since is not None
    if refresh:
        store.refreshable()  # before the folder is created
    given = _folder(ndjson, fhir, refresh=refresh) if ndjson is not None else None
    url = _address(fhir) if given is None else ""
    with store.alone():
        source = given or _fetched(store, catalogue, url, refresh=refresh, paging=paging)
        with _Loading(source.data) as advance:
            built = build(
                store,
                source.data,
                catalogue,
                source=source.name,
                refresh=refresh,
                deletions=source.deletions,
                memory_mb=memory_mb,
                progress=advance,
            )
        if source.temporary is not None:
            from insights.fetch.fetching import forget  # noqa: PLC0415

            forget(source.temporary)
    if as_json:
        typer.echo(json.dumps(asdict(built.known), sort_keys=True))
    _say(built, source, catalogue)


def _by_spark(folder: Path, ndjson: Path | None, catalogue: Catalogue, *, refresh: bool, as_json: bool) -> None:
    from insights.collect import read_folder  # noqa: PLC0415 -- loaded when the command runs
    from insights.spark.writing import write_parquet  # noqa: PLC0415 -- loaded when the command runs

    if ndjson is None or refresh:
        raise CollectError(
            "Spark reads a whole export from files",
            code="spark.source",
            hint="Give --ndjson, and no --since.",
        )
    counts = write_parquet(folder, read_folder(ndjson), catalogue, str(ndjson))
    if as_json:
        typer.echo(json.dumps(counts, sort_keys=True))
    for name, count in counts.items():
        console().print(f"{name:26} {count:>10} rows")


def _catalogue(files: list[Path]) -> Catalogue:
    from insights.views import Catalogue, parse_view  # noqa: PLC0415

    views = []
    for file in files:
        try:
            views.append(parse_view(json.loads(file.read_text("utf-8"))))
        except (OSError, ValueError) as problem:
            raise ViewError(f"{file}: {unreadable(problem)}", code="view.invalid") from None
    catalogue = Catalogue.shipped(views)
    assert catalogue.views  # compiled before anything is read
    return catalogue


def _folder(ndjson: Path, fhir: str | None, *, refresh: bool) -> _Source:
    from insights.collect import read_folder  # noqa: PLC0415

    if fhir is not None:
        raise CollectError("two sources", code="collect.no_source", hint="Give --fhir or --ndjson.")
    return _Source(read_folder(ndjson), str(ndjson), "deleted-files" if refresh else "all")


def _address(fhir: str | None) -> str:
    if fhir is not None:
        return fhir
    from insights.settings import InsightsSettings  # noqa: PLC0415

    url = InsightsSettings.load().fhir_url
    if not url:
        raise CollectError("no source", code="collect.no_source", hint="Give --fhir or --ndjson.")
    return url


def _fetched(store: Store, catalogue: Catalogue, url: str, *, refresh: bool, paging: bool) -> _Source:
    from insights.fetch.fetching import fetch  # noqa: PLC0415
    from insights.fetch.service import connected  # noqa: PLC0415

    previous = store.collected()
    if refresh and (previous is None or previous.data_time is None):
        raise CollectError("nothing to refresh", code="collect.nothing", hint="Collect everything first.")
    ids = store.ids() if refresh else {}

    async def download() -> _Source:
        async with connected(url) as service:
            with _Downloading() as told:
                fetched = await fetch(
                    service,
                    store.incoming,
                    catalogue.by_resource,
                    since=previous.data_time if refresh and previous else None,
                    known=ids,
                    paging=paging,
                    told=told,
                )
        notes = [f"collected by {'$export' if fetched.mode == 'export' else 'searches, page by page'}"]
        if fetched.deletions == "listing":
            notes.append("the service does not say what was deleted: all ids were listed")
        if fetched.absent:
            notes.append(f"the service does not have: {', '.join(fetched.absent)}")
        return _Source(fetched.data, service.base, fetched.deletions, tuple(notes), store.incoming)

    return asyncio.run(download())


def _bar(columns: Iterable[ProgressColumn]) -> Progress:
    """Return a progress bar on standard error, which only a terminal shows: elsewhere it would leave blank lines."""
    out = console()
    return Progress(*columns, console=out, transient=True, disable=not out.is_terminal)


class _Loading:
    """Shows the loaded bytes and the remaining time."""

    def __init__(self, data: Input) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
        self._bar = _bar(columns)
        self._task = self._bar.add_task("load", total=data.size)

    def __enter__(self) -> _Loading:  # noqa: PYI034 -- it is final
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def __call__(self, kind: str, size: int) -> None:
        self._bar.update(self._task, description=kind, advance=size)


class _Downloading:
    """Shows the downloaded resources of each type and the remaining time."""

    def __init__(self) -> None:
        columns = (TextColumn("{task.description:24}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._bar = _bar(columns)
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> _Downloading:  # noqa: PYI034 -- it is final
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def __call__(self, kind: str, count: int, total: int | None) -> None:
        if kind not in self._tasks:
            self._tasks[kind] = self._bar.add_task(kind, total=total)
        self._bar.update(self._tasks[kind], completed=count)


def _say(built: Built, source: _Source, catalogue: Catalogue) -> None:
    out = console()
    for kind, count in built.known.resources.items():
        changed, gone = built.changed.get(kind, 0), built.deleted.get(kind, 0)
        out.print(f"{kind:26} {count:>10}   {changed} written, {gone} deleted")
    for note in source.notes:
        out.print(note)
    ignored = sorted(set(source.data.by_type) - set(catalogue.by_resource))
    if ignored:
        out.print(f"not read: {', '.join(ignored)}, no view asks for them")
    if built.resumed:
        out.print(f"loaded before: {', '.join(built.resumed)}")
    out.print(f"data version {built.known.data_version}, complete until {built.known.data_time or 'an unknown time'}")
