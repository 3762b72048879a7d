"""
The mapping as a table: every attribute that is read, where in FHIR it goes, and by which rule.

docs/mapping.md is made from it. Tests keep it true: each row of `sync.dicom.attributes.EXTRACTED` has exactly one
here, and an attribute that is changed in a study changes what its row names in the resources, and nothing else.
"""

from __future__ import annotations

from typing import NamedTuple


class Row(NamedTuple):
    """One attribute by its keyword, the FHIR elements that it decides, and how."""

    keyword: str
    fhir: tuple[str, ...]
    rule: str


class Macro(NamedTuple):
    """Attributes of the items of some sequences, and what the items become."""

    title: str
    sequences: tuple[str, ...]
    rows: tuple[Row, ...]


_PATIENT_IDENTIFIER = ("Patient.identifier", "Patient.id", "ImagingStudy.subject")

PATIENT = (
    Row("PatientID", _PATIENT_IDENTIFIER, "`identifier[0].value`, `use` usual; with its system it is the identity"),
    Row("IssuerOfPatientID", _PATIENT_IDENTIFIER, "`system` by `DICOM_SYNC_ISSUERS`, else derived; `assigner`"),
    Row("IssuerOfPatientIDQualifiersSequence", _PATIENT_IDENTIFIER, "its universal id is the `system`, see *Issuers*"),
    Row("TypeOfPatientID", (), "not mapped for the patient's own id; see *Patient IDs*"),
    Row("OtherPatientIDsSequence", ("Patient.identifier",), "`use` secondary, each (system, value) once"),
    Row(
        "PatientName",
        ("Patient.name", "ImagingStudy.subject.display"),
        "a HumanName for each group that is not empty; the extension EN-representation (ABC, IDE, SYL) unless there "
        "is an alphabetic group only; given and middle names split at blanks",
    ),
    Row("OtherPatientNames", ("Patient.name",), "only with `DICOM_SYNC_PATIENT_OTHER_NAMES`; no `use`"),
    Row("PatientBirthName", ("Patient.name",), "only with `DICOM_SYNC_PATIENT_OTHER_NAMES`; `use` maiden"),
    Row("PatientSex", ("Patient.gender",), "M, F, O; anything else `unknown`; absent stays absent"),
    Row("PatientBirthDate", ("Patient.birthDate", "Patient._birthDate"), "partial dates stay partial"),
    Row("PatientBirthTime", ("Patient._birthDate",), "extension patient-birthTime, only with an offset: see *Times*"),
    Row(
        "PersonNamesToUseSequence",
        ("Patient.name",),
        "`text`, `use` usual; Patient's Name is then `official`",
    ),
    Row("GenderIdentitySequence", ("Patient.extension",), "patient-genderIdentity, beside and never for `gender`"),
    Row("ThirdPersonPronounsSequence", ("Patient.extension",), "individual-pronouns"),
    Row("PatientSpeciesCodeSequence", ("Patient.extension",), "patient-animal, only with `DICOM_SYNC_PATIENT_SPECIES`"),
    Row("PatientSpeciesDescription", ("Patient.extension",), "without a code, its text"),
    Row("PatientBreedCodeSequence", ("Patient.extension",), "breed of patient-animal"),
    Row("PatientBreedDescription", ("Patient.extension",), "without a code, its text"),
    Row("PatientSexNeutered", ("Patient.extension",), "gender status of patient-animal: neutered, intact"),
    Row("ResponsiblePerson", ("Patient.contact",), "only with `DICOM_SYNC_PATIENT_RESPONSIBLE_PERSON`"),
    Row("ResponsiblePersonRole", ("Patient.contact",), "`relationship`, as text"),
    Row("ResponsibleOrganization", ("Patient.contact",), "`organization`, by display"),
    Row("PatientIdentityRemoved", ("Patient.meta.security",), "YES: `PSEUDED` with a Patient ID, `ANONYED` without"),
)
"""PS3.3 C.7.1.1; R4 *Patient*."""

