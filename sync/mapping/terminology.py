"""
Codes and their systems, as tables of the standards; each table names its source.

Nothing here is configurable: a hospital's own issuers and private schemes are in `sync.config.MappingSettings`.
"""

from __future__ import annotations

from types import MappingProxyType

DCM = "http://dicom.nema.org/resources/ontology/DCM"
"""
PS3.16 Annex D, by the one URL under which people search for it.

R4 carries the code system as of 2015 and calls that complete, so a validator with that copy objects to newer codes
(docs/profiles.md); two systems for one scheme would hide half of the resources from every search.
"""

SNOMED_CT = "http://snomed.info/sct"
URI_SYSTEM = "urn:ietf:rfc:3986"
DICOM_UID_SYSTEM = "urn:dicom:uid"
IDENTIFIER_TYPE = "http://terminology.hl7.org/CodeSystem/v2-0203"
OBSERVATION_VALUE = "http://terminology.hl7.org/CodeSystem/v3-ObservationValue"
ENDPOINT_CONNECTION_TYPE = "http://terminology.hl7.org/CodeSystem/endpoint-connection-type"
OWN_CONNECTION_TYPE = "urn:dicom-fhir-sync:connection-type"
OBJECT_URL = "urn:dicom-fhir-sync:object-url"
PARTICIPATION_TYPE = "http://terminology.hl7.org/CodeSystem/v3-ParticipationType"
DATA_ABSENT_REASON = "http://hl7.org/fhir/StructureDefinition/data-absent-reason"
PATIENT_BIRTH_TIME = "http://hl7.org/fhir/StructureDefinition/patient-birthTime"
PATIENT_ANIMAL = "http://hl7.org/fhir/StructureDefinition/patient-animal"
PATIENT_GENDER_IDENTITY = "http://hl7.org/fhir/StructureDefinition/patient-genderIdentity"
PATIENT_PRONOUNS = "http://hl7.org/fhir/StructureDefinition/individual-pronouns"
ANIMAL_GENDER_STATUS = "http://hl7.org/fhir/animal-genderstatus"
NUMBER_OF_FRAMES = "http://hl7.eu/fhir/imaging/StructureDefinition/NumberOfFrames"
"""HL7 Europe Imaging (R4, draft), in place of a core element that only R6 has."""

LOINC = "http://loinc.org"
UCUM = "http://unitsofmeasure.org"

IMAGING_CATEGORY = MappingProxyType(
    {"system": "http://terminology.hl7.org/CodeSystem/observation-category", "code": "imaging", "display": "Imaging"}
)
"""R4 value set *Observation Category Codes*."""

VITAL_SIGNS = MappingProxyType(
    {
        "system": "http://terminology.hl7.org/CodeSystem/observation-category",
        "code": "vital-signs",
        "display": "Vital Signs",
    }
)
"""R4 value set *Observation Category Codes*."""

RADIATION_DOSE_IDENTIFIER = MappingProxyType(
    {
        "system": "http://hl7.org/fhir/uv/radiation-dose-summary/CodeSystem/dicom-identifier-type",
        "code": "sop-instance-uid",
    }
)
"""HL7 radiation-dose-summary 1.0.0, type of the identifier that is the report's SOP Instance UID."""

DIAGNOSTIC_IMAGING = MappingProxyType(
    {"system": "http://terminology.hl7.org/CodeSystem/v2-0074", "code": "IMG", "display": "Diagnostic Imaging"}
)
"""HL7 v2 table 0074, Diagnostic Service Section: where reports of all modalities belong."""

ACQUISITION_MODALITIES = frozenset(
    (
        "AR", "BDUS", "BI", "BMD", "CFM", "CR", "CT", "DG", "DMS", "DX", "ECG", "EEG", "EMG", "EOG", "EPS", "ES",
        "GM", "HD", "IO", "IVOCT", "IVUS", "KER", "LEN", "LS", "MG", "MR", "NM", "OAM", "OCT", "OP", "OPM", "OPT",
        "OPTBSV", "OPTENF", "OPV", "OSS", "PA", "POS", "PT", "PX", "RESP", "RF", "RG", "RTIMAGE", "SM", "SRF", "TG",
        "US", "VA", "XA", "XC",
    )
)  # fmt: skip
"""
PS3.16 CID 29 *Acquisition Modality* (2025): all that R4 allows in ``ImagingStudy.modality``.

Derived objects (SR, PR, KO, SEG, REG, RTSTRUCT, RTPLAN, RTDOSE, DOC) and OT are not in it; they stay in
``series.modality``.
"""

