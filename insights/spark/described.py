"""
What is known of tables that Spark wrote, in the file ``collected.json`` beside them.

The data version is that of a collection by DuckDB from the same files; only a resource without ``meta.versionId`` and
``meta.lastUpdated`` is hashed from what each engine read, and these differ.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from insights.collect.files import Input
from insights.collect.staging import BUCKETS
from insights.collect.store import Collected, check_views, parse_collected, view_hashes, views_hash
from insights.errors import CollectError, DataError
from insights.spark.engine import STAGE
from insights.views import Catalogue
from insights.views.shape import literal

COLLECTED = "collected.json"

_LOW = "conv(concat(substr(md5(id), 19, 2), substr(md5(id), 17, 2)), 16, 10)"
"""Equal to DuckDB's ``md5_number_lower`` modulo any power of two up to 65,536."""

_VERSION = "coalesce(meta.versionId, meta.lastUpdated, concat('sha256:', sha2(to_json(struct(*)), 256)))"


def describe(spark: Any, data: Input, catalogue: Catalogue, source: str) -> Collected:
    """
    Return what is known of the data whose views `run_views` made.

    Raises
    ------
    DataError
        ``data.no_id``, ``data.mixed_types``: a resource without an id, or of another type than its file.
    """
    lines, resources = [], {}
    for kind in catalogue.by_resource:
        parts = spark.sql(_parts(kind)).collect()
        _check(kind, parts)
        lines += [f"{kind}/{part.bucket:05}/{part.hash}" for part in parts]
        if parts:
            resources[kind] = sum(part.resources for part in parts)
    return Collected(
        data_version=hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest(),
        data_time=data.time or _latest_update(spark, catalogue),
        views=views_hash(catalogue.definitions),
        tables=view_hashes(catalogue.definitions),
        source=source,
        deletions="all",
        resources=resources,
    )


def _parts(kind: str) -> str:
    line = f"concat({literal(kind)}, '/', id, '/', {_VERSION})"
    return f"""
SELECT bucket, sha2(array_join(array_sort(collect_list(line)), chr(10)), 256) AS hash, count(*) AS resources,
       count(id) AS with_id, count_if(resourceType IS DISTINCT FROM {literal(kind)}) AS others
FROM (SELECT CAST({_LOW} AS INT) % {BUCKETS} AS bucket, {line} AS line, id, resourceType FROM {STAGE}{kind})
GROUP BY bucket"""


def _check(kind: str, parts: Iterable[Any]) -> None:
    for part in parts:
        if part.others:
            raise DataError(f"the files of {kind}: not a {kind}", code="data.mixed_types")
        if part.with_id < part.resources:
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
    """Write what is known of the tables of a folder beside them."""
    (folder / COLLECTED).write_text(json.dumps(asdict(known), indent=2, sort_keys=True) + "\n", "utf-8")


def read_described(folder: Path, catalogue: Catalogue) -> Collected:
    """
    Read what is known of the tables of a folder.

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
