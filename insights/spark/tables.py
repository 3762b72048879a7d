"""Answers questions with Spark from tables that Spark wrote, as DuckDB does from its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb

from insights.cohort.engine import Tables
from insights.collect.store import Collected
from insights.spark.described import read_described
from insights.spark.dialect import steps, to_spark
from insights.spark.engine import failures_named, read_tables, session
from insights.views import Catalogue


class SparkTables:
    """
    Tables in a session.

    Parameters
    ----------
    spark
        A session with a temporary view of each table.
    collected
        The description of the data.
    """

    def __init__(self, spark: Any, collected: Collected) -> None:
        self.collected = collected
        self._spark = spark
        self._kept: dict[str, str] = {}

    @property
    def engine(self) -> Mapping[str, str]:
        """Versions of Spark, which answers, and of DuckDB, which writes the files."""
        return {"spark": str(self._spark.version), "duckdb": duckdb.__version__}

    def rows(self, sql: str) -> Iterator[tuple[Any, ...]]:
        """Yield the rows of a query; the results of its relations are kept and not computed again."""
        relations, query = steps(sql)
        for name, relation in relations:
            self._keep(name, relation)
        for row in self._spark.sql(query).toLocalIterator():
            yield tuple(row)

    def keep(self, name: str, sql: str) -> None:
        """Keep the result of a query as a temporary view."""
        relations, query = steps(sql)
        for inner, relation in relations:
            self._keep(inner, relation)
        if name not in dict(relations) or query != f"SELECT * FROM {name}":
            self._keep(name, query)

    def spoken(self, sql: str) -> str:
        """Return a query in Spark's dialect."""
        return to_spark(sql)

    def _keep(self, name: str, sql: str) -> None:
        """Compute a relation once and drop its plan, because later relations read it many times."""
        if self._kept.get(name) == sql:
            return
        if name in self._kept:  # other relations may read the former one
            self._kept.clear()
        self._spark.sql(sql).localCheckpoint().createOrReplaceTempView(name)
        self._kept[name] = sql


@contextmanager
def in_spark(data: Path) -> Iterator[Tables]:
    """
    Open the tables of a folder that ``collect --engine spark`` wrote.

    Raises
    ------
    CollectError
        ``collect.nothing``, ``collect.format``; ``spark.no_java``, ``spark.failed``.
    """
    catalogue = Catalogue.shipped()
    known = read_described(data, catalogue)
    with failures_named(), session() as spark:
        read_tables(spark, catalogue, data)
        yield SparkTables(spark, known)
