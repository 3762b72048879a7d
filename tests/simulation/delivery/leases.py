"""A host is killed with all that it has in hand, and its messages stay leased for ten minutes, as on Azure's host."""

from __future__ import annotations

import asyncio
import itertools
from datetime import timedelta
from typing import Any

from sync.delivery.deletions import PREFIX
from sync.events import study_message
from sync.testing.queues import QueuedText
from tests.simulation.delivery.crashes import Worker
from tests.simulation.delivery.scenes import Modules, differ
from tests.worlds import OTHER, SOURCES, STUDY, MemoryWorld, events

LEASE = 600.0
SWEEP = 30.0
SOON = 120.0
"""Seconds after the kill by which all is right that was begun, and all that a listing shows."""


async def killed_with_a_lease_of_ten_minutes(m: Modules) -> list[str]:
    """Uploads, an overwrite and deletions are in flight when their host dies, at any of its calls."""
    wrong: list[str] = []
    for calls in range(0, 45, 3):
        w = MemoryWorld()
        for number, name in enumerate(("a", "b", "c")):
            await w.ingest(w.put(name, sop=f"2.25.10{number}"))
        await _work(w, m)
        w.clock.advance(700)
        texts = [
            events(w.put("new", sop="2.25.110")),
            events(w.put("other", study="2.25.2", sop="2.25.210")),
            events(w.put("b", sop="2.25.111")),
            events(w.delete("a"), w.delete("c")),
        ]
        leased = await _killed(w, m, texts, calls)
        begun = _rows(w) or texts[-1] not in leased
        for _ in range(int(SOON / SWEEP)):
            w.clock.advance(SWEEP)
            queued = [QueuedText(text, w.clock.now() + timedelta(seconds=LEASE)) for text in leased]
            w.store.object_queue.messages += queued
            await m["handlers"].sweep(w.services)
            queues = w.store.queues
            await m["lost_messages"].enqueue_lost_objects(w.services, queues, w.store.objects)
            w.store.object_queue.messages = [
                message for message in w.store.object_queue.messages if message not in queued
            ]
            await _work(w, m)
        soon = _instances(w)
        w.clock.advance(LEASE)
        await _work(w, m, leased, attempt=2)
        # A deletion that its host had taken and not begun stands nowhere but in its message.
        wrong += differ(soon=(soon, {"2.25.1": 2 if begun else 4, "2.25.2": 1}))
        wrong += differ(in_the_end=(_instances(w), {"2.25.1": 2, "2.25.2": 1}), letters=(w.dead_letters(), []))
    return wrong


async def _killed(w: MemoryWorld, m: Modules, texts: list[str], calls: int) -> list[str]:
    """Deliver all at once to a host that dies at its n-th call; return the messages that it holds."""
    made = itertools.count()

    def dies(call: str, args: tuple[Any, ...]) -> bool:
        return next(made) >= calls

    worker = Worker(w, dies)
    work = [
        m["isolation"].deliver_object_message(text, SOURCES, worker.services, attempt=1, message_id=str(number))
        for number, text in enumerate(texts)
    ]
    ended = await asyncio.gather(*work, return_exceptions=True)
    return [text for text, failure in zip(texts, ended, strict=True) if isinstance(failure, BaseException)]


async def _work(w: MemoryWorld, m: Modules, texts: list[str] | None = None, *, attempt: int = 1) -> None:
    """Deliver these messages and all that are visible, until none is."""
    isolation = m["isolation"]
    for number, text in enumerate([*(texts or ()), *w.store.object_queue.take()]):
        await isolation.deliver_object_message(text, SOURCES, w.services, attempt=attempt, message_id=f"again {number}")
    w.clock.advance(6)
    for study in w.store.study_queue.take():
        await isolation.deliver_study_message(study_message(study), w.services, attempt=1, message_id="s")


def _rows(w: MemoryWorld) -> bool:
    return any(cursor.name.startswith(PREFIX) for cursor in w.store.cursors.table.values())


def _instances(w: MemoryWorld) -> dict[str, int]:
    studies = {study.study_instance_uid: w.imaging_study(study) for study in (STUDY, OTHER)}
    return {uid: study["numberOfInstances"] for uid, study in studies.items() if study}
