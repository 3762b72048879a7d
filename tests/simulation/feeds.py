"""
Random schedules over a change feed: two readers and a replay, lookers beside them, and every port call may be the last.

The service is the truth. A client stores, updates, deletes and stores again while readers under way hold pages that are
older than what others wrote already. When all is read, the ledger must be what the service holds, and the projection
of dirty studies must have seen it.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from types import ModuleType
from typing import Any

from sync import pipeline
from sync.errors import SourceGone, StoreConflict, TransientError
from sync.feeds import dicom_windows
from sync.model import Action, Change, InstanceMetadata, ObjectRef, StudyRef
from sync.ports import Clock, Services
from sync.protocol.leases import take
from sync.testing.clock import ManualClock
from sync.testing.dicom import InstanceId, MemoryDicomService
from sync.testing.fhir import MemoryFhirServer
from sync.testing.store import MemoryStore
from tests.dicom_services import described, instance, study_ref, uid
from tests.headers import dicom_file, element
from tests.simulation.stepping import Step, new_caches, run
from tests.simulation.world import SETTINGS

LEASE = 30.0
MAX_STEPS = 5_000
STUDIES, SOPS = (1, 2), (1, 2)
FURTHEST_BEHIND = (dicom_windows.SKEW - dicom_windows.OVERLAP).total_seconds()


class Stepping:
    """A port whose every coroutine is preceded by a `Step`."""

    def __init__(self, port: Any) -> None:
        self._port = port

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._port, name)
        if name in ("account", "all", "folder", "objects_of"):
            return method

        async def stepped(*args: Any, **kwargs: Any) -> Any:
            await Step()
            return await method(*args, **kwargs)

        return stepped


class SteppingService(Stepping):
    """The service; each answer is preceded by a `Step`, and instances are given as files too."""

    _port: MemoryDicomService

    @property
    def account(self) -> str:
        return self._port.account

    async def metadata(self, ref: ObjectRef) -> InstanceMetadata:
        await Step()
        return await self._port.metadata(ref)

    @asynccontextmanager
    async def content(self, ref: ObjectRef) -> AsyncIterator[AsyncIterator[bytes]]:
        await Step()
        for identity, (_, dataset) in self._port.instances.items():
            if self._port._ref(identity) == ref:
                yield _file_of(identity, dataset["00081030"]["Value"][0])
                return
        raise SourceGone

    def objects_of(self, study: StudyRef) -> AsyncIterator[ObjectRef]:
        return self._port.objects_of(study)


async def _file_of(identity: InstanceId, description: str) -> AsyncIterator[bytes]:
    yield dicom_file(
        element(0x00080018, "UI", identity.sop)
        + element(0x00081030, "LO", description)
        + element(0x0020000D, "UI", identity.study)
        + element(0x0020000E, "UI", identity.series)
    )


@dataclass(eq=False)
class Actor:
    """One that is under way; ``again`` begins it anew, None for a reader, whose lease does."""

    steps: Any
    again: Callable[[], Coroutine[Any, Any, Any]] | None
    holder: str = "no one"


@dataclass(frozen=True)
class Behind(Clock):
    """A clock that is some seconds late."""

    clock: ManualClock
    seconds: float

    def now(self) -> datetime:
        return self.clock.now() - timedelta(seconds=self.seconds)

    async def sleep(self, seconds: float) -> None:
        self.clock.advance(seconds)


@dataclass
class FeedWorld:
    """A service, the rows we make of it, and who is under way."""

    rng: random.Random
    pipeline: ModuleType = pipeline
    windows: ModuleType = dicom_windows
    behind: float = 0.0
    """Seconds that the service's clock is behind ours."""
    unreadable: float = 0.0
    """How many of the instances that are stored cannot be read back."""

    def __post_init__(self) -> None:
        self.clock = ManualClock()
        self.clock.advance(86_400)
        self.store = MemoryStore(self.clock)
        self.service = MemoryDicomService(Behind(self.clock, self.behind))
        page = self.service.page
        self.service.page = lambda **window: page(**{**window, "limit": 2})  # many pages, so that runs are slow
        self.actors: list[Actor] = []
        self.shown: dict[StudyRef, dict[str, str]] = {}
        self.changes = 0
        self.stopped = False
        self.services = self._services(step=True)

    def _services(self, *, step: bool) -> Services:
        wrap: Callable[[Any], Any] = Stepping if step else lambda port: port
        kept = [field.name for field in fields(Services) if hasattr(self.store, field.name) and field.name != "clock"]
        service = SteppingService(self.service) if step or self.unreadable else self.service
        return Services(
            settings=SETTINGS,
            clock=self.clock,
            fhir=MemoryFhirServer(azure=True),
            dicom_feed=service,
            instances={self.service.account: service},
            caches=new_caches(),
            **{name: wrap(getattr(self.store, name)) for name in kept},
        )

    # Who is under way.

    async def reader(self, actor: Actor) -> None:
        """Read the feed under the lease, as `sync.feeds.reader` does, one change after the other."""
        s = self.services
        lease = await take("feed", s.cursors, s.clock, seconds=LEASE)
        if lease is None:
            return
        actor.holder = lease._held.value.holder
        async for batch in self.windows.batches(s.dicom_feed, lease.position, s):
            for change in self.shuffled(batch.changes):
                await self.pipeline.ingest(change, s)
            await lease.advance(batch.position)
        await lease.release()

    async def replay(self) -> None:
        """Read all of it once more, without a lease."""
        s = self.services
        async for entries in self.windows.pages(s.dicom_feed, start=None, end=None):
            for change in self.shuffled(self.windows.latest(entries)):
                await self.pipeline.ingest(change, s, redelivered=True)

    async def checker(self) -> None:
        """Look at every instance there ever was, as retries and checks do."""
        for identity in {row.instance: None for row in self.service.rows}:
            ref = self.service._ref(identity)
            await self.pipeline.ingest(Change(object=ref, action=Action.CREATED), self.services, redelivered=True)

    async def projector(self) -> None:
        """Show what the marks ask for, and take them off."""
        s = self.services
        for study in [dirty.study for dirty in self.store.dirty.table.values()]:
            dirty = await s.dirty.read(study)
            if dirty is None:
                continue
            self.shown[study] = rows_of(await s.ledger.read(study))
            await s.dirty.delete(study, dirty.etag)

    def shuffled(self, changes: Any) -> list[Change]:
        return self.rng.sample(list(changes), len(changes))

    # What happens.

    def happen(self) -> None:
        """Let a client create, change or delete an instance at the service."""
        self.pass_time(self.rng.choice((0, 0, 1, 5, 20, 120)))
        self.changes += 1
        study, sop = self.rng.choice(STUDIES), self.rng.choice(SOPS)
        match self.rng.choice(("store", "store", "store late", "update", "delete", "delete study", "skip", "reveal")):
            case "store":
                readable = not self.unreadable or self.rng.random() >= self.unreadable
                self.service.store(instance(study, sop) | described(f"{self.changes}"), readable=readable)
            case "store late":
                self.service.store(instance(study, sop) | described(f"{self.changes}"), visible=False)
            case "update":
                self.service.update("", uid(study), described(f"{self.changes}"))
            case "delete":
                self.service.delete("", uid(study), uid(study, 1), uid(study, 1, sop))
            case "delete study":
                self.service.delete("", uid(study))
            case "skip":
                self.service.skip(self.rng.randint(1, 300))
            case "reveal":
                self.service.reveal()

    def step(self) -> None:
        actor = self.rng.choice(self.actors)
        if self.rng.random() < 0.03 and self.may_die(actor):
            actor.steps.close()
            self.actors.remove(actor)
            if actor.again is not None:
                self.actors.append(Actor(actor.again(), actor.again))
            return
        try:
            actor.steps.send(None)
        except (StopIteration, StoreConflict, TransientError):
            self.actors.remove(actor)

    def may_die(self, actor: Actor) -> bool:
        """
        Tell whether another actor takes up what this one leaves: its message, or the next holder of its lease.

        A reader that stalls for longer than its lease and then dies between two writes is for `verify` to find.
        """
        held = self.store.cursors.table.get("feed")
        return actor.again is not None or (held is not None and held.value.holder == actor.holder)

    def start(self) -> None:
        kind = self.rng.choice((self.reader, self.reader, self.replay, self.checker, self.projector, self.projector))
        if kind == self.reader:
            actor = Actor(None, None)
            actor.steps = self.reader(actor)
        else:
            actor = Actor(kind(), kind)
        self.actors.append(actor)
        if self.rng.random() < 0.2:
            self.pass_time(LEASE)  # a holder presumed dead may go on beside the next one

    def pass_time(self, seconds: float) -> None:
        """Let rows that are held back appear before they would be later than rows ever are."""
        self.clock.advance(seconds)
        latest = self.clock.now() - dicom_windows.OVERLAP + timedelta(seconds=LEASE)
        for row in self.service.rows:
            row.visible = row.visible or row.at < latest

    def finish(self) -> None:
        """Let everybody end, and read and project until nothing is left."""
        while self.actors:
            self.step()
        self.service.reveal()
        self.services = self._services(step=False)
        for _ in range(2):
            self.clock.advance(LEASE + 1)
            try:
                run(self.reader(Actor(None, None)))
            except TransientError:
                self.stopped = True
        run(self.projector())

    def difference(self) -> str | None:
        """Compare with the service; None when nothing differs."""
        if self.stopped:
            return "the feed stands still"
        for study in map(study_ref, STUDIES):
            held = {
                identity.sop: dataset["00081030"]["Value"][0]
                for identity, (_, dataset) in self.service.instances.items()
                if identity.study == study.study_instance_uid
            }
            rows = rows_of(run(self.store.ledger.read(study)))
            if rows != held:
                return f"ledger has {len(rows)} rows instead of {len(held)}, or old ones"
            if self.shown.get(study, {}) != held:
                return "the study was not marked dirty"
        return None


