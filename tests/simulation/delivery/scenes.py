"""Messages that are lost, held by a killed host, delayed by an outage, or not delivered by Event Grid at all."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from datetime import timedelta
from types import ModuleType
from typing import Any

from sync.delivery.deletions import PREFIX
from sync.delivery.handlers import FEW
from sync.delivery.lost_messages import ROUNDS
from sync.errors import FhirUnavailable, SourceUnavailable, StoreUnavailable, SyncError
from sync.events import hint_message, object_message, study_message
from sync.model import Action, Change
from sync.operators.pause import pause_projection, resume_projection
from sync.ports import Services
from sync.ports.caches import Caches
from sync.telemetry.instruments import SWEEPS
from sync.testing.queues import QueuedText
from sync.testing.undelivered_events import MemoryUndeliveredEvents
from tests.worlds import SOURCES, STUDY, UNREADABLE, MemoryWorld, event, events

Modules = dict[str, ModuleType]
Scene = Callable[[Modules], Awaitable[list[str]]]


class Killed(BaseException):
    """The process is no more."""


class Mortal:
    """Ports of a process that dies before its n-th call."""

    def __init__(self, calls: int) -> None:
        self.left = calls

    def port(self, port: Any) -> Any:
        """Return the port as this process sees it."""
        return _MortalPort(port, self)

    def services(self, s: Services, *names: str) -> Services:
        """Return services of which these ports, and all that go with them, are of this process."""
        return replace(s, **{name: self.port(getattr(s, name)) for name in names})


class _MortalPort:
    def __init__(self, port: Any, process: Mortal) -> None:
        self._port, self._process = port, process

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._port, name)

        async def called(*args: Any, **kwargs: Any) -> Any:
            self._process.left -= 1
            if self._process.left < 0:
                raise Killed
            return await method(*args, **kwargs)

        return called


async def _deliver_objects(w: MemoryWorld, m: Modules, *, attempt: int = 1) -> None:
    for text in w.store.object_queue.take():
        await m["handlers"].handle_object_message(text, SOURCES, w.services, attempt=attempt)


async def _settle(w: MemoryWorld, m: Modules) -> None:
    for _ in range(5):
        w.clock.advance(100)
        for study in w.store.study_queue.take():
            await m["handlers"].handle_study_message(study_message(study), w.services)


def differ(**pairs: tuple[Any, Any]) -> list[str]:
    return [f"{name.replace('_', ' ')}: {got}, not {wanted}" for name, (got, wanted) in pairs.items() if got != wanted]


# Events that Event Grid could not deliver.


async def undelivered(m: Modules) -> list[str]:
    """The blob holds an event of an object, one that is none, and another; the process dies at any call."""
    wrong: list[str] = []
    for calls in range(12):
        w, lost = MemoryWorld(), MemoryUndeliveredEvents()
        told = [event(w.put("a")), {"eventType": "nonsense"}, event(w.put("b", sop="2.25.101"))]
        lost.blobs = {"1": json.dumps(told), "2": "no JSON"}
        process = Mortal(calls)
        mortal = process.services(w.services, "object_queue", "dead_letters")
        try:
            await m["undelivered_events"].recover_undelivered_events(process.port(lost), SOURCES, mortal)
        except Killed:
            for _ in range(2):
                await m["undelivered_events"].recover_undelivered_events(lost, SOURCES, w.services)
        await _deliver_objects(w, m)
        await _settle(w, m)
        wrong += differ(
            instances=((w.imaging_study() or {}).get("numberOfInstances"), 2),
            letters=(w.dead_letters(), [("message", "event.malformed"), ("message", "event.unsupported")]),
            blobs=((list(lost.blobs), lost.marked), (["2"], {"2"})),
        )
    return wrong


# Folders.


async def folder_moved(m: Modules) -> list[str]:
    """A folder is renamed as a whole: one event for forty files."""
    w = MemoryWorld()
    objects, names = w.store.objects, [f"in/{number}" for number in range(40)]
    for number, name in enumerate(names):
        await w.ingest(w.put(name, sop=f"2.25.1{number:02}"))
    for name in names:
        old = w.ref(name)
        objects.put(w.ref(name.replace("in/", "out/")), objects._blobs[old].data)
        objects.delete(old)
    moved = Change(object=w.ref("in"), action=Action.FOLDER_REMOVED, moved_to=w.ref("out"))
    await m["folders"].inspect_folder(moved, w.services)
    await _deliver_objects(w, m)
    await _settle(w, m)
    rows = {row.object.name: row.etag is not None for row in w.store.locators.table.values()}
    wanted = dict.fromkeys(names, False) | {name.replace("in/", "out/"): True for name in names}
    return differ(rows=(rows, wanted), instances=((w.imaging_study() or {}).get("numberOfInstances"), 40))


# Objects whose message a killed host holds.


async def host_killed(m: Modules) -> list[str]:
    """A host held messages of two objects, one of them known as it was before; two others were inspected."""
    w = MemoryWorld()
    await m["handlers"].handle_object_message(events(w.put("b", sop="2.25.101")), SOURCES, w.services)
    w.put("old", sop="2.25.109")
    w.clock.advance(700)
    for change in (w.put("a"), w.put("c", UNREADABLE)):
        await m["handlers"].handle_object_message(events(change), SOURCES, w.services)
    await m["handlers"].handle_poison_object(events(w.put("e")), SOURCES, w.services)
    w.put("b", sop="2.25.102")
    w.put("d", sop="2.25.103")
    for name in ("b", "d"):
        await w.store.object_queue.send(object_message(w.ref(name)), 600)
    queues = w.store.queues
    took: list[int] = []

    async def sweep(seconds: float) -> None:
        w.clock.advance(seconds)
        took.append(await m["lost_messages"].enqueue_lost_objects(w.services, queues, w.store.objects))

    await sweep(5)  # they may be on their way
    await sweep(30)
    await sweep(30)  # those that were just enqueued wait for a worker
    await _deliver_objects(w, m)
    for _ in range(3):
        await sweep(30)  # all was seen, though the killed host holds its messages still
    return differ(enqueued=(took, [0, 2, 0, 0, 0, 0]))


async def source_down(m: Modules) -> list[str]:
    """Messages that an outage delays look like those of a killed host, and must not multiply."""
    w = MemoryWorld()
    await w.store.object_queue.send(object_message(w.put("a").object), 300)
    for _ in range(20):
        w.clock.advance(30)
        queues = w.store.queues
        await m["lost_messages"].enqueue_lost_objects(w.services, queues, w.store.objects)
        later = w.clock.now() + timedelta(seconds=300)
        queued = w.store.object_queue.messages
        w.store.object_queue.messages = [replace(message, visible_at=later) for message in queued]
    return [] if len(w.store.object_queue.messages) <= 1 + ROUNDS else ["messages multiply"]


def _rows(w: MemoryWorld) -> list[str]:
    return [cursor.name for cursor in w.store.cursors.table.values() if cursor.name.startswith(PREFIX)]


async def deletions_lost(m: Modules) -> list[str]:
    """A host dies at any call while it deals with deletions and a folder's; their messages stay leased."""
    wrong: list[str] = []
    for calls in range(30):
        w = MemoryWorld()
        for number, name in enumerate(("a", "b", "in/c", "in/d", "kept")):
            await w.ingest(w.put(name, sop=f"2.25.10{number}"))
        await _settle(w, m)
        two = events(w.delete("a"), w.delete("b"))
        w.delete("in/c")
        w.delete("in/d")
        folder = hint_message(Change(object=w.ref("in"), action=Action.FOLDER_REMOVED))
        process = Mortal(calls)
        mortal = process.services(w.services, "cursors", "objects", "ledger", "dirty", "object_queue")
        mortal = replace(mortal, caches=Caches())
        left, begun = [two, folder], False
        with suppress(Killed):
            while left:
                begun = process.left > 0  # else it dies at the first call, and nothing can be known of the message
                await m["handlers"].handle_object_message(left[0], SOURCES, mortal)
                left.pop(0)
        for text in left[1:] if begun else left:
            await m["handlers"].handle_object_message(text, SOURCES, w.services)
        for _ in range(3):
            w.clock.advance(30)
            held = QueuedText("", w.clock.now() + timedelta(seconds=500))
            w.store.object_queue.messages.append(held)  # as long as a lease, it counts
            queues = w.store.queues
            await m["lost_messages"].enqueue_lost_objects(w.services, queues, w.store.objects)
            w.store.object_queue.messages.remove(held)
            await _deliver_objects(w, m)
        await _settle(w, m)
        wrong += differ(instances=((w.imaging_study() or {}).get("numberOfInstances"), 1), rows=(_rows(w), []))
    return wrong


