"""Replays over HTTP: begun for operators only, told without names."""

import json

import pytest

from sync.web import replays as web
from sync.web.exchange import Request, answered
from tests.unit.replay.test_jobs import World
from tests.walking import finished
from tests.worlds import STUDY, MemoryWorld


@pytest.fixture
def w():
    world = World()
    world.services = MemoryWorld.process(world, operators="key")
    return world


async def posted(w, headers=None, **fields):
    request = Request(headers=headers or {}, body=json.dumps(fields).encode())
    return await answered(web.start_replay(request, w.replayed, w.services))


async def listed(w):
    return (await answered(web.list_replays(w.services))).body["replays"]


async def test_a_replay_is_answered_at_once_and_done_by_the_timer(w):
    w.note(w.put("a"))
    answer = await posted(w, **{"from": w.began.isoformat(), "who": "me"})
    assert (answer.status, answer.body["begun"], answer.body["replay"]["state"]) == (202, True, "running")
    assert w.imaging_study() is None
    assert w.store.slice_queue.take() == 1
    await finished("replay " + answer.body["replay"]["id"], w.kinds, w.services)
    await w.settle()
    assert w.imaging_study()["numberOfInstances"] == 1
    (told,) = await listed(w)
    assert (told["id"], told["state"], told["route"]) == (answer.body["replay"]["id"], "done", "feed")


async def test_a_replay_has_a_rate_which_asking_again_changes(w):
    for rate in (5, 2.5):
        answer = await posted(w, **{"from": w.began.isoformat(), "rate": rate})
        assert (answer.status, answer.body["replay"]["rate"]) == (202, rate)


async def test_asking_twice_begins_one(w):
    first = await posted(w, **{"from": w.began.isoformat()})
    second = await posted(w, **{"from": w.began.isoformat()})
    assert (first.body["begun"], second.body["begun"], second.status) == (True, False, 202)
    assert len(await listed(w)) == 1
    await finished("replay " + first.body["replay"]["id"], w.kinds, w.services)
    assert (await posted(w, **{"from": w.began.isoformat()})).body["begun"], "one that is over may be asked for again"


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"from": "soon"},
        {"from": "2026-01-01T00:00"},
        {"from": "9999-01-01"},
        {"from": "2026-01-02", "to": "2026-01-01"},
        {"from": "2020-01-01", "source": "pacs"},
        {"from": "2020-01-01", "source": "dicom"},
        {"from": "2020-01-01", "dry_run": True},
        {"study": "x"},
        {"study": ["1.2"]},
        {"from": "2020-01-01", "colour": "blue"},
        {"from": "2020-01-01", "rate": 0},
    ],
)
async def test_what_cannot_be_is_refused_and_nothing_is_begun(w, fields):
    answer = await posted(w, **fields)
    assert (answer.status, bool(answer.body["detail"])) == (400, True)
    assert await listed(w) == []


async def test_only_an_operator_may_begin_one(w):
    w.services = MemoryWorld.process(w, operators="none")
    assert (await posted(w, **{"from": "2020-01-01"})).status == 403
    assert await listed(w) == []


async def test_another_site_may_begin_none(w):
    assert (await posted(w, {"Sec-Fetch-Site": "cross-site"}, **{"from": "2020-01-01"})).status == 403


async def test_a_replay_of_a_study_can_be_previewed(w):
    await w.arrive("a")
    w.lose("ImagingStudy")
    answer = await posted(w, study=STUDY.study_instance_uid, dry_run=True)
    told = {"study": STUDY.key, "action": "create", "writes": {"ImagingStudy": "create"}}
    assert (answer.status, answer.body["studies"], answer.body["objects"]) == (200, [told], {"studies": 1, "synced": 1})
    assert w.imaging_study() is None
    assert await listed(w) == []
