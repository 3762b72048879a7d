"""
Serves the inbox in the function app: to signed-in readers with a role, only their own items, after an AuditEvent.

A mark is written after its AuditEvent, and only from a form of this page: a request from another site is refused.
Source: FHIR R4 auditevent.html; W3C "Fetch Metadata Request Headers".
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from urllib.parse import parse_qs

from insights.errors import InsightsError, Unavailable
from insights.fetch.service import FhirService, connected
from insights.inbox.items import MARKS, mark_of
from insights.inbox.reading import Entry, Owner, entries_of, owner_of, read_inbox
from insights.pages import Answer, headers, problem, record_access, template
from insights.timeline.page import policy, style
from sync.config import Settings
from sync.errors import SyncError
from sync.operators.access import SignedIn, is_same_site, signed_in

ROLE = "feedback"
_LONGEST_FORM = 4096


async def serve(sent: Mapping[str, str], method: str, body: bytes, settings: Settings) -> Answer:
    """Answer one request for the inbox of the signed-in reader; a failure is also answered with a page."""
    if not settings.inbox:
        return problem(404, "There is no such page", "DICOM_SYNC_INBOX is off.")
    caller = signed_in(sent, settings)
    if caller is None or not caller.name or ROLE not in caller.roles:
        return problem(403, "You may not see that", f"Sign in with an account with the app role {ROLE}.")
    if method == "POST" and not is_same_site(sent):
        return problem(403, "Not from here", "Marks are sent by the forms of this page only.")
    try:
        async with connected(settings.fhir_url) as service:
            return await _answered(service, caller, _form(body) if method == "POST" else None)
    except (InsightsError, SyncError) as failure:
        return problem(503, "A service does not answer", f"{failure.code}: nothing is shown.")


async def _answered(service: FhirService, caller: SignedIn, form: Mapping[str, str] | None) -> Answer:
    owner = await owner_of(service, caller.name)
    entries = await read_inbox(service, owner)
    if form is not None:
        entry = next((candidate for candidate in entries if candidate.item["id"] == form.get("item")), None)
        if entry is None or form.get("mark") not in MARKS:
            return problem(404, "Not found", "There is no such item in your inbox, or no such mark.")
        marked = await _mark(service, owner, entry, form["mark"])
        entries = [marked if candidate is entry else candidate for candidate in entries]
    patients = sorted({candidate.patient for candidate in entries if candidate.patient})
    await record_access(service, caller.name, patients, page="inbox")
    shown = template("insights.inbox").render(
        policy=policy("'self'"), style=style(), entries=entries, marks=MARKS,
        unmarked=sum(not candidate.mark for candidate in entries),
    )  # fmt: skip
    return Answer(shown, headers=headers(policy("'self'")))


async def _mark(service: FhirService, owner: Owner, entry: Entry, mark: str) -> Entry:
    """Write a mark, after its AuditEvent."""
    about = [entry.patient, f"Communication/{entry.item['id']}"]
    await record_access(service, owner.name, about, page="inbox", action="U")
    chosen = next(known_mark for known_mark in MARKS if known_mark == mark)
    named = sorted(owner.practitioners)
    practitioner = named[0] if len(named) == 1 else ""
    made = mark_of(entry.item, chosen, who=owner.name, practitioner=practitioner, now=datetime.now(UTC))
    answer = await service.put(f"/Communication/{made['id']}", made)
    if answer.is_error:
        raise Unavailable("the mark is refused", code="collect.unavailable")
    return entries_of([entry.item], [made])[0]


def _form(body: bytes) -> dict[str, str]:
    if len(body) > _LONGEST_FORM:
        return {}
    return {name: values[0] for name, values in parse_qs(body.decode("ascii", "replace")).items()}