async def deletion_takes_long(m: Modules) -> list[str]:
    """A deletion takes so long that a sweep takes its process for killed; then a second one begins."""
    w = MemoryWorld()
    for number, name in enumerate(("a", "b", "kept")):
        await w.ingest(w.put(name, sop=f"2.25.10{number}"))
    await _settle(w, m)
    slow, quick = w.delete("a"), w.delete("b")
    deletions, s = m["deletions"], w.services
    async with deletions.in_hand([slow], s):
        w.clock.advance(20)
        sent = [await deletions.enqueue_lost_deletions(s)]
        w.clock.advance(20)
        sent.append(await deletions.enqueue_lost_deletions(s))
        async with deletions.in_hand([quick], s):
            w.clock.advance(40)
            sent.append(await deletions.enqueue_lost_deletions(s))
    async with deletions.in_hand([slow], s):
        pass
    return differ(sent=(sent, [0, 1, 2]), rows=(_rows(w), []))


async def asked_again_and_killed(m: Modules) -> list[str]:
    """A deletion comes back from a killed host, and the next host is killed with it."""
    w = MemoryWorld()
    await w.ingest(w.put("a"))
    change = replace(w.delete("a"), again=True, action=Action.CREATED)
    with suppress(Killed):
        async with m["deletions"].in_hand([change], w.services):
            raise Killed
    w.clock.advance(40)
    return differ(sent=(await m["deletions"].enqueue_lost_deletions(w.services), 1))


