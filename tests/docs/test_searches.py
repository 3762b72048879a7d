"""Every FHIR search that a page shows is one that Azure's FHIR service takes as it is meant."""

import re
from pathlib import Path
from urllib.parse import parse_qsl

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [*sorted((ROOT / "docs").rglob("*.md")), ROOT / "README.md"]
TYPES = "Condition|Device|DiagnosticReport|DocumentReference|Endpoint|ImagingStudy|Observation|Patient"
SEARCH = re.compile(rf"(?:\bGET |`)((?:{TYPES})(?:\?|/[A-Za-z0-9-]+/\$)[^\s`]*)")

PARAMETERS = {
    "DiagnosticReport": "based-on category code conclusion date identifier issued patient result status subject",
    "DocumentReference": "author category date identifier patient related relatesto status subject type",
    "ImagingStudy": "basedon bodysite dicom-class endpoint identifier instance interpreter modality patient performer "
    "reason referrer series started status subject",
    "Observation": "based-on category code code-value-concept code-value-quantity component-code "
    "component-code-value-quantity component-value-quantity date derived-from device focus has-member identifier "
    "method part-of patient performer status subject value-concept value-quantity value-string",
    "Patient": "active birthdate deceased family gender general-practitioner given identifier link name organization",
}
"""Search parameters of R4 by type, as far as pages may show them; another one is ignored by the service."""

TYPED_CHAINS = {"patient": {"identifier"}, "subject": {"identifier"}}
"""Chained parameters that several possible types of a reference have: 403 unless the type is named."""

SORTABLE = {"birthdate", "date", "family", "given", "issued", "name", "started", "_lastUpdated"}
"""Parameters of type date or string; a search sorted by another one comes unsorted, with a warning."""

CONTROL = {"_count", "_elements", "_id", "_include", "_lastUpdated", "_revinclude", "_sort", "_summary"}
OPERATIONS = {"Patient": {"$everything"}}
MOST = 1000
"""Resources of a page, and of all that is included."""


def searches():
    return [(page.name, found) for page in PAGES for found in SEARCH.findall(page.read_text("utf-8"))]


def faults(search):
    """Return what the service does not take, or takes otherwise; nothing when all is well."""
    resource_type, _, rest = search.partition("?")
    if "/" in resource_type:
        kind, *_, operation = resource_type.split("/")
        return [] if operation in OPERATIONS.get(kind, ()) else [f"no such operation: {operation}"]
    return [fault for name, value in parse_qsl(rest) for fault in _faults_of(resource_type, name, value)]


def _faults_of(resource_type, name, value):
    code, _, chained = name.partition(".")
    plain, _, modifier = code.partition(":")
    if plain == "_has":
        _, other, reference, parameter = name.split(":")
        return [] if {reference, parameter} <= known(other) else [f"unknown parameter in {name}"]
    if plain in CONTROL:
        return list(_faults_of_control(plain, value))
    if plain not in known(resource_type):
        return [f"unknown parameter {plain}"]
    if chained and not modifier and chained in TYPED_CHAINS.get(plain, ()):
        return [f"{name} needs the type: {plain}:Patient.{chained}"]
    if chained and chained not in known(modifier or "Patient"):
        return [f"unknown parameter {chained}"]
    return []


def _faults_of_control(name, value):
    if name == "_sort" and value.removeprefix("-") not in SORTABLE:
        yield f"sorts by one date or string only, not by {value}"
    if name == "_count" and int(value) > MOST:
        yield f"a page holds {MOST} at most"
    if name == "_elements" and "id" not in value.split(","):
        yield "without id nothing that is found can be told apart"


def known(resource_type):
    return set(PARAMETERS.get(resource_type, "").split())


def test_there_are_searches_to_look_at():
    assert len(searches()) > 10


@pytest.mark.parametrize(("page", "search"), searches())
def test_a_search_of_a_page_is_taken_as_it_is_meant(page, search):
    assert faults(search) == [], page


@pytest.mark.parametrize(
    "search",
    [
        "ImagingStudy?patient.identifier=a|b",
        "ImagingStudy?_sort=-started,modality",
        "ImagingStudy?_sort=modality",
        "ImagingStudy?colour=red",
        "Patient?_count=2000",
        "Patient?_elements=identifier",
        "Patient?_has:ImagingStudy:patient:colour=red",
        "ImagingStudy/x/$everything",
    ],
)
def test_a_search_that_the_service_refuses_or_mistakes_is_noticed(search):
    assert faults(search) != []