STUDY = (
    Row(
        "StudyInstanceUID",
        ("ImagingStudy.id", "ImagingStudy.identifier"),
        "`urn:dicom:uid`, `urn:oid:` + UID, type DCM 110180; never repaired",
    ),
    Row(
        "AccessionNumber",
        ("ImagingStudy.identifier", "ImagingStudy.basedOn"),
        "type `ACSN`; a logical reference too, so that a later ServiceRequest is found",
    ),
    Row(
        "IssuerOfAccessionNumberSequence",
        ("ImagingStudy.identifier", "ImagingStudy.basedOn"),
        "see *Issuers*; without any issuer, `DICOM_SYNC_ACCESSION_SYSTEM`",
    ),
    Row("StudyID", ("ImagingStudy.identifier",), "only with `DICOM_SYNC_STUDY_ID_SYSTEM`"),
    Row("StudyDate", ("ImagingStudy.started",), "no date, no `started`"),
    Row("StudyTime", ("ImagingStudy.started",), "see *Times*"),
    Row(
        "TimezoneOffsetFromUTC",
        ("ImagingStudy.started", "ImagingStudy.series.started", "Patient._birthDate"),
        "`+0100`, `+01:00`, `UTC+01:00`; see *Times*",
    ),
    Row("RequestAttributesSequence", ("ImagingStudy.basedOn", "ImagingStudy.reasonCode"), "see *Requests*"),
    Row("ReferencedRequestSequence", ("ImagingStudy.basedOn", "ImagingStudy.reasonCode"), "see *Requests*"),
    Row("ReferringPhysicianName", ("ImagingStudy.referrer",), "logical reference, display only"),
    Row("ReferringPhysicianIdentificationSequence", ("ImagingStudy.referrer",), "its identifier, see *People*"),
    Row("NameOfPhysiciansReadingStudy", ("ImagingStudy.interpreter",), "logical references, display only"),
    Row(
        "PhysiciansReadingStudyIdentificationSequence", ("ImagingStudy.interpreter",), "their identifiers, see *People*"
    ),
    Row("AdmissionID", ("ImagingStudy.encounter",), "logical reference, type `VN`"),
    Row(
        "IssuerOfAdmissionIDSequence",
        ("ImagingStudy.encounter",),
        "see *Issuers*; without any issuer, `DICOM_SYNC_ADMISSION_SYSTEM`",
    ),
    Row("ProcedureCodeSequence", ("ImagingStudy.procedureCode",), "see *Codes*"),
    Row(
        "RequestedProcedureCodeSequence",
        ("ImagingStudy.procedureCode",),
        "only for an accession number whose performed procedure no series states",
    ),
    Row("ReasonForPerformedProcedureCodeSequence", ("ImagingStudy.reasonCode",), "each once over all instances"),
    Row("PerformedLocation", ("ImagingStudy.location",), "display only; the first of this, department, institution"),
    Row("InstitutionalDepartmentName", ("ImagingStudy.location",), "display only"),
    Row("InstitutionName", ("ImagingStudy.location",), "display only"),
    Row("StudyDescription", ("ImagingStudy.description",), "never `note`"),
    Row("CodingSchemeIdentificationSequence", ("ImagingStudy.procedureCode",), "systems of codes, see *Codes*"),
)
"""PS3.3 C.7.2.1, C.7.2.2, C.17; R4 *ImagingStudy*, mapping ``dicom``."""

SERIES = (
    Row("SeriesInstanceUID", ("ImagingStudy.series.uid",), "bare"),
    Row("SeriesNumber", ("ImagingStudy.series.number",), "`1.0` and `1E1` are numbers; there is no default"),
    Row(
        "Modality",
        ("ImagingStudy.series.modality", "ImagingStudy.modality"),
        "`OT` when missing; on the study PS3.16 CID 29 only, as R4 wants: a CT with reports is `CT`. Codes that "
        "DICOM does not define have no system",
    ),
    Row("SeriesDescription", ("ImagingStudy.series.description",), ""),
    Row("SeriesDate", ("ImagingStudy.series.started",), "the earliest of its instances"),
    Row("SeriesTime", ("ImagingStudy.series.started",), "see *Times*"),
    Row("AnatomicRegionSequence", ("ImagingStudy.series.bodySite",), "the coding in SNOMED CT, if it has one"),
    Row(
        "BodyPartExamined",
        ("ImagingStudy.series.bodySite",),
        "without coded region: SNOMED CT by PS3.16 Annex L, in capitals or not; other texts as display",
    ),
    Row("Laterality", ("ImagingStudy.series.laterality",), "PS3.16 CID 244"),
    Row("ImageLaterality", ("ImagingStudy.series.laterality",), "without the former, if all images agree"),
    Row("PerformingPhysicianName", ("ImagingStudy.series.performer",), "function `PRF`, logical reference"),
    Row("PerformingPhysicianIdentificationSequence", ("ImagingStudy.series.performer",), "see *People*"),
    Row("OperatorsName", ("ImagingStudy.series.performer",), "function `SPRF`, logical reference"),
    Row("OperatorIdentificationSequence", ("ImagingStudy.series.performer",), "see *People*"),
    Row("DeviceUID", ("Device", "ImagingStudy.series.performer"), "`Device.identifier`, `urn:dicom:uid`; see *Device*"),
    Row("Manufacturer", ("Device", "ImagingStudy.series.performer"), "`Device.manufacturer`"),
    Row("ManufacturerModelName", ("Device", "ImagingStudy.series.performer"), "`Device.deviceName`, `model-name`"),
    Row("DeviceSerialNumber", ("Device", "ImagingStudy.series.performer"), "`Device.serialNumber`"),
    Row("UDISequence", ("Device", "ImagingStudy.series.performer"), "`Device.udiCarrier`, see *Device*"),
    Row("SoftwareVersions", ("ImagingStudy.series.performer",), "in the display of the equipment only: they change"),
    Row(
        "StationName", ("ImagingStudy.series.performer",), "in the display of the equipment only: stations are renamed"
    ),
    Row("SpecimenDescriptionSequence", ("ImagingStudy.series.specimen",), "see *Specimens*"),
    Row("ContainerIdentifier", ("ImagingStudy.series.specimen",), "a separate reference, type *Container Identifier*"),
    Row("IssuerOfTheContainerIdentifierSequence", ("ImagingStudy.series.specimen",), "see *Issuers*"),
)
"""PS3.3 C.7.3.1, C.7.5.1, C.7.6.22; R4 *ImagingStudy.series*."""

