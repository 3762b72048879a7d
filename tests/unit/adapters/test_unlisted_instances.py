"""A study with instances that the service cannot read back is listed around them, and what is missing is said."""

from __future__ import annotations

import httpx
import pytest

from sync.adapters.http.dicom.service import DicomService
from sync.adapters.http.retrying import ATTEMPTS
from sync.dicom.instance_names import instance_ref
from sync.dicom.listing import held_objects
from sync.errors import NothingStored, SourceUnavailable, StudyUnlisted
from sync.model import StudyRef
from sync.replay.sources import objects_of
from sync.testing.dicom import id_of
from sync.verify.objects import check_objects
from tests.dicom_services import FeedWorld, instance, uid
from tests.unit.adapters.test_dicom_web import URL, web
from tests.worlds import STUDY as WORLD_STUDY

STUDY = StudyRef(study_instance_uid=uid(1))


class Search:
    """Answers searches of a study; a page with a bad instance is 503, and files can be had."""

    def __init__(self, count: int, bad: set[int], gone: set[int] = frozenset()) -> None:
        self.count, self.bad, self.gone, self.asked = count, bad, gone, 0

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/changefeed/latest"):
            return httpx.Response(200, json={"sequence": 1})
        if "/series/" in request.url.path:
            sop = int(request.url.path.rpartition(".")[2])
            return httpx.Response(404 if sop in self.gone or sop >= self.count else 200, content=b"file")
        self.asked += 1
        offset, limit = (int(request.url.params[name]) for name in ("offset", "limit"))
        page = range(offset, min(offset + limit, self.count))
        if self.bad.intersection(page):
            return httpx.Response(503)
        return httpx.Response(200, json=[instance(1, sop) for sop in page]) if page else httpx.Response(204)


def ref(service: DicomService, sop: int):
    return instance_ref(service.account, "", uid(1), uid(1, 1), uid(1, 1, sop))


@pytest.mark.parametrize("bad", [{0}, {7}, {299}, {3, 4}, {0, 150, 299}])
async def test_all_others_are_listed_and_those_are_counted(bad):
    search = Search(300, bad)
    service = DicomService(web(search), URL)
    refs = set()
    with pytest.raises(StudyUnlisted) as part:  # noqa: PT012 -- it is raised at the end
        async for listed in service.objects_of(STUDY):
            refs.add(listed)
    assert refs == {ref(service, sop) for sop in range(300) if sop not in bad}
    assert part.value.count == len(bad)
    assert search.asked < 40 * ATTEMPTS * len(bad)


async def test_a_search_that_always_fails_is_an_outage():
    with pytest.raises(SourceUnavailable) as failure:
        [listed async for listed in DicomService(web(Search(300, set(range(300)))), URL).objects_of(STUDY)]
    assert failure.value.code == "source.unavailable"


def nothing_stored(request):
    """As the service does: the feed is an empty list, its latest entry nothing, and a search has no match."""
    if request.url.path.endswith("/changefeed"):
        return httpx.Response(200, json=[])
    return httpx.Response(200 if request.url.path.endswith("/latest") else 204)


async def test_a_service_in_which_nothing_was_stored_lists_nothing_but_proves_nothing():
    service = DicomService(web(nothing_stored), URL)
    assert await held_objects(service, STUDY, []) == set()
    with pytest.raises(NothingStored) as failure:
        await held_objects(service, STUDY, [ref(service, 1)])
    assert failure.value.code == "source.gateway"


async def test_beside_a_new_service_the_files_of_a_study_are_compared_and_replayed():
    world = FeedWorld()
    await world.arrive("a")
    empty = DicomService(web(nothing_stored), URL)
    world.services.instances.clear()
    world.services.instances[empty.account] = empty
    assert await check_objects(WORLD_STUDY, world.services) == []
    batch = await objects_of(WORLD_STUDY, world.services)
    assert [change.object for change in batch.changes] == [world.ref("a")]


async def test_those_that_are_known_are_asked_for_by_name():
    service = DicomService(web(Search(20, {7})), URL)
    known = [ref(service, sop) for sop in (6, 7, 25)]
    assert await held_objects(service, STUDY, known) == {ref(service, sop) for sop in range(20)}
    with pytest.raises(StudyUnlisted):
        await held_objects(service, STUDY, known[:1])


async def test_a_study_that_cannot_be_listed_is_not_compared_and_it_is_said(actions):
    world = FeedWorld()
    for sop in (1, 2):
        world.service.store(instance(1, sop), content=b"x")
    world.service.unreadable.add(id_of(instance(1, 2)))
    assert await check_objects(STUDY, world.services) is None
    assert actions["study.unlisted"] == 1
