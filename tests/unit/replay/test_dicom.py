"""Replays of a DICOM service: the same jobs over its own change feed."""

import math
from datetime import timedelta

import pytest

from sync.feeds import read_dicom_feed
from sync.model import FhirWrite
from sync.protocol.walk_rows import WalkState, read_board, read_walk
from sync.replay.jobs import begin_replay, kinds_of, replays
from sync.replay.preview import counted, preview_replay
from sync.replay.requests import ReplayRequest, cursor_of
from sync.replay.sources import DicomServiceSource
from sync.walks import walk
from sync.walks.sharing import cut_walk
from sync.walks.walk import Walk
from tests.dicom_services import FeedWorld, described, instance, study_ref, uid
from tests.walking import one_batch, replayed
from tests.worlds import run

DAY = timedelta(days=1)


class World(FeedWorld):
    def __init__(self):
        super().__init__()
        self.began = self.clock.now()
        self.replayed = {"dicom": DicomServiceSource(services=self.services)}

    @property
    def kinds(self):
        return kinds_of(self.replayed)

    def request(self, **more):
        return ReplayRequest(source="dicom", start=self.began, **more)

    async def compared(self, request):
        row, counts = await replayed(self, request, self.replayed)
        await self.settle()
        return row, counts

    async def batch_by_batch(self, request):
        """Take all slices but the last by workers that each have the time for one batch; return how many it took."""
        name, workers = cursor_of(request), 0
        await begin_replay(request, self.services, who="ada")
        while not (row := await read_walk(name, self.services)).planned or await self.left(row):
            await cut_walk(row, self.kinds, self.services, until=0, most=1)
            if await self.left(row):
                await one_batch(name, self.kinds, self.services)
            workers += 1
            assert workers < 40
        await self.compared(request)
        return workers

    async def left(self, row):
        pieces = (await read_board(self.services)).of_walk(row)
        return [piece for piece in pieces if piece.scope["to"] is not None and not piece.done]

    async def previewed(self, request):
        studies = [study async for study in preview_replay(request, Walk(), self.replayed, self.services, parallel=4)]
        return counted(studies)["studies"]

    def lose_everything(self):
        for resource in list(self.server.resources()):
            run(self.server.transact([FhirWrite(resource_type=resource["resourceType"], resource_id=resource["id"])]))


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
    row, counts = await w.compared(w.request())
    assert (row.state, counts["synced"]) == (WalkState.DONE, 2)
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
    row, counts = await w.compared(w.request())
    assert (row.state, counts["synced"]) == (WalkState.DONE, 2)
    assert len(asked) < 15
    await w.source_equals_fhir()


async def test_slices_go_on_within_hours_of_many_changes_and_over_days(w):
    for sop in range(450):
        w.service.store(instance(sop % 3, sop))
    w.clock.advance(2 * DAY.total_seconds())
    w.service.store(instance(7, 1))
    w.clock.advance(3600)
    assert await w.batch_by_batch(w.request()) > 5
    (replay,) = await replays(w.services)
    assert (replay.walk.row.state, replay.walk.counts["synced"]) == (WalkState.DONE, 451)
    await w.source_equals_fhir()


async def test_what_comes_while_a_replay_is_interrupted_is_looked_at_when_it_goes_on(w):
    w.service.store(instance(1, 1))
    await begin_replay(w.request(), w.services, who="ada")
    await cut_walk(await read_walk(cursor_of(w.request()), w.services), w.kinds, w.services, until=math.inf)
    await one_batch(cursor_of(w.request()), w.kinds, w.services)  # the one portion of these hours is dealt with
    w.clock.advance(60)
    w.service.store(instance(2, 1))
    await w.compared(w.request())
    await w.source_equals_fhir()


async def test_what_may_still_grow_is_a_slice_of_its_own(w):
    w.service.store(instance(1, 1))
    w.clock.advance(3600)
    await begin_replay(w.request(), w.services, who="ada")
    await cut_walk(await read_walk(cursor_of(w.request()), w.services), w.kinds, w.services, until=math.inf)
    board = await read_board(w.services)
    scopes = [piece.scope for piece in board.of_walk(board.walks[cursor_of(w.request())])]
    until = (w.clock.now() - timedelta(minutes=10)).isoformat()
    assert [(scope["from"], scope["to"]) for scope in scopes] == [(w.began.isoformat(), until), (until, None)]
