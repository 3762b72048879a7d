"""Ledger rows as the header reader leaves them, for tests of the mapping; no real person is in them."""

from __future__ import annotations

from typing import Any

from sync.config import MappingSettings
from sync.model import InstanceRecord, LedgerRow, ObjectKey, StudyRef

STUDY = StudyRef(study_instance_uid="1.2.840.99999.1")
CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"
SETTINGS = MappingSettings()

TYPICAL: dict[str, Any] = {
    "AccessionNumber": ["A-77"],
    "BodyPartExamined": ["CHEST"],
    "Modality": ["CT"],
    "PatientBirthDate": ["19521103"],
    "PatientID": ["4711"],
    "PatientName": ["Testmann^Tina Maria^^Dr.^"],
    "PatientSex": ["F"],
    "ReferringPhysicianName": ["Beispiel^Bert"],
    "SOPClassUID": [CT_IMAGE],
    "SeriesDescription": ["Thorax 5.0"],
    "SeriesNumber": ["2"],
    "StudyDate": ["20240117"],
    "StudyDescription": ["CT Thorax"],
    "StudyTime": ["101530"],
    "TimezoneOffsetFromUTC": ["+0100"],
}


def row(
    instance: int = 1,
    *,
    series: str = "1.2.840.99999.1.1",
    study: StudyRef = STUDY,
    order: str = "2024-01-17T10:00:00.000000+00:00",
    key: str | None = None,
    without: tuple[str, ...] = (),
    **attributes: Any,
) -> LedgerRow:
    """One instance of a typical CT study; attributes given by keyword replace or add."""
    said = {k: v for k, v in TYPICAL.items() if k not in without} | {"InstanceNumber": [str(instance)]} | attributes
    record = InstanceRecord(
        study=study,
        series_instance_uid=series,
        sop_instance_uid=f"1.2.840.99999.9.{instance}",
        attributes=said,
    )
    return LedgerRow(object_key=ObjectKey("folder", key or f"{instance:06}"), record=record, order=order)
