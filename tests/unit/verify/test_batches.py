"""Verify finds what is right by the folder, and asks for the rest object by object."""

import json
from dataclasses import replace

import pytest

from sync.errors import SourceUnavailable, StoreUnavailable
from sync.model import DriftKind, StudyRef
from sync.protocol.row_values import RowValue
from sync.verify import batches
from sync.verify.source import GRACE
from sync.verify.studies import check_study
from tests.deliveries import raising
from tests.unit.verify.test_full_scan import verify
from tests.worlds import MemoryWorld, count, dicom

STUDIES, OBJECTS = 3, 20


@pytest.fixture
async def w():
    world = MemoryWorld()
    for number in range(STUDIES * OBJECTS):
        uid = f"2.25.{number % STUDIES + 1}"
        await world.ingest(world.put(f"{number % STUDIES}/{number}", dicom(study=uid, sop=f"2.25.{1000 + number}")))
    await world.settle()
    world.clock.advance(GRACE + 1)
    return world


async def calls_of(w):
    """Requests by object, and by folder."""
    alone = [count(w.store.locators, "read"), count(w.store.locators, "find"), count(w.store.objects, "etag")]
    folders = [count(w.store.locators, "rows"), count(w.store.locators, "etags"), count(w.store.objects, "page")]
    outcome, _ = await verify(w)
    return outcome, sum(map(len, alone)), sum(map(len, folders))


async def test_objects_that_are_right_cost_requests_by_the_folder(w):
    outcome, alone, folders = await calls_of(w)
    assert outcome.studies == STUDIES
    assert not outcome.found
    assert alone == 0
    assert folders <= 2 * STUDIES + 2  # the container's listing, twice as it is cut, and each folder's two partitions


async def test_objects_of_an_old_listing_are_looked_up_by_their_folders_again(w, monkeypatch):
    monkeypatch.setattr(batches, "FRESH", -1.0)
    outcome, alone, folders = await calls_of(w)
    assert not outcome.found
    assert alone == 0
    assert 3 * STUDIES + 2 < folders <= 5 * STUDIES + 2


async def test_objects_of_studies_that_are_too_many_to_note_are_looked_up_again(w, monkeypatch):
    monkeypatch.setattr(batches, "REMEMBERED", 1)
    outcome, alone, folders = await calls_of(w)
    assert not outcome.found
    assert alone == 0
    assert folders > 2 * STUDIES + 2


def refs_of(w, number):
    return [w.ref(f"{number}/{one}") for one in range(number, STUDIES * OBJECTS, STUDIES)]


async def listing_of(w, listed):
    right = await batches.right_among(listed, w.services)
    return batches.RightObjects(since=w.clock.now()).with_these(right)


async def test_what_changed_since_an_old_listing_is_found_with_its_study(w):
    refs = refs_of(w, 0)
    study, keys = StudyRef(study_instance_uid="2.25.1"), {ref.key for ref in refs}
    right = await listing_of(w, (await w.store.objects.page("dicom")).objects)
    assert batches.all_are_right(study, keys, [right], w.clock.now())
    assert not batches.all_are_right(StudyRef(study_instance_uid="2.25.2"), keys, [right], w.clock.now())
    w.store.objects.delete(refs[0])
    w.clock.advance(batches.FRESH + 1)
    assert not batches.all_are_right(study, keys, [right], w.clock.now())
    (drift,) = await check_study(study, w.services, listing=w.store.objects, right_objects=[right])
    assert drift.kind is DriftKind.OBJECT_GONE


async def test_a_study_is_right_by_listings_only_where_all_its_objects_and_no_others_are(w):
    study, keys = StudyRef(study_instance_uid="2.25.1"), [ref.key for ref in refs_of(w, 0)]
    listed = (await w.store.objects.page("dicom")).objects
    right, now = await listing_of(w, listed), w.clock.now()
    assert not batches.all_are_right(study, keys[1:], [right], now)
    assert not batches.all_are_right(study, [*keys, w.ref("0/new").key], [right], now)
    assert not batches.all_are_right(study, [], [right], now)
    assert not batches.all_are_right(study, keys, [right, right], now)  # listed twice
    assert not batches.all_are_right(study, keys, [], now)