async def sweep_killed(m: Modules) -> list[str]:
    """The process that sends the deletions of a killed one is killed itself, at any call."""
    wrong: list[str] = []
    for calls in range(5):
        w = MemoryWorld()
        await w.ingest(w.put("a"))
        with suppress(Killed):
            async with m["deletions"].in_hand([w.delete("a")], w.services):
                raise Killed
        w.clock.advance(40)
        w.store.object_queue.messages.clear()
        cursors, mortal = w.store.cursors, Mortal(calls).services(w.services, "cursors", "object_queue", "locators")
        object.__setattr__(mortal.cursors, "all", cursors.all)
        with suppress(Killed):
            await m["deletions"].enqueue_lost_deletions(mortal)
        await m["deletions"].enqueue_lost_deletions(w.services)
        wrong += [] if w.store.object_queue.messages else ["a deletion is lost"]
    return wrong


async def deletion_while_swept(m: Modules) -> list[str]:
    """A slow process begins another deletion while a sweep has its row in hand, and is killed."""
    w = MemoryWorld()
    for number, name in enumerate(("a", "b")):
        await w.ingest(w.put(name, sop=f"2.25.10{number}"))
    first, second = w.delete("a"), w.delete("b")
    deletions, send = m["deletions"], w.store.object_queue.send

    async def meanwhile(*args: Any) -> None:
        w.store.object_queue.send = send
        await entered.enter_async_context(deletions.in_hand([second], w.services))
        await send(*args)

    entered = AsyncExitStack()
    await entered.enter_async_context(deletions.in_hand([first], w.services))
    w.clock.advance(40)
    w.store.object_queue.send = meanwhile
    await deletions.enqueue_lost_deletions(w.services)
    w.clock.advance(40)
    return differ(sent=(await deletions.enqueue_lost_deletions(w.services), 2))


# Outages.


