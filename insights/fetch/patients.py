"""
Requests of a watch to a FHIR service: the patients changed since a time, and all records of some patients.

Source: FHIR R4 search.html (``_lastUpdated``, ``_id``, multiple values are OR), patient.html#links.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from insights.collect import Input
from insights.fetch.asked import is_asked_for
from insights.fetch.paging import PAGE, check_since, pages, unknown_parameter
from insights.fetch.service import FhirService
from insights.merges import MAX_MERGES
from sync.model.batches import batched
from sync.model.elements import Element, part, parts, text

Resource = dict[str, Any]

CHANGING = ("Condition", "DiagnosticReport", "ImagingStudy", "Observation", "Procedure", "Specimen")
"""Types that a match uses: a change of one of them may be an outcome."""

OF_PATIENT = (*CHANGING, "Consent", "ServiceRequest")
IDS = 50
"""Ids per search; a URL stays far below the limits of gateways."""


async def changed_patients(service: FhirService, since: str) -> frozenset[str]:
    """
    Return the ids of the patients whose records changed since an instant.

    Raises
    ------
    CollectError
        ``collect.search_parameter``: the service does not know ``_lastUpdated``; ``collect.refused``.
    Unavailable
        ``collect.unavailable``.
    """
    identities: set[str] = set()
    for kind in CHANGING:
        link = f"/{kind}?_lastUpdated=ge{quote(since)}&_elements=subject&_count={PAGE}"
        async for resources in pages(service, link, kind, by="_lastUpdated"):
            check_since(resources, since, kind)
            identities |= {
                identity for resource in resources for identity in _ids([part(resource, "subject")], "Patient")
            }
    return frozenset(identities)


async def fetch_patients(
    service: FhirService, patients: Iterable[str], folder: Path, time: str
) -> tuple[Input, frozenset[str]]:
    """
    Download all resources that a match of these patients needs as NDJSON files; return the files and all linked ids.

    Parameters
    ----------
    time
        Until when the data is complete.

    Raises
    ------
    CollectError
        ``collect.search_parameter``, ``collect.refused``.
    Unavailable
        ``collect.unavailable``.
    """
    people = await _linked(service, patients)
    about = [f"Patient/{person}" for person in people]
    by_type: dict[str, dict[str, Resource]] = {"Patient": people}
    for kind in OF_PATIENT:
        by_type[kind] = await search_by(service, kind, "patient", about)
    devices = [part(observation, "device") for observation in by_type["Observation"].values()]
    procedures = by_type["Procedure"].values()
    devices += [part(used, "manipulated") for procedure in procedures for used in parts(procedure, "focalDevice")]
    readers = [one for report in by_type["DiagnosticReport"].values() for one in parts(report, "resultsInterpreter")]
    by_type["Device"] = await search_by(service, "Device", "_id", _ids(devices, "Device"))
    by_type["PractitionerRole"] = await search_by(service, "PractitionerRole", "_id", _ids(readers, "PractitionerRole"))
    return _written(by_type, folder, time), frozenset(people)


async def search_by(
    service: FhirService, kind: str, parameter: str, values: Iterable[str], more: str = ""
) -> dict[str, Resource]:
    """
    Return the results of searches by several values of one parameter, by id; each search has up to `IDS` values.

    Parameters
    ----------
    more
        Further parameters of each search, beginning with ``&``.

    Raises
    ------
    CollectError
        ``collect.search_parameter``: the service refuses the parameter, or ignores it; ``collect.refused``.
    Unavailable
        ``collect.unavailable``.
    """
    by_id: dict[str, Resource] = {}
    for some in batches(values):
        link = f"/{kind}?{parameter}={quote(','.join(some), safe=',/')}{more}&_count={PAGE}"
        async for page in pages(service, link, kind, by=parameter):
            if not all(is_asked_for(resource, parameter, some) for resource in page):
                raise unknown_parameter(kind, parameter)
            by_id |= {str(resource["id"]): resource for resource in page}
    return by_id


async def _linked(service: FhirService, patients: Iterable[str]) -> dict[str, Resource]:
    """Return Patients and all Patients linked to or from them."""
    people: dict[str, Resource] = {}
    asked: set[str] = set()
    pending = set(patients)
    for _ in range(MAX_MERGES + 1):  # the first round is the patients themselves
        if not pending:
            break
        people |= await search_by(service, "Patient", "_id", pending)
        naming = await search_by(service, "Patient", "link", [f"Patient/{identity}" for identity in pending])
        asked |= pending
        named = [part(link, "other") for person in people.values() for link in parts(person, "link")]
        pending = (naming.keys() | set(_ids(named, "Patient"))) - asked
    return people


def _ids(references: Sequence[Element], kind: str) -> list[str]:
    """Return the ids of references to a type; other and absolute references are skipped."""
    stated = [text(reference, "reference") for reference in references]
    return [reference.removeprefix(f"{kind}/") for reference in stated if reference.startswith(f"{kind}/")]


def _written(by_type: dict[str, dict[str, Resource]], folder: Path, time: str) -> Input:
    files: dict[str, tuple[Path, ...]] = {}
    for kind, resources in sorted(by_type.items()):
        if resources:
            file = folder / f"{kind}.ndjson"
            file.write_text("".join(f"{json.dumps(resource)}\n" for resource in resources.values()), "utf-8")
            files[kind] = (file,)
    return Input(files, time=time)


def batches(values: Iterable[str]) -> Iterator[Sequence[str]]:
    """Iterate over ids or references, without duplicates and in order, in groups for one search each."""
    return batched(sorted(set(values)), IDS)
