"""Settings of the mapping: identifier systems, time zone, coding schemes."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from sync.config.forms import InstanceList, PatientIds, TimeZone, Uri, UrisByName, WebRoot
from sync.config.section import Section

Detail = Literal["none", "acquisition", "body", "full"]
"""Levels of `MappingSettings.detail`; each includes the ones before it."""

_LEVELS: tuple[Detail, ...] = ("none", "acquisition", "body", "full")


def includes(detail: Detail, level: Detail) -> bool:
    """Return whether a level of detail includes another."""
    return _LEVELS.index(detail) >= _LEVELS.index(level)


class MappingSettings(Section):
    """Hospital-specific settings of the mapping."""

    timezone: TimeZone = ""
    """IANA time zone of the scanners, for files without (0008,0201); if empty, such times are mapped as dates."""

    dicomweb_url: WebRoot = ""
    """Root URL of the DICOMweb service for viewers, written to the Endpoint; if empty, no Endpoint is written."""

    blob_url: WebRoot = ""
    """Root URL of the blob service that holds the DICOM files, such as ``https://account.blob.core.windows.net``. If
    set, a study names an Endpoint for each container that holds its objects; if empty, FHIR does not say where blobs
    are. Objects that are known already follow with a replay that reads them again."""

    blob_names: bool = False
    """With a blob URL: also name the blob of each instance, with an extension. Names of blobs may hold patient data."""

    issuers: UrisByName = Field(default_factory=dict)
    """JSON object: issuer as spelled in (0010,0021) -> URI of its identifier system."""

    patient_system: Uri = "urn:dicom-fhir-sync:patient-id"
    """Identifier system of Patient IDs without an issuer; each named issuer gets a system of its own."""

    placeholder_patient_ids: PatientIds = (
        "UNKNOWN",
        "ANONYMOUS",
        "ANONYMIZED",
        "ANON",
        "NONE",
        "NULL",
        "NA",
        "N/A",
        "NO ID",
        "NOID",
        "0",
    )
    """Comma-separated Patient IDs, in any case, that stand for none: such a study gets a patient of its own. ``0`` also
    stands for longer rows of zeros."""

    accession_system: Uri = "urn:dicom-fhir-sync:accession-number"
    """Identifier system of accession numbers without an issuer."""

    placer_system: Uri = "urn:dicom-fhir-sync:placer-order-number"
    """Identifier system of placer order numbers without an issuer."""

    filler_system: Uri = "urn:dicom-fhir-sync:filler-order-number"
    """Identifier system of filler order numbers without an issuer."""

    admission_system: Uri = "urn:dicom-fhir-sync:admission-id"
    """Identifier system of Admission IDs (0038,0010) without an issuer, by which the study names its Encounter."""

    study_id_system: Uri = ""
    """Identifier system of Study IDs (0020,0010); if empty, they are not mapped."""

    coding_schemes: UrisByName = Field(default_factory=dict)
    """JSON object: coding scheme designator -> URI of the code system, for private schemes."""

    patient_other_names: bool = False
    """Map Other Patient Names (0010,1001) and Patient's Birth Name (0010,1005)."""

    patient_species: bool = False
    """Map species, breed and neutering (0010,2201-2203, 0010,2292-2293), for veterinary images."""

    patient_responsible_person: bool = False
    """Map the Responsible Person (0010,2297), role and organization, such as an owner or parent, to a contact of the
    Patient."""

    detail: Detail = "none"
    """
    How much of an acquisition is read and mapped. ``acquisition``: parameters of each series (tube voltage, exposure,
    CTDIvol, field strength, sequence, tracer and its dose, transducer), contrast, slice thickness, and the institution
    as custodian. ``body``: the same, and height and weight as Observations. ``full``: the same, and pixel spacing,
    thickness and type of each image, which makes studies of thousands of images several times as large. Objects that
    are known already get more detail by a replay that reads them again; less detail applies to studies that change.
    """

    instances: InstanceList = "all"
    """
    Which studies list their instances in FHIR (``series.instance``): ``all``; none of them (``series``); or those of at
    most this number of instances. A list takes 190 bytes per instance, with detail ``full`` some 900, and servers and
    gateways limit a body: nginx allows 1 MB by default (5,000 instances), Azure's FHIR server 30 MB. Without the list a
    study keeps its series, both counts and its endpoints. Studies that are known already follow when they change, or
    with ``verify --repair``.
    """

    def lists_instances(self, instances: int) -> bool:
        """Return whether a study of that many instances lists them: by their number only, so that no order matters."""
        if isinstance(self.instances, int):
            return instances <= self.instances
        return self.instances == "all"
