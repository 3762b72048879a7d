"""What we may write passes the validator of a real server, also where no file at hand says so."""

from dataclasses import replace

from sync.config import HeaderLimits, MappingSettings
from sync.dicom.header import parse_header
from sync.mapping.bundle import build_bundle
from sync.mapping.ownership import DERIVED_ELEMENTS
from sync.mapping.terminology import CODING_SCHEMES, MODALITIES
from sync.model import LedgerRow, ObjectKey, ObjectRef
from tests import reports
from tests.e2e.files import errors
from tests.headers import CORPUS
from tests.mapping_rows import SETTINGS, STUDY, row
from tests.unit.mapping.test_table import BASE, MAPPING, OTHERS


def test_every_modality_and_unknown_ones_are_valid(hapi_world):
    modalities = sorted(MODALITIES | {"XR", "NOSUCH"})
    rows = [row(n, key=str(n), series=f"1.2.{n}", Modality=[modality]) for n, modality in enumerate(modalities, 1)]
    bundle, _ = build_bundle(STUDY, rows, SETTINGS)
    resources = [entry["resource"] for entry in bundle["entry"]]
    (study,) = [resource for resource in resources if resource["resourceType"] == "ImagingStudy"]
    assert {series["modality"]["code"] for series in study["series"]} == set(modalities)
    assert [errors(hapi_world.fhir, resource) for resource in resources] == [[] for _ in resources]


_KNOWN_CODES = {"ISO3166_1", "ISO639_1", "ISO639_2", "RFC3066", "RFC4646", "RFC5646"}
"""Schemes whose codes HAPI knows by itself: it refuses the made-up ones of this test, and rightly."""

CODES = [
    {"CodeValue": [value], "CodingSchemeDesignator": [scheme], "CodeMeaning": ["Something"]}
    for scheme in [*(scheme for scheme in CODING_SCHEMES if scheme not in _KNOWN_CODES), "99X"]
    for value in ("1", "T-D4000", "110180", "130001")
]


def test_every_element_that_the_mapping_writes_is_valid(hapi_world):
    request = {
        "AccessionNumber": ["A-1"],
        "PlacerOrderNumberImagingServiceRequest": ["P-1"],
        "FillerOrderNumberImagingServiceRequest": ["F-1"],
        "ReasonForRequestedProcedureCodeSequence": CODES,
    }
    everything = {**BASE, **OTHERS, "ProcedureCodeSequence": CODES, "RequestAttributesSequence": [request, {}]}
    people = {keyword: ["Eins^Eva=\u5bb6^\u540d", "Zwei^Zoe"] for keyword in everything if keyword.endswith("Name")}
    regions = [row(n, key=str(n), series=f"1.2.{n}", AnatomicRegionSequence=[code]) for n, code in enumerate(CODES, 2)]
    bundle, _ = build_bundle(STUDY, [row(1, **{**everything, **people}), *regions], MAPPING)
    resources = [entry["resource"] for entry in bundle["entry"]]
    assert [resource["resourceType"] for resource in resources] == ["Patient", "Device", "ImagingStudy"]
    assert [errors(hapi_world.fhir, resource) for resource in resources] == [[] for _ in resources]


def test_what_reports_make_is_valid(hapi_world):
    files = [
        make(sop=f"2.25.{number}")
        for number, make in enumerate(
            (
                reports.ct_dose,
                reports.projection_dose,
                reports.nuclear_dose,
                reports.measurements,
                reports.text_report,
                reports.replacing_report,
                lambda **uids: reports.report(reports.PDF, None, DocumentTitle="Knee", **uids),
            ),
            800,
        )
    ]
    files += [path.read_bytes() for folder in REPORT_FOLDERS for path in sorted(CORPUS.glob(folder))]
    made = [resource for data in files for resource in derived_of(data)]
    assert {resource["resourceType"] for resource in made} == {"Observation", "DiagnosticReport", "DocumentReference"}
    faults = {resource["id"]: problem_list for resource in made if (problem_list := errors(hapi_world.fhir, resource))}
    assert faults == {}


