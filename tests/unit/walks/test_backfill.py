"""Walks over everything that is there, killed and started again at any point."""

import asyncio
from collections import Counter
from contextlib import suppress
from dataclasses import replace

import pytest

from sync.errors import SourceUnavailable, StaleToken
from sync.model import Page
from sync.walks import walk
from sync.walks.backfill import Scope, preview_backfill
from sync.walks.walk import Walk
from tests.walking import backfilled as walked
from tests.worlds import STUDY, UNREADABLE

SCOPE = Scope(container="dicom")


@pytest.fixture(autouse=True)
def _small_steps(monkeypatch):
    monkeypatch.setattr("sync.walks.backfill.PAGE", 3)
    monkeypatch.setattr("sync.walks.cutting.SMALLEST", 3)
    monkeypatch.setattr(walk, "FIRST_PAUSE", 0)


def filled(w, count):
    for number in range(count):
        w.put(f"f/{number:03}", sop=f"2.25.{1000 + number}")


async def previewed(w):
    counted = Walk()
    await preview_backfill(SCOPE, counted, w.store.objects, w.services, parallel=4)
    return dict(counted.counts)


def present(counts):
    return {name: number for name, number in counts.items() if number}


async def test_everything_there_is_looked_at_and_projected_once(w):
    filled(w, 10)
    w.put("text", UNREADABLE)
    assert present(await walked(w)) == {"synced": 10, "rejected": 1}
    await w.settle()
    assert w.imaging_study()["numberOfInstances"] == 10
    assert w.dead_letters() == [("object", "header.not_dicom")]


async def test_what_is_known_as_it_is_costs_one_row_and_is_not_read(w):
    filled(w, 5)
    await walked(w)
    reads = Counter()
    read = w.store.objects.read

    async def counted(ref, **more):
        reads[ref.name] += 1
        return await read(ref, **more)

    w.store.objects.read = counted
    w.put("f/002", sop="2.25.1002", PatientSex="F")
    assert present(await walked(w)) == {"unchanged": 4, "synced": 1}
    assert reads == {"f/002": 1}


async def test_a_dry_run_tells_new_from_changed_and_writes_nothing(w):
    filled(w, 4)
    await walked(w)
    w.put("f/001", sop="2.25.1001", PatientSex="F")
    w.put("g/new", sop="2.25.2000")
    rows = [w.store.locators.table.values(), w.outstanding(), w.store.cursors.table.values(), w.dead_letters()]
    counts = present(await previewed(w))
    assert counts == {"unchanged": 3, "changed": 1, "new": 1}
    assert rows == [w.store.locators.table.values(), w.outstanding(), w.store.cursors.table.values(), w.dead_letters()]


async def test_a_prefix_and_a_time_leave_the_rest_alone(w):
    w.put("a/1", sop="2.25.1001")
    w.put("b/1", sop="2.25.1002")
    w.clock.advance(10)
    since = w.clock.now()
    w.put("b/2", sop="2.25.1003")
    assert present(await walked(w, Scope(container="dicom", prefix="b/"))) == {"synced": 2}
    assert present(await walked(w, Scope(container="dicom", since=since))) == {"passed": 2, "unchanged": 1}


async def test_a_prefix_stands_in_no_cursor(w):
    w.put("Zztestperson/1")
    await walked(w, Scope(container="dicom", prefix="Zztest"))
    assert "Zztest" not in str([cursor.name for cursor in w.store.cursors.table.values()])


class KilledSource:
    """Objects whose reader dies after some reads, and takes everything with it."""

    def __init__(self, objects, after):
        self._objects, self._left = objects, after
        self.page = objects.page

    async def read(self, ref, **more):
        await asyncio.sleep(0)
        self._left -= 1
        if self._left < 0:
            raise asyncio.CancelledError
        return await self._objects.read(ref, **more)


@pytest.mark.parametrize("parallel", [1, 2, 5, 32])
async def test_a_walk_killed_anywhere_misses_nothing_and_goes_on_where_it_was(w, parallel):
    filled(w, 25)
    objects = w.store.objects
    for after in range(1, 9):
        kept = w.services
        w.services = replace(kept, objects=KilledSource(objects, after))
        with suppress(asyncio.CancelledError):
            await walked(w, parallel=parallel)
        w.services = kept
        w.clock.advance(60)  # its lease runs out
    await walked(w, parallel=parallel)
    await w.settle()
    assert w.imaging_study()["numberOfInstances"] == 25
    assert [cursor.position["state"] for cursor in w.store.cursors.table.values()] == ["done"]


async def test_the_position_never_passes_a_page_with_something_left_to_do(w, monkeypatch):
    filled(w, 12)
    objects = w.store.objects
    read = objects.read
    stuck = asyncio.Event()

    async def read_all_but_one(ref, **more):
        if ref.name == "f/001":
            await stuck.wait()
        return await read(ref, **more)

    objects.read = read_all_but_one
    monkeypatch.setattr("sync.walks.cutting.SMALLEST", 12)
    walk = asyncio.create_task(walked(w, parallel=12))
    await asyncio.sleep(0.05)
    (piece,) = [cursor for cursor in w.store.cursors.table.values() if cursor.name.startswith("slice ")]
    assert not piece.position["at"]
    stuck.set()
    assert present(await walk) == {"synced": 12}


class Failing:
    """Objects of which some never answer."""

    def __init__(self, objects, names):
        self._objects, self._names, self.page = objects, names, objects.page

    async def read(self, ref, **more):
        await asyncio.sleep(0)
        if self._names is None or ref.name in self._names:
            raise SourceUnavailable("no answer")
        return await self._objects.read(ref, **more)


async def test_one_object_that_never_answers_gets_a_dead_letter_and_the_walk_goes_on(w):
    filled(w, 7)
    w.services = replace(w.services, objects=Failing(w.store.objects, {"f/003"}))
    assert present(await walked(w)) == {"synced": 6, "rejected": 1}
    assert w.dead_letters() == [("object", "source.unavailable")]
    w.services = replace(w.services, objects=w.store.objects)
    assert present(await walked(w)) == {"synced": 1, "unchanged": 6}
    assert w.dead_letters() == []


async def test_an_outage_stops_the_walk_without_any_dead_letter_and_it_goes_on_later(w):
    filled(w, 7)
    w.services = replace(w.services, objects=Failing(w.store.objects, None))
    with pytest.raises(SourceUnavailable):
        await walked(w)
    assert w.dead_letters() == []
    w.services = replace(w.services, objects=w.store.objects)
    assert present(await walked(w)) == {"synced": 7}


async def test_a_token_that_the_store_refuses_begins_the_listing_anew(w):
    filled(w, 10)
    refusals = 3

    class Forgetful:
        async def page(self, container, *, token=None, **more):
            nonlocal refusals
            if token is not None and refusals:
                refusals -= 1
                raise StaleToken("no")
            return await w.store.objects.page(container, token=token, **more)

    assert present(await walked(w, listing=Forgetful()))["synced"] == 10
    assert not refusals


async def test_empty_pages_are_no_end(w):
    filled(w, 2)

    class Gappy:
        async def page(self, container, *, token=None, **more):
            if token is None:
                return Page(token="f/")
            return await w.store.objects.page(container, token=token, **more)

    assert present(await walked(w, listing=Gappy())) == {"synced": 2}
    assert w.store.ledger.studies[STUDY.key]
