"""What the service dropped is read from the instance itself, as a setting says; what cannot be had is a finding."""

from __future__ import annotations

import pytest

from sync.dicom.dropped import lacking
from sync.dicom.inspect import inspect_object
from sync.dicom.instance_names import instance_ref
from sync.errors import SourceUnavailable
from sync.model import StudyRef
from sync.testing.dicom import id_of
from tests.dicom_services import FeedWorld, instance, uid
from tests.headers import dicom_file, element

FILE = dicom_file(
    element(0x00080016, "UI", "1.2.840.10008.5.1.4.1.1.2")
    + element(0x00080018, "UI", uid(1, 1, 1))
    + element(0x00080060, "CS", "ct")
    + element(0x00100020, "LO", "HOSP\\1001")
    + element(0x0020000D, "UI", uid(1))
    + element(0x0020000E, "UI", uid(1, 1))
    + element(0x00700080, "CS", "A")
    + element(0x7FE00010, "OW", b"\0" * 400_000)
)
WHOLE = instance()
DROPPED = {tag: value for tag, value in WHOLE.items() if tag not in ("00100020", "00080060")}


def told_by(world):
    return instance_ref(world.service.account, "", uid(1), uid(1, 1), uid(1, 1, 1))


def codes(inspection):
    return {(finding.keyword, finding.code) for finding in inspection.record.findings}


async def look(metadata=DROPPED, content=FILE, *, readable=True, **settings):
    world = FeedWorld(**settings)
    world.service.store(metadata, content=content, readable=readable)
    return world, await inspect_object(told_by(world), world.services)


async def test_a_dropped_attribute_is_read_from_the_header():
    world, inspection = await look()
    assert inspection.record.attributes["PatientID"] == ["HOSP\\1001"]
    assert inspection.record.attributes["Modality"] == ["ct"]
    assert inspection.record.study == StudyRef(study_instance_uid=uid(1))
    assert world.service.retrieved == 1


@pytest.mark.parametrize("tag", ["00080020", "00080050", "00100010", "00100030", "00100040", "00200013"])
async def test_a_missing_element_that_may_only_be_empty_was_dropped(tag):
    world, _ = await look({key: value for key, value in WHOLE.items() if key != tag})
    assert world.service.retrieved == 1
    world, _ = await look({**WHOLE, tag: {"vr": WHOLE[tag]["vr"]}})
    assert world.service.retrieved == 0


async def test_whole_metadata_cost_no_request():
    world, inspection = await look(WHOLE)
    assert inspection.record.attributes["PatientID"] == ["P1"]
    assert world.service.retrieved == 0


async def test_never_leaves_a_finding():
    world, inspection = await look(dicom_header="never")
    assert world.service.retrieved == 0
    assert codes(inspection) == {
        ("PatientID", "attribute.dropped_by_service"),
        ("Modality", "attribute.dropped_by_service"),
    }


async def test_always_reads_the_header_and_no_metadata():
    world, inspection = await look(WHOLE, dicom_header="always")
    assert inspection.record.attributes["PatientID"] == ["HOSP\\1001"]
    assert (world.service.calls, world.service.retrieved) == (1, 1)


async def test_what_cannot_be_had_is_a_finding():
    _, inspection = await look(content=b"")
    assert ("PatientID", "attribute.dropped_by_service") in codes(inspection)


async def test_a_file_that_is_no_header_leaves_the_metadata():
    _, inspection = await look(content=b"garbage" * 100)
    assert ("PatientID", "attribute.dropped_by_service") in codes(inspection)


async def test_a_file_that_is_not_given_just_now_is_asked_for_again():
    world = FeedWorld()
    world.service.store(DROPPED, content=FILE)
    world.service.lost.add(id_of(WHOLE))
    with pytest.raises(SourceUnavailable, match="503"):
        await inspect_object(told_by(world), world.services)


@pytest.mark.parametrize("setting", ["never", "when-needed", "always"])
async def test_metadata_that_cannot_be_had_make_way_for_the_header(setting):
    _, inspection = await look(WHOLE, readable=False, dicom_header=setting)
    assert inspection.record.attributes["PatientID"] == ["HOSP\\1001"]


async def test_neither_metadata_nor_file_says_so():
    world = FeedWorld()
    world.service.store(WHOLE, content=FILE, readable=False)
    world.service.lost.add(id_of(WHOLE))
    with pytest.raises(SourceUnavailable) as failure:
        await inspect_object(told_by(world), world.services)
    assert failure.value.code == "source.unreadable"


async def test_an_id_that_lost_letters_identifies_no_patient():
    lost = {**WHOLE, "00100020": {"vr": "LO", "Value": ["?100"]}}
    _, inspection = await look(lost, dicom_header="never")
    assert "PatientID" not in inspection.record.attributes
    _, inspection = await look(lost)
    assert inspection.record.attributes["PatientID"] == ["HOSP\\1001"]


@pytest.mark.parametrize(
    ("attributes", "sets", "expected"),
    [
        ({"PatientID": ["1"], "Modality": ["CT"]}, (), ()),
        ({"PatientID": ["1"], "Modality": ["CT"], "StudyDescription": ["fracture?"]}, (), ()),
        (
            {"PatientID": ["1"], "Modality": ["CT"], "StudyDescription": ["?uvre"]},
            ("ISO_IR 203",),
            ("StudyDescription",),
        ),
        ({"PatientID": ["1"], "Modality": ["CT"], "PatientName": ["M?ller"]}, (), ("PatientName",)),
        ({"PatientID": ["1"], "Modality": ["CT"], "PatientName": ["M?ller"]}, ("ISO_IR 100",), ()),
        ({"PatientID": ["1"], "Modality": ["CT"], "PatientName": ["A=・"]}, ("", "ISO 2022 IR 159"), ("PatientName",)),
        (
            {"PatientID": ["1"], "Modality": ["SR"], "SOPClassUID": ["1.2.840.10008.5.1.4.1.1.88.33"]},
            (),
            ("CompletionFlag", "VerificationFlag"),
        ),
    ],
)
def test_what_was_dropped_shows(attributes, sets, expected):
    assert lacking(attributes, sets) == expected
