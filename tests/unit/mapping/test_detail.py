"""DICOM_SYNC_DETAIL: acquisition parameters, contrast, body, images; from files and from DICOM JSON."""

import io
from typing import get_args

import pydicom
import pytest
from pydicom.dataset import Dataset

from sync.config import Detail, HeaderLimits, MappingSettings, includes
from sync.dicom.detail import within
from sync.dicom.header import parse_header, read_json
from sync.mapping import mii
from sync.mapping.bundle import build_bundle
from sync.mapping.imaging_study import build_study
from sync.model import LedgerRow, ObjectKey
from tests.reports import code
from tests.worlds import MemoryWorld, dicom

UCUM = "http://unitsofmeasure.org"
ENHANCED_CT, ENHANCED_MR = "1.2.840.10008.5.1.4.1.1.2.1", "1.2.840.10008.5.1.4.1.1.4.1"


def records_of(data, detail="full"):
    """Read a file with both readers; they say the same."""
    record = parse_header(data, size=len(data), limits=HeaderLimits(), detail=detail)
    told = read_json(pydicom.dcmread(io.BytesIO(data)).to_json_dict(), detail=detail)
    assert told.findings == record.findings
    assert told.attributes.keys() == record.attributes.keys()
    return record, told


def built(*files, detail="full", **settings):
    chosen = MappingSettings(detail=detail, **settings)
    made = []
    for which in (0, 1):
        rows = [
            LedgerRow(object_key=ObjectKey("a", str(n)), record=records_of(data, detail)[which], order="")
            for n, data in enumerate(files)
        ]
        made.append(build_study(rows[0].record.study, rows, chosen))
    by_file, by_json = made
    assert by_file == by_json
    return by_file


def series_of(*files, detail="acquisition", **settings):
    [series] = built(*files, detail=detail, **settings).imaging_study["series"]
    return series


def parameters(series, url):
    [extension] = [candidate for candidate in series.get("extension", ()) if candidate["url"] == url]
    return {
        inner["url"]: next(value for key, value in inner.items() if key != "url") for inner in extension["extension"]
    }


def quantity(value, unit, ucum):
    return {"value": value, "unit": unit, "system": UCUM, "code": ucum}


def test_a_ct_states_voltage_exposure_dose_and_kernel():
    file = dicom(
        KVP="80.50",
        ExposureTime="750",
        Exposure="45",
        XRayTubeCurrent="61",
        CTDIvol=7.25,
        ConvolutionKernel=["Br40", "d"],
    )
    assert parameters(series_of(file), mii.CT) == {
        "convolutionalKernel": "Br40\\d",
        "CTDIvol": quantity(7.25, "milligray", "mGy"),
        "KVP": quantity(80.5, "kilovolt", "kV"),
        "exposureTime": quantity(750, "milliseconds", "ms"),
        "exposure": quantity(45, "milliampere second", "mA.s"),
        "xRayTubeCurrent": quantity(61, "milliampere", "mA"),
    }


def test_micro_units_are_converted_exactly():
    file = dicom(
        Modality="DX", ExposureInuAs="1234", ExposureTimeInuS="10007.5", XRayTubeCurrentInuA="200300", KVP="125"
    )
    assert parameters(series_of(file), mii.RADIOGRAPHY) == {
        "KVP": quantity(125, "kilovolt", "kV"),
        "exposureTime": quantity(10.0075, "milliseconds", "ms"),
        "exposure": quantity(1.234, "milliampere second", "mA.s"),
        "xRayTubeCurrent": quantity(200.3, "milliampere", "mA"),
    }


@pytest.mark.parametrize(
    ("stated", "view"),
    [
        (
            {"ViewPosition": "MLO"},
            {
                "coding": [
                    {"system": "http://snomed.info/sct", "code": "399368009", "display": "medio-lateral oblique"}
                ],
                "text": "MLO",
            },
        ),
        ({"ViewPosition": "STAND"}, {"text": "STAND"}),
    ],
)
def test_a_view_is_coded_where_its_term_is_known(stated, view):
    assert parameters(series_of(dicom(Modality="MG", **stated)), mii.RADIOGRAPHY) == {"viewPosition": view}


