"""
Reads a patient and all linked Patients from a FHIR service: eight searches at once, none silently incomplete.

Sources: FHIR R4 patient.html#links (``link.other``), search.html (``_count``, multiple values are OR).
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from insights.errors import InsightsError, TimelineError
from insights.fetch.asked import is_asked_for
from insights.fetch.service import FhirService, failed, refused
from insights.timeline.entries import LANES
from sync.adapters.http.fhir.answers import following, is_gone, matches, object_of, one_resource
from sync.errors import SyncError
from sync.model.elements import part, parts, text

Resource = dict[str, Any]

PAGES = 10
PAGE = 200
IMAGING = "http://terminology.hl7.org/CodeSystem/observation-category|imaging"
_ID = re.compile(r"^[A-Za-z0-9.-]{1,64}$")


@dataclass(frozen=True, slots=True)
class Gathered:
    """
    The results of all searches.

    Attributes
    ----------
    patients
        Ids: first the requested one, then those linked to it.
    missing
        Lane -> why it is missing or incomplete.
    """

    patients: tuple[str, ...]
    patient: Resource
    resources: tuple[Resource, ...]
    missing: Mapping[str, str]


async def gather(service: FhirService, patient: str) -> Gathered:
    """
    Read all resources about a patient.

    Raises
    ------
    TimelineError
        ``timeline.no_patient``.
    Unavailable
        The patient could not be read. If a search fails, its lane is marked.
    """
    identity = patient.removeprefix("Patient/")
    resource = await _read(service, identity)
    linked, problem = await _linked(service, resource)
    ids = (identity, *(other for other in linked if other != identity))
    lanes = await asyncio.gather(*(_lane(service, kind, ids) for kind in LANES))
    missing = {LANES[kind]: why for kind, (_, why) in zip(LANES, lanes, strict=True) if why}
    if problem:
        missing["Linked patients"] = problem
    return Gathered(ids, resource, tuple(one for resources, _ in lanes for one in resources), missing)


async def _read(service: FhirService, identity: str) -> Resource:
    if not _ID.match(identity):
        raise TimelineError("this is no id of a Patient", code="timeline.no_patient", hint="Give the id in FHIR.")
    answer = await service.get(f"/Patient/{identity}", Cache_Control="no-cache")
    if is_gone(answer):
        raise TimelineError("there is no such patient", code="timeline.no_patient", hint="Give the id in FHIR.")
    if answer.is_error:
        raise refused("reading the patient", answer)
    try:
        return one_resource(object_of(answer), "Patient", identity) or {}
    except SyncError as problem:
        raise failed("reading the patient", problem) from None


async def _linked(service: FhirService, patient: Resource) -> tuple[list[str], str]:
    """Return the ids of Patients that this one names or that name it, and the text of a failure."""
    named = [text(part(link, "other"), "reference") for link in parts(patient, "link")]
    ids = [reference.removeprefix("Patient/") for reference in named if reference.startswith("Patient/")]
    resources, problem = await _asked(service, "Patient", "link", [f"Patient/{patient['id']}"], "&_elements=id,link")
    ids += [str(resource.get("id")) for resource in resources if resource.get("id")]
    return sorted({identity for identity in ids if _ID.match(identity)}), problem


async def _lane(service: FhirService, kind: str, patients: Sequence[str]) -> tuple[list[Resource], str]:
    only = f"&category={quote(IMAGING, safe='')}" if kind == "Observation" else ""
    return await _asked(service, kind, "patient", [f"Patient/{patient}" for patient in patients], only)


async def _asked(
    service: FhirService, kind: str, parameter: str, values: Sequence[str], more: str
) -> tuple[list[Resource], str]:
    """Search by one parameter; if a service ignores it, results about other patients are removed and reported."""
    resources, problem = await search(service, kind, f"{parameter}={quote(','.join(values), safe=',/')}{more}")
    ours = [resource for resource in resources if is_asked_for(resource, parameter, values)]
    if len(ours) < len(resources):
        return ours, f"the service does not search {kind} by {parameter}"
    return ours, problem


async def search(service: FhirService, kind: str, query: str) -> tuple[list[Resource], str]:
    """
    Return the resources of a search, from at most the first `PAGES` pages.

    Returns
    -------
    list
        The resources, including those that an interrupted search had returned until then.
    str
        Why the list may be incomplete; empty if it is complete.
    """
    resources: list[Resource] = []
    link: str | None = f"/{kind}?{query}&_count={PAGE}"
    try:
        for _ in range(PAGES):
            answer = await service.get(str(link), Prefer="handling=strict", Cache_Control="no-cache")
            if answer.is_error:
                return resources, f"the service refuses the search ({answer.status_code})"
            resources += [dict(resource) for resource in matches(answer, kind)]
            link = following(answer, service.base, kind)
            if link is None:
                return resources, ""
    except InsightsError as problem:
        return resources, f"the search failed ({problem.code})"
    except SyncError as problem:
        return resources, f"the search failed ({problem.code})"
    return resources, f"only the first {len(resources)} are shown"
