"""
Names of instances of a DICOM service: data partition and UIDs, as in their WADO-RS path (PS3.18 10.4.1).

Orthanc has names of its own; see `sync.adapters.http.dicom.orthanc`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress

from sync.dicom.attributes import USABLE_UID
from sync.model import InstanceRecord, ObjectRef, StudyRef
from sync.model.identity import folder_partitions

DEFAULT_PARTITION = "Microsoft.Default"
"""Azure's name for the partition of a service without data partitions, in some answers and not in others."""

ORTHANC_FOLDER = "instances"
"""Prefix of the names of an Orthanc's instances."""

_NAME = re.compile(r"studies/([^/]+)/series/([^/]+)/instances/([^/]+)")
_DIGIT = re.compile(r"\d")


def instance_ref(account: str, partition: str, study: str, series: str, sop: str) -> ObjectRef:
    """
    Name an instance of a DICOM service.

    Raises
    ------
    ValueError
        A UID is invalid and could lead a request elsewhere.
    """
    if not all(USABLE_UID.fullmatch(uid) and _DIGIT.search(uid) for uid in (study, series, sop)):
        raise ValueError("a UID that is none")
    name = f"studies/{study}/series/{series}/instances/{sop}"
    return ObjectRef(account=account, container=plain_partition(partition), name=name)


def instance_partitions(account: str, study: StudyRef, series: str) -> frozenset[str]:
    """Return the partitions of table ``locators`` that hold a series of a DICOM service, or instances of an Orthanc."""
    folder = f"studies/{study.study_instance_uid}/series/{series}/instances"
    of_service = folder_partitions(account, plain_partition(study.partition), folder)
    return frozenset((*of_service, *folder_partitions(account, "", ORTHANC_FOLDER)))


def orthanc_id(patient: str, study: str, series: str, sop: str) -> str:
    """
    Return the id that Orthanc gives an instance: a hash of its patient ID and UIDs, in five groups.

    Source: Orthanc Book, "Orthanc identifiers".
    """
    digits = hashlib.sha1(f"{patient}|{study}|{series}|{sop}".encode(), usedforsecurity=False).hexdigest()
    return "-".join(digits[start : start + 8] for start in range(0, len(digits), 8))


def possible_refs(account: str, study: StudyRef, record: InstanceRecord) -> Iterator[ObjectRef]:
    """Iterate over the names that an instance with these UIDs has in a DICOM service, and in an Orthanc."""
    uids = study.study_instance_uid, record.series_instance_uid, record.sop_instance_uid
    with suppress(ValueError):
        yield instance_ref(account, study.partition, *uids)
    patient = next(iter(record.attributes.get("PatientID", ())), "")
    yield ObjectRef(account=account, container="", name=f"{ORTHANC_FOLDER}/{orthanc_id(str(patient), *uids)}")


def plain_partition(partition: str) -> str:
    """Return the partition; empty for the default one, whatever it is called."""
    return "" if partition.lower() == DEFAULT_PARTITION.lower() else partition


def uids_of(ref: ObjectRef) -> Mapping[str, str]:
    """Return the UIDs in an instance's name, keyword -> UID; empty for objects with other names."""
    if not (match := _NAME.fullmatch(ref.name)):
        return {}
    return dict(zip(("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"), match.groups(), strict=True))
