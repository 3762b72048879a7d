"""Listing a FHIR service page by page, in memory, of the embedded server and of HAPI."""

import pytest

from tests.contract.fhir_resources import delete, mapped, patient, put
from tests.contract.fhir_servers import FHIR_SERVERS, fhir_server
from tests.contract.storage import fresh

A_FEW = 4
"""Resources of a page here: listings have to go on."""


@pytest.fixture(params=FHIR_SERVERS)
async def fhir(request):
    async with fhir_server(request, A_FEW) as server:
        yield server


async def listed(fhir, resource_type, **about):
    page = await fhir.page(resource_type, **about)
    resources = list(page.resources)
    while page.following:
        page = await fhir.page(resource_type, page.following)
        resources += page.resources
    return resources


async def test_a_listing_of_several_pages_holds_every_resource_once(fhir):
    ours = [patient(f"{fresh()[:8]}-{number}") for number in range(3 * A_FEW)]
    await fhir.transact([put(resource) for resource in ours])
    ids = [resource["id"] for resource in await listed(fhir, "Patient")]
    assert len(ids) == len(set(ids))
    assert {resource["id"] for resource in ours} <= set(ids)


async def test_what_is_listed_carries_its_identifiers(fhir):
    wanted = patient()
    await fhir.transact([put(wanted)])
    [listed_one] = [resource for resource in await listed(fhir, "Patient") if resource["id"] == wanted["id"]]
    assert listed_one["identifier"] == wanted["identifier"]


async def test_a_listing_sees_what_came_and_went_just_before(fhir):
    one, other = patient(), patient()
    await fhir.transact([put(one), put(other)])
    await listed(fhir, "Patient")
    await fhir.transact([delete(one)])
    ids = {resource["id"] for resource in await listed(fhir, "Patient")}
    assert (one["id"] in ids, other["id"] in ids) == (False, True)


async def test_a_listing_about_a_patient_holds_the_studies_of_no_other(fhir):
    one, other = mapped(), mapped()
    await fhir.transact([*one.writes, *other.writes])
    studies = await listed(fhir, "ImagingStudy", subject=f"Patient/{one.patient['id']}")
    assert [resource["id"] for resource in studies] == [one.study["id"]]


async def test_a_type_of_which_there_is_nothing_is_one_empty_page(fhir):
    page = await fhir.page("ImagingStudy", subject=f"Patient/{fresh()}")
    assert (list(page.resources), page.following) == ([], None)
