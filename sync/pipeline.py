"""
The page to read: how one object becomes a ledger row, and how one study becomes FHIR.

    ingest          an event, a listing or a feed names an object  ->  inspect it  ->  its row, its study marked dirty
    project_study   a study is dirty  ->  all its rows  ->  one transaction

Between the two stands the queue of studies: marking a study sends a message, delayed by the quiet period, and the sweep
sends it again for marks left behind. `function_app.py` receives the messages of both queues and calls
`sync.delivery.handlers`, which retries, postpones or dead-letters. Feeds, backfills and replays call the same handlers.

An event is a hint, never the truth: ingest inspects the object as it is now, so duplicates, reordering and stale
events are harmless. A study is projected from all its rows at once, so arrival order cannot matter. Both are
idempotent and may be interrupted between any two lines: the order of the lines ensures it, and ``tests/simulation``
drops each rule of that order in a mutant and shows that it is caught.

Where each step is: inspection `sync.dicom.inspect`, the object's row `sync.protocol.claims`, dirty studies
`sync.protocol.dirty_studies`, dead letters `sync.protocol.dead_letters`, writes to FHIR `sync.projection`.
"""

from __future__ import annotations

from dataclasses import replace

from sync.dicom.inspect import inspect_object, ledger_row_of
from sync.errors import (
    Conflict,
    Contention,
    FhirRejected,
    PermanentError,
    SourceArchived,
    SourceUnavailable,
    StoreConflict,
)
from sync.model import Change, DirtyStudy, Ingested, Inspection, Locator, Projected, Stored, StudyRef, SubjectKind
from sync.ports import Ingest, Inspect, Locate, Project
from sync.projection import read_fhir_state, write_study
from sync.protocol.claims import REPLACED, claim_of, contradicts, inspection_of, is_overtaken, is_repeat, studies_of
from sync.protocol.dead_letters import dead_letter_study, record_rejection
from sync.protocol.dirty_studies import clear_mark, mark_dirty, read_dirty_study, seconds_to_wait
from sync.protocol.optimistic import MAX_ROUNDS, unless_conflict
from sync.protocol.removals import ensure_removable
from sync.telemetry.instruments import LATENCY


async def ingest(change: Change, s: Ingest, *, redelivered: bool = False) -> Ingested:
    """
    Inspect one object and bring its ledger row, its dead letter and the marks of its studies up to date. Idempotent.

    Claim, write, mark, settle: the claim comes first, so that of two racing deliveries the later claim always
    knows every study the earlier one may still write to, and the earlier one fails to settle and starts over.

    An entry of an ordered feed carries its inspection, which is as old as the page that it was read from. There the
    highest sequence wins, and the claim enforces this between two readers. Only a lower sequence is dropped: one equal
    to the stored sequence may belong to a run that died before it marked the study.

    Parameters
    ----------
    change
        Names the object; its ETag, or its sequence, serves to recognise a repeat.
    redelivered
        Whether an earlier delivery may have died half-way: then take no shortcut, and clear what is left of it.

    Raises
    ------
    TransientError
        Storage did not answer, or every round ended in a conflict; deliver again.
    """
    for round_number in range(MAX_ROUNDS):
        thorough = redelivered or change.again or round_number > 0
        unread = change.likely_new and not thorough and s.caches.novelty.is_usual
        # The row before the object: a delivery that claims in between changes the ETag, and this one reads again.
        stored = await _read_row(change, s, unread=unread)
        before = stored.value if stored else None
        if before and not thorough and is_repeat(before, change):
            return Ingested.REPEAT
        if before and is_overtaken(before, change):
            if redelivered:
                await mark_dirty(studies_of(before), s)
            return Ingested.OVERTAKEN
        try:
            inspection = await inspect_object(change.object, s, offered=inspection_of(change, before))
        except SourceArchived:
            if unread:
                continue  # only the row shows whether it was inspected before it was archived
            if before and await _is_known(before, s):
                return Ingested.REPEAT  # archived after it was inspected: its row is still right
            raise
        # Before the claim: a refused or held change leaves the row untouched, so that a retry sees the same change.
        await _ensure_claimable(before, inspection, s)
        claim = claim_of(change, before, inspection)
        try:
            # Compare and swap: of two deliveries that read the same row one fails here, before it wrote anything.
            # Marked after its rows: a projection that read the ledger too early cannot clear the fresh mark.
            etag = await (s.locators.replace(claim, stored.etag) if stored else s.locators.insert(claim))
            await _write_rows(claim, inspection, s)
            await mark_dirty(studies_of(claim), s, arrived=change.happened)
            unnoted = thorough and not change.no_dead_letter
            await record_rejection(inspection, claim, before, s, clear=unnoted or claim.has_dead_letter)
            settled = replace(claim, settled=True, has_dead_letter=inspection.problem is not None)
            # Settled last, under the claim's ETag: after a crash or a later claim the object is read again.
            await s.locators.replace(settled, etag)
        except StoreConflict:
            continue
        return Ingested.of(inspection)
    raise Contention("an object kept changing while it was ingested")


