"""A header of bytes, parsed as the sync parses it."""

from __future__ import annotations

from sync.config import HeaderLimits
from sync.dicom.header import parse_header
from sync.model import InstanceRecord
from tests.headers import EXPLICIT, dicom_file, element, identity

LIMITS = HeaderLimits()
NAME = element(0x00100010, "PN", "Doe^Jane")


def parse(data: bytes, limits: HeaderLimits = LIMITS) -> InstanceRecord:
    record = parse_header(data, size=len(data), limits=limits)
    assert isinstance(record, InstanceRecord)
    return record


def attributes(between: bytes, transfer_syntax: str | None = EXPLICIT, **form):
    return parse(dicom_file(identity(between=between, **form), transfer_syntax)).attributes


def codes(record: InstanceRecord) -> set[tuple[str, str]]:
    return {(finding.keyword, finding.code) for finding in record.findings}
