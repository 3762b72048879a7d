"""Five thousand entries with gaps, duplicates, deletions and returns, read with restarts and beside a replay."""

import asyncio
import random
from dataclasses import fields, replace

from sync.delivery.handlers import handle_change
from sync.feeds import read_dicom_feed, replay_window
from sync.ports import Services
from tests.dicom_services import FeedWorld, described, instance, uid

ENTRIES = 5_000
STUDIES, SOPS = 40, 30
CHUNKS = 10


class Yielding:
    """A port that lets others run before every call, so that a reader can be stopped anywhere."""

    def __init__(self, port):
        self._port = port

    def __getattr__(self, name):
        method = getattr(self._port, name)
        if not asyncio.iscoroutinefunction(method):
            return method

        async def called(*args, **kwargs):
            await asyncio.sleep(0)
            return await method(*args, **kwargs)

        self.__dict__[name] = called  # the next time it is at hand
        return called


def happen(world, rng, entries):
    """Store, store again, update and delete until there are ``entries`` entries more."""
    service = world.service
    until = len(service.rows) + entries
    while len(service.rows) < until:
        world.clock.advance(rng.choice((0, 0.5, 1, 2)))
        study, sop = rng.randrange(STUDIES), rng.randrange(SOPS)
        text = described(f"as of {len(service.rows)}")
        match rng.choices(("store", "delete", "delete study", "update", "gap"), (80, 12, 0.3, 1, 5))[0]:
            case "store":
                service.store(instance(study, sop) | described("first"))
            case "delete":
                service.delete("", uid(study), uid(study, 1), uid(study, 1, sop))
            case "delete study":
                service.delete("", uid(study))
            case "update":
                service.update("", uid(study), text)
            case "gap":
                service.skip(rng.randrange(50))


async def replay(services):
    async for batch in replay_window(services):
        for change in batch.changes:
            await handle_change(change, services, attempt=2)


async def read_with_restarts(world, services, rng):
    """Read to the end, stopped now and then in the middle of anything."""
    for _ in range(3):
        reading = asyncio.create_task(read_dicom_feed(services))
        for _ in range(rng.randrange(50, 3_000)):
            await asyncio.sleep(0)
            if reading.done():
                break
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        world.clock.advance(1)
    await read_dicom_feed(services)


async def test_a_long_feed_read_with_restarts_and_beside_a_replay_ends_as_the_service_is():
    rng, world = random.Random(5), FeedWorld(max_removals_per_hour=1000, max_removal_share_percent=100)
    page = world.service.page

    async def with_duplicates(**window):
        entries = list(await page(**window))
        return entries + rng.sample(entries, len(entries) // 50) if len(entries) < 200 else entries

    world.service.page = with_duplicates
    stepping = {
        field.name: Yielding(getattr(world.services, field.name))
        for field in fields(Services)
        if field.name in ("locators", "ledger", "dirty", "dead_letters", "cursors")
    }
    services = replace(world.services, **stepping, instances=world.services.instances, dicom_feed=world.service)
    for chunk in range(CHUNKS):
        happen(world, rng, ENTRIES // CHUNKS)
        again = asyncio.create_task(replay(services)) if chunk % 3 == 1 else None
        await read_with_restarts(world, services, rng)
        if again is not None:
            happen(world, rng, 20)
            await again
    await read_with_restarts(world, services, rng)
    assert len(world.service.rows) >= ENTRIES
    await world.settle()
    await world.source_equals_fhir()
    assert world.dead_letters() == []
    versions = world.versions()
    await replay(world.services)
    await world.settle()
    assert world.versions() == versions, "a replay of what is right writes nothing"