def test_the_coded_view_wins():
    file = dicom(Modality="MG", ViewPosition="CC", ViewCodeSequence=[code("399260004", "SCT", "medial-lateral")])
    view = parameters(series_of(file), mii.RADIOGRAPHY)["viewPosition"]
    assert view["coding"][0]["code"] == "399260004"


def test_an_mr_states_field_sequence_and_timing():
    file = dicom(
        Modality="MR",
        MagneticFieldStrength="1.494",
        ScanningSequence=["GR", "IR"],
        SequenceVariant=["SK", "TOF"],
        EchoTime="2.13",
        RepetitionTime="8.1",
        InversionTime="950",
        FlipAngle="11",
    )
    [series] = built(file, detail="acquisition").imaging_study["series"]
    [extension] = series["extension"]
    names = [part["url"] for part in extension["extension"]]
    assert names.count("scanningSequence") == 2
    assert names.count("scanningSequenceVariant") == 1
    assert parameters(series, mii.MR)["echoTime"] == quantity(2.13, "milliseconds", "ms")
    assert parameters(series, mii.MR)["flipAngle"] == quantity(11, "plane angle degree", "deg")
    assert "value.undefined" in {finding.code for finding in built(file, detail="acquisition").findings}


def test_ultrasound_states_its_transducer():
    file = dicom(
        Modality="US",
        TransducerType="CURVED_LINEAR",
        TransducerFrequency=3500,
        PulseRepetitionFrequency=4400,
        UltrasoundColorDataPresent=1,
    )
    stated = parameters(series_of(file), mii.ULTRASOUND)
    assert stated["transducerType"]["coding"][0]["code"] == "CURVED_LINEAR"
    assert stated["transducerFrequency"] == quantity(3500, "kilohertz", "kHz")
    assert stated["pulseRepetitionFrequency"] == quantity(4400, "hertz", "Hz")
    assert stated["ultrasoundColor"] is True


def tracer(**more):
    given = Dataset()
    given.RadionuclideTotalDose, given.RadionuclideHalfLife = "213500000", "6586.2"
    given.RadionuclideCodeSequence = [code("C-111A1", "SRT", "^18^Fluorine")]
    given.RadiopharmaceuticalCodeSequence = [code("35321007", "SCT", "FDG")]
    for keyword, value in more.items():
        setattr(given, keyword, value)
    return given


def test_pet_states_tracer_dose_uptake_time_and_scale():
    file = dicom(
        Modality="PT",
        AcquisitionDate="20260102",
        AcquisitionTime="100130.5",
        SeriesType=["WHOLE BODY", "IMAGE"],
        Units="BQML",
        RadiopharmaceuticalInformationSequence=[tracer(RadiopharmaceuticalStartTime="090000")],
    )
    stated = parameters(series_of(file), mii.PET)
    assert stated["radiopharmaceutical"]["text"] == "FDG"
    assert {coding["code"] for coding in stated["radionuclide"]["coding"]} == {"C-111A1", "77004003"}
    assert stated["radionuclideTotalDose"] == quantity(213500000, "Becquerel", "Bq")
    assert stated["radionuclideHalfLife"] == quantity(6586.2, "Seconds", "s")
    assert stated["tracerExposureTime"] == quantity(3690.5, "Seconds", "s")
    assert stated["units"] == {"coding": [{"system": UCUM, "code": "Bq/ml"}], "text": "BQML"}
    assert stated["seriesType"]["coding"][0]["code"] == "IMAGE"


