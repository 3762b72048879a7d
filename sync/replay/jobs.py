"""
Replays that go on: through kills, in slices, beside events and one another.

A replay is a row of the cursors: what was asked, how far it is, what was counted. The holder of its lease takes it
further, the command to its end, the timer a slice at a time; the row is all that one needs to know of the other.
"""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from sync.delivery.handlers import dead_letter_delivery, handle_change
from sync.errors import BadReplay, Contention, PermanentError, ReplayTooLong, SyncError
from sync.model import Batch, Change, Cursor, Ingested, StudyRef
from sync.operators.audit import OperatorAction, record_action
from sync.ports import Control, Deliver, Ingest, Jobs, ReadFeeds
from sync.protocol.claims import is_repeat, studies_of
from sync.protocol.dirty_studies import mark_bypassing_cache
from sync.protocol.leases import held
from sync.replay.requests import ReplayRequest, as_json, parse_kept
from sync.replay.sources import IN_ONE_GO, ROUTE, Source, of_study
from sync.telemetry.defects import only_sync_errors
from sync.walks.walk import LEASE, Walk, Work, retry_then_dead_letter, run_walk, walk_of

PREFIX = "replay "
BEGUN = OperatorAction.REPLAY
"""Entry of the audit trail that tells when a replay was begun, and by whom."""

SLICE = 240.0
"""Seconds after which a timer's slice begins nothing new; Azure Functions ends it after ten minutes."""

WHOLE = 480.0
"""Seconds that a source gets which can only be read in one go."""

PARALLEL = 24
REMEMBERED = 20_000
"""Studies remembered as marked in this run; marking one again costs a row, forgetting costs nothing else."""

UNKNOWN_STUDY = "study.unknown"

RUNNING, DONE, FAILED = "running", "done", "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A replay as its row tells it."""

    request: ReplayRequest
    state: str = RUNNING
    at: Mapping[str, Any] | None = None
    problem: str = ""
    """Code of what made it fail."""

    @property
    def position(self) -> dict[str, Any]:
        """What the cursor keeps, but for the counts."""
        at = dict(self.at or {})
        return {"request": as_json(self.request), "state": self.state, "at": at, "problem": self.problem}

    @classmethod
    def of(cls, position: Mapping[str, Any]) -> Job:
        """Inverse of `position`."""
        return cls(
            request=parse_kept(position["request"]),
            state=position["state"],
            at=position["at"],
            problem=position.get("problem", ""),
        )


def cursor_of(request: ReplayRequest) -> str:
    """Name of the replay's cursor."""
    return PREFIX + request.id


async def begin(request: ReplayRequest, s: Control, *, who: str) -> bool:
    """
    Note a replay for the timer. Idempotent: one that is under way goes on as it is.

    Returns
    -------
    bool
        False when it is under way already.
    """
    async with held(cursor_of(request), s, seconds=LEASE) as lease:
        if lease is None or lease.position.get("state") == RUNNING:
            return False
        # Recorded before the row, so that no replay runs unrecorded; under the lease, so only once.
        subject = request.id + (f" study {request.study.key}" if request.study else "")
        await record_action(BEGUN, s, who=who, subject=subject)
        await lease.advance(Job(request=request).position)
        return True
    return False


async def require_known_study(request: ReplayRequest, s: Deliver) -> None:
    """
    Refuse the replay of an unknown study: it would leave rows of a study that never existed. Only reads.

    Raises
    ------
    BadReplay
        There is no row of it, and no DICOM service has it.
    """
    study = request.study
    if study is None or await s.ledger.orders(study, 1) or await s.dirty.read(study) or await s.projections.read(study):
        return
    async for batch in of_study(study, s):
        if batch.changes:
            return
    hint = "Check the Study Instance UID and the partition; python -m sync backfill inspects every object there is."
    raise BadReplay("study: none of this UID is known", code=UNKNOWN_STUDY, hint=hint)


async def advance_all(sources: Mapping[str, Source], s: ReadFeeds, *, seconds: float = SLICE) -> int:
    """
    Take every replay that is under way a slice further. Idempotent; of two at once each replay has one.

    Returns
    -------
    int
        How many are left.
    """
    until = time.monotonic() + seconds
    unfinished = 0
    for cursor in [cursor async for cursor in s.cursors.all()]:
        if cursor.name.startswith(PREFIX) and cursor.position.get("state") == RUNNING:
            unfinished += not await _slice(cursor, sources, s, until)
    return unfinished


async def _slice(cursor: Cursor, sources: Mapping[str, Source], s: ReadFeeds, until: float) -> bool:
    try:
        async with only_sync_errors(), walk_of(cursor.name, s) as walk:
            job = Job.of(walk.position)
            if job.request.source in IN_ONE_GO:
                until = time.monotonic() + WHOLE
            return await advance(job, walk, sources, s, until=until)
    except Contention:
        return False  # another process is at it
    except SyncError as failure:
        # what was done is noted; the next slice tries again
        s.telemetry.event("replay.interrupted", logging.WARNING, replay=cursor.name, code=failure.code)
        return False


