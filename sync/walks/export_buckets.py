"""
Writes the resources that a part of an export may share with others: one file, in buckets by digest of the resource.

    resources of a part  ->  buckets  ->  a file, bucket by bucket, and where each begins  ->  the merge of one bucket

Equal resources of different parts are in buckets of one number, so that each bucket can be merged by itself.
"""

from __future__ import annotations

from collections import defaultdict
from hashlib import sha256
from pathlib import Path
from typing import Any

from sync.export import mark_of
from sync.mapping.resource import canonical
from sync.model import Resource


class Shared:
    """Resources of one part, each once."""

    def __init__(self, buckets: int) -> None:
        self._buckets = buckets
        self._lines: defaultdict[int, dict[int, bytes]] = defaultdict(dict)

    def add(self, resource: Resource) -> None:
        """Add a resource, unless it is there already."""
        mark = mark_of(resource)
        self._lines[mark % self._buckets].setdefault(mark, canonical(resource) + b"\n")

    def write(self, path: Path) -> dict[str, Any]:
        """
        Write the file; return its name and digest, and ``buckets``: number -> first byte, bytes, digest.

        Buckets without a resource are left out.
        """
        buckets: dict[str, tuple[int, int, str]] = {}
        start, whole = 0, sha256()
        with path.open("xb") as file:
            for bucket, of_bucket in sorted(self._lines.items()):
                lines = b"".join(of_bucket.values())
                file.write(lines)
                whole.update(lines)
                buckets[str(bucket)] = start, len(lines), sha256(lines).hexdigest()
                start += len(lines)
        return {"name": path.name, "sha256": whole.hexdigest(), "buckets": buckets}
