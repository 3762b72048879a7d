"""
Handles a pressed button: it asks for confirmation, records the operator and acts, if the role allows it.

    GET  confirm?action=…     shows the effect and how many items it concerns; asks for the operator and the reason
    POST act                  performs the action, and redirects to a page that reports it

Both work without script; `sync.web.buttons` lists the buttons. The report is stored in table ``cursors``; the page's
address names only its row.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import uuid4

from sync.errors import RequestRefused
from sync.events import Sources
from sync.model import Cursor, Json
from sync.model.timestamps import Timestamp
from sync.operators.access import operator_of, refuse_readers
from sync.ports import Jobs, Services
from sync.protocol.optimistic import change_position
from sync.protocol.row_values import RowValue
from sync.web.buttons import ACTS, Act, Deed
from sync.web.exchange import Request, fields_of, text_of
from sync.web.rendering import RenderedPage, Visit, redirect, render

Fields = Mapping[str, str]

RESULTS = "acts"
"""Cursor that keeps the results of the latest actions, by id."""

MOST_RESULTS = 20
RESULT_SHOWN = timedelta(minutes=10)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Result:
    """The result of an action: its name, the number of items, and the time."""

    act: str
    n: int
    at: Timestamp


_RESULTS: RowValue[Mapping[str, _Result]] = RowValue(Mapping[str, _Result])

_TARGET = ("of", "kind", "subject", "subjects", "uid", "partition", "until")
"""Fields that identify the subject of an action; the button passes them to the form, and the form to the act."""


async def confirm(visit: Visit, sources: Sources, s: Services) -> RenderedPage:
    """
    Ask for confirmation and describe the effect. Performs no action.

    Raises
    ------
    AccessRefused
        The visitor may only read.
    RequestRefused
        There is no such action.
    """
    refuse_readers(visit.caller, s.settings)
    asked = {**visit.request.query, **fields_of(visit.request)}
    name, act = _act(text_of(asked, "action"))
    fields = {field: text_of(asked, field) for field in _TARGET}
    fields["until"] = s.clock.now().isoformat() if act.as_shown else ""
    deed = Deed(fields=fields, who=visit.caller.name, why="", sources=sources)
    many = f" {await act.previews(deed, s)}" if act.previews else ""
    return render(
        visit,
        "confirm.html",
        title=act.label,
        question=act.question,
        explanation=act.explanation + many,
        label=act.label,
        grave=act.grave,
        asks_why=act.asks_why,
        fields={"action": name, **{field: value for field, value in fields.items() if value}},
        **_way_back(fields),
    )


async def act(visit: Visit, sources: Sources, s: Services) -> RenderedPage:
    """
    Perform the action, and redirect; each action records itself in the audit trail. Idempotent, like each action.

    Raises
    ------
    AccessRefused
        The sender may only read, or another site sent the form.
    RequestRefused
        There is no such action, or the form does not name the operator or the reason.
    """
    form = fields_of(visit.request)
    caller = operator_of(visit.request.headers, s.settings, says=text_of(form, "who"))
    name, chosen = _act(text_of(form, "action"))
    fields = {field: text_of(form, field) for field in _TARGET}
    why = text_of(form, "why")[:1000]
    if chosen.asks_why and not why:
        raise RequestRefused("say why")
    if not caller.name:
        raise RequestRefused("say who you are")
    deed = Deed(fields=fields, who=caller.name, why=why, sources=sources)
    concerned = await chosen.does(deed, s)
    back = _way_back(fields)
    result = await _keep_result(name, concerned, s)
    return redirect(visit.link(back["back"], **back["back_query"], did=result))


async def _keep_result(name: str, concerned: int, s: Jobs) -> str:
    """Store an action's result for the page that reports it: an address alone could claim a false result."""
    result, entry = uuid4().hex[:12], _Result(act=name, n=concerned, at=s.clock.now())

    def with_result(row: Cursor) -> Json:
        return _RESULTS.write(dict([*_results_of(row).items(), (result, entry)][-MOST_RESULTS:]))

    await change_position(RESULTS, with_result, s, subject="the results of acts")
    return result


def _results_of(cursor: Cursor) -> Mapping[str, _Result]:
    return _RESULTS.read_or({}, cursor.position, row=RESULTS)


async def confirmation_text(request: Request, s: Jobs) -> str:
    """Return a page's report of the action that led to it; empty without one, or after `RESULT_SHOWN`."""
    result = request.query.get("did", "")
    stored = await s.cursors.read(RESULTS) if result else None
    entry = _results_of(stored.value).get(result) if stored is not None else None
    if entry is None or s.clock.now() - entry.at > RESULT_SHOWN:
        return ""
    return ACTS[entry.act].done.format(n=entry.n) if entry.act in ACTS else ""


def _act(name: str) -> tuple[str, Act]:
    if name not in ACTS:
        raise RequestRefused("there is no such action", code="request.not_found")
    return name, ACTS[name]


def _way_back(fields: Fields) -> dict[str, Any]:
    if fields.get("uid"):
        return {"back": "study", "back_query": {"uid": fields["uid"], "partition": fields["partition"]}}
    if fields.get("kind") or fields.get("subjects"):
        return {"back": "letters", "back_query": {}}
    return {"back": "", "back_query": {}}
