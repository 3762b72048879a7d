"""
Dead letters over HTTP.

    GET  dead-letters                     groups by code, with the newest few of each
    GET  dead-letters?code=…&limit=…&token=…     one page of a code; ``token`` comes from the page before
    GET  dead-letters/{kind}/{subject}    one letter; ``?secrets=true``, for operators: whose it is
    POST dead-letters/retry               ``kind`` and ``subject``, or ``code``, or ``all``; ``dry_run``
    POST dead-letters/discard             the same, and ``why``, and ``who`` unless the caller is known

POST takes JSON or a form. Both may be repeated.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sync.dead_letters import actions, as_json
from sync.dead_letters import queries as letters
from sync.errors import RequestRefused
from sync.events import Sources
from sync.model import SubjectKind
from sync.monitoring.counts import read_count
from sync.operators.access import OPERATOR_HEADER, caller_of, operator_of, refuse_readers
from sync.ports import Counted, Operate, Services
from sync.web.exchange import Answer, Request, fields_of, is_set, limit_of, text_of

_LARGEST_PAGE = 500


async def list_dead_letters(request: Request, s: Services) -> Answer:
    """Answer all groups, or one page of a code."""
    code = text_of(request.query, "code")
    if not code:
        count = await read_count(Counted.DEAD_LETTERS, s)
        return Answer(body=as_json.grouped(await letters.overview(count, s), count))
    limit = limit_of(request.query, 50, most=_LARGEST_PAGE)
    page = await letters.browse(s, code=code, limit=limit, token=text_of(request.query, "token") or None)
    return Answer(body={"letters": [letter.shown() for letter in page.letters], "token": page.token})


async def show_dead_letter(request: Request, s: Operate) -> Answer:
    """
    Answer one dead letter; identifying data only for an operator who requests them, which is recorded.

    Raises
    ------
    AccessRefused
        A reader asked for an action.
    RequestRefused
        There is no such dead letter.
    """
    kind, subject = _kind(request.params.get("kind", "")), request.params.get("subject", "")
    letter = await letters.show(kind, subject, s)
    if letter is None:
        raise RequestRefused(
            "there is no such dead letter", code="request.not_found", hint="It may have been resolved."
        )
    body = letter.shown()
    if is_set(request.query, "secrets"):
        caller = caller_of(request.headers, s.settings)
        refuse_readers(caller, s.settings)
        body["secrets"] = as_json.revealed(await actions.reveal(letter, s, who=caller.name))
    return Answer(body=body)


async def retry_selected(request: Request, sources: Sources, s: Operate) -> Answer:
    """Retry the selected dead letters, for an operator."""
    fields = fields_of(request)
    caller = operator_of(request.headers, s.settings, says=text_of(fields, "who"))
    dry_run = is_set(fields, "dry_run")
    report = await actions.retry(selection(fields), sources, s, who=caller.name, dry_run=dry_run)
    return Answer(body=as_json.counted(report))


async def discard_selected(request: Request, s: Operate) -> Answer:
    """
    Discard the selected dead letters, for an operator who gives a reason. Idempotent.

    Raises
    ------
    AccessRefused
        The caller may only read.
    RequestRefused
        The request does not name the dead letters, the operator or the reason.
    """
    fields = fields_of(request)
    caller = operator_of(request.headers, s.settings, says=text_of(fields, "who"))
    why, selected, dry_run = text_of(fields, "why"), selection(fields), is_set(fields, "dry_run")
    if not why or not caller.name:
        raise RequestRefused(
            "fields why and who are required", hint=f"Fields why and who, or header {OPERATOR_HEADER}."
        )
    report = await actions.discard(selected, s, who=caller.name, why=why[:1000], dry_run=dry_run)
    return Answer(body=as_json.counted(report))


def selection(fields: Mapping[str, Any]) -> actions.Selection:
    """
    Read the selection of dead letters: exactly one of ``kind`` with ``subject``, ``code``, and ``all``.

    Raises
    ------
    RequestRefused
        None of them, or several, so that no request is taken for "all" by mistake.
    """
    kind, subject, code = (text_of(fields, name) for name in ("kind", "subject", "code"))
    if [bool(kind or subject), bool(code), is_set(fields, "all")].count(True) != 1:
        raise RequestRefused("say which: kind and subject, or code, or all")
    if kind or subject:
        return actions.Selection(kind=_kind(kind), subject=subject)
    return actions.Selection(code=code or None)


def _kind(text: str) -> SubjectKind:
    try:
        return SubjectKind(text)
    except ValueError:
        kinds = ", ".join(kind.value for kind in SubjectKind)
        raise RequestRefused(f"kind: expected one of {kinds}") from None