async def fhir_down(m: Modules) -> list[str]:
    """FHIR does not answer for two hours; then it does."""
    w = MemoryWorld(dead_letter_after_seconds=600.0)
    await m["handlers"].handle_object_message(events(w.put("a")), SOURCES, w.services)
    w.fhir.outage = FhirUnavailable("503")
    waits: list[float] = []
    letters: list[int] = []
    w.clock.advance(10)
    for _ in range(24):
        for study in w.store.study_queue.take():
            try:
                await m["handlers"].handle_study_message(study_message(study), w.services)
            except SyncError:
                return ["an outage spends deliveries"]
        queued = w.store.study_queue.messages
        if len(queued) != 1:
            return [f"{len(queued)} messages wait for one study"]
        waits.append((queued[0].visible_at - w.clock.now()).total_seconds())
        letters.append(len(w.dead_letters()))
        w.clock.advance(waits[-1])
    w.fhir.outage = None
    await _settle(w, m)
    return differ(
        waits=(waits, [5, 10, 20, 40] + [60] * 9 + [600] * 11),
        told=(letters, [0] * 13 + [1] * 11),
        left=((w.dead_letters(), w.outstanding(), w.imaging_study() is None), ([], [], False)),
    )


async def source_refuses(m: Modules) -> list[str]:
    """The object store does not answer for an hour and more, for one of two objects of a message."""
    w = MemoryWorld(dead_letter_after_seconds=600.0)
    message = events(w.put("a"), w.put("b", sop="2.25.101"))
    read, waits, letters = w.store.objects.read, list[float](), list[int]()

    async def refused(ref: Any, **part: Any) -> Any:
        if ref.name == "a":
            raise SourceUnavailable("503")
        return await read(ref, **part)

    w.store.objects.read = refused
    try:
        await m["handlers"].handle_object_message(message, SOURCES, w.services)
        for _ in range(14):
            queued = w.store.object_queue.messages
            if len(queued) != 1:
                return [f"{len(queued)} messages wait for one object"]
            waits.append((queued[0].visible_at - w.clock.now()).total_seconds())
            letters.append(len(w.dead_letters()))
            w.clock.advance(waits[-1])
            await _deliver_objects(w, m)
        w.store.objects.read = read
        w.clock.advance(700)
        await _deliver_objects(w, m)
    except SyncError:
        return ["an outage spends deliveries"]
    await _settle(w, m)
    return differ(
        waits=(waits, [5, 10, 20, 40, 80, 160, 300] + [600] * 7),
        told=(letters, [0] * 7 + [1] * 7),
        left=((w.dead_letters(), (w.imaging_study() or {}).get("numberOfInstances")), ([], 2)),
    )


async def one_of_three_fails(m: Modules) -> list[str]:
    """A defect meets the first event of a message: the others are tried, the message comes again."""
    w = MemoryWorld()
    message = events(w.put("a"), w.put("b", sop="2.25.101"), w.put("c", sop="2.25.102"))
    read = w.store.objects.read

    async def defect(ref: Any, **part: Any) -> Any:
        if ref.name == "a":
            raise ZeroDivisionError
        return await read(ref, **part)

    w.store.objects.read = defect
    raised = False
    try:
        await m["handlers"].handle_object_message(message, SOURCES, w.services)
    except SyncError:
        raised = True
    known = sorted(row.object.name for row in w.store.locators.table.values() if row.etag)
    return differ(raised=(raised, True), known=(known, ["b", "c"]))


async def died_and_paused(m: Modules) -> list[str]:
    """A pass died after it wrote, the study went back, and its message comes again while projection is paused."""
    w = MemoryWorld()
    await w.arrive("a")
    await w.ingest(w.put("b", sop="2.25.101"))
    await w.project_and_die()
    await w.ingest(w.delete("b"))
    w.store.study_queue.messages.clear()
    await pause_projection(w.services, who="Ada", why="FHIR moves")
    w.clock.advance(100)
    await m["handlers"].handle_study_message(study_message(STUDY), w.services, attempt=2)
    held = await m["handlers"].sweep(w.services)
    await resume_projection(w.services, who="Ada")
    w.clock.advance(700)
    swept = await m["handlers"].sweep(w.services)
    await _settle(w, m)
    return differ(swept=((held, swept), (0, 1)), instances=((w.imaging_study() or {}).get("numberOfInstances"), 1))


