"""A feed that is set and never was read is missed, however it comes; one that is set no more is not."""

from types import SimpleNamespace

import pytest

from sync.errors import SourceUnavailable, StoreConflict
from sync.feeds import read_dicom_feed
from sync.model import Cursor, dicom_cursor, orthanc_cursor
from sync.monitoring.alerts.unread_feeds import note_unread_feeds
from sync.monitoring.counts import UNREAD_CURSOR, feeds_of, read_counts
from tests.worlds import MemoryWorld


class Refusing:
    """A DICOM service that is not reachable at its address."""

    account = "pacs"

    async def page(self, **_):
        raise SourceUnavailable("no such host")


@pytest.fixture
def w():
    world = MemoryWorld()
    object.__setattr__(world.services, "dicom_feed", Refusing())
    return world


async def lag(w):
    await note_unread_feeds(w.services)
    return (await read_counts(w.services)).feeds


async def read(w, name):
    stored = await w.store.cursors.read(name)
    moved = Cursor(name=name, advanced_at=w.clock.now())
    await w.store.cursors.write(moved, stored.etag if stored else None)


def test_the_cursors_are_those_of_the_feeds(w):
    object.__setattr__(w.services, "orthanc", SimpleNamespace(account="o/"))
    assert feeds_of(w.services) == {dicom_cursor("pacs"): "dicom", orthanc_cursor("o/"): "orthanc"}


@pytest.mark.parametrize("tried", [False, True], ids=["its timer is off", "it is unreachable"])
async def test_a_feed_that_never_was_read_is_missed_since_it_is_known_and_until_it_is_read(w, tried):
    assert await lag(w) == {"dicom": 0}
    for _ in range(3):
        w.clock.advance(400)
        if tried:
            await read_dicom_feed(w.services)
        await note_unread_feeds(w.services)
    assert await lag(w) == {"dicom": 1200}
    await read(w, dicom_cursor("pacs"))
    w.clock.advance(7)
    assert await lag(w) == {"dicom": 7}
    assert (await w.store.cursors.read(UNREAD_CURSOR)).value.position == {}


async def test_a_feed_at_another_address_is_another_and_the_former_is_not_missed(w):
    await read(w, dicom_cursor("pacs"))
    w.clock.advance(9000)
    object.__setattr__(w.services, "dicom_feed", SimpleNamespace(account="new"))
    assert await lag(w) == {"dicom": 0}
    object.__setattr__(w.services, "dicom_feed", None)
    assert await lag(w) == {}


async def test_who_notes_it_at_the_same_time_notes_the_same(w, monkeypatch):
    write = w.store.cursors.write

    async def beaten(cursor, etag):
        await write(cursor, etag)
        raise StoreConflict("another writer was first")

    monkeypatch.setattr(w.store.cursors, "write", beaten)
    await note_unread_feeds(w.services)
    monkeypatch.undo()
    w.clock.advance(60)
    assert await lag(w) == {"dicom": 60}
