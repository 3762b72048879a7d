"""
Runs views and questions in Spark over the same NDJSON files as DuckDB, with the same rows.

It uses an existing session, as in a notebook of Fabric or Databricks, or else starts one with two local threads.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from insights.collect.files import Input
from insights.collect.staging import add_identity
from insights.errors import CollectError
from insights.spark.dialect import to_spark
from insights.views import Catalogue
from insights.views.reader import MAX_OBJECT_BYTES
from insights.views.shape import Shape

_TYPES = {"VARCHAR": "STRING", "BIGINT": "BIGINT", "DOUBLE": "DOUBLE", "BOOLEAN": "BOOLEAN", "JSON": "STRING"}
_SETTINGS = {
    "spark.sql.ansi.enabled": "true",
    "spark.sql.caseSensitive": "true",
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.shuffle.partitions": "4",
    "spark.ui.enabled": "false",
    "spark.sql.parquet.compression.codec": "zstd",
}


@contextmanager
def session() -> Iterator[Any]:
    """
    Yield a Spark session; a session that was started here ends with the block.

    Raises
    ------
    CollectError
        ``spark.no_java``: there is no Java with which Spark 4 runs.
    """
    from pyspark.sql import SparkSession  # noqa: PLC0415 -- half a gigabyte of an extra

    active = SparkSession.getActiveSession()
    if active is not None:
        yield active
        return
    if shutil.which("java") is None:
        raise CollectError("there is no Java", code="spark.no_java", hint="Install Java 17 or 21.")
    builder = SparkSession.builder.master("local[2]").appName("dicom-fhir-sync")
    for name, value in _SETTINGS.items():
        builder = builder.config(name, value)
    started = builder.getOrCreate()
    started.sparkContext.setLogLevel("ERROR")
    try:
        yield started
    finally:
        started.stop()


@contextmanager
def failures_named() -> Iterator[None]:
    """
    Turn a failure of Spark into our error.

    Raises
    ------
    CollectError
        ``spark.failed``.
    """
    from pyspark.errors import PySparkException  # noqa: PLC0415 -- half a gigabyte of an extra

    try:
        yield
    except PySparkException as problem:  # its text may hold values of the data
        name = problem.getCondition() or type(problem).__name__
        hint = "Run it with DuckDB to see why."
        raise CollectError(f"Spark refused: {name}", code="spark.failed", hint=hint) from None


def schema_of(shape: Shape) -> str:
    """Return the columns of a type as Spark's DDL."""
    return ", ".join(f"`{name}` {_type(part)}" for name, part in sorted(shape.parts.items()))


def _type(shape: Shape) -> str:
    if shape.raw:
        one = "STRING"
    elif shape.parts:
        one = "STRUCT<" + ", ".join(f"`{name}`: {_type(part)}" for name, part in sorted(shape.parts.items())) + ">"
    else:
        one = _TYPES[Shape(shape.type).sql()]
    return f"ARRAY<{one}>" if shape.many else one


STAGE = "stage_"
"""Prefix of a type's name in the name of the temporary view of its resources."""


def run_views(spark: Any, data: Input, catalogue: Catalogue) -> None:
    """
    Create a temporary view of each table, and of each type's resources: each once, in its latest version.

    Raises
    ------
    CollectError
        ``collect.unkept_deletions``: the files list deleted resources, but there are no former tables.
    """
    if data.deleted:
        raise CollectError(
            "the folder has deletions: it is a part of an export", code="collect.unkept_deletions", hint="Export all."
        )
    for kind, views in catalogue.by_resource.items():
        shape = views[0].shape
        add_identity(shape)
        files = [str(file) for file in data.by_type.get(kind, ())]
        reader = spark.read.schema(schema_of(shape)).option("mode", "FAILFAST")
        reader = reader.option("maxLineLength", MAX_OBJECT_BYTES)
        nothing = [f"CAST(NULL AS {_type(part)}) AS `{name}`" for name, part in sorted(shape.parts.items())]
        frame = reader.json(files) if files else spark.range(0).selectExpr(*nothing)
        frame.createOrReplaceTempView("read_files")
        stage = f"{STAGE}{kind}"
        spark.sql(_LATEST).createOrReplaceTempView(stage)
        for view in views:
            spark.sql(to_spark(view.select(stage))).createOrReplaceTempView(view.name)


_LATEST = """
SELECT * EXCEPT (_place) FROM (
    SELECT *, row_number() OVER (
        PARTITION BY resourceType, id ORDER BY try_cast(meta.lastUpdated AS TIMESTAMP) DESC NULLS LAST,
        try_cast(meta.versionId AS BIGINT) DESC NULLS LAST, to_json(struct(*)) DESC) AS _place FROM read_files
) WHERE _place = 1"""


def write_tables(spark: Any, catalogue: Catalogue, folder: Path) -> dict[str, int]:
    """Write each table as Parquet, and return its number of rows; a table's folder appears when it is complete."""
    counts = {}
    for name in catalogue.views:
        spark.table(name).write.mode("overwrite").parquet(str(folder / name))
        counts[name] = spark.read.parquet(str(folder / name)).count()
    return counts


def read_tables(spark: Any, catalogue: Catalogue, folder: Path) -> None:
    """Create a temporary view of each table that `write_tables` wrote."""
    for name in catalogue.views:
        spark.read.parquet(str(folder / name)).createOrReplaceTempView(name)