async def poison_and_marked(m: Modules) -> list[str]:
    """A study is marked anew while its poison message becomes a dead letter: it stays outstanding."""
    w = MemoryWorld()
    await w.ingest(w.put("a"))
    put = w.store.dead_letters.put

    async def marked(*args: Any) -> Any:
        await w.ingest(w.put("b", sop="2.25.101"))
        return await put(*args)

    w.store.dead_letters.put = marked
    await m["handlers"].handle_poison_study(study_message(STUDY), w.services)
    return [] if w.outstanding() else ["a change is forgotten"]


async def recorded_while_its_message_waits(m: Modules) -> list[str]:
    """While a study's message waits, another process records the study, and an object arrives: it is not postponed."""
    w = MemoryWorld()
    for name in "ab":
        await w.ingest(w.put(name, sop=f"2.25.10{name.encode().hex()}"))
    sleep, other = w.clock.sleep, w.process()

    async def meanwhile(seconds: float) -> None:
        w.clock.sleep = sleep
        w.clock.advance(100)
        await m["handlers"].handle_study(STUDY, other)
        await w.ingest(w.put("c", sop="2.25.103"))
        w.clock.advance(100)

    w.clock.sleep = meanwhile
    w.clock.advance(4.5)  # due in half a second
    await m["handlers"].handle_study_message(study_message(STUDY), w.services)
    instances = (w.imaging_study() or {}).get("numberOfInstances")
    return differ(slept=(w.clock.sleep, sleep), instances=(instances, 3), outstanding=(w.outstanding(), []))


# The sweep.


async def studies_waiting(m: Modules) -> list[str]:
    """Studies whose messages are there, are lost, or are held by a host that was killed."""
    w = MemoryWorld()
    count = 3 * FEW
    for number in range(count):
        await w.ingest(w.put(f"a{number}", study=f"2.25.{number + 1}"))
    queue, sweep = w.store.study_queue, m["handlers"].sweep
    sent = list(queue.messages)
    swept = [await sweep(w.services)]  # some are within their quiet period, none waits for long
    w.clock.advance(100)
    swept.append(await sweep(w.services))  # all wait for their turn
    later = w.clock.now() + timedelta(seconds=500)
    queue.messages = [replace(message, visible_at=later) for message in sent]
    swept.append(await sweep(w.services))  # a killed host holds them
    queue.messages = list(sent)
    w.clock.advance(10_000)
    swept.append(await sweep(w.services))  # they wait for too long
    queue.messages.clear()
    swept.append(await sweep(w.services))  # they were lost
    return differ(swept=(swept, [0, 0, count, FEW, count]))


async def a_holder_that_hangs(m: Modules) -> list[str]:
    """A FHIR service takes requests and answers none: each message of the study is taken at once, and hangs."""
    w = MemoryWorld()
    await w.ingest(w.put("a"))
    queue, swept = w.store.study_queue, 0
    for _ in range(20):
        later = w.clock.now() + timedelta(seconds=600)
        queue.messages = [replace(message, visible_at=later) for message in queue.messages]
        swept += await m["handlers"].sweep(w.services)
        w.clock.advance(30)
    return [] if 1 < swept <= 5 else [f"{swept} messages beside one that is held, in ten minutes"]


async def storage_refuses_the_sweep(m: Modules) -> list[str]:
    """A sweep that could not look must not be taken for one that did."""
    w = MemoryWorld()
    await w.ingest(w.put("a"))
    w.clock.advance(100)

    async def refused() -> int:
        raise StoreUnavailable("403")

    w.store.study_queue.length = refused
    try:
        await m["handlers"].sweep(w.services)
    except SyncError:
        return ["the heart beats on"] if any(key.name == SWEEPS.name for key in w.services.telemetry.take()) else []
    return ["nothing was raised"]
