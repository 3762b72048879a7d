"""What the Azure DICOM service says of a file is what the file says, but for what the service drops or respells."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from decimal import Decimal, InvalidOperation

from sync.adapters.http.dicom.web import parse_json
from sync.config import HeaderLimits
from sync.dicom.header import parse_header, read_json
from sync.errors import UnreadableObject
from sync.model import InstanceRecord
from tests.dicomweb import FOLDER, known_files, needs_dicomweb
from tests.headers import whole_corpus

LOST = {"dropped by the service", "letters lost by the service", "lost by the service", "precision lost by the service"}


def _lost() -> set[tuple[str, str]]:
    with (FOLDER / "differences.tsv").open(encoding="utf-8") as table:
        rows = csv.DictReader(table, delimiter="\t")
        return {(row["path"], row["attribute"].partition("[")[0]) for row in rows if row["kind"] in LOST}


def _plain(value):
    """Forget how a number or a name is spelled."""
    if isinstance(value, dict):
        return {keyword: [_plain(value) for value in values] for keyword, values in value.items()}
    if not isinstance(value, str):
        return value
    try:
        return Decimal(value).normalize() + 0
    except InvalidOperation:
        return "=".join(group.strip() for group in value.split("=")).rstrip("=")


def _differences(name: str, file: InstanceRecord, told: InstanceRecord) -> Iterator[tuple[str, str]]:
    for keyword in file.attributes.keys() | told.attributes.keys():
        ours, theirs = (
            [_plain(attribute) for attribute in record.attributes.get(keyword, ())] for record in (file, told)
        )
        if ours != theirs:
            yield name, keyword


@needs_dicomweb
@whole_corpus
def test_file_and_metadata_say_the_same_but_for_what_the_service_loses():
    compared, differing = 0, set()
    for known in known_files():
        if known.metadata is None:
            continue
        try:
            file = parse_header(known.content, size=len(known.content), limits=HeaderLimits())
        except UnreadableObject:
            continue
        assert isinstance(file, InstanceRecord)
        told = read_json(parse_json(known.metadata)[0])
        assert (file.study, file.series_instance_uid, file.sop_instance_uid) == (
            told.study,
            told.series_instance_uid,
            told.sop_instance_uid,
        )
        differing |= set(_differences(known.name, file, told))
        compared += 1
    assert compared >= 120
    assert differing <= _lost()
