"""One study against what FHIR holds: keeping what others wrote, removing, and never writing twice."""

import pytest

from sync.errors import FhirRejected, FhirUnavailable
from sync.mapping.endpoint import build_endpoint
from sync.mapping.resource import study_id
from sync.model import Projected, StudyRef
from sync.testing.fhir import MemoryFhirServer
from tests.worlds import OTHER, STUDY, MemoryWorld, ehr_study, patient_of

NOTE = [{"text": "seen by a physician"}]
OWN_ID = study_id(STUDY)


# Ours


async def test_a_first_instance_makes_a_study_and_a_patient(w):
    await w.arrive("a", StudyDescription="Head")
    assert w.imaging_study()["description"] == "Head"
    assert w.imaging_study()["subject"]["reference"] == f"Patient/{w.patient()['id']}"
    assert w.projection().instances == 1


async def test_a_note_added_between_our_writes_survives_the_next_update(w):
    await w.arrive("a")
    w.edit("ImagingStudy", OWN_ID, note=NOTE)
    await w.arrive("b", sop="2.25.101")
    assert w.imaging_study()["note"] == NOTE
    assert w.imaging_study()["numberOfInstances"] == 2


async def test_a_note_survives_every_later_update_too(w):
    await w.arrive("a")
    w.edit("ImagingStudy", OWN_ID, note=NOTE)
    for n in (1, 2, 3):
        await w.arrive(f"b{n}", sop=f"2.25.10{n}")
    assert w.imaging_study()["note"] == NOTE
    assert w.imaging_study()["numberOfInstances"] == 4


async def test_a_narrative_by_hand_survives_every_later_update(w):
    narrative = {"status": "additional", "div": "<div>by hand</div>"}
    await w.arrive("a")
    w.edit("ImagingStudy", OWN_ID, text=narrative)
    for n in (1, 2, 3):
        await w.arrive(f"b{n}", sop=f"2.25.10{n}")
    assert w.imaging_study()["text"] == narrative


async def test_a_note_added_between_our_read_and_our_write_survives(w):
    await w.arrive("a")
    w.edit("ImagingStudy", OWN_ID, encounter={"reference": "Encounter/1"})
    await w.arrive("b", sop="2.25.101")
    await w.ingest(w.put("c", sop="2.25.102"))
    w.fhir.meanwhile["transact"] = lambda: w.edit("ImagingStudy", OWN_ID, note=NOTE)
    assert await w.project() is Projected.WRITTEN
    assert w.imaging_study()["note"] == NOTE
    assert w.imaging_study()["encounter"] == {"reference": "Encounter/1"}
    assert w.imaging_study()["numberOfInstances"] == 3


async def test_a_comparison_that_finds_all_right_checks_no_model_and_writes_no_row(w, monkeypatch):
    await w.arrive("a")
    asked = []
    for module in ("sync.mapping.imaging_study", "sync.projection.patient"):
        monkeypatch.setattr(f"{module}.validated", lambda resource: asked.append(resource["resourceType"]) or resource)
    upsert = w.store.patients.upsert
    monkeypatch.setattr(w.store.patients, "upsert", lambda row: asked.append("row") or upsert(row))
    assert await w.project(redelivered=True) is Projected.UNCHANGED
    assert asked == []
    w.edit("Patient", w.patient()["id"], birthDate="1900-01-01")
    assert await w.project(redelivered=True) is Projected.WRITTEN
    assert asked == ["Patient"]
    asked.clear()
    await w.arrive("b", sop="2.25.101", PatientSex="F")
    assert sorted(asked) == ["ImagingStudy", "Patient", "row"]


async def test_a_patient_row_that_is_lost_is_written_again(w):
    await w.arrive("a")
    [row] = await w.store.patients.read(w.projection().patient_key)
    await w.store.patients.delete(row.patient_key, STUDY)
    assert await w.project(redelivered=True) is Projected.UNCHANGED
    assert await w.store.patients.read(row.patient_key) == [row]


