"""
The timeline as a page of the function app: signed in, with a role of its own, and an AuditEvent before anything shows.

Who has the role ``timeline-all`` sees every patient; who has ``timeline`` sees those whose studies or reports name
them: a Practitioner with the signed-in name as an identifier. To all others a patient is as if it were not there.
Source: FHIR R4 auditevent.html, DICOM PS3.15 A.5 (Patient Record, Query).
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from html import escape
from typing import Any
from urllib.parse import quote

from insights.errors import InsightsError, TimelineError, Unavailable
from insights.fetch.service import FhirService, connected
from insights.timeline.entries import entries
from insights.timeline.gather import Gathered, gather, search
from insights.timeline.page import Shown, html, policy
from sync.adapters.http.fhir.answers import carries, escape_token
from sync.config import Settings
from sync.operators.access import SignedIn, signed_in

ROLE = "timeline"
ROLE_ALL = "timeline-all"
_AUDIT_TYPE = {"system": "http://dicom.nema.org/resources/ontology/DCM", "code": "110110", "display": "Patient Record"}


@dataclass(frozen=True, slots=True)
class Answer:
    """What is sent back to a browser."""

    body: str = field(repr=False)
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


async def serve(headers: Mapping[str, str], patient: str, settings: Settings) -> Answer:
    """Answer one request for the page of a patient; a failure is a page too."""
    if not settings.timeline:
        return _problem(404, "There is no such page", "DICOM_SYNC_TIMELINE is off.")
    caller = signed_in(headers, settings)
    if caller is None or not caller.name or not caller.roles & {ROLE, ROLE_ALL}:
        return _problem(403, "You may not see that", f"It takes sign-in and the role {ROLE} or {ROLE_ALL}.")
    try:
        async with connected(settings.fhir_url) as service:
            return await _shown(service, caller, patient)
    except TimelineError:
        return _absent()
    except InsightsError as problem:
        return _problem(503, "A service does not answer", f"{problem.code}: nothing is shown.")


async def _shown(service: FhirService, caller: SignedIn, patient: str) -> Answer:
    gathered = await gather(service, patient)
    if ROLE_ALL not in caller.roles and not await _is_named(service, caller.name, gathered):
        await _audit(service, caller.name, gathered, outcome="4")
        return _absent()
    await _audit(service, caller.name, gathered, outcome="0")
    return Answer(html(Shown(gathered, entries(gathered.resources))), headers=_headers())


async def _is_named(service: FhirService, name: str, gathered: Gathered) -> bool:
    """
    Return whether a study or report of the patient names the caller.

    A service may find others too, whose identifiers only look the same to its index, and more of them than a page
    holds: only who carries exactly this name counts.

    Raises
    ------
    Unavailable
        The search was refused, or did not come to its end without a match.
    """
    practitioners, problem = await search(service, "Practitioner", f"identifier={quote(escape_token(name), safe='')}")
    known = {f"Practitioner/{each['id']}" for each in practitioners if carries(each, None, name)}
    if problem and not known:
        raise Unavailable("the search for the reader did not succeed", code="collect.unavailable")
    named = {
        str(reader.get("reference"))
        for each in gathered.resources
        for reader in [*(each.get("interpreter") or ()), *(each.get("resultsInterpreter") or ())]
    }
    return bool(known & named)


async def _audit(service: FhirService, name: str, gathered: Gathered, *, outcome: str) -> None:
    """
    Record who looks at whom, before it is shown.

    Raises
    ------
    Unavailable
        The AuditEvent could not be written, so nothing may be shown.
    """
    event: dict[str, Any] = {
        "resourceType": "AuditEvent",
        "id": str(uuid.uuid4()),
        "type": _AUDIT_TYPE,
        "action": "R",
        "recorded": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "outcome": outcome,
        "agent": [{"name": name, "requestor": True}],
        "source": {"observer": {"display": "DICOM-FHIR Sync timeline"}},
        "entity": [{"what": {"reference": f"Patient/{each}"}} for each in gathered.patients],
    }
    answer = await service.put(f"/AuditEvent/{event['id']}", event)
    if answer.is_error:
        raise Unavailable("the AuditEvent is refused", code="collect.unavailable")


def _headers() -> dict[str, str]:
    return {
        "Content-Security-Policy": f"{policy()}; frame-ancestors 'none'",
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-store",
    }


def _absent() -> Answer:
    return _problem(404, "Not found", "There is no such patient, or no study of it names you.")


def _problem(status: int, heading: str, text: str) -> Answer:
    body = (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(heading)}</title></head>'
        f"<body><main><h1>{escape(heading)}</h1><p>{escape(text)}</p></main></body></html>"
    )
    return Answer(body, status, _headers())
