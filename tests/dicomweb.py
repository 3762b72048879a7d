"""The DICOM JSON that the Azure DICOM service makes of real and made files, where a checkout has it beside it."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.headers import CORPUS

FOLDER = Path(os.environ.get("DICOMWEB_CORPUS") or Path(__file__).parents[2] / "shared" / "data" / "dicomweb")

needs_dicomweb = pytest.mark.skipif(
    not (FOLDER / "status.tsv").exists(),
    reason="the service's metadata are not beside the checkout; DICOMWEB_CORPUS names their folder",
)


@dataclass(frozen=True, slots=True)
class Known:
    """A file, and what the service does with it, as ``status.tsv`` has it."""

    name: str
    content: bytes
    status: dict[str, str]
    metadata: bytes | None


def known_files() -> Iterator[Known]:
    """Iterate over the files that are there."""
    with (FOLDER / "status.tsv").open(encoding="utf-8") as table:
        for row in csv.DictReader(table, delimiter="\t"):
            name = row["path"]
            path = CORPUS / name.removeprefix("shared/") if name.startswith("shared/") else FOLDER / name
            told = FOLDER / f"{name}.json"
            if path.exists():
                yield Known(name, path.read_bytes(), row, told.read_bytes() if told.exists() else None)
