"""
The folder of collected data: one DuckDB file with a table per view, and a description of the data.

The folder is readable by its owner only. A full build writes a separate file, which replaces the previous one
when it is complete; a refresh is one transaction. So a reader sees either the former state or the new one.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import duckdb

from insights.data_folder import AUDIT, KEY
from insights.errors import CollectError
from insights.views import Catalogue
from insights.views.reader import connect
from sync.adapters.file_locks import Busy, held

TABLES = "tables.duckdb"
BUILDING = "tables.building.duckdb"
INCOMING = "incoming"
SPILL = "spill"
LOCK = "collecting.lock"
FORMAT = 4
"""Format of the file; data with another number must be collected again."""


@dataclass(frozen=True, slots=True)
class Collected:
    """
    Metadata of the collected data.

    Attributes
    ----------
    data_version
        One hash of all resources and their versions: `insights.collect.versions`.
    data_time
        Until when the data is complete: transaction time of the export, else the latest ``meta.lastUpdated``.
    views
        SHA-256 of the view definitions.
    tables
        SHA-256 of each view definition, by name.
    source
        Base URL or folder.
    deletions
        How deleted resources were found: ``all`` (a full build has none), ``deleted-files`` or ``listing``.
    resources
        How many, by type.
    """

    data_version: str
    data_time: str | None
    views: str
    tables: dict[str, str]
    source: str
    deletions: str
    resources: dict[str, int]
    format: int = FORMAT


class Store:
    """
    The folder.

    Parameters
    ----------
    folder
        Created if missing, with mode 0700.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def tables(self) -> Path:
        """Return the file with the tables."""
        return self.folder / TABLES

    @property
    def building(self) -> Path:
        """Return the file that a full build writes."""
        return self.folder / BUILDING

    @property
    def incoming(self) -> Path:
        """Return the folder of downloads."""
        return self.folder / INCOMING

    def refreshable(self) -> Path:
        """
        Return the file with the tables that a refresh changes. Creates nothing.

        Raises
        ------
        CollectError
            ``collect.nothing``.
        """
        if not self.tables.exists():
            raise CollectError(
                f"{self.folder} holds nothing to refresh", code="collect.nothing", hint="Collect everything first."
            )
        return self.tables

    def prepare(self) -> None:
        """
        Create the folder, accessible by its owner only; idempotent.

        Raises
        ------
        CollectError
            ``collect.folder`` when that is not possible, or the folder holds something else.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            own_names = {
                TABLES,
                BUILDING,
                INCOMING,
                SPILL,
                LOCK,
                AUDIT,
                KEY,
                f"{TABLES}.wal",
                f"{BUILDING}.wal",
            }
            strange = sorted(entry.name for entry in self.folder.iterdir() if entry.name not in own_names)
            if strange:
                raise CollectError(
                    f"{self.folder} holds other files, such as {strange[0]}",
                    code="collect.folder",
                    hint="Choose an empty folder.",
                )
            self.folder.chmod(0o700)
        except OSError as problem:
            raise CollectError(f"{self.folder}: {problem.strerror}", code="collect.folder") from None

    @contextmanager
    def alone(self) -> Iterator[None]:
        """
        Prepare the folder, and be the only process that fills it for the length of the block, downloads included.

        Raises
        ------
        CollectError
            ``collect.busy``; ``collect.folder`` as `prepare`.
        """
        self.prepare()
        with ExitStack() as stack:
            try:
                stack.enter_context(held(self.folder / LOCK))
            except Busy:
                raise CollectError(
                    f"another process is collecting into {self.folder}",
                    code="collect.busy",
                    hint="Wait until it ends, or choose another folder.",
                ) from None
            except OSError as problem:
                raise CollectError(f"{self.folder}: {problem.strerror}", code="collect.folder") from None
            yield

    @contextmanager
    def open(self, file: Path, *, read_only: bool = False, memory_mb: int = 700) -> Iterator[duckdb.DuckDBPyConnection]:
        """
        Open a database of the folder.

        Raises
        ------
        CollectError
            ``collect.busy`` while another process writes it; ``collect.disk_full``.
        """
        try:
            connection = connect(file, memory_mb=memory_mb, spill=self.folder / SPILL, read_only=read_only)
        except duckdb.IOException as problem:
            if "lock" in str(problem).lower():
                raise CollectError(f"{file} is used by another process", code="collect.busy") from None
            raise CollectError(f"{file} cannot be opened", code="collect.folder") from None
        try:
            if not read_only:
                os.chmod(file, 0o600)  # noqa: PTH101 -- the path is a database's
            yield connection
        finally:
            connection.close()

    def ids(self) -> dict[str, frozenset[str]]:
        """Return the ids of all resources by type; none if nothing is collected."""
        if not self.tables.exists():
            return {}
        with self.open(self.tables, read_only=True) as connection:
            read_collected(connection)
            rows = connection.execute("SELECT type, list(id) FROM _resource GROUP BY type").fetchall()
        return {kind: frozenset(ids) for kind, ids in rows}

    def collected(self) -> Collected | None:
        """
        Return the description of the data; None if there is none.

        Raises
        ------
        CollectError
            ``collect.busy``; ``collect.format`` when another version wrote it.
        """
        if not self.tables.exists():
            return None
        with self.open(self.tables, read_only=True) as connection:
            return read_collected(connection)

    @contextmanager
    def reading(self, catalogue: Catalogue | None = None, *, memory_mb: int = 700) -> Iterator[Reading]:
        """
        Open the tables for queries.

        Parameters
        ----------
        catalogue
            The expected views; the data may have more.

        Raises
        ------
        CollectError
            ``collect.nothing``, ``collect.format``, ``collect.busy``.
        """
        if not self.tables.exists():
            raise CollectError(
                f"{self.folder} holds no collected data", code="collect.nothing", hint="Run collect first."
            )
        with self.open(self.tables, read_only=True, memory_mb=memory_mb) as connection:
            collected = read_collected(connection)
            if catalogue is not None:
                check_views(collected, catalogue, self.folder)
            yield Reading(connection, collected)


@dataclass(frozen=True, slots=True)
class Reading:
    """Open tables with their description."""

    connection: duckdb.DuckDBPyConnection
    collected: Collected


def write_collected(connection: duckdb.DuckDBPyConnection, collected: Collected) -> None:
    """Replace the description of the data."""
    connection.execute("CREATE OR REPLACE TABLE _collected AS SELECT ? AS known", [json.dumps(asdict(collected))])


def read_collected(connection: duckdb.DuckDBPyConnection) -> Collected:
    """
    Read the description of the data.

    Raises
    ------
    CollectError
        ``collect.format``.
    """
    try:
        row = connection.execute("SELECT known FROM _collected").fetchone()
    except duckdb.CatalogException:
        raise _other_format("the folder") from None
    assert row is not None
    return parse_collected(row[0], "the folder")


def parse_collected(text: str, place: object) -> Collected:
    """
    Parse the description of the data.

    Raises
    ------
    CollectError
        ``collect.format``.
    """
    try:
        collected = Collected(**json.loads(text))
    except (TypeError, ValueError):
        raise _other_format(place) from None
    if collected.format != FORMAT:
        raise _other_format(place)
    return collected


def check_views(collected: Collected, catalogue: Catalogue, place: object) -> None:
    """
    Check that the tables of all views of a catalogue exist as the views define them; there may be more.

    Raises
    ------
    CollectError
        ``collect.format``.
    """
    if not catalogue.hashes.items() <= collected.tables.items():
        raise _other_format(place)


def _other_format(place: object) -> CollectError:
    return CollectError(
        f"{place} was collected by another version, or with other views",
        code="collect.format",
        hint="Collect again without --since.",
    )
