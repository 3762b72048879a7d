"""Region and side of enhanced multi-frame images stand in what all frames share."""

import pytest
from pydicom.dataset import Dataset

from sync.config import HeaderLimits, MappingSettings
from sync.dicom.header import parse_header, read_json
from sync.dicom.header.record import NeedMore
from sync.mapping.imaging_study import build_study
from sync.model import LedgerRow, ObjectKey
from tests.reports import code
from tests.worlds import dicom

ENHANCED_MR, TOMOSYNTHESIS, CT = (f"1.2.840.10008.5.1.4.1.1.{which}" for which in ("4.1", "13.1.3", "2"))


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


@pytest.mark.parametrize("sop_class", [ENHANCED_MR, TOMOSYNTHESIS])
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
            found = parse_header(data[:cut], size=len(data), limits=HeaderLimits())
        except Exception as problem:  # noqa: BLE001 -- whichever it is, it is shown
            pytest.fail(f"{cut}: {type(problem).__name__}")
        assert isinstance(found, NeedMore) or "SharedFunctionalGroupsSequence" in found.attributes, cut


def test_an_object_that_ends_within_the_groups_is_still_an_instance():
    data = image()
    cut = data[: data.index(b"FrameLat") if b"FrameLat" in data else len(data) - 20]
    record = parse_header(cut, size=len(cut), limits=HeaderLimits())
    assert "SharedFunctionalGroupsSequence" not in record.attributes


def test_both_readers_say_the_same():
    import io

    import pydicom

    data = image()
    told = read_json(pydicom.dcmread(io.BytesIO(data)).to_json_dict())
    file = parse_header(data, size=len(data), limits=HeaderLimits())
    assert told.attributes["SharedFunctionalGroupsSequence"] == file.attributes["SharedFunctionalGroupsSequence"]
