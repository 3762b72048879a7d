"""
A large world, written as the sync itself writes it: through the adapters or with their rows, into a real Azurite.

Only what pages read is there: rows of the state account, and an ImagingStudy for each study, as the lists are searches
of FHIR. No object stands behind them, and projection is paused: a host that is busy with the studies that wait would be
measured with the pages.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from azure.data.tables.aio import TableServiceClient

from bench.some_at_once import act_on_each
from bench.worlds import BenchError
from sync import bootstrap
from sync.adapters.azure.tables.batching import MAX_ROWS
from sync.adapters.azure.tables.dead_letters import dead_letter_row
from sync.config import Settings
from sync.errors import StoreConflict, TransientError
from sync.mapping.resource import study_id, study_identifier
from sync.model import (
    AuditEntry,
    Cursor,
    DeadLetter,
    Drift,
    DriftKind,
    FhirWrite,
    Finding,
    InstanceRecord,
    LedgerRow,
    ObjectKey,
    Projection,
    Resource,
    StudyEvent,
    StudyRef,
    SubjectKind,
    digest,
)
from sync.model.queues import QUEUES
from sync.monitoring.counts import store_counts
from sync.monitoring.history import CURSOR, compact_metrics, floor
from sync.operators.pause import pause_projection
from sync.ports import Counted, Services
from sync.protocol.stored_counts import stored_count
from sync.protocol.walk_rows import WalkRow, WalkState, new_run
from sync.replay.jobs import new_replay
from sync.replay.requests import ReplayRequest
from sync.telemetry.instruments import (
    DEAD_LETTERS,
    DIRTY_STUDIES,
    FHIR_DURATION,
    HEADER_BYTES,
    KEPT_DEAD_LETTERS,
    LATENCY,
    OBJECTS,
    QUEUE_AGE,
    QUEUE_MESSAGES,
    STUDIES,
    SWEEPS,
    Instrument,
)
from sync.telemetry.measurements import HOUR, MINUTE, Measurements, MetricRow, added_up
from sync.telemetry.telemetry import Telemetry

CODES = {
    "header.not_dicom": (SubjectKind.OBJECT, 40),
    "header.truncated": (SubjectKind.OBJECT, 24),
    "header.missing_identity": (SubjectKind.OBJECT, 16),
    "event.malformed": (SubjectKind.MESSAGE, 10),
    "fhir.rejected": (SubjectKind.STUDY, 6),
    "poison.object": (SubjectKind.OBJECT, 3),
    "fhir.ambiguous": (SubjectKind.STUDY, 0.9),
    "store.row_too_large": (SubjectKind.STUDY, 0.1),
}
"""Code -> whose letters, and its share in a hundred: one code has thousands, another a handful."""

_AT_ONCE, _TRIES, _ROUNDS = 48, 5, 200
_BUNDLE = 500
LETTERS = "deadletters"
MODALITIES = ("CT", "MR", "US")


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How large the world is."""

    studies: int
    dead_letters: int
    outstanding: int = 300
    with_ledger: int = 200
    with_history: int = 3000
    objects: int = 3000
    """Of the largest study, which is number 0."""
    drifts: int = 400
    audits: int = 500
    replays: int = 30
    workers: int = 3
    minutes: int = 24 * 60
    """For which each worker has a row of every minute."""


def accession(number: int) -> str:
    """Return the accession number of a study."""
    return f"A {number}"


def study_of(number: int) -> StudyRef:
    """Return the study of a number."""
    return StudyRef(study_instance_uid=f"2.25.{10**30 + number}")


async def fill(connection: str, size: Size, fhir_url: str = "") -> None:
    """Write all rows, and count them as the timer does; all resources too, where there is a FHIR server."""
    settings = Settings(fhir_url=fhir_url or "http://localhost/fhir", AzureWebJobsStorage=connection)
    running = await bootstrap.start(settings)
    try:
        s, now = running.services, datetime.now(UTC)
        await write_all(_measured(size, s, now))
        for _ in range(2):
            await compact_metrics(s)
        await write_all(_studies(size, s, now))
        await _letters(connection, size.dead_letters, now)
        await write_all(_rest(size, s, now))
        if fhir_url:
            await _resources(size, s, now)
        await pause_projection(s, who="bench", why="Only pages are at work.")
        await _count(s)
    finally:
        await running.close()


Work = Callable[[], Awaitable[object]]


async def write_all(works: Iterable[Work], at_once: int = _AT_ONCE) -> None:
    """Write everything, some at once; idempotent writes only, because one whose answer is lost is repeated."""
    await act_on_each(works, _insisting, at_once=at_once)


async def _insisting(work: Work) -> None:
    """Write, and repeat: a busy emulator drops connections. A row that exists already was written by a lost answer."""
    for _ in range(_TRIES):
        try:
            await work()
        except TransientError:
            await asyncio.sleep(1)
        except StoreConflict:
            return
        else:
            return
    raise BenchError("the storage does not take what the world is filled with")


