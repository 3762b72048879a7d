"""Listings whose markers come again, A, B, A: each reader ends with an error, and none reads for ever."""

import math

import pytest

from sync.delivery.lost_messages import CURSOR as LOST
from sync.delivery.lost_messages import PAGES, enqueue_lost_objects
from sync.errors import FhirUnavailable, SourceUnavailable
from sync.events import object_message
from sync.model import RECONCILE_CURSOR, FhirPage, Page
from sync.monitoring.alerts.missing_events import find_missing_events
from sync.operators.walks import begin_walk
from sync.protocol.walk_rows import read_walk
from sync.verify.checking import Checker
from sync.verify.orphans import check_orphan
from sync.verify.reconcile import FAILURES_AT_A_PLACE, reconcile
from sync.walks.backfill import KIND, Backfill, new_backfill, preview_backfill
from sync.walks.cutting import Listing, ListingPart, ListingSlice, slice_pages
from sync.walks.sharing import cut_walk
from sync.walks.walk import Walk
from tests.unit.verify.test_full_scan import Naps
from tests.walking import EVERYTHING

MOST_ASKED = 200
"""Pages after which a listing counts as read for ever."""


class Circular:
    """The listing of a store whose pages lead from A to B, and back to A."""

    def __init__(self, listing):
        self.listing, self.asked = listing, 0

    async def page(self, container, *, prefix="", token=None, size=1000):
        self.asked += 1
        assert self.asked < MOST_ASKED, "read for ever"
        listed = await self.listing.page(container, prefix=prefix, size=size)
        return Page(objects=listed.objects, token="B" if token == "A" else "A")


@pytest.fixture
async def circular(w):
    await w.arrive("a")
    return Circular(w.store.objects)


async def test_cutting_ends_and_stays_where_it_is(w, circular):
    await begin_walk(new_backfill(EVERYTHING), w.services, who="ada")
    row = await read_walk(EVERYTHING.cursor, w.services)
    for _ in range(2):
        with pytest.raises(SourceUnavailable, match="circle"):
            await cut_walk(row, {KIND: Backfill(listing=circular)}, w.services, until=math.inf)
    assert not (await read_walk(EVERYTHING.cursor, w.services)).planned


async def test_who_cuts_a_page_a_run_notices_it_too(w, circular):
    """What was passed is kept in the row: a function has little time, and begins where the last one stood."""
    await begin_walk(new_backfill(EVERYTHING), w.services, who="ada")
    row = await read_walk(EVERYTHING.cursor, w.services)
    kinds = {KIND: Backfill(listing=circular)}
    for _ in range(2):  # a page each
        await cut_walk(row, kinds, w.services, until=0.0)
    with pytest.raises(SourceUnavailable, match="circle"):
        await cut_walk(row, kinds, w.services, until=0.0)


async def test_a_slice_ends(circular):
    source = Listing(container="dicom", pages=circular)
    piece = ListingSlice(part=ListingPart(token="A", ends=("gone",)))
    with pytest.raises(SourceUnavailable, match="circle"):
        async for _ in slice_pages(source, piece, size=10):
            pass


async def test_a_dry_run_of_a_backfill_ends(w, circular):
    with pytest.raises(SourceUnavailable, match="circle"):
        await preview_backfill(EVERYTHING, Walk(), circular, w.services, parallel=2)


async def test_the_search_for_missing_events_says_so_though_it_takes_a_page_a_call(w, circular):
    for _ in range(2):
        await find_missing_events(w.services, circular)
    with pytest.raises(SourceUnavailable, match="circle"):
        await find_missing_events(w.services, circular)


async def test_the_search_for_lost_messages_ends_before_its_pages_do(w, circular):
    await w.store.object_queue.send(object_message(w.ref("a")), 600)
    with pytest.raises(SourceUnavailable, match="circle"):
        await enqueue_lost_objects(w.services, w.store.queues, circular)
    assert circular.asked < PAGES
    assert not (await w.services.cursors.read(LOST)).value.holder


async def test_the_continuous_comparison_goes_on_without_the_container(w, circular):
    phases = []
    for _ in range(2 * FAILURES_AT_A_PLACE + 4):
        w.clock.advance(60)
        await reconcile(w.services, circular, Checker(sleep=Naps()))
        phases.append((await w.services.cursors.read(RECONCILE_CURSOR)).value.position["phase"])
    assert {"source", "studies"} <= set(phases)


async def test_the_search_for_who_refers_to_a_patient_ends(w, monkeypatch):
    asked = []

    async def page(_, kind, link=None, *, subject=None):
        asked.append((kind, subject))
        assert len(asked) < MOST_ASKED, "read for ever"
        return FhirPage(resources=(), following="?B" if link == "?A" else "?A")

    monkeypatch.setattr(type(w.services.fhir), "page", page)
    with pytest.raises(FhirUnavailable, match="circle"):
        await check_orphan({"resourceType": "Patient", "id": f"pt-{40 * 'a'}"}, w.services)