INSTANCE = (
    Row("SOPInstanceUID", ("ImagingStudy.series.instance.uid",), "bare"),
    Row(
        "SOPClassUID",
        ("ImagingStudy.series.instance.sopClass",),
        "`urn:ietf:rfc:3986`, `urn:oid:` + UID; absent: data-absent-reason",
    ),
    Row("InstanceNumber", ("ImagingStudy.series.instance.number",), "as the series number"),
    Row(
        "NumberOfFrames", ("ImagingStudy.series.instance.extension",), "extension NumberOfFrames of HL7 Europe Imaging"
    ),
    Row("DocumentTitle", ("ImagingStudy.series.instance.title",), "the first of this and the next two"),
    Row("ConceptNameCodeSequence", ("ImagingStudy.series.instance.title",), "its meaning"),
    Row("ContentLabel", ("ImagingStudy.series.instance.title",), ""),
)
"""PS3.3 C.12.1, C.17.3, C.24.2; R4 *ImagingStudy.series.instance*."""

_CODE = (
    Row("CodeValue", ("coding.code",), "the first of this and the next two"),
    Row("LongCodeValue", ("coding.code",), ""),
    Row("URNCodeValue", ("coding.code",), "with system `urn:ietf:rfc:3986`, if it is an absolute URI"),
    Row("CodingSchemeDesignator", ("coding.system",), "never the designator itself"),
    Row("CodingSchemeVersion", ("coding.version",), "not of SNOMED: it does not say an edition"),
    Row("CodeMeaning", ("coding.display", "text"), ""),
    Row("EquivalentCodeSequence", ("coding",), "further codings of the same concept"),
)
_DESIGNATOR = (
    Row("LocalNamespaceEntityID", ("system", "assigner.display"), "by `DICOM_SYNC_ISSUERS`, else derived"),
    Row("UniversalEntityID", ("system",), "ISO: `urn:oid:`, UUID: `urn:uuid:`, URI: unchanged"),
    Row("UniversalEntityIDType", ("system",), "of which kind the former is"),
    Row("IdentifierTypeCode", ("type",), "if HL7 table 0203 has it for patients, else `MR`"),
)

