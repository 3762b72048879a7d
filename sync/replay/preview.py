"""
Predicts the writes of a replay, without writing anything.

Changed and unknown objects are inspected, their rows are kept in memory beside the ledger, and every affected study
goes through the ordinary projection without its writes (`sync.projection.dry_run`). Memory grows with the changes, not
with the size of the store.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sync.dicom.inspect import inspect_object, ledger_row_of
from sync.errors import Conflict, PermanentError
from sync.model import Batch, Change, Ingested, Inspection, LedgerEntry, LedgerRow, Locator, ObjectKey, StudyRef
from sync.ports import Ledger, Preview, Project, ReadFeeds
from sync.projection.dry_run import DryRun, dry_run_study
from sync.protocol.claims import is_overtaken, is_repeat, studies_of
from sync.protocol.optimistic import MAX_ROUNDS
from sync.protocol.walk_rows import Slice
from sync.replay.requests import ReplayRequest
from sync.replay.sources import Source, source_of
from sync.walks.walk import Walk, retry_then_dead_letter, run_walk


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyPreview:
    """The predicted writes of one study: resource type -> ``create``, ``update`` or ``delete``; a code if refused."""

    study: StudyRef
    writes: Mapping[str, str] = field(default_factory=dict)
    refused: str = ""

    @property
    def action(self) -> str:
        """The write of its ImagingStudy in one word, else that of its other resources."""
        if self.refused:
            return "refuse"
        return self.writes.get("ImagingStudy") or ("update" if self.writes else "unchanged")


@dataclass
class _Apart(Ledger):
    """The ledger, overlaid with the results of inspections that are not written."""

    real: Ledger
    changes: dict[StudyRef, dict[ObjectKey, LedgerRow | None]] = field(default_factory=lambda: defaultdict(dict))

    async def upsert(self, row: LedgerRow) -> None:
        self.changes[row.record.study][row.object_key] = row

    async def delete(self, study: StudyRef, key: ObjectKey) -> None:
        self.changes[study][key] = None

    async def read(self, study: StudyRef) -> Sequence[LedgerRow]:
        rows: dict[ObjectKey, LedgerRow | None] = {row.object_key: row for row in await self.real.read(study)}
        rows.update(self.changes.get(study, {}))
        return [row for row in rows.values() if row is not None]

    async def orders(self, study: StudyRef, most: int) -> Sequence[str]:
        return [row.order for row in (await self.read(study))[:most]]

    def between(self, first: str, last: str) -> AsyncIterator[Sequence[LedgerRow]]:
        return self.real.between(first, last)  # as it is written: no replay asks

    def entries(self, uid: str, study: StudyRef | None = None) -> AsyncIterator[LedgerEntry]:
        return self.real.entries(uid, study)  # likewise


async def preview_replay(
    request: ReplayRequest, walk: Walk, sources: Mapping[str, Source], s: Preview, *, parallel: int
) -> AsyncIterator[StudyPreview]:
    """
    Iterate over the studies that the replay would compare, with the predicted writes of each. Only reads.

    Parameters
    ----------
    walk
        Counts the objects; one without a lease.

    Raises
    ------
    TransientError
        A service did not answer.
    """
    inspections = _Inspections(s, walk, _Apart(s.ledger), reread=request.reread or request.study is not None)
    if request.study is not None:
        inspections.studies.add(request.study)
    batches = _changes(request, source_of(request, sources), s)
    longest = s.settings.longest_wait_seconds
    tried = retry_then_dead_letter(inspections.inspect, walk, inspections.pass_over, longest_wait=longest)
    await run_walk(batches, tried, walk, parallel=parallel)
    # an implementation of a port may have more to it than the port, which the dry run does not need
    apart = replace(s, ledger=inspections.ledger)
    for study in sorted(inspections.studies):
        walk.count("studies")
        yield await _preview_study(study, apart)


async def _changes(request: ReplayRequest, source: Source, s: ReadFeeds) -> AsyncIterator[Batch]:
    """Iterate over the changes of all slices, one after the other."""
    async for cut in source.cuts(request, {}):
        if cut.scope is not None:
            piece = Slice(name="", walk="", run="", scope=cut.scope, size=cut.size, following=cut.position)
            async for batch in source.batches(request, piece, (), s):
                yield batch


async def _preview_study(study: StudyRef, s: Project) -> StudyPreview:
    for _ in range(MAX_ROUNDS):
        try:
            return StudyPreview(study=study, writes=_writes(await dry_run_study(study, s)))
        except Conflict:
            continue
        except PermanentError as refusal:
            return StudyPreview(study=study, refused=refusal.code)
    return StudyPreview(study=study, refused="store.contention")


def _writes(planned: DryRun) -> dict[str, str]:
    actions: dict[str, str] = {}
    for write in planned.writes:
        held = planned.held.get((write.resource_type, write.resource_id))
        actions[write.resource_type] = "update" if held is not None else "create"
    for removal in planned.removals:
        if planned.held.get((removal.resource_type, removal.resource_id)) is not None:
            actions[removal.resource_type] = "delete"
    return actions


@dataclass
class _Inspections:
    services: ReadFeeds
    walk: Walk
    ledger: _Apart
    reread: bool
    studies: set[StudyRef] = field(default_factory=set)

    async def inspect(self, change: Change) -> None:
        stored = await self.services.locators.read(change.object)
        locator = stored.value if stored else None
        if locator is not None and (is_overtaken(locator, change) or (not self.reread and is_repeat(locator, change))):
            self.walk.count(Ingested.REPEAT.counted)
            self.studies |= studies_of(locator)
            return
        inspection = await inspect_object(change.object, self.services, offered=change.inspection)
        self.walk.count(Ingested.of(inspection).counted)
        await self._keep(change, inspection, locator)

    async def pass_over(self, change: Change, refusal: PermanentError) -> None:  # noqa: ARG002 -- as a walk calls it
        self.walk.count(Ingested.DEAD_LETTERED.counted)

    async def _keep(self, change: Change, inspection: Inspection, locator: Locator | None) -> None:
        key = change.object.key
        before = studies_of(locator) if locator else frozenset[StudyRef]()
        for study in before:
            await self.ledger.delete(study, key)
        if inspection.record is not None:
            await self.ledger.upsert(ledger_row_of(change.object, inspection.record, inspection.order, self.services))
            self.studies.add(inspection.record.study)
        self.studies |= before


def counted(previews: Sequence[StudyPreview]) -> dict[str, Any]:
    """Return how many studies, and how many resources of each type, would be created, updated and deleted."""
    studies: defaultdict[str, int] = defaultdict(int)
    resources: defaultdict[str, defaultdict[str, int]] = defaultdict(lambda: defaultdict(int))
    for preview in previews:
        studies[preview.action] += 1
        for resource_type, action in preview.writes.items():
            resources[resource_type][action] += 1
    return {
        "studies": dict(sorted(studies.items())),
        "resources": {name: dict(sorted(of.items())) for name, of in sorted(resources.items())},
    }
