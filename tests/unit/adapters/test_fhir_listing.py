"""Where a FHIR service's links may lead: nowhere but to itself."""

import pytest

from sync.errors import FhirRejected, FhirUnavailable, ForeignLink
from tests.unit.adapters.test_fhir_server import BASE, TALKATIVE, Service, bundle_of, says, searchset


def page_of(*links):
    return searchset(link=[{"relation": "next", "url": url} for url in links])


@pytest.mark.parametrize(
    ("link", "asked"),
    [
        (f"{BASE}?_getpages=x&_count=4", f"{BASE}?_getpages=x&_count=4"),
        (f"{BASE}/Patient?ct=abc", f"{BASE}/Patient?ct=abc"),
        ("https://fhir.example:443/r4/Patient?ct=1", f"{BASE}/Patient?ct=1"),
        ("Patient?_offset=4", f"{BASE}/Patient?_offset=4"),
        ("?_getpages=y", f"{BASE}/?_getpages=y"),
        ("http://internal:8080/r4?_getpages=x", f"{BASE}?_getpages=x"),
        ("http://internal:8080/r4/Patient?ct=abc", f"{BASE}/Patient?ct=abc"),
        ("http://internal:8080/hapi/r4?_getpages=x", f"{BASE}?_getpages=x"),
        ("http://10.0.0.7/fhir/Patient?page=2", f"{BASE}/Patient?page=2"),
        ("//evil.example/r4?x=1", f"{BASE}?x=1"),
        ("https://fhir.example@evil.example/r4?x=1", f"{BASE}?x=1"),
    ],
)
async def test_a_link_of_the_service_is_asked_of_our_base_url_whatever_host_it_names(link, asked):
    service = Service(page_of(link), searchset())
    page = await service.client.page("Patient")
    await service.client.page("Patient", page.following)
    assert str(service.requests[1].url) == asked
    assert service.requests[1].headers["Cache-Control"] == "no-cache"


@pytest.mark.parametrize(
    "link",
    [
        "https://evil.example/other?x=1",
        "https://evil.example/Observation?x=1",
        "http://internal:8080/hapi/r4",
        "https://fhir.example/r4-of-others?x=1",
        "https://fhir.example/r4/../admin?x=1",
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
        await Service(says(410, TALKATIVE)).client.page("Patient", "?_getpages=gone")


async def test_the_last_page_leads_nowhere():
    page = await Service(searchset(link=[{"relation": "self", "url": BASE}])).client.page("Patient")
    assert page.following is None


@pytest.mark.parametrize(
    "garbled", [{"entry": 0}, {"entry": {}}, {"link": 7}, {"link": {"next": BASE}}, {"link": [""]}]
)
async def test_entries_and_links_that_are_no_list_do_not_mean_that_there_are_none(garbled):
    for call in (("page", "Patient"), ("search", "Patient", "a", "b")):
        name, *arguments = call
        with pytest.raises(FhirUnavailable) as problem:
            await getattr(Service(searchset(**garbled)).client, name)(*arguments)
        assert problem.value.code == "fhir.garbled"


async def test_a_listing_asks_for_the_id_by_name_and_takes_it_from_the_address_where_it_is_missing():
    entry = {"fullUrl": f"{BASE}/Patient/pt-7", "resource": {"resourceType": "Patient"}}
    service = Service(searchset(entry, {"resource": {"resourceType": "Patient"}}))
    page = await service.client.page("Patient")
    assert service.requests[0].url.params["_elements"] == "id,identifier"
    assert list(page.resources) == [{"resourceType": "Patient", "id": "pt-7"}, {"resourceType": "Patient"}]


PATIENT = {"resourceType": "Patient", "id": "ehr-1", "identifier": [{"system": "a", "value": "Zz1"}]}


@pytest.mark.parametrize(
    ("link", "method", "asked"),
    [
        (f"{BASE}?_getpages=x", "GET", f"{BASE}?_getpages=x"),
        ("http://internal:8080/r4/Patient?identifier=a%7CZz1&ct=abc", "POST", f"{BASE}/Patient/_search"),
    ],
)
async def test_a_look_up_whose_first_page_is_empty_is_followed(link, method, asked):
    """Believing the empty page made a second Patient beside the EHR's. An identifier stays out of addresses."""
    service = Service(bundle_of(following=link), bundle_of(PATIENT))
    assert await service.client.search("Patient", "a", "Zz1") == [PATIENT]
    assert (service.requests[1].method, str(service.requests[1].url)) == (method, asked)
    if method == "POST":
        assert service.requests[1].content == b"identifier=a%7CZz1&ct=abc"
    assert all("Zz1" not in str(request.url) for request in service.requests)


async def test_a_look_up_that_never_ends_is_no_answer():
    with pytest.raises(FhirUnavailable):
        await Service(bundle_of(following=f"{BASE}?_getpages=x")).client.search("Patient", "a", "b")


async def test_a_list_that_leads_to_itself_is_no_answer():
    service = Service(page_of("?_getpages=x"))
    page = await service.client.page("Patient")
    with pytest.raises(FhirUnavailable):
        await service.client.page("Patient", page.following)
