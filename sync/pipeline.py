"""
The page to read: how one object becomes a ledger row, and how one study becomes FHIR.

    ingest          an event, a listing or a feed names an object  ->  look at it  ->  its row, its study marked dirty
    project_study   a study is dirty  ->  all its rows  ->  one transaction

An event is a hint, never the truth: ingest looks at the object as it is now, so duplicates, reordering and stale
events are harmless. A study is projected from all its rows at once, so arrival order cannot matter. Both are safe to
repeat at any time and to interrupt between any two lines; the order of the lines is what makes them so, and
``tests/simulation`` shows for each rule that dropping it is caught. Who acts on failures: `sync.handling`.
"""

from __future__ import annotations

import enum
from dataclasses import replace
from datetime import datetime, timedelta

from sync.announcing import announce_failure, announce_rejected
from sync.errors import Conflict, Contention, FhirRejected, PermanentError, StoreConflict, SyncError
from sync.instruments import DEAD_LETTERS, LATENCY
from sync.looking import look as look_at
from sync.mapping.resource import study_id
from sync.model import (
    Change,
    DeadLetter,
    DirtyStudy,
    LedgerRow,
    Locator,
    Look,
    Projection,
    Stored,
    StudyRef,
    SubjectKind,
)
from sync.ports import Services
from sync.projection import what_fhir_holds, write_study

MAX_ROUNDS = 12
"""Races that one delivery loses before it gives up and is delivered again."""


class Ingested(enum.Enum):
    """What came of looking at one object."""

    SYNCED = "object.synced"
    GONE = "object.gone"
    REJECTED = "object.rejected"
    REPEAT = "object.repeat"
    OVERTAKEN = "object.overtaken"
    """A feed's entry that is older than what is known already."""


class Projected(enum.Enum):
    """What came of one dirty study."""

    WRITTEN = "study.written"
    UNCHANGED = "study.unchanged"
    PARKED = "study.parked"
    NOT_YET = "study.not_yet"


async def ingest(change: Change, s: Services, *, redelivered: bool = False) -> Ingested:
    """
    Look at one object; leave its ledger row, its dead letter and its marks as the object is now.

    Claim, write, mark, settle: the claim comes first, so that of two racing deliveries the later claim always
    knows every study the earlier one may still write to, and the earlier one fails to settle and looks again.

    An entry of an ordered feed brings its look along, which is as old as its page. There the highest sequence wins, and
    the claim is what makes that hold between two readers: only a lower one is dropped, for one with the stored sequence
    may be the second life of a run that died before it marked.

    Parameters
    ----------
    change
        Names the object; its ETag, or its sequence, serves to recognise a repeat.
    redelivered
        The message was delivered before and may have died half-way: no shortcut, and leftovers are cleared.

    Raises
    ------
    TransientError
        Storage did not answer, or every round was lost; deliver again.
    """
    for round_number in range(MAX_ROUNDS):
        suspicious = redelivered or change.again or round_number > 0
        known = await s.locators.read(change.object)
        if known and not suspicious and is_repeat(known.value, change):
            return Ingested.REPEAT
        if known and is_overtaken(known.value, change):
            if redelivered:
                await _mark_studies(known.value, s)
            return Ingested.OVERTAKEN
        look = await _look(change, known.value if known else None, s)
        claim = _claim(change, known.value if known else None, look)
        try:
            etag = await (s.locators.replace(claim, known.etag) if known else s.locators.insert(claim))
            await _write_rows(claim, look, s)
            await _mark_studies(claim, s)
            if look.problem is not None and not (known and _was_rejected(known.value, look)):
                await announce_rejected(change.object.key, look.etag, look.problem, s)
            await _write_dead_letter(claim, look, s, clear=suspicious or claim.has_dead_letter)
            settled = replace(claim, settled=True, has_dead_letter=look.problem is not None)
            await s.locators.replace(settled, etag)
        except StoreConflict:
            continue
        return _outcome(look)
    raise Contention("an object kept changing while it was ingested")


def _was_rejected(known: Locator, look: Look) -> bool:
    return known.settled and known.has_dead_letter and known.etag == look.etag


def is_repeat(known: Locator, change: Change) -> bool:
    """Whether the object was looked at, to the end, since it became what the change says."""
    if change.sequence is not None:
        return known.settled and known.sequence == change.sequence and not known.contested
    return known.settled and change.etag is not None and known.etag == change.etag


