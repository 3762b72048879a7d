"""
Frozen values that rows of table ``cursors`` keep as JSON: read and written here, and nowhere looked into as JSON.

    a row's JSON  ->  `RowValue.read`  ->  a frozen value  ->  `RowValue.write`  ->  JSON of the same shape

Rows outlive versions of the sync, and operators may edit them: JSON of another shape is refused with a text that names
the row and the field, and stays as it is.
"""

from __future__ import annotations

from typing import Any, Generic, TypeVar

from pydantic import TypeAdapter, ValidationError

from sync.errors import UnreadableRow
from sync.model import Json

T = TypeVar("T")


class RowValue(Generic[T]):
    """
    How one kind of value is kept.

    Parameters
    ----------
    shape
        A dataclass, or a union of dataclasses. Fields that a row lacks have their defaults; fields that a newer version
        added are passed over.
    """

    def __init__(self, shape: Any) -> None:  # as `TypeAdapter`: a union has no type of its own
        self._adapter: TypeAdapter[T] = TypeAdapter(shape)

    def read(self, kept: Json, *, row: str) -> T:
        """
        Return the value that a row keeps. Inverse of `write`.

        Parameters
        ----------
        row
            Name of the row, for the error.

        Raises
        ------
        UnreadableRow
            The JSON has another shape; the text holds nothing of it.
        """
        try:
            return self._adapter.validate_python(kept)
        except ValidationError as problem:
            first = problem.errors(include_url=False, include_context=False, include_input=False)[0]
            place = next(iter(first["loc"]), "it")
            raise UnreadableRow(f"row {row}: {place} is not as expected ({first['type']})") from None

    def read_or(self, default: T, kept: Json, *, row: str) -> T:
        """Return like `read`; the default for JSON of another shape: for what a loss of the row only costs requests."""
        try:
            return self.read(kept, row=row)
        except UnreadableRow:
            return default

    def write(self, value: T) -> Json:
        """Return the JSON that a row keeps."""
        kept: Json = self._adapter.dump_python(value, mode="json", by_alias=True)
        return kept
