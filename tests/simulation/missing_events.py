"""
Random schedules over the walk that looks for missing events: events are late or lost, walkers die, objects come and go.

The test, which knows everything, decides when the event of an object is missing: it has been there for longer than an
event may take, no message waits for it, and the sync holds neither its present version nor a dead letter. What the walk
reports must have been missing; what is missing must be reported within one walk, and no longer one walk after it ended.
"""

from __future__ import annotations

import asyncio
import random
from datetime import timedelta
from types import ModuleType
from typing import Any

from sync import pipeline
from sync.model import Action, Change, ObjectRef
from sync.monitoring.alerts import missing_events
from sync.monitoring.counts import MISSING_EVENTS_CURSOR
from sync.ports import Services
from sync.testing.clock import ManualClock
from sync.testing.fhir import MemoryFhirServer
from sync.testing.objects import MemoryObjects
from sync.testing.queues import MemoryObjectQueue
from sync.testing.store import MemoryStore
from tests.simulation.contents import UNREADABLE, Content, dicom_file
from tests.simulation.scheduling import Stepping, Turns
from tests.simulation.world import SETTINGS
from tests.worlds import ports_of

CONTAINERS = ("dicom", "more")
NAMES = ("a", "b", "c", "d", "e")
PAGE = 2
MAX_STEPS = 3_000
LEASE = 61.0


class Listing:
    """The listing, a few objects a page."""

    def __init__(self, objects: MemoryObjects) -> None:
        self._objects = objects

    async def page(self, container: str, *, token: str | None = None) -> Any:
        return await self._objects.page(container, token=token, size=PAGE)


class _Waiting(MemoryObjectQueue):
    """The queue, as the events say that wait in it."""

    def __init__(self, world: SilenceWorld) -> None:
        super().__init__(world.clock)
        self._world = world

    async def is_empty(self) -> bool:
        return not self._world.waiting


