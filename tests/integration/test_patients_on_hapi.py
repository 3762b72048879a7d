"""Each patient policy, and what DICOM Cast left, on a FHIR server that checks references and keeps versions."""

import uuid
from collections.abc import AsyncIterator

import pytest

from sync.adapters.http.fhir.server import HttpFhirServer
from sync.mapping.ownership import differs
from sync.mapping.resource import study_id, version_of
from sync.model import FhirWrite, StudyRef
from sync.telemetry.telemetry import Telemetry
from tests.worlds import (
    PATIENT_SYSTEM,
    MemoryWorld,
    cast_patient,
    cast_study,
    ehr_patient,
    other_ids,
    patient_of,
)

POLICIES = ["link-or-create", "update", "reference-only"]
ISSUERS = {"CITY": "urn:example:city", "COUNTY": "urn:example:county"}
ROOT = "https://dicom.example/v1"


class World(MemoryWorld):
    """A sync in memory before a real server, about one person and two studies that no other test uses."""

    def __init__(self, server: HttpFhirServer) -> None:
        super().__init__()
        self.fhir.server = server
        self.person, self.typo = uuid.uuid4().hex, uuid.uuid4().hex
        self.studies = [StudyRef(study_instance_uid=f"2.25.{uuid.uuid4().int}") for _ in range(2)]

    def start(self, **settings) -> None:
        self.services = self.process(**settings)

    async def send(self, name, number=0, **attributes) -> None:
        about = {"PatientID": self.person, **attributes}
        await self.arrive(name, study=self.studies[number].study_instance_uid, sop=f"2.25.{number + 1}00", **about)

    async def put_resource(self, resource):
        write = FhirWrite(resource_type=resource["resourceType"], resource_id=resource["id"], resource=resource)
        await self.fhir.server.transact([write])
        return resource["id"]

    async def held(self, kind, resource_id):
        return await self.fhir.read(kind, resource_id)

    async def study(self, number=0):
        return await self.held("ImagingStudy", study_id(self.studies[number]))

    async def subject(self, number=0):
        return (await self.study(number))["subject"].get("reference", "").removeprefix("Patient/")

    async def count(self, value=None, system=PATIENT_SYSTEM) -> int:
        return len(await self.fhir.search("Patient", system, value or self.person))

    async def check_that_a_replay_writes_nothing(self) -> None:
        transactions = self.fhir.calls["transact"]
        await self.replay()
        assert self.fhir.calls["transact"] == transactions
        assert (self.outstanding(), self.dead_letters()) == ([], [])


@pytest.fixture
async def w(hapi: str) -> AsyncIterator[World]:
    server = HttpFhirServer(hapi, telemetry=Telemetry())
    yield World(server)
    await server.aclose()


def ehr(w, name="ehr", **elements):
    return ehr_patient(f"{name}-{w.person}", w.person, **elements)


@pytest.mark.parametrize("policy", POLICIES)
async def test_an_ehrs_patient_is_linked_written_or_only_named(w, policy):
    w.start(patient_policy=policy)
    smith = await w.put_resource(ehr(w, gender="male", telecom=[{"system": "phone", "value": "1"}]))
    before = await w.held("Patient", smith)
    await w.send(
        "a", StudyDate="20260101", PatientName="Doe^Jane", PatientSex="F", OtherPatientIDsSequence=other_ids("C9")
    )
    await w.send("b", 1, StudyDate="20260202", PatientName="Roe^Jane", PatientBirthDate="19900102")
    after = await w.held("Patient", smith)
    if policy == "update":
        assert (after["name"][0]["family"], after["gender"], after["birthDate"]) == ("Roe", "female", "1990-01-02")
        assert after["telecom"] == before["telecom"]
        assert {identifier["value"] for identifier in after["identifier"]} == {w.person, "C9"}
    else:
        assert after == before
    named = {"system": PATIENT_SYSTEM, "value": w.person}
    assert [await w.subject(number) for number in (0, 1)] == ["" if policy == "reference-only" else smith] * 2
    assert (await w.study())["subject"]["identifier"] == named
    assert await w.count() == 1
    await w.check_that_a_replay_writes_nothing()


@pytest.mark.parametrize("policy", POLICIES)
async def test_several_patients_dead_letter_the_study_unless_the_policy_never_searches(w, policy):
    w.start(patient_policy=policy)
    both = [await w.put_resource(ehr(w, name)) for name in ("smith", "smyth")]
    before = [version_of(await w.held("Patient", patient)) for patient in both]
    await w.send("a")
    refused = policy != "reference-only"
    assert w.dead_letters() == ([("study", "fhir.ambiguous_patient")] if refused else [])
    assert (await w.study() is None) is refused
    assert [version_of(await w.held("Patient", patient)) for patient in both] == before


@pytest.mark.parametrize("policy", POLICIES)
async def test_a_corrected_patient_id_moves_the_study_and_an_unused_patient_of_ours_goes(w, policy):
    w.start(patient_policy=policy)
    await w.send("a", PatientID=w.typo)
    assert await w.count(w.typo) == (0 if policy == "reference-only" else 1)
    await w.send("a")
    assert (await w.study())["subject"]["identifier"]["value"] == w.person
    assert await w.subject() == ("" if policy == "reference-only" else patient_of(w.person))
    assert await w.held("Patient", patient_of(w.typo)) is None
    await w.check_that_a_replay_writes_nothing()


