"""
The data version: one hash of which resources are there, in which versions.

It is made of sums that a refresh corrects: the hashes of removed resources are subtracted, new ones are added, and
nothing else is read. A sum of hashes tells any two sets of data apart that come about by themselves; it is no proof
against an author who may choose ids and versions freely, because such an author can change the tables too.
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
    """Return what is hashed of a resource, ``type/id/version``, as SQL of each engine."""
    return f"concat({kind}, '/', {identity}, '/', {version})"


def add(relation: str, *, sign: int = 1) -> str:
    """
    Return the statement that adds rows of a relation with type, id and version to the sums, or subtracts them.

    The rows that it adds are part of the sums once `SETTLE` has run.
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
"""One row per type again; a type of which nothing is there has none."""

READ = f"SELECT type, resources, {', '.join(_COLUMNS)} FROM {SUMS}"


def data_version(sums: Iterable[Sequence[object]]) -> str:
    """Return the data version: SHA-256 over the sorted lines of type, resources and sums."""
    lines = sorted("/".join(str(value) for value in row) for row in sums)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