def is_overtaken(known: Locator, change: Change) -> bool:
    """
    Whether an entry is older than what is known, so that there is nothing to do.

    It is not where claims overlapped: an earlier life of this very entry may have written its row after the younger one
    did, and died. Then the object is looked at.
    """
    older = change.look is not None and _is_lower(known, change) and change.look.order <= known.order
    return older and not known.contested


def _is_lower(known: Locator, change: Change) -> bool:
    return None not in (known.sequence, change.sequence) and (change.sequence or 0) < (known.sequence or 0)


async def _look(change: Change, known: Locator | None, s: Services) -> Look:
    """
    Return the look that the change brings, if it is as good as a look now.

    A lower sequence with a later time contradicts itself: the service was made anew under the same address, and counts
    from the beginning. Then only the object can tell.
    """
    if change.look is None or (known is not None and _is_lower(known, change)):
        return await look_at(change.object, s)
    return change.look


def _claim(change: Change, before: Locator | None, look: Look) -> Locator:
    """Take the object: who it is now, and every other study it ever was part of."""
    study = look.record.study if look.record else None
    ever = (before.history | {before.study}) if before else frozenset[StudyRef | None]()
    seen = (change.sequence, before.sequence if before else None)
    sequences = [each for each in seen if each is not None]
    return Locator(
        object=change.object,
        etag=look.etag,
        study=study,
        sop_instance_uid=look.record.sop_instance_uid if look.record else None,
        history=frozenset(other for other in ever if other is not None and other != study),
        has_dead_letter=look.problem is not None or (before is not None and before.has_dead_letter),
        sequence=max(sequences, default=None),
        contested=before is not None and (before.contested or not before.settled),
        order=look.order or (before.order if before else ""),
    )


async def _write_rows(claim: Locator, look: Look, s: Services) -> None:
    key = claim.object.key
    if look.record is not None:
        await s.ledger.upsert(LedgerRow(object_key=key, record=look.record, order=look.order))
    for study in sorted(claim.history):
        await s.ledger.delete(study, key)


async def mark_anew(study: StudyRef, s: Services) -> None:
    """
    Have a study compared with what FHIR really holds, whatever our records say of it. Safe to repeat.

    The order comes with the mark, in its row: a message may be lost, delivered late or delivered to a pass that is
    under way, and the row is what a pass takes off only when it was the last to read it.
    """
    if await s.dirty.mark(study, s.clock.now(), distrust=True):
        await s.study_queue.enqueue(study, s.settings.quiet_period)


def studies_of(known: Locator) -> frozenset[StudyRef]:
    """Every study that the object is, or was, part of."""
    return known.history | ({known.study} if known.study else frozenset())


async def _mark_studies(claim: Locator, s: Services) -> None:
    """After the rows, never before: a projector that takes the mark must find the row."""
    for study in sorted(studies_of(claim)):
        if await s.dirty.mark(study, s.clock.now()):
            await s.study_queue.enqueue(study, s.settings.quiet_period)


async def _write_dead_letter(claim: Locator, look: Look, s: Services, *, clear: bool) -> None:
    """Keep a dead letter for an unreadable object, keyed by the object; anything else it becomes clears it."""
    subject = str(claim.object.key)
    if look.problem is not None:
        await s.dead_letters.put(DeadLetter.of(SubjectKind.OBJECT, subject, look.problem, s.clock.now()))
        s.telemetry.measure(DEAD_LETTERS, code=look.problem.code)
    elif clear:
        await s.dead_letters.clear(SubjectKind.OBJECT, subject)


def _outcome(look: Look) -> Ingested:
    if look.problem is not None:
        return Ingested.REJECTED
    return Ingested.SYNCED if look.record is not None else Ingested.GONE