def passed_while_hidden(windows_module: ModuleType = dicom_windows) -> str | None:
    """
    Play a run over a long backlog that passes a row which only then appears; the service's clock is behind ours.

    What is read next is so much later that a look back by the overlap alone does not reach the row.
    """
    world = FeedWorld(random.Random(0), windows=windows_module, behind=FURTHEST_BEHIND)
    text = described("stored")
    world.service.store(instance(1, 1) | text)
    world.service.store(instance(2, 1) | text, visible=False)
    world.service.store(instance(1, 2) | text)
    page, late = world.service.page, world.service.rows[1]

    async def read(**window: Any) -> Any:
        entries = await page(**window)
        if not late.visible:
            world.clock.advance(dicom_windows.OVERLAP.total_seconds())
            world.service.reveal()
            world.clock.advance(1)
            world.service.store(instance(2, 2) | text)
        return entries

    world.service.page = read
    run(world.reader(Actor(None, None)))
    world.finish()
    return world.difference()


def _second_before_first(windows_module: ModuleType) -> FeedWorld:
    """Return a world with two rows, of which the earlier one is not visible yet."""
    world = FeedWorld(random.Random(0), windows=windows_module)
    text = described("stored")
    world.service.store(instance(1, 1) | text, visible=False)
    world.clock.advance(1)
    world.service.store(instance(2, 1) | text)
    return world


