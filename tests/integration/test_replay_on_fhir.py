"""The core against a real FHIR server: a server may return elements in another form, and a replay must not mind."""

import uuid
from collections.abc import AsyncIterator

import pytest
from pydicom.dataset import Dataset

from sync.adapters.http.fhir.server import HttpFhirServer
from sync.mapping.resource import derived_id, unstamped
from sync.model import FhirWrite, StudyRef
from sync.telemetry.telemetry import Telemetry
from tests.reports import measurements, projection_dose, text_report
from tests.worlds import MemoryWorld, ehr_study, study_id

EVERYTHING = {
    "AccessionNumber": "A1",
    "InstitutionName": "Hospital",
    "PatientBirthDate": "19900102",
    "PatientIdentityRemoved": "YES",
    "PatientSex": "F",
    "ReferringPhysicianName": "Ref^Erring",
    "SeriesDescription": "  Thorax  5.0 ",
    "SeriesNumber": "7",
    "SeriesTime": "101530.5",
    "StudyDescription": "Äpfel & <Birnen>",
    "StudyTime": "101530",
    "TimezoneOffsetFromUTC": "+0100",
}


@pytest.fixture(params=["fhir_embedded", "fhir_embedded_azure", "hapi"])
async def w(request: pytest.FixtureRequest) -> AsyncIterator[MemoryWorld]:
    server = HttpFhirServer(request.getfixturevalue(request.param), telemetry=Telemetry())
    world = MemoryWorld(dicomweb_url="https://pacs.example/dicom-web")
    world.fhir.server = server
    yield world
    await server.aclose()


def new_study() -> StudyRef:
    return StudyRef(study_instance_uid=f"2.25.{uuid.uuid4().int}")


async def held(w, study):
    return await w.fhir.read("ImagingStudy", study_id(study))


async def put(w, resource):
    write = FhirWrite(resource_type=resource["resourceType"], resource_id=resource["id"], resource=unstamped(resource))
    await w.fhir.server.transact([write])


async def test_a_replay_writes_nothing_on_a_real_server(w):
    study, person = new_study(), uuid.uuid4().hex
    other = Dataset()
    other.PatientID, other.IssuerOfPatientID = "C9", "CITY"
    about = {**EVERYTHING, "PatientID": person, "OtherPatientIDsSequence": [other]}
    await w.arrive("a", study=study.study_instance_uid, **about)
    await w.arrive("b", study=study.study_instance_uid, sop="2.25.101", **about)
    before, transactions = await held(w, study), w.fhir.calls["transact"]
    assert before["numberOfInstances"] == 2
    w.services = w.process(dicomweb_url="https://pacs.example/dicom-web")
    await w.replay()
    assert w.fhir.calls["transact"] == transactions
    assert await held(w, study) == before


async def test_a_note_survives_on_a_real_server_and_a_removed_study_is_gone(w):
    study = new_study()
    await w.arrive("a", study=study.study_instance_uid, PatientID=uuid.uuid4().hex)
    await put(w, {**await held(w, study), "note": [{"text": "seen"}]})
    await w.arrive("b", study=study.study_instance_uid, sop="2.25.101")
    assert (await held(w, study))["note"] == [{"text": "seen"}]
    await w.go("a")
    await w.go("b")
    assert await held(w, study) is None


async def test_a_study_of_another_system_is_adopted_on_a_real_server_and_a_replay_writes_nothing(w):
    study = new_study()
    theirs = ehr_study(f"ris-{uuid.uuid4().hex}", study, note=[{"text": "seen"}])
    await put(w, {"resourceType": "Patient", "id": "of-the-ehr"})
    await put(w, theirs)
    await w.arrive("a", study=study.study_instance_uid, **EVERYTHING)
    adopted = await w.fhir.read("ImagingStudy", theirs["id"])
    assert (adopted["numberOfInstances"], adopted["note"]) == (1, [{"text": "seen"}])
    await w.replay()
    assert await w.fhir.read("ImagingStudy", theirs["id"]) == adopted


async def test_what_others_refer_to_is_cancelled_or_deleted_and_never_tried_for_ever(w):
    study, person = new_study(), uuid.uuid4().hex
    await w.arrive("a", study=study.study_instance_uid, PatientID=person)
    report = {
        "resourceType": "DiagnosticReport",
        "id": f"report-{person}",
        "status": "final",
        "code": {"text": "CT"},
        "imagingStudy": [{"reference": f"ImagingStudy/{study_id(study)}"}],
    }
    await put(w, report)
    await w.go("a")
    left = await held(w, study)
    assert left is None or (left["status"], left["numberOfInstances"], "series" in left) == ("cancelled", 0, False)
    assert (w.outstanding(), w.dead_letters()) == ([], [])
    transactions = w.fhir.calls["transact"]
    await w.project(study)
    assert w.fhir.calls["transact"] == transactions
    await w.arrive("a", study=study.study_instance_uid, PatientID=person)
    assert (await held(w, study))["status"] == "available"


async def test_reports_are_written_once_and_go_alone_on_a_real_server(w):
    study, person = new_study(), uuid.uuid4().hex
    about = {"study": study.study_instance_uid, "PatientID": person}
    sops = {name: f"2.25.{uuid.uuid4().int}" for name in ("dose", "measured", "text")}
    await w.arrive("image", **about)
    await w.arrive("dose", projection_dose(sop=sops["dose"], **about))
    await w.arrive("measured", measurements(sop=sops["measured"], **about))
    await w.arrive("text", text_report(sop=sops["text"], **about))
    names = w.projection(study).derived
    before = dict(zip(names, await w.fhir.read_all(list(names)), strict=True))
    assert len(before) > len(sops)
    assert None not in before.values()
    transactions = w.fhir.calls["transact"]
    await w.replay()
    assert w.fhir.calls["transact"] == transactions
    assert dict(zip(names, await w.fhir.read_all(list(names)), strict=True)) == before
    await w.go("measured")
    after = dict(zip(names, await w.fhir.read_all(list(names)), strict=True))
    gone = {name for name, resource in after.items() if resource is None}
    own = derived_id("Observation", study, sops["measured"])
    assert gone == {name for name in names if name.startswith(f"Observation/{own}")}
    assert {name: after[name] for name in names if name not in gone} == {
        name: before[name] for name in names if name not in gone
    }
