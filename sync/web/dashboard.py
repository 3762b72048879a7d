"""
The dashboard: which address is which page, for whom, and what a failure looks like.

    dashboard              overview
    dashboard/studies      outstanding and recent studies; ``?q=`` finds one
    dashboard/study        one study, ``?uid=`` and ``?partition=``
    dashboard/letters      dead letters by code; ``?of=`` lists a code
    dashboard/runbook      what a code means and what to do, ``?of=``
    dashboard/confirm, dashboard/act      `sync.web.acting`
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

from sync.dead_letters import queries
from sync.errors import AccessRefused, RequestRefused, SyncError
from sync.events import Sources
from sync.monitoring.counts import read_count
from sync.monitoring.history import read_past
from sync.operators.access import caller_of
from sync.ports import Counted, Services
from sync.telemetry.measurements import HOUR
from sync.web import acting, study_pages
from sync.web.exchange import NOT_FOUND, Request
from sync.web.overview import TREND, dead_letter_trends, overview
from sync.web.rendering import REFRESH, RenderedPage, Visit, render
from sync.web.runbook import runbook

_LETTERS = 50


async def dashboard(request: Request, url: str, method: str, sources: Sources, s: Services) -> RenderedPage:
    """
    Answer one request for a page. Never raises one of our errors: a failure is a page too.

    Parameters
    ----------
    url
        As the browser asked for it: the dashboard links to itself by the same path.
    """
    path = urlsplit(url).path
    # The host matches paths in any case, and with a slash at the end: links keep the case that was typed.
    base = path[: path.lower().find("/dashboard") + len("/dashboard")]
    visit = Visit(request=request, base=base, caller=caller_of(request.headers, s.settings), clock=s.clock)
    try:
        return await _page((request.params.get("page") or "").lower(), method.upper(), visit, sources, s)
    except SyncError as failure:
        return _problem(visit, failure)


async def _page(name: str, method: str, visit: Visit, sources: Sources, s: Services) -> RenderedPage:
    if method == "POST" or name == "act":
        if (method, name) != ("POST", "act"):
            raise RequestRefused("act by POST, look by GET")
        return await acting.act(visit, sources, s)
    if name in _PLAIN:
        return await _PLAIN[name](visit, sources, s)
    message = await acting.confirmation_text(visit.request, s)
    if name in _TOLD and (page := await _TOLD[name](visit, s, message=message)) is not None:
        return page
    hint = "Check the address. An unknown study has no page: if its objects are in the source, run a backfill."
    raise RequestRefused("there is no such page", code="request.not_found", hint=hint)


async def _letters(visit: Visit, s: Services, *, message: str) -> RenderedPage:
    of = visit.request.query.get("of", "")
    shared: dict[str, Any] = {"here": "letters", "said": message, "of": of}
    if of:
        token = visit.request.query.get("token") or None
        shared |= {"page": await queries.browse(s, code=of, limit=_LETTERS, token=token)}
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


async def _runbook(visit: Visit, _: Sources, __: Services) -> RenderedPage:
    return runbook(visit)


async def _studies(visit: Visit, _: Sources, s: Services) -> RenderedPage:
    return await study_pages.studies(visit, s)


_PLAIN: Mapping[str, Callable[[Visit, Sources, Services], Awaitable[RenderedPage]]] = {
    "confirm": acting.confirm,
    "runbook": _runbook,
    "studies": _studies,
}
"""Pages that no act leads back to."""

_TOLD: Mapping[str, Callable[..., Awaitable[RenderedPage | None]]] = {
    "": overview,
    "letters": _letters,
    "study": study_pages.study,
}
"""Pages that say what the act did that led to them."""


def _problem(visit: Visit, failure: SyncError) -> RenderedPage:
    if isinstance(failure, AccessRefused):
        status, heading = 403, "You may not do that"
    elif isinstance(failure, RequestRefused):
        missing = failure.code in NOT_FOUND
        status, heading = (404, "Not found") if missing else (400, "That was not understood")
    else:
        status, heading = 503, "A service does not answer"
    text = f"{failure.code}: {failure.detail}" if failure.detail else failure.code
    return render(visit, "problem.html", title=heading, status=status, heading=heading, what=text, hint=failure.hint)