async def _read_row(change: Change, s: Locate, *, unread: bool) -> Stored[Locator] | None:
    """
    Return the object's row; None, without a read, where it probably has none.

    Rows of objects are never deleted: if the insert of the claim succeeds, a read now would have found none. If it does
    not, the next round reads.
    """
    stored = None if unread else await s.locators.read(change.object)
    if change.likely_new:
        s.caches.novelty.note(new=stored is None)
    return stored


async def _ensure_claimable(before: Locator | None, inspection: Inspection, s: Ingest) -> None:
    """
    Refuse what contradicts the row, and ask the ceiling on removals where the object leaves its study.

    Raises
    ------
    SourceUnavailable
        The object is unreadable under an ETag that was readable.
    RemovalHeld
        The ceiling holds its removal.
    """
    if before is None:
        return
    if before.object.account not in s.instances and contradicts(before, inspection):
        raise SourceUnavailable("unreadable under an ETag that was readable", code="source.garbled", hint=REPLACED)
    if before.study and (inspection.record is None or inspection.record.study != before.study):
        await ensure_removable(before.study.key, SubjectKind.OBJECT, str(before.object.key), s)


async def _is_known(before: Locator, s: Inspect) -> bool:
    """Return whether the object is unchanged since an ingest that settled and found it to be part of a study."""
    return before.settled and before.study is not None and await s.objects.etag(before.object) == before.etag


async def _write_rows(claim: Locator, inspection: Inspection, s: Ingest) -> None:
    """Write the row into the ledger of the study that the object is part of, and take it out of all others."""
    key = claim.object.key
    if inspection.record is not None:
        await s.ledger.upsert(ledger_row_of(claim.object, inspection.record, inspection.order, s))
    # The new row before the old ones go: a crash in between leaves an instance in two studies, never in none.
    for study in sorted(claim.history):
        await s.ledger.delete(study, key)


async def project_study(
    study: StudyRef, s: Project, *, redelivered: bool = False, marked: Stored[DirtyStudy] | None = None
) -> Projected:
    """
    Write to FHIR what the study's ledger rows say, and clear its dirty mark. Idempotent.

    Read in this order: the mark, FHIR, the ledger. The mark is deleted only if it is still the same, so any change in
    between shows as a conflict, and the next attempt bypasses the cached projection and reads FHIR.

    Parameters
    ----------
    study
        The study. Its message is a hint; its dirty row is the truth.
    redelivered
        An earlier delivery may have died after it wrote: read FHIR instead of trusting the projection row.
    marked
        The study's mark, if this delivery has just read it; the first attempt need not read it again.

    Raises
    ------
    TransientError
        FHIR or storage did not answer, or every attempt ended in a conflict; the study stays dirty.
    """
    trust = not redelivered
    for round_number in range(MAX_ROUNDS):
        # The mark first: a row that arrives later changes its ETag, and `clear_mark` keeps the study dirty.
        dirty, is_dirty = await read_dirty_study(study, s, known=marked if round_number == 0 else None)
        recorded = await s.projections.read(study)
        # A new message trusts the cached projection; requeue only if this attempt has no reason to bypass it.
        may_wait = is_dirty and not redelivered and round_number == 0
        wait = await seconds_to_wait(dirty.value, s, in_fhir=recorded is not None) if may_wait else 0.0
        if wait > 0:
            await s.study_queue.enqueue(study, wait)
            return Projected.NOT_DUE
        trust = trust and dirty.value.attempts == 0 and not dirty.value.bypass_cache
        try:
            trust = trust and (recorded is None or recorded.value.finished)
            held = await read_fhir_state(study, recorded, s, trust=trust)
            # FHIR and its record before the ledger: rows read last can only be newer than what they are compared with.
            rows = await s.ledger.read(study)
            if not rows and (held.resource is not None or (recorded is not None and recorded.value.instances)):
                await ensure_removable(study.key, SubjectKind.STUDY, study.key, s)
            wrote = await write_study(study, rows, held, recorded, s, trust=trust)
            # Last, and only under the ETag read first: after a crash the projection is repeated, idempotently.
            await clear_mark(study, dirty.etag, s)
        except Conflict:
            trust = False
        except PermanentError as refusal:
            if isinstance(refusal, FhirRejected) and trust:
                trust = False
                continue
            # The dead letter before the mark goes: a crash in between repeats both; the other order loses the study.
            await dead_letter_study(study, refusal, s)
            if await unless_conflict(s.dirty.delete(study, dirty.etag)):
                return Projected.DEAD_LETTERED
        else:
            if wrote:
                s.telemetry.measure(LATENCY, (s.clock.now() - dirty.value.first_marked).total_seconds())
            return Projected.WRITTEN if wrote else Projected.UNCHANGED
    raise Contention("a study kept changing while it was projected")
