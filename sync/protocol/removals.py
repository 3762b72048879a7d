"""
The ceiling on removals: how many studies may lose instances, or be removed, before an operator must confirm.

All code that removes asks here first: ingest before it deletes a ledger row, projection before it deletes an
ImagingStudy, verify before it deletes a duplicate or an orphan. Each inspection may be right by itself and all of them
wrong together: a gateway in front of the store, a container that was swapped, a state account restored from a backup.
So the studies that lose instances within an hour are counted, whatever removes them. Past the ceiling nothing is
removed: each removal becomes a dead letter ``removal.held`` of its object or study until an operator confirms or
refuses it, or the object is back.

    ensure_removable     raises `RemovalHeld` unless this study may lose an instance, or be removed
    lift_if_over         lets removals continue once none is held any more
    read_ceiling         for the status and the page

One row of table ``cursors`` holds the counts, written under its ETag: two processes cannot both take the last place.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sync.errors import RemovalHeld
from sync.model import Cursor, Stored, SubjectKind, digest
from sync.model.timestamps import Timestamp
from sync.ports import Counted, Jobs, Reject, Removing
from sync.protocol.optimistic import retry_on_conflict
from sync.protocol.row_values import RowValue
from sync.protocol.stored_counts import stored_count
from sync.words import counted

CURSOR = "control.removals"
"""Name of the row in table ``cursors``."""

WINDOW = timedelta(hours=1)
"""Time over which studies that lose instances are counted."""

FEW = 20
"""
Studies that may always lose instances, whatever their share of all studies: small stores are emptied in everyday work.
"""

GRACE = timedelta(minutes=2)
"""Time for which a reached ceiling is not lifted: the first dead letters are still being written."""

_MOST_COUNTED = 2000
"""Maximum number of studies in the row: their digests must fit into it."""

_KEY = 16
_ROW = "the ceiling on removals"
_PERCENT = 100.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Ceiling:
    """
    The removals since ``began``, and whether further ones are held.

    ``studies`` are digests of studies that lost instances; ``held_since`` is None while removals continue. An
    operator has confirmed the removals held up to ``approved_at``; those that followed are ``confirmed``, and take no
    place below the ceiling.
    """

    began: Timestamp | None = None
    studies: tuple[str, ...] = ()
    confirmed: tuple[str, ...] = ()
    limit: int = 0
    held_since: Timestamp | None = None
    approved_at: Timestamp | None = None

    def is_over(self, now: datetime) -> bool:
        """Return whether the window is over, so that a new one begins; never while removals are held."""
        return self.held_since is None and (self.began is None or now - self.began >= WINDOW)


_CEILING: RowValue[Ceiling] = RowValue(Ceiling)


async def read_ceiling(s: Jobs) -> Ceiling:
    """Return the ceiling's present state: a new window where the stored one is over. Only reads."""
    stored = await s.cursors.read(CURSOR)
    return await _present(stored, s)


def ceiling_of(cursor: Cursor | None) -> Ceiling:
    """
    Return the ceiling in a row; a new ceiling without a row.

    Raises
    ------
    UnreadableRow
        The row has an unknown form: whether the ceiling is reached is unknown, so nothing may be removed.
    """
    return _CEILING.read(cursor.position, row=CURSOR) if cursor is not None else Ceiling()


async def ensure_removable(study: str, kind: SubjectKind, subject: str, s: Removing) -> None:
    """
    Count a study that is about to lose an instance or be removed. Idempotent: a study counts once in a window.

    Parameters
    ----------
    study
        Key of the study, or address of a resource that belongs to no study.
    kind, subject
        The subject whose dead letter holds the removal, for an operator to confirm.

    Raises
    ------
    RemovalHeld
        The ceiling is reached; the study may not be removed or lose an instance.
    StoreUnavailable, Contention
        Whether the ceiling is reached is unknown; nothing may be removed.
    """

    async def is_approved(ceiling: Ceiling) -> bool:
        return await _is_approved(kind, subject, ceiling, s)

    if not await _count_study(study, s, is_approved=is_approved):
        ceiling = await read_ceiling(s)
        raise RemovalHeld(
            f"{counted(len(ceiling.studies), 'study', 'studies')} within an hour, allowed {ceiling.limit}"
        )


async def may_remove(study: str, s: Jobs) -> bool:
    """
    Return whether a study may lose an instance, and count it; see `ensure_removable`.

    Raises
    ------
    StoreUnavailable, Contention
        Whether the study may lose an instance is unknown.
    """
    return await _count_study(study, s)