MACROS = (
    Macro(
        "Codes",
        (
            "AnatomicRegionSequence",
            "ConceptNameCodeSequence",
            "EquivalentCodeSequence",
            "GenderIdentityCodeSequence",
            "PatientBreedCodeSequence",
            "PatientSpeciesCodeSequence",
            "PersonIdentificationCodeSequence",
            "ProcedureCodeSequence",
            "PronounCodeSequence",
            "ReasonForPerformedProcedureCodeSequence",
            "ReasonForRequestedProcedureCodeSequence",
            "RequestedProcedureCodeSequence",
        ),
        _CODE,
    ),
    Macro(
        "Coding schemes",
        ("CodingSchemeIdentificationSequence",),
        (
            Row("CodingSchemeDesignator", ("coding.system",), "for designators that no standard or setting knows"),
            Row("CodingSchemeUID", ("coding.system",), "`urn:oid:` + UID; a designator declared twice is not believed"),
            Row("CodingSchemeVersion", (), "not mapped: codes state their own version"),
        ),
    ),
    Macro(
        "Issuers",
        (
            "IssuerOfAccessionNumberSequence",
            "IssuerOfAdmissionIDSequence",
            "IssuerOfPatientIDQualifiersSequence",
            "IssuerOfTheContainerIdentifierSequence",
            "IssuerOfTheSpecimenIdentifierSequence",
            "OrderFillerIdentifierSequence",
            "OrderPlacerIdentifierSequence",
        ),
        _DESIGNATOR,
    ),
    Macro(
        "Patient IDs",
        ("OtherPatientIDsSequence",),
        (
            Row("PatientID", ("identifier.value",), ""),
            Row("IssuerOfPatientID", ("identifier.system",), "as for the patient's own id"),
            Row("IssuerOfPatientIDQualifiersSequence", ("identifier.system", "identifier.type"), "see *Issuers*"),
            Row("TypeOfPatientID", (), "`RFID` and `BARCODE` are left out: labels on a wrist band"),
        ),
    ),
    Macro(
        "People",
        (
            "OperatorIdentificationSequence",
            "PerformingPhysicianIdentificationSequence",
            "PhysiciansReadingStudyIdentificationSequence",
            "ReferringPhysicianIdentificationSequence",
        ),
        (
            Row(
                "PersonIdentificationCodeSequence", ("identifier",), "`value` is the code, `system` that of its scheme"
            ),
            Row(
                "InstitutionName",
                ("identifier.assigner.display",),
                "the institution that knows the person by this code",
            ),
        ),
    ),
    Macro(
        "Requests",
        ("ReferencedRequestSequence", "RequestAttributesSequence"),
        (
            Row("AccessionNumber", ("basedOn.identifier",), "type `ACSN`"),
            Row("IssuerOfAccessionNumberSequence", ("basedOn.identifier.system",), "see *Issuers*"),
            Row("PlacerOrderNumberImagingServiceRequest", ("basedOn.identifier",), "type `PLAC`"),
            Row(
                "OrderPlacerIdentifierSequence",
                ("basedOn.identifier.system",),
                "see *Issuers*; without any issuer, `DICOM_SYNC_PLACER_SYSTEM`",
            ),
            Row("FillerOrderNumberImagingServiceRequest", ("basedOn.identifier",), "type `FILL`"),
            Row(
                "OrderFillerIdentifierSequence",
                ("basedOn.identifier.system",),
                "see *Issuers*; without any issuer, `DICOM_SYNC_FILLER_SYSTEM`",
            ),
            Row(
                "RequestedProcedureCodeSequence",
                ("procedureCode",),
                "for an accession number whose performed procedure no series states",
            ),
            Row("RequestedProcedureID", ("basedOn.identifier",), "if the request has none of the three numbers"),
            Row(
                "ReasonForTheRequestedProcedure",
                ("reasonCode.text",),
                "text of the code beside it, if there is exactly one, else a separate reason",
            ),
            Row("ReasonForRequestedProcedureCodeSequence", ("reasonCode",), "see *Codes*; each once"),
        ),
    ),
    Macro(
        "Names to use",
        ("PersonNamesToUseSequence",),
        (Row("NameToUse", ("name.text",), "free text, never split"),),
    ),
    Macro(
        "Gender identity",
        ("GenderIdentitySequence",),
        (
            Row("GenderIdentityCodeSequence", ("extension",), "see *Codes*"),
            Row("GenderIdentityComment", ("extension",), "the text of an item without a code"),
        ),
    ),
    Macro(
        "Pronouns",
        ("ThirdPersonPronounsSequence",),
        (
            Row("PronounCodeSequence", ("extension",), "see *Codes*"),
            Row("PronounComment", ("extension",), "the text of an item without a code"),
        ),
    ),
    Macro(
        "Unique device identifiers",
        ("UDISequence",),
        (Row("UniqueDeviceIdentifier", ("udiCarrier.carrierHRF",), "of the first item; of GS1 the GTIN too"),),
    ),
    Macro(
        "Specimens",
        ("SpecimenDescriptionSequence",),
        (
            Row("SpecimenIdentifier", ("specimen.identifier", "specimen.display"), "identifies if its issuer is named"),
            Row("IssuerOfTheSpecimenIdentifierSequence", ("specimen.identifier.system",), "see *Issuers*"),
            Row(
                "SpecimenUID",
                ("specimen.identifier",),
                "the identifier if (0040,0551) has no issuer; `urn:dicom:uid`",
            ),
        ),
    ),
)
"""Items of sequences, PS3.3 8.8, 10; paths are relative to what the sequence becomes."""

