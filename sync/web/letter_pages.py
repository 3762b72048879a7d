"""Pages of dead letters: by code, the list of a code, one dead letter, and for operators the names that it concerns."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

from sync.dead_letters import queries
from sync.dead_letters.actions import reveal
from sync.errors import RequestRefused
from sync.model import AuditEntry, DeadLetter, SubjectKind
from sync.monitoring.counts import read_count
from sync.monitoring.history import read_past
from sync.ports import Counted, Operate, Services
from sync.telemetry.measurements import HOUR
from sync.web.exchange import fields_of, named_operator, text_of
from sync.web.overview import TREND, dead_letter_trends
from sync.web.rendering import REFRESH, RenderedPage, Visit, render

SHOWN = 25
_TRAIL = 200
"""Number of latest entries of the audit trail that are searched for those of a dead letter."""

_RETRY = {
    SubjectKind.OBJECT: (
        "A retry inspects the object again, as if an event had named it. If it can be read, its study is written, "
        "and this dead letter is cleared."
    ),
    SubjectKind.STUDY: (
        "A retry compares the study with FHIR and writes it again from its objects; success clears this dead letter."
    ),
    SubjectKind.MESSAGE: (
        "A retry parses the message again with the current settings. If it can be read, its objects are inspected, "
        "and this dead letter is cleared."
    ),
}
"""The effect of a retry, by kind of subject."""


async def letters(visit: Visit, s: Services, *, message: str = "") -> RenderedPage:
    """Show the codes, or a page of one code."""
    of = visit.request.query.get("of", "")
    shared: dict[str, Any] = {"here": "letters", "said": message, "of": of}
    if of:
        token = visit.request.query.get("token") or None
        kind = _kind(visit.request.query.get("kind", "")) if visit.request.query.get("kind") else None
        page = await s.dead_letters.page(code=of, kind=kind, limit=SHOWN, token=token)
        shared |= {"page": page, "kind": kind.value if kind else "", "kinds": [kind.value for kind in SubjectKind]}
        shared |= {"refresh": 0 if token else REFRESH}
    else:
        now = s.clock.now()
        counts, past = await asyncio.gather(
            read_count(Counted.DEAD_LETTERS, s),
            read_past(s.metrics, now - TREND, now + timedelta(minutes=1), length=HOUR),
        )
        groups = await queries.overview(counts, s, newest=0)
        trends = dead_letter_trends(past, now)
        shared |= {"groups": groups, "trends": trends, "counted_at": counts.at, "refresh": REFRESH}
    return render(visit, "letters.html", title="Dead letters", **shared)


async def letter(visit: Visit, s: Services, *, message: str = "") -> RenderedPage:
    """
    Show one dead letter: failure, cause, attempts, the effect of a retry, and the actions of operators.

    Raises
    ------
    RequestRefused
        There is no such dead letter.
    """
    letter = await _named_letter(visit.request.query, s)
    return await _page(visit, letter, s, message=message)


async def reveal_letter(visit: Visit, s: Services) -> RenderedPage:
    """
    Show one dead letter with the names behind it, to an operator; recorded in the audit trail first.

    Raises
    ------
    AccessRefused
        The sender may only read, or another site sent the form.
    RequestRefused
        There is no such dead letter, or the form does not name the operator.
    """
    form = fields_of(visit.request)
    caller = named_operator(visit.request, form, s.settings)
    letter = await _named_letter(form, s)
    return await _page(visit, letter, s, secrets=await reveal(letter, s, who=caller.name))


async def _named_letter(fields: Any, s: Operate) -> DeadLetter:
    letter = await queries.show(_kind(text_of(fields, "kind")), text_of(fields, "subject"), s)
    if letter is None:
        hint = "A dead letter is cleared once its cause is gone. The audit trail shows who discarded one."
        raise RequestRefused("there is no such dead letter", code="request.not_found", hint=hint)
    return letter


async def _page(
    visit: Visit, letter: DeadLetter, s: Services, *, message: str = "", secrets: queries.Secrets | None = None
) -> RenderedPage:
    study, trail = await asyncio.gather(queries.study_of(letter, s), s.audit.newest(_TRAIL))
    return render(
        visit,
        "letter.html",
        title=f"Dead letter {letter.code}",
        here="letters",
        said=message,
        letter=letter,
        study=study,
        secrets=secrets,
        retry=_RETRY[letter.kind],
        trail=[entry for entry in trail if _concerns(entry, letter)] if visit.caller.may_operate else [],
    )


def _concerns(entry: AuditEntry, letter: DeadLetter) -> bool:
    return letter.subject in entry.subject or (not entry.subject and entry.code == letter.code)


def _kind(text: str) -> SubjectKind:
    try:
        return SubjectKind(text)
    except ValueError:
        raise RequestRefused("kind: expected one of object, study, message", code="request.not_found") from None
