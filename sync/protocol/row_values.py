"""
Reads and writes the frozen values that rows of table ``cursors`` keep as JSON; no other module handles that JSON.

    a row's JSON  ->  `RowValue.read`  ->  a frozen value  ->  `RowValue.write`  ->  JSON of the same shape

Rows outlive versions of the sync, and operators may edit them. JSON of another shape is refused with a text that names
the row and the field; the row stays unchanged.
"""

from __future__ import annotations

from typing import Any, Generic, TypeVar

from pydantic import TypeAdapter, ValidationError

from sync.errors import UnreadableRow
from sync.model import Json

T = TypeVar("T")


class RowValue(Generic[T]):
    """
    Converts one kind of value from and to JSON.

    Parameters
    ----------
    shape
        A dataclass, or a union of dataclasses. Fields that a row lacks get their defaults; fields that a newer version
        added are ignored.
    """

    def __init__(self, shape: Any) -> None:  # as in `TypeAdapter`: a union has no type of its own
        self._adapter: TypeAdapter[T] = TypeAdapter(shape)

    def read(self, kept: Json, *, row: str) -> T:
        """
        Return the value in a row. Inverse of `write`.

        Parameters
        ----------
        row
            Name of the row, for the error.

        Raises
        ------
        UnreadableRow
            The JSON has another shape; the error text holds nothing of it.
        """
        try:
            return self._adapter.validate_python(kept)
        except ValidationError as problem:
            first = problem.errors(include_url=False, include_context=False, include_input=False)[0]
            place = next(iter(first["loc"]), "it")
            raise UnreadableRow(f"row {row}: {place} is not as expected ({first['type']})") from None

    def read_or(self, default: T, kept: Json, *, row: str) -> T:
        """Return the value in a row, ``default`` for JSON of another shape: for rows whose loss costs only requests."""
        try:
            return self.read(kept, row=row)
        except UnreadableRow:
            return default

    def write(self, value: T) -> Json:
        """Return the JSON for a row."""
        kept: Json = self._adapter.dump_python(value, mode="json", by_alias=True)
        return kept
