"""One vocabulary of outcomes: events, attributes of metrics, and counts are the same words."""

from __future__ import annotations

from sync.model import Ingested, Projected
from sync.pipeline import ingest
from sync.telemetry.instruments import ACTIONS, OBJECT_OUTCOME, STUDY_OUTCOME
from tests.worlds import UNREADABLE, MemoryWorld


def test_every_outcome_is_an_event_that_is_measured_under_its_word():
    for outcome in (*Ingested, *Projected):
        measured = ACTIONS[outcome.value]
        assert measured.attributes == {"outcome": outcome.word}
    assert set(OBJECT_OUTCOME.values) - {"poisoned"} == {outcome.word for outcome in Ingested}
    assert set(STUDY_OUTCOME.values) - {"poisoned"} == {outcome.word for outcome in Projected}


def test_jobs_count_what_was_known_as_unchanged_and_what_has_a_dead_letter_as_rejected():
    assert {outcome.counted for outcome in Ingested} == {"synced", "gone", "rejected", "unchanged"}


async def test_what_ingest_returns_is_what_the_inspection_says():
    w = MemoryWorld()
    assert await ingest(w.put("a"), w.services) is Ingested.SYNCED
    assert await ingest(w.put("b", UNREADABLE), w.services) is Ingested.REJECTED
    assert await ingest(w.delete("a"), w.services) is Ingested.GONE
