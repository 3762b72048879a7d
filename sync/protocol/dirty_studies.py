"""
The list of dirty studies.

A study is marked when one of its rows was written, and cleared once FHIR says what its rows say. The mark is a row; its
message is only a hint: it may be lost, delivered late, or delivered while an attempt is under way. An attempt deletes
the row only if it is still the one that it has read.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from datetime import datetime, timedelta

from sync.errors import Contention, StoreConflict
from sync.model import DirtyStudy, Stored, StudyRef
from sync.ports import Core, MarkDirty, Project
from sync.protocol.arrivals import may_come_early, quiet_period, shortest_quiet_period
from sync.protocol.optimistic import MAX_ROUNDS, retry_on_conflict

SLEEPS = 3
"""Shortest quiet periods that a delivery waits for its study to be due before it sends another message."""

FIRST_LOOK = 0.25
"""Share of such a period after which it looks again whether the last objects are ingested; doubles, up to all of it."""

BELIEVED = timedelta(seconds=0.1)
"""How long objects are taken to wait after the queue has said so."""

LOOKS = 12
"""Most sleeps for one study in that time."""


async def mark_dirty(studies: Iterable[StudyRef], s: MarkDirty, *, arrived: datetime | None = None) -> None:
    """
    Mark studies as outstanding. Idempotent.

    After their rows, never before: a projector that takes the mark must find the row.

    Parameters
    ----------
    arrived
        When the object arrived, for a guess whether more will.
    """
    for study in sorted(studies):
        now = s.clock.now()
        if await s.dirty.mark(study, now, longest_gap=s.caches.arrivals.longest_gap(study.key, arrived or now)):
            await s.study_queue.enqueue(study, shortest_quiet_period(s))


async def mark_bypassing_cache(study: StudyRef, s: MarkDirty) -> None:
    """
    Mark a study to be compared with the actual content of FHIR, whatever our records say. Idempotent.

    The order comes with the mark, in its row, which an attempt takes off only when it was the last to read it.
    """
    if await s.dirty.mark(study, s.clock.now(), bypass_cache=True):
        await s.study_queue.enqueue(study, 0.0)


async def read_dirty_study(
    study: StudyRef, s: MarkDirty, *, known: Stored[DirtyStudy] | None = None
) -> tuple[Stored[DirtyStudy], bool]:
    """
    Read a study's mark, and tell whether it was there; one that was not is made. Idempotent.

    Its absence proves nothing to a redelivered message: the first delivery may have taken it off and died.

    Parameters
    ----------
    known
        The mark as this delivery has just read it, which serves as well: whatever changed since changed its ETag.

    Raises
    ------
    Contention
        It kept vanishing.
    """
    if known is not None:
        return known, True
    for _ in range(MAX_ROUNDS):
        if (marked := await s.dirty.read(study)) is not None:
            return marked, True
        await s.dirty.mark(study, s.clock.now())
        if (marked := await s.dirty.read(study)) is not None:
            return marked, False
    raise Contention("a dirty row kept vanishing")


async def clear_mark(study: StudyRef, etag: str, s: MarkDirty) -> None:
    """
    Remove the study from the list. If it was marked meanwhile, as while it grows, it waits again.

    The record is sound by then: it was written under its ETag, after FHIR. So the next attempt may trust it, unless the
    row says that some pass failed.

    Raises
    ------
    StoreConflict
        Another attempt took it off; this one may have undone its work, so one more must follow.
    Contention
        It kept being marked.
    """

    async def restart_wait() -> bool:
        if (marked := await s.dirty.read(study)) is None:
            return False
        waiting = replace(marked.value, first_marked=s.clock.now(), failing_since=None)
        await s.dirty.postpone(waiting, marked.etag)
        return True

    try:
        await s.dirty.delete(study, etag)
    except StoreConflict:
        # One more mark between read and write is no reason to project again: only the row is read again.
        if not await retry_on_conflict(restart_wait, subject="a study's mark"):
            raise
        # The row before the message: a message that comes first would find the study due and project it too early.
        await s.study_queue.enqueue(study, s.settings.quiet_period)


def due_at(dirty: DirtyStudy, s: Core, *, in_fhir: bool = False) -> datetime:
    """
    Return when a study is due: after its quiet period, at the latest ``max_wait`` after its first mark. Aware, UTC.

    One that is in FHIR already waits the whole quiet period, so a pause mistaken for the end costs one write, once. One
    that is only to be compared with FHIR waits for no further object, for none came.
    """
    seconds = s.settings.quiet_period if in_fhir else quiet_period(dirty, s)
    quiet = dirty.last_marked + timedelta(seconds=0.0 if dirty.comparison else seconds)
    latest = dirty.first_marked + timedelta(seconds=s.settings.max_wait)
    due = min(quiet, latest)
    return max(due, dirty.not_before) if dirty.not_before else due


def seconds_until_due(dirty: DirtyStudy, s: Core, *, in_fhir: bool = False) -> float:
    """Return the seconds from now until `due_at`; zero or negative when the study is due."""
    return (due_at(dirty, s, in_fhir=in_fhir) - s.clock.now()).total_seconds()


async def seconds_to_wait(dirty: DirtyStudy, s: Project, *, in_fhir: bool) -> float:
    """
    Return the seconds after which a study is to be tried, not positive when it is time.

    One that would come early has not ended while any object waits to be ingested, or is being ingested.
    """
    if await _may_grow(dirty, s, in_fhir=in_fhir):
        return min(shortest_quiet_period(s), seconds_until_due(dirty, s, in_fhir=True))
    return seconds_until_due(dirty, s, in_fhir=in_fhir)


async def _may_grow(dirty: DirtyStudy, s: Project, *, in_fhir: bool) -> bool:
    """Return whether a study is due only because it would come early, while objects of the queue are not ingested."""
    is_early = seconds_until_due(dirty, s, in_fhir=in_fhir) <= 0 < seconds_until_due(dirty, s, in_fhir=True)
    return is_early and await objects_wait(s)


async def objects_wait(s: Project) -> bool:
    """
    Return whether objects wait in the queue, or are being ingested.

    Studies of a burst ask at once, so who comes while another asks hears the same answer, and for a moment the queue is
    not asked again whether it is empty by now.
    """
    backlog = s.caches.backlog
    before = backlog.answers
    async with backlog.lock:
        is_fresh = backlog.told is not None and s.clock.now() - backlog.told < BELIEVED
        if backlog.answers == before and not (backlog.waits and is_fresh):
            backlog.waits = not await s.object_queue.is_empty()
            backlog.told = s.clock.now()
            backlog.answers += 1
        return backlog.waits


async def sleep_until_due(
    study: StudyRef, s: Project, *, is_recorded: Callable[[StudyRef], Awaitable[bool]]
) -> Stored[DirtyStudy] | None:
    """
    Wait here for a study that is due within the shortest quiet period: queues count in whole seconds.

    For a few of these periods, as it may have been marked again meanwhile, or the last objects of a burst are still
    being ingested. Nothing depends on it but the time. Returns the mark if it was read last; None where it was slept
    since, or is not there.

    Parameters
    ----------
    is_recorded
        Whether the study has a record.
    """
    shortest = shortest_quiet_period(s)
    latest = s.clock.now() + timedelta(seconds=SLEEPS * shortest)
    in_fhir = may_come_early(s) and await is_recorded(study)
    for _ in range(LOOKS if may_come_early(s) else 0):
        marked = await s.dirty.read(study)
        if marked is not None and await _waits_for_objects(marked.value, s, in_fhir=in_fhir, latest=latest):
            marked = await s.dirty.read(study)  # what the queue held is marked by now
        if marked is None or s.clock.now() >= latest:
            return marked
        wait = seconds_until_due(marked.value, s, in_fhir=in_fhir)
        if not 0 < wait <= shortest:
            return marked
        await s.clock.sleep(wait)
    return None


async def _waits_for_objects(dirty: DirtyStudy, s: Project, *, in_fhir: bool, latest: datetime) -> bool:
    """Sleep while the study may grow by objects that wait; return whether any did. Its mark says nothing new of it."""
    shortest = shortest_quiet_period(s)
    pause, waited = FIRST_LOOK * shortest, False
    while s.clock.now() < latest and await _may_grow(dirty, s, in_fhir=in_fhir):
        await s.clock.sleep(pause)
        pause, waited = min(2 * pause, shortest), True
    return waited
