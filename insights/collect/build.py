"""
Builds tables from NDJSON files: all of them, or a refresh with the changes.

Each type is read once, into a table of the columns that views read; then each view of the type is run. A refresh
deletes the rows of changed and deleted resources and inserts the rows of changed ones, in one transaction. The tables
are then the same as after a full build of the same resources.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import duckdb

from insights.collect import staging, versions
from insights.collect.files import Input, size_of
from insights.collect.store import FORMAT, Collected, Store, read_collected, write_collected
from insights.errors import CollectError, InsightsError, of_duckdb
from insights.views import Catalogue, CompiledView
from insights.views.reader import view_error
from insights.views.shape import literal, quoted

KEY = "getResourceKey()"

Progress = Callable[[str, int], None]
"""Called with each loaded type and the bytes of its files."""


_BOOKS = (
    "CREATE TABLE IF NOT EXISTS _loaded (type VARCHAR, fingerprint VARCHAR, resources BIGINT)",
    "CREATE TABLE IF NOT EXISTS _resource (type VARCHAR, id VARCHAR, version VARCHAR, updated VARCHAR)",
    # A build that an earlier version began has these.
    "ALTER TABLE _resource DROP COLUMN IF EXISTS bucket",
    "DROP TABLE IF EXISTS _part",
    versions.CREATE,
)
"""Progress of a full build: the resources in the tables, and the sums of their hashes."""


@dataclass(frozen=True, slots=True)
class Built:
    """
    The result of a build.

    Attributes
    ----------
    known
        The new description of the data.
    changed, deleted
        Number of resources written, and deleted, by type.
    resumed
        Types that the build had loaded before it was killed.
    hashed
        Resources whose versions were hashed for the data version.
    """

    known: Collected
    changed: dict[str, int]
    deleted: dict[str, int]
    resumed: tuple[str, ...] = ()
    hashed: int = 0


def build(
    store: Store,
    data: Input,
    catalogue: Catalogue,
    *,
    source: str,
    refresh: bool = False,
    deletions: str = "all",
    memory_mb: int = 700,
    progress: Progress = lambda _, __: None,
) -> Built:
    """
    Load files into the store. Idempotent; readers see nothing before the build is complete.

    Parameters
    ----------
    refresh
        The files hold only changed resources, and `data.deleted` the deleted ones; else they hold everything.
    memory_mb
        Memory limit of DuckDB.

    Raises
    ------
    CollectError, DataError, ViewError
        The store keeps its former state.
    """
    store.prepare()
    load = _Load(store, data, catalogue, source, deletions, memory_mb, progress)
    try:
        return load.refresh() if refresh else load.full()
    except duckdb.Error as problem:
        raise _storage(problem, store) from None


def key_of(view: CompiledView) -> str:
    """
    Return the column of a view with the id of its resource; a refresh replaces rows by it.

    Raises
    ------
    CollectError
        ``collect.no_key``: the view has none.
    """
    if view.key is None:
        raise CollectError(
            f"view {view.name!r} has no column with the path {KEY}",
            code="collect.no_key",
            hint="Add one: rows are replaced by it.",
        )
    return view.key


@dataclass(frozen=True, slots=True)
class _Load:
    """One build: its resources, their source, and the receiver of progress."""

    store: Store
    data: Input
    catalogue: Catalogue
    source: str
    deletions: str
    memory_mb: int
    progress: Progress

    def full(self) -> Built:
        changed, resumed = {}, []
        with self.store.open(self.store.building, memory_mb=self.memory_mb) as connection:
            for table in _BOOKS:
                connection.execute(table)
            self._create_empty(connection)
            rows = connection.execute("SELECT type, fingerprint, resources FROM _loaded").fetchall()
            loaded = {(kind, mark): resources for kind, mark, resources in rows}
            for kind, compiled in self.catalogue.by_resource.items():
                files = self.data.by_type.get(kind, ())
                mark = _fingerprint(files, self.catalogue.hash)
                if (kind, mark) in loaded:
                    changed[kind] = loaded[kind, mark]
                    resumed.append(kind)
                elif files:
                    connection.begin()
                    changed[kind] = _load_type(connection, kind, files, compiled)
                    connection.execute("DELETE FROM _loaded WHERE type = ?", [kind])
                    connection.execute("INSERT INTO _loaded VALUES (?, ?, ?)", [kind, mark, changed[kind]])
                    connection.commit()
                self.progress(kind, size_of(files))
            connection.execute(f"DELETE FROM {versions.SUMS}")
            connection.execute(versions.add("_resource"))
            known = self._describe(connection, "all", self.data.time)
            connection.execute("DROP TABLE _loaded")
            connection.execute("CHECKPOINT")
        os.replace(self.store.building, self.store.tables)  # noqa: PTH105 -- the one step that makes it visible
        return Built(known, _some(changed), {}, tuple(resumed), sum(known.resources.values()))

    def _create_empty(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Create the tables of types without files by declaration: DuckDB would take longer to plan the view."""
        types = [kind for kind in self.catalogue.by_resource if not self.data.by_type.get(kind)]
        views = [view for kind in types for view in self.catalogue.by_resource[kind]]
        connection.begin()
        for view in views:
            connection.execute(f"CREATE OR REPLACE TABLE {quoted(view.name)} ({view.declared()})")
        for table in ("_resource", "_loaded"):
            connection.execute(f"DELETE FROM {table} WHERE type IN (SELECT unnest(CAST(? AS VARCHAR[])))", [types])
        connection.commit()

    def refresh(self) -> Built:
        changed, deleted, hashed = {}, {}, 0
        keys = {name: key_of(view) for name, view in self.catalogue.views.items()}
        with self.store.open(self.store.refreshable(), memory_mb=self.memory_mb) as connection:
            former = read_collected(connection)
            if former.views != self.catalogue.hash:
                raise CollectError(
                    "the views changed since the data was collected",
                    code="collect.format",
                    hint="Collect everything again.",
                )
            connection.begin()
            for kind, compiled in self.catalogue.by_resource.items():
                files = self.data.by_type.get(kind, ())
                gone = sorted(identity for of, identity in self.data.deleted if of == kind)
                if files or gone:
                    changed[kind], deleted[kind], former_ones = _refresh_type(
                        connection, kind, files, gone, compiled, keys
                    )
                    hashed += changed[kind] + former_ones
                self.progress(kind, size_of(files))
            for step in versions.SETTLE:
                connection.execute(step)
            known = self._describe(connection, self.deletions, self.data.time or former.data_time)
            connection.commit()
        return Built(known, _some(changed), _some(deleted), hashed=hashed)

    def _describe(self, connection: duckdb.DuckDBPyConnection, deletions: str, time: str | None) -> Collected:
        sums = sorted(connection.execute(versions.READ).fetchall())
        known = Collected(
            data_version=versions.data_version(sums),
            data_time=time or _latest_update(connection),
            views=self.catalogue.hash,
            tables=dict(self.catalogue.hashes),
            source=self.source,
            deletions=deletions,
            resources={kind: resources for kind, resources, *_ in sums},
        )
        write_collected(connection, known)
        return known