async def test_the_last_instance_takes_study_and_patient_with_it(w):
    await w.arrive("a")
    await w.go("a")
    assert list(w.server.resources()) == []
    assert w.projection().instances == 0


async def test_a_removed_study_comes_back(w):
    await w.arrive("a")
    await w.go("a")
    await w.arrive("a")
    assert w.imaging_study()["numberOfInstances"] == 1
    assert w.patient() is not None


async def test_a_study_deleted_in_fhir_is_made_again_with_its_next_change(w):
    await w.arrive("a")
    w.erase("ImagingStudy", OWN_ID)
    await w.arrive("b", sop="2.25.101")
    assert w.imaging_study()["numberOfInstances"] == 2


async def test_a_study_that_others_refer_to_is_cancelled_when_it_cannot_be_deleted():
    w = MemoryWorld(MemoryFhirServer(checks_references=True, notices_unchanged=False))
    await w.arrive("a", StudyDescription="Head")
    report = {"resourceType": "DiagnosticReport", "id": "r", "imagingStudy": [{"reference": f"ImagingStudy/{OWN_ID}"}]}
    w.create(report)
    await w.go("a")
    left = w.imaging_study()
    assert left["status"] == "cancelled"
    assert left["subject"]["reference"] == f"Patient/{w.patient()['id']}"
    assert left["identifier"]
    assert not {"series", "modality", "description"} & set(left)
    assert w.outstanding() == []
    assert w.dead_letters() == []


async def test_a_cancelled_study_comes_back_and_can_go_once_nothing_refers_to_it():
    w = MemoryWorld(MemoryFhirServer(checks_references=True, notices_unchanged=False))
    await w.arrive("a")
    w.create({"resourceType": "DiagnosticReport", "id": "r", "imagingStudy": [{"reference": f"ImagingStudy/{OWN_ID}"}]})
    await w.go("a")
    await w.arrive("a")
    assert w.imaging_study()["status"] == "available"
    w.erase("DiagnosticReport", "r")
    await w.go("a")
    assert list(w.server.resources()) == []


async def test_the_same_uid_in_two_partitions_makes_two_studies(w):
    await w.arrive("a")
    elsewhere = StudyRef(study_instance_uid=STUDY.study_instance_uid, partition="research")
    (row,) = await w.store.ledger.read(STUDY)
    moved = type(row.record)(**{**_fields(row.record), "study": elsewhere})
    await w.store.ledger.upsert(type(row)(object_key=row.object_key, record=moved, order=row.order))
    await w.project(elsewhere)
    assert w.imaging_study(elsewhere)["id"] != w.imaging_study()["id"]
    assert w.projection(elsewhere).adopted is False


def _fields(record):
    return {name: getattr(record, name) for name in type(record).__dataclass_fields__}


# The Endpoint

ROOT = "https://pacs.example/dicom-web"


async def test_one_endpoint_serves_all_studies_and_is_read_once_a_process():
    w = MemoryWorld(dicomweb_url=ROOT)
    await w.arrive("a", PatientID=None)
    reads = w.fhir.calls["read"]
    await w.arrive("b", study="2.25.2")
    await w.arrive("c", study="2.25.3")
    (endpoint,) = w.server.resources("Endpoint")
    assert w.imaging_study(OTHER)["endpoint"] == [{"reference": f"Endpoint/{endpoint['id']}"}]
    assert w.server.history("Endpoint", endpoint["id"]) == 1
    assert reads == 2  # the Endpoint, and the Patient of a study without Patient ID
    assert w.fhir.calls["read"] == reads


async def test_an_endpoint_keeps_what_others_added_to_it():
    w = MemoryWorld(dicomweb_url=ROOT)
    await w.arrive("a")
    (endpoint,) = w.server.resources("Endpoint")
    w.edit("Endpoint", endpoint["id"], name="PACS", status="off")
    await w.replay()
    (after,) = w.server.resources("Endpoint")
    assert (after["name"], after["status"]) == ("PACS", "active")


