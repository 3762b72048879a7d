"""Deliveries that ended with their process: noted, taken in turn, and told apart from those that failed."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from sync.delivery import isolation
from sync.delivery.isolation import (
    deliver_object_message,
    deliver_poison_object,
    deliver_poison_study,
    deliver_study_message,
)
from sync.errors import StoreUnavailable, SyncError
from sync.events import is_lost_message, lost_message, parse_object_message, study_message
from sync.model import Action, Change, Cursor, Stored
from sync.ports.caches import Caches
from sync.protocol.attempts import (
    ATTEMPTS,
    DEATHS,
    KEPT,
    PREFIX,
    RETURNS,
    Attempts,
    AttemptsRow,
    begin_attempt,
    forget_buried,
)
from tests.deliveries import raising
from tests.worlds import SOURCES, STUDY, count, events


def rows(w):
    return [cursor for cursor in w.store.cursors.table.values() if cursor.name.startswith(PREFIX)]


async def deliver(w, text, attempt, message_id="1"):
    await deliver_object_message(text, SOURCES, w.services, attempt=attempt, message_id=message_id)


async def test_a_first_delivery_costs_no_row(w):
    message = events(w.put("a"))
    calls = count(w.store.cursors, "write")
    await deliver(w, message, 1)
    assert [cursor for cursor, _ in calls if cursor.name.startswith(PREFIX)] == []


async def test_a_later_delivery_is_noted_until_it_ends(w):
    message = events(w.put("a"))
    await deliver(w, message, 2)
    assert rows(w) == []
    w.store.objects.read = raising(ZeroDivisionError())
    with pytest.raises(SyncError):
        await deliver(w, events(w.put("b")), 2)
    (row,) = rows(w)
    assert (row.position["failures"], row.position["deaths"], row.position["begun"]) == (1, 0, {})


async def test_a_row_holds_no_name(w):
    w.store.objects.read = raising(ZeroDivisionError())
    with pytest.raises(SyncError):
        await deliver(w, events(w.put("Doe^Jane")), 2)
    assert "Doe" not in str(rows(w))


async def test_an_outage_of_the_table_handles_nothing(w):
    reads = count(w.store.objects, "read")
    w.store.cursors.read = raising(StoreUnavailable("503"))
    with pytest.raises(StoreUnavailable):
        await deliver(w, events(w.put("a")), 2)
    assert reads == []


async def test_one_that_waits_in_vain_for_its_turn_is_handled_all_the_same(w, monkeypatch):
    monkeypatch.setattr(isolation, "TURN", 0.01)
    async with w.services.caches.turn:
        await deliver(w, events(w.put("a")), 2)
    assert (await w.store.locators.read(w.ref("a"))).value.settled
    assert not w.services.caches.turn.locked()


async def test_a_poison_message_without_a_row_has_a_dead_letter_at_once(w):
    await deliver_poison_object(events(w.put("a")), SOURCES, w.services)
    await deliver_poison_study(study_message(STUDY), w.services)
    assert sorted(w.dead_letters()) == [("object", "poison.object"), ("study", "poison.study")]


async def test_a_study_whose_deliveries_were_lost_is_sent_again_and_trusts_nothing(w):
    text = study_message(STUDY)
    await begin_attempt(AttemptsRow.of_study_message(text), w.services, message_id="1", in_turn=False)
    await deliver_poison_study(text, w.services)
    assert w.dead_letters() == []
    (message,) = w.store.study_queue.messages
    assert (message.study, message.redelivered) == (STUDY, True)


async def bury(w, where):
    for in_turn in [*[True] * DEATHS, False]:
        process = replace(w.services, caches=Caches())
        await begin_attempt(where, process, message_id="1", in_turn=in_turn)


async def test_an_attempt_whose_end_was_not_recorded_is_no_death_of_a_process_that_lives(w):
    for number in range(3 * DEATHS):
        w.store.cursors.delete = raising(StoreUnavailable("503"))
        with pytest.raises(StoreUnavailable):
            await deliver(w, events(w.put("a")), 2 + number)
    del w.store.cursors.delete
    await deliver(w, events(w.put("a")), 9)
    assert (w.dead_letters(), rows(w)) == ([], [])


async def test_a_poison_message_that_ended_its_process_has_that_dead_letter_and_is_not_sent(w):
    await bury(w, AttemptsRow.of_object(w.put("a").object))
    await bury(w, AttemptsRow.of_study(STUDY))
    for _ in range(RETURNS + 1):
        await deliver_poison_object(events(w.put("a")), SOURCES, w.services)
        await deliver_poison_study(study_message(STUDY), w.services)
    assert sorted(w.dead_letters()) == [("object", "poison.crash"), ("study", "poison.crash")]
    assert (w.store.object_queue.messages, w.store.study_queue.messages) == ([], [])


async def test_a_copy_of_a_buried_message_is_not_handled_for_an_hour(w):
    message = events(w.put("a"))
    await bury(w, AttemptsRow.of_objects_message(message, SOURCES))
    reads = count(w.store.objects, "read")
    for number in range(3):
        await deliver(w, message, 2, str(number))
    w.clock.advance((KEPT / 2).total_seconds())
    await deliver(w, message, 2)
    assert (reads, w.dead_letters()) == ([], [("object", "poison.crash")])
    await forget_buried(w.services)
    assert len(rows(w)) == 1
    w.clock.advance(KEPT.total_seconds())
    await deliver(w, message, 2)
    assert (len(reads), w.dead_letters(), rows(w)) == (1, [], [])


async def test_rows_of_messages_that_are_still_tried_are_not_deleted_with_the_buried(w):
    await begin_attempt(AttemptsRow.of_study(STUDY), w.services, message_id="1", in_turn=True)
    message = events(w.put("a"))
    await bury(w, AttemptsRow.of_objects_message(message, SOURCES))
    await deliver(w, message, 2)
    w.clock.advance(KEPT.total_seconds())
    await forget_buried(w.services)
    assert [row.name for row in rows(w)] == [AttemptsRow.of_study(STUDY).name]


@pytest.mark.parametrize("text", ["nonsense", "{}"])
async def test_what_is_no_message_of_a_study_has_a_dead_letter(w, text):
    await deliver_study_message(text, w.services, attempt=2, message_id="1")
    assert w.dead_letters() == [("message", "event.malformed")]
    assert rows(w) == []


def test_a_lost_message_is_told_from_others_and_read_as_they_are(w):
    change = w.put("a")
    text = lost_message(change)
    assert is_lost_message(text)
    assert json.loads(text)["lost"] is True
    assert not is_lost_message(events(change))
    (again,) = parse_object_message(text, SOURCES).changes
    assert (again.object, again.again) == (change.object, True)
    folder = Change(object=w.ref("in"), action=Action.FOLDER_REMOVED)
    (again,) = parse_object_message(lost_message(folder), SOURCES).changes
    assert (again.action, again.object) == (Action.FOLDER_REMOVED, folder.object)


def test_attempts_are_read_as_they_were_written():
    row = Attempts(begun={"1": (datetime(2026, 1, 1, tzinfo=UTC), True)}, deaths=1, failures=2, returns=3)
    kept = json.loads(json.dumps(ATTEMPTS.write(row)))
    assert kept["begun"] == {"1": ["2026-01-01T00:00:00+00:00", True]}
    assert Attempts.of(Stored(Cursor(name="attempt x", position=kept), "1")) == row
    assert Attempts.of(None) == Attempts()
