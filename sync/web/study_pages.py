"""The pages of one study: its state in FHIR, unusable values, history; and the search for studies."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from sync.config import address_of
from sync.errors import FhirRejected, FhirUnavailable, RequestRefused, SyncError
from sync.model import StudyEvent, StudyRef
from sync.model.elements import Element, number, part, parts, text
from sync.monitoring.source_objects import SourceObject, source_objects
from sync.monitoring.study_state import UNKNOWN, StudyState, read_study_state
from sync.ports import Compare, Core, Deliver, Services
from sync.web import study_list
from sync.web.exchange import fields_of, named_operator, text_of
from sync.web.rendering import REFRESH, RenderedPage, Visit, render
from sync.web.viewer import viewer_address
from sync.words import counted

SHOWN = 100
"""Events of one study that a page shows."""

MOST_OBJECTS = 1000
"""Maximum objects of one study whose arrivals a page reads: one answer of Table Storage."""

_ACTIONS = (("Replay study", "replay-study"), ("Verify study", "verify-study"))
PATIENCE = 3.0
"""Seconds for FHIR to answer with the series; the rest of the page does not wait for it."""

_BURST = 60.0
"""Seconds: objects that arrive closer together make one line of the timeline."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TimelineEntry:
    """One line of a timeline. Aware UTC."""

    at: datetime
    text: str
    bad: bool = False


_STATES = (("all", "all in FHIR"), ("dirty", "dirty"), ("dead_lettered", "dead-lettered"), ("removed", "removed"))
_HEADINGS = {
    "all": "Studies in FHIR",
    "dirty": "Dirty studies, the longest waiting first",
    "dead_lettered": "Dead-lettered studies",
    "removed": "Removed studies",
}
_TIMES = {"all": "Last write", "dirty": "Waits since", "dead_lettered": "Last attempt", "removed": "Removed"}
_NOTHING = {
    "all": "FHIR holds no such study. Upload a DICOM file: its study appears here within seconds.",
    "dirty": "None: every known study is in FHIR.",
    "dead_lettered": "None.",
    "removed": "None lately.",
}


