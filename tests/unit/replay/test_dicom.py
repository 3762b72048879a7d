"""Replays of a DICOM service: the same jobs over its own change feed."""

from datetime import timedelta

import pytest

from sync.feeds import read_dicom_feed
from sync.model import FhirWrite
from sync.replay.jobs import DONE, Job, advance, advance_all, begin, cursor_of, replays
from sync.replay.preview import counted, preview_replay
from sync.replay.requests import ReplayRequest
from sync.replay.sources import DicomServiceSource
from sync.walks import walk
from sync.walks.walk import Walk, walk_of
from tests.dicom_services import FeedWorld, described, instance, study_ref, uid
from tests.worlds import run

DAY = timedelta(days=1)


class World(FeedWorld):
    def __init__(self):
        super().__init__()
        self.began = self.clock.now()
        self.replayed = {"dicom": DicomServiceSource(services=self.services)}

    def request(self, **more):
        return ReplayRequest(source="dicom", start=self.began, **more)

    async def compared(self, request):
        await begin(request, self.services, who="ada")
        async with walk_of(cursor_of(request), self.services) as walk:
            await advance(Job.of(walk.position), walk, self.replayed, self.services)
            job = Job.of(walk.position)
        await self.settle()
        return job, {name: number for name, number in walk.counts.items() if number}

    async def previewed(self, request):
        found = [each async for each in preview_replay(request, Walk(), self.replayed, self.services, parallel=4)]
        return counted(found)["studies"]

    def lose_everything(self):
        for each in list(self.server.resources()):
            run(self.server.transact([FhirWrite(resource_type=each["resourceType"], resource_id=each["id"])]))


@pytest.fixture
def w(monkeypatch):
    monkeypatch.setattr(walk, "FIRST_PAUSE", 0)
    return World()


async def test_a_feed_that_was_not_read_is_caught_up(w):
    for sop in (1, 2):
        w.service.store(instance(1, sop))
    w.clock.advance(DAY.total_seconds())
    w.service.store(instance(2, 1))
    w.service.delete("", uid(1), uid(1, 1), uid(1, 1, 2))
    assert await w.previewed(w.request()) == {"create": 2}
    job, counts = await w.compared(w.request())
    assert (job.state, counts["synced"]) == (DONE, 2)
    await w.source_equals_fhir()


async def test_what_is_right_is_not_written_and_what_is_lost_is(w):
    w.service.store(instance(1, 1))
    w.service.update("", uid(1), described("Changed"))
    await read_dicom_feed(w.services)
    await w.settle()
    versions = w.versions()
    await w.compared(w.request())
    assert w.versions() == versions
    assert await w.previewed(w.request()) == {"unchanged": 1}
    w.lose_everything()
    assert await w.previewed(w.request()) == {"create": 1}
    await w.compared(w.request())
    await w.source_equals_fhir()


async def test_one_study_is_asked_for_by_the_service_itself(w):
    w.service.store(instance(1, 1))
    w.service.store(instance(2, 1))
    _, counts = await w.compared(ReplayRequest(source="dicom", study=study_ref(1)))
    assert counts["synced"] == 1
    assert (w.held(1), w.imaging_study(study_ref(2))) == ({uid(1, 1, 1)}, None)


async def test_months_of_silence_cost_a_request_and_not_one_for_each_few_hours(w):
    w.service.store(instance(1, 1))
    w.clock.advance(200 * DAY.total_seconds())
    w.service.store(instance(2, 1))
    w.clock.advance(200 * DAY.total_seconds())
    asked, page = [], w.service.page
    w.service.page = lambda **window: asked.append(window) or page(**window)
    job, counts = await w.compared(w.request())
    assert (job.state, counts["synced"]) == (DONE, 2)
    assert len(asked) < 15
    await w.source_equals_fhir()


async def test_slices_go_on_within_hours_of_many_changes_and_over_days(w):
    for sop in range(450):
        w.service.store(instance(sop % 3, sop))
    w.clock.advance(2 * DAY.total_seconds())
    w.service.store(instance(7, 1))
    await begin(w.request(), w.services, who="ada")
    slices = 0
    while await advance_all(w.replayed, w.services, seconds=0):
        slices += 1
        assert slices < 40
    assert slices > 5
    await w.settle()
    (told,) = await replays(w.services)
    assert (told["state"], told["counts"]["synced"]) == (DONE, 451)
    await w.source_equals_fhir()


async def test_what_comes_while_a_replay_is_interrupted_is_looked_at_when_it_goes_on(w):
    w.service.store(instance(1, 1))
    await begin(w.request(), w.services, who="ada")
    await advance_all(w.replayed, w.services, seconds=0)  # the one portion of these hours is dealt with
    w.clock.advance(60)
    w.service.store(instance(2, 1))
    while await advance_all(w.replayed, w.services, seconds=0):
        pass
    await w.settle()
    await w.source_equals_fhir()
