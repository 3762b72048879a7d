"""What the sync takes for granted of a FHIR service, in memory, of the embedded server and of HAPI."""

import asyncio
import json

import httpx
import pytest

from sync.adapters.http.fhir.server import HttpFhirServer
from sync.errors import FhirConflict, FhirRejected
from sync.mapping.ownership import differs
from sync.mapping.resource import version_of
from sync.model import FhirWrite
from sync.telemetry.telemetry import Telemetry
from sync.testing.fhir import MemoryFhirServer
from tests.contract.fhir_resources import ODD_VALUE, SYSTEM, delete, mapped, patient, put
from tests.contract.fhir_servers import FHIR_SERVERS, fhir_server
from tests.contract.storage import fresh


@pytest.fixture(params=FHIR_SERVERS)
async def fhir(request):
    async with fhir_server(request) as server:
        yield server


async def matching(fhir, value, system=SYSTEM):
    return [resource["id"] for resource in await fhir.search("Patient", system, value)]


async def name_of(fhir, held):
    return (await fhir.read("Patient", held["id"]))["name"][0]["text"]


def named(text, resource_id=None):
    return patient(resource_id, name=[{"text": text}])


async def test_what_never_was_reads_as_none(fhir):
    assert await fhir.read("Patient", fresh()) is None
    assert await fhir.read("ImagingStudy", fresh()) is None


async def test_a_put_creates_under_the_id_that_we_chose(fhir):
    [version] = await fhir.transact([put(wanted := named("A"))])
    held = await fhir.read("Patient", wanted["id"])
    assert (held["id"], version_of(held)) == (wanted["id"], version)
    assert not differs(held, wanted)


async def test_a_put_replaces_and_gives_another_version(fhir):
    wanted = named("A")
    [first] = await fhir.transact([put(wanted)])
    [second] = await fhir.transact([put(named("B", wanted["id"]))])
    assert first != second
    assert await name_of(fhir, wanted) == "B"


async def test_if_match_with_the_version_just_given_succeeds(fhir):
    wanted = named("A")
    [first] = await fhir.transact([put(wanted)])
    [second] = await fhir.transact([put(named("B", wanted["id"]), first)])
    await fhir.transact([put(named("C", wanted["id"]), second)])
    assert await name_of(fhir, wanted) == "C"


async def test_if_match_with_an_old_version_is_a_conflict_and_changes_nothing(fhir):
    wanted = named("A")
    [first] = await fhir.transact([put(wanted)])
    await fhir.transact([put(named("B", wanted["id"]))])
    with pytest.raises(FhirConflict):
        await fhir.transact([put(named("C", wanted["id"]), first)])
    assert await name_of(fhir, wanted) == "B"


async def test_if_match_on_what_was_deleted_is_a_conflict_and_creates_nothing(fhir):
    wanted = named("A")
    [version] = await fhir.transact([put(wanted)])
    await fhir.transact([delete(wanted)])
    with pytest.raises(FhirConflict):
        await fhir.transact([put(wanted, version)])
    assert await fhir.read("Patient", wanted["id"]) is None


async def test_of_two_updates_of_one_version_at_once_one_succeeds(fhir):
    wanted = named("A")
    [first] = await fhir.transact([put(wanted)])
    both = [fhir.transact([put(named(text, wanted["id"]), first)]) for text in "BC"]
    outcomes = await asyncio.gather(*both, return_exceptions=True)
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["FhirConflict", "list"]


async def test_a_failing_entry_is_noticed_beside_others_that_succeed(fhir):
    first, second = named("A"), named("A")
    await fhir.transact([put(first), put(second)])
    with pytest.raises(FhirConflict):
        await fhir.transact([put(named("B", first["id"])), put(named("B", second["id"]), "77")])
    assert await name_of(fhir, second) == "A"


