"""Searching ImagingStudies for a list, in memory, of the embedded server and of HAPI."""

import asyncio

import pytest

from sync.adapters.http.fhir.study_search import check_study_link
from sync.config import MappingSettings
from sync.errors import ForeignLink
from sync.mapping.endpoint import build_endpoint
from sync.model import FhirWrite, StudySearch
from tests.contract.fhir_resources import mapped, put
from tests.contract.fhir_servers import FHIR_SERVERS, fhir_server

PER_PAGE = 2


@pytest.fixture(params=FHIR_SERVERS)
async def fhir(request):
    async with fhir_server(request) as server:
        yield server


async def matching(fhir, **search):
    wanted = StudySearch(count=PER_PAGE, **search)
    page = await fhir.find_studies(wanted)
    resources, total = list(page.resources), page.total
    while page.following:
        page = await fhir.find_studies(wanted, page.following)
        resources += page.resources
    return [resource["id"] for resource in resources], total


async def test_the_studies_of_a_patient_are_found_page_by_page_with_their_number(fhir):
    one, *others = [mapped() for _ in range(3 * PER_PAGE)]
    for case in (one, *others):
        await fhir.transact(case.writes)
    subjects = tuple(f"Patient/{case.patient['id']}" for case in others)
    ids, total = await matching(fhir, subjects=subjects)
    assert sorted(ids) == sorted(case.study["id"] for case in others)
    assert total == len(others)


async def test_modality_days_and_identifier_narrow_the_search(fhir):
    study = mapped()
    await fhir.transact(study.writes)
    about = {"subjects": (f"Patient/{study.patient['id']}",)}
    modality, day = study.study["modality"][0]["code"], study.study["started"][:10]
    uid = study.study["identifier"][0]["value"]
    ids = [study.study["id"]]
    assert (await matching(fhir, modality=modality, since=day, until=day, identifier=uid, **about))[0] == ids
    assert (await matching(fhir, modality="XX", **about))[0] == []
    assert (await matching(fhir, until="1901-01-01", **about))[0] == []
    assert (await matching(fhir, since="2901-01-01", **about))[0] == []
    assert (await matching(fhir, identifier="none", **about))[0] == []


async def test_the_studies_of_a_container_are_found_by_its_endpoint(fhir):
    study, other = mapped(), mapped()
    for case, container in ((study, "one"), (other, "two")):
        await fhir.transact([*case.writes, _endpoint(container)])
        placed = {**case.study, "endpoint": [{"reference": f"Endpoint/{container}"}]}
        await fhir.transact([FhirWrite(resource_type="ImagingStudy", resource_id=placed["id"], resource=placed)])
    subjects = tuple(f"Patient/{case.patient['id']}" for case in (study, other))
    assert (await matching(fhir, endpoint="Endpoint/one", subjects=subjects))[0] == [study.study["id"]]
    assert (await matching(fhir, endpoint="Endpoint/two", subjects=subjects))[0] == [other.study["id"]]
    assert (await matching(fhir, endpoint="Endpoint/none", subjects=subjects))[0] == []


def _endpoint(name):
    resource = build_endpoint(MappingSettings(dicomweb_url=f"https://images.example/{name}"))
    return FhirWrite(resource_type="Endpoint", resource_id=name, resource={**resource, "id": name})


async def test_the_order_is_that_of_what_is_stored_now(fhir):
    studies = [mapped() for _ in range(3)]
    about = {"subjects": tuple(f"Patient/{study.patient['id']}" for study in studies), "newest": "started"}
    first, second, third = ({**case.study, "started": f"2024-0{n}-01"} for n, case in enumerate(studies, 1))
    await fhir.transact([*(put(study.patient) for study in studies), put(first), put(second), put(third)])
    assert (await matching(fhir, **about))[0] == [third["id"], second["id"], first["id"]]
    await fhir.transact([put({**first, "started": "2024-09-01"}), put({**third, "started": "2023-01-01"})])
    assert (await matching(fhir, **about))[0] == [first["id"], second["id"], third["id"]]
    assert (await matching(fhir, **about, since="2024-09-01"))[0] == [first["id"]]
    await fhir.transact([FhirWrite(resource_type="ImagingStudy", resource_id=second["id"], resource=None)])
    assert await matching(fhir, **about) == ([first["id"], third["id"]], 2)
    await fhir.transact([put(second)])
    assert (await matching(fhir, **about))[0] == [first["id"], second["id"], third["id"]]


@pytest.mark.parametrize("fhir", [server for server in FHIR_SERVERS if not server.startswith("memory")], indirect=True)
async def test_what_was_written_last_comes_first(fhir):
    studies = [mapped() for _ in range(3)]
    about = {"subjects": tuple(f"Patient/{study.patient['id']}" for study in studies)}
    written = [*studies, studies[0]]
    for turn, case in enumerate(written):
        await fhir.transact([put(case.patient), put({**case.study, "started": f"2024-01-0{turn + 1}"})])
        await asyncio.sleep(0.01)  # servers note milliseconds
    assert (await matching(fhir, **about))[0] == [studies[n].study["id"] for n in (0, 2, 1)]


async def test_a_study_is_found_by_a_value_of_any_system(fhir):
    study, other = mapped(), mapped()
    number = f"A {study.ref.study_instance_uid}"
    for case, value in ((study, number), (other, f"{number}1")):
        identifiers = [*case.study["identifier"], {"system": "urn:example:accession", "value": value}]
        await fhir.transact([put(case.patient), put({**case.study, "identifier": identifiers})])
    assert (await matching(fhir, identifier=number))[0] == [study.study["id"]]
    assert (await matching(fhir, identifier=number, since="2901-01-01"))[0] == []
    await fhir.transact([put(study.study)])
    assert (await matching(fhir, identifier=number))[0] == []


async def test_what_is_found_carries_what_a_list_shows(fhir):
    study = mapped()
    await fhir.transact(study.writes)
    page = await fhir.find_studies(StudySearch(subjects=(f"Patient/{study.patient['id']}",)))
    [resource] = page.resources
    for element in ("identifier", "modality", "started", "numberOfSeries", "numberOfInstances", "status"):
        assert resource[element] == study.study[element]


@pytest.mark.parametrize(
    "link",
    [
        "/Patient?name=Doe",
        "/ImagingStudy?patient.identifier=1",
        "?_getpages=1&name=Doe",
        "?name=Doe",
        "https://elsewhere.example/ImagingStudy?_count=1",
        "/ImagingStudy/../Patient?_count=1",
    ],
)
def test_a_link_that_is_no_page_of_such_a_search_is_refused(link):
    with pytest.raises(ForeignLink):
        check_study_link(link)
