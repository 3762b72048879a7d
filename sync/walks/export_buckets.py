"""
Writes the content that a part of an export may share with others: one file, in buckets by key.

    contents of a part  ->  buckets  ->  a file, bucket by bucket, and where each begins  ->  the merge of one bucket

Equal contents of different parts are in buckets of one number, so that each bucket can be merged by itself. A bucket is
a range of keys: those of patients are the keys of table ``patients``, so a merge reads the rows of all its patients
together.
"""

from __future__ import annotations

import json
from collections import defaultdict
from hashlib import sha256
from pathlib import Path
from typing import Any

from sync.export import Content, key_of
from sync.mapping.resource import canonical
from sync.model import PatientRow, Resource
from sync.model.exports import BucketRange, SharedFile
from sync.protocol.row_values import RowValue
from sync.walks.key_ranges import bound, range_of

_PATIENT = "patientRow"
"""Property that tells the line of a row from that of a resource: no FHIR element has this name."""

_ROW: RowValue[PatientRow] = RowValue(PatientRow)

_AFTER_ALL = "g"
"""A key behind those of hex digits."""


class Shared:
    """Contents of one part, each once."""

    def __init__(self, buckets: int) -> None:
        self._buckets = buckets
        self._lines: defaultdict[int, dict[str, bytes]] = defaultdict(dict)

    def add(self, content: Content) -> None:
        """Keep a resource or a row, unless there is one of its key: of a patient's rows the first."""
        key = key_of(content)
        lines = self._lines[range_of(key, self._buckets)]
        if key not in lines:
            lines[key] = canonical(_written(content)) + b"\n"

    def write(self, path: Path) -> SharedFile:
        """Write the file; return where its buckets are."""
        buckets: dict[int, BucketRange] = {}
        start, whole = 0, sha256()
        with path.open("xb") as file:
            for bucket, of_bucket in sorted(self._lines.items()):
                lines = b"".join(of_bucket.values())
                file.write(lines)
                whole.update(lines)
                buckets[bucket] = BucketRange(start, len(lines), sha256(lines).hexdigest())
                start += len(lines)
        return SharedFile(name=path.name, sha256=whole.hexdigest(), buckets=buckets)


def _written(content: Content) -> dict[str, Any]:
    return {_PATIENT: _ROW.write(content)} if isinstance(content, PatientRow) else content


def content_of(line: bytes) -> Content:
    """Return the resource or patient row that a line of the file holds."""
    held: Resource = json.loads(line)
    return _ROW.read(held[_PATIENT], row="of a patient in an export") if _PATIENT in held else held


def row_of(line: bytes) -> PatientRow:
    """Return the row that a line holds."""
    row = content_of(line)
    assert isinstance(row, PatientRow)
    return row


def keys_of(bucket: int, buckets: int) -> tuple[str, str]:
    """Return where the keys of a bucket begin, and which key they are before."""
    return bound(bucket, buckets), bound(bucket + 1, buckets) or _AFTER_ALL
