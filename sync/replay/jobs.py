"""
Replays: walks over changed objects, in slices that processes share. They survive kills and run beside events.

    begin  ->  slices of the source (`sync.replay.sources`)  ->  inspect changed objects, mark studies  ->  project

The row of a replay is that of a walk (`sync.protocol.walk_rows`), and `sync.walks.sharing` cuts it, works on it and
ends it. Equal requests have one name, so that asking twice begins one replay.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime

from sync.delivery.handlers import dead_letter_delivery, handle_change
from sync.errors import BadReplay, PermanentError, StoreUnavailable, UnreadableRow
from sync.model import Batch, Change, Cursor, Ingested, Locator, ObjectKey, Stored, StudyRef, SubjectKind
from sync.operators.audit import OperatorAction
from sync.operators.walks import NewWalk, begin_walk
from sync.ports import Control, DeadLetters, Deliver, Jobs, ReadFeeds
from sync.protocol.claims import is_repeat, studies_of
from sync.protocol.dirty_studies import mark_bypassing_cache
from sync.protocol.known_rows import ROWS_AN_OBJECT, locators_of, stored_locators_of
from sync.protocol.rows_at_hand import RowsAtHand
from sync.protocol.walk_rows import Board, Slice, WalkProgress, WalkRow
from sync.replay.parts import STUDY, began_at, route_of
from sync.replay.requests import PREFIX, ReplayRequest, as_kept, cursor_of, request_of
from sync.replay.sources import UNITS, OneStudy, Source, objects_of
from sync.walks.by_run import ByRun
from sync.walks.cutting import Cut
from sync.walks.walk import Walk, Work

PARALLEL = 24
"""Default number of objects that a preview inspects concurrently."""

REMEMBERED = 20_000
"""
Studies of a run that are remembered as marked; forgetting one only costs the request that marks it again.
"""

UNKNOWN_STUDY = "study.unknown"


def kinds_of(sources: Mapping[str, Source]) -> dict[str, Replay]:
    """Return the kinds of replays that this process can run: those of its configured sources."""
    return {f"{PREFIX}{name}": Replay(source=source) for name, source in {**sources, STUDY: OneStudy()}.items()}


def new_replay(request: ReplayRequest, *, rate: float | None = None) -> NewWalk:
    """Return the walk to begin for a request; ``rate`` as in `WalkRow`."""
    return NewWalk(
        name=cursor_of(request),
        kind=PREFIX + (STUDY if request.study is not None else request.source),
        request=as_kept(request),
        action=OperatorAction.REPLAY,
        subject=request.id + (f" study {request.study.key}" if request.study else ""),
        unit="objects" if request.study is not None else UNITS.get(request.source, "objects"),
        rate=rate,
    )


async def begin_replay(request: ReplayRequest, s: Control, *, who: str, rate: float | None = None) -> bool:
    """Begin a replay for all workers; as `sync.operators.walks.begin_walk`."""
    return await begin_walk(new_replay(request, rate=rate), s, who=who)


async def require_known_study(request: ReplayRequest, s: Deliver) -> None:
    """
    Refuse the replay of an unknown study, which would leave rows of a study that never existed. Only reads.

    Raises
    ------
    BadReplay
        The study has no row, and no DICOM service has it.
    """
    study = request.study
    if study is None or await s.ledger.orders(study, 1) or await s.dirty.read(study) or await s.projections.read(study):
        return
    if (await objects_of(study, s)).changes:
        return
    hint = "Check the Study Instance UID and the partition; python -m sync backfill inspects all objects."
    raise BadReplay("study: none of this UID is known", code=UNKNOWN_STUDY, hint=hint)


@dataclass
class _Known:
    """
    The knowledge of a process about a run.

    Parameters
    ----------
    marked
        Studies that it has marked: the objects of a study may be in several slices.
    rows
        Rows read for a batch whose objects are all inspected again by this process.
    without_dead_letter
        Objects of such a batch that had no dead letter when it was read. Each is used once, for one attempt.
    """

    marked: set[StudyRef] = field(default_factory=set)
    rows: dict[ObjectKey, Stored[Locator]] = field(default_factory=dict)
    without_dead_letter: set[ObjectKey] = field(default_factory=set)


@dataclass(frozen=True, kw_only=True)
class Replay:
    """
    Walks over the changes of one source, by any number of workers: a kind of `sync.walks.sharing`.

    Inspects changed objects and marks each of their studies to be compared with FHIR. Idempotent; may be interrupted
    and run beside events.
    """

    source: Source
    known: ByRun[_Known] = field(default_factory=lambda: ByRun(_Known))

    def cuts(self, row: WalkRow) -> AsyncIterator[Cut]:
        """Cut the source."""
        return self.source.of_run(row.run).cuts(request_of(row), row.plan)

    async def batches(self, row: WalkRow, piece: Slice, after: Sequence[Slice], s: ReadFeeds) -> AsyncIterator[Batch]:
        """
        Iterate over the changes of a slice; a requested study is marked first, even if it has no known object.

        The rows of a batch are read by folder, a thousand per request. If a folder has far more rows than the batch
        names, each row is read by itself: eight rows of a query cost as much as one such read.
        """
        request = request_of(row)
        if request.study is not None:
            await mark_bypassing_cache(request.study, s)
        async for batch in self.source.of_run(row.run).batches(request, piece, after, s):
            if _rereads(request):
                known = self.known.of(row.run)
                await asyncio.gather(_read_rows(batch, known.rows, s), _read_dead_letters(batch, known, s.dead_letters))
                yield batch
            else:
                yield await self._without_known(batch, self.known.of(row.run).marked, s)

    async def _without_known(self, batch: Batch, marked: set[StudyRef], s: ReadFeeds) -> Batch:
        """
        Remove unchanged objects from a batch, once their studies are marked.

        A row as old as its batch can only prove a repeat, because ETags and sequences never recur. One unchanged object
        stays in the batch, because a walk blames a failing object only if another one succeeds.
        """
        rows = await locators_of({change.object.key for change in batch.changes}, s, at_least=0)
        changed, known, studies = list[Change](), list[Change](), set[StudyRef]()
        for change in batch.changes:
            row = rows.get(change.object.key)
            if row is not None and is_repeat(row, change):
                studies |= studies_of(row)
                known.append(change)
            else:
                changed.append(change)
        new = sorted(studies - marked)
        # Before the batch: its position may be passed as soon as its remaining changes are done.
        for outcome in await asyncio.gather(*(mark_bypassing_cache(study, s) for study in new), return_exceptions=True):
            if outcome is not None:
                raise outcome
        _remember(new, marked)
        counts = Counter(batch.counts) + Counter(studies=len(new))
        left = [*changed, *known[:1]]
        return replace(batch, changes=left, unchanged=batch.unchanged + len(batch.changes) - len(left), counts=counts)

    def work(self, row: WalkRow, walk: Walk, s: ReadFeeds) -> Work:
        """Inspect an object if it changed, and mark its studies."""
        return _Again(walk, s, self.known.of(row.run), reread=_rereads(request_of(row))).inspect

    async def give_up(self, walk: Walk, s: ReadFeeds, change: Change, refusal: PermanentError) -> None:
        """Dead-letter an object that alone keeps failing."""
        walk.count(Ingested.DEAD_LETTERED.counted)
        await dead_letter_delivery(change, refusal, s)


async def _read_rows(batch: Batch, rows: dict[ObjectKey, Stored[Locator]], s: ReadFeeds) -> None:
    """Read the rows of a batch together. An entry that brings its inspection is compared with the row as it is."""
    keys = {change.object.key for change in batch.changes if change.inspection is None}
    if len(rows) + len(keys) > REMEMBERED:
        rows.clear()  # left by slices that were interrupted
    stored = await stored_locators_of(keys, s, at_least=0)
    rows.update({key: row for key, row in stored.items() if key in keys})


async def _read_dead_letters(batch: Batch, known: _Known, letters: DeadLetters) -> None:
    """
    Note which objects of a batch have no dead letter, so that no request has to clear it.

    A delivery that writes one later flags the object's row, or is repeated. If there are far more dead letters than the
    batch names objects, or the table does not answer here, that of each object is cleared by itself.
    """
    keys = {change.object.key for change in batch.changes}
    # Before the read: what an interrupted slice noted is older than what its worker left.
    known.without_dead_letter -= keys
    if len(known.without_dead_letter) + len(keys) > REMEMBERED:
        known.without_dead_letter.clear()
    with suppress(StoreUnavailable):
        subjects = await letters.subjects(SubjectKind.OBJECT, ROWS_AN_OBJECT * len(keys))
        if subjects is not None:
            known.without_dead_letter.update(key for key in keys if str(key) not in subjects)


def _rereads(request: ReplayRequest) -> bool:
    return request.reread or request.study is not None


class _Again:
    """Inspects changed objects, and marks each of their studies to be compared with FHIR."""

    def __init__(self, walk: Walk, s: ReadFeeds, known: _Known, *, reread: bool) -> None:
        self._walk, self._reread, self._known = walk, reread, known
        self._locators = RowsAtHand(s.locators, known.rows)
        self._s = replace(s, locators=self._locators)

    async def inspect(self, change: Change) -> None:
        outcome = Ingested.REPEAT.counted
        if self._reread or not await self._is_known(change):
            attempted = replace(change, no_dead_letter=self._has_no_dead_letter(change.object.key))
            outcome = (await handle_change(attempted, self._s, attempt=2 if self._reread else 1)).counted
        # The row that this delivery settled: a later delivery that claims it marks its studies.
        row = self._locators.take_last(change.object.key)
        for study in studies_of(row) if row else ():
            await self._mark(study)
        self._walk.count(outcome)

    def _has_no_dead_letter(self, key: ObjectKey) -> bool:
        """Return whether the object had none when its batch was read. Once: this attempt may leave one."""
        without = key in self._known.without_dead_letter
        self._known.without_dead_letter.discard(key)
        return without

    async def _is_known(self, change: Change) -> bool:
        stored = await self._locators.read(change.object)
        return stored is not None and is_repeat(stored.value, change)

    async def _mark(self, study: StudyRef) -> None:
        if study in self._known.marked:
            return
        await mark_bypassing_cache(study, self._s)
        if study not in self._known.marked:
            _remember([study], self._known.marked)
            self._walk.count("studies")


def _remember(studies: Sequence[StudyRef], marked: set[StudyRef]) -> None:
    if len(marked) >= REMEMBERED:
        marked.clear()
    marked.update(studies)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayProgress:
    """
    A replay as operators see it.

    Attributes
    ----------
    route
        How its changes are found; None until that is known.
    at
        The time or container at which the first unfinished slice begins; None if all are finished.
    advanced_at
        When its row was last written.
    """

    walk: WalkProgress
    request: ReplayRequest
    route: str | None
    at: str | None
    advanced_at: datetime | None


def _shown(progress: WalkProgress, board: Board, advanced_at: datetime | None) -> ReplayProgress:
    row = progress.row
    left = next((piece for piece in board.of_walk(row) if not piece.done), None)
    return ReplayProgress(
        walk=progress,
        request=request_of(row),
        route=route_of(row),
        at=began_at(left) if left is not None else None,
        advanced_at=advanced_at,
    )


def is_replay(row: WalkRow) -> bool:
    """Return whether a walk is a replay."""
    return row.name.startswith(PREFIX)


async def replays(s: Jobs) -> list[ReplayProgress]:
    """List all replays, the latest first. Only reads."""
    cursors = [cursor async for cursor in s.cursors.all()]
    return replays_on(cursors, s.clock.now())


def replays_on(cursors: Sequence[Cursor], now: datetime) -> list[ReplayProgress]:
    """List all replays, the latest first; those that this version does not understand are left out. Pure."""
    board = Board.of(cursors)
    moved = {cursor.name: cursor.advanced_at for cursor in cursors}
    listed = []
    for row in sorted(filter(is_replay, board.walks.values()), key=lambda row: row.began, reverse=True):
        with suppress(UnreadableRow):
            listed.append(_shown(board.progress(row, now), board, moved[row.name]))
    return listed