async def advance(
    job: Job,
    walk: Walk,
    sources: Mapping[str, Source],
    s: Ingest,
    *,
    parallel: int = PARALLEL,
    until: float | None = None,
) -> bool:
    """
    Take a replay further. Idempotent and safe to interrupt.

    Returns
    -------
    bool
        Whether it is over: done, or failed for good, as by `ReplayTooLong`.

    Raises
    ------
    TransientError
        A source or storage did not answer; it goes on from here later.
    """
    again = _Again(walk, s, reread=job.request.reread or job.request.study is not None)
    batches = _noting(job, changes_of(job, sources, s))
    try:
        if job.request.study is not None:
            await mark_bypassing_cache(job.request.study, s)
        ended = await run_walk(
            batches,
            retry_then_dead_letter(
                again.inspect, walk, again.dead_letter, longest_wait=s.settings.longest_wait_seconds, until=until
            ),
            walk,
            parallel=parallel,
            until=until,
        )
        if not ended and job.request.source in IN_ONE_GO and job.request.study is None:
            raise ReplayTooLong("the source can only be read in one go")
    except PermanentError as refusal:
        failed = replace(job, state=FAILED, problem=refusal.code, at=walk.position.get("at"))
        await walk.advance(failed.position)
        s.telemetry.event("replay.failed", logging.ERROR, replay=job.request.id, code=refusal.code)
        return True
    if ended:
        at = {ROUTE: (walk.position.get("at") or {}).get(ROUTE, "")}
        await walk.advance(replace(job, state=DONE, at=at).position)
        s.telemetry.event("replay.done", replay=job.request.id)
    return ended


def changes_of(job: Job, sources: Mapping[str, Source], s: Ingest) -> AsyncIterator[Batch]:
    """Iterate over what the replay has to inspect, from where it stands."""
    if job.request.study is not None:
        return of_study(job.request.study, s)
    return sources[job.request.source](job.request, job.at or {})


async def _noting(job: Job, batches: AsyncIterator[Batch]) -> AsyncIterator[Batch]:
    async for batch in batches:
        yield replace(batch, position=replace(job, at=batch.position).position)


class _Again:
    """Inspects what changed, and marks each of its studies to be compared with FHIR."""

    def __init__(self, walk: Walk, s: Ingest, *, reread: bool) -> None:
        self._walk, self._s, self._reread = walk, s, reread
        self._marked: set[StudyRef] = set()

    @property
    def inspect(self) -> Work:
        return self._inspect

    async def _inspect(self, change: Change) -> None:
        stored = await self._s.locators.read(change.object)
        outcome = Ingested.REPEAT.counted
        if self._reread or stored is None or not is_repeat(stored.value, change):
            outcome = (await handle_change(change, self._s, attempt=2 if self._reread else 1)).counted
            stored = await self._s.locators.read(change.object)
        for study in studies_of(stored.value) if stored else ():
            await self._mark(study)
        self._walk.count(outcome)

    async def dead_letter(self, change: Change, refusal: PermanentError) -> None:
        self._walk.count(Ingested.DEAD_LETTERED.counted)
        await dead_letter_delivery(change, refusal, self._s)

    async def _mark(self, study: StudyRef) -> None:
        if study in self._marked:
            return
        if len(self._marked) >= REMEMBERED:
            self._marked.clear()
        await mark_bypassing_cache(study, self._s)
        if study not in self._marked:
            self._marked.add(study)
            self._walk.count("studies")


def shown(cursor: Cursor) -> dict[str, Any]:
    """
    Return a replay as operators see it: what was asked, how far it is; no token, no UID.

    ``at`` is the segment or container that is being read.
    """
    position = cursor.position
    at, request = position.get("at") or {}, position["request"]
    return {
        "id": cursor.name.removeprefix(PREFIX),
        "state": position["state"],
        "source": request["source"],
        "from": request["from"],
        "to": request["to"],
        "study": StudyRef(study_instance_uid=request["study"][0], partition=request["study"][1]).key
        if request["study"]
        else None,
        "route": at.get(ROUTE),
        "at": at.get("segment") or at.get("until") or at.get("container"),
        "counts": {name: number for name, number in sorted(position.get("counts", {}).items()) if number},
        "problem": position.get("problem") or None,
        "advanced_at": cursor.advanced_at.isoformat() if cursor.advanced_at else None,
    }


async def replays(s: Jobs) -> list[dict[str, Any]]:
    """List all replays, the latest first. Only reads."""
    cursors = [cursor async for cursor in s.cursors.all() if cursor.name.startswith(PREFIX) and cursor.position]
    latest = sorted(
        cursors, key=lambda cursor: cursor.advanced_at.timestamp() if cursor.advanced_at else 0.0, reverse=True
    )
    return [shown(cursor) for cursor in latest]
