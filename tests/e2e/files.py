"""
DICOM files for the tests, and what they must become: computed by pydicom alone, which owes nothing to our reader.

Differences are given as counts and as file names of our own making, never as values of a file.
"""

import contextlib
import hashlib
import io
import logging
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import httpx
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, MediaStorageDirectoryStorage

Studies = Mapping[str, Mapping[str, frozenset[str]]]
"""Study Instance UID -> Series Instance UID -> SOP Instance UIDs."""


@dataclass(frozen=True)
class Uids:
    """Who an instance says it is."""

    study: str
    series: str
    sop: str


def uid(*parts: object) -> str:
    """Return a UID made from the parts (PS3.5 B.2)."""
    return f"2.25.{int(hashlib.sha256(repr(parts).encode()).hexdigest()[:30], 16)}"


def made(study: str, series: str, sop: str, *, patient: str, **attributes: str) -> bytes:
    """Return the bytes of a small CT instance; attributes by DICOM keyword."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = CTImageStorage, sop
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    file = Dataset()
    file.file_meta = meta
    file.SOPClassUID, file.SOPInstanceUID = CTImageStorage, sop
    file.StudyInstanceUID, file.SeriesInstanceUID = study, series
    file.PatientID, file.Modality, file.StudyDate = patient, "CT", "20260102"
    buffer = io.BytesIO()
    with _quiet():  # some tests want values that no writer should write
        for keyword, value in attributes.items():
            setattr(file, keyword, value)
        file.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


@cache
def uids_of(content: bytes) -> Uids | None:
    """Return what pydicom reads, None for what can be no instance."""
    header = _header(content)
    if header is None or is_directory(content):
        return None
    with _quiet():  # values are converted when they are asked for
        uids = [str(header.get(keyword) or "").strip() for keyword in _UIDS]
    return Uids(*uids) if all(uids) else None


def is_directory(content: bytes) -> bool:
    """Whether pydicom takes the file for a DICOMDIR."""
    header = _header(content)
    if header is None:
        return False
    with _quiet():
        media = header.file_meta.get("MediaStorageSOPClassUID")
    return media == MediaStorageDirectoryStorage or "DirectoryRecordSequence" in header


_UIDS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep pydicom from warning of odd values: it prints them."""
    logger = logging.getLogger("pydicom")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _header(content: bytes) -> Any:
    try:
        with _quiet():
            return pydicom.dcmread(io.BytesIO(content), stop_before_pixels=True, force=True)
    except Exception:  # noqa: BLE001  # it raises whatever comes to it on what is no DICOM
        return None


def expected_studies(contents: Iterable[bytes]) -> Studies:
    """Return the studies that are to be in FHIR when these files, and no others, are in the store."""
    studies: dict[str, dict[str, set[str]]] = {}
    for content in contents:
        if one := uids_of(content):
            studies.setdefault(one.study, {}).setdefault(one.series, set()).add(one.sop)
    return {study: {uid: frozenset(sops) for uid, sops in series.items()} for study, series in studies.items()}


def study_uid(resource: Mapping[str, Any]) -> str:
    """Return the Study Instance UID of an ImagingStudy."""
    values = [one["value"] for one in resource["identifier"] if one.get("system") == "urn:dicom:uid"]
    assert len(values) == 1, "an ImagingStudy without exactly one Study Instance UID"
    return str(values[0]).removeprefix("urn:oid:")


def held_studies(resources: Iterable[Mapping[str, Any]]) -> Studies:
    """Return what ImagingStudies say."""
    return {
        study_uid(resource): {
            series["uid"]: frozenset(instance["uid"] for instance in series.get("instance", []))
            for series in resource.get("series", [])
        }
        for resource in resources
    }


def differences(expected: Studies, resources: Iterable[Mapping[str, Any]]) -> list[str]:
    """Say what differs between the files and the ImagingStudies, in counts; empty when nothing does."""
    resources = list(resources)
    held = held_studies(resources)
    wrong = [study for study in expected.keys() & held.keys() if expected[study] != held[study]]
    counts = {
        "studies are missing": len(expected.keys() - held.keys()),
        "studies are there without a file": len(held.keys() - expected.keys()),
        "studies are there more than once": len(resources) - len(held),
        "studies have other series or instances than their files": len(wrong),
        "studies miscount themselves": sum(not _counts_right(resource) for resource in resources),
        "instances are missing": len(_instances(expected) - _instances(held)),
        "instances are there without a file": len(_instances(held) - _instances(expected)),
    }
    return [f"{count} {what}" for what, count in counts.items() if count]


def _instances(studies: Studies) -> set[tuple[str, str, str]]:
    return {(study, uid, sop) for study, series in studies.items() for uid, sops in series.items() for sop in sops}


def _counts_right(resource: Mapping[str, Any]) -> bool:
    series = resource.get("series", [])
    instances = [instance["uid"] for one in series for instance in one.get("instance", [])]
    counts = (resource["numberOfSeries"], resource["numberOfInstances"])
    twice = [identifier for identifier, count in Counter(one["uid"] for one in series).items() if count > 1]
    in_series = all(one["numberOfInstances"] == len(one.get("instance", [])) for one in series)
    return counts == (len(series), len(instances)) and not twice and in_series


def errors(hapi: httpx.Client, resource: Mapping[str, Any]) -> list[str]:
    """
    Return what HAPI's validator says is wrong: where and which kind, for its words may hold values.

    R4's copy of the codes of DICOM is of 2015 and calls itself complete; a newer code is no fault.
    """
    kind = resource["resourceType"]
    return [
        f"{kind}: {issue['code']} at {issue.get('expression') or issue.get('location')}"
        for issue in hapi.post(f"{kind}/$validate", json=resource).json()["issue"]
        if issue["severity"] in ("error", "fatal") and not _is_newer_code_of_dicom(issue)
    ]


def _is_newer_code_of_dicom(issue: Mapping[str, Any]) -> bool:
    words = issue.get("diagnostics", "")
    return "nknown code" in words and "http://dicom.nema.org/resources/ontology/DCM" in words
