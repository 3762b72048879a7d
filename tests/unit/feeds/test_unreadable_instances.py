"""One instance that the service cannot read back stops neither its page of the feed nor the feed."""

from __future__ import annotations

import pytest

from sync.feeds.reader import read_dicom_feed
from sync.testing.dicom import id_of
from tests.dicom_services import FeedWorld, instance, uid
from tests.headers import dicom_file, element


def file_of(study: int, sop: int) -> bytes:
    return dicom_file(
        element(0x00080018, "UI", uid(study, 1, sop))
        + element(0x00080060, "CS", "CT")
        + element(0x00100020, "LO", "P1")
        + element(0x0020000D, "UI", uid(study))
        + element(0x0020000E, "UI", uid(study, 1))
        + element(0x00700080, "CS", "A")
    )


@pytest.fixture
def world():
    made = FeedWorld()
    for sop in range(1, 8):
        made.clock.advance(1)
        made.service.store(instance(1, sop), content=file_of(1, sop), readable=sop != 4)
    return made


async def test_it_is_read_from_its_own_header_and_the_feed_goes_on(world):
    await read_dicom_feed(world.services)
    await world.settle()
    assert world.held(1) == {uid(1, 1, sop) for sop in range(1, 8)}
    assert world.dead_letters() == []
    assert world.service.retrieved == 1


async def test_one_that_cannot_be_had_at_all_is_a_dead_letter_and_the_feed_goes_on(world, monkeypatch):
    monkeypatch.setattr("sync.walks.walk.FIRST_PAUSE", 0.0)
    world.service.lost.add(id_of(instance(1, 4)))
    await read_dicom_feed(world.services)
    await world.settle()
    assert world.held(1) == {uid(1, 1, sop) for sop in range(1, 8) if sop != 4}
    assert world.dead_letters() == [("object", "source.unreadable")]
    world.clock.advance(1)
    world.service.store(instance(2, 1))
    await read_dicom_feed(world.services)
    await world.settle()
    assert world.held(2) == {uid(2, 1, 1)}


async def test_it_is_deleted_like_any_other(world):
    await read_dicom_feed(world.services)
    world.clock.advance(1)
    world.service.delete("", uid(1), uid(1, 1), uid(1, 1, 4))
    await read_dicom_feed(world.services)
    await world.settle()
    assert uid(1, 1, 4) not in world.held(1)
    await world.source_equals_fhir()


@pytest.mark.parametrize("lost", [False, True])
async def test_it_may_be_the_only_entry_of_its_page(lost, monkeypatch):
    monkeypatch.setattr("sync.walks.walk.FIRST_PAUSE", 0.0)
    world = FeedWorld()
    world.service.store(instance(), content=file_of(1, 1), readable=False)
    if lost:
        world.service.lost.add(id_of(instance()))
    await read_dicom_feed(world.services)
    world.clock.advance(100)
    world.service.store(instance(2, 1))
    await read_dicom_feed(world.services)
    await world.settle()
    assert world.dead_letters() == ([("object", "source.unreadable")] if lost else [])
    assert world.held(2) == {uid(2, 1, 1)}
    if not lost:
        assert world.held(1) == {uid(1, 1, 1)}
