"""
The list of studies: by state, modality, days, source and identifier, for the page and for ``GET api/studies``.

    state all            a search of the FHIR service: what others see, with totals and sort; by source, a container,
                         if FHIR knows the containers (``DICOM_SYNC_BLOB_URL``)
    state dirty          table ``dirty``, the longest waiting first
    state dead_lettered  dead letters about studies
    state removed        table ``history``: studies whose last instance went, in the days that it is kept

FHIR serves as the index, because the state account would have to be read row by row. Each list needs a bounded number
of requests.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any, Literal, cast

from pydantic import TypeAdapter

from sync.errors import FhirUnavailable, ForeignLink, RequestRefused
from sync.mapping.endpoint import container_address
from sync.mapping.resource import endpoint_id, study_id, study_identifier
from sync.model import Resource, StudyEvent, StudyRef, StudySearch, SubjectKind
from sync.model.elements import number, part, parts, text
from sync.model.timestamps import Timestamp, aware_time
from sync.monitoring.study_state import read_study_state
from sync.operators.access import caller_of
from sync.ports import Compare, Core, Deliver, MarkDirty, Project
from sync.web.exchange import Answer, Request, fields_of, limit_of, text_of

STATES = ("all", "dirty", "dead_lettered", "removed")
SHOWN = 40
MOST = 200
"""Studies of a page: by default, and at most."""

_REMOVED_AMONG = 300
"""Number of latest events that are searched for removed studies."""

_MOST_PATIENTS = 20
"""Maximum patients with one identifier whose studies are listed."""

PATIENCE = 8.0
"""Seconds for the FHIR service to answer a page."""

REFRESHED_PATIENCE = 4.5
"""
The same for a page that refreshes itself: it must be answered before its data count as old, 15 s after the last answer.