def _studies(size: Size, s: Services, now: datetime) -> Iterable[Work]:
    findings = tuple(Finding(keyword=word, code="date.impossible", action="omitted") for word in ("StudyDate", "Age"))
    for number in range(size.studies):
        study, instances = study_of(number), 1 + number % 400
        row = replace(record_of(study, instances=instances), series=1 + number % 7, findings=findings[: number % 3])
        yield partial(s.projections.write, row, None)
        came = StudyEvent(
            study=study,
            at=now - timedelta(seconds=8 * number),
            outcome="study.written",
            series=row.series,
            instances=instances,
        )
        if number < size.with_history:
            yield partial(s.history.add, came)
    for number in range(size.with_ledger):
        for place in range(size.objects if number == 0 else 20 + number):
            yield partial(s.ledger.upsert, object_of(study_of(number), place, now))
    for number in range(size.outstanding):
        yield partial(s.dirty.mark, study_of(number), now - timedelta(seconds=number))


def record_of(study: StudyRef, *, instances: int) -> Projection:
    """Return the record of a study that is in FHIR."""
    return Projection(
        study=study,
        fhir_id=study_id(study),
        version="1",
        content_hash=digest(study.key),
        elements=frozenset({"identifier", "series", "started", "status", "subject"}),
        begun=True,
        patient_id=digest("patient", study.key),
        patient_keys=frozenset({f"created.{study.key}"}),
        instances=instances,
        published_state=digest("said", study.key),
        finished=True,
    )


async def _resources(size: Size, s: Services, now: datetime) -> None:
    writes = [
        FhirWrite(resource_type="ImagingStudy", resource_id=study_id(study), resource=_resource(study, number, now))
        for number, study in enumerate(map(study_of, range(size.studies)))
    ]
    for start in range(0, len(writes), _BUNDLE):
        await s.fhir.transact(writes[start : start + _BUNDLE])


def _resource(study: StudyRef, number: int, now: datetime) -> Resource:
    system, value = study_identifier(study)
    modality = {"system": "http://dicom.nema.org/resources/ontology/DCM", "code": MODALITIES[number % 3]}
    series = [f"{study.study_instance_uid}.{place}" for place in range(1 + number % 7)]
    return {
        "resourceType": "ImagingStudy",
        "id": study_id(study),
        "identifier": [
            {"system": system, "value": value},
            {"system": "urn:bench:accession", "value": accession(number)},
        ],
        "status": "available",
        "modality": [modality],
        "subject": {"reference": f"Patient/{digest('patient', study.key)}"},
        "started": (now - timedelta(hours=number)).isoformat(timespec="seconds"),
        "numberOfSeries": len(series),
        "numberOfInstances": 1 + number % 400,
        "series": [{"uid": uid, "modality": modality, "numberOfInstances": 60} for uid in series],
    }