_ISSUED = ("DiagnosticReport.issued", "DocumentReference.date", "Observation.issued")
_STATUS = ("DiagnosticReport.status", "DocumentReference.docStatus", "Observation.status")

DOCUMENT = (
    Row("ContentDate", _ISSUED, "with the time: they are instants"),
    Row("ContentTime", _ISSUED, "see *Times*; without an offset they are left out"),
    Row("CompletionFlag", _STATUS, "PARTIAL: `partial`, of Observations and documents `preliminary`"),
    Row("VerificationFlag", _STATUS, "VERIFIED: `final`; UNVERIFIED: `preliminary`; without any flag `unknown`"),
    Row("PreliminaryFlag", _STATUS, "PRELIMINARY: `preliminary`; FINAL: `final`"),
    Row(
        "PredecessorDocumentsSequence",
        ("DocumentReference.relatesTo", *_STATUS),
        "`replaces`, by SOP Instance UID; a `final` document becomes `amended`",
    ),
    Row(
        "VerifyingObserverSequence",
        ("DiagnosticReport.resultsInterpreter",),
        "names by display, identification codes as identifiers",
    ),
    Row(
        "ContentSequence",
        ("Observation", "DiagnosticReport.text", "DiagnosticReport.conclusion", "DiagnosticReport.conclusionCode"),
        "see below",
    ),
)
"""Beside the above, of reports and encapsulated documents only (PS3.3 C.17.2, C.17.3, C.24.2)."""

CONTENT_ITEM = (
    Row("ConceptNameCodeSequence", ("code", "component.code"), "the name of the item; see *Codes*"),
    Row("ConceptCodeSequence", ("valueCodeableConcept",), "see *Codes*"),
    Row("MeasuredValueSequence", ("valueQuantity",), "without a value, or with none that is a number: left out"),
    Row("NumericValueQualifierCodeSequence", (), "not mapped: the reason why there is no number"),
    Row("TextValue", ("valueString", "DiagnosticReport.text"), "escaped"),
    Row("DateTime", ("effectiveDateTime", "valueString"), "start of irradiation or administration; see *Times*"),
    Row("Date", ("valueString",), "unchanged"),
    Row("Time", ("valueString",), "unchanged"),
    Row("PersonName", ("performer.display",), "observers, and the person who authorized an irradiation"),
    Row("UID", ("identifier", "device.identifier"), "tracking and device UIDs"),
    Row("ObservationUID", ("identifier",), "`urn:dicom:uid`"),
    Row("ObservationDateTime", ("issued",), "takes precedence over the date of the document"),
    Row("ReferencedSOPSequence", (), "not mapped: R4 has no element for the image of a measurement"),
    Row("ValueType", (), "decides which of these attributes the item has"),
    Row("RelationshipType", (), "distinguishes results from context and modifiers"),
    Row("ContentSequence", ("hasMember", "component"), "items of items"),
)
"""Items of (0040,A730) Content Sequence, to any depth (PS3.3 C.17.3); paths are relative to the Observation."""

_SERIES_EXTENSION = ("ImagingStudy.series.extension",)
_IMAGE_EXTENSION = ("ImagingStudy.series.instance.extension",)

