"""Writes the tables of an export as Parquet with Spark: a folder that appears completely or not at all."""

from __future__ import annotations

import shutil
from pathlib import Path

from insights.collect.files import Input
from insights.errors import CollectError
from insights.spark.described import describe, write_described
from insights.spark.engine import failures_named, run_views, session, write_tables
from insights.views import Catalogue
from sync.adapters.file_locks import beside, held


def write_parquet(folder: Path, data: Input, catalogue: Catalogue, source: str) -> dict[str, int]:
    """
    Write one folder per table below `folder`, readable by its owner only; return the number of rows of each.

    Raises
    ------
    CollectError
        ``spark.folder``: it exists already, or cannot be created; ``spark.no_java``; ``spark.failed``.
    DataError
        ``data.no_id``, ``data.mixed_types``.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with held(beside(folder)):
            return _write(folder, data, catalogue, source)
    except OSError as problem:
        raise CollectError(f"{folder}: {problem.strerror}", code="spark.folder") from None


def _write(folder: Path, data: Input, catalogue: Catalogue, source: str) -> dict[str, int]:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise CollectError(f"{folder} is not empty", code="spark.folder", hint="Choose a new folder.")
    building = folder.with_name(f".{folder.name}.building")
    shutil.rmtree(building, ignore_errors=True)
    try:
        building.mkdir(parents=True, mode=0o700)
        with failures_named(), session() as spark:
            run_views(spark, data, catalogue)
            write_described(building, describe(spark, data, catalogue, source))
            counts = write_tables(spark, catalogue, building)
        if folder.exists():
            folder.rmdir()
        building.rename(folder)
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return counts