async def project_study(study: StudyRef, s: Services, *, redelivered: bool = False) -> Projected:
    """
    Make FHIR say what the study's ledger rows say, and take the study off the dirty list.

    The mark is read before what FHIR holds, that before the ledger, and the mark is deleted only if it is still the
    same: whatever changes in between shows as a conflict, and the next pass trusts no record but reads FHIR.

    Parameters
    ----------
    study
        The study; that a message names it is a hint, its dirty row is the truth.
    redelivered
        An earlier delivery may have died after it wrote: read FHIR instead of trusting the projection row.

    Raises
    ------
    TransientError
        FHIR or storage did not answer, or every pass was lost; the study stays dirty.
    """
    trust = not redelivered
    for round_number in range(MAX_ROUNDS):
        dirty, found = await _outstanding(study, s)
        # A new message starts with trust, so only a pass that has nothing to distrust may hand over to one.
        wait = seconds_until_due(dirty.value, s) if found and not redelivered and round_number == 0 else 0.0
        if wait > 0:
            await s.study_queue.enqueue(study, wait)
            return Projected.NOT_YET
        trust = trust and dirty.value.attempts == 0 and not dirty.value.distrust
        try:
            recorded = await s.projections.read(study)
            trust = trust and (recorded is None or recorded.value.finished)
            held = await what_fhir_holds(study, recorded, s, trust=trust)
            rows = await s.ledger.read(study)
            wrote = await write_study(study, rows, held, recorded, s, trust=trust)
            await _take_off(study, dirty.etag, s)
        except Conflict:
            trust = False
        except PermanentError as refusal:
            if isinstance(refusal, FhirRejected) and trust:
                trust = False
            elif await _park(study, refusal, dirty.etag, s):
                return Projected.PARKED
        else:
            if wrote:
                waited = s.clock.now() - dirty.value.first_marked
                s.telemetry.measure(LATENCY, waited.total_seconds())
            return Projected.WRITTEN if wrote else Projected.UNCHANGED
    raise Contention("a study kept changing while it was projected")


async def _take_off(study: StudyRef, etag: str, s: Services) -> None:
    """
    Take the study off the dirty list. One that was marked meanwhile, as any that still grows, waits anew.

    The record is sound by then: it was written under its ETag, after FHIR. So the next pass may trust it, unless the
    row says that some pass failed.

    Raises
    ------
    StoreConflict
        Another pass took it off: this one may have undone what that one did, so there has to be one more.
    """
    try:
        await s.dirty.delete(study, etag)
    except StoreConflict:
        if (marked := await s.dirty.read(study)) is None:
            raise
        waiting = replace(marked.value, first_marked=s.clock.now(), failing_since=None)
        await s.dirty.postpone(waiting, marked.etag)
        await s.study_queue.enqueue(study, s.settings.quiet_period)


async def _outstanding(study: StudyRef, s: Services) -> tuple[Stored[DirtyStudy], bool]:
    """Read the dirty row; insert it when there is none, for absence proves nothing to a redelivered message."""
    for _ in range(MAX_ROUNDS):
        if (dirty := await s.dirty.read(study)) is not None:
            return dirty, True
        await s.dirty.mark(study, s.clock.now())
        if (dirty := await s.dirty.read(study)) is not None:
            return dirty, False
    raise Contention("a dirty row kept vanishing")


def due_at(dirty: DirtyStudy, s: Services) -> datetime:
    """When a study is to be projected: after the quiet period, at the latest max_wait after its first mark."""
    quiet = dirty.last_marked + timedelta(seconds=s.settings.quiet_period)
    latest = dirty.first_marked + timedelta(seconds=s.settings.max_wait)
    due = min(quiet, latest)
    return max(due, dirty.not_before) if dirty.not_before else due


def seconds_until_due(dirty: DirtyStudy, s: Services) -> float:
    """Seconds from now until `due_at`; not positive when it is time."""
    return (due_at(dirty, s) - s.clock.now()).total_seconds()


async def _park(study: StudyRef, refusal: PermanentError, etag: str, s: Services) -> bool:
    """Set a refused study aside: its next mark, or a retry, projects it again. False when it was marked meanwhile."""
    await park_study(study, refusal, s)
    try:
        await s.dirty.delete(study, etag)
    except StoreConflict:
        return False
    return True


async def park_study(study: StudyRef, refusal: SyncError, s: Services) -> None:
    """Write the study's dead letter and note its code on the projection row, so that success clears it."""
    await s.dead_letters.put(DeadLetter.of(SubjectKind.STUDY, study.key, refusal, s.clock.now()))
    s.telemetry.measure(DEAD_LETTERS, code=refusal.code)
    for _ in range(MAX_ROUNDS):
        recorded = await s.projections.read(study)
        known = recorded.value if recorded else Projection(study=study, fhir_id=study_id(study))
        try:
            noted = await announce_failure(replace(known, error=refusal.code, finished=False), refusal, s)
            await s.projections.write(noted, recorded.etag if recorded else None)
        except StoreConflict:
            continue
        return
    raise Contention("a projection row kept changing")
