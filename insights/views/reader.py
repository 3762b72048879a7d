"""Reads NDJSON files as relations of a shape, and translates DuckDB's errors into ours."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import duckdb

from insights.errors import DataError, InsightsError, ViewError, of_duckdb
from insights.views.shape import Shape, literal
from insights.views.values import MANY_VALUES, TOO_DEEP

MAX_OBJECT_BYTES = 16 * 1024 * 1024
"""Size of one resource; DuckDB allocates twice that for each thread."""

_RAISED = re.compile(rf"({re.escape(MANY_VALUES)}|{re.escape(TOO_DEEP)})\|([^\n]*)")
_FILE = re.compile(r'(?:in file|file) "([^"]+)"')
_LINE = re.compile(r"(?:line|record/value) (\d+)")


def connect(
    database: Path | None = None, *, memory_mb: int = 700, spill: Path | None = None, read_only: bool = False
) -> duckdb.DuckDBPyConnection:
    """
    Open DuckDB without network, extensions or a settings file.

    Parameters
    ----------
    database
        File; None for a database in memory.
    memory_mb
        Memory that DuckDB may use before it spills.
    spill
        Folder to spill to; None forbids it.
    read_only
        Several processes may read a file at once.
    """
    config: dict[str, str | bool | int | float | list[str]] = {
        "autoinstall_known_extensions": "false",
        "autoload_known_extensions": "false",
        "memory_limit": f"{memory_mb}MB",
        "temp_directory": str(spill or ""),
        "preserve_insertion_order": "false",
    }
    connection = duckdb.connect(str(database or ":memory:"), read_only=read_only, config=config)
    connection.execute("SET TimeZone = 'UTC'")
    return connection


def ndjson(files: Sequence[Path], shape: Shape) -> str:
    """Return a relation of the resources in files, with only the shape's columns."""
    columns = ", ".join(f"{literal(name)}: {literal(kind)}" for name, kind in shape.columns().items())
    paths = ", ".join(literal(str(file)) for file in files)
    options = [
        f"columns = {{{columns}}}",
        "format = 'newline_delimited'",
        f"maximum_object_size = {MAX_OBJECT_BYTES}",
    ]
    return f"read_json([{paths}], {', '.join(options)})"


def view_error(problem: duckdb.Error, name: str) -> InsightsError:
    """Return our error for an error of DuckDB, without values of the data."""
    text = str(problem)
    raised = _RAISED.search(text)
    if raised and raised.group(1) == MANY_VALUES:
        message = f"view {name!r}: {raised.group(2)!r} has more than one value in some resource"
        return ViewError(message, code=MANY_VALUES, hint="Use first(), forEach, or collection: true.")
    if raised:
        return ViewError(f"view {name!r}: a repeat is deeper than {raised.group(2)} levels", code=TOO_DEEP)
    file, line = _FILE.search(text), _LINE.search(text)
    if file is None:
        return ViewError(f"view {name!r}: {of_duckdb(problem)}", code="view.failed")
    path = Path(file.group(1))
    if "maximum_object_size" in text:
        where = f"{path}:{_first(path, lambda text: len(text) > MAX_OBJECT_BYTES) or '?'}"
        return DataError(f"{where}: a resource exceeds {MAX_OBJECT_BYTES >> 20} MB", code="data.too_large")
    # DuckDB's line number is wrong for a truncated line, and right for a wrong value.
    number = _first(path, lambda text: not _is_object(text)) or (line.group(1) if line else "?")
    return DataError(f"{path}:{number}: not a FHIR resource on one line", code="data.malformed")


def _first(path: Path, fault: Callable[[bytes], bool]) -> int | None:
    """Return the first line of a file that has a fault."""
    with gzip.open(path) if path.name.endswith(".gz") else path.open("rb") as lines:
        return next((number for number, text in enumerate(lines, start=1) if text.strip() and fault(text)), None)


def _is_object(text: bytes) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except ValueError:
        return False
