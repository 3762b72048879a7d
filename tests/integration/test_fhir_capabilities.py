"""What real FHIR servers say of themselves is understood, and lacks nothing that the sync uses."""

import httpx
import pytest

from sync.adapters.http.fhir.capabilities import capabilities_in
from sync.adapters.http.fhir.server import HttpFhirServer
from sync.errors import FhirUnavailable
from sync.telemetry.telemetry import Telemetry


@pytest.mark.parametrize("kind", ["fhir_embedded", "hapi"])
async def test_a_real_server_is_a_fhir_service_of_r4(request, kind):
    server = HttpFhirServer(request.getfixturevalue(kind), telemetry=Telemetry())
    try:
        capabilities = await server.capabilities()
    finally:
        await server.aclose()
    assert capabilities.fhir_version.startswith("4.0")
    assert kind != "hapi" or capabilities.lacks == ()


async def test_a_server_of_something_else_is_not(azurite):
    blobs = next(part for part in azurite.split(";") if part.startswith("BlobEndpoint=")).partition("=")[2]
    server = HttpFhirServer(blobs, telemetry=Telemetry())
    with pytest.raises(FhirUnavailable):
        await server.capabilities()
    await server.aclose()


def _without_transaction(rest):
    rest["interaction"] = [concept for concept in rest.get("interaction", []) if concept["code"] != "transaction"]


def _without_patients(rest):
    rest["resource"] = [resource for resource in rest["resource"] if resource["type"] != "Patient"]


def _without_versions(rest):
    for resource in rest["resource"]:
        if resource["type"] == "ImagingStudy":
            resource["versioning"] = "no-version"


@pytest.mark.parametrize(
    ("change", "lacking"),
    [
        (_without_transaction, {"transaction"}),
        (_without_patients, {"Patient"}),
        (_without_versions, {"ImagingStudy If-Match"}),
    ],
)
async def test_a_server_that_claims_less_is_a_fhir_service_and_what_it_lacks_is_named(fhir_embedded, change, lacking):
    async with httpx.AsyncClient(timeout=60) as client:
        statement = (await client.get(f"{fhir_embedded}/metadata")).json()
    before = set(capabilities_in(statement).lacks)
    statement["software"] = {"name": "Another", "version": "3"}
    change(statement["rest"][0])
    other = httpx.MockTransport(lambda _: httpx.Response(200, json=statement))
    server = HttpFhirServer("https://fhir.example/r4", telemetry=Telemetry(), transport=other)
    capabilities = await server.capabilities()
    await server.aclose()
    assert set(capabilities.lacks) - before == lacking
    assert capabilities.says().startswith("Another 3, FHIR 4.0")
