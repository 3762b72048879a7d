"""
Operator actions on dead letters: retry, discard, reveal names.

    retry      through the ordinary queues, without shortcuts; only success clears the dead letter
    discard    deletes the dead letter, and records who did so and why

A retry only requests another inspection, so it may be repeated, interrupted and run beside any other work: an extra
message does no harm, and the dead letter stays until one has succeeded. A discarded dead letter comes back if its
subject fails again.
"""

from __future__ import annotations

import asyncio
import enum
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from sync.dead_letters.queries import Secrets, locator_of, secrets, study_of
from sync.dicom.feed_entries import FEED, entries_of
from sync.errors import PermanentError, StoreConflict
from sync.events import Sources, hint_message, object_message, parse_message, parse_study_message
from sync.model import Change, DeadLetter, Stored, StudyRef, SubjectKind
from sync.model.batches import batched
from sync.model.circles import Passed, queried_on
from sync.operators.audit import OperatorAction, record_action
from sync.ports import Audited, Deliver, MarkDirty, Operate, Reject
from sync.protocol.attempts import CRASH_CODE, AttemptsRow, forget_count
from sync.protocol.dead_letters import dead_letter_message

AT_ONCE = 16
"""Dead letters that one command processes concurrently."""

PAGE = 500
"""Dead letters on a page while all of a code are retried or discarded."""


class Outcome(enum.Enum):
    """Outcome for one dead letter."""

    ASKED = "asked"
    """Another inspection is requested; its success will clear the dead letter."""
    REFUSED = "refused"
    """The message still cannot be acted on, for the reason that its dead letter now gives."""
    NOT_KEPT = "not_kept"
    """The data for a retry were not kept: they were too long, or are gone."""
    DISCARDED = "discarded"
    CHANGED = "changed"
    """It failed again just now: look into it before discarding it."""
    GONE = "gone"
    """There is no such dead letter; its subject may have succeeded meanwhile."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """
    Which letters: one (``kind`` and ``subject``), all of a ``code``, or with none of these all there are.

    With ``until``, none whose subject has failed later.
    """

    kind: SubjectKind | None = None
    subject: str = ""
    code: str | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Outcome for the selected dead letters, or the retries that a ``dry_run`` predicts: counts by code."""

    dry_run: bool
    selected: int = 0
    by_code: dict[str, int] = field(default_factory=dict)
    outcomes: dict[Outcome, int] = field(default_factory=dict)

    def of(self, outcome: Outcome) -> int:
        """Return how many had this outcome."""
        return self.outcomes.get(outcome, 0)


async def retry(selection: Selection, sources: Sources, s: Operate, *, who: str = "", dry_run: bool = False) -> Report:
    """
    Request the inspection of these dead letters' subjects. Idempotent; may be interrupted.

    The audit entry comes first, as for `discard`: the author is known even if the command dies half-way.

    Parameters
    ----------
    sources
        The sources that messages may name now; a refused message succeeds once a setting is corrected.
    who
        The operator, for the audit trail.

    Raises
    ------
    StoreUnavailable
        Storage did not answer; dead letters that were not reached are unchanged.
    """

    async def act(letter: DeadLetter) -> Outcome:
        return await retry_one(letter, sources, s)

    report = await _act_on_each(selection, act, lambda: _record_retry(selection, s, who=who), dry_run=dry_run, s=s)
    if report.selected and not dry_run:
        s.telemetry.event("letters.retried", letters=report.of(Outcome.ASKED), code=selection.code)
    return report


async def discard(selection: Selection, s: Operate, *, who: str, why: str, dry_run: bool = False) -> Report:
    """
    Delete these dead letters for good; the audit trail keeps the author and the reason. Idempotent.

    Raises
    ------
    ValueError
        ``who`` or ``why`` is empty: the audit trail needs both.
    """
    if not who.strip() or not why.strip():
        raise ValueError("say who discards, and why")

    async def act(letter: DeadLetter) -> Outcome:
        return await discard_one(letter, s, who=who, why=why)

    report = await _act_on_each(selection, act, None, dry_run=dry_run, s=s)
    if not dry_run:
        s.telemetry.event("letters.discarded", letters=report.of(Outcome.DISCARDED), code=selection.code)
    return report


async def _act_on_each(
    selection: Selection,
    act: Callable[[DeadLetter], Coroutine[Any, Any, Outcome]],
    note: Callable[[], Coroutine[Any, Any, None]] | None,
    *,
    dry_run: bool,
    s: Reject,
) -> Report:
    """Perform the action on each selected dead letter, a few at a time; record it once, before the first."""
    codes: Counter[str] = Counter()
    outcomes: Counter[Outcome] = Counter()
    async for page in _selected(selection, s):
        codes.update(letter.code for letter in page)
        if note is not None and page and not dry_run:
            await note()
            note = None
        for some in batched(() if dry_run else page, AT_ONCE):
            outcomes.update(await asyncio.gather(*map(act, some)))
    return Report(dry_run=dry_run, selected=codes.total(), by_code=dict(sorted(codes.items())), outcomes=dict(outcomes))


