"""Pages that a process has read are listed once; what is old, or too much, is listed again."""

import asyncio
import math

import pytest

from sync.cli.backfill import preview
from sync.cli.reporting import console
from sync.model import Page
from sync.operators.walks import begin_walk
from sync.protocol.walk_rows import WalkState, read_walk
from sync.walks import handed
from sync.walks.backfill import KIND, Backfill, Scope, new_backfill
from sync.walks.handed import Handed, ListedOnce
from sync.walks.sharing import Worker, cut_walk, end_walks
from tests.walking import EVERYTHING
from tests.worlds import count

PAGE = Page(objects=(object(), object()))


def test_pages_are_taken_once():
    kept = Handed()
    kept.give("a", [PAGE])
    assert kept.take("b") is None
    assert kept.take("a") == [PAGE]
    assert kept.take("a") is None


def test_old_pages_are_not_taken_and_make_room(monkeypatch):
    kept = Handed()
    kept.give("a", [PAGE])
    monkeypatch.setattr(handed, "FRESH", -1.0)
    assert kept.take("a") is None
    kept.give("b", [PAGE])
    kept.give("c", [PAGE])
    assert list(kept.kept) == ["c"]


def test_no_more_is_kept_than_there_is_room_for(monkeypatch):
    monkeypatch.setattr(handed, "MOST", 5)
    kept = Handed()
    kept.give("a", [PAGE])
    kept.give("b", [PAGE])
    assert kept.take("b") is None
    kept.give("a", [Page()])
    assert kept.take("a") == [Page()]
    kept.give("b", [PAGE])
    assert kept.take("b") == [PAGE]


@pytest.mark.parametrize(("most", "pages"), [(handed.MOST, 6), (0, 12)])
async def test_a_process_that_cuts_and_works_lists_each_page_once(w, monkeypatch, most, pages):
    monkeypatch.setattr(handed, "MOST", most)
    monkeypatch.setattr("sync.walks.cutting.MOST", most)
    monkeypatch.setattr("sync.walks.cutting.SMALLEST", 2)
    for number in range(11):
        w.put(f"f/{number:02}", sop=f"2.25.{number + 1}", study=f"2.25.{number}")
    kinds = {KIND: Backfill(listing=w.store.objects)}
    await begin_walk(new_backfill(EVERYTHING), w.services, who="ada")
    listed = count(w.store.objects, "page")
    await cut_walk(await read_walk(EVERYTHING.cursor, w.services), kinds, w.services, until=math.inf)
    await Worker(kinds=kinds, s=w.services).work(until=math.inf)
    await end_walks(w.services)
    row = await read_walk(EVERYTHING.cursor, w.services)
    assert (row.state, sum(row.counts.values())) == (WalkState.DONE, 11)
    assert len(listed) == pages


async def test_two_tasks_that_read_a_listing_ask_for_each_page_once(w):
    for number in range(7):
        w.put(f"f/{number:02}", sop=f"2.25.{number + 1}")
    listed = count(w.store.objects, "page")
    listing = ListedOnce(w.store.objects)

    async def read():
        names, token = [], None
        while True:
            page = await listing.page("dicom", prefix="f/", token=token, size=2)
            names += [object_.object.name for object_ in page.objects]
            if (token := page.token) is None:
                return names

    first, second = await asyncio.gather(read(), read())
    assert first == second == [f"f/{number:02}" for number in range(7)]
    assert len(listed) == 4
    assert await read() == first
    assert len(listed) == 8


async def test_a_dry_run_lists_a_container_once(w):
    for number in range(5):
        w.put(f"f/{number:02}", sop=f"2.25.{number + 1}")
    listed = count(w.store.objects, "page")
    scope = Scope(container="dicom")
    counts, _, _ = await preview(scope, w.store.objects, w.services, console(), parallel=2, as_json=True)
    assert counts == {"new": 5}
    assert len(listed) == 1