async def test_deleting_may_be_repeated_and_what_never_was_may_be_deleted(fhir):
    wanted = patient()
    await fhir.transact([put(wanted)])
    for _ in range(2):
        assert await fhir.transact([delete(wanted)]) == [None]
        assert await fhir.read("Patient", wanted["id"]) is None
    assert await fhir.transact([delete(patient())]) == [None]


async def test_what_was_deleted_is_created_again_under_a_version_it_never_had(fhir):
    wanted = patient()
    [first] = await fhir.transact([put(wanted)])
    await fhir.transact([delete(wanted)])
    [again] = await fhir.transact([put(wanted)])
    assert again != first
    assert version_of(await fhir.read("Patient", wanted["id"])) == again


async def test_versions_stand_in_the_order_of_the_writes(fhir):
    gone, old, new = patient(), named("A"), patient()
    await fhir.transact([put(gone), put(old)])
    versions = await fhir.transact([put(new), delete(gone), put(named("B", old["id"]))])
    assert versions[1] is None
    held = [await fhir.read("Patient", resource["id"]) for resource in (new, old)]
    assert [version_of(resource) for resource in held] == [versions[0], versions[2]]


async def test_many_are_read_in_the_order_of_asking_and_what_is_not_there_is_none(fhir):
    first, second, gone = named("A"), named("B"), patient()
    [_, version, _] = await fhir.transact([put(first), put(second), put(gone)])
    await fhir.transact([delete(gone)])
    asked = [second, patient(), gone, first]
    held = await fhir.read_all([f"Patient/{resource['id']}" for resource in asked])
    assert [resource and resource["id"] for resource in held] == [second["id"], None, None, first["id"]]
    assert version_of(held[0]) == version
    assert not differs(held[0], second)


async def test_more_are_read_than_one_request_takes(fhir):
    wanted = named("A")
    await fhir.transact([put(wanted)])
    held = await fhir.read_all([f"Patient/{wanted['id']}"] * 2 + [f"Patient/{fresh()}" for _ in range(500)])
    assert [resource is not None for resource in held] == [True, True] + [False] * 500


async def test_a_search_finds_all_that_carry_the_identifier_and_no_others(fhir):
    value = fresh()
    ours = [patient(value=value) for _ in range(3)]
    await fhir.transact([put(resource) for resource in [*ours, patient()]])
    assert sorted(await matching(fhir, value)) == sorted(resource["id"] for resource in ours)
    assert await matching(fhir, value, "urn:example:others") == []
    assert await matching(fhir, fresh()) == []


async def test_a_search_finds_more_than_are_on_a_page(fhir):
    value = fresh()
    ours = [patient(value=value) for _ in range(60)]
    await fhir.transact([put(resource) for resource in ours])
    assert sorted(await matching(fhir, value)) == sorted(resource["id"] for resource in ours)


async def test_a_search_sees_every_change_at_once(fhir):
    wanted = patient()
    value, other = wanted["identifier"][0]["value"], fresh()
    assert await matching(fhir, value) == []
    await fhir.transact([put(wanted)])
    assert await matching(fhir, value) == [wanted["id"]]
    await fhir.transact([put(patient(wanted["id"], other))])
    assert (await matching(fhir, value), await matching(fhir, other)) == ([], [wanted["id"]])
    await fhir.transact([delete(wanted)])
    assert await matching(fhir, other) == []


@pytest.mark.parametrize("value", [ODD_VALUE, "a,b", "a|b", "a$b", "a\\b", "a b", "a+b", "a%20b", "ü/&=#?;山田"])
async def test_an_odd_identifier_is_found_as_it_is(fhir, value):
    unique = f"{value}{fresh()}"
    wanted = patient(value=unique)
    await fhir.transact([put(wanted), put(patient(value=fresh()))])
    assert await matching(fhir, unique) == [wanted["id"]]


async def test_a_part_of_an_odd_identifier_finds_nothing(fhir):
    left, right = fresh(), fresh()
    await fhir.transact([put(patient(value=left)), put(patient(value=right))])
    assert await matching(fhir, f"{left},{SYSTEM}|{right}") == []