DETAIL = {
    "acquisition": (
        Row("KVP", _SERIES_EXTENSION, "CT, MG/CR/DX: `KVP` in kV"),
        Row("CTDIvol", _SERIES_EXTENSION, "CT: in mGy"),
        Row("ExposureTime", _SERIES_EXTENSION, "CT, MG/CR/DX: in ms"),
        Row("ExposureTimeInuS", _SERIES_EXTENSION, "without the former, converted"),
        Row("Exposure", _SERIES_EXTENSION, "CT, MG/CR/DX: in mA.s"),
        Row("ExposureInuAs", _SERIES_EXTENSION, "without the former, converted"),
        Row("XRayTubeCurrent", _SERIES_EXTENSION, "CT, MG/CR/DX: in mA"),
        Row("XRayTubeCurrentInuA", _SERIES_EXTENSION, "without the former, converted"),
        Row("ConvolutionKernel", _SERIES_EXTENSION, "CT: `convolutionalKernel`, all values"),
        Row("ViewCodeSequence", _SERIES_EXTENSION, "MG/CR/DX: `viewPosition`; see *Codes*"),
        Row("ViewPosition", _SERIES_EXTENSION, "without the former; in SNOMED CT by PS3.16 CID 4010 and 4014"),
        Row("MagneticFieldStrength", _SERIES_EXTENSION, "MR: in T"),
        Row("ScanningSequence", _SERIES_EXTENSION, "MR: a part for each value"),
        Row("SequenceVariant", _SERIES_EXTENSION, "MR: `scanningSequenceVariant`, a part for each value"),
        Row("EchoTime", _SERIES_EXTENSION, "MR: in ms"),
        Row("RepetitionTime", _SERIES_EXTENSION, "MR: in ms"),
        Row("InversionTime", _SERIES_EXTENSION, "MR: in ms"),
        Row("FlipAngle", _SERIES_EXTENSION, "MR: in degrees"),
        Row("TransducerType", _SERIES_EXTENSION, "US"),
        Row("TransducerFrequency", _SERIES_EXTENSION, "US: in kHz"),
        Row("PulseRepetitionFrequency", _SERIES_EXTENSION, "US: in Hz"),
        Row("UltrasoundColorDataPresent", _SERIES_EXTENSION, "US: whether any image has colour"),
        Row("RadiopharmaceuticalInformationSequence", _SERIES_EXTENSION, "PT, NM: its first item, the next seven"),
        Row("RadiopharmaceuticalCodeSequence", _SERIES_EXTENSION, "`radiopharmaceutical`; see *Codes*"),
        Row("Radiopharmaceutical", _SERIES_EXTENSION, "without the former, as text"),
        Row("RadionuclideCodeSequence", _SERIES_EXTENSION, "`radionuclide`; see *Codes*"),
        Row("RadionuclideTotalDose", _SERIES_EXTENSION, "PT in Bq, NM in MBq, as DICOM has them"),
        Row("RadionuclideHalfLife", _SERIES_EXTENSION, "in s"),
        Row("RadiopharmaceuticalStartDateTime", _SERIES_EXTENSION, "`tracerExposureTime`: s to the first acquisition"),
        Row("RadiopharmaceuticalStartTime", _SERIES_EXTENSION, "without the former: to the next such time of day"),
        Row("AcquisitionDateTime", _SERIES_EXTENSION, "end of `tracerExposureTime`"),
        Row("AcquisitionDate", _SERIES_EXTENSION, "without the former"),
        Row("AcquisitionTime", _SERIES_EXTENSION, "without the former"),
        Row("Units", _SERIES_EXTENSION, "PT, NM: `units`, in UCUM by PS3.16 CID 84"),
        Row("RescaleType", _SERIES_EXTENSION, "without the former"),
        Row("SeriesType", _SERIES_EXTENSION, "PT: a part for each value"),
        Row("EnergyWindowInformationSequence", _SERIES_EXTENSION, "NM: `energyWindowMean` of each, in keV"),
        Row("EnergyWindowRangeSequence", _SERIES_EXTENSION, "its first item"),
        Row("EnergyWindowLowerLimit", _SERIES_EXTENSION, "the mean is half-way"),
        Row("EnergyWindowUpperLimit", _SERIES_EXTENSION, "to this"),
        Row(
            "ContrastBolusAgent",
            _SERIES_EXTENSION,
            "`kontrastmittel`: true with an agent, false with `NONE` and the like",
        ),
        Row("ContrastBolusAgentSequence", _SERIES_EXTENSION, "true; agents by display; see *Codes*"),
        Row("SliceThickness", _SERIES_EXTENSION, "`serie-schichtdicke`, in mm"),
    ),
    "body": (
        Row("PatientSize", ("Observation", "ImagingStudy.extension"), "LOINC 8302-2, in cm; up to 3 m"),
        Row("PatientWeight", ("Observation", "ImagingStudy.extension"), "LOINC 29463-7, in kg; up to 700 kg"),
    ),
    "full": (
        Row("PixelSpacing", _IMAGE_EXTENSION, "`pixelSpacingY`, then `pixelSpacingX`, in mm"),
        Row("ImageType", _IMAGE_EXTENSION, "`imageType`: text, and codes where the code system has them"),
        Row("BurnedInAnnotation", _IMAGE_EXTENSION, "YES, NO"),
    ),
}
"""Beside all the above, by DICOM_SYNC_DETAIL; each level includes those before it."""