MODALITIES = frozenset(
    (
        "ANN", "AR", "AS", "ASMT", "AU", "BDUS", "BI", "BMD", "CD", "CF", "CFM", "CP", "CR", "CS", "CT",
        "CTPROTOCOL", "DD", "DF", "DG", "DM", "DMS", "DOC", "DS", "DX", "EC", "ECG", "EEG", "EMG", "EOG", "EPS",
        "ES", "FA", "FID", "FS", "GM", "HC", "HD", "IO", "IOL", "IVOCT", "IVUS", "KER", "KO", "LEN", "LP", "LS",
        "M3D", "MA", "MG", "MR", "MS", "NM", "OAM", "OCT", "OP", "OPM", "OPR", "OPT", "OPTBSV", "OPTENF", "OPV",
        "OSS", "OT", "PA", "PLAN", "POS", "PR", "PT", "PX", "REG", "RESP", "RF", "RG", "RTDOSE", "RTIMAGE",
        "RTINTENT", "RTPLAN", "RTRAD", "RTRECORD", "RTSEGANN", "RTSTRUCT", "RWV", "SEG", "SM", "SMR", "SR",
        "SRF", "ST", "STAIN", "TEXTUREMAP", "TG", "US", "VA", "VF", "XA", "XAPROTOCOL", "XC",
    )
)  # fmt: skip
"""PS3.3 C.7.3.1.1.1 (2025), defined terms of (0008,0060), retired ones too."""

OTHER_MODALITY = "OT"
"""PS3.3 C.7.3.1.1.1 defined term *Other*; ``series.modality`` is 1..1, so a series without a modality gets it."""

LATERALITY = MappingProxyType(
    {
        "R": {"system": SNOMED_CT, "code": "24028007", "display": "Right"},
        "L": {"system": SNOMED_CT, "code": "7771000", "display": "Left"},
        "B": {"system": SNOMED_CT, "code": "51440002", "display": "Bilateral"},
        "U": {"system": SNOMED_CT, "code": "66459002", "display": "Unilateral"},
    }
)
"""PS3.16 CID 244 *Laterality*, by the enumerated values of (0020,0060) and (0020,0062)."""

SNOMED_RT = "http://snomed.info/srt"
"""Retired; its codes are also written in SNOMED CT."""