Otherwise a FHIR service that hangs would look like an app that does not answer.
"""

_MODALITY = re.compile(r"[A-Z0-9]{1,16}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """The visitor's filters; every field may be empty."""

    state: Literal["all", "dirty", "dead_lettered", "removed"] = "all"
    modality: str = ""
    since: str = ""
    until: str = ""
    source: str = ""
    """Container that holds objects of the study."""
    sort: Literal["changed", "started"] = "changed"
    text: str = field(default="", repr=False)
    patient: str = field(default="", repr=False)
    """Patient ID; operators only, and never in an address."""
    limit: int = SHOWN
    token: str = ""

    @property
    def query(self) -> dict[str, str]:
        """The fields that an address may hold."""
        named = {
            "state": self.state if self.state != "all" else "",
            "modality": self.modality,
            "from": self.since,
            "to": self.until,
            "source": self.source,
            "sort": self.sort if self.sort != "changed" else "",
            "q": self.text,
        }
        return {name: value for name, value in named.items() if value}


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedStudy:
    """One study of a list; fields that this list does not provide are empty or None."""

    study: str
    partition: str = ""
    state: str = "synced"
    modalities: tuple[str, ...] = ()
    started: str = ""
    series: int | None = None
    instances: int | None = None
    at: Timestamp | None = None
    """Since when it waits or failed, when it went, or when its resource was last written."""
    code: str = ""
    """Code of its dead letter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """A page of a list; ``total`` is None if unknown, ``token`` requests the next page and is empty on the last."""

    studies: Sequence[ListedStudy]
    total: int | None = None
    token: str = ""


_JSON = TypeAdapter(Listing)


def filters_of(request: Request, *, operator: bool) -> Filters:
    """
    Read the filters from the query, and from the form or JSON of a POST.

    Raises
    ------
    RequestRefused
        A field is not understood, or a reader asks for a patient.
    """
    fields: Mapping[str, Any] = {**request.query, **fields_of(request)}
    text = {name: text_of(fields, name)[:200] for name in ("modality", "from", "to", "source", "q", "patient")}
    state, sort = text_of(fields, "state") or "all", text_of(fields, "sort") or "changed"
    modality = text["modality"].upper()
    if state not in STATES or sort not in ("changed", "started"):
        raise RequestRefused(f"state: expected one of {', '.join(STATES)}; sort: changed or started")
    if modality and not _MODALITY.fullmatch(modality):
        raise RequestRefused("modality: expected a DICOM code such as CT")
    if text["patient"] and (not operator or "patient" in request.query):
        raise RequestRefused(
            "patient: only for operators, and only by POST", hint="An address must not contain a patient ID."
        )
    if state != "all" and any((modality, text["from"], text["to"], text["source"], text["patient"])):
        raise RequestRefused("modality, from, to, source, patient: only for state all, which FHIR is asked for")
    return Filters(
        state=cast("Literal['all', 'dirty', 'dead_lettered', 'removed']", state),
        modality=modality,
        since=_day(text["from"], "from"),
        until=_day(text["to"], "to"),
        source=text["source"],
        sort=cast("Literal['changed', 'started']", sort),
        text=text["q"],
        patient=text["patient"],
        limit=limit_of(fields, SHOWN, most=MOST),
        token=text_of(fields, "token"),
    )


def _day(text: str, name: str) -> str:
    try:
        return date.fromisoformat(text).isoformat() if text else ""
    except ValueError:
        raise RequestRefused(f"{name}: expected a day as YYYY-MM-DD") from None


async def list_studies(filters: Filters, s: Deliver, *, patience: float = PATIENCE) -> Listing:
    """
    Return one page of the list.

    Parameters
    ----------
    patience
        Seconds for the FHIR service to answer.

    Raises
    ------
    FhirUnavailable, StoreUnavailable
        The service that holds the list did not answer.
    RequestRefused
        The token was not made by us.
    """
    if filters.state == "all":
        return await _in_fhir(filters, s, patience)
    return await _LISTS[filters.state](filters, s)


async def latest(s: Deliver) -> Listing:
    """Return the studies that were written last, from the state account alone."""
    rows = [
        ListedStudy(
            study=event.study.study_instance_uid,
            partition=event.study.partition,
            state=event.state,
            series=event.series,
            instances=event.instances,
            at=event.at,
        )
        for event in await _last_events(SHOWN, s)
    ]
    return Listing(studies=rows)


async def _last_events(among: int, s: Deliver) -> list[StudyEvent]:
    """Return the last event of each study in the latest events, the newest first."""
    last: dict[StudyRef, StudyEvent] = {}
    for event in await s.history.latest(among):
        last.setdefault(event.study, event)
    return list(last.values())


async def answer_studies(request: Request, s: Deliver) -> Answer:
    """Answer a page of the list as JSON."""
    operator = caller_of(request.headers, s.settings).may_operate
    listing = await list_studies(filters_of(request, operator=operator), s)
    body: dict[str, Any] = _JSON.dump_python(listing, mode="json")
    return Answer(body=body)


async def _in_fhir(filters: Filters, s: Deliver, patience: float) -> Listing:
    if filters.text and (known := await _known(filters.text, s)) is not None:
        return Listing(studies=(known,), total=1)
    search = StudySearch(
        endpoint=_endpoint_of(filters.source, s),
        modality=filters.modality,
        since=filters.since,
        until=filters.until,
        identifier=filters.text,
        newest=filters.sort,
        count=filters.limit,
    )
    link = _link(filters.token)
    try:
        async with asyncio.timeout(patience):
            if filters.patient:
                search = replace(search, subjects=await _subjects(filters.patient, s))
                if not search.subjects:
                    return Listing(studies=(), total=0)
            page = await s.fhir.find_studies(search, link)
    except ForeignLink:
        if link is None:
            raise
        raise RequestRefused("token: none of ours") from None
    except TimeoutError:
        raise FhirUnavailable(f"no answer within {patience:g} s") from None
    rows = [row for row in await asyncio.gather(*(_row(resource, s) for resource in page.resources)) if row is not None]
    return Listing(studies=rows, total=page.total, token=_token(page.following))


def sources_of(s: Core) -> tuple[str, ...]:
    """Return the containers by which the list can be filtered: all, if FHIR knows them, else none."""
    return tuple(sorted(s.settings.containers)) if s.settings.blob_url else ()


def _endpoint_of(source: str, s: Core) -> str:
    if not source:
        return ""
    if source not in sources_of(s):
        hint = (
            "Set DICOM_SYNC_BLOB_URL, so that studies in FHIR name their containers." if not s.settings.blob_url else ""
        )
        raise RequestRefused("source: expected a container of DICOM_SYNC_CONTAINERS", hint=hint or None)
    return f"Endpoint/{endpoint_id(container_address(source, s.settings))}"


async def _subjects(patient: str, s: Compare) -> tuple[str, ...]:
    """Return the Patients that carry an identifier, whatever its system."""
    patients = await s.fhir.search("Patient", None, patient)
    return tuple(sorted(f"Patient/{patient['id']}" for patient in patients))[:_MOST_PATIENTS]


async def _known(text: str, s: Deliver) -> ListedStudy | None:
    """Return the study with this UID if any part of it is known, in FHIR or not."""
    ref = StudyRef(study_instance_uid=text.removeprefix("urn:oid:"))
    state = await read_study_state(ref, s)
    if state is None:
        return None
    counts = state.counts
    return ListedStudy(
        study=ref.study_instance_uid, state=state.state, series=counts.series, instances=counts.instances
    )


async def _row(resource: Resource, s: Deliver) -> ListedStudy | None:
    ref = await _ref(resource, s)
    if ref is None:
        return None
    return ListedStudy(
        study=ref.study_instance_uid,
        partition=ref.partition,
        state="removed" if resource.get("status") == "cancelled" else "synced",
        modalities=tuple(sorted({text(coding, "code") for coding in parts(resource, "modality")})),
        started=text(resource, "started")[:10],
        series=number(resource, "numberOfSeries"),
        instances=number(resource, "numberOfInstances"),
        at=aware_time(part(resource, "meta").get("lastUpdated")),
    )


async def _ref(resource: Resource, s: Compare) -> StudyRef | None:
    """Return the study of a resource; the id of our own resources reveals whether it is in a data partition."""
    system = study_identifier(StudyRef(study_instance_uid=""))[0]
    identifiers = [one for one in parts(resource, "identifier") if one.get("system") == system]
    values = [value for identifier in identifiers if (value := text(identifier, "value"))]
    if not values:
        return None
    ref, ours = StudyRef(study_instance_uid=values[0].removeprefix("urn:oid:")), str(resource.get("id", ""))
    prefix = study_id(ref).removesuffix(ref.key)
    if not ours.startswith(prefix) or ours == study_id(ref):
        return ref
    projection = await s.projections.find(ours.removeprefix(prefix))
    return projection.study if projection is not None else ref


async def _dirty(filters: Filters, s: MarkDirty) -> Listing:
    dirty_studies = []
    async for dirty in s.dirty.all():
        dirty_studies.append(dirty)
        if len(dirty_studies) >= MOST * 5:
            break
    waiting = sorted(dirty_studies, key=lambda dirty: (dirty.first_marked, dirty.study))
    rows = [
        ListedStudy(
            study=dirty.study.study_instance_uid,
            partition=dirty.study.partition,
            state="dirty",
            at=dirty.first_marked,
            code=dirty.failure if dirty.failing_since else "",
        )
        for dirty in waiting
        if filters.text in ("", dirty.study.study_instance_uid)
    ]
    total = len(rows) if len(dirty_studies) < MOST * 5 else None
    return Listing(studies=rows[: filters.limit], total=total)


async def _dead_lettered(filters: Filters, s: Project) -> Listing:
    page = await s.dead_letters.page(kind=SubjectKind.STUDY, limit=filters.limit, token=filters.token or None)
    projections = await asyncio.gather(*(s.projections.find(letter.subject) for letter in page.letters))
    rows = [
        ListedStudy(
            study=projection.study.study_instance_uid,
            partition=projection.study.partition,
            state="dead_lettered",
            at=letter.last_at,
            code=letter.code,
        )
        for letter, projection in zip(page.letters, projections, strict=True)
        if projection is not None and filters.text in ("", projection.study.study_instance_uid)
    ]
    return Listing(studies=rows, token=page.token or "")


async def _removed(filters: Filters, s: Deliver) -> Listing:
    """List the studies that were removed last, without those that arrived again afterwards."""
    rows = [
        ListedStudy(study=event.study.study_instance_uid, partition=event.study.partition, state="removed", at=event.at)
        for event in await _last_events(_REMOVED_AMONG, s)
        if event.state == "removed" and filters.text in ("", event.study.study_instance_uid)
    ]
    return Listing(studies=rows[: filters.limit])


_LISTS: Mapping[str, Callable[[Filters, Deliver], Awaitable[Listing]]] = {
    "dirty": _dirty,
    "dead_lettered": _dead_lettered,
    "removed": _removed,
}


def _token(link: str | None) -> str:
    return base64.urlsafe_b64encode(link.encode()).decode() if link else ""


def _link(token: str) -> str | None:
    try:
        return base64.b64decode(token, altchars=b"-_", validate=True).decode() or None
    except (ValueError, binascii.Error):
        raise RequestRefused("token: none of ours") from None
