"""
The description of tables written by Spark, in the file ``collected.json`` beside them.

The data version is that of a collection by DuckDB from the same files; only a resource without ``meta.versionId`` and
``meta.lastUpdated`` is hashed from the elements as each engine reads them, and these differ.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from insights.collect.files import Input
from insights.collect.store import Collected, check_views, parse_collected
from insights.collect.versions import LANES, data_version, line
from insights.errors import CollectError, DataError
from insights.spark.engine import STAGE
from insights.views import Catalogue
from insights.views.shape import literal

COLLECTED = "collected.json"

_VERSION = "coalesce(meta.versionId, meta.lastUpdated, concat('sha256:', sha2(to_json(struct(*)), 256)))"


def describe(spark: Any, data: Input, catalogue: Catalogue, source: str) -> Collected:
    """
    Return the description of the data whose views `run_views` created.

    Raises
    ------
    DataError
        ``data.no_id``, ``data.mixed_types``: a resource without an id, or of another type than its file.
    """
    sums = []
    for kind in catalogue.by_resource:
        row = spark.sql(_sums(kind)).first()
        _check(kind, row)
        if row.resources:
            sums.append((kind, row.resources, *(int(row[f"lane{lane}"]) for lane in range(LANES))))
    return Collected(
        data_version=data_version(sums),
        data_time=data.time or _latest_update(spark, catalogue),
        views=catalogue.hash,
        tables=dict(catalogue.hashes),
        source=source,
        deletions="all",
        resources={kind: resources for kind, resources, *_ in sums},
    )


def _sums(kind: str) -> str:
    lanes = ", ".join(
        f"sum(CAST(conv(substr(hash, {16 * lane + 1}, 16), 16, 10) AS DECIMAL(20, 0))) AS lane{lane}"
        for lane in range(LANES)
    )
    hashed = f"sha2({line(literal(kind), version=_VERSION)}, 256) AS hash"
    return f"""
SELECT count(*) AS resources, count(id) AS with_id,
       count_if(resourceType IS DISTINCT FROM {literal(kind)}) AS others, {lanes}
FROM (SELECT id, resourceType, {hashed} FROM {STAGE}{kind})"""


def _check(kind: str, row: Any) -> None:
    if row.others:
        raise DataError(f"the files of {kind}: not a {kind}", code="data.mixed_types")
    if row.with_id < row.resources:
        raise DataError(f"the files of {kind}: a resource without an id", code="data.no_id")


def _latest_update(spark: Any, catalogue: Catalogue) -> str | None:
    union = " UNION ALL ".join(
        f"SELECT meta.lastUpdated AS updated FROM {STAGE}{kind}" for kind in catalogue.by_resource
    )
    row = spark.sql(
        f"SELECT updated FROM ({union}) WHERE updated IS NOT NULL "
        "ORDER BY try_cast(updated AS TIMESTAMP) DESC NULLS LAST, updated LIMIT 1"
    ).first()
    return row.updated if row else None


def write_described(folder: Path, known: Collected) -> None:
    """Write the description of the tables of a folder beside them."""
    (folder / COLLECTED).write_text(json.dumps(asdict(known), indent=2, sort_keys=True) + "\n", "utf-8")


def read_described(folder: Path, catalogue: Catalogue) -> Collected:
    """
    Read the description of the tables of a folder.

    Raises
    ------
    CollectError
        ``collect.nothing``: Spark wrote no tables there; ``collect.format``.
    """
    try:
        text = (folder / COLLECTED).read_text("utf-8")
    except OSError:
        raise CollectError(
            f"{folder} holds no tables that Spark wrote",
            code="collect.nothing",
            hint="Run collect with --engine spark first.",
        ) from None
    known = parse_collected(text, folder)
    check_views(known, catalogue, folder)
    return known
