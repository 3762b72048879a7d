"""Resources that single instances make: theirs alone, whatever else happens to the study."""

import random

from pydicom.uid import EncapsulatedPDFStorage

from sync.adapters.azure.tables.ledger import ledger_row
from sync.adapters.azure.tables.rows import MAX_ENTITY_BYTES, entity_bytes
from sync.config import HeaderLimits
from sync.dicom.header import parse_header
from sync.mapping.resource import derived_id, study_id
from sync.model import LedgerRow, ObjectKey
from sync.projection.dry_run import dry_run_study
from sync.testing.fhir import MemoryFhirServer
from tests.reports import BASIC, code, ct_dose, measurements, number, report, text
from tests.worlds import OTHER, STUDY, MemoryWorld, ehr_study

PDF = {
    "SOPClassUID": EncapsulatedPDFStorage,
    "Modality": "DOC",
    "DocumentTitle": "Knee",
    "VerificationFlag": "VERIFIED",
}
SOP, SECOND = "2.25.700", "2.25.701"
KINDS = ("DiagnosticReport", "DocumentReference")


def report_of(w, sop=SOP, study=STUDY):
    return w.server.peek("DiagnosticReport", derived_id("DiagnosticReport", study, sop))


def documents(w):
    return sum(1 for kind in KINDS for _ in w.server.resources(kind))


async def test_a_document_makes_a_report_and_a_reference_about_the_same_patient(w):
    await w.arrive("a")
    await w.arrive("d", sop=SOP, **PDF)
    study, made = w.imaging_study(), report_of(w)
    assert made["subject"] == study["subject"]
    assert made["imagingStudy"] == [{"reference": f"ImagingStudy/{study['id']}"}]
    assert (made["status"], made["code"]) == ("final", {"text": "Knee"})
    [pointing] = w.server.resources("DocumentReference")
    assert {"reference": f"DiagnosticReport/{made['id']}"} in pointing["context"]["related"]


async def test_a_study_and_its_document_are_written_by_one_transaction(w):
    await w.ingest(w.put("a"))
    await w.ingest(w.put("d", sop=SOP, **PDF))
    await w.project()
    assert w.fhir.calls == {"search": 2, "transact": 1}


async def test_a_replay_writes_nothing(w):
    await w.arrive("a")
    await w.arrive("d", sop=SOP, **PDF)
    before = w.versions()
    await w.replay()
    await w.replay(redelivered=False)
    assert w.versions() == before


async def test_another_instance_of_the_study_leaves_the_document_alone(w):
    await w.arrive("d", sop=SOP, **PDF)
    before = w.versions()
    w.fhir.calls.clear()
    await w.arrive("a")
    assert {key: version for key, version in w.versions().items() if key[0] in KINDS} == {
        key: version for key, version in before.items() if key[0] in KINDS
    }
    assert w.fhir.calls == {"transact": 1}


async def test_a_document_that_goes_takes_its_own_and_nothing_else(w):
    await w.arrive("a")
    await w.arrive("d", sop=SOP, **PDF)
    await w.arrive("e", sop=SECOND, **PDF)
    await w.go("d")
    assert report_of(w) is None
    assert report_of(w, SECOND) is not None
    assert documents(w) == len(KINDS)
    assert w.imaging_study()["numberOfInstances"] == 2


async def test_a_document_in_two_objects_goes_with_the_second(w):
    await w.arrive("d", sop=SOP, **PDF)
    await w.arrive("copy", sop=SOP, **PDF)
    await w.go("d")
    assert report_of(w) is not None
    await w.go("copy")
    assert list(w.server.resources()) == []


async def test_an_object_that_is_overwritten_by_an_image_takes_its_document_away(w):
    await w.arrive("a")
    await w.arrive("d", sop=SOP, **PDF)
    await w.arrive("d", sop=SOP)
    assert documents(w) == 0


async def test_a_document_that_moves_to_another_study_leaves_the_first(w):
    await w.arrive("a")
    await w.arrive("d", sop=SOP, **PDF)
    await w.arrive("d", sop=SOP, study=OTHER.study_instance_uid, **PDF)
    assert report_of(w) is None
    moved = report_of(w, study=OTHER)
    assert moved["imagingStudy"] == [{"reference": f"ImagingStudy/{study_id(OTHER)}"}]


async def test_the_last_instance_takes_everything(w):
    await w.arrive("d", sop=SOP, **PDF)
    await w.go("d")
    assert list(w.server.resources()) == []
    await w.arrive("d", sop=SOP, **PDF)
    assert documents(w) == len(KINDS)


async def test_elements_of_others_survive_an_update(w):
    await w.arrive("d", sop=SOP, **PDF)
    theirs = {"conclusionCode": [{"text": "seen"}]}
    w.edit("DiagnosticReport", report_of(w)["id"], **theirs)
    await w.arrive("d", sop=SOP, **{**PDF, "DocumentTitle": "Hip"})
    assert report_of(w)["code"] == {"text": "Hip"}
    assert report_of(w)["conclusionCode"] == theirs["conclusionCode"]


async def test_an_element_that_we_no_longer_have_goes(w):
    await w.arrive("d", sop=SOP, AccessionNumber="A1", **PDF)
    assert "basedOn" in report_of(w)
    await w.arrive("d", sop=SOP, **PDF)
    assert "basedOn" not in report_of(w)