async def _selected(selection: Selection, s: Reject) -> AsyncIterator[Sequence[DeadLetter]]:
    if selection.kind is not None:
        stored = await s.dead_letters.read(selection.kind, selection.subject)
        yield [stored.value] if stored else []
        return
    page, passed = await s.dead_letters.page(code=selection.code, limit=PAGE), Passed()
    while True:
        yield [letter for letter in page.letters if selection.until is None or letter.last_at <= selection.until]
        if page.token is None:
            return
        passed = queried_on(passed, page.token)
        page = await s.dead_letters.page(code=selection.code, limit=PAGE, token=page.token)


async def retry_one(letter: DeadLetter, sources: Sources, s: Deliver) -> Outcome:
    """Ask to reinspect the subject of one letter, read again just before: a list may be old by then."""
    stored = await s.dead_letters.read(letter.kind, letter.subject)
    if stored is None:
        return Outcome.GONE
    if letter.kind is SubjectKind.OBJECT:
        return await _retry_object(letter, s)
    if letter.kind is SubjectKind.STUDY:
        study = await study_of(letter, s)
        if study is not None:
            await _count_afresh(letter, AttemptsRow.of_study(study), s)
        return await _retry_study(study, s)
    return await _retry_message(stored, sources, s)


async def _retry_object(letter: DeadLetter, s: Deliver) -> Outcome:
    stored = await locator_of(letter.subject, s)
    if stored is None:
        return Outcome.NOT_KEPT
    await _count_afresh(letter, AttemptsRow.of_object(stored.object), s)
    await s.object_queue.send(object_message(stored.object))
    return Outcome.ASKED


async def _count_afresh(letter: DeadLetter, where: AttemptsRow, s: Deliver) -> None:
    """Before the message is sent: a row that is still kept would bury it at its second delivery, whatever the cause."""
    if letter.code == CRASH_CODE:
        await forget_count(where, s)


async def _retry_study(study: StudyRef | None, s: MarkDirty) -> Outcome:
    """
    Mark before the message: the sweeper finds the study even if no message follows. A postponed study waits no longer.

    The failure that wrote its dead letter marked the study to bypass the cached projection.
    """
    if study is None:
        return Outcome.NOT_KEPT
    await s.dirty.mark(study, s.clock.now())
    dirty = await s.dirty.read(study)
    if dirty is not None and dirty.value.not_before is not None:
        with suppress(StoreConflict):  # another retry is running already
            await s.dirty.postpone(replace(dirty.value, not_before=None), dirty.etag)
    await s.study_queue.enqueue(study, s.settings.quiet_period)
    return Outcome.ASKED


async def _retry_message(stored: Stored[DeadLetter], sources: Sources, s: Deliver) -> Outcome:
    """
    Read the message again. Its usable changes continue as messages of ours, each with an outcome of its own.

    The dead letter is deleted only if no part of the message was refused, after the last message was sent.
    """
    letter = stored.value
    if letter.message is None:
        return Outcome.NOT_KEPT
    outcomes = _read(letter, sources)
    for outcome in outcomes:
        if isinstance(outcome, Change):
            await _count_afresh(letter, AttemptsRow.of_object(outcome.object), s)
            await s.object_queue.send(hint_message(outcome))
        elif isinstance(outcome, StudyRef):
            await _retry_study(outcome, s)
    refusals = [outcome for outcome in outcomes if isinstance(outcome, PermanentError)]
    if refusals:
        await dead_letter_message(letter.message, refusals[0], s, queue=letter.queue)
        return Outcome.REFUSED
    with suppress(StoreConflict):  # it failed again meanwhile, and may be retried again
        await s.dead_letters.delete(letter, stored.etag)
    return Outcome.ASKED


def _read(letter: DeadLetter, sources: Sources) -> Sequence[Change | StudyRef | PermanentError]:
    text = letter.message or ""
    if letter.queue.startswith(FEED):
        return [entry.change for entry in entries_of([json.loads(text)], letter.queue.removeprefix(FEED))]
    if letter.queue != "studies":
        return parse_message(text, sources)
    try:
        return [parse_study_message(text).study]
    except PermanentError as refusal:
        return [refusal]


async def discard_one(letter: DeadLetter, s: Operate, *, who: str, why: str) -> Outcome:
    """
    Delete one dead letter, unless its subject failed again since it was read here.

    The audit entry comes first: a crash in between leaves a dead letter to discard again, never an unrecorded deletion.
    """
    stored = await s.dead_letters.read(letter.kind, letter.subject)
    if stored is None:
        return Outcome.GONE
    if stored.value.attempts != letter.attempts:
        return Outcome.CHANGED
    subject = f"{letter.kind.value} {letter.subject}"
    await record_action(OperatorAction.DISCARD, s, who=who, subject=subject, code=letter.code, why=why)
    try:
        await s.dead_letters.delete(letter, stored.etag)
    except StoreConflict:
        return Outcome.CHANGED
    return Outcome.DISCARDED


async def reveal(letter: DeadLetter, s: Operate, *, who: str) -> Secrets:
    """Return data that may identify a patient, to an operator who asks for it; recorded first."""
    await record_action(OperatorAction.REVEAL, s, who=who, subject=f"{letter.kind.value} {letter.subject}")
    return await secrets(letter, s)


async def _record_retry(selection: Selection, s: Audited, *, who: str) -> None:
    subject = f"{selection.kind.value} {selection.subject}" if selection.kind else selection.code or "all"
    await record_action(OperatorAction.RETRY, s, who=who, subject=subject, code=selection.code or "")