async def _count_study(study: str, s: Jobs, *, is_approved: Callable[[Ceiling], Awaitable[bool]] | None = None) -> bool:
    """Count a study, an approved one beside the ceiling; return whether it may lose an instance."""
    key = digest("removal", study, length=_KEY)

    async def count_study() -> bool:
        stored = await s.cursors.read(CURSOR)
        ceiling = await _present(stored, s)
        if key in ceiling.studies or key in ceiling.confirmed:
            return True
        # Before it is counted: what an operator confirmed must not close the ceiling again.
        if is_approved is not None and await is_approved(ceiling):
            # The last object of a study removes the study too, which has no confirmed dead letter of its own. One that
            # finds no room in the row is confirmed separately.
            if len(ceiling.confirmed) < _MOST_COUNTED:
                await _write(replace(ceiling, confirmed=(*ceiling.confirmed, key)), stored, s)
            return True
        if ceiling.held_since is not None:
            return False
        allowed = len(ceiling.studies) < ceiling.limit
        if allowed:
            grown = replace(ceiling, studies=(*ceiling.studies, key))
        else:
            grown = replace(ceiling, held_since=s.clock.now())
        # Written before the removal, under the ETag: two workers cannot both take the last place below the ceiling.
        await _write(grown, stored, s)
        if not allowed:
            s.telemetry.event("removal.held", logging.ERROR, studies=len(ceiling.studies), limit=ceiling.limit)
        return allowed

    # One delivery of this process at a time: of a hundred that delete at once, most would lose each round of the race
    # for the row, give up, and be delivered again after a delay.
    async with s.caches.counting_removals:
        return await retry_on_conflict(count_study, subject=_ROW)


async def _present(stored: Stored[Cursor] | None, s: Jobs) -> Ceiling:
    ceiling = ceiling_of(stored.value if stored is not None else None)
    if not ceiling.is_over(s.clock.now()):
        return ceiling
    return Ceiling(began=s.clock.now(), limit=await _limit(s), approved_at=ceiling.approved_at)


async def reset_ceiling(s: Jobs, *, approve: bool, until: datetime | None = None) -> None:
    """
    Let removals continue with a new window; ``approve`` permits those held so far. Idempotent.

    Parameters
    ----------
    until
        Up to when the operator knows which removals are held: a ceiling reached later stays closed. None: all.

    Raises
    ------
    Contention
        The row kept changing.
    """

    async def write_new() -> None:
        stored = await s.cursors.read(CURSOR)
        before, now = ceiling_of(stored.value if stored is not None else None), s.clock.now()
        times = [before.approved_at, min(until or now, now) if approve else None]
        approved_at = max((time for time in times if time is not None), default=None)
        opens = until is None or (before.held_since is not None and before.held_since <= until)
        await _write(replace(Ceiling() if opens else before, approved_at=approved_at), stored, s)

    await retry_on_conflict(write_new, subject=_ROW)


async def lift_if_over(s: Removing) -> bool:
    """
    Let removals continue once none is held: each object is back, or its removal was confirmed or refused. Idempotent.

    Returns
    -------
    bool
        Whether removals are still held.
    """
    ceiling = await read_ceiling(s)
    if ceiling.held_since is None:
        return False
    page = await s.dead_letters.page(code=RemovalHeld.code, limit=1)
    if page.letters or s.clock.now() - ceiling.held_since < GRACE:
        return True
    await reset_ceiling(s, approve=False)
    s.telemetry.event("removal.lifted")
    return False


async def _is_approved(kind: SubjectKind, subject: str, ceiling: Ceiling, s: Reject) -> bool:
    if ceiling.approved_at is None:
        return False
    stored = await s.dead_letters.read(kind, subject)
    held = stored is not None and stored.value.code == RemovalHeld.code
    return stored is not None and held and stored.value.last_at <= ceiling.approved_at


async def _limit(s: Jobs) -> int:
    """Return how many studies may lose instances in a window: the lower of number and share, but at least a few."""
    if s.settings.max_removal_share_percent >= _PERCENT:
        return s.settings.max_removals_per_hour  # a share of 100 % is no limit, whatever was counted last
    row = await s.cursors.read(Counted.PROJECTIONS.cursor)
    kept = stored_count(row.value if row is not None else None).kept
    studies = kept.counts.get("studies", 0) if kept is not None else 0
    share = int(studies * s.settings.max_removal_share_percent / _PERCENT)
    return min(s.settings.max_removals_per_hour, max(share, FEW))


async def _write(ceiling: Ceiling, stored: Stored[Cursor] | None, s: Jobs) -> None:
    cursor = Cursor(name=CURSOR, position=_CEILING.write(ceiling), advanced_at=s.clock.now())
    await s.cursors.write(cursor, stored.etag if stored is not None else None)
