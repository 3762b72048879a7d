"""Table ``dirty``: the dirty studies."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from typing import Any

from azure.core.exceptions import ResourceExistsError, ResourceNotFoundError
from azure.data.tables import UpdateMode
from azure.data.tables.aio import TableClient

from sync.adapters.azure.errors import state_errors
from sync.adapters.azure.tables.batching import LINGER, LONGEST_LINGER
from sync.adapters.azure.tables.rows import Entity, study_columns, study_from, time_from, time_text, without_none
from sync.adapters.azure.tables.table import Table
from sync.model import DirtyStudy, Stored, StudyRef
from sync.model.timestamps import utc_of
from sync.ports import Company, DirtyStudies

DIRTY_SHARDS = 16


_REMEMBERED = 10_000


def dirty_shard(study: StudyRef) -> str:
    """Return the partition of a study's dirty row."""
    return f"{int(study.key[:4], 16) % DIRTY_SHARDS:02d}"


def dirty_row(dirty: DirtyStudy) -> Entity:
    """Return the row of table ``dirty``."""
    row = {
        "PartitionKey": dirty_shard(dirty.study),
        "RowKey": dirty.study.key,
        **study_columns(dirty.study),
        "first_marked": time_text(dirty.first_marked),
        "last_marked": time_text(dirty.last_marked),
        "attempts": dirty.attempts,
        "not_before": time_text(dirty.not_before),
        "failing_since": time_text(dirty.failing_since),
        "failure": dirty.failure or None,
        "bypass_cache": dirty.bypass_cache or None,  # a missing column means false, so that a touch never resets it
        "comparison": dirty.comparison,
        "longest_gap": dirty.longest_gap,
    }
    return without_none(row)


def dirty_from(row: Mapping[str, Any]) -> DirtyStudy:
    """Read a row back: the inverse of `dirty_row`."""
    return DirtyStudy(
        study=study_from(row),
        first_marked=utc_of(row["first_marked"]),
        last_marked=utc_of(row["last_marked"]),
        attempts=row["attempts"],
        not_before=time_from(row.get("not_before")),
        failing_since=time_from(row.get("failing_since")),
        failure=row.get("failure", ""),
        bypass_cache=row.get("bypass_cache", False),
        comparison=row.get("comparison", False),
        longest_gap=row.get("longest_gap"),
    )


class TableDirtyStudies(DirtyStudies):
    """
    Table ``dirty``.

    Marks of one study that arrive while a write is in flight share the next write: hundreds of instances of a study
    arrive at once, and one new ETag after the last of their rows suffices.
    """

    def __init__(self, table: TableClient, company: Company) -> None:
        self._table = Table(table)
        self._company = company
        self._next: dict[str, asyncio.Task[bool]] = {}
        self._locks: weakref.WeakValueDictionary[str, asyncio.Lock] = weakref.WeakValueDictionary()
        self._seen_dirty: set[str] = set()
        self._bypassing: set[str] = set()
        """Studies whose next write must bypass the cached projection."""
        self._arriving: set[str] = set()
        """Studies whose next write is also for an object that arrived."""
        self._last: dict[str, datetime] = {}
        """Time of the latest mark of each study, for the next write."""
        self._gaps: dict[str, float] = {}
        """Longest gap that the latest mark of each study states, for the next write."""

    async def read(self, study: StudyRef) -> Stored[DirtyStudy] | None:
        """Return the row, or None."""
        return await self._table.read(dirty_shard(study), study.key, dirty_from)

    async def mark(
        self, study: StudyRef, now: datetime, *, bypass_cache: bool = False, longest_gap: float | None = None
    ) -> bool:
        """Insert the row, or set ``last_marked``; of the callers that share a write only the first may get True."""
        (self._bypassing if bypass_cache else self._arriving).add(study.key)
        self._last[study.key] = now
        if longest_gap is not None:
            self._gaps[study.key] = longest_gap
        shared = self._next.get(study.key)
        with self._company.waiting():
            if shared is not None:
                await asyncio.shield(shared)
                return False
            # No await since ``_next`` was read: two callers would otherwise begin two writes.
            shared = self._next[study.key] = asyncio.create_task(self._mark_batched(study, now))
            return await asyncio.shield(shared)

    async def _mark_batched(self, study: StudyRef, now: datetime) -> bool:
        lock = self._locks.setdefault(study.key, asyncio.Lock())
        try:
            async with lock:
                # The study is due after the last requested mark, not after the write, which may wait for other rows.
                is_patient = study.key in self._seen_dirty and self._company.may_be_sent
                await asyncio.sleep(LONGEST_LINGER if is_patient else LINGER)
                # The write begins now. A later mark must not share it: its row may be younger than this ETag.
                del self._next[study.key]
                bypass_cache = study.key in self._bypassing
                comparison = study.key not in self._arriving
                self._bypassing.discard(study.key)
                self._arriving.discard(study.key)
                dirty = DirtyStudy(
                    study=study,
                    first_marked=now,
                    last_marked=self._last.pop(study.key, now),
                    bypass_cache=bypass_cache,
                    comparison=comparison,
                    longest_gap=self._gaps.pop(study.key, None),
                )
                with state_errors():
                    return await self._mark(dirty)
        finally:
            if self._next.get(study.key) is asyncio.current_task():
                del self._next[study.key]

    async def _mark(self, dirty: DirtyStudy) -> bool:
        study, fresh = dirty.study, dirty_row(dirty)
        touched = {"PartitionKey", "RowKey", "last_marked", "bypass_cache", "longest_gap"}
        if not dirty.comparison:
            touched.add("comparison")  # an object arrived; a comparison leaves this column unchanged
        touch = {name: value for name, value in fresh.items() if name in touched}
        while True:
            if study.key not in self._seen_dirty:
                # Insert or merge without reading first: between a read and a write the row could be deleted.
                try:
                    await self._table.rows.create_entity(fresh)
                except ResourceExistsError:
                    pass
                else:
                    self._remember(study.key)
                    return True
            try:
                # Without an ETag: no mark is lost to a race, and the row's new ETag defers the clearing of the old one.
                await self._table.rows.update_entity(touch, mode=UpdateMode.MERGE)
            except ResourceNotFoundError:
                self._seen_dirty.discard(study.key)
            else:
                self._remember(study.key)
                return False

    def _remember(self, key: str) -> None:
        """Note that a merge is likely to succeed; forgetting costs one request, so the set may be emptied at will."""
        if len(self._seen_dirty) > _REMEMBERED:
            self._seen_dirty.clear()
        self._seen_dirty.add(key)

    async def postpone(self, dirty: DirtyStudy, etag: str) -> None:
        """Replace the row; `StoreConflict` unless its ETag is the given one."""
        await self._table.write(dirty_row(dirty), etag)

    async def delete(self, study: StudyRef, etag: str) -> None:
        """Delete; `StoreConflict` unless the row is there with the given ETag."""
        # Forgotten before the request: if its answer is lost, the next mark inserts, which is correct in both cases.
        self._seen_dirty.discard(study.key)
        await self._table.delete_unchanged(dirty_shard(study), study.key, etag)

    async def all(self) -> AsyncIterator[DirtyStudy]:
        """Iterate over every outstanding study, over all shards at once: there are few, and often none."""
        async for row in self._table.every():
            yield dirty_from(row)
