"""A message is parsed once, and what is not ours is caught once: neither is repeated on the way down."""

from __future__ import annotations

from contextlib import asynccontextmanager

import pytest

from sync.delivery import handlers, isolation
from sync.delivery.handlers import handle_change, handle_object_message, handle_study_message
from sync.events import fields, is_redelivered_message, messages, parsing, redelivered_message, study_message
from sync.telemetry.defects import only_sync_errors
from tests.worlds import SOURCES, STUDY, MemoryWorld, events


@pytest.fixture
def parsed(monkeypatch):
    texts = []
    original = fields.document_of

    def counted(text, what):
        texts.append(text)
        return original(text, what)

    for module in (fields, messages):
        monkeypatch.setattr(module, "document_of", counted)
    return texts


@pytest.fixture
def depths(monkeypatch):
    """How deep each guard lay within others."""
    entered = []
    inside = 0

    @asynccontextmanager
    async def guard():
        nonlocal inside
        inside += 1
        entered.append(inside)
        try:
            async with only_sync_errors():
                yield
        finally:
            inside -= 1

    monkeypatch.setattr(handlers, "only_sync_errors", guard)
    return entered


async def test_a_message_of_objects_is_parsed_once(parsed):
    w = MemoryWorld()
    text = events(w.put("a"), w.put("b"))
    assert await handle_object_message(text, SOURCES, w.services) == []
    assert parsed == [text]


async def test_a_message_of_studies_is_parsed_once(parsed):
    w = MemoryWorld()
    await handle_study_message(study_message(STUDY), w.services)
    assert len(parsed) == 1


async def test_a_first_delivery_is_parsed_by_its_handler_alone(parsed):
    w = MemoryWorld()
    await isolation.deliver_study_message(study_message(STUDY), w.services, attempt=1, message_id="1")
    await isolation.deliver_object_message(events(w.put("a")), SOURCES, w.services, attempt=1, message_id="2")
    assert len(parsed) == 2


def test_a_message_that_takes_the_place_of_another_is_told_by_its_text():
    assert is_redelivered_message(redelivered_message(study_message(STUDY)))
    assert is_redelivered_message(redelivered_message(redelivered_message(study_message(STUDY))))
    assert not is_redelivered_message(study_message(STUDY))


async def test_guards_do_not_lie_within_each_other(depths):
    w = MemoryWorld()
    await handle_object_message(events(w.put("a"), w.put("b", b"no DICOM")), SOURCES, w.services)
    await handle_change(w.put("c"), w.services)
    await handle_study_message(study_message(STUDY), w.services)
    assert depths
    assert set(depths) == {1}


def test_an_event_of_the_feed_is_no_change_and_names_its_sequence():
    event = (
        '{"specversion": "1.0", "type": "Microsoft.HealthcareApis.DicomImageCreated", "data": {"sequenceNumber": 7}}'
    )
    message = parsing.parse_object_message(f"[{event}, 5]", SOURCES)
    assert message.feed_sequences == [7]
    assert [type(change).__name__ for change in message.changes] == ["BadEvent"]
