"""Walks and feeds that reach an object which ends every process that reads it: it is found, and they go on."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any
from unittest.mock import patch

from sync.errors import SyncError
from sync.operators.walks import begin_walk
from sync.ports import Services
from sync.protocol.walk_rows import WalkState, read_walk
from sync.verify.full_scan import Plan
from sync.walks.backfill import KIND, Backfill, Scope, new_backfill
from sync.walks.key_ranges import kind_for
from sync.walks.verification import KIND as COMPARISON
from sync.walks.verification import new_verification
from tests.dicom_services import FeedWorld, instance, uid
from tests.simulation.delivery.crashes import Worker, reads
from tests.simulation.delivery.scenes import Killed, Modules, differ
from tests.worlds import MemoryWorld

SCOPE = Scope(container="dicom")
INNOCENT = 7


Kinds = Callable[[Services], Mapping[str, Any]]
"""Returns the kinds of walks of one process."""


async def _walk(
    w: MemoryWorld, m: Modules, *names: str, walk: str = SCOPE.cursor, kinds_of: Kinds | None = None
) -> int:
    """Let one process after the other work on the walk until it ends; return how many died of those objects."""
    deaths = 0
    for _ in range(30):
        row = await read_walk(walk, w.services)
        if row is None or row.state is not WalkState.RUNNING:
            break
        worker = Worker(w, reads(*names))
        kinds = kinds_of(worker.services) if kinds_of else {KIND: Backfill(listing=w.store.objects)}
        try:
            await m["sharing"].cut_walk(row, kinds, worker.services, until=time.monotonic() + 60)
            await m["sharing"].Worker(kinds=kinds, s=worker.services).work(until=time.monotonic() + 60)
            await m["sharing"].end_walks(worker.services)
        except Killed:
            deaths += 1
        except SyncError:
            pass
        w.clock.advance(31)
    return deaths


async def walk_ends_processes(m: Modules) -> list[str]:
    """Two objects of a backfill end the process: each has a dead letter, all others are synced, the walk ends."""
    w = MemoryWorld()
    for number in range(INNOCENT):
        w.put(f"a{number}", sop=f"2.25.1{number}")
    w.put("a3bad", sop="2.25.21", study="2.25.2")
    w.put("a5bad", sop="2.25.22", study="2.25.2")
    with patch("sync.walks.cutting.SMALLEST", 3), patch("sync.walks.backfill.PAGE", 4):
        await begin_walk(new_backfill(SCOPE), w.services, who="ada")
        deaths = await _walk(w, m, "a3bad", "a5bad")
    row = await read_walk(SCOPE.cursor, w.services)
    await w.settle()
    return differ(
        state=(row.state if row else None, WalkState.DONE),
        instances=((w.imaging_study() or {}).get("numberOfInstances"), INNOCENT),
        letters=(sorted(w.dead_letters()), [("object", "poison.crash")] * 2),
        deaths=(deaths <= 2 * 5, True),
    )


async def walk_is_interrupted_often(m: Modules) -> list[str]:
    """Deployments end each process of a walk after some work: no object is held responsible."""
    w = MemoryWorld()
    for number in range(INNOCENT):
        w.put(f"a{number}", sop=f"2.25.1{number}")
    with patch("sync.walks.cutting.SMALLEST", 3), patch("sync.walks.backfill.PAGE", 1):
        await begin_walk(new_backfill(SCOPE), w.services, who="ada")
        row = await read_walk(SCOPE.cursor, w.services)
        kinds = {KIND: Backfill(listing=w.store.objects)}
        await m["sharing"].cut_walk(row, kinds, w.services, until=time.monotonic() + 60)
        for number in range(40):
            calls = iter(range(30 + number))
            worker = Worker(w, lambda call, args, calls=calls: call != "cursors.read" and next(calls, None) is None)
            with suppress(Killed, SyncError):
                await m["sharing"].Worker(kinds=kinds, s=worker.services).work(until=time.monotonic() + 60)
            w.clock.advance(31)
        deaths = await _walk(w, m)
    await w.settle()
    return differ(
        deaths=(deaths, 0),
        instances=((w.imaging_study() or {}).get("numberOfInstances"), INNOCENT),
        letters=(w.dead_letters(), []),
    )


async def feed_ends_processes(m: Modules) -> list[str]:
    """An entry of the change feed ends the process: it has a dead letter, and the entries behind it are read."""
    w = FeedWorld()
    for sop in (1, 2, 3):
        w.service.store(instance(1, sop))
    w.service.store(instance(2, 1))

    def guilty(call: str, args: tuple[Any, ...]) -> bool:
        return call == "ledger.upsert" and args[0].record.sop_instance_uid == uid(1, 1, 2)

    deaths = 0
    for _ in range(30):
        try:
            await m["reader"].read_dicom_feed(Worker(w, guilty).services)
        except Killed:
            deaths += 1
        w.clock.advance(31)
    await w.settle()
    return differ(
        held=((w.held(1), w.held(2)), ({uid(1, 1, 1), uid(1, 1, 3)}, {uid(2, 1, 1)})),
        letters=(w.dead_letters(), [("object", "poison.crash")]),
        deaths=(deaths, 5),
    )


async def repair_ends_processes(m: Modules) -> list[str]:
    """The comparison repairs an object without an event, which ends the process: it has a dead letter after three."""
    w = MemoryWorld(containers=("dicom",), reconcile_repair=True)
    for name, sop in (("a", "2.25.11"), ("bad", "2.25.12"), ("c", "2.25.13")):
        w.put(name, sop=sop)
    w.clock.advance(3600)
    deaths = 0
    for _ in range(12):
        try:
            await m["reconcile"].reconcile(Worker(w, reads("bad")).services, w.store.objects)
        except Killed:
            deaths += 1
        w.clock.advance(301)
    await w.settle()
    return differ(
        instances=((w.imaging_study() or {}).get("numberOfInstances"), 2),
        letters=(w.dead_letters(), [("object", "poison.crash")]),
        deaths=(deaths, 3),
    )


async def verification_ends_processes(m: Modules) -> list[str]:
    """A comparison of everything repairs objects without events, of which one ends the process: the walk ends."""
    w = MemoryWorld(containers=("dicom",))
    for name, sop in (("a", "2.25.11"), ("bad", "2.25.12"), ("c", "2.25.13")):
        w.put(name, sop=sop)
    w.clock.advance(3600)
    asked = new_verification(Plan(repair=True), w.services.settings)
    kind = kind_for(COMPARISON, w.services.settings)

    def kinds_of(services: Services) -> Mapping[str, Any]:
        return {kind: m["verification"].Verification(listing=w.store.objects, services=services)}

    await begin_walk(asked, w.services, who="ada")
    deaths = await _walk(w, m, "bad", walk=asked.name, kinds_of=kinds_of)
    row = await read_walk(asked.name, w.services)
    await w.settle()
    return differ(
        state=(row.state if row else None, WalkState.DONE),
        instances=((w.imaging_study() or {}).get("numberOfInstances"), 2),
        letters=(w.dead_letters(), [("object", "poison.crash")]),
        deaths=(deaths, 3),
    )


SCENES = (
    walk_ends_processes,
    walk_is_interrupted_often,
    feed_ends_processes,
    repair_ends_processes,
    verification_ends_processes,
)