@pytest.mark.parametrize("policy", POLICIES)
async def test_one_number_of_two_issuers_is_two_patients_and_two_numbers_in_one_patient_are_one(w, policy):
    w.start(patient_policy=policy, issuers=ISSUERS)
    known = [{"system": ISSUERS["CITY"], "value": w.typo}, {"system": ISSUERS["COUNTY"], "value": w.person}]
    smith = await w.put_resource({**ehr(w), "identifier": known})
    await w.send("a", PatientID=w.typo, IssuerOfPatientID="CITY", PatientName="Doe^Jane", StudyDate="20260101")
    await w.send("b", 1, IssuerOfPatientID="COUNTY", PatientName="Roe^Jane", StudyDate="20260202")
    assert {await w.subject(number) for number in (0, 1)} == {"" if policy == "reference-only" else smith}
    await w.check_that_a_replay_writes_nothing()
    await w.send("a", IssuerOfPatientID="CITY")  # the number that COUNTY gave to another person
    systems = [(await w.study(number))["subject"]["identifier"]["system"] for number in (0, 1)]
    assert systems == [ISSUERS["CITY"], ISSUERS["COUNTY"]]
    if policy != "reference-only":
        assert await w.subject(0) != await w.subject(1)
    await w.check_that_a_replay_writes_nothing()


@pytest.mark.parametrize("former", POLICIES)
@pytest.mark.parametrize("policy", POLICIES)
async def test_another_policy_leaves_nothing_behind(w, former, policy):
    if former == policy:
        return  # nothing is another
    smith = await w.put_resource(ehr(w))
    w.start(patient_policy=former)
    await w.send("a", PatientID=w.typo)
    await w.send("b", 1, PatientSex="F")
    written = await w.held("Patient", smith)
    w.start(patient_policy=policy)
    await w.replay()
    names_only = policy == "reference-only"
    assert [await w.subject(number) for number in (0, 1)] == (["", ""] if names_only else [patient_of(w.typo), smith])
    assert (await w.held("Patient", patient_of(w.typo)) is None) is names_only
    if policy == "update":
        assert (await w.held("Patient", smith))["gender"] == "female"
    else:
        assert await w.held("Patient", smith) == written
    await w.check_that_a_replay_writes_nothing()


@pytest.mark.parametrize("policy", POLICIES)
async def test_what_cast_made_is_adopted_corrected_and_not_doubled(w, policy):
    w.start(patient_policy=policy, dicomweb_url=ROOT, cast_patient_system="none")
    endpoint = {
        "resourceType": "Endpoint",
        "id": "cast-e",
        "status": "active",
        "name": f"DICOM WADO-RS endpoint {ROOT}",
        "connectionType": {
            "system": "http://terminology.hl7.org/CodeSystem/endpoint-connection-type",
            "code": "dicom-wado-rs",
        },
        "payloadType": [{"text": "DICOM WADO-RS"}],
        "payloadMimeType": ["application/dicom"],
        "address": ROOT,
    }
    await w.put_resource(endpoint)
    person = await w.put_resource(cast_patient(f"cast-{w.person}", w.person, gender="female"))
    made = cast_study(f"cast-{w.person}", w.studies[0], patient=person, descriptions=["Head", "Neck"])
    seen = {"text": "Head", "authorString": "Dr. Ref"}
    adopted = await w.put_resource({**made, "note": [*made["note"], seen], "reasonCode": [{"text": "fall"}]})
    await w.send("a", StudyDescription="Head", AccessionNumber="A1", PatientSex="F")
    await w.send("b", StudyDescription="Neck", AccessionNumber="A1", PatientSex="F")
    held = await w.held("ImagingStudy", adopted)
    assert await w.study() is None
    assert len(await w.fhir.search("ImagingStudy", "urn:dicom:uid", f"urn:oid:{w.studies[0].study_instance_uid}")) == 1
    assert (held["note"], held["reasonCode"]) == ([seen], [{"text": "fall"}])
    assert (held["numberOfSeries"], held["numberOfInstances"]) == (1, 1)
    assert held["series"][0]["modality"]["system"] == "http://dicom.nema.org/resources/ontology/DCM"
    assert held["series"][0]["instance"][0]["sopClass"]["system"] == "urn:ietf:rfc:3986"
    assert [identifier.get("system") for identifier in held["identifier"] if identifier["value"] == "A1"] != [None]
    assert held["subject"].get("reference") == (None if policy == "reference-only" else f"Patient/{person}")
    patients = [
        *await w.fhir.search("Patient", "", w.person),
        *await w.fhir.search("Patient", PATIENT_SYSTEM, w.person),
    ]
    assert [patient["id"] for patient in patients] == [person]
    await w.check_that_a_replay_writes_nothing()
    assert not differs(held, await w.held("ImagingStudy", adopted))
    await w.go("a")
    await w.go("b")
    assert await w.held("ImagingStudy", adopted) is None
    assert (await w.held("Patient", person)) is not None
