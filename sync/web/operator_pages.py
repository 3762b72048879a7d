"""What operators did, and what takes long: the audit trail; replays, feeds, backfills and checks with progress."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sync.model import RECONCILE_CURSOR, AuditEntry, Cursor, dicom_cursor, orthanc_cursor
from sync.model.timestamps import aware_time, timestamp_from
from sync.operators.access import refuse_readers
from sync.operators.walks import title_of, walks_on
from sync.ports import Control
from sync.protocol.walk_rows import Board, WalkProgress
from sync.replay import jobs
from sync.web.exchange import number_of
from sync.web.rendering import REFRESH, RenderedPage, Visit, render, span

SHOWN, MOST = 50, 1000
"""Entries of the audit trail on a page, and at most."""

_TRAIL = 200
"""Latest entries of the trail in which the start of a running replay is looked for."""

_WALKS: Mapping[str, str] = {
    dicom_cursor(""): "Feed of the DICOM service",
    orthanc_cursor(""): "Feed of Orthanc",
    RECONCILE_CURSOR: "Continuous comparison",
    "verify": "Verify",
    "metrics": "Roll-up of the metrics",
}
"""How names of cursors begin -> what the job is; the rest of a name may be that of a container."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownReplay:
    """One replay as its line tells it; ``share`` in percent, None where it cannot be known."""

    id: str
    state: str
    what: str
    share: int | None
    left: str
    counts: Mapping[str, int]
    problem: str
    moved: str


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
    """One job that goes on for ever or for long."""

    name: str
    running: bool
    counts: Mapping[str, int]
    moved: str


async def audit(visit: Visit, s: Control) -> RenderedPage:
    """
    Show the audit trail, to operators: it names people.

    Raises
    ------
    AccessRefused
        The visitor may only look.
    """
    refuse_readers(visit.caller, s.settings)
    limit = number_of(visit.request.query, "limit", SHOWN, most=MOST)
    trail = await s.audit.newest(limit)
    more = min(limit * 2, MOST) if len(trail) == limit < MOST else 0
    return render(visit, "audit.html", title="Audit trail", here="audit", trail=trail, more=more)


async def running_jobs(visit: Visit, s: Control) -> RenderedPage:
    """Show replays and walks, with progress and the time that is left."""
    cursors = [cursor async for cursor in s.cursors.all()]
    of_replays = [cursor for cursor in cursors if cursor.name.startswith(jobs.PREFIX) and cursor.position]
    active = any(cursor.position["state"] == jobs.RUNNING for cursor in of_replays)
    trail = await s.audit.newest(_TRAIL) if active else ()
    now = s.clock.now()
    latest = sorted(of_replays, key=_moved, reverse=True)[:SHOWN]
    return render(
        visit,
        "jobs.html",
        title="Jobs",
        here="jobs",
        refresh=REFRESH,
        shared=[_shared(walk) for walk in walks_on(Board.of(cursors), now)[:SHOWN]],
        replays=[_replay(cursor, trail, now) for cursor in latest],
        walks=[walk for cursor in sorted(cursors, key=_moved, reverse=True) if (walk := _walk(cursor, now))],
    )


def _shared(progress: WalkProgress) -> ShownShared:
    row = progress.row
    return ShownShared(
        id=row.run,
        state=row.state.value,
        what=title_of(row),
        share=round(100 * progress.share) if progress.share is not None else None,
        left=span(progress.seconds_left) if progress.seconds_left is not None else "",
        workers=progress.workers,
        counts=progress.counts,
        problem=row.problem,
        began=row.began.isoformat(),
    )


def _moved(cursor: Cursor) -> float:
    return cursor.advanced_at.timestamp() if cursor.advanced_at else 0.0


def _replay(cursor: Cursor, trail: Sequence[AuditEntry], now: datetime) -> ShownReplay:
    told = jobs.shown(cursor)
    share = _share(told["from"], told["to"], told["at"], now) if told["state"] == jobs.RUNNING else None
    share = 100 if told["state"] == jobs.DONE else share
    window = f"{told['source']}, {(told['from'] or 'the beginning')[:16]} to {(told['to'] or 'the end')[:16]}"
    return ShownReplay(
        id=told["id"],
        state=told["state"],
        what="one study" if told["study"] else window.replace("T", " "),
        share=share,
        left=_left(told["id"], share, trail, now) if told["state"] == jobs.RUNNING else "",
        counts=told["counts"],
        problem=told["problem"] or "",
        moved=told["advanced_at"] or "",
    )


def _share(start: str | None, end: str | None, at: str | None, now: datetime) -> int | None:
    """Return how much of the window is read, in percent, where the place in the source is a time."""
    begins, place = timestamp_from(start), aware_time(at)
    if begins is None or place is None:
        return None
    whole = ((timestamp_from(end) or now) - begins).total_seconds()
    return round(100 * min(max((place - begins).total_seconds() / whole, 0.0), 1.0)) if whole > 0 else None


def _left(replay: str, share: int | None, trail: Sequence[AuditEntry], now: datetime) -> str:
    """Say how long it will take still, if it goes on as it did since an operator started it."""
    began = [entry.at for entry in trail if entry.action == jobs.BEGUN and entry.subject.startswith(replay)]
    if not began or not share:
        return ""
    return span((now - began[0]).total_seconds() * (100 - share) / share)


def _walk(cursor: Cursor, now: datetime) -> ShownWalk | None:
    name = next((words for prefix, words in _WALKS.items() if cursor.name.startswith(prefix)), "")
    if not name:
        return None
    counts = cursor.position.get("counts", {})
    return ShownWalk(
        name=name,
        running=bool(cursor.holder) and cursor.held_until is not None and cursor.held_until > now,
        counts={word: number for word, number in sorted(counts.items()) if number} if isinstance(counts, dict) else {},
        moved=cursor.advanced_at.isoformat() if cursor.advanced_at else "",
    )
