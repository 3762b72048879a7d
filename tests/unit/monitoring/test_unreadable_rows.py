"""Rows in no form that is known: what only costs requests is begun again, and what decides anything is refused."""

import pytest

from sync.dead_letters import self_retry
from sync.errors import UnreadableRow
from sync.model import Cursor, Stored, dicom_cursor
from sync.monitoring.alerts import evaluation
from sync.monitoring.alerts.evaluation import Alert, Evaluated, acknowledgement_of
from sync.monitoring.alerts.unread_feeds import note_unread_feeds
from sync.monitoring.counts import MISSING_EVENTS_CURSOR, UNREAD_CURSOR, read_counts, store_count
from sync.monitoring.status import status
from sync.operators import pause
from sync.ports import Counted
from sync.protocol import removals
from sync.protocol.attempts import Attempts
from sync.protocol.removals import may_remove, read_ceiling
from sync.verify.reconcile import RECONCILE_CURSOR
from tests.worlds import SOURCES, MemoryWorld

FEED = dicom_cursor("pacs")
NAIVE = "2026-03-04T05:06:07"
"""As a hand types a time: without an offset."""


async def spoil(w, name, **position):
    """Write a row as no version writes it."""
    stored = await w.services.cursors.read(name)
    await w.services.cursors.write(Cursor(name=name, position=position), stored.etag if stored else None)


async def test_an_unreadable_feed_is_shown_as_such_beside_the_others(w):
    await spoil(w, FEED, until=NAIVE, sequence=7)
    await spoil(w, dicom_cursor("other"), sequence=8)
    feeds = (await status(w.services))["feeds"]
    assert (feeds[FEED]["position"], feeds[FEED]["error"]) == ({}, "store.unreadable")
    assert feeds[FEED]["hint"]
    assert feeds[dicom_cursor("other")] == {"read_at": None, "position": {"sequence": 8}}


@pytest.mark.parametrize(
    ("name", "position"),
    [
        (MISSING_EVENTS_CURSOR, {"unseen_since": NAIVE}),
        (UNREAD_CURSOR, {FEED: NAIVE}),
        (RECONCILE_CURSOR, {"last_round": {"began": NAIVE, "ended": NAIVE, "studies": 3}}),
        (Counted.PROJECTIONS.cursor, {"kept": {"counts": "many", "at": NAIVE}}),
        (evaluation.ACKNOWLEDGED, {"alert.lag": {"number": 1, "who": "Ada", "at": NAIVE}}),
    ],
)
async def test_a_row_that_only_informs_keeps_no_other_count_from_being_told(w, name, position):
    await w.arrive("a")
    await spoil(w, name, **position)
    told = await status(w.services)
    assert (told["synced_studies"], told["drift"]["last_round"]) == (1, None)


async def test_a_count_in_no_known_form_is_counted_again():
    w = MemoryWorld()
    for number in range(3):
        await w.ingest(w.put(f"{number}", study=f"2.25.{number + 1}", sop=f"2.25.9{number}"))
    await w.settle()
    w.store.tallies.size = 2
    await spoil(w, Counted.PROJECTIONS.cursor, kept={"counts": {"studies": 900}, "at": NAIVE})
    assert (await read_counts(w.services)).projections.counts["studies"] == 2, "one page, for what is kept is unknown"
    await store_count(Counted.PROJECTIONS, w.services)
    assert (await read_counts(w.services)).projections.counts["studies"] == 3


async def test_since_when_a_feed_is_missed_is_noted_again(w):
    await spoil(w, UNREAD_CURSOR, **{FEED: NAIVE})
    await note_unread_feeds(w.services)
    assert (await read_counts(w.services)).feeds == {}


def test_attempts_and_acknowledgements_in_no_known_form_are_none():
    row = Cursor(name="attempt x", position={"begun": {"1": [NAIVE, True]}, "deaths": 1})
    assert Attempts.of(Stored(row, "1")) == Attempts()
    row = Cursor(name=evaluation.ACKNOWLEDGED, position={"alert.lag": "Ada"})
    assert acknowledgement_of(Alert(code="alert.lag", number=1), row) is None


async def test_dead_letters_are_retried_from_the_beginning_where_the_place_is_unknown(w):
    await spoil(w, self_retry.CURSOR, **{"removal.held": 7})
    assert await self_retry.retry_passing(SOURCES, w.services) == 0
    assert (await w.services.cursors.read(self_retry.CURSOR)).value.position == {}


async def test_a_ceiling_in_no_known_form_removes_nothing(w):
    await spoil(w, removals.CURSOR, began=NAIVE, limit=10_000)
    for asked in (read_ceiling(w.services), may_remove("2.25.1", w.services)):
        with pytest.raises(UnreadableRow, match="began"):
            await asked


async def test_a_pause_in_no_known_form_is_no_leave_to_project(w):
    await spoil(w, pause.PROJECTION, since=NAIVE, who="Ada")
    with pytest.raises(UnreadableRow, match="since"):
        await pause.projection_pause(w.services)
    await pause.resume_projection(w.services, who="Ada")
    assert await pause.projection_pause(w.services) is None


def test_states_of_alerts_in_no_known_form_are_refused_and_not_taken_for_none():
    with pytest.raises(UnreadableRow, match="alerts"):
        Evaluated.of(Cursor(name=evaluation.CURSOR, position={"alerts": [{"code": "alert.lag", "raised_at": NAIVE}]}))
