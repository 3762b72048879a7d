"""What refers to a resource is asked of servers that take no search in a Bundle too; refused does not mean none."""

import json

import pytest
from httpx import MockTransport, Response

from sync.adapters.http.fhir.server import HttpFhirServer
from sync.errors import FhirRejected, FhirUnavailable
from sync.telemetry.telemetry import Telemetry

BASE = "https://fhir.example/r4"
WANTED = "ImagingStudy/is-1"
REFERRER = {"resourceType": "Observation", "id": "o", "derivedFrom": [{"reference": WANTED}]}
OUTCOME = {"resourceType": "OperationOutcome", "issue": [{"severity": "error", "code": "not-supported"}]}


def searchset(*resources):
    return {"resourceType": "Bundle", "type": "searchset", "entry": [{"resource": resource} for resource in resources]}


class Server:
    """A server that refuses searches in Bundles: each entry, or the whole Bundle, or answers them."""

    def __init__(self, *, entry=400, whole=200, alone=200):
        self.entry, self.whole, self.alone = entry, whole, alone
        self.methods = []

    def __call__(self, request):
        self.methods.append(request.method)
        if request.method == "GET":
            asked = str(request.url)
            answer = searchset(REFERRER) if "/Observation?derived-from=" in asked else searchset()
            return Response(self.alone, json=answer if self.alone == 200 else OUTCOME)
        if self.whole != 200:
            return Response(self.whole, json=OUTCOME)
        urls = [entry["request"]["url"] for entry in json.loads(request.content)["entry"]]
        entries = [self._entry(url) for url in urls]
        return Response(200, json={"resourceType": "Bundle", "type": "batch-response", "entry": entries})

    def _entry(self, url):
        if self.entry != 200:
            return {"response": {"status": str(self.entry), "outcome": OUTCOME}}
        answer = searchset(REFERRER) if url.startswith("Observation?derived-from=") else searchset()
        return {"response": {"status": "200"}, "resource": answer}


async def referrers(server, times=1):
    async def soon(_):
        pass

    client = HttpFhirServer(BASE, telemetry=Telemetry(), transport=MockTransport(server), sleep=soon, entries=7)
    try:
        return [(await client.referrers([WANTED]))[WANTED] for _ in range(times)]
    finally:
        await client.aclose()


@pytest.mark.parametrize("refusal", [{"entry": 400}, {"entry": 404}, {"whole": 400}, {"whole": 422}, {"entry": 412}])
async def test_a_server_that_refuses_searches_in_bundles_is_asked_one_by_one_from_then_on(refusal):
    server = Server(**refusal)
    assert await referrers(server, times=2) == [{"Observation/o"}] * 2
    first_alone = server.methods.index("GET")
    assert set(server.methods[:first_alone]) == {"POST"}
    assert set(server.methods[first_alone:]) == {"GET"}


async def test_a_server_that_takes_them_is_never_asked_one_by_one():
    server = Server(entry=200)
    assert await referrers(server) == [{"Observation/o"}]
    assert set(server.methods) == {"POST"}


async def test_that_every_search_is_refused_does_not_mean_that_nothing_refers():
    with pytest.raises(FhirRejected):
        await referrers(Server(entry=400, alone=400))


@pytest.mark.parametrize("refusal", [{"entry": 503}, {"whole": 503}, {"entry": 400, "alone": 503}])
async def test_an_outage_is_no_refusal(refusal):
    with pytest.raises(FhirUnavailable):
        await referrers(Server(**refusal))


@pytest.mark.parametrize("refusal", [{"entry": 200}, {"whole": 400}])
async def test_where_nothing_is_asked_nothing_is_refused(refusal):
    client = HttpFhirServer(BASE, telemetry=Telemetry(), transport=MockTransport(Server(**refusal)))
    try:
        await client.referrers([WANTED])
        assert await client.referrers([]) == {}
    finally:
        await client.aclose()


class CutOff(Server):
    """A server that gives no further pages in a batch, and leads to them where a search is asked alone."""

    def __init__(self, *, alone=200):
        super().__init__(alone=alone)
        self.entry = 200

    def _entry(self, url):
        unrelated = [{**REFERRER, "id": f"o{number}", "derivedFrom": []} for number in range(10)]
        answer = searchset(*unrelated) if url.startswith("Observation?derived-from=") else searchset()
        return {"response": {"status": "200"}, "resource": answer}


async def test_a_search_of_a_batch_that_may_lack_matches_is_asked_alone():
    server = CutOff()
    assert await referrers(server) == [{"Observation/o"}]
    assert server.methods.count("GET") == 1


async def test_a_search_that_is_denied_alone_does_not_mean_that_nothing_refers():
    with pytest.raises(FhirUnavailable):
        await referrers(CutOff(alone=403))


class Known(CutOff):
    """The same, with referrers in the batch."""

    def _entry(self, url):
        several = [{**REFERRER, "id": f"o{number}"} for number in range(10)]
        answer = searchset(*several) if url.startswith("Observation?derived-from=") else searchset()
        return {"response": {"status": "200"}, "resource": answer}


async def test_what_a_batch_found_counts_where_the_search_is_refused_alone():
    assert await referrers(Known(alone=400)) == [{f"Observation/o{number}" for number in range(10)}]
