"""Objects that are there and that no event ever told of."""

from datetime import timedelta

from sync.model import Action, Change
from sync.monitoring.alerts.missing_events import find_missing_events
from sync.monitoring.counts import read_counts
from tests.worlds import UNREADABLE


async def silence(w):
    """Seconds, after enough calls to pass everything once."""
    for _ in range(3):
        await find_missing_events(w.services, w.store.objects)
    return (await read_counts(w.services)).missing_event_age


async def test_what_an_event_told_of_is_no_silence(w):
    await w.arrive("a")
    await w.arrive("b", UNREADABLE)
    w.clock.advance(1000)
    assert await silence(w) == 0


async def test_an_object_without_an_event_is_silence_as_old_as_it_is_and_ends_when_it_is_seen(w):
    change = w.put("a")
    w.clock.advance(1000)
    assert await silence(w) == 1000
    await w.ingest(change)
    assert await silence(w) == 0


async def test_an_overwritten_object_without_an_event_is_silence(w):
    await w.arrive("a")
    w.put("a", sop="2.25.101")
    w.clock.advance(1000)
    assert await silence(w) == 1000


async def test_an_event_may_take_its_time(w):
    w.put("a")
    w.clock.advance(100)
    assert await silence(w) == 0


async def test_what_was_there_long_before_is_for_a_backfill(w):
    w.put("a")
    w.clock.advance(timedelta(days=2).total_seconds())
    assert await silence(w) == 0


async def test_nothing_is_known_while_events_wait(w):
    w.put("a")
    w.clock.advance(1000)
    await w.store.object_queue.send("an event", 600)  # one that is leased or delayed waits too
    assert await silence(w) == 0


async def test_a_large_container_is_passed_page_by_page_and_few_rows_are_read(w, monkeypatch):
    reads = []
    read = w.store.locators.read

    async def counted(ref):
        reads.append(ref)
        return await read(ref)

    for n in range(300):
        w.put(f"{n:03d}", UNREADABLE)
    monkeypatch.setattr(w.store.locators, "read", counted)
    listing = w.store.objects
    page = listing.page

    async def small(container, *, token=None):
        return await page(container, token=token, size=100)

    monkeypatch.setattr(listing, "page", small)
    w.clock.advance(1000)
    await find_missing_events(w.services, listing)
    assert len(reads) <= 20
    assert (await read_counts(w.services)).missing_event_age > 1000
    for ref in list(w.store.objects.refs()):
        await w.ingest(Change(object=ref, action=Action.CREATED))
    for _ in range(6):
        await find_missing_events(w.services, listing)
    assert (await read_counts(w.services)).missing_event_age == 0
