"""Engines that answer questions over collected tables: DuckDB here, Spark in `insights.spark`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import duckdb

from insights.collect.store import Collected, Reading, Store
from insights.views import Catalogue

_BATCH = 5000


class Tables(Protocol):
    """Collected tables that answer SQL in DuckDB's dialect."""

    @property
    def collected(self) -> Collected:
        """Return the description of the data: versions, days, views."""

    @property
    def engine(self) -> Mapping[str, str]:
        """Names and versions of the engine, for manifests."""

    def rows(self, sql: str) -> Iterator[tuple[Any, ...]]:
        """Yield the rows of a query; read them before the next one."""

    def keep(self, name: str, sql: str) -> None:
        """Keep the result of a query under a name for later queries; replaces an earlier result of that name."""

    def spoken(self, sql: str) -> str:
        """Return a query in the dialect of this engine."""


@dataclass(frozen=True, slots=True)
class DuckDBTables:
    """Tables in the file that ``collect`` writes."""

    reading: Reading

    @property
    def collected(self) -> Collected:
        """Return the description of the data: versions, days, views."""
        return self.reading.collected

    @property
    def engine(self) -> Mapping[str, str]:
        """Name and version of the engine."""
        return {"duckdb": duckdb.__version__}

    def rows(self, sql: str) -> Iterator[tuple[Any, ...]]:
        """Yield the rows of a query; read them before the next one."""
        cursor = self.reading.connection.execute(sql)
        while batch := cursor.fetchmany(_BATCH):
            yield from batch

    def keep(self, name: str, sql: str) -> None:
        """Keep the result of a query in a temporary table."""
        self.reading.connection.execute(f"CREATE OR REPLACE TEMP TABLE {name} AS {sql}")

    def spoken(self, sql: str) -> str:
        """Return a query unchanged."""
        return sql


@contextmanager
def in_duckdb(data: Path) -> Iterator[Tables]:
    """
    Open the tables of a folder that ``collect`` filled.

    Raises
    ------
    CollectError
        As for `Store.reading`.
    """
    with Store(data).reading(Catalogue.shipped()) as reading:
        yield DuckDBTables(reading)