CODING_SCHEMES = MappingProxyType(
    {
        "DCM": DCM,
        "SCT": SNOMED_CT,
        "SRT": SNOMED_RT,
        "SNM3": SNOMED_RT,
        "99SDM": SNOMED_RT,
        "LN": "http://loinc.org",
        "UCUM": "http://unitsofmeasure.org",
        "RADLEX": "http://www.radlex.org",
        "UMLS": "http://terminology.hl7.org/CodeSystem/umls",
        "NCIt": "http://ncicb.nci.nih.gov/xml/owl/EVS/Thesaurus.owl",
        "I9C": "http://hl7.org/fhir/sid/icd-9-cm",
        "I10": "http://hl7.org/fhir/sid/icd-10",
        "I10C": "http://hl7.org/fhir/sid/icd-10-cm",
        "I10P": "http://www.cms.gov/Medicare/Coding/ICD10",
        "C4": "http://www.ama-assn.org/go/cpt",
        "CPT4": "http://www.ama-assn.org/go/cpt",
        "HCPCS": "http://www.cms.gov/Medicare/Coding/HCPCSReleaseCodeSets",
        "RXNORM": "http://www.nlm.nih.gov/research/umls/rxnorm",
        "NDC": "http://hl7.org/fhir/sid/ndc",
        "MDC": "urn:iso:std:iso:11073:10101",
        "MSH": "https://www.nlm.nih.gov/mesh",
        "HPC": "http://www.cms.gov/Medicare/Coding/HCPCSReleaseCodeSets",
        "I11": "http://id.who.int/icd/release/11/mms",
        "ICDO3": "http://terminology.hl7.org/CodeSystem/icd-o-3",
        "ISO3166_1": "urn:iso:std:iso:3166",
        "ISO639_1": "urn:iso:std:iso:639-1",
        "ISO639_2": "urn:iso:std:iso:639-2",
        "RFC3066": "urn:ietf:bcp:47",
        "RFC4646": "urn:ietf:bcp:47",
        "RFC5646": "urn:ietf:bcp:47",
        "DCMUID": "urn:oid:1.2.840.10008.2.6.1",
        "ACR": "urn:oid:2.16.840.1.113883.6.76",
        "ASTM-sigpurpose": "urn:oid:1.2.840.10065.1.12",
        "C5": "urn:oid:2.16.840.1.113883.6.82",
        "CD2": "urn:oid:2.16.840.1.113883.6.13",
        "DC": "urn:oid:1.2.840.10008.2.16.10",
        "FMA": "urn:oid:2.16.840.1.113883.6.119",
        "I9": "urn:oid:2.16.840.1.113883.6.42",
        "IBSI": "urn:oid:1.2.840.10008.2.16.13",
        "ITIS_TSN": "urn:oid:1.2.840.10008.2.16.7",
        "MA": "urn:oid:1.2.840.10008.2.16.5",
        "MAYOASRG": "urn:oid:1.2.840.10008.2.16.12",
        "MDNS": "urn:oid:2.16.840.1.113883.6.31",
        "MGI": "urn:oid:1.2.840.10008.2.16.8",
        "NEU": "urn:oid:2.16.840.1.113883.6.210",
        "NICIP": "urn:oid:2.16.840.1.113883.2.1.3.2.4.21",
        "NYUMCCG": "urn:oid:1.2.840.10008.2.16.11",
        "POS": "urn:oid:2.16.840.1.113883.6.50",
        "PUBCHEM_CID": "urn:oid:1.2.840.10008.2.16.9",
        "RADELEMENT": "urn:oid:1.2.840.10008.2.16.15",
        "RO": "urn:oid:1.2.840.10008.2.16.14",
        "RRID": "urn:oid:1.2.840.10008.2.16.18",
        "UBERON": "urn:oid:1.2.840.10008.2.16.6",
        "UNS": "urn:oid:1.2.840.10008.2.16.17",
        "UPC": "urn:oid:2.16.840.1.113883.6.55",
    }
)
"""
PS3.16 Table 8-1 and PS3.6 Table A-1, coding scheme designator -> URI of the code system in FHIR.

The URI of R4 *Terminologies* 4.3.0.1 where it has one, else the scheme's UID as an OID.
"""

UNVERSIONED_SCHEMES = frozenset({"SCT", "SRT", "SNM3", "99SDM"})
"""Schemes whose (0008,0103) is not a version in the sense of ``Coding.version`` (PS3.16 8.1)."""

PATIENT_IDENTIFIER_TYPES = frozenset(
    (
        "AN", "ANON", "BC", "BCT", "BRN", "CZ", "DI", "DL", "DS", "JHN", "LR", "MA", "MC", "MCD", "MCN", "MCR",
        "MI", "MR", "MRT", "NH", "NI", "PC", "PE", "PEN", "PI", "PN", "PPN", "PRC", "PT", "RI", "SB", "SP", "SR",
        "SS", "U", "VS", "WC", "WCN", "XX",
    )
)  # fmt: skip
"""HL7 v2 table 0203, the types of patient identifiers that (0040,0035) *Identifier Type Code* may hold."""

MEDICAL_RECORD_NUMBER = "MR"
ACCESSION_NUMBER = "ACSN"
PLACER_NUMBER = "PLAC"
FILLER_NUMBER = "FILL"
VISIT_NUMBER = "VN"
"""HL7 v2 table 0203."""

STUDY_INSTANCE_UID = MappingProxyType({"system": DCM, "code": "110180", "display": "Study Instance UID"})
"""PS3.16 Annex D; the type that HL7 Europe and the HL7 dicom-sr guide give the identifier of a study."""


def modality_system(modality: str) -> str | None:
    """Return the system of a modality's code; None if DICOM does not define the code."""
    return DCM if modality in MODALITIES else None
