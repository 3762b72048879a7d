"""The contents of objects in a simulated world."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from io import BytesIO

import pydicom
from pydicom.dataset import FileMetaDataset
from pydicom.uid import CTImageStorage, EncapsulatedPDFStorage, ExplicitVRLittleEndian

UNREADABLE = b"not a DICOM file"


@dataclass(frozen=True)
class Content:
    """The content of one object."""

    study: str
    patient: str
    sop: str
    document: bool = False
    """An encapsulated document, which makes resources of its own; else an image."""
    verified: bool = False
    """Whether the document says that it was verified, which is news of its report alone."""


@cache
def dicom_file(content: Content) -> bytes:
    """Return a small header."""
    meta = FileMetaDataset()
    sop_class = EncapsulatedPDFStorage if content.document else CTImageStorage
    meta.MediaStorageSOPClassUID = sop_class
    meta.MediaStorageSOPInstanceUID = f"2.25.{content.sop}"
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    file = pydicom.Dataset()
    file.file_meta = meta
    file.SOPClassUID, file.SOPInstanceUID = sop_class, f"2.25.{content.sop}"
    if content.document:
        file.DocumentTitle = f"of {content.patient}"
        if content.verified:
            file.CompletionFlag, file.VerificationFlag = "COMPLETE", "VERIFIED"
    file.StudyInstanceUID, file.SeriesInstanceUID = f"2.25.{content.study}", f"2.25.{content.study}0"
    file.Modality, file.StudyDate = "CT", f"2026010{content.study}"
    file.PatientID, file.PatientName = content.patient, _name(content)
    file.StudyDescription = f"by {content.patient}"
    if (content.study, content.patient) == ("1", "P2"):
        # Only one of its studies says so: the Patient is made of what several say.
        file.PatientSex, file.PatientIdentityRemoved = "F", "YES"
    if content.study == "4":
        file.PatientSex = "M"
    buffer = BytesIO()
    file.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def _name(content: Content) -> str:
    """Return the name of a patient: all studies spell P1 alike, and the others each in its own way."""
    return "One^Spelling" if content.patient == "P1" else f"{content.patient}^As study {content.study} spells it"


CONTENTS: tuple[Content | bytes | None, ...] = (
    Content("1", "P1", "11"),
    Content("1", "P1", "12"),
    Content("2", "P1", "21"),
    Content("1", "P2", "11"),
    Content("2", "P2", "21"),
    Content("1", "P1", "13", document=True),
    Content("2", "P2", "13", document=True),
    UNREADABLE,
    None,
)
"""What objects hold: two studies that share patients, instances that change theirs, and a document that moves."""
