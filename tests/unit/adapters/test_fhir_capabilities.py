"""A FHIR service is distinguished from any web page, and what it lacks of what we use is named."""

import httpx
import pytest

from sync.adapters.http.fhir.capabilities import SEARCHED, WRITTEN, capabilities_in
from sync.errors import FhirUnavailable
from tests.unit.adapters.test_fhir_server import Service, says


def whole():
    resources = [
        {
            "type": kind,
            "versioning": "versioned-update",
            "interaction": [{"code": code} for code in ("read", "update", "delete", "search-type")],
            "searchParam": [{"name": name} for name in SEARCHED.get(kind, ())],
        }
        for kind in WRITTEN
    ]
    rest = {"mode": "server", "interaction": [{"code": "transaction"}, {"code": "batch"}], "resource": resources}
    software = {"name": "Server", "version": "1"}
    return {"resourceType": "CapabilityStatement", "fhirVersion": "4.0.1", "software": software, "rest": [rest]}


def without(change):
    statement = whole()
    change(statement["rest"][0])
    return capabilities_in(statement).lacks


def test_a_service_that_has_all_lacks_nothing():
    capabilities = capabilities_in(whole())
    assert (capabilities.software, capabilities.fhir_version, capabilities.lacks) == ("Server 1", "4.0.1", ())
    assert capabilities.says() == "Server 1, FHIR 4.0.1"


@pytest.mark.parametrize(
    ("change", "lacks"),
    [
        (lambda rest: rest["interaction"].pop(0), "transaction"),
        (lambda rest: rest["resource"].pop(1), "Patient"),
        (lambda rest: rest["resource"][0].update(versioning="no-version"), "ImagingStudy If-Match"),
        (lambda rest: rest["resource"][0]["searchParam"].pop(0), "ImagingStudy search by identifier"),
        (lambda rest: rest["resource"][1]["interaction"].pop(), "Patient search"),
        (lambda rest: rest["resource"][0]["interaction"].pop(2), "ImagingStudy delete"),
        (lambda rest: rest["resource"][0].update(updateCreate=False), "ImagingStudy update as create"),
    ],
)
def test_what_is_not_claimed_is_named(change, lacks):
    assert without(change) == (lacks,)


@pytest.mark.parametrize(
    "garbage", [{}, {"rest": 5}, {"rest": [5, {"mode": "server", "resource": [None]}]}, {"software": []}]
)
def test_whatever_a_statement_holds_it_is_read(garbage):
    assert "transaction" in capabilities_in({**whole(), "rest": [], **garbage}).lacks


HTML = httpx.Response(200, html="<html>welcome</html>")


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (HTML, "fhir.not_fhir"),
        (says(404, {"resourceType": "OperationOutcome"}), "fhir.not_fhir"),
        (says(200, {"resourceType": "Patient"}), "fhir.not_fhir"),
        (says(200, {**whole(), "fhirVersion": "5.0.0"}), "fhir.version"),
        (says(200, {**whole(), "fhirVersion": None}), "fhir.version"),
        (says(503), "fhir.unavailable"),
    ],
)
async def test_what_is_no_fhir_service_of_r4_is_told_so(answer, code):
    with pytest.raises(FhirUnavailable) as caught:
        await Service(answer).client.capabilities()
    assert caught.value.code == code
