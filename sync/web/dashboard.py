"""
The dashboard: maps addresses to pages, checks who may see them, and renders failures.

    dashboard              overview
    dashboard/studies      the list of studies, filtered; ``?q=`` finds one
    dashboard/study        one study, ``?uid=`` and ``?partition=``; by POST with the names of its objects
    dashboard/letters      dead letters by code; ``?of=`` lists a code
    dashboard/letter       one dead letter, ``?kind=`` and ``?subject=``; by POST with the names behind it
    dashboard/jobs         replays, backfills, comparisons, exports, feeds, with progress
    dashboard/audit        what operators did
    dashboard/runbook      what a code means and what to do, ``?of=``
    dashboard/confirm, dashboard/act      `sync.web.confirmation`
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from urllib.parse import urlsplit

from sync.config import address_of
from sync.errors import AccessRefused, RequestRefused, SyncError
from sync.events import Sources
from sync.operators.access import caller_of
from sync.ports import Services
from sync.web import confirmation, exchange, letter_pages, operator_pages, study_pages
from sync.web.exchange import NOT_FOUND, Request
from sync.web.overview import overview
from sync.web.rendering import REFRESH, RenderedPage, Visit, render
from sync.web.runbook import runbook


async def dashboard(request: Request, url: str, method: str, sources: Sources, s: Services) -> RenderedPage:
    """
    Answer one request for a page. Never raises one of our errors: a failure is a page too.

    Parameters
    ----------
    url
        The URL that the browser requested: the dashboard links to itself by the same path.
    """
    path = urlsplit(url).path
    # The host matches paths in any case, and with a trailing slash: links keep the case that was typed.
    base = path[: path.lower().find("/dashboard") + len("/dashboard")]
    visit = Visit(request=request, base=base, caller=caller_of(request.headers, s.settings), clock=s.clock)
    asked = _page((request.params.get("page") or "").lower(), method.upper(), visit, sources, s)
    seconds = exchange.LONGEST_PAGE if method.upper() == "GET" else exchange.LONGEST_ANSWER
    try:
        return await exchange.within_budget(asked, seconds=seconds)
    except SyncError as failure:
        return _problem(visit, failure, address_of(failure.code or "", s.settings), asks_again=method.upper() == "GET")


async def _page(name: str, method: str, visit: Visit, sources: Sources, s: Services) -> RenderedPage:
    if name == "act" or (method == "POST" and name not in _POSTED):
        if (method, name) != ("POST", "act"):
            raise RequestRefused("act by POST, look by GET")
        return await confirmation.act(visit, sources, s)
    if method == "POST":
        return await _POSTED[name](visit, sources, s)
    if name in _PLAIN:
        return await _PLAIN[name](visit, sources, s)
    message = await confirmation.confirmation_text(visit.request, s)
    if name in _TOLD and (page := await _TOLD[name](visit, s, message=message)) is not None:
        return page
    hint = "Check the address. An unknown study has no page: if its objects are in the source, run a backfill."
    raise RequestRefused("there is no such page", code="request.not_found", hint=hint)


async def _runbook(visit: Visit, _: Sources, __: Services) -> RenderedPage:
    return runbook(visit)


async def _studies(visit: Visit, _: Sources, s: Services) -> RenderedPage:
    return await study_pages.studies(visit, s)


async def _reveal(visit: Visit, _: Sources, s: Services) -> RenderedPage:
    return await letter_pages.reveal_letter(visit, s)


async def _reveal_study(visit: Visit, _: Sources, s: Services) -> RenderedPage:
    return await study_pages.reveal_study(visit, s)


async def _audit(visit: Visit, _: Sources, s: Services) -> RenderedPage:
    return await operator_pages.audit(visit, s)


async def _jobs(visit: Visit, _: Sources, s: Services) -> RenderedPage:
    return await operator_pages.running_jobs(visit, s)


_Plain = Callable[[Visit, Sources, Services], Awaitable[RenderedPage]]

_PLAIN: Mapping[str, _Plain] = {
    "audit": _audit,
    "confirm": confirmation.confirm,
    "jobs": _jobs,
    "runbook": _runbook,
    "studies": _studies,
}
"""Pages to which no action leads back."""

_POSTED: Mapping[str, _Plain] = {
    "confirm": confirmation.confirm,
    "letter": _reveal,
    "studies": _studies,
    "study": _reveal_study,
}
"""Pages that a form requests by POST because an address must not, or cannot, hold its fields. They change nothing."""

_TOLD: Mapping[str, Callable[..., Awaitable[RenderedPage | None]]] = {
    "": overview,
    "letter": letter_pages.letter,
    "letters": letter_pages.letters,
    "study": study_pages.study,
}
"""Pages that report the action that led to them."""


def _problem(visit: Visit, failure: SyncError, address: str, *, asks_again: bool) -> RenderedPage:
    refresh = 0
    if isinstance(failure, AccessRefused):
        status, heading = 403, "You may not do that"
    elif isinstance(failure, RequestRefused):
        missing = failure.code in NOT_FOUND
        status, heading = (404, "Not found") if missing else (400, "That was not understood")
    else:
        status, heading = 503, "A service does not answer"
        refresh = REFRESH if asks_again else 0  # the page must not keep reporting the failure once the service is back
    text = f"{failure.code}: {failure.detail}" if failure.detail else failure.code
    told = {"heading": heading, "what": text, "hint": failure.hint, "address": address, "refresh": refresh}
    return render(visit, "problem.html", title=heading, status=status, **told)
