"""
The data version: one hash of all resources and their versions.

It is computed from sums that a refresh corrects: it subtracts the hashes of removed resources, adds those of new ones,
and reads nothing else. A sum of hashes distinguishes any two sets of data that arise without intent; it does not
protect against an author who may choose ids and versions freely, but such an author can also change the tables.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

LANES = 4
"""A SHA-256 is added as four numbers of 64 bits, which engines add without overflow."""

SUMS = "_sum"
"""The table of the sums: type, resources, and a column for each lane."""

_COLUMNS = [f"lane{lane}" for lane in range(LANES)]

_TYPED = ", ".join(f"{name} HUGEINT" for name in _COLUMNS)

CREATE = f"CREATE TABLE IF NOT EXISTS {SUMS} (type VARCHAR, resources BIGINT, {_TYPED})"


def line(kind: str, identity: str = "id", version: str = "version") -> str:
    """Return the hashed text of a resource, ``type/id/version``, as SQL for both engines."""
    return f"concat({kind}, '/', {identity}, '/', {version})"


def add(relation: str, *, sign: int = 1) -> str:
    """
    Return the statement that adds rows of a relation with type, id and version to the sums, or subtracts them.

    The added rows become part of the sums when `SETTLE` runs.
    """
    lanes = ", ".join(
        f"{sign} * sum(CAST('0x' || hash[{16 * lane + 1}:{16 * lane + 16}] AS UBIGINT))" for lane in range(LANES)
    )
    return f"""
INSERT INTO {SUMS}
SELECT type, {sign} * count(*), {lanes}
FROM (SELECT type, sha256({line("type")}) AS hash FROM {relation}) GROUP BY type"""


_ADDED = ", ".join(f"sum({name})" for name in ("resources", *_COLUMNS))

_ONE_A_TYPE = f"SELECT type, {_ADDED} FROM {SUMS} GROUP BY type HAVING sum(resources) > 0"

SETTLE = (
    f"CREATE OR REPLACE TEMP TABLE settled AS {_ONE_A_TYPE}",
    f"DELETE FROM {SUMS}",
    f"INSERT INTO {SUMS} SELECT * FROM settled",
    "DROP TABLE settled",
)
"""Merges the rows to one per type; a type without resources has none."""

READ = f"SELECT type, resources, {', '.join(_COLUMNS)} FROM {SUMS}"


def data_version(sums: Iterable[Sequence[object]]) -> str:
    """Return the data version: SHA-256 over the sorted lines of type, resources and sums."""
    lines = sorted("/".join(str(value) for value in row) for row in sums)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
