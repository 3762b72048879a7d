"""Workers that die with all that they have in flight, as the Functions host sees it: one message takes others along."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any

from sync.errors import StoreUnavailable, SyncError
from sync.events import lost_message, object_message, study_message
from sync.model import Action, Change
from sync.ports import Services
from sync.ports.caches import Caches
from tests.simulation.delivery.scenes import Killed, Modules, differ
from tests.worlds import SOURCES, STUDY, MemoryWorld, count, events

MOST_DELIVERIES = 8
"""``maxDequeueCount`` of host.json."""

PORTS = (
    "cursors",
    "locators",
    "objects",
    "ledger",
    "dirty",
    "dead_letters",
    "object_queue",
    "study_queue",
    "projections",
)


Guilty = Callable[[str, tuple[Any, ...]], bool]
"""Tells of a call, ``port.method`` and its arguments, whether it ends the process."""


def harmless(call: str, args: tuple[Any, ...]) -> bool:
    """Let no call end the process."""
    return False


class Worker:
    """One process: a guilty object's read ends it, with whatever it has in flight."""

    def __init__(self, w: MemoryWorld, guilty: Guilty) -> None:
        self.dead = False
        self._guilty = guilty
        ports = {name: _Port(name, getattr(w.services, name), self) for name in PORTS}
        self.services: Services = replace(w.services, caches=Caches(), **ports)

    async def call(self, name: str, method: Any, args: tuple[Any, ...], more: dict[str, Any]) -> Any:
        await asyncio.sleep(0)
        self.dead = self.dead or self._guilty(name, args)
        if self.dead:
            raise Killed
        return await method(*args, **more)


class _Port:
    def __init__(self, name: str, port: Any, worker: Worker) -> None:
        self._name, self._port, self._worker = name, port, worker

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._port, name)
        if name in ("all", "below", "folder"):
            return method

        async def called(*args: Any, **more: Any) -> Any:
            return await self._worker.call(f"{self._name}.{name}", method, args, more)

        return called


@dataclass
class Host:
    """Delivers messages to one worker at a time, counts, and moves to poison what came too often."""

    w: MemoryWorld
    m: Modules
    guilty: Guilty
    poison_guilty: Callable[[], Guilty] = lambda: harmless
    """For the process that takes the poison messages of a round."""
    sweeps: bool = False
    """Whether what a dead process had in hand is sent again after each round."""
    messages: dict[str, tuple[str, str, int]] = field(default_factory=dict)
    """Message id -> queue, text, deliveries."""
    poison: list[tuple[str, str]] = field(default_factory=list)
    crashes: int = 0
    sent: int = 0

    def send(self, queue: str, text: str) -> None:
        self.sent += 1
        self.messages[str(self.sent)] = (queue, text, 0)

    async def round(self) -> None:
        """Deliver all there is at once; half a minute later what is left comes again."""
        worker = Worker(self.w, self.guilty)
        tried = dict(self.messages)
        ended = await asyncio.gather(*(self._deliver(number, worker) for number in tried), return_exceptions=True)
        self.crashes += worker.dead
        for number, failure in zip(tried, ended, strict=True):
            if failure is not None and not isinstance(failure, Killed | SyncError):
                raise failure  # a defect of the scene
            queue, text, count = tried[number]
            if failure is None:
                del self.messages[number]
            elif count + 1 >= MOST_DELIVERIES:
                del self.messages[number]
                self.poison.append((queue, text))
            else:
                self.messages[number] = (queue, text, count + 1)
        await self._poison()
        self.w.clock.advance(30)
        if self.sweeps:
            await self.m["deletions"].enqueue_lost_deletions(self.w.services)
        for text in self.w.store.object_queue.take():
            self.send("objects", text)
        for study in self.w.store.study_queue.take():
            self.send("studies", study_message(study))

    async def _deliver(self, number: str, worker: Worker) -> None:
        queue, text, count = self.messages[number]
        isolation = self.m["isolation"]
        if queue == "objects":
            await isolation.deliver_object_message(text, SOURCES, worker.services, attempt=count + 1, message_id=number)
        else:
            await isolation.deliver_study_message(text, worker.services, attempt=count + 1, message_id=number)

    async def _poison(self) -> None:
        poison, self.poison = self.poison, []
        for queue, text in poison:
            worker = Worker(self.w, self.poison_guilty())
            try:
                if queue == "objects":
                    await self.m["isolation"].deliver_poison_object(text, SOURCES, worker.services)
                else:
                    await self.m["isolation"].deliver_poison_study(text, worker.services)
            except Killed:
                self.poison.append((queue, text))

    async def settle(self, rounds: int = 40) -> None:
        for _ in range(rounds):
            await self.round()


def reads(*names: str) -> Guilty:
    """Let the read of these objects end the process."""
    return lambda call, args: call == "objects.read" and args[0].name in names