async def test_an_emptied_fhir_service_is_filled_again_by_a_replay():
    w = MemoryWorld(dicomweb_url=ROOT)
    await w.arrive("a")
    before = list(w.server.resources())
    w.erase_all()
    await w.replay()
    assert [(r["resourceType"], r["id"]) for r in w.server.resources()] == [
        (r["resourceType"], r["id"]) for r in before
    ]


async def test_a_missing_endpoint_is_made_again_where_references_are_checked():
    w = MemoryWorld(MemoryFhirServer(checks_references=True), dicomweb_url=ROOT)
    await w.arrive("a")
    w.erase_all()
    await w.arrive("b", study="2.25.2")
    assert w.imaging_study(OTHER) is not None
    assert w.server.peek("Endpoint", build_endpoint(w.services.settings)["id"]) is not None
    assert w.dead_letters() == []


# The Devices

SCANNER = {"Manufacturer": "Maker", "DeviceSerialNumber": "47"}


async def test_one_device_serves_all_studies_and_is_read_once_a_process(w):
    await w.arrive("a", StationName="CT1", **SCANNER)
    w.fhir.calls.clear()
    await w.arrive("b", study="2.25.2", StationName="CT2", **SCANNER)
    (device,) = w.server.resources("Device")
    actor = w.imaging_study(OTHER)["series"][0]["performer"][0]["actor"]
    assert actor == {"reference": f"Device/{device['id']}", "type": "Device", "display": "Maker (CT2)"}
    assert w.server.history("Device", device["id"]) == 1
    assert w.fhir.calls["read"] == 0


async def test_a_device_keeps_what_others_added_to_it_and_stays_when_its_study_goes(w):
    await w.arrive("a", **SCANNER)
    (device,) = w.server.resources("Device")
    w.edit("Device", device["id"], note=[{"text": "in room 3"}], manufacturer="Other")
    await w.replay()
    await w.go("a")
    (after,) = w.server.resources("Device")
    assert (after["note"], after["manufacturer"]) == ([{"text": "in room 3"}], "Maker")


async def test_a_missing_device_is_made_again_where_references_are_checked():
    w = MemoryWorld(MemoryFhirServer(checks_references=True))
    await w.arrive("a", **SCANNER)
    w.erase_all()
    await w.arrive("b", study="2.25.2", **SCANNER)
    assert len(list(w.server.resources("Device"))) == 1
    assert w.dead_letters() == []


# Counting


async def test_a_first_projection_costs_a_look_up_of_each_and_one_transaction(w):
    await w.arrive("a")
    assert w.fhir.calls == {"search": 2, "transact": 1}


async def test_a_first_projection_with_an_endpoint_costs_four_calls():
    w = MemoryWorld(dicomweb_url=ROOT)
    await w.arrive("a")
    assert w.fhir.calls == {"search": 2, "read": 1, "transact": 1}


async def test_an_unchanged_study_costs_no_call(w):
    await w.arrive("a")
    w.fhir.calls.clear()
    await w.arrive("a")  # the same bytes anew: another ETag, another time
    assert w.fhir.calls == {}


async def test_a_changed_study_costs_one_call(w):
    await w.arrive("a")
    w.fhir.calls.clear()
    await w.arrive("b", sop="2.25.101")
    assert w.fhir.calls == {"transact": 1}


async def test_a_burst_of_instances_costs_no_more_than_one(w):
    for n in range(200):
        await w.ingest(w.put(f"a{n}", sop=f"2.25.{1000 + n}"))
    await w.settle()
    assert w.imaging_study()["numberOfInstances"] == 200
    assert w.fhir.calls.total() == 3


async def test_a_removed_study_that_is_marked_again_costs_no_call(w):
    await w.arrive("a")
    await w.go("a")
    w.fhir.calls.clear()
    await w.project()
    assert w.fhir.calls == {}


