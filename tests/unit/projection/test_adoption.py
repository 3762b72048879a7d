"""An ImagingStudy of another system, found by its identifier: we write into it, and it stays theirs."""

import pytest

from sync.mapping.terminology import STUDY_INSTANCE_UID
from tests.worlds import ehr_study, patient_of

UID_OF_OURS = {
    "use": "official",
    "type": {"coding": [dict(STUDY_INSTANCE_UID)]},
    "system": "urn:dicom:uid",
    "value": "urn:oid:2.25.1",
}
NOTE = [{"text": "seen by a physician"}]


async def test_a_study_of_another_system_is_adopted_by_its_identifier(w):
    w.create(ehr_study("ris-7", note=NOTE))
    await w.arrive("a", StudyDescription="Head")
    adopted = w.server.peek("ImagingStudy", "ris-7")
    assert w.imaging_study() is None
    assert adopted["status"] == "available"
    assert adopted["description"] == "Head"
    assert adopted["numberOfInstances"] == 1
    assert adopted["note"] == NOTE
    assert w.projection().adopted


async def test_an_adopted_study_keeps_its_subject_and_its_order(w):
    order = [{"reference": "ServiceRequest/5"}]
    w.create(ehr_study("ris-7", basedOn=order))
    await w.arrive("a", AccessionNumber="A1")
    await w.arrive("b", sop="2.25.101", AccessionNumber="A1")
    adopted = w.server.peek("ImagingStudy", "ris-7")
    assert adopted["subject"] == {"reference": "Patient/of-the-ehr"}
    assert adopted["basedOn"] == order
    assert list(w.server.resources("Patient")) == []


@pytest.mark.parametrize(
    ("element", "theirs", "said"),
    [
        ("referrer", {"reference": "Practitioner/7"}, {"ReferringPhysicianName": "Other^One"}),
        ("interpreter", [{"reference": "Practitioner/8"}], {"NameOfPhysiciansReadingStudy": "Other^One"}),
        ("location", {"reference": "Location/9"}, {"InstitutionName": "Hospital"}),
    ],
)
async def test_an_adopted_study_keeps_real_references_where_we_have_names_only(w, element, theirs, said):
    w.create(ehr_study("ris-7", **{element: theirs}))
    await w.arrive("a", **said)
    await w.arrive("b", sop="2.25.101", **said)
    assert w.server.peek("ImagingStudy", "ris-7")[element] == theirs


async def test_an_adopted_study_gets_what_its_order_lacks(w):
    w.create(ehr_study("ris-7"))
    await w.arrive("a", ReferringPhysicianName="Other^One")
    assert w.server.peek("ImagingStudy", "ris-7")["referrer"]["display"] == "One Other"


async def test_an_adopted_study_without_a_subject_gets_ours(w):
    w.create({k: v for k, v in ehr_study("ris-7").items() if k != "subject"})
    await w.arrive("a")
    await w.arrive("b", sop="2.25.101", PatientID="P2")
    await w.arrive("c", sop="2.25.102", PatientID="P2")
    assert w.server.peek("ImagingStudy", "ris-7")["subject"]["reference"] == f"Patient/{patient_of('P2')}"
    assert w.patient("P1") is None


async def test_an_adopted_study_is_cancelled_without_series_and_keeps_what_is_its_owners(w):
    w.create(ehr_study("ris-7", note=NOTE, reasonCode=[{"text": "fall"}]))
    await w.arrive("a", StudyDescription="Head")
    await w.go("a")
    assert {k: v for k, v in w.server.peek("ImagingStudy", "ris-7").items() if k != "meta"} == {
        **ehr_study("ris-7", note=NOTE, reasonCode=[{"text": "fall"}]),
        "identifier": [UID_OF_OURS],
        "status": "cancelled",
        "numberOfSeries": 0,
        "numberOfInstances": 0,
    }


async def test_a_cancelled_adopted_study_comes_back(w):
    w.create(ehr_study("ris-7"))
    await w.arrive("a")
    await w.go("a")
    await w.arrive("a")
    assert w.server.peek("ImagingStudy", "ris-7")["status"] == "available"
    assert w.server.peek("ImagingStudy", "ris-7")["numberOfInstances"] == 1
    assert w.imaging_study() is None


async def test_a_study_that_its_owner_takes_up_again_is_not_cancelled_a_second_time(w):
    w.create(ehr_study("ris-7"))
    await w.arrive("a")
    await w.go("a")
    w.edit("ImagingStudy", "ris-7", status="registered")
    await w.project(redelivered=True)
    assert w.server.peek("ImagingStudy", "ris-7")["status"] == "registered"


@pytest.mark.parametrize("redelivered", [False, True])
async def test_a_study_of_another_system_that_we_never_wrote_is_left_alone(w, redelivered):
    w.create(ehr_study("ris-7"))
    await w.ingest(w.put("a"))
    await w.ingest(w.delete("a"))
    await w.project(redelivered=redelivered)
    assert w.server.peek("ImagingStudy", "ris-7")["status"] == "registered"
    assert w.server.history("ImagingStudy", "ris-7") == 1


async def test_a_dead_lettered_study_that_goes_leaves_others_alone(w):
    w.create(ehr_study("ris-7"))
    w.create(ehr_study("ris-8"))
    await w.arrive("a")
    w.erase("ImagingStudy", "ris-8")
    await w.go("a")
    assert w.server.peek("ImagingStudy", "ris-7")["status"] == "registered"
    assert w.dead_letters() == []


async def test_an_adopted_study_written_by_a_pass_that_died_is_cancelled_all_the_same(w):
    w.create(ehr_study("ris-7"))
    await w.ingest(w.put("a"))
    await w.project_and_die()
    await w.ingest(w.delete("a"))
    await w.project(redelivered=True)
    assert w.server.peek("ImagingStudy", "ris-7")["status"] == "cancelled"


async def test_two_studies_of_others_park_ours_until_they_are_merged(w):
    w.create(ehr_study("ris-7"))
    w.create(ehr_study("ris-8"))
    await w.arrive("a")
    assert w.dead_letters() == [("study", "fhir.ambiguous_study")]
    assert w.outstanding() == []
    assert w.server.history("ImagingStudy", "ris-7") == 1
    w.erase("ImagingStudy", "ris-8")
    await w.arrive("b", sop="2.25.101")
    assert w.dead_letters() == []
    assert w.server.peek("ImagingStudy", "ris-7")["numberOfInstances"] == 2


async def test_a_study_created_by_another_system_while_ours_is_gone_is_adopted(w):
    await w.arrive("a")
    await w.go("a")
    w.create(ehr_study("ris-7"))
    await w.arrive("a")
    assert w.imaging_study() is None
    assert w.server.peek("ImagingStudy", "ris-7")["numberOfInstances"] == 1


async def test_a_second_study_of_others_does_not_unsettle_the_one_that_was_adopted(w):
    w.create(ehr_study("ris-7"))
    await w.arrive("a")
    w.create(ehr_study("ris-8"))
    await w.replay()
    assert w.dead_letters() == []
    assert w.projection().fhir_id == "ris-7"
