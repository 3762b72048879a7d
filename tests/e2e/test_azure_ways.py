"""
A whole world beside servers with the ways of Azure's.

Ids that its index cannot tell apart, deletions that nothing refuses, and an instance that cannot be read back; the host
is killed in the midst of it.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import pytest
from azure.data.tables import TableServiceClient
from pydicom.dataset import Dataset

from local.dicom_service import dicom_service
from local.fhir_embedded import embedded_fhir_server
from sync.mapping.resource import study_id
from sync.model import StudyRef
from tests.e2e.commands import reconcile, sync
from tests.e2e.faulty_fhir import Answer, FaultyFhir
from tests.e2e.files import differences, expected_studies
from tests.e2e.running import World, until, up

SETTINGS = {
    "DICOM_SYNC_QUIET_PERIOD": "1",
    "DICOM_SYNC_MAX_WAIT": "15",
    "DICOM_SYNC_RECONCILE_REPAIR": "true",
    "DICOM_SYNC_DEAD_LETTER_AFTER_SECONDS": "20",
}
PATIENTLY = 90.0
"""Seconds; most of what is waited for takes a few."""

FALSE_MATCHES = 60
"""More than a page of a search by identifier."""

ROUND = 6
"""Slices in which the objects, the studies and both lists of a small world are compared."""


@dataclass
class Azure:
    """The world, the FHIR server that it asks through a proxy, and the DICOM service that it reads."""

    world: World
    proxy: FaultyFhir
    server: str
    service: httpx.Client

    def direct(self, method: str, address: str, body: object = None) -> None:
        """Ask the FHIR server past the proxy, as others do."""
        httpx.request(method, f"{self.server}/{address}", json=body, timeout=60).raise_for_status()

    def put(self, resource: dict) -> dict:
        self.direct("PUT", f"{resource['resourceType']}/{resource['id']}", resource)
        return resource

    def reconcile(self, slices: int = 1) -> None:
        """Compare the next slices, beside the host that does so each minute."""
        before = self._advanced_at()
        said = reconcile(self.world, slices, **SETTINGS)
        assert said.code == 0, said.err
        until(lambda: self._advanced_at() != before, "a slice was compared", PATIENTLY)

    def _advanced_at(self) -> object:
        with TableServiceClient.from_connection_string(self.world.addresses["storage"]) as service:
            [table] = [table.name for table in service.list_tables() if table.name.endswith("cursors")]
            rows = service.get_table_client(table).query_entities("name eq 'reconcile'")
            return next((row.get("advanced_at") for row in rows), None)

    def wake(self) -> None:
        """Send the event that Azure sends."""
        event = {"specVersion": "1.0", "type": "Microsoft.HealthcareApis.DicomImageCreated", "data": {}}
        self.world.send("objects", json.dumps(event))

    def restart_host(self) -> None:
        killed = self.world.host_pid()
        self.world.kill_host()
        until(lambda: self.world.host_pid() != killed, "the host is started again", PATIENTLY)

    def ignored(self) -> list[str]:
        """Return what searches asked for in vain."""
        return list(httpx.get(f"{self.server}/_ignored", timeout=60).json().get("ignored", []))


@pytest.fixture(scope="module")
def azure() -> Iterator[Azure]:
    with embedded_fhir_server(azure=True) as server, dicom_service() as service:
        proxy = FaultyFhir(server.url)
        with (
            up(proxy.url, DICOM_SYNC_DICOM_URL=service, **SETTINGS) as world,
            httpx.Client(base_url=service, timeout=60) as client,
        ):
            azure = Azure(world, proxy, server.url, client)
            yield azure
            assert azure.ignored() == []
        proxy.unplug()


@pytest.fixture(autouse=True)
def _whole(azure: Azure) -> Iterator[None]:
    yield
    azure.proxy.fault = None


def reference_of(uid: str) -> str:
    return f"ImagingStudy/{study_id(StudyRef(study_instance_uid=uid))}"


def holds(world, uid, count):
    def held():
        study = world.study(uid)
        return study is not None and study["numberOfInstances"] == count

    until(held, f"the study has {count} instances in FHIR", PATIENTLY)
    return world.study(uid)


def drifts_of(world, place, *repair):
    """Verify all; return what is wrong with these studies."""
    said = sync(world, "verify", "--json", *repair)
    assert said.code in (0, 1), said.err
    ours = {StudyRef(study_instance_uid=place.study(number)).key for number in range(1, 9)}
    return [(line["kind"], line["state"]) for line in said.lines if line["event"] == "drift" and line["study"] in ours]


def observation(token, *derived_from, **elements):
    body = {"resourceType": "Observation", "id": f"theirs-{token}", "status": "final", "code": {"text": "x"}}
    return body | {"derivedFrom": [{"reference": reference} for reference in derived_from]} | elements


def test_patients_whose_ids_are_the_same_to_the_index_stay_two_to_the_end(azure, place):
    world, number = azure.world, place.token[:8]
    ours, theirs = f"患者{number}", f"番号{number}"
    utf8, jis = {"SpecificCharacterSet": "ISO_IR 192"}, {"SpecificCharacterSet": ["", "ISO 2022 IR 87"]}
    world.upload(place.name("1"), place.file(1, patient=ours, **utf8))
    first = holds(world, place.study(1), 1)["subject"]["reference"]
    [identifier] = world.read(first)["identifier"]
    assert identifier["value"] == ours
    pairs = [chr(0x4E00 + n) + chr(0x5E00 + n) for n in range(FALSE_MATCHES)]
    ehr = [
        {"resourceType": "Patient", "id": f"{number}-{n}", "identifier": [{**identifier, "value": value + number}]}
        for n, value in enumerate([*pairs, "番号"])
    ]
    for patient in ehr:
        azure.put(patient)
    world.upload(place.name("2"), place.file(2, patient=theirs, **utf8))
    world.upload(place.name("3"), place.file(3, patient=theirs, **jis))
    world.upload(place.name("4"), place.file(4, patient=ours, **jis))
    subjects = [holds(world, place.study(n), 1)["subject"]["reference"] for n in (1, 2, 3, 4)]
    right = f"Patient/{ehr[-1]['id']}"
    assert subjects == [first, right, right, first]

    # An EHR's Patient with our id appears: from the next look on it is the subject, and ours belongs to no study.
    late = azure.put({**ehr[0], "id": f"{number}-late", "identifier": [{**identifier, "value": ours}]})
    assert sync(world, "replay", "--from", "2020-01-01", "--reread", "--project").code == 0
    assert {world.study(place.study(n))["subject"]["reference"] for n in (1, 4)} == {f"Patient/{late['id']}"}
    until(lambda: world.read(first) is None, "our own Patient is gone", PATIENTLY)
    assert drifts_of(world, place) == []

    world.delete_all(place.token)
    until(lambda: not any(world.study(place.study(n)) for n in (1, 2, 3, 4)), "all studies are gone", PATIENTLY)
    world.settle(PATIENTLY)
    assert {world.read(f"Patient/{resource['id']}")["meta"]["versionId"] for resource in [*ehr, late]} == {"1"}
    assert not world.letters()


def test_what_others_refer_to_outlives_its_files_through_verify_reconcile_and_replay(azure, place):
    world, (kept, free) = azure.world, (place.study(1), place.study(2))
    world.upload(place.name("1"), place.file(1))
    world.upload(place.name("2"), place.file(2, patient=f"{place.patient}-2"))
    patients = [holds(world, uid, 1)["subject"]["reference"] for uid in (kept, free)]
    theirs = azure.put(observation(place.token, reference_of(kept), subject={"reference": patients[0]}))
    world.delete_all(place.token)
    until(lambda: (world.study(kept) or {}).get("status") == "cancelled", "the study is cancelled", PATIENTLY)
    until(lambda: world.study(free) is None and world.read(patients[1]) is None, "what is free is gone", PATIENTLY)
    world.settle(PATIENTLY)
    assert world.read(patients[0]) is not None
    before = world.versions()
    assert drifts_of(world, place, "--repair") == []
    assert sync(world, "replay", "--from", "2020-01-01", "--reread", "--project").code == 0
    azure.reconcile(ROUND)
    world.settle(PATIENTLY)
    assert world.versions() == before

    azure.direct("DELETE", f"Observation/{theirs['id']}")
    sync(world, "replay", "--study", kept, "--project")
    until(lambda: world.study(kept) is None and world.read(patients[0]) is None, "what is free now is gone", PATIENTLY)
    assert not world.letters()


def test_a_reference_that_comes_with_the_deletion_brings_its_target_back_though_the_host_dies_then(azure, place):
    world, uid = azure.world, place.study()
    world.upload(place.name("1"), place.file(StudyDescription="KEPT"))
    holds(world, uid, 1)
    wanted, met = reference_of(uid), []

    def fault(method: str, path: str, body: bytes) -> Answer | None:
        if met or method != "POST" or b'"DELETE"' not in body or wanted.encode() not in body:
            return None
        met.append(path)
        azure.put(observation(place.token, wanted))
        azure.proxy.forward(method, path, {"Content-Type": "application/fhir+json"}, body)
        world.kill_host()
        return Answer(503, b"")

    azure.proxy.fault = fault
    world.delete(place.name("1"))
    until(lambda: met, "the deletion was sent", PATIENTLY)
    until(lambda: (world.study(uid) or {}).get("status") == "cancelled", "it is back, cancelled", PATIENTLY)
    world.settle(PATIENTLY)
    assert world.read(wanted)["identifier"]


def test_reconcile_and_repair_put_right_what_others_broke_and_keep_what_they_refer_to(azure, place):
    world, uids = azure.world, [place.study(number) for number in (1, 2)]
    for number, uid in enumerate(uids, 1):
        world.upload(place.name(str(number)), place.file(number))
        holds(world, uid, 1)
    world.settle()
    study = world.study(uids[0])
    orphan = {**study, "id": study_id(StudyRef(study_instance_uid=f"{uids[0]}.9"))}
    orphan["identifier"] = [{"system": "urn:dicom:uid", "value": f"urn:oid:{uids[0]}.9"}]

    def broken_is_seen():
        # The host compares a slice each minute, and repairs: what it was faster with is broken again.
        azure.put(orphan)
        azure.put(observation(place.token, f"ImagingStudy/{orphan['id']}"))
        azure.direct("DELETE", reference_of(uids[0]))
        azure.put({**world.study(uids[1]), "numberOfInstances": 77, "note": [{"text": "seen"}]})
        return {kind for kind, _ in drifts_of(world, place)} == {"drift.missing", "drift.foreign_modified"}

    until(broken_is_seen, "verify names both studies", PATIENTLY)

    def right():
        azure.reconcile()
        studies = [world.study(uid) for uid in uids]
        return all(study is not None and study["numberOfInstances"] == 1 for study in studies)

    until(right, "reconcile repaired both studies", PATIENTLY)
    assert world.study(uids[1])["note"] == [{"text": "seen"}]
    assert drifts_of(world, place, "--repair") == []
    held = world.read(f"ImagingStudy/{orphan['id']}")
    assert held is not None, "a repair took what others refer to"
    azure.direct("DELETE", f"Observation/theirs-{place.token}")
    assert held["status"] == "cancelled"
    sync(world, "replay", "--study", f"{uids[0]}.9", "--project")
    assert world.read(f"ImagingStudy/{orphan['id']}") is None


def nested(levels):
    """Return the content of a report, that many levels deep."""
    inner = Dataset()
    for _ in range(levels):
        outer = Dataset()
        outer.ContentSequence = [inner]
        inner = outer
    return inner.ContentSequence


def test_instances_that_cannot_be_read_back_stop_no_feed_though_the_host_is_killed(azure, place):
    world, stored = azure.world, {}

    def store(study, instance, **attributes):
        content = place.file(study, 1, instance, **attributes)
        assert azure.service.post("/v2/studies", content=content).status_code in (200, 202)
        stored[study, instance] = content

    def address(study, instance):
        series = str(
            Dataset.from_json(
                azure.service.get(f"/v2/studies/{place.study(study)}/instances").json()[0]
            ).SeriesInstanceUID
        )
        return f"/v2/studies/{place.study(study)}/series/{series}/instances/{place.sop(study, 1, instance)}"

    for instance in range(1, 6):
        store(1, instance)
    lost = address(1, 5)
    store(2, 1)
    unreadable = address(2, 1).replace(place.sop(2, 1, 1), place.sop(2, 1, 2))
    store(2, 2, SliceThickness="8.0E28")
    assert azure.service.get(f"{unreadable}/metadata").status_code == 503
    azure.service.post("/control/lose", json={"instance": place.sop(1, 1, 5)}).raise_for_status()
    assert (azure.service.get(lost).status_code, azure.service.get(f"{lost}/metadata").status_code) == (503, 503)
    azure.wake()
    azure.restart_host()
    store(2, 3, SliceThickness="8.0E28", PatientID="HOSP\\1")
    store(3, 1, ContentSequence=nested(19))
    assert azure.service.get("/v2/changefeed", params={"limit": 200}).status_code == 503
    for instance in range(4, 9):
        store(2, instance)
    azure.wake()
    azure.restart_host()
    store(3, 2)

    def wrong():
        studies = [study for n in (1, 2, 3) if (study := world.study(place.study(n))) is not None]
        return differences(expected_studies(content for key, content in stored.items() if key != (1, 5)), studies)

    until(lambda: not wrong(), "all that can be read is in FHIR", PATIENTLY)
    until(lambda: [code for code, _ in world.letters().values()] == ["source.unreadable"], "a dead letter", PATIENTLY)
    world.settle(PATIENTLY)
    assert wrong() == []
    assert drifts_of(world, place) == []

    # Stored anew it is read, and its dead letter goes.
    azure.service.delete(lost).raise_for_status()
    store(1, 5)
    azure.wake()
    holds(world, place.study(1), 5)
    until(lambda: not world.letters(), "the dead letter is gone", PATIENTLY)
