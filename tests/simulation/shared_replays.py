"""
A replay that several processes share, as `tests.simulation.shared_walks` plays a backfill.

Each object is named by a record of the feed, in the segment of its hour; half of them are known as they are. The last
segment is open: records are added to it meanwhile, to its first shard, and so before others that are read already.
With ``reread`` every object is read again, and events move known objects to other studies meanwhile. A delivery died
between the dead letter of a known object and its note on the object's row.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from types import ModuleType
from typing import Any, ClassVar
from unittest.mock import patch

from sync.delivery.handlers import handle_change
from sync.errors import PermanentError
from sync.model import Change, DeadLetter, Locator, SubjectKind
from sync.replay.requests import ReplayRequest
from sync.testing.feed import MemoryBlobFeed
from tests.change_feed import record
from tests.simulation.shared_walks import CHAIN as WALKS
from tests.simulation.shared_walks import Process, SharedWalk, real
from tests.worlds import SOURCES, run

CHAIN = (*WALKS, "sync.feeds.blob", "sync.protocol.rows_at_hand", "sync.replay.sources", "sync.replay.jobs")
"""Modules that import one another in this order."""

HOUR = timedelta(hours=1)
SEGMENTS = 3


@dataclass
class SharedReplay(SharedWalk):
    """One schedule."""

    reread: bool = False
    modules: Mapping[str, ModuleType] = field(default_factory=lambda: real(CHAIN))
    asking_again_covers_more: ClassVar = True

    @property
    def request(self) -> ReplayRequest:
        """What is asked for."""
        return ReplayRequest(source="blob", start=self.start, reread=self.reread)

    @property
    def cursor(self) -> str:
        """Name of the replay's row."""
        return f"replay {self.request.id}"

    def asked(self) -> Any:
        """Return the replay that is begun."""
        return self.modules["sync.replay.jobs"].new_replay(self.request)

    def kinds_of(self, process: Process) -> Mapping[str, Any]:
        """Return the kinds of a process."""
        blobs = self.modules["sync.replay.sources"].Blobs(feed=self.feed, listing=self.w.store.objects, allowed=SOURCES)
        kinds: Mapping[str, Any] = self.modules["sync.replay.jobs"].kinds_of({"blob": blobs})
        return kinds

    def fill(self) -> None:
        """Store the objects and note them in the feed; some are known already."""
        self.start = self.w.clock.now().replace(minute=0, second=0, microsecond=0)
        self.feed = MemoryBlobFeed(portion=2)
        self.records: dict[int, dict[str, list[Any]]] = {}
        self.known: list[Change] = []
        for number, name in enumerate(sorted(self.names)):
            change = self.w.put(name, sop=f"2.25.{1000 + number}", study=f"2.25.{number % 4 + 1}")
            self._note(change, number * SEGMENTS // self.objects, shard=f"{number % 2:02}")
            if number % 2:
                self.known.append(change)

    def change_something(self) -> None:
        """Store another object, and note it in the open segment; or an event moves a known one to another study."""
        number = self.rng.randrange(self.objects)
        if self.reread and number % 2:
            moved = self.rng.choice(self.known).object.name
            run(self.w.ingest(self.w.put(moved, sop=f"2.25.{6000 + number}", study=f"2.25.{number % 4 + 1}")))
            return
        change = self.w.put(f"{number % 5}/{number:03}new", sop=f"2.25.{5000 + number}", study="2.25.1")
        self._note(change, SEGMENTS - 1, shard="00")

    async def calm(self) -> None:
        """Calm the world as for a backfill; the open segment also gets no more records, as any does after an hour."""
        self.feed.put(self.start + (SEGMENTS - 1) * HOUR, self.records[SEGMENTS - 1])
        await super().calm()
        for _ in range(300 if self.reread else 0):  # what takes many requests comes to its end before its lease does
            await asyncio.sleep(0)

    def is_inspected(self, row: Locator) -> bool:
        """Read again, it may be claimed once more by a holder that was presumed dead, and then died."""
        return row.settled or self.reread

    def _note(self, change: Change, hour: int, *, shard: str) -> None:
        at = self.start + hour * HOUR
        noted = record(change.object.name, at, account="memory", etag=change.etag)
        shards = self.records.setdefault(hour, {})
        shards.setdefault(shard, []).append(noted)
        self.feed.put(at, shards, finished=not self.outside or hour < SEGMENTS - 1)

    async def run(self) -> None:
        """Play the replay to its end, and check what must hold."""
        for change in self.known:
            await handle_change(change, self.w.services)
        if self.reread:
            await self._die_before_the_note(self.known[0])
        for dirty in [dirty async for dirty in self.w.store.dirty.all()]:
            stored = await self.w.store.dirty.read(dirty.study)
            assert stored is not None
            await self.w.store.dirty.delete(dirty.study, stored.etag)
        with patch("sync.walks.walk.AHEAD", 0):
            await super().run()

    async def _die_before_the_note(self, change: Change) -> None:
        failure = PermanentError("it was unreadable", code="header.not_dicom", hint="none")
        at = self.w.clock.now()
        await self.w.store.dead_letters.put(DeadLetter.of(SubjectKind.OBJECT, str(change.object.key), failure, at))

    async def check(self) -> None:
        """Check the same as for a backfill, and that every study was marked to be compared with FHIR."""
        await super().check()
        marked = {dirty.study.study_instance_uid async for dirty in self.w.store.dirty.all() if dirty.bypass_cache}
        assert marked >= {f"2.25.{number}" for number in (1, 2, 3, 4)}, "a study was never compared"
        assert self.w.store.dead_letters.table.values() == [], "an object was given up"
        held = [
            (row.object_key, row.record.study) for of in self.w.store.ledger.studies.values() for row in of.values()
        ]
        rows = [(row.object.key, row.study) for row in self.w.store.locators.table.values()]
        assert sorted(held) == sorted(rows), "an object is part of another study than its row says"


def play(seed: int, **more: Any) -> None:
    """Play one schedule to its end."""
    asyncio.run(SharedReplay(seed=seed, **more).run())
