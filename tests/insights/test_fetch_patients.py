"""A watch fetches all records of a person, whichever of the merged Patients it starts with."""

import httpx
import pytest

from insights.fetch.patients import fetch_patients
from insights.fetch.service import connected
from insights.merges import MAX_MERGES
from insights.timeline.gather import gather
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


@pytest.mark.parametrize("odd", [7, "x", {}, [None], ["x"], [7], {"other": 7}, [{"other": "x", "manipulated": [1]}]])
async def test_references_of_another_type_refer_to_nothing(tmp_path, odd):
    about = {"id": "1", "subject": {"reference": "Patient/p0"}}
    held = {
        "Patient": {"resourceType": "Patient", "id": "p0", "link": odd},
        "Observation": {"resourceType": "Observation", **about, "device": odd},
        "Procedure": {"resourceType": "Procedure", **about, "focalDevice": odd},
        "DiagnosticReport": {"resourceType": "DiagnosticReport", **about, "resultsInterpreter": odd},
    }

    def answer(request):
        kind = request.url.path.rpartition("/")[2]
        if kind == "p0":
            return httpx.Response(200, json=held["Patient"])
        is_named = kind in held and "link" not in request.url.params
        entries = [{"resource": held[kind]}] if is_named else []
        return httpx.Response(200, json={"resourceType": "Bundle", "type": "searchset", "entry": entries})

    async with connected(BASE, transport=httpx.MockTransport(answer)) as service:
        data, people = await fetch_patients(service, ["p0"], tmp_path, "2026-01-01T00:00:00Z")
        timeline = await gather(service, "p0")
    assert (set(data.by_type), people) == (set(held), {"p0"})
    assert timeline.missing == {}
