"""
Shared by all our rows: keys, limits, and how large or numerous values fit into one. Pure: no I/O here.

Large parts (attributes, histories) are compressed JSON in binary properties of less than 64 KiB each; the whole row
must stay below 1 MiB. Both limits are checked here, because the service's own error names neither the row nor a remedy,
and the emulator accepts rows that the service refuses. Times are ISO 8601 text, UTC: the service's own time type has
digits that Python cannot represent, and no query filters by time.

Source: Azure "Understanding the Table service data model" (property and entity sizes, forbidden characters in keys).
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from sync.errors import RowTooLarge
from sync.model import Finding, StudyRef, digest
from sync.model.timestamps import utc_of

Entity = dict[str, Any]
"""One row in the library's form: property name -> text, number, boolean or bytes."""

MAX_PROPERTY_BYTES = 63 * 1024
MAX_ENTITY_BYTES = 1000 * 1024
"""Below the service's 64 KiB and 1 MiB, because names and types count too."""


_SAFE_KEY = re.compile(r"[A-Za-z0-9._-]{1,200}")
_COMPRESSION = 3
"""Level of zlib: 1-3 differ little in size on such JSON, and higher ones cost more time than the request."""


_END_OF_TIME = 10**17
"""Microseconds since 1970, later than any timestamp: the value to count down from."""


def key_of(text: str) -> str:
    """Return the text itself if it is valid as a key, else its hash."""
    return text if _SAFE_KEY.fullmatch(text) else f"h-{digest(text)}"


def newest_first(timestamp: datetime) -> str:
    """Return a text that sorts later timestamps first."""
    return f"{_END_OF_TIME - round(timestamp.timestamp() * 1_000_000):017d}"


def entity_bytes(entity: Mapping[str, Any]) -> int:
    """Return the bytes that the service counts for the row, rounded up."""
    return sum(8 + 2 * len(name) + _value_bytes(value) for name, value in entity.items()) + 4


def check_size(entity: Entity) -> Entity:
    """Return the row; `RowTooLarge` when the service would refuse it."""
    size = entity_bytes(entity)
    if size > MAX_ENTITY_BYTES:
        raise RowTooLarge(f"a row of {size} bytes exceeds {MAX_ENTITY_BYTES}")
    return entity


def _value_bytes(value: Any) -> int:
    if isinstance(value, str):
        # Most texts are ASCII, and the size of every row is computed twice.
        return (2 * len(value) if value.isascii() else len(value.encode("utf-16-le", "surrogatepass"))) + 4
    return len(value) + 4 if isinstance(value, bytes) else 8


def pack(name: str, value: Any) -> Entity:
    """Return columns that hold a value as compressed JSON: ``name0``, ``name1`` and so on."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    data = zlib.compress(text.encode("utf-8", "surrogatepass"), _COMPRESSION)
    starts = range(0, len(data), MAX_PROPERTY_BYTES)
    return {f"{name}{i}": data[start : start + MAX_PROPERTY_BYTES] for i, start in enumerate(starts)}


def unpack(entity: Mapping[str, Any], name: str) -> Any:
    """Read a packed value back: the inverse of `pack`."""
    return unpacked(packed(entity, name))


def packed(entity: Mapping[str, Any], name: str) -> bytes:
    """Return the compressed JSON that `pack` split, in one piece."""
    pieces: list[bytes] = []
    while (piece := entity.get(f"{name}{len(pieces)}")) is not None:
        pieces.append(piece)
    return b"".join(pieces)


def unpacked(data: bytes) -> Any:
    """Return the value of `packed`."""
    return json.loads(zlib.decompress(data).decode("utf-8", "surrogatepass"))


def without_none(entity: Entity) -> Entity:
    """Leave out columns that are None: the service cannot store null."""
    return {name: value for name, value in entity.items() if value is not None}


def study_columns(study: StudyRef) -> Entity:
    """Return the columns that name a study."""
    return {"study_uid": study.study_instance_uid, "study_partition": study.partition}


def study_from(entity: Mapping[str, Any]) -> StudyRef:
    """Read a study back: the inverse of `study_columns`."""
    return StudyRef(study_instance_uid=entity["study_uid"], partition=entity["study_partition"])


def findings_list(findings: Iterable[Finding]) -> list[list[str]]:
    """Return findings as JSON lists."""
    return [[finding.keyword, finding.code, finding.action] for finding in findings]


def findings_from(items: Iterable[list[str]]) -> tuple[Finding, ...]:
    """Read findings back: the inverse of `findings_list`."""
    return tuple(Finding(keyword=keyword, code=code, action=action) for keyword, code, action in items)


def time_text(value: datetime | None) -> str | None:
    """Return a timestamp as column text; None is left out of the row."""
    return value.isoformat() if value is not None else None


def time_from(text: Any) -> datetime | None:
    """
    Read a time back: the inverse of `time_text`; a time without an offset, as after an edit by hand, is UTC.

    Raises
    ------
    ValueError
        The text is not a time: the row was not written by us.
    """
    return utc_of(text) if text else None
