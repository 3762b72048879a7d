"""What is known is found by the folder: counted requests, and the same outcome as row by row."""

from dataclasses import replace

import pytest

from sync.errors import StoreUnavailable
from sync.model import Action, Batch, Change
from sync.protocol import known_rows
from sync.walks.backfill import preview_backfill
from sync.walks.known import without_known
from sync.walks.walk import Walk
from tests.walking import EVERYTHING
from tests.walking import backfilled as walked
from tests.worlds import count


async def previewed(w):
    walk = Walk()
    await preview_backfill(EVERYTHING, walk, w.store.objects, w.services, parallel=4)
    return {name: number for name, number in walk.counts.items() if number}


def fill(w, *, folders=3, files=20):
    for folder in range(folders):
        for file in range(files):
            w.put(f"{folder}/{file:03}", sop=f"2.25.1{folder}{file:03}", study=f"2.25.{folder + 1}")


async def test_known_objects_cost_a_request_for_each_partition_of_their_folders(w):
    fill(w)
    reads = count(w.store.locators, "read")
    assert await walked(w) == {"synced": 60}
    assert reads == []  # none has a row, as their partitions show
    partitions = count(w.store.locators, "etags")
    inspections = count(w.store.objects, "read")
    assert await walked(w) == {"unchanged": 60}
    assert (len(reads), len(partitions), len(inspections)) == (0, 6, 0)


async def test_a_dry_run_counts_the_same(w):
    fill(w, folders=1)
    await walked(w)
    w.put("0/003", sop="2.25.3", PatientSex="F")
    w.put("0/new", sop="2.25.4")
    assert await previewed(w) == {"unchanged": 19, "changed": 1, "new": 1}
    assert await walked(w) == {"unchanged": 19, "synced": 2}


async def test_an_object_that_was_not_inspected_to_the_end_is_inspected_again(w):
    fill(w, folders=1, files=3)
    await walked(w)
    unsettled = w.ref("0/001")
    stored = await w.store.locators.read(unsettled)
    await w.store.locators.replace(replace(stored.value, settled=False), stored.etag)
    assert await walked(w) == {"unchanged": 2, "synced": 1}
    assert (await w.store.locators.read(unsettled)).value.settled


@pytest.mark.parametrize("trouble", ["too large", "no answer"])
async def test_where_the_folder_tells_nothing_each_row_is_read(w, monkeypatch, trouble):
    fill(w, folders=1)
    await walked(w)
    if trouble == "too large":
        monkeypatch.setattr(known_rows, "ONE_REQUEST", 1)
        monkeypatch.setattr(known_rows, "ROWS_AN_OBJECT", 0)
    else:

        async def failing(partition, most):
            raise StoreUnavailable("no answer")

        w.store.locators.etags = failing
    reads = count(w.store.locators, "read")
    assert await walked(w) == {"unchanged": 20}
    assert len(reads) == 20


async def test_partitions_are_read_once_for_neighbouring_pages_and_few_are_kept(w):
    fill(w)
    await walked(w)
    refs = sorted(w.store.objects.refs(), key=lambda ref: ref.name)
    changes = [Change(object=ref, action=Action.CREATED, etag=await w.store.objects.etag(ref)) for ref in refs]

    async def pages():
        for first in range(0, 60, 10):
            yield Batch(changes=changes[first : first + 10])

    partitions = count(w.store.locators, "etags")
    batches = [batch async for batch in without_known(pages(), w.services)]
    assert [batch.unchanged for batch in batches] == [10] * 6
    assert len(partitions) == 6


async def test_an_object_alone_in_its_partition_is_read_by_itself(w):
    w.put("0/a")
    partitions = count(w.store.locators, "etags")
    assert await walked(w) == {"synced": 1}
    assert partitions == []