def _load_type(
    connection: duckdb.DuckDBPyConnection, kind: str, files: tuple[Path, ...], views: tuple[CompiledView, ...]
) -> int:
    count = staging.stage(connection, kind, files, views[0].shape)
    for view in views:
        name = quoted(view.name)
        _run(connection, view, f"CREATE OR REPLACE TABLE {name} AS {view.select(staging.STAGE)}")
    connection.execute("DELETE FROM _resource WHERE type = ?", [kind])
    connection.execute(f"INSERT INTO _resource {staging.versions(kind)}")
    connection.execute(f"DROP TABLE {staging.STAGE}")
    return count


def _some(counts: dict[str, int]) -> dict[str, int]:
    return {kind: count for kind, count in counts.items() if count}


def _refresh_type(  # noqa: PLR0917 -- all are of one type
    connection: duckdb.DuckDBPyConnection,
    kind: str,
    files: tuple[Path, ...],
    gone: list[str],
    views: tuple[CompiledView, ...],
    keys: dict[str, str],
) -> tuple[int, int, int]:
    """Replace the rows of changed and deleted resources; return the numbers of added, removed and former resources."""
    count = staging.stage(connection, kind, files, views[0].shape)
    connection.execute("CREATE OR REPLACE TEMP TABLE gone AS SELECT unnest(CAST(? AS VARCHAR[])) AS id", [gone])
    # A resource that was deleted and created again within one export is in both lists: it exists.
    connection.execute(f"DELETE FROM gone WHERE id IN (SELECT id FROM {staging.STAGE})")
    touched = f"(SELECT id FROM {staging.STAGE} UNION ALL SELECT id FROM gone)"
    for view in views:
        name = quoted(view.name)
        connection.execute(f"DELETE FROM {name} WHERE {quoted(keys[view.name])} IN {touched}")
        if files:
            _run(connection, view, f"INSERT INTO {name} {view.select(staging.STAGE)}")
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE former AS SELECT *, id IN (SELECT id FROM gone) AS went FROM _resource "
        f"WHERE type = {literal(kind)} AND id IN {touched}"
    )
    connection.execute(versions.add("former", sign=-1))
    connection.execute(f"DELETE FROM _resource WHERE type = {literal(kind)} AND id IN {touched}")
    connection.execute(f"INSERT INTO _resource {staging.versions(kind)}")
    connection.execute(versions.add(f"({staging.versions(kind)})"))
    counted = connection.execute("SELECT count(*) FILTER (went), count(*) FROM former").fetchone()
    connection.execute(f"DROP TABLE {staging.STAGE}")
    assert counted is not None
    went, former = counted
    return count, int(went), int(former)


def _run(connection: duckdb.DuckDBPyConnection, view: CompiledView, sql: str) -> None:
    try:
        connection.execute(sql)
    except duckdb.OutOfMemoryException:
        raise
    except duckdb.Error as problem:
        raise view_error(problem, view.name) from None


def _latest_update(connection: duckdb.DuckDBPyConnection) -> str | None:
    row = connection.execute(
        "SELECT updated FROM _resource WHERE updated IS NOT NULL "
        "ORDER BY try_cast(updated AS TIMESTAMPTZ) DESC, updated LIMIT 1"
    ).fetchone()
    return row[0] if row else None


def _fingerprint(files: tuple[Path, ...], views: str) -> str:
    parts = [str(FORMAT), views, *(f"{file.name}:{file.stat().st_size}:{file.stat().st_mtime_ns}" for file in files)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _storage(problem: duckdb.Error, store: Store) -> InsightsError:
    text = str(problem).lower()
    if "no space" in text or "disk" in text:
        return CollectError(f"no space left below {store.folder}", code="collect.disk_full", hint="Free some; repeat.")
    if isinstance(problem, duckdb.OutOfMemoryException):
        return CollectError("memory is exhausted", code="collect.memory", hint="Raise --memory-mb.")
    return CollectError(f"the tables could not be written: {of_duckdb(problem)}", code="collect.failed")