async def test_what_several_processes_listed_of_a_study_adds_up(w):
    study, keys = StudyRef(study_instance_uid="2.25.1"), [ref.key for ref in refs_of(w, 0)]
    listed = (await w.store.objects.page("dicom")).objects
    parts = [await listing_of(w, listed[:7]), await listing_of(w, listed[7:])]
    kept = RowValue(batches.RightObjects)
    noted = [kept.read(json.loads(json.dumps(kept.write(part))), row="r") for part in parts]
    assert noted == parts
    assert batches.all_are_right(study, keys, noted, w.clock.now())
    assert not batches.all_are_right(study, keys, noted[:1], w.clock.now())
    gone_on_with = parts[0].with_these(await batches.right_among(listed[7:], w.services))
    assert batches.all_are_right(study, keys, [gone_on_with], w.clock.now())


async def test_an_object_that_is_not_right_in_a_listing_is_looked_up_at_any_time(w):
    listed = (await w.store.objects.page("dicom")).objects
    await w.store.locators.replace(
        replace((stored := await w.store.locators.read(w.ref("0/0"))).value, settled=False), stored.etag
    )
    changed = [replace(one, etag="other") if one.object == w.ref("0/3") else one for one in listed]
    right = {row.object.key for row in await batches.right_among(changed, w.services)}
    assert {one.object.key for one in listed} - right == {w.ref("0/0").key, w.ref("0/3").key}
    keys = {ref.key for ref in refs_of(w, 0)}
    assert not batches.all_are_right(
        StudyRef(study_instance_uid="2.25.1"), keys, [await listing_of(w, changed)], w.clock.now()
    )


async def test_only_what_may_have_changed_is_asked_for_by_itself(w):
    w.store.objects.delete(w.ref("0/0"))
    w.store.objects.put(w.ref("1/1"), dicom(study="2.25.2", sop="2.25.9999"))
    outcome, alone, _ = await calls_of(w)
    assert {kind: total for kind, total in outcome.found.items() if total} == {
        DriftKind.OBJECT_GONE: 1,
        DriftKind.OBJECT_CHANGED: 1,
    }
    assert alone <= 16


async def test_an_object_that_belongs_to_another_study_now_is_no_part_of_this_one(w):
    keys = [w.ref(f"0/{number}").key for number in range(0, STUDIES * OBJECTS, STUDIES)]
    study = StudyRef(study_instance_uid="2.25.1")
    assert await batches.right_of_study(study, keys, w.services, w.store.objects) == set(keys)
    other = StudyRef(study_instance_uid="2.25.2")
    assert await batches.right_of_study(other, keys, w.services, w.store.objects) == set()


@pytest.mark.parametrize(
    ("port", "name", "failure"),
    [
        ("locators", "rows", StoreUnavailable()),
        ("locators", "etags", StoreUnavailable()),
    ],
)
async def test_what_does_not_answer_by_the_folder_is_asked_by_itself(w, port, name, failure):
    setattr(getattr(w.store, port), name, raising(failure))
    outcome, _ = await verify(w)
    assert outcome.studies == STUDIES
    assert not outcome.found


async def test_a_listing_that_fails_for_one_folder_leaves_its_objects_to_be_asked_for(w, monkeypatch):
    monkeypatch.setattr(batches, "FRESH", -1.0)
    page = w.store.objects.page

    async def refused(container, *, prefix="", token=None, size=1000):
        if prefix:
            raise SourceUnavailable
        return await page(container, token=token, size=size)

    w.store.objects.page = refused
    outcome, alone, _ = await calls_of(w)
    assert not outcome.found
    assert alone == 2 * STUDIES * OBJECTS


async def test_a_large_folder_is_listed_in_part(w, monkeypatch):
    monkeypatch.setattr(batches, "FRESH", -1.0)
    monkeypatch.setattr(batches, "ONE_REQUEST", 2)
    monkeypatch.setattr(batches, "ROWS_AN_OBJECT", 0)
    w.store.locators.rows = _all_rows(w)
    outcome, alone, folders = await calls_of(w)
    assert not outcome.found
    assert 0 < alone < 2 * STUDIES * OBJECTS
    assert folders <= 5 * STUDIES + 2  # the container is listed once to cut it


def _all_rows(w):
    rows = w.store.locators.rows

    async def without_a_bound(partition, most):
        return await rows(partition, 10_000)

    return without_a_bound
