"""Region and side of enhanced multi-frame images: what all frames share, else what the frames say one by one."""

import io

import pydicom
import pytest
from pydicom.dataset import Dataset

from sync.config import HeaderLimits, MappingSettings
from sync.dicom.header import parse_header, read_json
from sync.dicom.header.record import NeedMore
from sync.mapping.imaging_study import build_study
from sync.model import LedgerRow, ObjectKey
from tests.reports import code
from tests.worlds import dicom

ENHANCED_MR, TOMOSYNTHESIS, PARAMETRIC_MAP, CT = (
    f"1.2.840.10008.5.1.4.1.1.{which}" for which in ("4.1", "13.1.3", "30", "2")
)


def image(sop_class=ENHANCED_MR, side="L", region="72696002", sop="2.25.100", **more):
    anatomy, shared = Dataset(), Dataset()
    anatomy.FrameLaterality, anatomy.AnatomicRegionSequence = side, [code(region, "SCT", "Knee")]
    shared.FrameAnatomySequence = [anatomy]
    return dicom(SOPClassUID=sop_class, SharedFunctionalGroupsSequence=[shared], sop=sop, Modality="MR", **more)


def series_of(*files):
    records = [parse_header(data, size=len(data), limits=HeaderLimits()) for data in files]
    rows = [LedgerRow(object_key=ObjectKey("a", str(n)), record=record, order="") for n, record in enumerate(records)]
    built = build_study(records[0].study, rows, MappingSettings())
    return built.imaging_study["series"][0], {finding.code for finding in built.findings}


@pytest.mark.parametrize("sop_class", [ENHANCED_MR, TOMOSYNTHESIS, PARAMETRIC_MAP])
def test_region_and_side_of_all_frames_are_those_of_the_series(sop_class):
    series, _ = series_of(image(sop_class))
    assert series["bodySite"]["code"] == "72696002"
    assert series["laterality"]["code"] == "7771000"


def test_what_the_image_itself_states_wins():
    series, _ = series_of(image(ImageLaterality="R", AnatomicRegionSequence=[code("69536005", "SCT", "Head")]))
    assert (series["bodySite"]["code"], series["laterality"]["code"]) == ("69536005", "24028007")


def test_images_that_differ_have_neither_and_a_finding():
    series, codes = series_of(image(), image(side="R", region="69536005", sop="2.25.101"))
    assert "bodySite" not in series
    assert "laterality" not in series
    assert {"laterality.differs", "series.conflicting_values"} <= codes


def test_other_classes_are_not_read_that_far():
    series, _ = series_of(image(CT))
    assert "bodySite" not in series


def test_bytes_that_end_before_the_groups_are_asked_for():
    data = image()
    for cut in range(400, len(data)):
        try:
            header = parse_header(data[:cut], size=len(data), limits=HeaderLimits())
        except Exception as problem:  # noqa: BLE001 -- whichever it is, it is shown
            pytest.fail(f"{cut}: {type(problem).__name__}")
        assert isinstance(header, NeedMore) or "SharedFunctionalGroupsSequence" in header.attributes, cut


def test_an_object_that_ends_within_the_groups_is_still_an_instance():
    data = image()
    cut = data[: data.index(b"FrameLat") if b"FrameLat" in data else len(data) - 20]
    record = parse_header(cut, size=len(cut), limits=HeaderLimits())
    assert "SharedFunctionalGroupsSequence" not in record.attributes


def frame(side="L", region="72696002", **more):
    anatomy, group = Dataset(), Dataset()
    anatomy.FrameLaterality, anatomy.AnatomicRegionSequence = side, [code(region, "SCT", "Somewhere")]
    group.FrameAnatomySequence = [anatomy]
    for keyword, value in more.items():
        setattr(group, keyword, value)
    return group


def position(number):
    plane = Dataset()
    plane.ImagePositionPatient = [0, 0, number]
    return [plane]


def frames_only(*frames, shared=(), sop="2.25.100"):
    return dicom(
        SOPClassUID=ENHANCED_MR,
        SharedFunctionalGroupsSequence=list(shared),
        PerFrameFunctionalGroupsSequence=list(frames),
        sop=sop,
        Modality="MR",
    )


def test_frames_that_agree_say_region_and_side():
    series, codes = series_of(frames_only(*(frame(PlanePositionSequence=position(n)) for n in range(300))))
    assert (series["bodySite"]["code"], series["laterality"]["code"]) == ("72696002", "7771000")
    assert "frames.not_read" not in codes


def test_many_frames_are_kept_as_the_different_ones_that_they_are():
    data = frames_only(*(frame(side, PlanePositionSequence=position(n)) for n in range(50) for side in "LR"))
    record = parse_header(data, size=len(data), limits=HeaderLimits())
    groups = record.attributes["PerFrameFunctionalGroupsSequence"]
    assert [group["FrameAnatomySequence"][0]["FrameLaterality"] for group in groups] == [["L"], ["R"]]


def test_frames_that_differ_have_neither_and_a_finding():
    series, codes = series_of(frames_only(frame("L"), frame("R", "69536005")))
    assert "bodySite" not in series
    assert "laterality" not in series
    assert {"laterality.differs", "series.conflicting_values"} <= codes


def test_what_all_frames_share_wins_and_frames_are_not_read_then():
    data = frames_only(frame("R"), shared=[frame("L")])
    record = parse_header(data, size=len(data), limits=HeaderLimits())
    assert "PerFrameFunctionalGroupsSequence" not in record.attributes
    series, _ = series_of(data)
    assert series["laterality"]["code"] == "7771000"


def test_frames_beyond_the_bounds_cost_the_groups_only_and_are_told():
    regions = [frame(region=str(10**15 + n), side="L") for n in range(1500)]
    series, codes = series_of(frames_only(*regions))
    assert "bodySite" not in series
    assert "frames.not_read" in codes


def test_a_file_that_ends_within_its_frames_is_told():
    data = frames_only(*(frame(PlanePositionSequence=position(n)) for n in range(20)))
    cut = data[: len(data) - 400]
    record = parse_header(cut, size=len(cut), limits=HeaderLimits())
    assert "frames.not_read" in {finding.code for finding in record.findings}


@pytest.mark.parametrize(
    "data",
    [
        frames_only(frame(), frame(PlanePositionSequence=position(1)), frame("R")),
        frames_only(frame("R"), shared=[frame("L")]),
        frames_only(Dataset(), frame(), shared=[Dataset()]),
        frames_only(*(frame(region=str(10**15 + n)) for n in range(1500))),
    ],
    ids=["frames", "shared", "empty ones", "too many"],
)
def test_both_readers_say_the_same_of_frames(data):
    told = read_json(pydicom.dcmread(io.BytesIO(data)).to_json_dict())
    file = parse_header(data, size=len(data), limits=HeaderLimits())
    assert told.attributes == file.attributes
    assert told.findings == file.findings


def test_both_readers_say_the_same():
    data = image()
    told = read_json(pydicom.dcmread(io.BytesIO(data)).to_json_dict())
    file = parse_header(data, size=len(data), limits=HeaderLimits())
    assert told.attributes["SharedFunctionalGroupsSequence"] == file.attributes["SharedFunctionalGroupsSequence"]
