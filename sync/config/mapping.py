"""What the mapping must know of the hospital."""

from __future__ import annotations

from pydantic import Field

from sync.config.forms import TimeZone, Uri, UrisByName, WebRoot
from sync.config.section import Section


class MappingSettings(Section):
    """What the mapping needs to know of the hospital."""

    timezone: TimeZone = ""
    """IANA zone of the scanners, for files without (0008,0201); empty: such times become dates."""

    dicomweb_url: WebRoot = ""
    """Root of the DICOMweb service that viewers use, for the Endpoint; empty: no Endpoint."""

    issuers: UrisByName = Field(default_factory=dict)
    """JSON object: issuer string, as (0010,0021) spells it -> URI of its identifier system."""

    patient_system: Uri = "urn:dicom-fhir-sync:patient-id"
    """Identifier system of Patient IDs without any issuer; a named issuer always gets a system of its own."""

    accession_system: Uri = "urn:dicom-fhir-sync:accession-number"
    """Identifier system of accession numbers without any issuer."""

    placer_system: Uri = "urn:dicom-fhir-sync:placer-order-number"
    """Identifier system of placer order numbers without any issuer."""

    filler_system: Uri = "urn:dicom-fhir-sync:filler-order-number"
    """Identifier system of filler order numbers without any issuer."""

    study_id_system: Uri = ""
    """Identifier system of Study IDs (0020,0010); empty: they are not mapped."""

    coding_schemes: UrisByName = Field(default_factory=dict)
    """JSON object: coding scheme designator -> URI of the code system, for private schemes."""

    patient_other_names: bool = False
    """Whether Other Patient Names (0010,1001) and Patient's Birth Name (0010,1005) are mapped."""

    patient_species: bool = False
    """Whether Patient Species (0010,2202) is mapped, for veterinary images."""
