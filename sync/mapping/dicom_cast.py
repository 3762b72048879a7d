"""
Recognises resources that Microsoft DICOM Cast left in a FHIR service among those of other systems.

Cast is switched off before the sync takes its place, so the elements that it wrote have no other owner: its wrong
codings are corrected, and its notes, each a Study Description, are removed. All other elements belong to other systems
and stay.

Source: microsoft/dicom-server, branch ``archived``, converter/dicom-cast; docs/migration-from-dicom-cast.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sync.dicom.attributes import texts
from sync.mapping.values import Findings, absolute_uri, one_text
from sync.model import Attributes, LedgerRow, Resource

ELEMENTS = frozenset({"modality", "series", "started", "status", "subject"})
"""Top-level elements that Cast set, beside identifiers, notes and an endpoint."""

NO_SYSTEM = "none"
"""Value of DICOM_SYNC_CAST_PATIENT_SYSTEM: Patient identifiers without a system, Cast's default."""

ISSUER = "issuer"
"""Value of DICOM_SYNC_CAST_PATIENT_SYSTEM: the text of (0010,0021) was the system."""

_MODALITY_SYSTEM = "DCM"
"""Not a URI: only Cast names the code system this way."""


def is_made_by_cast(study: Resource, dicomweb_url: str) -> bool:
    """
    Return whether an ImagingStudy was last written by Cast, and not by us since.

    Either a series has Cast's modality system and an instance without a system for its SOP class, or ``meta.source`` is
    the DICOMweb root: Cast set it so on creation. Our first write removes both marks.
    """
    source = str(study.get("meta", {}).get("source", "")).partition("#")[0].rstrip("/")
    return bool(dicomweb_url and source == dicomweb_url) or any(map(_is_coded_by_cast, study.get("series", [])))


def _is_coded_by_cast(series: Resource) -> bool:
    classes = [instance.get("sopClass", {}) for instance in series.get("instance", [])]
    return series.get("modality", {}).get("system") == _MODALITY_SYSTEM and any(
        coding.get("code") and not coding.get("system") for coding in classes
    )


def descriptions(rows: Sequence[LedgerRow]) -> frozenset[str]:
    """Return the Study Descriptions of the instances: Cast appended each of them as a note."""
    stated = (text for row in rows for text in texts(row.record.attributes, "StudyDescription"))
    return frozenset(_plain(text) for text in stated) - {""}


def without_notes(study: Resource, texts_of_cast: frozenset[str]) -> Resource:
    """Remove the notes that hold only a Study Description; a note with an author, a time or more text stays."""
    notes: list[dict[str, Any]] = study.get("note", [])
    remaining = [note for note in notes if set(note) != {"text"} or _plain(note["text"]) not in texts_of_cast]
    unnoted = {element: value for element, value in study.items() if element != "note"}
    return study if remaining == notes else {**unnoted, **({"note": remaining} if remaining else {})}


def _plain(text: str) -> str:
    return " ".join(text.split())


def known_to_cast_as(attributes: Attributes, setting: str) -> tuple[str, str] | None:
    """
    Return system and value under which Cast stored a patient; the system is empty if Cast wrote none.

    Parameters
    ----------
    attributes
        The patient attributes of a study.
    setting
        DICOM_SYNC_CAST_PATIENT_SYSTEM; empty: Cast's Patients are not looked for.
    """
    value = one_text(attributes, "PatientID", Findings())
    if not setting or value is None:
        return None
    if setting == ISSUER:
        return one_text(attributes, "IssuerOfPatientID", Findings()) or "", value
    return "" if setting == NO_SYSTEM else setting, value


def is_wrong_system(system: str) -> bool:
    """Return whether a system that Cast wrote is invalid: R4 requires an absolute URI."""
    return absolute_uri(system) is None