async def rows_left(host: Host) -> list[str]:
    """Return the names of the rows that are there an hour later, when those of dead-lettered messages are deleted."""
    w = host.w
    w.clock.advance(3600)
    await host.m["attempts"].forget_buried(w.services)
    return attempts(w)


def attempts(w: MemoryWorld) -> list[str]:
    return [cursor.name for cursor in w.store.cursors.table.values() if cursor.name.startswith("attempt ")]


async def one_object_ends_the_process(m: Modules) -> list[str]:
    """Two of twenty objects of a burst end the process, whenever they are read."""
    w = MemoryWorld()
    host = Host(w, m, reads("bad", "worse"))
    for number in range(18):
        host.send("objects", events(w.put(f"a{number}", sop=f"2.25.1{number}")))
    for name in ("bad", "worse"):
        host.send("objects", events(w.put(name, sop=f"2.25.99{len(name)}")))
    await host.settle()
    study = w.imaging_study() or {}
    return differ(
        instances=(study.get("numberOfInstances"), 18),
        letters=(sorted(w.dead_letters()), [("object", "poison.crash")] * 2),
        crashes=(host.crashes <= 6, True),
        left=((len(host.messages), await rows_left(host)), (0, [])),
    )


async def one_study_ends_the_process(m: Modules) -> list[str]:
    """Projecting one of two studies ends the process."""
    w = MemoryWorld()

    def guilty(call: str, args: tuple[Any, ...]) -> bool:
        return call == "ledger.read" and args[0].study_instance_uid == "2.25.2"

    host = Host(w, m, guilty)
    for number in (1, 2):
        host.send("objects", events(w.put(f"a{number}", study=f"2.25.{number}", sop=f"2.25.1{number}")))
    host.guilty = harmless
    await host.round()
    host.guilty = guilty
    await host.settle(20)
    return differ(
        instances=((w.imaging_study() or {}).get("numberOfInstances"), 1),
        letters=(w.dead_letters(), [("study", "poison.crash")]),
        crashes=(host.crashes <= 4, True),
        outstanding=(len(list(w.store.dirty.table.values())), 0),
    )


def after_writes(number: int) -> Callable[[], Guilty]:
    """Let every worker end by itself at its n-th write of a row of table ``cursors``."""

    def worker() -> Guilty:
        writes = itertools.count(1)
        return lambda call, args: call == "cursors.write" and next(writes) >= number

    return worker


async def others_end_the_process(m: Modules) -> list[str]:
    """Each worker dies of another new object while innocent messages wait: these come back from the poison queue."""
    w = MemoryWorld()
    host = Host(w, m, lambda call, args: call == "ledger.upsert" and args[0].record.study != STUDY)
    for number in range(4):
        host.send("objects", events(w.put(f"a{number}", sop=f"2.25.1{number}")))
    for number in range(MOST_DELIVERIES):
        host.send("objects", events(w.put(f"x{number}", study="2.25.2", sop=f"2.25.2{number}")))
        await host.round()
    returned = len(host.messages)
    await host.settle()
    return differ(
        instances=((w.imaging_study() or {}).get("numberOfInstances"), 4),
        letters=(w.dead_letters(), [("object", "poison.crash")] * MOST_DELIVERIES),
        rows=(await rows_left(host), []),
        returned=(returned >= 4, True),
    )


async def innocent_behind_many(m: Modules) -> list[str]:
    """Five objects that end their process stand before an innocent one: it waits for one death of each."""
    w = MemoryWorld()
    host = Host(w, m, lambda call, args: call == "objects.read" and args[0].name.startswith("x"))
    for number in range(5):
        host.send("objects", events(w.put(f"x{number}", study="2.25.2", sop=f"2.25.2{number}")))
    host.send("objects", events(w.put("a")))
    rounds = 0
    while not any(row.settled for row in w.store.locators.table.values() if row.object.name == "a"):
        await host.round()
        rounds += 1
    return differ(rounds=(rounds <= 7, True))


async def ended_for_ever_by_others(m: Modules) -> list[str]:
    """Every worker dies before the message has its turn, for ever: in the end an operator is told."""
    w = MemoryWorld()
    host = Host(w, m, lambda call, args: call == "locators.insert")
    host.send("objects", events(w.put("a")))
    await host.round()
    dying = after_writes(2)
    for _ in range(MOST_DELIVERIES * 5):
        host.guilty = dying()
        await host.round()
    return differ(letters=(w.dead_letters(), [("object", "poison.object")]), left=(len(host.messages), 0))


async def fails_for_good(m: Modules) -> list[str]:
    """A defect fails one message each time: that is poison, though the worker died once in between."""
    w = MemoryWorld()
    host = Host(w, m, harmless)
    host.send("objects", events(w.put("a")))
    read = w.store.objects.read

    async def defect(ref: Any, **part: Any) -> Any:
        raise ZeroDivisionError

    w.store.objects.read = defect
    await host.round()
    host.guilty = reads("a")
    await host.round()
    host.guilty = harmless
    await host.settle(10)
    letters = w.dead_letters()
    w.store.objects.read = read
    return differ(letters=(letters, [("object", "poison.object")]), rows=(attempts(w), []))


