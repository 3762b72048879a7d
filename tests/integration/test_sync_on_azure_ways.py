"""The core against a server with the ways of Azure's: links, checks and deletions that went wrong there."""

import uuid
from collections.abc import AsyncIterator

import pytest

from sync.adapters.http.fhir.server import HttpFhirServer
from sync.model import FhirWrite, StudyRef
from sync.telemetry.telemetry import Telemetry
from sync.verify.orphans import LISTED, check_orphan
from sync.verify.studies import check_study
from tests.reports import measurements
from tests.worlds import PATIENT_SYSTEM, MemoryWorld, ehr_patient, patient_of, study_id

A_FEW = 3
"""Resources of a page: listings go on."""


@pytest.fixture
async def w(fhir_embedded_azure: str) -> AsyncIterator[MemoryWorld]:
    server = HttpFhirServer(fhir_embedded_azure, telemetry=Telemetry(), page=A_FEW)
    world = MemoryWorld()
    world.fhir.server = server
    yield world
    await server.aclose()


def new_study() -> StudyRef:
    return StudyRef(study_instance_uid=f"2.25.{uuid.uuid4().int}")


async def put(w, resource):
    write = FhirWrite(resource_type=resource["resourceType"], resource_id=resource["id"], resource=resource)
    await w.fhir.server.transact([write])


async def held(w, study):
    return await w.fhir.read("ImagingStudy", study_id(study))


async def drifts_of(w, study):
    """Look at the study as verify does, and at everything of ours that the server lists."""
    differences = [await check_study(study, w.services)]
    for resource_type in LISTED:
        link = None
        while True:
            page = await w.fhir.page(resource_type, link)
            ours = [resource for resource in page.resources if resource["id"] == study_id(study)]
            differences += [await check_orphan(listed, w.services) for listed in ours]
            if (link := page.following) is None:
                break
    return [drift for drifts in differences for drift in drifts or ()]


async def test_a_patient_whose_id_only_looks_the_same_to_the_index_is_not_linked(w):
    number = uuid.uuid4().hex[:8]
    ours, theirs = f"患者{number}", f"番号{number}"
    for other in range(60):  # more than a page of false matches
        await put(w, ehr_patient(f"ehr-{number}-{other}", theirs))
    study = new_study()
    await w.arrive("a", study=study.study_instance_uid, SpecificCharacterSet="ISO_IR 192", PatientID=ours)
    assert (await held(w, study))["subject"]["reference"] == f"Patient/{patient_of(ours)}"
    assert (await w.fhir.read("Patient", patient_of(ours)))["identifier"][0]["value"] == ours
    right = ehr_patient(f"right-{number}", ours)
    await put(w, right)
    await w.replay()
    await w.project(study, redelivered=True)
    assert (await held(w, study))["subject"]["reference"] == f"Patient/{right['id']}"


async def test_what_has_arrived_is_in_order_however_often_it_is_looked_at(w):
    study = new_study()
    about = {"study": study.study_instance_uid, "PatientID": uuid.uuid4().hex}
    await w.arrive("a", ContentTime="101530.100000", TimezoneOffsetFromUTC="+0100", **about)
    report = measurements(**about, ContentDate="20260102", ContentTime="101530.500000", TimezoneOffsetFromUTC="+0100")
    await w.arrive("b", report)
    assert await drifts_of(w, study) == []
    before = len(w.fhir.written)
    for _ in range(2):
        await w.project(study, redelivered=True)
    assert len(w.fhir.written) == before


async def test_a_leap_second_is_no_reason_to_refuse_a_study(w):
    study = new_study()
    await w.arrive(
        "a",
        study=study.study_instance_uid,
        PatientID=uuid.uuid4().hex,
        StudyDate="20161231",
        StudyTime="235960",
        TimezoneOffsetFromUTC="+0000",
    )
    assert (await held(w, study))["started"] == "2016-12-31T23:59:59+00:00"
    assert w.dead_letters() == []


async def test_what_others_refer_to_outlives_the_last_instance_and_goes_after_them(w):
    study, person = new_study(), uuid.uuid4().hex
    await w.arrive("a", study=study.study_instance_uid, PatientID=person)
    theirs = {
        "resourceType": "Observation",
        "id": uuid.uuid4().hex,
        "status": "final",
        "code": {"text": "x"},
        "subject": {"reference": f"Patient/{patient_of(person)}"},
        "derivedFrom": [{"reference": f"ImagingStudy/{study_id(study)}"}],
    }
    await put(w, theirs)
    await w.go("a")
    assert (await held(w, study))["status"] == "cancelled"
    assert (await w.fhir.read("Patient", patient_of(person)))["identifier"][0]["system"] == PATIENT_SYSTEM
    assert await drifts_of(w, study) == []
    await w.fhir.server.transact([FhirWrite(resource_type="Observation", resource_id=theirs["id"])])
    await w.project(study, redelivered=True)
    assert await held(w, study) is None
    assert await w.fhir.read("Patient", patient_of(person)) is None
