"""Pages of operators: the audit trail, and long jobs (replays, backfills, comparisons, exports, feeds)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sync.errors import UnreadableRow
from sync.model import RECONCILE_CURSOR, Cursor, dicom_cursor, orthanc_cursor
from sync.operators.access import refuse_readers
from sync.operators.unreadable_walks import REMEDY, unreadable_on
from sync.operators.walks import title_of, walks_on
from sync.ports import Audited, Jobs
from sync.protocol.walk_rows import Board, WalkProgress, WalkRow
from sync.replay.jobs import is_replay
from sync.replay.requests import request_of
from sync.walks import backfill, exporting, verification
from sync.walks.walk import COUNTS, Counts
from sync.web.exchange import limit_of
from sync.web.rendering import REFRESH, RenderedPage, Visit, render, span

SHOWN, MOST = 50, 1000
"""Entries of the audit trail on a page: by default, and at most."""

_WALKS: Mapping[str, str] = {
    dicom_cursor(""): "Feed of the DICOM service",
    orthanc_cursor(""): "Feed of Orthanc",
    RECONCILE_CURSOR: "Continuous comparison",
    "metrics": "Roll-up of the metrics",
}
"""Prefix of cursor names -> the job; the rest of a name may be a container's name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownShared:
    """One walk that processes share; ``share`` in percent, None where it cannot be known."""

    id: str
    state: str
    what: str
    share: int | None
    left: str
    workers: int
    counts: Mapping[str, int]
    problem: str
    began: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownWalk:
    """One job that runs for long, or without end."""

    name: str
    running: bool
    counts: Mapping[str, int]
    moved: str


async def audit(visit: Visit, s: Audited) -> RenderedPage:
    """
    Show the audit trail, to operators: it names people.

    Raises
    ------
    AccessRefused
        The visitor may only read.
    """
    refuse_readers(visit.caller, s.settings)
    limit = limit_of(visit.request.query, SHOWN, most=MOST)
    trail = await s.audit.newest(limit)
    more = min(limit * 2, MOST) if len(trail) == limit < MOST else 0
    return render(visit, "audit.html", title="Audit trail", here="audit", trail=trail, more=more)


async def running_jobs(visit: Visit, s: Jobs) -> RenderedPage:
    """Show replays and walks, with progress and remaining time."""
    cursors = [cursor async for cursor in s.cursors.all()]
    now = s.clock.now()
    board = Board.of(cursors)
    shared = walks_on(board, now)
    return render(
        visit,
        "jobs.html",
        title="Jobs",
        here="jobs",
        refresh=REFRESH,
        replays=[_shared(walk) for walk in shared if is_replay(walk.row)][:SHOWN],
        backfills=[_shared(walk) for walk in shared if walk.row.what == backfill.KIND][:SHOWN],
        comparisons=[_shared(walk) for walk in shared if walk.row.what == verification.KIND][:SHOWN],
        exports=[_shared(walk) for walk in shared if walk.row.what == exporting.KIND][:SHOWN],
        unreadable=unreadable_on(board),
        remedy=REMEDY,
        walks=[walk for cursor in sorted(cursors, key=_moved, reverse=True) if (walk := _walk(cursor, now))],
    )


def _shared(progress: WalkProgress) -> ShownShared:
    row = progress.row
    return ShownShared(
        id=row.id,
        state=row.state.value,
        what=_what(row),
        share=round(100 * progress.share) if progress.share is not None else None,
        left=span(progress.seconds_left) if progress.seconds_left is not None else "",
        workers=progress.workers,
        counts=progress.counts,
        problem=progress.problem,
        began=row.began.isoformat(),
    )


def _moved(cursor: Cursor) -> float:
    return cursor.advanced_at.timestamp() if cursor.advanced_at else 0.0


def _what(row: WalkRow) -> str:
    if not is_replay(row):
        return title_of(row)
    try:
        request = request_of(row)
    except UnreadableRow:
        return title_of(row)
    if request.study is not None:
        return "one study"
    start, end = (time.isoformat(" ", "minutes")[:16] if time else "" for time in (request.start, request.end))
    return f"{request.source}, {start or 'the beginning'} to {end or 'the end'}"


def _walk(cursor: Cursor, now: datetime) -> ShownWalk | None:
    name = next((words for prefix, words in _WALKS.items() if cursor.name.startswith(prefix)), "")
    if not name:
        return None
    counts = COUNTS.read_or(Counts(), cursor.position, row=cursor.name).counts
    return ShownWalk(
        name=name,
        running=bool(cursor.holder) and cursor.held_until is not None and cursor.held_until > now,
        counts={word: number for word, number in sorted(counts.items()) if number},
        moved=cursor.advanced_at.isoformat() if cursor.advanced_at else "",
    )