def test_every_level_of_detail_and_every_address_is_valid(hapi_world):
    code = {"CodeValue": ["35321007"], "CodingSchemeDesignator": ["SCT"], "CodeMeaning": ["FDG"]}
    tracer = {
        "RadiopharmaceuticalCodeSequence": [code],
        "RadionuclideCodeSequence": [{"CodeValue": ["C-111A1"], "CodingSchemeDesignator": ["SRT"]}],
        "RadionuclideTotalDose": ["213500000"],
        "RadionuclideHalfLife": ["6586.2"],
        "RadiopharmaceuticalStartTime": ["0900"],
    }
    numbers = ("KVP", "ExposureTime", "Exposure", "XRayTubeCurrent", "CTDIvol", "MagneticFieldStrength", "EchoTime")
    numbers += ("RepetitionTime", "InversionTime", "FlipAngle", "TransducerFrequency", "PulseRepetitionFrequency")
    stated = {
        **{keyword: ["7.5"] for keyword in (*numbers, "SliceThickness")},
        "AcquisitionTime": ["1000"],
        "BurnedInAnnotation": ["NO"],
        "ContrastBolusAgent": ["Iomeprol"],
        "ConvolutionKernel": ["Br40", "3"],
        "EnergyWindowInformationSequence": [
            {"EnergyWindowRangeSequence": [{"EnergyWindowLowerLimit": ["126"], "EnergyWindowUpperLimit": ["154"]}]}
        ],
        "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"],
        "InstitutionName": ["Klinik"],
        "NumberOfFrames": ["3"],
        "PatientSize": ["1.785"],
        "PatientWeight": ["81.4"],
        "PixelSpacing": ["0.7", "0.6"],
        "RadiopharmaceuticalInformationSequence": [tracer],
        "ScanningSequence": ["GR"],
        "SequenceVariant": ["SP", "SK"],
        "SeriesType": ["DYNAMIC", "IMAGE"],
        "TransducerType": ["LINEAR"],
        "UltrasoundColorDataPresent": [1],
        "Units": ["BQML"],
        "ViewPosition": ["MLO"],
    }
    source = ObjectRef(account="images", container="dicom", name="a b/1.dcm")
    rows = [
        replace(row(n, key=str(n), series=f"1.2.{n}", Modality=[modality], **stated), source=source)
        for n, modality in enumerate(("CT", "MR", "MG", "US", "PT", "NM"), 1)
    ]
    everything = MappingSettings(detail="full", blob_url="https://images.blob.core.windows.net", blob_names=True)
    bundle, _ = build_bundle(STUDY, rows, everything)
    resources = [entry["resource"] for entry in bundle["entry"]]
    kinds = [resource["resourceType"] for resource in resources]
    assert kinds == ["Patient", "Endpoint", "ImagingStudy", "Observation", "Observation"]
    assert [errors(hapi_world.fhir, resource) for resource in resources] == [[] for _ in resources]


REPORT_FOLDERS = ("PySkinDose/*", "highdicom/sr_*", "pydicom/test_files/reportsi.dcm", "pydicom/test_files/test-SR.dcm")
"""More reports, where the corpus is at hand."""


def derived_of(data):
    record = parse_header(data, size=len(data), limits=HeaderLimits())
    bundle, _ = build_bundle(
        record.study, [LedgerRow(object_key=ObjectKey("a", "b"), record=record, order="")], WITH_VIEWER
    )
    resources = [entry["resource"] for entry in bundle["entry"]]
    return [resource for resource in resources if resource["resourceType"] in DERIVED_ELEMENTS]


WITH_VIEWER = MappingSettings(timezone="Europe/Berlin", dicomweb_url="https://pacs.example/dicom-web")
