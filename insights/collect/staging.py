"""Reads the files of one type into a table of the columns that views read, each resource once."""

from __future__ import annotations

from pathlib import Path

import duckdb

from insights.errors import DataError
from insights.views.reader import ndjson, view_error
from insights.views.shape import Shape, literal, quoted

STAGE = "stage"


def stage(connection: duckdb.DuckDBPyConnection, kind: str, files: tuple[Path, ...], shape: Shape) -> int:
    """
    Read files into the table `STAGE` and return the number of resources.

    If a resource has several versions, the latest wins.

    Raises
    ------
    DataError
        ``data.malformed`` and ``data.too_large`` with file and line; ``data.mixed_types``, ``data.no_id``.
    """
    add_identity(shape)
    connection.execute(f"DROP TABLE IF EXISTS {STAGE}")
    if not files:
        columns = ", ".join(f"CAST(NULL AS {sql}) AS {quoted(name)}" for name, sql in shape.columns().items())
        connection.execute(f"CREATE TEMP TABLE {STAGE} AS SELECT {columns} WHERE FALSE")
        return 0
    try:
        connection.execute(f"CREATE TEMP TABLE {STAGE} AS SELECT * FROM {ndjson(files, shape)}")
    except duckdb.OutOfMemoryException:
        raise
    except duckdb.Error as problem:
        raise view_error(problem, kind) from None
    row = connection.execute(
        f"SELECT count(*), count(id), count(DISTINCT id), count(*) FILTER (resourceType IS DISTINCT FROM ?) "
        f"FROM {STAGE}",
        [kind],
    ).fetchone()
    assert row is not None
    count, with_id, distinct, others = row
    if others:
        raise _fault(
            connection, files, f"resourceType IS DISTINCT FROM {literal(kind)}", f"not a {kind}", "data.mixed_types"
        )
    if with_id < count:
        raise _fault(connection, files, "id IS NULL", "a resource without an id", "data.no_id")
    if distinct < count:
        _latest_only(connection)
    return int(distinct)


def versions(kind: str) -> str:
    """
    Return the query of the resources in the stage: type, id, version, updated.

    Without ``meta.versionId``, the version is the time of the last update, else a hash of the elements that views read.
    """
    version = "coalesce(s.meta.versionId, s.meta.lastUpdated, 'sha256:' || sha256(CAST(s AS VARCHAR)))"
    return (
        f"SELECT {literal(kind)} AS type, s.id, {version} AS version, s.meta.lastUpdated AS updated FROM {STAGE} AS s"
    )


def add_identity(shape: Shape) -> None:
    """Add type, id, version and time of a resource to the shape, whatever its views read."""
    shape.use("resourceType", "code", many=False)
    shape.use("id", "id", many=False)
    meta = shape.use("meta", "Meta", many=False)
    meta.use("versionId", "id", many=False)
    meta.use("lastUpdated", "instant", many=False)


def _latest_only(connection: duckdb.DuckDBPyConnection) -> None:
    order = (
        "try_cast(s.meta.lastUpdated AS TIMESTAMPTZ) DESC NULLS LAST, "
        "try_cast(s.meta.versionId AS BIGINT) DESC NULLS LAST, CAST(s AS VARCHAR) DESC"
    )
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE {STAGE} AS SELECT * FROM {STAGE} AS s "
        f"QUALIFY row_number() OVER (PARTITION BY s.id ORDER BY {order}) = 1"
    )


def _fault(
    connection: duckdb.DuckDBPyConnection, files: tuple[Path, ...], where: str, what: str, code: str
) -> DataError:
    """Return an error that names the first file with the fault."""
    for file in files:
        only = Shape("Resource")
        only.use("id", "id", many=False)
        only.use("resourceType", "code", many=False)
        row = connection.execute(f"SELECT count(*) FROM {ndjson([file], only)} WHERE {where}").fetchone()
        if row and row[0]:
            return DataError(f"{file}: {what}", code=code)
    return DataError(what, code=code)