def object_of(study: StudyRef, number: int, now: datetime) -> LedgerRow:
    """Return a row of the ledger."""
    attributes: dict[str, Sequence[Any]] = {
        "PatientName": ["Doe^Jane"],
        "StudyDescription": ["CT of the chest with contrast"],
        "SOPClassUID": ["1.2.840.10008.5.1.4.1.1.2"],
        "InstanceNumber": [number],
        "ContentDate": ["20260102"],
        **{f"Attribute{n}": [f"value {n} of {number}"] for n in range(30)},
    }
    record = InstanceRecord(
        study=study,
        series_instance_uid=f"{study.study_instance_uid}.{number // 200}",
        sop_instance_uid=f"{study.study_instance_uid}.{number // 200}.{number}",
        attributes=attributes,
    )
    key = ObjectKey(digest(study.key, length=20), digest(study.key, str(number)))
    at = now - timedelta(hours=1 + number // 500, seconds=number % 500 / 50)
    return LedgerRow(object_key=key, record=record, order=at.isoformat(timespec="microseconds"))


def letter_of(code: str, number: int, now: datetime) -> DeadLetter:
    """Return a dead letter of a code."""
    kind, _ = CODES[code]
    key = digest(code, str(number))
    subject = f"{key[:20]}-0.{key}" if kind is SubjectKind.OBJECT else key
    return DeadLetter(
        kind=kind,
        subject=subject,
        code=code,
        detail="preamble and prefix are missing",
        hint="Look at the object; correct it or take it out of the container, and retry the dead letter then.",
        first_at=now - timedelta(minutes=number),
        last_at=now - timedelta(seconds=number),
        attempts=1 + number % 5,
        message='{"subject": "/blobServices/default/containers/dicom/blobs/a"}'
        if kind is SubjectKind.MESSAGE
        else None,
        queue="objects" if kind is SubjectKind.MESSAGE else "",
    )


async def _letters(connection: str, most: int, now: datetime) -> None:
    """Write the rows that the adapter would, many at once: one by one, each is read first."""
    kinds: dict[SubjectKind, list[DeadLetter]] = {}
    for code, (kind, share) in CODES.items():
        kinds.setdefault(kind, []).extend(
            letter_of(code, number, now) for number in range(math.ceil(most * share / 100))
        )
    async with TableServiceClient.from_connection_string(connection) as service:
        table = service.get_table_client(LETTERS)
        works = (
            partial(
                table.submit_transaction,
                [("upsert", dead_letter_row(letter)) for letter in letters[at : at + MAX_ROWS]],
            )
            for letters in kinds.values()
            for at in range(0, len(letters), MAX_ROWS)
        )
        await write_all(works)


def _rest(size: Size, s: Services, now: datetime) -> Iterable[Work]:
    kinds = tuple(DriftKind)
    for number in range(size.drifts):
        study = study_of(number)
        drift = Drift(subject=study.key, kind=kinds[number % len(kinds)], resource=f"ImagingStudy/{study_id(study)}")
        yield partial(s.drifts.note, study.key, [drift], now)
    for number in range(size.replays):
        start = now - timedelta(days=number + 2)
        row = _replay(ReplayRequest(source="blob", start=start), {"synced": 100 * number}, now)
        yield partial(s.cursors.write, Cursor(name=row.name, position=row.position, advanced_at=now), None)
    for number in range(size.audits):
        action = "dead-letters.retry"
        yield partial(
            s.audit.add, AuditEntry(at=now - timedelta(hours=number), who="Ada", action=action, subject=f"{number}")
        )


def _replay(request: ReplayRequest, counts: Mapping[str, int], now: datetime) -> WalkRow:
    asked = new_replay(request)
    return WalkRow(
        name=asked.name,
        kind=asked.kind,
        request=asked.request,
        run=new_run(),
        began=now,
        state=WalkState.DONE,
        counts=counts,
    )


def _measured(size: Size, s: Services, now: datetime) -> Iterable[Work]:
    """Yield the writes of measurements: six days by the hour, then minutes of every worker, as busy as a hospital."""
    minute, begin = _minute(), floor(now, MINUTE) - timedelta(minutes=size.minutes)
    hour = added_up([minute] * 60 * size.workers)
    first = floor(begin, HOUR)
    for number in range(1, 145):
        start = first - timedelta(hours=number)
        yield partial(s.metrics.write, MetricRow(seconds=HOUR, start=start, worker="", samples=hour))
    yield partial(s.cursors.write, Cursor(name=CURSOR, position={"until": first.isoformat()}), None)
    for number in range(size.minutes):
        for worker in range(size.workers):
            start = begin + timedelta(minutes=number)
            yield partial(
                s.metrics.write, MetricRow(seconds=MINUTE, start=start, worker=f"worker-{worker}", samples=minute)
            )


def _minute() -> Measurements:
    telemetry = Telemetry()
    outcomes: Sequence[tuple[Instrument, str]] = [
        (OBJECTS, "synced"),
        (OBJECTS, "repeat"),
        (OBJECTS, "rejected"),
        (STUDIES, "written"),
        (STUDIES, "unchanged"),
    ]
    for instrument, outcome in outcomes:
        telemetry.measure(instrument, 7, outcome=outcome)
    for number in range(40):
        telemetry.measure(LATENCY, 1.5 * number)
        telemetry.measure(HEADER_BYTES, 4000 * number)
        for method, kind in (("GET", "Patient"), ("GET", "ImagingStudy"), ("POST", "Bundle"), ("GET", "Bundle")):
            telemetry.measure(FHIR_DURATION, number / 100, method=method, type=kind, status="2xx")
    for queue in QUEUES:
        telemetry.measure(QUEUE_MESSAGES, 5, queue=queue)
        telemetry.measure(QUEUE_AGE, 5, queue=queue)
    for code in CODES:
        telemetry.measure(DEAD_LETTERS, code=code)
    for gauge in (DIRTY_STUDIES, KEPT_DEAD_LETTERS, SWEEPS):
        telemetry.measure(gauge, 12)
    return telemetry.take()


async def _count(s: Services) -> None:
    """Count as the timer does, until every table was counted to its end: ten rounds or so, whatever its size."""
    for _ in range(_ROUNDS):
        await store_counts(s)
        cursors = [await s.cursors.read(f"count:{table.value}") for table in Counted]
        stored = [stored_count(row.value if row is not None else None) for row in cursors]
        if all(count.kept is not None and count.walk is None for count in stored):
            return
    raise BenchError(f"after {_ROUNDS} rounds a table of the large world is not counted to its end")
