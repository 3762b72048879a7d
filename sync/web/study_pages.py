"""One study: is it in FHIR, as what, what of it could not be used, and what happened to it; and how to find it."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from sync.mapping.resource import study_identifier
from sync.model import DirtyStudy, Resource, StudyEvent, StudyRef
from sync.monitoring.study_state import StudyState, read_study_state
from sync.ports import Deliver, MarkDirty, Project
from sync.web.overview import RECENT
from sync.web.rendering import REFRESH, RenderedPage, Visit, render

SHOWN = 100
"""Outstanding studies, and events of one study, that a page shows."""

MOST_OBJECTS = 1000
"""Objects of one study whose arrivals a page looks at: one answer of Table Storage."""

_ACTIONS = (("Replay study", "replay-study"), ("Verify study", "verify-study"))
_BURST = 60.0
"""Seconds: objects that arrive closer together make one line of the timeline."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TimelineEntry:
    """One line of a timeline. Aware UTC."""

    at: datetime
    text: str
    bad: bool = False


async def studies(visit: Visit, s: Deliver) -> RenderedPage:
    """Show what is outstanding and recent; or, when something is asked for, what was found."""
    text = visit.request.query.get("q", "").strip()[:200]
    if text:
        matches = await find(text, s)
        return render(visit, "studies.html", title="Search", here="studies", asked=text, found=matches)
    dirty, recent = await asyncio.gather(_longest_waiting(s), s.history.latest(RECENT * 3))
    return render(
        visit,
        "studies.html",
        title="Studies",
        here="studies",
        refresh=REFRESH,
        outstanding=dirty,
        recent=recent,
        most=SHOWN,
    )


async def find(text: str, s: Project) -> Sequence[StudyRef]:
    """
    Find studies by Study Instance UID or accession number.

    A UID is looked up in our own state; an accession number in FHIR, whatever its issuer: only there it is indexed.
    """
    study = StudyRef(study_instance_uid=text.removeprefix("urn:oid:"))
    if await read_study_state(study, s) is not None:
        return [study]
    held = await s.fhir.search("ImagingStudy", None, text)
    return sorted({ref for resource in held if (ref := _study_of(resource)) is not None})


def _study_of(resource: Resource) -> StudyRef | None:
    system = study_identifier(StudyRef(study_instance_uid=""))[0]
    for identifier in resource.get("identifier", []):
        if identifier.get("system") == system:
            return StudyRef(study_instance_uid=str(identifier.get("value", "")).removeprefix("urn:oid:"))
    return None


async def _longest_waiting(s: MarkDirty) -> Sequence[DirtyStudy]:
    dirty_studies: list[DirtyStudy] = []
    async for dirty in s.dirty.all():
        dirty_studies.append(dirty)
        if len(dirty_studies) >= SHOWN * 10:
            break
    return sorted(dirty_studies, key=lambda dirty: (dirty.first_marked, dirty.study))[:SHOWN]


async def study(visit: Visit, s: Deliver, *, message: str = "") -> RenderedPage | None:
    """Show one study; None when it is not known."""
    query = visit.request.query
    ref = StudyRef(study_instance_uid=query.get("uid", ""), partition=query.get("partition", ""))
    state, orders, events = await asyncio.gather(
        read_study_state(ref, s), s.ledger.orders(ref, MOST_OBJECTS), s.history.of_study(ref, SHOWN)
    )
    if state is None:
        return None
    return render(
        visit,
        "study.html",
        title="Study",
        here="studies",
        refresh=REFRESH,
        said=message,
        study=ref,
        state=state,
        objects=f"{len(orders):,} or more" if len(orders) >= MOST_OBJECTS else f"{len(orders):,}",
        study_actions=_ACTIONS,
        timeline=timeline(state, orders, events),
    )


def timeline(state: StudyState, orders: Sequence[str], events: Iterable[StudyEvent]) -> list[TimelineEntry]:
    """
    Put together what is known of a study's past, newest first. Pure.

    Parameters
    ----------
    orders
        `sync.model.LedgerRow.order` of its objects, of `MOST_OBJECTS` at most.
    """
    entries = [*_arrivals(orders), *map(_came_of_it, events), *_marks(state), *_letter(state)]
    return sorted(entries, key=lambda entry: entry.at, reverse=True)[:SHOWN]


def _arrivals(orders: Sequence[str]) -> Iterable[TimelineEntry]:
    """Objects as the store last changed them, bursts in one line each; of a very large study those that were read."""
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
        yield TimelineEntry(at=burst[-1], text=f"{text}; each has its row in the ledger.")


def _came_of_it(event: StudyEvent) -> TimelineEntry:
    word = event.outcome.rpartition(".")[2]
    if word == "dead_lettered":
        return TimelineEntry(at=event.at, text="Dead-lettered: see its dead letter.", bad=True)
    if not event.instances:
        return TimelineEntry(at=event.at, text="Removed from FHIR: its last instance was gone.")
    return TimelineEntry(at=event.at, text=f"Written to FHIR: {event.series:,} series, {event.instances:,} instances.")


def _marks(state: StudyState) -> Iterable[TimelineEntry]:
    if marks := state.marks:
        yield TimelineEntry(at=marks.first, text="Marked dirty; waiting to be written.")
        if marks.last != marks.first:
            yield TimelineEntry(at=marks.last, text="Marked again: it changed.")


def _letter(state: StudyState) -> Iterable[TimelineEntry]:
    if letter := state.dead_letter:
        text = f"Dead letter {letter.code}, {letter.attempts} attempts."
        yield TimelineEntry(at=letter.last_at, text=text, bad=True)
