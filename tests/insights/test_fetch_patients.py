"""A watch fetches all records of a person, whichever of the merged Patients it starts with."""

import httpx
import pytest

from insights.fetch.patients import fetch_patients
from insights.fetch.service import connected
from insights.merges import MAX_MERGES
from tests.insights.test_cohort import patient, replaced_by

BASE = "https://fhir.example/r4"


def merged(merges):
    """Answer searches by ``_id`` and ``link`` on Patients of which each replaces the one before."""
    people = [*(replaced_by(f"p{number}", f"p{number + 1}") for number in range(merges)), patient(f"p{merges}")]

    def answer(request):
        asked = {name: value.split(",") for name, value in request.url.params.items()}
        matching = [
            person
            for person in people
            if request.url.path == "/r4/Patient"
            and (
                person["id"] in asked.get("_id", ())
                or any(link["other"]["reference"] in asked.get("link", ()) for link in person.get("link", ()))
            )
        ]
        entries = [{"resource": person} for person in matching]
        return httpx.Response(200, json={"resourceType": "Bundle", "type": "searchset", "entry": entries})

    return httpx.MockTransport(answer)


@pytest.mark.parametrize("first", ["p0", "p4", f"p{MAX_MERGES}"])
async def test_as_many_merges_are_followed_as_a_cohort_follows(tmp_path, first):
    async with connected(BASE, transport=merged(MAX_MERGES)) as service:
        _, people = await fetch_patients(service, [first], tmp_path, "2026-01-01T00:00:00Z")
    assert people == {f"p{number}" for number in range(MAX_MERGES + 1)}


async def test_a_longer_chain_ends_the_search(tmp_path):
    async with connected(BASE, transport=merged(3 * MAX_MERGES)) as service:
        _, people = await fetch_patients(service, ["p0"], tmp_path, "2026-01-01T00:00:00Z")
    assert len(people) == MAX_MERGES + 1