async def test_what_others_deleted_or_changed_is_healed_when_the_cache_is_bypassed(w):
    await w.arrive("d", sop=SOP, **PDF)
    whole = report_of(w)
    w.edit("DiagnosticReport", whole["id"], status="amended")
    w.erase("DocumentReference", derived_id("DocumentReference", STUDY, SOP))
    w.fhir.calls.clear()
    await w.replay()
    assert report_of(w)["status"] == whole["status"]
    assert documents(w) == len(KINDS)
    assert w.fhir.calls["read_all"] == 1


async def test_an_update_is_fenced(w):
    await w.arrive("d", sop=SOP, **PDF)
    await w.ingest(w.put("d", sop=SOP, **{**PDF, "DocumentTitle": "Hip"}))
    note = [{"text": "meanwhile"}]
    w.fhir.meanwhile["transact"] = lambda: w.edit("DiagnosticReport", report_of(w)["id"], conclusionCode=note)
    await w.project()
    assert (report_of(w)["code"], report_of(w)["conclusionCode"]) == ({"text": "Hip"}, note)


async def test_state_that_was_lost_leads_to_no_second_resource_and_no_needless_write(w):
    await w.arrive("d", sop=SOP, **PDF)
    before = w.versions()
    w.store.projections.table.discard(STUDY.key)
    await w.replay(redelivered=False)
    assert w.versions() == before


async def test_a_document_of_an_adopted_study_refers_to_it_and_to_its_patient(w):
    w.create(ehr_study("of-the-ehr"))
    await w.arrive("d", sop=SOP, **PDF)
    assert report_of(w)["imagingStudy"] == [{"reference": "ImagingStudy/of-the-ehr"}]
    assert report_of(w)["subject"] == {"reference": "Patient/of-the-ehr"}
    await w.go("d")
    assert documents(w) == 0


async def test_a_patient_that_is_corrected_is_corrected_in_the_document_too(w):
    await w.arrive("d", sop=SOP, **PDF)
    await w.arrive("d", sop=SOP, PatientID="P9", **PDF)
    assert report_of(w)["subject"] == w.imaging_study()["subject"]
    assert w.patient("P1") is None


async def test_what_others_refer_to_is_said_to_be_in_error_where_it_cannot_be_deleted():
    w = MemoryWorld(MemoryFhirServer(checks_references=True, notices_unchanged=False))
    await w.arrive("a")
    await w.arrive("d", sop=SOP, **PDF)
    w.create({"resourceType": "Task", "id": "t", "focus": {"reference": f"DiagnosticReport/{report_of(w)['id']}"}})
    await w.go("d")
    assert report_of(w)["status"] == "entered-in-error"
    assert documents(w) == 1
    assert (w.outstanding(), w.dead_letters()) == ([], [])
    before = w.versions()
    await w.replay()
    assert w.versions() == before
    await w.arrive("d", sop=SOP, **PDF)
    assert report_of(w)["status"] == "final"
    assert documents(w) == len(KINDS)


async def test_two_partitions_never_share_a_resource():
    ids = {derived_id(kind, study, SOP) for kind in KINDS for study in (STUDY, OTHER)}
    assert len(ids) == 2 * len(KINDS)


async def test_a_measurement_report_that_is_sent_again_with_less_loses_what_it_no_longer_says(w):
    more = number(code("1", "99X", "Length"), "3", "mm")
    await w.arrive("m", measurements(more, sop=SOP))
    names = set(w.projection().derived)
    before = w.versions()
    await w.arrive("m", measurements(sop=SOP))
    gone = {name for name, digest in w.projection().derived.items() if not digest}
    assert len(gone) == 1
    assert {f"Observation/{observation['id']}" for observation in w.server.resources("Observation")} == names - gone
    changed = {key for key, version in w.versions().items() if key[0] == "Observation" and before[key] != version}
    assert changed == {("Observation", derived_id("Observation", STUDY, SOP, "1"))}, (
        "only the group names fewer members"
    )


async def test_a_check_sees_what_others_did_to_a_derived_resource_and_writes_nothing(w):
    await w.arrive("m", measurements(sop=SOP))
    assert not (await dry_run_study(STUDY, w.services)).writes
    w.erase("Observation", derived_id("Observation", STUDY, SOP, "1"))
    before = w.versions()
    assert [write.resource_id for write in (await dry_run_study(STUDY, w.services)).writes] == [
        derived_id("Observation", STUDY, SOP, "1")
    ]
    assert w.versions() == before


async def test_a_burst_with_a_report_takes_as_few_requests_as_one_without(w):
    for number_ in range(300):
        await w.ingest(w.put(f"i{number_}", sop=f"2.25.9{number_}"))
    await w.ingest(w.put("dose", ct_dose(sop=SOP)))
    await w.ingest(w.put("measured", measurements(sop=SECOND)))
    await w.project()
    assert w.imaging_study()["numberOfInstances"] == 302
    assert w.fhir.calls.total() <= 5
    w.fhir.calls.clear()
    await w.ingest(w.put("late", sop="2.25.99999"))
    await w.project()
    assert w.fhir.calls == {"transact": 1}


async def test_the_largest_tree_still_fits_into_a_table_row():
    rng = random.Random(1)
    words = ["".join(chr(rng.randrange(0x4E00, 0x9FFF)) for _ in range(20_000)) for _ in range(8)]
    data = report(BASIC, code("1"), *(text(code("2"), word) for word in words), SpecificCharacterSet="ISO_IR 192")
    record = parse_header(data, size=len(data), limits=HeaderLimits())
    assert record.findings == ()
    row = ledger_row(LedgerRow(object_key=ObjectKey("a", "b"), record=record, order=""))
    assert entity_bytes(row) < MAX_ENTITY_BYTES
