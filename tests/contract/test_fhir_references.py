"""What refers to a resource, as each FHIR service tells it."""

import pytest

from tests.contract.fhir_resources import delete, mapped, patient, put
from tests.contract.fhir_servers import FHIR_SERVERS, fhir_server
from tests.contract.storage import fresh


@pytest.fixture(params=FHIR_SERVERS)
async def fhir(request):
    async with fhir_server(request) as server:
        yield server


def report(*observations, study=None):
    return {
        "resourceType": "DiagnosticReport",
        "id": fresh(),
        "status": "final",
        "code": {"text": "x"},
        "result": [{"reference": f"Observation/{measured['id']}"} for measured in observations],
    }


def observation(**elements):
    return {"resourceType": "Observation", "id": fresh(), "status": "final", "code": {"text": "x"}, **elements}


def of(resource):
    return f"{resource['resourceType']}/{resource['id']}"


async def test_a_patient_is_referred_to_by_its_study_and_the_study_by_nothing(fhir):
    made = mapped()
    await fhir.transact(made.writes)
    assert await fhir.referrers([of(made.patient), of(made.study)]) == {
        of(made.patient): {of(made.study)},
        of(made.study): set(),
    }


async def test_a_reference_is_seen_at_once_and_is_gone_with_its_resource(fhir):
    target = patient()
    await fhir.transact([put(target)])
    assert await fhir.referrers([of(target)]) == {of(target): set()}
    seen = observation(subject={"reference": of(target)})
    await fhir.transact([put(seen)])
    assert await fhir.referrers([of(target)]) == {of(target): {of(seen)}}
    await fhir.transact([delete(seen)])
    assert await fhir.referrers([of(target)]) == {of(target): set()}


async def test_all_that_refer_are_found_and_each_stands_by_what_it_refers_to(fhir):
    ones = [observation() for _ in range(3)]
    first, second = report(*ones[:2]), report(ones[1])
    await fhir.transact([put(resource) for resource in [*ones, first, second]])
    assert await fhir.referrers(list(map(of, ones))) == {
        of(ones[0]): {of(first)},
        of(ones[1]): {of(first), of(second)},
        of(ones[2]): set(),
    }


async def test_more_are_asked_about_than_one_search_takes(fhir):
    many = [observation() for _ in range(45)]
    seen = report(many[0], many[44])
    await fhir.transact([put(resource) for resource in [*many, seen]])
    by_reference = await fhir.referrers(list(map(of, many)))
    assert {reference for reference, others in by_reference.items() if others} == {of(many[0]), of(many[44])}


async def test_more_refer_than_are_on_a_page(fhir):
    target = patient()
    many = [observation(subject={"reference": of(target)}) for _ in range(120)]
    await fhir.transact([put(resource) for resource in [target, *many]])
    assert await fhir.referrers([of(target)]) == {of(target): set(map(of, many))}


async def test_a_resource_is_known_as_it_last_was_whether_or_not_it_is_there(fhir):
    wanted = patient()
    assert await fhir.last_version("Patient", wanted["id"]) is None
    await fhir.transact([put(wanted)])
    await fhir.transact([put({**wanted, "gender": "female"})])
    assert (await fhir.last_version("Patient", wanted["id"]))["gender"] == "female"
    for _ in range(3):  # it may be gone and back again, several times
        await fhir.transact([delete(wanted)])
        last = await fhir.last_version("Patient", wanted["id"])
        assert (last["id"], last["gender"]) == (wanted["id"], "female")
        await fhir.transact([put({**wanted, "gender": "female"})])