async def test_a_study_is_found_by_its_uid(fhir):
    made = mapped()
    await fhir.transact(made.writes)
    assert [study["id"] for study in await fhir.search("ImagingStudy", *made.identifier)] == [made.study["id"]]


async def test_what_the_mapping_wrote_reads_back_without_a_difference(fhir):
    made = mapped()
    await fhir.transact(made.writes)
    for wanted in (made.patient, made.study):
        held = await fhir.read(wanted["resourceType"], wanted["id"])
        assert not differs(held, wanted)


async def test_what_the_mapping_wrote_holds_what_servers_like_to_rewrite():
    text = json.dumps(mapped().study) + json.dumps(mapped().patient)
    for rewritten in ("10:15:30.123456+01:00", "iso21090-EN-representation", "data-absent-reason"):
        assert rewritten in text


async def test_a_study_of_three_hundred_instances_is_taken_and_given_back(fhir):
    made = mapped(instances=300)
    await fhir.transact(made.writes)
    held = await fhir.read("ImagingStudy", made.study["id"])
    assert held["numberOfInstances"] == 301
    assert not differs(held, made.study)


async def test_a_version_fences_a_study_as_it_does_a_patient(fhir):
    made = mapped()
    [_, version] = await fhir.transact(made.writes)
    changed = {**made.study, "status": "cancelled"}
    await fhir.transact([put(changed, version)])
    with pytest.raises(FhirConflict):
        await fhir.transact([put(made.study, version)])
    assert (await fhir.read("ImagingStudy", made.study["id"]))["status"] == "cancelled"


async def test_a_body_that_is_not_what_its_address_says_is_refused(fhir):
    wanted = patient()
    body = {**wanted, "resourceType": "Observation"}
    with pytest.raises(FhirRejected):
        await fhir.transact([FhirWrite(resource_type="Patient", resource_id=wanted["id"], resource=body)])


async def test_an_unchanged_put_reads_back_as_its_answer_said_whether_or_not_the_server_noticed(fhir):
    wanted = named("A")
    await fhir.transact([put(wanted)])
    [again] = await fhir.transact([put(wanted)])
    held = await fhir.read("Patient", wanted["id"])
    assert version_of(held) == again
    assert not differs(held, wanted)


@pytest.fixture(params=["memory", "hapi"])
async def strict(request):
    """A server that checks references."""
    if request.param == "memory":
        yield MemoryFhirServer(checks_references=True)
        return
    server = HttpFhirServer(request.getfixturevalue("hapi"), telemetry=Telemetry())
    yield server
    await server.aclose()


async def test_a_strict_server_notices_that_a_put_changes_nothing(strict):
    wanted = named("A")
    assert await strict.transact([put(wanted)]) == await strict.transact([put(wanted)])


async def test_a_strict_server_refuses_to_delete_what_a_study_points_to(strict):
    made = mapped()
    await strict.transact(made.writes)
    with pytest.raises((FhirConflict, FhirRejected)):
        await strict.transact([delete(made.patient)])
    await strict.transact([delete(made.study), delete(made.patient)])
    assert await strict.read("Patient", made.patient["id"]) is None


async def test_a_strict_server_refuses_a_study_of_a_missing_patient_and_all_that_came_with_it(strict):
    made, beside = mapped(), patient()
    with pytest.raises(FhirRejected):
        await strict.transact([put(beside), put(made.study)])
    assert await strict.read("ImagingStudy", made.study["id"]) is None
    assert await strict.read("Patient", beside["id"]) is None


@pytest.mark.parametrize("kind", ["patient", "study"])
async def test_hapi_finds_no_error_in_what_the_mapping_makes(hapi, kind):
    resource = getattr(mapped(), kind)
    async with httpx.AsyncClient(timeout=120) as client:
        answer = await client.post(f"{hapi}/{resource['resourceType']}/$validate", json=resource)
    issues = [issue for issue in answer.json()["issue"] if issue["severity"] in ("error", "fatal")]
    assert issues == []