@pytest.mark.parametrize(
    ("given", "acquired", "seconds"),
    [
        ({"RadiopharmaceuticalStartTime": "2350"}, {"AcquisitionTime": "001000"}, 1200),
        (
            {"RadiopharmaceuticalStartDateTime": "20260101233000"},
            {"AcquisitionDate": "20260102", "AcquisitionTime": "003000"},
            3600,
        ),
        (
            {"RadiopharmaceuticalStartDateTime": "20260102100000+0100"},
            {"AcquisitionDateTime": "20260102110000+0100"},
            3600,
        ),
        ({"RadiopharmaceuticalStartDateTime": "20260102100000+0100"}, {"AcquisitionDateTime": "20260102110000"}, None),
        ({"RadiopharmaceuticalStartDateTime": "20260103"}, {"AcquisitionDateTime": "20260102110000"}, None),
        (
            {"RadiopharmaceuticalStartDateTime": "20260103090000"},
            {"AcquisitionDateTime": "20260102110000"},
            None,
        ),
        ({}, {"AcquisitionTime": "110000"}, None),
    ],
)
def test_the_time_since_administration_is_counted_or_left_out(given, acquired, seconds):
    file = dicom(Modality="PT", RadiopharmaceuticalInformationSequence=[tracer(**given)], **acquired)
    exposure = parameters(series_of(file), mii.PET).get("tracerExposureTime")
    assert exposure == (quantity(seconds, "Seconds", "s") if seconds is not None else None)


def test_nuclear_medicine_has_megabecquerels_and_energy_windows():
    window, limits = Dataset(), Dataset()
    limits.EnergyWindowLowerLimit, limits.EnergyWindowUpperLimit = "126.5", "154.5"
    window.EnergyWindowRangeSequence = [limits]
    file = dicom(
        Modality="NM",
        EnergyWindowInformationSequence=[window],
        RadiopharmaceuticalInformationSequence=[tracer(RadionuclideTotalDose="612")],
    )
    stated = parameters(series_of(file), mii.NUCLEAR_MEDICINE)
    assert stated["radionuclideTotalDose"] == quantity(612, "Megabecquerel", "MBq")
    assert stated["energyWindowMean"] == quantity(140.5, "kiloelectronvolt", "keV")


@pytest.mark.parametrize(("agent", "given"), [("Iomeprol 400", True), ("NONE", False), ("no", False)])
def test_contrast_is_stated_as_the_file_does(agent, given):
    stated = parameters(series_of(dicom(ContrastBolusAgent=agent)), mii.CONTRAST)
    assert stated["contrastBolus"] is given
    assert ("contrastBolusDetails" in stated) is given


def test_one_image_with_contrast_makes_it_a_series_with_contrast():
    agents = [code("109219006", "SCT", "Gadobutrol")]
    series = series_of(dicom(), dicom(sop="2.25.101", ContrastBolusAgentSequence=agents))
    assert parameters(series, mii.CONTRAST)["contrastBolusDetails"]["display"] == "Gadobutrol"


def test_without_a_word_about_contrast_nothing_is_said():
    assert "extension" not in series_of(dicom(ContrastBolusAgent=""))


def test_enhanced_images_state_it_in_what_all_frames_share():
    shared, exposure, details, measures = Dataset(), Dataset(), Dataset(), Dataset()
    exposure.ExposureTimeInms, exposure.XRayTubeCurrentInmA, exposure.ExposureInmAs = 500.5, 210.25, 105.0
    exposure.CTDIvol, details.KVP, measures.SliceThickness, measures.PixelSpacing = 3.5, "140", "0.6", ["0.5", "0.4"]
    shared.CTExposureSequence, shared.CTXRayDetailsSequence = [exposure], [details]
    shared.PixelMeasuresSequence = [measures]
    series = series_of(dicom(SOPClassUID=ENHANCED_CT, SharedFunctionalGroupsSequence=[shared]), detail="full")
    assert parameters(series, mii.CT) == {
        "CTDIvol": quantity(3.5, "milligray", "mGy"),
        "KVP": quantity(140, "kilovolt", "kV"),
        "exposureTime": quantity(500.5, "milliseconds", "ms"),
        "exposure": quantity(105, "milliampere second", "mA.s"),
        "xRayTubeCurrent": quantity(210.25, "milliampere", "mA"),
    }
    details = parameters(series["instance"][0], mii.INSTANCE_DETAILS)
    assert details["pixelSpacingX"]["value"] == 0.4
    assert details["pixelSpacingY"]["value"] == 0.5
    assert details["sliceThickness"]["value"] == 0.6