async def storage_refuses_in_between(m: Modules) -> list[str]:
    """Storage does not answer while a message is handled again and again: neither a death nor a failure."""
    w = MemoryWorld()
    isolation, letters = m["isolation"], []
    insert = w.store.locators.insert

    async def refused(*args: Any) -> Any:
        raise StoreUnavailable("503")

    message = events(w.put("a"))
    for attempt in range(2, 6):
        w.store.object_queue.send, send = refused, w.store.object_queue.send
        w.store.locators.insert = refused
        services = replace(w.services, caches=Caches())
        try:
            await isolation.deliver_object_message(message, SOURCES, services, attempt=attempt, message_id=str(attempt))
        except SyncError as failure:
            letters.append(failure.code)
        w.store.object_queue.send = send
        w.clock.advance(600)
    w.store.locators.insert = insert
    await isolation.deliver_object_message(message, SOURCES, w.services, attempt=6, message_id="6")
    w.clock.advance(100)
    for study in w.store.study_queue.take():
        await isolation.deliver_study_message(study_message(study), w.services, attempt=1, message_id="s")
    return differ(letters=(w.dead_letters(), []), instances=((w.imaging_study() or {}).get("numberOfInstances"), 1))


async def retried_and_ends_again(m: Modules) -> list[str]:
    """An operator retries an object that ends its process: each death leaves a copy, and none ends another process."""
    w = MemoryWorld()
    host = Host(w, m, reads("bad"), sweeps=True)
    w.put("bad")
    host.send("objects", object_message(w.ref("bad")))
    await host.settle(60)
    host.send("objects", object_message(w.ref("bad")))
    await host.settle(60)
    return differ(
        crashes=(host.crashes <= 6, True),
        sent=(host.sent <= 10, True),
        letters=(w.dead_letters(), [("object", "poison.crash")]),
        left=(len(host.messages), 0),
    )


async def copy_of_a_corrected_object(m: Modules) -> list[str]:
    """An object that ended its process is replaced by a good one before the last copy of its messages comes."""
    w = MemoryWorld()
    host = Host(w, m, reads("bad"))
    host.send("objects", events(w.put("bad")))
    await host.settle(10)
    host.guilty = harmless
    host.send("objects", events(w.put("bad")))
    await host.settle(4)
    host.send("objects", lost_message(Change(object=w.ref("bad"), action=Action.CREATED)))
    await host.settle(4)
    return differ(
        instances=((w.imaging_study() or {}).get("numberOfInstances"), 1),
        letters=(w.dead_letters(), []),
        rows=(attempts(w), []),
    )


async def poison_delivery_dies(m: Modules) -> list[str]:
    """Others end each process that has sent a poison message again: it is sent again three times, and no more."""
    w = MemoryWorld()
    host = Host(w, m, lambda call, args: call == "locators.insert")
    host.send("objects", events(w.put("a")))
    await host.round()
    dying = after_writes(2)
    sends: list[str] = []

    def dies_after_sending() -> Guilty:
        sent = itertools.count()

        def guilty(call: str, args: tuple[Any, ...]) -> bool:
            if call == "object_queue.send":
                sends.append(call)
            return (call == "object_queue.send" and next(sent) > 0) or (bool(sends) and call == "cursors.write")

        return guilty

    host.poison_guilty = dies_after_sending
    for _ in range(MOST_DELIVERIES * 3):
        host.guilty = dying()
        await host.round()
    return differ(sends=(len(sends) <= 3, True))


async def two_messages_of_one_object(m: Modules) -> list[str]:
    """Several messages of one object are handled at once by processes that live: no death is counted."""
    w = MemoryWorld()
    isolation, message = m["isolation"], events(w.put("a"))
    gate = asyncio.Event()
    read = w.store.objects.read

    async def slow(ref: Any, **part: Any) -> Any:
        await gate.wait()
        return await read(ref, **part)

    w.store.objects.read = slow
    began = count(w.store.objects, "read")
    work = [
        asyncio.create_task(
            isolation.deliver_object_message(
                message, SOURCES, replace(w.services, caches=Caches()), attempt=2, message_id=str(number)
            )
        )
        for number in range(5)
    ]
    await asyncio.sleep(1)
    begun = len(began)
    gate.set()
    await asyncio.gather(*work)
    return differ(begun=(begun, 5), letters=(w.dead_letters(), []), rows=(attempts(w), []))


SCENES: tuple[Callable[[Modules], Awaitable[list[str]]], ...] = (
    one_object_ends_the_process,
    one_study_ends_the_process,
    others_end_the_process,
    innocent_behind_many,
    ended_for_ever_by_others,
    fails_for_good,
    storage_refuses_in_between,
    retried_and_ends_again,
    copy_of_a_corrected_object,
    poison_delivery_dies,
    two_messages_of_one_object,
)
