"""
Serves the timeline in the function app: to signed-in users with one of its roles, after an AuditEvent.

A user with the role ``timeline-all`` sees every patient. A user with ``timeline`` sees the patients whose studies or
reports name the user: a Practitioner with the signed-in name as an identifier. Any other patient appears not to exist.
Source: FHIR R4 auditevent.html, DICOM PS3.15 A.5 (Patient Record, Query).
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote

from insights.errors import InsightsError, TimelineError, Unavailable
from insights.fetch.service import FhirService, connected
from insights.pages import Answer, problem, record_access
from insights.pages import headers as page_headers
from insights.timeline.entries import entries
from insights.timeline.gather import Gathered, gather, search
from insights.timeline.page import Shown, html, policy
from sync.adapters.http.fhir.answers import carries, escape_token
from sync.config import Settings
from sync.operators.access import SignedIn, signed_in

ROLE = "timeline"
ROLE_ALL = "timeline-all"


async def serve(headers: Mapping[str, str], patient: str, settings: Settings) -> Answer:
    """Answer one request for the page of a patient; a failure is also answered with a page."""
    if not settings.timeline:
        return problem(404, "There is no such page", "DICOM_SYNC_TIMELINE is off.")
    caller = signed_in(headers, settings)
    if caller is None or not caller.name or not caller.roles & {ROLE, ROLE_ALL}:
        return problem(403, "You may not see that", f"Sign in with an account with the app role {ROLE} or {ROLE_ALL}.")
    try:
        async with connected(settings.fhir_url) as service:
            return await _shown(service, caller, patient)
    except TimelineError:
        return _absent()
    except InsightsError as failure:
        return problem(503, "A service does not answer", f"{failure.code}: nothing is shown.")


async def _shown(service: FhirService, caller: SignedIn, patient: str) -> Answer:
    gathered = await gather(service, patient)
    if ROLE_ALL not in caller.roles and not await _is_named(service, caller.name, gathered):
        await record_access(service, caller.name, _patients(gathered), page="timeline", outcome="4")
        return _absent()
    await record_access(service, caller.name, _patients(gathered), page="timeline")
    return Answer(html(Shown(gathered, entries(gathered.resources))), headers=page_headers(policy()))


def _patients(gathered: Gathered) -> list[str]:
    return [f"Patient/{patient}" for patient in gathered.patients]


async def _is_named(service: FhirService, name: str, gathered: Gathered) -> bool:
    """
    Return whether a study or report of the patient names the caller.

    A service may also return others, whose identifiers only look the same to its index, and more of them than fit on
    one page: only a Practitioner with exactly this name counts.

    Raises
    ------
    Unavailable
        The search was refused, or ended early without a match.
    """
    practitioners, problem = await search(service, "Practitioner", f"identifier={quote(escape_token(name), safe='')}")
    known = {
        f"Practitioner/{practitioner['id']}" for practitioner in practitioners if carries(practitioner, None, name)
    }
    if problem and not known:
        raise Unavailable("the search for the reader did not succeed", code="collect.unavailable")
    named = {
        str(reader.get("reference"))
        for resource in gathered.resources
        for reader in [*(resource.get("interpreter") or ()), *(resource.get("resultsInterpreter") or ())]
    }
    return bool(known & named)


def _absent() -> Answer:
    return problem(404, "Not found", "There is no such patient, or no study of it names you.")