class SilenceWorld:
    """Objects, events on their way, and a sync that inspects the objects of its events."""

    def __init__(self, seed: int, module: ModuleType) -> None:
        self.rng = random.Random(seed)
        self.slots = Turns(self.rng)
        self.module = module
        self.clock = ManualClock()
        self.store = MemoryStore(self.clock)
        self.objects = self.store.objects = MemoryObjects(self.clock, containers=CONTAINERS)
        self.settings = SETTINGS.model_copy(update={"containers": CONTAINERS})
        self.on_their_way: list[Change] = []
        """Events that are not in the queue yet."""
        self.waiting: list[Change] = []
        """Events in the queue, and those that are being dealt with."""
        self.ever: set[str] = set()
        """Since when objects were silent that ever were."""
        self.wrong: list[str] = []

    def services(self, *, step: bool) -> Services:
        wrap = (lambda port: Stepping(port, self.slots)) if step else (lambda port: port)
        ports = ports_of(self.store) | {"objects": self.objects, "fhir": MemoryFhirServer(azure=True)}
        ports["object_queue"] = _Waiting(self)
        wrapped = {name: wrap(port) for name, port in ports.items() if name != "clock"}
        return Services(settings=self.settings, clock=self.clock, **wrapped)

    # What happens.

    def change(self) -> None:
        """Put or delete an object; its event may be lost."""
        self.clock.advance(1)
        container = self.rng.choice(CONTAINERS)
        ref = ObjectRef(account="memory", container=container, name=self.rng.choice(NAMES))
        if ref in self.objects.refs() and self.rng.random() < 0.3:
            self.objects.delete(ref)
            change = Change(object=ref, action=Action.DELETED)
        else:
            data = self.rng.choice((UNREADABLE, dicom_file(Content("1", "P1", "11"))))
            etag = self.objects.put(ref, data)
            change = Change(object=ref, action=Action.CREATED, etag=etag, likely_new=True)
        if self.rng.random() < 0.7:
            self.on_their_way.append(change)

    def arrive(self) -> None:
        self.waiting.append(self.on_their_way.pop(self.rng.randrange(len(self.on_their_way))))

    def deliver(self) -> None:
        """Handle an event, which is in the queue until that is done."""
        change = self.rng.choice(self.waiting)

        def ended(failure: BaseException | None) -> None:
            if failure is None and change in self.waiting:
                self.waiting.remove(change)

        self.slots.start(pipeline.ingest(change, self.services(step=True)), ended)

    def walk(self) -> int:
        return self.slots.start(self._walk(step=True), lambda _: None)

    async def _walk(self, *, step: bool) -> None:
        listing = Listing(self.objects)
        await self.module.find_missing_events(
            self.services(step=step), Stepping(listing, self.slots) if step else listing
        )

    def tick(self) -> None:
        self.clock.advance(self.rng.choice((5, 30, 100, 200)))

    # The truth, and what is reported.

    def silent(self) -> set[str]:
        """Return the times of change of objects that no event has reported for too long."""
        now, told_of = self.clock.now(), {change.object for change in self.waiting}
        return {
            blob.last_modified.isoformat()
            for ref, blob in self.objects._blobs.items()
            if now - missing_events.RECENT < blob.last_modified < now - missing_events.GRACE
            and ref not in told_of
            and not self._is_known(ref, blob.etag)
        }

    def _is_known(self, ref: ObjectRef, etag: str) -> bool:
        known = self.store.locators.table.get(ref.key)
        return known is not None and (known.value.etag == etag or known.value.has_dead_letter)

    def told(self) -> str | None:
        row = self.store.cursors.table.get(MISSING_EVENTS_CURSOR)
        return row.value.position.get("unseen_since") if row is not None else None

    def inspection(self) -> None:
        """Note which events are missing, and whether each reported one ever was."""
        self.ever |= self.silent()
        if self.told() not in {None, *self.ever}:
            self.wrong.append("a missing event is reported of an object that never lacked one")

    def pages(self) -> int:
        """Return the calls of a whole scan from its beginning; a scan in the middle of a page has a call more."""
        counts = [sum(ref.container == container for ref in self.objects.refs()) for container in CONTAINERS]
        return sum(max(-(-count // PAGE), 1) for count in counts)

    # A schedule.

    async def chaos(self) -> None:
        left = {"change": self.rng.randint(3, 12), "walk": self.rng.randint(5, 30), "tick": self.rng.randint(2, 12)}
        crash_rate = self.rng.choice((0.0, 0.02, 0.1))
        for _ in range(MAX_STEPS):
            choices = [what for what, number in left.items() if number and len(self.slots.actors) < 4]
            choices += ["arrive"] * bool(self.on_their_way)
            choices += ["deliver"] * (2 if self.waiting and len(self.slots.actors) < 4 else 0)
            if not choices and not self.slots.actors:
                return
            what = self.rng.choice(choices + ["step"] * (4 if self.slots.actors else 0))
            if what == "step" and self.rng.random() < crash_rate:
                await self.slots.kill(self.rng.choice(self.slots.actors))
            elif what == "step":
                await self.slots.step()
            else:
                if what in left:
                    left[what] -= 1
                getattr(self, what)()
                await self.slots.rest()
            self.inspection()
        raise AssertionError("no progress")

    async def walks(self, calls: int) -> None:
        """Let a walker go on in peace."""
        for _ in range(calls):
            self.clock.advance(LEASE)
            self.ever |= self.silent()
            await self._walk(step=False)
            self.inspection()

    async def see_all(self) -> None:
        """Inspect every object, and every one that is gone."""
        s = self.services(step=False)
        known = [row.object for row in self.store.locators.table.values()]
        for ref in {*self.objects.refs(), *known}:
            await pipeline.ingest(Change(object=ref, action=Action.CREATED, again=True), s)


async def _play(world: SilenceWorld) -> list[str]:
    await world.chaos()
    world.clock.advance(missing_events.GRACE.total_seconds() + 1)
    silent = world.silent()
    await world.walks(world.pages() + 1)
    if silent and world.told() is None:
        world.wrong.append("an object is silent, and a walk does not tell of it")
    await world.walks(world.pages())
    if world.told() != min(silent, default=None):
        world.wrong.append("two walks do not tell of the object that has been silent for longest")
    await world.see_all()
    await world.walks(2 * world.pages())
    if world.told() is not None:
        world.wrong.append("a missing event is reported though all were seen")
    world.change()
    world.clock.advance((missing_events.RECENT + timedelta(hours=1)).total_seconds())
    await world.walks(2 * world.pages())
    if world.told() is not None:
        world.wrong.append("a missing event is reported of an object from before the start")
    return world.wrong


async def _overtaken(world: SilenceWorld) -> list[str]:
    """Let an old object be changed, and seen, between the moment it is listed and the look at its row."""
    ref = world.objects.ref("a")
    world.objects.put(ref, dicom_file(Content("1", "P1", "11")))
    await world.see_all()
    world.clock.advance(missing_events.GRACE.total_seconds() + 1)
    walker = world.walk()
    await world.slots.go(walker, "page")
    await world.slots.go(walker, calls=1)
    world.objects.put(ref, dicom_file(Content("1", "P1", "11")))
    await world.see_all()
    await world.slots.go(walker)
    world.inspection()
    return world.wrong


def overtaken(*, module: ModuleType = missing_events) -> list[str]:
    """Play the one interleaving that random schedules seldom meet; return what is wrong."""
    return asyncio.run(_overtaken(SilenceWorld(0, module)))


def schedule(seed: int, *, module: ModuleType = missing_events) -> list[str]:
    """Play the schedule of a seed; return what is wrong."""
    return asyncio.run(_play(SilenceWorld(seed, module)))