def appeared_after_a_rest(windows_module: ModuleType = dicom_windows) -> str | None:
    """Play two runs over a row before which another appears only then, later than both by less than rows ever are."""
    world = _second_before_first(windows_module)
    for _ in range(2):
        world.clock.advance(1)
        run(world.reader(Actor(None, None)))
    world.service.reveal()
    world.finish()
    return world.difference()


def bad_before_a_rest(windows_module: ModuleType = dicom_windows) -> str | None:
    """Play two runs over a row before which one that names no instance appears only then, and a rest behind them."""
    world = _second_before_first(windows_module)
    page = world.service.page

    async def first_is_bad(**window: Any) -> Any:
        bad = {"studyInstanceUid": "../.."}
        return [{**entry, **bad} if entry["sequence"] == 1 else entry for entry in await page(**window)]

    world.service.page = first_is_bad
    run(world.reader(Actor(None, None)))
    world.service.reveal()
    for _ in range(4):
        world.clock.advance(dicom_windows.OVERLAP.total_seconds() / 2)
        run(world.reader(Actor(None, None)))
    letters = [(letter.kind.value, letter.code) for letter in world.store.dead_letters.table.values()]
    return None if letters == [("message", "event.malformed")] else f"dead letters are {letters}"


def rows_of(rows: Any) -> dict[str, str]:
    return {row.record.sop_instance_uid: row.record.attributes["StudyDescription"][0] for row in rows}


def schedule(
    seed: int,
    *,
    pipeline_module: ModuleType = pipeline,
    windows_module: ModuleType = dicom_windows,
    unreadable: float = 0.0,
) -> str | None:
    """Play the schedule of a seed; return what is wrong at the end."""
    rng = random.Random(seed)
    world = FeedWorld(rng, pipeline_module, windows_module, unreadable=unreadable)
    left = rng.randint(3, 14)
    for _ in range(MAX_STEPS):
        if not left and not world.actors:
            break
        choices = ["happen"] * bool(left) + ["start"] * (len(world.actors) < 4 and bool(left))
        match rng.choice(choices + ["step"] * (6 if world.actors else 0) or ["none"]):
            case "happen":
                left -= 1
                world.happen()
            case "start":
                world.start()
            case "step":
                world.step()
    world.finish()
    return world.difference()
