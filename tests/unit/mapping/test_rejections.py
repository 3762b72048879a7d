"""Rejection notes withdraw the instances that they name, in any order, and nothing else."""

from itertools import permutations

import pytest
from pydicom.dataset import Dataset

from sync.config import HeaderLimits, MappingSettings
from sync.dicom.header import parse_header
from sync.mapping.imaging_study import build_study
from sync.model import LedgerRow, ObjectKey
from tests import reports as r
from tests.reports import code, item
from tests.worlds import MemoryWorld, dicom

SETTINGS = MappingSettings()
CT = "1.2.840.10008.5.1.4.1.1.2"


def note(*sops, title="113001", scheme="DCM", sop="2.25.900", **more):
    """A Key Object Selection that names instances."""
    references = []
    for uid in sops:
        reference = Dataset()
        reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = CT, uid
        references.append(item("IMAGE", None, ReferencedSOPSequence=[reference]))
    more = {"Modality": "KO", "series": "2.25.90", **more}
    return r.report(r.KEY_OBJECTS, code(title, scheme, "Rejected"), *references, sop=sop, **more)


def image(number, **more):
    return dicom(sop=f"2.25.{number}", series="2.25.10", Modality="CT", SOPClassUID=CT, **more)


def row(data, place, order=""):
    record = parse_header(data, size=len(data), limits=HeaderLimits())
    return LedgerRow(object_key=ObjectKey("a", str(place)), record=record, order=order)


def built(*files):
    rows = [row(data, place) for place, data in enumerate(files)]
    return build_study(rows[0].record.study, rows, SETTINGS)


def shown(study):
    return [instance["uid"] for series in study.imaging_study.get("series", ()) for instance in series["instance"]]


@pytest.mark.parametrize("title", ["113001", "113037", "113038", "113039"])
def test_what_a_rejection_note_names_is_withdrawn_and_said(title):
    study = built(image(1), image(2), note("2.25.1", title=title))
    assert shown(study) == ["2.25.2", "2.25.900"]
    assert (study.instances, study.imaging_study["status"]) == (2, "available")
    assert ("SOPInstanceUID", "instance.rejected", "left out") in {
        (finding.keyword, finding.code, finding.action) for finding in study.findings
    }


@pytest.mark.parametrize(("title", "scheme"), [("113000", "DCM"), ("113001", "99LOCAL"), ("113003", "DCM")])
def test_other_key_objects_withdraw_nothing(title, scheme):
    study = built(image(1), note("2.25.1", title=title, scheme=scheme))
    assert shown(study) == ["2.25.1", "2.25.900"]
    assert "instance.rejected" not in {finding.code for finding in study.findings}


def test_the_order_of_arrival_changes_nothing():
    files = [
        row(data, place)
        for place, data in enumerate([image(1), image(2), note("2.25.2"), note("2.25.1", sop="2.25.901")])
    ]
    studies = {repr(build_study(rows[0].record.study, rows, SETTINGS)) for rows in permutations(files)}
    assert len(studies) == 1


def test_a_study_of_which_only_notes_are_left_is_cancelled():
    study = built(image(1), note("2.25.1"))
    assert (study.imaging_study["status"], shown(study)) == ("cancelled", ["2.25.900"])
    assert "modality" not in study.imaging_study


def test_notes_that_name_each_other_stay_and_count():
    study = built(image(1), note("2.25.901", "2.25.1"), note("2.25.900", "2.25.901", sop="2.25.901"))
    assert shown(study) == ["2.25.900", "2.25.901"]


def test_of_a_note_the_latest_content_counts():
    rows = [row(image(1), 0), row(image(2), 1), row(note("2.25.1"), 2, "2026-01"), row(note("2.25.2"), 3, "2026-02")]
    assert shown(build_study(rows[0].record.study, rows, SETTINGS)) == ["2.25.1", "2.25.900"]


def test_a_rejected_image_says_nothing_of_the_patient():
    study = built(
        image(1, PatientID="WRONG"), image(2, PatientID="WRONG"), image(3, PatientID="RIGHT"),
        note("2.25.1", "2.25.2", title="113038", PatientID="RIGHT"),
    )  # fmt: skip
    assert study.patient.value == "RIGHT"


def test_a_rejected_report_makes_nothing():
    report = r.text_report(sop="2.25.5", series="2.25.50")
    assert built(report).derived
    assert built(image(1), report, note("2.25.5")).derived == ()


async def test_when_the_note_is_deleted_the_image_is_back():
    w = MemoryWorld()
    await w.arrive("note.dcm", note("2.25.1"))
    await w.arrive("1.dcm", image(1))
    await w.arrive("2.dcm", image(2))
    assert [study["numberOfInstances"] for study in studies(w)] == [2]
    await w.go("note.dcm")
    assert [(study["numberOfInstances"], study["status"]) for study in studies(w)] == [(2, "available")]
    assert {instance["uid"] for series in studies(w)[0]["series"] for instance in series["instance"]} == {
        "2.25.1",
        "2.25.2",
    }


def studies(w):
    return list(w.server.resources("ImagingStudy"))
