"""Whatever was lost, by whomever, one replay to its end makes FHIR say what the store holds."""

import asyncio
import random
from contextlib import suppress
from datetime import timedelta

import pytest

from sync.model import Action, Change
from tests.unit.replay.test_jobs import World
from tests.worlds import UNREADABLE

OPERATIONS = 40


def change_something(w, rng):
    name = f"{rng.randrange(3)}/{rng.randrange(3)}"
    w.clock.advance(rng.choice([1, 60, 2000]))
    if rng.random() < 0.3 and w.ref(name) in w.store.objects.refs():
        return w.note(w.delete(name))
    if rng.random() < 0.1:
        return w.note(w.put(name, UNREADABLE))
    study, patient = rng.randrange(1, 4), rng.randrange(1, 3)
    sop = f"2.25.{100 * study + rng.randrange(4)}"
    return w.note(w.put(name, study=f"2.25.{study}", sop=sop, PatientID=f"P{patient}"))


def lose_something(w, rng):
    """The server loses resources; never a Patient alone, which it would refuse while a study refers to it."""
    w.lose(*rng.choice([("ImagingStudy",), ("ImagingStudy", "Patient")]))


async def replay_and_die(w, rng):
    read, left = w.store.objects.read, rng.randrange(6)

    async def dying(ref, **more):
        nonlocal left
        await asyncio.sleep(0)
        left -= 1
        if left < 0:
            raise asyncio.CancelledError
        return await read(ref, **more)

    w.store.objects.read = dying
    with suppress(asyncio.CancelledError):
        await w.compared(w.window(), parallel=rng.choice([1, 3]))
    w.store.objects.read = read
    w.clock.advance(60)


async def as_the_store_has_it(w):
    """What a new world says of the same objects."""
    clean = World()
    clean.store.objects = w.store.objects
    clean.services = clean.process()
    for ref in w.store.objects.refs():
        await clean.ingest(Change(object=ref, action=Action.CREATED))
    await clean.settle()
    return clean.everything()


@pytest.mark.parametrize("seed", range(12))
async def test_one_replay_to_its_end_makes_good_whatever_was_lost(seed):
    rng = random.Random(seed)
    w = World()
    for _ in range(OPERATIONS):
        change = change_something(w, rng)
        if rng.random() < 0.6:
            await w.ingest(change)
        if rng.random() < 0.3:
            await w.settle()
        if rng.random() < 0.1:
            lose_something(w, rng)
        if rng.random() < 0.1:
            await replay_and_die(w, rng)
    w.clock.advance(timedelta(minutes=10).total_seconds())
    await w.compared(w.window())
    assert w.everything() == await as_the_store_has_it(w)
    versions = w.versions()
    await w.compared(w.window())
    assert w.versions() == versions, "once more writes nothing"
