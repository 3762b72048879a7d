"""What real FHIR servers say of themselves is understood, and lacks nothing that the sync uses."""

import pytest

from sync.adapters.http.fhir.server import HttpFhirServer
from sync.errors import FhirUnavailable
from sync.telemetry.telemetry import Telemetry


@pytest.mark.parametrize("kind", ["fhir_embedded", "hapi"])
async def test_a_real_server_is_a_fhir_service_of_r4(request, kind):
    server = HttpFhirServer(request.getfixturevalue(kind), telemetry=Telemetry())
    try:
        found = await server.capabilities()
    finally:
        await server.aclose()
    assert found.fhir_version.startswith("4.0")
    assert kind != "hapi" or found.lacks == ()


async def test_a_server_of_something_else_is_not(azurite):
    blobs = next(part for part in azurite.split(";") if part.startswith("BlobEndpoint=")).partition("=")[2]
    server = HttpFhirServer(blobs, telemetry=Telemetry())
    with pytest.raises(FhirUnavailable):
        await server.capabilities()
    await server.aclose()
