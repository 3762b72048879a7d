"""
Every FHIR search that a page or the source shows is one that Azure's FHIR service takes as it is meant.

Searches that are put together when they are needed are checked as they are asked: see `tests.asked`.
"""

import re
from pathlib import Path

import pytest

from tests.azure_searches import faults

ROOT = Path(__file__).parents[2]
PAGES = [
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "docs" / "examples").rglob("*.yaml")),
    *sorted((ROOT / "insights").rglob("*.html")),
    *sorted((ROOT / "sync" / "web" / "templates").rglob("*.html")),
    ROOT / "README.md",
]
SOURCES = [path for folder in ("insights", "sync") for path in sorted((ROOT / folder).rglob("*.py"))]
TYPES = (
    "AuditEvent|Condition|Device|DiagnosticReport|DocumentReference|Encounter|Endpoint|ImagingStudy|"
    "MedicationAdministration|MedicationRequest|Observation|Patient|Practitioner|Procedure"
)
SEARCH = re.compile(rf"(?:\bGET |`|/fhir/|[\"'/])((?:{TYPES})(?:\?[a-z_:]|/[A-Za-z0-9-]+/\$)[^\s`\"'<]*)")


def searches():
    by_path = [(path, match) for path in PAGES for match in SEARCH.findall(path.read_text("utf-8"))]
    by_path += [(path, _filled(match)) for path in SOURCES for match in SEARCH.findall(path.read_text("utf-8"))]
    return [(str(path.relative_to(ROOT)), search) for path, search in by_path]


def _filled(search):
    return re.sub(r"\{[^}]*\}", "x", search)


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