def test_the_value_of_most_images_counts_and_that_they_differ_is_no_finding():
    files = [dicom(sop=f"2.25.{n}", XRayTubeCurrent=current) for n, current in enumerate(("90", "80", "80", "70"))]
    study = built(*files, detail="acquisition")
    assert parameters(study.imaging_study["series"][0], mii.CT)["xRayTubeCurrent"]["value"] == 80
    assert "series.conflicting_values" not in {finding.code for finding in study.findings}


def test_a_value_that_is_no_number_is_a_finding():
    data = dicom(KVP="120").replace(b"120 ", b"1,2 ")
    record = parse_header(data, size=len(data), limits=HeaderLimits(), detail="acquisition")
    row = LedgerRow(object_key=ObjectKey("a", "1"), record=record, order="")
    study = build_study(record.study, [row], MappingSettings(detail="acquisition"))
    assert "extension" not in study.imaging_study["series"][0]
    assert ("KVP", "measurement.invalid") in {(finding.keyword, finding.code) for finding in study.findings}


def test_the_institution_is_the_custodian():
    [*_, performer] = series_of(dicom(InstitutionName="Klinik am See"))["performer"]
    assert performer["function"]["coding"][0]["code"] == "CST"
    assert performer["actor"] == {"type": "Organization", "display": "Klinik am See"}


def test_images_state_spacing_thickness_type_and_burned_in_text():
    file = dicom(
        PixelSpacing=["0.75", "0.5"],
        SliceThickness="1.25",
        ImageType=["DERIVED", "PRIMARY", "MPR", "X"],
        BurnedInAnnotation="NO",
    )
    [instance] = series_of(file, detail="full")["instance"]
    details = parameters(instance, mii.INSTANCE_DETAILS)
    assert (details["pixelSpacingX"]["value"], details["pixelSpacingY"]["value"]) == (0.5, 0.75)
    assert details["burnedInAnnotation"] is False
    assert details["imageType"]["text"] == "DERIVED\\PRIMARY\\MPR\\X"
    assert [coding["code"] for coding in details["imageType"]["coding"]] == ["DERIVED", "PRIMARY", "MPR"]


def body_of(*files, detail="body"):
    study = built(*files, detail=detail, timezone="Europe/Berlin")
    return study, {concept["code"]["coding"][0]["code"]: concept for concept in study.derived}


def test_height_and_weight_are_observations_that_the_study_names():
    study, observations = body_of(dicom(PatientSize="1.785", PatientWeight="81.4", StudyTime="0815"))
    assert observations["8302-2"]["valueQuantity"] == quantity(178.5, "cm", "cm")
    assert observations["29463-7"]["valueQuantity"] == quantity(81.4, "kg", "kg")
    assert {observation["effectiveDateTime"] for observation in observations.values()} == {"2026-01-02T08:15:00+01:00"}
    named = {
        extension["url"]: extension["valueReference"]["identifier"] for extension in study.imaging_study["extension"]
    }
    assert named[mii.HEIGHT] == observations["8302-2"]["identifier"][0]
    assert named[mii.WEIGHT] == observations["29463-7"]["identifier"][0]
    assert len({observation["id"] for observation in observations.values()}) == 2


@pytest.mark.parametrize("size", ["178", "0", "-1.7"])
def test_an_implausible_height_is_left_out_and_found(size):
    study, observations = body_of(dicom(PatientSize=size))
    assert observations == {}
    assert "body.implausible" in {finding.code for finding in study.findings}


