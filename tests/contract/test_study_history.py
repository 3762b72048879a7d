"""Recent results of studies: newest first, of one study or of all, and gone when it is old."""

import uuid
from datetime import timedelta

import pytest

from sync.model import StudyEvent
from tests.contract.storage import NOW, fresh_study


@pytest.fixture
def later():
    """A time after everything that others put into the shared table."""
    return NOW + timedelta(days=365 * 50, seconds=uuid.uuid4().int % 10**9)


def event(study, at, outcome="study.written", **counts):
    return StudyEvent(study=study, at=at, outcome=outcome, **counts)


async def test_events_come_back_newest_first(storage, later):
    study, other = fresh_study(), fresh_study()
    events = [event(study, later + timedelta(seconds=n), series=n, instances=n * 10) for n in range(4)]
    for entry in (events[2], events[0], events[3], events[1], events[1]):
        await storage.history.add(entry)
    await storage.history.add(event(other, later + timedelta(seconds=9), "study.dead_lettered"))
    assert list(await storage.history.of_study(study, 10)) == events[::-1]
    assert list(await storage.history.of_study(study, 2)) == [events[3], events[2]]
    assert [entry.study for entry in await storage.history.latest(3)] == [other, study, study]


async def test_a_study_without_events_has_none(storage):
    assert list(await storage.history.of_study(fresh_study(), 5)) == []


async def test_what_is_old_goes_and_the_rest_stays(storage):
    study = fresh_study()
    old = [event(study, NOW - timedelta(days=365 * 30, seconds=n)) for n in range(3)]
    new = event(study, NOW)
    for entry in (*old, new):
        await storage.history.add(entry)
    while await storage.history.discard(NOW - timedelta(days=365 * 20), most=2):
        pass
    assert list(await storage.history.of_study(study, 10)) == [new]