# Replay


@pytest.mark.parametrize("redelivered", [False, True])
async def test_a_replay_writes_nothing(redelivered):
    w = MemoryWorld(dicomweb_url=ROOT)
    w.create(ehr_study("ris-7", OTHER))
    await w.arrive("a", AccessionNumber="A1", OtherPatientIDsSequence=[])
    await w.arrive("b", study="2.25.2", PatientID="P2", PatientIdentityRemoved="YES")
    await w.arrive("c", study="2.25.3", PatientID=None)
    await w.arrive("d", study="2.25.4", StudyDate="20260105", PatientName="Doe^Jane Other")
    w.edit("ImagingStudy", OWN_ID, note=NOTE)
    await w.replay()
    versions, transactions = w.versions(), w.fhir.calls["transact"]
    for _ in range(3):
        w.services = w.process(dicomweb_url=ROOT)
        await w.replay(redelivered=redelivered)
    assert w.versions() == versions
    assert w.fhir.calls["transact"] == transactions
    assert w.outstanding() == []


async def test_a_server_without_versions_loses_a_removed_study_all_the_same(w):
    class Unversioned(MemoryFhirServer):
        async def read(self, resource_type, resource_id):
            resource = await super().read(resource_type, resource_id)
            return resource and {k: v for k, v in resource.items() if k != "meta"}

        async def transact(self, writes):
            return [None for _ in await super().transact(writes)]

    w = MemoryWorld(Unversioned())
    await w.arrive("a")
    await w.arrive("b", sop="2.25.101")
    assert w.imaging_study()["numberOfInstances"] == 2
    await w.go("a")
    await w.go("b")
    assert w.imaging_study() is None


# What the record says


async def test_success_takes_the_error_off_the_record(w):
    w.fhir.failures = [FhirRejected("422"), FhirRejected("422")]
    await w.arrive("a")
    assert w.projection().error == "fhir.rejected"
    assert not w.projection().finished
    await w.arrive("b", sop="2.25.101")
    assert w.projection().error is None
    assert w.projection().finished


async def test_a_record_that_a_refused_pass_left_is_not_trusted(w):
    await w.arrive("a")
    await w.ingest(w.put("a", PatientID="P2"))
    w.fhir.failures = [FhirRejected("422"), FhirRejected("422")]
    await w.settle()
    w.erase("Patient", patient_of("P1"))
    await w.arrive("a")
    assert w.patient("P1") is not None
    assert w.patient("P2") is None


async def test_a_lost_answer_is_found_out_by_the_next_pass(w):
    await w.ingest(w.put("a"))
    w.fhir.server = _AnswerLost(w.fhir.server)
    await w.settle()
    assert w.imaging_study()["numberOfInstances"] == 1
    assert w.server.history("ImagingStudy", OWN_ID) == 1
    assert w.outstanding() == []


class _AnswerLost:
    """Applies the first transaction and does not answer."""

    def __init__(self, server):
        self._server, self._lost = server, False

    def __getattr__(self, name):
        return getattr(self._server, name)

    async def transact(self, writes):
        answer = await self._server.transact(writes)
        if not self._lost:
            self._lost = True
            raise FhirUnavailable("no answer")
        return answer


async def test_a_study_whose_first_attempt_and_whose_removal_died_comes_back_if_others_refer_to_it(w):
    """Its record says nothing but that an attempt began: FHIR's history has what the dead removal deleted."""
    await w.ingest(w.put("a"))
    await w.project_and_die()
    assert (w.projection().finished, w.projection().instances) == (False, 0)
    await w.ingest(w.delete("a"))
    w.erase("ImagingStudy", study_id(STUDY))
    refers = {"reference": f"ImagingStudy/{study_id(STUDY)}"}
    w.create({"resourceType": "Task", "id": "t", "status": "draft", "intent": "order", "focus": refers})
    await w.project(redelivered=True)
    assert w.imaging_study()["status"] == "cancelled"
