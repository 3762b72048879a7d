"""Where a FHIR service's links may lead: nowhere but to itself."""

import pytest

from sync.errors import FhirRejected, ForeignLink
from tests.unit.adapters.test_fhir_server import BASE, Service, says


def page_of(*links):
    return says(200, {"resourceType": "Bundle", "link": [{"relation": "next", "url": url} for url in links]})


@pytest.mark.parametrize(
    ("link", "asked"),
    [
        (f"{BASE}?_getpages=x&_count=4", f"{BASE}?_getpages=x&_count=4"),
        (f"{BASE}/Patient?ct=abc", f"{BASE}/Patient?ct=abc"),
        ("https://fhir.example:443/r4/Patient?ct=1", f"{BASE}/Patient?ct=1"),
        ("Patient?_offset=4", f"{BASE}/Patient?_offset=4"),
        ("?_getpages=y", f"{BASE}/?_getpages=y"),
    ],
)
async def test_a_link_of_the_service_itself_is_followed(link, asked):
    service = Service(page_of(link), says(200, {"resourceType": "Bundle"}))
    page = await service.client.page("Patient")
    await service.client.page("Patient", page.following)
    assert str(service.requests[1].url) == asked
    assert service.requests[1].headers["Cache-Control"] == "no-cache"


@pytest.mark.parametrize(
    "link",
    [
        "https://evil.example/r4?x=1",
        "http://fhir.example/r4?x=1",
        "https://fhir.example:8443/r4?x=1",
        "https://fhir.example/r4-of-others?x=1",
        "https://fhir.example/r4/../admin?x=1",
        "https://fhir.example@evil.example/r4?x=1",
        "//evil.example/r4?x=1",
        "https://fhir.example:port/r4",
        "http://169.254.169.254/metadata/identity",
        "file:///etc/passwd",
    ],
)
async def test_a_link_that_leads_elsewhere_is_refused_without_a_request(link):
    service = Service(page_of(link))
    with pytest.raises(ForeignLink):
        await service.client.page("Patient")
    assert len(service.requests) == 1


@pytest.mark.parametrize("link", ["@evil.example/r4", ".evil.example", "https://evil.example/"])
async def test_a_kept_link_that_is_not_relative_is_refused_without_a_request(link):
    service = Service(page_of())
    with pytest.raises(ForeignLink):
        await service.client.page("Patient", link)
    assert service.requests == []


async def test_an_expired_link_is_told_from_an_outage():
    with pytest.raises(FhirRejected):
        await Service(says(410)).client.page("Patient", "?_getpages=gone")


async def test_the_last_page_leads_nowhere():
    page = await Service(
        says(200, {"resourceType": "Bundle", "link": [{"relation": "self", "url": BASE}]})
    ).client.page("Patient")
    assert page.following is None


async def test_a_listing_asks_for_the_id_by_name_and_takes_it_from_the_address_where_it_is_missing():
    entry = {"fullUrl": f"{BASE}/Patient/pt-7", "resource": {"resourceType": "Patient"}}
    service = Service(
        says(200, {"resourceType": "Bundle", "entry": [entry, {"resource": {"resourceType": "Patient"}}]})
    )
    page = await service.client.page("Patient")
    assert service.requests[0].url.params["_elements"] == "id,identifier"
    assert list(page.resources) == [{"resourceType": "Patient", "id": "pt-7"}, {"resourceType": "Patient"}]