def test_without_any_date_there_is_no_vital_sign():
    study, observations = body_of(dicom(PatientWeight="70", StudyDate=None))
    assert observations == {}
    assert "body.no_date" in {finding.code for finding in study.findings}
    _, observations = body_of(dicom(PatientWeight="70", StudyDate=None, SeriesDate="20250607"))
    assert observations["29463-7"]["effectiveDateTime"] == "2025-06-07"


EVERYTHING = {
    "KVP": "120",
    "PatientSize": "1.7",
    "PatientWeight": "70",
    "SliceThickness": "2",
    "ImageType": ["ORIGINAL", "PRIMARY"],
    "ContrastBolusAgent": "X",
    "CTDIvol": 5.5,
}


@pytest.mark.parametrize("detail", get_args(Detail))
def test_a_level_reads_and_writes_what_it_says_and_nothing_else(detail):
    file = dicom(**EVERYTHING)
    record, told = records_of(file, detail)
    everything = read_json(pydicom.dcmread(io.BytesIO(file)).to_json_dict(), detail="full")
    assert within(everything, detail) == told
    assert ("KVP" in record.attributes) == includes(detail, "acquisition")
    assert ("PatientSize" in record.attributes) == includes(detail, "body")
    assert ("ImageType" in record.attributes) == includes(detail, "full")


def test_what_is_known_already_is_not_written_at_a_lower_level():
    row = LedgerRow(object_key=ObjectKey("a", "1"), record=records_of(dicom(**EVERYTHING))[0], order="")
    study = build_study(row.record.study, [row], MappingSettings())
    plain = built(dicom(), detail="none")
    assert study.imaging_study == plain.imaging_study
    assert study.derived == ()


@pytest.mark.parametrize("detail", get_args(Detail))
def test_order_and_repeats_change_nothing(detail):
    files = [dicom(sop=f"2.25.{n}", **{**EVERYTHING, "KVP": str(100 + n % 2)}) for n in range(5)]
    rows = [
        LedgerRow(object_key=ObjectKey("a", str(n)), record=records_of(data, detail)[0], order="")
        for n, data in enumerate(files)
    ]
    settings = MappingSettings(detail=detail)
    bundles = [build_bundle(rows[0].record.study, some, settings) for some in (rows, rows[::-1], [*rows, *rows])]
    assert bundles[0] == bundles[1] == bundles[2]


async def test_body_measures_are_written_once_and_go_with_the_objects_that_state_them():
    world = MemoryWorld(detail="body")
    await world.arrive("a", dicom(PatientWeight="70.5"))
    await world.arrive("b", dicom(sop="2.25.101", PatientWeight="70.5", PatientSize="1.6"))
    assert sorted(observed(world)) == ["29463-7", "8302-2"]
    before = world.versions()
    await world.replay()
    assert world.versions() == before
    await world.go("b")
    assert observed(world) == ["29463-7"]
    assert [extension["url"] for extension in world.imaging_study()["extension"]] == [mii.WEIGHT]
    await world.go("a")
    assert observed(world) == []


async def test_a_study_whose_detail_is_switched_off_loses_it_and_keeps_what_others_wrote():
    world = MemoryWorld(detail="body")
    await world.arrive("a", dicom(PatientWeight="70.5", KVP="100"))
    foreign = {"url": "http://example.org/reviewed", "valueBoolean": True}
    world.edit("ImagingStudy", world.imaging_study()["id"], extension=[*world.imaging_study()["extension"], foreign])
    world.services = world.process(detail="none")
    await world.replay()
    assert observed(world) == []
    assert world.imaging_study()["extension"] == [foreign]
    assert "extension" not in world.imaging_study()["series"][0]


def observed(world):
    resources = [resource for resource in world.server.resources() if resource["resourceType"] == "Observation"]
    return [concept["code"]["coding"][0]["code"] for concept in resources]