async def studies(visit: Visit, s: Deliver) -> RenderedPage:
    """
    Show the list of studies that the filters ask for.

    While the FHIR service fails, show its failure and the studies that were written last.
    """
    filters = study_list.filters_of(visit.request, operator=visit.caller.may_operate)
    problem: SyncError | None = None
    refreshes = filters == study_list.Filters()
    patience = study_list.REFRESHED_PATIENCE if refreshes else study_list.PATIENCE
    try:
        listing = await study_list.list_studies(filters, s, patience=patience)
    except (FhirUnavailable, FhirRejected) as failure:
        problem, listing = failure, await study_list.latest(s)
    total = f": {listing.total:,}" if listing.total is not None else ""
    return render(
        visit,
        "studies.html",
        title="Studies",
        here="studies",
        refresh=REFRESH if refreshes else 0,
        asked=filters.text,
        filters=filters,
        listing=listing,
        problem=problem,
        problem_at=address_of(problem.code or "", s.settings) if problem else "",
        heading="Last written" if problem else f"{_HEADINGS[filters.state]}{total}",
        states=_STATES,
        sources=study_list.sources_of(s),
        time_name=_TIMES[filters.state],
        nothing=_NOTHING[filters.state],
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesLine:
    """One series as FHIR has it."""

    uid: str
    number: str
    modality: str
    body_site: str
    instances: int
    started: str


async def study(visit: Visit, s: Deliver, *, message: str = "") -> RenderedPage | None:
    """Show one study; None when it is not known."""
    query = visit.request.query
    ref = StudyRef(study_instance_uid=query.get("uid", ""), partition=query.get("partition", ""))
    state = await read_study_state(ref, s)
    return await _page(visit, ref, state, s, message=message) if state is not None else None


async def reveal_study(visit: Visit, s: Services) -> RenderedPage:
    """
    Show one study with the names of its objects, to an operator; recorded in the audit trail first.

    Raises
    ------
    AccessRefused
        The sender may only read, or another site sent the form.
    RequestRefused
        The study is not known, or the form does not name the operator.
    """
    form = fields_of(visit.request)
    caller = named_operator(visit.request, form, s.settings)
    ref = StudyRef(study_instance_uid=text_of(form, "uid"), partition=text_of(form, "partition"))
    state = await read_study_state(ref, s)
    if state is None:
        raise RequestRefused("there is no such study", code="request.not_found", hint=UNKNOWN["hint"])
    names = await source_objects(ref.study_instance_uid, ref, s, who=caller.name, most=SHOWN + 1)
    return await _page(visit, ref, state, s, names=names)


async def _page(
    visit: Visit,
    ref: StudyRef,
    state: StudyState,
    s: Deliver,
    *,
    message: str = "",
    names: Sequence[SourceObject] | None = None,
) -> RenderedPage:
    orders, events, (series, problem) = await asyncio.gather(
        s.ledger.orders(ref, MOST_OBJECTS), s.history.of_study(ref, SHOWN), _series(state, s)
    )
    return render(
        visit,
        "study.html",
        title="Study",
        here="studies",
        refresh=REFRESH if names is None else 0,  # a refresh would request the page without the names
        said=message,
        study=ref,
        state=state,
        objects=f"{len(orders):,} or more" if len(orders) >= MOST_OBJECTS else f"{len(orders):,}",
        study_actions=_ACTIONS,
        timeline=timeline(state, orders, events),
        series=series,
        series_problem=problem,
        resources=_resources(state, s),
        viewer=viewer_address(ref.study_instance_uid, s.settings) if state.fhir and state.fhir.reference else "",
        names=names,
        shown=SHOWN,
    )


def _resources(state: StudyState, s: Core) -> list[tuple[str, str]]:
    """Return the FHIR resources of the study: reference and URL."""
    if state.fhir is None:
        return []
    references = [
        reference for reference in (state.fhir.reference, state.fhir.patient, *state.fhir.derived) if reference
    ]
    return [(reference, f"{s.settings.fhir_url}/{reference}") for reference in references[:SHOWN]]


async def _series(state: StudyState, s: Compare) -> tuple[list[SeriesLine], str]:
    """Return the series as FHIR has them, and the code of the failure if it does not answer soon."""
    if state.fhir is None or not state.fhir.reference:
        return [], ""
    try:
        async with asyncio.timeout(PATIENCE):
            resource = await s.fhir.read(*state.fhir.reference.split("/"))
    except TimeoutError:
        return [], FhirUnavailable.code
    except SyncError as failure:
        return [], failure.code
    return [_series_line(series) for series in parts(resource or {}, "series")[:SHOWN]], ""


def _series_line(series: Element) -> SeriesLine:
    """Return a series without elements that may hold free text."""
    order = number(series, "number")
    return SeriesLine(
        uid=text(series, "uid"),
        number=str(order) if order is not None else "",
        modality=text(part(series, "modality"), "code"),
        body_site=text(part(series, "bodySite"), "display"),
        instances=number(series, "numberOfInstances") or 0,
        started=text(series, "started")[:16].replace("T", " "),
    )


def timeline(state: StudyState, orders: Sequence[str], events: Iterable[StudyEvent]) -> list[TimelineEntry]:
    """
    Return the recorded history of a study, newest first. Pure.

    Parameters
    ----------
    orders
        `sync.model.LedgerRow.order` of its objects, of `MOST_OBJECTS` at most.
    """
    entries = [*_arrivals(orders), *map(_came_of_it, events), *_marks(state), *_letter(state)]
    return sorted(entries, key=lambda entry: entry.at, reverse=True)[:SHOWN]


def _arrivals(orders: Sequence[str]) -> Iterable[TimelineEntry]:
    """Yield the last changes of the objects, one line per burst; for very large studies, of the objects read."""
    at_least = "At least " if len(orders) >= MOST_OBJECTS else ""
    times = sorted(datetime.fromisoformat(order).astimezone(UTC) for order in orders if order)
    bursts: list[list[datetime]] = []
    for timestamp in times:
        if bursts and (timestamp - bursts[-1][-1]).total_seconds() <= _BURST:
            bursts[-1].append(timestamp)
        else:
            bursts.append([timestamp])
    for burst in itertools.islice(reversed(bursts), SHOWN):
        text = "An object was stored" if len(burst) == 1 else f"{at_least}{len(burst):,} objects were stored"
        yield TimelineEntry(at=burst[-1], text=f"{text}; each has a row in the ledger.")


def _came_of_it(event: StudyEvent) -> TimelineEntry:
    word = event.outcome.rpartition(".")[2]
    if word == "dead_lettered":
        return TimelineEntry(at=event.at, text="Dead-lettered: see its dead letter.", bad=True)
    if not event.instances:
        return TimelineEntry(at=event.at, text="Removed from FHIR because its last instance is gone.")
    return TimelineEntry(
        at=event.at, text=f"Written to FHIR: {event.series:,} series, {counted(event.instances, 'instance')}."
    )


def _marks(state: StudyState) -> Iterable[TimelineEntry]:
    if marks := state.marks:
        yield TimelineEntry(at=marks.first, text="Marked dirty; waiting to be written.")
        if marks.last != marks.first:
            yield TimelineEntry(at=marks.last, text="Marked again: it changed.")


def _letter(state: StudyState) -> Iterable[TimelineEntry]:
    if letter := state.dead_letter:
        text = f"Dead letter {letter.code}, {counted(letter.attempts, 'attempt')}."
        yield TimelineEntry(at=letter.last_at, text=text, bad=True)
